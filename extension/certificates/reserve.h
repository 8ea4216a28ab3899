/*
 * reserve.h
 *		Reservation, for the order flow.
 */
#ifndef BACKOFFICE_RESERVE_H
#define BACKOFFICE_RESERVE_H

#include "certificates/pools.h"

typedef struct ReserveRequest
{
	const char *channel;
	const char *order_ref;		/* NULL: none */
	TimestampTz hold_until;
} ReserveRequest;

/*
 * Reserves the pool's next certificate; false: there is none, and
 * issue.blocked was emitted.  The caller has checked permission and arguments.
 */
extern bool certificates_reserve(const Pool *pool, const ReserveRequest *request, pg_uuid_t *id);

#endif
