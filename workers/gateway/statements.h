/* Statements that calls are made of: a name to prepare them under, and how long they take. */
#ifndef BACKOFFICE_STATEMENTS_H
#define BACKOFFICE_STATEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATEMENTS_MAX 1024		/* per process; after that what was not used for longest gives way */
#define ONE_OFFS_MAX (STATEMENTS_MAX / 2)	/* of them, those whose text the client shapes */
#define ONE_OFF_OFTEN 5			/* as often it must have come to be worth preparing */
#define SEEN_SLOTS 4096

typedef struct Known
{
	char	   *sql;
	uint64_t	hash;
	int			number;			/* from 0 */
	uint32_t	generation;		/* goes up when it must be prepared anew, and when it is another statement; never 0 */
	bool		one_off;
	uint64_t	used;			/* which find was the last of it */
	int64_t		average_us;		/* running time, recent ones count more */
	int64_t		measured;		/* how often */
} Known;

/* A text that may come once only. */
typedef struct Seen
{
	uint64_t	hash;
	int			times;
} Seen;

typedef struct Statements
{
	Known	   *slots[STATEMENTS_MAX * 2];	/* by hash */
	Known		known[STATEMENTS_MAX];
	int			count;
	int			one_offs;
	uint64_t	finds;
	Seen		seen[SEEN_SLOTS];	/* by hash; the later one stays */
} Statements;

/*
 * Finds it, or takes it up. one_off: the client shapes its text, so it is taken up only when it has come often.
 * NULL: not worth it, or no memory. Of another generation than it had when it was found, it may be another's.
 */
extern Known *statements_find(Statements *statements, const char *sql, bool one_off);
extern void statements_free(Statements *statements);

extern void known_name(const Known *known, char *name, size_t size);
extern void known_measure(Known *known, int64_t us);
extern void known_renew(Known *known);
extern bool known_is_fast(const Known *known, int64_t fast_us);

#endif
