/*
 * attempt.h
 *		Work of the keeper that may fail and be left.
 */
#ifndef BACKOFFICE_ATTEMPT_H
#define BACKOFFICE_ATTEMPT_H

#include "core/core.h"

/*
 * In a subtransaction, which waits for nobody's lock for long: true if it was
 * done; false if it failed and was undone.  what NULL: nothing is said of a
 * failure; else it is named in the server's log, at most once a minute.
 * Only the end of the task's time is raised.
 */
extern bool attempt(void (*work) (void *arg), void *arg, const char *what);

/*
 * What failed is put aside for a while, so that those behind it come to their
 * turn: certificates, or whatever has a uuid.  Kept for the process.
 */
typedef struct Aside
{
	pg_uuid_t  *ids;
	int			count;
	int			room;
	TimestampTz since;
} Aside;

/* False: there is no room for more. */
extern bool aside_put(Aside *aside, const pg_uuid_t *id);

/* As uuid[], for "id NOT IN (SELECT unnest($n))"; forgets those of long ago. */
extern Datum aside_array(Aside *aside);

#endif
