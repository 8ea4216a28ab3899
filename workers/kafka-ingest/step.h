/* The ingester's decisions, without a network: what a Kafka message becomes, and what an error of the database means. */
#ifndef BACKOFFICE_INGEST_STEP_H
#define BACKOFFICE_INGEST_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INGEST_MAX_HEADERS 64
#define INGEST_MAX_DEPTH 128
#define INGEST_ID_MAX 512

typedef struct InboundHeader
{
	const char *name;
	const void *value;			/* NULL: none */
	size_t		len;
} InboundHeader;

/* A message as it came. */
typedef struct Inbound
{
	const char *topic;
	int32_t		partition;
	int64_t		offset;
	const void *key;			/* NULL: none */
	size_t		key_len;
	const void *value;			/* NULL: a tombstone */
	size_t		value_len;
	const InboundHeader *headers;
	size_t		header_count;
} Inbound;

typedef struct IngestRules
{
	const char *source;			/* first part of accept()'s source */
	const char *organization;	/* "": the message tells */
	int64_t		max_bytes;
} IngestRules;

/* What becomes of it: arguments of accept(), or a reason to park it. */
typedef struct Item
{
	bool		park;
	char		reason[300];
	char		source[256];
	char		id[INGEST_ID_MAX + 1];
	char		organization[37];
	char	   *key;			/* owned; NULL: none */
	char	   *payload;		/* owned */
	char	   *headers;		/* owned JSON object; NULL: none */
} Item;

/* Judges a message. False: out of memory. The item is to be freed in either case. */
extern bool ingest_judge(const IngestRules *rules, const Inbound *message, Item *item);
extern void ingest_free(Item *item);

/* Makes a reason that any text column takes, however it was cut. */
extern void ingest_plain(char *text);

typedef enum Fault
{
	FAULT_MESSAGE,				/* this message will never be taken: park it */
	FAULT_PASSING				/* try again later: the database, a deadlock, a right that is missing */
} Fault;

extern Fault ingest_fault(const char *sqlstate);

extern bool ingest_uuid_good(const char *text, size_t len);

#endif
