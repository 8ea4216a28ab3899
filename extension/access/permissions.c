/*
 * permissions.c
 *		Names of permissions, their bits, and the question can().
 */
#include "access/sessions.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "core/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define FIRST_CUSTOM_BIT	512

typedef struct PermissionEntry
{
	char		name[PERMISSION_NAME_BYTES];	/* key, zero-padded */
	int32		bit;
} PermissionEntry;

/* What a call site of can() asked last: mostly a constant. */
typedef struct LastAsked
{
	uint64		generation;
	int			bit;
	int			length;
	char		name[PERMISSION_NAME_BYTES];
} LastAsked;

const char *const permission_scope_suffixes[] = {"", ":team", ":own"};

static HTAB *permissions = NULL;
static MemoryContext permissions_context = NULL;	/* has it */
static uint64 permissions_generation = 0;
static bool permissions_complete = false;	/* read under the latest snapshot: what is not among them is not defined */
static uint64 demanding[PRINCIPAL_RIGHTS / 64]; /* those that want a second factor */

PG_FUNCTION_INFO_V1(access_can_sql);
PG_FUNCTION_INFO_V1(access_require_sql);
PG_FUNCTION_INFO_V1(access_permission_matches);
PG_FUNCTION_INFO_V1(access_define_permission);

static BoPlan load_plan = {
	"SELECT name, bit, aal2 FROM access.permissions", 0, {0}
};

static HTAB *
create_table(MemoryContext context)
{
	HASHCTL		info = {0};

	info.keysize = PERMISSION_NAME_BYTES;
	info.entrysize = sizeof(PermissionEntry);
	info.hcxt = context;
	return hash_create("backoffice permissions", 128, &info, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * Reads the catalogue.  Bits are given once, so an older snapshot only lacks
 * names; that is all a parallel operation can have, and a miss outside one
 * reads again, once.
 */
static void
load(void)
{
	/* The caller's until all is read: an error leaves what was known, whole, and no memory behind. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "backoffice permissions", ALLOCSET_SMALL_SIZES);
	HTAB	   *fresh = create_table(context);
	uint64		fresh_demanding[PRINCIPAL_RIGHTS / 64] = {0};
	uint64		read_in,
				nrows;
	BoUser		saved;

	read_in = rights_generation();
	saved = bo_user_kernel();
	PushActiveSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	bo_spi_begin();
	nrows = bo_spi_run_readonly(&load_plan, NULL, NULL, 0);
	for (uint64 i = 0; i < nrows; i++)
	{
		char	   *name = bo_spi_text(i, 1);
		PermissionEntry *entry = hash_search(fresh, name, HASH_ENTER, NULL);

		entry->bit = bo_spi_int32(i, 2);
		if (bo_spi_bool(i, 3))
			fresh_demanding[entry->bit / 64] |= UINT64CONST(1) << (entry->bit % 64);
	}
	bo_spi_end();
	PopActiveSnapshot();
	bo_user_restore(saved);

	MemoryContextSetParent(context, CacheMemoryContext);
	if (permissions_context != NULL)
		MemoryContextDelete(permissions_context);
	permissions_context = context;
	permissions = fresh;
	memcpy(demanding, fresh_demanding, sizeof(demanding));
	permissions_generation = read_in;
	permissions_complete = !IsInParallelMode();
}

static int
find(const char *name)
{
	PermissionEntry *entry = hash_search(permissions, name, HASH_FIND, NULL);

	return entry ? entry->bit : -1;
}

int
permission_known_bit(const char *name, int length)
{
	char		key[PERMISSION_NAME_BYTES] = {0};
	int			bit = -1;

	if (length < PERMISSION_NAME_BYTES)
	{
		memcpy(key, name, length);
		if (permissions == NULL || permissions_generation != rights_generation())
			load();
		bit = find(key);
		if (bit < 0 && !permissions_complete && !IsInParallelMode())
		{
			load();
			bit = find(key);
		}
	}
	return bit;
}

int
permission_bit(const char *name, int length)
{
	int			bit = permission_known_bit(name, length);

	if (bit < 0)
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("permission \"%.*s\" is not defined", pg_mbcliplen(name, length, PERMISSION_NAME_BYTES), name),
				 bo_code("unknown_permission", "no context has registered it"),
				 errhint("SELECT name FROM access.permissions lists them; access.define_permission() adds one.")));
	return bit;
}

bool
rights_include(const uint64 *rights, const uint64 *part)
{
	for (int i = 0; i < PRINCIPAL_RIGHTS / 64; i++)
		if (part[i] & ~rights[i])
			return false;
	return true;
}

bool
permission_held(const Principal *principal, int bit)
{
	if (principal == NULL || bit < 0)
		return false;
	if (principal_is_service(principal))
		return true;
	return (principal->rights[bit / 64] >> (bit % 64)) & 1;
}

void
rights_without_aal2(uint64 *rights)
{
	if (permissions == NULL || permissions_generation != rights_generation())
		load();
	for (int i = 0; i < PRINCIPAL_RIGHTS / 64; i++)
		rights[i] &= ~demanding[i];
}

/* Would the user have it, had it shown a second factor? */
static bool
lacks_aal2_only(const Principal *principal, int bit)
{
	Principal	sure = *principal;

	sure.aal = 2;
	return principal->has_user && !principal->has_api_key && principal->aal < 2 && !IsInParallelMode() &&
		rights_of(&sure) == ACTING_ALLOWED && permission_held(&sure, bit);
}

static void
deny(const char *name, int length)
{
	if (lacks_aal2_only(principal_require(), permission_bit(name, length)))
		ereport(ERROR,
				(errcode(BO_FORBIDDEN),
				 errmsg("permission \"%.*s\" needs a second factor", length, name),
				 bo_code("aal2_required", "the user has it, but this session is of a password alone"),
				 errhint("Verify a second factor in this session (POST /auth/mfa/verify) and use the new token.")));
	ereport(ERROR,
			(errcode(BO_FORBIDDEN),
			 errmsg("permission \"%.*s\" is needed", length, name),
			 bo_code("permission_denied", "none of the user's roles in this organization has it"),
			 errhint("Grant the user a role with this permission: access.grant_role().")));
}

bool
access_can(const char *permission)
{
	return permission_held(principal_get(), permission_bit(permission, strlen(permission)));
}

void
access_require(const char *permission)
{
	if (!access_can(permission))
		deny(permission, strlen(permission));
}

/* permission_known_bit() behind a memory of this call site's last question. */
static int
asked_bit(FunctionCallInfo fcinfo, text *permission)
{
	LastAsked  *last = fcinfo->flinfo->fn_extra;
	int			length = VARSIZE_ANY_EXHDR(permission);
	const char *name = VARDATA_ANY(permission);
	int			bit;

	if (last != NULL && last->generation == rights_generation() &&
		last->length == length && memcmp(last->name, name, length) == 0)
		return last->bit;

	bit = permission_known_bit(name, length);
	if (bit < 0 && (!permissions_complete || length >= PERMISSION_NAME_BYTES))
		return bit;
	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(LastAsked));
	last->generation = rights_generation();
	last->bit = bit;
	last->length = length;
	memcpy(last->name, name, length);
	return bit;
}

/* can(permission text); what nobody defined nobody has */
Datum
access_can_sql(PG_FUNCTION_ARGS)
{
	int			bit = asked_bit(fcinfo, PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(bit >= 0 && permission_held(principal_get(), bit));
}

/* require(permission text) */
Datum
access_require_sql(PG_FUNCTION_ARGS)
{
	text	   *permission;
	int			bit;

	(void) required_text(fcinfo, 0, "permission");
	permission = PG_GETARG_TEXT_PP(0);
	bit = asked_bit(fcinfo, permission);
	if (bit < 0)
		(void) permission_bit(VARDATA_ANY(permission), VARSIZE_ANY_EXHDR(permission));
	if (!permission_held(principal_get(), bit))
		deny(VARDATA_ANY(permission), VARSIZE_ANY_EXHDR(permission));
	PG_RETURN_VOID();
}

/* How wide a permission reaches, and where its name without that ends. */
static PermissionScope
scope_of(const char *name, int length, int *base)
{
	for (int scope = SCOPE_TEAM; scope <= SCOPE_OWN; scope++)
	{
		int			suffix = strlen(permission_scope_suffixes[scope]);

		*base = length - suffix;
		if (*base > 0 && memcmp(name + *base, permission_scope_suffixes[scope], suffix) == 0)
			return scope;
	}
	*base = length;
	return SCOPE_ALL;
}

/* permission_matches(name text, pattern text): a name, "context.*" or "*"; what reaches far reaches near */
Datum
access_permission_matches(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	text	   *pattern = PG_GETARG_TEXT_PP(1);
	const char *n = VARDATA_ANY(name);
	const char *p = VARDATA_ANY(pattern);
	int			n_base,
				p_base;

	if (scope_of(p, VARSIZE_ANY_EXHDR(pattern), &p_base) > scope_of(n, VARSIZE_ANY_EXHDR(name), &n_base))
		PG_RETURN_BOOL(false);
	if (p_base == 1 && *p == '*')
		PG_RETURN_BOOL(true);
	if (p_base > 2 && p[p_base - 1] == '*' && p[p_base - 2] == '.')
		PG_RETURN_BOOL(n_base >= p_base && memcmp(n, p, p_base - 1) == 0);
	PG_RETURN_BOOL(n_base == p_base && memcmp(n, p, p_base) == 0);
}

static bool
is_good_name(const char *name)
{
	int			length;

	(void) scope_of(name, strlen(name), &length);
	return strlen(name) < PERMISSION_NAME_BYTES && length >= 3 && memchr(name, '.', length) != NULL &&
		name[0] >= 'a' && name[0] <= 'z' && name[length - 1] != '.' && strstr(name, "..") == NULL &&
		strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == length;
}

static void
check_name(const char *name)
{
	if (!is_good_name(name))
		ereport(ERROR,
				(errcode(BO_BAD_REQUEST),
				 errmsg("\"%s\" cannot be the name of a permission", bo_clipped(name, 64)),
				 bo_code("bad_permission_name", "a name is context.verb in lower case, at most %d bytes", PERMISSION_NAME_BYTES - 1),
				 errhint("Use letters a-z, digits and underscores, with a dot between context and verb; \":team\" or \":own\" may follow.")));
}

/* The next free bit of the extension's own half, or of the others'. */
static int
next_bit(bool builtin)
{
	static BoPlan plan = {
		"SELECT COALESCE(max(bit), $1 - 1) + 1 "
		"FROM access.permissions WHERE builtin = $2",
		2, {INT4OID, BOOLOID}
	};
	Datum		args[2];
	int			bit;

	args[0] = Int32GetDatum(builtin ? 0 : FIRST_CUSTOM_BIT);
	args[1] = BoolGetDatum(builtin);
	bo_spi_run(&plan, args, NULL, 1);
	bit = bo_spi_int32(0, 1);
	if (bit >= (builtin ? FIRST_CUSTOM_BIT : PRINCIPAL_RIGHTS))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many permissions"),
				 bo_code("too_many_permissions", "there can be %d of them beside the extension's own", PRINCIPAL_RIGHTS - FIRST_CUSTOM_BIT),
				 errhint("Permissions name kinds of actions; rights on single objects belong in tables.")));
	return bit;
}

/* Within SPI, as backoffice_kernel. */
static void
define_permission(Datum name, Datum description, bool aal2)
{
	static BoPlan lock_plan = {"LOCK TABLE access.permissions IN SHARE ROW EXCLUSIVE MODE", 0, {0}};
	static BoPlan update_plan = {
		"UPDATE access.permissions SET description = $2, aal2 = $3 WHERE name = $1", 3, {TEXTOID, TEXTOID, BOOLOID}
	};
	static BoPlan insert_plan = {
		"INSERT INTO access.permissions (name, description, aal2, bit, builtin) VALUES ($1, $2, $3, $4, $5)",
		5, {TEXTOID, TEXTOID, BOOLOID, INT4OID, BOOLOID}
	};
	Datum		args[5] = {name, description, BoolGetDatum(aal2)};

	bo_spi_run(&lock_plan, NULL, NULL, 0);
	if (bo_spi_run(&update_plan, args, NULL, 0) == 0)
	{
		args[4] = BoolGetDatum(creating_extension);
		args[3] = Int32GetDatum(next_bit(creating_extension));
		bo_spi_run(&insert_plan, args, NULL, 0);
	}
	if (!creating_extension)
		audit_named(aal2 ? "permission.defined_with_aal2" : "permission.defined", "permission", TextDatumGetCString(name));
}

/* define_permission(name text, description text, aal2 boolean) */
Datum
access_define_permission(PG_FUNCTION_ARGS)
{
	BoUser		saved;

	check_name(required_text(fcinfo, 0, "name"));
	(void) required_text(fcinfo, 1, "description");

	saved = bo_user_kernel();
	bo_spi_begin();
	define_permission(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), !PG_ARGISNULL(2) && PG_GETARG_BOOL(2));
	bo_spi_end();
	bo_user_restore(saved);
	PG_RETURN_VOID();
}

/* An administrator's role names a permission that nobody defined yet.  Within SPI. */
void
permission_define_missing(const char *name, const char *role)
{
	BoUser		saved;

	if (!is_good_name(name) || permission_known_bit(name, strlen(name)) >= 0)
		return;
	saved = bo_user_kernel();
	define_permission(CStringGetTextDatum(name), CStringGetTextDatum(psprintf("first named by role %s", role)), false);
	bo_user_restore(saved);
	ereport(NOTICE,
			(errmsg("permission \"%s\" was not defined before: it is now", name)));
}
