/*
 * consumers.c
 *		Leases of thin workers, and what they set aside.
 *
 * An instance renews what it has and takes free shards up to its share:
 * shards / instances, the remainder going to the first instances by name.  It
 * never takes a shard whose lease runs.  One that holds more than its share
 * sees the surplus as wanted, finishes what is in flight and releases it, so
 * that in steady state no event is sent by two.
 */
#include "core/core.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/alerts.h"
#include "events/position.h"
#include "events/reader.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#define NAME_MAX_BYTES 255
#define MAX_SHARDS 1024
#define MIN_TTL_US USECS_PER_SEC
#define MAX_TTL_US USECS_PER_HOUR
/* A lease that ends later than any could be given for now is of a time before the clock was set back. */
#define MAX_TTL "interval '1 hour'"

PG_FUNCTION_INFO_V1(events_lease);
PG_FUNCTION_INFO_V1(events_park);

typedef struct LeaseRequest
{
	Datum		consumer;
	Datum		instance;
	int32		shard_count;
	Datum		until;			/* timestamptz */
	Datum		now;
	Datum		topics;
	bool		has_topics;
	bool		from_latest;
} LeaseRequest;

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("invalid lease"),
			 bo_code("invalid_lease", "%s", what)));
}

static Datum
name_argument(FunctionCallInfo fcinfo, int number, const char *what)
{
	if (PG_ARGISNULL(number) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(number)) == 0 ||
		VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(number)) > NAME_MAX_BYTES)
		refuse(psprintf("%s is a text of 1 to %d bytes", what, NAME_MAX_BYTES));
	return PG_GETARG_DATUM(number);
}

static LeaseRequest
request_of(FunctionCallInfo fcinfo)
{
	LeaseRequest request = {
		.consumer = name_argument(fcinfo, 0, "consumer"),
		.instance = name_argument(fcinfo, 1, "instance"),
		.shard_count = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2),
		.topics = PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4),
		.has_topics = !PG_ARGISNULL(4)
	};
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until;
	char	   *start = PG_ARGISNULL(5) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(5));

	if (request.shard_count < 1 || request.shard_count > MAX_SHARDS)
		refuse(psprintf("shard_count is from 1 to %d", MAX_SHARDS));
	if (PG_ARGISNULL(3))
		refuse("ttl is null");
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), PG_GETARG_DATUM(3)));
	if (until - now < MIN_TTL_US || until - now > MAX_TTL_US)
		refuse("ttl is from 1 second to 1 hour");
	if (strcmp(start, "earliest") != 0 && strcmp(start, "latest") != 0)
		refuse("start is earliest or latest");
	if (request.has_topics && array_contains_nulls(PG_GETARG_ARRAYTYPE_P(4)))
		refuse("topics has a null element");
	request.now = TimestampTzGetDatum(now);
	request.until = TimestampTzGetDatum(until);
	request.from_latest = strcmp(start, "latest") == 0;
	return request;
}

/* Makes a consumer that is new, locks it, and returns its number of shards. */
static int32
lock_consumer(const LeaseRequest *request)
{
	static BoPlan create = {
		"INSERT INTO events.registered_consumers (name, kind, shard_count, topics)"
		" VALUES ($1, 'worker', $2, $3) ON CONFLICT (name) DO NOTHING", 3, {TEXTOID, INT4OID, TEXTARRAYOID}
	};
	static BoPlan add_shards = {
		"INSERT INTO events.cursors (consumer, shard, position)"
		" SELECT $1, shard, $3::text::events.position FROM pg_catalog.generate_series(0, $2 - 1) AS shard", 3, {TEXTOID, INT4OID, TEXTOID}
	};
	static BoPlan lock = {
		"SELECT shard_count, kind, topics IS DISTINCT FROM $2 FROM events.registered_consumers"
		" WHERE name = $1 FOR NO KEY UPDATE", 2, {TEXTOID, TEXTARRAYOID}
	};
	static BoPlan set_topics = {
		"UPDATE events.registered_consumers SET topics = $2 WHERE name = $1", 2, {TEXTOID, TEXTARRAYOID}
	};
	char		nulls[3] = {' ', ' ', request->has_topics ? ' ' : 'n'};
	Datum		args[3] = {request->consumer, Int32GetDatum(request->shard_count), request->topics};
	int32		shard_count;

	if (bo_spi_run(&create, args, nulls, 0) == 1)
	{
		EventPosition start = request->from_latest ? reader_latest() : reader_earliest();
		char		buffer[POSITION_TEXT_MAX];

		args[2] = CStringGetTextDatum(position_print(buffer, &start));
		bo_spi_run(&add_shards, args, NULL, 0);
	}
	args[1] = request->topics;
	nulls[1] = nulls[2];
	if (bo_spi_run(&lock, args, nulls, 1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the consumer is being removed"),
				 bo_code("removed_meanwhile", "events.remove_consumer() runs in another transaction"),
				 errhint("Try again.")));
	shard_count = bo_spi_int32(0, 1);
	if (strcmp(bo_spi_text(0, 2), "worker") != 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("consumer \"%s\" is an in-database handler", TextDatumGetCString(request->consumer)),
				 bo_code("not_a_worker", "the dispatcher moves it"),
				 errhint("Choose another name.")));
	if (bo_spi_bool(0, 3))
		bo_spi_run(&set_topics, args, nulls, 0);
	return shard_count;
}

/* How many shards this instance should have. */
static int32
fair_share(const LeaseRequest *request, int32 shard_count)
{
	static BoPlan sign_on = {
		"INSERT INTO events.consumer_instances (consumer, instance, alive_until) VALUES ($1, $2, $3)"
		" ON CONFLICT (consumer, instance) DO UPDATE SET alive_until = EXCLUDED.alive_until",
		3, {TEXTOID, TEXTOID, TIMESTAMPTZOID}
	};
	static BoPlan forget_dead = {
		"DELETE FROM events.consumer_instances WHERE consumer = $1 AND (alive_until <= $2 OR alive_until > $2 + " MAX_TTL ")",
		2, {TEXTOID, TIMESTAMPTZOID}
	};
	static BoPlan rank = {
		"SELECT count(*), count(*) FILTER (WHERE instance COLLATE \"C\" < $2 COLLATE \"C\")"
		" FROM events.consumer_instances WHERE consumer = $1", 2, {TEXTOID, TEXTOID}
	};
	Datum		args[3] = {request->consumer, request->instance, request->until};
	int64		instances,
				before;

	bo_spi_run(&sign_on, args, NULL, 0);
	args[1] = request->now;
	bo_spi_run(&forget_dead, args, NULL, 0);
	args[1] = request->instance;
	bo_spi_run(&rank, args, NULL, 1);
	instances = bo_spi_int64(0, 1);
	before = bo_spi_int64(0, 2);
	return (int32) (shard_count / instances + (before < shard_count % instances ? 1 : 0));
}

static void
renew_and_take(const LeaseRequest *request, int32 share)
{
	/* In the order of advance(), which locks no consumer: whatever order an UPDATE would come to them in. */
	static BoPlan lock = {
		"SELECT FROM events.cursors WHERE consumer = $1 AND (owner = $2 OR owner IS NULL OR lease_until <= $3 OR lease_until > $3 + " MAX_TTL ")"
		" ORDER BY shard FOR NO KEY UPDATE", 3, {TEXTOID, TEXTOID, TIMESTAMPTZOID}
	};
	static BoPlan renew = {
		"UPDATE events.cursors SET lease_until = $3 WHERE consumer = $1 AND owner = $2", 3, {TEXTOID, TEXTOID, TIMESTAMPTZOID}
	};
	static BoPlan take = {
		"UPDATE events.cursors c SET owner = $2, fence = fence + 1, lease_until = $3"
		" FROM (SELECT shard FROM events.cursors WHERE consumer = $1 AND (owner IS NULL OR lease_until <= $4 OR lease_until > $4 + " MAX_TTL ")"
		"   ORDER BY shard LIMIT $5) AS free"
		" WHERE c.consumer = $1 AND c.shard = free.shard", 5, {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		args[5] = {request->consumer, request->instance, request->now};
	int64		held;

	bo_spi_run(&lock, args, NULL, 0);
	args[2] = request->until;
	args[3] = request->now;
	held = (int64) bo_spi_run(&renew, args, NULL, 0);
	if (held < share)
	{
		args[4] = Int64GetDatum(share - held);
		bo_spi_run(&take, args, NULL, 0);
	}
}

static void
return_shards(const LeaseRequest *request, int32 shard_count, int32 share, ReturnSetInfo *result)
{
	static BoPlan held = {
		"SELECT shard, fence, position FROM events.cursors WHERE consumer = $1 AND owner = $2 ORDER BY shard",
		2, {TEXTOID, TEXTOID}
	};
	Datum		args[2] = {request->consumer, request->instance};
	uint64		count = bo_spi_run(&held, args, NULL, 0);

	for (uint64 i = 0; i < count; i++)
	{
		bool		nulls[5] = {false};
		bool		isnull;
		Datum		values[5] = {
			Int32GetDatum(bo_spi_int32(i, 1)),
			Int64GetDatum(bo_spi_int64(i, 2)),
			bo_spi_datum(i, 3, &isnull),
			Int32GetDatum(shard_count),
			BoolGetDatum(i >= share)
		};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* lease(consumer, instance, shard_count, ttl, topics, start) */
Datum
events_lease(PG_FUNCTION_ARGS)
{
	LeaseRequest request = request_of(fcinfo);
	BoUser		saved;
	int32		shard_count,
				share;

	InitMaterializedSRF(fcinfo, 0);
	saved = bo_user_kernel();
	bo_spi_begin();
	shard_count = lock_consumer(&request);
	share = fair_share(&request, shard_count);
	renew_and_take(&request, share);
	return_shards(&request, shard_count, share, (ReturnSetInfo *) fcinfo->resultinfo);
	bo_spi_end();
	bo_user_restore(saved);
	return (Datum) 0;
}

static void
require_arguments(FunctionCallInfo fcinfo, const int *numbers, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (PG_ARGISNULL(numbers[i]))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s of a parked event must not be null", names[i]),
					 bo_code("missing_argument", "argument \"%s\" is null", names[i])));
}

/* The dispatcher keeps what handlers set aside: a worker does not put events among them. */
static void
refuse_handler(Datum consumer)
{
	static BoPlan find = {"SELECT FROM events.registered_consumers WHERE name = $1 AND kind = 'handler'", 1, {TEXTOID}};

	if (bo_spi_run(&find, &consumer, NULL, 1) > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("consumer \"%s\" is an in-database handler", TextDatumGetCString(consumer)),
				 bo_code("not_a_worker", "the dispatcher parks its events")));
}

/* park(consumer, shard, id, position, topic, key, type, payload, headers, reason, organization, occurred_at, quiet) */
Datum
events_park(PG_FUNCTION_ARGS)
{
	static const int required[] = {0, 1, 2, 3, 4, 6, 7, 9};
	static const char *const names[] = {"consumer", "shard", "id", "position", "topic", "type", "payload", "reason"};
	static BoPlan upsert = {
		"INSERT INTO events.parked_events AS p (consumer, shard, id, position, topic, key, type, payload, headers, reason,"
		" organization_id, occurred_at, state, attempts)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12, pg_catalog.clock_timestamp()), 'parked', 1)"
		" ON CONFLICT (organization_id, consumer, id) DO UPDATE"
		" SET state = 'parked', attempts = p.attempts + 1, reason = EXCLUDED.reason, due_at = NULL", 12,
		{TEXTOID, INT4OID, UUIDOID, InvalidOid, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, TEXTOID, UUIDOID, TIMESTAMPTZOID}
	};
	Datum		args[12];
	char		nulls[12];
	BoUser		saved;

	require_arguments(fcinfo, required, names, lengthof(required));
	upsert.argtypes[3] = get_fn_expr_argtype(fcinfo->flinfo, 3);
	for (int i = 0; i < 12; i++)
	{
		args[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}

	args[9] = CStringGetTextDatum(clipped_reason(TextDatumGetCString(args[9])));

	saved = bo_user_kernel();
	bo_spi_begin();
	refuse_handler(args[0]);
	bo_spi_run(&upsert, args, nulls, 0);
	if (PG_ARGISNULL(12) || !PG_GETARG_BOOL(12))
		alert_emit("event.parked", TextDatumGetCString(args[0]), PG_ARGISNULL(10) ? NULL : PG_GETARG_UUID_P(10),
				   "consumer", TextDatumGetCString(args[0]),
				   "eventId", bo_uuid_text(PG_GETARG_UUID_P(2)),
				   "topic", TextDatumGetCString(args[4]),
				   "key", PG_ARGISNULL(5) ? NULL : TextDatumGetCString(args[5]),
				   "eventType", TextDatumGetCString(args[6]),
				   "reason", TextDatumGetCString(args[9]), (char *) NULL);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}
