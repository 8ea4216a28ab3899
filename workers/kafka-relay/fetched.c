#include "kafka-relay/fetched.h"

int
event_shard(const Event *event, int shard_count)
{
	const unsigned char *bytes = event->key.data != NULL ? (const unsigned char *) event->key.data : event->id;
	size_t		len = event->key.data != NULL ? event->key.len : sizeof(event->id);
	uint64_t	hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	hash ^= hash >> 32;
	return (int) (hash % (uint64_t) shard_count);
}

bool
fetched_open(FetchedBatch *batch, const void *bytes, size_t len, int shard_count, const char **why)
{
	if (shard_count < 1 || shard_count > WINDOW_MAX_SHARDS)
	{
		*why = "the number of shards is out of range";
		return false;
	}
	packed_open(&batch->packed, bytes, len);
	batch->shard_count = shard_count;
	batch->has_next = false;
	return true;
}

const Event *
fetched_peek(FetchedBatch *batch, const char **why)
{
	if (batch->has_next)
		return &batch->next;
	if (!packed_next(&batch->packed, &batch->next, why))
		return NULL;
	batch->next.shard = event_shard(&batch->next, batch->shard_count);
	batch->has_next = true;
	return &batch->next;
}

void
fetched_take(FetchedBatch *batch)
{
	batch->has_next = false;
}
