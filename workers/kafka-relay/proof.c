#include "kafka-relay/proof.h"

#include <stdlib.h>
#include <string.h>

enum
{
	UNKNOWN,
	ASKED,						/* one event is on its way */
	KNOWN
};

void
proof_begin(Proof *proof, int64_t now_ms)
{
	atomic_store(&proof->partitions, 0);
	proof->count = proof->known = 0;
	proof->first = false;
	proof->since_ms = now_ms;
}

/* Nothing is known of them; false: out of memory. */
static bool
forget(Proof *proof, int32_t count, int64_t now_ms)
{
	unsigned char *states = realloc(proof->states, (size_t) count);

	if (states == NULL)
		return false;
	memset(states, UNKNOWN, (size_t) count);
	proof->states = states;
	proof->count = count;
	proof->known = 0;
	proof->since_ms = now_ms;
	return true;
}

static unsigned char *
state_of(Proof *proof, const Bytes *key)
{
	return &proof->states[rd_kafka_msg_partitioner_murmur2(NULL, key->data, key->len, proof->count, NULL, NULL)];
}

static int32_t
partitions_of(Proof *proof)
{
	return atomic_load_explicit(&proof->partitions, memory_order_relaxed);
}

bool
proof_allows(Proof *proof, const Bytes *key, int64_t now_ms)
{
	int32_t		partitions = partitions_of(proof);

	if (key->data == NULL)
		return true;
	if (proof->first)
		return false;
	if (partitions == 0)
		return true;
	/* When there are more partitions, keys have moved. */
	if ((partitions != proof->count || now_ms - proof->since_ms > PROOF_LASTS_MS) && !forget(proof, partitions, now_ms))
		return false;
	return proof->known == proof->count || *state_of(proof, key) != ASKED;
}

void
proof_sent(Proof *proof, const Bytes *key)
{
	unsigned char *state;

	if (key->data == NULL || (proof->known > 0 && proof->known == proof->count))
		return;
	/* Only in sending it we have heard how many there are. */
	if (proof->count == 0 || proof->count != partitions_of(proof))
	{
		proof->first = true;
		return;
	}
	state = state_of(proof, key);
	if (*state == UNKNOWN)
		*state = ASKED;
}

void
proof_acknowledged(Proof *proof, bool has_key, int32_t partition)
{
	if (has_key && proof->first)
	{
		proof->first = false;
		if (partitions_of(proof) == 0 || !forget(proof, partitions_of(proof), proof->since_ms))
			return;
	}
	if (partition < 0 || partition >= proof->count || proof->states[partition] == KNOWN)
		return;
	proof->states[partition] = KNOWN;
	proof->known++;
}

void
proof_free(Proof *proof)
{
	if (proof != NULL)
		free(proof->states);
	free(proof);
}

int32_t
proof_partitioner(const rd_kafka_topic_t *topic, const void *key, size_t len, int32_t partitions, void *proof, void *message)
{
	atomic_store_explicit(&((Proof *) proof)->partitions, partitions, memory_order_relaxed);
	return rd_kafka_msg_partitioner_murmur2_random(topic, key, len, partitions, proof, message);
}
