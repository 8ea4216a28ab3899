/*
 * stream.h
 *		GiftCertificates.Stream: every event in one envelope,
 *		{eventId, eventType, channel, status, occurredAt, payload}.
 */
#ifndef BACKOFFICE_STREAM_H
#define BACKOFFICE_STREAM_H

#include "core/core.h"
#include "utils/jsonb.h"

#define STREAM_TOPIC "GiftCertificates.Stream"

/*
 * An event under construction.  Use: stream_begin(), members of the payload,
 * stream_emit().  Members whose value is NULL are left out.
 */
typedef struct StreamEvent
{
	JsonbParseState *json;
	const char *type;
	pg_uuid_t	id;
} StreamEvent;

/* channel may be NULL (JSON null): what no channel caused. */
extern void stream_begin(StreamEvent *event, const char *type, const char *channel, const char *status);
extern void stream_text(StreamEvent *event, const char *name, const char *value);
extern void stream_int64(StreamEvent *event, const char *name, int64 value);
extern void stream_uuid(StreamEvent *event, const char *name, const pg_uuid_t *value);
extern void stream_time(StreamEvent *event, const char *name, TimestampTz value);

/* The key is the certificate's id, or the pool's.  organization NULL: the principal's.  Returns the event's id. */
extern pg_uuid_t stream_emit(StreamEvent *event, const pg_uuid_t *key, const pg_uuid_t *organization);

#endif
