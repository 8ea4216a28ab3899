CREATE OR REPLACE FUNCTION access.authenticate(token text, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_authenticate';
COMMENT ON FUNCTION access.authenticate(text, uuid) IS
'Verifies a token (an access token of ours, of an issuer or of a given key, or an API key) and sets who acts in this transaction, as access.act_as() does. token: without "Bearer "; organization: for which the user wants to act, NULL: the token''s, or the only one the user belongs to. Permission: any backoffice role; the token is the right. Returns the user, NULL for an API key without user and for tokens that name a role only. Errors: token_malformed, token_unknown_key, token_bad_signature, token_expired, token_not_yet_valid, token_wrong_issuer, token_wrong_audience, token_wrong_type, token_unknown_user, session_ended, api_key_unknown, api_key_expired, other_organization, not_a_member, membership_suspended, user_disabled, unknown_organization, organization_suspended, principal_already_set, missing_argument.';
GRANT EXECUTE ON FUNCTION access.authenticate(text, uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_gateway, backoffice_definer;

CREATE OR REPLACE FUNCTION access.begin_request(token text, organization uuid DEFAULT NULL, read_only boolean DEFAULT false,
        method text DEFAULT NULL, path text DEFAULT NULL, headers text DEFAULT NULL, cookies text DEFAULT NULL, callee oid DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_begin_request';
COMMENT ON FUNCTION access.begin_request(text, uuid, boolean, text, text, text, text, oid) IS
'Begins an HTTP request in this transaction: authenticates the token (NULL: nobody acts), sets the role (backoffice_user; backoffice.anon_role without a token; for a key with role_claim the role that the token claims), request.jwt.claims, request.method, request.path, request.headers (a JSON object with lower-case names), request.cookies, clears response.status and response.headers, and makes the transaction read-only if read_only; all until its end. callee: a function that the role must be allowed to execute: a plan that was prepared for another role would not ask again. Permission: EXECUTE (backoffice_gateway), and membership of the role to be set. Returns whom to count and log: user:<id>, apikey:<id>, subject:<key>/<subject>, role:<role> or anon. Errors: those of access.authenticate; 42501 and 22023 of SET ROLE; 42501 and 42883 for callee.';
GRANT EXECUTE ON FUNCTION access.begin_request(text, uuid, boolean, text, text, text, text, oid) TO backoffice_gateway;

CREATE OR REPLACE FUNCTION access.rotate_signing_key(alg text DEFAULT 'ES256') RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_rotate_signing_key';
COMMENT ON FUNCTION access.rotate_signing_key(text) IS
'Goes on to the next key for access tokens: the next one (published since the last rotation) becomes current, the current one is retired but verifies as long as its tokens live, and a new next one of the algorithm alg (RS256, PS256, ES256, EdDSA) is made. Permission: EXECUTE (backoffice_admin). Returns the key id that tokens are issued with from now on. Errors: bad_algorithm, missing_argument.';
GRANT EXECUTE ON FUNCTION access.rotate_signing_key(text) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.jwks() RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
SELECT jsonb_build_object('keys', COALESCE(jsonb_agg(k.public_key || jsonb_build_object('kid', k.kid, 'alg', k.alg, 'use', 'sig')
                                                     ORDER BY k.created_at DESC, k.kid DESC), '[]'))
FROM access.token_keys k
WHERE k.kind = 'own' AND (k.verify_until IS NULL OR k.verify_until > backoffice.now())
$$;
ALTER FUNCTION access.jwks() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.jwks() IS
'The public keys of our own access tokens as a JWK set (RFC 7517): the next, the current, and retired ones whose tokens may still be used. Empty before the first token was issued. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.jwks() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_gateway, backoffice_admin, backoffice_definer;

CREATE OR REPLACE FUNCTION access.add_verification_key(kid text, alg text, key text, role_claim text DEFAULT NULL, audience text[] DEFAULT '{}', expires_required boolean DEFAULT true) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_add_verification_key';
COMMENT ON FUNCTION access.add_verification_key(text, text, text, text, text[], boolean) IS
'Accepts tokens that somebody else signs with this key. kid: the token''s key id, NULL: tokens that name none; alg: HS256, RS256, PS256, ES256, EdDSA; key: a secret of 32 to 512 bytes (or a JWK of kty oct) for HS256, else a public JWK; audience: one of these must be in aud (empty: not asked); expires_required: tokens without exp are refused. role_claim NULL: sub is a user''s id, org the organization, aal the authentication level (aal1, aal2), as in our own tokens. role_claim given (as in PostgREST; a path with dots): the claim names the database role that begin_request() sets, and nobody acts. Whoever has the secret can be anybody, or take any role the login may set. Permission: EXECUTE (backoffice_admin). Returns the key''s id. Errors: bad_algorithm, bad_key, bad_key_id, key_exists, missing_argument.';
GRANT EXECUTE ON FUNCTION access.add_verification_key(text, text, text, text, text[], boolean) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.remove_verification_key(kid text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_remove_verification_key';
COMMENT ON FUNCTION access.remove_verification_key(text) IS
'Tokens signed with a key of access.add_verification_key() are refused from now on, also those verified before. kid: as given there. Permission: EXECUTE (backoffice_admin). Returns false when there was no such key.';
GRANT EXECUTE ON FUNCTION access.remove_verification_key(text) TO backoffice_admin;
