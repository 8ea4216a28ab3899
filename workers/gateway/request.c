#include "gateway/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/limits.h"
#include "gateway/placement.h"
#include "gateway/server.h"
#include "gateway/stats.h"
#include "gateway/text.h"

#define CHUNK_SIZE 4096
/* Chunks of that size are kept for the next requests. */
#ifdef __SANITIZE_ADDRESS__
#define KEPT_CHUNKS 0			/* so that what is used after its request is found */
#else
#define KEPT_CHUNKS 256
#endif

typedef struct MemoryChunk
{
	struct MemoryChunk *next;
	size_t		used;
	size_t		size;
} MemoryChunk;

static MemoryChunk *kept;
static int	kept_count;

void *
request_alloc(Request *request, size_t size)
{
	MemoryChunk *chunk = request->memory;
	void	   *memory;

	size = (size + 15) & ~(size_t) 15;
	if (chunk == NULL || chunk->size - chunk->used < size)
	{
		size_t		room = size > CHUNK_SIZE ? size : CHUNK_SIZE;

		if (room == CHUNK_SIZE && kept != NULL)
		{
			chunk = kept;
			kept = chunk->next;
			kept_count--;
		}
		else
			chunk = malloc(sizeof(MemoryChunk) + 8 + room);
		if (chunk == NULL)
			return NULL;
		chunk->next = request->memory;
		chunk->used = 0;
		chunk->size = room;
		request->memory = chunk;
	}
	memory = (char *) (chunk + 1) + 8 + chunk->used;
	chunk->used += size;
	return memory;
}

char *
request_copy(Request *request, const char *text, size_t len)
{
	char	   *copy = request_alloc(request, len + 1);

	if (copy == NULL)
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return copy;
}

char *
request_printf(Request *request, const char *format, ...)
{
	va_list		args;
	char	   *text;
	int			len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	text = len < 0 ? NULL : request_alloc(request, (size_t) len + 1);
	if (text == NULL)
		return NULL;
	va_start(args, format);
	vsnprintf(text, (size_t) len + 1, format, args);
	va_end(args);
	return text;
}

void
request_free_memory(Request *request)
{
	MemoryChunk *chunk = request->memory;

	while (chunk != NULL)
	{
		MemoryChunk *next = chunk->next;

		if (chunk->size == CHUNK_SIZE && kept_count < KEPT_CHUNKS)
		{
			chunk->next = kept;
			kept = chunk;
			kept_count++;
		}
		else
			free(chunk);
		chunk = next;
	}
	request->memory = NULL;
}

const char *
request_header(const Request *request, const char *name)
{
	for (int i = 0; i < request->header_count; i++)
		if (strcmp(request->headers[i].name, name) == 0)
			return request->headers[i].value;
	return NULL;
}

bool
request_add_header(Request *request, const char *name, const char *value)
{
	char	   *lower = request_copy(request, name, strlen(name));

	if (lower == NULL)
		return false;
	text_lower(lower);
	for (int i = 0; i < request->header_count; i++)
		if (strcmp(request->headers[i].name, lower) == 0)
		{
			request->headers[i].value = request_printf(request, "%s, %s", request->headers[i].value, value);
			return request->headers[i].value != NULL;
		}
	if (request->header_count == REQUEST_MAX_HEADERS)
		return false;
	request->headers[request->header_count].name = lower;
	request->headers[request->header_count].value = request_copy(request, value, strlen(value));
	return request->headers[request->header_count++].value != NULL;
}

bool
request_set_header(Request *request, const char *name, const char *value)
{
	for (int i = 0; i < request->header_count; i++)
		if (strcmp(request->headers[i].name, name) == 0)
		{
			request->headers[i].value = value;
			return true;
		}
	return request_add_header(request, name, value);
}

char *
request_decode(Request *request, const char *text, size_t len, bool plus)
{
	char	   *out = request_alloc(request, len + 1);

	if (out == NULL || !text_percent_decode(text, len, plus, out))
		return NULL;
	return out;
}

bool
request_query_next(const char **at, QueryItem *item)
{
	const char *end;
	const char *equals;

	while (**at == '&')
		(*at)++;
	if (**at == '\0')
		return false;
	end = *at + strcspn(*at, "&");
	equals = memchr(*at, '=', (size_t) (end - *at));
	item->name = *at;
	item->name_len = (size_t) ((equals != NULL ? equals : end) - *at);
	item->value = equals != NULL ? equals + 1 : end;
	item->value_len = (size_t) (end - item->value);
	*at = end;
	return true;
}

/* ---- for the database ---- */

const char *
request_headers_json(Request *request)
{
	size_t		size = 3;
	char	   *out;
	char	   *at;

	for (int i = 0; i < request->header_count; i++)
		size += 6 * (strlen(request->headers[i].name) + strlen(request->headers[i].value)) + 8;
	out = request_alloc(request, size);
	if (out == NULL)
		return NULL;
	at = out;
	*at++ = '{';
	for (int i = 0; i < request->header_count; i++)
	{
		if (strcmp(request->headers[i].name, "cookie") == 0)
			continue;
		if (at > out + 1)
			*at++ = ',';
		at = text_json_string(at, request->headers[i].name, strlen(request->headers[i].name));
		*at++ = ':';
		at = text_json_string(at, request->headers[i].value, strlen(request->headers[i].value));
	}
	*at++ = '}';
	*at = '\0';
	return out;
}

const char *
request_cookies_json(Request *request)
{
	const char *cookies = request_header(request, "cookie");
	char	   *out;
	char	   *at;

	if (cookies == NULL)
		return "{}";
	out = request_alloc(request, strlen(cookies) * 7 + 16);
	if (out == NULL)
		return NULL;
	at = out;
	*at++ = '{';
	while (*cookies != '\0')
	{
		size_t		len = strcspn(cookies, ";");
		const char *equals = memchr(cookies, '=', len);

		if (equals != NULL && equals > cookies)
		{
			if (at > out + 1)
				*at++ = ',';
			at = text_json_string(at, cookies, (size_t) (equals - cookies));
			*at++ = ':';
			at = text_json_string(at, equals + 1, (size_t) (cookies + len - equals - 1));
		}
		cookies += len;
		cookies += strspn(cookies, "; ");
	}
	*at++ = '}';
	*at = '\0';
	return out;
}

static void
call_done(Call *call, CallOutcome outcome, PGresult *result, const char *principal)
{
	Request    *request = call->context;

	/* A call of the gateway's own does not say who acts. */
	if (!call->internal)
		snprintf(request->principal, sizeof(request->principal), "%s", principal);
	if (outcome == CALL_DONE && principal[0] != '\0')
		limits_learn(request->token, principal);
	request->call_done(request, outcome, result);
}

/* The end of a token tells it from all others: in a JWT it is the signature's. */
static uint32_t
token_hash(const char *token)
{
	size_t		len = strlen(token);
	size_t		tail = len < 32 ? len : 32;

	return text_hash(token + len - tail, tail);
}

/* The organization that the header names, else the token's. */
Pool *
request_pool(const Request *request)
{
	Pools	   *pools = request->gateway->pools;
	char		organization[37];

	if (pools_placed(pools) && request->organization == NULL && request->token != NULL &&
		placement_token_organization(request->token, organization))
		return pools_find(pools, organization);
	return pools_find(pools, request->organization);
}

void
request_call(Request *request, const Statement *before, const Statement *main, bool read_only, bool rollback, RequestDone done)
{
	Call	   *call = &request->call;

	call->begin[0] = request->token;
	call->begin[1] = request->organization;
	call->begin[2] = read_only ? "t" : "f";
	call->begin[3] = request->method_text;
	call->begin[4] = request->path;
	call->begin[5] = request_headers_json(request);
	call->begin[6] = request_cookies_json(request);
	call->begin[7] = main->callee;
	call->before = before;
	call->main = main;
	call->rollback = rollback;
	call->fair_key = request->token != NULL ? token_hash(request->token) :
		text_hash(request->peer, strlen(request->peer));
	call->done = call_done;
	call->context = request;
	request->call_done = done;
	if (request->gateway->answer_bytes > request->gateway->settings.answer_memory)
	{
		stats_count(request->gateway, STAT_SHED);
		call_done(call, CALL_SHED, NULL, "");
	}
	else
		pool_submit(request_pool(request), call);
}

void
request_call_internal(Request *request, Pool *pool, const Statement *main, RequestDone done)
{
	Call	   *call = &request->call;

	*call = (Call) {.internal = true, .main = main, .fair_key = text_hash(request->peer, strlen(request->peer)),
		.done = call_done, .context = request};
	request->call_done = done;
	pool_submit(pool != NULL ? pool : pools_find(request->gateway->pools, NULL), call);
}

void
request_wake(Request *request)
{
	request->reply.ready = true;
	server_wake(request->gateway->server, request);
}
