/*
 * window.h
 *		The rows of a piece of one batch, by sequence number (for reader.c).
 */
#ifndef BACKOFFICE_EVENTS_WINDOW_H
#define BACKOFFICE_EVENTS_WINDOW_H

#include "events/ticks.h"
#include "storage/itemptr.h"

/* Numbers looked at in one go.  Divides a leaf: a window never crosses leaves. */
#define WINDOW_NUMBERS	((int64) 1 << 18)

typedef struct WindowEntry
{
	int64		seq;
	uint64		xid;
	ItemPointerData tid;		/* where the row was when the window was read */
} WindowEntry;

typedef struct Window
{
	uint64		serial;			/* another content, another serial; 0: empty */
	uint32		epoch;
	int64		tick;
	int64		first;			/* numbers from, and to inclusive */
	int64		last;
	uint64		generation;		/* of the leaves */
	int			nentries;
	WindowEntry *entries;
	MemoryContext context;
	int			allocated;
} Window;

/*
 * Which rows of a leaf belong to batch `cur` and have numbers first..last.
 * before: the tick before it, whose era may be another.  Finished transactions only, but also
 * rolled-back ones: whoever fetches a row finds it invisible.
 * Backend-local and kept: the same piece of the same batch is the same for ever.
 */
extern const Window *window_load(Relation leaf, Relation index, Snapshot snapshot,
								 const Tick *before, const Tick *cur, int64 first, int64 last, bool *fresh);

/* No row of the batch has this number or a lower one; *cut: because the leaf that might have it is not there. */
extern int64 batch_lowest(TickReader *ticks, const Tick *before, const Tick *cur, bool *cut);

/* Would a tick like `cur` announce anything?  For the ticker; keeps nothing. */
extern bool batch_any(TickReader *ticks, Snapshot snapshot, const Tick *before, const Tick *cur);

/* The place of the first entry above a number. */
extern int	window_find(const Window *window, int64 above);

#endif
