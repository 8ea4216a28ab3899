#include "gateway/stats.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/methods.h"
#include "gateway/routes.h"
#include "gateway/shared.h"

typedef struct Described
{
	const char *name;
	const char *help;
} Described;

static const Described counters[STAT_COUNT] = {
	[STAT_REFUSED] = {"backoffice_gateway_refused_total", "Requests that were not strict HTTP."},
	[STAT_TIMEOUTS] = {"backoffice_gateway_slow_requests_total", "Connections ended because a head or body came, or an answer was taken, too slowly."},
	[STAT_CLIENT_GONE] = {"backoffice_gateway_clients_gone_total", "Clients that left before their answer."},
	[STAT_LIMITED] = {"backoffice_gateway_rate_limited_total", "Requests over a rate limit."},
	[STAT_SHED] = {"backoffice_gateway_shed_total", "Requests answered 503 because too many were waiting."},
	[STAT_QUEUED] = {"backoffice_gateway_queued_total", "Calls that had to wait for a connection."},
	[STAT_STACKED] = {"backoffice_gateway_stacked_total", "Calls sent behind others on a busy connection."},
	[STAT_CALLS] = {"backoffice_gateway_calls_total", "Calls sent to the database."},
	[STAT_CALLS_FAILED] = {"backoffice_gateway_calls_failed_total", "Calls that ended in an error."},
	[STAT_CALLS_LOST] = {"backoffice_gateway_calls_lost_total", "Calls whose connection broke."},
	[STAT_CANCELLED] = {"backoffice_gateway_cancelled_total", "Calls cancelled because the client had left."},
	[STAT_CONNECTS] = {"backoffice_gateway_database_connects_total", "Connections made to databases."},
	[STAT_STREAMS_OPENED] = {"backoffice_gateway_streams_total", "Event streams and WebSockets opened."},
	[STAT_EVENTS_SENT] = {"backoffice_gateway_events_sent_total", "Events sent to listeners."},
};

static const Described gauges[GAUGE_COUNT] = {
	[GAUGE_CONNECTIONS] = {"backoffice_gateway_connections", "Open client connections."},
	[GAUGE_DATABASE_CONNECTIONS] = {"backoffice_gateway_database_connections", "Usable connections to databases."},
	[GAUGE_IN_FLIGHT] = {"backoffice_gateway_calls_in_flight", "Calls at the database now."},
	[GAUGE_WAITING] = {"backoffice_gateway_calls_waiting", "Calls waiting for a connection now."},
	[GAUGE_STREAMS] = {"backoffice_gateway_streams", "Open event streams and WebSockets."},
	[GAUGE_ANSWER_BYTES] = {"backoffice_gateway_answer_bytes", "Answers that wait for their clients."},
};

static ProcessStats *
mine(const Gateway *gateway)
{
	return &gateway->shared->processes[gateway->process];
}

/* One writer per process: no locked addition is needed. */
static void
add(atomic_int_fast64_t *counter, int64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

void
stats_count(Gateway *gateway, Stat stat)
{
	add(&mine(gateway)->counters[stat], 1);
}

void
stats_gauge(Gateway *gateway, Gauge gauge, int64_t value)
{
	atomic_store_explicit(&mine(gateway)->gauges[gauge], value, memory_order_relaxed);
}

void
stats_connections(Gateway *gateway, int change)
{
	add(&mine(gateway)->gauges[GAUGE_CONNECTIONS], change);
}

void
stats_reset_gauges(Gateway *gateway)
{
	for (int i = 0; i < GAUGE_COUNT; i++)
		stats_gauge(gateway, (Gauge) i, 0);
}

void
stats_request(Gateway *gateway, int route_number, int status, int64_t us)
{
	RouteStats *route = &mine(gateway)->routes[route_number];
	int			bucket = metric_bucket_us(us);

	add(&route->classes[status >= 100 && status < 600 ? status / 100 : 0], 1);
	add(&route->buckets[bucket], 1);
	add(&route->sum_us, us);
}

/* ---- showing ---- */

static int64_t
sum(const Gateway *gateway, size_t offset)
{
	int64_t		total = 0;

	for (int i = 0; i < gateway->settings.processes; i++)
		total += atomic_load_explicit((const atomic_int_fast64_t *) (const void *) ((const char *) &gateway->shared->processes[i] + offset),
									  memory_order_relaxed);
	return total;
}

static void
render_route_counts(const Gateway *gateway, FILE *out, int number, const char *labels)
{
	for (int class = 0; class < STATS_CLASSES; class++)
	{
		int64_t		n = sum(gateway, offsetof(ProcessStats, routes) + (size_t) number * sizeof(RouteStats) +
							offsetof(RouteStats, classes) + (size_t) class * sizeof(atomic_int_fast64_t));

		if (n > 0)
			fprintf(out, "backoffice_gateway_requests_total{%s,status=\"%dxx\"} %" PRId64 "\n", labels, class, n);
	}
}

static void
render_route_times(const Gateway *gateway, FILE *out, int number, const char *labels)
{
	size_t		base = offsetof(ProcessStats, routes) + (size_t) number * sizeof(RouteStats);
	Metric		metric = {.name = "backoffice_gateway_request_seconds", .type = METRIC_HISTOGRAM, .labels = labels};
	int64_t		any = 0;

	for (int i = 0; i <= METRIC_BUCKETS; i++)
	{
		int64_t		n = sum(gateway, base + offsetof(RouteStats, buckets) + (size_t) i * sizeof(atomic_int_fast64_t));

		any += n;
		atomic_init(&metric.buckets[i], n);
	}
	atomic_init(&metric.value, sum(gateway, base + offsetof(RouteStats, sum_us)));
	if (any > 0)
		metric_render(out, &metric);
}

static void
route_labels(int number, char *labels, size_t size)
{
	if (number == route_count)
		snprintf(labels, size, "route=\"none\",method=\"any\"");
	else
		snprintf(labels, size, "route=\"%s\",method=\"%s\"", routes[number].pattern, method_name(routes[number].method));
}

char *
stats_render(const Gateway *gateway)
{
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);
	char		labels[200];

	if (out == NULL)
		return NULL;
	for (int i = 0; i < STAT_COUNT; i++)
		fprintf(out, "# HELP %s %s\n# TYPE %s counter\n%s %" PRId64 "\n", counters[i].name, counters[i].help, counters[i].name,
				counters[i].name, sum(gateway, offsetof(ProcessStats, counters) + (size_t) i * sizeof(atomic_int_fast64_t)));
	for (int i = 0; i < GAUGE_COUNT; i++)
		fprintf(out, "# HELP %s %s\n# TYPE %s gauge\n%s %" PRId64 "\n", gauges[i].name, gauges[i].help, gauges[i].name,
				gauges[i].name, sum(gateway, offsetof(ProcessStats, gauges) + (size_t) i * sizeof(atomic_int_fast64_t)));
	fprintf(out, "# HELP backoffice_gateway_restarts_total Processes restarted after they ended unexpectedly.\n"
			"# TYPE backoffice_gateway_restarts_total counter\nbackoffice_gateway_restarts_total %" PRId64 "\n",
			(int64_t) atomic_load(&gateway->shared->restarts));
	fprintf(out, "# HELP backoffice_gateway_requests_total Requests by route and status.\n# TYPE backoffice_gateway_requests_total counter\n");
	for (int i = 0; i <= route_count; i++)
	{
		route_labels(i, labels, sizeof(labels));
		render_route_counts(gateway, out, i, labels);
	}
	fprintf(out, "# HELP backoffice_gateway_request_seconds From the request line to the end of the answer.\n"
			"# TYPE backoffice_gateway_request_seconds histogram\n");
	for (int i = 0; i <= route_count; i++)
	{
		route_labels(i, labels, sizeof(labels));
		render_route_times(gateway, out, i, labels);
	}
	if (fclose(out) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}
