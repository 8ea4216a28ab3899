/*
 * storage.c
 *		Heap writes without the executor.
 */
#include "core/storage.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "core/settings.h"
#include "nodes/execnodes.h"
#include "storage/lmgr.h"
#include "utils/guc.h"

bool		bo_direct_writes = true;

static void
insert_into_index(Relation rel, Relation index, IndexInfo *info, HeapTuple tuple)
{
	Form_pg_index form = index->rd_index;
	Datum		keys[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	for (int i = 0; i < form->indnatts; i++)
	{
		AttrNumber	attno = form->indkey.values[i];

		if (attno <= 0)
			elog(ERROR, "index \"%s\" has an expression", RelationGetRelationName(index));
		keys[i] = heap_getattr(tuple, attno, RelationGetDescr(rel), &nulls[i]);
	}
	index_insert(index, keys, nulls, &tuple->t_self, rel,
				 form->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
}

void
bo_storage_index_many(Relation rel, HeapTuple *tuples, int ntuples)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);
		IndexInfo	info = {0};

		info.type = T_IndexInfo;
		info.ii_Unique = index->rd_index->indisunique;
		info.ii_ReadyForInserts = index->rd_index->indisready;
		for (int i = 0; i < ntuples; i++)
			insert_into_index(rel, index, &info, tuples[i]);
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
