/*
 * workers.h
 *		What the background workers of a database have in common.
 */
#ifndef BACKOFFICE_EVENTS_WORKERS_H
#define BACKOFFICE_EVENTS_WORKERS_H

#include "events/slots.h"

/* What a dynamic worker is given in bgw_extra. */
typedef struct WorkerStart
{
	int			slot;
	Oid			database;
} WorkerStart;

/*
 * Start of a worker: signals, connection, its place in the slot.  Ends the
 * process if it is not wanted (any more).  Outside any transaction on return.
 */
extern DatabaseSlot *worker_start(WorkerKind kind);

/* To be called between pieces of work: interrupts, reload of settings, and leaving when asked to. */
extern void worker_check(DatabaseSlot *slot);

/* worker_check(), then sleeps until the latch is set or the time is over, then worker_check(). */
extern void worker_wait(DatabaseSlot *slot, long timeout_ms);

/* How often this process has read the settings anew. */
extern int	worker_reloads;

/* Transactions of a worker: with a snapshot; commit pops it. */
extern void worker_begin(void);
extern void worker_commit(void);

/* The search_path of the database's settings: worker_start() sets a safe one for the worker's own statements. */
extern char *worker_default_search_path;

/* The entry points. */
extern PGDLLEXPORT void backoffice_launcher_main(Datum arg);
extern PGDLLEXPORT void backoffice_ticker_main(Datum arg);
extern PGDLLEXPORT void backoffice_dispatcher_main(Datum arg);
extern PGDLLEXPORT void backoffice_keeper_main(Datum arg);

#endif
