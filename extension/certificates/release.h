/*
 * release.h
 *		Reservations given back.
 */
#ifndef BACKOFFICE_RELEASE_H
#define BACKOFFICE_RELEASE_H

#include "core/core.h"

typedef enum ReleaseResult
{
	RELEASE_NOT_FOUND,
	RELEASE_BUSY,				/* only when not waiting: another transaction has the row */
	RELEASE_NOT_RESERVED,		/* neither reserved nor released: *state says what */
	RELEASE_ALREADY,			/* available or voided */
	RELEASED,					/* back in the pool */
	RELEASE_VOIDED				/* its code had been shown */
} ReleaseResult;

/*
 * Gives one reservation back.  reason and status (NULL: the state's name) go
 * into the event.  expired_by: only if its hold ended by then (0: whatever its
 * hold), else RELEASE_NOT_RESERVED.  Runs as the kernel: the caller has
 * checked permission.
 */
extern ReleaseResult certificates_release(const pg_uuid_t *organization, const pg_uuid_t *id, const char *reason,
										  const char *status, TimestampTz expired_by, bool wait, char **state);

/*
 * An available certificate that the cursor has passed gets a slot at the end.
 * False: it is not available any more, or busy.
 */
extern bool certificates_return_slot(const pg_uuid_t *organization, const pg_uuid_t *pool, const pg_uuid_t *id);

#endif
