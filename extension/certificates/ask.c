/*
 * ask.c
 *		The rows behind the cursor, asked whenever it found nothing.
 *
 * A certificate behind the cursor is available when the transaction that took
 * it rolled back, or when it was released where it stood.  The keeper moves
 * such ones to the end, but not at once; and a reservation that stays in
 * progress (a prepared transaction) keeps it from moving the marks up, so that
 * millions of rows may lie between them and the cursor.  To ask all of these
 * for each customer of an empty pool would take a second each.
 *
 * So an asker leaves behind what it learned (AskedRows, in shared memory):
 * which rows were not settled, and from where on all have to be asked again.
 * A row is settled when it is not available and no transaction in progress
 * has changed it.  What can make such a row available again is its release
 * alone.  That gives it a number above all others, or, where it leaves it in
 * its slot, calls allocator_released(): after the change to the row, and so
 * for every asker either the change was visible (in progress, or done), or the
 * release comes after the asker began, which then leaves nothing behind.
 *
 * New numbers are above those of all settled rows: they are counted in the
 * pool's row, by transactions that hold its lock.  A number counted by a
 * transaction that rolled back is given again, but no row of it was settled.
 *
 * A row that is available but locked is left to whoever reserves it, but not
 * to who only moves it (movers.h).  Then the asker waits for the mover, which
 * waits for nobody, and asks again.
 */
#include "certificates/ask.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "certificates/movers.h"
#include "certificates/rows.h"
#include "core/storage.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#define ASK_ROUNDS_MAX 20		/* under a crowd of reservations each round finds something new */

typedef struct Asker
{
	Relation	rel;
	Relation	index;
	Snapshot	snapshot;
	const Pool *pool;
	TakeSlot	take;
	void	   *arg;
	MemoryContext attempt;
	AskedRows	learned;
	TransactionId mover;		/* who only moves available rows that could not be taken */
	bool		again;			/* there is something new to ask */
	bool		full;			/* no room for more unsettled rows: learned.from stays */
} Asker;

/* Changed by this transaction, or by one in progress as the snapshot has it. */
static bool
is_in_flux(HeapTuple row, Snapshot snapshot)
{
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data)) || certificate_is_taken(row, snapshot);
}

static void
learn(Asker *asker, int64 slot, bool settled)
{
	AskedRows  *learned = &asker->learned;

	if (asker->full)
		return;
	if (settled)
		learned->from = Max(learned->from, slot + 1);
	else if (learned->count < ASK_UNSETTLED_MAX)
		learned->unsettled[learned->count++] = slot;
	else
		asker->full = true;
}

static bool
try_slot(Asker *asker, int64 slot)
{
	MemoryContext caller = MemoryContextSwitchTo(asker->attempt);
	bool		taken = asker->take(slot, asker->arg);

	MemoryContextSwitchTo(caller);
	MemoryContextReset(asker->attempt);
	return taken;
}

/* An available row that could not be taken: will it be available elsewhere? */
static void
look_for_mover(Asker *asker, HeapTuple row)
{
	HeapTupleHeader header = row->t_data;
	TransactionId changer;

	if (header->t_infomask & HEAP_XMAX_INVALID)
		return;
	/* Movers lock the row before they change it. */
	if (!HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		changer = HeapTupleHeaderGetUpdateXid(header);
	else if (header->t_infomask & HEAP_XMAX_IS_MULTI)
		return;
	else
		changer = HeapTupleHeaderGetRawXmax(header);
	if (!TransactionIdIsValid(changer) || TransactionIdIsCurrentTransactionId(changer))
		return;
	if (!TransactionIdIsInProgress(changer))
		asker->again = true;	/* it is over since the snapshot was taken */
	else if (!TransactionIdIsValid(asker->mover) && movers_has(changer))
	{
		asker->mover = changer;
		asker->again = true;
	}
}

/* The rows of slots first..last; true: one was taken. */
static bool
ask_range(Asker *asker, int64 first, int64 last)
{
	TupleDesc	desc = RelationGetDescr(asker->rel);
	TupleTableSlot *slot = table_slot_create(asker->rel, NULL);
	IndexScanDesc scan = index_beginscan(asker->rel, asker->index, asker->snapshot, 4, 0);
	ScanKeyData keys[4];
	bool		taken = false;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&asker->pool->organization_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&asker->pool->id));
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	index_rescan(scan, keys, 4, NULL, 0);
	while (!taken && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		HeapTuple	row = ExecFetchSlotHeapTuple(slot, false, NULL);
		bool		isnull;
		int64		number = DatumGetInt64(heap_getattr(row, certificates_table.column[C_SLOT_NO], desc, &isnull));

		CHECK_FOR_INTERRUPTS();
		if (!certificate_is_available(row, desc))
			learn(asker, number, !is_in_flux(row, asker->snapshot));
		else if (!(taken = try_slot(asker, number)))
		{
			learn(asker, number, false);
			look_for_mover(asker, row);
		}
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return taken;
}

static bool
ask(Asker *asker, const AskedRows *known, int64 hold_slot)
{
	int64		from = Max(known->from, hold_slot);

	for (int i = 0; i < known->count; i++)
		if (known->unsettled[i] < from && ask_range(asker, known->unsettled[i], known->unsettled[i]))
			return true;
	/* Those single rows say nothing about the others. */
	asker->learned.from = from;
	return ask_range(asker, from, PG_INT64_MAX);
}

/* Once.  asker->again: what was not to be had may be now. */
static bool
ask_once(Asker *asker, SlotCursor *cursor, int64 hold_slot)
{
	AskedRows	known = {0};
	bool		taken;

	/* Where rows are written elsewhere too, nothing tells us of releases. */
	if (bo_direct_writes)
		allocator_asked_rows(cursor, &asker->pool->organization_id, &asker->pool->id, &known);
	memset(&asker->learned, 0, sizeof(asker->learned));
	asker->learned.releases = known.releases;
	asker->mover = InvalidTransactionId;
	asker->again = asker->full = false;
	asker->snapshot = RegisterSnapshot(GetLatestSnapshot());
	taken = ask(asker, &known, hold_slot);
	UnregisterSnapshot(asker->snapshot);
	if (!taken && bo_direct_writes)
		allocator_learn_rows(cursor, &asker->pool->organization_id, &asker->pool->id, &asker->learned);
	return taken;
}

bool
ask_rows(Relation rel, const Pool *pool, SlotCursor *cursor, int64 hold_slot, TakeSlot take, void *arg)
{
	Asker		asker = {.rel = rel,.pool = pool,.take = take,.arg = arg};
	bool		taken;

	asker.attempt = AllocSetContextCreate(CurrentMemoryContext, "backoffice reservation attempt", ALLOCSET_DEFAULT_SIZES);
	asker.index = index_open(certificates_table.slot_index, AccessShareLock);
	for (int round = 0;; round++)
	{
		taken = ask_once(&asker, cursor, hold_slot);
		if (taken || !asker.again || round == ASK_ROUNDS_MAX)
			break;
		if (TransactionIdIsValid(asker.mover))
			XactLockTableWait(asker.mover, NULL, NULL, XLTW_None);
		CHECK_FOR_INTERRUPTS();
	}
	index_close(asker.index, NoLock);
	MemoryContextDelete(asker.attempt);
	return taken;
}
