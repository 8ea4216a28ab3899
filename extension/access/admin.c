/*
 * admin.c
 *		What the administrative functions have in common: for which
 *		organization, by what right, as which role.
 */
#include "access/access_internal.h"

#include "core/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

static bool
caller_is_service(void)
{
	Oid			service = get_role_oid("backoffice_service", true);

	return superuser() || (OidIsValid(service) && has_privs_of_role(GetUserId(), service));
}

void
require_service(void)
{
	const Principal *principal = principal_get();

	if (caller_is_service() && (principal == NULL || principal_is_service(principal)))
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("only a service may do this"),
			 bo_code("service_only", "it reaches beyond one organization"),
			 errhint("Call it as a role with backoffice_service, while no user acts in the transaction.")));
}

static void
refuse_other_organization(const pg_uuid_t *organization)
{
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("organization %s is not the one of this transaction", bo_uuid_text(organization)),
			 bo_code("other_organization", "a transaction acts for one organization"),
			 errhint("Leave the argument out, or act for that organization in a transaction of its own.")));
}

static void
check_organization(const pg_uuid_t *organization)
{
	Principal	probe = {0};
	ActingState state;

	probe.organization_id = *organization;
	state = rights_of(&probe);
	if (state == ACTING_UNKNOWN_ORGANIZATION)
		refuse_acting(state, &probe);
}

void
admin_begin(AdminCall *call, const pg_uuid_t *organization, const char *permission)
{
	call->principal = principal_get();
	if (call->principal == NULL && (organization == NULL || !caller_is_service()))
		(void) principal_require();
	if (call->principal != NULL && organization != NULL &&
		memcmp(organization, &call->principal->organization_id, UUID_LEN) != 0)
		refuse_other_organization(organization);

	if (call->principal != NULL)
	{
		access_require(permission);
		call->organization_id = call->principal->organization_id;
		call->caller = bo_user_definer();
	}
	else
	{
		check_organization(organization);
		call->organization_id = *organization;
		call->caller = bo_user_kernel();
	}
	bo_spi_begin();
}

void
admin_end(AdminCall *call)
{
	bo_spi_end();
	bo_user_restore(call->caller);
}

void
require_rights(const AdminCall *call, const uint64 *rights, const char *what)
{
	if (call->principal == NULL || principal_is_service(call->principal) ||
		rights_include(call->principal->rights, rights))
		return;
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("%s has permissions that the acting user does not have", what),
			 bo_code("beyond_own_rights", "a user hands out, takes away and changes only what it has itself"),
			 errhint("Ask somebody who has them, such as an owner of the organization.")));
}

static void
refuse_missing(const char *name)
{
	ereport(ERROR,
			(errcode(BO_BAD_REQUEST),
			 errmsg("argument \"%s\" is missing", name),
			 bo_code("missing_argument", "it is NULL"),
			 errhint("Give a value.")));
}

const pg_uuid_t *
required_uuid(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		refuse_missing(name);
	return PG_GETARG_UUID_P(n);
}

char *
required_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		refuse_missing(name);
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

const pg_uuid_t *
optional_uuid(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_UUID_P(n);
}
