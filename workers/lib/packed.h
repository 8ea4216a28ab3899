/* Reads the packed batch that events.fetch() returns. */
#ifndef BACKOFFICE_PACKED_H
#define BACKOFFICE_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/event.h"

typedef struct PackedEvents
{
	const unsigned char *at;
	const unsigned char *end;
} PackedEvents;

extern void packed_open(PackedEvents *packed, const void *bytes, size_t len);

/* The next event, pointing into the batch. False: the end; *why is set when the bytes are malformed. */
extern bool packed_next(PackedEvents *packed, Event *event, const char **why);

/* events.position in binary. */
extern bool position_unpack(const void *bytes, size_t len, Position *position);

#endif
