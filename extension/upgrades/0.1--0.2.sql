\echo Use "ALTER EXTENSION backoffice UPDATE" to load this file. \quit

-- What imports, releases and the keeper count leaves the pool's row, which has the state.
DROP VIEW certificates.conservation;
DROP VIEW certificates.pool_status;

CREATE TABLE certificates.pool_slots (
    organization_id uuid NOT NULL,
    pool_id uuid NOT NULL,
    created bigint NOT NULL DEFAULT 0 CHECK (created >= 0),
    next_slot bigint NOT NULL DEFAULT 1 CHECK (next_slot > 0),
    sweep_slot bigint NOT NULL DEFAULT 1 CHECK (sweep_slot > 0),
    hold_slot bigint NOT NULL DEFAULT 1 CHECK (hold_slot > 0),
    PRIMARY KEY (organization_id, pool_id),
    FOREIGN KEY (organization_id, pool_id) REFERENCES certificates.pools (organization_id, id)
) WITH (fillfactor = 50);
COMMENT ON TABLE certificates.pool_slots IS 'Slots of each pool. created: how many certificates there ever were; next_slot: the slot that the next new or returned certificate gets; sweep_slot: no certificate below it is available (but what a sweep has yet to return); hold_slot: none below it is available or reserved.';

INSERT INTO certificates.pool_slots (organization_id, pool_id, created, next_slot, sweep_slot, hold_slot)
SELECT organization_id, id, created, next_slot, sweep_slot, hold_slot FROM certificates.pools;

ALTER TABLE certificates.pools DROP COLUMN created, DROP COLUMN next_slot, DROP COLUMN sweep_slot, DROP COLUMN hold_slot, ADD COLUMN paused_from text;
COMMENT ON TABLE certificates.pools IS 'Stocks of certificates. hold: how long a reservation lasts unless the caller says; paused_from: the state to return to when resumed; code_format: any (4 to 64 letters and digits), or checked (the last symbol is a check symbol).';

ALTER TABLE certificates.pool_slots ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON certificates.pool_slots USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON certificates.pool_slots TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON certificates.pool_slots TO backoffice_definer, backoffice_kernel;
GRANT SELECT ON certificates.pool_slots TO backoffice_service, backoffice_admin;
SELECT pg_catalog.pg_extension_config_dump('certificates.pool_slots', '');

-- A parked message is known by its place and its content.
ALTER TABLE events.parked_inbound DROP CONSTRAINT parked_inbound_pkey,
    ADD COLUMN digest bytea NOT NULL GENERATED ALWAYS AS (coalesce(pg_catalog.sha256(key), '\x') || '\x00' || coalesce(pg_catalog.sha256(value), '\x')) STORED,
    ADD PRIMARY KEY (source, topic, "partition", "offset", digest);
COMMENT ON COLUMN events.parked_inbound.digest IS 'Of key and value: a topic that was made anew has other messages at the same places.';

-- What a user has elsewhere is not the concern of one organization's OpenID provider.
CREATE FUNCTION backoffice.within_bounds(organization_id uuid) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_within_bounds';
ALTER POLICY own ON access.sessions USING (user_id = backoffice.current_user_id() AND backoffice.within_bounds(for_organization));

-- An address that one organization's OpenID provider said is that organization's word, and keeps nobody else from having it.
ALTER TABLE access.users ADD COLUMN email_said_by uuid REFERENCES access.organizations;
UPDATE access.users u SET email_said_by = s.home_organization
FROM access.identities d JOIN access.issuers s ON s.issuer = d.issuer AND NOT s.link_by_email AND s.home_organization IS NOT NULL
WHERE d.user_id = u.id AND u.password_hash IS NULL;
DROP INDEX access.users_email_key;
CREATE UNIQUE INDEX users_email_key ON access.users (lower(email)) WHERE email_said_by IS NULL;
CREATE UNIQUE INDEX users_email_said_key ON access.users (lower(email), email_said_by);
COMMENT ON TABLE access.users IS 'People, across organizations: one row per e-mail address, upper and lower case alike, and one more for each organization whose OpenID provider says it of somebody. password_hash is Argon2id, or NULL for those who cannot log in by password.';
COMMENT ON COLUMN access.users.email_said_by IS 'The organization whose own OpenID provider said the address, and for which alone it is the user''s: whose it is, nobody knows. NULL: it is the user''s.';
GRANT SELECT (email_said_by) ON access.users TO backoffice_definer, backoffice_service;

-- Functions whose arguments or result are others now.
DROP FUNCTION certificates.watch_payments(certificates.orders, bigint);
DROP FUNCTION access.issuers_due();

COMMENT ON TABLE certificates.pending_refunds IS 'Refunds that could not be matched with certificates, and what is missing: order, certificates, amount, currency, capture (less was captured than is refunded) or unused (a certificate was used). resolved_at: when the missing arrived.';
