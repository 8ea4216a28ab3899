#include "kafka-relay/step.h"

#include <string.h>

/* A record's own fields, and the CloudEvents headers without their variable parts. */
#define RECORD_OVERHEAD 400

size_t
step_key(int32_t topic_id, const Bytes *key, char *out, size_t size)
{
	size_t		len;

	if (key->data == NULL)
		return 0;
	/* Keys are short; a longer one is held back together with those that begin like it. */
	len = key->len < size - sizeof(topic_id) ? key->len : size - sizeof(topic_id);
	memcpy(out, &topic_id, sizeof(topic_id));
	memcpy(out + sizeof(topic_id), key->data, len);
	return sizeof(topic_id) + len;
}

Verdict
step_event(const Step *step, const Event *event, int64_t max_bytes)
{
	const WindowShard *shard;
	char		key[STEP_KEY_MAX];
	size_t		key_len;

	if (event->shard < 0 || event->shard >= WINDOW_MAX_SHARDS)
		return VERDICT_SKIP;
	shard = &step->window->shards[event->shard];
	if (!shard->owned || shard->leaving || position_compare(&event->position, &shard->read) <= 0)
		return VERDICT_SKIP;
	if (step->held_keys->count > 0)
	{
		key_len = step_key(event->topic_id, &event->key, key, sizeof(key));
		if (key_len > 0 && idset_has(step->held_keys, key, key_len))
			return VERDICT_PARK_WAITING;
	}
	if (max_bytes > 0 && (int64_t) (event->payload.len + event->key.len + event->headers.len + event->type.len) +
		RECORD_OVERHEAD > max_bytes)
		return VERDICT_PARK_TOO_LARGE;
	if (step->suspects->count > 0 && idset_has(step->suspects, event->id, sizeof(event->id)))
		return VERDICT_SEND_ALONE;
	return VERDICT_SEND;
}

Outcome
step_report(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_NO_ERROR:
			return OUTCOME_ACKED;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
		case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
		case RD_KAFKA_RESP_ERR_INVALID_RECORD:
		case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
			return OUTCOME_REFUSED;
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			return OUTCOME_TOPIC_GONE;
		default:
			return OUTCOME_REWIND;
	}
}
