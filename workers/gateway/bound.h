/*
 * The most that an answer may have. The statement itself looks at it, so that one that has more is refused before it
 * is committed, and does not come here: the whole of a row has to be in memory before libpq gives any of it.
 */
#ifndef BACKOFFICE_BOUND_H
#define BACKOFFICE_BOUND_H

#include <stdbool.h>
#include <string.h>

#define BOUND_CODE "answer_too_large"
#define BOUND_STATUS 400
#define BOUND_MESSAGE "the answer is larger than this server gives; nothing was changed"
#define BOUND_HINT "Ask for less: fewer rows, or fewer columns."

/* The column `body` of a row named `a` with the columns body and headers. %lld: bytes. */
#define BOUND_BODY \
	"CASE WHEN coalesce(pg_catalog.octet_length(a.body), 0) + coalesce(pg_catalog.octet_length(a.headers), 0) > %lld " \
	"THEN ('" BOUND_CODE " ' || pg_catalog.octet_length(a.body))::integer::text ELSE a.body END"

/* The error that it ends with. */
static inline bool
bound_exceeded(const char *sqlstate, const char *message)
{
	return strcmp(sqlstate, "22P02") == 0 && strstr(message, "\"" BOUND_CODE " ") != NULL;
}

#endif
