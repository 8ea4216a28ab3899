/*
 * reserve.h
 *		Reservations on behalf of other functions of this context.
 */
#ifndef BACKOFFICE_RESERVE_H
#define BACKOFFICE_RESERVE_H

#include "core/core.h"

/*
 * The next certificate of a pool, held as long as the pool says; false: there
 * is none, and issue.blocked was emitted.  Errors pool_paused, pool_closed.
 * The caller has checked permission.
 */
extern bool certificates_reserve(const pg_uuid_t *organization, const pg_uuid_t *pool_id, const char *channel,
								 const char *order_ref, pg_uuid_t *id);

#endif
