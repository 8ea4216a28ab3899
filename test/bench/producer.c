/*
 * producer.c
 *		What the relay is measured against: librdkafka's producer alone, as its own
 *		rdkafka_performance drives it, and a watcher of how fast a topic grows.
 *
 *	producer send BOOTSTRAP TOPIC COUNT BYTES [headers]
 *		as fast as it can, acks=all, idempotent; with the headers of an event if asked
 *	producer watch BOOTSTRAP TOPIC COUNT
 *		prints "ready", waits until the topic has COUNT messages more than now, then prints
 *		their rate from the first it saw to the last
 */
#include <errno.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_S 120
#define POLL_US 10000
#define MAX_PARTITIONS 64

static int64_t delivered;
static int64_t failed;

static int64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
die(const char *what)
{
	fprintf(stderr, "producer: %s\n", what);
	exit(1);
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
		die(why);
}

static void
report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
		failed++;
	else
		delivered++;
}

static rd_kafka_t *
client(rd_kafka_type_t type, const char *bootstrap)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		why[256];
	rd_kafka_t *rk;

	set(conf, "bootstrap.servers", bootstrap);
	if (type == RD_KAFKA_PRODUCER)
	{
		set(conf, "acks", "all");
		set(conf, "enable.idempotence", "true");
		set(conf, "queue.buffering.max.messages", "500000");
		rd_kafka_conf_set_dr_msg_cb(conf, report);
	}
	rk = rd_kafka_new(type, conf, why, sizeof(why));
	if (rk == NULL)
		die(why);
	return rk;
}

static rd_kafka_headers_t *
event_headers(void)
{
	static const char *const header[][2] = {
		{"ce_id", "0193c1a2-7d4e-7abc-8def-0123456789ab"}, {"ce_type", "bench.happened"},
		{"ce_source", "/backoffice"}, {"ce_time", "2026-11-21T09:00:00.123456Z"}, {"ce_specversion", "1.0"},
		{"content-type", "application/json"}, {"organization_id", "0193c1a2-7d4e-7abc-8def-0123456789ac"}
	};
	rd_kafka_headers_t *headers = rd_kafka_headers_new(8);

	for (size_t i = 0; i < sizeof(header) / sizeof(header[0]); i++)
		rd_kafka_header_add(headers, header[i][0], -1, header[i][1], -1);
	return headers;
}

static void
produce(rd_kafka_t *rk, const char *topic, const char *key, char *value, size_t bytes, int with_headers)
{
	for (;;)
	{
		rd_kafka_headers_t *headers = with_headers ? event_headers() : NULL;
		rd_kafka_resp_err_t err = with_headers ?
			rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)),
							  RD_KAFKA_V_VALUE(value, bytes), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END) :
			rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)),
							  RD_KAFKA_V_VALUE(value, bytes), RD_KAFKA_V_END);

		if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
			return;
		if (headers != NULL)
			rd_kafka_headers_destroy(headers);
		if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			die(rd_kafka_err2str(err));
		rd_kafka_poll(rk, 10);
	}
}

static void
send_all(const char *bootstrap, const char *topic, int64_t count, size_t bytes, int with_headers)
{
	rd_kafka_t *rk = client(RD_KAFKA_PRODUCER, bootstrap);
	char	   *value = malloc(bytes + 1);
	int64_t		start;

	if (value == NULL)
		die("out of memory");
	memset(value, 'x', bytes);
	start = now_ns();
	for (int64_t i = 0; i < count; i++)
	{
		char		key[24];

		snprintf(key, sizeof(key), "k%" PRId64, i % 10000);
		produce(rk, topic, key, value, bytes, with_headers);
		if (i % 1000 == 0)
			rd_kafka_poll(rk, 0);
	}
	if (rd_kafka_flush(rk, TIMEOUT_S * 1000) != RD_KAFKA_RESP_ERR_NO_ERROR || failed > 0 || delivered != count)
		die("not everything was delivered");
	printf("%.1f\n", (double) count * 1e9 / (double) (now_ns() - start));
	rd_kafka_destroy(rk);
	free(value);
}

static int
partitions_of(rd_kafka_t *rk, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	const struct rd_kafka_metadata *metadata;
	int			count;

	if (rd_kafka_metadata(rk, 0, topic, &metadata, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1)
		die("no metadata");
	count = metadata->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	rd_kafka_topic_destroy(topic);
	if (count < 1 || count > MAX_PARTITIONS)
		die("no such topic");
	return count;
}

static int64_t
size_of(rd_kafka_t *rk, const char *topic, int partitions)
{
	int64_t		sum = 0;

	for (int i = 0; i < partitions; i++)
	{
		int64_t		low,
					high;

		if (rd_kafka_query_watermark_offsets(rk, topic, i, &low, &high, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
			die("no watermark");
		sum += high;
	}
	return sum;
}

static void
watch(const char *bootstrap, const char *topic, int64_t count)
{
	rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, bootstrap);
	int			partitions = partitions_of(rk, topic);
	int64_t		base = size_of(rk, topic, partitions);
	int64_t		first_ns = 0,
				first = 0,
				limit = now_ns() + TIMEOUT_S * INT64_C(1000000000);

	printf("ready\n");
	fflush(stdout);
	while (now_ns() < limit)
	{
		struct timespec pause = {0, POLL_US * 1000};
		int64_t		now,
					seen = size_of(rk, topic, partitions) - base;

		now = now_ns();
		if (first_ns == 0 && seen > 0)
		{
			first_ns = now;
			first = seen;
		}
		if (seen >= count)
		{
			printf("%.1f\n", (double) (seen - first) * 1e9 / (double) (now - first_ns));
			rd_kafka_destroy(rk);
			return;
		}
		nanosleep(&pause, NULL);
	}
	die("the messages did not come in time");
}

int
main(int argc, char **argv)
{
	if (argc >= 6 && strcmp(argv[1], "send") == 0)
		send_all(argv[2], argv[3], atoll(argv[4]), (size_t) atoll(argv[5]), argc > 6);
	else if (argc == 5 && strcmp(argv[1], "watch") == 0)
		watch(argv[2], argv[3], atoll(argv[4]));
	else
		die("usage: producer send BOOTSTRAP TOPIC COUNT BYTES [headers] | producer watch BOOTSTRAP TOPIC COUNT");
	return 0;
}
