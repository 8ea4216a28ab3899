-- certificates: what retailers' feeds say about orders, payments and clients. (After redemptions.tables.sql.)

CREATE TABLE certificates.orders (
    organization_id uuid NOT NULL,
    order_ref       text NOT NULL CHECK (octet_length(order_ref) BETWEEN 1 AND 200),
    state           text NOT NULL DEFAULT 'expected',
    version         bigint NOT NULL DEFAULT 1,
    order_version   bigint NOT NULL DEFAULT 0 CHECK (order_version >= 0),
    lines_version   bigint NOT NULL DEFAULT 0,
    cancelled       boolean NOT NULL DEFAULT false,
    channel         text,
    client_ref      text,
    currency        text,
    total_minor     bigint NOT NULL DEFAULT 0 CHECK (total_minor >= 0),
    alerts          text[] NOT NULL DEFAULT '{}',
    retry_asked_at  timestamptz,
    created_at      timestamptz NOT NULL DEFAULT backoffice.now(),
    updated_at      timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, order_ref)
);
COMMENT ON TABLE certificates.orders IS 'Orders as last told by All_SalesOrder; also those that only a payment has named yet (order_version 0).';
COMMENT ON COLUMN certificates.orders.order_version IS 'The newest version that arrived; older ones are ignored.';
COMMENT ON COLUMN certificates.orders.lines_version IS 'The version that the lines are of: a cancellation may come without.';
COMMENT ON COLUMN certificates.orders.alerts IS 'Which alerts were raised, so that each is raised once.';
CREATE INDEX orders_blocked ON certificates.orders (organization_id, order_ref) WHERE state = 'blocked';

CREATE TABLE certificates.order_lines (
    organization_id uuid NOT NULL,
    order_ref       text NOT NULL,
    line_id         text NOT NULL,
    pool            text,
    certificate_id  uuid,
    quantity        int NOT NULL CHECK (quantity BETWEEN 1 AND 1000),
    amount_minor    bigint NOT NULL CHECK (amount_minor >= 0),
    PRIMARY KEY (organization_id, order_ref, line_id),
    FOREIGN KEY (organization_id, order_ref) REFERENCES certificates.orders
);
COMMENT ON TABLE certificates.order_lines IS 'Lines of the newest version of an order. pool and certificate_id NULL: other goods. amount_minor: of the whole line.';

CREATE TABLE certificates.order_units (
    organization_id uuid NOT NULL,
    order_ref       text NOT NULL,
    line_id         text NOT NULL,
    unit            int NOT NULL CHECK (unit > 0),
    state           text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'reserved', 'blocked', 'issued', 'cancelled', 'refunded', 'used')),
    certificate_id  uuid,
    amount_minor    bigint NOT NULL CHECK (amount_minor >= 0),
    payment_ref     text,
    PRIMARY KEY (organization_id, order_ref, line_id, unit),
    FOREIGN KEY (organization_id, order_ref) REFERENCES certificates.orders,
    FOREIGN KEY (organization_id, certificate_id) REFERENCES certificates.certificates
);
CREATE UNIQUE INDEX order_units_certificate ON certificates.order_units (organization_id, certificate_id)
    WHERE certificate_id IS NOT NULL AND state IN ('reserved', 'issued', 'used');
COMMENT ON TABLE certificates.order_units IS 'Each single certificate that an order asked for, and what became of it. state: wanted (none yet), reserved, blocked (paid, but the pool was empty), issued, cancelled, refunded, used (the sale was to be undone, but money had been taken from it).';

CREATE TABLE certificates.payments (
    organization_id uuid NOT NULL,
    payment_ref     text NOT NULL CHECK (octet_length(payment_ref) BETWEEN 1 AND 200),
    order_ref       text NOT NULL,
    type            text NOT NULL CHECK (type IN ('authorization', 'capture', 'refund', 'cancel')),
    status          text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    amount_minor    bigint NOT NULL CHECK (amount_minor > 0),
    currency        text NOT NULL,
    details         jsonb,
    applied_at      timestamptz,
    occurred_at     timestamptz,
    received_at     timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, payment_ref),
    FOREIGN KEY (organization_id, order_ref) REFERENCES certificates.orders
);
CREATE INDEX payments_order ON certificates.payments (organization_id, order_ref);
COMMENT ON TABLE certificates.payments IS 'Payments as told by All_Payments. details: which certificates or lines a refund is for; applied_at: when a refund had its effect on certificates.';

CREATE TABLE certificates.pending_refunds (
    organization_id uuid NOT NULL,
    payment_ref     text NOT NULL,
    order_ref       text NOT NULL,
    amount_minor    bigint NOT NULL,
    currency        text NOT NULL,
    missing         text NOT NULL,
    detail          text,
    created_at      timestamptz NOT NULL DEFAULT backoffice.now(),
    resolved_at     timestamptz,
    PRIMARY KEY (organization_id, payment_ref),
    FOREIGN KEY (organization_id, payment_ref) REFERENCES certificates.payments
);
COMMENT ON TABLE certificates.pending_refunds IS 'Refunds that could not be matched with certificates, and what is missing: order, certificates, amount, currency, capture (less was captured than is refunded) or unused (a certificate was used). resolved_at: when the missing arrived.';

CREATE TABLE certificates.clients (
    organization_id uuid NOT NULL,
    client_ref      text NOT NULL CHECK (octet_length(client_ref) BETWEEN 1 AND 200),
    client_version  bigint NOT NULL DEFAULT 1,
    contacts        jsonb NOT NULL DEFAULT '{}',
    updated_at      timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, client_ref)
);
COMMENT ON TABLE certificates.clients IS 'Clients as told by All_Clients: by which contacts CRM can reach them.';

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['orders', 'order_lines', 'order_units', 'payments', 'pending_refunds', 'clients'] LOOP
        EXECUTE format('ALTER TABLE certificates.%I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY tenant ON certificates.%I USING (backoffice.of_current_organization(organization_id))', t);
        EXECUTE format('CREATE POLICY kernel ON certificates.%I TO backoffice_kernel USING (true) WITH CHECK (true)', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON certificates.%I TO backoffice_definer', t);
        EXECUTE format('GRANT SELECT ON certificates.%I TO backoffice_service, backoffice_admin', t);
        PERFORM pg_catalog.pg_extension_config_dump('certificates.' || t, '');
    END LOOP;
END $$;
GRANT SELECT, UPDATE ON certificates.orders TO backoffice_kernel;
GRANT SELECT ON certificates.order_units, certificates.order_lines TO backoffice_kernel;

SELECT lifecycle.define('certificates.orders', 'state', '{
    "key": "order_ref", "organization": "organization_id", "version": "version", "emit": false,
    "initial": ["expected"],
    "states": {
        "expected": {"description": "a payment named it, the order itself has not come"},
        "open": {"description": "not paid in full"},
        "blocked": {"description": "paid, but a pool was empty"},
        "fulfilled": {"description": "every certificate is issued"},
        "cancelled": {"description": "cancelled by the retailer"},
        "refunded": {"description": "every certificate was refunded"}},
    "transitions": [
        {"from": ["expected", "blocked", "fulfilled", "cancelled", "refunded"], "to": "open"},
        {"from": ["expected", "open", "fulfilled", "cancelled", "refunded"], "to": "blocked"},
        {"from": ["expected", "open", "blocked", "cancelled", "refunded"], "to": "fulfilled"},
        {"from": ["expected", "open", "blocked", "fulfilled", "refunded"], "to": "cancelled"},
        {"from": ["expected", "open", "blocked", "fulfilled"], "to": "refunded"}]}');

SELECT events.define_topic('All_SalesOrder', 'orderId', '7 days', 6, 'in', 'Orders of the retailer''s channels, with lines for gift certificates.');
SELECT events.define_topic('All_Payments', 'orderId', '7 days', 6, 'in', 'Payments of the retailer''s channels: authorizations, captures, refunds, cancellations.');
SELECT events.define_topic('All_Clients', 'clientId', '7 days', 6, 'in', 'Clients of the retailer.');
SELECT events.define_topic('certificates.commands', 'orderId', '1 day', 1, 'internal', 'What the keeper asks the order flow to do again.');

SELECT events.define_schema('All_SalesOrder', NULL, '{
    "type": "object",
    "required": ["orderId", "channel", "status", "version", "lines"],
    "properties": {
        "orderId": {"type": "string", "minLength": 1, "maxLength": 100},
        "channel": {"type": "string", "minLength": 1, "maxLength": 64},
        "status": {"enum": ["created", "changed", "cancelled"]},
        "version": {"type": "integer", "minimum": 1, "maximum": 9007199254740991},
        "occurredAt": {"type": "string"},
        "customer": {"type": "object", "properties": {"clientId": {"type": "string", "minLength": 1, "maxLength": 100}}},
        "lines": {"type": "array", "maxItems": 1000, "items": {
            "type": "object",
            "required": ["lineId", "amount"],
            "properties": {
                "lineId": {"type": "string", "minLength": 1, "maxLength": 100},
                "pool": {"type": "string", "minLength": 1, "maxLength": 64},
                "sku": {"type": "string", "maxLength": 200},
                "certificateId": {"type": "string", "format": "uuid"},
                "quantity": {"type": "integer", "minimum": 1, "maximum": 1000},
                "amount": {"$ref": "#/$defs/money"}}}}},
    "$defs": {"money": {
        "type": "object",
        "required": ["minor", "currency"],
        "properties": {
            "minor": {"type": "integer", "minimum": 0, "maximum": 9007199254740991},
            "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}}}');
SELECT events.define_schema('All_Payments', NULL, '{
    "type": "object",
    "required": ["paymentId", "orderId", "type", "status", "amount"],
    "properties": {
        "paymentId": {"type": "string", "minLength": 1, "maxLength": 100},
        "orderId": {"type": "string", "minLength": 1, "maxLength": 100},
        "type": {"enum": ["authorization", "capture", "refund", "cancel"]},
        "status": {"enum": ["pending", "succeeded", "failed"]},
        "amount": {
            "type": "object",
            "required": ["minor", "currency"],
            "properties": {
                "minor": {"type": "integer", "minimum": 1, "maximum": 9007199254740991},
                "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}},
        "occurredAt": {"type": "string"},
        "refund": {"type": "object", "properties": {
            "certificateIds": {"type": "array", "maxItems": 1000, "items": {"type": "string", "format": "uuid"}},
            "lineIds": {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1, "maxLength": 100}}}}}}');
SELECT events.define_schema('All_Clients', NULL, '{
    "type": "object",
    "required": ["clientId"],
    "properties": {
        "clientId": {"type": "string", "minLength": 1, "maxLength": 100},
        "version": {"type": "integer", "minimum": 1, "maximum": 9007199254740991},
        "contacts": {"type": "object", "properties": {
            "email": {"type": "string", "maxLength": 254},
            "phone": {"type": "string", "maxLength": 32}}}}}');
