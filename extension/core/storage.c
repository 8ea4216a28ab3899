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
#include "utils/guc.h"

bool		bo_direct_writes = true;

static void
insert_index_entries(Relation rel, HeapTuple tuple, const Datum *values, const bool *nulls)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);
		Form_pg_index form = index->rd_index;
		Datum		keys[INDEX_MAX_KEYS];
		bool		key_nulls[INDEX_MAX_KEYS];
		IndexInfo	info = {0};

		for (int i = 0; i < form->indnatts; i++)
		{
			AttrNumber	attno = form->indkey.values[i];

			if (attno <= 0)
				elog(ERROR, "index \"%s\" has an expression", RelationGetRelationName(index));
			keys[i] = values[attno - 1];
			key_nulls[i] = nulls[attno - 1];
		}
		info.type = T_IndexInfo;
		info.ii_Unique = form->indisunique;
		info.ii_ReadyForInserts = form->indisready;
		index_insert(index, keys, key_nulls, &tuple->t_self, rel,
					 form->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, &info);
		index_close(index, NoLock);
	}
	list_free(indexes);
}

void
bo_storage_insert(Relation rel, const Datum *values, const bool *nulls)
{
	HeapTuple	tuple = heap_form_tuple(RelationGetDescr(rel), (Datum *) values, (bool *) nulls);

	Assert(CheckRelationLockedByMe(rel, RowExclusiveLock, true));
	heap_insert(rel, tuple, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(rel, tuple, values, nulls);
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
