/* What the worker asks and tells the database: one statement at a time, keys before questions. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "lib/utf8.h"
#include "oidc/oidc.h"

#define CONNECT_TIMEOUT_S 3
#define FINISH_MS 3000

static const char due_sql[] = "SELECT issuer, unknown_key FROM access.issuers_due()";

static const char store_sql[] = "SELECT access.set_issuer_keys($1, $2::jsonb, $3::int, $4::jsonb)";

static const char heartbeat_sql[] = "SELECT backoffice.heartbeat('oidc', $1, $2, NULL, nullif($3, ''), $4::jsonb)";

static void
trouble(Oidc *oidc, const char *what)
{
	log_warn(what, F_STR("error", oidc->pg.error));
	snprintf(oidc->last_error, sizeof(oidc->last_error), "%s", oidc->pg.error);
	utf8_mend(oidc->last_error);
}

static void
heartbeat_params(Oidc *oidc, PgParams *params, const char *state, char *details, size_t size)
{
	snprintf(details, size, "{\"issuers\": %" PRIdFAST64 ", \"fetches\": %" PRIdFAST64 ", \"failures\": %" PRIdFAST64 "}",
			 atomic_load(&metric_issuers.value), atomic_load(&metric_fetches.value), atomic_load(&metric_failures.value));
	params->n = 0;
	pg_text(params, oidc->settings.instance);
	pg_text(params, state);
	pg_text(params, oidc->last_error);
	pg_text(params, details);
}

static void
heartbeat_done(void *context, PGresult *result)
{
	Oidc	   *oidc = context;

	if (result != NULL && pg_good(&oidc->pg, result, NULL))
		oidc->last_error[0] = '\0';
	else if (result != NULL)
		log_warn("heartbeat refused", F_STR("error", oidc->pg.error));
	PQclear(result);
	control_next(oidc);
}

static void
send_heartbeat(Oidc *oidc)
{
	PgParams	params;
	char		details[200];

	oidc->want_heartbeat = false;
	issuer_sweep(oidc);
	heartbeat_params(oidc, &params, "running", details, sizeof(details));
	pg_send(&oidc->pg, heartbeat_sql, &params, 0, heartbeat_done, oidc);
}

static void
store_done(void *context, PGresult *result)
{
	Oidc	   *oidc = context;
	Issuer	   *issuer = oidc->storing;

	oidc->storing = NULL;
	/* A lost connection: the keys wait for the next one. */
	if (result != NULL && issuer != NULL)
	{
		if (pg_good(&oidc->pg, result, NULL))
		{
			log_debug("keys stored", F_STR("issuer", issuer->name), F_INT("max_age_s", issuer->max_age_s));
			issuer_stored(issuer);
		}
		else
			issuer_failed(issuer, oidc->pg.error, 0);
	}
	PQclear(result);
	control_next(oidc);
}

static void
send_store(Oidc *oidc, Issuer *issuer)
{
	PgParams	params = {.n = 0};

	oidc->storing = issuer;
	pg_text(&params, issuer->name);
	pg_text(&params, issuer->jwks);
	pg_int(&params, issuer->max_age_s);
	pg_text(&params, issuer->discovery.metadata);
	pg_send(&oidc->pg, store_sql, &params, 0, store_done, oidc);
}

static void
poll_done(void *context, PGresult *result)
{
	Oidc	   *oidc = context;

	loop_timer_in(&oidc->loop, &oidc->poll_timer, oidc->settings.poll_ms);
	if (result != NULL && pg_good(&oidc->pg, result, NULL))
	{
		for (int i = 0; i < PQntuples(result); i++)
			issuer_due(oidc, PQgetvalue(result, i, 0), *PQgetvalue(result, i, 1) == 't');
	}
	else if (result != NULL)
		trouble(oidc, "issuers not read");
	PQclear(result);
	control_next(oidc);
}

static void
send_poll(Oidc *oidc)
{
	PgParams	params = {.n = 0};

	oidc->want_poll = false;
	pg_send(&oidc->pg, due_sql, &params, 0, poll_done, oidc);
}

void
control_next(Oidc *oidc)
{
	Issuer	   *issuer;

	if (!pg_idle(&oidc->pg) || oidc->loop.stopping)
		return;
	issuer = issuer_to_store(oidc);
	if (issuer != NULL)
		send_store(oidc, issuer);
	else if (oidc->want_heartbeat)
		send_heartbeat(oidc);
	else if (oidc->want_poll)
		send_poll(oidc);
}

static void
poll_due(void *context)
{
	Oidc	   *oidc = context;

	oidc->want_poll = true;
	control_next(oidc);
}

static void
heartbeat_due(void *context)
{
	Oidc	   *oidc = context;

	loop_timer_in(&oidc->loop, &oidc->heartbeat_timer, oidc->settings.heartbeat_ms);
	oidc->want_heartbeat = true;
	control_next(oidc);
}

static void
connect_due(void *context)
{
	Oidc	   *oidc = context;

	if (oidc->pg.conn != NULL)
		return;
	if (!pg_connect(&oidc->pg, CONNECT_TIMEOUT_S))
	{
		trouble(oidc, "database not reachable");
		loop_timer_in(&oidc->loop, &oidc->connect_timer, backoff_next_ms(&oidc->connect_backoff));
		return;
	}
	backoff_reset(&oidc->connect_backoff);
	metric_add(&metric_connects, 1);
	atomic_store(&health.database, true);
	loop_timer_in(&oidc->loop, &oidc->heartbeat_timer, 0);
	loop_timer_in(&oidc->loop, &oidc->poll_timer, 0);
}

static void
database_lost(void *context)
{
	Oidc	   *oidc = context;

	atomic_store(&health.database, false);
	oidc->storing = NULL;
	snprintf(oidc->last_error, sizeof(oidc->last_error), "%s", oidc->pg.error);
	utf8_mend(oidc->last_error);
	loop_timer_off(&oidc->poll_timer);
	loop_timer_in(&oidc->loop, &oidc->connect_timer, backoff_next_ms(&oidc->connect_backoff));
}

void
control_init(Oidc *oidc)
{
	pg_init(&oidc->pg, &oidc->loop, oidc->settings.database, "backoffice oidc", oidc->settings.statement_timeout_ms);
	oidc->pg.lost = database_lost;
	oidc->pg.context = oidc;
	backoff_init(&oidc->connect_backoff, 100, 5000, (uint64_t) loop_monotonic_ms() * 17);
	loop_timer_init(&oidc->loop, &oidc->connect_timer, connect_due, oidc);
	loop_timer_init(&oidc->loop, &oidc->poll_timer, poll_due, oidc);
	loop_timer_init(&oidc->loop, &oidc->heartbeat_timer, heartbeat_due, oidc);
	loop_timer_in(&oidc->loop, &oidc->connect_timer, 0);
}

/* The statement on its way may finish; then a last word. Keys that are not stored are fetched again by the next worker. */
void
control_finish(Oidc *oidc)
{
	int64_t		until = loop_monotonic_ms() + FINISH_MS;
	PgParams	params;
	char		details[200];

	oidc->pg.lost = NULL;
	loop_timer_off(&oidc->poll_timer);
	loop_timer_off(&oidc->heartbeat_timer);
	loop_timer_off(&oidc->connect_timer);
	while (oidc->pg.conn != NULL && !pg_idle(&oidc->pg) && loop_monotonic_ms() < until)
		loop_once(&oidc->loop, 50);
	if (pg_idle(&oidc->pg))
	{
		heartbeat_params(oidc, &params, "stopped", details, sizeof(details));
		PQclear(pg_query(&oidc->pg, heartbeat_sql, &params, 0));
	}
	pg_close(&oidc->pg);
}
