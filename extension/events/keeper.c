/*
 * keeper.c
 *		The worker that runs the contexts' periodic tasks in each database.
 *
 * Each task has a transaction of its own, as backoffice_kernel and with nobody
 * acting.  A task that fails is reported and waits longer before its next turn;
 * the others do not notice.
 */
#include "events/events.h"

#include "access/xact.h"
#include "core/principal.h"
#include "events/internal.h"
#include "events/workers.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#define TASKS_MAX		32
#define TASK_TIMEOUT_MS 60000
#define PAUSE_LAST_MS	(5 * 60 * 1000)
#define IDLE_MS			10000
#define TELL_EVERY_MS	60000
#define LOCK_TIMEOUT	"100ms"

typedef struct Task
{
	const char *name;
	int			interval_ms;
	KeeperTask	run;
	/* in the keeper only */
	TimestampTz due_at;
	int			failures;		/* in a row */
} Task;

static Task tasks[TASKS_MAX];
static int	ntasks = 0;

void
events_register_keeper_task(const char *name, int interval_ms, KeeperTask run)
{
	if (ntasks == TASKS_MAX)
		elog(ERROR, "too many keeper tasks");
	tasks[ntasks++] = (Task) {.name = name,.interval_ms = interval_ms,.run = run};
}

static void
tell_failure(const char *what, const char *why)
{
	static TimestampTz told_at = 0;

	if (told_at != 0 && !TimestampDifferenceExceeds(told_at, bo_monotonic(), TELL_EVERY_MS))
		return;
	told_at = bo_monotonic();
	ereport(LOG,
			(errmsg("%s is due, but could not be changed: %s", what, why),
			 errdetail("It is tried again before long; perhaps there are others.")));
}

static void
with_lock_timeout(void (*work) (void *arg), void *arg)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	work(arg);
	AtEOXact_GUC(true, level);
}

bool
events_keeper_try(void (*work) (void *arg), void *arg, const char *what)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	CHECK_FOR_INTERRUPTS();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		with_lock_timeout(work, arg);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* The task's time is over. */
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		if (what != NULL)
			tell_failure(what, edata->message);
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return done;
}

static bool
run_in_transaction(Task *task)
{
	BoUser		saved;
	bool		more;

	worker_begin();
	pgstat_report_activity(STATE_RUNNING, task->name);
	enable_timeout_after(STATEMENT_TIMEOUT, TASK_TIMEOUT_MS);
	saved = bo_user_kernel();
	more = task->run();
	bo_user_restore(saved);
	disable_timeout(STATEMENT_TIMEOUT, false);
	worker_commit();
	return more;
}

/* Returns whether there is more to do now. */
static bool
run_task(Task *task)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool more = false;

	PG_TRY();
	{
		more = run_in_transaction(task);
		task->failures = 0;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		disable_timeout(STATEMENT_TIMEOUT, false);
		QueryCancelPending = false;
		MemoryContextSwitchTo(caller);
		errcontext("backoffice keeper, task \"%s\"", task->name);
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		task->failures++;
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return more;
}

/* Runs what is due; returns how long until something is. */
static long
run_due(DatabaseSlot *slot, bool woken)
{
	long		wait_ms = IDLE_MS;

	for (int i = 0; i < ntasks; i++)
	{
		Task	   *task = &tasks[i];
		TimestampTz now = bo_monotonic();
		long		pause;

		if (task->due_at > now && !(woken && task->failures == 0 && task->run == partitions_task))
		{
			wait_ms = Min(wait_ms, TimestampDifferenceMilliseconds(now, task->due_at));
			continue;
		}
		worker_check(slot);
		if (run_task(task))
			pause = 0;
		else
			pause = task->failures == 0 ? task->interval_ms
				: Min(PAUSE_LAST_MS, Max(task->interval_ms, 1000L << Min(task->failures - 1, 10)));
		task->due_at = TimestampTzPlusMilliseconds(bo_monotonic(), pause);
		wait_ms = Min(wait_ms, pause);
	}
	return wait_ms;
}

void
backoffice_keeper_main(Datum arg)
{
	DatabaseSlot *slot = worker_start(WORKER_KEEPER);
	bool		woken = false;

	MemoryContextSwitchTo(TopMemoryContext);
	for (;;)
	{
		long		wait_ms = run_due(slot, woken);

		woken = false;
		if (wait_ms > 0)
		{
			TimestampTz before = bo_monotonic();

			worker_wait(slot, wait_ms);
			/* Somebody needs a partition. */
			woken = !TimestampDifferenceExceeds(before, bo_monotonic(), wait_ms);
		}
	}
}
