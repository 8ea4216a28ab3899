/*
 * me.c
 *		Who acts, as the acting user is shown it.
 */
#include "access/sessions.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(access_me);
PG_FUNCTION_INFO_V1(access_session_id);

/* me() */
Datum
access_me(PG_FUNCTION_ARGS)
{
	static BoPlan plan = {
		"SELECT jsonb_build_object("
		"'user', (SELECT jsonb_build_object('id', u.id, 'email', u.email, 'created_at', u.created_at, 'has_password', u.password_hash IS NOT NULL)"
		"  FROM access.users u WHERE u.id = $2), "
		"'organization', (SELECT jsonb_build_object('id', o.id, 'name', o.name) FROM access.organizations o WHERE o.id = $1), "
		"'organizations', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'name', o.name) ORDER BY m.created_at, o.id), '[]')"
		"  FROM access.memberships m JOIN access.organizations o ON o.id = m.organization_id AND o.state = 'active'"
		"  WHERE m.user_id = $2 AND m.state = 'active' AND backoffice.within_bounds(m.organization_id)), "
		"'roles', (SELECT coalesce(jsonb_agg(g.role ORDER BY g.role), '[]') FROM access.role_grants g"
		"  WHERE g.organization_id = $1 AND g.user_id = $2 AND (g.valid_until IS NULL OR g.valid_until > backoffice.now())), "
		"'teams', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'name', t.name) ORDER BY t.name), '[]')"
		"  FROM access.team_members tm JOIN access.teams t ON t.organization_id = tm.organization_id AND t.id = tm.team_id"
		"  WHERE tm.organization_id = $1 AND tm.user_id = $2), "
		"'platform_administrator', access.is_platform_administrator(), "
		"'permissions', (SELECT coalesce(jsonb_agg(p.name ORDER BY p.name), '[]') FROM access.permissions p WHERE access.can(p.name)), "
		"'session', (SELECT jsonb_build_object('id', s.id, 'aal', 'aal' || s.aal, 'amr', s.amr, 'created_at', s.created_at, 'expires_at', s.expires_at)"
		"  FROM access.sessions s WHERE s.id = $3), "
		"'factors', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', f.id, 'label', f.label, 'type', 'totp', 'state', f.state,"
		"    'created_at', f.created_at) ORDER BY f.created_at, f.id), '[]') FROM access.mfa_factors f WHERE f.user_id = $2), "
		"'recovery_codes_left', (SELECT count(*) FROM access.recovery_codes c WHERE c.user_id = $2 AND c.used_at IS NULL))",
		3, {UUIDOID, UUIDOID, UUIDOID}
	};
	const Principal *principal = principal_require();
	Datum		args[3] = {UUIDPGetDatum(&principal->organization_id), UUIDPGetDatum(&principal->user_id),
	UUIDPGetDatum(&principal->session_id)};
	char		nulls[4] = "   ";
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	bool		isnull;
	Jsonb	   *answer;
	BoUser		user;

	nulls[0] = principal->without_organization ? 'n' : ' ';
	nulls[1] = principal->has_user ? ' ' : 'n';
	nulls[2] = principal->has_session ? ' ' : 'n';
	user = bo_user_kernel();
	bo_spi_begin();
	bo_spi_run_readonly(&plan, args, nulls, 1);
	spi = MemoryContextSwitchTo(caller);
	answer = DatumGetJsonbPCopy(bo_spi_datum(0, 1, &isnull));
	MemoryContextSwitchTo(spi);
	bo_spi_end();
	bo_user_restore(user);
	PG_RETURN_JSONB_P(answer);
}

/* session_id(): NULL without one */
Datum
access_session_id(PG_FUNCTION_ARGS)
{
	const Principal *principal = principal_get();

	if (principal == NULL || !principal->has_session)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P((pg_uuid_t *) &principal->session_id);
}
