/*
 * movement.c
 *		What the money functions answer, store for repetition, and tell.
 */
#include "certificates/certificate.h"

#include "access/htup_details.h"
#include "certificates/stream.h"
#include "common/hashfn.h"
#include "core/idempotency.h"
#include "core/json_out.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define MOVEMENT_COLUMNS 8
#define ARGUMENTS "arguments"	/* of the request, hashed, in a stored answer */

void
movement_fill(Movement *movement, const Certificate *certificate, const pg_uuid_t *id, const char *kind, int64 amount_minor)
{
	memset(movement, 0, sizeof(Movement));
	movement->id = *id;
	movement->certificate_id = certificate->id;
	strlcpy(movement->kind, kind, sizeof(movement->kind));
	strlcpy(movement->state, certificate->state, sizeof(movement->state));
	strlcpy(movement->currency, certificate->currency, sizeof(movement->currency));
	movement->amount_minor = amount_minor;
	movement->balance_minor = certificate->balance_minor;
	movement->available_minor = certificate->balance_minor - certificate->held_minor;
}

Datum
movement_tuple(FunctionCallInfo fcinfo, const Movement *movement)
{
	TupleDesc	desc;
	Datum		values[MOVEMENT_COLUMNS];
	bool		nulls[MOVEMENT_COLUMNS] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = UUIDPGetDatum(&movement->id);
	values[1] = UUIDPGetDatum(&movement->certificate_id);
	values[2] = CStringGetTextDatum(movement->kind);
	values[3] = CStringGetTextDatum(movement->state);
	values[4] = Int64GetDatum(movement->amount_minor);
	values[5] = Int64GetDatum(movement->balance_minor);
	values[6] = Int64GetDatum(movement->available_minor);
	values[7] = CStringGetTextDatum(movement->currency);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static Jsonb *
movement_to_json(const Movement *movement, int64 arguments)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "id", &movement->id);
	json_uuid(&json, "certificateId", &movement->certificate_id);
	json_text(&json, "kind", movement->kind);
	json_text(&json, "state", movement->state);
	json_text(&json, "currency", movement->currency);
	json_int(&json, "amountMinor", movement->amount_minor);
	json_int(&json, "balanceMinor", movement->balance_minor);
	json_int(&json, "availableMinor", movement->available_minor);
	json_int(&json, ARGUMENTS, arguments);
	return json_end(&json);
}

static JsonbValue *
member(const Jsonb *json, const char *name, JsonbValue *value)
{
	if (getKeyJsonValueFromContainer((JsonbContainer *) &json->root, name, strlen(name), value) == NULL)
		elog(ERROR, "a stored answer lacks \"%s\"", name);
	return value;
}

static char *
text_member(const Jsonb *json, const char *name)
{
	JsonbValue	value;

	(void) member(json, name, &value);
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static int64
number_member(const Jsonb *json, const char *name)
{
	JsonbValue	value;

	(void) member(json, name, &value);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

static pg_uuid_t
uuid_member(const Jsonb *json, const char *name)
{
	return *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text_member(json, name))));
}

static void
movement_from_json(const Jsonb *json, Movement *movement)
{
	memset(movement, 0, sizeof(Movement));
	movement->id = uuid_member(json, "id");
	movement->certificate_id = uuid_member(json, "certificateId");
	strlcpy(movement->kind, text_member(json, "kind"), sizeof(movement->kind));
	strlcpy(movement->state, text_member(json, "state"), sizeof(movement->state));
	strlcpy(movement->currency, text_member(json, "currency"), sizeof(movement->currency));
	movement->amount_minor = number_member(json, "amountMinor");
	movement->balance_minor = number_member(json, "balanceMinor");
	movement->available_minor = number_member(json, "availableMinor");
}

void
movement_emit(const Movement *movement, const Certificate *certificate, const char *channel, const char *order_ref)
{
	StreamEvent event;

	stream_begin(&event, psprintf("redemption.%s", movement->kind), channel ? channel : certificate->channel, movement->kind);
	stream_uuid(&event, "redemptionId", &movement->id);
	stream_uuid(&event, "certificateId", &movement->certificate_id);
	stream_uuid(&event, "poolId", &certificate->pool_id);
	stream_text(&event, "certificateState", movement->state);
	stream_int64(&event, "amountMinor", movement->amount_minor);
	stream_int64(&event, "balanceMinor", movement->balance_minor);
	stream_int64(&event, "availableMinor", movement->available_minor);
	stream_text(&event, "currency", movement->currency);
	stream_text(&event, "orderRef", order_ref);
	stream_text(&event, "clientRef", certificate->client_ref);
	stream_emit(&event, &movement->certificate_id, &certificate->organization_id);
}

/*
 * All but the first, which the key's own hash has: that stays as 0.1 made it, so
 * that what was asked before an update can be repeated after it.
 */
static int64
hash_arguments(const char *const more[MOVEMENT_MORE_ARGUMENTS])
{
	uint64		hash = 0;

	for (int i = 1; i < MOVEMENT_MORE_ARGUMENTS; i++)
		hash = more[i] ? hash_bytes_extended((const unsigned char *) more[i], strlen(more[i]), hash + 1) : hash + 1;
	return (int64) hash;
}

static void
require_same_arguments(const Jsonb *response, const char *const more[MOVEMENT_MORE_ARGUMENTS])
{
	JsonbValue	value;

	/* Answers of 0.1 have none. */
	if (getKeyJsonValueFromContainer((JsonbContainer *) &response->root, ARGUMENTS, strlen(ARGUMENTS), &value) != NULL &&
		number_member(response, ARGUMENTS) != hash_arguments(more))
		idempotency_conflict();
}

bool
movement_begin(const char *scope, const char *key, const pg_uuid_t *id, int64 amount_minor,
			   const char *const more[MOVEMENT_MORE_ARGUMENTS], Movement *movement)
{
	IdempotencyHash *hash;
	Jsonb	   *response;

	if (key == NULL)
		return true;
	hash = idempotency_hash_begin();
	idempotency_hash_bytes(hash, id->data, UUID_LEN);
	idempotency_hash_int64(hash, amount_minor);
	idempotency_hash_text(hash, more[0]);
	if (idempotency_begin(scope, key, hash, &response))
		return true;
	if (response == NULL)
		elog(ERROR, "the idempotency key \"%s\" has no answer", key);
	require_same_arguments(response, more);
	movement_from_json(response, movement);
	return false;
}

void
movement_finish(const char *scope, const char *key, const char *const more[MOVEMENT_MORE_ARGUMENTS], const Movement *movement)
{
	if (key != NULL)
		idempotency_finish(scope, key, movement_to_json(movement, hash_arguments(more)));
}
