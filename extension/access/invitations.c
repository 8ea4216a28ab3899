/*
 * invitations.c
 *		Asking people to join an organization.
 *
 * A tenant that could make users, or add them, would learn which e-mail
 * addresses are known: so it asks, gets the same answer for all addresses, and
 * who has logged in with that address accepts.  An OpenID provider that speaks
 * for one organization may say of its users what it likes: other organizations
 * do not mean them.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define VALID_DAYS_MAX 366

PG_FUNCTION_INFO_V1(access_invite);
PG_FUNCTION_INFO_V1(access_withdraw_invitation);
PG_FUNCTION_INFO_V1(access_accept_invitation);

static void
refuse_member(const AdminCall *call, const char *email)
{
	static BoPlan plan = {
		"SELECT FROM access.memberships m JOIN access.users u ON u.id = m.user_id "
		"WHERE m.organization_id = $1 AND lower(u.email) = lower($2)",
		2, {UUIDOID, TEXTOID}
	};
	Datum		args[2] = {UUIDPGetDatum(&call->organization_id), CStringGetTextDatum(email)};

	if (bo_spi_run(&plan, args, NULL, 1) > 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("\"%s\" is a member already", email),
				 bo_code("already_member", "upper and lower case are alike"),
				 errhint("Give the member another role with access.grant_role().")));
}

static TimestampTz
end_of_validity(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = bo_now();
	TimestampTz end;

	if (PG_ARGISNULL(n))
		(void) required_text(fcinfo, n, "valid");
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now), PG_GETARG_DATUM(n)));
	if (end <= now || (end - now) / USECS_PER_DAY > VALID_DAYS_MAX)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("the invitation would end at the wrong time"),
				 bo_code("bad_valid_until", "it is good for more than 0 and at most %d days", VALID_DAYS_MAX),
				 errhint("Leave it out: it is 7 days then.")));
	return end;
}

static pg_uuid_t
store(const AdminCall *call, const char *email, const char *role, TimestampTz end)
{
	static BoPlan plan = {
		"INSERT INTO access.invitations AS i (organization_id, id, email, role, invited_by, expires_at) VALUES ($1, $2, $3, $4, $5, $6) "
		"ON CONFLICT (organization_id, lower(email)) DO UPDATE "
		"SET role = excluded.role, invited_by = excluded.invited_by, expires_at = excluded.expires_at RETURNING i.id",
		6, {UUIDOID, UUIDOID, TEXTOID, TEXTOID, UUIDOID, TIMESTAMPTZOID}
	};
	const pg_uuid_t *by = call->principal != NULL && call->principal->has_user ? &call->principal->user_id : NULL;
	pg_uuid_t	id;
	Datum		args[6] = {UUIDPGetDatum(&call->organization_id), UUIDPGetDatum(&id), CStringGetTextDatum(email),
	CStringGetTextDatum(role), UUIDPGetDatum(by), TimestampTzGetDatum(end)};

	bo_uuid7(&id);
	bo_spi_run(&plan, args, by ? NULL : "    n ", 0);
	return bo_spi_uuid(0, 1);
}

/* invite(email text, role text, valid interval, organization uuid): its id */
Datum
access_invite(PG_FUNCTION_ARGS)
{
	char	   *email = required_text(fcinfo, 0, "email");
	char	   *role = required_text(fcinfo, 1, "role");
	TimestampTz end = end_of_validity(fcinfo, 2);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	uint64		rights[PRINCIPAL_RIGHTS / 64];
	JsonOut		json;
	AdminCall	call;

	check_email(email);
	admin_begin(&call, optional_uuid(fcinfo, 3), "access.manage_members");
	if (!role_rights(&call.organization_id, role, rights))
		refuse_unknown_role(role);
	require_rights(&call, rights, "the role");
	refuse_member(&call, email);
	*id = store(&call, email, role, end);
	json_begin(&json);
	json_text(&json, "email", email);
	json_text(&json, "role", role);
	audit_emit(&call.organization_id, bo_uuid_text(id), "member.invited", &json);
	admin_end(&call);
	PG_RETURN_UUID_P(id);
}

/* withdraw_invitation(invitation uuid, organization uuid): true when there was one */
Datum
access_withdraw_invitation(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"DELETE FROM access.invitations WHERE organization_id = $1 AND id = $2 RETURNING email", 2, {UUIDOID, UUIDOID}
	};
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "invitation");
	Datum		args[2];
	JsonOut		json;
	AdminCall	call;
	bool		found;

	admin_begin(&call, optional_uuid(fcinfo, 1), "access.manage_members");
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(id);
	found = bo_spi_run(&plan, args, NULL, 0) > 0;
	if (found)
	{
		json_begin(&json);
		json_text(&json, "email", bo_spi_text(0, 1));
		audit_emit(&call.organization_id, bo_uuid_text(id), "invitation.withdrawn", &json);
	}
	admin_end(&call);
	PG_RETURN_BOOL(found);
}

static void
join_with_role(const pg_uuid_t *organization, const pg_uuid_t *user, const char *role)
{
	static BoPlan plan = {
		"INSERT INTO access.role_grants (organization_id, user_id, role) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
		3, {UUIDOID, UUIDOID, TEXTOID}
	};
	Datum		args[3] = {UUIDPGetDatum(organization), UUIDPGetDatum(user), CStringGetTextDatum(role)};
	RightsChange change = {.role = role, .user = user};

	insert_membership(organization, user);
	bo_spi_run(&plan, args, NULL, 0);
	audit(organization, "role.granted", &change);
}

/* accept_invitation(invitation uuid): the organization */
Datum
access_accept_invitation(PG_FUNCTION_ARGS)
{
	static BoPlan take = {
		"DELETE FROM access.invitations i USING access.users u WHERE i.id = $1 AND u.id = $2 "
		"AND lower(i.email) = lower(u.email) AND i.expires_at > backoffice.now() AND backoffice.within_bounds(i.organization_id) "
		"AND (u.email_said_by IS NULL OR u.email_said_by = i.organization_id) RETURNING i.organization_id, i.role",
		2, {UUIDOID, UUIDOID}
	};
	const pg_uuid_t *id = required_uuid(fcinfo, 0, "invitation");
	const Principal *principal = principal_require();
	pg_uuid_t  *organization = palloc(sizeof(pg_uuid_t));
	Datum		args[2] = {UUIDPGetDatum(id), UUIDPGetDatum(&principal->user_id)};
	BoUser		saved;

	if (!principal->has_user)
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("only a user accepts an invitation"),
				 bo_code("user_only", "no user acts"),
				 errhint("Log in as the user who was invited.")));
	saved = bo_user_kernel();
	bo_spi_begin();
	if (bo_spi_run(&take, args, NULL, 0) == 0)
		ereport(ERROR,
				(errcode(BO_NOT_FOUND),
				 errmsg("there is no such invitation"),
				 bo_code("unknown_invitation", "none with this id is for the acting user's e-mail address, or it is over"),
				 errhint("Ask who invited you to do it again.")));
	*organization = bo_spi_uuid(0, 1);
	join_with_role(organization, &principal->user_id, bo_spi_text(0, 2));
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_UUID_P(organization);
}
