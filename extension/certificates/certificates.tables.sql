CREATE SCHEMA certificates;
COMMENT ON SCHEMA certificates IS 'gift certificates: pools of codes, reservation, issue, redemption, checks of codes';
GRANT USAGE ON SCHEMA certificates TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- A stock of certificates of one kind.
CREATE TABLE certificates.pools (
    organization_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT backoffice.uuid7(),
    face_value_minor bigint NOT NULL CHECK (face_value_minor > 0),
    low_water bigint NOT NULL CHECK (low_water >= 0),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    validity interval NOT NULL CHECK (validity > interval '0'),
    hold interval NOT NULL CHECK (hold > interval '0' AND hold <= interval '366 days'),
    version integer NOT NULL DEFAULT 1,
    cvc_digits integer NOT NULL CHECK (cvc_digits BETWEEN 3 AND 6),
    requires_activation boolean NOT NULL,
    destroy_cvc_after_delivery boolean NOT NULL,
    code_format text NOT NULL CHECK (code_format IN ('any', 'checked')),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    state text NOT NULL DEFAULT 'empty',
    paused_from text,
    code text NOT NULL CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'
        AND code !~ '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$'),
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, code)
) WITH (fillfactor = 50);
COMMENT ON TABLE certificates.pools IS 'Stocks of certificates. hold: how long a reservation lasts unless the caller says; paused_from: the state to return to when resumed; code_format: any (4 to 64 letters and digits), or checked (the last symbol is a check symbol).';

-- What imports, releases and the keeper count, apart from the state: whoever has to move that (level.c) never finds it locked by them.
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

/*
 * One row per certificate. Indexed columns do not change when it is reserved, and more than half of each page is
 * left free: a reservation writes no index entry, with or without old snapshots around.
 */
CREATE TABLE certificates.certificates (
    organization_id uuid NOT NULL,
    id uuid NOT NULL,
    pool_id uuid NOT NULL,
    slot_no bigint NOT NULL CHECK (slot_no > 0),
    face_value_minor bigint NOT NULL CHECK (face_value_minor > 0),
    balance_minor bigint NOT NULL,
    held_minor bigint NOT NULL DEFAULT 0 CHECK (held_minor >= 0),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    version integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'available',
    code_index bytea NOT NULL,
    code_secret bytea NOT NULL,
    cvc_hash bytea,
    cvc_secret bytea,
    code_last4 text CHECK (octet_length(code_last4) = 4),
    hold_until timestamptz,
    disclosed_at timestamptz,
    issued_at timestamptz,
    activated_at timestamptz,
    valid_until timestamptz,
    notification_requested_at timestamptz,
    cvc_delivered_at timestamptz,
    replaced_by uuid,
    channel text,
    order_ref text,
    order_line text,
    client_ref text,
    payment_ref text,
    blocked_from text,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT certificates_slot_key UNIQUE (organization_id, pool_id, slot_no),
    CONSTRAINT certificates_code_key UNIQUE (organization_id, code_index),
    CHECK (balance_minor >= held_minor)
) WITH (fillfactor = 45);
COMMENT ON TABLE certificates.certificates IS 'Gift certificates, one row each, for ever. slot_no: its place in the pool, a new one at the end when it is returned; code_index: keyed hash that a code is looked up by; code_secret, cvc_secret: encrypted; cvc_hash: keyed hash that a CVC is checked by; hold_until: until when it is reserved; disclosed_at: when the code was first shown, after which it never returns to the pool; balance_minor, held_minor: what it is worth, and how much of that is held by open authorizations; blocked_from: the state to return to when unblocked.';

-- Never holds a row: backends forget cached pools when its relcache entry is invalidated (certificates/pools.c).
CREATE TABLE certificates.pools_marker ();
COMMENT ON TABLE certificates.pools_marker IS 'Empty. Backends forget cached pools when this table''s relcache entry is invalidated.';

ALTER TABLE certificates.pools ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates.pool_slots ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates.certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates.pools_marker ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON certificates.pools USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON certificates.pool_slots USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON certificates.certificates USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON certificates.pools TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON certificates.pool_slots TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON certificates.certificates TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON certificates.pools, certificates.pool_slots, certificates.certificates TO backoffice_definer, backoffice_kernel;
-- What the views show; never the secrets.
GRANT SELECT ON certificates.pools, certificates.pool_slots TO backoffice_service, backoffice_admin;
GRANT SELECT (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, held_minor, created_at, version, state, code_last4, hold_until,
              disclosed_at, issued_at, activated_at, valid_until, notification_requested_at, cvc_delivered_at, replaced_by, channel,
              order_ref, order_line, client_ref, payment_ref, blocked_from)
    ON certificates.certificates TO backoffice_service, backoffice_admin;

SELECT pg_catalog.pg_extension_config_dump('certificates.pools', '');
SELECT pg_catalog.pg_extension_config_dump('certificates.pool_slots', '');
SELECT pg_catalog.pg_extension_config_dump('certificates.certificates', '');

CREATE TYPE certificates.reservation AS (
    status text,
    id uuid,
    pool text,
    face_value_minor bigint,
    currency text,
    hold_until timestamptz
);
COMMENT ON TYPE certificates.reservation IS 'What reserve_next answers. status: reserved, or empty (the pool has nothing to give: the other columns but pool are NULL).';

SELECT events.define_topic('GiftCertificates.Stream', 'the certificate''s id, or the pool''s', '7 days', 6, 'out',
    'Everything that happens to gift certificates: {eventId, eventType, channel, status, occurredAt, payload}.');
