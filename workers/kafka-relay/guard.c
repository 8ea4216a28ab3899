#include "kafka-relay/guard.h"

#include <errno.h>
#include <time.h>

#include "lib/log.h"
#include "lib/loop.h"

static void
wait_until(Guard *guard, int64_t until_ms)
{
	struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

	if (until_ms == GUARD_NEVER)
		pthread_cond_wait(&guard->changed, &guard->lock);
	else
		pthread_cond_timedwait(&guard->changed, &guard->lock, &until);
}

static void
purge(Guard *guard)
{
	int			unsent = 0;

	for (int i = 0; i < 2; i++)
		if (guard->producers[i] != NULL)
		{
			unsent += rd_kafka_outq_len(guard->producers[i]);
			rd_kafka_purge(guard->producers[i], RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
		}
	if (unsent > 0)
		log_warn("the leases ran out while the relay was held up: nothing more is sent", F_INT("unsent", unsent));
}

static void *
watch(void *context)
{
	Guard	   *guard = context;

	pthread_mutex_lock(&guard->lock);
	while (!guard->ending)
	{
		if (guard->until_ms == GUARD_NEVER || loop_monotonic_ms() < guard->until_ms)
		{
			wait_until(guard, guard->until_ms);
			continue;
		}
		guard->until_ms = GUARD_NEVER;
		purge(guard);
	}
	pthread_mutex_unlock(&guard->lock);
	return NULL;
}

bool
guard_start(Guard *guard)
{
	pthread_condattr_t attributes;

	guard->until_ms = GUARD_NEVER;
	pthread_mutex_init(&guard->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&guard->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	errno = pthread_create(&guard->thread, NULL, watch, guard);
	guard->running = errno == 0;
	return guard->running;
}

void
guard_end(Guard *guard)
{
	if (!guard->running)
		return;
	pthread_mutex_lock(&guard->lock);
	guard->ending = true;
	pthread_cond_signal(&guard->changed);
	pthread_mutex_unlock(&guard->lock);
	pthread_join(guard->thread, NULL);
	guard->running = false;
}

void
guard_until(Guard *guard, int64_t until_ms)
{
	pthread_mutex_lock(&guard->lock);
	guard->until_ms = until_ms;
	pthread_cond_signal(&guard->changed);
	pthread_mutex_unlock(&guard->lock);
}

void
guard_watch(Guard *guard, rd_kafka_t *producer, rd_kafka_t *alone)
{
	pthread_mutex_lock(&guard->lock);
	guard->producers[0] = producer;
	guard->producers[1] = alone;
	pthread_mutex_unlock(&guard->lock);
}
