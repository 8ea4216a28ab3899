/*
 * topics.c
 *		Defining topics, the rights to them and the schemas of their payloads.
 */
#include "events/topics.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/spi.h"
#include "events/json_schema.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define DEFAULT_EMITTER "backoffice_service"
#define MAX_PARTITIONS 10000
#define DEFAULT_PARTITIONS 6
#define MIN_RETENTION_DAYS 7

PG_FUNCTION_INFO_V1(events_define_topic);
PG_FUNCTION_INFO_V1(events_grant_topic);
PG_FUNCTION_INFO_V1(events_revoke_topic);
PG_FUNCTION_INFO_V1(events_define_schema);
PG_FUNCTION_INFO_V1(events_check_payload);
PG_FUNCTION_INFO_V1(events_forget_topics);
PG_FUNCTION_INFO_V1(events_replace_topic);
PG_FUNCTION_INFO_V1(events_replace_consumer);

/* What define_topic was asked for. */
typedef struct TopicRequest
{
	char	   *name;
	char	   *key_rule;
	Interval   *retention;
	int32		partitions;
	char	   *direction;
	char	   *description;
} TopicRequest;

static bool
topic_name_is_valid(const char *name)
{
	Size		length = strlen(name);

	return length >= 1 && length <= TOPIC_NAME_MAX &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == length &&
		strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool
shorter_than_days(const Interval *interval, int days)
{
	Interval	limit = {.day = days};

	return DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(interval), IntervalPGetDatum(&limit)));
}

static void
check_request(const TopicRequest *request)
{
	if (request->name == NULL || !topic_name_is_valid(request->name))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid topic name"),
				 bo_code("invalid_topic", "a topic's name is 1 to %d characters of a-z A-Z 0-9 . _ -, and not . or ..", TOPIC_NAME_MAX),
				 errhint("Kafka's rules hold for every topic, so that any can be carried there.")));
	if (request->direction == NULL ||
		(strcmp(request->direction, "out") != 0 && strcmp(request->direction, "in") != 0 &&
		 strcmp(request->direction, "internal") != 0))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid direction of topic \"%s\"", request->name),
				 bo_code("invalid_topic", "the direction is out, in or internal"),
				 errhint("out: carried to Kafka; in: comes from Kafka; internal: stays in the database.")));
	if (request->partitions < 1 || request->partitions > MAX_PARTITIONS)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid number of partitions of topic \"%s\"", request->name),
				 bo_code("invalid_topic", "partitions is from 1 to %d", MAX_PARTITIONS)));
	if (request->key_rule != NULL && request->key_rule[0] == '\0')
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid key_rule of topic \"%s\"", request->name),
				 bo_code("invalid_topic", "key_rule says what the key is, e.g. customer_id"),
				 errhint("Pass NULL where the key is free.")));
	if (request->retention == NULL || shorter_than_days(request->retention, 0) ||
		!shorter_than_days(request->retention, INT_MAX / 30) ||
		DatumGetBool(DirectFunctionCall2(interval_eq, IntervalPGetDatum(request->retention),
										 IntervalPGetDatum(&(Interval) {0}))))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("invalid retention of topic \"%s\"", request->name),
				 bo_code("invalid_topic", "retention is a positive interval")));
	if (strcmp(request->direction, "internal") != 0 && shorter_than_days(request->retention, MIN_RETENTION_DAYS))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the retention of topic \"%s\" is too short", request->name),
				 bo_code("retention_too_short", "topics in Kafka are kept for at least %d days", MIN_RETENTION_DAYS),
				 errhint("Pass a longer retention, or direction => 'internal'.")));
}

/* The arguments of the writing statements, $1 the id. */
static void
row_of(const TopicRequest *request, int32 id, Datum *args, char *nulls)
{
	args[0] = Int32GetDatum(id);
	args[1] = CStringGetTextDatum(request->name);
	args[2] = CStringGetTextDatum(request->direction);
	args[3] = request->key_rule ? CStringGetTextDatum(request->key_rule) : (Datum) 0;
	args[4] = IntervalPGetDatum(request->retention);
	args[5] = Int32GetDatum(request->partitions);
	args[6] = request->description ? CStringGetTextDatum(request->description) : (Datum) 0;
	memset(nulls, ' ', 7);
	if (request->key_rule == NULL)
		nulls[3] = 'n';
	if (request->description == NULL)
		nulls[6] = 'n';
}

#define ROW_TYPES {INT4OID, TEXTOID, TEXTOID, TEXTOID, INTERVALOID, INT4OID, TEXTOID}

/*
 * The id of a new topic: FNV-1a of its name, so that every database (a
 * restored one, a shard) gives a topic the same id; the next free one where
 * two names collide.
 */
static int32
id_of_name(const char *name)
{
	static BoPlan taken = {"SELECT 1 FROM events.topics WHERE id = $1", 1, {INT4OID}};
	uint32		hash = 2166136261u;

	for (const char *c = name; *c; c++)
		hash = (hash ^ (uint8) *c) * 16777619u;
	for (;;)
	{
		Datum		id;

		CHECK_FOR_INTERRUPTS();
		hash = Max(hash & 0x7FFFFFFF, 1);
		id = Int32GetDatum((int32) hash);
		if (bo_spi_run(&taken, &id, NULL, 1) == 0)
			return (int32) hash;
		hash++;
	}
}

static int32
insert_topic(const TopicRequest *request)
{
	static BoPlan insert = {
		"INSERT INTO events.topics (id, name, direction, key_rule, retention, partitions, description)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7)", 7, ROW_TYPES
	};
	static BoPlan grant = {
		"INSERT INTO events.topic_grants (topic_id, role) VALUES ($1, '" DEFAULT_EMITTER "')", 1, {INT4OID}
	};
	int32		id = id_of_name(request->name);
	Datum		args[7];
	char		nulls[7];

	row_of(request, id, args, nulls);
	bo_spi_run(&insert, args, nulls, 0);
	bo_spi_run(&grant, args, NULL, 0);
	return id;
}

/* Writes only what differs, so that equal definitions leave caches alone. */
static void
update_topic(const TopicRequest *request, int32 id, int32 partitions)
{
	static BoPlan update = {
		"UPDATE events.topics SET direction = $3, key_rule = $4, retention = $5, partitions = $6, description = coalesce($7, description)"
		" WHERE id = $1 AND name = $2 AND ROW(direction, key_rule, retention, partitions, description)"
		" IS DISTINCT FROM ROW($3, $4, $5, $6, coalesce($7, description))", 7, ROW_TYPES
	};
	static BoPlan differs = {
		"SELECT 1 FROM events.topics"
		" WHERE id = $1 AND name = $2 AND ROW(direction, key_rule, retention, partitions, description)"
		" IS DISTINCT FROM ROW($3, $4, $5, $6, coalesce($7, description))", 7, ROW_TYPES
	};
	Datum		args[7];
	char		nulls[7];

	if (request->partitions < partitions)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("topic \"%s\" cannot have fewer partitions", request->name),
				 bo_code("partitions_reduced", "it has %d, and Kafka cannot take partitions away", partitions),
				 errhint("Pass at least %d, or define a new topic.", partitions)));
	row_of(request, id, args, nulls);
	/* A statement trigger also fires for no row: ask first. */
	if (bo_spi_run(&differs, args, nulls, 1) == 1)
		bo_spi_run(&update, args, nulls, 0);
}

Datum
events_define_topic(PG_FUNCTION_ARGS)
{
	static BoPlan lock = {"LOCK TABLE events.topics IN SHARE ROW EXCLUSIVE MODE", 0};
	static BoPlan find = {"SELECT id, partitions FROM events.topics WHERE name = $1", 1, {TEXTOID}};
	static Interval default_retention = {.day = MIN_RETENTION_DAYS};
	TopicRequest request = {
		.name = bo_arg_text(fcinfo, 0),
		.key_rule = bo_arg_text(fcinfo, 1),
		.retention = PG_ARGISNULL(2) ? &default_retention : PG_GETARG_INTERVAL_P(2),
		.partitions = PG_ARGISNULL(3) ? DEFAULT_PARTITIONS : PG_GETARG_INT32(3),
		.direction = PG_ARGISNULL(4) ? "out" : bo_arg_text(fcinfo, 4),
		.description = bo_arg_text(fcinfo, 5)
	};
	BoUser		saved;
	int32		id;
	Datum		name;

	check_request(&request);

	saved = bo_user_definer();
	bo_spi_begin();
	bo_spi_run(&lock, NULL, NULL, 0);
	name = CStringGetTextDatum(request.name);
	if (bo_spi_run(&find, &name, NULL, 1) == 0)
		id = insert_topic(&request);
	else
	{
		id = bo_spi_int32(0, 1);
		update_topic(&request, id, bo_spi_int32(0, 2));
	}
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_INT32(id);
}

static Datum
change_grant(FunctionCallInfo fcinfo, BoPlan *plan)
{
	const Topic *topic = topic_lookup(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	char	   *role = GetUserNameFromId(PG_GETARG_OID(1), false);
	NameData	name;
	Datum		args[2];
	BoUser		saved;

	namestrcpy(&name, role);
	args[0] = Int32GetDatum(topic->id);
	args[1] = NameGetDatum(&name);

	saved = bo_user_definer();
	bo_spi_begin();
	bo_spi_run(plan, args, NULL, 0);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

Datum
events_grant_topic(PG_FUNCTION_ARGS)
{
	static BoPlan grant = {
		"INSERT INTO events.topic_grants (topic_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING", 2, {INT4OID, NAMEOID}
	};

	return change_grant(fcinfo, &grant);
}

Datum
events_revoke_topic(PG_FUNCTION_ARGS)
{
	static BoPlan revoke = {
		"DELETE FROM events.topic_grants WHERE topic_id = $1 AND role = $2", 2, {INT4OID, NAMEOID}
	};

	return change_grant(fcinfo, &revoke);
}

/* define_schema(topic text, type text, schema jsonb) */
Datum
events_define_schema(PG_FUNCTION_ARGS)
{
	static BoPlan upsert = {
		"INSERT INTO events.topic_schemas AS s (topic_id, type, schema) VALUES ($1, $2, $3)"
		" ON CONFLICT (topic_id, type) DO UPDATE SET schema = EXCLUDED.schema, defined_at = pg_catalog.now()"
		" WHERE s.schema <> EXCLUDED.schema", 3, {INT4OID, TEXTOID, JSONBOID}
	};
	static BoPlan remove = {
		"DELETE FROM events.topic_schemas WHERE topic_id = $1 AND type = $2", 2, {INT4OID, TEXTOID}
	};
	char	   *name = bo_arg_text(fcinfo, 0);
	char	   *type = bo_arg_text(fcinfo, 1);
	const Topic *topic = topic_lookup(name ? name : "");
	Datum		args[3];
	BoUser		saved;

	args[0] = Int32GetDatum(topic->id);
	args[1] = CStringGetTextDatum(type ? type : "");
	args[2] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	if (!PG_ARGISNULL(2))
		(void) json_schema_compile(PG_GETARG_JSONB_P(2), CurrentMemoryContext);

	saved = bo_user_definer();
	bo_spi_begin();
	bo_spi_run(PG_ARGISNULL(2) ? &remove : &upsert, args, NULL, 0);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

/* check_payload(topic text, type text, payload jsonb) */
Datum
events_check_payload(PG_FUNCTION_ARGS)
{
	const Topic *topic = topic_lookup(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	topic_check_payload(topic, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_JSONB_P(2));
	PG_RETURN_VOID();
}

static void
require_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function can only be called as a trigger")));
}

/* AFTER ... FOR EACH STATEMENT on the three tables. */
Datum
events_forget_topics(PG_FUNCTION_ARGS)
{
	Oid			relid;

	require_trigger(fcinfo);
	relid = get_relname_relid("topics", RelationGetNamespace(((TriggerData *) fcinfo->context)->tg_relation));
	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
	PG_RETURN_POINTER(NULL);
}

/* Deletes the row that has the name of the one to be inserted. */
static Datum
replace_row(TriggerData *trigger, int name_column, BoPlan *remove)
{
	bool		isnull;
	Datum		name = heap_getattr(trigger->tg_trigtuple, name_column, RelationGetDescr(trigger->tg_relation), &isnull);

	if (!isnull)
	{
		bo_spi_begin();
		bo_spi_run(remove, &name, NULL, 0);
		bo_spi_end();
	}
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* BEFORE INSERT FOR EACH ROW on events.topics. */
Datum
events_replace_topic(PG_FUNCTION_ARGS)
{
	static BoPlan remove = {"DELETE FROM events.topics WHERE name = $1", 1, {TEXTOID}};

	require_trigger(fcinfo);
	return replace_row((TriggerData *) fcinfo->context, 2, &remove);
}

/*
 * BEFORE INSERT FOR EACH ROW on events.registered_consumers.  Only for a
 * superuser who writes the table himself, as a restore does: lease() and
 * subscribe() insert as backoffice_kernel, and must never lose a position.
 */
Datum
events_replace_consumer(PG_FUNCTION_ARGS)
{
	static BoPlan remove = {"DELETE FROM events.registered_consumers WHERE name = $1", 1, {TEXTOID}};

	require_trigger(fcinfo);
	if (!superuser())
		return PointerGetDatum(((TriggerData *) fcinfo->context)->tg_trigtuple);
	return replace_row((TriggerData *) fcinfo->context, 1, &remove);
}
