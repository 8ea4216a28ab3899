/*
 * password_change.c
 *		A user's own change of password, and a service's for somebody who has
 *		lost it.  Whoever was logged in with the old one is logged out.
 */
#include "access/mfa.h"

#include "catalog/pg_type.h"
#include "core/keys.h"
#include "core/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(access_change_password);
PG_FUNCTION_INFO_V1(access_set_password);

static void
store(const pg_uuid_t *user, const char *hash)
{
	static BoPlan plan = {"UPDATE access.users SET password_hash = $2 WHERE id = $1", 2, {UUIDOID, TEXTOID}};
	Datum		args[2] = {UUIDPGetDatum(user), CStringGetTextDatum(hash)};
	JsonOut		json;

	if (bo_spi_run(&plan, args, NULL, 0) == 0)
	{
		Principal	unknown = {.user_id = *user};

		refuse_acting(ACTING_UNKNOWN_USER, &unknown);
	}
	json_begin(&json);
	json_uuid(&json, "userId", user);
	audit_emit(NULL, bo_uuid_text(user), "password.changed", &json);
	json_begin(&json);
	json_uuid(&json, "userId", user);
	json_begin_array(&json, "changed");
	json_text(&json, NULL, "password");
	json_end_array(&json);
	user_emit(NULL, user, "user.updated", &json);
}

/* The user's password hash; NULL: there is none.  Nobody logs in meanwhile. */
char *
user_lock(const pg_uuid_t *user)
{
	static BoPlan plan = {"SELECT password_hash FROM access.users WHERE id = $1 FOR UPDATE", 1, {UUIDOID}};
	Datum		args[1] = {UUIDPGetDatum(user)};

	return bo_spi_run(&plan, args, NULL, 1) > 0 ? bo_spi_text(0, 1) : NULL;
}

/* Counted as a log-in from the session's address would be. */
static FactorCheck
check_old(const Session *session, const char *old)
{
	FactorCheck check = {.status = "locked"};
	char	   *stored = user_lock(&session->user_id);
	Attempt		attempt = factor_attempt(session);

	attempt.purpose = ATTEMPT_CHANGE;
	if (lockout_enter(&attempt, &check.retry_after_s) != LOCKOUT_FREE)
		return check;
	switch (password_check(old, stored))
	{
		case PASSWORD_BUSY:
			lockout_forgive(&attempt, false);
			check.status = "busy";
			check.retry_after_s = 1;
			break;
		case PASSWORD_WRONG:
			check.status = "denied";
			tell_factor(session, "password.change_failed", NULL, NULL);
			break;
		case PASSWORD_RIGHT:
			lockout_forgive(&attempt, true);
			check.status = "ok";
			break;
	}
	return check;
}

/* change_password(old text, new text) */
Datum
access_change_password(PG_FUNCTION_ARGS)
{
	char	   *old = required_text(fcinfo, 0, "old");
	char	   *new = required_text(fcinfo, 1, "new");
	const Principal *principal = require_session();
	MemoryContext caller = CurrentMemoryContext;
	Session		session;
	FactorCheck check;
	JsonOut		json;
	Jsonb	   *answer;
	BoUser		user;

	password_check_rules(new);
	user = bo_user_kernel();
	bo_spi_begin();
	require_own_factor(principal);
	require_whole_user(principal);
	(void) session_lock_all(&principal->user_id);
	lock_own_session(principal, &session);
	check = check_old(&session, old);
	if (strcmp(check.status, "ok") == 0)
	{
		store(&session.user_id, password_hash(new));
		(void) session_end_all(&session.user_id, NULL, &session.id, "password_changed");
	}
	keys_wipe(old, strlen(old));
	keys_wipe(new, strlen(new));
	MemoryContextSwitchTo(caller);
	json_begin(&json);
	answer_check(&json, &check);
	answer = json_end(&json);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_JSONB_P(answer);
}

/* set_password(user uuid, password text) */
Datum
access_set_password(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "user");
	char	   *password = required_text(fcinfo, 1, "password");
	char	   *hash;
	BoUser		user;

	require_service();
	hash = password_hash(password);
	keys_wipe(password, strlen(password));
	user = bo_user_kernel();
	bo_spi_begin();
	(void) user_lock(id);
	store(id, hash);
	(void) session_end_all(id, NULL, NULL, "password_changed");
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_VOID();
}
