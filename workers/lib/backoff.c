#include "lib/backoff.h"

void
backoff_init(Backoff *backoff, int64_t first_ms, int64_t max_ms, uint64_t seed)
{
	backoff->first_ms = first_ms > 0 ? first_ms : 1;
	backoff->max_ms = max_ms > backoff->first_ms ? max_ms : backoff->first_ms;
	backoff->failures = 0;
	backoff->seed = seed;
}

/* splitmix64: good enough to keep workers from returning in step. */
static uint64_t
next_random(Backoff *backoff)
{
	uint64_t	z = (backoff->seed += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int64_t
backoff_next_ms(Backoff *backoff)
{
	int64_t		ceiling = backoff->first_ms;

	for (int i = 0; i < backoff->failures && ceiling < backoff->max_ms; i++)
		ceiling = ceiling > backoff->max_ms / 2 ? backoff->max_ms : ceiling * 2;
	if (ceiling > backoff->max_ms)
		ceiling = backoff->max_ms;
	if (backoff->failures < 1000)
		backoff->failures++;
	return ceiling - (int64_t) (next_random(backoff) % (uint64_t) (ceiling / 2 + 1));
}

void
backoff_reset(Backoff *backoff)
{
	backoff->failures = 0;
}
