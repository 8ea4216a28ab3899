/*
 * inbox.c
 *		Messages from outside: into the log once, or aside.
 */
#include "core/core.h"

#include "catalog/pg_type.h"
#include "core/idempotency.h"
#include "core/principal.h"
#include "core/spi.h"
#include "events/alerts.h"
#include "events/events.h"
#include "events/topics.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define SOURCE_MAX_BYTES 255
#define MESSAGE_ID_MAX_BYTES 512
#define MAX_ATTEMPTS 100

PG_FUNCTION_INFO_V1(events_accept);
PG_FUNCTION_INFO_V1(events_park_inbound);
PG_FUNCTION_INFO_V1(events_rewind_source);

typedef struct Message
{
	char	   *source;
	char	   *message_id;
	char	   *topic;
	char	   *key;
	char	   *type;
	Jsonb	   *payload;
	Jsonb	   *headers;
	pg_uuid_t	organization;	/* all zero: the system's */
	pg_uuid_t	event_id;
} Message;

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("invalid inbound message"),
			 bo_code("invalid_message", "%s", what)));
}

/* The string under a name of a JSON object, or NULL. */
static char *
string_member(Jsonb *json, const char *name)
{
	JsonbValue	value;

	if (json == NULL || !JB_ROOT_IS_OBJECT(json) ||
		getKeyJsonValueFromContainer(&json->root, name, strlen(name), &value) == NULL ||
		value.type != jbvString || value.val.string.len == 0)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static bool
is_of_system(const pg_uuid_t *organization)
{
	static const pg_uuid_t nil = {0};

	return memcmp(organization, &nil, sizeof(pg_uuid_t)) == 0;
}

/*
 * The principal's; without one a worker says whose message it is, and an
 * administrator's is the system's own, as in events.emit().
 */
static pg_uuid_t
organization_of(FunctionCallInfo fcinfo, Jsonb *headers)
{
	const Principal *principal = principal_get();
	char	   *named = string_member(headers, "organization_id");
	pg_uuid_t	organization;

	events_require_organization();
	if (!PG_ARGISNULL(6))
		organization = *PG_GETARG_UUID_P(6);
	else if (principal != NULL)
		return principal->organization_id;
	else
	{
		if (!has_privs_of_role(GetUserId(), get_role_oid("backoffice_worker", false)))
			return principal_require()->organization_id;
		if (named == NULL && has_privs_of_role(GetUserId(), get_role_oid("backoffice_admin", false)))
			return (pg_uuid_t) {0};
		if (named == NULL || !bo_uuid_parse(named, strlen(named), &organization))
			ereport(ERROR,
					(errcode(BO_BAD_REQUEST),
					 errmsg("the organization of the message is not known"),
					 bo_code("organization_required", "there is no principal, no argument organization and no UUID in headers->>'organization_id'"),
					 errhint("Pass the organization, or set aside the message with events.park_inbound().")));
	}
	if (principal != NULL && memcmp(&principal->organization_id, &organization, sizeof(pg_uuid_t)) != 0)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("the message belongs to another organization"),
				 bo_code("organization_mismatch", "the principal acts for one organization, the argument names another"),
				 errhint("Leave organization out, or act for that organization.")));
	if (principal == NULL && !has_privs_of_role(GetUserId(), get_role_oid("backoffice_worker", false)))
		(void) principal_require();
	return organization;
}

static Message
message_of(FunctionCallInfo fcinfo)
{
	Message		message = {
		.source = bo_arg_text(fcinfo, 0),
		.message_id = bo_arg_text(fcinfo, 1),
		.topic = bo_arg_text(fcinfo, 2),
		.key = bo_arg_text(fcinfo, 3),
		.payload = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4),
		.headers = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5),
		.type = bo_arg_text(fcinfo, 7)
	};

	if (message.source == NULL || message.source[0] == '\0' || strlen(message.source) > SOURCE_MAX_BYTES)
		refuse(psprintf("source is a text of 1 to %d bytes", SOURCE_MAX_BYTES));
	if (message.message_id == NULL || message.message_id[0] == '\0' || strlen(message.message_id) > MESSAGE_ID_MAX_BYTES)
		refuse(psprintf("message_id is a text of 1 to %d bytes", MESSAGE_ID_MAX_BYTES));
	if (message.topic == NULL)
		refuse("topic is null");
	if (message.payload == NULL)
		refuse("payload is null");
	/* Before it is hashed as text. */
	events_check_size(message.payload, message.headers);
	if (message.type == NULL)
		message.type = string_member(message.headers, "ce_type");
	if (message.type == NULL)
		message.type = string_member(message.payload, "eventType");
	if (message.type == NULL)
		message.type = string_member(message.payload, "type");
	if (message.type == NULL)
		message.type = message.topic;
	message.organization = organization_of(fcinfo, message.headers);
	if (!PG_ARGISNULL(6) && is_of_system(&message.organization))
		refuse("organization is the nil UUID");
	return message;
}

static bytea *
hash_of(const Message *message)
{
	IdempotencyHash *hash = idempotency_hash_begin();

	idempotency_hash_text(hash, message->topic);
	idempotency_hash_text(hash, message->key);
	idempotency_hash_jsonb(hash, message->payload);
	return idempotency_hash_end(hash);
}

static bool
equal_bytes(Datum stored, const bytea *hash)
{
	bytea	   *bytes = DatumGetByteaPP(stored);

	return VARSIZE_ANY_EXHDR(bytes) == VARSIZE_ANY_EXHDR(hash) &&
		memcmp(VARDATA_ANY(bytes), VARDATA_ANY(hash), VARSIZE_ANY_EXHDR(hash)) == 0;
}

/* True: the message is new.  A transaction that holds the same id is waited for, in the index. */
static bool
claim(const Message *message, bytea *hash)
{
	static BoPlan insert = {
		"INSERT INTO events.inbox (organization_id, source, message_id, request_hash, event_id)"
		" VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING", 5, {UUIDOID, TEXTOID, TEXTOID, BYTEAOID, UUIDOID}
	};
	static BoPlan find = {
		"SELECT request_hash FROM events.inbox WHERE organization_id = $1 AND source = $2 AND message_id = $3",
		3, {UUIDOID, TEXTOID, TEXTOID}
	};
	Datum		args[5] = {
		UUIDPGetDatum(&message->organization),
		CStringGetTextDatum(message->source),
		CStringGetTextDatum(message->message_id),
		PointerGetDatum(hash),
		UUIDPGetDatum(&message->event_id)
	};

	for (int attempt = 1;; attempt++)
	{
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (bo_spi_run(&insert, args, NULL, 0) == 1)
			return true;
		if (bo_spi_run(&find, args, NULL, 1) == 1)
		{
			if (!equal_bytes(bo_spi_datum(0, 1, &isnull), hash))
				ereport(ERROR,
						(errcode(BO_CONFLICT),
						 errmsg("the message id was used for another message"),
						 bo_code("idempotency_conflict", "a message with this id came with another topic, key or payload before"),
						 errhint("A source must give each message an id of its own.")));
			return false;
		}
		if (attempt == MAX_ATTEMPTS)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the message is being removed from the inbox"),
					 bo_code("removed_meanwhile", "events.prune_inbox() runs in another transaction"),
					 errhint("Try again.")));
	}
}

/* accept(source, message_id, topic, key, payload, headers, organization, type) returns boolean */
Datum
events_accept(PG_FUNCTION_ARGS)
{
	Message		message = message_of(fcinfo);
	const Topic *topic = topic_lookup(message.topic);
	BoUser		saved;
	bool		new;

	/* A worker brings what its source has; into topics of our own it writes like anybody else, by right. */
	if (topic->direction != TOPIC_IN || !has_privs_of_role(GetUserId(), get_role_oid("backoffice_worker", false)))
		topic_check_right(topic, GetUserId());
	bo_uuid7(&message.event_id);

	saved = bo_user_kernel();
	bo_spi_begin();
	new = claim(&message, hash_of(&message));
	if (new)
		(void) events_emit(message.topic, message.key, message.type, message.payload, message.headers,
						   is_of_system(&message.organization) ? NULL : &message.organization, &message.event_id);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_BOOL(new);
}

/* park_inbound(source, topic, partition, offset, key, value, reason) returns boolean */
Datum
events_park_inbound(PG_FUNCTION_ARGS)
{
	static BoPlan insert = {
		"INSERT INTO events.parked_inbound (source, topic, \"partition\", \"offset\", key, value, reason)"
		" VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
		7, {TEXTOID, TEXTOID, INT4OID, INT8OID, BYTEAOID, BYTEAOID, TEXTOID}
	};
	static const char *const names[] = {"source", "topic", "partition", "offset", "key", "value", "reason"};
	Datum		args[7];
	char		nulls[7];
	char	   *reason;
	BoUser		saved;
	bool		new;

	for (int i = 0; i < 7; i++)
	{
		args[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
		if (PG_ARGISNULL(i) && i != 4 && i != 5)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s of a parked message must not be null", names[i]),
					 bo_code("missing_argument", "argument \"%s\" is null", names[i]),
					 errhint("Only key and value may be null.")));
	}

	if (strlen(bo_arg_text(fcinfo, 0)) > SOURCE_MAX_BYTES || strlen(bo_arg_text(fcinfo, 1)) > SOURCE_MAX_BYTES)
		refuse(psprintf("source and topic are texts of at most %d bytes", SOURCE_MAX_BYTES));
	reason = clipped_reason(bo_arg_text(fcinfo, 6));
	args[6] = CStringGetTextDatum(reason);

	saved = bo_user_kernel();
	bo_spi_begin();
	new = bo_spi_run(&insert, args, nulls, 0) == 1;
	if (new)
		alert_emit("inbound.parked", bo_arg_text(fcinfo, 1), NULL,
				   "source", bo_arg_text(fcinfo, 0),
				   "topic", bo_arg_text(fcinfo, 1),
				   "partition", psprintf("%d", PG_GETARG_INT32(2)),
				   "offset", psprintf("%lld", (long long) PG_GETARG_INT64(3)),
				   "reason", reason, (char *) NULL);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_BOOL(new);
}

/* rewind_source(source_group, topic, partition, offset) returns boolean */
Datum
events_rewind_source(PG_FUNCTION_ARGS)
{
	static BoPlan update = {
		"UPDATE events.source_positions SET next_offset = $4, updated_at = pg_catalog.clock_timestamp()"
		" WHERE source_group = $1 AND topic = $2 AND \"partition\" = $3 AND next_offset > $4",
		4, {TEXTOID, TEXTOID, INT4OID, INT8OID}
	};
	static const char *const names[] = {"source_group", "topic", "partition", "offset"};
	Datum		args[4];
	BoUser		saved;
	bool		moved;

	for (int i = 0; i < 4; i++)
	{
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s of a source must not be null", names[i]),
					 bo_code("missing_argument", "argument \"%s\" is null", names[i])));
		args[i] = PG_GETARG_DATUM(i);
	}

	saved = bo_user_kernel();
	bo_spi_begin();
	moved = bo_spi_run(&update, args, NULL, 0) == 1;
	if (moved)
		alert_emit("inbound.rewound", bo_arg_text(fcinfo, 1), NULL,
				   "group", bo_arg_text(fcinfo, 0),
				   "topic", bo_arg_text(fcinfo, 1),
				   "partition", psprintf("%d", PG_GETARG_INT32(2)),
				   "offset", psprintf("%lld", (long long) PG_GETARG_INT64(3)), (char *) NULL);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_BOOL(moved);
}
