-- certificates: their life, and the money taken from them. (After certificates.tables.sql.)

CREATE TABLE certificates.redemptions (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    certificate_id  uuid NOT NULL,
    state           text NOT NULL,
    version         bigint NOT NULL DEFAULT 1,
    amount_minor    bigint NOT NULL CHECK (amount_minor > 0),
    captured_minor  bigint NOT NULL DEFAULT 0 CHECK (captured_minor BETWEEN 0 AND amount_minor),
    refunded_minor  bigint NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    hold_until      timestamptz,
    channel         text,
    order_ref       text,
    created_at      timestamptz NOT NULL DEFAULT backoffice.now(),
    captured_at     timestamptz,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, certificate_id) REFERENCES certificates.certificates (organization_id, id)
);
COMMENT ON TABLE certificates.redemptions IS 'Money held on or taken from a certificate. amount_minor: what was authorized; captured_minor: what of it was taken; refunded_minor: what of that was given back; hold_until: when an open hold ends by itself.';
CREATE INDEX redemptions_certificate ON certificates.redemptions (organization_id, certificate_id, id);
CREATE INDEX redemptions_open ON certificates.redemptions (hold_until) WHERE state = 'authorized';

CREATE TABLE certificates.refunds (
    organization_id uuid NOT NULL,
    id              uuid NOT NULL,
    certificate_id  uuid NOT NULL,
    amount_minor    bigint NOT NULL CHECK (amount_minor > 0),
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, certificate_id) REFERENCES certificates.certificates (organization_id, id)
);
COMMENT ON TABLE certificates.refunds IS 'Money given back to a certificate; which redemptions it was taken from is counted in their refunded_minor.';
CREATE INDEX refunds_certificate ON certificates.refunds (organization_id, certificate_id);

-- For the keeper: where validity ends. A reservation does not touch it.
CREATE INDEX certificates_valid_until ON certificates.certificates (valid_until) WHERE valid_until IS NOT NULL;

ALTER TABLE certificates.redemptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates.refunds ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON certificates.redemptions USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON certificates.refunds USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON certificates.redemptions TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON certificates.refunds TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON certificates.redemptions, certificates.refunds TO backoffice_definer;
GRANT SELECT, UPDATE ON certificates.redemptions TO backoffice_kernel;
GRANT SELECT ON certificates.redemptions, certificates.refunds TO backoffice_service, backoffice_admin;

SELECT pg_catalog.pg_extension_config_dump('certificates.redemptions', '');
SELECT pg_catalog.pg_extension_config_dump('certificates.refunds', '');

CREATE TYPE certificates.movement AS (
    id uuid,
    certificate_id uuid,
    kind text,
    state text,
    amount_minor bigint,
    balance_minor bigint,
    available_minor bigint,
    currency text
);
COMMENT ON TYPE certificates.movement IS 'What a money function did. id: of the redemption, or of the refund; kind: authorized, captured, released or refunded; state, balance_minor, available_minor (balance less open holds): of the certificate afterwards.';

CREATE TYPE certificates.issued AS (
    id uuid,
    state text,
    code text,
    face_value_minor bigint,
    balance_minor bigint,
    currency text,
    valid_until timestamptz
);
COMMENT ON TYPE certificates.issued IS 'An issued certificate and its code in clear text.';

SELECT lifecycle.define('certificates.redemptions', 'state', '{
    "organization": "organization_id", "version": "version", "emit": false,
    "initial": ["authorized", "captured"],
    "states": ["authorized", "captured", "released", "expired", "partially_refunded", "refunded"],
    "transitions": [
        {"from": "authorized", "to": "captured", "event": "redemption.captured"},
        {"from": "authorized", "to": "released", "event": "redemption.released"},
        {"from": "authorized", "to": "expired", "event": "redemption.expired"},
        {"from": "captured", "to": "partially_refunded", "event": "redemption.refunded"},
        {"from": ["captured", "partially_refunded"], "to": "refunded", "event": "redemption.refunded"}],
    "terminal": ["released", "expired", "refunded"]}');

SELECT access.define_permission('certificates.issue', 'issue and activate certificates');
SELECT access.define_permission('certificates.redeem', 'hold, take and release money of certificates');
SELECT access.define_permission('certificates.refund', 'give redeemed money back, undo purchases');
SELECT access.define_permission('certificates.block', 'block and unblock certificates');
SELECT access.define_permission('certificates.extend', 'change how long certificates are valid');
SELECT access.define_permission('certificates.replace', 'replace lost certificates');
