/*
 * reserve.c
 *		reserve_next: the next certificate of a pool, never twice, never waiting.
 *
 * The allocator names a slot; the slot's row is found by its unique index and
 * changed if it is available and nobody else has touched it.  Otherwise the
 * next slot is taken.  In the ordinary case that is one index look-up, one
 * heap-only update and the event, whatever the size of the pool and however
 * old the oldest snapshot.
 *
 * Slots skipped (the transaction that took one rolled back, or the server
 * crashed) stay behind the cursor with an available row; the keeper moves
 * them to the end (sweep.c).  "Empty" is said only after the rows themselves
 * were asked (ask.c): certificates behind the cursor are found then.
 */
#include "certificates/pools.h"

#include "access/access.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type_d.h"
#include "certificates/allocator.h"
#include "certificates/ask.h"
#include "certificates/certificates.h"
#include "certificates/level.h"
#include "certificates/reserve.h"
#include "certificates/rows.h"
#include "certificates/stream.h"
#include "core/idempotency.h"
#include "core/principal.h"
#include "core/spi.h"
#include "core/storage.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* After so many unusable slots in a row the rows are asked where the next usable one is. */
#define MISSES_BEFORE_JUMP 32

PG_FUNCTION_INFO_V1(certificates_reserve_next);

typedef struct ReserveRequest
{
	const char *channel;
	const char *order_ref;		/* NULL: none */
	TimestampTz hold_until;
} ReserveRequest;

static BoPlan available_from_plan = {
	"SELECT slot_no FROM certificates.certificates "
	"WHERE organization_id = $1 AND pool_id = $2 AND slot_no >= $3 AND state = 'available' ORDER BY slot_no LIMIT 1",
	3, {UUIDOID, UUIDOID, INT8OID}
};

static BoPlan reserve_plan = {
	"UPDATE certificates.certificates SET state = 'reserved', channel = $4, order_ref = $5, hold_until = $6 "
	"WHERE organization_id = $1 AND id = (SELECT id FROM certificates.certificates "
	"    WHERE organization_id = $1 AND pool_id = $2 AND slot_no = $3 AND state = 'available' FOR UPDATE SKIP LOCKED) "
	"RETURNING id",
	6, {UUIDOID, UUIDOID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID}
};

/* ---- rows, as of now ---- */

/* The first slot from here on whose row is available; 0: there is none. */
static int64
first_available(const Pool *pool, int64 from)
{
	Datum		args[3] = {UUIDPGetDatum(&pool->organization_id), UUIDPGetDatum(&pool->id), Int64GetDatum(from)};
	BoUser		caller = bo_user_kernel();
	int64		slot = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	bo_spi_begin();
	if (bo_spi_run_readonly(&available_from_plan, args, NULL, 1) > 0)
		slot = bo_spi_int64(0, 1);
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(caller);
	return slot;
}

/* The pool's cursor; after a restart, promotion or eviction made anew from the rows. */
static SlotCursor *
cursor_of(const Pool *pool)
{
	SlotCursor *cursor = allocator_find(&pool->organization_id, &pool->id);
	PoolMarks	marks;
	int64		first;

	if (cursor != NULL)
		return cursor;
	marks = pool_marks(pool, GetLatestSnapshot());
	first = first_available(pool, marks.sweep_slot);
	return allocator_make(&pool->organization_id, &pool->id, first > 0 ? first : marks.next_slot, marks.next_slot);
}

/* ---- one slot ---- */

static HeapTuple
row_of_slot(Relation rel, const Pool *pool, int64 slot)
{
	Relation	index = index_open(certificates_table.slot_index, AccessShareLock);
	ScanKeyData keys[3];
	HeapTuple	row;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&pool->organization_id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&pool->id));
	ScanKeyInit(&keys[2], 3, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(slot));
	row = bo_storage_find(rel, index, keys, 3);
	index_close(index, NoLock);
	return row;
}

/* The available row made into a reserved one. */
static HeapTuple
reserved_row(Relation rel, HeapTuple row, const ReserveRequest *request, int32 *version)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Datum		values[MaxHeapAttributeNumber];
	bool		nulls[MaxHeapAttributeNumber];
	HeapTuple	reserved;

#define SET(col, value, is_null) \
	(values[certificates_table.column[col] - 1] = (value), nulls[certificates_table.column[col] - 1] = (is_null))

	heap_deform_tuple(row, desc, values, nulls);
	*version = DatumGetInt32(values[certificates_table.column[C_VERSION] - 1]) + 1;
	SET(C_VERSION, Int32GetDatum(*version), false);
	SET(C_STATE, CStringGetTextDatum("reserved"), false);
	SET(C_CHANNEL, CStringGetTextDatum(request->channel), false);
	SET(C_ORDER_REF, request->order_ref ? CStringGetTextDatum(request->order_ref) : (Datum) 0, request->order_ref == NULL);
	SET(C_HOLD_UNTIL, TimestampTzGetDatum(request->hold_until), false);
#undef SET
	reserved = heap_form_tuple(desc, values, nulls);
	reserved->t_tableOid = RelationGetRelid(rel);
	return reserved;
}

static bool
take_slot_directly(Relation rel, const Pool *pool, int64 slot, const ReserveRequest *request, pg_uuid_t *id)
{
	HeapTuple	row = row_of_slot(rel, pool, slot);
	LifecycleStep step = {CERTIFICATE_LIFE, "available", "reserved"};
	int32		version;
	bool		isnull;

	if (row == NULL || !certificate_is_available(row, RelationGetDescr(rel)))
		return false;
	*id = *DatumGetUUIDP(heap_getattr(row, certificates_table.column[C_ID], RelationGetDescr(rel), &isnull));

	step.event = lifecycle_check_transition(step.definition, step.from, step.to);
	step.old_row = row;
	step.new_row = reserved_row(rel, row, request, &version);
	step.version = version;
	step.desc = RelationGetDescr(rel);
	if (!bo_storage_update(rel, row, step.new_row))
		return false;
	if (step.event != NULL)
		certificate_emit_step(&step);
	return true;
}

static bool
take_slot_by_sql(const Pool *pool, int64 slot, const ReserveRequest *request, pg_uuid_t *id)
{
	Datum		args[6] = {UUIDPGetDatum(&pool->organization_id), UUIDPGetDatum(&pool->id), Int64GetDatum(slot),
		CStringGetTextDatum(request->channel),
		request->order_ref ? CStringGetTextDatum(request->order_ref) : (Datum) 0,
	TimestampTzGetDatum(request->hold_until)};
	char		nulls[6] = {' ', ' ', ' ', ' ', request->order_ref ? ' ' : 'n', ' '};
	BoUser		caller = bo_user_kernel();
	bool		taken;

	bo_spi_begin();
	taken = bo_spi_run(&reserve_plan, args, nulls, 0) == 1;
	if (taken)
		*id = bo_spi_uuid(0, 1);
	bo_spi_end();
	bo_user_restore(caller);
	return taken;
}

static bool
take_slot(Relation rel, const Pool *pool, int64 slot, const ReserveRequest *request, pg_uuid_t *id)
{
	return bo_direct_writes ? take_slot_directly(rel, pool, slot, request, id)
		: take_slot_by_sql(pool, slot, request, id);
}

/* ---- the search ---- */

/* Slots from the cursor; false: nothing left there. */
static bool
take_from_cursor(Relation rel, const Pool *pool, SlotCursor *cursor, const ReserveRequest *request, pg_uuid_t *id)
{
	int			misses = 0;

	for (;;)
	{
		int64		slot = allocator_take(cursor);

		CHECK_FOR_INTERRUPTS();
		if (slot == 0)
		{
			/* The limit is only what was known; imports and returned certificates raise it. */
			allocator_raise(cursor, pool_marks(pool, GetLatestSnapshot()).next_slot);
			slot = allocator_take(cursor);
			if (slot == 0)
				return false;
		}
		if (take_slot(rel, pool, slot, request, id))
			return true;
		if (++misses % MISSES_BEFORE_JUMP == 0)
		{
			int64		first = first_available(pool, slot + 1);

			if (first > 0)
				allocator_skip(cursor, Min(first, (int64) pg_atomic_read_u64(&cursor->limit)));
		}
	}
}

typedef struct Search
{
	Relation	rel;
	const Pool *pool;
	const ReserveRequest *request;
	pg_uuid_t  *id;
} Search;

static bool
take_found_slot(int64 slot, void *arg)
{
	Search	   *search = arg;

	return take_slot(search->rel, search->pool, slot, search->request, search->id);
}

/* Rows behind the cursor: what transactions in progress gave up since. */
static bool
take_from_rows(Relation rel, const Pool *pool, SlotCursor *cursor, const ReserveRequest *request, pg_uuid_t *id)
{
	Search		search = {rel, pool, request, id};

	return ask_rows(rel, pool, cursor, pool_marks(pool, GetLatestSnapshot()).hold_slot, take_found_slot, &search);
}

static void
tell_empty(const Pool *pool, const ReserveRequest *request)
{
	StreamEvent event;

	level_tell_empty(pool);
	stream_begin(&event, "issue.blocked", request->channel, "blocked");
	stream_uuid(&event, "poolId", &pool->id);
	stream_text(&event, "pool", pool->code);
	stream_text(&event, "orderRef", request->order_ref);
	stream_text(&event, "reason", "pool_empty");
	stream_emit(&event, &pool->id, &pool->organization_id);
}

/* False: there is none, and issue.blocked was emitted. */
static bool
reserve(const Pool *given, const ReserveRequest *request, pg_uuid_t *id)
{
	Pool		pool = *given;	/* events below may look others up */
	SlotCursor *cursor;
	Relation	rel;
	bool		taken;

	PreventCommandIfReadOnly("reserve_next()");
	cursor = cursor_of(&pool);
	rel = certificates_open(RowExclusiveLock);
	taken = take_from_cursor(rel, &pool, cursor, request, id) || take_from_rows(rel, &pool, cursor, request, id);

	table_close(rel, NoLock);
	if (taken)
		level_watch(&pool, cursor);
	else
		tell_empty(&pool, request);
	return taken;
}

/* ---- the SQL function ---- */

static TimestampTz
end_of_hold(const Interval *hold)
{
	TimestampTz now = bo_now();
	TimestampTz until = certificates_later(now, hold);

	if (until <= now || until == DT_NOEND || (until - now) / USECS_PER_DAY > 366)
		ereport(ERROR,
				(errcode(BO_UNPROCESSABLE),
				 errmsg("the hold is not valid"),
				 bo_code("invalid_hold", "it must be longer than 0 and at most 366 days")));
	return until;
}

static Datum
reservation(FunctionCallInfo fcinfo, const Pool *pool, const pg_uuid_t *id, TimestampTz hold_until)
{
	/* The type that the function is declared to return; asked by hand, since that copies no descriptor. */
	TupleDesc	desc = lookup_rowtype_tupdesc(get_func_rettype(fcinfo->flinfo->fn_oid), -1);
	Datum		values[6] = {0};
	bool		nulls[6] = {false, id == NULL, false, id == NULL, id == NULL, id == NULL};
	HeapTuple	tuple;

	values[0] = CStringGetTextDatum(id ? "reserved" : "empty");
	values[2] = CStringGetTextDatum(pool->code);
	if (id != NULL)
	{
		values[1] = UUIDPGetDatum(id);
		values[3] = Int64GetDatum(pool->face_value_minor);
		values[4] = CStringGetTextDatum(pool->currency);
		values[5] = TimestampTzGetDatum(hold_until);
	}
	tuple = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}

static void
check_pool_gives(const Pool *pool)
{
	if (pool->state == POOL_PAUSED || pool->state == POOL_CLOSED)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("pool \"%s\" is %s", pool->code, pool_state_name(pool->state)),
				 bo_code(pool->state == POOL_PAUSED ? "pool_paused" : "pool_closed", "it gives no certificates"),
				 pool->state == POOL_PAUSED ? errhint("certificates.resume_pool() opens it again.") : 0));
}

bool
certificates_reserve(const pg_uuid_t *organization, const pg_uuid_t *pool_id, const char *channel, const char *order_ref, pg_uuid_t *id)
{
	ReserveRequest request = {channel, order_ref};
	const Pool *found;
	Pool		pool;

	AcceptInvalidationMessages();
	found = pool_by_id(organization, pool_id);
	if (found == NULL)
		elog(ERROR, "a certificate's pool is gone");
	pool = *found;
	check_pool_gives(&pool);
	request.hold_until = end_of_hold(&pool.hold);
	return reserve(&pool, &request, id);
}

#define IDEMPOTENCY_SCOPE "certificates.reserve_next"

/* What a repeated request is answered. */
static Jsonb *
stored_answer(const pg_uuid_t *id, TimestampTz hold_until)
{
	char	   *answer = psprintf("{\"id\": \"%s\", \"holdUntil\": " INT64_FORMAT "}", bo_uuid_text(id), hold_until);

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(answer)));
}

static void
read_answer(const Jsonb *answer, pg_uuid_t *id, TimestampTz *hold_until)
{
	JsonbValue	value;

	if (answer == NULL ||
		getKeyJsonValueFromContainer((JsonbContainer *) &answer->root, "id", 2, &value) == NULL)
		elog(ERROR, "the stored answer of a reservation is damaged");
	*id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(pnstrdup(value.val.string.val, value.val.string.len))));
	if (getKeyJsonValueFromContainer((JsonbContainer *) &answer->root, "holdUntil", 9, &value) == NULL)
		elog(ERROR, "the stored answer of a reservation is damaged");
	*hold_until = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

/* True: an equal request came before, and its answer is put into request and id. */
static bool
answered_before(FunctionCallInfo fcinfo, const char *key, const Pool *pool, ReserveRequest *request, pg_uuid_t *id)
{
	IdempotencyHash *hash = idempotency_hash_begin();
	Jsonb	   *answer;

	idempotency_hash_bytes(hash, &pool->id, sizeof(pg_uuid_t));
	idempotency_hash_text(hash, request->channel);
	idempotency_hash_text(hash, request->order_ref);
	idempotency_hash_bytes(hash, PG_ARGISNULL(4) ? NULL : PG_GETARG_INTERVAL_P(4), PG_ARGISNULL(4) ? 0 : sizeof(Interval));
	if (idempotency_begin(IDEMPOTENCY_SCOPE, key, hash, &answer))
		return false;
	read_answer(answer, id, &request->hold_until);
	return true;
}

/* reserve_next(pool text, channel text, order_ref text, idempotency_key text, hold interval) */
Datum
certificates_reserve_next(PG_FUNCTION_ARGS)
{
	Pool		pool;
	ReserveRequest request;
	pg_uuid_t	id;
	char	   *key;

	access_require("certificates.reserve");
	pool = *pool_require(certificates_arg(fcinfo, 0, "pool", 64, true));
	request.channel = certificates_arg(fcinfo, 1, "channel", 64, true);
	request.order_ref = certificates_arg(fcinfo, 2, "order_ref", MAX_REF_BYTES, false);
	key = certificates_arg(fcinfo, 3, "idempotency_key", IDEMPOTENCY_KEY_MAX_BYTES, false);
	request.hold_until = end_of_hold(PG_ARGISNULL(4) ? &pool.hold : PG_GETARG_INTERVAL_P(4));

	if (key != NULL && answered_before(fcinfo, key, &pool, &request, &id))
		PG_RETURN_DATUM(reservation(fcinfo, &pool, &id, request.hold_until));
	check_pool_gives(&pool);
	if (!reserve(&pool, &request, &id))
	{
		if (key != NULL)
			idempotency_forget(IDEMPOTENCY_SCOPE, key);
		PG_RETURN_DATUM(reservation(fcinfo, &pool, NULL, 0));
	}
	if (key != NULL)
		idempotency_finish(IDEMPOTENCY_SCOPE, key, stored_answer(&id, request.hold_until));
	PG_RETURN_DATUM(reservation(fcinfo, &pool, &id, request.hold_until));
}
