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

typedef struct SlotCursor
{
	/* whose it is; written under the lock, read without it */
	Oid			database;
	pg_uuid_t	organization_id;
	pg_uuid_t	pool_id;
	pg_atomic_uint64 next;		/* slot to hand out next; 0: not used */
	pg_atomic_uint64 limit;		/* first slot that has no certificate yet, as far as known */
	pg_atomic_uint64 swept;		/* where it stood at the keeper's last round */
	pg_atomic_uint64 asked_at;	/* before this (TimestampTz) not all rows are asked again */
} SlotCursor;

/* The pool's cursor, or NULL when it has none. */
extern SlotCursor *allocator_find(const pg_uuid_t *organization, const pg_uuid_t *pool);

/* Makes one (or returns the one that there is); takes the place of another pool's where there is no room. */
extern SlotCursor *allocator_make(const pg_uuid_t *organization, const pg_uuid_t *pool, int64 next, int64 limit);

/* The next slot below the limit, or 0. */
extern int64 allocator_take(SlotCursor *cursor);

/* The limit is at least this. */
extern void allocator_raise(SlotCursor *cursor, int64 limit);

/* Nothing to be found below: the cursor is at least there. */
extern void allocator_skip(SlotCursor *cursor, int64 to);

extern void allocator_init(void);

#endif
