/* The side of Kafka: membership of the group, and where partitions go on. */
#include "kafka-ingest/ingest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/kafka.h"
#include "lib/log.h"

#define LEAVE_MS 5000

static void rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *partitions, void *context);

static void
kafka_error(rd_kafka_t *consumer, int err, const char *reason, void *context)
{
	Ingest	   *ingest = context;

	(void) consumer;
	if (kafka_trouble(err, reason))
		ingest_note_error(ingest, reason);
}

static int
statistics(rd_kafka_t *consumer, char *json, size_t len, void *context)
{
	(void) consumer, (void) len, (void) context;
	kafka_reachable(strstr(json, "\"state\":\"UP\"") != NULL);
	return 0;
}

static rd_kafka_conf_t *
consumer_conf(const IngestSettings *settings, char *error, size_t size)
{
	rd_kafka_conf_t *conf = kafka_conf(settings->bootstrap, settings->instance, settings->kafka_config, error, size);

	if (conf == NULL)
		return NULL;
	kafka_set(conf, "group.id", settings->group);
	kafka_set(conf, "enable.auto.commit", "false");
	kafka_set(conf, "enable.auto.offset.store", "false");
	kafka_set(conf, "auto.offset.reset", "earliest");
	kafka_set(conf, "isolation.level", "read_committed");
	kafka_set(conf, "check.crcs", "true");
	kafka_set(conf, "partition.assignment.strategy", "range,roundrobin");
	kafka_set_int(conf, "session.timeout.ms", settings->session_timeout_ms);
	kafka_set_int(conf, "heartbeat.interval.ms", settings->session_timeout_ms / 10 > 3000 ? 3000 : settings->session_timeout_ms / 10);
	kafka_set(conf, "fetch.wait.max.ms", "100");
	kafka_set(conf, "topic.metadata.refresh.interval.ms", "5000");
	/* What may wait in memory: a quarter of it is messages of one fetch. */
	kafka_set(conf, "queued.max.messages.kbytes", "32768");
	kafka_set(conf, "queued.min.messages", "5000");
	kafka_set(conf, "statistics.interval.ms", "5000");
	rd_kafka_conf_set_rebalance_cb(conf, rebalance);
	rd_kafka_conf_set_error_cb(conf, kafka_error);
	rd_kafka_conf_set_stats_cb(conf, statistics);
	return conf;
}

bool
consume_check(const IngestSettings *settings, char *error, size_t size)
{
	rd_kafka_conf_t *conf = consumer_conf(settings, error, size);

	return conf != NULL && kafka_check(conf, RD_KAFKA_CONSUMER, settings->kafka_config, error, size);
}

static void
queue_ready(void *context, uint32_t events)
{
	Ingest	   *ingest = context;

	(void) events;
	kafka_drain_fd(ingest->queue_fd);
	ingest->more = true;
}

bool
consume_start(Ingest *ingest)
{
	char		error[512];
	rd_kafka_conf_t *conf = consumer_conf(&ingest->settings, error, sizeof(error));

	if (conf == NULL)
		return false;
	rd_kafka_conf_set_opaque(conf, ingest);
	ingest->consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
	if (ingest->consumer == NULL)
	{
		log_error("no consumer", F_STR("error", error));
		return false;
	}
	rd_kafka_poll_set_consumer(ingest->consumer);
	ingest->queue = rd_kafka_queue_get_consumer(ingest->consumer);
	ingest->queue_fd = kafka_queue_fd(ingest->queue);
	return ingest->queue_fd >= 0 && loop_watch(&ingest->loop, ingest->queue_fd, EPOLLIN, queue_ready, ingest);
}

static bool
same_topics(const rd_kafka_topic_partition_list_t *one, const rd_kafka_topic_partition_list_t *other)
{
	int			count = other != NULL ? other->cnt : 0;

	for (int i = 0; i < one->cnt && i < count; i++)
		if (strcmp(one->elems[i].topic, other->elems[i].topic) != 0)
			return false;
	return one->cnt == count;
}

/* Rows of topic names, always in the same order; subscribes anew when they changed. */
void
consume_subscribe(Ingest *ingest, const PGresult *topics)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(PQntuples(topics));
	rd_kafka_topic_partition_list_t *done_with = list;
	rd_kafka_resp_err_t err;

	for (int i = 0; i < PQntuples(topics); i++)
		rd_kafka_topic_partition_list_add(list, PQgetvalue(topics, i, 0), RD_KAFKA_PARTITION_UA);
	if (!same_topics(list, ingest->subscribed))
	{
		err = list->cnt > 0 ? rd_kafka_subscribe(ingest->consumer, list) : rd_kafka_unsubscribe(ingest->consumer);
		if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
			ingest_trouble(ingest, "topics not subscribed", rd_kafka_err2str(err));
		else
		{
			log_info("subscribed", F_INT("topics", list->cnt), F_STR("first", list->cnt > 0 ? list->elems[0].topic : NULL));
			done_with = ingest->subscribed;
			ingest->subscribed = list;
		}
	}
	if (done_with != NULL)
		rd_kafka_topic_partition_list_destroy(done_with);
}

void
consume_hold(Ingest *ingest)
{
	if (!ingest->started)
		return;
	ingest->started = false;
	rd_kafka_assign(ingest->consumer, NULL);
}

void
consume_assign(Ingest *ingest)
{
	PgParams	params = {.n = 0};
	PGresult   *rows;
	rd_kafka_resp_err_t err;

	if (ingest->assigned == NULL || !pg_idle(&ingest->pg))
		return;
	pg_text(&params, ingest->settings.group);
	rows = pg_query(&ingest->pg, "SELECT topic, \"partition\", \"offset\" FROM events.source_offsets($1)", &params, 0);
	if (rows == NULL)
	{
		ingest_trouble(ingest, "offsets not read", ingest->pg.error);
		loop_timer_in(&ingest->loop, &ingest->connect_timer, backoff_next_ms(&ingest->backoff));
		return;
	}
	for (int i = 0; i < ingest->assigned->cnt; i++)
		ingest->assigned->elems[i].offset = RD_KAFKA_OFFSET_INVALID;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		rd_kafka_topic_partition_t *partition =
			rd_kafka_topic_partition_list_find(ingest->assigned, PQgetvalue(rows, i, 0), (int32_t) strtol(PQgetvalue(rows, i, 1), NULL, 10));

		if (partition != NULL)
			partition->offset = strtoll(PQgetvalue(rows, i, 2), NULL, 10);
	}
	PQclear(rows);
	err = rd_kafka_assign(ingest->consumer, ingest->assigned);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		ingest_trouble(ingest, "partitions not assigned", rd_kafka_err2str(err));
		loop_timer_in(&ingest->loop, &ingest->connect_timer, backoff_next_ms(&ingest->backoff));
		return;
	}
	ingest->started = true;
	ingest->more = true;
	log_info("reading", F_INT("partitions", ingest->assigned->cnt));
}

/* Called from rd_kafka_consumer_poll(), so never in the middle of a batch. */
static void
rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *partitions, void *context)
{
	Ingest	   *ingest = context;

	if (ingest->assigned != NULL)
		rd_kafka_topic_partition_list_destroy(ingest->assigned);
	ingest->assigned = NULL;
	ingest->rebalanced = true;
	ingest->started = false;
	if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
	{
		/* Nothing is read until the database has told where to begin. */
		rd_kafka_assign(consumer, NULL);
		ingest->assigned = rd_kafka_topic_partition_list_copy(partitions);
		log_info("partitions assigned", F_INT("partitions", partitions->cnt));
		kafka_reachable(true);
		consume_assign(ingest);
	}
	else
	{
		log_info("partitions revoked", F_INT("partitions", partitions->cnt));
		rd_kafka_assign(consumer, NULL);
	}
	metric_set(&metric_partitions, ingest->assigned != NULL ? ingest->assigned->cnt : 0);
}

/*
 * Leaves the group, so that others need not wait for our session to end.  A broker that does not answer is not waited
 * for: then they do.
 */
static void
leave_group(rd_kafka_t *consumer)
{
	int64_t		deadline = loop_monotonic_ms() + LEAVE_MS;
	rd_kafka_queue_t *last = rd_kafka_queue_new(consumer);
	rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer, last);

	while (error == NULL && !rd_kafka_consumer_closed(consumer) && loop_monotonic_ms() < deadline)
		rd_kafka_queue_poll_callback(last, 50);
	if (error != NULL)
		rd_kafka_error_destroy(error);
	rd_kafka_queue_destroy(last);
	rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void
consume_stop(Ingest *ingest)
{
	if (ingest->consumer == NULL)
		return;
	rd_kafka_queue_io_event_enable(ingest->queue, -1, NULL, 0);
	loop_forget(&ingest->loop, ingest->queue_fd);
	rd_kafka_queue_destroy(ingest->queue);
	leave_group(ingest->consumer);
	close(ingest->queue_fd);
	if (ingest->assigned != NULL)
		rd_kafka_topic_partition_list_destroy(ingest->assigned);
	ingest->assigned = NULL;
	if (ingest->subscribed != NULL)
		rd_kafka_topic_partition_list_destroy(ingest->subscribed);
	ingest->subscribed = NULL;
	ingest->consumer = NULL;
}
