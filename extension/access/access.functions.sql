CREATE OR REPLACE FUNCTION access.act_as(organization uuid, "user" uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_act_as';
COMMENT ON FUNCTION access.act_as(uuid, uuid) IS
'Sets who acts in this transaction: a user of an organization, or without "user" a trusted service that may do everything in it. Once per transaction; the end of the transaction clears it, rolling back to an earlier savepoint unsets it. Permission: EXECUTE (backoffice_service). Errors: unknown_organization, organization_suspended, unknown_user, user_disabled, not_a_member, membership_suspended, principal_already_set, missing_argument.';
GRANT EXECUTE ON FUNCTION access.act_as(uuid, uuid) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.organization_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_organization';
COMMENT ON FUNCTION access.organization_id() IS
'The organization acted for in this transaction; NULL when nobody acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.organization_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.user_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_user_id';
COMMENT ON FUNCTION access.user_id() IS
'The user who acts in this transaction; NULL when nobody or a service acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.user_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.can(permission text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_can_sql';
COMMENT ON FUNCTION access.can(text) IS
'Whether the acting user has a permission in its organization: true for a service, false when nobody acts or no such permission is defined. The same answer for the whole transaction. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.can(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.require(permission text) RETURNS void
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_require_sql';
COMMENT ON FUNCTION access.require(text) IS
'Does nothing when access.can(permission), raises otherwise. Permission: any backoffice role. Errors: no_principal, permission_denied, aal2_required, unknown_permission, missing_argument.';
GRANT EXECUTE ON FUNCTION access.require(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.create_organization(name text, owner uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_organization';
COMMENT ON FUNCTION access.create_organization(text, uuid) IS
'Makes an organization with the default roles; owner: a user who becomes its member with the role owner. name: not blank, at most 200 bytes; need not be unique. Permission: platform administrators; a service, while no user acts. Returns its id. Errors: service_only, bad_organization_name, unknown_user, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_organization(text, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.set_organization_state(organization uuid, state text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_organization_state';
COMMENT ON FUNCTION access.set_organization_state(uuid, text) IS
'Suspends an organization (state suspended: nobody can act for it any more) or takes it back into service (active). Permission: platform administrators; a service, while no user acts. Errors: service_only, unknown_organization, bad_state, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_organization_state(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.create_user(email text, password text DEFAULT NULL, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_user';
COMMENT ON FUNCTION access.create_user(text, text, uuid) IS
'Makes a user, and a member of the organization (by default the one acted for, if any). email: unique, upper and lower case alike; password: kept as an Argon2id hash, NULL for users who log in by other means; pass it as a parameter, so that it does not get into logs. Permission: access.manage_members; without principal a service. Returns the id. Errors: bad_email, email_taken, password_too_short, password_too_long, no_principal, permission_denied, other_organization, unknown_organization, service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_user(text, text, uuid) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.set_user_state("user" uuid, state text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_user_state';
COMMENT ON FUNCTION access.set_user_state(uuid, text) IS
'Disables a user in every organization (state disabled) or undoes that (active). Permission: a service, while no user acts. Errors: service_only, unknown_user, bad_state, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_user_state(uuid, text) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.add_member(organization uuid, "user" uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_add_member';
COMMENT ON FUNCTION access.add_member(uuid, uuid) IS
'Makes a user a member of an organization; nothing happens when it is one. A user who acts can add newcomers only (users of no organization); a service can add anybody. Permission: access.manage_members; without principal a service. Errors: unknown_user, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.add_member(uuid, uuid) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.remove_member(organization uuid, "user" uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_remove_member';
COMMENT ON FUNCTION access.remove_member(uuid, uuid) IS
'Ends a membership with all its roles; the user stays. Permission: access.manage_members and every right the member has; without principal a service. Returns false when the user was no member. Errors: last_owner, beyond_own_rights, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.remove_member(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.define_role(name text, permissions text[], inherits text[] DEFAULT '{}', organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_role';
COMMENT ON FUNCTION access.define_role(text, text[], text[], uuid) IS
'Makes or redefines a role of an organization (by default the one acted for). permissions: names, context.* for all of a context, * for all, also those defined later (a name that nobody defined is defined by the way when backoffice_admin or a superuser calls, not for a user); inherits: roles whose permissions it has too. Permission: access.manage_roles and every right of the role, as it was and as it will be; without principal a service. Errors: bad_role_name, unknown_permission, unknown_role, role_cycle, bad_list, owner_role, beyond_own_rights, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_role(text, text[], text[], uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.grant_role("user" uuid, role text, valid_until timestamptz DEFAULT NULL, organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_grant_role';
COMMENT ON FUNCTION access.grant_role(uuid, text, timestamptz, uuid) IS
'Gives a member a role, until valid_until or until revoked; when a service calls, a user of no organization becomes a member. Given again, only valid_until changes. Permission: access.manage_roles and every right of the role; without principal a service. Errors: unknown_user, unknown_role, bad_valid_until, last_owner, beyond_own_rights, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.grant_role(uuid, text, timestamptz, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.revoke_role("user" uuid, role text, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_revoke_role';
COMMENT ON FUNCTION access.revoke_role(uuid, text, uuid) IS
'Takes a role away: transactions that start after this one''s COMMIT returned do not have its rights, those open by then keep them. Permission: access.manage_roles and every right of the role; without principal a service. Returns false when the user did not have it. Errors: unknown_role, last_owner, beyond_own_rights, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.revoke_role(uuid, text, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.define_permission(name text, description text, aal2 boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_permission';
COMMENT ON FUNCTION access.define_permission(text, text, boolean) IS
'Registers a permission, or changes its description and whether it demands a second factor. name: context.verb; aal2: users have it only in sessions with a second factor (elsewhere access.require() raises aal2_required). Roles with context.* or * have it at once. Permission: EXECUTE (backoffice_admin). Errors: bad_permission_name, too_many_permissions, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_permission(text, text, boolean) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.define_default_role(name text, permissions text[], inherits text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_default_role';
COMMENT ON FUNCTION access.define_default_role(text, text[], text[]) IS
'Adds or changes a role that organizations made from now on start with; arguments as of access.define_role. Permission: EXECUTE (backoffice_admin). Errors: bad_role_name, built_in_role, unknown_permission, bad_list, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_default_role(text, text[], text[]) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.permission_matches(name text, pattern text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_permission_matches';
COMMENT ON FUNCTION access.permission_matches(text, text) IS
'Whether a pattern (a permission''s name, context.* or *) stands for a permission. Permission: internal.';
GRANT EXECUTE ON FUNCTION access.permission_matches(text, text) TO backoffice_definer, backoffice_kernel;

CREATE OR REPLACE VIEW access.members WITH (security_invoker = true) AS
SELECT m.organization_id, m.user_id, u.email, m.state, u.state AS user_state, m.created_at,
       ARRAY(SELECT g.role FROM access.role_grants g
             WHERE g.organization_id = m.organization_id AND g.user_id = m.user_id
               AND (g.valid_until IS NULL OR g.valid_until > backoffice.now())
             ORDER BY g.role) AS roles
FROM access.memberships m
JOIN access.users u ON u.id = m.user_id
WHERE m.organization_id = backoffice.current_organization() AND access.can('access.read');
COMMENT ON VIEW access.members IS
'The members of the organization acted for, with the roles they hold now. Permission: access.read, else no rows.';
GRANT SELECT ON access.members TO backoffice_service, backoffice_definer;

SELECT events.define_topic('access.audit', 'user id, or what else it is about', '365 days', 1, 'internal', 'What matters to security: rights, members, log-ins, sessions, second factors.');
SELECT access.define_permission('access.read', 'see members and roles');
SELECT access.define_permission('access.manage_members', 'create users, add and remove members');
SELECT access.define_permission('access.manage_roles', 'define, grant and revoke roles');
SELECT access.define_default_role('owner', ARRAY['*']);
SELECT access.define_default_role('administrator', ARRAY['access.*']);
SELECT access.define_default_role('member', ARRAY['access.read']);
