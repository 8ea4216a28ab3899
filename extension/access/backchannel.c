/*
 * backchannel.c
 *		OpenID Connect Back-Channel Logout: a provider says that a session has ended.
 */
#include "access/sessions.h"
#include "access/tokens.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define EVENT			"http://schemas.openid.net/event/backchannel-logout"
#define WITHOUT_EXP		(INT64CONST(300) * USECS_PER_SEC)	/* how long a log-out token without exp is good */
#define KEPT			(INT64CONST(86400) * USECS_PER_SEC)

PG_FUNCTION_INFO_V1(access_backchannel_logout);

/* Section 2.6 of the specification, in its order; signature and issuer were checked. */
static void
check_logout_token(const JwsToken *token, const TokenKey *key)
{
	const JsonNode *event = json_member(&token->claims, token_claim(token, "events"), EVENT);
	const JsonNode *type = token_claim(token, "typ");

	if (key->kind != KEY_ISSUER)
		refuse_token(TOKEN_WRONG_ISSUER, "log-out tokens come from OpenID providers");
	if (token->type != NULL && !token_has_type(token, "JWT") && !token_has_type(token, "logout+jwt"))
		refuse_token(TOKEN_WRONG_TYPE, "the header's type is neither JWT nor logout+jwt");
	if (type != NULL && !json_string_is(type, "Logout"))
		refuse_token(TOKEN_WRONG_TYPE, "the claim typ is not Logout");
	if (!token_claim_includes(&token->claims, token_claim(token, "aud"), key->client_id))
		refuse_token(TOKEN_WRONG_AUDIENCE, "the log-out is of another client");
	if (event == NULL || event->kind != JSON_IS_OBJECT)
		refuse_token(TOKEN_WRONG_TYPE, "it has no log-out event");
	if (token_claim(token, "nonce") != NULL)
		refuse_token(TOKEN_WRONG_TYPE, "it has a nonce, as identity tokens do");
}

/* exp may be missing in old providers' tokens; then iat counts. */
static void
check_times(const JwsToken *token, const TokenKey *key, VerifiedToken *verified)
{
	TokenKey	lenient = *key;
	int64		issued_s;

	lenient.expires_required = false;
	if (!json_seconds(token_claim(token, "iat"), &issued_s))
		refuse_token(TOKEN_MALFORMED, "there is no time of issue");
	token_check_times(token, &lenient, verified);
	if (token_claim(token, "exp") == NULL && bo_now() > time_from_seconds(issued_s) + WITHOUT_EXP)
		refuse_token(TOKEN_EXPIRED, "it was issued too long ago");
	verified->issued_s = issued_s;
}

/* False: this log-out was told before.  Within SPI, as the kernel. */
static bool
note_logout(const VerifiedToken *verified, const char *jti)
{
	static BoPlan plan = {
		"INSERT INTO access.external_logouts (issuer, jti, sid, subject, as_of, keep_until) VALUES ($1, $2, $3, $4, $5, $6) "
		"ON CONFLICT (issuer, jti) DO NOTHING",
		6, {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID}
	};
	char		nulls[] = "      ";
	Datum		args[6] = {0};

	args[0] = CStringGetTextDatum(verified->issuer);
	args[1] = CStringGetTextDatum(jti);
	args[2] = verified->sid ? CStringGetTextDatum(verified->sid) : 0;
	args[3] = verified->subject ? CStringGetTextDatum(verified->subject) : 0;
	args[4] = Int64GetDatum(verified->issued_s);
	args[5] = TimestampTzGetDatum(bo_now() + KEPT);
	nulls[2] = verified->sid ? ' ' : 'n';
	nulls[3] = verified->subject ? ' ' : 'n';
	return bo_spi_run(&plan, args, nulls, 0) > 0;
}

/* Our sessions that began with the issuer's; without sid all of the subject. */
static int
end_sessions(const VerifiedToken *verified)
{
	static BoPlan plan = {
		"SELECT s.id FROM access.external_sessions e JOIN access.sessions s ON s.id = e.session_id "
		"WHERE e.issuer = $1 AND ($2 IS NULL OR e.sid = $2) AND ($3 IS NULL OR e.subject = $3) AND s.state = 'active' "
		"ORDER BY s.id FOR NO KEY UPDATE OF s",
		3, {TEXTOID, TEXTOID, TEXTOID}
	};
	char		nulls[] = "   ";
	Datum		args[3] = {0};
	pg_uuid_t  *ids;
	int			count;

	args[0] = CStringGetTextDatum(verified->issuer);
	args[1] = verified->sid ? CStringGetTextDatum(verified->sid) : 0;
	args[2] = verified->subject ? CStringGetTextDatum(verified->subject) : 0;
	nulls[1] = verified->sid ? ' ' : 'n';
	nulls[2] = verified->subject ? ' ' : 'n';
	count = (int) bo_spi_run(&plan, args, nulls, 0);
	ids = palloc(sizeof(pg_uuid_t) * Max(count, 1));
	for (int i = 0; i < count; i++)
		ids[i] = bo_spi_uuid(i, 1);
	for (int i = 0; i < count; i++)
		session_end(&ids[i], "backchannel");
	return count;
}

static void
refuse_replay(void)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("the log-out token was used before"),
			 bo_code("logout_token_replayed", "its jti is known"),
			 errhint("An OpenID provider makes a new one for each log-out.")));
}

/* backchannel_logout(logout_token text): how many of our sessions ended */
Datum
access_backchannel_logout(PG_FUNCTION_ARGS)
{
	char	   *text = required_text(fcinfo, 0, "logout_token");
	JwsToken   *token = palloc(sizeof(JwsToken));
	const TokenKey *key = token_open(text, strlen(text), token);
	VerifiedToken verified = {0};
	char	   *jti;
	int			count;
	BoUser		user;

	check_logout_token(token, key);
	check_times(token, key, &verified);
	verified.issuer = pstrdup(key->issuer);
	verified.subject = token_claim_text(token, "sub", SUBJECT_MAX);
	verified.sid = token_claim_text(token, "sid", SUBJECT_MAX);
	jti = token_claim_text(token, "jti", SUBJECT_MAX);
	if ((verified.subject == NULL && verified.sid == NULL) || jti == NULL || *jti == '\0')
		refuse_token(TOKEN_MALFORMED, "it names neither subject nor session, or has no jti");
	user = bo_user_kernel();
	bo_spi_begin();
	if (!note_logout(&verified, jti))
		refuse_replay();
	count = end_sessions(&verified);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_INT32(count);
}
