/*
 * members.c
 *		Organizations, users, and who belongs where.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"

#define ORGANIZATION_NAME_MAX_BYTES	200

PG_FUNCTION_INFO_V1(access_create_organization);
PG_FUNCTION_INFO_V1(access_create_user);
PG_FUNCTION_INFO_V1(access_add_member);
PG_FUNCTION_INFO_V1(access_remove_member);
PG_FUNCTION_INFO_V1(access_set_organization_state);
PG_FUNCTION_INFO_V1(access_set_user_state);

void
insert_membership(const pg_uuid_t *organization, const pg_uuid_t *user)
{
	static BoPlan plan = {
		"INSERT INTO access.memberships AS m (organization_id, user_id) VALUES ($1, $2) "
		"ON CONFLICT (organization_id, user_id) DO UPDATE SET state = 'active' WHERE m.state <> 'active'",
		2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(user)};

	if (bo_spi_run(&plan, args, NULL, 0) == 0)
		return;
	refuse_platform_administrator(user);
	audit_about(organization, "member.added", "userId", user, NULL, NULL);
}

typedef struct Belonging
{
	bool		exists;
	bool		here;			/* an active member of this organization */
	bool		somewhere;		/* a member of any */
} Belonging;

/* Asked as the kernel: a tenant does not see strangers. */
static Belonging
belonging(const pg_uuid_t *organization, const pg_uuid_t *user)
{
	static BoPlan plan = {
		"SELECT EXISTS (SELECT FROM access.users WHERE id = $2), "
		"EXISTS (SELECT FROM access.memberships WHERE organization_id = $1 AND user_id = $2"
		" AND state = 'active'), "
		"EXISTS (SELECT FROM access.memberships WHERE user_id = $2)",
		2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(user)};
	BoUser		saved = bo_user_kernel();
	Belonging	found;

	bo_spi_run(&plan, args, NULL, 1);
	found.exists = bo_spi_bool(0, 1);
	found.here = bo_spi_bool(0, 2);
	found.somewhere = bo_spi_bool(0, 3);
	bo_user_restore(saved);
	return found;
}

static void
refuse_stranger(const pg_uuid_t *user)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("the organization has no user %s", bo_uuid_text(user)),
			 bo_code("unknown_user", "no member has this id"),
			 errhint("Add the user with access.add_member(organization, user) first.")));
}

void
require_member(const AdminCall *call, const pg_uuid_t *user)
{
	/* Held until the end: nobody is removed while being granted a role. */
	static BoPlan plan = {
		"SELECT FROM access.memberships WHERE organization_id = $1 AND user_id = $2 AND state = 'active' FOR KEY SHARE",
		2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(&call->organization_id), UUIDPGetDatum(user)};
	Belonging	found;

	if (bo_spi_run(&plan, args, NULL, 1) > 0)
		return;
	found = belonging(&call->organization_id, user);
	if (!found.exists || found.somewhere || (call->principal != NULL && !principal_is_service(call->principal)))
		refuse_stranger(user);
	insert_membership(&call->organization_id, user);
}

/* ---- organizations ---- */

static void
check_organization_name(const char *name)
{
	Size		length = strlen(name);

	if (length == strspn(name, " \t\r\n") || length > ORGANIZATION_NAME_MAX_BYTES)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("an organization's name cannot be blank, nor longer than %d bytes", ORGANIZATION_NAME_MAX_BYTES),
				 bo_code("bad_organization_name", "the name has %zu bytes", length),
				 errhint("Give a name that people recognize.")));
}

static void
insert_organization(const pg_uuid_t *id, const char *name)
{
	static BoPlan organization_plan = {
		"INSERT INTO access.organizations (id, name) VALUES ($1, $2)", 2, {UUIDOID, TEXTOID}
	};
	static BoPlan roles_plan = {
		"INSERT INTO access.roles (organization_id, name, permissions, inherits) "
		"SELECT $1, name, permissions, inherits FROM access.default_roles",
		1, {UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(id), CStringGetTextDatum(name)};

	bo_spi_run(&organization_plan, args, NULL, 0);
	bo_spi_run(&roles_plan, args, NULL, 0);
	audit_about(id, "organization.created", "organizationId", id, "name", name);
}

static void
insert_owner(const pg_uuid_t *organization, const pg_uuid_t *owner)
{
	static BoPlan plan = {
		"INSERT INTO access.role_grants (organization_id, user_id, role) VALUES ($1, $2, 'owner')", 2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(owner)};
	RightsChange change = {.role = "owner", .user = owner};

	if (!belonging(organization, owner).exists)
		refuse_stranger(owner);
	insert_membership(organization, owner);
	bo_spi_run(&plan, args, NULL, 0);
	audit(organization, "role.granted", &change);
}

/* create_organization(name text, owner uuid) */
Datum
access_create_organization(PG_FUNCTION_ARGS)
{
	char	   *name = required_text(fcinfo, 0, "name");
	const pg_uuid_t *owner = optional_uuid(fcinfo, 1);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	BoUser		saved;

	check_organization_name(name);
	require_platform();
	bo_uuid7(id);

	saved = bo_user_kernel();
	bo_spi_begin();
	insert_organization(id, name);
	if (owner != NULL)
		insert_owner(id, owner);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_UUID_P(id);
}

static void
refuse_state(const char *state, const char *other)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("\"%s\" is not a state", bo_clipped(state, 32)),
			 bo_code("bad_state", "the states are active and %s", other),
			 errhint("Give one of the two.")));
}

/* Runs an UPDATE of $2 on the row with id $1; false: there is none.  Within SPI, as the kernel. */
static bool
set_state(BoPlan *plan, const pg_uuid_t *id, const char *state)
{
	Datum		args[2] = {UUIDPGetDatum(id), CStringGetTextDatum(state)};

	return bo_spi_run(plan, args, NULL, 0) > 0;
}

/* set_organization_state(organization uuid, state text) */
Datum
access_set_organization_state(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"UPDATE access.organizations SET state = $2 WHERE id = $1", 2, {UUIDOID, TEXTOID}
	};
	Principal	named = {0};
	char	   *state;
	BoUser		saved;

	named.organization_id = *required_uuid(fcinfo, 0, "organization");
	state = required_text(fcinfo, 1, "state");
	require_platform();
	if (strcmp(state, "active") != 0 && strcmp(state, "suspended") != 0)
		refuse_state(state, "suspended");
	saved = bo_user_kernel();
	bo_spi_begin();
	if (!set_state(&plan, &named.organization_id, state))
		refuse_acting(ACTING_UNKNOWN_ORGANIZATION, &named);
	audit_about(&named.organization_id, "organization.state_changed", "organizationId", &named.organization_id, "state", state);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

/* ---- users ---- */

bool
is_email(const char *email)
{
	const char *at = strchr(email, '@');

	for (const char *c = email; *c; c++)
		if ((unsigned char) *c <= ' ' || *c == 0x7F)
			return false;
	return strlen(email) <= EMAIL_MAX_BYTES && at != NULL && at != email && at[1] != '\0' && strchr(at + 1, '@') == NULL;
}

void
check_email(const char *email)
{
	if (!is_email(email))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("\"%s\" is not an e-mail address", bo_clipped(email, 64)),
				 bo_code("bad_email", "an address is name@host, without spaces, at most %d bytes", EMAIL_MAX_BYTES),
				 errhint("Give the address as it stands in a message's header, without display name.")));
}

void
tell_user_created(const pg_uuid_t *organization, const pg_uuid_t *user, const char *email)
{
	JsonOut		json;

	audit_about(organization, "user.created", "userId", user, NULL, NULL);
	json_begin(&json);
	json_uuid(&json, "userId", user);
	json_text(&json, "email", email);
	user_emit(organization, user, "user.created", &json);
}

/* organization: which the user is to belong to, or NULL. */
static void
insert_user(const pg_uuid_t *id, const char *email, const char *hash, const pg_uuid_t *organization)
{
	static BoPlan plan = {
		"INSERT INTO access.users (id, email, password_hash) SELECT $1, $2, $3 "
		"WHERE NOT EXISTS (SELECT FROM access.users WHERE lower(email) = lower($2) AND email_said_by = $4) ON CONFLICT DO NOTHING",
		4, {UUIDOID, TEXTOID, TEXTOID, UUIDOID}
	};
	Datum		args[4] = {UUIDPGetDatum(id), CStringGetTextDatum(email), 0, UUIDPGetDatum(organization)};
	char		nulls[] = "    ";
	BoUser		saved;

	if (hash)
		args[2] = CStringGetTextDatum(hash);
	nulls[2] = hash ? ' ' : 'n';
	nulls[3] = organization ? ' ' : 'n';
	saved = bo_user_kernel();
	if (bo_spi_run(&plan, args, nulls, 0) == 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("there is a user with the e-mail address \"%s\"", email),
				 bo_code("email_taken", "upper and lower case are alike"),
				 errhint("A service adds an existing user with access.add_member(organization, user).")));
	bo_user_restore(saved);
}

/* create_user(email text, password text, organization uuid) */
Datum
access_create_user(PG_FUNCTION_ARGS)
{
	char	   *email = required_text(fcinfo, 0, "email");
	char	   *hash = NULL;
	const pg_uuid_t *organization = optional_uuid(fcinfo, 2);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	AdminCall	call;

	check_email(email);
	if (organization == NULL && principal_get() == NULL)
		require_service();
	else if (principal_get() != NULL)
		access_require("access.manage_members");
	if (!PG_ARGISNULL(1))
		hash = password_hash(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	bo_uuid7(id);

	if (organization == NULL && principal_get() == NULL)
	{
		bo_spi_begin();
		insert_user(id, email, hash, NULL);
		tell_user_created(NULL, id, email);
		bo_spi_end();
	}
	else
	{
		admin_begin(&call, organization, "access.manage_members");
		insert_user(id, email, hash, &call.organization_id);
		tell_user_created(&call.organization_id, id, email);
		insert_membership(&call.organization_id, id);
		admin_end(&call);
	}
	PG_RETURN_UUID_P(id);
}

static void
tell_state(const pg_uuid_t *user, const char *state)
{
	JsonOut		json;

	audit_about(NULL, "user.state_changed", "userId", user, "state", state);
	json_begin(&json);
	json_uuid(&json, "userId", user);
	json_text(&json, "state", state);
	json_begin_array(&json, "changed");
	json_text(&json, NULL, "state");
	json_end_array(&json);
	user_emit(NULL, user, "user.updated", &json);
}

/* set_user_state(user uuid, state text) */
Datum
access_set_user_state(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"UPDATE access.users SET state = $2 WHERE id = $1", 2, {UUIDOID, TEXTOID}
	};
	Principal	named = {0};
	char	   *state;
	BoUser		saved;

	named.user_id = *required_uuid(fcinfo, 0, "user");
	state = required_text(fcinfo, 1, "state");
	require_service();
	if (strcmp(state, "active") != 0 && strcmp(state, "disabled") != 0)
		refuse_state(state, "disabled");
	saved = bo_user_kernel();
	bo_spi_begin();
	(void) user_lock(&named.user_id);
	if (!set_state(&plan, &named.user_id, state))
		refuse_acting(ACTING_UNKNOWN_USER, &named);
	tell_state(&named.user_id, state);
	if (strcmp(state, "disabled") == 0)
		(void) session_end_all(&named.user_id, NULL, NULL, "user_disabled");
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

/* ---- memberships ---- */

/* add_member(organization uuid, user uuid) */
Datum
access_add_member(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *organization = required_uuid(fcinfo, 0, "organization");
	const pg_uuid_t *user = required_uuid(fcinfo, 1, "user");
	AdminCall	call;
	Belonging	found;

	admin_begin(&call, organization, "access.manage_members");
	found = belonging(organization, user);
	/* A user who acts can take in newcomers only: else ids could be tried for strangers' addresses. */
	if (!found.exists ||
		(!found.here && found.somewhere && call.principal != NULL && !principal_is_service(call.principal)))
		refuse_stranger(user);
	insert_membership(organization, user);
	admin_end(&call);
	PG_RETURN_VOID();
}

static void
revoke_all(const pg_uuid_t *organization, const pg_uuid_t *user)
{
	static BoPlan plan = {
		"DELETE FROM access.role_grants WHERE organization_id = $1 AND user_id = $2 RETURNING role",
		2, {UUIDOID, UUIDOID}
	};
	Datum		args[2] = {UUIDPGetDatum(organization), UUIDPGetDatum(user)};
	uint64		nroles = bo_spi_run(&plan, args, NULL, 0);
	char	  **roles = palloc(sizeof(char *) * (nroles + 1));

	for (uint64 i = 0; i < nroles; i++)
		roles[i] = bo_spi_text(i, 1);
	for (uint64 i = 0; i < nroles; i++)
	{
		RightsChange change = {.role = roles[i], .user = user};

		audit(organization, "role.revoked", &change);
	}
}

/* remove_member(organization uuid, user uuid): true when it was one */
Datum
access_remove_member(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"DELETE FROM access.memberships WHERE organization_id = $1 AND user_id = $2",
		2, {UUIDOID, UUIDOID}
	};
	Principal	removed = {0};
	AdminCall	call;
	Datum		args[2];
	uint64		found;

	removed.organization_id = *required_uuid(fcinfo, 0, "organization");
	removed.user_id = *required_uuid(fcinfo, 1, "user");
	removed.has_user = true;
	args[0] = UUIDPGetDatum(&removed.organization_id);
	args[1] = UUIDPGetDatum(&removed.user_id);

	admin_begin(&call, &removed.organization_id, "access.manage_members");
	if (rights_of(&removed) == ACTING_ALLOWED)
		require_rights(&call, removed.rights, "this member");
	require_other_owner(&call, &removed.user_id, "owner");
	revoke_all(&removed.organization_id, &removed.user_id);
	teams_leave_all(&removed.organization_id, &removed.user_id);
	found = bo_spi_run(&plan, args, NULL, 0);
	if (found > 0)
		audit_about(&removed.organization_id, "member.removed", "userId", &removed.user_id, NULL, NULL);
	admin_end(&call);
	PG_RETURN_BOOL(found > 0);
}
