/*
 * roles.c
 *		Roles of an organization, and who has them.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define ROLE_NAME_MAX_BYTES	63
#define ITEMS_MAX			1024	/* permissions, or inherited roles, of one role */

PG_FUNCTION_INFO_V1(access_define_role);
PG_FUNCTION_INFO_V1(access_define_default_role);
PG_FUNCTION_INFO_V1(access_grant_role);
PG_FUNCTION_INFO_V1(access_revoke_role);

static void
check_role_name(const char *name)
{
	Size		length = strlen(name);

	if (length > ROLE_NAME_MAX_BYTES || name[0] < 'a' || name[0] > 'z' ||
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != length)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("\"%s\" cannot be the name of a role", bo_clipped(name, 64)),
				 bo_code("bad_role_name", "a name has letters a-z, digits, _ and -, and at most %d of them", ROLE_NAME_MAX_BYTES),
				 errhint("Begin with a letter, in lower case.")));
}

void
refuse_unknown_role(const char *name)
{
	ereport(ERROR,
			(errcode(BO_NOT_FOUND),
			 errmsg("the organization has no role \"%s\"", bo_clipped(name, 64)),
			 bo_code("unknown_role", "access.define_role() has not defined it"),
			 errhint("Define it first, or use one of access.roles.")));
}

/* The elements of a one-dimensional text[] without NULLs; NULL is the empty array. */
int
text_items(FunctionCallInfo fcinfo, int n, const char *name, char ***items)
{
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	*items = NULL;
	if (PG_ARGISNULL(n))
		return 0;
	array = PG_GETARG_ARRAYTYPE_P(n);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("%s must be a list without nulls", name),
				 bo_code("bad_list", "it has NULLs or more than one dimension"),
				 errhint("Write ARRAY['first', 'second'].")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	if (count > ITEMS_MAX)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("%s has too many items", name),
				 bo_code("bad_list", "%d of at most %d", count, ITEMS_MAX),
				 errhint("Use a wildcard such as certificates.* instead.")));
	*items = palloc(sizeof(char *) * (count + 1));
	for (int i = 0; i < count; i++)
		(*items)[i] = TextDatumGetCString(values[i]);
	return count;
}

/* A name, "context.*" (perhaps with a scope) with at least one permission behind it, or "*". */
void
check_pattern(const char *pattern)
{
	static BoPlan plan = {
		"SELECT FROM access.permissions WHERE access.permission_matches(name, $1)", 1, {TEXTOID}
	};
	Datum		args[1];

	if (strcmp(pattern, "*") == 0)
		return;
	if (strchr(pattern, '*') != NULL)
	{
		args[0] = CStringGetTextDatum(pattern);
		if (bo_spi_run(&plan, args, NULL, 1) > 0)
			return;
	}
	(void) permission_bit(pattern, strlen(pattern));
}

/*
 * The rights behind permissions and inherited roles.  looping: whether name
 * is among what is inherited, at any distance.
 */
static void
resolve(const pg_uuid_t *organization, const char *name, Datum permissions, Datum inherits, uint64 *rights, bool *looping)
{
	static BoPlan plan = {
		"WITH RECURSIVE held AS ("
		"  SELECT unnest($3) AS role"
		"  UNION"
		"  SELECT i.role FROM held h"
		"  JOIN access.roles r ON r.organization_id = $1 AND r.name = h.role"
		"  CROSS JOIN LATERAL unnest(r.inherits) AS i(role)"
		"), patterns AS ("
		"  SELECT unnest($2) AS pattern"
		"  UNION"
		"  SELECT p.pattern FROM held h"
		"  JOIN access.roles r ON r.organization_id = $1 AND r.name = h.role"
		"  CROSS JOIN LATERAL unnest(r.permissions) AS p(pattern)"
		") "
		"SELECT DISTINCT p.bit, false FROM patterns t JOIN access.permissions p ON access.permission_matches(p.name, t.pattern) "
		"UNION ALL SELECT NULL, EXISTS (SELECT FROM held WHERE role = $4)",
		4, {UUIDOID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID}
	};
	Datum		args[4] = {UUIDPGetDatum(organization), permissions, inherits, CStringGetTextDatum(name)};
	uint64		nrows = bo_spi_run(&plan, args, NULL, 0);

	memset(rights, 0, PRINCIPAL_RIGHTS / 8);
	*looping = false;
	for (uint64 i = 0; i < nrows; i++)
	{
		int32		bit;

		if (bo_spi_isnull(i, 1))
		{
			*looping = bo_spi_bool(i, 2);
			continue;
		}
		bit = bo_spi_int32(i, 1);
		rights[bit / 64] |= UINT64CONST(1) << (bit % 64);
	}
}

void
rights_behind(const pg_uuid_t *organization, Datum permissions, uint64 *rights)
{
	bool		looping;

	resolve(organization, "", permissions, PointerGetDatum(construct_empty_array(TEXTOID)), rights, &looping);
}

bool
role_rights(const pg_uuid_t *organization, const char *name, uint64 *rights)
{
	static BoPlan plan = {
		"SELECT FROM access.roles WHERE organization_id = $1 AND name = $2 FOR KEY SHARE",
		2, {UUIDOID, TEXTOID}
	};
	Datum		args[2] = {UUIDPGetDatum(organization), CStringGetTextDatum(name)};
	Datum		self;
	bool		looping;

	if (bo_spi_run(&plan, args, NULL, 1) == 0)
		return false;
	self = PointerGetDatum(construct_array(&args[1], 1, TEXTOID, -1, false, TYPALIGN_INT));
	resolve(organization, "", PointerGetDatum(construct_empty_array(TEXTOID)), self, rights, &looping);
	return true;
}

static void
upsert_role(const pg_uuid_t *organization, const char *name, Datum permissions, Datum inherits)
{
	static BoPlan plan = {
		"INSERT INTO access.roles (organization_id, name, permissions, inherits) VALUES ($1, $2, $3, $4) "
		"ON CONFLICT (organization_id, name) DO UPDATE SET permissions = excluded.permissions, inherits = excluded.inherits",
		4, {UUIDOID, TEXTOID, TEXTARRAYOID, TEXTARRAYOID}
	};
	Datum		args[4] = {UUIDPGetDatum(organization), CStringGetTextDatum(name), permissions, inherits};

	bo_spi_run(&plan, args, NULL, 0);
}

static Datum
array_or_empty(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? PointerGetDatum(construct_empty_array(TEXTOID)) : PG_GETARG_DATUM(n);
}

/* Those who may call define_permission(), when they do not act for a user. */
static bool
may_define_permissions(void)
{
	const Principal *principal = principal_get();

	return (principal == NULL || principal_is_service(principal)) &&
		has_privs_of_role(GetUserId(), get_role_oid("backoffice_admin", false));
}

/* define_role(name text, permissions text[], inherits text[], organization uuid) */
Datum
access_define_role(PG_FUNCTION_ARGS)
{
	char	   *name = required_text(fcinfo, 0, "name");
	char	  **patterns,
			  **parents;
	int			npatterns = text_items(fcinfo, 1, "permissions", &patterns);
	int			nparents = text_items(fcinfo, 2, "inherits", &parents);
	RightsChange change = {0};
	uint64		rights[PRINCIPAL_RIGHTS / 64];
	bool		looping;
	bool		may_define;
	AdminCall	call;

	check_role_name(name);
	may_define = may_define_permissions();
	admin_begin(&call, optional_uuid(fcinfo, 3), "access.manage_roles");
	if (role_rights(&call.organization_id, name, rights))
		require_rights(&call, rights, "the role as it is");
	refuse_other_owner_role(&call, name);
	for (int i = 0; i < npatterns; i++)
	{
		if (may_define)
			permission_define_missing(patterns[i], name);
		check_pattern(patterns[i]);
	}
	for (int i = 0; i < nparents; i++)
		if (!role_rights(&call.organization_id, parents[i], rights))
			refuse_unknown_role(parents[i]);
	resolve(&call.organization_id, name, array_or_empty(fcinfo, 1), array_or_empty(fcinfo, 2), rights, &looping);
	if (looping)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("role \"%s\" would inherit itself", name),
				 bo_code("role_cycle", "one of the inherited roles inherits it"),
				 errhint("Look at inherits in access.roles.")));
	require_rights(&call, rights, "the role");
	change.role = name;
	change.permissions = array_or_empty(fcinfo, 1);
	change.inherits = array_or_empty(fcinfo, 2);
	upsert_role(&call.organization_id, name, change.permissions, change.inherits);
	audit(&call.organization_id, "role.defined", &change);
	admin_end(&call);
	PG_RETURN_VOID();
}

/* grant_role(user uuid, role text, valid_until timestamptz, organization uuid) */
Datum
access_grant_role(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"INSERT INTO access.role_grants (organization_id, user_id, role, valid_until) VALUES ($1, $2, $3, $4) "
		"ON CONFLICT (organization_id, user_id, role) DO UPDATE SET valid_until = excluded.valid_until",
		4, {UUIDOID, UUIDOID, TEXTOID, TIMESTAMPTZOID}
	};
	const pg_uuid_t *user = required_uuid(fcinfo, 0, "user");
	char	   *role = required_text(fcinfo, 1, "role");
	TimestampTz valid_until = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	RightsChange change = {0};
	uint64		rights[PRINCIPAL_RIGHTS / 64];
	Datum		args[4];
	AdminCall	call;

	if (valid_until <= bo_now())
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("valid_until is in the past"),
				 bo_code("bad_valid_until", "a grant ends later than now"),
				 errhint("Use access.revoke_role(user, role) to end a grant.")));
	admin_begin(&call, optional_uuid(fcinfo, 3), "access.manage_roles");
	if (!role_rights(&call.organization_id, role, rights))
		refuse_unknown_role(role);
	require_rights(&call, rights, "the role");
	require_member(&call, user);
	if (!PG_ARGISNULL(2))
		require_other_owner(&call, user, role);

	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(user);
	args[2] = PG_GETARG_DATUM(1);
	args[3] = PG_GETARG_DATUM(2);
	bo_spi_run(&plan, args, PG_ARGISNULL(2) ? "   n" : NULL, 0);
	change.role = role;
	change.user = user;
	change.valid_until = PG_ARGISNULL(2) ? NULL : &valid_until;
	audit(&call.organization_id, "role.granted", &change);
	admin_end(&call);
	PG_RETURN_VOID();
}

/* revoke_role(user uuid, role text, organization uuid): true when the user had it */
Datum
access_revoke_role(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"DELETE FROM access.role_grants WHERE organization_id = $1 "
		"AND user_id = $2 AND role = $3",
		3, {UUIDOID, UUIDOID, TEXTOID}
	};
	const pg_uuid_t *user = required_uuid(fcinfo, 0, "user");
	char	   *role = required_text(fcinfo, 1, "role");
	RightsChange change = {0};
	uint64		rights[PRINCIPAL_RIGHTS / 64];
	Datum		args[3];
	AdminCall	call;
	uint64		found;

	admin_begin(&call, optional_uuid(fcinfo, 2), "access.manage_roles");
	if (!role_rights(&call.organization_id, role, rights))
		refuse_unknown_role(role);
	require_rights(&call, rights, "the role");
	require_other_owner(&call, user, role);
	args[0] = UUIDPGetDatum(&call.organization_id);
	args[1] = UUIDPGetDatum(user);
	args[2] = PG_GETARG_DATUM(1);
	found = bo_spi_run(&plan, args, NULL, 0);
	change.role = role;
	change.user = user;
	if (found > 0)
		audit(&call.organization_id, "role.revoked", &change);
	admin_end(&call);
	PG_RETURN_BOOL(found > 0);
}

/* define_default_role(name text, permissions text[], inherits text[]) */
Datum
access_define_default_role(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"INSERT INTO access.default_roles (name, permissions, inherits, builtin) VALUES ($1, $2, $3, $4) "
		"ON CONFLICT (name) DO UPDATE SET permissions = excluded.permissions, inherits = excluded.inherits "
		"WHERE access.default_roles.builtin = excluded.builtin",
		4, {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID}
	};
	char	   *name = required_text(fcinfo, 0, "name");
	char	  **patterns,
			  **parents;
	int			npatterns = text_items(fcinfo, 1, "permissions", &patterns);
	Datum		args[4];
	BoUser		saved;

	(void) text_items(fcinfo, 2, "inherits", &parents);
	check_role_name(name);
	args[0] = PG_GETARG_DATUM(0);
	args[1] = array_or_empty(fcinfo, 1);
	args[2] = array_or_empty(fcinfo, 2);
	args[3] = BoolGetDatum(creating_extension);
	saved = bo_user_kernel();
	bo_spi_begin();
	for (int i = 0; i < npatterns; i++)
		check_pattern(patterns[i]);
	if (bo_spi_run(&plan, args, NULL, 0) == 0)
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the default role \"%s\" comes with the extension", name),
				 bo_code("built_in_role", "a dump would not carry the change"),
				 errhint("Define one of another name, or redefine the role in each organization with access.define_role().")));
	if (!creating_extension)
		audit_named("default_role.defined", "role", name);
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}
