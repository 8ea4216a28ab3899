/*
 * marker.h
 *		Empty tables whose relcache invalidation says that something changed.
 *
 * The message travels with the commit record: through COMMIT, COMMIT PREPARED
 * and the replay of a standby (see access/rights.c).
 */
#ifndef BACKOFFICE_MARKER_H
#define BACKOFFICE_MARKER_H

#include "core/core.h"

typedef struct Marker
{
	const char *table;			/* in schema access */
	uint64		generation;		/* moves whenever it was invalidated; from 1 */
	Oid			relid;			/* InvalidOid: unknown, every message counts */
	struct Marker *next;
} Marker;

extern void markers_init(void);
extern void marker_register(Marker *marker);

/* Before a look-up whose result is to be kept: processes messages and returns the generation it will be of. */
extern uint64 marker_read(Marker *marker);

/* At the commit of this transaction, everybody's generation moves. */
extern void marker_invalidate(const Marker *marker);

#endif
