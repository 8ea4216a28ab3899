/*
 * principal.h
 *		Who acts in this transaction.  Set by access only; read by everybody.
 */
#ifndef BACKOFFICE_PRINCIPAL_H
#define BACKOFFICE_PRINCIPAL_H

#include "core/core.h"

/* Permissions there can be: bits of rights. */
#define PRINCIPAL_RIGHTS	1024

/* Teams of one organization that a user can be in. */
#define PRINCIPAL_TEAMS		32

typedef struct Principal
{
	pg_uuid_t	organization_id;
	pg_uuid_t	user_id;
	bool		has_user;		/* false, and no API key: a trusted service acts for the organization, and may do everything in it */
	bool		has_session;	/* authenticated by a token of a session */
	bool		has_api_key;	/* authenticated by an API key: rights are no more than its scopes, with or without user */
	bool		without_organization;	/* a user who belongs nowhere, or did not say for whom: organization_id is nil */
	bool		bound;			/* vouched for by this organization alone: what the user has elsewhere is not its concern */
	uint8		aal;			/* how surely the user was authenticated: 1, or 2 (a second factor) */
	pg_uuid_t	session_id;
	pg_uuid_t	api_key_id;
	bool		platform;		/* a platform administrator, who acts for no organization */
	uint64		rights[PRINCIPAL_RIGHTS / 64];	/* filled by access: the same for the whole transaction */
	int			nteams;
	pg_uuid_t	teams[PRINCIPAL_TEAMS]; /* the user's, of the organization acted for */
} Principal;

/* Nobody in particular: what a trusted service is asked to do, it may. */
#define principal_is_service(principal) (!(principal)->has_user && !(principal)->has_api_key)

/* The principal of the current transaction, or NULL.  Right in parallel workers too. */
extern const Principal *principal_get(void);

/* The same, or an error (BO_UNAUTHORIZED, no_principal). */
extern const Principal *principal_require(void);

/*
 * Set once per transaction; the same again (organization, user, session, API key) is a
 * no-op, another is an error.  Rolling back the savepoint in which it was set unsets it; the end
 * of the transaction clears it.
 */
extern void principal_set(const Principal *principal);

/* For the dispatcher only: between two events, outside any handler. */
extern void principal_clear(void);

#endif
