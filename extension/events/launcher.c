/*
 * launcher.c
 *		Starts ticker, dispatcher and keeper in every database with the extension.
 *
 * The launcher itself is connected to no database and sees the shared catalogs
 * only, so whether the extension is in a database is found out by a ticker that
 * goes there and looks.  That happens once per database and server start, when
 * CREATE EXTENSION or a first emit says so through the slots, and when a statement
 * that had kept the workers out is over.  Workers are started with
 * BGW_NEVER_RESTART: starting again, with growing pauses, is done here.
 */
#include "events/workers.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "events/internal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define SCAN_MS			10000
#define PAUSE_FIRST_MS	1000
#define PAUSE_LAST_MS	60000
#define WARN_EVERY_MS	60000

/* What the launcher remembers of a worker it started. */
typedef struct Started
{
	Oid			database;
	BackgroundWorkerHandle *handle;
	TimestampTz started_at;
	TimestampTz not_before;
	int			pause_ms;
} Started;

typedef struct KnownDatabase
{
	Oid			database;		/* hash key */
	bool		exists;			/* seen in the current scan */
	bool		absent;			/* somebody looked: no extension there */
	TimestampTz slotless_since; /* 0: it has a slot, or needs none */
} KnownDatabase;

static const struct
{
	const char *name;
	const char *function;
}			kinds[WORKER_KINDS] = {
	[WORKER_TICKER] = {"backoffice ticker", "backoffice_ticker_main"},
	[WORKER_DISPATCHER] = {"backoffice dispatcher", "backoffice_dispatcher_main"},
	[WORKER_KEEPER] = {"backoffice keeper", "backoffice_keeper_main"}
};

static Started *started;		/* slots times kinds */
static HTAB *known;
static TimestampTz warned_at = 0;
static TimestampTz slots_warned_at = 0;

/* ---- which databases are there ---- */

/* None free: at the next scan.  Databases without the extension give theirs back, but not those that have it. */
static void
find_slot(KnownDatabase *entry)
{
	TimestampTz now = bo_monotonic();

	if (slot_acquire(entry->database) != NULL)
		entry->slotless_since = 0;
	else if (entry->slotless_since == 0)
		entry->slotless_since = now;
	else if (TimestampDifferenceExceeds(entry->slotless_since, now, SCAN_MS) &&
			 (slots_warned_at == 0 || TimestampDifferenceExceeds(slots_warned_at, now, WARN_EVERY_MS)))
	{
		slots_warned_at = now;
		ereport(WARNING,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no room for the database with OID %u: backoffice.max_databases is %d", entry->database, bo_max_databases),
				 errdetail("If it has the extension, its events are stored, but nobody announces them."),
				 errhint("Raise backoffice.max_databases, and max_worker_processes with it.")));
	}
}

static void
scan_databases(void)
{
	HASH_SEQ_STATUS status;
	KnownDatabase *entry;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
		entry->exists = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		bool		found;

		/* The latter: its DROP did not come to its end, and it refuses everybody. */
		if (!database->datallowconn || database->datconnlimit == DATCONNLIMIT_INVALID_DB)
			continue;
		entry = hash_search(known, &database->oid, HASH_ENTER, &found);
		if (!found)
		{
			entry->absent = false;
			entry->slotless_since = 0;
		}
		entry->exists = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	hash_seq_init(&status, known);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!entry->exists)
			hash_search(known, &entry->database, HASH_REMOVE, NULL);
		else if (!entry->absent)
			find_slot(entry);
	}
}

/* ---- starting ---- */

static void
warn_rarely(const char *kind)
{
	TimestampTz now = bo_monotonic();

	if (warned_at != 0 && !TimestampDifferenceExceeds(warned_at, now, WARN_EVERY_MS))
		return;
	warned_at = now;
	ereport(WARNING,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start %s: all background worker slots are taken", kind),
			 errdetail("Events are stored, but nobody announces them until it can start."),
			 errhint("Raise max_worker_processes: backoffice needs one, and three for each of its databases.")));
}

static void
start_worker(DatabaseSlot *slot, WorkerKind kind, Started *worker)
{
	BackgroundWorker definition = {0};
	WorkerStart start = {slot_number(slot), pg_atomic_read_u32(&slot->database)};

	snprintf(definition.bgw_name, BGW_MAXLEN, "%s", kinds[kind].name);
	snprintf(definition.bgw_type, BGW_MAXLEN, "%s", kinds[kind].name);
	definition.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	definition.bgw_start_time = BgWorkerStart_RecoveryFinished;
	definition.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(definition.bgw_library_name, BGW_MAXLEN, "backoffice");
	snprintf(definition.bgw_function_name, BGW_MAXLEN, "%s", kinds[kind].function);
	definition.bgw_notify_pid = MyProcPid;
	memcpy(definition.bgw_extra, &start, sizeof(start));

	if (worker->handle != NULL)
		pfree(worker->handle);
	worker->handle = NULL;
	worker->database = start.database;
	worker->started_at = bo_monotonic();
	if (!RegisterDynamicBackgroundWorker(&definition, &worker->handle))
	{
		worker->handle = NULL;
		worker->not_before = TimestampTzPlusMilliseconds(worker->started_at, PAUSE_FIRST_MS);
		warn_rarely(kinds[kind].name);
		return;
	}
	pg_atomic_write_u32(&slot->left_well[kind], 0);
}

/* A worker that we had started is gone: when may the next one come? */
static void
note_end(DatabaseSlot *slot, WorkerKind kind, Started *worker)
{
	TimestampTz now = bo_monotonic();

	pfree(worker->handle);
	worker->handle = NULL;
	if (pg_atomic_read_u32(&slot->left_well[kind]) != 0)
	{
		worker->pause_ms = 0;
		worker->not_before = 0;
		return;
	}
	if (TimestampDifferenceExceeds(worker->started_at, now, PAUSE_LAST_MS))
		worker->pause_ms = 0;
	worker->pause_ms = worker->pause_ms == 0 ? PAUSE_FIRST_MS : Min(worker->pause_ms * 2, PAUSE_LAST_MS);
	worker->not_before = TimestampTzPlusMilliseconds(now, worker->pause_ms);
}

static bool
is_running(DatabaseSlot *slot, WorkerKind kind, Started *worker)
{
	BgwHandleStatus status;
	pid_t		pid;

	if (worker->handle != NULL)
	{
		status = GetBackgroundWorkerPid(worker->handle, &pid);
		if (status == BGWH_STARTED || status == BGWH_NOT_YET_STARTED)
			return true;
		note_end(slot, kind, worker);
	}
	/* One that a launcher before us had started. */
	return pg_atomic_read_u32(&slot->pid[kind]) != 0;
}

static bool
is_wanted(DatabaseSlot *slot, WorkerKind kind)
{
	uint32		state = pg_atomic_read_u32(&slot->state);

	if (pg_atomic_read_u32(&slot->keep_out) != 0)
		return false;
	return state == SLOT_PRESENT || (state == SLOT_UNKNOWN && kind == WORKER_TICKER);
}

/* Returns how long until there is something to do here. */
static long
look_after(DatabaseSlot *slot)
{
	Oid			database = pg_atomic_read_u32(&slot->database);
	KnownDatabase *entry = hash_search(known, &database, HASH_FIND, NULL);
	bool		running = false;
	long		wait_ms = SCAN_MS;

	for (int kind = 0; kind < WORKER_KINDS; kind++)
	{
		Started    *worker = &started[slot_number(slot) * WORKER_KINDS + kind];

		if (worker->database != database && worker->handle == NULL)
			*worker = (Started) {.database = database};
		if (is_running(slot, kind, worker))
		{
			running = true;
			continue;
		}
		if (entry == NULL || !is_wanted(slot, kind))
			continue;
		if (worker->not_before <= bo_monotonic())
		{
			start_worker(slot, kind, worker);
			running |= worker->handle != NULL;
		}
		if (worker->handle == NULL)
			wait_ms = Min(wait_ms, Max(1, TimestampDifferenceMilliseconds(bo_monotonic(), worker->not_before)));
	}

	if (!running && pg_atomic_read_u32(&slot->keep_out) == 0 &&
		(entry == NULL || pg_atomic_read_u32(&slot->state) == SLOT_ABSENT))
	{
		if (entry != NULL)
			entry->absent = true;
		slot_release(slot);
	}
	return wait_ms;
}

void
backoffice_launcher_main(Datum arg)
{
	HASHCTL		control = {.keysize = sizeof(Oid),.entrysize = sizeof(KnownDatabase)};

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	launcher_enter();

	known = hash_create("backoffice known databases", 64, &control, HASH_ELEM | HASH_BLOBS);
	started = MemoryContextAllocZero(TopMemoryContext, sizeof(Started) * slot_count() * WORKER_KINDS);
	MemoryContextSwitchTo(TopMemoryContext);

	for (;;)
	{
		long		wait_ms = SCAN_MS;

		scan_databases();
		MemoryContextSwitchTo(TopMemoryContext);
		for (int i = 0; i < slot_count(); i++)
		{
			DatabaseSlot *slot = slot_by_number(i);

			if (slot != NULL)
				wait_ms = Min(wait_ms, look_after(slot));
		}
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait_ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}

void
launcher_init(void)
{
	BackgroundWorker launcher = {0};

	/* pg_upgrade wants nobody in the databases. */
	if (IsBinaryUpgrade)
		return;
	snprintf(launcher.bgw_name, BGW_MAXLEN, "backoffice launcher");
	snprintf(launcher.bgw_type, BGW_MAXLEN, "backoffice launcher");
	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = 1;
	snprintf(launcher.bgw_library_name, BGW_MAXLEN, "backoffice");
	snprintf(launcher.bgw_function_name, BGW_MAXLEN, "backoffice_launcher_main");
	RegisterBackgroundWorker(&launcher);
}
