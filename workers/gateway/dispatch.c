#include "gateway/dispatch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "gateway/cors.h"
#include "gateway/guard.h"
#include "gateway/limits.h"
#include "gateway/methods.h"
#include "gateway/problem.h"
#include "gateway/proxies.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/stats.h"
#include "gateway/text.h"
#include "lib/log.h"
#include "lib/utf8.h"

#define MAX_TOKEN 16384
/* A request that runs longer is worth asking whether its client is still there. */
#define CHECK_CLIENT_AFTER_US 1000000
/* A body of at most so many times what is allowed is read, and thrown away, before it is refused. */
#define BODY_EXCESS 8

/* ---- the head ---- */

typedef struct Collecting
{
	Request    *request;
	bool		good;
	bool		utf8;
} Collecting;

static enum MHD_Result
collect(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
	Collecting *collecting = context;

	(void) kind;
	if (!utf8_is_valid(value, strlen(value)))
		collecting->utf8 = false;
	else if (!request_add_header(collecting->request, name, value))
		collecting->good = false;
	return MHD_YES;
}

static void
find_peer(Request *request)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct sockaddr *address = info != NULL ? info->client_addr : NULL;

	if (address != NULL && address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *) (const void *) address)->sin_addr, request->peer, sizeof(request->peer));
	else if (address != NULL && address->sa_family == AF_INET6)
	{
		const struct in6_addr *in6 = &((const struct sockaddr_in6 *) (const void *) address)->sin6_addr;

		if (IN6_IS_ADDR_V4MAPPED(in6))
			inet_ntop(AF_INET, &in6->s6_addr[12], request->peer, sizeof(request->peer));
		else
			inet_ntop(AF_INET6, in6, request->peer, sizeof(request->peer));
	}
	proxies_apply(request->gateway->settings.trusted_proxies, request_header(request, "x-forwarded-for"), request->peer,
				  sizeof(request->peer));
}

/* Ids that tie together what the client, we, the database and the events say of this request. */
static bool
set_ids(Request *request)
{
	const char *id = request_header(request, "x-request-id");
	const char *parent = request_header(request, "traceparent");
	char		span[17];

	if (id != NULL && text_is_request_id(id))
		snprintf(request->id, sizeof(request->id), "%s", id);
	else
		text_random_hex(request->id, 16);
	text_random_hex(span, 8);
	if (parent != NULL && text_is_traceparent(parent))
		snprintf(request->traceparent, sizeof(request->traceparent), "%.36s%s%s", parent, span, parent + 52);
	else
	{
		char		trace[33];

		text_random_hex(trace, 16);
		snprintf(request->traceparent, sizeof(request->traceparent), "00-%s-%s-00", trace, span);
	}
	return request_set_header(request, "x-request-id", request->id) &&
		request_set_header(request, "traceparent", request->traceparent);
}

/* Authorization and X-Organization-Id. False: answered. */
static bool
read_identity(Request *request)
{
	const char *authorization = request_header(request, "authorization");
	const char *organization = request_header(request, "x-organization-id");

	if (authorization != NULL && strncasecmp(authorization, "bearer", 6) == 0 && (authorization[6] == ' ' || authorization[6] == '\0'))
	{
		const char *token = authorization + 6 + strspn(authorization + 6, " ");

		if (strlen(token) > MAX_TOKEN || strpbrk(token, " ,") != NULL)
		{
			problem_reply(request, 401, "token_malformed", "the Authorization header has no single bearer token", NULL);
			return false;
		}
		request->token = *token != '\0' ? token : NULL;
	}
	if (organization != NULL)
	{
		if (!text_is_uuid(organization))
		{
			problem_reply(request, 400, "bad_organization_id", "the header X-Organization-Id is not a UUID", NULL);
			return false;
		}
		request->organization = organization;
	}
	return true;
}

/* A log-in is nobody's yet, whatever stale token a client sends along. */
static bool
forget_token(Request *request)
{
	if (request->route->auth == AUTH_NONE)
		request->token = NULL;
	return true;
}

static void
no_route(Request *request, MatchResult result, unsigned int allowed)
{
	char		methods[96];

	if (result == MATCH_NO_PATH)
	{
		problem_reply(request, 404, "no_such_route", "there is nothing at this path", "GET /openapi.json lists what there is.");
		return;
	}
	method_list(allowed | 1u << METHOD_OPTIONS, methods, sizeof(methods));
	reply_header(request, "Allow", methods);
	if (request->method == METHOD_OPTIONS)
		reply_text(request, 204, NULL, NULL, 0);
	else
		problem_reply(request, 405, "method_not_allowed", "this path has no such method", NULL);
}

/* Finds the route; its parameters are decoded. False: answered. */
static bool
find_route(Request *request)
{
	Match		match;
	MatchResult result;

	if (strcmp(request->path, "*") == 0)
	{
		no_route(request, MATCH_NO_METHOD, (1u << METHOD_OTHER) - 1);
		return false;
	}
	result = route_match(request->path, request->method, &match);
	if (result != MATCH_NO_PATH && cors_preflight(request, match.allowed))
		return false;
	if (result != MATCH_FOUND)
	{
		no_route(request, result, match.allowed);
		return false;
	}
	request->route = match.route;
	request->route_number = (int) (match.route - routes);
	for (int i = 0; i < match.param_count; i++)
	{
		request->params[i] = request_decode(request, match.params[i].text, match.params[i].len, false);
		if (request->params[i] == NULL)
		{
			problem_reply(request, 400, "bad_path", "the path is not well-formed percent-encoded UTF-8", NULL);
			return false;
		}
	}
	return true;
}

/* What can be said of the body before it is read. False: answered. */
static bool
check_body(Request *request)
{
	const char *length = request_header(request, "content-length");
	unsigned long long max = (unsigned long long) request->gateway->settings.max_body;
	unsigned long long announced = length != NULL ? strtoull(length, NULL, 10) : 0;

	request->has_body = request_header(request, "transfer-encoding") != NULL || announced > 0;
	if (announced <= max)
		return true;
	/* A client that is still sending when its connection is closed sees no answer: a moderate excess is read to its end. */
	request->body_too_large = true;
	if (announced <= BODY_EXCESS * max)
		return true;
	request->reply.close = true;
	problem_reply(request, 413, "body_too_large", "the body is larger than this server takes", NULL);
	return false;
}

bool
dispatch_head(Request *request, const char *method, const char *version)
{
	Collecting	collecting = {.request = request, .good = true, .utf8 = true};

	(void) version;
	request->route_number = route_count;
	if (strcmp(method, GUARD_METHOD) == 0)
	{
		request->method = METHOD_OTHER;
		request->method_text = "";
		request->reply.close = true;
		find_peer(request);
		if (!set_ids(request))
			return false;
		stats_count(request->gateway, STAT_REFUSED);
		problem_reply(request, guard_status(request->path + 1), request->path + 1, "the request is not strict HTTP/1.1", NULL);
		return true;
	}
	request->method = method_parse(method);
	request->method_text = method_name(request->method);
	MHD_get_connection_values(request->connection, MHD_HEADER_KIND, collect, &collecting);
	find_peer(request);
	/* Where it comes from, whatever the client wrote there: backoffice.client_address() reads it. */
	if (!collecting.good || !set_ids(request) || !request_set_header(request, "x-forwarded-for", request->peer))
		return false;
	/* A client that wants to upgrade is answered once: the guard lets nothing behind it. */
	request->reply.close = request->guard->phase == GUARD_UPGRADE;
	if (!check_body(request))
		return true;
	if (!collecting.utf8)
		problem_reply(request, 400, "bad_header", "a header is not UTF-8", NULL);
	else if (find_route(request) && read_identity(request) && forget_token(request) && limits_pass(request) && request->route->auth == AUTH_TOKEN &&
			 request->token == NULL)
		problem_reply(request, 401, "no_token", "this needs a token", "Send Authorization: Bearer with the token that POST /auth/login gives.");
	return true;
}

/* ---- the rest ---- */

void
dispatch_handle(Request *request)
{
	if (request->reply.ready)
		return;
	if (request->body_too_large)
	{
		problem_reply(request, 413, "body_too_large", "the body is larger than this server takes", NULL);
		return;
	}
	if (request->body == NULL)
		request->body = calloc(1, 1);
	if (request->body == NULL)
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
	else
		request->route->handler(request);
}

void
dispatch_check_client(Request *request)
{
	char		byte;

	if (!request->suspended || request->gone || request->gateway->now_us - request->started_us < CHECK_CLIENT_AFTER_US)
		return;
	/* recvfrom, not recv: the guard has nothing to do with it. A half-closed connection counts as left. */
	if (recvfrom(request->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) > 0 || errno == EAGAIN)
		return;
	request->gone = true;
	stats_count(request->gateway, STAT_CLIENT_GONE);
	if (request->call.pool != NULL)
	{
		pool_abandon(&request->call);
		request->reply.close = true;
		reply_text(request, 499, NULL, NULL, 0);
	}
}

void
dispatch_over(Request *request, bool sent)
{
	int64_t		us = gateway_monotonic_us() - request->started_us;
	int			status = request->reply.status;

	if (status == 0 && !request->taken)
		status = 499;
	stats_request(request->gateway, request->route_number, status, us);
	if (!request->gateway->settings.access_log)
		return;
	log_info("request", F_STR("request_id", request->id), F_TEXT("trace_id", request->traceparent + 3, request->traceparent[0] ? 32 : 0),
			 F_STR("method", request->method_text), F_STR("route", request->route != NULL ? request->route->pattern : ""),
			 F_INT("status", status), F_STR("code", request->reply.code), F_INT("us", us),
			 F_INT("bytes", request->reply.body_len), F_STR("peer", request->peer), F_STR("principal", request->principal),
			 F_INT("sent", sent));
}
