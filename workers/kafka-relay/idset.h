/* A set of byte strings: keys that are held back, events to be sent alone. */
#ifndef BACKOFFICE_RELAY_IDSET_H
#define BACKOFFICE_RELAY_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct IdSetEntry
{
	struct IdSetEntry *next;
	uint64_t	hash;
	size_t		len;
	char		bytes[];
} IdSetEntry;

typedef struct IdSet
{
	IdSetEntry **buckets;
	size_t		bucket_count;
	size_t		count;
} IdSet;

/* False: out of memory. */
extern bool idset_add(IdSet *set, const void *bytes, size_t len);
extern bool idset_has(const IdSet *set, const void *bytes, size_t len);
extern bool idset_remove(IdSet *set, const void *bytes, size_t len);
extern void idset_clear(IdSet *set);

#endif
