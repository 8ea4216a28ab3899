/*
 * dispatcher.c
 *		The background worker that runs in-database handlers.
 *
 * One process per database.  Woken by the ticker, it goes round the
 * subscriptions: events that were set aside and are due first, then the next
 * batch (dispatcher_batch.c), each subscription a bounded number of times so
 * that a long backlog of one does not starve the others.  A failure of a
 * subscription as a whole (its function is gone, its position is lost) is
 * recorded with it, and it rests for a while.
 */
#include "events/dispatcher.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "core/principal.h"
#include "core/spi.h"
#include "events/alerts.h"
#include "events/internal.h"
#include "events/workers.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define ROUNDS			8		/* batches of one subscription before the next has its turn */
#define RETRY_MS		500		/* for set-aside events, likewise */
#define ROUND_MS		10		/* from a round that left nothing to do to the next */
#define IDLE_MS			250		/* due times and changed subscriptions are noticed within this */
#define LIST_MS			200		/* rounds that follow each other closer than this share a listing */
#define IDLE_NONE_MS	2000	/* when there is no subscription at all */
#define REST_MS			5000	/* after a failure as a whole */

int			handler_timeout_ms = 30000;
int			handler_batch_events = 500;
int			handler_retry_min_ms = 1000;
int			handler_retry_max_ms = 300000;

EmissionNotes emission_notes;

static List *subscriptions = NIL;
static MemoryContext subscriptions_context;
static Oid	worker_userid;
static int	worker_context;

/* ---- transactions ---- */

/*
 * Not with bo_user_kernel(): the search path it pushes would lie over the one
 * that handlers are given.  The worker's own is pg_catalog anyway.
 */
void
dispatcher_begin(void)
{
	worker_begin();
	GetUserIdAndSecContext(&worker_userid, &worker_context);
	SetUserIdAndSecContext(get_role_oid("backoffice_kernel", false), worker_context | SECURITY_LOCAL_USERID_CHANGE);
	bo_spi_begin();
}

void
dispatcher_commit(void)
{
	bo_spi_end();
	SetUserIdAndSecContext(worker_userid, worker_context);
	worker_commit();
}

void
dispatcher_abort(void)
{
	handler_running = false;
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false;
	AbortOutOfAnyTransaction();
	handler_release_locks();
}

/* ---- the list of subscriptions ---- */

static Subscription *
find_subscription(const char *name)
{
	MemoryContext old;
	Subscription *subscription;
	ListCell   *lc;

	foreach(lc, subscriptions)
	{
		subscription = lfirst(lc);
		if (strcmp(subscription->name, name) == 0)
			return subscription;
	}
	old = MemoryContextSwitchTo(subscriptions_context);
	subscription = palloc0(sizeof(Subscription));
	subscription->name = pstrdup(name);
	/* A position that no cursor has, so that the first look counts as moved. */
	subscription->stored.tick = -1;
	subscriptions = lappend(subscriptions, subscription);
	MemoryContextSwitchTo(old);
	return subscription;
}

static void
forget_details(Subscription *subscription)
{
	if (subscription->handler == NULL)
		return;
	pfree(subscription->handler);
	pfree(subscription->role);
	for (int i = 0; i < subscription->ntopics; i++)
		pfree(subscription->topics[i]);
	pfree(subscription->topics);
	subscription->handler = NULL;
}

static char *
kept_text(uint64 row, int column)
{
	char	   *text = bo_spi_text(row, column);

	return text ? MemoryContextStrdup(subscriptions_context, text) : NULL;
}

/* Were the topics others until now? */
static bool
topics_differ(const Subscription *subscription, const Datum *names, int count)
{
	if (subscription->handler == NULL || subscription->ntopics != count)
		return true;
	for (int i = 0; i < count; i++)
	{
		if (strcmp(subscription->topics[i], TextDatumGetCString(names[i])) != 0)
			return true;
	}
	return false;
}

static void
load_details(Subscription *subscription, uint64 row)
{
	Datum	   *names;
	bool	   *nulls;
	int			count;
	bool		isnull;
	bool		running = bo_spi_bool(row, 5);
	bool		other_topics;
	EventPosition stored = *DatumGetPositionP(bo_spi_datum(row, 8, &isnull));

	deconstruct_array(DatumGetArrayTypeP(bo_spi_datum(row, 6, &isnull)), TEXTOID, -1, false, TYPALIGN_INT,
					  &names, &nulls, &count);
	other_topics = topics_differ(subscription, names, count);
	forget_details(subscription);
	subscription->listed = true;
	subscription->handler = kept_text(row, 2);
	subscription->role = kept_text(row, 3);
	subscription->max_attempts = bo_spi_int32(row, 4);
	subscription->ntopics = count;
	subscription->topics = MemoryContextAlloc(subscriptions_context, sizeof(char *) * subscription->ntopics);
	for (int i = 0; i < subscription->ntopics; i++)
		subscription->topics[i] = MemoryContextStrdup(subscriptions_context, TextDatumGetCString(names[i]));
	subscription->has_due = bo_spi_bool(row, 7);
	subscription->paused = bo_spi_bool(row, 9);

	/* Moved by seek(), with other topics, or seen for the first time: what was scanned counts for nothing. */
	if (other_topics || memcmp(&stored, &subscription->stored, sizeof(stored)) != 0)
	{
		subscription->stored = subscription->scanned = stored;
		subscription->stored_at = bo_monotonic();
	}
	/* The mark of a dispatcher that did not sign off. */
	if (running && !subscription->marked)
		subscription->set_aside = true;
	subscription->marked = running;
}

static void
forget_unlisted(void)
{
	ListCell   *lc;

	foreach(lc, subscriptions)
	{
		Subscription *subscription = lfirst(lc);

		if (subscription->listed)
			continue;
		subscriptions = foreach_delete_current(subscriptions, lc);
		forget_details(subscription);
		pfree(subscription->name);
		pfree(subscription);
	}
}

/* Reads the subscriptions; the latest readable position comes with them. */
static EventPosition
list_subscriptions(void)
{
	static BoPlan list = {
		"SELECT s.name, s.handler, s.role::text, s.max_attempts, s.running, r.topics,"
		" EXISTS (SELECT FROM events.parked_events p WHERE p.consumer = s.name AND p.state = 'retrying'"
		"   AND p.due_at <= pg_catalog.clock_timestamp()), c.position, s.paused"
		" FROM events.subscriptions s JOIN events.registered_consumers r ON r.name = s.name"
		" JOIN events.cursors c ON c.consumer = s.name AND c.shard = 0 ORDER BY s.name", 0
	};
	EventPosition latest;
	ListCell   *lc;
	uint64		count;

	dispatcher_begin();
	count = bo_spi_run_readonly(&list, NULL, NULL, 0);
	foreach(lc, subscriptions)
		((Subscription *) lfirst(lc))->listed = false;
	for (uint64 i = 0; i < count; i++)
		load_details(find_subscription(bo_spi_text(i, 1)), i);
	forget_unlisted();
	latest = reader_latest();
	dispatcher_commit();
	return latest;
}

/* ---- one subscription ---- */

/* In a transaction of its own, after the failed one was aborted. */
static void
record_error(Subscription *subscription, const char *message)
{
	static BoPlan record = {
		"UPDATE events.subscriptions SET last_error = $2, last_error_at = pg_catalog.clock_timestamp() WHERE name = $1",
		2, {TEXTOID, TEXTOID}
	};
	Datum		args[2];

	dispatcher_begin();
	args[0] = CStringGetTextDatum(subscription->name);
	args[1] = CStringGetTextDatum(message);
	bo_spi_run(&record, args, NULL, 0);
	dispatcher_commit();
}

static void
work_on(Subscription *subscription, const EventPosition *latest)
{
	TimestampTz started_at = bo_monotonic();

	subscription->has_more = false;
	sweep_parked(subscription);
	while (subscription->has_due && !ShutdownRequestPending &&
		   !TimestampDifferenceExceeds(started_at, bo_monotonic(), RETRY_MS))
		subscription->has_due = dispatch_parked(subscription);
	if (position_compare(&subscription->scanned, latest) >= 0)
		return;
	for (int i = 0; i < ROUNDS && !ShutdownRequestPending; i++)
	{
		subscription->has_more = dispatch_batch(subscription);
		if (!subscription->has_more)
			break;
	}
}

/* A batch that failed as a whole goes one by one; a subscription that cannot run at all rests. */
static void
work_guarded(Subscription *subscription, const EventPosition *latest, MemoryContext scratch)
{
	char	   *volatile message = NULL;

	PG_TRY();
	{
		work_on(subscription, latest);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(scratch);
		edata = CopyErrorData();
		FlushErrorState();
		dispatcher_abort();
		MemoryContextSwitchTo(scratch);
		message = clipped_reason(edata->message);
		ereport(LOG,
				(errmsg("handler \"%s\" could not go on: %s", subscription->name, edata->message)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(scratch);
	if (message == NULL)
		return;
	subscription->has_more = true;
	if (subscription->set_aside)
		subscription->not_before = TimestampTzPlusMilliseconds(bo_monotonic(), REST_MS);
	subscription->set_aside = true;
	record_error(subscription, message);
}

/* ---- the loop ---- */

/* A handler that runs is ended; otherwise the loop leaves at its next turn, and signs off. */
static void
on_sigterm(SIGNAL_ARGS)
{
	if (handler_running)
		die(postgres_signal_arg);
	else
		SignalHandlerForShutdownRequest(postgres_signal_arg);
}

static void
sign_off(void)
{
	static BoPlan unmark = {"UPDATE events.subscriptions SET running = false WHERE running", 0};

	dispatcher_begin();
	bo_spi_run(&unmark, NULL, NULL, 0);
	dispatcher_commit();
}

/* Where the subscriptions are known from a moment ago: is there a tick that they have not scanned? */
static EventPosition
look_for_events(void)
{
	DatabaseSlot *slot = slot_mine();
	EventPosition latest = {0};

	if (slot != NULL)
		latest.tick = (int64) pg_atomic_read_u64(&slot->published);
	if (latest.tick != 0)
		return latest;
	/* The ticker has only just started. */
	worker_begin();
	latest = reader_latest();
	worker_commit();
	return latest;
}

/*
 * From a tick of this server's life on: what was restored or loaded before it has
 * no notes.  The tick first, the number after it.
 */
static void
begin_notes(void)
{
	DatabaseSlot *slot = slot_mine();
	int64		tick = slot ? (int64) pg_atomic_read_u64(&slot->published) : 0;

	if (tick == 0)
		return;
	pg_memory_barrier();
	worker_begin();
	emission_notes = (EmissionNotes) {slot, tick, log_sequence_value()};
	worker_commit();
}

/* Returns how long to sleep. */
static long
go_round(MemoryContext scratch, bool list)
{
	EventPosition latest = list ? list_subscriptions() : look_for_events();
	TimestampTz now = bo_monotonic();
	bool		more = false;
	ListCell   *lc;

	if (emission_notes.slot == NULL)
		begin_notes();
	foreach(lc, subscriptions)
	{
		Subscription *subscription = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		if (ShutdownRequestPending)
			return 0;
		if (subscription->paused || subscription->not_before > now)
			continue;
		work_guarded(subscription, &latest, scratch);
		MemoryContextReset(scratch);
		if (subscription->not_before <= now && (subscription->has_due || subscription->has_more))
			more = true;
	}
	if (more)
		return 0;
	return subscriptions == NIL ? IDLE_NONE_MS : IDLE_MS;
}

/* A round looks at every subscription; under load each tick would start one. */
static void
breathe(TimestampTz last_round_at)
{
	long		left_ms = ROUND_MS - TimestampDifferenceMilliseconds(last_round_at, bo_monotonic());

	if (left_ms > 0)
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(left_ms, ROUND_MS), PG_WAIT_EXTENSION);
}

void
backoffice_dispatcher_main(Datum arg)
{
	DatabaseSlot *slot;
	TimestampTz last_round_at = 0;
	TimestampTz listed_at = 0;
	bool		list = true;
	MemoryContext scratch;

	slot = worker_start(WORKER_DISPATCHER);
	pqsignal(SIGTERM, on_sigterm);
	subscriptions_context = AllocSetContextCreate(TopMemoryContext, "backoffice subscriptions", ALLOCSET_DEFAULT_SIZES);
	scratch = AllocSetContextCreate(TopMemoryContext, "backoffice dispatcher", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(scratch);

	for (;;)
	{
		long		pause_ms;

		if (ShutdownRequestPending || pg_atomic_read_u32(&slot->keep_out) != 0)
		{
			sign_off();
			proc_exit(0);
		}
		worker_check(slot);
		breathe(last_round_at);
		if (list)
			listed_at = bo_monotonic();
		pause_ms = go_round(scratch, list);
		list = true;
		last_round_at = pause_ms == 0 ? 0 : bo_monotonic();
		MemoryContextSwitchTo(scratch);
		MemoryContextReset(scratch);
		if (pause_ms == 0)
			continue;
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
		if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause_ms, PG_WAIT_EXTENSION) & WL_LATCH_SET)
			list = TimestampDifferenceExceeds(listed_at, bo_monotonic(), LIST_MS);
		ResetLatch(MyLatch);
	}
}

void
dispatcher_init(void)
{
	DefineCustomIntVariable("backoffice.handler_timeout_ms",
							"How long an in-database handler may run for one event; 0: as long as it likes.",
							"A handler that is ended by this counts as failed.",
							&handler_timeout_ms, 30000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.handler_batch_events",
							"Events that the dispatcher runs in one transaction at most.",
							NULL,
							&handler_batch_events, 500, 1, 10000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.handler_retry_min_ms",
							"Pause before the first retry of an event whose handler failed; doubled at each further one, and up to half of it left to chance.",
							NULL,
							&handler_retry_min_ms, 1000, 1, 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.handler_retry_max_ms",
							"Longest pause between two retries.",
							NULL,
							&handler_retry_max_ms, 300000, 1, 24 * 3600 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}
