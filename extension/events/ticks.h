/*
 * ticks.h
 *		Rows of events.ticks.
 */
#ifndef BACKOFFICE_EVENTS_TICKS_H
#define BACKOFFICE_EVENTS_TICKS_H

#include "events/log.h"
#include "events/position.h"
#include "utils/snapshot.h"

/* xmax of the tick that closes an era: it sees every committed row. */
#define XMAX_OF_CLOSED_ERA ((uint64) PG_INT64_MAX)

typedef struct Tick
{
	int64		tick;			/* 0: none (before the first) */
	int64		era;
	int64		seq_lo;
	int64		seq_hi;
	uint64		next_xid;		/* transactions from here on have numbers above seq_lo */
	TimestampTz at;
	uint32		epoch;
	/* the snapshot */
	uint64		xmin;
	uint64		xmax;
	int			nxip;
	int			xip_allocated;
	uint64	   *xip;			/* ascending */
} Tick;

/* Looks ticks up by number, under one snapshot; keeps what it opened until closed. */
typedef struct TickReader TickReader;

extern TickReader *tick_reader_open(Snapshot snapshot);
extern void tick_reader_close(TickReader *reader);

/* false: no such tick.  into->xip is reused, or allocated in the context the reader was opened in. */
extern bool tick_get(TickReader *reader, int64 number, Tick *into);

/* The latest tick that this snapshot sees and that is known to be durable; 0: none. */
extern int64 tick_last(TickReader *reader);

/* The same, also if it is not known to be durable yet: for the ticker itself. */
extern int64 tick_last_written(TickReader *reader);

/* Was this transaction over when the tick was taken? */
extern bool tick_sees(const Tick *tick, uint64 xid);

/* Where the log begins: 0:0 unless retention has dropped something. */
extern EventPosition log_floor(Snapshot snapshot);

/* A row of events.epochs. */
typedef struct Epoch
{
	int64		first_tick;
	uint32		epoch;
	int64		era;
	uint64		system_identifier;
	Oid			database;
	Oid			extension;
	uint32		timeline;
} Epoch;

/* The latest epoch; false: none has begun.  *known: is the epoch asked for among them? */
extern bool epoch_latest(Snapshot snapshot, Epoch *latest, uint32 asked, bool *known);

/* For the ticker: the snapshot (a pg_snapshot) is written, tick->xip is not looked at. */
extern void tick_insert(const Tick *tick, Datum snapshot);
extern void epoch_insert(const Epoch *epoch);

/* The snapshot of a tick that closes an era. */
extern Datum tick_snapshot_of_closed_era(void);
extern void tick_parse_snapshot(Tick *tick, Datum snapshot, MemoryContext context);

#endif
