/*
 * attempt.c
 *		Work of the keeper that may fail and be left.
 */
#include "certificates/attempt.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define LOCK_TIMEOUT "100ms"
#define TELL_EVERY_MS 60000
#define ASIDE_FOR_MS 30000
#define ASIDE_MAX 20000

static void
tell_failure(const char *what, const char *why)
{
	static TimestampTz told_at = 0;

	if (told_at != 0 && !TimestampDifferenceExceeds(told_at, bo_monotonic(), TELL_EVERY_MS))
		return;
	told_at = bo_monotonic();
	ereport(LOG,
			(errmsg("%s is due, but could not be changed: %s", what, why),
			 errdetail("It is tried again before long; perhaps there are others.")));
}

static void
with_lock_timeout(void (*work) (void *arg), void *arg)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	work(arg);
	AtEOXact_GUC(true, level);
}

bool
attempt(void (*work) (void *arg), void *arg, const char *what)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	CHECK_FOR_INTERRUPTS();
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		with_lock_timeout(work, arg);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* The task's time is over. */
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		if (what != NULL)
			tell_failure(what, edata->message);
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return done;
}

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
