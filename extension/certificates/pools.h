/*
 * pools.h
 *		Pools, cached per backend.
 */
#ifndef BACKOFFICE_POOLS_H
#define BACKOFFICE_POOLS_H

#include "core/core.h"
#include "utils/snapshot.h"

#define POOL_CODE_MAX 63

typedef enum PoolState
{
	POOL_OPEN,
	POOL_LOW,
	POOL_EMPTY,
	POOL_PAUSED,
	POOL_CLOSED
} PoolState;

typedef struct Pool
{
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
	char		code[POOL_CODE_MAX + 1];
	char		currency[4];
	PoolState	state;
	int64		face_value_minor;
	int64		low_water;
	Interval	hold;
	Interval	validity;
	int			cvc_digits;
	bool		requires_activation;
	bool		destroy_cvc_after_delivery;
	bool		checked_codes;	/* code_format = 'checked' */
} Pool;

/*
 * The pool of the principal's organization by code, or by id as text; error
 * pool_not_found (PT404).  As last committed (or changed by this transaction),
 * whatever the isolation level.  Good until the next look-up.
 */
extern const Pool *pool_require(const char *code);

/* By id, in a given organization; NULL: there is none. */
extern const Pool *pool_by_id(const pg_uuid_t *organization, const pg_uuid_t *id);

extern const char *pool_state_name(PoolState state);

extern PoolState pool_state_by_name(const char *name);

/* What pool_slots says. */
typedef struct PoolMarks
{
	int64		next_slot;
	int64		sweep_slot;
	int64		hold_slot;
} PoolMarks;

extern PoolMarks pool_marks(const Pool *pool, Snapshot snapshot);

/* After a pool's row was written without the executor. */
extern void pools_forget_all(void);

#endif
