/* Capped exponential backoff with full jitter. */
#ifndef BACKOFFICE_BACKOFF_H
#define BACKOFFICE_BACKOFF_H

#include <stdint.h>

typedef struct Backoff
{
	int64_t		first_ms;		/* ceiling of the first delay */
	int64_t		max_ms;			/* ceiling of every delay */
	int			failures;		/* in a row */
	uint64_t	seed;			/* of the jitter */
} Backoff;

extern void backoff_init(Backoff *backoff, int64_t first_ms, int64_t max_ms, uint64_t seed);

/* The next failure's delay: between half and all of its ceiling, which doubles each time. */
extern int64_t backoff_next_ms(Backoff *backoff);
extern void backoff_reset(Backoff *backoff);

#endif
