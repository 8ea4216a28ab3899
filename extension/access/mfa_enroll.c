/*
 * mfa_enroll.c
 *		Second factors come and go: enrolled, activated by a first code,
 *		disabled by a code, or reset by a service for who has lost everything.
 */
#include "access/mfa.h"

#include "access/tokens.h"
#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define SEED_BYTES 20
#define LABEL_MAX_BYTES 100
#define FACTORS_MAX 10

static char *issuer;

PG_FUNCTION_INFO_V1(access_mfa_enroll);
PG_FUNCTION_INFO_V1(access_mfa_activate);
PG_FUNCTION_INFO_V1(access_mfa_disable);
PG_FUNCTION_INFO_V1(access_mfa_recovery_codes);
PG_FUNCTION_INFO_V1(access_reset_mfa);

/* ---- enrolling ---- */

static char *
checked_label(FunctionCallInfo fcinfo)
{
	char	   *label = PG_ARGISNULL(0) ? pstrdup("authenticator") : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (strspn(label, " \t\r\n") == strlen(label) || strlen(label) > LABEL_MAX_BYTES)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("a label cannot be blank, nor longer than %d bytes", LABEL_MAX_BYTES),
				 bo_code("bad_label", "it has %zu bytes", strlen(label)),
				 errhint("Say what the user will recognize it by, such as \"phone\".")));
	return label;
}

static void
check_number(const pg_uuid_t *user)
{
	static BoPlan plan = {
		"SELECT count(*) FROM access.mfa_factors WHERE user_id = $1 AND state = 'active'", 1, {UUIDOID}
	};
	Datum		args[1] = {UUIDPGetDatum(user)};

	bo_spi_run(&plan, args, NULL, 1);
	if (bo_spi_int64(0, 1) >= FACTORS_MAX)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("there are enough second factors"),
				 bo_code("too_many_factors", "a user can have %d", FACTORS_MAX),
				 errhint("Disable one that is not used any more: access.mfa_disable(factor, code).")));
}

/* One that waits for its first code takes the place of those that waited before. */
static void
insert_factor(const pg_uuid_t *id, const pg_uuid_t *user, const char *label, const char *seed)
{
	static BoPlan delete_plan = {
		"DELETE FROM access.mfa_factors WHERE user_id = $1 AND state = 'pending'", 1, {UUIDOID}
	};
	static BoPlan insert_plan = {
		"INSERT INTO access.mfa_factors (id, user_id, label, seed, created_at) VALUES ($1, $2, $3, $4, $5)",
		5, {UUIDOID, UUIDOID, TEXTOID, BYTEAOID, TIMESTAMPTZOID}
	};
	SecretOwner owner = {.organization_id = *user, .id = *id};
	Datum		args[5] = {UUIDPGetDatum(id), UUIDPGetDatum(user), CStringGetTextDatum(label),
		PointerGetDatum(keys_encrypt(PURPOSE_SEED, &owner, seed, SEED_BYTES)), TimestampTzGetDatum(bo_now())};

	bo_spi_run(&delete_plan, &args[1], NULL, 0);
	bo_spi_run(&insert_plan, args, NULL, 0);
}

static Jsonb *
enrolled(const pg_uuid_t *id, const char *email, const char *seed)
{
	char	   *secret = totp_base32(seed, SEED_BYTES);
	char	   *name = uri_encoded(issuer);
	JsonOut		json;

	json_begin(&json);
	json_uuid(&json, "factor_id", id);
	json_text(&json, "secret", secret);
	json_text(&json, "otpauth_uri", psprintf("otpauth://totp/%s:%s?secret=%s&issuer=%s&algorithm=SHA1&digits=6&period=30",
											 name, uri_encoded(email), secret, name));
	return json_end(&json);
}

/* mfa_enroll(label text) */
Datum
access_mfa_enroll(PG_FUNCTION_ARGS)
{
	char	   *label = checked_label(fcinfo);
	const Principal *principal = require_session();
	MemoryContext caller = CurrentMemoryContext;
	pg_uuid_t	id;
	char		seed[SEED_BYTES];
	Session		session;
	Person		person;
	Jsonb	   *answer;
	BoUser		user;

	bo_uuid7(&id);
	crypto_random(seed, SEED_BYTES);
	user = bo_user_kernel();
	bo_spi_begin();
	require_own_factor(principal);
	require_whole_user(principal);
	lock_own_session(principal, &session);
	require_fresh(&session);
	check_number(&session.user_id);
	if (!person_read(&session.user_id, NULL, &person))
		elog(ERROR, "user %s has gone", bo_uuid_text(&session.user_id));
	insert_factor(&id, &session.user_id, label, seed);
	tell_factor(&session, "mfa.enrolled", &id, NULL);
	MemoryContextSwitchTo(caller);
	answer = enrolled(&id, person.email, seed);
	explicit_bzero(seed, sizeof(seed));
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_JSONB_P(answer);
}

/* ---- one factor ---- */

typedef struct Factor
{
	bool		active;
	bytea	   *seed;
	int64		last_step;
} Factor;

/* Error unknown_factor: it is not this user's. */
static void
lock_factor(const pg_uuid_t *id, const pg_uuid_t *user, Factor *factor)
{
	static BoPlan plan = {
		"SELECT state = 'active', seed, last_step FROM access.mfa_factors WHERE id = $1 AND user_id = $2 FOR UPDATE",
		2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(id), UUIDPGetDatum(user)};
	bool		isnull;

	if (bo_spi_run(&plan, args, NULL, 1) == 0)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("the user has no second factor %s", bo_uuid_text(id)),
				 bo_code("unknown_factor", "it was disabled, replaced by a later enrolment, or is somebody else's"),
				 errhint("access.me() lists the user's factors.")));
	factor->active = bo_spi_bool(0, 1);
	factor->seed = DatumGetByteaPCopy(bo_spi_datum(0, 2, &isnull));
	factor->last_step = bo_spi_int64(0, 3);
}

static void
answer_codes(JsonOut *json, List *codes)
{
	ListCell   *cell;

	json_begin_array(json, "recovery_codes");
	foreach(cell, codes)
		json_text(json, NULL, lfirst(cell));
	json_end_array(json);
}

/* Its first code was right. */
static List *
activate(const pg_uuid_t *id, const pg_uuid_t *user)
{
	static BoPlan plan = {
		"UPDATE access.mfa_factors SET state = 'active', activated_at = $3 WHERE id = $1 "
		"RETURNING (SELECT count(*) FROM access.recovery_codes WHERE user_id = $2 AND used_at IS NULL)",
		3, {UUIDOID, UUIDOID, TIMESTAMPTZOID}
	};
	Datum		args[3] = {UUIDPGetDatum(id), UUIDPGetDatum(user), TimestampTzGetDatum(bo_now())};

	bo_spi_run(&plan, args, NULL, 0);
	return bo_spi_int64(0, 1) == 0 ? recovery_codes_make(user) : NIL;
}

/* Checks the first code; counted like any other. */
static FactorCheck
check_first(const Session *session, const pg_uuid_t *id, const char *code)
{
	FactorCheck check = {.status = "locked"};
	Attempt		attempt = factor_attempt(session);
	Factor		factor;

	lock_factor(id, &session->user_id, &factor);
	if (factor.active)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the second factor is active already"),
				 bo_code("factor_active", "it was activated before"),
				 errhint("Use access.mfa_verify(code) to show it.")));
	if (lockout_enter(&attempt, &check.retry_after_s) != LOCKOUT_FREE)
		return check;
	check.status = "denied";
	if (factor_use(id, &session->user_id, factor.seed, factor.last_step, code))
	{
		lockout_forgive(&attempt, true);
		check.status = "ok";
		check.method = "otp";
	}
	else
		tell_factor(session, "mfa.failed", id, NULL);
	return check;
}

/* mfa_activate(factor uuid, code text) */
Datum
access_mfa_activate(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "factor");
	char	   *code = factor_code(fcinfo, 1);
	const Principal *principal = require_session();
	MemoryContext caller = CurrentMemoryContext;
	List	   *codes = NIL;
	Session		session;
	FactorCheck check;
	Person		person;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	user = bo_user_kernel();
	bo_spi_begin();
	require_own_factor(principal);
	require_whole_user(principal);
	lock_own_session(principal, &session);
	check = check_first(&session, id, code);
	if (check.method != NULL)
	{
		codes = activate(id, &session.user_id);
		tell_factor(&session, "mfa.activated", id, NULL);
		raise_session(&session, check.method, &person);
	}
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	if (check.method == NULL)
		answer_check(&json, &check);
	else
	{
		answer_tokens(&json, &session, &person);
		answer_codes(&json, codes);
	}
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	explicit_bzero(&session, sizeof(session));
	PG_RETURN_JSONB_P(answer);
}

/* Without any active factor there is nothing to recover. */
static void
remove_factor(const pg_uuid_t *id, const pg_uuid_t *user)
{
	static BoPlan plan = {
		"DELETE FROM access.mfa_factors WHERE id = $1 "
		"RETURNING EXISTS (SELECT FROM access.mfa_factors WHERE user_id = $2 AND state = 'active' AND id <> $1)",
		2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(id), UUIDPGetDatum(user)};

	bo_spi_run(&plan, args, NULL, 0);
	if (!bo_spi_bool(0, 1))
		recovery_codes_drop(user);
}

/* mfa_disable(factor uuid, code text) */
Datum
access_mfa_disable(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "factor");
	char	   *code = factor_code(fcinfo, 1);
	const Principal *principal = require_session();
	MemoryContext caller = CurrentMemoryContext;
	Session		session;
	Factor		factor;
	FactorCheck check;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	user = bo_user_kernel();
	bo_spi_begin();
	require_whole_user(principal);
	lock_own_session(principal, &session);
	lock_factor(id, &session.user_id, &factor);
	check = factor_check(&session, code);
	if (check.method != NULL)
	{
		remove_factor(id, &session.user_id);
		tell_factor(&session, "mfa.disabled", id, check.method);
	}
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	answer_check(&json, &check);
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_JSONB_P(answer);
}

/* mfa_recovery_codes(code text) */
Datum
access_mfa_recovery_codes(PG_FUNCTION_ARGS)
{
	char	   *code = factor_code(fcinfo, 0);
	const Principal *principal = require_session();
	MemoryContext caller = CurrentMemoryContext;
	List	   *codes = NIL;
	Session		session;
	FactorCheck check;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	user = bo_user_kernel();
	bo_spi_begin();
	require_whole_user(principal);
	lock_own_session(principal, &session);
	check = factor_check(&session, code);
	if (check.method != NULL)
	{
		codes = recovery_codes_make(&session.user_id);
		tell_factor(&session, "mfa.recovery_codes_made", NULL, check.method);
	}
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	answer_check(&json, &check);
	if (check.method != NULL)
		answer_codes(&json, codes);
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_JSONB_P(answer);
}

/* reset_mfa(user uuid): how many factors there were */
Datum
access_reset_mfa(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {"DELETE FROM access.mfa_factors WHERE user_id = $1", 1, {UUIDOID}};
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "user");
	Datum		args[1] = {UUIDPGetDatum(id)};
	int			count;
	JsonOut		json;
	BoUser		user;

	require_service();
	user = bo_user_kernel();
	bo_spi_begin();
	count = (int) bo_spi_run(&plan, args, NULL, 0);
	recovery_codes_drop(id);
	if (count > 0)
	{
		json_begin(&json);
		json_uuid(&json, "userId", id);
		audit_emit(NULL, bo_uuid_text(id), "mfa.reset", &json);
	}
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_INT32(count);
}

void
mfa_enroll_init(void)
{
	DefineCustomStringVariable("backoffice.mfa_issuer",
							   "The name that authenticator applications show beside the account.",
							   NULL, &issuer, "backoffice", PGC_SIGHUP, 0, NULL, NULL, NULL);
}
