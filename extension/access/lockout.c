/*
 * lockout.c
 *		Failed log-ins, in shared memory: no rollback undoes them.
 *
 * Three counters see every attempt: of the account from this address, of the
 * account from anywhere, of the address on any account.  Some failures are
 * free; each further one makes the next attempt wait twice as long, up to a
 * limit.  Attempts that come too early are refused and not counted, so the
 * wait always ends by itself.
 *
 * Somebody else's guesses must not keep an account's owner out: from an
 * address that the account has logged in from before, only the first counter
 * holds.
 *
 * An attempt is counted before the check and forgiven after a success, so that
 * attempts made at once cannot pass together.  A set-associative table: each
 * key has WAYS places, and where they are taken the counter with the fewest
 * failures gives way.  A restart of the server forgets all.
 */
#include "access/sessions.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define SETS 2048
#define WAYS 8
#define SHARED_DELAY_S 60		/* at most, where others may have caused it */
#define SHARED_FREE_FACTOR 10	/* free failures of an account from anywhere, or of an address */

typedef enum CounterKind
{
	COUNTER_PAIR,
	COUNTER_ACCOUNT,
	COUNTER_ADDRESS,
	COUNTER_KINDS
} CounterKind;

typedef struct Counter
{
	uint64		key;			/* 0: free */
	TimestampTz last;
	TimestampTz until;			/* no attempt before */
	int32		failures;
} Counter;

static Counter *counters;
static LWLock *lock;
static int	free_failures = 5;
static int	max_delay_s = 300;
static int	memory_s = 3600;

static Size
counters_size(void)
{
	return mul_size(SETS * WAYS, sizeof(Counter));
}

uint64
lockout_subject(const void *data, Size length)
{
	return hash_bytes_extended(data, (int) length, 0);
}

static uint64
key_of(CounterKind kind, const Attempt *attempt)
{
	uint64		parts[4] = {(uint64) MyDatabaseId << 8 | kind, (uint64) attempt->purpose,
		kind == COUNTER_ADDRESS ? 0 : attempt->account, kind == COUNTER_ACCOUNT ? 0 : attempt->address};
	uint64		key = hash_bytes_extended((const unsigned char *) parts, sizeof(parts), 0);

	return key ? key : 1;
}

static bool
holds(CounterKind kind, const Attempt *attempt)
{
	if (kind == COUNTER_PAIR)
		return true;
	if (kind == COUNTER_ADDRESS && attempt->address == 0)
		return false;
	return !attempt->known_address;
}

/* Under the lock. */
static Counter *
counter_of(uint64 key, TimestampTz now)
{
	Counter    *set = &counters[key % SETS * WAYS];
	Counter    *victim = set;

	for (int i = 0; i < WAYS; i++)
	{
		Counter    *counter = &set[i];

		if (counter->key != 0 && now >= Max(counter->until, counter->last + (int64) memory_s * USECS_PER_SEC))
			counter->key = 0;
		if (counter->key == key)
			return counter;
		if (counter->key == 0 || (victim->key != 0 && counter->failures < victim->failures))
			victim = counter;
	}
	memset(victim, 0, sizeof(Counter));
	victim->key = key;
	victim->last = now;
	return victim;
}

static int64
delay_s(CounterKind kind, int failures)
{
	int			limit = kind == COUNTER_PAIR ? max_delay_s : Min(SHARED_DELAY_S, max_delay_s);
	int			beyond = failures - free_failures * (kind == COUNTER_PAIR ? 1 : SHARED_FREE_FACTOR);

	if (beyond <= 0)
		return 0;
	return beyond > 20 ? limit : Min(INT64CONST(1) << (beyond - 1), limit);
}

LockoutState
lockout_enter(const Attempt *attempt, int *retry_after_s)
{
	LockoutState state = LOCKOUT_FREE;
	TimestampTz now;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	/* Under the lock: to an earlier clock reading, what others counted since would be in the future. */
	now = bo_monotonic();
	*retry_after_s = 0;
	for (int kind = 0; kind < COUNTER_KINDS; kind++)
	{
		Counter    *counter;

		if (!holds(kind, attempt))
			continue;
		counter = counter_of(key_of(kind, attempt), now);
		if (counter->until > now)
		{
			int			wait = (int) ((counter->until - now) / USECS_PER_SEC) + 1;

			if (state == LOCKOUT_FREE)
				state = kind == COUNTER_ADDRESS ? LOCKOUT_ADDRESS : LOCKOUT_ACCOUNT;
			*retry_after_s = Max(*retry_after_s, wait);
		}
	}
	if (state == LOCKOUT_FREE)
		for (int kind = 0; kind < COUNTER_KINDS; kind++)
			if (holds(kind, attempt))
			{
				Counter    *counter = counter_of(key_of(kind, attempt), now);

				counter->failures++;
				counter->last = now;
				counter->until = now + delay_s(kind, counter->failures) * USECS_PER_SEC;
			}
	LWLockRelease(lock);
	return state;
}

/* It was no failure: the pair starts anew, for the shared counters this attempt never was. */
void
lockout_forgive(const Attempt *attempt, bool success)
{
	TimestampTz now;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	now = bo_monotonic();
	for (int kind = 0; kind < COUNTER_KINDS; kind++)
		if (holds(kind, attempt))
		{
			Counter    *counter = counter_of(key_of(kind, attempt), now);

			if (kind == COUNTER_PAIR && success)
				counter->failures = 0;
			else if (counter->failures > 0)
				counter->failures--;
			counter->until = 0;
		}
	LWLockRelease(lock);
}

void
lockout_init(void)
{
	DefineCustomIntVariable("backoffice.login_free_failures",
							"Failed log-ins to an account from one address that cost nothing.",
							"Ten times as many for the account from all addresses together, and for an address on all accounts. Wrong second factors count alike, apart from passwords.",
							&free_failures, 5, 1, 1000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.login_max_delay",
							"How long the next attempt has to wait at most after failed log-ins.",
							"The wait doubles from a second on. Where other addresses caused it, it is at most a minute.",
							&max_delay_s, 300, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.login_failure_memory",
							"How long after the last one failed log-ins are forgotten.",
							NULL, &memory_s, 3600, 1, 7 * 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	bo_shmem_register("backoffice failed log-ins", counters_size, (void **) &counters, NULL, &lock);
}
