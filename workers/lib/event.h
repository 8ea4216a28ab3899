/* An event of the log: a view into a fetched batch. */
#ifndef BACKOFFICE_EVENT_H
#define BACKOFFICE_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A place in the log. Order is by tick, then seq; the epoch goes along. */
typedef struct Position
{
	uint32_t	epoch;
	int64_t		tick;
	int64_t		seq;
} Position;

typedef struct Bytes
{
	const char *data;			/* NULL: SQL NULL */
	size_t		len;
} Bytes;

typedef struct Event
{
	Position	position;
	int			shard;			/* as the reader divides the log, see fetched.h of the relay */
	int32_t		topic_id;
	unsigned char id[16];
	bool		has_organization;
	unsigned char organization[16];
	int64_t		occurred_at_us; /* since 1970 */
	Bytes		topic;
	Bytes		key;
	Bytes		type;
	Bytes		headers;		/* JSON text of an object */
	Bytes		payload;		/* JSON text */
} Event;

static inline int
position_compare(const Position *a, const Position *b)
{
	if (a->tick != b->tick)
		return a->tick < b->tick ? -1 : 1;
	return a->seq < b->seq ? -1 : a->seq > b->seq;
}

#endif
