/*
 * latency.c
 *		From COMMIT to a reader of Kafka, at a steady rate.
 *
 *	latency commit CONNINFO BOOTSTRAP TOPIC ORGANIZATION RATE SECONDS
 *		emits at that rate, each event in a transaction of its own
 *	latency direct BOOTSTRAP TOPIC RATE SECONDS
 *		gives the same messages to librdkafka's producer instead
 *
 * One process, one clock.  A thread consumes the topic and notes when it has
 * each message; that is later than the broker's acknowledgement by one fetch, so
 * the figure is an upper bound of commit to acknowledgement, and needs nobody's
 * word for it.  The clock starts when COMMIT has returned (commit), or before the
 * message is given to librdkafka (direct).  The first second is not counted.
 *
 * Prints p50, p99 and the longest in milliseconds, and the number of messages.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VALUE_BYTES 200
#define WAIT_S 30
#define MAX_MESSAGES 10000000

static _Atomic int64_t *started;	/* ns; when the clock of message n started */
static _Atomic int64_t *seen;
static int64_t total;
static atomic_int ready;
static atomic_int stop;

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
	fprintf(stderr, "latency: %s\n", what);
	exit(1);
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
		die(why);
}

static rd_kafka_t *
client(rd_kafka_type_t type, rd_kafka_conf_t *conf)
{
	char		why[256];
	rd_kafka_t *rk = rd_kafka_new(type, conf, why, sizeof(why));

	if (rk == NULL)
		die(why);
	return rk;
}

/* ---- the reader ---- */

typedef struct Reader
{
	const char *bootstrap;
	const char *topic;
} Reader;

static rd_kafka_topic_partition_list_t *
end_of(rd_kafka_t *rk, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
	const struct rd_kafka_metadata *metadata;

	if (rd_kafka_metadata(rk, 0, topic, &metadata, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR || metadata->topic_cnt != 1)
		die("no metadata");
	for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
	{
		int64_t		low,
					high;

		if (rd_kafka_query_watermark_offsets(rk, name, i, &low, &high, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
			die("no watermark");
		rd_kafka_topic_partition_list_add(list, name, i)->offset = high;
	}
	rd_kafka_metadata_destroy(metadata);
	rd_kafka_topic_destroy(topic);
	return list;
}

static void
note(const rd_kafka_message_t *message, int64_t now)
{
	char		text[VALUE_BYTES + 1];
	size_t		length = message->len < VALUE_BYTES ? message->len : VALUE_BYTES;
	const char *at;
	int64_t		n;

	memcpy(text, message->payload, length);
	text[length] = '\0';
	at = strstr(text, "\"n\":");
	if (at == NULL)
		return;
	n = atoll(at + 4);
	if (n >= 0 && n < total && atomic_load(&seen[n]) == 0)
		atomic_store(&seen[n], now);
}

static void *
read_topic(void *arg)
{
	Reader	   *reader = arg;
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	rd_kafka_topic_partition_list_t *list;

	set(conf, "bootstrap.servers", reader->bootstrap);
	set(conf, "group.id", "latency");
	set(conf, "enable.auto.commit", "false");
	rk = client(RD_KAFKA_CONSUMER, conf);
	rd_kafka_poll_set_consumer(rk);
	list = end_of(rk, reader->topic);
	rd_kafka_assign(rk, list);
	rd_kafka_topic_partition_list_destroy(list);
	atomic_store(&ready, 1);
	while (!atomic_load(&stop))
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 100);

		if (message == NULL)
			continue;
		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			note(message, now_ns());
		rd_kafka_message_destroy(message);
	}
	rd_kafka_consumer_close(rk);
	rd_kafka_destroy(rk);
	return NULL;
}

/* ---- the writers ---- */

static void
payload(char *text, int64_t n)
{
	int			used = snprintf(text, VALUE_BYTES, "{\"n\":%" PRId64 ",\"pad\":\"", n);

	memset(text + used, 'x', VALUE_BYTES - used - 2);
	strcpy(text + VALUE_BYTES - 2, "\"}");
}

static void
wait_for(int64_t at_ns)
{
	struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void
send_prepared(PGconn *conn, const char *name, int nparams, const char *const *params)
{
	if (!PQsendQueryPrepared(conn, name, nparams, params, NULL, NULL, 0))
		die(PQerrorMessage(conn));
}

static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(PQerrorMessage(conn));
	PQclear(result);
}

/* BEGIN, the principal, the event and COMMIT in one round trip. */
static void
commit_one(PGconn *conn, const char *organization, const char *topic, int64_t n)
{
	char		text[VALUE_BYTES + 1];
	char		key[24];
	const char *emit[3] = {topic, key, text};
	int			empty = 0;

	payload(text, n);
	snprintf(key, sizeof(key), "k%" PRId64, n % 1000);
	send_prepared(conn, "begin", 0, NULL);
	send_prepared(conn, "act", 1, &organization);
	send_prepared(conn, "emit", 3, emit);
	send_prepared(conn, "commit", 0, NULL);
	if (!PQpipelineSync(conn))
		die(PQerrorMessage(conn));
	while (empty < 2)
	{
		PGresult   *result = PQgetResult(conn);
		ExecStatusType status = PQresultStatus(result);

		if (result == NULL)
		{
			empty++;
			continue;
		}
		empty = 0;
		PQclear(result);
		if (status == PGRES_PIPELINE_SYNC)
			break;
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			die(PQerrorMessage(conn));
	}
	atomic_store(&started[n], now_ns());
}

static void
commit_all(const char *conninfo, const char *topic, const char *organization, int64_t rate)
{
	PGconn	   *conn = PQconnectdb(conninfo);
	int64_t		start;

	if (PQstatus(conn) != CONNECTION_OK)
		die(PQerrorMessage(conn));
	prepare(conn, "begin", "BEGIN");
	prepare(conn, "act", "SELECT access.act_as($1, NULL)");
	prepare(conn, "emit", "SELECT events.emit($1, $2, 'bench.happened', $3)");
	prepare(conn, "commit", "COMMIT");
	if (!PQenterPipelineMode(conn))
		die(PQerrorMessage(conn));
	start = now_ns();
	for (int64_t n = 0; n < total; n++)
	{
		wait_for(start + n * 1000000000 / rate);
		commit_one(conn, organization, topic, n);
	}
	PQfinish(conn);
}

static void
produce_all(const char *bootstrap, const char *topic, int64_t rate)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	int64_t		start;

	set(conf, "bootstrap.servers", bootstrap);
	set(conf, "acks", "all");
	set(conf, "enable.idempotence", "true");
	set(conf, "linger.ms", "0");
	rk = client(RD_KAFKA_PRODUCER, conf);
	start = now_ns();
	for (int64_t n = 0; n < total; n++)
	{
		char		text[VALUE_BYTES + 1];
		char		key[24];

		wait_for(start + n * 1000000000 / rate);
		payload(text, n);
		snprintf(key, sizeof(key), "k%" PRId64, n % 1000);
		atomic_store(&started[n], now_ns());
		if (rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)), RD_KAFKA_V_VALUE(text, VALUE_BYTES),
							  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END) != RD_KAFKA_RESP_ERR_NO_ERROR)
			die("the producer's queue is full");
		rd_kafka_poll(rk, 0);
	}
	if (rd_kafka_flush(rk, WAIT_S * 1000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		die("not everything was acknowledged");
	rd_kafka_destroy(rk);
}

/* ---- the answer ---- */

static int
compare(const void *a, const void *b)
{
	int64_t		left = *(const int64_t *) a,
				right = *(const int64_t *) b;

	return left < right ? -1 : left > right;
}

static void
wait_until_all_seen(void)
{
	int64_t		limit = now_ns() + WAIT_S * INT64_C(1000000000);

	for (int64_t n = 0; n < total; n++)
		while (atomic_load(&seen[n]) == 0)
		{
			if (now_ns() > limit)
				die("not every message arrived");
			wait_for(now_ns() + 10000000);
		}
}

static void
answer(int64_t skip)
{
	int64_t	   *took = malloc(sizeof(int64_t) * (size_t) total);
	int64_t		count = total - skip;

	if (took == NULL)
		die("out of memory");
	/* Read back before COMMIT had returned to us: no time at all. */
	for (int64_t n = 0; n < count; n++)
	{
		took[n] = seen[skip + n] - started[skip + n];
		if (took[n] < 0)
			took[n] = 0;
	}
	qsort(took, (size_t) count, sizeof(int64_t), compare);
	printf("%.3f %.3f %.3f %" PRId64 "\n", (double) took[count / 2] / 1e6, (double) took[count * 99 / 100] / 1e6,
		   (double) took[count - 1] / 1e6, count);
	free(took);
}

int
main(int argc, char **argv)
{
	int			direct = argc == 6 && strcmp(argv[1], "direct") == 0;
	Reader		reader;
	pthread_t	thread;
	int64_t		rate;

	if (!direct && (argc != 8 || strcmp(argv[1], "commit") != 0))
		die("usage: latency commit CONNINFO BOOTSTRAP TOPIC ORGANIZATION RATE SECONDS | latency direct BOOTSTRAP TOPIC RATE SECONDS");
	reader.bootstrap = argv[direct ? 2 : 3];
	reader.topic = argv[direct ? 3 : 4];
	rate = atoll(argv[argc - 2]);
	total = rate * atoll(argv[argc - 1]);
	if (rate < 1 || total <= rate || total > MAX_MESSAGES)
		die("RATE and SECONDS are out of range");
	started = calloc((size_t) total, sizeof(*started));
	seen = calloc((size_t) total, sizeof(*seen));
	if (started == NULL || seen == NULL || pthread_create(&thread, NULL, read_topic, &reader) != 0)
		die("out of memory");
	while (!atomic_load(&ready))
		wait_for(now_ns() + 10000000);
	if (direct)
		produce_all(argv[2], argv[3], rate);
	else
		commit_all(argv[2], argv[4], argv[5], rate);
	wait_until_all_seen();
	atomic_store(&stop, 1);
	pthread_join(thread, NULL);
	answer(rate);
	return 0;
}
