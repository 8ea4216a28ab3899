CREATE OR REPLACE FUNCTION access.oidc_begin(issuer text, redirect_uri text, organization uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_oidc_begin';
COMMENT ON FUNCTION access.oidc_begin(text, text, uuid) IS
'Begins a log-in at an OpenID provider (authorization code, PKCE S256). redirect_uri: where the provider sends the browser with the code; organization: for which the user wants to act. Returns {"url": where to send the browser, "state": to be bound to that browser by a cookie, "expires_in": seconds}. Permission: anonymous. Errors: unknown_issuer, issuer_not_ready, bad_redirect_uri, missing_argument.';
GRANT EXECUTE ON FUNCTION access.oidc_begin(text, text, uuid) TO backoffice_service, backoffice_definer, backoffice_gateway;

CREATE OR REPLACE FUNCTION access.oidc_pending(state text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_oidc_pending';
COMMENT ON FUNCTION access.oidc_pending(text) IS
'What the exchange of the code needs, once: {"issuer", "redirect_uri", "token_endpoint", "client_id", "client_secret" (if the client has one), "code_verifier"}. Commit it before the exchange. Permission: EXECUTE (backoffice_gateway). Errors: unknown_login, missing_argument.';
GRANT EXECUTE ON FUNCTION access.oidc_pending(text) TO backoffice_gateway;

CREATE OR REPLACE FUNCTION access.oidc_complete(state text, id_token text, access_token text DEFAULT NULL, device_info jsonb DEFAULT NULL, ip inet DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_oidc_complete';
COMMENT ON FUNCTION access.oidc_complete(text, text, text, jsonb, inet) IS
'Ends a log-in with the tokens that the code was exchanged for, once: checks them, finds the user or takes it in, maps its roles (those of the access token, where it is a JWT of the issuer), starts a session. device_info, ip: as of access.login(). Returns what access.login() does; status denied: the user is disabled, or asked for another organization than the one the issuer speaks for. Permission: EXECUTE (backoffice_gateway). Errors: unknown_login, those of access.authenticate, not_a_member, bad_device_info, missing_argument.';
GRANT EXECUTE ON FUNCTION access.oidc_complete(text, text, text, jsonb, inet) TO backoffice_gateway;

CREATE OR REPLACE FUNCTION access.backchannel_logout(logout_token text) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_backchannel_logout';
COMMENT ON FUNCTION access.backchannel_logout(text) IS
'An OpenID provider tells that a session there, or all of a subject''s, ended: our sessions that began with it end, and its access tokens are refused. Over HTTP every error is answered with 400. Permission: anonymous; the token is the right. Returns how many sessions ended. Errors: logout_token_replayed, those of access.authenticate about tokens, missing_argument.';
GRANT EXECUTE ON FUNCTION access.backchannel_logout(text) TO backoffice_service, backoffice_definer, backoffice_gateway;
