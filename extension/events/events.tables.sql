CREATE SCHEMA events;
COMMENT ON SCHEMA events IS 'events';
GRANT USAGE ON SCHEMA events TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
GRANT USAGE, CREATE ON SCHEMA events TO backoffice_owner;

-- The log. Rows are inserted by emit and never updated; whole leaves are dropped by retention.
-- organization_id is NULL for events of the system itself. Indexes stand on the leaves: each has one, (xid, seq).
CREATE TABLE events.log (
    seq bigint NOT NULL,
    era bigint NOT NULL,
    xid xid8 NOT NULL,
    occurred_at timestamptz NOT NULL,
    topic_id int NOT NULL,
    id uuid NOT NULL,
    organization_id uuid,
    key text,
    type text NOT NULL,
    payload jsonb NOT NULL,
    headers jsonb
) PARTITION BY RANGE (seq);
COMMENT ON TABLE events.log IS 'Every event, in the order of the sequence; to be read with events.read(), which knows the order of commits. Not dumped: its rows stand in the leaves.';
COMMENT ON COLUMN events.log.era IS 'The space of transaction ids that xid belongs to: made of the system identifier and the database''s oid.';
COMMENT ON COLUMN events.log.xid IS 'The emitting transaction.';
COMMENT ON COLUMN events.log.organization_id IS 'NULL: an event of the system itself.';

CREATE SEQUENCE events.log_seq AS bigint CACHE 1;
COMMENT ON SEQUENCE events.log_seq IS 'Numbers of the log''s rows. Never set it back, never give it a cache: the reader rests on its order.';

-- One row per announcement: what this snapshot sees, and the one before does not, is the batch of the tick.
CREATE TABLE events.ticks (
    tick bigint NOT NULL,
    era bigint NOT NULL,
    seq_lo bigint NOT NULL,
    seq_hi bigint NOT NULL,
    next_xid xid8 NOT NULL,
    at timestamptz NOT NULL,
    epoch int NOT NULL,
    snapshot pg_snapshot NOT NULL
) PARTITION BY RANGE (tick);
COMMENT ON TABLE events.ticks IS 'Announcements of the ticker: tick n makes readable what its snapshot sees and that of tick n-1 does not. Not dumped: its rows stand in the leaves.';
COMMENT ON COLUMN events.ticks.seq_lo IS 'Last number of the sequence before the snapshot was taken.';
COMMENT ON COLUMN events.ticks.next_xid IS 'The next transaction id after seq_lo was read: transactions from here on have numbers above seq_lo. (Above the snapshot''s xmax is not enough: that is one more than the latest id that is over.)';
COMMENT ON COLUMN events.ticks.seq_hi IS 'Last number of the sequence after the snapshot was taken.';

CREATE TABLE events.epochs (
    first_tick bigint NOT NULL,
    epoch int NOT NULL,
    era bigint NOT NULL,
    system_identifier bigint NOT NULL,
    database_oid oid NOT NULL,
    extension_oid oid NOT NULL,
    timeline int NOT NULL,
    began_at timestamptz NOT NULL,
    PRIMARY KEY (first_tick, epoch)
);
COMMENT ON TABLE events.epochs IS 'Histories of this log: a new one begins at promotion, point-in-time restore, and in every copy. Positions carry the epoch.';

CREATE TABLE events.floor (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    tick bigint NOT NULL,
    seq bigint NOT NULL
);
COMMENT ON TABLE events.floor IS 'Where the log begins since retention dropped what was before; empty as long as nothing was.';

-- Leaf n holds the numbers from n * 2^20 (log) or n * 2^18 (ticks). The keeper makes more ahead.
DO $$
DECLARE
    n bigint;
BEGIN
    FOR n IN 0..2 LOOP
        EXECUTE format('CREATE TABLE events.log_%s PARTITION OF events.log FOR VALUES FROM (%s) TO (%s)', n, n << 20, (n + 1) << 20);
        EXECUTE format('CREATE INDEX log_%s_xid_seq ON events.log_%s (xid, seq)', n, n);
        EXECUTE format('COMMENT ON TABLE events.log_%s IS ''Leaf of events.log.''', n);
        EXECUTE format('ALTER TABLE events.log_%s ENABLE ROW LEVEL SECURITY', n);
        PERFORM pg_catalog.pg_extension_config_dump(format('events.log_%s', n)::regclass, '');
    END LOOP;
    FOR n IN 0..1 LOOP
        EXECUTE format('CREATE TABLE events.ticks_%s PARTITION OF events.ticks FOR VALUES FROM (%s) TO (%s)', n, n << 18, (n + 1) << 18);
        EXECUTE format('CREATE UNIQUE INDEX ticks_%s_tick ON events.ticks_%s (tick)', n, n);
        EXECUTE format('COMMENT ON TABLE events.ticks_%s IS ''Leaf of events.ticks.''', n);
        PERFORM pg_catalog.pg_extension_config_dump(format('events.ticks_%s', n)::regclass, '');
    END LOOP;
END $$;
SELECT pg_catalog.pg_extension_config_dump('events.log_seq', '');
SELECT pg_catalog.pg_extension_config_dump('events.epochs', '');
SELECT pg_catalog.pg_extension_config_dump('events.floor', '');

-- Tenants read through events.read(); only the kernel touches the tables (the SQL variant of emit, the keeper).
ALTER TABLE events.log ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON events.log TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY organization ON events.log USING (backoffice.of_current_organization(organization_id));
GRANT SELECT, INSERT ON events.log TO backoffice_kernel;
GRANT SELECT ON events.log TO backoffice_definer;
GRANT SELECT ON events.ticks TO backoffice_kernel, backoffice_definer;
GRANT SELECT, INSERT ON events.epochs TO backoffice_kernel;
GRANT SELECT ON events.epochs TO backoffice_definer;
GRANT SELECT, INSERT, UPDATE ON events.floor TO backoffice_kernel;
GRANT SELECT ON events.floor TO backoffice_definer;
GRANT SELECT, USAGE ON SEQUENCE events.log_seq TO backoffice_kernel;
-- events.open_transactions names sessions of every role.
GRANT pg_read_all_stats TO backoffice_kernel;
