/*
 * log.h
 *		The event log's tables as the C of this context sees them.
 */
#ifndef BACKOFFICE_EVENTS_LOG_H
#define BACKOFFICE_EVENTS_LOG_H

#include "core/core.h"
#include "utils/rel.h"

/* Leaf n of events.log holds the sequence numbers [n << LOG_LEAF_BITS, (n + 1) << LOG_LEAF_BITS). */
#define LOG_LEAF_BITS	20
#define TICKS_LEAF_BITS 18

#define LEAF_OF(value, bits)	((value) >> (bits))
#define LEAF_FIRST(leaf, bits)	((leaf) << (bits))

/* Columns of events.log, as in events.tables.sql. */
enum LogColumn
{
	LOG_SEQ = 1, LOG_ERA, LOG_XID, LOG_OCCURRED_AT, LOG_TOPIC_ID, LOG_ID, LOG_ORGANIZATION_ID,
	LOG_KEY, LOG_TYPE, LOG_PAYLOAD, LOG_HEADERS,
	LOG_COLUMNS = LOG_HEADERS
};

/* Columns of events.ticks. */
enum TicksColumn
{
	TICKS_TICK = 1, TICKS_ERA, TICKS_SEQ_LO, TICKS_SEQ_HI, TICKS_NEXT_XID, TICKS_AT, TICKS_EPOCH, TICKS_SNAPSHOT,
	TICKS_COLUMNS = TICKS_SNAPSHOT
};

/* The leaves of one of the two partitioned tables, cached until a leaf comes or goes. */
typedef struct LeafSet LeafSet;

extern LeafSet log_leaves;
extern LeafSet tick_leaves;

/* InvalidOid: there is no such leaf. */
extern Oid	leaf_find(LeafSet *set, int64 number);

/* First and last leaf; false: none. */
extern bool leaf_range(LeafSet *set, int64 *first, int64 *last);

/* Opens a leaf and checks that it looks as this library was compiled for; NULL: there is no such leaf. */
extern Relation leaf_open(LeafSet *set, int64 number, LOCKMODE mode);

/* Grows whenever any leaf came or went: what was remembered about leaves is then worthless. */
extern uint64 leaf_generation(void);

/* The index of a leaf whose first key column is this one; error if there is none. */
extern Oid	leaf_index(Relation leaf, AttrNumber first_column);

/* Names the space of transaction ids that rows written here belong to. */
extern int64 log_era(void);

/* The sequence of the log, and the last number it gave out (0: none). */
extern Oid	log_sequence(void);
extern int64 log_sequence_value(void);

/* A table or sequence of the schema events; not there: error not_installed, or InvalidOid. */
extern Oid	events_table(const char *name, bool missing_ok);

/* Is backoffice installed in this database? */
extern bool log_exists(void);

#endif
