/*
 * user.c
 *		Stretches of C that run as one of our roles.
 *
 * Cheaper than SECURITY DEFINER with SET search_path, and as safe: an error
 * restores the caller's role and path in AbortTransaction/AbortSubTransaction,
 * and SECURITY_LOCAL_USERID_CHANGE forbids SET ROLE meanwhile.
 *
 * The search path is pg_catalog alone for the stretch.  Our statements qualify
 * tables and functions, but operators too are looked up along the path: with
 * the caller's, its own "=" would run with our rights.
 */
#include "core/core.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/syscache.h"

typedef struct CachedRole
{
	const char *name;
	Oid			oid;			/* InvalidOid: look it up */
} CachedRole;

static CachedRole definer = {"backoffice_definer", InvalidOid};
static CachedRole kernel = {"backoffice_kernel", InvalidOid};
static CachedRole owner = {"backoffice_owner", InvalidOid};

static void
forget_roles(Datum arg, int cacheid, uint32 hashvalue)
{
	definer.oid = kernel.oid = owner.oid = InvalidOid;
}

static BoUser
become(CachedRole *role)
{
	static bool registered = false;
	OverrideSearchPath path = {.schemas = NIL, .addCatalog = true, .addTemp = false};
	BoUser		saved;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, forget_roles, (Datum) 0);
		registered = true;
	}
	if (!OidIsValid(role->oid))
		role->oid = get_role_oid(role->name, false);

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	SetUserIdAndSecContext(role->oid, saved.sec_context | SECURITY_LOCAL_USERID_CHANGE);
	PushOverrideSearchPath(&path);
	return saved;
}

BoUser
bo_user_definer(void)
{
	return become(&definer);
}

BoUser
bo_user_kernel(void)
{
	return become(&kernel);
}

BoUser
bo_user_owner(void)
{
	return become(&owner);
}

void
bo_user_restore(BoUser saved)
{
	PopOverrideSearchPath();
	SetUserIdAndSecContext(saved.userid, saved.sec_context);
}
