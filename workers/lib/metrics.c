#include "lib/metrics.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/loop.h"

#define MAX_METRICS 64
#define STUCK_MS 30000

Health		health;

static Metric *registered[MAX_METRICS];
static size_t registered_count;
static struct MHD_Daemon *daemon_handle;

/* Upper bounds of histogram buckets, in microseconds. */
static const int64_t bounds_us[METRIC_BUCKETS] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000
};

void
metrics_register(Metric *const *metrics, size_t n)
{
	for (size_t i = 0; i < n && registered_count < MAX_METRICS; i++)
		registered[registered_count++] = metrics[i];
}

/* One writer: a load and a store do, without the locked bus of a fetch-and-add. */
static void
add(atomic_int_fast64_t *counter, int64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

void
metric_add(Metric *metric, int64_t n)
{
	add(&metric->value, n);
}

void
metric_set(Metric *metric, int64_t value)
{
	atomic_store_explicit(&metric->value, value, memory_order_relaxed);
}

int
metric_bucket_us(int64_t us)
{
	int			bucket = 0;

	while (bucket < METRIC_BUCKETS && us > bounds_us[bucket])
		bucket++;
	return bucket;
}

void
metric_observe_us(Metric *metric, int64_t us)
{
	/* Two machines' clocks, or one that was set back: a sum must not sink. */
	us = us < 0 ? 0 : us;
	add(&metric->buckets[metric_bucket_us(us)], 1);
	add(&metric->value, us);
}

void
metric_render(FILE *out, Metric *metric)
{
	int64_t		total = 0;
	const char *labels = metric->labels != NULL ? metric->labels : "";
	const char *comma = metric->labels != NULL ? "," : "";

	for (int i = 0; i < METRIC_BUCKETS; i++)
	{
		total += atomic_load_explicit(&metric->buckets[i], memory_order_relaxed);
		fprintf(out, "%s_bucket{%s%sle=\"%g\"} %" PRId64 "\n", metric->name, labels, comma, (double) bounds_us[i] / 1e6, total);
	}
	total += atomic_load_explicit(&metric->buckets[METRIC_BUCKETS], memory_order_relaxed);
	fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRId64 "\n", metric->name, labels, comma, total);
	fprintf(out, "%s_sum%s%s%s %.6f\n", metric->name, *labels ? "{" : "", labels, *labels ? "}" : "",
			(double) atomic_load_explicit(&metric->value, memory_order_relaxed) / 1e6);
	fprintf(out, "%s_count%s%s%s %" PRId64 "\n", metric->name, *labels ? "{" : "", labels, *labels ? "}" : "", total);
}

char *
metrics_render(void)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);
	const char *last = "";

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < registered_count; i++)
	{
		Metric	   *metric = registered[i];

		if (strcmp(metric->name, last) != 0)
			fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, types[metric->type]);
		last = metric->name;
		if (metric->type == METRIC_HISTOGRAM)
			metric_render(out, metric);
		else
			fprintf(out, "%s%s%s%s %" PRId64 "\n", metric->name, metric->labels ? "{" : "",
					metric->labels ? metric->labels : "", metric->labels ? "}" : "",
					atomic_load_explicit(&metric->value, memory_order_relaxed));
	}
	if (fclose(out) != 0)
	{
		free(text);
		return NULL;
	}
	return text;
}

char *
health_render(int64_t now_ms, bool *healthy)
{
	bool		database = atomic_load(&health.database);
	bool		needs_kafka = !atomic_load(&health.no_kafka);
	bool		kafka = atomic_load(&health.kafka);
	const char *broker = !needs_kafka ? "" : kafka ? "\"kafka\":true," : "\"kafka\":false,";
	bool		alive = now_ms - atomic_load(&health.progress_ms) < STUCK_MS;
	bool		stopping = atomic_load(&health.stopping);
	char	   *text = NULL;

	*healthy = database && (kafka || !needs_kafka) && alive && !stopping;
	if (asprintf(&text, "{\"status\":\"%s\",\"database\":%s,%s\"alive\":%s,\"stopping\":%s}\n",
				 *healthy ? "ok" : "unavailable", database ? "true" : "false", broker, alive ? "true" : "false", stopping ? "true" : "false") < 0)
		return NULL;
	return text;
}

static enum MHD_Result
answer(void *context, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	   const char *upload, size_t *upload_size, void **request)
{
	static int	seen;
	struct MHD_Response *response;
	const char *type = "text/plain; version=0.0.4; charset=utf-8";
	unsigned int status = MHD_HTTP_OK;
	bool		healthy = true;
	char	   *text = NULL;
	enum MHD_Result result;

	(void) context, (void) version, (void) upload;
	if (*request == NULL)
	{
		*request = &seen;
		return MHD_YES;
	}
	*upload_size = 0;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		status = MHD_HTTP_METHOD_NOT_ALLOWED;
	else if (strcmp(url, "/metrics") == 0)
		text = metrics_render();
	else if (strcmp(url, "/health") == 0)
	{
		text = health_render(loop_monotonic_ms(), &healthy);
		type = "application/json";
		status = healthy ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
	}
	else
		status = MHD_HTTP_NOT_FOUND;
	if (text == NULL)
	{
		text = strdup("\n");
		if (text == NULL)
			return MHD_NO;
		status = status == MHD_HTTP_OK ? MHD_HTTP_INTERNAL_SERVER_ERROR : status;
	}
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (response == NULL)
	{
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

int
metrics_serve(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	const union MHD_DaemonInfo *info;

	if (port < 0)
		return -1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	daemon_handle = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL, (uint16_t) port, NULL, NULL, answer, NULL,
									 MHD_OPTION_SOCK_ADDR, &address,
									 MHD_OPTION_CONNECTION_LIMIT, (unsigned int) 16,
									 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int) 10,
									 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) 32768, MHD_OPTION_END);
	if (daemon_handle == NULL)
		return -1;
	info = MHD_get_daemon_info(daemon_handle, MHD_DAEMON_INFO_BIND_PORT);
	return info != NULL ? info->port : port;
}

void
metrics_close(void)
{
	if (daemon_handle != NULL)
		MHD_stop_daemon(daemon_handle);
	daemon_handle = NULL;
}
