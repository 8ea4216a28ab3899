/*
 * replay.c
 *		Idempotency-Key: the same request again gets the same answer.
 *
 * A key belongs to an organization, an operation and whoever acts: the scope
 * names both, so that nobody is given, or told of, another's answer.  What
 * could not be done (an empty pool) leaves no key behind: it can be tried again.
 */
#include "api/api.h"

#include "common/base64.h"
#include "core/idempotency.h"
#include "core/keys.h"
#include "core/principal.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#define PURPOSE_ANSWER "api.answer"

/* ---- encrypted answers ---- */

/* An encrypted answer is bound to its key: no other row's can be put in its place. */
static SecretOwner
owner_of(const ApiCall *call)
{
	IdempotencyHash *hash = idempotency_hash_begin();
	SecretOwner owner;

	idempotency_hash_text(hash, call->scope);
	idempotency_hash_text(hash, call->key);
	memcpy(&owner.id, VARDATA(idempotency_hash_end(hash)), UUID_LEN);
	owner.organization_id = principal_require()->organization_id;
	return owner;
}

static char *
seal(const ApiCall *call, const Jsonb *body)
{
	SecretOwner owner = owner_of(call);
	bytea	   *secret = keys_encrypt(PURPOSE_ANSWER, &owner, (const char *) body, VARSIZE(body));
	int			length = pg_b64_enc_len(VARSIZE_ANY_EXHDR(secret));
	char	   *text = palloc(length + 1);

	length = pg_b64_encode((const void *) VARDATA_ANY(secret), VARSIZE_ANY_EXHDR(secret), text, length);
	text[length] = '\0';
	return text;
}

static Jsonb *
unseal(const ApiCall *call, const char *text, int length)
{
	SecretOwner owner = owner_of(call);
	int			size = pg_b64_dec_len(length);
	bytea	   *secret = palloc(VARHDRSZ + size);
	Size		body_size;

	size = pg_b64_decode(text, length, (void *) VARDATA(secret), size);
	if (size < 0)
		elog(ERROR, "a stored answer is damaged");
	SET_VARSIZE(secret, VARHDRSZ + size);
	return (Jsonb *) keys_decrypt(PURPOSE_ANSWER, &owner, secret, &body_size);
}

/* ---- stored answers: {"status", "headers"?, "body" or "sealed"} ---- */

static void
push(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = (char *) name;
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, value);
}

static void
push_json(JsonbParseState **state, const char *name, const Jsonb *json)
{
	JsonbValue	value;

	JsonbToJsonbValue((Jsonb *) json, &value);
	push(state, name, &value);
}

static Jsonb *
to_stored(const ApiCall *call, const ApiAnswer *answer)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (answer->body != NULL && (call->operation->flags & API_SECRET))
	{
		value.type = jbvString;
		value.val.string.val = seal(call, answer->body);
		value.val.string.len = strlen(value.val.string.val);
		push(&state, "sealed", &value);
	}
	else if (answer->body != NULL)
		push_json(&state, "body", answer->body);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(answer->status);
	push(&state, "status", &value);
	if (answer->headers != NULL)
		push_json(&state, "headers", answer->headers);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static JsonbValue *
member(Jsonb *json, const char *name, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(&json->root, name, strlen(name), value);
}

static void
from_stored(const ApiCall *call, Jsonb *stored, ApiAnswer *answer)
{
	JsonbValue	value;

	if (stored == NULL || member(stored, "status", &value) == NULL || value.type != jbvNumeric)
		elog(ERROR, "a stored answer is damaged");
	answer->status = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value.val.numeric)));
	answer->headers = member(stored, "headers", &value) ? JsonbValueToJsonb(&value) : NULL;
	if (member(stored, "sealed", &value))
		answer->body = unseal(call, value.val.string.val, value.val.string.len);
	else
		answer->body = member(stored, "body", &value) ? JsonbValueToJsonb(&value) : NULL;
}

/* ---- requests ---- */

char *
replay_scope(const ApiOperation *operation)
{
	const Principal *principal = principal_require();

	const pg_uuid_t *who = principal->has_api_key ? &principal->api_key_id : principal->has_user ? &principal->user_id : NULL;

	return psprintf("api.%s %s", operation->name, who ? bo_uuid_text(who) : "service");
}

/* In their binary form, which no setting of the session changes. */
static void
hash_arguments(IdempotencyHash *hash, const ApiCall *call)
{
	FunctionCallInfo fcinfo = call->fcinfo;

	for (int i = 0; i < call->operation->plan.nargs; i++)
	{
		Oid			send;
		bool		varlena;
		bytea	   *bytes = NULL;

		if (!PG_ARGISNULL(i))
		{
			getTypeBinaryOutputInfo(call->operation->plan.argtypes[i], &send, &varlena);
			bytes = OidSendFunctionCall(send, PG_GETARG_DATUM(i));
		}
		idempotency_hash_bytes(hash, bytes ? VARDATA(bytes) : NULL, bytes ? VARSIZE(bytes) - VARHDRSZ : 0);
	}
}

bool
replay_begin(const ApiCall *call, ApiAnswer *answer)
{
	IdempotencyHash *hash = idempotency_hash_begin();
	Jsonb	   *stored;

	hash_arguments(hash, call);
	if (idempotency_begin(call->scope, call->key, hash, &stored))
		return true;
	from_stored(call, stored, answer);
	return false;
}

void
replay_end(const ApiCall *call, const ApiAnswer *answer)
{
	if (answer->status < 400)
		idempotency_finish(call->scope, call->key, to_stored(call, answer));
	else
		idempotency_forget(call->scope, call->key);
}
