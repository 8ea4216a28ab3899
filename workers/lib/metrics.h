/*
 * Counters, gauges and histograms, and the loopback port that shows them:
 * GET /metrics (Prometheus text) and GET /health (JSON; 503 when not healthy).
 */
#ifndef BACKOFFICE_METRICS_H
#define BACKOFFICE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define METRIC_BUCKETS 16

typedef enum MetricType
{
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM			/* observed in microseconds, shown in seconds */
} MetricType;

typedef struct Metric
{
	const char *name;
	const char *help;
	MetricType	type;
	const char *labels;			/* as in the text, without braces, or NULL */
	atomic_int_fast64_t value;	/* histogram: sum of microseconds */
	atomic_int_fast64_t buckets[METRIC_BUCKETS + 1];
} Metric;

/* What /health says; fields are set by the worker's thread, read by the port's. */
typedef struct Health
{
	atomic_bool database;
	atomic_bool kafka;
	atomic_bool no_kafka;		/* a worker that has nothing to do with Kafka */
	atomic_bool stopping;
	atomic_int_fast64_t progress_ms;	/* monotonic time of the last sign of life of the loop */
} Health;

extern Health health;

/*
 * Each metric is written by one thread, and read by the port's.
 * Metrics that share a name must be registered one after the other.
 */
extern void metrics_register(Metric *const *metrics, size_t n);
extern void metric_add(Metric *metric, int64_t n);
extern void metric_set(Metric *metric, int64_t value);
extern void metric_observe_us(Metric *metric, int64_t us);

/* The histogram's bucket of so many microseconds. */
extern int	metric_bucket_us(int64_t us);

/* A histogram's lines alone, without HELP and TYPE. */
extern void metric_render(FILE *out, Metric *metric);

/* The text of /metrics; to be freed. NULL: out of memory. */
extern char *metrics_render(void);
extern char *health_render(int64_t now_ms, bool *healthy);

/* Serves on 127.0.0.1: port 0 asks for a free one, a negative port serves nothing. Returns the port, -1 when it can't. */
extern int	metrics_serve(int port);
extern void metrics_close(void);

#endif
