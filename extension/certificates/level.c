/*
 * level.c
 *		What is left in a pool, and that it is told once.
 *
 * Left is what could be had this moment: the slots in front of the cursor,
 * and the available ones behind it that no transaction in progress has taken
 * (what rolled back, until the keeper has moved it to the end, and while it does).
 *
 * Whoever reserves counts after it has written its row.  So of several that
 * pass the low-water mark together, the last to count sees the others' rows
 * and finds it passed, whatever the order of their commits; nobody waits.  The
 * first that finds it moves the pool's row to "low", and so emits pool.low in
 * its own transaction.  Only those who move the state lock that row (numbers of
 * slots are counted in pool_slots); one that finds it locked has been
 * forestalled, and looks again when it commits: if the other rolled back, it
 * is the one to tell.  Where all others were gone by then, the next
 * reservation or the keeper tells: the keeper only what is sure, whoever in
 * progress commits or not.  Who raises the level looks again at its
 * commit as well: others may have moved the state meanwhile.
 *
 * The row is written without regard to the transaction's snapshot, as
 * certificates are (reserve.c).
 */
#include "certificates/level.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "certificates/allocator.h"
#include "certificates/movers.h"
#include "certificates/rows.h"
#include "certificates/stream.h"
#include "core/spi.h"
#include "core/storage.h"
#include "events/events.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define LOOK_AGAIN_MAX 16		/* pools of one transaction; more are left to the keeper */

typedef struct Left
{
	int64		count;			/* could be had now, counted no further than was asked */
	int64		taken;			/* by transactions in progress: may come back */
} Left;

typedef struct PoolName
{
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
} PoolName;

/* To be looked at again before this transaction commits. */
static PoolName look_again[LOOK_AGAIN_MAX];
static int	look_again_count = 0;

static int64 told_available = -1;	/* in the event of a move; -1: not known */

static struct
{
	Oid			relid;
	Oid			pkey;
	AttrNumber	state;
	AttrNumber	version;
}			pools_table = {InvalidOid};

static BoPlan try_lock_plan = {
	"SELECT state FROM certificates.pools WHERE organization_id = $1 AND id = $2 FOR NO KEY UPDATE SKIP LOCKED",
	2, {UUIDOID, UUIDOID}
};

static BoPlan move_plan = {
	"UPDATE certificates.pools SET state = $3 WHERE organization_id = $1 AND id = $2",
	3, {UUIDOID, UUIDOID, TEXTOID}
};

/* ---- counting ---- */

/* Does the transaction that has taken an available row only move it? */
static bool
is_moved_by(TransactionId changer)
{
	static TransactionId asked = InvalidTransactionId;
	static bool answer;

	if (changer != asked)
	{
		answer = movers_has(changer);
		asked = changer;
	}
	return answer;
}

/* Available certificates of slots first..last, from the last on, up to enough. */
static Left
count_rows(const Pool *pool, int64 first, int64 last, int64 enough, Snapshot snapshot)
{
	Relation	rel = certificates_open(AccessShareLock);
	Relation	index = index_open(certificates_table.slot_index, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = index_beginscan(rel, index, snapshot, 4, 0);
	ScanKeyData keys[4];
	Left		left = {0, 0};

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&pool->organization_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&pool->id));
	ScanKeyInit(&keys[2], 3, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	ScanKeyInit(&keys[3], 3, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	index_rescan(scan, keys, 4, NULL, 0);
	while (left.count < enough && index_getnext_slot(scan, BackwardScanDirection, slot))
	{
		HeapTuple	row = ExecFetchSlotHeapTuple(slot, false, NULL);

		CHECK_FOR_INTERRUPTS();
		if (!certificate_is_available(row, RelationGetDescr(rel)))
			continue;
		if (certificate_is_taken(row, snapshot) && !is_moved_by(HeapTupleHeaderGetUpdateXid(row->t_data)))
			left.taken++;
		else
			left.count++;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return left;
}

/* How many are left, counted to enough and no further. */
static Left
left_in(const Pool *pool, int64 enough)
{
	SlotCursor *cursor = allocator_find(&pool->organization_id, &pool->id);
	int64		next = cursor ? (int64) pg_atomic_read_u64(&cursor->next) : PG_INT64_MAX;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());	/* one: the keeper moves certificates to new slots */
	PoolMarks	marks = pool_marks(pool, snapshot);
	int64		in_front;
	Left		left = {enough, 0};

	next = Min(next, marks.next_slot);
	in_front = marks.next_slot - next;
	if (in_front < enough)
	{
		left = count_rows(pool, marks.sweep_slot, next - 1, enough - in_front, snapshot);
		left.count += in_front;
	}
	UnregisterSnapshot(snapshot);
	return left;
}

/* Enough to know that the mark is not passed. */
static int64
above_mark(const Pool *pool)
{
	return pool->low_water < PG_INT64_MAX ? pool->low_water + 1 : pool->low_water;
}

/* ---- moving ---- */

/* The lifecycle trigger's emitter, also called for direct writes. */
static void
emit_step(const LifecycleStep *step)
{
	bool		isnull;
	const pg_uuid_t *organization = DatumGetUUIDP(SPI_getbinval(step->new_row, step->desc,
																SPI_fnumber(step->desc, "organization_id"), &isnull));
	const pg_uuid_t *id = DatumGetUUIDP(SPI_getbinval(step->new_row, step->desc, SPI_fnumber(step->desc, "id"), &isnull));
	StreamEvent event;

	stream_begin(&event, step->event, NULL, step->to);
	stream_uuid(&event, "poolId", id);
	stream_text(&event, "pool", SPI_getvalue(step->new_row, step->desc, SPI_fnumber(step->desc, "code")));
	stream_text(&event, "previousStatus", step->from);
	if (told_available >= 0)
		stream_int64(&event, "available", told_available);
	stream_int64(&event, "lowWater", DatumGetInt64(SPI_getbinval(step->new_row, step->desc,
																 SPI_fnumber(step->desc, "low_water"), &isnull)));
	stream_int64(&event, "version", step->version);
	stream_emit(&event, id, organization);
}

static Relation
open_pools(void)
{
	Oid			schema = get_namespace_oid("certificates", false);
	Oid			relid = get_relname_relid("pools", schema);
	Relation	rel = table_open(relid, RowExclusiveLock);

	/* Each time: REINDEX CONCURRENTLY puts another in its place. */
	pools_table.pkey = get_relname_relid("pools_pkey", schema);
	if (pools_table.relid != relid)
	{
		pools_table.state = get_attnum(relid, "state");
		pools_table.version = get_attnum(relid, "version");
		if (!OidIsValid(pools_table.pkey) || pools_table.state == InvalidAttrNumber || pools_table.version == InvalidAttrNumber)
			elog(ERROR, "table certificates.pools is not as it was made");
		pools_table.relid = relid;
	}
	return rel;
}

/* The pool's row as it is now; NULL: there is none. */
static HeapTuple
pool_row(Relation rel, const Pool *pool)
{
	Relation	index = index_open(pools_table.pkey, AccessShareLock);
	ScanKeyData keys[2];
	HeapTuple	row;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&pool->organization_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&pool->id));
	row = bo_storage_find(rel, index, keys, 2);
	index_close(index, NoLock);
	return row;
}

static PoolState
state_of(Relation rel, HeapTuple row)
{
	bool		isnull;

	return pool_state_by_name(TextDatumGetCString(heap_getattr(row, pools_table.state, RelationGetDescr(rel), &isnull)));
}

/* Somebody else is about to change it. */
static bool
is_busy(HeapTuple row)
{
	HeapTupleHeader header = row->t_data;
	TransactionId changer;

	/* Whether a lock alone is in the way, the update will see. */
	if ((header->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return false;
	changer = HeapTupleHeaderGetUpdateXid(header);
	return !TransactionIdIsCurrentTransactionId(changer) && TransactionIdIsInProgress(changer);
}

/* One step of the row; false: it is somebody else's. */
static bool
step_directly(Relation rel, HeapTuple row, PoolState to)
{
	TupleDesc	desc = RelationGetDescr(rel);
	LifecycleStep step = {POOL_LIFE, pool_state_name(state_of(rel, row)), pool_state_name(to)};
	int			columns[2] = {pools_table.state, pools_table.version};
	Datum		values[2];
	bool		nulls[2] = {false, false};

	step.event = lifecycle_check_transition(step.definition, step.from, step.to);
	step.version = DatumGetInt32(heap_getattr(row, pools_table.version, desc, &nulls[1])) + 1;
	values[0] = CStringGetTextDatum(step.to);
	values[1] = Int32GetDatum((int32) step.version);
	step.old_row = row;
	step.new_row = heap_modify_tuple_by_cols(row, desc, 2, columns, values, nulls);
	step.desc = desc;
	if (!bo_storage_update(rel, row, step.new_row))
		return false;
	pools_forget_all();
	if (step.event != NULL)
		emit_step(&step);
	return true;
}

static bool
moves_by_itself(PoolState from)
{
	return from != POOL_PAUSED && from != POOL_CLOSED;
}

static bool
may_move(PoolState from, const PoolState *seen, PoolState to)
{
	return from != to && (seen != NULL ? from == *seen : moves_by_itself(from));
}

/* Down to empty it goes by way of low: whoever waits for pool.low gets it, however fast it went. */
static bool
passes_low(const Pool *pool, PoolState from, PoolState to)
{
	return from == POOL_OPEN && to == POOL_EMPTY && pool->low_water > 0;
}

static bool
move_directly(const Pool *pool, const PoolState *seen, PoolState to)
{
	Relation	rel = open_pools();
	HeapTuple	row = pool_row(rel, pool);
	bool		done = row != NULL;

	if (done && may_move(state_of(rel, row), seen, to))
	{
		if (passes_low(pool, state_of(rel, row), to))
		{
			done = step_directly(rel, row, POOL_LOW);
			row = pool_row(rel, pool);
		}
		done = done && step_directly(rel, row, to);
	}
	table_close(rel, NoLock);
	return done;
}

static bool
move_by_sql(const Pool *pool, const PoolState *seen, PoolState to)
{
	Datum		args[3] = {UUIDPGetDatum(&pool->organization_id), UUIDPGetDatum(&pool->id)};
	bool		free;

	/* An old snapshot cannot change a row that has changed since; somebody with a newer one will. */
	if (IsolationUsesXactSnapshot())
		return false;
	bo_spi_begin();
	free = bo_spi_run(&try_lock_plan, args, NULL, 1) > 0;
	if (free)
	{
		PoolState	from = pool_state_by_name(bo_spi_text(0, 1));

		if (may_move(from, seen, to))
		{
			args[2] = CStringGetTextDatum(pool_state_name(POOL_LOW));
			if (passes_low(pool, from, to))
				bo_spi_run(&move_plan, args, NULL, 0);
			args[2] = CStringGetTextDatum(pool_state_name(to));
			bo_spi_run(&move_plan, args, NULL, 0);
		}
	}
	bo_spi_end();
	return free;
}

/*
 * Moves the pool from the state that it was seen in (NULL: any that moves by
 * itself) to another.  Never waits; false: somebody else has its row.
 */
static bool
move(const Pool *pool, const PoolState *seen, PoolState to, int64 available)
{
	Pool		copy = *pool;	/* our own change makes us forget the pool */
	BoUser		caller = bo_user_kernel();
	bool		done;

	told_available = available;
	done = bo_direct_writes ? move_directly(&copy, seen, to) : move_by_sql(&copy, seen, to);
	told_available = -1;
	bo_user_restore(caller);
	return done;
}

/* ---- when ---- */

static void
look_again_at_commit(const Pool *pool)
{
	PoolName	name = {pool->organization_id, pool->id};

	for (int i = 0; i < look_again_count; i++)
		if (memcmp(&look_again[i], &name, sizeof(PoolName)) == 0)
			return;
	if (look_again_count < LOOK_AGAIN_MAX)
		look_again[look_again_count++] = name;
}

/* The pool's state, asked before counting, which costs more; false: somebody else is about to change it. */
static bool
see_state(Pool *pool)
{
	Relation	rel;
	HeapTuple	row;
	bool		seen;

	if (!bo_direct_writes)
		return true;			/* as the cache has it */
	rel = open_pools();
	row = pool_row(rel, pool);
	seen = row != NULL && !is_busy(row);	/* NULL: it moved to another page just now */
	if (seen)
		pool->state = state_of(rel, row);
	table_close(rel, NoLock);
	return seen;
}

/*
 * What a pool in this state is, with so many left.  What others have taken is
 * gone for one who takes too, else theirs to tell: it may come back.
 */
static PoolState
state_for(const Pool *pool, Left left, bool taker)
{
	int64		at_most = taker ? left.count : left.count + left.taken;

	if (left.count > pool->low_water)
		return POOL_OPEN;
	if (at_most > pool->low_water && pool->state == POOL_OPEN)
		return POOL_OPEN;
	if (left.count + left.taken == 0)
		return POOL_EMPTY;
	if (left.count == 0 && pool->state == POOL_EMPTY)
		return POOL_EMPTY;
	return pool->low_water > 0 ? POOL_LOW : POOL_OPEN;
}

/* False: the pool's row cannot be moved now. */
static bool
settle(Pool *pool, bool taker)
{
	Left		left;
	PoolState	to;

	if (!see_state(pool) || !moves_by_itself(pool->state))
		return false;
	left = left_in(pool, above_mark(pool));
	to = state_for(pool, left, taker);
	return to == pool->state || move(pool, &pool->state, to, to == POOL_OPEN ? -1 : left.count);
}

void
level_watch(const Pool *given, SlotCursor *cursor)
{
	Pool		pool;

	if (given->state != POOL_OPEN || given->low_water == 0 ||
		allocator_in_front(cursor, &given->organization_id, &given->id) > given->low_water)
		return;
	pool = *given;
	if (!settle(&pool, true))
		look_again_at_commit(&pool);
}

void
level_tell_empty(const Pool *pool)
{
	if (moves_by_itself(pool->state) && pool->state != POOL_EMPTY)
		(void) move(pool, NULL, POOL_EMPTY, 0);
}

void
level_raised(const Pool *given)
{
	Pool		pool = *given;

	if (pool.state == POOL_EMPTY)
		(void) settle(&pool, false);
	look_again_at_commit(&pool);
}

void
level_settle(const Pool *given)
{
	Pool		pool = *given;

	(void) settle(&pool, false);
}

/* ---- the end of the transaction ---- */

static void
look_again_now(void)
{
	int			count = look_again_count;

	look_again_count = 0;
	AcceptInvalidationMessages();
	PushActiveSnapshot(GetTransactionSnapshot());
	for (int i = 0; i < count; i++)
	{
		const Pool *found = pool_by_id(&look_again[i].organization_id, &look_again[i].id);
		SlotCursor *cursor = allocator_find(&look_again[i].organization_id, &look_again[i].id);
		Pool		pool;

		if (found == NULL ||
			(found->state == POOL_OPEN && cursor != NULL &&
			 allocator_in_front(cursor, &found->organization_id, &found->id) > found->low_water))
			continue;
		pool = *found;
		(void) settle(&pool, true);
	}
	PopActiveSnapshot();
}

static void
at_xact_event(XactEvent event, void *arg)
{
	if ((event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) && look_again_count > 0 && !XactReadOnly)
		look_again_now();
	look_again_count = 0;
	told_available = -1;
}

static void
at_subxact_event(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		told_available = -1;
}

void
level_init(void)
{
	RegisterXactCallback(at_xact_event, NULL);
	RegisterSubXactCallback(at_subxact_event, NULL);
	lifecycle_register_emitter(POOL_LIFE, emit_step);
}
