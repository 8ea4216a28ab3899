/* Which database an organization lives in: a file of lines "<organization's UUID> <connection string>". */
#ifndef BACKOFFICE_PLACEMENT_H
#define BACKOFFICE_PLACEMENT_H

#include <stdio.h>

#include "gateway/pool.h"

typedef struct Placement
{
	char		organization[37];	/* lower case */
	Pool	   *pool;
} Placement;

extern bool placement_load(Pools *pools, const char *file, FILE *err);
extern void placement_free(Pools *pools);

/* Opens the pool of a DSN, once. */
extern Pool *pools_of_dsn(Pools *pools, const char *dsn);

/*
 * The claim "org" of a token, unverified: only to find the database, which then
 * verifies it. organization has room for 37 bytes. False: none.
 */
extern bool placement_token_organization(const char *token, char *organization);

#endif
