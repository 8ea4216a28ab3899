/*
 * libmicrohttpd writes the phrase that belongs to the status, and has no call to choose another. But it asks two public
 * functions of its own for it, MHD_get_reason_phrase_for() and MHD_get_reason_phrase_len_for(), so this program defines
 * them (see intercept.h). A status line is written before the library returns from the handler that queued the response,
 * and nothing comes in between: one phrase is enough. A library that does not ask writes the usual phrase.
 */
#include "gateway/reason.h"

#include <dlfcn.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static char phrase_set[REASON_MAX + 1];
static unsigned int status_set; /* 0: none */
static bool length_told;
static bool phrase_told;

static bool
has_controls(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text < ' ' || *text == 0x7f)
			return true;
	return false;
}

void
reason_set(unsigned int status, const char *phrase)
{
	size_t		len = phrase != NULL ? strnlen(phrase, REASON_MAX + 1) : 0;

	status_set = 0;
	if (len == 0 || has_controls(phrase))
		return;
	if (len > REASON_MAX)
		/* Not in the middle of a character. */
		for (len = REASON_MAX; len > 0 && ((unsigned char) phrase[len] & 0xc0) == 0x80;)
			len--;
	memcpy(phrase_set, phrase, len);
	phrase_set[len] = '\0';
	status_set = len > 0 ? status : 0;
	length_told = phrase_told = false;
}

/* Phrase and length go together: with both told it is used up. */
static void
told(bool *what)
{
	*what = true;
	if (length_told && phrase_told)
		status_set = 0;
}

static void *
own_of_library(const char *name)
{
	void	   *symbol = dlsym(RTLD_NEXT, name);

	if (symbol == NULL)
		abort();
	return symbol;
}

const char *
MHD_get_reason_phrase_for(unsigned int code)
{
	static const char *(*usual) (unsigned int);

	if (code == status_set)
	{
		told(&phrase_told);
		return phrase_set;
	}
	if (usual == NULL)
	{
		void	   *symbol = own_of_library("MHD_get_reason_phrase_for");

		memcpy(&usual, &symbol, sizeof(usual));
	}
	return usual(code);
}

size_t
MHD_get_reason_phrase_len_for(unsigned int code)
{
	static size_t (*usual) (unsigned int);

	if (code == status_set)
	{
		told(&length_told);
		return strlen(phrase_set);
	}
	if (usual == NULL)
	{
		void	   *symbol = own_of_library("MHD_get_reason_phrase_len_for");

		memcpy(&usual, &symbol, sizeof(usual));
	}
	return usual(code);
}
