/*
 * The reader's side: batches of the log, one ahead of what is being produced.
 *
 * Shards that stand at the same place are fetched together.  One that lags
 * (taken over from another relay) is fetched alone until its fetch reaches past
 * the others; then all are fetched together from the earlier place, and what was
 * read before is skipped (step_event).
 */
#include "kafka-relay/relay.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

#define LOOK_MS 1000
#define CONNECT_TIMEOUT_S 3

/*
 * Topics are named by the same statement, so under the same snapshot: an event
 * of a topic that was defined a moment ago can't be read past.
 */
static const char fetch_sql[] =
"PREPARE relay_fetch (events.position, int, int, text, int, int[]) AS SELECT f.next, f.events, f.batch FROM events.fetch($1, $2, $3,"
" (SELECT coalesce(pg_catalog.array_agg(t.name), '{}') FROM events.topics t WHERE t.direction = 'out'"
"  AND ($4 = '' OR t.name = ANY (pg_catalog.string_to_array($4, ',')))),"
" $5, $6) AS f";

static void fetch_done(void *context, PGresult *result);

static void
release_batch(Batch *batch)
{
	FetchedBatch *fetched = (FetchedBatch *) batch;

	PQclear(fetched->result);
	free(fetched);
}

/*
 * What was read of the shard before does not count for it any more: it may begin
 * behind the place where the shard begins now, and end beyond events that were
 * passed over meanwhile.
 */
void
source_restart(Relay *relay, int shard)
{
	relay->fetch_has[shard] = false;
	for (int i = 0; i < relay->queued_count; i++)
		relay->queued[i]->shards[shard] = false;
	relay->fetched[shard] = relay->window.shards[shard].read;
	relay->more = true;
}

void
source_restart_all(Relay *relay)
{
	relay_drop_batches(relay);
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (relay->window.shards[i].owned)
			source_restart(relay, i);
}

/* Chooses the shards of the next fetch; false: there are none. */
static bool
choose_shards(Relay *relay, Position *after, char *list, size_t size)
{
	bool		any = false;
	size_t		used = 0;

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (relay->window.shards[i].owned && (!any || position_compare(&relay->fetched[i], after) < 0))
		{
			*after = relay->fetched[i];
			any = true;
		}
	if (!any)
		return false;
	used = (size_t) snprintf(list, size, "{");
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
	{
		relay->fetch_has[i] = relay->window.shards[i].owned &&
			(position_compare(&relay->fetched[i], after) == 0 || position_compare(&relay->fetched[i], &relay->merge_to) <= 0);
		if (relay->fetch_has[i] && used + 8 < size)
			used += (size_t) snprintf(list + used, size - used, "%s%d", used > 1 ? "," : "", i);
	}
	snprintf(list + used, size - used, "}");
	return true;
}

void
source_look(Relay *relay)
{
	char		position[64];
	char		shards[WINDOW_MAX_SHARDS * 4 + 4];
	Position	after = {0, 0, 0};
	PgParams	params = {.n = 0};

	if (relay->fetching || !relay->more || relay->draining || relay->want_rewind || relay->producer == NULL ||
		!pg_idle(&relay->reader) || relay->queued_count >= RELAY_QUEUED_BATCHES || relay->topic_count == 0 ||
		!choose_shards(relay, &after, shards, sizeof(shards)))
		return;
	snprintf(position, sizeof(position), "%08x:%" PRId64 ":%" PRId64, after.epoch, after.tick, after.seq);
	pg_text(&params, position);
	pg_int(&params, relay->settings.batch_events);
	pg_int(&params, relay->settings.batch_bytes);
	pg_text(&params, relay->settings.topics);
	pg_int(&params, relay->settings.shards);
	pg_text(&params, shards);
	relay->fetching = true;
	relay->more = false;
	relay->fetch_generation = relay->generation;
	metric_add(&metric_fetches, 1);
	pg_send_prepared(&relay->reader, "relay_fetch", &params, 1, fetch_done, relay);
}

/* Every shard of the fetch was read up to its end. */
static void
move_fetched(Relay *relay, const FetchedBatch *batch)
{
	bool		overlap = false;

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (batch->shards[i] && position_compare(&batch->until, &relay->fetched[i]) > 0)
			relay->fetched[i] = batch->until;
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (relay->window.shards[i].owned && position_compare(&relay->fetched[i], &batch->until) < 0)
		{
			overlap = true;
			relay->more = true;
		}
		else if (relay->window.shards[i].owned && position_compare(&relay->fetched[i], &batch->until) > 0)
			relay->more = true;
	relay->merge_to = overlap ? batch->until : (Position) {0, 0, 0};
}

/* The log does not know our position any more: it was cut, or the database is another one. */
static void
fetch_refused(Relay *relay)
{
	relay_note_error(relay, relay->reader.error);
	log_error("the log can't be read from our position", F_STR("error", relay->reader.error));
	loop_timer_in(&relay->loop, &relay->look_timer, LOOK_MS);
}

/* The row of fetch: where it came to, how many events, the events. */
static bool
open_batch(Relay *relay, FetchedBatch *batch, const PGresult *result, const char **why)
{
	uint32_t	events;
	int64_t		len = PQntuples(result) == 1 ? PQgetlength(result, 0, 2) : 0;

	*why = "it is not a row of a position, a number and a batch";
	if (PQntuples(result) != 1 || PQnfields(result) != 3 || PQgetlength(result, 0, 1) != 4 ||
		!position_unpack(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0), &batch->until) ||
		!fetched_open(batch, PQgetvalue(result, 0, 2), (size_t) len, (int) relay->settings.shards, why))
		return false;
	memcpy(&events, PQgetvalue(result, 0, 1), sizeof(events));
	events = ntohl(events);
	metric_add(&metric_fetched_events, events);
	/* A fetch that ended for want of events is far from both limits. */
	if (events >= relay->settings.batch_events || len > relay->settings.batch_bytes / 2)
		relay->more = true;
	return true;
}

static void
queue_batch(Relay *relay, PGresult *result)
{
	FetchedBatch *batch = calloc(1, sizeof(*batch));
	const char *why = "out of memory";

	if (batch == NULL || !open_batch(relay, batch, result, &why))
	{
		free(batch);
		PQclear(result);
		relay_note_error(relay, why);
		log_error("the fetched batch can't be read", F_STR("error", why));
		loop_timer_in(&relay->loop, &relay->look_timer, LOOK_MS);
		return;
	}
	batch->result = result;
	batch->batch.references = 1;
	batch->batch.release = release_batch;
	memcpy(batch->shards, relay->fetch_has, sizeof(batch->shards));
	move_fetched(relay, batch);
	relay->queued[relay->queued_count++] = batch;
	relay_produce(relay);
}

static void
fetch_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	relay->fetching = false;
	if (result == NULL)
	{
		relay->more = true;
		return;
	}
	if (relay->fetch_generation != relay->generation || relay->draining)
	{
		PQclear(result);
		relay->more = true;
	}
	else if (!pg_good(&relay->reader, result, NULL))
	{
		PQclear(result);
		relay->more = true;
		fetch_refused(relay);
		return;
	}
	else
		queue_batch(relay, result);
	source_look(relay);
}

static void
notified(void *context)
{
	Relay	   *relay = context;

	relay->more = true;
	source_look(relay);
}

static void
reader_lost(void *context)
{
	Relay	   *relay = context;

	relay->fetching = false;
	relay_note_error(relay, relay->reader.error);
	atomic_store(&health.database, false);
	loop_timer_in(&relay->loop, &relay->reader_timer, backoff_next_ms(&relay->reader_backoff));
}

static void
not_connected(Relay *relay)
{
	log_warn("database not reachable", F_STR("connection", "reader"), F_STR("error", relay->reader.error));
	pg_close(&relay->reader);
	relay_note_error(relay, relay->reader.error);
	loop_timer_in(&relay->loop, &relay->reader_timer, backoff_next_ms(&relay->reader_backoff));
}

/* Whether a statement that makes the connection ready has succeeded. When it is lost, reader_lost() sees to it. */
static bool
went_well(Relay *relay, PGresult *result)
{
	bool		good = result != NULL && pg_good(&relay->reader, result, NULL);

	if (result != NULL && !good)
		not_connected(relay);
	PQclear(result);
	return good;
}

static void
prepared(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (!went_well(relay, result))
		return;
	metric_add(&metric_reconnects, 1);
	backoff_reset(&relay->reader_backoff);
	relay->more = true;
	source_look(relay);
}

static void
listening(void *context, PGresult *result)
{
	Relay	   *relay = context;
	PgParams	none = {.n = 0};

	if (went_well(relay, result))
		pg_send(&relay->reader, fetch_sql, &none, 0, prepared, relay);
}

static void
connected(void *context, bool good)
{
	Relay	   *relay = context;
	PgParams	none = {.n = 0};

	if (good)
		pg_send(&relay->reader, "LISTEN backoffice_events", &none, 0, listening, relay);
	else
		not_connected(relay);
}

static void
connect_reader(void *context)
{
	Relay	   *relay = context;

	if (!relay->draining)
		pg_start(&relay->reader, CONNECT_TIMEOUT_S, connected);
}

/* A notification can get lost only with its connection; this is for what nobody thought of. */
static void
look_again(void *context)
{
	Relay	   *relay = context;

	loop_timer_in(&relay->loop, &relay->look_timer, LOOK_MS);
	relay->more = true;
	relay_produce(relay);
	source_look(relay);
}

void
source_init(Relay *relay)
{
	pg_init(&relay->reader, &relay->loop, relay->settings.database, "backoffice kafka-relay reader",
			relay->settings.statement_timeout_ms);
	relay->reader.notified = notified;
	relay->reader.lost = reader_lost;
	relay->reader.context = relay;
	backoff_init(&relay->reader_backoff, 100, 5000, (uint64_t) loop_monotonic_ms() * 3);
	loop_timer_init(&relay->loop, &relay->reader_timer, connect_reader, relay);
	loop_timer_init(&relay->loop, &relay->look_timer, look_again, relay);
	loop_timer_in(&relay->loop, &relay->reader_timer, 0);
	loop_timer_in(&relay->loop, &relay->look_timer, LOOK_MS);
}
