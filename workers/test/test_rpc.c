/* PostgREST's rules for functions: from requests to SQL, from results to responses. The corpus (test/conformance) has the breadth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/rpc_internal.h"

static const char *const schemas[] = {"s", "t"};
static const RpcConfig config = {.schemas = schemas, .schema_count = 1, .max_depth = 32};
static RpcCatalogue *catalogue;

static const char *const rows[] = {
	"{\"schema\":\"s\",\"name\":\"add\",\"description\":null,\"params\":[{\"name\":\"a\",\"type\":\"integer\",\"wide\":\"integer\",\"required\":true,\"variadic\":false},"
	"{\"name\":\"b\",\"type\":\"integer\",\"wide\":\"integer\",\"required\":false,\"variadic\":false}],\"volatile\":false,\"set\":false,\"composite\":false,"
	"\"void\":false,\"variadic\":false,\"bytes\":false,\"type\":\"int4\",\"media\":null,\"json\":[],\"vectors\":[],\"settings\":{}}",
	"{\"schema\":\"s\",\"name\":\"tools\",\"description\":null,\"params\":[],\"volatile\":false,\"set\":true,\"composite\":true,"
	"\"void\":false,\"variadic\":false,\"bytes\":false,\"type\":\"tool\",\"media\":null,\"json\":[\"data\"],\"vectors\":[],\"settings\":{}}",
	"{\"schema\":\"s\",\"name\":\"store\",\"description\":null,\"params\":[{\"name\":\"\",\"type\":\"json\",\"wide\":\"json\",\"required\":true,\"variadic\":false}],"
	"\"volatile\":true,\"set\":false,\"composite\":false,\"void\":true,\"variadic\":false,\"bytes\":false,\"type\":\"void\",\"media\":null,"
	"\"json\":[],\"vectors\":[],\"settings\":{\"statement_timeout\":\"5s\"}}"
};

static PGresult *
table(int columns, int count)
{
	PGresult   *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc attributes[RPC_COLUMNS];

	memset(attributes, 0, sizeof(attributes));
	for (int i = 0; i < columns; i++)
		attributes[i].name = (char *) (uintptr_t) "c";
	assert_true(PQsetResultAttrs(result, columns, attributes));
	for (int i = 0; i < count; i++)
		for (int k = 0; k < columns; k++)
			assert_true(PQsetvalue(result, i, k, NULL, -1));
	return result;
}

static void
set(PGresult *result, int row, int column, const char *value)
{
	assert_true(PQsetvalue(result, row, column, (char *) (uintptr_t) value, (int) strlen(value)));
}

static int
load(void **state)
{
	PGresult   *result = table(2, 3);
	const char *why;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		set(result, i, 0, "function");
		set(result, i, 1, rows[i]);
	}
	catalogue = rpc_catalogue_load(result, &why);
	PQclear(result);
	return catalogue == NULL || rpc_catalogue_size(catalogue) != 3;
}

static int
unload(void **state)
{
	(void) state;
	rpc_catalogue_free(catalogue);
	return 0;
}

static RpcPlan
plan_of(const char *method, const char *function, const char *query, const char *body, const char *header)
{
	RpcHeader	headers[] = {{header, ""}};
	RpcRequest	request = {.method = method, .function = function, .query = query, .headers = headers, .header_count = header != NULL,
		.body = body, .body_length = body == NULL ? 0 : strlen(body)};
	char		name[100];
	RpcPlan		plan;

	/* "name: value" */
	if (header != NULL)
	{
		snprintf(name, sizeof(name), "%.*s", (int) strcspn(header, ":"), header);
		headers[0] = (RpcHeader) {name, header + strlen(name) + 2};
	}
	rpc_plan(&config, catalogue, &request, &plan);
	return plan;
}

static void
refused(const char *method, const char *function, const char *query, const char *body, const char *header, int status, const char *body_wanted)
{
	RpcPlan		plan = plan_of(method, function, query, body, header);
	RpcResponse response;

	if (plan.main.sql != NULL)
		fail_msg("planned: %s", plan.main.sql);
	rpc_answer(&plan, &(RpcOutcome) {.authenticated = false}, &response);
	assert_int_equal(response.status, status);
	if (strstr(response.body, body_wanted) == NULL)
		fail_msg("\"%s\" instead of \"%s\"", response.body, body_wanted);
	rpc_plan_free(&plan);
}

/* ---- plans ---- */

static void
answers_are_bounded(void **state)
{
	RpcConfig	bounded = config;
	RpcRequest	request = {.method = "GET", .function = "tools", .query = ""};
	RpcPlan		plan;
	const char *start = "SELECT a.total, a.page, CASE WHEN coalesce(pg_catalog.octet_length(a.body), 0) + "
		"coalesce(pg_catalog.octet_length(a.headers), 0) > 1000 THEN (";
	const char *end = ") _postgrest_t OFFSET 0) AS a(total, page, body, headers, status)";

	(void) state;
	bounded.max_answer = 1000;
	rpc_plan(&bounded, catalogue, &request, &plan);
	assert_memory_equal(plan.main.sql, start, strlen(start));
	assert_string_equal(plan.main.sql + strlen(plan.main.sql) - strlen(end), end);
	rpc_plan_free(&plan);
}

static void
plain_calls(void **state)
{
	RpcPlan		plan = plan_of("POST", "add", "", "{\"a\":1}", NULL);

	(void) state;
	assert_string_equal(plan.main.sql, "SELECT NULL, 1, coalesce(pg_catalog.to_json(pgrst_call.pgrst_scalar)::text, 'null'), "
						"nullif(pg_catalog.current_setting('response.headers', true), ''), nullif(pg_catalog.current_setting('response.status', true), '') "
						"FROM (SELECT $1::json AS json_data) pgrst_payload, LATERAL (SELECT * FROM pg_catalog.json_to_record(pgrst_payload.json_data) "
						"AS _(\"a\" integer) LIMIT 1) pgrst_body, LATERAL (SELECT \"s\".\"add\"(\"a\" := pgrst_body.\"a\") pgrst_scalar) pgrst_call");
	assert_int_equal(plan.main.param_count, 1);
	assert_string_equal(plan.main.values[0], "{\"a\":1}");
	assert_true(plan.read_only);
	assert_false(plan.main.one_off);
	assert_null(plan.settings.sql);
	rpc_plan_free(&plan);

	plan = plan_of("GET", "add", "b=2&a=%31&a=3", NULL, NULL);
	assert_non_null(strstr(plan.main.sql, "\"s\".\"add\"(\"a\" := $1::integer, \"b\" := $2::integer)"));
	assert_string_equal(plan.main.values[0], "3");
	rpc_plan_free(&plan);

	plan = plan_of("POST", "store", "", "[1, 2]", NULL);
	assert_null(plan.main.sql);
	rpc_plan_free(&plan);
	plan = plan_of("POST", "store", "", "{\"x\":1}", NULL);
	assert_non_null(strstr(plan.main.sql, "\"s\".\"store\"($1::json)"));
	assert_false(plan.read_only);
	assert_string_equal(plan.settings.sql, "SELECT pg_catalog.set_config($1, $2, true)");
	assert_string_equal(plan.settings.values[1], "5s");
	rpc_plan_free(&plan);
}

static void
rows_asked_for(void **state)
{
	RpcPlan		plan = plan_of("GET", "tools", "select=id,n:data-%3E%3Ea::int&name=not.like.x*&or=(id.eq.1,id.in.(2,3))&order=id.desc.nullslast&limit=5&offset=2",
							   NULL, "prefer: count=exact");

	(void) state;
	assert_non_null(strstr(plan.main.sql, "SELECT pgrst_call.\"id\", pgrst_call.\"data\", pgrst_call.\"name\" FROM \"s\".\"tools\"() pgrst_call"));
	assert_non_null(strstr(plan.main.sql, "CAST(\"tool\".\"data\"->>$4 AS int) AS \"n\""));
	assert_non_null(strstr(plan.main.sql, " WHERE (\"tool\".\"id\" = $5 OR \"tool\".\"id\" = ANY($6)) AND NOT \"tool\".\"name\" like $7"));
	assert_non_null(strstr(plan.main.sql, "ORDER BY \"tool\".\"id\" DESC NULLS LAST LIMIT $8 OFFSET $9"));
	assert_true(plan.main.one_off);
	assert_int_equal(plan.main.param_count, 9);
	assert_string_equal(plan.main.values[5], "{\"2\",\"3\"}");
	assert_string_equal(plan.main.values[6], "x%");
	rpc_plan_free(&plan);
}

static void
names_are_quoted(void **state)
{
	RpcPlan		plan = plan_of("GET", "tools", "select=%22a%5C%22;drop%22&%22x%5C%22)--%22=eq.'%3B--&order=%22o%5C%22%22", NULL, NULL);

	(void) state;
	assert_non_null(strstr(plan.main.sql, "\"tool\".\"a\"\";drop\""));
	assert_non_null(strstr(plan.main.sql, "\"tool\".\"x\"\")--\" = $1"));
	assert_non_null(strstr(plan.main.sql, "ORDER BY \"tool\".\"o\"\"\""));
	assert_string_equal(plan.main.values[0], "';--");
	rpc_plan_free(&plan);
	refused("GET", "tools", "select=a::int%3B--", NULL, NULL, 400, "unexpected ';'");
	refused("POST", "tools", "id=fts(a'b).x", NULL, NULL, 400, "PGRST100");
}

static void
limits_hold(void **state)
{
	RpcText		query = text_new(arena_new());

	(void) state;
	text_add(&query, "or=(");
	for (int i = 0; i < PARSE_MAX_DEPTH + 1; i++)
		text_add(&query, "and(");
	refused("GET", "tools", query.at, NULL, NULL, 400, "fewer nested conditions");
	query.length = 0;
	for (int i = 0; i <= RPC_MAX_PARAMS; i++)
		text_add(&query, "id=eq.1&");
	refused("GET", "tools", query.at, NULL, NULL, 400, "too many values");
	query.length = 0;
	for (int i = 0; i <= 32; i++)
		text_add(&query, "[");
	refused("POST", "store", "", query.at, NULL, 400, "Empty or invalid json");
	refused("GET", "tools", "id=eq.%ff", NULL, NULL, 400, "not UTF-8");
	refused("GET", "tools", "id=eq.%00", NULL, NULL, 400, "NUL");
	refused("POST", "add", "", "{\"a\":1,\"a\":2}", NULL, 400, "The key 'a' is there twice");
	arena_free(query.arena);
}

static void
refusals(void **state)
{
	(void) state;
	refused("DELETE", "add", "", NULL, NULL, 405, "Cannot use the DELETE method on RPC");
	refused("GET", "ad", "a=1", NULL, NULL, 404, "\"hint\":null");
	refused("GET", "tool", "", NULL, NULL, 404, "Perhaps you meant to call the function s.tools");
	refused("GET", "add", "aa=1&b=2", NULL, NULL, 404, "Perhaps you meant to call the function s.add(a, b)");
	refused("POST", "add", "", "{\"a\":", NULL, 400, "Empty or invalid json");
	refused("GET", "tools", "", NULL, "accept: image/png", 406, "None of these media types are available: image/png");
	refused("GET", "tools", "", NULL, "accept-profile: u", 406, "Invalid schema: u");
	refused("GET", "tools", "limit=-1", NULL, NULL, 416, "greater than or equal to zero");
	refused("GET", "tools", "", NULL, "range: 5-4", 416, "lower boundary");
	refused("GET", "tools", "select=makers(id)", NULL, NULL, 400, "relationship between 'tool' and 'makers'");
	refused("GET", "tools", "select=id.sum()", NULL, NULL, 400, "PGRST123");
	refused("GET", "tools", "", NULL, "prefer: handling=strict, odd", 400, "Invalid preferences: odd");
	refused("GET", "add", "a=1", NULL, "prefer: handling=strict, max-affected=1", 400, "PGRST128");
}

/* ---- answers ---- */

static RpcResponse
answered(const RpcPlan *plan, const char *total, const char *page, const char *body, const char *headers, const char *status)
{
	const char *values[] = {total, page, body, headers, status};
	PGresult   *result = table(RPC_COLUMNS, 1);
	RpcResponse response;

	for (int i = 0; i < RPC_COLUMNS; i++)
		if (values[i] != NULL)
			set(result, 0, i, values[i]);
	rpc_answer(plan, &(RpcOutcome) {.main = result}, &response);
	response.body = arena_copy(plan->arena, response.body, response.body_length);
	PQclear(result);
	return response;
}

static const char *
header_of(const RpcResponse *response, const char *name)
{
	for (size_t i = 0; i < response->header_count; i++)
		if (strcmp(response->headers[i].name, name) == 0)
			return response->headers[i].value;
	return "";
}

static void
pages(void **state)
{
	RpcPlan		plan = plan_of("GET", "tools", "limit=2&offset=1", NULL, "prefer: count=exact");
	RpcResponse response = answered(&plan, "5", "2", "[1,2]", NULL, NULL);

	(void) state;
	assert_int_equal(response.status, 206);
	assert_string_equal(header_of(&response, "Content-Range"), "1-2/5");
	assert_string_equal(header_of(&response, "Preference-Applied"), "count=exact");
	assert_string_equal(response.body, "[1,2]");
	response = answered(&plan, "0", "0", "[]", NULL, NULL);
	assert_int_equal(response.status, 416);
	assert_non_null(strstr(response.body, "An offset of 1 was requested, but there are only 0 rows."));
	rpc_plan_free(&plan);
}

static void
settings_of_the_function(void **state)
{
	RpcPlan		plan = plan_of("GET", "tools", "", NULL, NULL);
	RpcResponse response = answered(&plan, NULL, "0", "[]", "[{\"Vary\":\"X\"},{\"Set-Cookie\":\"a\"},{\"Set-Cookie\":\"b\"}]", "202");

	(void) state;
	assert_int_equal(response.status, 202);
	assert_int_equal(response.header_count, 5);
	assert_string_equal(header_of(&response, "Vary"), "X");
	response = answered(&plan, NULL, "0", "[]", "[{\"A\":\"x\\r\\nB: y\"}]", NULL);
	assert_int_equal(response.status, 500);
	response = answered(&plan, NULL, "0", "[]", "{}", NULL);
	assert_non_null(strstr(response.body, "PGRST111"));
	response = answered(&plan, NULL, "0", "[]", NULL, "42");
	assert_non_null(strstr(response.body, "PGRST112"));
	rpc_plan_free(&plan);
}

static void
statuses(void **state)
{
	(void) state;
	assert_int_equal(rpc_status_of_sqlstate("42501", "", false), 401);
	assert_int_equal(rpc_status_of_sqlstate("42501", "", true), 403);
	assert_int_equal(rpc_status_of_sqlstate("PT418", "", true), 418);
	assert_int_equal(rpc_status_of_sqlstate("PT4X8", "", true), 500);
	assert_int_equal(rpc_status_of_sqlstate("PT042", "", true), 500);
	assert_int_equal(rpc_status_of_sqlstate("22023", "role \"x\" does not exist", true), 401);
	assert_int_equal(rpc_status_of_sqlstate("57P01", NULL, true), 503);
	assert_int_equal(rpc_status_of_sqlstate("57P02", NULL, true), 500);
	assert_int_equal(rpc_status_of_sqlstate("99999", NULL, true), 400);
}

static void
tokens(void **state)
{
	RpcArena   *arena = arena_new();
	RpcProblem	problem;

	(void) state;
	assert_true(rpc_token_problem(arena, "token_malformed", "a.b", NULL, &problem));
	assert_string_equal(problem.message, "Expected 3 parts in JWT; got 2");
	assert_true(rpc_token_problem(arena, "token_malformed", "eyJhbGciOiJub25lIn0.e30.", "token_malformed: the algorithm is not accepted", &problem));
	assert_string_equal(problem.message, "Wrong or unsupported encoding algorithm");
	assert_true(rpc_token_problem(arena, "token_malformed", "a.b.c", "token_malformed: the claim exp is not a number of seconds", &problem));
	assert_string_equal(problem.code, "PGRST303");
	assert_false(rpc_token_problem(arena, "session_ended", "a.b.c", NULL, &problem));
	assert_false(rpc_token_problem(arena, NULL, "a.b.c", NULL, &problem));
	arena_free(arena);
}

/* ---- parts ---- */

static void
json_bodies(void **state)
{
	static const char *const good[] = {"{}", " [ ] ", "1", "\"x\"", "null", "-0.5e+3", "{\"a\":[{\"b\":null}]}", "[{\"a\":1},{\"a\":2}]", "\"\\ud83d\\ude00\""};
	static const char *const bad[] = {"", "{", "{a:1}", "[1,]", "01", "1.", "+1", "\"\t\"", "\"\\x\"", "{\"a\":1}x", "tru", "'a'", "\xff", "[1 2]"};
	RpcArena   *arena = arena_new();
	RpcJson		json;

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!rpc_json_read(arena, good[i], strlen(good[i]), 32, &json))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (rpc_json_read(arena, bad[i], strlen(bad[i]), 32, &json))
			fail_msg("taken: %s", bad[i]);
	assert_true(rpc_json_read(arena, "{\"b\":1,\"\\u0061\":2}", 18, 32, &json));
	assert_int_equal(json.key_count, 2);
	assert_string_equal(json.keys[0], "a");
	assert_null(json.twice);
	assert_true(rpc_json_read(arena, "{\"a\":[{\"b\":1,\"\\u0062\":2}]}", 26, 32, &json));
	assert_string_equal(json.twice, "b");
	assert_true(rpc_json_read(arena, "[{\"a\":1},{\"b\":1}]", 17, 32, &json));
	assert_false(json.uniform);
	arena_free(arena);
}

static void
csv_bodies(void **state)
{
	RpcArena   *arena = arena_new();
	RpcText		json = text_new(arena);

	(void) state;
	assert_int_equal(rpc_csv_to_json(arena, "a,b\r\n1,\"x,\"\"y\"\nNULL,", 20, &json), CSV_GOOD);
	assert_string_equal(json.at, "[{\"a\":\"1\",\"b\":\"x,\\\"y\"},{\"a\":null,\"b\":\"\"}]");
	json = text_new(arena);
	assert_int_equal(rpc_csv_to_json(arena, "a,b\n\n1\n\n", 8, &json), CSV_GOOD);
	assert_string_equal(json.at, "[{\"a\":\"1\"}]");
	json = text_new(arena);
	assert_int_equal(rpc_csv_to_json(arena, "a\n1,2\n", 6, &json), CSV_GOOD);
	assert_string_equal(json.at, "[{\"a\":\"1\"}]");
	json = text_new(arena);
	assert_int_equal(rpc_csv_to_json(arena, "a,b\n1,2\n1", 9, &json), CSV_RAGGED);
	assert_int_equal(rpc_csv_to_json(arena, "a,b\n1\n1,2", 9, &json), CSV_RAGGED);
	assert_int_equal(rpc_csv_to_json(arena, "a\n\"1", 4, &json), CSV_BROKEN);
	assert_int_equal(rpc_csv_to_json(arena, "a\n1\"", 4, &json), CSV_BROKEN);
	assert_int_equal(rpc_csv_to_json(arena, "a", 1, &json), CSV_BROKEN);
	assert_int_equal(rpc_csv_to_json(arena, "", 0, &json), CSV_BROKEN);
	arena_free(arena);
}

static void
nearest_names(void **state)
{
	static const char *const names[] = {"say_hello", "add_them", "overloaded"};
	RpcArena   *arena = arena_new();

	(void) state;
	assert_string_equal(rpc_nearest(arena, names, 3, "say_hell", 0.75), "say_hello");
	assert_string_equal(rpc_nearest(arena, names, 3, "ADD_THEN", 0.75), "add_them");
	assert_null(rpc_nearest(arena, names, 3, "say", 0.75));
	assert_null(rpc_nearest(arena, names, 3, "", 0.75));
	arena_free(arena);
}

static void
media_types(void **state)
{
	RpcHeader	headers[] = {{"accept", "text/html, */*;q=0.1 , text/csv;q=0.5,application/vnd.pgrst.object+json; nulls=stripped"}};
	RpcRequest	request = {.headers = headers, .header_count = 1};
	RpcArena   *arena = arena_new();
	size_t		count;
	RpcMedia   *media = rpc_media_accepted(arena, &request, &count);

	(void) state;
	assert_int_equal(count, 4);
	assert_int_equal(media[0].kind, MEDIA_OBJECT_STRIPPED);
	assert_int_equal(media[1].kind, MEDIA_OTHER);
	assert_string_equal(media[1].mime, "text/html");
	assert_int_equal(media[2].kind, MEDIA_CSV);
	assert_int_equal(media[3].kind, MEDIA_ANY);
	assert_string_equal(rpc_media_read(arena, "application/vnd.pgrst.plan+json;for=\"text/csv\"; options=wal|analyze").mime,
						"application/vnd.pgrst.plan+json; for=\"text/csv\"; options=analyze|wal");
	arena_free(arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_bounded), cmocka_unit_test(plain_calls), cmocka_unit_test(rows_asked_for), cmocka_unit_test(names_are_quoted), cmocka_unit_test(limits_hold),
		cmocka_unit_test(refusals), cmocka_unit_test(pages), cmocka_unit_test(settings_of_the_function), cmocka_unit_test(statuses),
		cmocka_unit_test(tokens), cmocka_unit_test(json_bodies), cmocka_unit_test(csv_bodies), cmocka_unit_test(nearest_names), cmocka_unit_test(media_types)
	};

	return cmocka_run_group_tests(tests, load, unload);
}
