-- api: what HTTP exposes. See docs/api.md.
-- Every function is api_call() in C (extension/api/call.c); what it does stands beside its name in *_operations.c.

SELECT access.define_permission('events.read', 'listen to events');

CREATE OR REPLACE FUNCTION api.pre_request() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_pre_request';
COMMENT ON FUNCTION api.pre_request() IS
'For an unmodified PostgREST (db-pre-request = api.pre_request): sets who acts by the bearer token in request.headers, which is verified here, and by the header X-Organization-Id. Does nothing without a token. Permission: anonymous. Errors: as access.authenticate.';
GRANT EXECUTE ON FUNCTION api.pre_request() TO backoffice_anon, backoffice_user, backoffice_service;

-- ---- log-in, sessions, second factors ----

CREATE OR REPLACE FUNCTION api.login(email text, password text, organization_id uuid DEFAULT NULL, device_info jsonb DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.login(text, text, uuid, jsonb) IS
'Logs a user in by password. organization_id: for which the tokens are (NULL: the first the user belongs to); device_info: what the user will recognize the device by, an object of at most 4 kB. Returns access_token, token_type, expires_in (s), refresh_token, session_id, aal, mfa (required, factors), user (id, email, organization_id, organizations); or status 401 and code invalid_credentials, 429 account_locked or address_throttled, 503 busy, with Retry-After. Permission: anonymous. Route: POST /auth/login. Errors: not_a_member, bad_device_info, missing_argument.';
GRANT EXECUTE ON FUNCTION api.login(text, text, uuid, jsonb) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.refresh(refresh_token text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.refresh(text) IS
'Trades a refresh token for the next one and a new access token. Returns as login; or status 401 and code refresh_token_invalid, session_expired, or refresh_token_reused, which ends the session. Permission: anonymous. Route: POST /auth/refresh. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION api.refresh(text) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.logout() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.logout() IS
'Ends the session that acts. Returns ended (false: had ended). Permission: any user. Route: POST /auth/logout. Errors: no_session.';
GRANT EXECUTE ON FUNCTION api.logout() TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.logout_all() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.logout_all() IS
'Ends all sessions of the acting user. Returns ended (how many). Permission: any user. Route: POST /auth/logout-all.';
GRANT EXECUTE ON FUNCTION api.logout_all() TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.me() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.me() IS
'Who acts. Returns user, organization, organizations, roles, permissions, session, factors, recovery_codes_left. Permission: any user. Route: GET /auth/me.';
GRANT EXECUTE ON FUNCTION api.me() TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.sessions() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.sessions() IS
'The acting user''s sessions that have not ended, the last seen first. Returns items (id, current, organization_id, device_info, ip, user_agent, aal, amr, created_at, authenticated_at, last_seen_at, expires_at) and next (null: one page). Permission: any user. Route: GET /auth/sessions.';
GRANT EXECUTE ON FUNCTION api.sessions() TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.end_session(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.end_session(uuid) IS
'Ends one of the acting user''s sessions, or with access.manage_members one for the organization acted for. Returns id, ended (false: had ended). Permission: any user. Route: DELETE /auth/sessions/{id}. Errors: unknown_session.';
GRANT EXECUTE ON FUNCTION api.end_session(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.change_password(old_password text, new_password text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.change_password(text, text) IS
'Changes the acting user''s password and ends the other sessions. Returns an empty object; or status 403 and code wrong_password, 429 account_locked, 503 busy. Permission: any user. Route: POST /auth/password. Errors: password_too_short, password_too_long, aal2_required, no_session.';
GRANT EXECUTE ON FUNCTION api.change_password(text, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.mfa_enroll(label text DEFAULT 'authenticator') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_enroll(text) IS
'Begins to enroll an authenticator application. label: 1 to 100 bytes. Returns factor_id, secret (base32), otpauth_uri, shown this once. Permission: any user. Route: POST /auth/mfa/enroll. Errors: login_not_fresh, aal2_required, too_many_factors, bad_label, no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_enroll(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.mfa_activate(factor_id uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_activate(uuid, text) IS
'Activates an enrolled authenticator by its first code. Returns as login, with recovery_codes, shown this once; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/activate. Errors: unknown_factor, factor_active, aal2_required, no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_activate(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.mfa_verify(code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_verify(text) IS
'Shows a second factor (a code, or a recovery code), and raises the session to aal2. Returns as login; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/verify. Errors: no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_verify(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.mfa_disable(factor_id uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_disable(uuid, text) IS
'Removes an authenticator. code: of any active one, or a recovery code. Returns an empty object; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/disable. Errors: unknown_factor, no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_disable(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.mfa_recovery_codes(code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_recovery_codes(text) IS
'Makes new recovery codes in the place of the old ones. code: as of mfa_verify. Returns recovery_codes, shown this once; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/recovery-codes. Errors: no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_recovery_codes(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.oidc_begin(issuer text, redirect_uri text, organization_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.oidc_begin(text, text, uuid) IS
'Begins a log-in at an OpenID provider. issuer: its URL; redirect_uri: where the provider sends the browser with the code; organization_id: for which the user wants to act. Returns url (where to send the browser), state (to be bound to that browser), expires_in (s). Permission: anonymous. Route: POST /auth/oidc/begin. Errors: unknown_issuer, issuer_not_ready, bad_redirect_uri, missing_argument.';
GRANT EXECUTE ON FUNCTION api.oidc_begin(text, text, uuid) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.backchannel_logout(logout_token text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.backchannel_logout(text) IS
'An OpenID provider tells that a session there ended: ours that began with it end. Returns ended (how many). Permission: anonymous. Route: POST /auth/oidc/backchannel-logout. Errors: logout_token_replayed, those of tokens, missing_argument.';
GRANT EXECUTE ON FUNCTION api.backchannel_logout(text) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.jwks() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.jwks() IS
'Public keys of access tokens, a JWK set (RFC 7517). Returns keys. Permission: anonymous. Route: GET /.well-known/jwks.json.';
GRANT EXECUTE ON FUNCTION api.jwks() TO backoffice_anon, backoffice_user, backoffice_service;

-- ---- certificates ----

CREATE OR REPLACE FUNCTION api.reserve_next_certificate(pool text, channel text, order_ref text DEFAULT NULL, hold_s int DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.reserve_next_certificate(text, text, text, int) IS
'Reserves the next certificate of a pool. pool: code or id; channel: who sells it, e.g. internet_store or pos; order_ref: the order it is for; hold_s: seconds that the reservation lasts (NULL: the pool''s). Returns id, state, pool, face_value_minor, currency, hold_until with status 201 and Location (200 for a GET); for an empty pool status 409 and code pool_empty, and issue.blocked is committed. Permission: certificates.reserve. Route: POST /certificates/reservations, GET /certificates/next. Errors: pool_not_found, pool_paused, pool_closed, invalid_hold, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.reserve_next_certificate(text, text, text, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.certificate(id uuid) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.certificate(uuid) IS
'A certificate, without code and CVC. Returns id, pool, state, currency, face_value_minor, balance_minor, held_minor, available_minor, code_last4, channel, order_ref, client_ref, version, created_at, hold_until, issued_at, activated_at, valid_until, replaced_by. Permission: certificates.read. Route: GET /certificates/{id}. Errors: certificate_not_found.';
GRANT EXECUTE ON FUNCTION api.certificate(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.certificate_cvc(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.certificate_cvc(uuid) IS
'The CVC of a certificate for which notification.requested was emitted; emits audit.cvc_revealed. Returns id, cvc. Permission: certificates.reveal_cvc. Route: GET /certificates/{id}/cvc. Errors: certificate_not_found, notification_not_requested, cvc_destroyed.';
GRANT EXECUTE ON FUNCTION api.certificate_cvc(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.notify_certificate(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.notify_certificate(uuid) IS
'Asks that the client is sent the CVC: emits notification.requested. Returns id, status. Permission: certificates.notify. Route: POST /certificates/{id}/notify. Errors: certificate_not_found, not_issued.';
GRANT EXECUTE ON FUNCTION api.notify_certificate(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.release_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.release_certificate(uuid, text) IS
'Gives a reservation back. reason: told in the event. Returns id, state (available; voided if its code was shown). Permission: certificates.release. Route: POST /certificates/{id}/release. Errors: certificate_not_found, not_reserved.';
GRANT EXECUTE ON FUNCTION api.release_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.issue_certificate(id uuid, order_ref text DEFAULT NULL, client_ref text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.issue_certificate(uuid, text, text) IS
'Sells a reserved certificate and shows its code. order_ref, client_ref: whose it is (NULL keeps what the reservation said). Returns id, state, code, face_value_minor, balance_minor, currency, valid_until. Permission: certificates.issue. Route: POST /certificates/{id}/issue. Errors: certificate_not_found, illegal_transition, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.issue_certificate(uuid, text, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.certificate_code(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.certificate_code(uuid) IS
'The code of a certificate that is reserved or sold, e.g. to print it, or of a successor; emits audit.code_disclosed. A certificate whose code was shown never returns to its pool. Returns id, code. Permission: certificates.disclose_code. Route: GET /certificates/{id}/code. Errors: certificate_not_found, not_reserved.';
GRANT EXECUTE ON FUNCTION api.certificate_code(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.activate_certificate(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.activate_certificate(uuid) IS
'Makes an issued certificate redeemable where its pool asks for that; once more changes nothing. Returns id, state. Permission: certificates.issue. Route: POST /certificates/{id}/activate. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION api.activate_certificate(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.hold_certificate(id uuid, amount_minor bigint, hold_s int DEFAULT 1800, channel text DEFAULT NULL, order_ref text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.hold_certificate(uuid, bigint, int, text, text) IS
'Holds money on a certificate: it counts against what is available at once, until captured, released, or hold_s seconds (at most 366 days) are over. amount_minor: minor units of its currency. Returns as redemption with status 201 and Location. Permission: certificates.redeem. Route: POST /certificates/{id}/holds. Errors: invalid_amount, invalid_ttl, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance.';
GRANT EXECUTE ON FUNCTION api.hold_certificate(uuid, bigint, int, text, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.redemption(id uuid) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.redemption(uuid) IS
'A hold or a redemption. Returns id, certificate_id, state (authorized, captured, released, expired, partially_refunded, refunded), amount_minor (that was held or taken), captured_minor, refunded_minor, currency, channel, order_ref, available_minor (of the certificate), created_at, hold_until, captured_at. Permission: certificates.read. Route: GET /redemptions/{id}. Errors: redemption_not_found.';
GRANT EXECUTE ON FUNCTION api.redemption(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.capture_hold(id uuid, amount_minor bigint DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.capture_hold(uuid, bigint) IS
'Takes money that is held. id: of the hold; amount_minor: how much of it (NULL: all), the rest is free again. Once per hold. Returns as redeem_certificate. Permission: certificates.redeem. Route: POST /redemptions/{id}/capture. Errors: redemption_not_found, invalid_amount, hold_exceeded, hold_expired, already_captured, already_released, certificate_blocked.';
GRANT EXECUTE ON FUNCTION api.capture_hold(uuid, bigint) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.release_hold(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.release_hold(uuid) IS
'Gives a hold up: its money is available again. Returns as redeem_certificate. Permission: certificates.redeem. Route: POST /redemptions/{id}/release. Errors: redemption_not_found, hold_expired, already_captured, already_released.';
GRANT EXECUTE ON FUNCTION api.release_hold(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.redeem_certificate(id uuid, amount_minor bigint, channel text DEFAULT NULL, order_ref text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.redeem_certificate(uuid, bigint, text, text) IS
'Takes money from a certificate. amount_minor: minor units of its currency. Returns id (of the redemption), certificate_id, kind, state, amount_minor, balance_minor, available_minor, currency. Permission: certificates.redeem. Route: POST /certificates/{id}/redeem. Errors: invalid_amount, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance.';
GRANT EXECUTE ON FUNCTION api.redeem_certificate(uuid, bigint, text, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.refund_certificate(id uuid, amount_minor bigint, redemption_id uuid DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.refund_certificate(uuid, bigint, uuid, text) IS
'Gives redeemed money back to the certificate. amount_minor: minor units; redemption_id: of which redemption (NULL: of all). Returns as redeem_certificate. Permission: certificates.refund. Route: POST /certificates/{id}/refund. Errors: invalid_amount, certificate_not_found, redemption_not_found, not_refundable, refund_exceeds_redeemed.';
GRANT EXECUTE ON FUNCTION api.refund_certificate(uuid, bigint, uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.block_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.block_certificate(uuid, text) IS
'Stops a certificate. reason: told in the event, at most 500 bytes. Returns id, state, blocked_from (the state to return to). Permission: certificates.block. Route: POST /certificates/{id}/block. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION api.block_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.unblock_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.unblock_certificate(uuid, text) IS
'Returns a blocked certificate to the state before. Returns id, state. Permission: certificates.block. Route: POST /certificates/{id}/unblock. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION api.unblock_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.extend_certificate(id uuid, valid_until timestamptz) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.extend_certificate(uuid, timestamptz) IS
'Sets a new end of validity, still to come; an expired certificate is usable again. Returns id, state, valid_until. Permission: certificates.extend. Route: POST /certificates/{id}/extend. Errors: invalid_valid_until, certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION api.extend_certificate(uuid, timestamptz) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.replace_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.replace_certificate(uuid, text) IS
'Gives the money and validity of a lost certificate to a new one of the same pool, and ends it. reason: told in the event. Returns id, state, replaced_by (the successor, issued; certificate_code shows its code) with status 201 and Location; for an empty pool status 409 and code pool_empty, and issue.blocked is committed. Permission: certificates.replace. Route: POST /certificates/{id}/replace. Errors: certificate_not_found, illegal_transition, open_holds, pool_paused, pool_closed.';
GRANT EXECUTE ON FUNCTION api.replace_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.refund_purchase(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.refund_purchase(uuid, text) IS
'Ends a certificate whose buyer gets the money back: only while its full value is there and nothing is held. Returns id, state. Permission: certificates.refund. Route: POST /certificates/{id}/refund-purchase. Errors: certificate_not_found, illegal_transition, certificate_used.';
GRANT EXECUTE ON FUNCTION api.refund_purchase(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.void_purchase(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.void_purchase(uuid, text) IS
'Ends a certificate whose purchase was cancelled: only while its full value is there and nothing is held. Returns id, state. Permission: certificates.refund. Route: POST /certificates/{id}/void-purchase. Errors: certificate_not_found, illegal_transition, certificate_used.';
GRANT EXECUTE ON FUNCTION api.void_purchase(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.retry_order(order_ref text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.retry_order(text) IS
'Looks at an order of All_SalesOrder again, e.g. after a pool was filled. Returns order_ref, state. Permission: certificates.issue. Route: POST /orders/{order_ref}/retry. Errors: order_not_found.';
GRANT EXECUTE ON FUNCTION api.retry_order(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.check_certificate(code text, cvc text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.check_certificate(text, text) IS
'Is this the CVC of a sold certificate with this code? Returns valid, id (NULL when not). Failures are counted. Permission: certificates.verify_cvc. Route: POST /certificates/check. Errors: throttled.';
GRANT EXECUTE ON FUNCTION api.check_certificate(text, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.pools(after text DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.pools(text, int) IS
'Pools by code. after: next of the page before; max_items: 1 to 1000. Returns items (id, code, state, currency, face_value_minor, low_water, created_at) and next. Permission: certificates.read. Route: GET /pools. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.pools(text, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.pool(pool text) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.pool(text) IS
'A pool and what is in it. pool: code or id. Returns as an item of pools, and created, available, reserved, issued, terminal (numbers of certificates), outstanding_minor. Counts every certificate of the pool. Permission: certificates.read. Route: GET /pools/{pool}. Errors: pool_not_found.';
GRANT EXECUTE ON FUNCTION api.pool(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.create_pool(code text, currency text, face_value_minor bigint, validity_months int DEFAULT 12, low_water bigint DEFAULT 0, hold_s int DEFAULT 1800,
        requires_activation boolean DEFAULT false, destroy_cvc_after_delivery boolean DEFAULT false, cvc_digits int DEFAULT 4, code_format text DEFAULT 'any') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_pool(text, text, bigint, int, bigint, int, boolean, boolean, int, text) IS
'Makes an empty pool. code: its name within the organization; currency: ISO 4217; validity_months: from issue on; low_water: pool.low is emitted when so few are left; hold_s: seconds that a reservation lasts unless the caller says; requires_activation: issued certificates are activated separately; destroy_cvc_after_delivery: the encrypted CVC goes when it was delivered; cvc_digits: of generated CVCs, 3 to 6; code_format of imported codes: any, or checked. Returns as an item of pools, with status 201 and Location. Permission: certificates.manage_pools. Route: POST /pools. Errors: invalid_pool, pool_exists, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.create_pool(text, text, bigint, int, bigint, int, boolean, boolean, int, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.pause_pool(pool text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.pause_pool(text) IS
'Stops reservations from a pool; those made before stay. pool: code or id. Returns as an item of pools. Permission: certificates.manage_pools. Route: POST /pools/{pool}/pause. Errors: pool_not_found, pool_state.';
GRANT EXECUTE ON FUNCTION api.pause_pool(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.resume_pool(pool text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.resume_pool(text) IS
'Opens a paused pool again, in the state it was paused in. pool: code or id. Returns as an item of pools. Permission: certificates.manage_pools. Route: POST /pools/{pool}/resume. Errors: pool_not_found, pool_state.';
GRANT EXECUTE ON FUNCTION api.resume_pool(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.close_pool(pool text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.close_pool(text) IS
'Closes a pool for good: no reservations and no imports any more. pool: code or id. Returns as an item of pools. Permission: certificates.manage_pools. Route: POST /pools/{pool}/close. Errors: pool_not_found.';
GRANT EXECUTE ON FUNCTION api.close_pool(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.generate_codes(pool text, count int) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.generate_codes(text, int) IS
'Makes codes and CVCs for a pool. pool: code or id. Returns pool (as given), imported (how many). Permission: certificates.import. Route: POST /pools/{pool}/generate. Errors: pool_not_found, pool_closed, too_many_codes, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.generate_codes(text, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.import_codes(pool text, codes text[], cvcs text[] DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.import_codes(text, text[], text[]) IS
'Puts codes made elsewhere into a pool: all or none. pool: code or id; codes: 4 to 64 letters and digits each; cvcs: 3 to 8 digits each, in the same order (NULL: random ones are made). Returns pool (as given), imported (how many). The key is ignored: codes are not even kept as a hash, and the same ones again are refused. Permission: certificates.import. Route: POST /pools/{pool}/import. Errors: invalid_codes, pool_not_found, pool_closed, too_many_codes, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.import_codes(text, text[], text[]) TO backoffice_user, backoffice_service;

-- ---- administration ----

CREATE OR REPLACE FUNCTION api.members(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.members(uuid, int) IS
'Members of the organization by user id. after: next of the page before; max_items: 1 to 1000. Returns items (user_id, email, state, user_state, roles, created_at) and next. Permission: access.read. Route: GET /members. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.members(uuid, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.remove_member(user_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.remove_member(uuid) IS
'Ends a membership with all its roles. Returns user_id, removed. Permission: access.manage_members. Route: DELETE /members/{user_id}. Errors: unknown_user, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.remove_member(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.invite_member(email text, role text DEFAULT 'member') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.invite_member(text, text) IS
'Asks the person with this e-mail address to join with a role; the same answer whether there is such a user or not. Returns id, email, role with status 201 and Location. Permission: access.manage_members. Route: POST /invitations. Errors: bad_email, already_member, unknown_role, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.invite_member(text, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.invitations(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.invitations(uuid, int) IS
'Invitations of the organization that nobody has accepted. after: next of the page before; max_items: 1 to 1000. Returns items (id, email, role, invited_by, created_at, expires_at) and next. Permission: access.read. Route: GET /invitations. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.invitations(uuid, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.withdraw_invitation(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.withdraw_invitation(uuid) IS
'Takes an invitation back. Returns id, withdrawn. Permission: access.manage_members. Route: DELETE /invitations/{id}. Errors: unknown_invitation.';
GRANT EXECUTE ON FUNCTION api.withdraw_invitation(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.my_invitations() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.my_invitations() IS
'Invitations to the acting user''s e-mail address, of all organizations. Returns items (id, organization_id, organization, role, created_at, expires_at) and next (null: one page). Permission: any user. Route: GET /auth/invitations.';
GRANT EXECUTE ON FUNCTION api.my_invitations() TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.accept_invitation(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.accept_invitation(uuid) IS
'Makes the acting user a member of the organization that invited it, with the role offered. Returns organization_id. Permission: any user. Route: POST /auth/invitations/{id}/accept. Errors: unknown_invitation.';
GRANT EXECUTE ON FUNCTION api.accept_invitation(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.roles(after text DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.roles(text, int) IS
'Roles of the organization by name. after: next of the page before; max_items: 1 to 1000. Returns items (name, permissions, inherits, created_at) and next. Permission: access.read. Route: GET /roles. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.roles(text, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.define_role(name text, permissions text[], inherits text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.define_role(text, text[], text[]) IS
'Makes or redefines a role. permissions: names, context.* or *; inherits: roles whose permissions it has too. Returns name, permissions, inherits. Permission: access.manage_roles. Route: PUT /roles/{name}. Errors: bad_role_name, unknown_permission, unknown_role, role_cycle, bad_list, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.define_role(text, text[], text[]) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.grant_role(user_id uuid, role text, valid_until timestamptz DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.grant_role(uuid, text, timestamptz) IS
'Gives a member a role, until valid_until or until revoked. Returns user_id, role, valid_until. Permission: access.manage_roles. Route: PUT /members/{user_id}/roles/{role}. Errors: unknown_user, unknown_role, bad_valid_until, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.grant_role(uuid, text, timestamptz) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.revoke_role(user_id uuid, role text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.revoke_role(uuid, text) IS
'Takes a role away. Returns user_id, role, revoked (false: did not have it). Permission: access.manage_roles. Route: DELETE /members/{user_id}/roles/{role}. Errors: unknown_role, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.revoke_role(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.teams(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.teams(uuid, int) IS
'Teams of the organization and who is in them. after: next of the page before; max_items: 1 to 1000. Returns items (id, name, members, created_at) and next. Permission: access.read. Route: GET /teams. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.teams(uuid, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.create_team(name text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_team(text) IS
'Makes a team. name: 1 to 100 bytes, unique in the organization. Returns id, name with status 201 and Location. Permission: access.manage_teams. Route: POST /teams. Errors: bad_team_name, team_name_taken.';
GRANT EXECUTE ON FUNCTION api.create_team(text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.rename_team(id uuid, name text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.rename_team(uuid, text) IS
'Gives a team another name. Returns id, name. Permission: access.manage_teams. Route: PUT /teams/{id}. Errors: unknown_team, bad_team_name, team_name_taken.';
GRANT EXECUTE ON FUNCTION api.rename_team(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.delete_team(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.delete_team(uuid) IS
'Deletes a team; its members stay in the organization. Returns id, deleted. Permission: access.manage_teams. Route: DELETE /teams/{id}. Errors: unknown_team.';
GRANT EXECUTE ON FUNCTION api.delete_team(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.add_team_member(team_id uuid, user_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.add_team_member(uuid, uuid) IS
'Puts a member of the organization into a team. Returns team_id, user_id. Permission: access.manage_teams. Route: PUT /teams/{team_id}/members/{user_id}. Errors: unknown_team, unknown_user, too_many_teams.';
GRANT EXECUTE ON FUNCTION api.add_team_member(uuid, uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.remove_team_member(team_id uuid, user_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.remove_team_member(uuid, uuid) IS
'Takes a user out of a team. Returns team_id, user_id, removed (false: was not in it). Permission: access.manage_teams. Route: DELETE /teams/{team_id}/members/{user_id}.';
GRANT EXECUTE ON FUNCTION api.remove_team_member(uuid, uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.organizations(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.organizations(uuid, int) IS
'Every organization. after: next of the page before; max_items: 1 to 1000. Returns items (id, name, state, created_at) and next. Permission: platform administrator. Route: GET /organizations. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.organizations(uuid, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.create_organization(name text, owner_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_organization(text, uuid) IS
'Makes an organization with the default roles. name: not blank, at most 200 bytes; owner_id: a user who becomes its owner. Returns id, name with status 201 and Location. Permission: platform administrator. Route: POST /organizations. Errors: bad_organization_name, unknown_user.';
GRANT EXECUTE ON FUNCTION api.create_organization(text, uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.set_organization_state(id uuid, state text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.set_organization_state(uuid, text) IS
'Suspends an organization (suspended), or takes it back into service (active). Returns id, state. Permission: platform administrator. Route: PUT /organizations/{id}/state. Errors: unknown_organization, bad_state.';
GRANT EXECUTE ON FUNCTION api.set_organization_state(uuid, text) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.create_api_key(name text, scopes text[], expires_at timestamptz DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_api_key(text, text[], timestamptz) IS
'Makes a key for a machine, to be used as a bearer token. name: for people, 1 to 200 bytes; scopes: what it may do, permissions, context.* or *; expires_at: NULL: never. Returns id, key (shown this once) with status 201 and Location. Permission: access.manage_api_keys. Route: POST /api-keys. Errors: bad_api_key_name, bad_list, unknown_permission, bad_expires_at, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.create_api_key(text, text[], timestamptz) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.api_keys(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.api_keys(uuid, int) IS
'API keys of the organization, revoked ones too. after: next of the page before; max_items: 1 to 1000. Returns items (id, name, user_id, scopes, state, created_by, created_at, expires_at, last_used_at) and next. Permission: access.manage_api_keys. Route: GET /api-keys. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.api_keys(uuid, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.revoke_api_key(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.revoke_api_key(uuid) IS
'Ends an API key. Returns id, revoked. Permission: access.manage_api_keys. Route: DELETE /api-keys/{id}. Errors: unknown_api_key.';
GRANT EXECUTE ON FUNCTION api.revoke_api_key(uuid) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.audit(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.audit(uuid, int) IS
'What happened to the organization''s users and rights, the newest first. after: next of the page before; max_items: 1 to 1000. Returns items (id, type, occurred_at, data) and next. Permission: access.read_audit. Route: GET /audit. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.audit(uuid, int) TO backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.permissions() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.permissions() IS
'Every permission that a role can have. Returns items (name, description) and next (null: one page). Permission: access.read. Route: GET /permissions.';
GRANT EXECUTE ON FUNCTION api.permissions() TO backoffice_user, backoffice_service;

-- ---- the system ----

CREATE OR REPLACE FUNCTION api.health() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.health() IS
'Whether the server''s own workers run. Returns status (ok or degraded) and version. Permission: anonymous. Route: GET /rpc/health.';
GRANT EXECUTE ON FUNCTION api.health() TO backoffice_anon, backoffice_user, backoffice_service;

CREATE OR REPLACE FUNCTION api.event_topics() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.event_topics() IS
'Topics that whoever acts may listen to. Returns items (topic, description) and next (null: one page). Permission: events.read. Route: GET /events/topics.';
GRANT EXECUTE ON FUNCTION api.event_topics() TO backoffice_user, backoffice_service;
