/*
 * throttle.h
 *		Counters of failed guesses, in shared memory: no rollback undoes them.
 */
#ifndef BACKOFFICE_THROTTLE_H
#define BACKOFFICE_THROTTLE_H

#include "core/core.h"

/* What is guessed at, and who guesses. */
typedef struct Guess
{
	uint64		code;			/* hash of the code, whether there is one or not */
	uint64		principal;
} Guess;

/*
 * Counts a failure in advance, for the code, the principal and the database;
 * error throttled (PT429) when one of them has had too many.
 */
extern void throttle_enter(const Guess *guess);

/* It was no failure after all. */
extern void throttle_forgive(const Guess *guess);

extern void throttle_init(void);

#endif
