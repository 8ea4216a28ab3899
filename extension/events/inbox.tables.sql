-- The inbox: what came in from outside, once each.

CREATE TABLE events.inbox (
    organization_id uuid NOT NULL,
    source text NOT NULL,
    message_id text NOT NULL,
    request_hash bytea NOT NULL,
    event_id uuid NOT NULL,
    received_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (organization_id, source, message_id)
);
COMMENT ON TABLE events.inbox IS 'Messages that events.accept() took, so that each has its effect once. Kept until an administrator prunes them.';
COMMENT ON COLUMN events.inbox.request_hash IS 'SHA-256 of topic, key and payload: the same id with another body is a conflict.';
COMMENT ON COLUMN events.inbox.event_id IS 'The event that it became.';
ALTER TABLE events.inbox ENABLE ROW LEVEL SECURITY;
CREATE POLICY organization ON events.inbox
    USING (backoffice.of_current_organization(organization_id)) WITH CHECK (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON events.inbox TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON events.inbox TO backoffice_kernel;

CREATE TABLE events.parked_inbound (
    source text NOT NULL,
    topic text NOT NULL,
    "partition" int NOT NULL,
    "offset" bigint NOT NULL,
    key bytea,
    value bytea,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    digest bytea NOT NULL GENERATED ALWAYS AS (coalesce(pg_catalog.sha256(key), '\x') || '\x00' || coalesce(pg_catalog.sha256(value), '\x')) STORED,
    PRIMARY KEY (source, topic, "partition", "offset", digest)
);
COMMENT ON TABLE events.parked_inbound IS 'Inbound messages that could not be understood, as they came. Whose they are is not known: only operators see them.';
COMMENT ON COLUMN events.parked_inbound.digest IS 'Of key and value: a topic that was made anew has other messages at the same places.';
ALTER TABLE events.parked_inbound ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON events.parked_inbound TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY operators ON events.parked_inbound FOR SELECT TO backoffice_admin, backoffice_worker USING (true);
GRANT SELECT, INSERT, DELETE ON events.parked_inbound TO backoffice_kernel;
GRANT SELECT ON events.parked_inbound TO backoffice_admin, backoffice_worker;

CREATE TABLE events.source_positions (
    source_group text NOT NULL,
    topic text NOT NULL,
    "partition" int NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (source_group, topic, "partition")
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE events.source_positions IS 'Where ingesters go on in their sources. Written by events.save_source_offset().';
GRANT SELECT, INSERT, UPDATE, DELETE ON events.source_positions TO backoffice_kernel;

SELECT pg_catalog.pg_extension_config_dump('events.inbox', '');
SELECT pg_catalog.pg_extension_config_dump('events.parked_inbound', '');
SELECT pg_catalog.pg_extension_config_dump('events.source_positions', '');
