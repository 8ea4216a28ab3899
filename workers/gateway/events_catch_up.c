/*
 * What a listener missed: pages of the log, read by the pool's connections as its
 * principal, a few at a time for all; the next one when it has taken the one before. At the
 * end of the log it joins those who are live.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/events_internal.h"
#include "gateway/problem.h"
#include "gateway/text.h"
#include "lib/log.h"

#define PAGE_EVENTS 500
#define PAGE_BYTES (256 * 1024)
#define PAGES_AT_ONCE 4
#define RETRY_MS 1000

/* Topics are those of the identity; events.fetch() knows the organization. */
static const char page_sql[] =
"SELECT f.next::pg_catalog.text, f.events, f.batch FROM events.fetch($1::pg_catalog.text::events.position, $2, $3,"
" pg_catalog.string_to_array($4, ',')) AS f";

struct CatchUp
{
	Listener   *listener;
	Call		call;
	Statement	statement;
	char		position[POSITION_TEXT];
	char		events[16];
	char		bytes[16];
	char	   *topics;
	int64_t		again_ms;		/* 0: not waiting for another attempt */
	bool		queued;			/* for its turn */
	CatchUp    *next;
	CatchUp    *previous;
};

static void next_pages(Events *events);

/* ---- turns ---- */

static void
push(CatchUp *catch_up)
{
	Events	   *events = catch_up->listener->events;

	if (catch_up->queued || catch_up->call.pool != NULL)
		return;
	catch_up->queued = true;
	catch_up->next = NULL;
	catch_up->previous = events->waiting_last;
	if (events->waiting_last != NULL)
		events->waiting_last->next = catch_up;
	else
		events->waiting_first = catch_up;
	events->waiting_last = catch_up;
}

static void
unlink_waiting(CatchUp *catch_up)
{
	Events	   *events = catch_up->listener->events;

	if (!catch_up->queued)
		return;
	catch_up->queued = false;
	if (catch_up->previous != NULL)
		catch_up->previous->next = catch_up->next;
	else
		events->waiting_first = catch_up->next;
	if (catch_up->next != NULL)
		catch_up->next->previous = catch_up->previous;
	else
		events->waiting_last = catch_up->previous;
}

/* ---- pages ---- */

static void
try_again(CatchUp *catch_up)
{
	catch_up->again_ms = loop_monotonic_ms() + RETRY_MS;
	push(catch_up);
}

/* Live from now on. */
static void
joined(Listener *listener)
{
	CatchUp    *catch_up = listener->catch_up;

	listener->catch_up = NULL;
	listener->allowance = listener->queued;
	free(catch_up->topics);
	free(catch_up);
	feed_joining(listener->feed, -1);
}

static bool
send_page(CatchUp *catch_up, const char *hex)
{
	size_t		len;
	unsigned char *bytes = PQunescapeBytea((const unsigned char *) hex, &len);

	if (bytes == NULL)
		return false;
	dispatch_page(catch_up->listener, (const char *) bytes, len);
	PQfreemem(bytes);
	return true;
}

static void
page_failed(CatchUp *catch_up, CallOutcome outcome, const PGresult *result)
{
	Listener   *listener = catch_up->listener;
	ErrorParts	parts = {.status = 503};

	if (outcome == CALL_FAILED)
		problem_parts(result, true, &parts);
	if (parts.code != NULL && strncmp(parts.code, "position_", 9) == 0)
		listener_close(listener, parts.code, parts.message, CLOSE_POSITION);
	else if (parts.status == 401 || parts.status == 403)
		listener_close(listener, parts.code, parts.message, parts.status == 401 ? CLOSE_NO_TOKEN : CLOSE_FORBIDDEN);
	else if (parts.status >= 400 && parts.status < 500)
		listener_close(listener, parts.code, parts.message, CLOSE_INTERNAL);
	else
		try_again(catch_up);
}

static void
page_done(Call *call, CallOutcome outcome, PGresult *result, const char *principal)
{
	CatchUp    *catch_up = call->context;
	Listener   *listener = catch_up->listener;
	Events	   *events = listener->events;
	Position	next;
	bool		at_end;

	(void) principal;
	events->reading--;
	if (outcome != CALL_DONE || PQntuples(result) != 1 || !position_parse(PQgetvalue(result, 0, 0), &next))
		page_failed(catch_up, outcome, result);
	else if (!send_page(catch_up, PQgetvalue(result, 0, 2)))
		try_again(catch_up);
	else
	{
		at_end = atoi(PQgetvalue(result, 0, 1)) < PAGE_EVENTS && PQgetlength(result, 0, 2) < PAGE_BYTES;
		listener->cursor = next;
		if (feed_join(listener, at_end))
			joined(listener);
		listener_flush(listener);
	}
	PQclear(result);
	next_pages(events);
}

static bool
set_topics(CatchUp *catch_up)
{
	const Identity *identity = catch_up->listener->identity;
	const Filter *filter = catch_up->listener->filter;
	bool		chosen = filter != NULL && filter->topics != NULL;
	const char *topic = chosen ? filter->topics : identity->topics;
	int			count = chosen ? filter->topic_count : identity->topic_count;
	size_t		size = 1;
	char	   *at;

	for (int i = 0; i < count; i++)
		size += strlen(topic + size - 1) + 1;
	free(catch_up->topics);
	catch_up->topics = malloc(size);
	if (catch_up->topics == NULL)
		return false;
	memcpy(catch_up->topics, topic, size - 1);
	catch_up->topics[size - 1] = '\0';
	at = catch_up->topics;
	for (int i = 0; i + 1 < count; i++)
	{
		at += strlen(at);
		*at++ = ',';
	}
	return true;
}

static void
read_page(CatchUp *catch_up)
{
	Listener   *listener = catch_up->listener;
	const Identity *identity = listener->identity;

	if (!set_topics(catch_up))
	{
		try_again(catch_up);
		return;
	}
	position_text(&listener->cursor, catch_up->position);
	catch_up->statement = (Statement) {.sql = page_sql, .n = 4, .values = {catch_up->position, catch_up->events, catch_up->bytes, catch_up->topics}};
	catch_up->call = (Call) {.begin = {identity->token, identity->asked, "t", "GET", "/events", "{}", "{}"}, .main = &catch_up->statement,
		.fair_key = text_hash(identity->token, strlen(identity->token)), .done = page_done, .context = catch_up};
	listener->events->reading++;
	pool_submit(listener->feed->pool, &catch_up->call);
}

static void
next_pages(Events *events)
{
	int64_t		now = loop_monotonic_ms();
	CatchUp    *next;

	/* A call that fails at once comes back here. */
	if (events->starting_pages)
		return;
	events->starting_pages = true;
	for (CatchUp *catch_up = events->waiting_first; catch_up != NULL && events->reading < PAGES_AT_ONCE; catch_up = next)
	{
		next = catch_up->next;
		if (catch_up->again_ms > now)
			continue;
		unlink_waiting(catch_up);
		catch_up->again_ms = 0;
		read_page(catch_up);
		/* It may have changed the list, if it failed at once. */
		next = events->waiting_first;
	}
	events->starting_pages = false;
}

/* ---- from outside ---- */

bool
catch_up_start(Listener *listener)
{
	CatchUp    *catch_up = calloc(1, sizeof(*catch_up));

	if (catch_up == NULL)
		return false;
	catch_up->listener = listener;
	snprintf(catch_up->events, sizeof(catch_up->events), "%d", PAGE_EVENTS);
	snprintf(catch_up->bytes, sizeof(catch_up->bytes), "%d", PAGE_BYTES);
	listener->catch_up = catch_up;
	feed_joining(listener->feed, 1);
	return true;
}

void
catch_up_join(Listener *listener, bool at_end)
{
	if (at_end && feed_join(listener, true))
		joined(listener);
	else
		push(listener->catch_up);
}

void
catch_up_stop(Listener *listener)
{
	CatchUp    *catch_up = listener->catch_up;

	if (catch_up == NULL)
		return;
	if (catch_up->call.pool != NULL)
	{
		pool_abandon(&catch_up->call);
		listener->events->reading--;
	}
	unlink_waiting(catch_up);
	listener->catch_up = NULL;
	free(catch_up->topics);
	free(catch_up);
	feed_joining(listener->feed, -1);
}

void
catch_up_go_on(Listener *listener)
{
	push(listener->catch_up);
	next_pages(listener->events);
}

void
catch_up_tick(Events *events)
{
	next_pages(events);
}
