/*
 * What the relay tells the database: leases, positions, parked events, signs of
 * life.  One statement at a time, the most urgent first (control_next).
 *
 * A position that was not told in time costs a few events sent again, no more.  A
 * lease that was not renewed in time is treated as lost by our own clock, before
 * the server gives the shards to somebody else.
 */
#include "kafka-relay/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka-relay/headers.h"
#include "kafka-relay/parked.h"
#include "lib/log.h"

#define CONNECT_TIMEOUT_S 3
#define LIST_SIZE (WINDOW_MAX_SHARDS * 48 + 8)

static const char lease_sql[] =
"SELECT l.* FROM events.lease($1, $2, $3::int, pg_catalog.make_interval(secs => $4::float8 / 1000),"
" pg_catalog.string_to_array(nullif($5, ''), ',')) AS l";

static const char advance_sql[] =
"SELECT coalesce(sum(events.advance($1, $2, g.shards, g.fences, g.at::events.position)), 0)::int"
" FROM (SELECT pg_catalog.array_agg(u.shard) AS shards, pg_catalog.array_agg(u.fence) AS fences, u.at"
"  FROM ROWS FROM (pg_catalog.unnest($3::int[]), pg_catalog.unnest($4::bigint[]), pg_catalog.unnest($5::text[])) AS u(shard, fence, at)"
"  GROUP BY u.at) AS g";

static const char topics_sql[] =
"SELECT id, name, partitions, (extract(epoch FROM retention) * 1000)::bigint FROM events.topics"
" WHERE direction = 'out' AND ($1 = '' OR name = ANY (pg_catalog.string_to_array($1, ',')))";

static const char heartbeat_sql[] =
"SELECT backoffice.heartbeat('kafka-relay', $1, $2, nullif($3, ''), nullif($4, ''), $5::jsonb)";

static void
failed(Relay *relay, const char *what)
{
	relay_note_error(relay, relay->control.error);
	log_warn(what, F_STR("error", relay->control.error));
}

/* -- leases -- */

/* Shards that are no longer ours stop at once: the producer's queue is thrown away with them. */
static void
lose(Relay *relay, const bool *lost, const char *why)
{
	bool		in_flight = false;

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		in_flight = in_flight || (lost[i] && (relay->window.shards[i].head != NULL || parked_on_its_way(relay, i)));
	if (in_flight)
	{
		relay_want_rewind(relay, why);
		relay_rewind(relay);
	}
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (lost[i])
			window_disown(&relay->window, i);
}

static int
count_shards(const Relay *relay)
{
	int			count = 0;

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		count += relay->window.shards[i].owned;
	return count;
}

static void
control_drop_leases(Relay *relay, const char *why)
{
	bool		lost[WINDOW_MAX_SHARDS];

	if (count_shards(relay) == 0)
		return;
	log_warn("leases dropped", F_STR("why", why));
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		lost[i] = relay->window.shards[i].owned;
	lose(relay, lost, why);
	guard_until(&relay->guard, GUARD_NEVER);
	metric_set(&metric_shards, 0);
}

static void
lease_ran_out(void *context)
{
	Relay	   *relay = context;

	control_drop_leases(relay, "not renewed in time");
	relay->want_renew = true;
	control_next(relay);
}

static bool
position_parse(const char *text, Position *position)
{
	return sscanf(text, "%" SCNx32 ":%" SCNd64 ":%" SCNd64, &position->epoch, &position->tick, &position->seq) == 3;
}

/* Takes the rows of lease(): what is new, what is gone, what others want. */
static void
take_leases(Relay *relay, const PGresult *rows)
{
	bool		lost[WINDOW_MAX_SHARDS];
	int			gained = 0;
	int			n = PQntuples(rows);

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		lost[i] = relay->window.shards[i].owned;
	for (int i = 0; i < n; i++)
	{
		int			shard = (int) strtol(PQgetvalue(rows, i, 0), NULL, 10);

		if (shard >= 0 && shard < WINDOW_MAX_SHARDS &&
			relay->window.shards[shard].fence == strtoll(PQgetvalue(rows, i, 1), NULL, 10))
			lost[shard] = false;
		relay->settings.shards = strtol(PQgetvalue(rows, i, 3), NULL, 10);
	}
	lose(relay, lost, "lease lost");
	for (int i = 0; i < n; i++)
	{
		int			shard = (int) strtol(PQgetvalue(rows, i, 0), NULL, 10);
		bool		wanted = *PQgetvalue(rows, i, 4) == 't';
		WindowShard *state;
		Position	from;

		if (shard < 0 || shard >= WINDOW_MAX_SHARDS || !position_parse(PQgetvalue(rows, i, 2), &from))
			continue;
		state = &relay->window.shards[shard];
		if (!state->owned)
		{
			window_own(&relay->window, shard, strtoll(PQgetvalue(rows, i, 1), NULL, 10), &from);
			source_restart(relay, shard);
			gained++;
		}
		else if (state->leaving && !wanted)
			source_restart(relay, shard);
		state->leaving = wanted;
	}
	if (gained > 0)
	{
		relay->want_held = true;
		relay->held_loaded = false;
		log_info("shards leased", F_INT("gained", gained), F_INT("shards", count_shards(relay)));
	}
	metric_set(&metric_shards, count_shards(relay));
}

static void
lease_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	loop_timer_in(&relay->loop, &relay->renew_timer, relay->settings.lease_ms / 3);
	if (result != NULL && pg_good(&relay->control, result, NULL))
	{
		relay->leased_until_ms = relay->renew_sent_ms + relay->settings.lease_ms * 9 / 10;
		loop_timer_in(&relay->loop, &relay->lease_timer, relay->leased_until_ms - loop_monotonic_ms());
		guard_until(&relay->guard, relay->leased_until_ms + relay->settings.lease_ms / 20);
		take_leases(relay, result);
		atomic_store(&health.database, true);
	}
	else if (result != NULL)
		failed(relay, "no leases");
	PQclear(result);
	source_look(relay);
	control_next(relay);
}

static void
send_lease(Relay *relay)
{
	PgParams	params = {.n = 0};

	relay->want_renew = false;
	relay->renew_sent_ms = loop_monotonic_ms();
	pg_text(&params, relay->settings.consumer);
	pg_text(&params, relay->settings.instance);
	pg_int(&params, relay->settings.shards);
	pg_int(&params, relay->settings.lease_ms);
	pg_text(&params, relay->settings.topics);
	pg_send(&relay->control, lease_sql, &params, 0, lease_done, relay);
}

static void
renew_due(void *context)
{
	Relay	   *relay = context;

	relay->want_renew = true;
	control_next(relay);
}

/* -- positions -- */

typedef struct Lists
{
	char		shards[LIST_SIZE];
	char		fences[LIST_SIZE];
	char		positions[LIST_SIZE];
	int			count;
} Lists;

static void
list_positions(Relay *relay, Lists *lists)
{
	size_t		s = 1;
	size_t		f = 1;
	size_t		p = 1;

	lists->count = 0;
	lists->shards[0] = lists->fences[0] = lists->positions[0] = '{';
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
	{
		const WindowShard *state = &relay->window.shards[i];
		const char *comma = lists->count > 0 ? "," : "";

		relay->advancing_has[i] = state->owned && position_compare(&state->done, &state->saved) > 0;
		if (!relay->advancing_has[i])
			continue;
		relay->advancing[i] = state->done;
		s += (size_t) snprintf(lists->shards + s, LIST_SIZE - s, "%s%d", comma, i);
		f += (size_t) snprintf(lists->fences + f, LIST_SIZE - f, "%s%" PRId64, comma, state->fence);
		p += (size_t) snprintf(lists->positions + p, LIST_SIZE - p, "%s%08x:%" PRId64 ":%" PRId64, comma,
							   state->done.epoch, state->done.tick, state->done.seq);
		lists->count++;
	}
	strcpy(lists->shards + s, "}");
	strcpy(lists->fences + f, "}");
	strcpy(lists->positions + p, "}");
}

static void
advanced(Relay *relay, const PGresult *result)
{
	int			asked = 0;

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		asked += relay->advancing_has[i];
	metric_add(&metric_advances, 1);
	if (strtol(PQgetvalue(result, 0, 0), NULL, 10) < asked)
	{
		log_info("a position was not taken: the lease is gone or the consumer was moved");
		relay->want_renew = true;
		return;
	}
	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (relay->advancing_has[i] && relay->window.shards[i].owned)
			relay->window.shards[i].saved = relay->advancing[i];
}

static void
advance_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && pg_good(&relay->control, result, NULL))
		advanced(relay, result);
	else if (result != NULL)
		failed(relay, "positions not saved");
	PQclear(result);
	control_next(relay);
}

static void
advance_params(Relay *relay, PgParams *params, const Lists *lists)
{
	pg_text(params, relay->settings.consumer);
	pg_text(params, relay->settings.instance);
	pg_text(params, lists->shards);
	pg_text(params, lists->fences);
	pg_text(params, lists->positions);
}

/* False: there is nothing to tell. */
static bool
send_advance(Relay *relay)
{
	static Lists lists;
	PgParams	params = {.n = 0};

	relay->want_advance = false;
	relay->settled_since_advance = 0;
	list_positions(relay, &lists);
	if (lists.count == 0)
		return false;
	advance_params(relay, &params, &lists);
	pg_send(&relay->control, advance_sql, &params, 0, advance_done, relay);
	return true;
}

static void
advance_due(void *context)
{
	Relay	   *relay = context;

	loop_timer_in(&relay->loop, &relay->advance_timer, relay->settings.advance_ms);
	relay->want_advance = true;
	control_next(relay);
}

/* -- shards that others want -- */

static void
release_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && !pg_good(&relay->control, result, NULL))
		failed(relay, "shards not released");
	PQclear(result);
	relay->want_renew = true;
	control_next(relay);
}

static bool
send_release(Relay *relay)
{
	char		list[LIST_SIZE] = "{";
	size_t		used = 1;
	PgParams	params = {.n = 0};

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
	{
		WindowShard *state = &relay->window.shards[i];

		if (!state->owned || !state->leaving || state->head != NULL || parked_on_its_way(relay, i))
			continue;
		if (position_compare(&state->done, &state->saved) > 0)
		{
			relay->want_advance = true;
			continue;
		}
		used += (size_t) snprintf(list + used, sizeof(list) - used, "%s%d", used > 1 ? "," : "", i);
		window_disown(&relay->window, i);
	}
	if (used == 1)
		return false;
	strcpy(list + used, "}");
	log_info("shards handed over", F_STR("shards", list));
	metric_set(&metric_shards, count_shards(relay));
	pg_text(&params, relay->settings.consumer);
	pg_text(&params, relay->settings.instance);
	pg_text(&params, list);
	pg_send(&relay->control, "SELECT events.release_lease($1, $2, $3::int[])", &params, 0, release_done, relay);
	return true;
}

/* -- topics, heartbeats -- */

static void
topics_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && pg_good(&relay->control, result, NULL))
	{
		topics_take(relay, result);
		/* Between reading an event and asking for its topic somebody changed its direction: the log is read as it is now. */
		if (relay->missing_topic != 0 && topics_find(relay, relay->missing_topic) == NULL)
			source_restart_all(relay);
		relay->missing_topic = 0;
		topics_ask(relay);
		relay_produce(relay);
		source_look(relay);
	}
	else if (result != NULL)
		failed(relay, "topics not read");
	if (!relay->topics_loaded)
		loop_timer_in(&relay->loop, &relay->topics_timer, 1000);
	PQclear(result);
	control_next(relay);
}

static void
send_topics(Relay *relay)
{
	PgParams	params = {.n = 0};

	relay->want_topics = false;
	pg_text(&params, relay->settings.topics);
	pg_send(&relay->control, topics_sql, &params, 0, topics_done, relay);
}

static void
topics_due(void *context)
{
	Relay	   *relay = context;

	relay->want_topics = true;
	control_next(relay);
}

static void
heartbeat_params(Relay *relay, PgParams *params, const char *state, char *position, char *details, size_t size)
{
	const Position *least = NULL;

	for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
		if (relay->window.shards[i].owned &&
			(least == NULL || position_compare(&relay->window.shards[i].done, least) < 0))
			least = &relay->window.shards[i].done;
	*position = '\0';
	if (least != NULL)
		snprintf(position, 64, "%08x:%" PRId64 ":%" PRId64, least->epoch, least->tick, least->seq);
	snprintf(details, size, "{\"shards\": %d, \"in_flight\": %" PRId64 ", \"acknowledged\": %" PRId64 ", \"kafka\": %s}",
			 count_shards(relay), relay->window.used, (int64_t) atomic_load(&metric_acked.value),
			 atomic_load(&health.kafka) ? "true" : "false");
	pg_text(params, relay->settings.instance);
	pg_text(params, state);
	pg_text(params, position);
	pg_text(params, relay->last_error);
	pg_text(params, details);
}

static void
heartbeat_done(void *context, PGresult *result)
{
	Relay	   *relay = context;

	if (result != NULL && pg_good(&relay->control, result, NULL))
		relay->last_error[0] = '\0';
	else if (result != NULL)
		failed(relay, "heartbeat refused");
	PQclear(result);
	control_next(relay);
}

static void
send_heartbeat(Relay *relay)
{
	PgParams	params = {.n = 0};
	char		position[64];
	char		details[200];

	relay->want_heartbeat = false;
	heartbeat_params(relay, &params, relay->draining ? "draining" : "running", position, details, sizeof(details));
	pg_send(&relay->control, heartbeat_sql, &params, 0, heartbeat_done, relay);
}

static void
heartbeat_due(void *context)
{
	Relay	   *relay = context;

	loop_timer_in(&relay->loop, &relay->heartbeat_timer, relay->settings.heartbeat_ms);
	relay->want_heartbeat = true;
	relay->want_topics = true;
	control_next(relay);
}

/* -- the connection -- */

void
control_next(Relay *relay)
{
	if (!pg_idle(&relay->control))
		return;
	/* At the end only for what is on its way: another relay would send it too. */
	if (relay->want_renew && (!relay->draining || relay->window.used > 0))
		send_lease(relay);
	else if (parked_send(relay))
		;
	else if (relay->want_topics)
		send_topics(relay);
	else if (relay->want_advance && send_advance(relay))
		;
	else if (send_release(relay))
		;
	else if (relay->want_heartbeat)
		send_heartbeat(relay);
}

static void
control_lost(void *context)
{
	Relay	   *relay = context;

	relay_note_error(relay, relay->control.error);
	atomic_store(&health.database, false);
	loop_timer_in(&relay->loop, &relay->control_timer, backoff_next_ms(&relay->control_backoff));
}

static void
connected(void *context, bool good)
{
	Relay	   *relay = context;

	if (!good)
	{
		log_warn("database not reachable", F_STR("connection", "control"), F_STR("error", relay->control.error));
		control_lost(relay);
		return;
	}
	metric_add(&metric_reconnects, 1);
	backoff_reset(&relay->control_backoff);
	relay->want_renew = true;
	relay->want_topics = true;
	relay->want_heartbeat = true;
	control_next(relay);
}

static void
connect_control(void *context)
{
	Relay	   *relay = context;

	pg_start(&relay->control, CONNECT_TIMEOUT_S, connected);
}

void
control_init(Relay *relay)
{
	pg_init(&relay->control, &relay->loop, relay->settings.database, "backoffice kafka-relay control",
			relay->settings.statement_timeout_ms);
	relay->control.lost = control_lost;
	relay->control.context = relay;
	backoff_init(&relay->control_backoff, 100, 5000, (uint64_t) loop_monotonic_ms() * 5);
	loop_timer_init(&relay->loop, &relay->control_timer, connect_control, relay);
	loop_timer_init(&relay->loop, &relay->renew_timer, renew_due, relay);
	loop_timer_init(&relay->loop, &relay->lease_timer, lease_ran_out, relay);
	loop_timer_init(&relay->loop, &relay->advance_timer, advance_due, relay);
	loop_timer_init(&relay->loop, &relay->heartbeat_timer, heartbeat_due, relay);
	loop_timer_init(&relay->loop, &relay->topics_timer, topics_due, relay);
	topics_init(relay);
	parked_init(relay);
	loop_timer_in(&relay->loop, &relay->control_timer, 0);
	loop_timer_in(&relay->loop, &relay->advance_timer, relay->settings.advance_ms);
	loop_timer_in(&relay->loop, &relay->heartbeat_timer, relay->settings.heartbeat_ms);
}

void
control_finish(Relay *relay)
{
	static Lists lists;
	PgParams	advance = {.n = 0};
	PgParams	release = {.n = 0};
	PgParams	heartbeat = {.n = 0};
	char		position[64];
	char		details[200];

	/* A statement on its way is given up with its connection: what it told is told again here. */
	if (!pg_idle(&relay->control) && !pg_connect(&relay->control, CONNECT_TIMEOUT_S))
	{
		log_warn("the last positions can't be saved", F_STR("error", relay->control.error));
		return;
	}
	relay->control.lost = NULL;
	list_positions(relay, &lists);
	heartbeat_params(relay, &heartbeat, "stopped", position, details, sizeof(details));
	if (lists.count > 0)
	{
		advance_params(relay, &advance, &lists);
		PQclear(pg_query(&relay->control, advance_sql, &advance, 0));
	}
	pg_text(&release, relay->settings.consumer);
	pg_text(&release, relay->settings.instance);
	PQclear(pg_query(&relay->control, "SELECT events.release_lease($1, $2)", &release, 0));
	PQclear(pg_query(&relay->control, heartbeat_sql, &heartbeat, 0));
}
