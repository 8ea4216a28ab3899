/*
 * ticks.c
 *		Reading and writing events.ticks, events.epochs and events.floor.
 */
#include "events/ticks.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/storage.h"
#include "events/slots.h"
#include "executor/tuptable.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* What stands in a pg_snapshot (utils/adt/xid8funcs.c keeps it to itself). */
typedef struct StoredSnapshot
{
	int32		varlena_size;
	uint32		nxip;
	uint64		xmin;
	uint64		xmax;
	uint64		xip[FLEXIBLE_ARRAY_MEMBER];
} StoredSnapshot;

struct TickReader
{
	MemoryContext context;
	Snapshot	snapshot;
	int64		leaf_number;
	Relation	leaf;			/* NULL: none opened */
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
};

TickReader *
tick_reader_open(Snapshot snapshot)
{
	TickReader *reader = palloc0(sizeof(TickReader));

	reader->context = CurrentMemoryContext;
	reader->snapshot = snapshot;
	return reader;
}

static void
close_leaf(TickReader *reader)
{
	if (reader->leaf == NULL)
		return;
	index_endscan(reader->scan);
	ExecDropSingleTupleTableSlot(reader->slot);
	index_close(reader->index, NoLock);
	table_close(reader->leaf, NoLock);
	reader->leaf = NULL;
}

void
tick_reader_close(TickReader *reader)
{
	close_leaf(reader);
	pfree(reader);
}

static bool
go_to_leaf(TickReader *reader, int64 number)
{
	MemoryContext caller;

	if (reader->leaf != NULL && reader->leaf_number == number)
		return true;
	close_leaf(reader);

	caller = MemoryContextSwitchTo(reader->context);
	reader->leaf = leaf_open(&tick_leaves, number, AccessShareLock);
	if (reader->leaf != NULL)
	{
		reader->leaf_number = number;
		reader->index = index_open(leaf_index(reader->leaf, TICKS_TICK), AccessShareLock);
		reader->scan = index_beginscan(reader->leaf, reader->index, reader->snapshot, 1, 0);
		reader->slot = table_slot_create(reader->leaf, NULL);
	}
	MemoryContextSwitchTo(caller);
	return reader->leaf != NULL;
}

void
tick_parse_snapshot(Tick *tick, Datum datum, MemoryContext context)
{
	StoredSnapshot *stored = (StoredSnapshot *) PG_DETOAST_DATUM(datum);

	if (stored->nxip > tick->xip_allocated)
	{
		if (tick->xip != NULL)
			pfree(tick->xip);
		tick->xip_allocated = Max(stored->nxip, 64);
		tick->xip = MemoryContextAlloc(context, tick->xip_allocated * sizeof(uint64));
	}
	tick->xmin = stored->xmin;
	tick->xmax = stored->xmax;
	tick->nxip = stored->nxip;
	if (stored->nxip > 0)
		memcpy(tick->xip, stored->xip, stored->nxip * sizeof(uint64));
	if ((Pointer) stored != DatumGetPointer(datum))
		pfree(stored);
}

static void
read_row(TickReader *reader, Tick *into)
{
	Datum	   *values = reader->slot->tts_values;

	slot_getallattrs(reader->slot);
	into->tick = DatumGetInt64(values[TICKS_TICK - 1]);
	into->era = DatumGetInt64(values[TICKS_ERA - 1]);
	into->seq_lo = DatumGetInt64(values[TICKS_SEQ_LO - 1]);
	into->seq_hi = DatumGetInt64(values[TICKS_SEQ_HI - 1]);
	into->next_xid = U64FromFullTransactionId(DatumGetFullTransactionId(values[TICKS_NEXT_XID - 1]));
	into->at = DatumGetTimestampTz(values[TICKS_AT - 1]);
	into->epoch = DatumGetUInt32(values[TICKS_EPOCH - 1]);
	tick_parse_snapshot(into, values[TICKS_SNAPSHOT - 1], reader->context);
	ExecClearTuple(reader->slot);
}

bool
tick_get(TickReader *reader, int64 number, Tick *into)
{
	ScanKeyData key;

	if (number <= 0 || !go_to_leaf(reader, LEAF_OF(number, TICKS_LEAF_BITS)))
		return false;
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	index_rescan(reader->scan, &key, 1, NULL, 0);
	if (!index_getnext_slot(reader->scan, ForwardScanDirection, reader->slot))
		return false;
	read_row(reader, into);
	return true;
}

/* The last visible tick up to a bound (0: no bound). */
static int64
last_up_to(TickReader *reader, int64 bound)
{
	int64		first,
				last;

	if (!leaf_range(&tick_leaves, &first, &last))
		return 0;
	if (bound > 0)
		last = Min(last, LEAF_OF(bound, TICKS_LEAF_BITS));
	for (int64 number = last; number >= first; number--)
	{
		ScanKeyData key;

		if (!go_to_leaf(reader, number))
			continue;
		ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(bound > 0 ? bound : PG_INT64_MAX));
		index_rescan(reader->scan, &key, 1, NULL, 0);
		if (index_getnext_slot(reader->scan, BackwardScanDirection, reader->slot))
		{
			bool		isnull;
			int64		tick = DatumGetInt64(slot_getattr(reader->slot, TICKS_TICK, &isnull));

			ExecClearTuple(reader->slot);
			return tick;
		}
	}
	return 0;
}

int64
tick_last_written(TickReader *reader)
{
	return last_up_to(reader, 0);
}

/*
 * The ticker writes a tick, waits until it is durable, and only then publishes
 * it.  What is replayed on a standby was flushed on the primary; what is found
 * after a crash was recovered: there the bound is not needed, nor known.
 */
int64
tick_last(TickReader *reader)
{
	DatabaseSlot *slot = RecoveryInProgress() ? NULL : slot_mine();

	return last_up_to(reader, slot ? (int64) pg_atomic_read_u64(&slot->published) : 0);
}

static bool
tick_has_in_progress(const Tick *tick, uint64 xid)
{
	int			low = 0,
				high = tick->nxip - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (tick->xip[middle] == xid)
			return true;
		if (tick->xip[middle] < xid)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return false;
}

bool
tick_sees(const Tick *tick, uint64 xid)
{
	return xid < tick->xmax && (xid < tick->xmin || !tick_has_in_progress(tick, xid));
}

/* ---- epochs and floor: a handful of rows ---- */

static Relation
open_small(const char *name, LOCKMODE mode)
{
	return table_open(get_relname_relid(name, get_namespace_oid("events", false)), mode);
}

EventPosition
log_floor(Snapshot snapshot)
{
	EventPosition floor = {0};
	Relation	rel = open_small("floor", AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;

		floor.tick = DatumGetInt64(slot_getattr(slot, 2, &isnull));
		floor.seq = DatumGetInt64(slot_getattr(slot, 3, &isnull));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return floor;
}

enum EpochColumn
{
	EPOCHS_FIRST_TICK, EPOCHS_EPOCH, EPOCHS_ERA, EPOCHS_SYSTEM, EPOCHS_DATABASE, EPOCHS_EXTENSION,
	EPOCHS_TIMELINE, EPOCHS_BEGAN_AT,
	EPOCHS_COLUMNS
};

bool
epoch_latest(Snapshot snapshot, Epoch *latest, uint32 asked, bool *known)
{
	Relation	rel = open_small("epochs", AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	TimestampTz latest_at = 0;

	*latest = (Epoch) {0};
	*known = false;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Datum	   *values = slot->tts_values;
		int64		first_tick;
		TimestampTz at;

		slot_getallattrs(slot);
		first_tick = DatumGetInt64(values[EPOCHS_FIRST_TICK]);
		at = DatumGetTimestampTz(values[EPOCHS_BEGAN_AT]);
		if (DatumGetUInt32(values[EPOCHS_EPOCH]) == asked)
			*known = true;
		/* Two with the same first tick: promoted twice and nothing emitted in between. */
		if (latest->epoch != 0 &&
			(first_tick < latest->first_tick || (first_tick == latest->first_tick && at < latest_at)))
			continue;
		latest_at = at;
		latest->first_tick = first_tick;
		latest->epoch = DatumGetUInt32(values[EPOCHS_EPOCH]);
		latest->era = DatumGetInt64(values[EPOCHS_ERA]);
		latest->system_identifier = (uint64) DatumGetInt64(values[EPOCHS_SYSTEM]);
		latest->database = DatumGetObjectId(values[EPOCHS_DATABASE]);
		latest->extension = DatumGetObjectId(values[EPOCHS_EXTENSION]);
		latest->timeline = (uint32) DatumGetInt32(values[EPOCHS_TIMELINE]);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return latest->epoch != 0;
}

void
epoch_insert(const Epoch *epoch)
{
	Relation	rel = open_small("epochs", RowExclusiveLock);
	Datum		values[EPOCHS_COLUMNS];
	bool		nulls[EPOCHS_COLUMNS] = {false};

	values[EPOCHS_FIRST_TICK] = Int64GetDatum(epoch->first_tick);
	values[EPOCHS_EPOCH] = UInt32GetDatum(epoch->epoch);
	values[EPOCHS_ERA] = Int64GetDatum(epoch->era);
	values[EPOCHS_SYSTEM] = Int64GetDatum((int64) epoch->system_identifier);
	values[EPOCHS_DATABASE] = ObjectIdGetDatum(epoch->database);
	values[EPOCHS_EXTENSION] = ObjectIdGetDatum(epoch->extension);
	values[EPOCHS_TIMELINE] = Int32GetDatum((int32) epoch->timeline);
	values[EPOCHS_BEGAN_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	bo_storage_insert(rel, values, nulls);
	table_close(rel, NoLock);
}

void
tick_insert(const Tick *tick, Datum snapshot)
{
	Relation	leaf = leaf_open(&tick_leaves, LEAF_OF(tick->tick, TICKS_LEAF_BITS), RowExclusiveLock);
	Datum		values[TICKS_COLUMNS];
	bool		nulls[TICKS_COLUMNS] = {false};

	if (leaf == NULL)
		ereport(ERROR,
				(errcode(BO_UNAVAILABLE),
				 errmsg("table events.ticks has no partition for tick %lld", (long long) tick->tick),
				 bo_code("log_partition_missing", "the keeper of this database has not made it in time"),
				 errhint("Look into the server log for \"backoffice keeper\".")));
	values[TICKS_TICK - 1] = Int64GetDatum(tick->tick);
	values[TICKS_ERA - 1] = Int64GetDatum(tick->era);
	values[TICKS_SEQ_LO - 1] = Int64GetDatum(tick->seq_lo);
	values[TICKS_SEQ_HI - 1] = Int64GetDatum(tick->seq_hi);
	values[TICKS_NEXT_XID - 1] = FullTransactionIdGetDatum(FullTransactionIdFromU64(tick->next_xid));
	values[TICKS_AT - 1] = TimestampTzGetDatum(tick->at);
	values[TICKS_EPOCH - 1] = UInt32GetDatum(tick->epoch);
	values[TICKS_SNAPSHOT - 1] = snapshot;
	bo_storage_insert(leaf, values, nulls);
	table_close(leaf, NoLock);
}

Datum
tick_snapshot_of_closed_era(void)
{
	StoredSnapshot *snapshot = palloc0(offsetof(StoredSnapshot, xip));

	SET_VARSIZE(snapshot, offsetof(StoredSnapshot, xip));
	snapshot->xmin = snapshot->xmax = XMAX_OF_CLOSED_ERA;
	return PointerGetDatum(snapshot);
}
