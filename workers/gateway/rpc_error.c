/* Errors: PostgREST's JSON of them, and what the database's become. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/bound.h"
#include "gateway/rpc_internal.h"

void
rpc_add_header(RpcArena *arena, RpcResponse *response, const char *name, const char *value)
{
	RpcHeader  *headers = arena_take(arena, (response->header_count + 1) * sizeof(RpcHeader));

	if (response->header_count > 0)
		memcpy(headers, response->headers, response->header_count * sizeof(RpcHeader));
	headers[response->header_count++] = (RpcHeader) {name, value};
	response->headers = headers;
}

/* A header's value must not end its line. */
static const char *
on_one_line(RpcArena *arena, const char *text)
{
	char	   *copy = arena_copy(arena, text, strlen(text));

	for (char *c = copy; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
	return copy;
}

void
rpc_problem_response(RpcArena *arena, const RpcProblem *problem, RpcResponse *response)
{
	RpcText		body = text_new(arena);

	text_add(&body, "{\"code\":");
	text_add_json(&body, problem->code);
	text_add(&body, ",\"details\":");
	text_add_json(&body, problem->details);
	text_add(&body, ",\"hint\":");
	text_add_json(&body, problem->hint);
	text_add(&body, ",\"message\":");
	text_add_json(&body, problem->message);
	text_add_char(&body, '}');
	memset(response, 0, sizeof(*response));
	response->status = problem->status;
	response->code = problem->code;
	response->reason = problem->reason;
	response->body = body.at;
	response->body_length = body.length;
	rpc_add_header(arena, response, "Content-Type", "application/json; charset=utf-8");
	rpc_add_header(arena, response, "Proxy-Status", arena_print(arena, "PostgREST; error=%s", on_one_line(arena, problem->code)));
	for (size_t i = 0; i < problem->header_count; i++)
		rpc_add_header(arena, response, problem->headers[i].name, problem->headers[i].value);
}

/* ---- SQLSTATE to status ---- */

static const struct
{
	const char *begins;			/* the first that fits counts */
	int			status;
}			statuses[] = {
	{"08", 503}, {"09", 500}, {"0L", 403}, {"0P", 403}, {"23503", 409}, {"23505", 409}, {"25006", 405}, {"21000", 500},
	{"25", 500}, {"28", 403}, {"2D", 500}, {"38", 500}, {"39", 500}, {"3B", 500}, {"40", 500}, {"53400", 500}, {"53", 503},
	{"54", 500}, {"55", 500}, {"57P01", 503}, {"57", 500}, {"58", 500}, {"F0", 500}, {"HV", 500}, {"P0001", 400}, {"P0", 500},
	{"XX", 500}, {"42883", 404}, {"42P01", 404}, {"42P17", 500}
};

static bool
begins_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

static bool
ends_with(const char *text, const char *end)
{
	size_t		length = strlen(text);
	size_t		end_length = strlen(end);

	return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

int
rpc_status_of_sqlstate(const char *sqlstate, const char *message, bool authenticated)
{
	message = message == NULL ? "" : message;
	if (strcmp(sqlstate, "21000") == 0 && ends_with(message, "requires a WHERE clause"))
		return 400;
	if (strcmp(sqlstate, "22023") == 0 && begins_with(message, "role") && ends_with(message, "does not exist"))
		return 401;
	if (strcmp(sqlstate, "42501") == 0)
		return authenticated ? 403 : 401;
	if (strcmp(sqlstate, "42883") == 0 && begins_with(message, "function xmlagg("))
		return 406;
	if (begins_with(sqlstate, "PT"))
	{
		bool		number = strlen(sqlstate) == 5 && strspn(sqlstate + 2, "0123456789") == 3;
		int			status = number ? atoi(sqlstate + 2) : 500;

		return status >= 100 ? status : 500;
	}
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (begins_with(sqlstate, statuses[i].begins))
			return statuses[i].status;
	return 400;
}

/* ---- RAISE SQLSTATE 'PGRST' ---- */

static const char *
copied(RpcArena *arena, json_t *json)
{
	return json_is_string(json) ? arena_copy(arena, json_string_value(json), json_string_length(json)) : NULL;
}

static bool
optional_text(json_t *json)
{
	return json == NULL || json_is_null(json) || json_is_string(json);
}

static bool
raised_message(RpcArena *arena, const char *text, RpcProblem *problem)
{
	json_t	   *json = text == NULL ? NULL : json_loads(text, 0, NULL);
	bool		good;

	problem->code = copied(arena, json_object_get(json, "code"));
	problem->message = copied(arena, json_object_get(json, "message"));
	problem->details = copied(arena, json_object_get(json, "details"));
	problem->hint = copied(arena, json_object_get(json, "hint"));
	good = problem->code != NULL && problem->message != NULL &&
		optional_text(json_object_get(json, "details")) && optional_text(json_object_get(json, "hint"));
	json_decref(json);
	return good;
}

static bool
header_good(const char *name, const char *value)
{
	if (*name == '\0' || name[strcspn(name, "()<>@,;:\\\"/[]?={} \t")] != '\0')
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char) *c < 0x21 || (unsigned char) *c > 0x7e)
			return false;
	for (const char *c = value; *c != '\0'; c++)
		if (((unsigned char) *c < 0x20 && *c != '\t') || *c == 0x7f)
			return false;
	return true;
}

static bool
raised_detail(RpcArena *arena, const char *text, RpcProblem *problem)
{
	json_t	   *json = json_loads(text, 0, NULL);
	json_t	   *status = json_object_get(json, "status");
	json_t	   *headers = json_object_get(json, "headers");
	RpcHeader  *list = arena_take(arena, (json_object_size(headers) + 1) * sizeof(RpcHeader));
	bool		good = json_is_integer(status) && json_is_object(headers) && optional_text(json_object_get(json, "status_text"));

	problem->reason = copied(arena, json_object_get(json, "status_text"));
	if (problem->reason != NULL)
		problem->reason = on_one_line(arena, problem->reason);
	problem->status = good && json_integer_value(status) >= 100 && json_integer_value(status) < 1000 ? (int) json_integer_value(status) : 500;
	for (void *at = json_object_iter(headers); at != NULL; at = json_object_iter_next(headers, at))
	{
		const char *name = json_object_iter_key(at);
		const char *value = copied(arena, json_object_iter_value(at));

		if (value == NULL || !header_good(name, value))
			good = false;
		else
			list[problem->header_count++] = (RpcHeader) {arena_copy(arena, name, strlen(name)), value};
	}
	problem->headers = list;
	json_decref(json);
	return good;
}

static void
raised_problem(RpcArena *arena, const char *message, const char *detail, RpcProblem *problem)
{
	const char *what = "DETAIL is missing in the RAISE statement";
	const char *rule = "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'.";

	if (!raised_message(arena, message, problem))
	{
		what = arena_print(arena, "Invalid JSON value for MESSAGE: '%s'", message);
		rule = "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'.";
	}
	else if (detail != NULL)
	{
		if (raised_detail(arena, detail, problem))
			return;
		what = arena_print(arena, "Invalid JSON value for DETAIL: '%s'", detail);
	}
	*problem = (RpcProblem) {.status = 500, .code = "PGRST121", .details = what, .hint = rule,
		.message = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"};
}

/* ---- all of them ---- */

/* A refusal by the statement itself: what stands behind the mark, or NULL. */
static const char *
marked(RpcArena *arena, const char *sqlstate, const char *message, const char *mark)
{
	const char *at = strcmp(sqlstate, "22P02") == 0 ? strstr(message, mark) : NULL;

	if (at == NULL)
		return NULL;
	at += strlen(mark);
	return arena_copy(arena, at, strspn(at, "0123456789"));
}

static const char *
field_of(RpcArena *arena, const PGresult *result, int field)
{
	const char *value = PQresultErrorField(result, field);

	return value == NULL ? NULL : arena_copy(arena, value, strlen(value));
}

void
rpc_database_problem(RpcArena *arena, const PGresult *result, bool authenticated, const char *token, RpcResponse *response)
{
	static const RpcHeader bearer = {"WWW-Authenticate", "Bearer"};
	const char *sqlstate = field_of(arena, result, PG_DIAG_SQLSTATE);
	const char *message = field_of(arena, result, PG_DIAG_MESSAGE_PRIMARY);
	RpcProblem	problem = {.status = 503, .code = "PGRST001", .message = "Database client error. Retrying the connection."};
	const char *rows;

	if (sqlstate != NULL && message != NULL)
	{
		problem.code = sqlstate;
		problem.message = message;
		problem.details = field_of(arena, result, PG_DIAG_MESSAGE_DETAIL);
		problem.hint = field_of(arena, result, PG_DIAG_MESSAGE_HINT);
		problem.status = rpc_status_of_sqlstate(sqlstate, message, authenticated);
		if (strcmp(sqlstate, "PGRST") == 0)
			raised_problem(arena, message, problem.details, &problem);
		else if ((rows = marked(arena, sqlstate, message, RPC_MARK_SINGULAR)) != NULL)
			problem = (RpcProblem) {.status = 406, .code = "PGRST116", .message = "Cannot coerce the result to a single JSON object",
				.details = arena_print(arena, "The result contains %s rows", rows)};
		else if (bound_exceeded(sqlstate, message))
			problem = (RpcProblem) {.status = BOUND_STATUS, .code = BOUND_CODE, .message = BOUND_MESSAGE, .hint = BOUND_HINT};
		else if ((rows = marked(arena, sqlstate, message, RPC_MARK_AFFECTED)) != NULL)
			problem = (RpcProblem) {.status = 400, .code = "PGRST124", .message = "Query result exceeds max-affected preference constraint",
				.details = arena_print(arena, "The query affects %s rows", rows)};
		else if ((token == NULL || !rpc_token_problem(arena, field_of(arena, result, PG_DIAG_CONSTRAINT_NAME), token, problem.details, &problem)) &&
				 problem.status == 401)
		{
			problem.headers = &bearer;
			problem.header_count = 1;
		}
		if (problem.status < 100 || problem.status > 999)
			problem.status = 500;
		if (strncmp(sqlstate, "PT", 2) == 0 && problem.code == sqlstate && problem.status != 500)
			problem.reason = on_one_line(arena, message);
	}
	rpc_problem_response(arena, &problem, response);
}
