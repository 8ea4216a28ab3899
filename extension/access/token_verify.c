/*
 * token_verify.c
 *		What a token must be to be believed.
 *
 * In this order: strict parsing, the key by issuer and key id, the algorithm
 * of that key, the signature, and only then what the claims say.
 */
#include "access/tokens.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"

/* ---- claims ---- */

const JsonNode *
token_claim(const JwsToken *token, const char *name)
{
	return json_member(&token->claims, token->claims.nodes, name);
}

/* In the database's encoding. */
char *
token_node_text(const JsonNode *node)
{
	char	   *text = pnstrdup(node->text, node->length);

	return pg_any_to_server(text, node->length, PG_UTF8);
}

/* NULL: not there. */
char *
token_claim_text(const JwsToken *token, const char *name, Size longest)
{
	const JsonNode *node = token_claim(token, name);

	if (node == NULL || node->kind == JSON_IS_NULL)
		return NULL;
	if (node->kind != JSON_IS_STRING || node->length > longest)
		refuse_token(TOKEN_MALFORMED, "a claim is not a string, or too long");
	return token_node_text(node);
}

/* False: not there. */
static bool
token_claim_uuid(const JwsToken *token, const char *name, pg_uuid_t *uuid)
{
	char	   *text = token_claim_text(token, name, 36);

	if (text == NULL)
		return false;
	if (!bo_uuid_parse(text, strlen(text), uuid))
		refuse_token(TOKEN_MALFORMED, "a claim is not a UUID");
	return true;
}

bool
token_claim_includes(const JsonDocument *document, const JsonNode *node, const char *wanted)
{
	if (node == NULL)
		return false;
	if (node->kind == JSON_IS_STRING)
		return json_string_is(node, wanted);
	if (node->kind != JSON_IS_ARRAY)
		return false;
	for (const JsonNode *one = json_first(document, node); one != NULL; one = json_next(document, one))
		if (json_string_is(one, wanted))
			return true;
	return false;
}

bool
token_is_for(const JwsToken *token, List *audience)
{
	ListCell   *cell;

	foreach(cell, audience)
		if (token_claim_includes(&token->claims, token_claim(token, "aud"), lfirst(cell)))
			return true;
	return false;
}

static TimestampTz
claim_time(const JwsToken *token, const char *name, TimestampTz missing)
{
	const JsonNode *node = token_claim(token, name);
	int64		seconds;

	if (node == NULL)
		return missing;
	if (!json_seconds(node, &seconds))
		refuse_token(TOKEN_MALFORMED, psprintf("the claim %s is not a number of seconds", name));
	return time_from_seconds(seconds);
}

/* skew seconds later, or earlier if negative; infinities stay. */
static TimestampTz
shifted(TimestampTz time, int skew_s)
{
	return TIMESTAMP_NOT_FINITE(time) ? time : time + skew_s * USECS_PER_SEC;
}

void
token_check_times(const JwsToken *token, const TokenKey *key, VerifiedToken *verified)
{
	TimestampTz expires = claim_time(token, "exp", DT_NOEND);
	TimestampTz not_before = claim_time(token, "nbf", DT_NOBEGIN);
	TimestampTz issued = claim_time(token, "iat", DT_NOBEGIN);
	TimestampTz now = bo_now();

	if (expires == DT_NOEND && key->expires_required)
		refuse_token(TOKEN_MALFORMED, "there is no time of expiry");
	verified->valid_from = shifted(Max(not_before, issued), -token_skew_s);
	verified->valid_until = Min(shifted(expires, token_skew_s), key->verify_until);
	if (now >= shifted(expires, token_skew_s))
		refuse_token(TOKEN_EXPIRED, "its time of expiry is past");
	if (now < shifted(not_before, -token_skew_s))
		refuse_token(TOKEN_NOT_YET_VALID, "it begins in the future");
	if (now < verified->valid_from)
		refuse_token(TOKEN_NOT_YET_VALID, "it was issued in the future");
}

/* ---- the three kinds ---- */

/* "JWT" or "at+jwt", with or without "application/", in any case (RFC 7515, 4.1.9). */
bool
token_has_type(const JwsToken *token, const char *type)
{
	const char *text;
	Size		length;

	if (token->type == NULL)
		return false;
	text = token->type->text;
	length = token->type->length;
	if (length > 12 && pg_strncasecmp(text, "application/", 12) == 0)
	{
		text += 12;
		length -= 12;
	}
	return length == strlen(type) && pg_strncasecmp(text, type, length) == 0;
}

/* A user by id, as our own tokens and those of given keys name it. */
static void
read_user(const JwsToken *token, VerifiedToken *verified)
{
	if (!token_claim_uuid(token, "sub", &verified->user_id))
		refuse_token(TOKEN_MALFORMED, "there is no subject");
	verified->has_user = true;
	verified->has_organization = token_claim_uuid(token, "org", &verified->organization_id);
	verified->aal = json_string_is(token_claim(token, "aal"), "aal2") ? 2 : 1;
	verified->label = psprintf("user:%s", bo_uuid_text(&verified->user_id));
}

static void
read_own(const JwsToken *token, VerifiedToken *verified)
{
	char	   *issuer = token_claim_text(token, "iss", ISSUER_MAX);

	if (!token_has_type(token, "at+jwt"))
		refuse_token(TOKEN_WRONG_TYPE, "the header's type is not at+jwt");
	if (issuer == NULL || strcmp(issuer, token_issuer) != 0)
		refuse_token(TOKEN_WRONG_ISSUER, "iss is not what backoffice.token_issuer says");
	if (!token_claim_includes(&token->claims, token_claim(token, "aud"), token_audience))
		refuse_token(TOKEN_WRONG_AUDIENCE, "aud does not hold what backoffice.token_audience says");
	read_user(token, verified);
	verified->has_session = token_claim_uuid(token, "sid", &verified->session_id);
	if (!verified->has_session)
		refuse_token(TOKEN_MALFORMED, "there is no session");
	bind_session(verified);
}

/* The string at a path of names with dots, or NULL. */
static char *
claim_at(const JwsToken *token, const char *path)
{
	const JsonNode *node = token->claims.nodes;
	char	   *names = pstrdup(path);
	char	   *rest = NULL;

	for (char *name = strtok_r(names, ".", &rest); name != NULL && node != NULL; name = strtok_r(NULL, ".", &rest))
		node = json_member(&token->claims, node, name);
	if (node == NULL || node->kind != JSON_IS_STRING)
		return NULL;
	return token_node_text(node);
}

/* Nobody is named: no claim, null, or an empty list. */
static bool
audience_is_open(const JwsToken *token)
{
	const JsonNode *node = token_claim(token, "aud");

	return node == NULL || node->kind == JSON_IS_NULL || (node->kind == JSON_IS_ARRAY && json_first(&token->claims, node) == NULL);
}

/* A string, or a list of strings (RFC 7519, 4.1.3). */
static void
check_audience_form(const JwsToken *token)
{
	const JsonNode *node = token_claim(token, "aud");
	bool		good = node == NULL || node->kind == JSON_IS_NULL || node->kind == JSON_IS_STRING || node->kind == JSON_IS_ARRAY;

	if (good && node != NULL && node->kind == JSON_IS_ARRAY)
		for (const JsonNode *one = json_first(&token->claims, node); one != NULL; one = json_next(&token->claims, one))
			good = good && one->kind == JSON_IS_STRING;
	if (!good)
		refuse_token(TOKEN_MALFORMED, "the claim aud is neither a string nor an array of strings");
}

/* Tokens of a service that was given a key, or of PostgREST's kind: a role of the database, nobody acts. */
static void
read_given(const JwsToken *token, const TokenKey *key, VerifiedToken *verified)
{
	char	   *subject = token_claim_text(token, "sub", SUBJECT_MAX);

	if (token->type != NULL && !token_has_type(token, "JWT") && !token_has_type(token, "at+jwt"))
		refuse_token(TOKEN_WRONG_TYPE, "the header's type is neither JWT nor at+jwt");
	/* PostgREST lets a token pass that is for nobody in particular; whom a token names a user to must be said. */
	if (key->audience != NIL && !token_is_for(token, key->audience) && !(key->role_claim != NULL && audience_is_open(token)))
		refuse_token(TOKEN_WRONG_AUDIENCE, "aud holds none of the key's audience");
	if (key->role_claim == NULL)
	{
		read_user(token, verified);
		return;
	}
	verified->role = claim_at(token, key->role_claim);
	if (verified->role != NULL)
		verified->label = subject ? psprintf("subject:%s/%s", key->kid, subject) : psprintf("role:%s", verified->role);
	else
	{
		/* As without a token, but counted by itself if it can be. */
		verified->role = token_anon_role;
		verified->label = subject ? psprintf("anon:%s/%s", key->kid, subject) : "anon";
	}
}

/* The payload as it came; with a role, as PostgREST has it. */
static char *
claims_text(const JwsToken *token, const char *role)
{
	char	   *text = pg_any_to_server(pnstrdup(token->payload, token->payload_length), token->payload_length, PG_UTF8);
	StringInfoData with_role;

	if (token_claim(token, "role") != NULL)
		return text;
	initStringInfo(&with_role);
	appendStringInfoString(&with_role, "{\"role\":");
	escape_json(&with_role, role);
	if (token->claims.nodes->child >= 0)
		appendStringInfoChar(&with_role, ',');
	appendStringInfoString(&with_role, strchr(text, '{') + 1);
	return with_role.data;
}

const TokenKey *
token_open(const char *text, Size length, JwsToken *token)
{
	const char *problem = jws_parse(text, length, palloc(JWS_BUFFER_SIZE(length)), token);
	const TokenKey *key;
	char	   *issuer;

	if (problem != NULL)
		refuse_token(TOKEN_MALFORMED, problem);
	issuer = token_claim_text(token, "iss", ISSUER_MAX);
	key = token_key_find(issuer ? issuer : "", token->kid ? token_node_text(token->kid) : "");
	if (key == NULL)
	{
		if (issuer != NULL)
			issuer_note_unknown_key(issuer);
		refuse_token(TOKEN_UNKNOWN_KEY, "no key of its issuer has its key id");
	}
	if (token->algorithm != key->key.algorithm)
		refuse_token(TOKEN_BAD_SIGNATURE, "its algorithm is not the key's");
	if (!jws_verify(&key->key, token->signed_text, token->signed_length, token->signature, token->signature_length))
		refuse_token(TOKEN_BAD_SIGNATURE, "the signature is not the key's");
	return key;
}

static void
verify_jws(const char *text, Size length, VerifiedToken *verified)
{
	JwsToken   *token = palloc(sizeof(JwsToken));
	const TokenKey *key = token_open(text, length, token);

	token_check_times(token, key, verified);
	check_audience_form(token);
	if (key->kind == KEY_OWN)
		read_own(token, verified);
	else if (key->kind == KEY_GIVEN)
		read_given(token, key, verified);
	else
		read_external(token, key, verified);
	verified->claims = claims_text(token, verified->role ? verified->role : "backoffice_user");
	pfree(token);
}

void
token_verify(const char *token, Size length, VerifiedToken *verified)
{
	if (length > strlen(API_KEY_PREFIX) && memcmp(token, API_KEY_PREFIX, strlen(API_KEY_PREFIX)) == 0)
		api_key_verify(token, length, verified);
	else
		verify_jws(token, length, verified);
}
