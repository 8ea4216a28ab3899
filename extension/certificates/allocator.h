/*
 * allocator.h
 *		Who looks at which slot next: a cursor per pool, in shared memory.
 *
 * A slot number handed out is a hint and nothing more: the row decides.  So
 * nothing here has to be undone, and a cursor lost or taken over by another
 * pool costs some looking, never a certificate.
 */
#ifndef BACKOFFICE_ALLOCATOR_H
#define BACKOFFICE_ALLOCATOR_H

#include "core/core.h"
#include "port/atomics.h"

/* What the last asker of a pool's rows has learned (ask.c).  Zero: nothing. */
#define ASK_UNSETTLED_MAX 20

typedef struct AskedRows
{
	uint64		releases;		/* counts certificates released where they stood */
	int64		from;			/* all rows from here on are to be asked */
	int32		count;
	int64		unsettled[ASK_UNSETTLED_MAX];	/* and these */
} AskedRows;

typedef struct SlotCursor
{
	/* whose it is; written under the lock, read without it */
	Oid			database;
	pg_uuid_t	organization_id;
	pg_uuid_t	pool_id;
	pg_atomic_uint64 next;		/* slot to hand out next; 0: not used */
	pg_atomic_uint64 limit;		/* first slot that has no certificate yet, as far as known */
	pg_atomic_uint64 swept;		/* where it stood at the keeper's last round */
	AskedRows	asked;			/* under the lock */
} SlotCursor;

/* The pool's cursor, or NULL when it has none. */
extern SlotCursor *allocator_find(const pg_uuid_t *organization, const pg_uuid_t *pool);

/* Makes one (or returns the one that there is); takes the place of another pool's where there is no room. */
extern SlotCursor *allocator_make(const pg_uuid_t *organization, const pg_uuid_t *pool, int64 next, int64 limit);

/* The next slot below the limit, or 0. */
extern int64 allocator_take(SlotCursor *cursor);

/* How many slots are in front of it, as far as known; none, where the cursor is another pool's by now. */
extern int64 allocator_in_front(SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool);

/* The limit is at least this. */
extern void allocator_raise(SlotCursor *cursor, int64 limit);

/* Nothing to be found below: the cursor is at least there. */
extern void allocator_skip(SlotCursor *cursor, int64 to);

/* What is known of the pool's rows; nothing, where the cursor is another pool's by now. */
extern void allocator_asked_rows(SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool, AskedRows *asked);

/* The same learned anew; forgotten when a certificate was released in its slot meanwhile. */
extern void allocator_learn_rows(SlotCursor *cursor, const pg_uuid_t *organization, const pg_uuid_t *pool, const AskedRows *learned);

/* To be called after a row that keeps its slot was made available, before the commit. */
extern void allocator_released(const pg_uuid_t *organization, const pg_uuid_t *pool, int64 slot);

extern void allocator_init(void);

#endif
