#include "gateway/statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/text.h"

/* An average of fewer measurements says too little. */
#define MEASURED_ENOUGH 3

/* Whoever sends ever new texts fills neither the table nor the server's memory. */
static bool
worth_preparing(Statements *statements, uint64_t hash)
{
	Seen	   *seen = &statements->seen[hash % SEEN_SLOTS];

	if (statements->one_offs == ONE_OFFS_MAX)
		return false;
	if (seen->hash != hash)
		*seen = (Seen) {.hash = hash};
	return ++seen->times >= ONE_OFF_OFTEN;
}

Known *
statements_find(Statements *statements, const char *sql, bool one_off)
{
	uint64_t	hash = text_hash64(sql, strlen(sql));
	size_t		at = hash % (STATEMENTS_MAX * 2);
	Known	   *known;

	while (statements->slots[at] != NULL)
	{
		known = statements->slots[at];
		if (known->hash == hash && strcmp(known->sql, sql) == 0)
			return known;
		at = (at + 1) % (STATEMENTS_MAX * 2);
	}
	if (statements->count == STATEMENTS_MAX || (one_off && !worth_preparing(statements, hash)))
		return NULL;
	known = &statements->known[statements->count];
	*known = (Known) {.sql = strdup(sql), .hash = hash, .number = statements->count, .generation = 1};
	if (known->sql == NULL)
		return NULL;
	statements->count++;
	statements->one_offs += one_off;
	statements->slots[at] = known;
	return known;
}

void
statements_free(Statements *statements)
{
	for (int i = 0; i < statements->count; i++)
		free(statements->known[i].sql);
	statements->count = 0;
}

void
known_name(const Known *known, char *name, size_t size)
{
	snprintf(name, size, "s%d_%d", known->number, known->generation);
}

void
known_measure(Known *known, int64_t us)
{
	known->average_us = known->measured++ == 0 ? us : known->average_us + (us - known->average_us) / 8;
}

void
known_renew(Known *known)
{
	known->generation = known->generation == UINT16_MAX ? 1 : (uint16_t) (known->generation + 1);
}

bool
known_is_fast(const Known *known, int64_t fast_us)
{
	return known->measured >= MEASURED_ENOUGH && known->average_us <= fast_us;
}
