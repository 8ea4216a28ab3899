/*
 * A thread of its own that takes from the producers what they have not sent, when
 * the leases run out.  Mostly the loop has done so before.  But a loop can be held up
 * by a name server, a broker, or whoever reads the log, and librdkafka's threads go
 * on sending meanwhile what another relay sends too.
 */
#ifndef BACKOFFICE_RELAY_GUARD_H
#define BACKOFFICE_RELAY_GUARD_H

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define GUARD_NEVER INT64_MAX

typedef struct Guard
{
	pthread_t	thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool		running;
	bool		ending;
	int64_t		until_ms;		/* of loop_monotonic_ms() */
	rd_kafka_t *producers[2];
} Guard;

/* False: see errno. */
extern bool guard_start(Guard *guard);
extern void guard_end(Guard *guard);

/* When the leases run out, unless it is told again. */
extern void guard_until(Guard *guard, int64_t until_ms);

/* The producers there are, NULL: none. What is to be destroyed must be taken away from it before. */
extern void guard_watch(Guard *guard, rd_kafka_t *producer, rd_kafka_t *alone);

#endif
