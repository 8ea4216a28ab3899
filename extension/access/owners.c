/*
 * owners.c
 *		An organization keeps somebody who may do everything in it.
 *
 * What its own users do must not leave it without: nobody inside could undo
 * that.  A service, which is outside, is not held up.
 */
#include "access/access_internal.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"

#define OWNER_ROLE "owner"

static bool
concerns_owners(const AdminCall *call, const char *role)
{
	return call->principal != NULL && !principal_is_service(call->principal) && strcmp(role, OWNER_ROLE) == 0;
}

void
refuse_other_owner_role(const AdminCall *call, const char *role)
{
	if (concerns_owners(call, role))
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("the role \"%s\" stays what it is", OWNER_ROLE),
				 bo_code("owner_role", "whoever has it may do everything in the organization"),
				 errhint("Define a role of another name, and grant that.")));
}

/* Within SPI.  Takers of the role come one after the other: each sees what the one before left. */
void
require_other_owner(const AdminCall *call, const pg_uuid_t *user, const char *role)
{
	static BoPlan lock = {
		"SELECT FROM access.roles WHERE organization_id = $1 AND name = $2 FOR NO KEY UPDATE", 2, {UUIDOID, TEXTOID}
	};
	static BoPlan others = {
		"SELECT bool_or(g.user_id = $3), bool_or(g.user_id <> $3) FROM access.role_grants g "
		"JOIN access.memberships m ON m.organization_id = $1 AND m.user_id = g.user_id AND m.state = 'active' "
		"WHERE g.organization_id = $1 AND g.role = $2 AND g.valid_until IS NULL",
		3, {UUIDOID, TEXTOID, UUIDOID}
	};
	Datum		args[3] = {UUIDPGetDatum(&call->organization_id), CStringGetTextDatum(OWNER_ROLE), UUIDPGetDatum(user)};

	if (!concerns_owners(call, role))
		return;
	bo_spi_run(&lock, args, NULL, 0);
	bo_spi_run(&others, args, NULL, 1);
	if (!bo_spi_isnull(0, 1) && bo_spi_bool(0, 1) && !bo_spi_bool(0, 2))
		ereport(ERROR,
				(errcode(BO_CONFLICT),
				 errmsg("this is the organization's last owner"),
				 bo_code("last_owner", "nobody else has the role \"%s\" without end", OWNER_ROLE),
				 errhint("Grant the role to somebody else first.")));
}
