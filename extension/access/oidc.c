/*
 * oidc.c
 *		Logging in at an OpenID provider: authorization code with PKCE (S256).
 *
 * begin() makes state, nonce and verifier and the URL to go to; whoever
 * exchanges the code (the gateway: the server makes no connections) asks
 * pending() for the verifier, once, and brings the tokens to complete(), once.
 * That checks the identity token (OpenID Connect Core 3.1.3.7), finds or takes
 * in the user, and starts a session of ours.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define PURPOSE			"access.oidc"
#define RANDOM_BYTES	32
#define TEXT_SIZE		48		/* of 32 bytes in base64url */
#define LIFETIME		(INT64CONST(600) * USECS_PER_SEC)
#define URL_MAX			2048
#define KEEPER_INTERVAL_MS	10000

PG_FUNCTION_INFO_V1(access_oidc_begin);
PG_FUNCTION_INFO_V1(access_oidc_pending);
PG_FUNCTION_INFO_V1(access_oidc_complete);

typedef struct Secrets
{
	uint8		nonce[RANDOM_BYTES];
	uint8		verifier[RANDOM_BYTES];
} Secrets;

static void
refuse_login(void)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("there is no such log-in under way"),
			 bo_code("unknown_login", "its state is unknown, was used, or is older than ten minutes"),
			 errhint("Begin anew with access.oidc_begin().")));
}

static Datum
sha256_of(const char *text, Size length)
{
	bytea	   *hash = palloc(VARHDRSZ + TOKEN_HASH_BYTES);

	SET_VARSIZE(hash, VARHDRSZ + TOKEN_HASH_BYTES);
	if (EVP_Digest(text, length, (uint8 *) VARDATA(hash), NULL, EVP_sha256(), NULL) != 1)
		crypto_failed("SHA-256");
	return PointerGetDatum(hash);
}

/* ---- begin ---- */

char *
uri_encoded(const char *text)
{
	StringInfoData encoded;

	initStringInfo(&encoded);
	for (const unsigned char *c = (const unsigned char *) text; *c; c++)
	{
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~", *c))
			appendStringInfoChar(&encoded, (char) *c);
		else
			appendStringInfo(&encoded, "%%%02X", *c);
	}
	return encoded.data;
}

static void
put_parameter(StringInfo url, const char *name, const char *value)
{
	appendStringInfo(url, "%c%s=%s", strchr(url->data, '?') ? '&' : '?', name, uri_encoded(value));
}

static void
refuse_redirect(const char *why)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("the log-in cannot return there"),
			 bo_code("bad_redirect_uri", "%s", why),
			 errhint("Give one of the redirect_uris of access.define_issuer().")));
}

/* The issuer's endpoint, client and scope, if it may return to redirect_uri. */
static void
read_issuer(const char *issuer, const char *redirect_uri, char **endpoint, char **client_id, char **scope)
{
	static BoPlan plan = {
		"SELECT metadata->>'authorization_endpoint', client_id, scope, redirect_uris = '{}' OR $2 = ANY (redirect_uris) "
		"FROM access.issuers WHERE issuer = $1 AND state = 'active'",
		2, {TEXTOID, TEXTOID}
	};
	Datum		args[2] = {CStringGetTextDatum(issuer), CStringGetTextDatum(redirect_uri)};

	if (bo_spi_run(&plan, args, NULL, 1) == 0)
		refuse_unknown_issuer();
	*endpoint = bo_spi_text(0, 1);
	*client_id = bo_spi_text(0, 2);
	*scope = bo_spi_text(0, 3);
	if (!bo_spi_bool(0, 4))
		refuse_redirect("the issuer's record does not name it");
	if (*endpoint == NULL)
		ereport(ERROR,
				(errcode(BO_UNAVAILABLE),
				 errmsg("the issuer's endpoints are not known yet"),
				 bo_code("issuer_not_ready", "its discovery document was not fetched, or names no authorization endpoint"),
				 errhint("The worker oidc fetches it; try again in some seconds.")));
}

static void
insert_login(const char *issuer, const char *redirect_uri, const pg_uuid_t *organization, const char *state, const Secrets *secrets)
{
	static BoPlan plan = {
		"INSERT INTO access.oidc_logins (state_hash, id, issuer, secret, redirect_uri, wanted_organization, expires_at) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7)",
		7, {BYTEAOID, UUIDOID, TEXTOID, BYTEAOID, TEXTOID, UUIDOID, TIMESTAMPTZOID}
	};
	SecretOwner owner = {{{0}}};
	Datum		args[7];

	bo_uuid7(&owner.id);
	args[0] = sha256_of(state, strlen(state));
	args[1] = UUIDPGetDatum(&owner.id);
	args[2] = CStringGetTextDatum(issuer);
	args[3] = PointerGetDatum(keys_encrypt(PURPOSE, &owner, (const char *) secrets, sizeof(Secrets)));
	args[4] = CStringGetTextDatum(redirect_uri);
	args[5] = UUIDPGetDatum(organization);
	args[6] = TimestampTzGetDatum(bo_now() + LIFETIME);
	bo_spi_run(&plan, args, organization ? NULL : "     n ", 0);
}

/* oidc_begin(issuer text, redirect_uri text, organization uuid): {url, state, expires_in} */
Datum
access_oidc_begin(PG_FUNCTION_ARGS)
{
	char	   *issuer = required_text(fcinfo, 0, "issuer");
	char	   *redirect_uri = required_text(fcinfo, 1, "redirect_uri");
	char	   *endpoint,
			   *client_id,
			   *scope;
	uint8		random[RANDOM_BYTES];
	char		state[TEXT_SIZE],
				nonce[TEXT_SIZE],
				verifier[TEXT_SIZE],
				challenge[TEXT_SIZE];
	Secrets		secrets;
	StringInfoData url;
	JsonOut		json;
	BoUser		user;

	if (strlen(redirect_uri) > URL_MAX || (strncmp(redirect_uri, "https://", 8) != 0 && strncmp(redirect_uri, "http://", 7) != 0))
		refuse_redirect("it is not a URL of at most 2048 bytes");
	crypto_random(random, sizeof(random));
	crypto_random(&secrets, sizeof(secrets));
	(void) base64url_encode(random, RANDOM_BYTES, state);
	(void) base64url_encode(secrets.nonce, RANDOM_BYTES, nonce);
	(void) base64url_encode(secrets.verifier, RANDOM_BYTES, verifier);
	(void) base64url_encode((uint8 *) VARDATA(DatumGetPointer(sha256_of(verifier, strlen(verifier)))), TOKEN_HASH_BYTES, challenge);

	initStringInfo(&url);
	user = bo_user_kernel();
	bo_spi_begin();
	read_issuer(issuer, redirect_uri, &endpoint, &client_id, &scope);
	insert_login(issuer, redirect_uri, optional_uuid(fcinfo, 2), state, &secrets);
	appendStringInfoString(&url, endpoint);
	put_parameter(&url, "response_type", "code");
	put_parameter(&url, "client_id", client_id);
	put_parameter(&url, "scope", scope);
	bo_spi_end();
	bo_user_restore(user);
	put_parameter(&url, "redirect_uri", redirect_uri);
	put_parameter(&url, "state", state);
	put_parameter(&url, "nonce", nonce);
	put_parameter(&url, "code_challenge", challenge);
	put_parameter(&url, "code_challenge_method", "S256");
	explicit_bzero(&secrets, sizeof(secrets));
	json_begin(&json);
	json_text(&json, "url", url.data);
	json_text(&json, "state", state);
	json_int(&json, "expires_in", LIFETIME / USECS_PER_SEC);
	PG_RETURN_JSONB_P(json_end(&json));
}

/* ---- pending ---- */

static void
decrypt_secrets(const pg_uuid_t *id, Datum stored, Secrets *secrets)
{
	SecretOwner owner = {{{0}}, *id};
	Size		length;
	char	   *clear = keys_decrypt(PURPOSE, &owner, DatumGetByteaPP(stored), &length);

	memcpy(secrets, clear, Min(length, sizeof(Secrets)));
	keys_wipe(clear, length);
}

/* NULL: the client has none. */
static char *
client_secret(const pg_uuid_t *id, int column)
{
	SecretOwner owner = {{{0}}, *id};
	bool		isnull;
	Datum		stored = bo_spi_datum(0, column, &isnull);
	Size		length;

	return isnull ? NULL : keys_decrypt(ISSUER_SECRET_PURPOSE, &owner, DatumGetByteaPP(stored), &length);
}

/* oidc_pending(state text): what the exchange of the code needs */
Datum
access_oidc_pending(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"UPDATE access.oidc_logins l SET taken_at = $2 FROM access.issuers i "
		"WHERE l.state_hash = $1 AND l.taken_at IS NULL AND l.expires_at > $2 AND i.issuer = l.issuer AND i.state = 'active' "
		"RETURNING l.id, l.secret, l.issuer, l.redirect_uri, i.metadata->>'token_endpoint', i.client_id, i.id, i.client_secret",
		2, {BYTEAOID, TIMESTAMPTZOID}
	};
	MemoryContext caller = CurrentMemoryContext;
	char	   *state = required_text(fcinfo, 0, "state");
	char		verifier[TEXT_SIZE];
	Secrets		secrets;
	Datum		args[2];
	pg_uuid_t	id;
	bool		isnull;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	args[0] = sha256_of(state, strlen(state));
	args[1] = TimestampTzGetDatum(bo_now());
	user = bo_user_kernel();
	bo_spi_begin();
	if (bo_spi_run(&plan, args, NULL, 1) == 0)
		refuse_login();
	id = bo_spi_uuid(0, 1);
	decrypt_secrets(&id, bo_spi_datum(0, 2, &isnull), &secrets);
	(void) base64url_encode(secrets.verifier, RANDOM_BYTES, verifier);
	id = bo_spi_uuid(0, 7);
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	json_text(&json, "issuer", bo_spi_text(0, 3));
	json_text(&json, "redirect_uri", bo_spi_text(0, 4));
	json_text(&json, "token_endpoint", bo_spi_text(0, 5));
	json_text(&json, "client_id", bo_spi_text(0, 6));
	json_text(&json, "client_secret", client_secret(&id, 8));
	json_text(&json, "code_verifier", verifier);
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	explicit_bzero(&secrets, sizeof(secrets));
	PG_RETURN_JSONB_P(answer);
}

/* ---- complete ---- */

/* What complete() works on. */
typedef struct Completion
{
	char	   *issuer;
	char		nonce[TEXT_SIZE];
	bool		has_organization;
	pg_uuid_t	organization_id;
	JwsToken   *identity;		/* the identity token */
	JwsToken   *roles;			/* the access token, or the same */
	VerifiedToken verified;
} Completion;

/* Takes the row away.  Within SPI, as the kernel. */
static void
take_login(const char *state, Completion *completion)
{
	static BoPlan plan = {
		"DELETE FROM access.oidc_logins WHERE state_hash = $1 AND taken_at IS NOT NULL AND expires_at > $2 "
		"RETURNING id, secret, issuer, wanted_organization", 2, {BYTEAOID, TIMESTAMPTZOID}
	};
	Datum		args[2] = {sha256_of(state, strlen(state)), TimestampTzGetDatum(bo_now())};
	Secrets		secrets;
	pg_uuid_t	id;
	bool		isnull;

	if (bo_spi_run(&plan, args, NULL, 1) == 0)
		refuse_login();
	id = bo_spi_uuid(0, 1);
	decrypt_secrets(&id, bo_spi_datum(0, 2, &isnull), &secrets);
	(void) base64url_encode(secrets.nonce, RANDOM_BYTES, completion->nonce);
	explicit_bzero(&secrets, sizeof(secrets));
	completion->issuer = bo_spi_text(0, 3);
	completion->has_organization = !bo_spi_isnull(0, 4);
	if (completion->has_organization)
		completion->organization_id = bo_spi_uuid(0, 4);
}

/* An access token of the same issuer and subject has the roles; an opaque one, or one for others, says nothing. */
static void
open_access_token(const char *text, Completion *completion)
{
	JwsToken   *token = palloc(sizeof(JwsToken));

	if (jws_parse(text, strlen(text), palloc(JWS_BUFFER_SIZE(strlen(text))), token) != NULL ||
		!json_string_is(token_claim(token, "iss"), completion->issuer))
		return;
	(void) token_open(text, strlen(text), token);
	completion->roles = token;
}

/* Left half of the access token's hash, if the identity token has it. */
static void
check_at_hash(const JwsToken *identity, const char *access_token)
{
	const JsonNode *at_hash = token_claim(identity, "at_hash");
	char		text[TEXT_SIZE];

	if (at_hash == NULL || access_token == NULL || identity->algorithm == JWS_EDDSA)
		return;
	(void) base64url_encode((uint8 *) VARDATA(DatumGetPointer(sha256_of(access_token, strlen(access_token)))), TOKEN_HASH_BYTES / 2, text);
	if (!json_string_is(at_hash, text))
		refuse_token(TOKEN_MALFORMED, "the access token is not the identity token's");
}

static void
check_identity_token(const Completion *completion, const TokenKey *key)
{
	const JwsToken *token = completion->identity;
	const JsonNode *audience = token_claim(token, "aud");
	const JsonNode *party = token_claim(token, "azp");
	const JsonNode *type = token_claim(token, "typ");

	if (key->kind != KEY_ISSUER || strcmp(key->issuer, completion->issuer) != 0)
		refuse_token(TOKEN_WRONG_ISSUER, "it is not of the issuer that was asked");
	if ((token->type != NULL && !token_has_type(token, "JWT")) || (type != NULL && !json_string_is(type, "ID")))
		refuse_token(TOKEN_WRONG_TYPE, "it is not an identity token");
	if (!token_claim_includes(&token->claims, audience, key->client_id) ||
		(audience->kind == JSON_IS_ARRAY && json_first(&token->claims, audience)->next >= 0 && party == NULL) ||
		(party != NULL && !json_string_is(party, key->client_id)))
		refuse_token(TOKEN_WRONG_AUDIENCE, "the identity token is for another client");
	if (token_claim(token, "iat") == NULL || !json_string_is(token_claim(token, "nonce"), completion->nonce))
		refuse_token(TOKEN_MALFORMED, "the identity token does not answer this log-in");
}

/* Checks both tokens, and finds or takes in the user. */
static void
identify(Completion *completion, const char *id_token, const char *access_token)
{
	const TokenKey *key;

	completion->identity = completion->roles = palloc(sizeof(JwsToken));
	if (access_token != NULL)
		open_access_token(access_token, completion);
	key = token_open(id_token, strlen(id_token), completion->identity);
	check_identity_token(completion, key);
	token_check_times(completion->identity, key, &completion->verified);
	check_at_hash(completion->identity, access_token);
	read_external_claims(completion->identity, key, &completion->verified);
	if (!json_string_is(token_claim(completion->roles, "sub"), completion->verified.subject))
		completion->roles = completion->identity;
	identity_of(completion->identity, completion->roles, key, &completion->verified);
}

static void
insert_external_session(const Completion *completion, const Session *session)
{
	static BoPlan plan = {
		"INSERT INTO access.external_sessions (session_id, issuer, sid, subject) VALUES ($1, $2, $3, $4)",
		4, {UUIDOID, TEXTOID, TEXTOID, TEXTOID}
	};
	const VerifiedToken *verified = &completion->verified;
	Datum		args[4] = {UUIDPGetDatum(&session->id), CStringGetTextDatum(verified->issuer), 0, CStringGetTextDatum(verified->subject)};

	if (verified->sid != NULL)
		args[2] = CStringGetTextDatum(verified->sid);
	bo_spi_run(&plan, args, verified->sid ? NULL : "  n ", 0);
}

/* False: the user is disabled, or may not act for the organization that the issuer speaks for. */
static bool
start_session(const Completion *completion, Session *session, Person *person)
{
	const pg_uuid_t *organization = completion->has_organization ? &completion->organization_id : NULL;
	const pg_uuid_t *home = completion->verified.has_organization ? &completion->verified.organization_id : NULL;

	session->user_id = completion->verified.user_id;
	session->aal = completion->verified.aal;
	if (!person_read(&session->user_id, organization ? organization : home, person) || !person->active)
		return false;
	if (organization == NULL && person->has_organization)
		organization = &person->organization_id;
	if (completion->verified.is_bound &&
		(organization == NULL || memcmp(organization, &completion->verified.bound_to, UUID_LEN) != 0))
		return false;
	login_start(session, organization, person);
	insert_external_session(completion, session);
	return true;
}

/* oidc_complete(state text, id_token text, access_token text, device_info jsonb, ip inet): as login() answers */
Datum
access_oidc_complete(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *state = required_text(fcinfo, 0, "state");
	char	   *id_token = required_text(fcinfo, 1, "id_token");
	char	   *access_token = bo_arg_text(fcinfo, 2);
	Session		session = {.amr = "oidc"};
	Completion	completion = {0};
	Person		person;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;
	bool		started;

	session_origin(fcinfo, 3, 4, &session.origin);
	user = bo_user_kernel();
	bo_spi_begin();
	take_login(state, &completion);
	identify(&completion, id_token, access_token);
	started = start_session(&completion, &session, &person);
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	if (started)
		answer_tokens(&json, &session, &person);
	else
		json_text(&json, "status", "denied");
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	explicit_bzero(&session, sizeof(session));
	PG_RETURN_JSONB_P(answer);
}

/* ---- keeper ---- */

static bool
delete_past(void)
{
	static BoPlan logins_plan = {"DELETE FROM access.oidc_logins WHERE expires_at < $1", 1, {TIMESTAMPTZOID}};
	static BoPlan logouts_plan = {"DELETE FROM access.external_logouts WHERE keep_until < $1", 1, {TIMESTAMPTZOID}};
	Datum		now = TimestampTzGetDatum(bo_now());

	bo_spi_begin();
	bo_spi_run(&logins_plan, &now, NULL, 0);
	bo_spi_run(&logouts_plan, &now, NULL, 0);
	bo_spi_end();
	return false;
}

void
oidc_init(void)
{
	events_register_keeper_task("access: OpenID log-ins", KEEPER_INTERVAL_MS, delete_past);
}
