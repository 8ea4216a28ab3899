/*
 * mfa.c
 *		Checking a second factor, and raising a session by it.
 *
 * A code is good for one use: the factor remembers the latest time step whose
 * code was used, under the row's lock.  Guesses are counted in shared memory
 * (lockout.c), so that a rollback forgets none.
 */
#include "access/mfa.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "events/events.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define CODE_MAX_BYTES 64

static int	fresh_s = 600;

PG_FUNCTION_INFO_V1(access_mfa_verify);

void
require_fresh(const Session *session)
{
	TimestampTz until = session->authenticated_at + (int64) fresh_s * USECS_PER_SEC;

	if (bo_now() < until)
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("the log-in is too long ago"),
			 bo_code("login_not_fresh", "this needs one within the last %d seconds", fresh_s),
			 errhint("Log in again, and use the new token. The limit is backoffice.fresh_login_period.")));
}

void
require_own_factor(const Principal *principal)
{
	static BoPlan plan = {
		"SELECT FROM access.mfa_factors WHERE user_id = $1 AND state = 'active'", 1, {UUIDOID}
	};
	Datum		args[1] = {UUIDPGetDatum(&principal->user_id)};

	if (principal->aal >= 2 || bo_spi_run(&plan, args, NULL, 1) == 0)
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("the second factor is needed"),
			 bo_code("aal2_required", "the user has one, and this session has not shown it"),
			 errhint("Call access.mfa_verify(code) first, and use the new token.")));
}

void
require_whole_user(const Principal *principal)
{
	static BoPlan plan = {
		"SELECT FROM access.memberships WHERE user_id = $1 AND organization_id <> $2", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(&principal->user_id), UUIDPGetDatum(&principal->organization_id)};

	if (!principal->bound || bo_spi_run(&plan, args, NULL, 1) == 0)
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("this concerns the user in other organizations too"),
			 bo_code("other_organization", "the OpenID provider of one organization vouches for this session"),
			 errhint("Log in by password, or at a provider of the installation.")));
}

/* ---- checking ---- */

/* Tries the user's active factors; true: the code was one's, and is used now. */
static bool
totp_use(const pg_uuid_t *user, const char *code)
{
	static BoPlan lock_plan = {
		"SELECT id, seed, last_step FROM access.mfa_factors WHERE user_id = $1 AND state = 'active' ORDER BY id FOR NO KEY UPDATE",
		1, {UUIDOID}
	};
	Datum		args[1] = {UUIDPGetDatum(user)};
	int			count = (int) bo_spi_run(&lock_plan, args, NULL, 0);
	SPITupleTable *rows = SPI_tuptable;
	bool		used = false;

	for (int i = 0; i < count && !used; i++)
	{
		pg_uuid_t	id;
		bool		isnull;

		SPI_tuptable = rows;
		id = bo_spi_uuid(i, 1);
		used = factor_use(&id, user, DatumGetByteaPP(bo_spi_datum(i, 2, &isnull)), bo_spi_int64(i, 3), code);
	}
	return used;
}

bool
factor_use(const pg_uuid_t *id, const pg_uuid_t *user, const bytea *stored, int64 last_step, const char *code)
{
	static BoPlan plan = {
		"UPDATE access.mfa_factors SET last_step = $2 WHERE id = $1", 2, {UUIDOID, INT8OID}
	};
	SecretOwner owner = {.organization_id = *user, .id = *id};
	Size		length;
	char	   *seed = keys_decrypt(PURPOSE_SEED, &owner, stored, &length);
	int64		step = totp_step(seed, length, code, bo_now());
	Datum		args[2] = {UUIDPGetDatum(id), Int64GetDatum(step)};

	keys_wipe(seed, length);
	if (step <= last_step)
		return false;
	bo_spi_run(&plan, args, NULL, 0);
	return true;
}

/* People type spaces into codes. */
char *
factor_code(FunctionCallInfo fcinfo, int n)
{
	char	   *text = required_text(fcinfo, n, "code");
	char	   *code = palloc(CODE_MAX_BYTES + 1);
	int			length = 0;

	for (const char *c = text; *c && length < CODE_MAX_BYTES; c++)
		if (*c != ' ')
			code[length++] = *c;
	code[length] = '\0';
	return code;
}

Attempt
factor_attempt(const Session *session)
{
	Attempt		attempt = {.purpose = ATTEMPT_FACTOR};

	attempt.account = lockout_subject(&session->user_id, UUID_LEN);
	attempt.address = lockout_address(&session->origin);
	attempt.known_address = address_is_known(&session->user_id, &session->origin, 2);
	return attempt;
}

void
tell_factor(const Session *session, const char *type, const pg_uuid_t *factor, const char *method)
{
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "userId", &session->user_id);
	json_uuid(&json, "sessionId", &session->id);
	json_uuid(&json, "factorId", factor);
	json_text(&json, "method", method);
	audit_emit(session->has_organization ? &session->organization_id : &events_of_nobody, bo_uuid_text(&session->user_id), type, &json);
}

FactorCheck
factor_check(const Session *session, const char *code)
{
	FactorCheck check = {.status = "locked"};
	Attempt		attempt = factor_attempt(session);

	if (lockout_enter(&attempt, &check.retry_after_s) != LOCKOUT_FREE)
		return check;
	if (totp_use(&session->user_id, code))
		check.method = "otp";
	else if (recovery_code_use(&session->user_id, code))
		check.method = "recovery";
	if (check.method == NULL)
	{
		check.status = "denied";
		tell_factor(session, "mfa.failed", NULL, NULL);
		return check;
	}
	lockout_forgive(&attempt, true);
	check.status = "ok";
	return check;
}

/* ---- the session that acts ---- */

/* The user's row first, which new factors and codes refer to: see user_lock(). */
void
lock_own_session(const Principal *principal, Session *session)
{
	static BoPlan plan = {"SELECT FROM access.users WHERE id = $1 FOR KEY SHARE", 1, {UUIDOID}};
	Datum		args[1] = {UUIDPGetDatum(&principal->user_id)};

	bo_spi_run(&plan, args, NULL, 0);
	if (!session_lock(&principal->session_id, session) || !session->active || session_over(session) != NULL)
		ereport(ERROR,
				(errcode(BO_UNAUTHORIZED),
				 errmsg("the session has ended"),
				 bo_code("session_ended", "it ended while this transaction was open"),
				 errhint("Log in again.")));
}

void
answer_check(JsonOut *json, const FactorCheck *check)
{
	json_text(json, "status", check->status);
	if (check->retry_after_s > 0)
		json_int(json, "retry_after_s", check->retry_after_s);
}

void
raise_session(Session *session, const char *method, Person *person)
{
	session_raise(session, method);
	if (!person_read(&session->user_id, session->has_organization ? &session->organization_id : NULL, person))
		elog(ERROR, "user %s has gone", bo_uuid_text(&session->user_id));
}

/* mfa_verify(code text) */
Datum
access_mfa_verify(PG_FUNCTION_ARGS)
{
	char	   *code = factor_code(fcinfo, 0);
	const Principal *principal = require_session();
	MemoryContext caller = CurrentMemoryContext;
	Session		session;
	FactorCheck check;
	Person		person;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	user = bo_user_kernel();
	bo_spi_begin();
	lock_own_session(principal, &session);
	check = factor_check(&session, code);
	if (check.method != NULL)
	{
		tell_factor(&session, "mfa.verified", NULL, check.method);
		raise_session(&session, check.method, &person);
	}
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	if (check.method == NULL)
		answer_check(&json, &check);
	else
		answer_tokens(&json, &session, &person);
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	explicit_bzero(&session, sizeof(session));
	PG_RETURN_JSONB_P(answer);
}

void
mfa_init(void)
{
	DefineCustomIntVariable("backoffice.fresh_login_period",
							"How long ago a log-in may be for what needs a fresh one, such as enrolling a second factor.",
							NULL, &fresh_s, 600, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	mfa_enroll_init();
}
