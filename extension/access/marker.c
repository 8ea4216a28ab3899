/*
 * marker.c
 *		One relcache callback for all markers.  It only counts.
 */
#include "access/marker.h"

#include "catalog/namespace.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

static Marker *markers = NULL;

static Oid
find_table(const Marker *marker)
{
	return get_relname_relid(marker->table, get_namespace_oid("access", false));
}

static void
count_invalidation(Datum arg, Oid relid)
{
	for (Marker *marker = markers; marker != NULL; marker = marker->next)
	{
		if (relid != InvalidOid && relid != marker->relid && marker->relid != InvalidOid)
			continue;
		marker->generation++;
		if (relid == marker->relid)
			marker->relid = InvalidOid; /* perhaps dropped: look it up again */
	}
}

uint64
marker_read(Marker *marker)
{
	marker->relid = find_table(marker);
	AcceptInvalidationMessages();
	return marker->generation;
}

void
marker_invalidate(const Marker *marker)
{
	Oid			relid = find_table(marker);

	if (OidIsValid(relid))		/* not while the extension is being created or dropped */
		CacheInvalidateRelcacheByRelid(relid);
}

void
marker_register(Marker *marker)
{
	marker->generation = 1;
	marker->relid = InvalidOid;
	marker->next = markers;
	markers = marker;
}

void
markers_init(void)
{
	CacheRegisterRelcacheCallback(count_invalidation, (Datum) 0);
}
