/*
 * platform.c
 *		Platform administrators: users who look after organizations, and belong
 *		to none.  They act without an organization, so that row-level security
 *		shows them no tenant's rows and no permission is theirs; what they may
 *		do is asked for by name here.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "events/events.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(access_grant_platform_administrator);
PG_FUNCTION_INFO_V1(access_revoke_platform_administrator);
PG_FUNCTION_INFO_V1(access_is_platform_administrator);

void
require_platform(void)
{
	const Principal *principal = principal_get();

	if (principal == NULL || !principal->platform)
		require_service();
}

void
refuse_platform_administrator(const pg_uuid_t *user)
{
	static BoPlan plan = {"SELECT FROM access.platform_administrators WHERE user_id = $1", 1, {UUIDOID}};
	Datum		args[1] = {UUIDPGetDatum(user)};
	BoUser		saved = bo_user_kernel();
	bool		found = bo_spi_run(&plan, args, NULL, 1) > 0;

	bo_user_restore(saved);
	if (found)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("user %s is a platform administrator", bo_uuid_text(user)),
				 bo_code("platform_administrator", "those belong to no organization"),
				 errhint("Let the person have another user for that, or revoke it with access.revoke_platform_administrator(user).")));
}

/* The row of the user is locked against new memberships, whose foreign key looks at it. */
static void
check_apart(const pg_uuid_t *user)
{
	static BoPlan lock_plan = {"SELECT FROM access.users WHERE id = $1 FOR UPDATE", 1, {UUIDOID}};
	static BoPlan plan = {"SELECT FROM access.memberships WHERE user_id = $1", 1, {UUIDOID}};
	Datum		args[1] = {UUIDPGetDatum(user)};

	if (bo_spi_run(&lock_plan, args, NULL, 1) == 0)
	{
		Principal	unknown = {.user_id = *user};

		refuse_acting(ACTING_UNKNOWN_USER, &unknown);
	}
	if (bo_spi_run(&plan, args, NULL, 1) > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("user %s belongs to an organization", bo_uuid_text(user)),
				 bo_code("is_a_member", "platform administrators belong to none"),
				 errhint("Make a user of its own for it: access.create_user(email, password).")));
}

/* grant_platform_administrator(user uuid) */
Datum
access_grant_platform_administrator(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"INSERT INTO access.platform_administrators (user_id) VALUES ($1) ON CONFLICT DO NOTHING", 1, {UUIDOID}
	};
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "user");
	Datum		args[1] = {UUIDPGetDatum(id)};
	BoUser		user;

	require_service();
	user = bo_user_kernel();
	bo_spi_begin();
	check_apart(id);
	if (bo_spi_run(&plan, args, NULL, 0) > 0)
		audit_about(&events_of_nobody, "platform_administrator.granted", "userId", id, NULL, NULL);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_VOID();
}

/* revoke_platform_administrator(user uuid): false when the user was none */
Datum
access_revoke_platform_administrator(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {"DELETE FROM access.platform_administrators WHERE user_id = $1", 1, {UUIDOID}};
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "user");
	Datum		args[1] = {UUIDPGetDatum(id)};
	BoUser		user;
	bool		found;

	require_service();
	user = bo_user_kernel();
	bo_spi_begin();
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
		audit_about(&events_of_nobody, "platform_administrator.revoked", "userId", id, NULL, NULL);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_BOOL(found);
}

/* is_platform_administrator() */
Datum
access_is_platform_administrator(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();

	PG_RETURN_BOOL(principal != NULL && principal->platform);
}
