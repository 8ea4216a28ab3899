/*
 * mfa.h
 *		Second factors: between their files.
 */
#ifndef BACKOFFICE_MFA_H
#define BACKOFFICE_MFA_H

#include "access/sessions.h"
#include "nodes/pg_list.h"

/* ---- totp.c ---- */

#define TOTP_DIGITS 6

/* The time step whose code this is, one before the current, this, or one after; 0: of none. */
extern int64 totp_step(const char *seed, Size length, const char *code, TimestampTz at);
extern char *totp_base32(const char *seed, Size length);	/* palloc'd */

/* ---- recovery_codes.c: within SPI, as the kernel ---- */

/* Replaces all of the user's; to be shown once. */
extern List *recovery_codes_make(const pg_uuid_t *user);

/* True, once: the code was one of the user's. */
extern bool recovery_code_use(const pg_uuid_t *user, const char *code);
extern void recovery_codes_drop(const pg_uuid_t *user);

/* ---- mfa.c: within SPI, as the kernel, but mfa_init() ---- */

#define PURPOSE_SEED "access.totp"

/* Error aal2_required: the user has a second factor, and this session has not shown it. */
extern void require_own_factor(const Principal *principal);

/*
 * Error other_organization: one organization alone vouches for who acts, and what is to be changed here is
 * what the user proves to be itself with in others too.
 */
extern void require_whole_user(const Principal *principal);

/* Error login_not_fresh. */
extern void require_fresh(const Session *session);

/* The session that acts, which must not have ended (session_ended). */
extern void lock_own_session(const Principal *principal, Session *session);

/* An argument, without spaces. */
extern char *factor_code(FunctionCallInfo fcinfo, int n);

typedef struct FactorCheck
{
	const char *status;			/* ok, denied, locked */
	const char *method;			/* otp or recovery; NULL: not ok */
	int			retry_after_s;
} FactorCheck;

/* A code of one of the user's active factors, or a recovery code; used by that. */
extern FactorCheck factor_check(const Session *session, const char *code);

/* Its parts: a guess to be counted, and the code of one factor. */
extern Attempt factor_attempt(const Session *session);
extern bool factor_use(const pg_uuid_t *id, const pg_uuid_t *user, const bytea *stored, int64 last_step, const char *code);
extern void tell_factor(const Session *session, const char *type, const pg_uuid_t *factor, const char *method);

extern void answer_check(JsonOut *json, const FactorCheck *check);

/* After that, answer_tokens(): outside of SPI's memory, which each statement switches to. */
extern void raise_session(Session *session, const char *method, Person *person);
extern void mfa_init(void);

/* ---- mfa_enroll.c ---- */
extern void mfa_enroll_init(void);

#endif
