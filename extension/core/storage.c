/*
 * storage.c
 *		Heap writes without the executor.
 */
#include "core/storage.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "core/settings.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/guc.h"

bool		bo_direct_writes = true;

/* Of plain columns and all rows: ours, nearly all, for which an executor's state would cost more than the entry. */
static void
index_plainly(Relation rel, Relation index, HeapTuple *tuples, int ntuples)
{
	Form_pg_index form = index->rd_index;
	IndexInfo	info = {0};

	info.type = T_IndexInfo;
	info.ii_Unique = form->indisunique;
	info.ii_ReadyForInserts = true;
	for (int n = 0; n < ntuples; n++)
	{
		Datum		keys[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		for (int i = 0; i < form->indnatts; i++)
			keys[i] = heap_getattr(tuples[n], form->indkey.values[i], RelationGetDescr(rel), &nulls[i]);
		index_insert(index, keys, nulls, &tuples[n]->t_self, rel,
					 form->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, &info);
	}
}

/* Of expressions, or of some rows only. */
static void
index_by_executor(Relation rel, Relation index, HeapTuple *tuples, int ntuples)
{
	IndexInfo  *info = BuildIndexInfo(index);
	EState	   *estate = CreateExecutorState();
	ExprContext *context = GetPerTupleExprContext(estate);
	ExprState  *predicate = ExecPrepareQual(info->ii_Predicate, estate);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);

	context->ecxt_scantuple = slot;
	for (int n = 0; n < ntuples; n++)
	{
		Datum		keys[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		ResetExprContext(context);
		ExecStoreHeapTuple(tuples[n], slot, false);
		if (!ExecQual(predicate, context))
			continue;
		FormIndexDatum(info, slot, estate, keys, nulls);
		index_insert(index, keys, nulls, &tuples[n]->t_self, rel,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
	}
	ExecDropSingleTupleTableSlot(slot);
	FreeExecutorState(estate);
}

static bool
is_plain(Relation index)
{
	return heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

void
bo_storage_index_many(Relation rel, HeapTuple *tuples, int ntuples)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		/* One that is being made concurrently comes to these rows by itself. */
		if (index->rd_index->indisready)
			(is_plain(index) ? index_plainly : index_by_executor) (rel, index, tuples, ntuples);
		index_close(index, NoLock);
	}
	list_free(indexes);
}

void
bo_storage_index(Relation rel, HeapTuple tuple)
{
	bo_storage_index_many(rel, &tuple, 1);
}

void
bo_storage_insert(Relation rel, const Datum *values, const bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), (Datum *) values, (bool *) nulls);

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	heap_insert(rel, tuple, GetCurrentCommandId(true), 0, NULL);
	bo_storage_index(rel, tuple);
	heap_freetuple(tuple);
}

void
storage_init(void)
{
	DefineCustomBoolVariable("backoffice.direct_writes",
							 "Writes hot rows straight to the heap; off: through SQL.",
							 "Turn it off where a table's rows do not live in the table itself (Citus shells).",
							 &bo_direct_writes, true, PGC_SUSET, 0, NULL, NULL, NULL);
}
