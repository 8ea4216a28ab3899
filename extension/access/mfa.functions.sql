CREATE OR REPLACE FUNCTION access.mfa_enroll(label text DEFAULT 'authenticator') RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_enroll';
COMMENT ON FUNCTION access.mfa_enroll(text) IS
'Begins to enroll an authenticator application for the acting user: {factor_id, secret (base32), otpauth_uri (for the QR code)}, shown this once. It counts from access.mfa_activate() on; one that was not activated is replaced by the next. label: 1 to 100 bytes. Needs a log-in within backoffice.fresh_login_period, and a session with second factor if the user has one already. Permission: any user. Errors: other_organization, no_principal, user_only, no_session, session_ended, login_not_fresh, aal2_required, too_many_factors, bad_label.';
GRANT EXECUTE ON FUNCTION access.mfa_enroll(text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.mfa_activate(factor uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_activate';
COMMENT ON FUNCTION access.mfa_activate(uuid, text) IS
'Activates an enrolled authenticator by its first code, and raises the session to aal2. Returns what access.login does, with new tokens (the session''s former refresh tokens are void), and recovery_codes (of the first factor; shown this once, else empty); or status denied (wrong code) or locked (too many wrong codes) with retry_after_s. From now on the user has permissions only in sessions of aal2. Permission: any user. Errors: other_organization, unknown_factor, factor_active, aal2_required, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_activate(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.mfa_verify(code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_verify';
COMMENT ON FUNCTION access.mfa_verify(text) IS
'Shows a second factor: a code of one of the acting user''s authenticators (each code once) or a recovery code (each once), and raises the session to aal2. Returns what access.login does, with new tokens (the session''s former refresh tokens are void), or status denied (wrong or used code) or locked (too many wrong codes) with retry_after_s: results, so that their events commit. Permission: any user. Errors: no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_verify(text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.mfa_disable(factor uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_disable';
COMMENT ON FUNCTION access.mfa_disable(uuid, text) IS
'Removes one of the acting user''s authenticators; the code is of any active one, or a recovery code. With the last one the recovery codes go. Returns {"status": "ok"}, or denied, or locked with retry_after_s. Permission: any user. Errors: other_organization, unknown_factor, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_disable(uuid, text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.mfa_recovery_codes(code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_recovery_codes';
COMMENT ON FUNCTION access.mfa_recovery_codes(text) IS
'Makes new recovery codes, which replace the old ones: {"status": "ok", recovery_codes}, shown this once; or denied, or locked with retry_after_s. code: as of access.mfa_verify. Permission: any user. Errors: other_organization, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_recovery_codes(text) TO backoffice_service, backoffice_definer;

CREATE OR REPLACE FUNCTION access.reset_mfa("user" uuid) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_reset_mfa';
COMMENT ON FUNCTION access.reset_mfa(uuid) IS
'Removes all second factors and recovery codes of a user who has lost them. Returns how many factors there were. Permission: a service, while no user acts. Errors: service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.reset_mfa(uuid) TO backoffice_service;

CREATE OR REPLACE FUNCTION access.totp(seed bytea, at timestamptz, digits integer DEFAULT 6) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'access_totp';
COMMENT ON FUNCTION access.totp(bytea, timestamptz, integer) IS
'What an authenticator with this seed shows at a time (RFC 6238, HMAC-SHA-1, 30 seconds; 6 to 8 digits). For tests. Permission: internal.';
