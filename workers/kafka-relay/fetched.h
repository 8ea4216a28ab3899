/* A batch of events.fetch() with the relay's shards. */
#ifndef BACKOFFICE_RELAY_FETCHED_H
#define BACKOFFICE_RELAY_FETCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/event.h"
#include "kafka-relay/window.h"
#include "lib/packed.h"

typedef struct FetchedBatch
{
	Batch		batch;			/* first: what the window counts */
	void	   *result;			/* the PGresult that holds the bytes */
	PackedEvents packed;
	int			shard_count;
	Position	until;			/* the log was read up to here */
	bool		has_next;		/* next was read and not yet taken */
	bool		shards[WINDOW_MAX_SHARDS];	/* that were asked for, and were not started again since */
	Event	next;
} FetchedBatch;

extern bool fetched_open(FetchedBatch *batch, const void *bytes, size_t len, int shard_count, const char **why);

/* The next event, or NULL at the end; *why is set when the bytes are malformed. Stays the same until fetched_take(). */
extern const Event *fetched_peek(FetchedBatch *batch, const char **why);
extern void fetched_take(FetchedBatch *batch);

/* As the server reckons it: FNV-1a of the key, or of the id without one, high bits folded in, modulo the shards. */
extern int	event_shard(const Event *event, int shard_count);

#endif
