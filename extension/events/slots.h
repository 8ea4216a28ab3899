/*
 * slots.h
 *		Shared memory: one slot per database that has the extension (or might),
 *		through which backends, launcher and workers find each other.
 */
#ifndef BACKOFFICE_SLOTS_H
#define BACKOFFICE_SLOTS_H

#include "core/core.h"
#include "port/atomics.h"

typedef enum WorkerKind
{
	WORKER_TICKER,
	WORKER_DISPATCHER,
	WORKER_KEEPER,
	WORKER_KINDS
} WorkerKind;

/* What is known about the extension in a slot's database. */
typedef enum SlotState
{
	SLOT_UNKNOWN,				/* a ticker goes and looks */
	SLOT_PRESENT,				/* all workers are wanted */
	SLOT_ABSENT					/* none is */
} SlotState;

/* DatabaseSlot.dirty */
#define DIRTY_NO	0
#define DIRTY_YES	1			/* a transaction that emitted has committed */
#define DIRTY_MAYBE 2			/* a prepared transaction has; nobody knows whether it emitted */

/* Topics are told apart by their id modulo this. */
#define EMITTED_GROUPS 64

typedef struct DatabaseSlot
{
	pg_atomic_uint32 database;	/* oid; 0: free */
	pg_atomic_uint32 state;		/* SlotState */
	pg_atomic_uint32 keep_out;	/* statements under way that need the database without workers */
	pg_atomic_uint32 dirty;		/* since the ticker looked */
	pg_atomic_uint64 published; /* the last tick that is known to be durable; 0: every visible one is */
	pg_atomic_uint64 read_at;	/* when somebody last read the log (bo_monotonic()) */
	pg_atomic_uint64 emitted[EMITTED_GROUPS];	/* the highest number that an event of these topics was given */
	pg_atomic_uint32 process[WORKER_KINDS]; /* pgprocno + 1; 0: not running */
	pg_atomic_uint32 pid[WORKER_KINDS];
	pg_atomic_uint32 left_well[WORKER_KINDS];	/* it was asked to leave: no need to wait before the next start */
} DatabaseSlot;

extern void slots_init(void);

/* The slot of a database, or NULL.  No lock, no allocation: callable in a commit callback. */
extern DatabaseSlot *slot_find(Oid database);

/* The same, taking a free one if need be; NULL when all are taken.  Takes an LWLock. */
extern DatabaseSlot *slot_acquire(Oid database);

/* This backend's database; looked up once. */
extern DatabaseSlot *slot_mine(void);

/*
 * Keeps the workers out of a database: they leave by themselves, and the slot
 * is held meanwhile; NULL: there is none to be had, so no workers either.
 * Letting them in again looks anew whether the extension is there; callable in a
 * commit callback.
 */
extern DatabaseSlot *slot_keep_out(Oid database);
extern void slot_let_in(DatabaseSlot *slot);
extern bool slot_is_empty(DatabaseSlot *slot);

/*
 * Which topics were emitted to lately, so that who waits for some need not read
 * the others' events.  The note is made after the number was taken and before
 * the row is written.  Notes begin with the slot: numbers that were taken before
 * the caller was a worker of the slot may have none.
 */
extern void slot_note_emitted(DatabaseSlot *slot, int32 topic_id, int64 seq);
extern bool slot_emitted_above(DatabaseSlot *slot, const int32 *topic_ids, int count, int64 seq);

/* For the launcher: slots by number, NULL where free; and giving one back. */
extern int	slot_count(void);
extern DatabaseSlot *slot_by_number(int number);
extern int	slot_number(const DatabaseSlot *slot);
extern void slot_release(DatabaseSlot *slot);

/* Sets the worker's latch, or the launcher's when the worker is not there.  Callable in a commit callback. */
extern void slot_wake(DatabaseSlot *slot, WorkerKind kind);

/* The same for a worker whose absence is nobody's concern just now. */
extern void slot_nudge(DatabaseSlot *slot, WorkerKind kind);
extern void launcher_wake(void);

/* A worker announces itself; it is taken off the slot when the process ends.  false: it must leave. */
extern bool slot_enter(DatabaseSlot *slot, WorkerKind kind);
extern void launcher_enter(void);

/* backoffice.max_databases */
extern int	bo_max_databases;

#endif
