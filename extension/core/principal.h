/*
 * principal.h
 *		Who acts in this transaction.  Set by access only; read by everybody.
 */
#ifndef BACKOFFICE_PRINCIPAL_H
#define BACKOFFICE_PRINCIPAL_H

#include "core/core.h"

/* Permissions there can be: bits of rights. */
#define PRINCIPAL_RIGHTS	1024

typedef struct Principal
{
	pg_uuid_t	organization_id;
	pg_uuid_t	user_id;
	bool		has_user;		/* false: a trusted service acts for the organization, and may do everything in it */
	uint64		rights[PRINCIPAL_RIGHTS / 64];	/* of the user, filled by access: the same for the whole transaction */
} Principal;

/* The principal of the current transaction, or NULL.  Right in parallel workers too. */
extern const Principal *principal_get(void);

/* The same, or an error (BO_UNAUTHORIZED, no_principal). */
extern const Principal *principal_require(void);

/*
 * Set once per transaction; the same organization and user again is a no-op, another is
 * an error.  Rolling back the savepoint in which it was set unsets it; the end
 * of the transaction clears it.
 */
extern void principal_set(const Principal *principal);

/* For the dispatcher only: between two events, outside any handler. */
extern void principal_clear(void);

#endif
