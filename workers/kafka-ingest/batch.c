/* One batch: taken from the consumer, judged, stored, told to Kafka. */
#include "kafka-ingest/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

static void
read_headers(StoreMessage *message, const rd_kafka_message_t *raw)
{
	rd_kafka_headers_t *headers;
	size_t		n = 0;

	if (rd_kafka_message_headers(raw, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
		while (n < INGEST_MAX_HEADERS &&
			   rd_kafka_header_get_all(headers, n, &message->headers[n].name, &message->headers[n].value,
									   &message->headers[n].len) == RD_KAFKA_RESP_ERR_NO_ERROR)
			n++;
	message->inbound.headers = message->headers;
	message->inbound.header_count = n;
}

static void
fill(StoreMessage *message, rd_kafka_message_t *raw)
{
	message->handle = raw;
	message->accepted = false;
	message->inbound = (Inbound) {
		.topic = rd_kafka_topic_name(raw->rkt), .partition = raw->partition, .offset = raw->offset,
		.key = raw->key, .key_len = raw->key_len, .value = raw->payload, .value_len = raw->len
	};
	read_headers(message, raw);
}

/* A consumer's error comes in place of a message. */
static void
consumer_error(Ingest *ingest, const rd_kafka_message_t *raw)
{
	if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return;
	if (raw->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || raw->err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
		log_info("a topic is not there yet", F_STR("error", rd_kafka_message_errstr(raw)));
	else
		ingest_trouble(ingest, "Kafka", rd_kafka_message_errstr(raw));
}

static void
release(Ingest *ingest, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		ingest_free(&ingest->messages[i].item);
		rd_kafka_message_destroy(ingest->messages[i].handle);
	}
}

/* What the consumer has, up to a batch. */
static size_t
gather(Ingest *ingest)
{
	size_t		n = 0;

	while (n < (size_t) ingest->settings.batch_messages)
	{
		rd_kafka_message_t *raw;

		ingest->rebalanced = false;
		raw = rd_kafka_consumer_poll(ingest->consumer, 0);
		if (ingest->rebalanced)
		{
			/* These belong to an assignment that is over; whoever has the partitions now begins with them. */
			release(ingest, n);
			n = 0;
		}
		if (raw == NULL)
			break;
		if (raw->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			consumer_error(ingest, raw);
			rd_kafka_message_destroy(raw);
			continue;
		}
		/*
		 * Nothing is assigned: this one comes again.  A poll that hears of an assignment, though, may return a message
		 * of it already, and that one comes only once.
		 */
		if (!ingest->started)
		{
			rd_kafka_message_destroy(raw);
			continue;
		}
		fill(&ingest->messages[n++], raw);
	}
	ingest->more = n == (size_t) ingest->settings.batch_messages;
	return n;
}

static rd_kafka_topic_partition_t *
assigned(Ingest *ingest, const char *topic, int32_t partition)
{
	return ingest->assigned == NULL ? NULL : rd_kafka_topic_partition_list_find(ingest->assigned, topic, partition);
}

/*
 * A message before the one that was to come: librdkafka found no such offset and began at the beginning, of a topic
 * that was deleted and made again, or that has lost its end.
 */
static void
note_rewind(StoreOffset *offset, int64_t expected, int64_t found)
{
	if (found >= expected)
		return;
	offset->rewound = found;
	log_error("a partition begins anew", F_STR("topic", offset->topic), F_INT("partition", offset->partition),
			  F_INT("expected", expected), F_INT("offset", found));
}

/* The next offset of each partition in the batch. */
static size_t
collect_offsets(Ingest *ingest, size_t n)
{
	size_t		count = 0;

	for (size_t i = 0; i < n; i++)
	{
		const Inbound *message = &ingest->messages[i].inbound;
		StoreOffset *offset = ingest->offsets;

		while (offset < ingest->offsets + count &&
			   (offset->partition != message->partition || strcmp(offset->topic, message->topic) != 0))
			offset++;
		if (offset == ingest->offsets + count)
		{
			const rd_kafka_topic_partition_t *partition = assigned(ingest, message->topic, message->partition);

			*offset = (StoreOffset) {message->topic, message->partition, partition != NULL ? partition->offset : 0, -1};
			count++;
		}
		note_rewind(offset, offset->next, message->offset);
		offset->next = message->offset + 1;
	}
	return count;
}

/* What is stored is told to Kafka, and kept as what comes next. */
static void
commit_to_kafka(Ingest *ingest, size_t count)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int) count);

	for (size_t i = 0; i < count; i++)
	{
		const StoreOffset *offset = &ingest->offsets[i];
		rd_kafka_topic_partition_t *partition = assigned(ingest, offset->topic, offset->partition);

		rd_kafka_topic_partition_list_add(list, offset->topic, offset->partition)->offset = offset->next;
		if (partition != NULL)
			partition->offset = offset->next;
	}
	rd_kafka_commit(ingest->consumer, list, 1);
	rd_kafka_topic_partition_list_destroy(list);
}

static void
count_batch(Ingest *ingest, size_t n)
{
	metric_add(&metric_batches, 1);
	metric_add(&metric_consumed, (int64_t) n);
	for (size_t i = 0; i < n; i++)
	{
		const StoreMessage *message = &ingest->messages[i];

		if (message->item.park)
		{
			metric_add(&metric_parked, 1);
			log_warn("message parked", F_STR("topic", message->inbound.topic), F_INT("partition", message->inbound.partition),
					 F_INT("offset", message->inbound.offset), F_STR("reason", message->item.reason));
		}
		else
			metric_add(message->accepted ? &metric_accepted : &metric_duplicates, 1);
	}
}

static StoreOutcome
store(Ingest *ingest, size_t n, size_t offset_count)
{
	StoreOutcome outcome = store_batch(&ingest->store, ingest->messages, n, ingest->offsets, offset_count);

	if (outcome != STORE_REDO)
		return outcome;
	metric_add(&metric_redone, 1);
	return store_redo(&ingest->store, ingest->messages, n, ingest->offsets, offset_count);
}

/* Nothing is known to be stored: begin again from what the database says. */
static void
give_back(Ingest *ingest, StoreOutcome outcome)
{
	metric_add(&metric_retries, 1);
	ingest_trouble(ingest, "batch not stored, will try again", ingest->store.error);
	consume_hold(ingest);
	if (outcome == STORE_LOST)
	{
		pg_close(&ingest->pg);
		atomic_store(&health.database, false);
	}
	loop_timer_in(&ingest->loop, &ingest->connect_timer, backoff_next_ms(&ingest->backoff));
}

bool
batch_take(Ingest *ingest)
{
	int64_t		begun = loop_monotonic_ms();
	size_t		n = gather(ingest);
	size_t		offset_count;
	StoreOutcome outcome;
	bool		good = true;

	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++)
		good = ingest_judge(&ingest->rules, &ingest->messages[i].inbound, &ingest->messages[i].item) && good;
	offset_count = collect_offsets(ingest, n);
	if (!good)
		snprintf(ingest->store.error, sizeof(ingest->store.error), "out of memory");
	outcome = !good ? STORE_RETRY : pg_idle(&ingest->pg) ? store(ingest, n, offset_count) : STORE_LOST;
	if (outcome == STORE_DONE)
	{
		backoff_reset(&ingest->backoff);
		commit_to_kafka(ingest, offset_count);
		count_batch(ingest, n);
		metric_observe_us(&metric_batch_seconds, (loop_monotonic_ms() - begun) * 1000);
	}
	else
		give_back(ingest, outcome);
	release(ingest, n);
	return outcome == STORE_DONE;
}
