/*
 * libFuzzer: what a request of /rpc may be made of. The first byte says what the rest is: a call (method, query string
 * and body, divided by line ends), or one of the parsers' inputs. Whatever is planned has as many parameters as its SQL
 * names, no text of the request in it but between quotes, and a body that is valid JSON where there is an error.
 *
 *   make fuzz FUZZ=rpc SECONDS=60
 */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/rpc_internal.h"
#include "lib/utf8.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static RpcParam params[] = {
	{"a", "integer", "integer", true, false}, {"b", "text", "text", false, false}, {"v", "text[]", "text[]", false, true}
};
static RpcParam whole[] = {{"", "json", "json", true, false}};
static const char *json_columns[] = {"data"};
static RpcFunction functions[] = {
	{.schema = "s", .name = "body", .params = whole, .param_count = 1, .type_name = "json"},
	{.schema = "s", .name = "one", .params = params, .param_count = 2, .is_volatile = true, .type_name = "int4"},
	{.schema = "s", .name = "rows", .params = params, .param_count = 3, .has_variadic = true, .returns_set = true, .returns_composite = true,
	.type_name = "r\"ows", .json_columns = json_columns, .json_column_count = 1}
};
static const char *const schemas[] = {"s", "t"};

/* Outside of quotes SQL has only what the builder itself writes; casts are letters, digits, _, $ and blanks. */
static void
check_sql(const RpcStatement *statement)
{
	int			highest = 0;
	char		quote = '\0';

	for (const char *c = statement->sql; *c != '\0'; c++)
	{
		if (quote != '\0')
		{
			if (*c == quote && c[1] == quote)
				c++;
			else if (*c == quote)
				quote = '\0';
		}
		else if (*c == '"' || *c == '\'')
			quote = *c;
		else if (*c == '$' && c[1] >= '0' && c[1] <= '9' && (c == statement->sql || strchr(" (,>", c[-1]) != NULL))
		{
			int			number = atoi(c + 1);

			highest = number > highest ? number : highest;
		}
		else if (*c == ';' || (*c == '-' && c[1] == '-') || (*c == '/' && c[1] == '*'))
			abort();
	}
	if (quote != '\0' || highest > statement->param_count)
		abort();
}

static void
check_call(const char *method, const char *query, const char *body, size_t body_length, const char *header)
{
	static const RpcConfig configs[] = {{schemas, 2, 0, 32, 0, true, false, false, NULL}, {schemas, 1, 7, 128, 65536, false, true, true, "s.pre"}};
	static const char *const names[] = {"body", "one", "rows", "row"};
	RpcHeader	headers[] = {{"accept", header}, {"prefer", header}, {"range", header}, {"content-type", *header == '\0' ? "application/json" : header}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		RpcCatalogue catalogue = {.functions = functions, .count = 3};
		RpcRequest	request = {.method = method, .function = names[i], .query = query, .headers = headers, .header_count = 4,
			.body = body, .body_length = body_length};
		RpcPlan		plan;
		RpcResponse response;

		rpc_plan(&configs[i % 2], &catalogue, &request, &plan);
		if (plan.main.sql != NULL)
			check_sql(&plan.main);
		else
		{
			json_t	   *json;

			rpc_answer(&plan, &(RpcOutcome) {.authenticated = false}, &response);
			json = json_loadb(response.body, response.body_length, 0, NULL);
			if (json == NULL && response.body_length > 0)
				abort();
			json_decref(json);
		}
		if (plan.settings.sql != NULL)
			check_sql(&plan.settings);
		rpc_plan_free(&plan);
	}
}

static void
fuzz_call(char *text)
{
	char	   *method = text;
	char	   *query = strchr(method, '\n');
	char	   *header = query == NULL ? NULL : strchr(query + 1, '\n');
	char	   *body = header == NULL ? NULL : strchr(header + 1, '\n');

	if (body == NULL)
		return;
	*query++ = *header++ = *body++ = '\0';
	/* The gateway refuses other headers. */
	if (!utf8_is_text(header, strlen(header)))
		return;
	check_call(*method == 'P' ? "POST" : *method == 'H' ? "HEAD" : *method == 'O' ? "OPTIONS" : "GET", query, body, strlen(body), header);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	RpcArena   *arena = arena_new();
	char	   *text = size > 0 ? arena_copy(arena, (const char *) data + 1, size - 1) : NULL;

	if (size > 0 && data[0] % 4 != 0)
		fuzz_call(text);
	else if (size > 0)
	{
		RpcJson		json;
		RpcText		csv = text_new(arena);
		RpcJson		made;

		/* What we take for JSON, a parser does; what CSV becomes is JSON. */
		if (rpc_json_read(arena, text, size - 1, 1000, &json) && json.twice == NULL)
		{
			json_error_t error;
			json_t	   *parsed = json_loadb(text, size - 1, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);

			if (parsed == NULL && json_error_code(&error) != json_error_numeric_overflow && json_error_code(&error) != json_error_invalid_syntax)
				abort();
			json_decref(parsed);
		}
		if (rpc_csv_to_json(arena, text, size - 1, &csv) == CSV_GOOD && !rpc_json_read(arena, csv.at, csv.length, 32, &made))
			abort();
	}
	arena_free(arena);
	return 0;
}
