/*
 * token_given.c
 *		Keys that an administrator gives: of services that sign tokens themselves,
 *		and of applications that were written for PostgREST.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(access_add_verification_key);
PG_FUNCTION_INFO_V1(access_remove_verification_key);

static void
refuse_key(const char *why)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("the key cannot be used to verify tokens"),
			 bo_code("bad_key", "%s", why),
			 errhint("Give a public JWK for RS256, PS256, ES256 and EdDSA, a secret of 32 to 512 bytes (or a JWK of kty oct) for HS256.")));
}

/* The bytes of a JWK of kty oct, or of the text itself; to be wiped. */
static uint8 *
secret_bytes(const char *text, Size *length)
{
	Size		size = strlen(text);
	char	   *copy = pstrdup(text);
	uint8	   *bytes = palloc(size + 1);
	JsonDocument *document = palloc(sizeof(JsonDocument));
	const JsonNode *k;

	if (*text != '{')
	{
		memcpy(bytes, text, size);
		*length = size;
		return bytes;
	}
	if (!json_parse_strict(copy, size, document) || !json_string_is(json_member(document, document->nodes, "kty"), "oct"))
		refuse_key("it is not a JWK of kty oct");
	k = json_member(document, document->nodes, "k");
	if (k == NULL || k->kind != JSON_IS_STRING || !base64url_decode(k->text, k->length, bytes, length))
		refuse_key("its member k is not base64url");
	explicit_bzero(copy, size);
	return bytes;
}

/* The secret encrypted, checked to be one. */
static bytea *
take_secret(const char *text, const pg_uuid_t *id)
{
	SecretOwner owner = {{{0}}, *id};
	Size		length;
	uint8	   *bytes = secret_bytes(text, &length);
	JwsKey		key;
	const char *problem = jws_key_from_secret(bytes, length, &key);
	bytea	   *stored;

	if (problem != NULL)
		refuse_key(problem);
	jws_key_free(&key);
	stored = keys_encrypt(TOKEN_KEY_PURPOSE, &owner, (char *) bytes, length);
	keys_wipe((char *) bytes, length);
	return stored;
}

/* The public members of a JWK, as JSON. */
static char *
take_public(const char *text, JwsAlgorithm algorithm)
{
	JsonDocument *document = palloc(sizeof(JsonDocument));
	char		jwk[4096];
	JwsKey		key;
	const char *problem;
	bool		written;

	if (!json_parse_strict(pstrdup(text), strlen(text), document))
		refuse_key("it is not a JWK");
	problem = jws_key_from_jwk(document, document->nodes, algorithm, &key);
	if (problem != NULL)
		refuse_key(problem);
	written = jws_key_write_jwk(&key, jwk, sizeof(jwk));
	jws_key_free(&key);
	if (!written)
		crypto_failed("could not write a key");
	return psprintf("{%s}", jwk);
}

static void
refuse_algorithm(const char *name)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("\"%s\" is not an algorithm of signatures", bo_clipped(name, 16)),
			 bo_code("bad_algorithm", "HS256, RS256, PS256, ES256 and EdDSA are"),
			 errhint("The names are those of RFC 7518 and RFC 8037.")));
}

static void
refuse_existing(void)
{
	ereport(ERROR,
			(errcode(BO_CONFLICT),
			 errmsg("there is a key with this id"),
			 bo_code("key_exists", "a key id names one key"),
			 errhint("Take the old one away with access.remove_verification_key(kid), or use another id.")));
}

static void
check_lengths(const char *kid, const char *role_claim)
{
	if (strlen(kid) > JWS_KID_MAX || (role_claim != NULL && (*role_claim == '\0' || strlen(role_claim) > JWS_KID_MAX)))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the key id or the name of the role's claim is too long"),
				 bo_code("bad_key_id", "at most %d bytes are allowed, and a claim has a name", JWS_KID_MAX),
				 errhint("Use shorter names.")));
}

/* add_verification_key(kid text, alg text, key text, role_claim text, audience text[], expires_required boolean): its id */
Datum
access_add_verification_key(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"INSERT INTO access.token_keys (id, issuer, kid, kind, alg, public_key, secret, role_claim, audience, expires_required) "
		"VALUES ($1, '', $2, 'given', $3, $4::jsonb, $5, $6, COALESCE(array_remove($7, NULL), '{}'), $8) ON CONFLICT (issuer, kid) DO NOTHING",
		8, {UUIDOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTARRAYOID, BOOLOID}
	};
	char	   *kid = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *name = required_text(fcinfo, 1, "alg");
	char	   *key = required_text(fcinfo, 2, "key");
	char	   *role_claim = bo_arg_text(fcinfo, 3);
	JwsAlgorithm algorithm = jws_algorithm(name, strlen(name));
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	Datum		args[8] = {0};
	char		nulls[] = "        ";
	BoUser		saved;

	if (algorithm == JWS_NONE)
		refuse_algorithm(name);
	check_lengths(kid, role_claim);
	bo_uuid7(id);
	args[0] = UUIDPGetDatum(id);
	args[1] = CStringGetTextDatum(kid);
	args[2] = CStringGetTextDatum(name);
	if (algorithm == JWS_HS256)
		args[4] = PointerGetDatum(take_secret(key, id));
	else
		args[3] = CStringGetTextDatum(take_public(key, algorithm));
	args[5] = role_claim ? CStringGetTextDatum(role_claim) : 0;
	args[6] = PG_ARGISNULL(4) ? 0 : PG_GETARG_DATUM(4);
	args[7] = BoolGetDatum(PG_ARGISNULL(5) || PG_GETARG_BOOL(5));
	for (int i = 3; i < 7; i++)
		nulls[i] = args[i] == 0 ? 'n' : ' ';

	saved = bo_user_kernel();
	bo_spi_begin();
	if (bo_spi_run(&plan, args, nulls, 0) == 0)
		refuse_existing();
	audit_named("verification_key.added", "kid", kid);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_UUID_P(id);
}

/* remove_verification_key(kid text): false when there was none */
Datum
access_remove_verification_key(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"DELETE FROM access.token_keys WHERE issuer = '' AND kind = 'given' AND kid = $1", 1, {TEXTOID}
	};
	char	   *kid = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum		args[1] = {CStringGetTextDatum(kid)};
	BoUser		saved = bo_user_kernel();
	bool		found;

	bo_spi_begin();
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
		audit_named("verification_key.removed", "kid", kid);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_BOOL(found);
}
