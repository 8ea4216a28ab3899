/* The ingester's transaction: messages and offsets, together or not at all. */
#ifndef BACKOFFICE_INGEST_STORE_H
#define BACKOFFICE_INGEST_STORE_H

#include "kafka-ingest/step.h"
#include "lib/pg.h"

typedef struct StoreMessage
{
	Inbound		inbound;
	Item		item;
	bool		accepted;		/* new: it was not seen before */
	InboundHeader headers[INGEST_MAX_HEADERS];
	void	   *handle;			/* the consumer's message, that the rest points into */
} StoreMessage;

typedef struct StoreOffset
{
	const char *topic;
	int32_t		partition;
	int64_t		next;
	int64_t		rewound;		/* the source begins anew: here; -1: it does not */
} StoreOffset;

typedef enum StoreOutcome
{
	STORE_DONE,
	STORE_REDO,					/* some message is at fault: store_redo() finds it */
	STORE_RETRY,				/* a passing trouble; nothing was stored */
	STORE_LOST					/* the connection is gone; whether it was stored, the offsets tell */
} StoreOutcome;

typedef struct Store
{
	Pg		   *pg;
	const char *group;
	const char *source;
	char		error[256];
} Store;

/* Prepares the statements of a fresh connection. */
extern bool store_prepare(Store *store);

/* Everything in one transaction and one round trip. */
extern StoreOutcome store_batch(Store *store, StoreMessage *messages, size_t n, const StoreOffset *offsets, size_t offset_count);

/* The same, message by message: who is at fault is parked with the database's reason. */
extern StoreOutcome store_redo(Store *store, StoreMessage *messages, size_t n, const StoreOffset *offsets, size_t offset_count);

#endif
