#include "gateway/oidc_login.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/arguments.h"
#include "gateway/fetch.h"
#include "gateway/json.h"
#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/text.h"
#include "lib/log.h"

#define COOKIE "backoffice_oidc"
#define CALLBACK_PATH "/auth/oidc/callback"
#define MAX_DEPTH 16

/* The log-in of one browser, between its coming back and our answer. */
typedef struct Exchange
{
	const char *state;
	Fetch	   *fetch;			/* the code's exchange, while it runs */
} Exchange;

static const char begin_sql[] = "SELECT access.oidc_begin($1, $2, $3)";
static const char pending_sql[] = "SELECT access.oidc_pending($1)";
static const char complete_sql[] =
"SELECT access.oidc_complete($1, $2, $3, pg_catalog.jsonb_build_object('user_agent', $4::pg_catalog.text), $5::pg_catalog.inet)";
static const char logout_sql[] = "SELECT access.backchannel_logout($1)";

/* ---- helpers ---- */

/* A statement as the gateway's own role: the browser is nobody yet. */
static void
call(Request *request, const char *sql, int n, const char *const *values, RequestDone done)
{
	Statement  *statement = request_alloc(request, sizeof(*statement));

	if (statement == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	memset(statement, 0, sizeof(*statement));
	statement->sql = sql;
	statement->n = n;
	for (int i = 0; i < n; i++)
		statement->values[i] = values[i];
	request_call_internal(request, NULL, statement, done);
}

/* The one value of a result as a JSON object; NULL: the request was answered. Frees the result. */
static json_t *
object_of(Request *request, CallOutcome outcome, PGresult *result)
{
	json_t	   *object;

	if (outcome != CALL_DONE || PQntuples(result) != 1)
	{
		problem_outcome(request, outcome, result);
		return NULL;
	}
	object = json_loadb(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0), 0, NULL);
	PQclear(result);
	if (!json_is_object(object))
	{
		json_decref(object);
		problem_reply(request, 500, "internal_error", "the database's answer is not understood", NULL);
		return NULL;
	}
	return object;
}

/* A parameter of the query, decoded; NULL: not there. False in *good: given twice, or badly encoded. */
static const char *
parameter(Request *request, const char *name, bool *good)
{
	const char *at = request->query;
	const char *found = NULL;
	QueryItem	item;

	while (request_query_next(&at, &item))
		if (item.name_len == strlen(name) && memcmp(item.name, name, item.name_len) == 0)
		{
			*good = *good && found == NULL;
			found = request_decode(request, item.value, item.value_len, true);
			*good = *good && found != NULL;
		}
	return found;
}

static const char *
cookie(Request *request)
{
	const char *text = request_header(request, "cookie");

	while (text != NULL && *text != '\0')
	{
		size_t		len = strcspn(text, ";");

		if (len > sizeof(COOKIE) && strncmp(text, COOKIE "=", sizeof(COOKIE)) == 0)
			return request_copy(request, text + sizeof(COOKIE), len - sizeof(COOKIE));
		text += len;
		text += strspn(text, "; ");
	}
	return NULL;
}

static void
set_cookie(Request *request, const char *value, int seconds)
{
	bool		secure = strncmp(request->gateway->settings.public_url, "https://", 8) == 0;
	char	   *text = request_printf(request, COOKIE "=%s; Path=/auth/oidc; HttpOnly; SameSite=Lax; Max-Age=%d%s", value, seconds,
									  secure ? "; Secure" : "");

	if (text != NULL)
		reply_header(request, "Set-Cookie", text);
}

/* Whether we know our own address, which a provider sends browsers back to. Answered when not. */
static bool
configured(Request *request)
{
	if (*request->gateway->settings.public_url != '\0')
		return true;
	problem_reply(request, 404, "oidc_not_configured", "log-in at OpenID providers is not set up", "Start the gateway with --public-url.");
	return false;
}

/* ---- there ---- */

static void
begun(Request *request, CallOutcome outcome, PGresult *result)
{
	json_t	   *answer = object_of(request, outcome, result);
	const char *url = json_string_value(json_object_get(answer, "url"));
	const char *state = json_string_value(json_object_get(answer, "state"));

	if (answer == NULL)
		return;
	if (url == NULL || state == NULL || !reply_header(request, "Location", url))
		problem_reply(request, 500, "internal_error", "the database's answer is not understood", NULL);
	else
	{
		set_cookie(request, state, (int) json_integer_value(json_object_get(answer, "expires_in")));
		reply_header(request, "Cache-Control", "no-store");
		reply_text(request, 302, NULL, NULL, 0);
	}
	json_decref(answer);
}

void
oidc_login(Request *request)
{
	const char *values[3];
	const char *arguments[ROUTE_MAX_ARGUMENTS];
	Complaint	complaint;

	if (!configured(request))
		return;
	if (!arguments_collect(request, arguments, &complaint))
	{
		problem_reply_arguments(request, &complaint);
		return;
	}
	values[0] = arguments[0];
	values[1] = request_printf(request, "%s" CALLBACK_PATH, request->gateway->settings.public_url);
	values[2] = arguments[1];
	call(request, begin_sql, 3, values, begun);
}

/* ---- and back ---- */

static void
completed(Request *request, CallOutcome outcome, PGresult *result)
{
	json_t	   *answer = object_of(request, outcome, result);
	const char *status = json_string_value(json_object_get(answer, "status"));
	char	   *text;

	if (answer == NULL)
		return;
	if (status == NULL || strcmp(status, "ok") != 0)
		problem_reply(request, 403, "login_denied", "this account may not log in here", NULL);
	else
	{
		json_object_del(answer, "status");
		text = json_dumps(answer, JSON_COMPACT);
		set_cookie(request, "", 0);
		reply_header(request, "Cache-Control", "no-store");
		if (text != NULL)
			reply_text(request, 200, TYPE_JSON, text, strlen(text));
		else
			problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		free(text);
	}
	json_decref(answer);
}

/* The provider's answer to the code. */
static void
exchanged(void *context, int status, const char *body, size_t len, const char *error)
{
	Request    *request = context;
	Exchange   *exchange = request->state;
	const char *code;
	const char *why = error;
	json_t	   *tokens = status == 200 ? json_strict(body, len, MAX_DEPTH, &code, &why) : NULL;
	const char *id_token = json_string_value(json_object_get(tokens, "id_token"));
	const char *access_token = json_string_value(json_object_get(tokens, "access_token"));
	const char *agent = request_header(request, "user-agent");
	const char *values[5];

	exchange->fetch = NULL;
	if (id_token == NULL)
	{
		log_warn("an OpenID provider did not exchange a code", F_STR("request_id", request->id), F_INT("status", status),
				 F_STR("error", status == 200 ? "no id_token" : why));
		problem_reply(request, 502, "oidc_exchange_failed", "the provider did not give tokens for its code", "Begin the log-in again.");
		json_decref(tokens);
		return;
	}
	values[0] = exchange->state;
	values[1] = request_copy(request, id_token, strlen(id_token));
	values[2] = access_token != NULL ? request_copy(request, access_token, strlen(access_token)) : NULL;
	values[3] = agent != NULL ? request_printf(request, "%.500s", agent) : NULL;
	values[4] = request->peer[0] != '\0' ? request->peer : NULL;
	json_decref(tokens);
	call(request, complete_sql, 5, values, completed);
}

static char *
form_of(Request *request, const json_t *login, const char *code)
{
	const char *names[] = {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"};
	const char *values[] = {"authorization_code", code, json_string_value(json_object_get(login, "redirect_uri")),
		json_string_value(json_object_get(login, "code_verifier")), json_string_value(json_object_get(login, "client_id"))};
	char	   *form = request_printf(request, "%s", "");

	for (size_t i = 0; form != NULL && i < sizeof(names) / sizeof(names[0]); i++)
		form = values[i] == NULL ? NULL : request_printf(request, "%s%s%s=%s", form, i > 0 ? "&" : "", names[i],
														 text_percent_encode(request, values[i]));
	return form;
}

static void
drop_exchange(void *state)
{
	Exchange   *exchange = state;

	if (exchange->fetch != NULL)
		fetch_abandon(exchange->fetch);
}

static void
pending(Request *request, CallOutcome outcome, PGresult *result)
{
	json_t	   *login = object_of(request, outcome, result);
	bool		good = true;
	const char *code = parameter(request, "code", &good);
	const char *endpoint = json_string_value(json_object_get(login, "token_endpoint"));
	const char *secret = json_string_value(json_object_get(login, "client_secret"));
	const char *client = json_string_value(json_object_get(login, "client_id"));
	const char *issuer = json_string_value(json_object_get(login, "issuer"));
	const char *came_from = parameter(request, "iss", &good);
	Exchange   *exchange = request->state;
	const char *error = "the issuer is not ready";
	char	   *form;

	if (login == NULL)
		return;
	form = form_of(request, login, code);
	/* RFC 9207: an answer of another provider than the one that was asked is a mix-up, or an attack. */
	if (came_from != NULL && (issuer == NULL || strcmp(came_from, issuer) != 0))
		problem_reply(request, 400, "wrong_issuer", "the answer comes from another provider than was asked", NULL);
	else
	{
		if (endpoint != NULL && form != NULL && client != NULL)
			exchange->fetch = fetch_post(request->gateway->fetcher, endpoint, form,
										 secret != NULL ? text_percent_encode(request, client) : NULL,
										 secret != NULL ? text_percent_encode(request, secret) : NULL, exchanged, request, &error);
		if (exchange->fetch == NULL)
		{
			log_warn("the code of a log-in cannot be exchanged", F_STR("request_id", request->id), F_STR("error", error));
			problem_reply(request, 502, "oidc_exchange_failed", "the provider did not give tokens for its code", "Begin the log-in again.");
		}
	}
	json_decref(login);
}

void
oidc_callback(Request *request)
{
	bool		good = true;
	const char *state = parameter(request, "state", &good);
	const char *code = parameter(request, "code", &good);
	const char *error = parameter(request, "error", &good);
	const char *bound = cookie(request);
	Exchange   *exchange;

	if (!configured(request))
		return;
	if (!good || state == NULL || bound == NULL || strcmp(state, bound) != 0)
	{
		problem_reply(request, 400, "login_not_begun_here", "this browser did not begin that log-in, or too long ago", "Begin the log-in again.");
		return;
	}
	if (code == NULL)
	{
		set_cookie(request, "", 0);
		problem_reply(request, 403, "login_refused", error != NULL && text_is_request_id(error) ?
					  request_printf(request, "the provider answers: %s", error) : "the provider gave no code", "Begin the log-in again.");
		return;
	}
	exchange = request_alloc(request, sizeof(*exchange));
	if (exchange == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	*exchange = (Exchange) {.state = state};
	request->state = exchange;
	request->free_state = drop_exchange;
	call(request, pending_sql, 1, &state, pending);
}

/* ---- the provider's log-out ---- */

static void
logged_out(Request *request, CallOutcome outcome, PGresult *result)
{
	ErrorParts	parts = {.status = 503};

	/* OpenID Connect Back-Channel Logout 1.0: 200, or 400 for every error of the token. */
	if (outcome == CALL_DONE)
	{
		PQclear(result);
		reply_header(request, "Cache-Control", "no-store");
		reply_text(request, 200, TYPE_JSON, "{}", 2);
		return;
	}
	if (outcome == CALL_FAILED)
		problem_parts(result, true, &parts);
	if (parts.status >= 500)
	{
		problem_outcome(request, outcome, result);
		return;
	}
	problem_body(request, 400, parts.code, parts.message, parts.detail, parts.hint);
	PQclear(result);
}

void
oidc_logout(Request *request)
{
	const char *arguments[ROUTE_MAX_ARGUMENTS];
	Complaint	complaint;

	if (!arguments_collect(request, arguments, &complaint))
		problem_reply_arguments(request, &complaint);
	else
		call(request, logout_sql, 1, arguments, logged_out);
}
