/*
 * throttle.c
 *		Counters of failed guesses.
 *
 * A set-associative table: each key has WAYS places, and where they are full
 * the counter with the fewest failures gives way.  Whoever floods the table
 * with codes to push a counter out meets the limits per principal and for the
 * whole database first, whose counters are many failures ahead.
 *
 * A failure is counted before the check and taken back after a success, so
 * that guesses made at once cannot pass together.  Counters of a window end
 * with it.  A restart of the server forgets them.
 */
#include "certificates/throttle.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define SETS 2048
#define WAYS 8

typedef enum ThrottleKind
{
	THROTTLE_CODE,
	THROTTLE_PRINCIPAL,
	THROTTLE_DATABASE,
	THROTTLE_KINDS
} ThrottleKind;

typedef struct Counter
{
	uint64		key;			/* 0: free */
	TimestampTz since;
	int32		failures;
} Counter;

static Counter *counters;
static LWLock *lock;
static int	limits[THROTTLE_KINDS] = {5, 100, 2000};
static int	window_s = 900;

static Size
counters_size(void)
{
	return mul_size(SETS * WAYS, sizeof(Counter));
}

static uint64
key_of(ThrottleKind kind, const Guess *guess)
{
	uint64		seed = ((uint64) MyDatabaseId << 8) | kind;
	uint64		subject = kind == THROTTLE_CODE ? guess->code : kind == THROTTLE_PRINCIPAL ? guess->principal : 0;
	uint64		key = hash_bytes_extended((const unsigned char *) &subject, sizeof(subject), seed);

	return key ? key : 1;
}

/* The key's counter in the current window, made if need be.  Under the lock. */
static Counter *
counter_of(uint64 key, TimestampTz now)
{
	Counter    *set = &counters[key % SETS * WAYS];
	Counter    *victim = set;

	for (int i = 0; i < WAYS; i++)
	{
		Counter    *counter = &set[i];

		if (counter->key != 0 && now >= counter->since + (int64) window_s * USECS_PER_SEC)
			counter->key = 0;
		if (counter->key == key)
			return counter;
		if (counter->key == 0 || (victim->key != 0 && counter->failures < victim->failures))
			victim = counter;
	}
	victim->key = key;
	victim->since = now;
	victim->failures = 0;
	return victim;
}

void
throttle_enter(const Guess *guess)
{
	static const char *const names[] = {"code", "principal", "database"};
	TimestampTz now = bo_monotonic();
	int			refused = -1;
	int64		retry_after_s = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int kind = 0; kind < THROTTLE_KINDS; kind++)
	{
		Counter    *counter = counter_of(key_of(kind, guess), now);

		if (counter->failures >= limits[kind])
		{
			refused = kind;
			retry_after_s = (counter->since + (int64) window_s * USECS_PER_SEC - now) / USECS_PER_SEC + 1;
			break;
		}
	}
	if (refused < 0)
		for (int kind = 0; kind < THROTTLE_KINDS; kind++)
			counter_of(key_of(kind, guess), now)->failures++;
	LWLockRelease(lock);

	if (refused >= 0)
		ereport(ERROR,
				(errcode(BO_THROTTLED),
				 errmsg("too many failed checks of codes"),
				 bo_code("throttled", "per %s; retry after " INT64_FORMAT " s", names[refused], retry_after_s),
				 errhint("Wait, and check the code and the CVC that were typed.")));
}

void
throttle_forgive(const Guess *guess)
{
	TimestampTz now = bo_monotonic();

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int kind = 0; kind < THROTTLE_KINDS; kind++)
	{
		Counter    *counter = counter_of(key_of(kind, guess), now);

		if (counter->failures > 0)
			counter->failures--;
	}
	LWLockRelease(lock);
}

void
throttle_init(void)
{
	DefineCustomIntVariable("backoffice.cvc_failures_per_code",
							"Failed checks of one code within the window, after which it is not checked any more.",
							NULL, &limits[THROTTLE_CODE], 5, 1, INT_MAX / 2, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.cvc_failures_per_principal",
							"Failed checks by one user, or one organization's services, within the window.",
							NULL, &limits[THROTTLE_PRINCIPAL], 100, 1, INT_MAX / 2, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.cvc_failures_per_database",
							"Failed checks by all together within the window.",
							NULL, &limits[THROTTLE_DATABASE], 2000, 1, INT_MAX / 2, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.cvc_failure_window",
							"How long failed checks of codes are counted together.",
							NULL, &window_s, 900, 1, 7 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	bo_shmem_register("backoffice guesses", counters_size, (void **) &counters, NULL, &lock);
}
