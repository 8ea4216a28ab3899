/*
 * hashing.c
 *		How many passwords are hashed at once.
 *
 * Each takes 19 MiB and a processor for some 20 ms: without a limit a burst
 * of log-ins takes both from everybody else.  Whoever finds no place waits a
 * while; where too many wait already, or for too long, the answer is "busy".
 *
 * Between taking a place and giving it back nothing can raise an error: a
 * place is lost only with the server.
 */
#include "access/sessions.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define WAITERS_PER_PLACE 4

typedef struct HashPlaces
{
	slock_t		mutex;
	int			taken;
	int			most_taken;		/* ever, for the tests */
	int			waiting;
	ConditionVariable freed;
	pg_atomic_uint64 hashes;	/* done since the server started */
} HashPlaces;

static HashPlaces *places;
static int	limit = 4;
static int	wait_ms = 2000;

PG_FUNCTION_INFO_V1(access_password_hashing);

static Size
places_size(void)
{
	return sizeof(HashPlaces);
}

static void
places_init(void *address)
{
	HashPlaces *fresh = address;

	SpinLockInit(&fresh->mutex);
	ConditionVariableInit(&fresh->freed);
	pg_atomic_init_u64(&fresh->hashes, 0);
}

static bool
take(void)
{
	bool		taken;

	SpinLockAcquire(&places->mutex);
	taken = places->taken < limit;
	if (taken)
	{
		places->taken++;
		places->most_taken = Max(places->most_taken, places->taken);
	}
	SpinLockRelease(&places->mutex);
	return taken;
}

static bool
join_queue(void)
{
	bool		joined;

	SpinLockAcquire(&places->mutex);
	joined = places->waiting < limit * WAITERS_PER_PLACE;
	if (joined)
		places->waiting++;
	SpinLockRelease(&places->mutex);
	return joined;
}

static void
leave_queue(int code, Datum arg)
{
	SpinLockAcquire(&places->mutex);
	places->waiting--;
	SpinLockRelease(&places->mutex);
}

/* Until there is a place, or the time is over. */
static bool
wait_for_place(void)
{
	TimestampTz end = bo_monotonic() + (int64) wait_ms * 1000;
	bool		taken;

	ConditionVariablePrepareToSleep(&places->freed);
	while (!(taken = take()))
	{
		long		left_ms = TimestampDifferenceMilliseconds(bo_monotonic(), end);

		if (left_ms <= 0 || ConditionVariableTimedSleep(&places->freed, left_ms, PG_WAIT_EXTENSION))
		{
			taken = take();
			break;
		}
	}
	ConditionVariableCancelSleep();
	return taken;
}

bool
hashing_begin(void)
{
	bool		taken;

	if (take())
		return true;
	if (!join_queue())
		return false;
	PG_ENSURE_ERROR_CLEANUP(leave_queue, (Datum) 0);
	{
		taken = wait_for_place();
	}
	PG_END_ENSURE_ERROR_CLEANUP(leave_queue, (Datum) 0);
	leave_queue(0, (Datum) 0);
	return taken;
}

void
hashing_end(void)
{
	pg_atomic_fetch_add_u64(&places->hashes, 1);
	SpinLockAcquire(&places->mutex);
	places->taken--;
	SpinLockRelease(&places->mutex);
	ConditionVariableSignal(&places->freed);
}

/* password_hashing(): hashes done, places taken now, and at most at once */
Datum
access_password_hashing(PG_FUNCTION_ARGS)
{
	JsonOut		json;
	int			taken,
				most_taken;

	SpinLockAcquire(&places->mutex);
	taken = places->taken;
	most_taken = places->most_taken;
	SpinLockRelease(&places->mutex);
	json_begin(&json);
	json_int(&json, "hashes", (int64) pg_atomic_read_u64(&places->hashes));
	json_int(&json, "running", taken);
	json_int(&json, "most_at_once", most_taken);
	PG_RETURN_JSONB_P(json_end(&json));
}

void
hashing_init(void)
{
	DefineCustomIntVariable("backoffice.password_hashes_at_once",
							"Passwords that are hashed at the same time, 19 MiB and a processor each.",
							"Log-ins beyond wait; see backoffice.password_hash_wait.",
							&limit, 4, 1, 256, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.password_hash_wait",
							"How long a log-in waits for its password to be hashed before it is answered \"busy\".",
							"At most four times as many wait as are hashed at once.",
							&wait_ms, 2000, 0, 60000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	bo_shmem_register("backoffice password hashing", places_size, (void **) &places, places_init, NULL);
}
