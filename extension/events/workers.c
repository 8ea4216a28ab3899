/*
 * workers.c
 *		Start, sleep and end of a database's background workers.
 */
#include "events/workers.h"

#include "access/xact.h"
#include "events/log.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/pmsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

int			worker_reloads = 0;

char	   *worker_default_search_path;

void
worker_begin(void)
{
	/* A worker that always finds something to do never waits on its latch, and would outlive a killed postmaster. */
	if (!PostmasterIsAlive())
		proc_exit(1);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
worker_commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Is the extension here?  The ticker answers for all. */
static void
look_for_extension(DatabaseSlot *slot, WorkerKind kind)
{
	bool		exists;

	worker_begin();
	exists = log_exists();
	worker_commit();
	if (exists)
	{
		pg_atomic_write_u32(&slot->state, SLOT_PRESENT);
		launcher_wake();
		return;
	}
	if (kind == WORKER_TICKER)
		pg_atomic_write_u32(&slot->state, SLOT_ABSENT);
	proc_exit(0);
}

DatabaseSlot *
worker_start(WorkerKind kind)
{
	WorkerStart start;
	DatabaseSlot *slot;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	slot = slot_by_number(start.slot);
	if (slot == NULL || pg_atomic_read_u32(&slot->database) != start.database || !slot_enter(slot, kind))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(start.database, InvalidOid, 0);

	/* Whatever the cluster's defaults are: these transactions write, and read what is committed. */
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	worker_default_search_path = MemoryContextStrdup(TopMemoryContext, GetConfigOption("search_path", false, false));
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", MyBgworkerEntry->bgw_name, PGC_SUSET, PGC_S_OVERRIDE);
	pgstat_report_appname(MyBgworkerEntry->bgw_name);

	worker_check(slot);
	look_for_extension(slot, kind);
	return slot;
}

void
worker_check(DatabaseSlot *slot)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		worker_reloads++;
	}
	if (pg_atomic_read_u32(&slot->keep_out) != 0 || pg_atomic_read_u32(&slot->database) != MyDatabaseId)
		proc_exit(0);
	if (pg_atomic_read_u32(&slot->state) == SLOT_UNKNOWN)
		look_for_extension(slot, WORKER_TICKER);
	else if (pg_atomic_read_u32(&slot->state) == SLOT_ABSENT)
		proc_exit(0);
}

void
worker_wait(DatabaseSlot *slot, long timeout_ms)
{
	worker_check(slot);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	worker_check(slot);
}
