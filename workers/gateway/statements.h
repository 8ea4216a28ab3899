/* Statements that calls are made of: a name to prepare them under, and how long they take. */
#ifndef BACKOFFICE_STATEMENTS_H
#define BACKOFFICE_STATEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATEMENTS_MAX 1024		/* per process; what comes after is sent unprepared */

typedef struct Known
{
	char	   *sql;
	uint64_t	hash;
	int			number;			/* from 0 */
	uint16_t	generation;		/* goes up when it must be prepared anew; never 0 */
	int64_t		average_us;		/* running time, recent ones count more */
	int64_t		measured;		/* how often */
} Known;

typedef struct Statements
{
	Known	   *slots[STATEMENTS_MAX * 2];	/* by hash */
	Known		known[STATEMENTS_MAX];
	int			count;
} Statements;

/* Finds it, or takes it up. NULL: there are too many, or no memory. */
extern Known *statements_find(Statements *statements, const char *sql);
extern void statements_free(Statements *statements);

extern void known_name(const Known *known, char *name, size_t size);
extern void known_measure(Known *known, int64_t us);
extern void known_renew(Known *known);
extern bool known_is_fast(const Known *known, int64_t fast_us);

#endif
