-- Keys of machines: shown once, kept as a keyed hash.
CREATE TABLE access.api_key_records (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> '' AND octet_length(name) <= 200),
    user_id uuid,
    scopes text[] NOT NULL,
    hash bytea NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked')),
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, user_id) REFERENCES access.memberships ON DELETE CASCADE
);
CREATE INDEX api_key_records_user_idx ON access.api_key_records (organization_id, user_id);
COMMENT ON TABLE access.api_key_records IS 'API keys. user_id: whom the key acts for (NULL: for itself, a machine); scopes: what it may do at most, permissions or patterns of them; hash: keyed, with the key file. last_used_at: to some ten seconds.';

ALTER TABLE access.api_key_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.api_key_records USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.api_key_records TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.api_key_records TO backoffice_kernel;
GRANT SELECT (organization_id, id, name, user_id, scopes, state, created_by, created_at, expires_at, last_used_at) ON access.api_key_records TO backoffice_service, backoffice_definer;
GRANT INSERT, UPDATE ON access.api_key_records TO backoffice_definer;

SELECT pg_catalog.pg_extension_config_dump('access.api_key_records', '');

CREATE TRIGGER tokens_changed AFTER UPDATE OF scopes, state, expires_at, user_id OR DELETE OR TRUNCATE ON access.api_key_records EXECUTE FUNCTION access.tokens_changed();
