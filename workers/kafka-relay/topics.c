/* Topics: known from the database, made on the broker with the retention that was promised. */
#include "kafka-relay/relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

#define ADMIN_TIMEOUT_MS 10000
#define ASK_AGAIN_MS 20
#define REFUSED_LATELY_MS 2000

static int
compare_ids(const void *a, const void *b)
{
	int32_t		left = ((const RelayTopic *) a)->id;
	int32_t		right = ((const RelayTopic *) b)->id;

	return (left > right) - (left < right);
}

/* Until topics_take() is called again. */
RelayTopic *
topics_find(Relay *relay, int32_t id)
{
	RelayTopic	wanted = {.id = id};

	return relay->topic_count == 0 ? NULL : bsearch(&wanted, relay->topics, (size_t) relay->topic_count, sizeof(wanted), compare_ids);
}

static RelayTopic *
find_name(Relay *relay, const char *name)
{
	for (int i = 0; i < relay->topic_count; i++)
		if (strcmp(relay->topics[i].name, name) == 0)
			return &relay->topics[i];
	return NULL;
}

/* Room for so many more; false: out of memory. */
static bool
make_room(Relay *relay, int more)
{
	int			size = relay->topic_count + more;
	RelayTopic *topics;

	if (size <= relay->topic_size)
		return true;
	topics = realloc(relay->topics, (size_t) size * sizeof(*topics));
	if (topics == NULL)
		return false;
	relay->topics = topics;
	relay->topic_size = size;
	return true;
}

/* Rows of (id, name, partitions, retention in ms). */
void
topics_take(Relay *relay, const PGresult *rows)
{
	int			known = relay->topic_count;

	if (!make_room(relay, PQntuples(rows)))
	{
		log_error("no memory for the topics", F_INT("topics", PQntuples(rows)));
		return;
	}
	for (int i = 0; i < PQntuples(rows); i++)
	{
		RelayTopic	wanted = {.id = (int32_t) strtol(PQgetvalue(rows, i, 0), NULL, 10)};
		RelayTopic *topic = known == 0 ? NULL : bsearch(&wanted, relay->topics, (size_t) known, sizeof(wanted), compare_ids);

		if (topic == NULL)
		{
			wanted.proof = calloc(1, sizeof(*wanted.proof));
			if (wanted.proof == NULL)
				continue;		/* until the topics are read again */
			topic = &relay->topics[relay->topic_count++];
			*topic = wanted;
			snprintf(topic->name, sizeof(topic->name), "%s", PQgetvalue(rows, i, 1));
		}
		topic->partitions = (int) strtol(PQgetvalue(rows, i, 2), NULL, 10);
		topic->retention_ms = strtoll(PQgetvalue(rows, i, 3), NULL, 10);
	}
	if (relay->topic_count > known)
		qsort(relay->topics, (size_t) relay->topic_count, sizeof(*relay->topics), compare_ids);
	relay->topics_loaded = true;
}

static void
refuse(RelayTopic *topic, const char *text)
{
	log_error("the broker refuses the topic", F_STR("topic", topic->name), F_STR("error", text));
	topic->state = TOPIC_REFUSED;
	topic->refused_ms = loop_monotonic_ms();
	snprintf(topic->why, sizeof(topic->why), "the broker refuses the topic: %s", text);
}

static void
ask_create(Relay *relay)
{
	rd_kafka_NewTopic_t **wanted = calloc((size_t) relay->topic_count, sizeof(*wanted));
	rd_kafka_AdminOptions_t *options;
	size_t		n = 0;
	char		text[128];

	for (int i = 0; wanted != NULL && i < relay->topic_count; i++)
	{
		RelayTopic *topic = &relay->topics[i];

		if (topic->state != TOPIC_UNKNOWN)
			continue;
		wanted[n] = rd_kafka_NewTopic_new(topic->name, topic->partitions, (int) relay->settings.replication, text, sizeof(text));
		if (wanted[n] == NULL)
		{
			refuse(topic, text);
			continue;
		}
		snprintf(text, sizeof(text), "%" PRId64, topic->retention_ms);
		rd_kafka_NewTopic_set_config(wanted[n], "retention.ms", text);
		topic->state = TOPIC_ASKED;
		n++;
	}
	if (n == 0)
	{
		free(wanted);
		return;
	}
	options = rd_kafka_AdminOptions_new(relay->producer, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_TIMEOUT_MS, text, sizeof(text));
	rd_kafka_AdminOptions_set_operation_timeout(options, ADMIN_TIMEOUT_MS / 2, text, sizeof(text));
	rd_kafka_CreateTopics(relay->producer, wanted, n, options, relay->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_NewTopic_destroy_array(wanted, n);
	free(wanted);
}

/* Called when a broker is connected, so that the answer comes at once. */
static bool
has_controller(rd_kafka_t *producer)
{
	const struct rd_kafka_metadata *metadata;
	int32_t		controller = rd_kafka_controllerid(producer, 0);
	bool		found = false;

	if (rd_kafka_metadata(producer, 0, NULL, &metadata, 1000) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return true;
	for (int i = 0; i < metadata->broker_cnt; i++)
		found = found || metadata->brokers[i].id == controller;
	rd_kafka_metadata_destroy(metadata);
	return found;
}

/*
 * A cluster without a controller can't create topics (librdkafka's mock): asking
 * it would only time out.  Until the first metadata came, nothing is known.
 */
void
topics_ask(Relay *relay)
{
	char	   *cluster;

	if (relay->producer == NULL || !relay->topics_loaded || topics_settled(relay))
		return;
	cluster = rd_kafka_clusterid(relay->producer, 0);
	if (cluster == NULL)
		loop_timer_in(&relay->loop, &relay->topics_ask_timer, ASK_AGAIN_MS);
	else if (has_controller(relay->producer))
		ask_create(relay);
	else
	{
		log_info("the cluster has no controller: topics are left to it");
		for (int i = 0; i < relay->topic_count; i++)
			if (relay->topics[i].state == TOPIC_UNKNOWN)
				relay->topics[i].state = TOPIC_READY;
	}
	if (cluster != NULL)
	{
		rd_kafka_mem_free(relay->producer, cluster);
		relay_produce(relay);
		source_look(relay);
	}
}

/*
 * For an event that somebody gave free.  A topic that was refused is asked for
 * again, for it may have been mended.  False: there is no answer yet.
 */
bool
topics_try(Relay *relay, RelayTopic *topic)
{
	if (topic->state == TOPIC_REFUSED && loop_monotonic_ms() - topic->refused_ms > REFUSED_LATELY_MS)
	{
		topic->state = TOPIC_UNKNOWN;
		loop_timer_in(&relay->loop, &relay->topics_ask_timer, 0);
	}
	return topic->state == TOPIC_READY || topic->state == TOPIC_REFUSED;
}

static void
ask_again(void *context)
{
	topics_ask(context);
}

void
topics_init(Relay *relay)
{
	loop_timer_init(&relay->loop, &relay->topics_ask_timer, ask_again, relay);
}

/* Reads back what limits the topics have: a topic that was there already may keep less than promised. */
static void
ask_configs(Relay *relay)
{
	rd_kafka_ConfigResource_t **resources = calloc((size_t) relay->topic_count, sizeof(*resources));
	rd_kafka_AdminOptions_t *options;
	size_t		n = 0;
	char		text[128];

	for (int i = 0; resources != NULL && i < relay->topic_count; i++)
		if (relay->topics[i].state == TOPIC_READY && relay->topics[i].max_bytes == 0)
			resources[n++] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, relay->topics[i].name);
	if (n == 0)
	{
		free(resources);
		return;
	}
	options = rd_kafka_AdminOptions_new(relay->producer, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
	rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_TIMEOUT_MS, text, sizeof(text));
	rd_kafka_DescribeConfigs(relay->producer, resources, n, options, relay->queue);
	rd_kafka_AdminOptions_destroy(options);
	rd_kafka_ConfigResource_destroy_array(resources, n);
	free(resources);
}

static void
created_one(RelayTopic *topic, rd_kafka_resp_err_t err, const char *text)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			log_info("topic created", F_STR("topic", topic->name), F_INT("partitions", topic->partitions),
					 F_INT("retention_ms", topic->retention_ms));
			topic->state = TOPIC_READY;
			break;
		case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
			topic->state = TOPIC_READY;
			break;
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
			refuse(topic, text);
			break;
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			/* Others may have made it for us. */
			log_warn("not allowed to create topics", F_STR("topic", topic->name), F_STR("error", text));
			topic->state = TOPIC_READY;
			break;
		default:
			log_warn("topic not created, will try again", F_STR("topic", topic->name), F_STR("error", text));
			topic->state = TOPIC_UNKNOWN;
			break;
	}
}

static void
created(Relay *relay, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const rd_kafka_topic_result_t **results;
	size_t		n = 0;

	if (err == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
		log_info("the broker can't create topics, it is left to make them itself");
	for (int i = 0; err != RD_KAFKA_RESP_ERR_NO_ERROR && i < relay->topic_count; i++)
		if (relay->topics[i].state == TOPIC_ASKED)
			relay->topics[i].state = err == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ? TOPIC_READY : TOPIC_UNKNOWN;
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR && err != RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
		log_warn("topics not created, will try again", F_STR("error", rd_kafka_event_error_string(event)));
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
		for (size_t i = 0; i < n; i++)
		{
			RelayTopic *topic = find_name(relay, rd_kafka_topic_result_name(results[i]));
			const char *text = rd_kafka_topic_result_error_string(results[i]);

			if (topic != NULL)
				created_one(topic, rd_kafka_topic_result_error(results[i]), text != NULL ? text : "");
		}
		ask_configs(relay);
	}
	if (!topics_settled(relay))
		loop_timer_in(&relay->loop, &relay->topics_timer, 1000);
}

static void
described_one(RelayTopic *topic, const rd_kafka_ConfigResource_t *resource)
{
	size_t		n;
	const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &n);

	for (size_t i = 0; i < n; i++)
	{
		const char *name = rd_kafka_ConfigEntry_name(entries[i]);
		const char *value = rd_kafka_ConfigEntry_value(entries[i]);
		int64_t		number = value != NULL ? strtoll(value, NULL, 10) : 0;

		if (strcmp(name, "max.message.bytes") == 0)
			topic->max_bytes = number;
		if (strcmp(name, "retention.ms") == 0 && number >= 0 && number < topic->retention_ms)
			log_warn("the topic's retention on the broker is shorter than defined", F_STR("topic", topic->name),
					 F_INT("retention_ms", number), F_INT("defined_ms", topic->retention_ms));
	}
}

/* A request larger than the topic takes would be refused whole: batches follow the strictest topic. */
static void
limit_batches(Relay *relay)
{
	int64_t		limit = relay->settings.batch_limit_bytes;

	for (int i = 0; i < relay->topic_count; i++)
		if (relay->topics[i].max_bytes > 0 && relay->topics[i].max_bytes < limit)
			limit = relay->topics[i].max_bytes;
	if (limit < 2000)
		limit = 2000;
	if (limit >= relay->settings.batch_limit_bytes)
		return;
	log_info("smaller batches for the topics' max.message.bytes", F_INT("batch_bytes", limit));
	relay->settings.batch_limit_bytes = limit;
	relay_want_rewind(relay, "batches are to be smaller");
}

static void
described(Relay *relay, rd_kafka_event_t *event)
{
	size_t		n = 0;
	const rd_kafka_ConfigResource_t **resources;

	if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return;
	resources = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
	for (size_t i = 0; i < n; i++)
	{
		RelayTopic *topic = find_name(relay, rd_kafka_ConfigResource_name(resources[i]));

		if (topic != NULL && rd_kafka_ConfigResource_error(resources[i]) == RD_KAFKA_RESP_ERR_NO_ERROR)
			described_one(topic, resources[i]);
	}
	limit_batches(relay);
}

void
topics_answered(Relay *relay, rd_kafka_event_t *event)
{
	if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
		created(relay, event);
	else
		described(relay, event);
}

bool
topics_settled(const Relay *relay)
{
	for (int i = 0; i < relay->topic_count; i++)
		if (relay->topics[i].state == TOPIC_UNKNOWN || relay->topics[i].state == TOPIC_ASKED)
			return false;
	return true;
}

void
topics_producer_gone(Relay *relay)
{
	for (int i = 0; i < relay->topic_count; i++)
	{
		RelayTopic *topic = &relay->topics[i];

		if (topic->handle != NULL)
			rd_kafka_topic_destroy(topic->handle);
		topic->handle = NULL;
		if (topic->state == TOPIC_ASKED)
			topic->state = TOPIC_UNKNOWN;
	}
}

void
topics_producer_new(Relay *relay)
{
	for (int i = 0; i < relay->topic_count; i++)
		proof_begin(relay->topics[i].proof, loop_monotonic_ms());
}

void
topics_free(Relay *relay)
{
	for (int i = 0; i < relay->topic_count; i++)
		proof_free(relay->topics[i].proof);
	free(relay->topics);
	relay->topics = NULL;
	relay->topic_count = 0;
}
