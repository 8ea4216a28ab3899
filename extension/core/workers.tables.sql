-- The thin workers' heartbeats. Not tenant data, and not worth a dump.

CREATE TABLE backoffice.heartbeats (
    worker text NOT NULL,
    instance text NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'draining', 'stopped')),
    heartbeat timestamptz NOT NULL,
    "position" text,
    last_error text,
    last_error_at timestamptz,
    details jsonb,
    started_at timestamptz NOT NULL,
    PRIMARY KEY (worker, instance)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
COMMENT ON TABLE backoffice.heartbeats IS 'Last sign of life of each thin worker. Written by backoffice.heartbeat(). Not dumped: workers of another time and place.';
COMMENT ON COLUMN backoffice.heartbeats.details IS 'What the worker tells besides, e.g. counters; shown by backoffice.metrics where a value is a number.';
GRANT SELECT, INSERT, UPDATE, DELETE ON backoffice.heartbeats TO backoffice_kernel;

-- The server's own workers are found among the processes.
GRANT pg_read_all_stats TO backoffice_kernel;
