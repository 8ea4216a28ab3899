/*
 * sweep.c
 *		Holds that end, slots that were skipped, and the marks of pools.
 *
 * A sweep goes through a pool's certificates from hold_slot (nothing below is
 * available or reserved) to the allocator's cursor:
 *
 *	- reserved, and the hold is over: back to the pool (or voided, if its code
 *	  was shown);
 *	- available although the cursor has passed it (its reservation rolled back,
 *	  the server crashed, or it was released while the pool's slots were busy): a
 *	  new slot at the end;
 *	- locked by a transaction in progress, prepared ones too: left alone.
 *
 * Then the marks move up: hold_slot to the first certificate still available
 * or reserved, sweep_slot to the first still available.  A reservation in
 * progress looks available here, so neither mark passes it before it has
 * ended.  The keeper goes only as far as the cursor stood a round ago; a
 * certificate moved under the hands of one who is about to take it would do
 * no harm (that one finds it changed and takes the next), but cost two writes.
 *
 * A pool with many open reservations is swept in steps of STEP_SLOTS, each a
 * transaction of its own; all state that outlives a step is where to go on.
 *
 * Several pools with little to do share a transaction.  Where that fails, whatever
 * the reason, the rest of the round and the next give each pool its own, and each
 * certificate a subtransaction: those that cannot be written stay where they are,
 * those behind them do not.  A pool that fails even so is passed.
 */
#include "certificates/sweep.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "certificates/allocator.h"
#include "certificates/aside.h"
#include "certificates/level.h"
#include "certificates/movers.h"
#include "certificates/pools.h"
#include "certificates/release.h"
#include "core/spi.h"
#include "events/events.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SWEEP_INTERVAL_MS 1000
#define STEP_SLOTS 5000
#define STEP_POOLS 50			/* pools with little to do, in one transaction */
#define STEP_SETTLED 1000
#define ROUND_COST_FACTOR 10	/* rounds take this part of the time (1 / 10), no more */

PG_FUNCTION_INFO_V1(certificates_sweep);

/* Where a round over all pools stands. */
typedef struct Round
{
	pg_uuid_t	organization_id;	/* of the pool in work, or of the last one done */
	pg_uuid_t	pool_id;
	bool		in_pool;
	int64		from;			/* next slot to look at */
	int64		upto;			/* the cursor when this pool's sweep began */
	int64		next_slot;		/* and the pool's next slot */
	int64		passed;			/* what is available below this was handed out once; 0: no cursor then, go by sweep_slot */
	int64		first_open;		/* first slot seen that stays available or reserved; 0: none */
	int64		first_available;	/* first that stays available; 0: none */
	int64		settled;		/* certificates returned or voided */
	bool		at_once;		/* called by hand: look right up to the cursor */
	bool		carefully;		/* a certificate that cannot be written is left */
	bool		failed;			/* one was */
} Round;

static BoPlan next_pool_plan = {
	"SELECT organization_id, pool_id, next_slot, hold_slot FROM certificates.pool_slots "
	"WHERE (organization_id, pool_id) > ($1, $2) AND hold_slot < next_slot ORDER BY organization_id, pool_id LIMIT 1",
	2, {UUIDOID, UUIDOID}
};

static BoPlan open_slots_plan = {
	"SELECT slot_no, id, state = 'available', coalesce(hold_until <= $5, false) FROM certificates.certificates "
	"WHERE organization_id = $1 AND pool_id = $2 AND slot_no >= $3 AND slot_no < $4 AND state IN ('available', 'reserved') "
	"ORDER BY slot_no",
	5, {UUIDOID, UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID}
};

static BoPlan lock_pool_plan = {
	"SELECT sweep_slot FROM certificates.pool_slots WHERE organization_id = $1 AND pool_id = $2 FOR NO KEY UPDATE SKIP LOCKED",
	2, {UUIDOID, UUIDOID}
};

static BoPlan marks_plan = {
	"UPDATE certificates.pool_slots SET hold_slot = $3, sweep_slot = coalesce($4, greatest(sweep_slot, $5)) "
	"WHERE organization_id = $1 AND pool_id = $2 AND (hold_slot <> $3 OR sweep_slot <> coalesce($4, greatest(sweep_slot, $5)))",
	5, {UUIDOID, UUIDOID, INT8OID, INT8OID, INT8OID}
};

typedef struct OpenSlot
{
	int64		slot_no;
	pg_uuid_t	id;
	bool		available;
	bool		over;			/* reserved, and the hold has ended */
} OpenSlot;

/* The next pool that may have something open; false: the round is over. */
static bool
next_pool(Round *round)
{
	Datum		args[2] = {UUIDPGetDatum(&round->organization_id), UUIDPGetDatum(&round->pool_id)};
	SlotCursor *cursor;

	bo_spi_begin();
	if (bo_spi_run(&next_pool_plan, args, NULL, 1) == 0)
	{
		bo_spi_end();
		return false;
	}
	round->organization_id = bo_spi_uuid(0, 1);
	round->pool_id = bo_spi_uuid(0, 2);
	round->next_slot = bo_spi_int64(0, 3);
	round->from = bo_spi_int64(0, 4);
	bo_spi_end();
	cursor = allocator_find(&round->organization_id, &round->pool_id);
	round->upto = round->next_slot;
	round->passed = 0;
	if (cursor != NULL)
	{
		int64		next = (int64) pg_atomic_read_u64(&cursor->next);
		int64		seen = round->at_once ? next : (int64) pg_atomic_read_u64(&cursor->swept);

		/* A slot handed out this very moment is about to be taken: only those of a round ago are looked at. */
		round->passed = round->upto = Min(round->upto, seen);
		pg_atomic_write_u64(&cursor->swept, next);
	}
	if (round->upto < round->from)
		round->upto = round->from;
	round->first_open = round->first_available = 0;
	round->in_pool = true;
	return true;
}

static OpenSlot *
open_slots(const Round *round, int64 upto, int64 *count)
{
	Datum		args[5] = {UUIDPGetDatum(&round->organization_id), UUIDPGetDatum(&round->pool_id),
		Int64GetDatum(round->from), Int64GetDatum(upto), TimestampTzGetDatum(bo_now())};
	MemoryContext caller = CurrentMemoryContext;
	OpenSlot   *slots;

	bo_spi_begin();
	*count = bo_spi_run(&open_slots_plan, args, NULL, 0);
	slots = MemoryContextAlloc(caller, Max(*count, 1) * sizeof(OpenSlot));
	for (int64 i = 0; i < *count; i++)
		slots[i] = (OpenSlot) {bo_spi_int64(i, 1), bo_spi_uuid(i, 2), bo_spi_bool(i, 3), bo_spi_bool(i, 4)};
	bo_spi_end();
	return slots;
}

/* One certificate; true: nothing of it stays in this slot. */
static bool
settle_one(Round *round, const OpenSlot *slot, bool passed)
{
	char	   *state;

	if (slot->over)
	{
		ReleaseResult result = certificates_release(&round->organization_id, &slot->id, "hold_expired", "expired",
													bo_now(), false, &state);

		/* Released in place (the pool's slots were busy) it is still there; busy or extended, too. */
		if (result == RELEASE_VOIDED)
			round->settled++;
		if (result == RELEASED)
		{
			round->settled++;
			return true;
		}
		return result == RELEASE_VOIDED;
	}
	if (slot->available && passed &&
		certificates_return_slot(&round->organization_id, &round->pool_id, &slot->id))
	{
		round->settled++;
		return true;
	}
	return false;
}

typedef struct Settling
{
	Round	   *round;
	const OpenSlot *slot;
	bool		passed;
	bool		settled;
} Settling;

static void
try_settle(void *arg)
{
	Settling   *work = arg;

	work->settled = settle_one(work->round, work->slot, work->passed);
}

static bool
settle(Round *round, const OpenSlot *slot, bool passed)
{
	Settling	work = {round, slot, passed, false};
	int64		settled = round->settled;

	if (!round->carefully)
		return settle_one(round, slot, passed);
	if ((slot->over || (slot->available && passed)) &&
		!events_keeper_try(try_settle, &work, psprintf("certificate %s", bo_uuid_text(&slot->id))))
	{
		round->settled = settled;
		round->failed = true;
		return false;
	}
	return work.settled;
}

/* What nobody else told of the pool's state is told now. */
static void
leave_pool(Round *round)
{
	const Pool *pool = pool_by_id(&round->organization_id, &round->pool_id);

	round->in_pool = false;
	if (pool != NULL &&
		(pool->state == POOL_LOW || pool->state == POOL_EMPTY ||
		 (pool->state == POOL_OPEN && round->next_slot - round->upto <= pool->low_water)))
		level_settle(pool);
}

/* After the last step: the marks, and the pool's state. */
static void
finish_pool(Round *round)
{
	Datum		args[5] = {UUIDPGetDatum(&round->organization_id), UUIDPGetDatum(&round->pool_id)};
	char		nulls[5] = {' ', ' ', ' ', round->first_available > 0 ? ' ' : 'n', ' '};

	args[2] = Int64GetDatum(round->first_open > 0 ? round->first_open : round->upto);
	args[3] = Int64GetDatum(round->first_available);
	args[4] = Int64GetDatum(round->upto);
	bo_spi_begin();
	if (bo_spi_run(&lock_pool_plan, args, NULL, 1) > 0)
		bo_spi_run(&marks_plan, args, nulls, 0);
	bo_spi_end();
	leave_pool(round);
}

/* One step: a stretch of slots of one pool. */
static void
step(Round *round)
{
	int64		upto = Min(round->upto, round->from + STEP_SLOTS);
	Datum		args[2] = {UUIDPGetDatum(&round->organization_id), UUIDPGetDatum(&round->pool_id)};
	int64		count;
	int64		sweep_slot = 1;
	OpenSlot   *slots;

	/* The pool's slots first, as everybody does who needs certificates too; busy: another time. */
	bo_spi_begin();
	if (bo_spi_run(&lock_pool_plan, args, NULL, 1) == 0)
	{
		bo_spi_end();
		leave_pool(round);
		return;
	}
	sweep_slot = bo_spi_int64(0, 1);
	bo_spi_end();

	slots = open_slots(round, upto, &count);
	for (int64 i = 0; i < count; i++)
	{
		/* Not by a cursor made since the round began: it has passed nothing of what lies in front of it. */
		bool		passed = slots[i].slot_no < Max(round->passed, sweep_slot);

		CHECK_FOR_INTERRUPTS();
		if (settle(round, &slots[i], passed))
			continue;
		if (round->first_open == 0)
			round->first_open = slots[i].slot_no;
		if (slots[i].available && round->first_available == 0)
			round->first_available = slots[i].slot_no;
	}
	pfree(slots);
	round->from = upto;
	if (round->from >= round->upto)
		finish_pool(round);
}

/* The keeper's: the pool that the last step was about. */
static struct
{
	pg_uuid_t	organization_id;
	pg_uuid_t	pool_id;
}			in_hand;

/* Some steps; true: the round goes on. */
static bool
sweep_some(Round *round, int steps)
{
	for (int i = 0; i < steps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!round->in_pool && !next_pool(round))
		{
			memset(round, 0, sizeof(Round));
			return false;
		}
		in_hand.organization_id = round->organization_id;
		in_hand.pool_id = round->pool_id;
		step(round);
		if (round->in_pool || round->settled >= STEP_SETTLED)
			break;
	}
	round->settled = 0;
	return true;
}

static bool
keeper_task(void)
{
	static Round round;			/* zero: from the first pool on */
	static TimestampTz began,
				rest_until;
	static bool failed,			/* the last call did not come to its end */
				failed_in_round,
				one_by_one;
	TimestampTz now = bo_monotonic();
	Round		work;
	bool		more;

	if (now < rest_until)
		return false;
	if (began == 0)
		began = now;
	if (failed && one_by_one)
	{
		round.organization_id = in_hand.organization_id;
		round.pool_id = in_hand.pool_id;
	}
	if (failed)
		failed_in_round = one_by_one = true;
	work = round;
	/* What a failed step learned is forgotten with its transaction: go on behind that pool. */
	round.in_pool = false;
	work.carefully = one_by_one;
	failed = true;
	more = sweep_some(&work, one_by_one ? 1 : STEP_POOLS);
	failed = false;
	failed_in_round |= work.failed;
	work.failed = false;
	round = work;
	if (!more)
	{
		one_by_one = failed_in_round;
		failed_in_round = false;
		rest_until = bo_monotonic() + (bo_monotonic() - began) * ROUND_COST_FACTOR;
		began = 0;
	}
	return more;
}

/* sweep(): a whole round now */
Datum
certificates_sweep(PG_FUNCTION_ARGS)
{
	Round		round;
	BoUser		user;
	int64		settled = 0;
	bool		more;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("a sweep needs isolation level read committed"),
				 bo_code("isolation_level", "it has to see the newest rows")));
	PreventCommandIfReadOnly("sweep()");
	user = bo_user_kernel();
	movers_enter();
	memset(&round, 0, sizeof(round));
	round.at_once = true;
	do
	{
		round.settled = 0;
		more = true;
		if (!round.in_pool && !next_pool(&round))
			more = false;
		else
			step(&round);
		settled += round.settled;
	} while (more);
	bo_user_restore(user);
	PG_RETURN_INT64(settled);
}

void
sweep_init(void)
{
	events_register_keeper_task("certificates: sweep", SWEEP_INTERVAL_MS, keeper_task);
}
