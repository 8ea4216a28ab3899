/* GET /events and GET /ws: checks, the head of the answer, a listener. POST /events/tickets. Start and end of it all. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "gateway/cors.h"
#include "gateway/events_internal.h"
#include "gateway/guard.h"
#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/routes.h"
#include "gateway/server.h"
#include "gateway/shared.h"
#include "lib/log.h"

#define HEAD_MAX 2048
#define RETRY_AFTER_S "5"
#define PROTOCOL "backoffice.events.v1"

typedef struct Opening
{
	Feed	   *feed;			/* told that somebody joins */
	Identity   *identity;		/* with a reference */
	Form		form;
	Filter	   *filter;
	const char *after;			/* position to go on behind, as the client has it; NULL: none */
	bool		resumes;
	Position	from;
	Position	latest;
	Rights		rights;
	Statement	statement;
	char		accept[32];		/* Sec-WebSocket-Accept */
	bool		protocol;		/* the client offers ours */
} Opening;

static void
free_opening(void *state)
{
	Opening    *opening = state;

	if (opening->identity != NULL)
		identity_unref(opening->identity);
	if (opening->feed != NULL)
		feed_joining(opening->feed, -1);
	filter_free(opening->filter);
	free(opening->rights.topics);
	free(opening);
}

/* ---- the query ---- */

static bool
refuse(Request *request, const char *code, const char *detail)
{
	problem_reply(request, 400, code, detail, NULL);
	return false;
}

static bool
take_ticket(Request *request, const char *text)
{
	char	   *token = request_alloc(request, TICKET_MAX_TOKEN);
	char	   *organization = request_alloc(request, 37);

	if (request->token != NULL)
		return refuse(request, "two_credentials", "a ticket stands in for the Authorization header");
	if (token == NULL || organization == NULL ||
		!ticket_take(request->gateway->shared->tickets, request->gateway->process, text, gateway_monotonic_us(), token, organization))
	{
		problem_reply(request, 401, "ticket_unknown", "the ticket was used, has expired, or never was one", "POST /events/tickets gives another.");
		return false;
	}
	request->token = token;
	if (*organization != '\0')
		request->organization = organization;
	return true;
}

static bool
take_list(Request *request, char **list, int *count, const char *text, size_t max, const char *code)
{
	*list = filter_list(text, max, count);
	return *list != NULL || refuse(request, code, "a list has 1 to 32 items, separated by commas, none of them empty or too long");
}

static bool
take_item(Request *request, Opening *opening, const char *name, const char *value)
{
	Filter	   *filter = opening->filter;

	if (strcmp(name, "topics") == 0)
		return take_list(request, &filter->topics, &filter->topic_count, value, FILTER_MAX_TOPIC, "bad_topics");
	if (strcmp(name, "types") == 0)
		return take_list(request, &filter->types, &filter->type_count, value, FILTER_MAX_TYPE, "bad_types");
	if (strcmp(name, "key") == 0)
	{
		if (*value == '\0' || strlen(value) > FILTER_MAX_KEY)
			return refuse(request, "bad_key", "a key has 1 to 1024 bytes");
		filter->key = strdup(value);
		return filter->key != NULL || refuse(request, "out_of_memory", "the server is out of memory");
	}
	if (strcmp(name, "last_event_id") == 0)
	{
		/* A browser whose position was forgotten sends an empty one. */
		opening->after = *value != '\0' ? value : NULL;
		return true;
	}
	return strcmp(name, "ticket") == 0 ? take_ticket(request, value) : refuse(request, "unknown_parameter", "this route has no such parameter");
}

static const char *const parameters[] = {"topics", "types", "key", "last_event_id", "ticket"};

static bool
read_query(Request *request, Opening *opening)
{
	const char *at = request->query;
	unsigned int seen = 0;
	QueryItem	item;

	while (request_query_next(&at, &item))
	{
		const char *name = request_decode(request, item.name, item.name_len, true);
		const char *value = request_decode(request, item.value, item.value_len, true);

		if (name == NULL || value == NULL)
			return refuse(request, "bad_encoding", "the query is not well-formed percent-encoded UTF-8");
		for (unsigned int i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++)
			if (strcmp(name, parameters[i]) == 0)
			{
				if (seen & 1u << i)
					return refuse(request, "duplicate_parameter", "a parameter stands twice in the query");
				seen |= 1u << i;
			}
		if (!take_item(request, opening, name, value))
			return false;
	}
	return true;
}

/* ---- WebSocket ---- */

static bool
has_token(const char *list, const char *token)
{
	while (list != NULL && *list != '\0')
	{
		size_t		len = strcspn(list, ", \t");

		if (len == strlen(token) && strncasecmp(list, token, len) == 0)
			return true;
		list += len;
		list += strspn(list, ", \t");
	}
	return false;
}

/* Pages of other origins are let in as CORS lets them, though a browser does not ask for that here. */
static bool
origin_allowed(const Request *request)
{
	const char *origin = request_header(request, "origin");
	const char *host = request_header(request, "host");
	const char *authority = origin != NULL ? strstr(origin, "://") : NULL;

	return origin == NULL || (host != NULL && authority != NULL && strcasecmp(authority + 3, host) == 0) ||
		(*request->gateway->settings.allow_origins != '\0' && cors_allows(request->gateway->settings.allow_origins, origin));
}

static bool
check_handshake(Request *request, Opening *opening)
{
	const char *key = request_header(request, "sec-websocket-key");
	const char *version = request_header(request, "sec-websocket-version");

	if (request->method != METHOD_GET || !has_token(request_header(request, "connection"), "upgrade") ||
		!has_token(request_header(request, "upgrade"), "websocket"))
	{
		reply_header(request, "Upgrade", "websocket");
		problem_reply(request, 426, "upgrade_required", "this route speaks WebSocket only", "GET /events is the same as Server-Sent Events.");
		return false;
	}
	if (version == NULL || strcmp(version, "13") != 0)
	{
		reply_header(request, "Sec-WebSocket-Version", "13");
		problem_reply(request, 426, "bad_websocket_version", "only version 13 of the WebSocket protocol is spoken", NULL);
		return false;
	}
	if (key == NULL || !frame_accept(key, opening->accept))
		return refuse(request, "bad_websocket_key", "Sec-WebSocket-Key is not 16 bytes in base64");
	if (!origin_allowed(request))
	{
		problem_reply(request, 403, "origin_not_allowed", "pages of this origin may not listen", NULL);
		return false;
	}
	opening->protocol = has_token(request_header(request, "sec-websocket-protocol"), PROTOCOL);
	return true;
}

/* ---- the answer ---- */

static void
put(char *head, size_t *len, const char *name, const char *value)
{
	if (value != NULL && *len + strlen(name) + strlen(value) + 8 < HEAD_MAX)
		*len += (size_t) snprintf(head + *len, HEAD_MAX - *len, "%s: %s\r\n", name, value);
}

static size_t
write_head(const Request *request, const Opening *opening, char *head)
{
	bool		websocket = opening->form == FORM_WEBSOCKET;
	const char *origin = websocket ? NULL : cors_allowed_origin(request);
	time_t		now = time(NULL);
	char		date[64];
	struct tm	tm;
	size_t		len = (size_t) snprintf(head, HEAD_MAX, "HTTP/1.1 %s\r\n", websocket ? "101 Switching Protocols" : "200 OK");

	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
	put(head, &len, "Date", date);
	put(head, &len, "Connection", websocket ? "Upgrade" : "close");
	put(head, &len, "Upgrade", websocket ? "websocket" : NULL);
	put(head, &len, "Sec-WebSocket-Accept", websocket ? opening->accept : NULL);
	put(head, &len, "Sec-WebSocket-Protocol", websocket && opening->protocol ? PROTOCOL : NULL);
	put(head, &len, "Content-Type", websocket ? NULL : "text/event-stream");
	put(head, &len, "Cache-Control", websocket ? NULL : "no-store");
	put(head, &len, "X-Accel-Buffering", websocket ? NULL : "no");
	put(head, &len, "X-Content-Type-Options", websocket ? NULL : "nosniff");
	put(head, &len, "Vary", websocket || *request->gateway->settings.allow_origins == '\0' ? NULL : "Origin");
	put(head, &len, "Access-Control-Allow-Origin", origin);
	put(head, &len, "Access-Control-Expose-Headers", origin != NULL ? "X-Request-Id, traceparent" : NULL);
	put(head, &len, "X-Request-Id", request->id);
	put(head, &len, "traceparent", request->traceparent);
	return len + (size_t) snprintf(head + len, HEAD_MAX - len, "\r\n");
}

static bool
send_head(Wire *wire, const Request *request, const Opening *opening)
{
	char		head[HEAD_MAX];
	size_t		len = write_head(request, opening, head);

	/* The socket's buffer is empty: it has room for a head. */
	return wire_send(wire, &(struct iovec) {head, len}, 1) == (ssize_t) len;
}

/* The listener of a request that was let in; sent its first bytes by listeners_flush. False: out of memory. */
static bool
start_listener(Request *request, Opening *opening, const Wire *wire)
{
	Listener   *listener = listener_open(request->gateway->events, opening->feed, opening->identity, opening->filter, opening->form, wire);
	char		position[SEAL_TEXT];
	Chunk	   *start;

	if (listener == NULL)
		return false;
	opening->filter = NULL;
	listener->cursor = listener->sent_to = opening->from;
	if (request->gateway->settings.access_log)
		log_info("listener opened", F_INT("listener", listener->number), F_STR("request_id", request->id),
				 F_STR("principal", request->principal), F_INT("resumes", opening->resumes));
	seal_position(opening->feed->seal, opening->identity->organization, &listener->cursor, position);
	start = format_start(position, request->gateway->settings.events_retry_ms, opening->form);
	listener_queue(listener, start);
	chunk_free(start);
	if (catch_up_start(listener))
		catch_up_join(listener, !opening->resumes);
	else
		listener->overflowed = true;
	listener_mark(listener);
	return true;
}

static void
listen_to(Request *request, Opening *opening)
{
	Wire		wire;

	if (!server_take(request, &wire))
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	request->reply.status = opening->form == FORM_WEBSOCKET ? 101 : 200;
	if (!send_head(&wire, request, opening) || !start_listener(request, opening, &wire))
		wire_close(&wire);
	listeners_flush(request->gateway->events);
	/* libmicrohttpd lets go of the connection, without an answer of its own. */
	server_wake(request->gateway->server, request);
}

/* ---- who may ---- */

static bool
too_many(Request *request, const Identity *identity)
{
	Events	   *events = request->gateway->events;
	const Settings *settings = &request->gateway->settings;

	if (identity != NULL && identity->person->listeners < settings->listeners_per_principal)
		return false;
	if (identity == NULL && events->listeners < settings->listeners && !request->gateway->draining)
		return false;
	reply_header(request, "Retry-After", RETRY_AFTER_S);
	if (identity != NULL)
		problem_reply(request, 429, "too_many_listeners", "this principal has too many streams open", "Close one, or use one for several topics.");
	else
		problem_reply(request, 503, "no_listener_free", "this server has no room for another stream", NULL);
	return true;
}

/* False: the request was answered. */
static bool
find_place(Request *request, Opening *opening)
{
	SealVerdict verdict = opening->after == NULL ? SEAL_GOOD :
		seal_open(opening->feed->seal, opening->rights.organization, opening->after, &opening->from);

	if (verdict == SEAL_BAD)
		return refuse(request, "bad_position", "this is no position of this organization's events");
	opening->resumes = opening->after != NULL;
	if (!opening->resumes)
		opening->from = opening->latest;
	/* What it says nobody can tell any more: one of a history that is none, and so position_unknown. */
	else if (verdict == SEAL_KEY_GONE)
		opening->from = (Position) {~opening->latest.epoch, 1, 1};
	return true;
}

static void
may_listen(Request *request, Opening *opening)
{
	Identity   *identity;

	if (!find_place(request, opening))
		return;
	identity = opening->identity = identity_of(opening->feed, request, &opening->rights);
	opening->rights.topics = NULL;
	if (identity == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	if (!identity_allows(identity, opening->filter))
		problem_reply(request, 403, "topic_forbidden", "a topic of the list does not exist, or may not be listened to",
					  "GET /events/topics lists those that may.");
	else if (!too_many(request, identity))
		listen_to(request, opening);
}

static void
seal_came(Request *request, CallOutcome outcome, PGresult *result)
{
	Opening    *opening = request->state;

	if (outcome != CALL_DONE)
	{
		problem_outcome(request, outcome, result);
		return;
	}
	if (feed_take_seal(opening->feed, result))
		may_listen(request, opening);
	else
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
	PQclear(result);
}

static void
opened(Request *request, CallOutcome outcome, PGresult *result)
{
	Opening    *opening = request->state;
	const Feed *feed = opening->feed;

	if (outcome != CALL_DONE)
	{
		problem_outcome(request, outcome, result);
		return;
	}
	if (!rights_read(result, &opening->rights))
	{
		PQclear(result);
		problem_reply(request, 403, "no_organization", "the token acts for no organization", "Send X-Organization-Id.");
		return;
	}
	(void) position_parse(PQgetvalue(result, 0, 3), &opening->latest);
	PQclear(result);
	if (request->method == METHOD_HEAD)
		reply_static(request, 200, "text/event-stream", "", 0);
	else if (opening->rights.topic_count == 0)
		problem_reply(request, 403, "no_topics", "there is no topic that may be listened to", "GET /events/topics lists them.");
	else if (feed_seal_fresh(feed) && (opening->after == NULL || seal_has_key(feed->seal, opening->after)))
		may_listen(request, opening);
	else
	{
		opening->statement = (Statement) {.sql = seal_sql};
		request_call_internal(request, request_pool(request), &opening->statement, seal_came);
	}
}

/* Nothing was asked for: no filter is kept. */
static void
drop_empty_filter(Opening *opening)
{
	Filter	   *filter = opening->filter;

	if (filter->topics != NULL || filter->types != NULL || filter->key != NULL)
		return;
	filter_free(filter);
	opening->filter = NULL;
}

void
events_open(Request *request)
{
	Opening    *opening = calloc(1, sizeof(*opening));
	const char *last = request_header(request, "last-event-id");

	request->state = opening;
	request->free_state = free_opening;
	if (opening != NULL)
		opening->filter = calloc(1, sizeof(Filter));
	if (opening == NULL || opening->filter == NULL)
	{
		request->free_state = opening != NULL ? free_opening : NULL;
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	opening->form = strcmp(request->route->pattern, "/ws") == 0 ? FORM_WEBSOCKET : FORM_SSE;
	if (opening->form == FORM_WEBSOCKET && !check_handshake(request, opening))
		return;
	if (last != NULL && *last != '\0')
		opening->after = last;
	if (too_many(request, NULL) || !read_query(request, opening))
		return;
	drop_empty_filter(opening);
	if (request->token == NULL)
	{
		reply_header(request, "WWW-Authenticate", "Bearer");
		problem_reply(request, 401, "no_token", "this needs a token", "Send Authorization: Bearer, or a ticket of POST /events/tickets.");
		return;
	}
	opening->feed = feed_of(request->gateway->events, request_pool(request));
	if (opening->feed == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	feed_joining(opening->feed, 1);
	opening->statement = (Statement) {.sql = events_check_sql};
	request_call(request, NULL, &opening->statement, true, false, opened);
}

/* ---- tickets ---- */

static void
ticket_allowed(Request *request, CallOutcome outcome, PGresult *result)
{
	char		ticket[TICKET_TEXT];
	TicketVerdict verdict;
	char	   *body;

	if (outcome != CALL_DONE)
	{
		problem_outcome(request, outcome, result);
		return;
	}
	PQclear(result);
	verdict = ticket_issue(request->gateway->shared->tickets, request->gateway->process, request->token, request->organization != NULL ? request->organization : "",
						   gateway_monotonic_us(), ticket);
	if (verdict == TICKET_TOO_LONG)
	{
		problem_reply(request, 413, "token_too_long", "a ticket stands for tokens of less than 8 KiB", NULL);
		return;
	}
	body = verdict == TICKET_GOOD ? request_printf(request, "{\"ticket\": \"%s\", \"expires_in\": %d}", ticket, TICKET_LIFETIME_S) : NULL;
	if (body == NULL)
	{
		reply_header(request, "Retry-After", RETRY_AFTER_S);
		problem_reply(request, 503, "no_ticket_free", "too many tickets are waiting to be used", NULL);
		return;
	}
	reply_header(request, "Cache-Control", "no-store");
	reply_text(request, 201, TYPE_JSON, body, strlen(body));
}

void
events_ticket(Request *request)
{
	Statement  *statement = request_alloc(request, sizeof(*statement));

	if (statement == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	*statement = (Statement) {.sql = events_check_sql};
	request_call(request, NULL, statement, true, false, ticket_allowed);
}

/* ---- start and end ---- */

static void
tick(void *context)
{
	Events	   *events = context;
	int64_t		now = loop_monotonic_ms();

	loop_timer_in(&events->gateway->loop, &events->tick, EVENTS_TICK_MS);
	identities_tick(events, now);
	catch_up_tick(events);
	listeners_tick(events, now);
}

Events *
events_start(Gateway *gateway)
{
	Events	   *events = calloc(1, sizeof(*events));

	if (events == NULL)
		return NULL;
	events->gateway = gateway;
	for (int i = 0; i < FORMS; i++)
		events->pings[i] = format_ping(NULL, (Form) i);
	loop_timer_init(&gateway->loop, &events->tick, tick, events);
	loop_timer_in(&gateway->loop, &events->tick, EVENTS_TICK_MS);
	return events;
}

void
events_drain(Events *events)
{
	while (events->open.first != NULL)
		listener_close(events->open.first, "shutting_down", "the server is being stopped; come again", CLOSE_GOING_AWAY);
	listeners_flush(events);
}

int
events_listeners(const Events *events)
{
	return events->listeners;
}

void
events_hang_up(Events *events)
{
	while (events->open.first != NULL)
		listener_end(events->open.first, "stopped");
	while (events->closing.first != NULL)
		listener_end(events->closing.first, "stopped");
}

void
events_stop(Events *events)
{
	identities_abandon(events);
	loop_timer_off(&events->tick);
	while (events->feeds != NULL)
	{
		Feed	   *feed = events->feeds;

		events->feeds = feed->next;
		feed_close(feed);
	}
	for (int i = 0; i < FORMS; i++)
		chunk_free(events->pings[i]);
	free(events);
}
