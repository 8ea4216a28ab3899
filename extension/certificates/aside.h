/*
 * aside.h
 *		What the keeper tried and failed to do, and leaves for a while.
 */
#ifndef BACKOFFICE_ASIDE_H
#define BACKOFFICE_ASIDE_H

#include "core/core.h"

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
