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
#include "utils/rel.h"

/* backoffice.direct_writes */
extern bool bo_direct_writes;

/*
 * Inserts one row and its index entries.  For tables without triggers,
 * constraints beyond NOT NULL and unique indexes, and without expression or
 * partial indexes; the caller holds RowExclusiveLock and has checked rights.
 */
extern void bo_storage_insert(Relation rel, const Datum *values, const bool *nulls);

#endif
