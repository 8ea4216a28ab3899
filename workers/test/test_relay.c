/* The relay's pure parts: the batch parser with hostile bytes, settled prefixes, verdicts, headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka-relay/fetched.h"
#include "kafka-relay/headers.h"
#include "kafka-relay/proof.h"
#include "kafka-relay/step.h"

typedef struct Packed
{
	unsigned char bytes[4096];
	size_t		len;
} Packed;

static void
put(Packed *packed, uint64_t value, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--)
		packed->bytes[packed->len++] = (unsigned char) (value >> (8 * i));
}

static void
put_counted(Packed *packed, const char *text)
{
	put(packed, strlen(text), 4);
	memcpy(packed->bytes + packed->len, text, strlen(text));
	packed->len += strlen(text);
}

static void
put_event(Packed *packed, int64_t tick, int64_t seq, const char *key, const char *payload)
{
	size_t		at = packed->len;
	size_t		len;

	put(packed, 0, 4);
	put(packed, 1 | (key != NULL ? 2 : 0) | 4, 1);
	put(packed, 0xabcd, 4);
	put(packed, (uint64_t) tick, 8);
	put(packed, (uint64_t) seq, 8);
	for (int i = 0; i < 4; i++)
		put(packed, (uint64_t) seq + (uint64_t) i, 8);
	put(packed, 1700000000123456, 8);
	put(packed, 5, 4);
	put_counted(packed, "Topic");
	if (key != NULL)
		put_counted(packed, key);
	put_counted(packed, "type");
	put_counted(packed, payload);
	put_counted(packed, "{\"traceparent\": \"00-x\", \"ce_id\": \"forged\", \"n\": 1}");
	len = packed->len - at - 4;
	packed->len = packed->len - len - 4;
	put(packed, len, 4);
	packed->len += len;
}

static int
count_events(const unsigned char *bytes, size_t len, const char **why)
{
	FetchedBatch batch = {.has_next = false};
	int			count = 0;

	*why = NULL;
	assert_true(fetched_open(&batch, bytes, len, 8, why));
	while (fetched_peek(&batch, why) != NULL)
	{
		assert_true(batch.next.shard >= 0 && batch.next.shard < 8);
		fetched_take(&batch);
		count++;
	}
	return count;
}

static void
batch_is_read(void **state)
{
	Packed		packed = {.len = 0};
	FetchedBatch batch = {.has_next = false};
	const Event *event;
	const char *why = NULL;

	(void) state;
	put_event(&packed, 7, 8, "key", "{\"a\": 1}");
	put_event(&packed, 7, 9, NULL, "[]");
	assert_true(fetched_open(&batch, packed.bytes, packed.len, 8, &why));
	event = fetched_peek(&batch, &why);
	assert_non_null(event);
	assert_ptr_equal(event, fetched_peek(&batch, &why));
	assert_int_equal(event->position.epoch, 0xabcd);
	assert_int_equal(event->position.tick, 7);
	assert_int_equal(event->position.seq, 8);
	assert_int_equal(event->topic_id, 5);
	assert_true(event->has_organization);
	assert_int_equal(event->payload.len, 8);
	assert_memory_equal(event->key.data, "key", 3);
	fetched_take(&batch);
	event = fetched_peek(&batch, &why);
	assert_null(event->key.data);
	fetched_take(&batch);
	assert_null(fetched_peek(&batch, &why));
	assert_null(why);
	assert_false(fetched_open(&batch, packed.bytes, packed.len, 0, &why));
}

static void
truncated_and_flipped_bytes(void **state)
{
	Packed		packed = {.len = 0};
	const char *why;

	(void) state;
	put_event(&packed, 1, 1, "k", "{}");
	put_event(&packed, 1, 2, "k", "{\"x\": \"yyyy\"}");
	assert_int_equal(count_events(packed.bytes, packed.len, &why), 2);
	for (size_t len = 1; len < packed.len; len++)
	{
		/* A copy of the exact size, so that the sanitizer sees a step too far. */
		unsigned char *copy = malloc(len);
		int			count;

		memcpy(copy, packed.bytes, len);
		count = count_events(copy, len, &why);
		assert_true(count < 2);
		assert_true(why != NULL || count == 1);
		free(copy);
	}
	for (size_t at = 0; at < packed.len; at++)
		for (int value = 0; value < 256; value += 51)
		{
			unsigned char *copy = malloc(packed.len);

			memcpy(copy, packed.bytes, packed.len);
			copy[at] = (unsigned char) value;
			assert_true(count_events(copy, packed.len, &why) <= 2);
			free(copy);
		}
}

static void
random_bytes(void **state)
{
	uint64_t	seed = 88172645463325252;
	const char *why;

	(void) state;
	for (int round = 0; round < 20000; round++)
	{
		unsigned char bytes[200];
		size_t		len;

		for (size_t i = 0; i < sizeof(bytes); i++)
		{
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			bytes[i] = (unsigned char) (seed % 3 == 0 ? 0 : seed >> 32);
		}
		len = seed % sizeof(bytes);
		bytes[0] = bytes[1] = bytes[2] = 0;
		count_events(bytes, len, &why);
	}
}

static int	released;

static void
release(Batch *batch)
{
	(void) batch;
	released++;
}

static Event
event_at(int shard, int64_t tick, int64_t seq)
{
	return (Event) {.position = {1, tick, seq}, .shard = shard, .topic_id = 1, .key = {"k", 1}};
}

static void
positions_move_past_settled_prefixes_only(void **state)
{
	Window		window;
	Batch		batch = {1, release};
	Position	zero = {1, 0, 0};
	Position	end = {1, 9, 9};
	Slot	   *slots[5];

	(void) state;
	released = 0;
	assert_true(window_init(&window, 5));
	window_own(&window, 0, 1, &zero);
	window_own(&window, 1, 1, &zero);
	for (int i = 0; i < 5; i++)
	{
		Event	event = event_at(i % 2, 1, i + 1);

		slots[i] = window_add(&window, &event, &batch);
		assert_non_null(slots[i]);
	}
	{
		Event	event = event_at(0, 1, 6);

		assert_null(window_add(&window, &event, &batch));
	}
	window_read_to(&window, 0, &end);
	window_settle(&window, slots[4]);
	window_settle(&window, slots[2]);
	assert_int_equal(window.shards[0].done.seq, 0);
	window_settle(&window, slots[0]);
	/* Nothing is in flight: the shard is as far as it was read. */
	assert_int_equal(window.shards[0].done.tick, 9);
	window_settle(&window, slots[1]);
	assert_int_equal(window.shards[1].done.seq, 2);
	assert_int_equal(window.used, 1);
	window_rewind(&window);
	assert_int_equal(window.shards[1].read.seq, 2);
	assert_int_equal(window.used, 0);
	assert_int_equal(window.bytes, 0);
	assert_int_equal(batch.references, 1);
	batch_unref(&batch);
	assert_int_equal(released, 1);
	window_close(&window);
}

static void
verdicts(void **state)
{
	Window		window;
	IdSet		held = {NULL, 0, 0};
	IdSet		suspects = {NULL, 0, 0};
	Step		step = {&window, &held, &suspects};
	Event	event = event_at(3, 5, 5);
	Position	from = {1, 5, 4};
	char		key[STEP_KEY_MAX];

	(void) state;
	assert_true(window_init(&window, 1));
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SKIP);
	window_own(&window, 3, 1, &from);
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SEND);
	event.position.seq = 4;
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SKIP);
	event.position.seq = 5;
	window.shards[3].leaving = true;
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SKIP);
	window.shards[3].leaving = false;
	event.payload.len = 1000;
	assert_int_equal(step_event(&step, &event, 1000), VERDICT_PARK_TOO_LARGE);
	assert_int_equal(step_event(&step, &event, 2000), VERDICT_SEND);
	assert_true(idset_add(&suspects, event.id, 16));
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SEND_ALONE);
	assert_true(idset_add(&held, key, step_key(1, &event.key, key, sizeof(key))));
	assert_int_equal(step_event(&step, &event, 0), VERDICT_PARK_WAITING);
	event.topic_id = 2;
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SEND_ALONE);
	event.shard = -1;
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SKIP);
	event.shard = WINDOW_MAX_SHARDS;
	assert_int_equal(step_event(&step, &event, 0), VERDICT_SKIP);
	idset_clear(&held);
	idset_clear(&suspects);
	window_close(&window);

	assert_int_equal(step_report(RD_KAFKA_RESP_ERR_NO_ERROR), OUTCOME_ACKED);
	assert_int_equal(step_report(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE), OUTCOME_REFUSED);
	assert_int_equal(step_report(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), OUTCOME_REFUSED);
	assert_int_equal(step_report(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART), OUTCOME_TOPIC_GONE);
	assert_int_equal(step_report(RD_KAFKA_RESP_ERR__MSG_TIMED_OUT), OUTCOME_REWIND);
	assert_int_equal(step_report(RD_KAFKA_RESP_ERR__FATAL), OUTCOME_REWIND);
	assert_int_equal(step_report(RD_KAFKA_RESP_ERR__PURGE_QUEUE), OUTCOME_REWIND);
}

static void
sets(void **state)
{
	IdSet		set = {NULL, 0, 0};

	(void) state;
	assert_false(idset_has(&set, "", 0));
	for (int i = 0; i < 5000; i++)
		assert_true(idset_add(&set, &i, sizeof(i)));
	for (int i = 0; i < 5000; i += 2)
		assert_true(idset_remove(&set, &i, sizeof(i)));
	for (int i = 0; i < 6000; i++)
		assert_int_equal(idset_has(&set, &i, sizeof(i)), i < 5000 && i % 2 == 1);
	assert_int_equal(set.count, 2500);
	idset_clear(&set);
	assert_false(idset_remove(&set, "x", 1));
}

static void
cloud_events(void **state)
{
	Packed		packed = {.len = 0};
	FetchedBatch batch = {.has_next = false};
	const char *why = NULL;
	rd_kafka_headers_t *headers;
	const void *value;
	size_t		len;
	char		time[64];

	(void) state;
	put_event(&packed, 1, 1, "k", "{}");
	assert_true(fetched_open(&batch, packed.bytes, packed.len, 8, &why));
	headers = headers_make(fetched_peek(&batch, &why), "/source");
	assert_non_null(headers);
	assert_int_equal(rd_kafka_header_get_last(headers, "ce_id", &value, &len), 0);
	assert_string_equal(value, "00000000-0000-0001-0000-000000000002");
	assert_int_equal(rd_kafka_header_get_last(headers, "ce_time", &value, &len), 0);
	assert_string_equal(value, "2023-11-14T22:13:20.123456Z");
	assert_int_equal(rd_kafka_header_get_last(headers, "traceparent", &value, &len), 0);
	assert_string_equal(value, "00-x");
	assert_int_equal(rd_kafka_header_get_last(headers, "n", &value, &len), 0);
	assert_string_equal(value, "1");
	assert_int_equal(rd_kafka_header_get(headers, 1, "ce_id", &value, &len), RD_KAFKA_RESP_ERR__NOENT);
	rd_kafka_headers_destroy(headers);
	assert_int_equal(time_format(-1, time), 27);
	assert_string_equal(time, "1969-12-31T23:59:59.999999Z");
	time_format(INT64_MAX, time);
	time_format(INT64_MIN, time);
}

/* One header of an event whose own headers are this text; NULL: it has none of this name. */
static const char *
own_header(const char *text, const char *name)
{
	static char copy[256];
	Event		event = {.type = {"t", 1}, .headers = {text, strlen(text)}};
	rd_kafka_headers_t *headers = headers_make(&event, "/source");
	const void *value;
	size_t		len;
	bool		found;

	assert_non_null(headers);
	assert_int_equal(rd_kafka_header_get_last(headers, "ce_id", &value, &len), 0);
	assert_string_equal(value, "00000000-0000-0000-0000-000000000000");
	found = rd_kafka_header_get_last(headers, name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
	if (found)
		snprintf(copy, sizeof(copy), "%.*s", (int) len, (const char *) value);
	rd_kafka_headers_destroy(headers);
	return found ? copy : NULL;
}

static void
own_headers(void **state)
{
	static const char text[] = "{\"a\": \"x\", \"n\": 123456789012345678901234567890.10, \"r\": 1e400, \"q\\\"\": \"1\\n\\\"2\\u0001\", \"none\": null,"
		" \"o\": {\"k\": [1, \"},]\"], \"l\": {}}, \"e\": \"\", \"t\": true, \"s\": \"\\\\\", \"ce_id\": \"mine\", \"z\": [2]}";

	(void) state;
	assert_string_equal(own_header(text, "a"), "x");
	assert_string_equal(own_header(text, "n"), "123456789012345678901234567890.10");
	assert_string_equal(own_header(text, "r"), "1e400");
	assert_string_equal(own_header(text, "q\""), "1\n\"2\x01");
	assert_null(own_header(text, "none"));
	assert_string_equal(own_header(text, "o"), "{\"k\": [1, \"},]\"], \"l\": {}}");
	assert_string_equal(own_header(text, "e"), "");
	assert_string_equal(own_header(text, "t"), "true");
	assert_string_equal(own_header(text, "s"), "\\");
	assert_string_equal(own_header(text, "z"), "[2]");
	/* Not from PostgreSQL: what can be read of it, and nothing beyond its end. */
	for (size_t len = 0; len < sizeof(text) - 1; len++)
	{
		char	   *cut = strndup(text, len);

		own_header(cut, "z");
		free(cut);
	}
	assert_string_equal(own_header("{\"a\": \"x\", \"b\": \"\\ud800\", \"c\": \"\xff\\n\", \"d\": 1}", "d"), "1");
}

/* Of each partition one event with a key goes alone until one was acknowledged. */
static void
first_of_a_partition(void **state)
{
	Proof		proof = {.count = 0};
	Bytes		none = {NULL, 0};
	Bytes		keys[4];		/* of partitions 0, 0, 1, 1 of two */
	char		texts[4][8];
	int			found[2] = {0, 0};

	(void) state;
	for (int n = 0; found[0] + found[1] < 4; n++)
	{
		char		text[8];
		int			partition;

		snprintf(text, sizeof(text), "k%d", n);
		partition = rd_kafka_msg_partitioner_murmur2(NULL, text, strlen(text), 2, NULL, NULL);
		if (found[partition] == 2)
			continue;
		strcpy(texts[partition * 2 + found[partition]], text);
		keys[partition * 2 + found[partition]] = (Bytes) {texts[partition * 2 + found[partition]], strlen(text)};
		found[partition]++;
	}
	proof_begin(&proof, 0);
	/* The first tells how many there are, only when it is sent. */
	assert_true(proof_allows(&proof, &keys[0], 1));
	assert_int_equal(proof_partitioner(NULL, keys[0].data, keys[0].len, 2, &proof, NULL), 0);
	proof_sent(&proof, &keys[0]);
	for (int i = 0; i < 4; i++)
		assert_false(proof_allows(&proof, &keys[i], 1));
	assert_true(proof_allows(&proof, &none, 1));
	proof_sent(&proof, &none);
	proof_acknowledged(&proof, false, 1);
	assert_false(proof_allows(&proof, &keys[2], 1));
	proof_acknowledged(&proof, true, 0);
	/* Partition 0 knows the producer. Of the other, one goes, then none. */
	assert_true(proof_allows(&proof, &keys[1], 1));
	proof_sent(&proof, &keys[1]);
	assert_true(proof_allows(&proof, &keys[0], 1));
	assert_true(proof_allows(&proof, &keys[2], 1));
	assert_true(proof_allows(&proof, &keys[3], 1));		/* it was not sent after all */
	proof_sent(&proof, &keys[3]);
	assert_false(proof_allows(&proof, &keys[2], 1));
	proof_acknowledged(&proof, true, 1);
	assert_true(proof_allows(&proof, &keys[2], 1));
	proof_sent(&proof, &keys[2]);
	assert_true(proof_allows(&proof, &keys[3], 1));
	/* Brokers forget. */
	assert_true(proof_allows(&proof, &keys[3], PROOF_LASTS_MS + 2));
	proof_sent(&proof, &keys[3]);
	assert_false(proof_allows(&proof, &keys[3], PROOF_LASTS_MS + 3));
	/* More partitions. */
	(void) proof_partitioner(NULL, keys[0].data, keys[0].len, 3, &proof, NULL);
	assert_true(proof_allows(&proof, &keys[3], PROOF_LASTS_MS + 3));
	free(proof.states);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_of_a_partition), cmocka_unit_test(batch_is_read), cmocka_unit_test(truncated_and_flipped_bytes), cmocka_unit_test(random_bytes),
		cmocka_unit_test(positions_move_past_settled_prefixes_only), cmocka_unit_test(verdicts), cmocka_unit_test(sets),
		cmocka_unit_test(cloud_events), cmocka_unit_test(own_headers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
