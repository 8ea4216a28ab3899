-- Whom else we believe: OpenID providers (Keycloak and others). One directory for the installation, like users.
CREATE TABLE access.issuers (
    issuer text PRIMARY KEY CHECK (octet_length(issuer) BETWEEN 1 AND 512),
    id uuid NOT NULL UNIQUE,
    client_id text NOT NULL CHECK (octet_length(client_id) BETWEEN 1 AND 255),
    client_secret bytea,
    audience text[] NOT NULL DEFAULT '{}',
    algorithms text[] NOT NULL DEFAULT '{RS256}',
    role_map jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(role_map) = 'object'),
    home_organization uuid REFERENCES access.organizations,
    provision boolean NOT NULL DEFAULT false,
    link_by_email boolean NOT NULL DEFAULT false,
    aal2_values text[] NOT NULL DEFAULT '{}',
    scope text NOT NULL DEFAULT 'openid email profile',
    redirect_uris text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    keys_at timestamptz,
    keys_max_age_s integer NOT NULL DEFAULT 300,
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.issuers IS 'OpenID providers whose tokens are accepted. role_map: their roles to ours. client_secret: encrypted with the key file. metadata: endpoints, from its discovery document. keys_at, keys_max_age_s: when their keys were fetched last, and how long they may be used before they are fetched again.';

-- Every key that a token may be signed with. issuer '' : our own, and keys given by hand.
CREATE TABLE access.token_keys (
    id uuid PRIMARY KEY,
    issuer text NOT NULL,
    kid text NOT NULL CHECK (octet_length(kid) <= 255),
    kind text NOT NULL CHECK (kind IN ('own', 'given', 'issuer')),
    alg text NOT NULL CHECK (alg IN ('HS256', 'RS256', 'PS256', 'ES256', 'EdDSA')),
    state text NOT NULL DEFAULT 'current' CHECK (state IN ('next', 'current', 'retired')),
    public_key jsonb,
    secret bytea,
    role_claim text CHECK (octet_length(role_claim) BETWEEN 1 AND 255),
    audience text[] NOT NULL DEFAULT '{}',
    expires_required boolean NOT NULL DEFAULT true,
    verify_until timestamptz,
    current_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    UNIQUE (issuer, kid),
    CHECK ((issuer = '') = (kind <> 'issuer')),
    CHECK ((public_key IS NULL) = (alg = 'HS256')),
    CHECK ((secret IS NULL) = (kind = 'issuer' OR kind = 'given' AND alg <> 'HS256'))
);
CREATE UNIQUE INDEX token_keys_own_idx ON access.token_keys (state) WHERE kind = 'own' AND state <> 'retired';
COMMENT ON TABLE access.token_keys IS 'Keys that tokens are verified with, each bound to one algorithm. own: tokens are issued with the current one; next is published before it is used; retired ones are good until verify_until. given: by access.add_verification_key(). issuer: fetched from an OpenID provider. public_key: a JWK. secret: private key or HMAC secret, encrypted with the key file.';

-- Who a subject of an issuer is here.  roles: those that the issuer's claims gave in the home organization.
CREATE TABLE access.identities (
    issuer text NOT NULL REFERENCES access.issuers,
    subject text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    user_id uuid NOT NULL REFERENCES access.users,
    roles text[] NOT NULL DEFAULT '{}',
    roles_as_of bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user_id_idx ON access.identities (user_id);
COMMENT ON TABLE access.identities IS 'Users as OpenID providers know them. roles: those given in the issuer''s home organization by its claims; roles_as_of: iat of the token that said so, in seconds since 1970 (an older token changes nothing).';

-- Log-outs that issuers told us of: also what was told (jti) must not be told again.
CREATE TABLE access.external_logouts (
    issuer text NOT NULL REFERENCES access.issuers,
    jti text NOT NULL,
    sid text,
    subject text,
    as_of bigint NOT NULL,
    keep_until timestamptz NOT NULL,
    PRIMARY KEY (issuer, jti)
);
CREATE INDEX external_logouts_sid_idx ON access.external_logouts (issuer, sid);
CREATE INDEX external_logouts_subject_idx ON access.external_logouts (issuer, subject);
COMMENT ON TABLE access.external_logouts IS 'Back-channel log-outs of OpenID providers: tokens of this session (sid), or of this subject up to as_of (seconds since 1970), are refused. Not dumped: after a restore everybody logs in again.';

-- Which of our sessions a session of an issuer began.
CREATE TABLE access.external_sessions (
    session_id uuid PRIMARY KEY REFERENCES access.sessions ON DELETE CASCADE,
    issuer text NOT NULL REFERENCES access.issuers,
    sid text,
    subject text NOT NULL
);
CREATE INDEX external_sessions_sid_idx ON access.external_sessions (issuer, sid);
CREATE INDEX external_sessions_subject_idx ON access.external_sessions (issuer, subject);
COMMENT ON TABLE access.external_sessions IS 'Our sessions that began with a log-in at an OpenID provider, so that its log-out ends them. Not dumped, like sessions.';

-- Never hold a row: see access/marker.h.
CREATE TABLE access.tokens_marker ();
COMMENT ON TABLE access.tokens_marker IS 'Empty. Backends forget keys and verified tokens when this table''s relcache entry is invalidated.';

ALTER TABLE access.issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.token_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.external_logouts ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.external_sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.issuers TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.token_keys TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.identities TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.external_logouts TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.external_sessions TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY listed ON access.issuers FOR SELECT TO backoffice_admin, backoffice_service USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.issuers, access.token_keys, access.identities, access.external_logouts, access.external_sessions TO backoffice_kernel;
-- Not the client's secret.
GRANT SELECT (issuer, client_id, audience, algorithms, role_map, home_organization, provision, link_by_email, aal2_values, scope, redirect_uris, metadata, state, keys_at, keys_max_age_s, created_at)
    ON access.issuers TO backoffice_admin, backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.issuers', '');
SELECT pg_catalog.pg_extension_config_dump('access.token_keys', '');
SELECT pg_catalog.pg_extension_config_dump('access.identities', '');

CREATE FUNCTION access.tokens_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_tokens_changed';
COMMENT ON FUNCTION access.tokens_changed() IS
'Trigger: makes every backend forget keys and verified tokens, at the commit of this transaction. Permission: none, fired by the tables of access.';

CREATE TRIGGER tokens_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.token_keys EXECUTE FUNCTION access.tokens_changed();
CREATE TRIGGER session_ended AFTER INSERT ON access.external_logouts EXECUTE FUNCTION access.session_ended();
CREATE TRIGGER tokens_changed AFTER INSERT OR UPDATE OF client_id, audience, algorithms, role_map, home_organization, provision, link_by_email, aal2_values, state OR DELETE OR TRUNCATE ON access.issuers
    EXECUTE FUNCTION access.tokens_changed();
