/*
 * reader.c
 *		Reading the log: tick by tick, and within a tick by number.
 *
 * A reader sees only ticks that are visible to its snapshot and known to be
 * durable.  Everything a tick announces was committed before the tick was, so
 * whoever sees the tick sees the rows: the answer is the same at every isolation
 * level, and on a standby.
 *
 * Which rows make up a batch, and where to look for them: window.c.
 */
#include "events/reader.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "events/ticks.h"
#include "events/window.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

struct EventReader
{
	const EventFilter *filter;
	Snapshot	snapshot;
	MemoryContext context;		/* of the reader */
	MemoryContext per_event;
	TickReader *ticks;
	EventPosition at;			/* returned or passed */
	int64		last_tick;		/* readable */
	Tick		before;
	Tick		cur;			/* the batch that `at` is in */
	int64		lowest;			/* no row of the batch has a lower number; -1: not known yet */

	/* the piece of the batch that is being returned */
	const Window *window;
	uint64		serial;			/* 0: none */
	bool		fresh;			/* read under our own snapshot: its tids are right */
	int			next;

	/* the leaf it lies in */
	int64		leaf_number;
	Relation	leaf;			/* NULL: none opened */
	Relation	index;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
};

/* ---- opening ---- */

static void
refuse(int sqlstate, const EventPosition *position, const char *code, const char *detail)
{
	char		text[POSITION_TEXT_MAX];

	ereport(ERROR,
			(errcode(sqlstate),
			 errmsg("cannot read the event log after position %s", position_print(text, position)),
			 bo_code(code, "%s", detail),
			 errhint("Read from the beginning (NULL), from events.position(), or from a position found by time with events.seek().")));
}

/* A position beyond the last readable tick, or of another epoch than the tick of its number. */
static void
refuse_foreign(const EventPosition *position, Snapshot snapshot, bool beyond)
{
	Epoch		latest;
	bool		known;

	(void) epoch_latest(snapshot, &latest, position->epoch, &known);
	if (known && (!beyond || position->epoch != latest.epoch))
		refuse(BO_GONE, position, "position_lost",
			   "its history was cut off before it, by a promotion or a restore: the events it names are not in this log");
	refuse(BO_BAD_REQUEST, position, "position_unknown",
		   known ? "it is in the future" : "it belongs to another log");
}

/* Whatever their epochs. */
static bool
is_below(const EventPosition *position, const EventPosition *floor)
{
	return position->tick < floor->tick || (position->tick == floor->tick && position->seq < floor->seq);
}

static void
check_position(EventReader *reader, const EventPosition *after)
{
	EventPosition floor = log_floor(reader->snapshot);

	if (is_below(after, &floor))
		refuse(BO_GONE, after, "position_expired", "retention has dropped events behind it");
	if (after->tick == 0)
	{
		if (after->seq != 0)
			refuse(BO_BAD_REQUEST, after, "position_unknown", "only 0:0:0 stands before the first event");
		return;
	}
	if (after->tick > reader->last_tick)
		refuse_foreign(after, reader->snapshot, true);
	if (!tick_get(reader->ticks, after->tick, &reader->cur))
		refuse(BO_GONE, after, "position_expired", "retention has dropped its tick");
	if (reader->cur.epoch != after->epoch)
		refuse_foreign(after, reader->snapshot, false);
	if (after->seq > reader->cur.seq_hi)
		refuse(BO_BAD_REQUEST, after, "position_unknown", "its tick has no such number");
}

EventReader *
reader_open(const EventPosition *after, const EventFilter *filter)
{
	EventReader *reader = palloc0(sizeof(EventReader));

	reader->filter = filter;
	reader->context = CurrentMemoryContext;
	reader->per_event = AllocSetContextCreate(CurrentMemoryContext, "backoffice event", ALLOCSET_DEFAULT_SIZES);
	reader->snapshot = RegisterSnapshot(GetActiveSnapshot());
	reader->ticks = tick_reader_open(reader->snapshot);
	reader->last_tick = tick_last(reader->ticks);
	reader->lowest = -1;

	if (after != NULL)
	{
		check_position(reader, after);
		reader->at = *after;
	}
	else
	{
		reader->at = log_floor(reader->snapshot);
		if (reader->at.tick > 0 && tick_get(reader->ticks, reader->at.tick, &reader->cur))
			reader->at.epoch = reader->cur.epoch;
	}
	return reader;
}

static void
close_leaf(EventReader *reader)
{
	if (reader->leaf == NULL)
		return;
	table_index_fetch_end(reader->fetch);
	ExecDropSingleTupleTableSlot(reader->slot);
	index_close(reader->index, NoLock);
	table_close(reader->leaf, NoLock);
	reader->leaf = NULL;
}

void
reader_close(EventReader *reader)
{
	close_leaf(reader);
	tick_reader_close(reader->ticks);
	UnregisterSnapshot(reader->snapshot);
	MemoryContextDelete(reader->per_event);
}

EventPosition
reader_position(const EventReader *reader)
{
	return reader->at;
}

EventPosition
reader_earliest(void)
{
	Snapshot	snapshot;
	EventPosition earliest;
	TickReader *ticks;
	Tick		tick = {0};

	/* Until the caller's consumer is committed, or retention would not see it and drop what it begins with. */
	LockRelationOid(events_table("floor", false), RowShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	earliest = log_floor(snapshot);
	ticks = tick_reader_open(snapshot);
	if (tick_get(ticks, earliest.tick, &tick))
		earliest.epoch = tick.epoch;
	tick_reader_close(ticks);
	UnregisterSnapshot(snapshot);
	return earliest;
}

EventPosition
reader_latest(void)
{
	EventPosition latest = {0};
	Snapshot	snapshot = RegisterSnapshot(GetActiveSnapshot());
	TickReader *ticks = tick_reader_open(snapshot);
	Tick		tick = {0};

	if (tick_get(ticks, tick_last(ticks), &tick))
		latest = (EventPosition) {tick.epoch, 0, tick.tick, tick.seq_hi};
	tick_reader_close(ticks);
	UnregisterSnapshot(snapshot);
	return latest;
}

/* ---- moving on ---- */

static bool
open_leaf(EventReader *reader, int64 number)
{
	MemoryContext caller;

	if (reader->leaf != NULL && reader->leaf_number == number)
		return true;
	close_leaf(reader);

	caller = MemoryContextSwitchTo(reader->context);
	reader->leaf = leaf_open(&log_leaves, number, AccessShareLock);
	if (reader->leaf != NULL)
	{
		reader->leaf_number = number;
		reader->index = index_open(leaf_index(reader->leaf, LOG_XID), AccessShareLock);
		reader->fetch = table_index_fetch_begin(reader->leaf);
		reader->slot = table_slot_create(reader->leaf, NULL);
	}
	MemoryContextSwitchTo(caller);
	return reader->leaf != NULL;
}

/*
 * A leaf is not there.  If it was dropped since our snapshot was taken, what it had
 * is missed; a reader that stands behind it misses nothing.
 */
static void
check_not_dropped(const EventReader *reader)
{
	/* What is committed at this instant: a parallel operation can take no newer snapshot. */
	EventPosition floor = log_floor(SnapshotSelf);

	if (is_below(&reader->at, &floor))
		refuse(BO_GONE, &reader->at, "position_expired", "retention has dropped events behind it");
}

/* On to the next batch; false: there is none yet. */
static bool
next_batch(EventReader *reader)
{
	Tick		spare = reader->before;
	int64		number = reader->at.tick + 1;

	if (number > reader->last_tick)
		return false;
	reader->before = reader->cur;
	reader->cur = spare;
	if (!tick_get(reader->ticks, number, &reader->cur))
	{
		check_not_dropped(reader);
		elog(ERROR, "tick " INT64_FORMAT " is missing", number);
	}
	reader->at = (EventPosition) {reader->cur.epoch, 0, number, 0};
	reader->lowest = -1;
	return true;
}

/* No event of the filter's topics has a number that is in the current batch. */
static bool
none_noted(const EventReader *reader)
{
	const EventFilter *filter = reader->filter;
	const EmissionNotes *notes = filter->notes;

	return notes != NULL && reader->cur.tick > notes->after_tick && reader->cur.era == reader->before.era &&
		reader->lowest >= notes->after_seq &&
		!slot_emitted_above(notes->slot, filter->topic_ids, filter->ntopics, reader->lowest);
}

/* The next piece of the current batch; false: the batch is done. */
static bool
next_window(EventReader *reader)
{
	int64		first,
				last;
	bool		cut;

	reader->serial = 0;
	if (reader->at.seq >= reader->cur.seq_hi)
		return false;
	if (reader->lowest < 0)
	{
		if (reader->cur.tick > 1 && reader->before.tick != reader->cur.tick - 1 &&
			!tick_get(reader->ticks, reader->cur.tick - 1, &reader->before))
			refuse(BO_GONE, &reader->at, "position_expired", "retention has dropped the tick before it");
		reader->lowest = batch_lowest(reader->ticks, &reader->before, &reader->cur, &cut);
		if (cut)
			check_not_dropped(reader);
		if (none_noted(reader))
		{
			reader->at.seq = reader->cur.seq_hi;
			return false;
		}
	}

	first = Max(reader->at.seq, reader->lowest) + 1;
	last = Min(first | (WINDOW_NUMBERS - 1), reader->cur.seq_hi);
	if (open_leaf(reader, LEAF_OF(first, LOG_LEAF_BITS)))
	{
		reader->window = window_load(reader->leaf, reader->index, reader->snapshot,
									 &reader->before, &reader->cur, first, last, &reader->fresh);
		reader->serial = reader->window->serial;
		reader->next = window_find(reader->window, first - 1);
	}
	else
	{
		check_not_dropped(reader);
		reader->at.seq = last;
	}
	return true;
}

/* ---- rows ---- */

static bool
slot_is_entry(EventReader *reader, const WindowEntry *entry)
{
	Datum	   *values = reader->slot->tts_values;

	slot_getsomeattrs(reader->slot, LOG_XID);
	return DatumGetInt64(values[LOG_SEQ - 1]) == entry->seq &&
		DatumGetInt64(values[LOG_ERA - 1]) == reader->cur.era &&
		U64FromFullTransactionId(DatumGetFullTransactionId(values[LOG_XID - 1])) == entry->xid;
}

/* The row of an entry whose tid is not where it was: the leaf was rewritten, or the row was rolled back. */
static bool
find_again(EventReader *reader, const WindowEntry *entry)
{
	ScanKeyData keys[2];
	IndexScanDesc scan = index_beginscan(reader->leaf, reader->index, reader->snapshot, 2, 0);
	bool		found = false;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_XID8EQ,
				FullTransactionIdGetDatum(FullTransactionIdFromU64(entry->xid)));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(entry->seq));
	index_rescan(scan, keys, 2, NULL, 0);
	while (!found && index_getnext_slot(scan, ForwardScanDirection, reader->slot))
		found = slot_is_entry(reader, entry);
	/* The slot holds its own pin on the row. */
	index_endscan(scan);
	return found;
}

static bool
fetch_row(EventReader *reader, const WindowEntry *entry)
{
	ItemPointerData tid = entry->tid;
	bool		again = false;

	if (table_index_fetch_tuple(reader->fetch, &tid, reader->snapshot, reader->slot, &again, NULL) &&
		slot_is_entry(reader, entry))
		return true;
	return !reader->fresh && find_again(reader, entry);
}

static bool
passes(const EventFilter *filter, const Event *event)
{
	if (filter->organization != NULL &&
		(!event->has_organization ||
		 memcmp(&event->organization_id, filter->organization, sizeof(pg_uuid_t)) != 0))
		return false;
	if (filter->topic_ids != NULL)
	{
		int			i = 0;

		while (i < filter->ntopics && filter->topic_ids[i] != event->topic_id)
			i++;
		if (i == filter->ntopics)
			return false;
	}
	return filter->shard_count == 0 ||
		filter->shards[event_shard(event->key, &event->id, filter->shard_count)];
}

/* Fills the event from the slot; payload and headers only if it passes the filter. */
static bool
take_row(EventReader *reader, Event *event)
{
	Datum	   *values = reader->slot->tts_values;
	bool	   *nulls = reader->slot->tts_isnull;
	MemoryContext caller;

	slot_getallattrs(reader->slot);
	event->position = reader->at;
	event->topic_id = DatumGetInt32(values[LOG_TOPIC_ID - 1]);
	event->occurred_at = DatumGetTimestampTz(values[LOG_OCCURRED_AT - 1]);
	event->id = *DatumGetUUIDP(values[LOG_ID - 1]);
	event->has_organization = !nulls[LOG_ORGANIZATION_ID - 1];
	if (event->has_organization)
		event->organization_id = *DatumGetUUIDP(values[LOG_ORGANIZATION_ID - 1]);

	MemoryContextReset(reader->per_event);
	caller = MemoryContextSwitchTo(reader->per_event);
	event->key = nulls[LOG_KEY - 1] ? NULL : DatumGetTextPP(values[LOG_KEY - 1]);
	if (!passes(reader->filter, event))
	{
		MemoryContextSwitchTo(caller);
		return false;
	}
	event->type = DatumGetTextPP(values[LOG_TYPE - 1]);
	event->payload = DatumGetJsonbP(values[LOG_PAYLOAD - 1]);
	event->headers = nulls[LOG_HEADERS - 1] ? NULL : DatumGetJsonbP(values[LOG_HEADERS - 1]);
	MemoryContextSwitchTo(caller);
	return true;
}

/* The next row of the current piece that passes; false: the piece is done. */
static bool
next_row(EventReader *reader, Event *event)
{
	while (reader->next < reader->window->nentries)
	{
		const WindowEntry *entry = &reader->window->entries[reader->next];

		CHECK_FOR_INTERRUPTS();
		reader->next++;
		reader->at.seq = entry->seq;
		if (fetch_row(reader, entry) && take_row(reader, event))
			return true;
	}
	reader->at.seq = Max(reader->at.seq, reader->window->last);
	reader->serial = 0;
	return false;
}

bool
reader_next(EventReader *reader, Event *event)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		/* Another reader of this backend may have taken the window's memory: then it is read again. */
		if (reader->serial != 0 && reader->serial == reader->window->serial)
		{
			if (next_row(reader, event))
				return true;
		}
		else if (!next_window(reader) && !next_batch(reader))
		{
			reader->at.seq = Max(reader->at.seq, reader->cur.seq_hi);
			return false;
		}
	}
}

int
event_shard(const text *key, const pg_uuid_t *id, int shard_count)
{
	const unsigned char *bytes = key ? (const unsigned char *) VARDATA_ANY(key) : id->data;
	int			length = key ? VARSIZE_ANY_EXHDR(key) : UUID_LEN;
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	for (int i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * UINT64CONST(0x100000001b3);
	/* FNV mixes its low bits poorly; fold the high ones in. */
	hash ^= hash >> 32;
	return (int) (hash % (uint64) shard_count);
}
