/*
 * stream.c
 *		Builds the envelope of GiftCertificates.Stream and emits it.
 *
 * The envelope is the Kafka message itself, so its eventId is the event's own
 * id: consumers deduplicate on either.
 */
#include "certificates/stream.h"

#include "catalog/pg_type_d.h"
#include "certificates/certificates.h"
#include "events/events.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(certificates_emit_sql);

static void
push_string(JsonbParseState **json, JsonbIteratorToken token, const char *text, Size length)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) text;
	value.val.string.len = length;
	pushJsonbValue(json, token, &value);
}

static void
push_key(StreamEvent *event, const char *name)
{
	push_string(&event->json, WJB_KEY, name, strlen(name));
}

static void
push_text_or_null(StreamEvent *event, const char *name, const char *text)
{
	JsonbValue	null = {.type = jbvNull};

	push_key(event, name);
	if (text == NULL)
		pushJsonbValue(&event->json, WJB_VALUE, &null);
	else
		push_string(&event->json, WJB_VALUE, text, strlen(text));
}

/*
 * Keys are pushed in the order that jsonb stores them in (by length, then by
 * bytes), here and where it matters in the payload: sorting them was a good
 * part of an event's cost.
 */
static void
begin_envelope(StreamEvent *event, const char *type, const char *channel, const char *status)
{
	event->json = NULL;
	event->type = type;
	bo_uuid7(&event->id);
	pushJsonbValue(&event->json, WJB_BEGIN_OBJECT, NULL);
	push_text_or_null(event, "status", status);
	push_text_or_null(event, "channel", channel);
	push_text_or_null(event, "eventId", bo_uuid_text(&event->id));
	push_key(event, "payload");
}

void
stream_begin(StreamEvent *event, const char *type, const char *channel, const char *status)
{
	begin_envelope(event, type, channel, status);
	pushJsonbValue(&event->json, WJB_BEGIN_OBJECT, NULL);
}

void
stream_text(StreamEvent *event, const char *name, const char *value)
{
	if (value != NULL)
		push_text_or_null(event, name, value);
}

void
stream_int64(StreamEvent *event, const char *name, int64 value)
{
	JsonbValue	number;

	push_key(event, name);
	number.type = jbvNumeric;
	number.val.numeric = int64_to_numeric(value);
	pushJsonbValue(&event->json, WJB_VALUE, &number);
}

void
stream_uuid(StreamEvent *event, const char *name, const pg_uuid_t *value)
{
	if (value != NULL)
		push_text_or_null(event, name, bo_uuid_text(value));
}

void
stream_time(StreamEvent *event, const char *name, TimestampTz value)
{
	push_text_or_null(event, name, bo_time_text(value));
}

static pg_uuid_t
emit_envelope(StreamEvent *event, const pg_uuid_t *key, const pg_uuid_t *organization)
{
	JsonbValue *envelope;

	push_text_or_null(event, "eventType", event->type);
	push_text_or_null(event, "occurredAt", bo_time_text(bo_now()));
	envelope = pushJsonbValue(&event->json, WJB_END_OBJECT, NULL);
	return events_emit(STREAM_TOPIC, bo_uuid_text(key), event->type, JsonbValueToJsonb(envelope), NULL,
					   organization, &event->id);
}

pg_uuid_t
stream_emit(StreamEvent *event, const pg_uuid_t *key, const pg_uuid_t *organization)
{
	pushJsonbValue(&event->json, WJB_END_OBJECT, NULL);
	return emit_envelope(event, key, organization);
}

/* The same with a payload made elsewhere (an object, or NULL). */
static pg_uuid_t
emit_payload(const pg_uuid_t *key, const char *type, const char *channel, const char *status,
			 Jsonb *payload, const pg_uuid_t *organization)
{
	StreamEvent event;
	JsonbValue	value;

	if (payload == NULL || !JB_ROOT_IS_OBJECT(payload))
	{
		stream_begin(&event, type, channel, status);
		return stream_emit(&event, key, organization);
	}
	begin_envelope(&event, type, channel, status);
	value.type = jbvBinary;
	value.val.binary.data = &payload->root;
	value.val.binary.len = VARSIZE(payload) - VARHDRSZ;
	pushJsonbValue(&event.json, WJB_VALUE, &value);
	return emit_envelope(&event, key, organization);
}

/* emit(key uuid, type text, channel text, status text, payload jsonb, organization uuid) */
Datum
certificates_emit_sql(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an event needs a key and a type"),
				 bo_code("invalid_argument", "key or type is NULL")));
	*id = emit_payload(PG_GETARG_UUID_P(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
					   bo_arg_text(fcinfo, 2), bo_arg_text(fcinfo, 3),
					   PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4),
					   PG_ARGISNULL(5) ? NULL : PG_GETARG_UUID_P(5));
	PG_RETURN_UUID_P(id);
}
