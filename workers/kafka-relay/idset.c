#include "kafka-relay/idset.h"

#include <stdlib.h>
#include <string.h>

static uint64_t
hash_bytes(const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	uint64_t	hash = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ at[i]) * UINT64_C(1099511628211);
	return hash ^ (hash >> 29);
}

static bool
grow(IdSet *set)
{
	size_t		count = set->bucket_count == 0 ? 64 : set->bucket_count * 2;
	IdSetEntry **buckets = calloc(count, sizeof(*buckets));

	if (buckets == NULL)
		return false;
	for (size_t i = 0; i < set->bucket_count; i++)
		while (set->buckets[i] != NULL)
		{
			IdSetEntry *entry = set->buckets[i];

			set->buckets[i] = entry->next;
			entry->next = buckets[entry->hash % count];
			buckets[entry->hash % count] = entry;
		}
	free(set->buckets);
	set->buckets = buckets;
	set->bucket_count = count;
	return true;
}

static IdSetEntry **
find(const IdSet *set, const void *bytes, size_t len)
{
	uint64_t	hash;
	IdSetEntry **link;

	if (set->count == 0)
		return NULL;
	hash = hash_bytes(bytes, len);
	for (link = &set->buckets[hash % set->bucket_count]; *link != NULL; link = &(*link)->next)
		if ((*link)->hash == hash && (*link)->len == len && memcmp((*link)->bytes, bytes, len) == 0)
			return link;
	return NULL;
}

bool
idset_add(IdSet *set, const void *bytes, size_t len)
{
	IdSetEntry *entry;

	if (find(set, bytes, len) != NULL)
		return true;
	if (set->count >= set->bucket_count && !grow(set))
		return false;
	entry = malloc(sizeof(*entry) + len);
	if (entry == NULL)
		return false;
	entry->hash = hash_bytes(bytes, len);
	entry->len = len;
	memcpy(entry->bytes, bytes, len);
	entry->next = set->buckets[entry->hash % set->bucket_count];
	set->buckets[entry->hash % set->bucket_count] = entry;
	set->count++;
	return true;
}

bool
idset_has(const IdSet *set, const void *bytes, size_t len)
{
	return find(set, bytes, len) != NULL;
}

bool
idset_remove(IdSet *set, const void *bytes, size_t len)
{
	IdSetEntry **link = find(set, bytes, len);
	IdSetEntry *entry;

	if (link == NULL)
		return false;
	entry = *link;
	*link = entry->next;
	free(entry);
	set->count--;
	return true;
}

void
idset_clear(IdSet *set)
{
	for (size_t i = 0; i < set->bucket_count; i++)
		while (set->buckets[i] != NULL)
		{
			IdSetEntry *entry = set->buckets[i];

			set->buckets[i] = entry->next;
			free(entry);
		}
	free(set->buckets);
	memset(set, 0, sizeof(*set));
}
