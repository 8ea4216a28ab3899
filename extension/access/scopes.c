/*
 * scopes.c
 *		Permissions that reach only so far: a user with deals.read sees every
 *		deal, with deals.read:team those of the user's teams and the user's
 *		own, with deals.read:own the user's own.
 *
 * That the wider holds the narrower is settled when rights are looked up
 * (permission_matches), so that each question is one of bits, and of the few
 * teams that stand beside them in the principal.
 */
#include "access/access_internal.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* What a call site asked last: mostly a constant. */
typedef struct ScopedAsked
{
	uint64		generation;
	int			length;
	char		name[PERMISSION_NAME_BYTES];
	int			bits[SCOPE_OWN + 1];
} ScopedAsked;

PG_FUNCTION_INFO_V1(access_may_see);
PG_FUNCTION_INFO_V1(access_scope);
PG_FUNCTION_INFO_V1(access_team_ids);
PG_FUNCTION_INFO_V1(access_teams_for);
PG_FUNCTION_INFO_V1(access_owner_for);

static void
look_up(ScopedAsked *asked, const char *name, int length)
{
	asked->generation = 0;
	for (int scope = SCOPE_ALL; scope <= SCOPE_OWN; scope++)
	{
		char		full[PERMISSION_NAME_BYTES + 8];

		memcpy(full, name, length);
		strcpy(full + length, permission_scope_suffixes[scope]);
		asked->bits[scope] = permission_known_bit(full, strlen(full));
	}
	memcpy(asked->name, name, length);
	asked->length = length;
	asked->generation = rights_generation();
}

/* The bits of the permission in the first argument, remembered by the call site. */
static const int *
asked_bits(FunctionCallInfo fcinfo)
{
	static const int none[SCOPE_OWN + 1] = {-1, -1, -1};
	ScopedAsked *last = fcinfo->flinfo->fn_extra;
	text	   *permission = PG_GETARG_TEXT_PP(0);
	const char *name = VARDATA_ANY(permission);
	int			length = VARSIZE_ANY_EXHDR(permission);

	if (length >= PERMISSION_NAME_BYTES)
		return none;
	if (last == NULL)
		last = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ScopedAsked));
	if (last->generation != rights_generation() || last->length != length || memcmp(last->name, name, length) != 0)
		look_up(last, name, length);
	return last->bits;
}

static bool
is_in_team(const Principal *principal, const pg_uuid_t *team)
{
	for (int i = 0; i < principal->nteams; i++)
		if (memcmp(&principal->teams[i], team, UUID_LEN) == 0)
			return true;
	return false;
}

/* may_see(permission text, owner uuid, team uuid) */
Datum
access_may_see(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();
	const int  *bits;

	if (principal == NULL || PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	bits = asked_bits(fcinfo);
	if (permission_held(principal, bits[SCOPE_ALL]))
		PG_RETURN_BOOL(true);
	if (principal_is_service(principal))
		PG_RETURN_BOOL(bits[SCOPE_TEAM] >= 0 || bits[SCOPE_OWN] >= 0);
	if (!principal->has_user)
		PG_RETURN_BOOL(false);
	if (!PG_ARGISNULL(2) && permission_held(principal, bits[SCOPE_TEAM]) && is_in_team(principal, PG_GETARG_UUID_P(2)))
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(!PG_ARGISNULL(1) &&
				   (permission_held(principal, bits[SCOPE_OWN]) || permission_held(principal, bits[SCOPE_TEAM])) &&
				   memcmp(PG_GETARG_UUID_P(1), &principal->user_id, UUID_LEN) == 0);
}

/* How far it reaches; -1: nowhere. */
static int
reach(FunctionCallInfo fcinfo)
{
	const Principal *principal = principal_get();
	const int  *bits;

	if (principal == NULL)
		return -1;
	bits = asked_bits(fcinfo);
	for (int scope = SCOPE_ALL; scope <= SCOPE_OWN; scope++)
		if (permission_held(principal, bits[scope]))
			return principal_is_service(principal) ? SCOPE_ALL : scope;
	return -1;
}

/* scope(permission text): all, team, own or NULL */
Datum
access_scope(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"all", "team", "own"};
	int			scope = reach(fcinfo);

	if (scope < 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(names[scope]));
}

static Datum
teams_of(const Principal *principal)
{
	Datum		teams[PRINCIPAL_TEAMS];
	int			count = principal ? principal->nteams : 0;

	for (int i = 0; i < count; i++)
		teams[i] = UUIDPGetDatum(&principal->teams[i]);
	return PointerGetDatum(construct_array(teams, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

/* team_ids() */
Datum
access_team_ids(PG_FUNCTION_ARGS)
{
	return teams_of(principal_get());
}

/* teams_for(permission text): those whose rows it shows */
Datum
access_teams_for(PG_FUNCTION_ARGS)
{
	int			scope = reach(fcinfo);

	return teams_of(scope == SCOPE_ALL || scope == SCOPE_TEAM ? principal_get() : NULL);
}

/* owner_for(permission text): whose rows it shows, besides */
Datum
access_owner_for(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();

	if (reach(fcinfo) < 0 || !principal->has_user)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P((pg_uuid_t *) &principal->user_id);
}
