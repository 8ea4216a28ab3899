/*
 * libFuzzer: what the gateway does with bytes of an HTTP connection, before any of them reach a handler: the guard,
 * query strings, percent-encoding, cookies and headers as JSON, routes. make fuzz FUZZ=http SECONDS=60
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/guard.h"
#include "gateway/json.h"
#include "gateway/placement.h"
#include "gateway/proxies.h"
#include "gateway/routes.h"
#include "gateway/text.h"
#include "lib/utf8.h"

extern int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Passed
{
	char		bytes[65536];
	size_t		len;
	const char *broken;
} Passed;

static void
pass(Passed *passed, const char *bytes, size_t len, size_t piece)
{
	Guard		guard;

	guard_init(&guard, -1, 5000);
	passed->len = 0;
	for (size_t at = 0; at < len && guard.broken == NULL; at += piece)
	{
		if (!guard_feed(&guard, bytes + at, len - at < piece ? len - at : piece))
			abort();
		passed->len += guard_take(&guard, passed->bytes + passed->len, sizeof(passed->bytes) - passed->len);
	}
	passed->broken = guard.broken;
	guard_free(&guard);
}

/* What passes does not depend on how the bytes come; what is neither a replacement nor broken off passes as it is. */
static void
try_guard(const char *bytes, size_t len, size_t piece)
{
	static Passed whole;
	static Passed pieces;
	size_t		same;

	pass(&whole, bytes, len, len);
	pass(&pieces, bytes, len, piece);
	if (memmem(bytes, len, "pgrade", 6) == NULL && memmem(bytes, len, "PGRADE", 6) == NULL &&
		(whole.len != pieces.len || memcmp(whole.bytes, pieces.bytes, whole.len) != 0 || whole.broken != pieces.broken))
		abort();
	for (same = 0; same < whole.len && same < len && whole.bytes[same] == bytes[same]; same++)
		;
	if (same < whole.len && (whole.len - same > GUARD_REFUSAL_MAX || memmem(whole.bytes, whole.len, GUARD_METHOD " /", 9) == NULL))
		abort();
}

static void
try_text(Request *request, const char *text)
{
	const char *at = text;
	QueryItem	item;
	Match		match;
	json_t	   *json;
	char		peer[48] = "10.0.0.1";
	char		organization[37];

	while (request_query_next(&at, &item))
	{
		request_decode(request, item.name, item.name_len, true);
		request_decode(request, item.value, item.value_len, true);
	}
	for (int method = 0; method <= METHOD_OTHER; method++)
		if (route_match(text, (Method) method, &match) == MATCH_FOUND && match.param_count > REQUEST_MAX_PARAMS)
			abort();
	text_is_request_id(text);
	text_is_traceparent(text);
	proxies_apply("10.0.0.1,10.0.0.2", text, peer, sizeof(peer));
	placement_token_organization(text, organization);
	if (!utf8_is_valid(text, strlen(text)))
		return;
	request_set_header(request, "cookie", text);
	request_add_header(request, "X-Any", text);
	/* Duplicate cookies are the client's business; apart from them this is JSON, whatever came. */
	json = json_loads(request_cookies_json(request), 0, NULL);
	if (json == NULL)
		abort();
	json_decref(json);
	json = json_loads(request_headers_json(request), JSON_REJECT_DUPLICATES, NULL);
	if (json == NULL)
		abort();
	json_decref(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Request		request = {.memory = NULL};
	char	   *text;

	if (size < 2)
		return 0;
	try_guard((const char *) data + 1, size - 1, (size_t) data[0] + 1);
	text = request_copy(&request, (const char *) data + 1, size - 1);
	if (text != NULL)
		try_text(&request, text);
	request_free_memory(&request);
	return 0;
}
