/* From the database's results to the response. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gateway/rpc_internal.h"

/* A page that lies behind a single value has no row: of nothing there is nothing. */
static int64_t
number_of(const PGresult *result, int column)
{
	if (PQntuples(result) == 0)
		return 0;
	return PQgetisnull(result, 0, column) ? -1 : strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static const char *
text_of(const PGresult *result, int column)
{
	return PQntuples(result) == 0 || PQgetisnull(result, 0, column) ? NULL : PQgetvalue(result, 0, column);
}

/* 0-9/100, * for what there is none of or is not known. */
static const char *
content_range(RpcArena *arena, int64_t lower, int64_t rows, int64_t total)
{
	int64_t		upper = lower + rows - 1;
	RpcText		text = text_new(arena);

	if (total != 0 && lower <= upper)
		text_print(&text, "%" PRId64 "-%" PRId64 "/", lower, upper);
	else
		text_add(&text, "*/");
	if (total < 0)
		text_add(&text, "*");
	else
		text_print(&text, "%" PRId64, total);
	return text.at;
}

static int
range_status(int64_t lower, int64_t rows, int64_t total)
{
	return total < 0 ? 200 : lower > total ? 416 : rows < total ? 206 : 200;
}

static void
set_body(RpcArena *arena, const RpcAnswering *answering, const PGresult *result, RpcResponse *response)
{
	const char *text = text_of(result, RPC_COLUMN_BODY);
	size_t		length = text == NULL ? 0 : (size_t) PQgetlength(result, 0, RPC_COLUMN_BODY);
	char	   *body;

	if (!answering->hex_body)
	{
		response->body = text == NULL ? "" : text;
		response->body_length = length;
		return;
	}
	body = arena_take(arena, length / 2 + 1);
	for (size_t i = 0; i + 1 < length; i += 2)
	{
		char		digits[3] = {text[i], text[i + 1], '\0'};

		body[i / 2] = (char) strtol(digits, NULL, 16);
	}
	response->body = body;
	response->body_length = length / 2;
}

static void
range_refusal(RpcArena *arena, const RpcAnswering *answering, int64_t total, RpcResponse *response)
{
	RpcResponse error;
	RpcProblem	problem = {.status = 416, .code = "PGRST103", .message = "Requested range not satisfiable"};

	problem.details = arena_print(arena, "An offset of %" PRId64 " was requested, but there are only %" PRId64 " rows.",
								  answering->range.lower, total);
	rpc_problem_response(arena, &problem, &error);
	response->body = error.body;
	response->body_length = error.body_length;
}

/* ---- what the function itself set ---- */

static bool
header_good(const char *name, const char *value)
{
	if (*name == '\0')
		return false;
	for (const char *c = name; *c != '\0'; c++)
		if ((unsigned char) *c < 0x21 || (unsigned char) *c > 0x7e || strchr("()<>@,;:\\\"/[]?={}", *c) != NULL)
			return false;
	for (const char *c = value; *c != '\0'; c++)
		if (((unsigned char) *c < 0x20 && *c != '\t') || *c == 0x7f)
			return false;
	return true;
}

/* Headers of ours give way to the function's of the same name. */
static bool
take_headers(RpcArena *arena, const char *text, RpcResponse *response)
{
	json_t	   *json = json_loads(text, JSON_DECODE_ANY, NULL);
	RpcResponse merged = *response;
	bool		good = json_is_array(json);

	for (size_t i = 0; good && i < json_array_size(json); i++)
	{
		json_t	   *object = json_array_get(json, i);
		void	   *at = json_object_iter(object);
		const char *value = at == NULL ? NULL : json_string_value(json_object_iter_value(at));
		const char *name = at == NULL ? NULL : json_object_iter_key(at);

		good = json_object_size(object) == 1 && value != NULL && header_good(name, value);
		if (!good)
			break;
		for (size_t k = 0; k < response->header_count; k++)
			if (strcasecmp(response->headers[k].name, name) == 0)
			{
				RpcHeader  *kept = arena_take(arena, (merged.header_count + 1) * sizeof(RpcHeader));
				size_t		count = 0;

				for (size_t m = 0; m < merged.header_count; m++)
					if (merged.headers[m].name != response->headers[k].name)
						kept[count++] = merged.headers[m];
				merged.headers = kept;
				merged.header_count = count;
			}
		rpc_add_header(arena, &merged, arena_copy(arena, name, strlen(name)), arena_copy(arena, value, strlen(value)));
	}
	json_decref(json);
	if (good)
		*response = merged;
	return good;
}

/* The digits in front. */
static bool
take_status(const char *text, RpcResponse *response)
{
	size_t		digits = strspn(text, "0123456789");
	int			status = digits > 0 && digits < 5 ? atoi(text) : 0;

	if (status < 100 || status > 999)
		return false;
	response->status = status;
	return true;
}

static void
take_settings(RpcArena *arena, const PGresult *result, RpcResponse *response)
{
	const char *status = text_of(result, RPC_COLUMN_STATUS);
	const char *headers = text_of(result, RPC_COLUMN_HEADERS);

	if (status != NULL && !take_status(status, response))
		rpc_problem_response(arena, &(RpcProblem) {.status = 500, .code = "PGRST112",
			.message = "response.status guc must be a valid status code"}, response);
	else if (headers != NULL && !take_headers(arena, headers, response))
		rpc_problem_response(arena, &(RpcProblem) {.status = 500, .code = "PGRST111",
			.message = "response.headers guc must be a JSON array composed of objects with a single key and a string value"}, response);
}

/* ---- */

static bool
varies(const RpcResponse *response)
{
	for (size_t i = 0; i < response->header_count; i++)
		if (strcasecmp(response->headers[i].name, "vary") == 0)
			return true;
	return false;
}

static void
answer_rows(RpcArena *arena, const RpcAnswering *answering, const PGresult *result, RpcResponse *response)
{
	int64_t		total = number_of(result, RPC_COLUMN_TOTAL);
	int64_t		rows = number_of(result, RPC_COLUMN_PAGE);
	const char *applied = rpc_prefer_applied(arena, &answering->prefer);

	response->status = range_status(answering->range.lower, rows, total);
	rpc_add_header(arena, response, "Content-Range", content_range(arena, answering->range.lower, rows, total));
	if (applied != NULL)
		rpc_add_header(arena, response, "Preference-Applied", applied);
	if (answering->function->returns_void)
	{
		response->status = 204;
		response->body = "";
	}
	else
	{
		rpc_add_header(arena, response, "Content-Type", rpc_media_content_type(arena, answering->media));
		if (answering->profile != NULL)
			rpc_add_header(arena, response, "Content-Profile", answering->profile);
		if (response->status == 416)
			range_refusal(arena, answering, total, response);
		else
			set_body(arena, answering, result, response);
	}
	take_settings(arena, result, response);
	if (!varies(response) && response->status < 500)
		rpc_add_header(arena, response, "Vary", "Accept, Prefer, Range");
}

void
rpc_answer(const RpcPlan *plan, const RpcOutcome *outcome, RpcResponse *response)
{
	const RpcAnswering *answering = plan->answering;
	const PGresult *result = outcome->main;

	memset(response, 0, sizeof(*response));
	if (outcome->error != NULL)
		rpc_database_problem(plan->arena, outcome->error, outcome->authenticated, outcome->token, response);
	else if (answering->response != NULL)
		*response = *answering->response;
	else if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) <= 1 && PQnfields(result) == RPC_COLUMNS)
		answer_rows(plan->arena, answering, result, response);
	else
		rpc_database_problem(plan->arena, result, outcome->authenticated, outcome->token, response);
}
