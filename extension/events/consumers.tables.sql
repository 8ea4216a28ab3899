-- Consumers: who reads the log, how far they are, and what they set aside.

CREATE TABLE events.registered_consumers (
    name text PRIMARY KEY CHECK (name <> '' AND octet_length(name) <= 255),
    kind text NOT NULL CHECK (kind IN ('worker', 'handler')),
    shard_count int NOT NULL CHECK (shard_count BETWEEN 1 AND 1024),
    topics text[],
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE events.registered_consumers IS 'Every consumer of the log: thin workers (events.lease) and in-database handlers (events.subscribe). To be looked at through events.consumers.';
COMMENT ON COLUMN events.registered_consumers.topics IS 'What it reads; NULL: every topic of direction out.';

CREATE TABLE events.cursors (
    consumer text NOT NULL REFERENCES events.registered_consumers ON DELETE CASCADE,
    shard int NOT NULL CHECK (shard >= 0),
    position events.position NOT NULL,
    owner text,
    fence bigint NOT NULL DEFAULT 0,
    lease_until timestamptz,
    updated_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (consumer, shard)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE events.cursors IS 'How far each shard of a consumer is. Everything up to position was handled; retention keeps what comes after the lowest one.';
COMMENT ON COLUMN events.cursors.owner IS 'The instance that leases the shard until lease_until.';
COMMENT ON COLUMN events.cursors.fence IS 'Counts changes of hands: an instance with an older number no longer moves the position.';

CREATE TABLE events.consumer_instances (
    consumer text NOT NULL REFERENCES events.registered_consumers ON DELETE CASCADE,
    instance text NOT NULL,
    alive_until timestamptz NOT NULL,
    PRIMARY KEY (consumer, instance)
) WITH (fillfactor = 25, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE events.consumer_instances IS 'Running copies of a thin worker, also those that hold no shard yet: what a fair share is reckoned from. Not dumped: they sign on again.';

CREATE TABLE events.parked_events (
    organization_id uuid,
    consumer text NOT NULL,
    id uuid NOT NULL,
    shard int NOT NULL DEFAULT 0,
    position events.position NOT NULL,
    topic text NOT NULL,
    key text,
    type text NOT NULL,
    payload jsonb NOT NULL,
    headers jsonb,
    occurred_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('parked', 'retrying', 'waiting')),
    attempts int NOT NULL DEFAULT 0,
    reason text,
    parked_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    due_at timestamptz,
    alone boolean NOT NULL DEFAULT false,
    UNIQUE NULLS NOT DISTINCT (organization_id, consumer, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500);
CREATE INDEX parked_events_key ON events.parked_events (consumer, key, position) WHERE key IS NOT NULL;
CREATE INDEX parked_events_id ON events.parked_events (consumer, id);
CREATE INDEX parked_events_due ON events.parked_events (consumer, due_at) WHERE state = 'retrying';
COMMENT ON TABLE events.parked_events IS 'Events a consumer set aside, whole: retention may have dropped them from the log. To be looked at through events.parked.';
COMMENT ON COLUMN events.parked_events.organization_id IS 'NULL: an event of the system itself.';
COMMENT ON COLUMN events.parked_events.state IS 'retrying: runs (again) at due_at; waiting: behind another event of its key; parked: waits for events.retry_parked().';
COMMENT ON COLUMN events.parked_events.attempts IS 'Of a handler: runs that failed; of an event that runs alone, also the one that has begun.';
COMMENT ON COLUMN events.parked_events.alone IS 'Was in a batch of the dispatcher that did not come to its end: runs in a transaction of its own, each attempt counted before it is made.';

ALTER TABLE events.parked_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY organization ON events.parked_events
    USING (backoffice.of_current_organization(organization_id)) WITH CHECK (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON events.parked_events TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY operators ON events.parked_events FOR SELECT TO backoffice_admin, backoffice_worker USING (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON events.registered_consumers, events.cursors, events.consumer_instances, events.parked_events TO backoffice_kernel;
GRANT SELECT ON events.registered_consumers, events.cursors, events.parked_events TO backoffice_admin, backoffice_worker;
GRANT SELECT ON events.parked_events TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('events.registered_consumers', '');
SELECT pg_catalog.pg_extension_config_dump('events.cursors', '');
SELECT pg_catalog.pg_extension_config_dump('events.parked_events', '');

-- A dump carries every consumer, CREATE EXTENSION makes the contexts' own handlers: the dump's takes the place of the fresh one.
CREATE FUNCTION events.replace_consumer() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'events_replace_consumer';
COMMENT ON FUNCTION events.replace_consumer() IS
'Trigger: a consumer that a dump brings replaces the one of that name. Permission: none needed.';
CREATE TRIGGER replace_consumer BEFORE INSERT ON events.registered_consumers FOR EACH ROW EXECUTE FUNCTION events.replace_consumer();
