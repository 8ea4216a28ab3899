-- Log-ins that have gone to an OpenID provider and not come back yet.
CREATE TABLE access.oidc_logins (
    state_hash bytea PRIMARY KEY,
    id uuid NOT NULL,
    issuer text NOT NULL REFERENCES access.issuers,
    secret bytea NOT NULL,
    redirect_uri text NOT NULL,
    wanted_organization uuid,
    taken_at timestamptz,
    expires_at timestamptz NOT NULL
);
CREATE INDEX oidc_logins_expires_at_idx ON access.oidc_logins (expires_at);
COMMENT ON TABLE access.oidc_logins IS 'Log-ins under way at an OpenID provider: state as a hash, nonce and PKCE verifier encrypted with the key file. taken_at: when its code was exchanged; once only. Not dumped: they last ten minutes.';

ALTER TABLE access.oidc_logins ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.oidc_logins TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.oidc_logins TO backoffice_kernel;
