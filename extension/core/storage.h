/*
 * storage.h
 *		The only place that writes heap tuples without the executor.
 *
 * backoffice.direct_writes = off sends each path through its SQL variant (for
 * tables whose rows live elsewhere, as on Citus); tests hold the two equal.
 */
#ifndef BACKOFFICE_STORAGE_H
#define BACKOFFICE_STORAGE_H

#include "core/core.h"

#include "access/heapam.h"
#include "access/skey.h"
#include "utils/rel.h"

/* backoffice.direct_writes */
extern bool bo_direct_writes;

/*
 * Inserts one row and its index entries.  For tables without triggers and
 * without constraints beyond NOT NULL and unique indexes; the caller holds
 * RowExclusiveLock and has checked rights.
 */
extern void bo_storage_insert(Relation rel, const Datum *values, const bool *nulls);

/* The same for many rows; their t_self is set.  The caller increments the command counter. */
extern void bo_storage_insert_many(Relation rel, HeapTuple *tuples, int ntuples, BulkInsertState bulk);

/* The row with these keys as it is now (not as the transaction's snapshot has it), palloc'd; NULL: none. */
extern HeapTuple bo_storage_find(Relation rel, Relation index, ScanKey keys, int nkeys);

/* Is there a row with these keys now?  For many questions to one index. */
typedef struct StorageProbe StorageProbe;
extern StorageProbe *bo_storage_probe_begin(Relation rel, Oid index);
extern bool bo_storage_probe(StorageProbe *probe, ScanKey keys, int nkeys);
extern void bo_storage_probe_end(StorageProbe *probe);

/*
 * Puts tuple in the place of row, as found, and counts the command up.  False,
 * and nothing done: another transaction has locked or changed it.  Never
 * waits.  Conditions as for bo_storage_insert().
 */
extern bool bo_storage_update(Relation rel, HeapTuple row, HeapTuple tuple);

/* Index entries of rows that are in the heap. */
extern void bo_storage_index(Relation rel, HeapTuple tuple);
extern void bo_storage_index_many(Relation rel, HeapTuple *tuples, int ntuples);

#endif
