/*
 * storage_rows.c
 *		Single rows without the executor: found by a unique index, changed
 *		without waiting, inserted in bulk.
 */
#include "core/storage.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/hio.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/*
 * SnapshotSelf: what is committed at this instant, and our own.  The row may
 * be changing under our eyes; bo_storage_update() is what notices.
 */
HeapTuple
bo_storage_find(Relation rel, Relation index, ScanKey keys, int nkeys)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = index_beginscan(rel, index, SnapshotSelf, nkeys, 0);
	HeapTuple	tuple = NULL;

	index_rescan(scan, keys, nkeys, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
		tuple = ExecCopySlotHeapTuple(slot);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return tuple;
}

struct StorageProbe
{
	Relation	rel;
	Relation	index;
	TupleTableSlot *slot;
	IndexScanDesc scan;			/* NULL until the first question */
};

StorageProbe *
bo_storage_probe_begin(Relation rel, Oid index)
{
	StorageProbe *probe = palloc0(sizeof(StorageProbe));

	probe->rel = rel;
	probe->index = index_open(index, AccessShareLock);
	probe->slot = table_slot_create(rel, NULL);
	return probe;
}

bool
bo_storage_probe(StorageProbe *probe, ScanKey keys, int nkeys)
{
	bool		found;

	if (probe->scan == NULL)
	{
		/* The scan outlives the memory in which questions are asked. */
		MemoryContext caller = MemoryContextSwitchTo(GetMemoryChunkContext(probe));

		probe->scan = index_beginscan(probe->rel, probe->index, SnapshotSelf, nkeys, 0);
		MemoryContextSwitchTo(caller);
	}
	index_rescan(probe->scan, keys, nkeys, NULL, 0);
	found = index_getnext_slot(probe->scan, ForwardScanDirection, probe->slot);
	ExecClearTuple(probe->slot);
	return found;
}

void
bo_storage_probe_end(StorageProbe *probe)
{
	if (probe->scan != NULL)
		index_endscan(probe->scan);
	ExecDropSingleTupleTableSlot(probe->slot);
	index_close(probe->index, NoLock);
	pfree(probe);
}

/*
 * Is it only this very transaction that has locked the row?  heap_update()
 * calls that "being modified" too, and told to wait would not have to.  Our
 * lock must keep others from changing the row; a key share lock does not, but
 * on a version that this transaction made it will do: nobody else sees that,
 * and locks taken before an update are carried over as key share locks.
 */
static bool
locked_by_us(HeapTuple row)
{
	HeapTupleHeader header = row->t_data;
	TransactionId xmax = HeapTupleHeaderGetRawXmax(header);
	bool		strong = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header));
	MultiXactMember *members;
	int			nmembers;
	bool		ours = true;

	if (header->t_infomask & HEAP_XMAX_INVALID)
		return false;
	if (!(header->t_infomask & HEAP_XMAX_IS_MULTI))
		return HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) &&
			(strong || HEAP_XMAX_IS_EXCL_LOCKED(header->t_infomask)) && TransactionIdIsCurrentTransactionId(xmax);

	/* Several locks: ours from different subtransactions, perhaps others', and an update that was rolled back. */
	nmembers = GetMultiXactIdMembers(xmax, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask));
	for (int i = 0; i < nmembers; i++)
	{
		if (!TransactionIdIsCurrentTransactionId(members[i].xid))
			ours = ours && !TransactionIdIsInProgress(members[i].xid);
		else if (members[i].status >= MultiXactStatusForNoKeyUpdate)
			strong = true;
	}
	if (nmembers > 0)
		pfree(members);
	return ours && strong;
}

#ifdef USE_ASSERT_CHECKING
/*
 * heap_update() answers TM_BeingModified when it is told not to wait, but
 * asserts that nobody asks.  So where assertions are on, the row is locked first.
 */
static bool
lock_if_free(Relation rel, HeapTuple row)
{
	HeapTupleData locked = {.t_self = row->t_self};
	TM_FailureData failure;
	Buffer		buffer;
	TM_Result	result = heap_lock_tuple(rel, &locked, GetCurrentCommandId(true), LockTupleExclusive, LockWaitSkip, false,
										 &buffer, &failure);

	ReleaseBuffer(buffer);
	return result == TM_Ok;
}
#endif

bool
bo_storage_update(Relation rel, HeapTuple row, HeapTuple tuple)
{
	TM_FailureData failure;
	LockTupleMode mode;
	bool		wait = locked_by_us(row);

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
#ifdef USE_ASSERT_CHECKING
	if (!lock_if_free(rel, row))
		return false;
	wait = true;
#endif
	if (heap_update(rel, &row->t_self, tuple, GetCurrentCommandId(true), InvalidSnapshot, wait,
					&failure, &mode
#if PG_VERSION_NUM >= 160000
					,&(TU_UpdateIndexes) {TU_None}
#endif
					) != TM_Ok)
		return false;
	if (!HeapTupleIsHeapOnly(tuple))
		bo_storage_index(rel, tuple);
	CommandCounterIncrement();
	return true;
}

void
bo_storage_insert_many(Relation rel, HeapTuple *tuples, int ntuples, BulkInsertState bulk)
{
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * ntuples);

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	for (int i = 0; i < ntuples; i++)
	{
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
		ExecStoreHeapTuple(tuples[i], slots[i], false);
	}
	heap_multi_insert(rel, slots, ntuples, GetCurrentCommandId(true), 0, bulk);
	for (int i = 0; i < ntuples; i++)
	{
		tuples[i]->t_self = slots[i]->tts_tid;
		ExecDropSingleTupleTableSlot(slots[i]);
	}
	pfree(slots);
	bo_storage_index_many(rel, tuples, ntuples);
}
