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
#include "utils/guc.h"
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

#if PG_VERSION_NUM >= 170000
/* As SET LOCAL does it, since there is no override any more; an error undoes it with the (sub)transaction. */
static void
push_path(BoUser *saved)
{
	saved->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
pop_path(BoUser saved)
{
	AtEOXact_GUC(true, saved.guc_level);
}
#else
static void
push_path(BoUser *saved)
{
	OverrideSearchPath path = {.schemas = NIL, .addCatalog = true, .addTemp = false};

	(void) saved;
	PushOverrideSearchPath(&path);
}

static void
pop_path(BoUser saved)
{
	(void) saved;
	PopOverrideSearchPath();
}
#endif

static BoUser
become(CachedRole *role)
{
	static bool registered = false;
	BoUser		saved = {0};

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AUTHOID, forget_roles, (Datum) 0);
		registered = true;
	}
	if (!OidIsValid(role->oid))
		role->oid = get_role_oid(role->name, false);

	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	SetUserIdAndSecContext(role->oid, saved.sec_context | SECURITY_LOCAL_USERID_CHANGE);
	push_path(&saved);
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
	pop_path(saved);
	SetUserIdAndSecContext(saved.userid, saved.sec_context);
}
