/*
 * The nearest of some names. Candidates share groups of 3 letters with the name, if none is like enough 2;
 * of the 50 whose groups agree best the one with the least edits wins.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/rpc_catalogue.h"

#define COMPARED_MAX 128		/* letters that are compared */
#define CANDIDATES_MAX 50

typedef struct Candidate
{
	const char *name;
	double		agreement;
	size_t		place;
} Candidate;

/* -name-, in lower case, of letters, digits, commas and blanks. */
static size_t
simplified(const char *name, char *out)
{
	size_t		n = 0;

	out[n++] = '-';
	for (; *name != '\0' && n < COMPARED_MAX; name++)
		if (isalnum((unsigned char) *name) || *name == ',' || *name == ' ')
			out[n++] = (char) tolower((unsigned char) *name);
	out[n++] = '-';
	out[n] = '\0';
	return n;
}

static size_t
times(const char *text, size_t length, const char *group, size_t size, bool before)
{
	size_t		count = 0;

	for (size_t i = 0; i + size <= length; i++)
	{
		if (before && text + i >= group)
			break;
		count += memcmp(text + i, group, size) == 0;
	}
	return count;
}

/* Of two names' counts of groups: the cosine between them. */
static double
agreement(const char *one, const char *other, size_t size)
{
	char		a[COMPARED_MAX + 4];
	char		b[COMPARED_MAX + 4];
	size_t		a_length = simplified(one, a);
	size_t		b_length = simplified(other, b);
	double		shared = 0;
	double		a_square = 0;
	double		b_square = 0;

	for (size_t i = 0; i + size <= a_length; i++)
	{
		double		mine = (double) times(a, a_length, a + i, size, false);

		/* Each group once, where it comes first. */
		if (times(a, a_length, a + i, size, true) > 0)
			continue;
		shared += mine * (double) times(b, b_length, a + i, size, false);
		a_square += mine * mine;
	}
	for (size_t i = 0; i + size <= b_length; i++)
	{
		double		its = (double) times(b, b_length, b + i, size, false);

		if (times(b, b_length, b + i, size, true) == 0)
			b_square += its * its;
	}
	return shared == 0 ? 0 : shared / (sqrt(a_square) * sqrt(b_square));
}

/* 1: the same but for large and small letters; 0: nothing alike. */
static double
likeness(const char *one, const char *other)
{
	size_t		n = strnlen(one, COMPARED_MAX);
	size_t		m = strnlen(other, COMPARED_MAX);
	size_t		row[COMPARED_MAX + 1];

	for (size_t k = 0; k <= m; k++)
		row[k] = k;
	for (size_t i = 1; i <= n; i++)
	{
		size_t		corner = row[0];

		row[0] = i;
		for (size_t k = 1; k <= m; k++)
		{
			size_t		change = corner + (tolower((unsigned char) one[i - 1]) != tolower((unsigned char) other[k - 1]));
			size_t		shift = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;

			corner = row[k];
			row[k] = change < shift ? change : shift;
		}
	}
	return n == 0 && m == 0 ? 1 : 1 - (double) row[m] / (double) (n > m ? n : m);
}

static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *one = a;
	const Candidate *other = b;

	if (one->agreement != other->agreement)
		return one->agreement > other->agreement ? -1 : 1;
	return one->place < other->place ? -1 : 1;
}

const char *
rpc_nearest(RpcArena *arena, const char *const *names, size_t count, const char *name, double least)
{
	Candidate  *candidates = arena_take(arena, (count + 1) * sizeof(Candidate));

	for (size_t size = 3; size >= 2; size--)
	{
		const char *best = NULL;
		double		best_likeness = 0;
		size_t		n = 0;

		for (size_t i = 0; i < count; i++)
		{
			double		shorter = (double) strlen(name);
			double		longer = (double) strlen(names[i]);
			double		agrees;

			if (shorter > longer)
			{
				longer = shorter;
				shorter = (double) strlen(names[i]);
			}
			/* Each letter that one has more is an edit. */
			agrees = shorter < least * longer ? 0 : agreement(name, names[i], size);

			if (agrees > 0)
				candidates[n++] = (Candidate) {names[i], agrees, i};
		}
		if (n > 0)
			qsort(candidates, n, sizeof(Candidate), compare_candidates);
		for (size_t i = 0; i < n && i < CANDIDATES_MAX; i++)
		{
			double		like = likeness(name, candidates[i].name);

			if (like >= least && like > best_likeness)
			{
				best = candidates[i].name;
				best_likeness = like;
			}
		}
		if (best != NULL)
			return best;
	}
	return NULL;
}
