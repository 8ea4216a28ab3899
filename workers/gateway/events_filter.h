/* What a listener wants: topics=, types= and key= of the query. Pure. */
#ifndef BACKOFFICE_EVENTS_FILTER_H
#define BACKOFFICE_EVENTS_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/event.h"

#define FILTER_MAX_ITEMS 32		/* of a list */
#define FILTER_MAX_TOPIC 249
#define FILTER_MAX_TYPE 255
#define FILTER_MAX_KEY 1024

typedef struct Filter
{
	char	   *topics;			/* names, each with a NUL behind it; NULL: every topic that is allowed */
	char	   *types;			/* the same; one that ends in * stands for all that begin so */
	char	   *key;			/* NULL: any */
	int			topic_count;
	int			type_count;
} Filter;

/* A comma-separated list of 1 to FILTER_MAX_ITEMS items of 1 to max bytes. NULL: it is none (or no memory). */
extern char *filter_list(const char *text, size_t max, int *count);

/* Whether a NUL-separated list has the text. */
extern bool filter_has(const char *list, int count, const char *text, size_t len);

/* Types and key; topics are a matter of rights too. */
extern bool filter_matches(const Filter *filter, const Event *event);
extern void filter_free(Filter *filter);

#endif
