#include "gateway/health.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/problem.h"
#include "gateway/reply.h"
#include "gateway/stats.h"
#include "gateway/text.h"
#include "lib/log.h"

/* What the database said of itself may be this old, in heartbeats, and still count. */
#define STALE_BEATS 3

struct HealthWatch
{
	Gateway    *gateway;
	LoopTimer	beat;
	Call		call;
	Statement	statement;
	char		instance[160];
	char		state[512];		/* the last JSON of health_sql */
	int64_t		known_ms;		/* when that was; 0: never */
};

static const char health_sql[] =
"SELECT pg_catalog.jsonb_build_object('status', h->>'status', 'version', h->'database'->>'version', 'in_recovery', h->'database'->'in_recovery',"
" 'tick_age_seconds', h->'ticker'->'age_seconds',"
" 'lag_events', (SELECT pg_catalog.max((c.value->>'lag_events')::pg_catalog.int8) FROM pg_catalog.jsonb_each(h->'consumers') c))::pg_catalog.text"
" FROM (SELECT backoffice.heartbeat('gateway', $1, $2) IS NULL AS beaten, backoffice.health() AS h) q";

static void
answered(Call *call, CallOutcome outcome, PGresult *result, const char *principal)
{
	HealthWatch *watch = call->context;

	(void) principal;
	if (outcome == CALL_DONE && PQntuples(result) == 1 && PQgetlength(result, 0, 0) < (int) sizeof(watch->state))
	{
		snprintf(watch->state, sizeof(watch->state), "%s", PQgetvalue(result, 0, 0));
		watch->known_ms = loop_monotonic_ms();
	}
	else if (outcome == CALL_FAILED)
		log_warn("the database does not say how it is", F_STR("error", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
	PQclear(result);
}

static void
beat(void *context)
{
	HealthWatch *watch = context;

	loop_timer_in(&watch->gateway->loop, &watch->beat, watch->gateway->settings.heartbeat_ms);
	if (watch->call.pool != NULL)
		return;
	watch->statement = (Statement) {.sql = health_sql, .n = 2,
		.values = {watch->instance, watch->gateway->draining ? "draining" : "running"}};
	watch->call = (Call) {.internal = true, .main = &watch->statement, .done = answered, .context = watch};
	pool_submit(pools_find(watch->gateway->pools, NULL), &watch->call);
}

HealthWatch *
health_open(Gateway *gateway)
{
	HealthWatch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return NULL;
	watch->gateway = gateway;
	snprintf(watch->instance, sizeof(watch->instance), "%s/%d", gateway->settings.instance, gateway->process);
	loop_timer_init(&gateway->loop, &watch->beat, beat, watch);
	loop_timer_in(&gateway->loop, &watch->beat, 0);
	return watch;
}

void
health_drain(HealthWatch *watch)
{
	beat(watch);
}

void
health_close(HealthWatch *watch)
{
	loop_timer_off(&watch->beat);
	pool_abandon(&watch->call);
	free(watch);
}

void
health_live(Request *request)
{
	static const char alive[] = "{\"status\":\"ok\"}";

	reply_header(request, "Cache-Control", "no-store");
	reply_static(request, 200, TYPE_JSON, alive, sizeof(alive) - 1);
}

void
health_ready(Request *request)
{
	const Gateway *gateway = request->gateway;
	const HealthWatch *watch = gateway->health;
	int64_t		age = loop_monotonic_ms() - watch->known_ms;
	bool		known = watch->known_ms > 0 && age < STALE_BEATS * gateway->settings.heartbeat_ms;
	PoolState	pools;
	char	   *body;
	bool		ready;

	pools_state(gateway->pools, &pools);
	ready = known && pools.connected > 0 && !gateway->draining;
	body = request_printf(request, "{\"status\":\"%s\",\"connections\":%d,\"in_flight\":%d,\"waiting\":%d,\"database\":%s}",
						  ready ? "ok" : gateway->draining ? "draining" : "unavailable", pools.connected, pools.in_flight, pools.queued,
						  known ? watch->state : "null");
	reply_header(request, "Cache-Control", "no-store");
	if (body == NULL)
		problem_reply(request, 503, "out_of_memory", "the server is out of memory", NULL);
	else
		reply_text(request, ready ? 200 : 503, TYPE_JSON, body, strlen(body));
}

void
health_metrics(Request *request)
{
	bool		loopback = strncmp(request->peer, "127.", 4) == 0 || strcmp(request->peer, "::1") == 0;
	char	   *text;

	if (!loopback && !request->gateway->settings.metrics_open)
	{
		problem_reply(request, 403, "metrics_closed", "metrics are shown to this machine only", "Start the gateway with --metrics-open on.");
		return;
	}
	text = stats_render(request->gateway);
	if (text == NULL)
	{
		problem_reply(request, 500, "out_of_memory", "the server is out of memory", NULL);
		return;
	}
	reply_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", text, strlen(text));
	free(text);
}
