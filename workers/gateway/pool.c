/* The choice of a connection, the queue before them, and the outcome of calls. */
#include "gateway/pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/limits.h"
#include "gateway/placement.h"
#include "gateway/pool_parts.h"
#include "gateway/stats.h"
#include "lib/log.h"

#define SWEEP_MS 50
/* Behind a head that has run for so many times what counts as fast, nothing is stacked. */
#define LATE_HEAD 4

/* ---- the queue: shares by whose calls they are, served in turn ---- */

static void
queue_push(Pool *pool, Call *call)
{
	Share	   *share = &pool->shares[call->fair_key % QUEUE_SHARES];

	call->next = NULL;
	call->queued_us = pool->gateway->now_us;
	if (share->last != NULL)
		share->last->next = call;
	else
		share->first = call;
	share->last = call;
	share->count++;
	pool->queued++;
}

static void
queue_remove(Pool *pool, Call *call)
{
	Share	   *share = &pool->shares[call->fair_key % QUEUE_SHARES];
	Call	  **link = &share->first;
	Call	   *before = NULL;

	while (*link != NULL && *link != call)
	{
		before = *link;
		link = &before->next;
	}
	if (*link == NULL)
		return;
	*link = call->next;
	if (share->last == call)
		share->last = before;
	share->count--;
	pool->queued--;
}

static Call *
queue_peek(Pool *pool)
{
	for (int i = 0; i < QUEUE_SHARES; i++)
	{
		Share	   *share = &pool->shares[(pool->next_share + i) % QUEUE_SHARES];

		if (share->first != NULL)
		{
			pool->next_share = (pool->next_share + i) % QUEUE_SHARES;
			return share->first;
		}
	}
	return NULL;
}

/* Nothing came of it: not sent. */
static void
give_up(Pool *pool, Call *call, CallOutcome outcome)
{
	call->pool = NULL;
	if (outcome == CALL_SHED)
		stats_count(pool->gateway, STAT_SHED);
	call->done(call, outcome, NULL, "");
}

/* The queue is full: whoever has most in it loses its newest, the one who comes included. */
static void
shed_for(Pool *pool, Call *call)
{
	Share	   *own = &pool->shares[call->fair_key % QUEUE_SHARES];
	Share	   *longest = own;

	for (int i = 0; i < QUEUE_SHARES; i++)
		if (pool->shares[i].count > longest->count)
			longest = &pool->shares[i];
	if (longest->count > own->count + 1)
	{
		Call	   *victim = longest->last;

		queue_remove(pool, victim);
		queue_push(pool, call);
		give_up(pool, victim, CALL_SHED);
		return;
	}
	give_up(pool, call, CALL_SHED);
}

/* ---- choosing ---- */

static Line *
idle_line(Pool *pool, const Known *known)
{
	Line	   *found = NULL;

	/* The first ones are kept warm; one that has the statement prepared is better still. */
	for (int i = 0; i < pool->line_count; i++)
	{
		Line	   *line = &pool->lines[i];

		if (line->state != LINE_READY || line->count > 0)
			continue;
		if (known == NULL || line->prepared[known->number] == known->generation)
			return line;
		if (found == NULL)
			found = line;
	}
	return found;
}

static Line *
stackable_line(Pool *pool, const Known *known)
{
	const Settings *settings = &pool->gateway->settings;
	int64_t		now = gateway_monotonic_us();
	Line	   *found = NULL;

	if (settings->depth < 2 || known == NULL)
		return NULL;
	for (int i = 0; i < pool->line_count; i++)
	{
		Line	   *line = &pool->lines[i];

		if (line->state == LINE_READY && line->slow == 0 && !line->swollen && line->count < settings->depth && line->cancel == NULL &&
			line->prepared[known->number] == known->generation && (found == NULL || line->count < found->count) &&
			line_head_age_us(line, now) <= LATE_HEAD * settings->fast_us)
			found = line;
	}
	return found;
}

static void
find_known(Pool *pool, Call *call)
{
	call->known = statements_find(&pool->pools->statements, call->main->sql, call->main->one_off);
	call->generation = call->known != NULL ? call->known->generation : 0;
}

/* Sends it, if there is a connection for it. */
static bool
try_send(Pool *pool, Call *call)
{
	Line	   *line;

	/* While it waited, its place may have become another statement's. */
	if (call->known != NULL && call->known->generation != call->generation)
		find_known(pool, call);
	line = idle_line(pool, call->known);
	if (line == NULL)
	{
		line = stackable_line(pool, call->known);
		if (line == NULL)
			return false;
		stats_count(pool->gateway, STAT_STACKED);
	}
	call->sent = true;
	pool->in_flight++;
	stats_count(pool->gateway, STAT_CALLS);
	/* When that fails, the call has been told that the connection is lost. */
	line_send(line, call, call->known);
	return true;
}

void
pool_submit(Pool *pool, Call *call)
{
	call->pool = pool;
	call->sent = false;
	find_known(pool, call);
	if (pool->queued == 0 && try_send(pool, call))
		return;
	if (pool->failing)
	{
		give_up(pool, call, CALL_DOWN);
		return;
	}
	stats_count(pool->gateway, STAT_QUEUED);
	if (pool->queued >= pool->gateway->settings.queue)
		shed_for(pool, call);
	else
		queue_push(pool, call);
}

void
pool_continue(Pool *pool)
{
	Call	   *call;

	while ((call = queue_peek(pool)) != NULL)
	{
		queue_remove(pool, call);
		if (!try_send(pool, call))
		{
			/* Back to the front of its share. */
			Share	   *share = &pool->shares[call->fair_key % QUEUE_SHARES];

			call->next = share->first;
			share->first = call;
			if (share->last == NULL)
				share->last = call;
			share->count++;
			pool->queued++;
			return;
		}
		pool->next_share = (pool->next_share + 1) % QUEUE_SHARES;
	}
}

/* ---- outcomes ---- */

/* Every call begins and ends a transaction of its own, so this is not its own error. */
bool
call_found_aborted(const PGresult *error)
{
	const char *state = PQresultErrorField(error, PG_DIAG_SQLSTATE);

	return state != NULL && strcmp(state, "25P02") == 0;
}

/* A plan that no longer fits, or a statement the server forgot: prepared anew, and once more. */
static bool
out_of_date(const Flight *flight)
{
	const char *state = flight->error != NULL ? PQresultErrorField(flight->error, PG_DIAG_SQLSTATE) : NULL;
	const char *message = state != NULL ? PQresultErrorField(flight->error, PG_DIAG_MESSAGE_PRIMARY) : NULL;

	if (flight->error != NULL && call_found_aborted(flight->error))
		return true;
	return flight->known != NULL && state != NULL &&
		(strcmp(state, "26000") == 0 || (strcmp(state, "0A000") == 0 && message != NULL && strstr(message, "cached plan") != NULL));
}

void
pool_landed(Pool *pool, Flight *flight, CallOutcome outcome)
{
	Call	   *call = flight->call;

	if (call == NULL && flight->main_step < 0)
	{
		PQclear(flight->error);
		return;
	}
	pool->in_flight--;
	if (outcome == CALL_FAILED)
		stats_count(pool->gateway, STAT_CALLS_FAILED);
	else if (outcome == CALL_LOST)
		stats_count(pool->gateway, STAT_CALLS_LOST);
	if (out_of_date(flight) && flight->known != NULL && flight->known->generation == flight->generation)
		known_renew(flight->known);
	if (call == NULL || (out_of_date(flight) && !call->retried))
	{
		PQclear(flight->result);
		PQclear(flight->error);
		if (call != NULL)
		{
			call->retried = true;
			pool_submit(pool, call);
		}
		return;
	}
	call->pool = NULL;
	if (outcome == CALL_DONE)
		call->done(call, outcome, flight->result, flight->principal);
	else
	{
		PQclear(flight->result);
		call->done(call, outcome, flight->error, flight->principal);
	}
}

void
pool_abandon(Call *call)
{
	Pool	   *pool = call->pool;

	if (pool == NULL)
		return;
	call->pool = NULL;
	if (!call->sent)
	{
		queue_remove(pool, call);
		return;
	}
	for (int i = 0; i < pool->line_count; i++)
	{
		Line	   *line = &pool->lines[i];

		for (int j = 0; j < line->count; j++)
		{
			Flight	   *flight = &line->flights[(line->first + j) % MAX_DEPTH];

			if (flight->call != call)
				continue;
			flight->call = NULL;
			line_cancel(line);
			return;
		}
	}
}

void
pool_line_changed(Pool *pool)
{
	int			ready = 0;

	for (int i = 0; i < pool->line_count; i++)
		ready += pool->lines[i].state == LINE_READY;
	if (ready > 0)
		pool->failing = false;
	stats_gauge(pool->gateway, GAUGE_DATABASE_CONNECTIONS, ready);
}

void
pools_flush(Pools *pools)
{
	for (int i = 0; i < pools->pool_count; i++)
		for (int j = 0; j < pools->pools[i]->line_count; j++)
			line_flush(&pools->pools[i]->lines[j]);
}

/* ---- time ---- */

static void
sweep_pool(Pool *pool, int64_t now)
{
	for (int i = 0; i < QUEUE_SHARES; i++)
	{
		Share	   *share = &pool->shares[i];
		Call	   *call;

		while ((call = share->first) != NULL &&
			   (pool->failing || now - call->queued_us > pool->gateway->settings.queue_ms * 1000))
		{
			queue_remove(pool, call);
			give_up(pool, call, pool->failing ? CALL_DOWN : CALL_SHED);
		}
	}
	for (int i = 0; i < pool->line_count; i++)
		line_check(&pool->lines[i], now);
}

static void
sweep(void *context)
{
	Pools	   *pools = context;
	int64_t		now = gateway_monotonic_us();
	PoolState	sum;

	for (int i = 0; i < pools->pool_count; i++)
		sweep_pool(pools->pools[i], now);
	pools_state(pools, &sum);
	stats_gauge(pools->gateway, GAUGE_IN_FLIGHT, sum.in_flight);
	stats_gauge(pools->gateway, GAUGE_WAITING, sum.queued);
	stats_gauge(pools->gateway, GAUGE_DATABASE_CONNECTIONS, sum.connected);
	loop_timer_in(&pools->gateway->loop, &pools->sweep, SWEEP_MS);
}

/* ---- life ---- */

static void
pool_state(const Pool *pool, PoolState *state)
{
	*state = (PoolState) {.connections = pool->line_count, .in_flight = pool->in_flight, .queued = pool->queued};
	for (int i = 0; i < pool->line_count; i++)
		state->connected += pool->lines[i].state == LINE_READY;
	snprintf(state->error, sizeof(state->error), "%s", pool->error);
}

void
pools_state(const Pools *pools, PoolState *sum)
{
	*sum = (PoolState) {.connected = 0};
	for (int i = 0; i < pools->pool_count; i++)
	{
		PoolState	one;

		pool_state(pools->pools[i], &one);
		sum->connected += one.connected;
		sum->connections += one.connections;
		sum->in_flight += one.in_flight;
		sum->queued += one.queued;
	}
}

static Pool *
pool_open(Pools *pools, const char *dsn)
{
	Pool	   *pool = calloc(1, sizeof(*pool));
	Pool	  **grown = realloc(pools->pools, (size_t) (pools->pool_count + 1) * sizeof(*grown));

	if (grown != NULL)
		pools->pools = grown;
	if (pool == NULL || grown == NULL)
	{
		free(pool);
		return NULL;
	}
	pool->pools = pools;
	pool->gateway = pools->gateway;
	pool->dsn = strdup(dsn);
	pool->line_count = (int) pools->gateway->settings.pool;
	pool->lines = calloc((size_t) pool->line_count, sizeof(Line));
	if (pool->dsn == NULL || pool->lines == NULL)
	{
		free(pool->dsn);
		free(pool->lines);
		free(pool);
		return NULL;
	}
	for (int i = 0; i < pool->line_count; i++)
	{
		pool->lines[i].pool = pool;
		pool->lines[i].number = i;
		pool->lines[i].watched_fd = -1;
		pool->lines[i].outbox.fd = -1;
	}
	pools->pools[pools->pool_count++] = pool;
	return pool;
}

Pool *
pools_of_dsn(Pools *pools, const char *dsn)
{
	for (int i = 0; i < pools->pool_count; i++)
		if (strcmp(pools->pools[i]->dsn, dsn) == 0)
			return pools->pools[i];
	return pool_open(pools, dsn);
}

Pools *
pools_open(Gateway *gateway, FILE *err)
{
	Pools	   *pools = calloc(1, sizeof(*pools));

	if (pools == NULL)
		return NULL;
	pools->gateway = gateway;
	if (pool_open(pools, gateway->settings.database) == NULL || !placement_load(pools, gateway->settings.databases_file, err))
	{
		pools_close(pools);
		return NULL;
	}
	return pools;
}

void
pools_start(Pools *pools)
{
	for (int i = 0; i < pools->pool_count; i++)
		for (int j = 0; j < pools->pools[i]->line_count; j++)
			line_open(&pools->pools[i]->lines[j]);
	loop_timer_init(&pools->gateway->loop, &pools->sweep, sweep, pools);
	loop_timer_in(&pools->gateway->loop, &pools->sweep, SWEEP_MS);
}

void
pools_close(Pools *pools)
{
	loop_timer_off(&pools->sweep);
	for (int i = 0; i < pools->pool_count; i++)
	{
		Pool	   *pool = pools->pools[i];

		for (int j = 0; j < pool->line_count; j++)
			line_close(&pool->lines[j]);
		free(pool->lines);
		free(pool->dsn);
		free(pool);
	}
	placement_free(pools);
	statements_free(&pools->statements);
	free(pools->pools);
	free(pools);
}
