CREATE OR REPLACE FUNCTION access.create_team(name text, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_team';
COMMENT ON FUNCTION access.create_team(text, uuid) IS
'Makes a team of an organization (by default the one acted for). name: 1 to 100 bytes, unique in the organization, upper and lower case alike. Permission: access.manage_teams; without principal a service. Returns the id. Errors: bad_team_name, team_name_taken, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_team(text, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.rename_team(team uuid, name text, organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_rename_team';
COMMENT ON FUNCTION access.rename_team(uuid, text, uuid) IS
'Gives a team another name; rules as of access.create_team. Permission: access.manage_teams; without principal a service. Errors: unknown_team, bad_team_name, team_name_taken, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.rename_team(uuid, text, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.delete_team(team uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_delete_team';
COMMENT ON FUNCTION access.delete_team(uuid, uuid) IS
'Deletes a team; its members stay in the organization, records that name it are seen by nobody for its sake. Permission: access.manage_teams; without principal a service. Returns false when there was none. Errors: unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.delete_team(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.add_team_member(team uuid, "user" uuid, organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_add_team_member';
COMMENT ON FUNCTION access.add_team_member(uuid, uuid, uuid) IS
'Puts a member of the organization into a team (32 of one organization at most); nothing happens when it is in it. Counts in transactions that start after the COMMIT returned. Permission: access.manage_teams; without principal a service. Errors: unknown_team, unknown_user, too_many_teams, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.add_team_member(uuid, uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.remove_team_member(team uuid, "user" uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_remove_team_member';
COMMENT ON FUNCTION access.remove_team_member(uuid, uuid, uuid) IS
'Takes a user out of a team. Counts in transactions that start after the COMMIT returned. Permission: access.manage_teams; without principal a service. Returns false when the user was not in it. Errors: unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.remove_team_member(uuid, uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.may_see(permission text, owner uuid, team uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_may_see';
COMMENT ON FUNCTION access.may_see(text, uuid, uuid) IS
'Whether a permission reaches a record with this owner and team: everything for who has the permission itself, records of the user''s teams and the user''s own with permission:team, the user''s own with permission:own. permission: the name without scope. For policies and conditions; the same answer for the whole transaction. False when nobody acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.may_see(text, uuid, uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.scope(permission text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_scope';
COMMENT ON FUNCTION access.scope(text) IS
'How far the acting user''s permission reaches: all, team, own, or NULL for nowhere. permission: the name without scope. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.scope(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.team_ids() RETURNS uuid[]
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_team_ids';
COMMENT ON FUNCTION access.team_ids() IS
'The teams that the acting user is in, of the organization acted for; none when nobody or a service acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.team_ids() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.teams_for(permission text) RETURNS uuid[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_teams_for';
COMMENT ON FUNCTION access.teams_for(text) IS
'The teams whose records a permission shows the acting user: access.team_ids() for who has it with :team or without scope, else none. For conditions that an index serves: team_id = ANY (access.teams_for(''deals.read'')). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.teams_for(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.owner_for(permission text) RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_owner_for';
COMMENT ON FUNCTION access.owner_for(text) IS
'The acting user, if the permission shows them their own records (with any scope), else NULL. For conditions that an index serves: owner_id = access.owner_for(''deals.read''). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.owner_for(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.grant_platform_administrator("user" uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_grant_platform_administrator';
COMMENT ON FUNCTION access.grant_platform_administrator(uuid) IS
'Makes a user who belongs to no organization a platform administrator: may create and suspend organizations, and sees no tenant''s data. Permission: a service, while no user acts. Errors: service_only, unknown_user, is_a_member, missing_argument.';
GRANT EXECUTE ON FUNCTION access.grant_platform_administrator(uuid) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.revoke_platform_administrator("user" uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_revoke_platform_administrator';
COMMENT ON FUNCTION access.revoke_platform_administrator(uuid) IS
'Undoes access.grant_platform_administrator, for transactions that start after the COMMIT returned. Permission: a service, while no user acts. Returns false when the user was none. Errors: service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.revoke_platform_administrator(uuid) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.is_platform_administrator() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_is_platform_administrator';
COMMENT ON FUNCTION access.is_platform_administrator() IS
'Whether a platform administrator acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.is_platform_administrator() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.list_organizations(OUT id uuid, OUT name text, OUT state text, OUT created_at timestamptz)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.id, o.name, o.state, o.created_at FROM access.organizations o WHERE access.is_platform_administrator() ORDER BY o.created_at, o.id
$$;
COMMENT ON FUNCTION access.list_organizations() IS
'Every organization, for platform administrators; no rows for others. Permission: platform administrators.';
ALTER FUNCTION access.list_organizations() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.list_organizations() TO backoffice_service, backoffice_definer;

SELECT access.define_permission('access.manage_teams', 'make teams, put members into them');
SELECT events.define_topic('access.teams', 'team id', '7 days', 6, 'out', 'Teams: team.created, team.updated, team.deleted, team.member.added, team.member.removed.');
SELECT events.define_schema('access.teams', NULL, '{
    "type": "object",
    "required": ["teamId"],
    "properties": {
        "teamId": {"type": "string"},
        "userId": {"type": "string"},
        "name": {"type": "string"},
        "by": {"type": "string"}
    },
    "additionalProperties": false
}');
