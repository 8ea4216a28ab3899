/*
 * auth_operations.c
 *		Log-in, sessions, second factors.
 *
 * What the functions of access answer with a status other than ok has to
 * commit (a counted failure, a session that ends): so it is an answer here
 * too, with the status that HTTP has for it.
 */
#include "api/api.h"

/* One line of the table below: status of access, of HTTP, code, message, hint. */
#define REFUSAL(status, http, code, message, hint) \
	"('" status "', " http ", '" code "', '" message "', '" hint "')"

#define TRY_LATER \
	REFUSAL("locked", "429", "account_locked", "too many failed attempts", "Wait as long as Retry-After says.") ", " \
	REFUSAL("throttled", "429", "address_throttled", "too many failed attempts from this address", "Wait as long as Retry-After says.") ", " \
	REFUSAL("busy", "503", "busy", "too many passwords are being checked", "Try again in a moment.")

/* The result of a function of access as an answer. */
#define RESULT(function, refusals) \
	"SELECT CASE WHEN o.code IS NULL THEN r.result - 'status'" \
	"         ELSE jsonb_build_object('code', o.code, 'message', o.message, 'details', o.code || ': ' || o.message, 'hint', o.hint) END," \
	"       coalesce(o.http, 200)," \
	"       CASE WHEN o.http = 401 THEN '[{\"WWW-Authenticate\": \"Bearer\"}]'" \
	"            WHEN r.result ? 'retry_after_s' THEN jsonb_build_array(jsonb_build_object('Retry-After', r.result ->> 'retry_after_s')) END" \
	" FROM " function " AS r (result)" \
	" LEFT JOIN (VALUES " refusals ") AS o (status, http, code, message, hint) ON o.status = r.result ->> 'status'"

#define CODE_REFUSALS \
	REFUSAL("denied", "403", "wrong_code", "the code is wrong, or was used before", "Wait for the next code.") ", " TRY_LATER

ApiOperation api_auth[] = {
	{"login", API_ANONYMOUS, API_NO_KEY, {
		RESULT("access.login($1, $2, $3, CASE WHEN backoffice.request_header('user-agent') IS NULL THEN $4"
			   " ELSE coalesce($4, '{}') || jsonb_build_object('user_agent', left(backoffice.request_header('user-agent'), 500)) END,"
			   " backoffice.client_address())",
			   REFUSAL("denied", "401", "invalid_credentials", "the e-mail address or the password is wrong", "Check both.") ", " TRY_LATER)
	}},
	{"refresh", API_ANONYMOUS, API_NO_KEY, {
		RESULT("access.refresh($1, backoffice.client_address())",
			   REFUSAL("invalid", "401", "refresh_token_invalid", "the refresh token is of no session", "Log in again.") ", "
			   REFUSAL("expired", "401", "session_expired", "the session is over", "Log in again.") ", "
			   REFUSAL("reused", "401", "refresh_token_reused", "the refresh token was used before; the session has ended", "Log in again.") ", "
			   TRY_LATER)
	}},
	{"logout", API_ANY_USER, 0, {"SELECT jsonb_build_object('ended', access.logout())"}},
	{"logout_all", API_ANY_USER, 0, {"SELECT jsonb_build_object('ended', access.logout_all())"}},
	{"me", API_ANY_USER, 0, {"SELECT access.me()"}},
	{"sessions", API_ANY_USER, 0, {
		"SELECT jsonb_build_object('items', coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'current', s.id IS NOT DISTINCT FROM access.session_id(),"
		"         'organization_id', s.organization_id, 'device_info', s.device_info - 'user_agent', 'ip', host(s.ip), 'user_agent', s.user_agent,"
		"         'aal', s.aal, 'amr', to_jsonb(s.amr), 'created_at', backoffice.time_text(s.created_at),"
		"         'authenticated_at', backoffice.time_text(s.authenticated_at), 'last_seen_at', backoffice.time_text(s.last_seen_at),"
		"         'expires_at', backoffice.time_text(s.expires_at)) ORDER BY s.last_seen_at DESC, s.id), '[]'), 'next', NULL)"
		" FROM access.my_sessions s"
	}},
	{"end_session", API_ANY_USER, 0, {"SELECT jsonb_build_object('id', $1, 'ended', access.end_session($1))"}},
	{"change_password", API_ANY_USER, API_NO_KEY, {
		RESULT("access.change_password($1, $2)",
			   REFUSAL("denied", "403", "wrong_password", "the old password is wrong", "Check it.") ", " TRY_LATER)
	}},
	{"mfa_enroll", API_ANY_USER, API_SECRET, {"SELECT access.mfa_enroll($1)"}},
	{"mfa_activate", API_ANY_USER, API_NO_KEY, {RESULT("access.mfa_activate($1, $2)", CODE_REFUSALS)}},
	{"mfa_verify", API_ANY_USER, API_NO_KEY, {RESULT("access.mfa_verify($1)", CODE_REFUSALS)}},
	{"mfa_disable", API_ANY_USER, API_NO_KEY, {RESULT("access.mfa_disable($1, $2)", CODE_REFUSALS)}},
	{"mfa_recovery_codes", API_ANY_USER, API_NO_KEY, {RESULT("access.mfa_recovery_codes($1)", CODE_REFUSALS)}},
	{"oidc_begin", API_ANONYMOUS, API_NO_KEY, {"SELECT access.oidc_begin($1, $2, $3)"}},
	{"backchannel_logout", API_ANONYMOUS, API_NO_KEY, {"SELECT jsonb_build_object('ended', access.backchannel_logout($1))"}},
	{"jwks", API_ANONYMOUS, 0, {"SELECT access.jwks()"}},
	{NULL}
};
