/*
 * The side of Kafka.
 *
 * The producer is idempotent and gapless: the first error that would leave a gap
 * makes it fatal, so that nothing later of that partition is sent behind the back
 * of the relay, which then makes a new one and reads again.  Messages never time
 * out: a broker that is away for an hour delays, it does not lose (and the known
 * trouble of librdkafka's idempotence begins with timeouts).  Memory is bounded by
 * the window.  Payloads are not copied: they stay in the fetched batch until their
 * reports came.
 *
 * One request per broker is in flight by default: with more, librdkafka takes the
 * success of a batch as proof that a failed one before it was stored.  That is right
 * only while the broker knows the producer's sequence numbers.
 *
 * A second producer, made when needed, sends one message at a time: when a broker
 * refuses a batch, that tells which message of it is to blame.
 */
#include "kafka-relay/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "kafka-relay/headers.h"
#include "lib/kafka.h"
#include "lib/log.h"

#define PURGE_WAIT_MS 2000

int64_t
produce_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static rd_kafka_conf_t *
producer_conf(const RelaySettings *settings, bool alone, char *error, size_t size)
{
	rd_kafka_conf_t *conf = kafka_conf(settings->bootstrap, settings->instance, settings->kafka_config, error, size);

	if (conf == NULL)
		return NULL;
	kafka_set(conf, "acks", "all");
	kafka_set(conf, "enable.idempotence", alone ? "false" : "true");
	if (!alone)
		kafka_set(conf, "enable.gapless.guarantee", "true");
	kafka_set_int(conf, "max.in.flight.requests.per.connection", alone ? 1 : settings->in_flight);
	kafka_set(conf, "message.timeout.ms", alone ? "30000" : "0");
	/* Only the producer of single messages uses this one: see proof_partitioner(). */
	kafka_set(conf, "partitioner", "murmur2_random");
	kafka_set_int(conf, "linger.ms", alone ? 0 : settings->linger_ms);
	kafka_set(conf, "compression.type", settings->compression);
	kafka_set_int(conf, "message.max.bytes", settings->message_max_bytes);
	kafka_set_int(conf, "batch.size", settings->batch_limit_bytes);
	kafka_set_int(conf, "queue.buffering.max.messages", settings->window_events + 1000);
	kafka_set_int(conf, "queue.buffering.max.kbytes", settings->window_bytes / 1024 * 2 + 16384);
	kafka_set(conf, "statistics.interval.ms", alone ? "0" : "5000");
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS |
							 RD_KAFKA_EVENT_CREATETOPICS_RESULT | RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT);
	return conf;
}

bool
produce_check(const RelaySettings *settings, char *error, size_t size)
{
	rd_kafka_conf_t *conf = producer_conf(settings, false, error, size);

	return conf != NULL && kafka_check(conf, RD_KAFKA_PRODUCER, settings->kafka_config, error, size);
}

static void
reports(Relay *relay, rd_kafka_event_t *event)
{
	const rd_kafka_message_t *message;
	int64_t		now = produce_clock_us();

	while ((message = rd_kafka_event_message_next(event)) != NULL)
	{
		Slot	   *slot = message->_private;

		if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			/* The producer of single messages has none. */
			Proof	   *proof = rd_kafka_topic_opaque(message->rkt);

			if (proof != NULL)
				proof_acknowledged(proof, slot->event.key.data != NULL, message->partition);
			metric_observe_us(&metric_ack_seconds, now - slot->sent_us);
			metric_observe_us(&metric_event_seconds, now - slot->event.occurred_at_us);
		}
		relay_delivered(relay, slot, message->err);
	}
}

static void
trouble(Relay *relay, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const char *text = rd_kafka_event_error_string(event);

	if (err == RD_KAFKA_RESP_ERR__FATAL)
	{
		char		why[200];

		rd_kafka_fatal_error(relay->producer, why, sizeof(why));
		relay_want_rewind(relay, why);
		return;
	}
	if (kafka_trouble(err, text))
		relay_note_error(relay, text);
}

/* The statistics tell whether a broker is connected when nothing is being sent. */
static void
statistics(rd_kafka_event_t *event)
{
	const char *json = rd_kafka_event_stats(event);

	kafka_reachable(json != NULL && strstr(json, "\"state\":\"UP\"") != NULL);
}

static void
take_event(Relay *relay, rd_kafka_event_t *event)
{
	switch (rd_kafka_event_type(event))
	{
		case RD_KAFKA_EVENT_DR:
			reports(relay, event);
			break;
		case RD_KAFKA_EVENT_ERROR:
			trouble(relay, event);
			break;
		case RD_KAFKA_EVENT_STATS:
			statistics(event);
			break;
		case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
		case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT:
			topics_answered(relay, event);
			break;
		default:
			break;
	}
	rd_kafka_event_destroy(event);
}

static bool
poll_queue(Relay *relay, int timeout_ms)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(relay->queue, timeout_ms);

	if (event == NULL)
		return false;
	take_event(relay, event);
	return true;
}

static void
queue_ready(void *context, uint32_t events)
{
	Relay	   *relay = context;

	(void) events;
	kafka_drain_fd(relay->queue_fd);
	while (relay->producer != NULL && poll_queue(relay, 0))
		;
	if (relay->want_rewind)
		relay_rewind(relay);
	else
	{
		relay_produce(relay);
		source_look(relay);
	}
	control_next(relay);
}

static void
release_producer(Relay *relay)
{
	guard_watch(&relay->guard, NULL, NULL);
	rd_kafka_queue_io_event_enable(relay->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(relay->queue);
	rd_kafka_destroy(relay->producer);
	if (relay->queue_fd >= 0)
		close(relay->queue_fd);
	relay->producer = NULL;
	relay->queue = NULL;
	relay->queue_fd = -1;
}

static bool
produce_start(Relay *relay)
{
	char		error[512];
	rd_kafka_conf_t *conf = producer_conf(&relay->settings, false, error, sizeof(error));

	if (conf == NULL || (relay->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error))) == NULL)
	{
		log_error("no producer", F_STR("error", error));
		relay_note_error(relay, error);
		return false;
	}
	relay->queue = rd_kafka_queue_get_main(relay->producer);
	relay->queue_fd = kafka_queue_fd(relay->queue);
	if (relay->queue_fd < 0 || !loop_watch(&relay->loop, relay->queue_fd, EPOLLIN, queue_ready, relay))
	{
		log_error("no descriptor for the producer's events", F_STR("error", strerror(errno)));
		release_producer(relay);
		return false;
	}
	guard_watch(&relay->guard, relay->producer, relay->alone);
	topics_producer_new(relay);
	return true;
}

/* Ends the producer; reports that can still be had are heard, what is not reported is forgotten. */
void
produce_stop(Relay *relay)
{
	int64_t		deadline = loop_monotonic_ms() + PURGE_WAIT_MS;

	if (relay->producer == NULL)
		return;
	rd_kafka_purge(relay->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
	while (rd_kafka_outq_len(relay->producer) > 0 && loop_monotonic_ms() < deadline)
		poll_queue(relay, 20);
	topics_producer_gone(relay);
	loop_forget(&relay->loop, relay->queue_fd);
	release_producer(relay);
	if (relay->alone != NULL)
		rd_kafka_destroy(relay->alone);
	relay->alone = NULL;
	relay->alone_slot = NULL;
	loop_timer_off(&relay->alone_timer);
}

static rd_kafka_resp_err_t
send_to(rd_kafka_t *producer, rd_kafka_topic_t *handle, const RelaySettings *settings, Slot *slot)
{
	const Event *event = &slot->event;
	rd_kafka_headers_t *headers = headers_make(event, settings->source);
	rd_kafka_resp_err_t err;

	if (headers == NULL)
		return RD_KAFKA_RESP_ERR__QUEUE_FULL;
	/* Without the copy flag librdkafka keeps the pointer; it only reads. */
	err = rd_kafka_producev(producer, RD_KAFKA_V_RKT(handle),
							RD_KAFKA_V_KEY(event->key.data, event->key.len),
							RD_KAFKA_V_VALUE((void *) (uintptr_t) event->payload.data, event->payload.len),
							RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(slot), RD_KAFKA_V_END);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		rd_kafka_headers_destroy(headers);
	return err;
}

static rd_kafka_topic_t *
new_handle(rd_kafka_t *producer, RelayTopic *topic)
{
	rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(producer);

	rd_kafka_topic_conf_set_partitioner_cb(conf, proof_partitioner);
	rd_kafka_topic_conf_set_opaque(conf, topic->proof);
	return rd_kafka_topic_new(producer, topic->name, conf);
}

rd_kafka_resp_err_t
produce_send(Relay *relay, RelayTopic *topic, Slot *slot)
{
	rd_kafka_resp_err_t err;

	if (topic->handle == NULL)
		topic->handle = new_handle(relay->producer, topic);
	if (topic->handle == NULL)
		return rd_kafka_last_error();
	slot->sent_us = relay->round_us;
	err = send_to(relay->producer, topic->handle, &relay->settings, slot);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		return err;
	proof_sent(topic->proof, &slot->event.key);
	metric_add(&metric_sent, 1);
	return err;
}

/* Sends through the second producer; the answer comes by alone_timer. */
bool
produce_alone(Relay *relay, RelayTopic *topic, Slot *slot)
{
	char		error[512] = "";
	rd_kafka_topic_t *handle;
	rd_kafka_resp_err_t err;

	if (relay->alone == NULL)
	{
		rd_kafka_conf_t *conf = producer_conf(&relay->settings, true, error, sizeof(error));

		relay->alone = conf == NULL ? NULL : rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
		guard_watch(&relay->guard, relay->producer, relay->alone);
	}
	if (relay->alone == NULL || (handle = rd_kafka_topic_new(relay->alone, topic->name, NULL)) == NULL)
	{
		relay_want_rewind(relay, *error != '\0' ? error : "no producer for single messages");
		return false;
	}
	slot->sent_us = produce_clock_us();
	err = send_to(relay->alone, handle, &relay->settings, slot);
	rd_kafka_topic_destroy(handle);
	relay->alone_slot = slot;
	metric_add(&metric_sent, 1);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
	{
		relay_delivered(relay, slot, err);
		return true;
	}
	loop_timer_in(&relay->loop, &relay->alone_timer, 0);
	return true;
}

/* Single messages are rare: their reports are polled for. */
static void
alone_look(void *context)
{
	Relay	   *relay = context;
	rd_kafka_queue_t *queue = rd_kafka_queue_get_main(relay->alone);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 2);

	if (event != NULL && rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
		reports(relay, event);
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	if (relay->want_rewind)
		relay_rewind(relay);
	else if (relay->alone_slot != NULL)
		loop_timer_in(&relay->loop, &relay->alone_timer, 1);
	else
	{
		relay_produce(relay);
		source_look(relay);
	}
	control_next(relay);
}

static void
start_again(void *context)
{
	Relay	   *relay = context;

	if (relay->draining || relay->producer != NULL)
		return;
	if (!produce_start(relay))
	{
		loop_timer_in(&relay->loop, &relay->producer_timer, backoff_next_ms(&relay->producer_backoff));
		return;
	}
	topics_ask(relay);
	relay->more = true;
	source_look(relay);
}

void
produce_init(Relay *relay)
{
	relay->queue_fd = -1;
	backoff_init(&relay->producer_backoff, 20, 5000, (uint64_t) loop_monotonic_ms() * 7);
	loop_timer_init(&relay->loop, &relay->producer_timer, start_again, relay);
	loop_timer_init(&relay->loop, &relay->alone_timer, alone_look, relay);
	loop_timer_in(&relay->loop, &relay->producer_timer, 0);
}
