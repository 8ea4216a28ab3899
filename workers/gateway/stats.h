/* Metrics, one block per process in the shared mapping; any process shows the sum. */
#ifndef BACKOFFICE_STATS_H
#define BACKOFFICE_STATS_H

#include <stdatomic.h>

#include "gateway/gateway.h"
#include "lib/metrics.h"

#define STATS_MAX_ROUTES 160
#define STATS_CLASSES 6			/* of statuses: 0xx (no answer), 1xx, ... 5xx */

typedef enum Stat
{
	STAT_REFUSED,				/* not strict HTTP */
	STAT_TIMEOUTS,				/* heads and bodies that came too slowly */
	STAT_CLIENT_GONE,
	STAT_LIMITED,				/* 429 */
	STAT_SHED,
	STAT_QUEUED,
	STAT_STACKED,
	STAT_CALLS,
	STAT_CALLS_FAILED,
	STAT_CALLS_LOST,
	STAT_CANCELLED,
	STAT_CONNECTS,
	STAT_STREAMS_OPENED,
	STAT_EVENTS_SENT,
	STAT_COUNT
} Stat;

typedef enum Gauge
{
	GAUGE_CONNECTIONS,
	GAUGE_DATABASE_CONNECTIONS,
	GAUGE_IN_FLIGHT,
	GAUGE_WAITING,
	GAUGE_STREAMS,
	GAUGE_ANSWER_BYTES,
	GAUGE_COUNT
} Gauge;

typedef struct RouteStats
{
	atomic_int_fast64_t classes[STATS_CLASSES];
	atomic_int_fast64_t sum_us;
	atomic_int_fast64_t buckets[METRIC_BUCKETS + 1];
} RouteStats;

typedef struct ProcessStats
{
	atomic_int_fast64_t counters[STAT_COUNT];
	atomic_int_fast64_t gauges[GAUGE_COUNT];
	RouteStats	routes[STATS_MAX_ROUTES];
	atomic_int_fast64_t rounds;	/* of the loop: what stands still is stuck */
} ProcessStats;

extern void stats_count(Gateway *gateway, Stat stat);
extern void stats_gauge(Gateway *gateway, Gauge gauge, int64_t value);
extern void stats_connections(Gateway *gateway, int change);
extern void stats_request(Gateway *gateway, int route_number, int status, int64_t us);

/* A child was restarted: its gauges begin at nothing. */
extern void stats_reset_gauges(Gateway *gateway);

/* Prometheus' text; to be freed. NULL: out of memory. */
extern char *stats_render(const Gateway *gateway);

#endif
