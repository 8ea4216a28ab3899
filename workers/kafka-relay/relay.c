/* From fetched batches to the producer, and what comes of delivery reports. */
#include "kafka-relay/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka-relay/parked.h"
#include "lib/kafka.h"
#include "lib/log.h"
#include "lib/utf8.h"

void
relay_note_error(Relay *relay, const char *error)
{
	snprintf(relay->last_error, sizeof(relay->last_error), "%s", error);
	utf8_mend(relay->last_error);
}

void
relay_want_rewind(Relay *relay, const char *why)
{
	if (relay->want_rewind)
		return;
	relay->want_rewind = true;
	snprintf(relay->rewind_why, sizeof(relay->rewind_why), "%s", why);
}

void
relay_drop_batches(Relay *relay)
{
	for (int i = 0; i < relay->queued_count; i++)
		batch_unref(&relay->queued[i]->batch);
	relay->queued_count = 0;
	relay->generation++;
	relay->merge_to = (Position) {0, 0, 0};
}

void
relay_rewind(Relay *relay)
{
	int64_t		delay_ms = backoff_next_ms(&relay->producer_backoff);

	produce_stop(relay);
	relay->want_rewind = false;
	log_warn("reading again from what is settled", F_STR("why", relay->rewind_why),
			 F_INT("in_flight", relay->window.used), F_INT("delay_ms", delay_ms));
	relay_note_error(relay, relay->rewind_why);
	metric_add(&metric_rewinds, 1);
	parked_forget(relay);
	window_rewind(&relay->window);
	source_restart_all(relay);
	if (!relay->draining)
		loop_timer_in(&relay->loop, &relay->producer_timer, delay_ms);
}

static void
settle(Relay *relay, Slot *slot)
{
	window_settle(&relay->window, slot);
	if (++relay->settled_since_advance >= relay->settings.advance_events)
		relay->want_advance = true;
}

void
relay_park(Relay *relay, Slot *slot, const char *reason)
{
	Park	   *park = calloc(1, sizeof(*park));
	char		key[STEP_KEY_MAX];
	size_t		key_len = step_key(slot->event.topic_id, &slot->event.key, key, sizeof(key));

	if (park == NULL || (key_len > 0 && !idset_add(&relay->held_keys, key, key_len)))
	{
		free(park);
		relay_want_rewind(relay, "out of memory");
		return;
	}
	park->slot = slot;
	snprintf(park->reason, sizeof(park->reason), "%s", reason);
	*relay->parks_end = park;
	relay->parks_end = &park->next;
}

/* The broker refused a message, or its batch: alone it is to blame itself. */
static void
refused(Relay *relay, Slot *slot, rd_kafka_resp_err_t err, bool alone)
{
	char		reason[200];

	snprintf(reason, sizeof(reason), "refused by Kafka: %s (%s)", rd_kafka_err2str(err), rd_kafka_err2name(err));
	if (alone)
	{
		idset_remove(&relay->suspects, slot->id, sizeof(slot->id));
		relay_park(relay, slot, reason);
		return;
	}
	if (!idset_add(&relay->suspects, slot->id, sizeof(slot->id)))
		relay_note_error(relay, "out of memory");
	relay_want_rewind(relay, reason);
}

void
relay_delivered(Relay *relay, Slot *slot, rd_kafka_resp_err_t err)
{
	bool		alone = slot == relay->alone_slot;
	RelayTopic *topic;

	if (alone)
		relay->alone_slot = NULL;
	if (slot == &relay->due_slot)
	{
		parked_answered(relay, err);
		return;
	}
	switch (step_report(err))
	{
		case OUTCOME_ACKED:
			metric_add(&metric_acked, 1);
			backoff_reset(&relay->producer_backoff);
			if (!atomic_load(&health.kafka))
				kafka_reachable(true);
			if (alone && idset_remove(&relay->suspects, slot->id, sizeof(slot->id)) && relay->suspects.count == 0)
				log_info("what was refused in batches was accepted one by one");
			settle(relay, slot);
			break;
		case OUTCOME_REFUSED:
			refused(relay, slot, err, alone);
			break;
		case OUTCOME_TOPIC_GONE:
			topic = topics_find(relay, slot->event.topic_id);
			if (topic != NULL && topic->state == TOPIC_READY)
				topic->state = TOPIC_UNKNOWN;
			relay_want_rewind(relay, rd_kafka_err2str(err));
			break;
		case OUTCOME_REWIND:
			relay_want_rewind(relay, rd_kafka_err2str(err));
			break;
	}
}

/* What the producer said at once, without asking the broker. */
static void
not_taken(Relay *relay, Slot *slot, rd_kafka_resp_err_t err)
{
	if (step_report(err) == OUTCOME_REFUSED)
		refused(relay, slot, err, true);
	else
		relay_delivered(relay, slot, err);
}

/* False: this event has to wait, and those behind it. */
static bool
produce_event(Relay *relay, const Event *event, Batch *batch)
{
	RelayTopic *topic = topics_find(relay, event->topic_id);
	Verdict		verdict;
	Slot	   *slot;
	rd_kafka_resp_err_t err;

	if (topic == NULL)
	{
		relay->missing_topic = event->topic_id;
		relay->want_topics = true;
		return false;
	}
	if (topic->state == TOPIC_UNKNOWN || topic->state == TOPIC_ASKED)
		return false;
	verdict = step_event(&relay->step, event, topic->max_bytes);
	if (verdict == VERDICT_SKIP)
		return true;
	if (relay->window.bytes >= relay->settings.window_bytes ||
		(verdict == VERDICT_SEND_ALONE && (relay->window.used > 0 || relay->alone_slot != NULL)) ||
		(verdict == VERDICT_SEND && topic->state == TOPIC_READY && !proof_allows(topic->proof, &event->key, relay->round_ms)))
		return false;
	slot = window_add(&relay->window, event, batch);
	if (slot == NULL)
		return false;
	if (topic->state == TOPIC_REFUSED)
		relay_park(relay, slot, topic->why);
	else if (verdict == VERDICT_PARK_WAITING)
		relay_park(relay, slot, PARK_WAITING);
	else if (verdict == VERDICT_PARK_TOO_LARGE)
		relay_park(relay, slot, "larger than the topic's max.message.bytes");
	else if (verdict == VERDICT_SEND_ALONE)
		produce_alone(relay, topic, slot);
	else if ((err = produce_send(relay, topic, slot)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		not_taken(relay, slot, err);
	return !relay->want_rewind;
}

/* Takes events of the first batch; false: something has to happen first. */
static bool
produce_batch(Relay *relay, FetchedBatch *batch)
{
	const Event *event;
	const char *why = NULL;

	while ((event = fetched_peek(batch, &why)) != NULL)
	{
		/* Its shard was started again since: it comes with another batch. */
		if (!batch->shards[event->shard])
		{
			fetched_take(batch);
			continue;
		}
		/* One at a time goes alone: what follows waits for its report. */
		if ((relay->alone_slot != NULL && relay->alone_slot != &relay->due_slot) ||
			!produce_event(relay, event, &batch->batch))
			return false;
		fetched_take(batch);
	}
	if (why != NULL)
	{
		log_error("a fetched batch is malformed", F_STR("error", why));
		relay_want_rewind(relay, why);
		return false;
	}
	return true;
}

void
relay_produce(Relay *relay)
{
	if (relay->queued_count > 0)
	{
		relay->round_us = produce_clock_us();
		relay->round_ms = loop_monotonic_ms();
	}
	while (relay->queued_count > 0 && relay->producer != NULL && relay->held_loaded && !relay->want_rewind && !relay->draining &&
		   loop_monotonic_ms() < relay->leased_until_ms)
	{
		FetchedBatch *batch = relay->queued[0];

		if (!produce_batch(relay, batch))
			break;
		for (int i = 0; i < WINDOW_MAX_SHARDS; i++)
			if (batch->shards[i] && relay->window.shards[i].owned && !relay->window.shards[i].leaving)
				window_read_to(&relay->window, i, &batch->until);
		memmove(relay->queued, relay->queued + 1, sizeof(relay->queued[0]) * (size_t) --relay->queued_count);
		batch_unref(&batch->batch);
	}
	metric_set(&metric_inflight, relay->window.used);
	metric_set(&metric_inflight_bytes, relay->window.bytes);
	if (relay->want_rewind)
		relay_rewind(relay);
	control_next(relay);
}
