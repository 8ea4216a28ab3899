/* The gateway's pure parts: strict HTTP, routes, arguments, JSON, limits, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/answer.h"
#include "gateway/arguments.h"
#include "gateway/cors.h"
#include "gateway/guard.h"
#include "gateway/json.h"
#include "gateway/limits.h"
#include "gateway/openapi.h"
#include "gateway/placement.h"
#include "gateway/problem.h"
#include "gateway/proxies.h"
#include "gateway/routes.h"

/* ---- the guard ---- */

/* What passes of the bytes, given in pieces of that size. */
static size_t
pass(const char *bytes, size_t len, size_t piece, char *out, size_t size, const char **broken)
{
	Guard		guard;
	size_t		used = 0;

	guard_init(&guard, -1, 1000);
	for (size_t at = 0; at < len && guard.broken == NULL; at += piece)
	{
		size_t		n = len - at < piece ? len - at : piece;

		assert_true(guard_feed(&guard, bytes + at, n));
		used += guard_take(&guard, out + used, size - used - 1);
	}
	out[used] = '\0';
	*broken = guard.broken;
	guard_free(&guard);
	return used;
}

static void
check_passes(const char *text)
{
	char		out[65536];
	const char *broken;

	for (size_t piece = 1; piece <= strlen(text); piece = piece < 8 ? piece + 1 : piece * 3)
	{
		pass(text, strlen(text), piece, out, sizeof(out), &broken);
		assert_null(broken);
		assert_string_equal(out, text);
	}
}

/* The bytes are refused for that reason, in whatever pieces they come; what stands before passes. */
static void
check_refused(const char *before, const char *bytes, size_t len, const char *reason)
{
	char		text[65536];
	char		out[65536];
	char		wanted[65536];
	const char *broken;

	memcpy(text, before, strlen(before));
	memcpy(text + strlen(before), bytes, len);
	snprintf(wanted, sizeof(wanted), "%sREFUSED /%s HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n", before, reason);
	for (size_t piece = 1; piece <= strlen(before) + len; piece = piece < 4 ? piece + 1 : piece * 5)
	{
		pass(text, strlen(before) + len, piece, out, sizeof(out), &broken);
		assert_string_equal(out, wanted);
	}
}

static void
refused(const char *text, const char *reason)
{
	check_refused("", text, strlen(text), reason);
	check_refused("GET / HTTP/1.1\r\nHost: a\r\n\r\n", text, strlen(text), reason);
	check_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", text, strlen(text), reason);
}

static void
whole_refused(const char *text, const char *reason)
{
	char		out[4096];
	const char *broken;

	pass(text, strlen(text), strlen(text), out, sizeof(out), &broken);
	assert_non_null(strstr(out, reason));
	pass(text, strlen(text), 1, out, sizeof(out), &broken);
	assert_string_equal(broken, reason);
}

static void
broken_off(const char *text, const char *reason)
{
	char		out[4096];
	const char *broken;

	for (size_t piece = 1; piece <= strlen(text); piece++)
	{
		pass(text, strlen(text), piece, out, sizeof(out), &broken);
		assert_string_equal(broken, reason);
	}
}

static void
guard_passes_good_requests(void **state)
{
	(void) state;
	check_passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	check_passes("GET /a?b=c HTTP/1.1\r\nHost: [::1]:80\r\nX-Y:  z \r\nAccept:\r\n\r\n");
	check_passes("GET / HTTP/1.0\r\n\r\n");
	check_passes("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
	check_passes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n\r\n\r\nxGET / HTTP/1.1\r\nHost: a\r\n\r\n");
	check_passes("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
	check_passes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void
guard_refuses_smuggling(void **state)
{
	(void) state;
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "length_and_encoding");
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", "bad_content_length");
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", "bad_content_length");
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", "bad_content_length");
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n", "bad_content_length");
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "bad_content_length");
	refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "bad_content_length");
	refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "bad_transfer_encoding");
	refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_transfer_encoding");
	refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "bad_transfer_encoding");
	refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_transfer_encoding");
	refused("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "folded_header");
	refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded_header");
	refused("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad_header");
	refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 3\r\n\r\n", "bad_header");
	refused("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", "bad_header");
	refused("GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", "bad_header");
	refused("GET / HTTP/1.1\r\nHost: a\r\nX: \001\r\n\r\n", "bad_header");
	refused("GET / HTTP/1.1\nHost: a\n\n", "bad_line_end");
	refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n", "bad_line_end");
	refused("GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", "bad_line_end");
	refused("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line");
	check_refused("", "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 35, "bad_header");
}

static void
guard_refuses_bad_lines(void **state)
{
	static char large[30000];

	(void) state;
	refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target");
	refused("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "bad_request_line");
	refused("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_request_line");
	refused("GET /\r\nHost: a\r\n\r\n", "bad_request_line");
	refused("get / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_known");
	refused("REFUSED / HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_known");
	refused("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "method_not_known");
	refused("PRI * HTTP/2.0\r\n\r\n", "method_not_known");
	refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version_not_supported");
	refused("GET / http/1.1\r\nHost: a\r\n\r\n", "bad_request_line");
	refused("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target");
	refused("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target");
	refused("GET /\303\244 HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target");
	refused("GET / HTTP/1.1\r\n\r\n", "bad_host");
	refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "bad_host");
	refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "bad_host");
	refused("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", "expectation_failed");
	memset(large, 'a', sizeof(large));
	memcpy(large, "GET /", 5);
	large[9000] = '\0';
	refused(large, "target_too_long");
	memset(large, 'a', sizeof(large));
	memcpy(large, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
	large[GUARD_MAX_HEAD + 100] = '\0';
	refused(large, "headers_too_large");
}

static void
guard_watches_bodies(void **state)
{
	(void) state;
#define HEAD "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	broken_off(HEAD "3\nabc\r\n", "bad_chunk");
	broken_off(HEAD "3;x=y\r\nabc\r\n", "bad_chunk");
	broken_off(HEAD " 3\r\nabc\r\n", "bad_chunk");
	broken_off(HEAD "-3\r\nabc\r\n", "bad_chunk");
	broken_off(HEAD "\r\nabc\r\n", "bad_chunk");
	broken_off(HEAD "123456789\r\n", "bad_chunk");
	broken_off(HEAD "3\r\nabcd\r\n", "bad_chunk");
	broken_off(HEAD "3\r\nabc\n", "bad_chunk");
	broken_off(HEAD "0\r\nX: y\r\n\r\n", "trailers_refused");
	broken_off(HEAD "3e9\r\n", "body_too_large");
	/* What comes behind an upgrade request, before its answer, ends the connection; together with it, it is refused. */
	whole_refused("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\nx", "early_data");
}

/* ---- routes ---- */

static void
routes_are_well_formed(void **state)
{
	(void) state;
	for (int i = 0; i < route_count; i++)
	{
		int			params = 0;
		int			path_arguments = 0;

		assert_true(routes[i].handler != NULL && routes[i].summary != NULL && routes[i].tag != NULL && routes[i].pattern[0] == '/');
		assert_true(routes[i].status == 101 || (routes[i].status >= 200 && routes[i].status < 400));
		assert_true(routes[i].function == NULL || routes[i].handler == route_call);
		for (const char *at = routes[i].pattern; *at != '\0'; at++)
			params += *at == '{';
		for (int j = 0; j < ROUTE_MAX_ARGUMENTS && routes[i].arguments[j].name != NULL; j++)
		{
			char		braced[80];

			snprintf(braced, sizeof(braced), "{%s}", routes[i].arguments[j].name);
			if (routes[i].arguments[j].source == FROM_PATH)
			{
				/* The parameters come in the order of the pattern. */
				assert_non_null(strstr(routes[i].pattern, braced));
				path_arguments++;
			}
		}
		if (routes[i].function != NULL)
			assert_int_equal(params, path_arguments);
		for (int j = 0; j < i; j++)
			assert_false(routes[i].method == routes[j].method && strcmp(routes[i].pattern, routes[j].pattern) == 0);
	}
}

static void
routes_are_found(void **state)
{
	Match		match;

	(void) state;
	assert_int_equal(route_match("/certificates/next", METHOD_GET, &match), MATCH_FOUND);
	assert_string_equal(match.route->pattern, "/certificates/next");
	assert_int_equal(route_match("/certificates/x/issue", METHOD_POST, &match), MATCH_FOUND);
	assert_string_equal(match.route->function, "issue_certificate");
	assert_int_equal(match.param_count, 1);
	assert_memory_equal(match.params[0].text, "x", 1);
	assert_int_equal(route_match("/members/a/roles/b%2Fc", METHOD_PUT, &match), MATCH_FOUND);
	assert_int_equal(match.params[1].len, 5);
	assert_int_equal(route_match("/members/a/roles/b", METHOD_DELETE, &match), MATCH_FOUND);
	assert_string_equal(match.route->function, "revoke_role");
	assert_int_equal(route_match("/pools", METHOD_HEAD, &match), MATCH_FOUND);
	assert_int_equal(route_match("/permissions", METHOD_POST, &match), MATCH_NO_METHOD);
	assert_int_equal(match.allowed, 1u << METHOD_GET | 1u << METHOD_HEAD);
	assert_int_equal(route_match("/members/a/roles/b", METHOD_GET, &match), MATCH_NO_METHOD);
	assert_int_equal(match.allowed, 1u << METHOD_PUT | 1u << METHOD_DELETE);
	for (size_t i = 0; i < 8; i++)
	{
		static const char *const none[] = {"/", "", "/pools/", "//pools", "/certificates//issue", "/certificates/x/issue/", "/Pools", "/health"};

		assert_int_equal(route_match(none[i], METHOD_GET, &match), MATCH_NO_PATH);
	}
}

static void
openapi_is_whole(void **state)
{
	json_t	   *made = openapi_make(NULL);
	char	   *markdown = openapi_markdown();

	(void) state;
	assert_non_null(made);
	assert_non_null(json_object_get(json_object_get(made, "paths"), "/certificates/{id}/issue"));
	assert_non_null(strstr(markdown, "POST /certificates/{id}/issue"));
	free(markdown);
	json_decref(made);
}

/* ---- arguments ---- */

static void
arguments_of_text(void **state)
{
	(void) state;
	assert_true(argument_from_text(ARGUMENT_UUID, "01a21613-b995-71fc-9950-9cadf74defa7"));
	assert_false(argument_from_text(ARGUMENT_UUID, "01a21613b99571fc99509cadf74defa7"));
	assert_false(argument_from_text(ARGUMENT_UUID, "01a21613-b995-71fc-9950-9cadf74defa7x"));
	assert_true(argument_from_text(ARGUMENT_INT, "-9223372036854775808"));
	assert_false(argument_from_text(ARGUMENT_INT, "9223372036854775808"));
	assert_false(argument_from_text(ARGUMENT_INT, "1.0"));
	assert_false(argument_from_text(ARGUMENT_INT, ""));
	assert_false(argument_from_text(ARGUMENT_INT, " 1"));
	assert_false(argument_from_text(ARGUMENT_INT4, "2147483648"));
	assert_true(argument_from_text(ARGUMENT_BOOL, "true"));
	assert_false(argument_from_text(ARGUMENT_BOOL, "yes"));
	assert_true(argument_from_text(ARGUMENT_TIME, "2026-11-26T04:18:42Z"));
	assert_true(argument_from_text(ARGUMENT_TIME, "2026-11-26T04:18:42.123456+02:00"));
	assert_false(argument_from_text(ARGUMENT_TIME, "yesterday"));
	assert_false(argument_from_text(ARGUMENT_TIME, "2026-11-26"));
	assert_false(argument_from_text(ARGUMENT_TIME, "2026-13-26T04:18:42Z"));
	assert_true(argument_from_text(ARGUMENT_INET, "::1"));
	assert_false(argument_from_text(ARGUMENT_INET, "1.2.3"));
}

static void
check_json_argument(ArgumentType type, const char *json, const char *wanted)
{
	Request		request = {.memory = NULL};
	json_t	   *value = json_loads(json, JSON_DECODE_ANY, NULL);
	const char *text = argument_from_json(&request, type, value, json, strlen(json));

	if (wanted == NULL)
		assert_null(text);
	else
		assert_string_equal(text, wanted);
	json_decref(value);
	request_free_memory(&request);
}

static void
arguments_of_json(void **state)
{
	(void) state;
	check_json_argument(ARGUMENT_TEXT, "\"a\"", "a");
	check_json_argument(ARGUMENT_TEXT, "1", NULL);
	check_json_argument(ARGUMENT_INT, "12", "12");
	check_json_argument(ARGUMENT_INT, "12.0", NULL);
	check_json_argument(ARGUMENT_INT, "\"12\"", NULL);
	check_json_argument(ARGUMENT_INT4, "2147483648", NULL);
	check_json_argument(ARGUMENT_BOOL, "false", "false");
	check_json_argument(ARGUMENT_BOOL, "0", NULL);
	check_json_argument(ARGUMENT_TEXTS, "[\"a\", \"b\\\"c\", \"d\\\\e\", \"\", \"null\"]", "{\"a\",\"b\\\"c\",\"d\\\\e\",\"\",\"null\"}");
	check_json_argument(ARGUMENT_TEXTS, "[1]", NULL);
	check_json_argument(ARGUMENT_TEXTS, "[]", "{}");
	check_json_argument(ARGUMENT_OBJECT, "{\"a\": [0.1]}", "{\"a\": [0.1]}");
	check_json_argument(ARGUMENT_OBJECT, "[1]", NULL);
	check_json_argument(ARGUMENT_UUID, "\"x\"", NULL);
}

static void
check_strict(const char *text, size_t len, const char *wanted)
{
	const char *code = NULL;
	const char *why = NULL;
	json_t	   *json = json_strict(text, len, 4, &code, &why);

	if (wanted == NULL)
		assert_non_null(json);
	else
	{
		assert_null(json);
		assert_string_equal(code, wanted);
		assert_non_null(why);
	}
	json_decref(json);
}

static void
json_is_strict(void **state)
{
	(void) state;
	check_strict("{\"a\": [[[1]]]}", 14, NULL);
	check_strict("{\"a\": [[[[1]]]]}", 16, "json_too_deep");
	check_strict("{\"a\": \"[[[[[[\"}", 15, NULL);
	check_strict("{\"a\": 1, \"a\": 2}", 16, "json_duplicate_member");
	check_strict("{\"a\": \"\\u0000\"}", 15, "nul_character");
	check_strict("{\"a\": \"\0\"}", 10, "bad_json");
	check_strict("{\"a\": \"\xff\"}", 10, "not_utf8");
	check_strict("{\"a\": 1} x", 10, "bad_json");
	check_strict("{\"a\": 99999999999999999999}", 27, "json_number_too_large");
	check_strict("{\"a\": 1e999}", 12, "json_number_too_large");
	check_strict("", 0, "bad_json");
	check_strict("{'a': 1}", 8, "bad_json");
}

/* ---- limits ---- */

static Bucket buckets[LIMITS_BUCKETS];

static void
buckets_fill_and_empty(void **state)
{
	Limit		limit = {.per_second = 10, .burst = 5};
	int64_t		now = 1000000;
	Verdict		verdict;

	(void) state;
	memset(buckets, 0, sizeof(buckets));
	for (int i = 0; i < 5; i++)
	{
		verdict = limits_take(buckets, 42, &limit, now);
		assert_true(verdict.allowed);
		assert_int_equal(verdict.remaining, 4 - i);
	}
	verdict = limits_take(buckets, 42, &limit, now);
	assert_false(verdict.allowed);
	assert_int_equal(verdict.retry_after_ms, 100);
	assert_int_equal(verdict.reset_ms, 500);
	assert_true(limits_take(buckets, 43, &limit, now).allowed);
	/* One token comes back each 100 ms; refused attempts cost nothing. */
	assert_false(limits_take(buckets, 42, &limit, now + 99000).allowed);
	assert_true(limits_take(buckets, 42, &limit, now + 100000).allowed);
	assert_false(limits_take(buckets, 42, &limit, now + 100000).allowed);
	verdict = limits_take(buckets, 42, &limit, now + 10000000);
	assert_int_equal(verdict.remaining, 4);
}

static void
buckets_are_shared_out(void **state)
{
	Limit		limit = {.per_second = 1, .burst = 1};

	(void) state;
	memset(buckets, 0, sizeof(buckets));
	/* More keys than buckets: nobody is refused for somebody else's requests. */
	for (uint64_t key = 1; key <= 4 * LIMITS_BUCKETS; key++)
		assert_true(limits_take(buckets, key, &limit, (int64_t) key).allowed);
}

static void
limits_are_parsed(void **state)
{
	FILE	   *nowhere = fopen("/dev/null", "w");

	(void) state;
	assert_true(limits_parse("auth:address=10/50,any:principal=1/1", nowhere));
	assert_true(limits_parse("", nowhere));
	assert_false(limits_parse("auth=10/50", nowhere));
	assert_false(limits_parse("auth:address=0/50", nowhere));
	assert_false(limits_parse("auth:address=10", nowhere));
	assert_false(limits_parse("auth:address=10/5x", nowhere));
	assert_false(limits_parse("other:address=10/50", nowhere));
	fclose(nowhere);
}

/* ---- errors and the rest ---- */

static void
states_map_to_statuses(void **state)
{
	static const struct
	{
		const char *sqlstate;
		int			status;
	}			rows[] = {
		{"08006", 503}, {"09000", 500}, {"0L000", 403}, {"0P000", 403}, {"28000", 403}, {"23503", 409}, {"23505", 409}, {"23514", 400},
		{"25006", 405}, {"25001", 500}, {"2D000", 500}, {"38000", 500}, {"39000", 500}, {"3B000", 500}, {"40001", 500}, {"21000", 500},
		{"22023", 400}, {"P0001", 400}, {"P0002", 500}, {"42883", 404}, {"42P01", 404}, {"42P17", 500}, {"53400", 500}, {"53100", 503},
		{"54000", 500}, {"55000", 500}, {"58000", 500}, {"F0000", 500}, {"HV000", 500}, {"XX000", 500}, {"57014", 500}, {"57P01", 503},
		{"PT404", 404}, {"PT409", 409}, {"PTabc", 500}, {"PT099", 500}, {"42601", 400}, {"22P02", 400}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(problem_status(rows[i].sqlstate, "m", true), rows[i].status);
	assert_int_equal(problem_status("42501", "m", true), 403);
	assert_int_equal(problem_status("42501", "m", false), 401);
	assert_int_equal(problem_status("22023", "role \"x\" does not exist", true), 401);
	assert_int_equal(problem_status("42883", "function xmlagg(x) does not exist", true), 406);
	assert_int_equal(problem_status("21000", "UPDATE requires a WHERE clause", true), 400);
	assert_string_equal(problem_code("PT404"), "not_found");
	assert_string_equal(problem_detail("pool_empty: none", "pool_empty"), "none");
	assert_string_equal(problem_detail("pool_emptyx", "pool_empty"), "pool_emptyx");
	assert_int_equal(answer_status(""), 0);
	assert_int_equal(answer_status("201"), 201);
	assert_int_equal(answer_status("abc"), -1);
	assert_int_equal(answer_status("99"), -1);
}

static void
proxies_are_believed_from_the_right(void **state)
{
	static const struct
	{
		const char *peer;
		const char *header;
		const char *wanted;
	}			rows[] = {
		{"10.0.0.1", "1.2.3.4", "1.2.3.4"}, {"10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"}, {"10.0.0.1", "1.2.3.4, 10.0.0.2", "1.2.3.4"},
		{"9.9.9.9", "1.2.3.4", "9.9.9.9"}, {"10.0.0.1", "junk", "10.0.0.1"}, {"10.0.0.1", "1.2.3.4, junk", "10.0.0.1"},
		{"10.0.0.1", "", "10.0.0.1"}, {"10.0.0.1", NULL, "10.0.0.1"}, {"10.0.0.1", "2001:db8::1", "2001:db8::1"},
		{"10.0.0.1", "2001:DB8:0::1", "2001:db8::1"}, {"10.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"},
		{"10.0.0.1", "1.2.3.4, ::ffff:10.0.0.2", "1.2.3.4"}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		char		peer[48];

		snprintf(peer, sizeof(peer), "%s", rows[i].peer);
		proxies_apply("10.0.0.1,10.0.0.2", rows[i].header, peer, sizeof(peer));
		assert_string_equal(peer, rows[i].wanted);
	}
	assert_true(cors_allows("https://a.example, https://b.example", "https://b.example"));
	assert_false(cors_allows("https://a.example", "https://a.example.evil") || cors_allows("https://a.example", "https://a.exampl"));
}

static void
tokens_name_their_organization(void **state)
{
	char		organization[37];

	(void) state;
	/* {"org":"01a21613-b92d-7a60-9d48-f81e0fee7627"} */
	assert_true(placement_token_organization("x.eyJvcmciOiIwMWEyMTYxMy1iOTJkLTdhNjAtOWQ0OC1mODFlMGZlZTc2MjcifQ.y", organization));
	assert_string_equal(organization, "01a21613-b92d-7a60-9d48-f81e0fee7627");
	assert_false(placement_token_organization("x.eyJvcmciOiJubyJ9.y", organization));
	assert_false(placement_token_organization("bok_abc", organization));
	assert_false(placement_token_organization("a.!!.c", organization));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guard_passes_good_requests),
		cmocka_unit_test(guard_refuses_smuggling),
		cmocka_unit_test(guard_refuses_bad_lines),
		cmocka_unit_test(guard_watches_bodies),
		cmocka_unit_test(routes_are_well_formed),
		cmocka_unit_test(routes_are_found),
		cmocka_unit_test(openapi_is_whole),
		cmocka_unit_test(arguments_of_text),
		cmocka_unit_test(arguments_of_json),
		cmocka_unit_test(json_is_strict),
		cmocka_unit_test(buckets_fill_and_empty),
		cmocka_unit_test(buckets_are_shared_out),
		cmocka_unit_test(limits_are_parsed),
		cmocka_unit_test(states_map_to_statuses),
		cmocka_unit_test(proxies_are_believed_from_the_right),
		cmocka_unit_test(tokens_name_their_organization),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
