/* The relay's decisions, without a network: what to do with an event, and what a delivery report means. */
#ifndef BACKOFFICE_RELAY_STEP_H
#define BACKOFFICE_RELAY_STEP_H

#include <librdkafka/rdkafka.h>

#include "lib/event.h"
#include "kafka-relay/idset.h"
#include "kafka-relay/window.h"

typedef enum Verdict
{
	VERDICT_SKIP,				/* not ours, or read before */
	VERDICT_SEND,
	VERDICT_SEND_ALONE,			/* was in a batch that the broker refused */
	VERDICT_PARK_WAITING,		/* an earlier event of its key is parked */
	VERDICT_PARK_TOO_LARGE
} Verdict;

typedef enum Outcome
{
	OUTCOME_ACKED,
	OUTCOME_REFUSED,			/* for good: this message, or another one of its batch */
	OUTCOME_TOPIC_GONE,			/* make the topic, then read again */
	OUTCOME_REWIND				/* not this message's fault: read again */
} Outcome;

typedef struct Step
{
	const Window *window;
	const IdSet *held_keys;		/* of step_key() */
	const IdSet *suspects;		/* event ids */
} Step;

#define STEP_KEY_MAX 8192

/* What a key is held back by: topic and key. Returns the length; 0: the event has no key. */
extern size_t step_key(int32_t topic_id, const Bytes *key, char *out, size_t size);

/* max_bytes: the topic's limit of a record, 0 when it is not known. */
extern Verdict step_event(const Step *step, const Event *event, int64_t max_bytes);
extern Outcome step_report(rd_kafka_resp_err_t err);

#endif
