-- What operators look at: lag, health, figures, schedules.

CREATE OR REPLACE FUNCTION events.lag("position" events.position, topic_ids int[], OUT lag_events bigint, OUT lag_seconds float8)
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'events_lag';
COMMENT ON FUNCTION events.lag(events.position, int[]) IS
'Events of these topics behind a position: their number (exact up to 10000, estimated above) and the age of the first in seconds; nulls where the position can no longer be read from. Permission: none outside; events.consumers calls it.';
GRANT EXECUTE ON FUNCTION events.lag(events.position, int[]) TO backoffice_kernel;

CREATE OR REPLACE FUNCTION events.list_consumers(OUT name text, OUT "position" events.position, OUT lag_events bigint, OUT lag_seconds float8,
                                                 OUT kind text, OUT shards int, OUT parked bigint)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.name, c.position, l.lag_events, l.lag_seconds, r.kind, r.shard_count,
           (SELECT count(*) FROM events.parked_events p WHERE p.consumer = r.name)
    FROM events.registered_consumers r
    CROSS JOIN LATERAL (SELECT min(position) AS position FROM events.cursors WHERE consumer = r.name) AS c
    CROSS JOIN LATERAL events.lag(c.position,
        ARRAY(SELECT t.id FROM events.topics t WHERE CASE WHEN r.topics IS NULL THEN t.direction = 'out' ELSE t.name = ANY (r.topics) END)) AS l
    ORDER BY r.name
$$;
COMMENT ON FUNCTION events.list_consumers() IS
'What events.consumers shows. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
ALTER FUNCTION events.list_consumers() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.list_consumers() TO backoffice_worker, backoffice_admin, backoffice_service;

CREATE OR REPLACE VIEW events.consumers WITH (security_invoker = true) AS
    SELECT name, position, lag_events, lag_seconds, kind, shards, parked FROM events.list_consumers();
COMMENT ON VIEW events.consumers IS
'Every consumer of the log: position (the lowest of its shards), lag_events behind it (exact up to 10000), lag_seconds (age of the first of them), kind worker or handler, parked: events it set aside. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
GRANT SELECT ON events.consumers TO backoffice_worker, backoffice_admin, backoffice_service;

CREATE OR REPLACE FUNCTION backoffice.health() RETURNS jsonb
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH processes AS (
        SELECT worker, count(*) AS n FROM backoffice.list_workers() WHERE worker LIKE 'backoffice %' GROUP BY worker
    ), server AS (
        SELECT name, EXISTS (SELECT FROM processes p WHERE p.worker = 'backoffice ' || name) AS alive
        FROM unnest(ARRAY['ticker', 'dispatcher', 'keeper']) AS name
    ), last_tick AS (
        SELECT tick, at FROM events.ticks ORDER BY tick DESC LIMIT 1
    )
    SELECT jsonb_build_object(
        'status', CASE WHEN pg_is_in_recovery() OR (SELECT bool_and(alive) FROM server) THEN 'ok' ELSE 'degraded' END,
        'database', jsonb_build_object('name', current_database(), 'in_recovery', pg_is_in_recovery(), 'version', backoffice.version()),
        'ticker', jsonb_build_object('alive', (SELECT alive FROM server WHERE name = 'ticker'),
            'last_tick', (SELECT tick FROM last_tick),
            'age_seconds', (SELECT round(extract(epoch FROM clock_timestamp() - at)::numeric, 3) FROM last_tick)),
        'dispatcher', jsonb_build_object('alive', (SELECT alive FROM server WHERE name = 'dispatcher')),
        'keeper', jsonb_build_object('alive', (SELECT alive FROM server WHERE name = 'keeper')),
        'consumers', coalesce((SELECT jsonb_object_agg(name, jsonb_build_object('kind', kind, 'lag_events', lag_events,
            'lag_seconds', round(lag_seconds::numeric, 3), 'parked', parked)) FROM events.list_consumers()), '{}'),
        'workers', coalesce((SELECT jsonb_agg(jsonb_build_object('worker', worker, 'instance', instance, 'state', state))
            FROM backoffice.list_workers() WHERE worker NOT LIKE 'backoffice %'), '[]'),
        'parked_inbound', (SELECT count(*) FROM events.parked_inbound))
$$;
COMMENT ON FUNCTION backoffice.health() IS
'The state of the kernel in one object: status (ok; degraded: one of the server''s own workers is not running), database, ticker (alive, last_tick, age_seconds since it), dispatcher, keeper, consumers (lag and parked events of each), workers (thin ones by heartbeat), parked_inbound. Permission: backoffice_worker, backoffice_gateway, backoffice_admin, backoffice_service.';
ALTER FUNCTION backoffice.health() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION backoffice.version() TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION backoffice.health() TO backoffice_worker, backoffice_gateway, backoffice_admin, backoffice_service;

CREATE OR REPLACE FUNCTION backoffice.list_metrics(OUT name text, OUT labels jsonb, OUT value double precision)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT 'events_emitted_total', '{}'::jsonb, CASE WHEN is_called THEN last_value ELSE 0 END::float8 FROM events.log_seq
    UNION ALL
    SELECT 'events_tick', '{}', coalesce(max(tick), 0)::float8 FROM events.ticks
    UNION ALL
    SELECT 'events_log_bytes', '{}', coalesce(sum(pg_total_relation_size(relid)), 0)::float8 FROM pg_partition_tree('events.log')
    UNION ALL
    SELECT 'events_log_partitions', '{}', count(*)::float8 FROM pg_partition_tree('events.log') WHERE isleaf
    UNION ALL
    SELECT f.name, jsonb_build_object('consumer', c.name, 'kind', c.kind), f.value
    FROM events.list_consumers() c
    CROSS JOIN LATERAL (VALUES ('events_consumer_lag', c.lag_events::float8), ('events_consumer_lag_seconds', c.lag_seconds)) AS f (name, value)
    WHERE f.value IS NOT NULL
    UNION ALL
    SELECT 'events_parked', jsonb_build_object('consumer', consumer, 'state', state), count(*)::float8
    FROM events.parked_events GROUP BY consumer, state
    UNION ALL
    SELECT 'events_parked_inbound', jsonb_build_object('source', source), count(*)::float8 FROM events.parked_inbound GROUP BY source
    UNION ALL
    SELECT 'workers', jsonb_build_object('worker', worker, 'state', state), count(*)::float8
    FROM backoffice.list_workers() GROUP BY worker, state
    UNION ALL
    SELECT 'worker_' || d.key, jsonb_build_object('worker', h.worker, 'instance', h.instance), d.value::text::float8
    FROM backoffice.heartbeats h
    CROSS JOIN LATERAL jsonb_each(CASE WHEN h.state <> 'stopped' THEN h.details END) AS d (key, value)
    -- A worker may say any number; one that a figure cannot be must not hide all others.
    WHERE CASE WHEN jsonb_typeof(d.value) = 'number' THEN abs(d.value::numeric) < 1e300 AND scale(trim_scale(d.value::numeric)) < 300 ELSE false END
$$;
COMMENT ON FUNCTION backoffice.list_metrics() IS
'What backoffice.metrics shows. Permission: backoffice_worker, backoffice_admin.';
ALTER FUNCTION backoffice.list_metrics() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION backoffice.list_metrics() TO backoffice_worker, backoffice_admin;

CREATE OR REPLACE VIEW backoffice.metrics WITH (security_invoker = true) AS
    SELECT name, labels, value FROM backoffice.list_metrics();
COMMENT ON VIEW backoffice.metrics IS
'Figures of the kernel: events_emitted_total (sequence numbers given out), events_tick, events_log_bytes, events_log_partitions, events_consumer_lag and _lag_seconds {consumer, kind}, events_parked {consumer, state}, events_parked_inbound {source}, workers {worker, state}, and worker_<name> {worker, instance} for each number in a heartbeat''s details. Permission: backoffice_worker, backoffice_admin.';
GRANT SELECT ON backoffice.metrics TO backoffice_worker, backoffice_admin;

-- PL/pgSQL because the functions of pg_cron may not be there.
CREATE OR REPLACE FUNCTION backoffice.schedule(OUT job text, OUT schedule text, OUT command text)
    RETURNS SETOF record LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
        PERFORM backoffice.raise('PT503', 'pg_cron_missing', 'pg_cron is not installed in this database',
            'there is no function cron.schedule(text, text, text)',
            'Install pg_cron (shared_preload_libraries, cron.database_name), CREATE EXTENSION pg_cron here, and call again. Nothing urgent depends on it: expiry, partitions and retention are the keeper''s.');
    END IF;
    FOR job, schedule, command IN
        SELECT v.job, v.schedule, v.command
        FROM (VALUES ('backoffice prune heartbeats', '17 3 * * *', 'SELECT backoffice.prune_heartbeats()', true),
                     -- For others ANALYZE only warns, every night.
                     ('backoffice analyze events', '37 3 * * *', 'ANALYZE events.parked_events, events.inbox, backoffice.idempotency_keys',
                      pg_has_role(current_user, (SELECT datdba FROM pg_database WHERE datname = current_database()), 'USAGE'))) AS v (job, schedule, command, may)
        WHERE v.may
    LOOP
        EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING job, schedule, command;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION backoffice.schedule() IS
'Makes or renews the pg_cron jobs of backoffice and returns them (job, schedule in cron''s notation and the server''s cron time zone, command). Jobs run as the caller; only the owner of the database and superusers get the one that analyzes. Permission: backoffice_admin with rights to schema cron. Errors: pg_cron_missing.';
GRANT EXECUTE ON FUNCTION backoffice.schedule() TO backoffice_admin;
