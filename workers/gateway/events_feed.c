/*
 * The log of one database, read once for all of its listeners, and only while there are any.
 *
 * Whoever joins comes with a position. While somebody is about to, what was dispatched is
 * held for a while: a newcomer whose position lies in it gets the rest of it, and is live.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/events_internal.h"
#include "gateway/pool_parts.h"
#include "lib/log.h"
#include "lib/packed.h"

#define LOOK_MS 1000
#define LINGER_MS 10000
#define CONNECT_S 5
#define SEAL_MS 60000			/* between two looks at the key file */
#define BATCH_EVENTS 500
#define BATCH_BYTES (256 * 1024)
#define HELD_BYTES (8 * 1024 * 1024)

static const char prepare_sql[] =
"PREPARE listener_events (events.position, int, int) AS SELECT f.next, f.events, f.batch FROM access.listener_events($1, $2, $3) AS f";

static void look(Feed *feed);

/* ---- what is held ---- */

static void
drop_held(Feed *feed, int n)
{
	for (int i = 0; i < n; i++)
	{
		feed->held_from = feed->held[i].until;
		feed->held_bytes -= feed->held[i].len;
		PQclear(feed->held[i].result);
	}
	feed->held_count -= n;
	memmove(feed->held, feed->held + n, (size_t) feed->held_count * sizeof(Held));
}

static void
hold(Feed *feed, PGresult *result)
{
	size_t		len = (size_t) PQgetlength(result, 0, 2);

	if (feed->joining == 0)
	{
		PQclear(result);
		feed->held_from = feed->position;
		return;
	}
	while (feed->held_count == EVENTS_HELD || (feed->held_count > 0 && feed->held_bytes + len > HELD_BYTES))
		drop_held(feed, 1);
	feed->held[feed->held_count++] = (Held) {.result = result, .bytes = PQgetvalue(result, 0, 2), .len = len, .until = feed->position};
	feed->held_bytes += len;
}

/* ---- reading ---- */

static void
lost_position(Feed *feed, const char *code, const char *message)
{
	Listener   *next;

	for (Listener *listener = feed->events->open.first; listener != NULL; listener = next)
	{
		next = listener->next;
		if (listener->feed == feed && listener->audience != NULL)
			listener_close(listener, code, message, CLOSE_POSITION);
	}
}

static void
fetch_failed(Feed *feed, const PGresult *result)
{
	const char *code = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	log_error("the log cannot be read", F_STR("error", message), F_STR("code", code));
	if (code != NULL && strncmp(code, "position_", 9) == 0)
		lost_position(feed, code, message != NULL ? message : "");
	loop_timer_in(&feed->events->gateway->loop, &feed->timer, LOOK_MS);
}

static bool
take_batch(Feed *feed, PGresult *result)
{
	uint32_t	events;
	Position	until;

	if (PQntuples(result) != 1 || PQnfields(result) != 3 || PQgetlength(result, 0, 1) != 4 ||
		!position_unpack(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0), &until))
		return false;
	memcpy(&events, PQgetvalue(result, 0, 1), sizeof(events));
	feed->more = ntohl(events) >= BATCH_EVENTS || PQgetlength(result, 0, 2) > BATCH_BYTES / 2;
	feed->position = until;
	dispatch_events(feed, PQgetvalue(result, 0, 2), (size_t) PQgetlength(result, 0, 2));
	return true;
}

static void
fetch_done(void *context, PGresult *result)
{
	Feed	   *feed = context;

	feed->fetching = false;
	if (result == NULL)
		return;
	if (!feed->running || feed->fetch_run != feed->run)
		PQclear(result);
	else if (!pg_good(&feed->pg, result, NULL))
	{
		fetch_failed(feed, result);
		PQclear(result);
		return;
	}
	else if (take_batch(feed, result))
		hold(feed, result);
	else
	{
		log_error("a batch of the log cannot be read");
		PQclear(result);
	}
	/* What is told last may end listeners, and with the last one the run. */
	listeners_flush(feed->events);
	look(feed);
}

static void
look(Feed *feed)
{
	char		position[POSITION_TEXT];
	PgParams	params = {.n = 0};

	if (!feed->connected || !feed->running || feed->fetching || !feed->more || !pg_idle(&feed->pg))
		return;
	position_text(&feed->position, position);
	pg_text(&params, position);
	pg_int(&params, BATCH_EVENTS);
	pg_int(&params, BATCH_BYTES);
	feed->fetching = true;
	feed->more = false;
	feed->fetch_run = feed->run;
	pg_send_prepared(&feed->pg, "listener_events", &params, 1, fetch_done, feed);
}

static void
notified(void *context)
{
	Feed	   *feed = context;

	feed->more = true;
	look(feed);
}

/* ---- what positions are sealed with ---- */

bool
feed_take_seal(Feed *feed, const PGresult *result)
{
	Seal	   *seal = seal_read(result);

	if (seal == NULL)
		return feed->seal != NULL;
	seal_free(feed->seal);
	feed->seal = seal;
	feed->sealed_ms = loop_monotonic_ms();
	return true;
}

bool
feed_seal_fresh(const Feed *feed)
{
	return feed->seal != NULL && loop_monotonic_ms() - feed->sealed_ms < SEAL_MS;
}

static void
seal_came(void *context, PGresult *result)
{
	Feed	   *feed = context;

	if (result == NULL)
		return;
	/* With the keys there are, if these cannot be had now. */
	if (!pg_good(&feed->pg, result, NULL) || !feed_take_seal(feed, result))
		log_error("the keys for positions cannot be read", F_STR("error", feed->pg.error));
	feed->sealed_ms = loop_monotonic_ms();
	PQclear(result);
	look(feed);
}

/* ---- the connection ---- */

static bool
wanted(const Feed *feed)
{
	return feed->live + feed->joining > 0;
}

static void
connect_again(Feed *feed)
{
	feed->connected = false;
	feed->fetching = false;
	loop_timer_in(&feed->events->gateway->loop, &feed->timer, backoff_next_ms(&feed->backoff));
}

static void
lost(void *context)
{
	connect_again(context);
}

static void
prepared(void *context, PGresult *result)
{
	Feed	   *feed = context;

	/* NULL: lost() is told. */
	if (result == NULL)
		return;
	if (!pg_good(&feed->pg, result, NULL))
	{
		log_error("the log cannot be listened to", F_STR("error", feed->pg.error));
		PQclear(result);
		pg_close(&feed->pg);
		connect_again(feed);
		return;
	}
	PQclear(result);
	if (!feed->listening)
	{
		feed->listening = true;
		pg_send(&feed->pg, prepare_sql, &(PgParams) {.n = 0}, 0, prepared, feed);
		return;
	}
	feed->connected = true;
	feed->more = true;
	backoff_reset(&feed->backoff);
	log_info("listening to the log", F_INT("listeners", feed->live + feed->joining));
	loop_timer_in(&feed->events->gateway->loop, &feed->timer, LOOK_MS);
	look(feed);
}

static void
connected(void *context, bool good)
{
	Feed	   *feed = context;

	if (!good)
	{
		log_warn("database not reachable", F_STR("connection", "events"), F_STR("error", feed->pg.error));
		connect_again(feed);
		return;
	}
	feed->listening = false;
	pg_send(&feed->pg, "LISTEN backoffice_events", &(PgParams) {.n = 0}, 0, prepared, feed);
}

static void
timer_came(void *context)
{
	Feed	   *feed = context;

	if (!wanted(feed))
	{
		pg_close(&feed->pg);
		feed->connected = false;
		feed->fetching = false;
		return;
	}
	if (feed->pg.conn == NULL)
	{
		pg_start(&feed->pg, CONNECT_S, connected);
		return;
	}
	/* A notification can get lost only with its connection; this is for what nobody thought of. */
	loop_timer_in(&feed->events->gateway->loop, &feed->timer, LOOK_MS);
	if (feed->connected && pg_idle(&feed->pg) && !feed_seal_fresh(feed))
		pg_send(&feed->pg, seal_sql, &(PgParams) {.n = 0}, 0, seal_came, feed);
	notified(feed);
}

Feed *
feed_of(Events *events, Pool *pool)
{
	Feed	   *feed = events->feeds;

	while (feed != NULL && feed->pool != pool)
		feed = feed->next;
	if (feed != NULL)
		return feed;
	feed = calloc(1, sizeof(*feed));
	if (feed == NULL)
		return NULL;
	feed->events = events;
	feed->pool = pool;
	pg_init(&feed->pg, &events->gateway->loop, pool->dsn, "backoffice-gateway events", events->gateway->settings.request_ms);
	feed->pg.notified = notified;
	feed->pg.lost = lost;
	feed->pg.context = feed;
	backoff_init(&feed->backoff, 50, 2000, (uint64_t) gateway_monotonic_us() * 7);
	loop_timer_init(&events->gateway->loop, &feed->timer, timer_came, feed);
	feed->next = events->feeds;
	events->feeds = feed;
	return feed;
}

void
feed_close(Feed *feed)
{
	loop_timer_off(&feed->timer);
	pg_close(&feed->pg);
	drop_held(feed, feed->held_count);
	seal_free(feed->seal);
	audiences_free(feed);
	free(feed);
}

/* ---- who listens ---- */

/* Somebody came or went. */
static void
changed(Feed *feed)
{
	if (feed->joining == 0)
		drop_held(feed, feed->held_count);
	if (!wanted(feed))
	{
		feed->running = false;
		loop_timer_in(&feed->events->gateway->loop, &feed->timer, LINGER_MS);
	}
	else if (feed->pg.conn == NULL && feed->timer.at_ms == LOOP_NEVER)
		loop_timer_in(&feed->events->gateway->loop, &feed->timer, 0);
}

void
feed_joining(Feed *feed, int change)
{
	feed->joining += change;
	changed(feed);
}

bool
feed_join(Listener *listener, bool at_end)
{
	Feed	   *feed = listener->feed;
	Audience   *audience;

	if (feed->running ? position_compare(&listener->cursor, &feed->held_from) < 0 : !at_end)
		return false;
	audience = audience_of(feed, listener->identity->organization, true);
	if (audience == NULL)
		return false;
	if (!feed->running)
	{
		feed->running = true;
		feed->run++;
		feed->position = feed->held_from = listener->cursor;
		feed->more = true;
	}
	dispatch_held(feed, listener);
	audience_add(audience, listener);
	feed->live++;
	changed(feed);
	look(feed);
	return true;
}

void
feed_leave(Listener *listener)
{
	audience_remove(listener);
	listener->feed->live--;
	changed(listener->feed);
}

/* Sealed anew for each: whether others' events moved it on is nobody's business. */
Chunk *
feed_ping(const Listener *listener)
{
	const Feed *feed = listener->feed;
	char		position[SEAL_TEXT];
	Chunk	   *chunk;

	if (!feed->running)
		return NULL;
	seal_position(feed->seal, listener->identity->organization, &feed->position, position);
	chunk = format_ping(position, listener_form(listener));
	if (chunk != NULL)
		chunk->position = feed->position;
	return chunk;
}
