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
    authorization_endpoint text,
    token_endpoint text,
    end_session_endpoint text,
    jwks_uri text,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    keys_at timestamptz,
    keys_max_age_s integer NOT NULL DEFAULT 300,
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.issuers IS 'OpenID providers whose tokens are accepted. role_map: their roles to ours. client_secret: encrypted with the key file. keys_at, keys_max_age_s: when their keys were fetched last, and how long they may be used before they are fetched again.';

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
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    UNIQUE (issuer, kid),
    CHECK ((issuer = '') = (kind <> 'issuer')),
    CHECK ((public_key IS NULL) = (alg = 'HS256')),
    CHECK ((secret IS NULL) = (kind = 'issuer' OR kind = 'given' AND alg <> 'HS256'))
);
CREATE UNIQUE INDEX token_keys_own_idx ON access.token_keys (state) WHERE kind = 'own' AND state <> 'retired';
COMMENT ON TABLE access.token_keys IS 'Keys that tokens are verified with, each bound to one algorithm. own: tokens are issued with the current one; next is published before it is used; retired ones are good until verify_until. given: by access.add_verification_key(). issuer: fetched from an OpenID provider. public_key: a JWK. secret: private key or HMAC secret, encrypted with the key file.';

-- Never hold a row: see access/marker.h.
CREATE TABLE access.tokens_marker ();
COMMENT ON TABLE access.tokens_marker IS 'Empty. Backends forget keys and verified tokens when this table''s relcache entry is invalidated.';

ALTER TABLE access.issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.token_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.issuers TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.token_keys TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.issuers, access.token_keys TO backoffice_kernel;

SELECT pg_catalog.pg_extension_config_dump('access.issuers', '');
SELECT pg_catalog.pg_extension_config_dump('access.token_keys', '');

CREATE FUNCTION access.tokens_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_tokens_changed';
COMMENT ON FUNCTION access.tokens_changed() IS
'Trigger: makes every backend forget keys and verified tokens, at the commit of this transaction. Permission: none, fired by the tables of access.';

CREATE TRIGGER tokens_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.token_keys EXECUTE FUNCTION access.tokens_changed();
CREATE TRIGGER tokens_changed AFTER INSERT OR UPDATE OF client_id, audience, algorithms, role_map, home_organization, provision, link_by_email, aal2_values, state OR DELETE OR TRUNCATE ON access.issuers
    EXECUTE FUNCTION access.tokens_changed();
