CREATE OR REPLACE FUNCTION access.invite(email text, role text DEFAULT 'member', valid interval DEFAULT '7 days', organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_invite';
COMMENT ON FUNCTION access.invite(text, text, interval, uuid) IS
'Asks the person with this e-mail address to join the organization with a role; the answer does not tell whether there is such a user. Asked again, role and end are changed. valid: how long, up to 366 days. Permission: access.manage_members and every right of the role; without principal a service. Returns the invitation''s id. Errors: bad_email, already_member, unknown_role, beyond_own_rights, bad_valid_until, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.invite(text, text, interval, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.withdraw_invitation(invitation uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_withdraw_invitation';
COMMENT ON FUNCTION access.withdraw_invitation(uuid, uuid) IS
'Takes an invitation back. Returns false when there is none (any more). Permission: access.manage_members; without principal a service. Errors: no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.withdraw_invitation(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.accept_invitation(invitation uuid) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_accept_invitation';
COMMENT ON FUNCTION access.accept_invitation(uuid) IS
'Makes the acting user a member of the organization that invited its e-mail address, with the role offered. Permission: any user. Returns the organization. Errors: unknown_invitation, user_only, no_principal, missing_argument.';
GRANT EXECUTE ON FUNCTION access.accept_invitation(uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.my_invitations() RETURNS TABLE (id uuid, organization_id uuid, organization text, role text, created_at timestamptz, expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.id, i.organization_id, o.name, i.role, i.created_at, i.expires_at
    FROM access.users u
    JOIN access.invitations i ON lower(i.email) = lower(u.email) AND i.expires_at > backoffice.now()
    JOIN access.organizations o ON o.id = i.organization_id AND o.state = 'active'
    WHERE u.id = backoffice.current_user_id() AND backoffice.within_bounds(i.organization_id)
    -- As accept_invitation(): what one organization's provider says of addresses is nothing to another.
    AND (u.email_said_by IS NULL OR u.email_said_by = i.organization_id)
    ORDER BY i.id
$$;
ALTER FUNCTION access.my_invitations() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.my_invitations() IS
'Invitations to the acting user''s e-mail address, of all organizations; where the address was said by the OpenID provider of one organization (without link_by_email), of that one only. Permission: any user.';
GRANT EXECUTE ON FUNCTION access.my_invitations() TO backoffice_service, backoffice_definer;
