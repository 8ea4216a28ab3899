/*
 * position.h
 *		A place in the event log: SQL type events.position.
 */
#ifndef BACKOFFICE_POSITION_H
#define BACKOFFICE_POSITION_H

#include "core/core.h"

/*
 * Everything of batches before tick, and of batch tick what has a sequence
 * number up to seq.  Written epoch:tick:seq, the epoch in hex.  0:0:0 is the
 * beginning of any log.
 */
typedef struct EventPosition
{
	uint32		epoch;
	uint32		unused;			/* zero: values are compared and hashed as bytes by some */
	int64		tick;
	int64		seq;
} EventPosition;

#define POSITION_TEXT_MAX 64

#define DatumGetPositionP(datum)	((EventPosition *) DatumGetPointer(datum))
#define PositionPGetDatum(position) PointerGetDatum(position)
#define PG_GETARG_POSITION_P(n)		DatumGetPositionP(PG_GETARG_DATUM(n))
#define PG_RETURN_POSITION_P(position) return PositionPGetDatum(position)

extern int	position_compare(const EventPosition *a, const EventPosition *b);

/* Into a buffer of POSITION_TEXT_MAX bytes; returns it. */
extern char *position_print(char *buffer, const EventPosition *position);

#endif
