/*
 * aside.c
 *		What the keeper tried and failed to do, and leaves for a while.
 */
#include "certificates/aside.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define ASIDE_FOR_MS 30000
#define ASIDE_MAX 20000

bool
aside_put(Aside *aside, const pg_uuid_t *id)
{
	if (aside->count == ASIDE_MAX)
		return false;
	if (aside->count == aside->room)
	{
		int			room = aside->room == 0 ? 64 : Min(aside->room * 2, ASIDE_MAX);

		aside->ids = aside->ids == NULL ? MemoryContextAlloc(TopMemoryContext, room * sizeof(pg_uuid_t))
			: repalloc(aside->ids, room * sizeof(pg_uuid_t));
		aside->room = room;
	}
	if (aside->count == 0)
		aside->since = bo_monotonic();
	aside->ids[aside->count++] = *id;
	return true;
}

Datum
aside_array(Aside *aside)
{
	Datum	   *datums;

	if (aside->count > 0 && TimestampDifferenceExceeds(aside->since, bo_monotonic(), ASIDE_FOR_MS))
		aside->count = 0;
	datums = palloc(Max(aside->count, 1) * sizeof(Datum));
	for (int i = 0; i < aside->count; i++)
		datums[i] = UUIDPGetDatum(&aside->ids[i]);
	return PointerGetDatum(construct_array(datums, aside->count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}
