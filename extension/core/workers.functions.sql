CREATE OR REPLACE FUNCTION backoffice.heartbeat(worker text, instance text, state text, "position" text DEFAULT NULL,
                                                last_error text DEFAULT NULL, details jsonb DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'backoffice_heartbeat';
COMMENT ON FUNCTION backoffice.heartbeat(text, text, text, text, text, jsonb) IS
'A thin worker''s sign of life. worker: its kind, e.g. kafka-relay; instance: this copy of it; state: running, draining or stopped; position: how far it is (at most 200 characters are kept); last_error: kept until another comes (2000 characters); details: an object, its numbers appear in backoffice.metrics (at most 8 kB). Permission: backoffice_worker, backoffice_gateway. Errors: invalid_heartbeat.';
GRANT EXECUTE ON FUNCTION backoffice.heartbeat(text, text, text, text, text, jsonb) TO backoffice_worker, backoffice_gateway;

CREATE OR REPLACE FUNCTION backoffice.list_workers(OUT worker text, OUT instance text, OUT state text, OUT heartbeat timestamptz, OUT "position" text, OUT last_error text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.worker, h.instance,
           CASE WHEN h.state <> 'stopped' AND h.heartbeat < pg_catalog.clock_timestamp() - interval '30 s' THEN 'stale' ELSE h.state END,
           h.heartbeat, h."position", h.last_error
    FROM backoffice.heartbeats h
    UNION ALL
    -- Server processes have no heartbeat: that they are listed is the sign of life.
    SELECT a.backend_type, 'pid ' || a.pid, 'running', pg_catalog.clock_timestamp(), NULL, NULL
    FROM pg_catalog.pg_stat_get_activity(NULL) a
    WHERE a.backend_type LIKE 'backoffice %'
      AND (a.datid IS NULL OR a.datid = 0 OR a.datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))
    ORDER BY 1, 2
$$;
COMMENT ON FUNCTION backoffice.list_workers() IS
'What backoffice.workers shows. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
ALTER FUNCTION backoffice.list_workers() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION backoffice.list_workers() TO backoffice_worker, backoffice_admin, backoffice_service, backoffice_definer;

CREATE OR REPLACE VIEW backoffice.workers WITH (security_invoker = true) AS
    SELECT worker, instance, state, heartbeat, "position", last_error FROM backoffice.list_workers();
COMMENT ON VIEW backoffice.workers IS
'Every worker: thin ones by their heartbeats (state running, draining, stopped; stale after 30 s without), the server''s own background workers by their processes. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
GRANT SELECT ON backoffice.workers TO backoffice_worker, backoffice_admin, backoffice_service;

CREATE OR REPLACE FUNCTION backoffice.prune_heartbeats(older_than interval DEFAULT '7 days') RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM backoffice.heartbeats WHERE heartbeat < pg_catalog.clock_timestamp() - older_than RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION backoffice.prune_heartbeats(interval) IS
'Forgets workers without a sign of life for that long. Returns how many. Permission: backoffice_admin.';
ALTER FUNCTION backoffice.prune_heartbeats(interval) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION backoffice.prune_heartbeats(interval) TO backoffice_admin;

CREATE OR REPLACE FUNCTION backoffice.prune_idempotency_keys(older_than interval) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM backoffice.idempotency_keys WHERE created_at < pg_catalog.clock_timestamp() - older_than RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION backoffice.prune_idempotency_keys(interval) IS
'Deletes idempotency keys older than that, of every organization: a request repeated after it does its work again. Keys never expire by themselves. Returns how many. Permission: backoffice_admin.';
ALTER FUNCTION backoffice.prune_idempotency_keys(interval) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION backoffice.prune_idempotency_keys(interval) TO backoffice_admin;
