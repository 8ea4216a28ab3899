/*
 * certificate.h
 *		One locked certificate, and what moves its money.
 *
 * Every change goes: life_begin(), certificate_lock(), checks, changes of the
 * struct, certificate_save(), life_end().  The row lock comes before the locks
 * on its redemptions, so that all paths lock in one order; the state machine
 * (trigger) checks what certificate_save() writes.
 */
#ifndef BACKOFFICE_CERTIFICATE_H
#define BACKOFFICE_CERTIFICATE_H

#include "core/core.h"
#include "core/idempotency.h"
#include "utils/jsonb.h"

#define CERTIFICATE_STATE_BYTES 32

typedef struct Certificate
{
	pg_uuid_t	organization_id;
	pg_uuid_t	id;
	pg_uuid_t	pool_id;
	char		state[CERTIFICATE_STATE_BYTES];
	char		blocked_from[CERTIFICATE_STATE_BYTES];	/* "": not blocked */
	char		currency[4];
	int64		face_minor;
	int64		balance_minor;
	int64		held_minor;
	bool		requires_activation;
	bool		activated;		/* ever */
	TimestampTz valid_until;	/* DT_NOEND: none */
	/* in the SPI context */
	char	   *pool;
	char	   *channel;
	char	   *order_ref;
	char	   *client_ref;
} Certificate;

/* A stretch that runs SQL as backoffice_definer, on behalf of the principal. */
typedef struct Life
{
	BoUser		caller;
	MemoryContext context;		/* of the caller: what is to outlive life_end() */
	pg_uuid_t	organization_id;
} Life;

extern void life_begin(Life *life, const char *permission);
extern void life_end(Life *life);

/* Locks the row; error certificate_not_found. */
extern void certificate_lock(const pg_uuid_t *organization, const pg_uuid_t *id, Certificate *certificate);

/* Writes state, balance, held and blocked_from; reason (or NULL) goes into the event of the transition. */
extern void certificate_save(const Certificate *certificate, const char *reason);

extern bool certificate_is(const Certificate *certificate, const char *state);
extern void certificate_set_state(Certificate *certificate, const char *state);
extern bool certificate_is_untouched(const Certificate *certificate);

/* Error unless money may be taken from it: not_redeemable, certificate_blocked, certificate_expired. */
extern void certificate_require_redeemable(const Certificate *certificate);

/* Error invalid_amount unless the argument is positive. */
extern int64 certificates_arg_amount(FunctionCallInfo fcinfo, int number);

/* The state that follows from the balance, for a certificate in use. */
extern const char *certificate_state_by_balance(const Certificate *certificate);

/* Expires it if its validity is over and nothing is held; true if it did. */
extern bool certificate_expire_if_due(Certificate *certificate);

/* The same in a step of its own, saved: for one that has just been saved in use (again), which the keeper may have passed long ago. */
extern void certificate_expire_now_if_due(Certificate *certificate, const char *reason);

/* ---- movements: what the money functions answer ---- */

typedef struct Movement
{
	pg_uuid_t	id;				/* of the redemption or refund */
	pg_uuid_t	certificate_id;
	char		kind[16];		/* authorized, captured, released, refunded, expired */
	char		state[CERTIFICATE_STATE_BYTES];	/* of the certificate, now */
	char		currency[4];
	int64		amount_minor;
	int64		balance_minor;
	int64		available_minor;
} Movement;

extern void movement_fill(Movement *movement, const Certificate *certificate, const pg_uuid_t *id, const char *kind, int64 amount_minor);
extern Datum movement_tuple(FunctionCallInfo fcinfo, const Movement *movement);

/* redemption.<kind> on the stream. */
extern void movement_emit(const Movement *movement, const Certificate *certificate, const char *channel, const char *order_ref);

/*
 * Idempotency of a function (certificate or redemption id, amount, all other
 * arguments as texts or NULL): true if the key is NULL or new; false if *movement holds the earlier answer.
 */
#define MOVEMENT_MORE_ARGUMENTS 3

extern bool movement_begin(const char *scope, const char *key, const pg_uuid_t *id, int64 amount_minor,
						   const char *const more[MOVEMENT_MORE_ARGUMENTS], Movement *movement);
extern void movement_finish(const char *scope, const char *key, const char *const more[MOVEMENT_MORE_ARGUMENTS], const Movement *movement);

#endif
