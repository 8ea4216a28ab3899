/*
 * topics.h
 *		Topics are defined, not invented: what emit, accept and the reader ask.
 *
 * All topics with their rights and schemas live in a cache of this backend,
 * invalidated through relcache invalidation of events.topics.  A returned
 * pointer is good until the next topic_lookup() or topic_by_id().
 */
#ifndef BACKOFFICE_TOPICS_H
#define BACKOFFICE_TOPICS_H

#include "core/core.h"
#include "utils/jsonb.h"

#define TOPIC_NAME_MAX 249		/* Kafka's limit */

/* The kernel's own topic: parked events, malformed inbound messages. */
#define TOPIC_ALERTS "backoffice.alerts"

typedef enum TopicDirection
{
	TOPIC_OUT,					/* carried to Kafka by the relay */
	TOPIC_IN,					/* comes from Kafka through events.accept() */
	TOPIC_INTERNAL				/* stays in the database */
} TopicDirection;

typedef struct TopicSchema
{
	const char *type;			/* "": for every type of the topic */
	Jsonb	   *source;
	struct JsonSchema *compiled;	/* NULL until first use */
} TopicSchema;

typedef struct Topic
{
	int32		id;
	char		name[TOPIC_NAME_MAX + 1];
	TopicDirection direction;
	const char *key_rule;		/* what the key is, and then it must be there; NULL: free */
	int32		partitions;
	Interval	retention;
	int			ngrants;
	NameData   *grants;			/* roles that may emit */
	int			nschemas;
	TopicSchema *schemas;
} Topic;

extern const Topic *topic_lookup(const char *name); /* or error unknown_topic */
extern const Topic *topic_by_id(int32 id);	/* NULL: not defined (any more) */

/* Errors: topic_forbidden, key_required, schema_violation. */
extern void topic_check_right(const Topic *topic, Oid userid);
extern void topic_check_key(const Topic *topic, const char *key);
extern void topic_check_payload(const Topic *topic, const char *type, Jsonb *payload);

#endif
