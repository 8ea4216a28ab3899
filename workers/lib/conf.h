/*
 * Settings: one table per worker, read from the environment and from flags.
 * A flag --lease-ms is BACKOFFICE_LEASE_MS in the environment; one that starts
 * with "kafka-" has no prefix there: --kafka-bootstrap is KAFKA_BOOTSTRAP.
 * Flags win over the environment, the environment over the default.
 */
#ifndef BACKOFFICE_CONF_H
#define BACKOFFICE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum ConfType
{
	CONF_TEXT,
	CONF_LIST,					/* a text of items between commas: blanks around them are taken off */
	CONF_INT,
	CONF_BOOL
} ConfType;

typedef struct ConfItem
{
	const char *name;			/* the flag without its dashes */
	ConfType	type;
	void	   *target;			/* const char **, int64_t * or bool * */
	const char *fallback;		/* NULL: must be given */
	int64_t		min;
	int64_t		max;
	const char *unit;			/* of an integer, or the form of a text */
	const char *help;
} ConfItem;

typedef struct ConfProgram
{
	const char *name;
	const char *purpose;
	const char *examples;
	const ConfItem *items;
	size_t		item_count;
} ConfProgram;

typedef enum ConfVerdict
{
	CONF_RUN,
	CONF_CHECK,					/* settings are good, --check was given */
	CONF_DONE,					/* --help or --version was answered */
	CONF_WRONG					/* complaints were written */
} ConfVerdict;

/* getenv can be replaced by tests. Texts point into argv or the environment, lists are made and stay. Complaints go to err, help to out. */
extern ConfVerdict conf_read(const ConfProgram *program, int argc, char **argv,
							 char *(*get_env) (const char *), FILE *out, FILE *err);

#endif
