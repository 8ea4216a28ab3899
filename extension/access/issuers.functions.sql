CREATE OR REPLACE FUNCTION access.define_issuer(issuer text, client_id text, client_secret text DEFAULT NULL, audience text[] DEFAULT '{}',
        role_map jsonb DEFAULT '{}', organization uuid DEFAULT NULL, provision boolean DEFAULT false, link_by_email boolean DEFAULT false,
        aal2_values text[] DEFAULT '{}', algorithms text[] DEFAULT '{RS256}', scope text DEFAULT 'openid email profile', redirect_uris text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_issuer';
COMMENT ON FUNCTION access.define_issuer(text, text, text, text[], jsonb, uuid, boolean, boolean, text[], text[], text, text[]) IS
'Accepts the tokens of an OpenID provider, or changes how (all of it). issuer: its URL, as in iss; client_id, client_secret: of this application there (the secret is kept encrypted; pass it as a parameter); audience: one of these must be in an access token''s aud (empty: its azp must be client_id); role_map: its roles to ours, {"admin": "administrator", "client/clerk": "member"}; organization: where its users belong, and get their roles; its tokens, and sessions begun there, are good for this organization only, unless link_by_email; provision: users are taken in at first sight; link_by_email: a new subject with a verified e-mail address is the user with that address; aal2_values: what in acr or amr counts as a second factor; algorithms: of RS256, PS256, ES256, EdDSA; scope: what to ask for at log-in; redirect_uris: where a log-in may return to (empty: anywhere the provider allows). Permission: EXECUTE (backoffice_admin). Errors: bad_issuer, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_issuer(text, text, text, text[], jsonb, uuid, boolean, boolean, text[], text[], text, text[]) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.disable_issuer(issuer text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_disable_issuer';
COMMENT ON FUNCTION access.disable_issuer(text) IS
'The issuer''s tokens are refused from now on, and nobody logs in there; access.define_issuer() takes it back. Sessions that began there go on. Permission: EXECUTE (backoffice_admin). Returns false when there was no such issuer in use. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION access.disable_issuer(text) TO backoffice_admin;

CREATE OR REPLACE FUNCTION access.set_issuer_keys(issuer text, jwks jsonb, max_age_s integer DEFAULT 300, metadata jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_issuer_keys';
COMMENT ON FUNCTION access.set_issuer_keys(text, jsonb, integer, jsonb) IS
'Stores the keys that an issuer publishes; those no longer in the set are good for backoffice.issuer_key_grace, and deleted at the next call after that. jwks: as fetched (keys without key id, for encryption, or of an algorithm not accepted for the issuer are passed over); max_age_s: seconds until they are due again (60 to 86400); metadata: endpoints of its discovery document, NULL: as before. Permission: EXECUTE (backoffice_worker). Returns whether a key changed. Errors: unknown_issuer, bad_jwks, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_issuer_keys(text, jsonb, integer, jsonb) TO backoffice_worker;

CREATE OR REPLACE FUNCTION access.unknown_key_due(issuer text, since timestamptz) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_unknown_key_due';
COMMENT ON FUNCTION access.unknown_key_due(text, timestamptz) IS
'Whether a token named, since then, a key id that this issuer''s keys do not have, and nobody was told so for ten seconds: whoever asks is told. Permission: internal.';
GRANT EXECUTE ON FUNCTION access.unknown_key_due(text, timestamptz) TO backoffice_kernel;

CREATE OR REPLACE FUNCTION access.issuers_due(OUT issuer text, OUT keys_at timestamptz, OUT unknown_key boolean) RETURNS SETOF record
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
SELECT i.issuer, i.keys_at, u.due
FROM access.issuers i, LATERAL (SELECT access.unknown_key_due(i.issuer, coalesce(i.keys_at, '-infinity')) OFFSET 0) AS u (due)
WHERE i.state = 'active' AND (i.keys_at IS NULL OR backoffice.now() >= i.keys_at + make_interval(secs => i.keys_max_age_s) OR u.due)
ORDER BY i.keys_at NULLS FIRST
$$;
ALTER FUNCTION access.issuers_due() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.issuers_due() IS
'Issuers whose keys are to be fetched: never fetched, older than their max_age_s, or lacking a key id that a token named since: that (unknown_key) makes an issuer due at once, for whoever asks first, and again after ten seconds if its keys did not come. Permission: EXECUTE (backoffice_worker).';
GRANT EXECUTE ON FUNCTION access.issuers_due() TO backoffice_worker;
