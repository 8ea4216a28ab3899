#include "kafka-relay/parked.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka-relay/headers.h"
#include "lib/log.h"

#define DUE_MS 1000

#define PARK \
"SELECT events.park($1, $2::int, $3::uuid, $4::events.position, $5, $6, $7, $8::jsonb, $9::jsonb, $10, $11::uuid," \
" pg_catalog.to_timestamp(0) + pg_catalog.make_interval(secs => $12::bigint / 1000000) + $13::bigint * interval '1 us'," \
" $10 = $14)"

/* Again: the position is past it already. */
static const char park_again_sql[] = PARK;

/*
 * Parked and passed in one: nobody reads it again that is parked, or was
 * discarded since.  Nothing, if the shard is not ours any more.
 */
static const char park_sql[] = PARK
" FROM events.advance($1, $15, ARRAY[$2::int], ARRAY[$16::bigint], $4::events.position) AS held WHERE held = 1";

/* Every key with something parked; the kernel's own bookkeeping decides what waits behind what. */
static const char held_sql[] =
"SELECT DISTINCT t.id, p.key FROM events.parked p JOIN events.topics t ON t.name = p.topic"
" WHERE p.consumer = $1 AND p.key IS NOT NULL";

static const char due_sql[] =
"SELECT d.shard, d.\"position\"::text, d.id, d.organization_id, d.topic, d.key, d.type, d.payload, d.headers,"
" (extract(epoch FROM d.occurred_at) * 1000000)::bigint, t.id"
" FROM events.parked_due($1, $2::int[], 10000) AS d JOIN events.topics t ON t.name = d.topic AND t.direction = 'out'"
" WHERE $3 = '' OR t.name = ANY (pg_catalog.string_to_array($3, ',')) ORDER BY d.\"position\" LIMIT 100";

/* What waited behind the event that was sent goes next, one at a time, in order. */
static const char unpark_sql[] =
"SELECT events.unpark($1, ARRAY[$2::uuid]), (SELECT events.retry_parked($1, n.id) FROM (SELECT p.id, p.reason, p.state"
" FROM events.parked p WHERE p.consumer = $1 AND p.topic = $3 AND p.key = $4 AND p.id <> $2::uuid"
" ORDER BY p.\"position\" LIMIT 1) AS n WHERE n.state = 'parked' AND n.reason = $5)";

/* What waits behind nothing any more (its predecessor was discarded) goes by itself. */
static const char free_sql[] =
"SELECT events.retry_parked($1, n.id) FROM (SELECT DISTINCT ON (p.topic, p.key) p.id, p.reason, p.state"
" FROM events.parked p WHERE p.consumer = $1 AND p.key IS NOT NULL ORDER BY p.topic, p.key, p.\"position\") AS n"
" WHERE n.state = 'parked' AND n.reason = $2";

static void
failed(Relay *relay, const char *what)
{
	relay_note_error(relay, relay->control.error);
	log_warn(what, F_STR("error", relay->control.error));
}

/* -- writing down -- */

static char *
copy_bytes(const Bytes *bytes)
{
	return bytes->data == NULL ? NULL : strndup(bytes->data, bytes->len);
}

/* In front again: the order of a key is the order of its rows. */
static void
put_back(Relay *relay, Park *park)
{
	park->next = relay->parks;
	if (relay->parks == NULL)
		relay->parks_end = &park->next;
	relay->parks = park;
}

static void
parked(Relay *relay, Slot *slot, const char *reason)
{
	char		id[40];

	uuid_format(slot->id, id);
	log_at(strcmp(reason, PARK_WAITING) == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "event parked", F_STR("event_id", id), F_STR("reason", reason),
		   F_TEXT("topic", slot->event.topic.data, slot->event.topic.len));
	metric_add(&metric_parked, 1);
	if (slot == &relay->due_slot)
		relay->due_sent = false;
	else
	{
		WindowShard *shard = &relay->window.shards[slot->shard];

		shard->saved = slot->position;
		window_settle(&relay->window, slot);
	}
}

static void
park_done(void *context, PGresult *result)
{
	Relay	   *relay = context;
	Park	   *park = relay->parking;

	relay->parking = NULL;
	if (park == NULL)
	{
		PQclear(result);
		control_next(relay);
		return;
	}
	if (park->slot == NULL)
		free(park);				/* forgotten meanwhile */
	else if (result != NULL && pg_good(&relay->control, result, NULL) && PQntuples(result) == 1)
	{
		parked(relay, park->slot, park->reason);
		free(park);
	}
	else if (result != NULL && pg_good(&relay->control, result, NULL))
	{
		log_info("an event was not parked: the lease is gone or the consumer was moved");
		put_back(relay, park);	/* until lease() has said which */
		relay->want_renew = true;
	}
	else
	{
		if (result != NULL)
			failed(relay, "event not parked, will try again");
		put_back(relay, park);
		if (result != NULL)
		{
			PQclear(result);
			loop_timer_in(&relay->loop, &relay->heartbeat_timer, 500);
			return;
		}
	}
	PQclear(result);
	relay_produce(relay);
}

/*
 * The next that can be parked, taken out of the queue: one whose shard has
 * nothing unsettled before it, or one that was parked before.
 */
static Park *
next_park(Relay *relay)
{
	for (Park **link = &relay->parks; *link != NULL; link = &(*link)->next)
	{
		Park	   *park = *link;

		if (park->slot != &relay->due_slot && relay->window.shards[park->slot->shard].head != park->slot)
			continue;
		*link = park->next;
		if (park->next == NULL)
			relay->parks_end = link;
		park->next = NULL;
		return park;
	}
	return NULL;
}

static void
send_park(Relay *relay, Park *park)
{
	Event *event = &park->slot->event;
	bool		again = park->slot == &relay->due_slot;
	PgParams	params = {.n = 0};
	char		id[40];
	char		organization[40];
	char		position[64];
	char	   *texts[] = {copy_bytes(&event->topic), copy_bytes(&event->key), copy_bytes(&event->type),
	copy_bytes(&event->payload), copy_bytes(&event->headers)};

	relay->parking = park;
	uuid_format(event->id, id);
	uuid_format(event->organization, organization);
	snprintf(position, sizeof(position), "%08x:%" PRId64 ":%" PRId64, event->position.epoch, event->position.tick,
			 event->position.seq);
	pg_text(&params, relay->settings.consumer);
	pg_int(&params, event->shard);
	pg_text(&params, id);
	pg_text(&params, position);
	for (int i = 0; i < 5; i++)
		pg_text(&params, texts[i]);
	pg_text(&params, park->reason);
	pg_text(&params, event->has_organization ? organization : NULL);
	pg_int(&params, event->occurred_at_us / 1000000 * 1000000);
	pg_int(&params, event->occurred_at_us % 1000000);
	/* What only waits behind another needs no alert of its own. */
	pg_text(&params, PARK_WAITING);
	if (!again)
	{
		pg_text(&params, relay->settings.instance);
		pg_int(&params, relay->window.shards[event->shard].fence);
	}
	pg_send(&relay->control, again ? park_again_sql : park_sql, &params, 0, park_done, relay);
	for (int i = 0; i < 5; i++)
		free(texts[i]);
}

void
parked_forget(Relay *relay)
{
	while (relay->parks != NULL)
	{
		Park	   *park = relay->parks;

		relay->parks = park->next;
		free(park);
	}
	relay->parks_end = &relay->parks;
	if (relay->parking != NULL)
		relay->parking->slot = NULL;
	/* A parked event on its way again goes again. */
	PQclear(relay->due_rows);
	relay->due_rows = NULL;
	idset_clear(&relay->due_held);
	relay->due_sent = false;
	relay->want_held = true;
}

/* -- keys that are held back -- */

static void
held_done(void *context, PGresult *result)
{
	Relay	   *relay = context;
	static char key[STEP_KEY_MAX];
	bool		good = result != NULL && pg_good(&relay->control, result, NULL);

	if (good)
	{
		idset_clear(&relay->held_keys);
		for (int i = 0; i < PQntuples(result); i++)
		{
			Bytes		text = {PQgetvalue(result, i, 1), (size_t) PQgetlength(result, i, 1)};
			size_t		len = step_key((int32_t) strtol(PQgetvalue(result, i, 0), NULL, 10), &text, key, sizeof(key));

			good = idset_add(&relay->held_keys, key, len) && good;
		}
		/* What is to be parked and was not seen yet. */
		for (Park *park = relay->parks; park != NULL; park = park->next)
		{
			size_t		len = step_key(park->slot->event.topic_id, &park->slot->event.key, key, sizeof(key));

			good = (len == 0 || idset_add(&relay->held_keys, key, len)) && good;
		}
	}
	else if (result != NULL)
		failed(relay, "parked events not read");
	PQclear(result);
	if (good)
		relay->held_loaded = true;
	else
		relay->want_held = true;
	relay_produce(relay);
	source_look(relay);
}

static void
send_held(Relay *relay)
{
	PgParams	params = {.n = 0};

	relay->want_held = false;
	pg_text(&params, relay->settings.consumer);
	pg_send(&relay->control, held_sql, &params, 0, held_done, relay);
}

/* -- events that were given free -- */

static bool
is_ours(const Relay *relay, int shard)
{
	return shard >= 0 && shard < WINDOW_MAX_SHARDS && relay->window.shards[shard].owned && !relay->window.shards[shard].leaving;
}

static Bytes
column(const PGresult *rows, int row, int number)
{
	if (PQgetisnull(rows, row, number))
		return (Bytes) {NULL, 0};
	return (Bytes) {PQgetvalue(rows, row, number), (size_t) PQgetlength(rows, row, number)};
}

static bool
uuid_parse(const char *text, unsigned char *uuid)
{
	int			digits = 0;

	for (; *text != '\0' && digits < 32; text++)
	{
		int			value = *text >= '0' && *text <= '9' ? *text - '0' : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10 : -1;

		if (value < 0)
			continue;
		uuid[digits / 2] = (unsigned char) (digits % 2 ? uuid[digits / 2] | value : value << 4);
		digits++;
	}
	return digits == 32;
}

/* A row of due_sql; false: nothing of ours. */
static bool
read_due(Relay *relay, const PGresult *rows, int row, Slot *slot)
{
	Event *event = &slot->event;

	memset(slot, 0, sizeof(*slot));
	event->shard = (int) strtol(PQgetvalue(rows, row, 0), NULL, 10);
	if (!is_ours(relay, event->shard) ||
		sscanf(PQgetvalue(rows, row, 1), "%" SCNx32 ":%" SCNd64 ":%" SCNd64, &event->position.epoch,
			   &event->position.tick, &event->position.seq) != 3 ||
		!uuid_parse(PQgetvalue(rows, row, 2), event->id))
		return false;
	memcpy(slot->id, event->id, sizeof(slot->id));
	event->has_organization = !PQgetisnull(rows, row, 3) && uuid_parse(PQgetvalue(rows, row, 3), event->organization);
	event->topic_id = (int32_t) strtol(PQgetvalue(rows, row, 10), NULL, 10);
	event->topic = column(rows, row, 4);
	event->key = column(rows, row, 5);
	event->type = column(rows, row, 6);
	event->payload = column(rows, row, 7);
	event->headers = column(rows, row, 8);
	event->occurred_at_us = strtoll(PQgetvalue(rows, row, 9), NULL, 10);
	return true;
}

/* Refused again: what comes behind it in this round does not pass it. */
static void
hold_due(Relay *relay)
{
	char		key[STEP_KEY_MAX];
	size_t		len = step_key(relay->due_slot.event.topic_id, &relay->due_slot.event.key, key, sizeof(key));

	if (len > 0 && !idset_add(&relay->due_held, key, len))
		relay_want_rewind(relay, "out of memory");
}

static void
send_due_event(Relay *relay)
{
	Slot	   *slot = &relay->due_slot;
	char		key[STEP_KEY_MAX];
	size_t		key_len;
	RelayTopic *topic;

	if (!read_due(relay, relay->due_rows, relay->due_next++, slot) ||
		(topic = topics_find(relay, slot->event.topic_id)) == NULL || !topics_try(relay, topic))
		return;
	relay->due_sent = relay->due_moved = true;
	key_len = step_key(topic->id, &slot->event.key, key, sizeof(key));
	if (key_len > 0 && idset_has(&relay->due_held, key, key_len))
		relay_park(relay, slot, PARK_WAITING);
	else if (topic->state == TOPIC_REFUSED)
	{
		hold_due(relay);
		relay_park(relay, slot, topic->why);
	}
	else if (!produce_alone(relay, topic, slot))
		relay->due_sent = false;
}

static void
unpark_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && !pg_good(&relay->control, result, NULL))
		failed(relay, "event not unparked: it will be sent again");
	PQclear(result);
	relay->due_sent = false;
	control_next(relay);
}

void
parked_answered(Relay *relay, rd_kafka_resp_err_t err)
{
	char		reason[200];

	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		metric_add(&metric_acked, 1);
		relay->due_slot.settled = true;
		return;
	}
	snprintf(reason, sizeof(reason), "refused by Kafka: %s (%s)", rd_kafka_err2str(err), rd_kafka_err2name(err));
	if (step_report(err) == OUTCOME_REFUSED)
	{
		hold_due(relay);
		relay_park(relay, &relay->due_slot, reason);
	}
	else
		relay->due_sent = false;	/* it stays due */
}

static bool
send_unpark(Relay *relay)
{
	PgParams	params = {.n = 0};
	char		id[40];
	char	   *topic;
	char	   *key;

	if (!relay->due_sent || !relay->due_slot.settled)
		return false;
	topic = copy_bytes(&relay->due_slot.event.topic);
	key = copy_bytes(&relay->due_slot.event.key);
	relay->due_slot.settled = false;
	uuid_format(relay->due_slot.id, id);
	log_info("parked event sent", F_STR("event_id", id));
	pg_text(&params, relay->settings.consumer);
	pg_text(&params, id);
	pg_text(&params, topic);
	pg_text(&params, key);
	pg_text(&params, PARK_WAITING);
	pg_send(&relay->control, unpark_sql, &params, 0, unpark_done, relay);
	free(topic);
	free(key);
	return true;
}

static void
due_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && pg_good(&relay->control, result, NULL) && PQntuples(result) > 0)
	{
		relay->due_rows = result;
		relay->due_next = 0;
		control_next(relay);
		return;
	}
	if (result != NULL && !pg_good(&relay->control, result, NULL))
		failed(relay, "events to send again not read");
	PQclear(result);
	control_next(relay);
}

static void
free_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && !pg_good(&relay->control, result, NULL))
		failed(relay, "waiting events not freed");
	PQclear(result);
	control_next(relay);
}

static void
send_free(Relay *relay)
{
	PgParams	params = {.n = 0};

	relay->want_free = false;
	pg_text(&params, relay->settings.consumer);
	pg_text(&params, PARK_WAITING);
	pg_send(&relay->control, free_sql, &params, 0, free_done, relay);
}

static void
send_due(Relay *relay)
{
	PgParams	params = {.n = 0};
	char		list[WINDOW_MAX_SHARDS * 4 + 4] = "{";
	size_t		used = 1;

	relay->want_due = relay->due_moved = false;
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (is_ours(relay, i))
			used += (size_t) snprintf(list + used, sizeof(list) - used, "%s%d", used > 1 ? "," : "", i);
	strcpy(list + used, "}");
	pg_text(&params, relay->settings.consumer);
	pg_text(&params, list);
	pg_text(&params, relay->settings.topics);
	pg_send(&relay->control, due_sql, &params, 0, due_done, relay);
}

/*
 * The rows are through: what was behind them may be due now, and their keys may be
 * free.  If none could be sent, as long as the broker is away, the timer looks again.
 */
static void
due_through(Relay *relay)
{
	PQclear(relay->due_rows);
	relay->due_rows = NULL;
	idset_clear(&relay->due_held);
	relay->want_due = relay->want_due || relay->due_moved;
	relay->want_held = relay->want_held || relay->due_moved;
}

bool
parked_on_its_way(const Relay *relay, int shard)
{
	return relay->due_sent && relay->due_slot.event.shard == shard;
}

bool
parked_send(Relay *relay)
{
	Park	   *park = next_park(relay);

	if (park != NULL)
		send_park(relay, park);
	else if (send_unpark(relay))
		;
	else if (relay->want_held)
		send_held(relay);
	else if (relay->due_rows != NULL && !relay->due_sent && relay->alone_slot == NULL && relay->producer != NULL &&
			 !relay->draining && loop_monotonic_ms() < relay->leased_until_ms)
	{
		if (relay->due_next < PQntuples(relay->due_rows))
			send_due_event(relay);
		else
			due_through(relay);
		return parked_send(relay);
	}
	else if (relay->want_free && relay->due_rows == NULL)
		send_free(relay);
	else if (relay->want_due && relay->due_rows == NULL && !relay->draining)
		send_due(relay);
	else
		return false;
	return true;
}

static void
due_time(void *context)
{
	Relay	   *relay = context;

	loop_timer_in(&relay->loop, &relay->due_timer, DUE_MS);
	relay->want_due = true;
	if (relay->held_keys.count > 0)
		relay->want_held = relay->want_free = true;
	control_next(relay);
}

void
parked_init(Relay *relay)
{
	relay->parks_end = &relay->parks;
	relay->want_held = true;
	loop_timer_init(&relay->loop, &relay->due_timer, due_time, relay);
	loop_timer_in(&relay->loop, &relay->due_timer, DUE_MS);
}
