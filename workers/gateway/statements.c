#include "gateway/statements.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/text.h"

/* An average of fewer measurements says too little. */
#define MEASURED_ENOUGH 3

#define SLOTS (STATEMENTS_MAX * 2)

/* Whoever sends ever new texts fills neither the table nor the server's memory. */
static bool
worth_preparing(Statements *statements, uint64_t hash)
{
	Seen	   *seen = &statements->seen[hash % SEEN_SLOTS];

	if (seen->hash != hash)
		*seen = (Seen) {.hash = hash};
	if (++seen->times < ONE_OFF_OFTEN)
		return false;
	seen->times = 0;
	return true;
}

static Known *
not_used_for_longest(Statements *statements, bool one_offs_only)
{
	Known	   *oldest = NULL;

	for (int i = 0; i < statements->count; i++)
	{
		Known	   *known = &statements->known[i];

		if ((known->one_off || !one_offs_only) && (oldest == NULL || known->used < oldest->used))
			oldest = known;
	}
	return oldest;
}

/* Out of the slots; those behind it close up, so that they are still found from where their search begins. */
static void
forget(Statements *statements, Known *known)
{
	size_t		hole = known->hash % SLOTS;

	while (statements->slots[hole] != known)
		hole = (hole + 1) % SLOTS;
	for (size_t at = (hole + 1) % SLOTS; statements->slots[at] != NULL; at = (at + 1) % SLOTS)
	{
		size_t		start = statements->slots[at]->hash % SLOTS;

		if ((at + SLOTS - start) % SLOTS < (at + SLOTS - hole) % SLOTS)
			continue;
		statements->slots[hole] = statements->slots[at];
		hole = at;
	}
	statements->slots[hole] = NULL;
	statements->one_offs -= known->one_off;
	free(known->sql);
	known->sql = NULL;
}

static Known *
take_up(Statements *statements, const char *sql, uint64_t hash, bool one_off)
{
	bool		enough = one_off && statements->one_offs == ONE_OFFS_MAX;
	char	   *copy = strdup(sql);
	Known	   *known;
	size_t		at = hash % SLOTS;

	if (copy == NULL)
		return NULL;
	if (enough || statements->count == STATEMENTS_MAX)
	{
		known = not_used_for_longest(statements, enough);
		forget(statements, known);
	}
	else
	{
		known = &statements->known[statements->count];
		known->number = statements->count++;
	}
	known_renew(known);
	*known = (Known) {.sql = copy, .hash = hash, .number = known->number, .generation = known->generation, .one_off = one_off};
	statements->one_offs += one_off;
	while (statements->slots[at] != NULL)
		at = (at + 1) % SLOTS;
	statements->slots[at] = known;
	return known;
}

Known *
statements_find(Statements *statements, const char *sql, bool one_off)
{
	uint64_t	hash = text_hash64(sql, strlen(sql));
	size_t		at = hash % SLOTS;
	Known	   *known;

	while ((known = statements->slots[at]) != NULL && (known->hash != hash || strcmp(known->sql, sql) != 0))
		at = (at + 1) % SLOTS;
	if (known == NULL && (!one_off || worth_preparing(statements, hash)))
		known = take_up(statements, sql, hash, one_off);
	if (known != NULL)
		known->used = ++statements->finds;
	return known;
}

void
statements_free(Statements *statements)
{
	for (int i = 0; i < statements->count; i++)
		free(statements->known[i].sql);
	*statements = (Statements) {.count = 0};
}

void
known_name(const Known *known, char *name, size_t size)
{
	snprintf(name, size, "s%d_%u", known->number, known->generation);
}

void
known_measure(Known *known, int64_t us)
{
	known->average_us = known->measured++ == 0 ? us : known->average_us + (us - known->average_us) / 8;
}

void
known_renew(Known *known)
{
	if (++known->generation == 0)
		known->generation = 1;
}

bool
known_is_fast(const Known *known, int64_t fast_us)
{
	return known->measured >= MEASURED_ENOUGH && known->average_us <= fast_us;
}
