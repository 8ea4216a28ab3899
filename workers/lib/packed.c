/*
 * The packed batch of events.fetch(), as docs/events.md has it: big-endian numbers;
 * each event is int32 length of what follows, then
 *
 *	int8	flags: 1 has organization, 2 has key, 4 has headers
 *	int32	epoch, int64 tick, int64 seq
 *	16 bytes id, 16 bytes organization (zeros without)
 *	int64	occurred at, microseconds since 1970
 *	int32	topic id, counted topic name
 *	counted key (if flagged), counted type, counted payload, counted headers (if flagged)
 *
 * where counted is int32 length and bytes.  Nothing is believed that the bytes don't hold.
 */
#include "lib/packed.h"

#include <string.h>

#define FLAG_ORGANIZATION 0x01
#define FLAG_KEY 0x02
#define FLAG_HEADERS 0x04

typedef struct Reader
{
	const unsigned char *at;
	const unsigned char *end;
	bool		bad;
} Reader;

static uint64_t
get_number(Reader *reader, int bytes)
{
	uint64_t	value = 0;

	if (reader->bad || reader->end - reader->at < bytes)
	{
		reader->bad = true;
		return 0;
	}
	for (int i = 0; i < bytes; i++)
		value = (value << 8) | *reader->at++;
	return value;
}

static const unsigned char *
get_bytes(Reader *reader, size_t len)
{
	const unsigned char *bytes = reader->at;

	if (reader->bad || (size_t) (reader->end - reader->at) < len)
	{
		reader->bad = true;
		return NULL;
	}
	reader->at += len;
	return bytes;
}

static Bytes
get_counted(Reader *reader)
{
	size_t		len = (size_t) get_number(reader, 4);

	return (Bytes) {.data = (const char *) get_bytes(reader, len), .len = reader->bad ? 0 : len};
}

bool
position_unpack(const void *bytes, size_t len, Position *position)
{
	Reader		reader = {.at = bytes, .end = (const unsigned char *) bytes + len};

	position->epoch = (uint32_t) get_number(&reader, 4);
	position->tick = (int64_t) get_number(&reader, 8);
	position->seq = (int64_t) get_number(&reader, 8);
	return !reader.bad && reader.at == reader.end;
}

void
packed_open(PackedEvents *packed, const void *bytes, size_t len)
{
	packed->at = bytes;
	packed->end = packed->at + len;
}

static bool
read_event(Reader *reader, Event *event)
{
	unsigned int flags = (unsigned int) get_number(reader, 1);
	const unsigned char *id;
	const unsigned char *organization;

	event->position.epoch = (uint32_t) get_number(reader, 4);
	event->position.tick = (int64_t) get_number(reader, 8);
	event->position.seq = (int64_t) get_number(reader, 8);
	id = get_bytes(reader, 16);
	organization = get_bytes(reader, 16);
	event->occurred_at_us = (int64_t) get_number(reader, 8);
	event->topic_id = (int32_t) get_number(reader, 4);
	event->topic = get_counted(reader);
	event->key = flags & FLAG_KEY ? get_counted(reader) : (Bytes) {NULL, 0};
	event->type = get_counted(reader);
	event->payload = get_counted(reader);
	event->headers = flags & FLAG_HEADERS ? get_counted(reader) : (Bytes) {NULL, 0};
	if (reader->bad || reader->at != reader->end)
		return false;
	memcpy(event->id, id, sizeof(event->id));
	memcpy(event->organization, organization, sizeof(event->organization));
	event->has_organization = (flags & FLAG_ORGANIZATION) != 0;
	return true;
}

bool
packed_next(PackedEvents *packed, Event *event, const char **why)
{
	Reader		reader = {.at = packed->at, .end = packed->end};
	size_t		len;

	if (packed->at == packed->end)
		return false;
	len = (size_t) get_number(&reader, 4);
	if (reader.bad || (size_t) (reader.end - reader.at) < len)
	{
		*why = "an event is longer than its batch";
		return false;
	}
	packed->at = reader.at + len;
	reader.end = packed->at;
	if (!read_event(&reader, event))
	{
		*why = "an event's fields do not fit its length";
		packed->at = packed->end;
		return false;
	}
	return true;
}
