/*
 * The ingester's state.
 *
 * The database decides where a partition goes on: offsets are saved in the
 * transaction of the messages, and an assignment starts from them.  What Kafka
 * remembers for the group is only for its own tools.  After any trouble with the
 * database the partitions are assigned anew from the saved offsets; what was
 * stored and comes again is recognised by accept().
 */
#ifndef BACKOFFICE_INGEST_H
#define BACKOFFICE_INGEST_H

#include <librdkafka/rdkafka.h>

#include "kafka-ingest/step.h"
#include "kafka-ingest/store.h"
#include "lib/backoff.h"
#include "lib/loop.h"
#include "lib/metrics.h"
#include "lib/pg.h"

typedef struct IngestSettings
{
	const char *database;
	const char *bootstrap;
	const char *kafka_config;
	const char *group;
	const char *instance;
	const char *topics;
	const char *organization;
	const char *source;
	const char *log_level;
	int64_t		port;
	int64_t		batch_messages;
	int64_t		max_bytes;
	int64_t		statement_timeout_ms;
	int64_t		heartbeat_ms;
	int64_t		session_timeout_ms;
} IngestSettings;

typedef struct Ingest
{
	Loop		loop;
	IngestSettings settings;
	IngestRules rules;
	Pg			pg;
	Store		store;
	Backoff		backoff;
	LoopTimer	connect_timer;
	LoopTimer	heartbeat_timer;
	bool		want_heartbeat;

	rd_kafka_t *consumer;
	rd_kafka_queue_t *queue;
	int			queue_fd;
	bool		more;			/* the consumer may have messages */
	rd_kafka_topic_partition_list_t *assigned;	/* by the group, with the offsets that come next; NULL: none */
	bool		rebalanced;		/* the group has decided something */
	bool		started;		/* reading: assigned from the database's offsets */
	rd_kafka_topic_partition_list_t *subscribed;	/* topics; NULL: none */

	StoreMessage *messages;
	StoreOffset *offsets;
	char		last_error[200];
} Ingest;

/* consume.c */
extern bool consume_check(const IngestSettings *settings, char *error, size_t size);
extern bool consume_start(Ingest *ingest);
extern void consume_subscribe(Ingest *ingest, const PGresult *topics);
extern void consume_assign(Ingest *ingest); /* from the database's offsets */
extern void consume_hold(Ingest *ingest);	/* reads nothing until consume_assign() */
extern void consume_stop(Ingest *ingest);

/* batch.c */
extern bool batch_take(Ingest *ingest);		/* false: there was nothing */

/* main.c */
extern void ingest_note_error(Ingest *ingest, const char *error);	/* for the next heartbeat */
extern void ingest_trouble(Ingest *ingest, const char *what, const char *error);

extern Metric metric_consumed,
			metric_accepted,
			metric_duplicates,
			metric_parked,
			metric_batches,
			metric_redone,
			metric_retries,
			metric_connects,
			metric_partitions,
			metric_lag,
			metric_batch_seconds;

#endif
