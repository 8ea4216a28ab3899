/*
 * token_issue.c
 *		Our own access tokens.
 */
#include "access/tokens.h"

#include "lib/stringinfo.h"
#include "utils/json.h"

static void
put_text(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, "%s\"%s\":", json->data[json->len - 1] == '{' ? "" : ",", name);
	escape_json(json, value);
}

static void
put_seconds(StringInfo json, const char *name, int64 seconds)
{
	appendStringInfo(json, ",\"%s\":" INT64_FORMAT, name, seconds);
}

static void
put_amr(StringInfo json, const char *amr)
{
	char	   *words = pstrdup(amr);
	char	   *rest = NULL;
	bool		first = true;

	appendStringInfoString(json, ",\"amr\":[");
	for (char *word = strtok_r(words, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
	{
		if (!first)
			appendStringInfoChar(json, ',');
		escape_json(json, word);
		first = false;
	}
	appendStringInfoChar(json, ']');
}

static void
put_claims(StringInfo json, const TokenSubject *subject)
{
	int64		issued = seconds_from_time(subject->issued_at);
	pg_uuid_t	id;

	bo_uuid7(&id);
	appendStringInfoChar(json, '{');
	put_text(json, "iss", token_issuer);
	put_text(json, "aud", token_audience);
	put_text(json, "sub", bo_uuid_text(&subject->user_id));
	if (subject->has_organization)
		put_text(json, "org", bo_uuid_text(&subject->organization_id));
	put_text(json, "sid", bo_uuid_text(&subject->session_id));
	put_text(json, "role", "backoffice_user");
	put_text(json, "aal", subject->aal >= 2 ? "aal2" : "aal1");
	put_amr(json, subject->amr ? subject->amr : "");
	put_seconds(json, "iat", issued);
	put_seconds(json, "exp", Min(issued + token_lifetime_s, seconds_from_time(subject->expires_at)));
	put_text(json, "jti", bo_uuid_text(&id));
	appendStringInfoChar(json, '}');
}

static void
append_base64url(StringInfo out, const void *bytes, Size length)
{
	enlargeStringInfo(out, (int) (length * 4 / 3 + 4));
	out->len += (int) base64url_encode(bytes, length, out->data + out->len);
}

char *
token_issue(const TokenSubject *subject)
{
	const TokenKey *key = token_key_current();
	StringInfoData json;
	StringInfoData token;
	uint8		signature[JWS_SIGNATURE_MAX];
	Size		length;

	initStringInfo(&token);
	initStringInfo(&json);
	appendStringInfo(&json, "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", jws_algorithm_name(key->key.algorithm), key->kid);
	append_base64url(&token, json.data, json.len);
	resetStringInfo(&json);
	put_claims(&json, subject);
	appendStringInfoChar(&token, '.');
	append_base64url(&token, json.data, json.len);
	pfree(json.data);
	length = jws_sign(&key->key, token.data, token.len, signature);
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("the cryptography library failed: could not sign a token")));
	appendStringInfoChar(&token, '.');
	append_base64url(&token, signature, length);
	return token.data;
}
