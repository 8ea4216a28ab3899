/*
 * Which partitions of a topic the broker knows this producer at.
 *
 * The order of what one producer sends rests on its sequence numbers: behind a
 * request that was refused for good, the next is refused as well, for there is a gap.
 * But a broker that has never taken anything from a producer at a partition takes any
 * number as the first.  If the first request is refused, the second, which may be on
 * its way already, is taken, and comes before what was refused.  So of each partition
 * one event with a key goes alone until one was acknowledged.  Nobody waits
 * for events without a key: they have no order.
 */
#ifndef BACKOFFICE_RELAY_PROOF_H
#define BACKOFFICE_RELAY_PROOF_H

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "lib/event.h"

/* Brokers forget producers that send nothing: after a day, mostly. */
#define PROOF_LASTS_MS 300000

typedef struct Proof
{
	_Atomic int32_t partitions; /* how many there are, by librdkafka's threads; 0: not known */
	int32_t		count;			/* of states */
	int32_t		known;			/* how many partitions know the producer */
	unsigned char *states;
	bool		first;			/* one with a key is on its way, to whichever partition */
	int64_t		since_ms;
} Proof;

/* There is a new producer. */
extern void proof_begin(Proof *proof, int64_t now_ms);

/* Whether an event of this key can be sent now; that it was is told after it. */
extern bool proof_allows(Proof *proof, const Bytes *key, int64_t now_ms);
extern void proof_sent(Proof *proof, const Bytes *key);

/* An event was acknowledged. */
extern void proof_acknowledged(Proof *proof, bool has_key, int32_t partition);
extern void proof_free(Proof *proof);

/* murmur2_random, which tells the topic's Proof (its opaque) how many partitions there are. */
extern int32_t proof_partitioner(const rd_kafka_topic_t *topic, const void *key, size_t len, int32_t partitions, void *proof, void *message);

#endif
