-- core: idempotency keys. See docs/core.md. (After core.functions.sql, because policies ask backoffice.of_current_organization().)

CREATE TABLE backoffice.idempotency_keys (
    organization_id uuid NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    response jsonb,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (organization_id, scope, key)
);
COMMENT ON TABLE backoffice.idempotency_keys IS 'Requests that carried an idempotency key, and their answers. Kept until an administrator prunes them.';
COMMENT ON COLUMN backoffice.idempotency_keys.scope IS 'The operation, e.g. certificates.reserve.';
COMMENT ON COLUMN backoffice.idempotency_keys.request_hash IS 'SHA-256 of the arguments: the same key with other arguments is a conflict.';
COMMENT ON COLUMN backoffice.idempotency_keys.response IS 'What a repeated request is answered.';
SELECT pg_catalog.pg_extension_config_dump('backoffice.idempotency_keys', '');
GRANT SELECT, INSERT, UPDATE ON backoffice.idempotency_keys TO backoffice_definer;
GRANT SELECT, INSERT, UPDATE, DELETE ON backoffice.idempotency_keys TO backoffice_kernel;

ALTER TABLE backoffice.idempotency_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON backoffice.idempotency_keys
    USING (backoffice.of_current_organization(organization_id))
    WITH CHECK (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON backoffice.idempotency_keys TO backoffice_kernel USING (true) WITH CHECK (true);
