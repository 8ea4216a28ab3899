/*
 * tokens.c
 *		Settings of tokens, and why one is refused.
 */
#include "access/tokens.h"

#include "commands/trigger.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define LAST_SECOND INT64CONST(200000000000)	/* the year 8307 */

char	   *token_issuer;
char	   *token_audience;
char	   *token_anon_role;
int			token_lifetime_s = 600;
int			token_skew_s = 30;
int			issuer_key_grace_s = 120;
int			token_cache_kb = 16384;
int			signing_key_lifetime_s = 30 * 86400;

Marker		tokens_marker = {"tokens_marker"};

PG_FUNCTION_INFO_V1(access_tokens_changed);

static const struct
{
	const char *code;
	const char *message;
	const char *hint;
}			problems[] =
{
	[TOKEN_MALFORMED] = {"token_malformed", "the token is malformed", "Send the access token as it was issued."},
	[TOKEN_UNKNOWN_KEY] = {"token_unknown_key", "the token is signed with an unknown key", "Log in again; an administrator lists accepted keys with access.jwks() and access.issuers."},
	[TOKEN_BAD_SIGNATURE] = {"token_bad_signature", "the token's signature does not verify", "Log in again."},
	[TOKEN_EXPIRED] = {"token_expired", "the token has expired", "Refresh it, or log in again."},
	[TOKEN_NOT_YET_VALID] = {"token_not_yet_valid", "the token is not valid yet", "Compare the clocks of issuer and server."},
	[TOKEN_WRONG_ISSUER] = {"token_wrong_issuer", "the token is of another issuer", "Send a token issued for this service."},
	[TOKEN_WRONG_AUDIENCE] = {"token_wrong_audience", "the token is for another audience", "Send a token issued for this service."},
	[TOKEN_WRONG_TYPE] = {"token_wrong_type", "the token is not an access token", "Send the access token, not an identity or refresh token."},
	[TOKEN_SESSION_ENDED] = {"session_ended", "the session of the token has ended", "Log in again."},
	[TOKEN_API_KEY_UNKNOWN] = {"api_key_unknown", "the API key is unknown", "Use a key that access.create_api_key() gave and that was not revoked."},
	[TOKEN_API_KEY_EXPIRED] = {"api_key_expired", "the API key has expired", "Create a new one with access.create_api_key()."},
	[TOKEN_UNKNOWN_USER] = {"token_unknown_user", "the token's subject is no user here", "Let an administrator create the user, or let the issuer provision users."},
};

void
refuse_token(TokenProblem problem, const char *detail)
{
	ereport(ERROR,
			(errcode(BO_UNAUTHORIZED),
			 errmsg("%s", problems[problem].message),
			 bo_code(problems[problem].code, "%s", detail),
			 errhint("%s", problems[problem].hint)));
	pg_unreachable();
}

TimestampTz
time_from_seconds(int64 seconds)
{
	if (seconds > LAST_SECOND)
		return DT_NOEND;
	if (seconds < 0)
		return DT_NOBEGIN;
	return time_t_to_timestamptz((pg_time_t) seconds);
}

int64
seconds_from_time(TimestampTz time)
{
	return (int64) timestamptz_to_time_t(time);
}

int
token_lifetime(void)
{
	return token_lifetime_s;
}

/* tokens_changed(): trigger */
Datum
access_tokens_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("access.tokens_changed() is a trigger")));
	marker_invalidate(&tokens_marker);
	return PointerGetDatum(NULL);
}

static void
forget_text(const char *newval, void *extra)
{
	tokens_marker.generation++;
}

static void
forget_number(int newval, void *extra)
{
	tokens_marker.generation++;
}

static bool
check_name(char **newval, void **extra, GucSource source)
{
	return **newval != '\0' && strlen(*newval) <= 512;
}

void
tokens_init(void)
{
	marker_register(&tokens_marker);
	token_keys_init();
	DefineCustomStringVariable("backoffice.token_issuer",
							   "Who issues our access tokens: their claim iss.",
							   "1 to 512 bytes. Tokens of the former issuer are refused from then on.",
							   &token_issuer, "backoffice", PGC_SUSET, 0, check_name, forget_text, NULL);
	DefineCustomStringVariable("backoffice.token_audience",
							   "Whom our access tokens are for: their claim aud.",
							   "1 to 512 bytes. Tokens for the former audience are refused from then on.",
							   &token_audience, "backoffice", PGC_SUSET, 0, check_name, forget_text, NULL);
	DefineCustomStringVariable("backoffice.anon_role",
							   "Database role of requests without a token.",
							   "What access.begin_request() sets; the session's login must be a member of it.",
							   &token_anon_role, "backoffice_anon", PGC_SUSET, 0, check_name, NULL, NULL);
	DefineCustomIntVariable("backoffice.access_token_lifetime",
							"How long an access token is good.",
							"Tokens issued from now on.",
							&token_lifetime_s, 600, 30, 86400, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.token_clock_skew",
							"How far the clock of a token's issuer may differ.",
							"exp is taken for so much later, nbf and iat for so much earlier.",
							&token_skew_s, 30, 0, 300, PGC_SUSET, GUC_UNIT_S, NULL, forget_number, NULL);
	DefineCustomIntVariable("backoffice.issuer_key_grace",
							"How long an OpenID provider's key is good after it was taken out of its key set.",
							"The nodes of a provider need not have the same keys at the same moment.",
							&issuer_key_grace_s, 120, 0, 86400, PGC_SUSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.signing_key_lifetime",
							"How long a key signs our access tokens before the next one does.",
							"0: until access.rotate_signing_key() is called.",
							&signing_key_lifetime_s, 30 * 86400, 0, 315360000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("backoffice.token_cache_memory",
							"Memory for verified tokens, of each backend.",
							"A token that is found there is not verified again until it expires.",
							&token_cache_kb, 16384, 64, 1048576, PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
}
