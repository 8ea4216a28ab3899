/*
 * reader.h
 *		The one way to read the event log in order.
 */
#ifndef BACKOFFICE_EVENTS_READER_H
#define BACKOFFICE_EVENTS_READER_H

#include "events/position.h"
#include "events/slots.h"
#include "utils/jsonb.h"

typedef struct Event
{
	EventPosition position;
	pg_uuid_t	id;
	bool		has_organization;
	pg_uuid_t	organization_id;
	int32		topic_id;
	text	   *key;			/* NULL: none; may have a short header, as the others */
	text	   *type;
	Jsonb	   *payload;
	Jsonb	   *headers;		/* NULL: none */
	TimestampTz occurred_at;
} Event;

/*
 * Where the slot's notes of emissions are complete: in ticks taken after
 * after_tick, for numbers above after_seq.
 */
typedef struct EmissionNotes
{
	DatabaseSlot *slot;
	int64		after_tick;
	int64		after_seq;
} EmissionNotes;

/* What to read.  All zero: everything. */
typedef struct EventFilter
{
	const int32 *topic_ids;		/* NULL: every topic */
	int			ntopics;
	const pg_uuid_t *organization;	/* NULL: every organization's, and the system's */
	int			shard_count;	/* 0: no shards */
	const bool *shards;			/* shard_count flags */
	const EmissionNotes *notes; /* with topic_ids; NULL: each row is looked at */
} EventFilter;

typedef struct EventReader EventReader;

/*
 * Opens the log behind a position (NULL: from where it begins), under the
 * active snapshot.  The filter must stay where it is.  Everything lives in the
 * current memory context.  Errors: position_unknown, position_lost,
 * position_expired.
 */
extern EventReader *reader_open(const EventPosition *after, const EventFilter *filter);

/* The next event, valid until the next call; false: no more is readable under this snapshot. */
extern bool reader_next(EventReader *reader, Event *event);

/* Everything up to here has been returned or did not pass the filter: what to read on after. */
extern EventPosition reader_position(const EventReader *reader);

extern void reader_close(EventReader *reader);

/* Where the log begins: 0:0:0 until retention has dropped something.  It drops nothing more until the transaction is over. */
extern EventPosition reader_earliest(void);

/* The latest position that is readable now; 0:0:0 in an empty log. */
extern EventPosition reader_latest(void);

/* The shard of an event: FNV-1a of the key, or of the id if there is none, modulo the number of shards. */
extern int	event_shard(const text *key, const pg_uuid_t *id, int shard_count);

#endif
