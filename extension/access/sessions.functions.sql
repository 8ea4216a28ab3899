CREATE OR REPLACE FUNCTION access.login(email text, password text, organization uuid DEFAULT NULL, device_info jsonb DEFAULT NULL, ip inet DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_login';
COMMENT ON FUNCTION access.login(text, text, uuid, jsonb, inet) IS
'Logs a user in by password and starts a session. organization: the one the tokens are for (default: the first the user belongs to); device_info: what the user will recognize the device by, an object of at most 4 kB (user_agent is kept apart); ip: the client''s address. Returns {"status": "ok", access_token, token_type, expires_in (s), refresh_token, session_id, aal, mfa: {required, factors}, user: {id, email, organization_id, organizations}}, or status denied (unknown user, wrong password, disabled: not told apart), locked (too many failures for this account), throttled (for this address) or busy (too many passwords being hashed), with retry_after_s: results, so that their events commit. Pass the password as a parameter, so that it does not get into logs. Permission: anonymous. Errors: not_a_member, bad_device_info, missing_argument.';
GRANT EXECUTE ON FUNCTION access.login(text, text, uuid, jsonb, inet) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.refresh(refresh_token text, ip inet DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_refresh';
COMMENT ON FUNCTION access.refresh(text, inet) IS
'Trades a refresh token for the next one, and a new access token. Returns what access.login does, or status invalid (no token of a living session), expired (the session''s time is over) or reused (the token is older than the one before the current: it was copied, and the session has ended; commit that). The token before the current one gets the current one again. Permission: anonymous. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION access.refresh(text, inet) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.logout() RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_logout';
COMMENT ON FUNCTION access.logout() IS
'Ends the session that acts; its access tokens count no more in transactions that start after the COMMIT. Returns false when it had ended already. Permission: any user. Errors: no_principal, user_only, no_session.';
GRANT EXECUTE ON FUNCTION access.logout() TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.logout_all() RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_logout_all';
COMMENT ON FUNCTION access.logout_all() IS
'Ends all sessions of the acting user, the one that acts among them (those for one organization, where that alone vouches for the user). Returns how many. Permission: any user. Errors: no_principal, user_only.';
GRANT EXECUTE ON FUNCTION access.logout_all() TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.end_session(session uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_end_session';
COMMENT ON FUNCTION access.end_session(uuid) IS
'Ends one of the acting user''s own sessions, or with the permission access.manage_members one that is for the organization acted for; without principal a service ends any. Returns false when it had ended already. Permission: any user. Errors: unknown_session, no_principal, service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.end_session(uuid) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.session_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_session_id';
COMMENT ON FUNCTION access.session_id() IS
'The session that acts in this transaction; NULL when none does. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.session_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION access.me() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_me';
COMMENT ON FUNCTION access.me() IS
'Who acts: {user: {id, email, created_at, has_password}, organization: {id, name}, organizations, roles, permissions, session: {id, aal, amr, created_at, expires_at}, factors, recovery_codes_left}; null where there is none. Permission: any user. Errors: no_principal.';
GRANT EXECUTE ON FUNCTION access.me() TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.change_password(old text, new text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_change_password';
COMMENT ON FUNCTION access.change_password(text, text) IS
'Changes the acting user''s password and ends all their other sessions. Returns {"status": "ok"}, or denied (the old one is wrong), locked (too often) or busy, with retry_after_s: results, so that their events commit. Pass passwords as parameters, so that they do not get into logs. Permission: any user. Errors: password_too_short, password_too_long, aal2_required, other_organization, busy, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.change_password(text, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.set_password("user" uuid, password text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_password';
COMMENT ON FUNCTION access.set_password(uuid, text) IS
'Gives a user a new password, after the service has made sure by other means who asks, and ends all their sessions. Permission: a service, while no user acts. Errors: unknown_user, password_too_short, password_too_long, busy, service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_password(uuid, text) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.password_hashing() RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_password_hashing';
COMMENT ON FUNCTION access.password_hashing() IS
'How busy the hashing of passwords is: {hashes (since the server started), running (now), most_at_once (since then)}. Permission: backoffice_worker, backoffice_admin.';
GRANT EXECUTE ON FUNCTION access.password_hashing() TO backoffice_worker, backoffice_admin;

CREATE OR REPLACE VIEW access.my_sessions WITH (security_invoker = true) AS
SELECT s.id, s.for_organization AS organization_id, s.device_info, s.ip, s.user_agent, s.created_at, s.authenticated_at, s.last_seen_at, s.expires_at,
       'aal' || s.aal AS aal, s.amr
FROM access.sessions s
WHERE s.user_id = backoffice.current_user_id() AND backoffice.within_bounds(s.for_organization) AND s.state = 'active' AND s.expires_at > backoffice.now()
ORDER BY s.last_seen_at DESC, s.id;
COMMENT ON VIEW access.my_sessions IS
'The acting user''s sessions that have not ended (those for one organization, where that alone vouches for the user). Permission: any user.';
GRANT SELECT ON access.my_sessions TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.member_sessions(OUT id uuid, OUT user_id uuid, OUT email text, OUT device_info jsonb, OUT ip inet, OUT created_at timestamptz,
                                                  OUT last_seen_at timestamptz, OUT expires_at timestamptz, OUT aal text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.id, s.user_id, u.email, s.device_info, s.ip, s.created_at, s.last_seen_at, s.expires_at, 'aal' || s.aal
    FROM access.sessions s
    JOIN access.memberships m ON m.organization_id = s.for_organization AND m.user_id = s.user_id
    JOIN access.users u ON u.id = s.user_id
    WHERE s.for_organization = backoffice.current_organization() AND s.state = 'active' AND s.expires_at > backoffice.now()
      AND access.can('access.manage_members')
    ORDER BY s.last_seen_at DESC, s.id
$$;
COMMENT ON FUNCTION access.member_sessions() IS
'The sessions that members have for the organization acted for, to be ended with access.end_session(). Permission: access.manage_members, else no rows.';
ALTER FUNCTION access.member_sessions() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.member_sessions() TO backoffice_service, backoffice_definer;

SELECT events.define_topic('access.users', 'user id', '7 days', 6, 'out', 'Users: user.created, user.updated, user.logged_in.');
SELECT events.define_schema('access.users', NULL, '{
    "type": "object",
    "required": ["userId"],
    "properties": {
        "userId": {"type": "string"},
        "email": {"type": "string"},
        "state": {"enum": ["active", "disabled"]},
        "changed": {"type": "array", "items": {"type": "string"}},
        "sessionId": {"type": "string"},
        "method": {"type": "string"},
        "ip": {"type": "string"},
        "by": {"type": "string"}
    },
    "additionalProperties": false
}');
