/* One process: loop, server, pools; drains when it is told to. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gateway/events.h"
#include "gateway/fetch.h"
#include "gateway/gateway.h"
#include "gateway/health.h"
#include "gateway/intercept.h"
#include "gateway/pool.h"
#include "gateway/process.h"
#include "gateway/rpc_serve.h"
#include "gateway/server.h"
#include "gateway/shared.h"
#include "gateway/stats.h"
#include "lib/log.h"

int64_t
gateway_monotonic_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
begin_draining(Gateway *gateway)
{
	gateway->draining = true;
	log_info("draining", F_INT("requests", server_requests(gateway->server)));
	server_drain(gateway->server);
	health_drain(gateway->health);
	events_drain(gateway->events);
}

static int64_t
shorter(int64_t a, int64_t b)
{
	return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static bool
calls_over(const Gateway *gateway)
{
	PoolState	state;

	pools_state(gateway->pools, &state);
	return state.in_flight == 0 && state.queued == 0;
}

static void
run(Gateway *gateway)
{
	int64_t		until_ms = LOOP_NEVER;

	for (;;)
	{
		loop_once(&gateway->loop, shorter(server_wait_ms(gateway->server), gateway->draining ? 20 : 1000));
		gateway->now_us = gateway_monotonic_us();
		atomic_fetch_add_explicit(&gateway->shared->processes[gateway->process].rounds, 1, memory_order_relaxed);
		/* The database goes on with what took the place of finished calls, while their answers are sent. */
		pools_flush(gateway->pools);
		server_run(gateway->server);
		pools_flush(gateway->pools);
		if (gateway->loop.stopping && !gateway->draining)
		{
			until_ms = loop_monotonic_ms() + gateway->settings.drain_ms;
			begin_draining(gateway);
		}
		if (!gateway->draining)
			continue;
		if (server_requests(gateway->server) == 0 && calls_over(gateway) && events_listeners(gateway->events) == 0)
			break;
		if (loop_monotonic_ms() >= until_ms)
		{
			log_warn("not all requests ended in time", F_INT("requests", server_requests(gateway->server)));
			break;
		}
	}
}

int
process_child(Gateway *gateway)
{
	if (!intercept_init() || !loop_init(&gateway->loop, loop_monotonic_ms))
	{
		log_error("could not start the loop");
		return 1;
	}
	gateway->now_us = gateway_monotonic_us();
	stats_reset_gauges(gateway);
	gateway->pools = pools_open(gateway, stderr);
	if (gateway->pools == NULL)
		return 1;
	pools_start(gateway->pools);
	gateway->health = health_open(gateway);
	gateway->rpc = rpc_service_open(gateway);
	gateway->fetcher = fetcher_open(gateway);
	gateway->server = gateway->fetcher == NULL ? NULL : gateway->health != NULL && gateway->rpc != NULL ? server_open(gateway) : NULL;
	gateway->events = gateway->server != NULL ? events_start(gateway) : NULL;
	if (gateway->events == NULL)
		return 1;
	log_info("serving", F_INT("process", gateway->process), F_INT("port", gateway->port), F_INT("pid", getpid()));
	run(gateway);
	events_hang_up(gateway->events);
	server_close(gateway->server);
	events_stop(gateway->events);
	rpc_service_close(gateway->rpc);
	fetcher_close(gateway->fetcher);
	health_close(gateway->health);
	pools_close(gateway->pools);
	loop_close(&gateway->loop);
	log_info("stopped", F_INT("process", gateway->process));
	return 0;
}
