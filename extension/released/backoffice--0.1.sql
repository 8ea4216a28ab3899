
-- header.sql
\echo Use "CREATE EXTENSION backoffice" to load this file. \quit

-- Refuse servers with CVE-2026-120154 (INSERT ... ON CONFLICT DO UPDATE reads rows past row-level security).
DO $$
DECLARE
    version int := current_setting('server_version_num');
    least int := CASE version / 10000 WHEN 16 THEN 160016 WHEN 17 THEN 170012 WHEN 18 THEN 180007 ELSE 150020 END;
BEGIN
    IF version < least THEN
        RAISE EXCEPTION 'backoffice needs PostgreSQL 15.20, 16.16, 17.12, 18.7, or a newer one of these'
            USING DETAIL = 'The server is ' || current_setting('server_version') || '.',
                  HINT = 'Install the current minor release and try again.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name = 'backoffice.direct_writes') THEN
        RAISE EXCEPTION 'backoffice is not preloaded'
            USING HINT = 'Add shared_preload_libraries = ''backoffice'' to postgresql.conf and restart the server.';
    END IF;
END $$;

-- Roles belong to the whole cluster and may be left over from another database: made when missing.
DO $$
DECLARE
    r text;
BEGIN
    FOREACH r IN ARRAY ARRAY['backoffice_anon', 'backoffice_user', 'backoffice_service', 'backoffice_worker',
                             'backoffice_admin', 'backoffice_gateway', 'backoffice_owner', 'backoffice_definer', 'backoffice_kernel']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = r) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', r);
        END IF;
    END LOOP;
END $$;

COMMENT ON ROLE backoffice_anon IS 'public api functions: login, health, provider webhooks';
COMMENT ON ROLE backoffice_user IS 'api functions, as the principal of a verified token';
COMMENT ON ROLE backoffice_service IS 'context functions and access.act_as(): trusted applications';
COMMENT ON ROLE backoffice_worker IS 'what the thin workers call';
COMMENT ON ROLE backoffice_admin IS 'pools, topics, endpoints, replay, schedules';
COMMENT ON ROLE backoffice_gateway IS 'what the HTTP gateway logs in with: begins requests, which then go on as backoffice_anon or backoffice_user';
GRANT backoffice_anon, backoffice_user TO backoffice_gateway;
COMMENT ON ROLE backoffice_owner IS 'owns every backoffice table; nobody logs in as it and no code runs as it';
COMMENT ON ROLE backoffice_definer IS 'owns the SECURITY DEFINER functions of the tenant contexts; subject to row-level security';
COMMENT ON ROLE backoffice_kernel IS 'what the server''s own background workers and the log reader run as: policies let it see every organization';

GRANT USAGE ON SCHEMA backoffice TO PUBLIC;

-- core/core.functions.sql
CREATE FUNCTION backoffice.version() RETURNS text
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_library_version';
COMMENT ON FUNCTION backoffice.version() IS
'The version of the loaded library, e.g. ''0.1''. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.version() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer;

CREATE FUNCTION backoffice.now() RETURNS timestamptz
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_now';
COMMENT ON FUNCTION backoffice.now() IS
'The time the business logic goes by: the start of the transaction, or backoffice.frozen_now where a test sets it. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.now() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.time_text(at timestamptz) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_time_text';
COMMENT ON FUNCTION backoffice.time_text(timestamptz) IS
'A time as answers and events write it: RFC 3339 in UTC, whatever the session''s time zone; NULL for the infinities. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.time_text(timestamptz) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.request_header(name text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_request_header';
COMMENT ON FUNCTION backoffice.request_header(text) IS
'A header of the HTTP request that this transaction serves (setting request.headers, from PostgREST or the gateway), NULL without. name: in lower case. Whoever can run SQL can set it. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.request_header(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.client_address() RETURNS inet
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_client_address';
COMMENT ON FUNCTION backoffice.client_address() IS
'Where the HTTP request came from: the last address in the header X-Forwarded-For, which the gateway, or the proxy in front of PostgREST, writes. NULL when there is none. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.client_address() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.uuid7() RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_uuid7';
COMMENT ON FUNCTION backoffice.uuid7() IS
'A new UUIDv7 (RFC 9562), increasing within a session. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.uuid7() TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.raise(sqlstate text, code text, message text, detail text DEFAULT NULL, hint text DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_raise';
COMMENT ON FUNCTION backoffice.raise(text, text, text, text, text) IS
'Raises an error: sqlstate (five characters; PTxyz makes PostgREST answer with status xyz), a stable symbolic code (also in the error''s constraint field), a message, a detail (what is) and a hint (what to do). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.raise(text, text, text, text, text) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.current_organization() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_organization';
COMMENT ON FUNCTION backoffice.current_organization() IS
'The organization of this transaction''s principal, NULL when there is none (then policies show nothing). What row-level security reads; applications call access.organization_id(). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.current_organization() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.of_current_organization_support(internal) RETURNS internal
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'backoffice_of_current_organization_support';
COMMENT ON FUNCTION backoffice.of_current_organization_support(internal) IS
'Tells the planner what backoffice.of_current_organization() means. Permission: nobody calls it; the planner does.';

CREATE FUNCTION backoffice.of_current_organization(organization_id uuid) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE SUPPORT backoffice.of_current_organization_support AS 'MODULE_PATHNAME', 'backoffice_of_current_organization';
COMMENT ON FUNCTION backoffice.of_current_organization(uuid) IS
'Whether organization_id is the organization of this transaction''s principal: what the policies of tenants'' tables consist of. False when there is no principal, and for NULL. The planner takes it for organization_id = backoffice.current_organization(), so that indexes serve it. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.of_current_organization(uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION backoffice.current_user_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_user_id';
COMMENT ON FUNCTION backoffice.current_user_id() IS
'The user of this transaction''s principal, NULL when there is none or a service acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION backoffice.current_user_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- core/core.tables.sql
-- core: idempotency keys. See docs/core.md. (After core.functions.sql, because policies ask backoffice.of_current_organization().)

CREATE TABLE backoffice.idempotency_keys (
    organization_id uuid NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    response jsonb,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (organization_id, scope, key)
);
COMMENT ON TABLE backoffice.idempotency_keys IS 'Requests that carried an idempotency key, and their answers. Kept until an administrator prunes them.';
COMMENT ON COLUMN backoffice.idempotency_keys.scope IS 'The operation, e.g. certificates.reserve.';
COMMENT ON COLUMN backoffice.idempotency_keys.request_hash IS 'SHA-256 of the arguments: the same key with other arguments is a conflict.';
COMMENT ON COLUMN backoffice.idempotency_keys.response IS 'What a repeated request is answered.';
SELECT pg_catalog.pg_extension_config_dump('backoffice.idempotency_keys', '');
GRANT SELECT, INSERT, UPDATE ON backoffice.idempotency_keys TO backoffice_definer;
GRANT SELECT, INSERT, UPDATE, DELETE ON backoffice.idempotency_keys TO backoffice_kernel;

ALTER TABLE backoffice.idempotency_keys ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON backoffice.idempotency_keys
    USING (backoffice.of_current_organization(organization_id))
    WITH CHECK (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON backoffice.idempotency_keys TO backoffice_kernel USING (true) WITH CHECK (true);

-- core/workers.tables.sql
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

-- core/workers.functions.sql
CREATE FUNCTION backoffice.heartbeat(worker text, instance text, state text, "position" text DEFAULT NULL,
                                                last_error text DEFAULT NULL, details jsonb DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'backoffice_heartbeat';
COMMENT ON FUNCTION backoffice.heartbeat(text, text, text, text, text, jsonb) IS
'A thin worker''s sign of life. worker: its kind, e.g. kafka-relay; instance: this copy of it; state: running, draining or stopped; position: how far it is (at most 200 characters are kept); last_error: kept until another comes (2000 characters); details: an object, its numbers appear in backoffice.metrics (at most 8 kB). Permission: backoffice_worker, backoffice_gateway. Errors: invalid_heartbeat.';
GRANT EXECUTE ON FUNCTION backoffice.heartbeat(text, text, text, text, text, jsonb) TO backoffice_worker, backoffice_gateway;

CREATE FUNCTION backoffice.list_workers(OUT worker text, OUT instance text, OUT state text, OUT heartbeat timestamptz, OUT "position" text, OUT last_error text)
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

CREATE VIEW backoffice.workers WITH (security_invoker = true) AS
    SELECT worker, instance, state, heartbeat, "position", last_error FROM backoffice.list_workers();
COMMENT ON VIEW backoffice.workers IS
'Every worker: thin ones by their heartbeats (state running, draining, stopped; stale after 30 s without), the server''s own background workers by their processes. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
GRANT SELECT ON backoffice.workers TO backoffice_worker, backoffice_admin, backoffice_service;

CREATE FUNCTION backoffice.prune_heartbeats(older_than interval DEFAULT '7 days') RETURNS bigint
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

CREATE FUNCTION backoffice.prune_idempotency_keys(older_than interval) RETURNS bigint
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

-- events/events.tables.sql
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

-- events/events.position.sql
-- The type events.position. Its operators and min/max stand in pg_catalog, so that positions compare under any search_path
-- (functions that run with their owner's rights fix theirs to pg_catalog).
CREATE TYPE events.position;

CREATE FUNCTION events.position_in(cstring) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_in';
COMMENT ON FUNCTION events.position_in(cstring) IS 'Input of events.position. Error: bad_position.';
CREATE FUNCTION events.position_out(events.position) RETURNS cstring
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_out';
COMMENT ON FUNCTION events.position_out(events.position) IS 'Output of events.position: epoch (hex):tick:seq.';
CREATE FUNCTION events.position_recv(internal) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_recv';
COMMENT ON FUNCTION events.position_recv(internal) IS 'Binary input of events.position: epoch int4, tick int8, seq int8.';
CREATE FUNCTION events.position_send(events.position) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_send';
COMMENT ON FUNCTION events.position_send(events.position) IS 'Binary output of events.position: epoch int4, tick int8, seq int8.';

CREATE TYPE events.position (
    INPUT = events.position_in, OUTPUT = events.position_out, RECEIVE = events.position_recv, SEND = events.position_send,
    INTERNALLENGTH = 24, ALIGNMENT = double
);
COMMENT ON TYPE events.position IS
'A place in the event log, written epoch:tick:seq. Opaque to clients: store it as it is, compare it, pass it back. Ordered by tick, then seq.';

CREATE FUNCTION events.position_lt(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_lt';
CREATE FUNCTION events.position_le(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_le';
CREATE FUNCTION events.position_eq(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_eq';
CREATE FUNCTION events.position_ne(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_ne';
CREATE FUNCTION events.position_ge(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_ge';
CREATE FUNCTION events.position_gt(events.position, events.position) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_gt';
CREATE FUNCTION events.position_cmp(events.position, events.position) RETURNS int
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_cmp';
CREATE FUNCTION events.position_smaller(events.position, events.position) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_smaller';
CREATE FUNCTION events.position_larger(events.position, events.position) RETURNS events.position
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'events_position_larger';
COMMENT ON FUNCTION events.position_lt(events.position, events.position) IS 'Operator <: the first stands earlier in the log.';
COMMENT ON FUNCTION events.position_le(events.position, events.position) IS 'Operator <=.';
COMMENT ON FUNCTION events.position_eq(events.position, events.position) IS 'Operator =.';
COMMENT ON FUNCTION events.position_ne(events.position, events.position) IS 'Operator <>.';
COMMENT ON FUNCTION events.position_ge(events.position, events.position) IS 'Operator >=.';
COMMENT ON FUNCTION events.position_gt(events.position, events.position) IS 'Operator >: the first stands later in the log.';
COMMENT ON FUNCTION events.position_cmp(events.position, events.position) IS 'Support function of the btree operator class.';
COMMENT ON FUNCTION events.position_smaller(events.position, events.position) IS 'The earlier of two positions.';
COMMENT ON FUNCTION events.position_larger(events.position, events.position) IS 'The later of two positions.';

CREATE OPERATOR pg_catalog.< (FUNCTION = events.position_lt, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel);
CREATE OPERATOR pg_catalog.<= (FUNCTION = events.position_le, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel);
CREATE OPERATOR pg_catalog.= (FUNCTION = events.position_eq, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>), RESTRICT = eqsel, JOIN = eqjoinsel, MERGES);
CREATE OPERATOR pg_catalog.<> (FUNCTION = events.position_ne, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=), RESTRICT = neqsel, JOIN = neqjoinsel);
CREATE OPERATOR pg_catalog.>= (FUNCTION = events.position_ge, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<), RESTRICT = scalargesel, JOIN = scalargejoinsel);
CREATE OPERATOR pg_catalog.> (FUNCTION = events.position_gt, LEFTARG = events.position, RIGHTARG = events.position,
    COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel);

CREATE OPERATOR CLASS events.position_ops DEFAULT FOR TYPE events.position USING btree AS
    OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=, OPERATOR 3 pg_catalog.=, OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>,
    FUNCTION 1 events.position_cmp(events.position, events.position);

CREATE AGGREGATE pg_catalog.min(events.position) (
    SFUNC = events.position_smaller, STYPE = events.position, SORTOP = OPERATOR(pg_catalog.<), PARALLEL = safe);
CREATE AGGREGATE pg_catalog.max(events.position) (
    SFUNC = events.position_larger, STYPE = events.position, SORTOP = OPERATOR(pg_catalog.>), PARALLEL = safe);
COMMENT ON AGGREGATE pg_catalog.min(events.position) IS 'The earliest position.';
COMMENT ON AGGREGATE pg_catalog.max(events.position) IS 'The latest position.';

GRANT EXECUTE ON FUNCTION events.position_in(cstring), events.position_out(events.position), events.position_recv(internal),
    events.position_send(events.position), events.position_lt(events.position, events.position),
    events.position_le(events.position, events.position), events.position_eq(events.position, events.position),
    events.position_ne(events.position, events.position), events.position_ge(events.position, events.position),
    events.position_gt(events.position, events.position), events.position_cmp(events.position, events.position),
    events.position_smaller(events.position, events.position), events.position_larger(events.position, events.position),
    pg_catalog.min(events.position), pg_catalog.max(events.position)
    TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- events/topics.tables.sql
-- Topics: what may be emitted, by whom, and what its payloads look like. Not tenant data.
-- The library reads the first columns of these tables by position (topics_cache.c): new columns go to the end.

CREATE TABLE events.topics (
    id int PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-zA-Z0-9._-]{1,249}$' AND name NOT IN ('.', '..')),
    direction text NOT NULL CHECK (direction IN ('out', 'in', 'internal')),
    key_rule text CHECK (key_rule <> ''),
    retention interval NOT NULL CHECK (retention > '0'),
    partitions int NOT NULL CHECK (partitions BETWEEN 1 AND 10000),
    description text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    listen_permission text CHECK (listen_permission <> ''),
    CHECK (direction = 'internal' OR retention >= '7 days')
);
COMMENT ON TABLE events.topics IS 'The topics of the event log. Written by events.define_topic().';
COMMENT ON COLUMN events.topics.id IS 'Made of the name, so that it is the same in every database; this is what log rows carry.';
COMMENT ON COLUMN events.topics.direction IS 'out: carried to Kafka; in: comes from Kafka; internal: stays here.';
COMMENT ON COLUMN events.topics.key_rule IS 'What the key is (e.g. customer_id): then every event must have one. NULL: free.';
COMMENT ON COLUMN events.topics.retention IS 'How long events are kept at least, here and in Kafka.';
COMMENT ON COLUMN events.topics.listen_permission IS 'What lets users of an organization listen to its events over HTTP; NULL: nobody may.';
COMMENT ON COLUMN events.topics.partitions IS 'Partitions of the topic in Kafka.';

CREATE TABLE events.topic_grants (
    topic_id int NOT NULL REFERENCES events.topics ON DELETE CASCADE,
    role name NOT NULL,
    PRIMARY KEY (topic_id, role)
);
COMMENT ON TABLE events.topic_grants IS 'Who may emit to a topic: members of these roles. Written by events.grant_topic(), revoke_topic().';

CREATE TABLE events.topic_schemas (
    topic_id int NOT NULL REFERENCES events.topics ON DELETE CASCADE,
    type text NOT NULL DEFAULT '',
    schema jsonb NOT NULL,
    defined_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (topic_id, type)
);
COMMENT ON TABLE events.topic_schemas IS 'JSON Schemas of payloads. Written by events.define_schema().';
COMMENT ON COLUMN events.topic_schemas.type IS 'The event type; empty: every type of the topic.';

GRANT SELECT ON events.topics, events.topic_grants, events.topic_schemas TO backoffice_service, backoffice_worker, backoffice_admin, backoffice_kernel;
GRANT SELECT, INSERT, UPDATE, DELETE ON events.topics, events.topic_grants, events.topic_schemas TO backoffice_definer;

SELECT pg_catalog.pg_extension_config_dump('events.topics', '');
SELECT pg_catalog.pg_extension_config_dump('events.topic_grants', '');
SELECT pg_catalog.pg_extension_config_dump('events.topic_schemas', '');

-- Backends cache all three tables under the relation events.topics.
CREATE FUNCTION events.forget_topics() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'events_forget_topics';
COMMENT ON FUNCTION events.forget_topics() IS 'Trigger: backends read the topics anew after this transaction. Permission: none needed.';

-- A dump carries every topic, CREATE EXTENSION makes the built-in ones: the dump's row takes the place of the fresh one.
CREATE FUNCTION events.replace_topic() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'events_replace_topic';
COMMENT ON FUNCTION events.replace_topic() IS 'Trigger: a topic inserted under a name that exists replaces it (restoring a dump). Permission: none needed.';

CREATE TRIGGER replace_topic BEFORE INSERT ON events.topics FOR EACH ROW EXECUTE FUNCTION events.replace_topic();
CREATE TRIGGER forget_topics AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON events.topics FOR EACH STATEMENT EXECUTE FUNCTION events.forget_topics();
CREATE TRIGGER forget_topics AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON events.topic_grants FOR EACH STATEMENT EXECUTE FUNCTION events.forget_topics();
CREATE TRIGGER forget_topics AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON events.topic_schemas FOR EACH STATEMENT EXECUTE FUNCTION events.forget_topics();

-- events/consumers.tables.sql
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

-- events/handlers.tables.sql
-- In-database handlers.

CREATE TYPE events.event AS (
    position events.position,
    id uuid,
    organization_id uuid,
    topic text,
    key text,
    type text,
    payload jsonb,
    headers jsonb,
    occurred_at timestamptz
);
COMMENT ON TYPE events.event IS 'What a handler (events.subscribe) is called with.';

CREATE TABLE events.subscriptions (
    name text PRIMARY KEY REFERENCES events.registered_consumers ON DELETE CASCADE,
    handler text NOT NULL,
    role name NOT NULL,
    max_attempts int NOT NULL CHECK (max_attempts BETWEEN 1 AND 1000),
    paused boolean NOT NULL DEFAULT false,
    running boolean NOT NULL DEFAULT false,
    last_error text,
    last_error_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE events.subscriptions IS 'In-database handlers. Written by events.subscribe(); to be looked at through events.handlers.';
COMMENT ON COLUMN events.subscriptions.handler IS 'The function, as regprocedure prints it.';
COMMENT ON COLUMN events.subscriptions.role IS 'What it runs as; never a superuser.';
COMMENT ON COLUMN events.subscriptions.running IS 'A dispatcher has begun to run it and did not sign off: found at start-up, it means that the last one died, perhaps by the handler.';
GRANT SELECT, INSERT, UPDATE, DELETE ON events.subscriptions TO backoffice_kernel;
GRANT SELECT ON events.subscriptions TO backoffice_admin, backoffice_service;
SELECT pg_catalog.pg_extension_config_dump('events.subscriptions', '');

-- events/inbox.tables.sql
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
    PRIMARY KEY (source, topic, "partition", "offset")
);
COMMENT ON TABLE events.parked_inbound IS 'Inbound messages that could not be understood, as they came. Whose they are is not known: only operators see them.';
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

-- events/events.functions.sql
CREATE FUNCTION events.emit(topic text, key text, type text, payload jsonb, headers jsonb DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'events_emit_sql';
COMMENT ON FUNCTION events.emit(text, text, text, jsonb, jsonb) IS
'Writes an event into the log; it becomes readable when this transaction commits. topic: one that events.define_topic() defined; key: at most 1024 bytes, events of one key keep the order of their commits if the emitter locks the entity before it emits (NULL: no order); type: 1 to 255 bytes; payload: any JSON, checked against the topic''s schema; headers: an object of strings, e.g. {"traceparent": ...}. The event belongs to the organization of the principal. Returns the event''s id (UUIDv7). Permission: one of the roles that may emit to the topic (events.grant_topic). Errors: missing_argument, unknown_topic, topic_forbidden, key_required, schema_violation, event_too_large (backoffice.max_event_bytes), bad_event_type, key_too_long, bad_headers, no_principal, read_only_transaction, standby, parallel_emit, restricted_operation, log_partition_missing.';
GRANT EXECUTE ON FUNCTION events.emit(text, text, text, jsonb, jsonb) TO backoffice_service, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION events.drop_expired() RETURNS int
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'events_drop_expired';
COMMENT ON FUNCTION events.drop_expired() IS
'Drops the partitions of the log whose events are all older than their topics'' retention and passed by every consumer; the keeper does the same every five minutes. Returns how many. Permission: superuser. Errors: superuser_required.';

CREATE FUNCTION events.list_open_transactions(OUT pid int, OUT prepared text, OUT since timestamptz, OUT role name, OUT application text, OUT state text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT l.pid, p.gid, coalesce(a.xact_start, p.prepared), coalesce(r.rolname, p.owner), a.application_name, coalesce(a.state, 'prepared')
    FROM pg_locks l
    JOIN pg_inherits i ON i.inhrelid = l.relation AND i.inhparent = 'events.log'::regclass
    LEFT JOIN pg_stat_get_activity(NULL) a ON a.pid = l.pid
    LEFT JOIN pg_roles r ON r.oid = a.usesysid
    -- A prepared transaction has no pid; its lock on its own id leads to its name.
    LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY 3
$$;
COMMENT ON FUNCTION events.list_open_transactions() IS
'What events.open_transactions shows. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
ALTER FUNCTION events.list_open_transactions() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.list_open_transactions() TO backoffice_worker, backoffice_admin, backoffice_service;

CREATE VIEW events.open_transactions WITH (security_invoker = true) AS
    SELECT pid, prepared, since, role, application, state FROM events.list_open_transactions();
COMMENT ON VIEW events.open_transactions IS
'Transactions that have emitted and are not over, oldest first: their events are not readable yet (all others are), and they keep retention from dropping the partitions they wrote to. pid: the session; prepared: the name of a prepared transaction. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
GRANT SELECT ON events.open_transactions TO backoffice_worker, backoffice_admin, backoffice_service;

-- events/events.read.functions.sql
CREATE FUNCTION events.read(after events.position DEFAULT NULL, max_events int DEFAULT 1000, topics text[] DEFAULT NULL)
    RETURNS TABLE ("position" events.position, id uuid, organization_id uuid, topic text, key text, type text, payload jsonb, headers jsonb, occurred_at timestamptz)
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'events_read';
COMMENT ON FUNCTION events.read(events.position, int, text[]) IS
'Events behind a position, in order; never waits (LISTEN backoffice_events tells when there is more). after: a position from here or events.position(), NULL: from where the log begins; max_events: at least 1; topics: only these (NULL: all). Never skips, never repeats: store the position of the last row together with its effects, and pass it next time. Permission: backoffice_worker, backoffice_admin: every organization; backoffice_service, backoffice_user: the principal''s. Errors: position_unknown, position_lost (cut off by a promotion or restore), position_expired (dropped by retention), bad_limit, unknown_topic, no_principal.';
GRANT EXECUTE ON FUNCTION events.read(events.position, int, text[]) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION events.fetch(after events.position, max_events int DEFAULT 1000, max_bytes int DEFAULT 4194304, topics text[] DEFAULT NULL,
                                        shard_count int DEFAULT 1, shards int[] DEFAULT NULL,
                                        OUT next events.position, OUT events int, OUT batch bytea)
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'events_fetch';
COMMENT ON FUNCTION events.fetch(events.position, int, int, text[], int, int[]) IS
'As events.read(), packed into one value for workers. max_bytes: 1 to 268435456, at least one event is returned in any case; shard_count, shards: only events whose key (without one: whose id) falls into these of shard_count shards. Returns next (what to read on after, also past events that did not pass), events (their number) and batch: the format stands in docs/events.md. Permission and errors as events.read(), and bad_shard.';
GRANT EXECUTE ON FUNCTION events.fetch(events.position, int, int, text[], int, int[]) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION events.position() RETURNS events.position
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'events_latest_position';
COMMENT ON FUNCTION events.position() IS
'The latest readable position; 0:0:0 in an empty log. Permission: any role that reads or runs commands.';
GRANT EXECUTE ON FUNCTION events.position() TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- events/topics.functions.sql
CREATE FUNCTION events.define_topic(topic text, key_rule text DEFAULT NULL, retention interval DEFAULT '7 days', partitions int DEFAULT 6,
                                               direction text DEFAULT 'out', description text DEFAULT NULL) RETURNS int
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_define_topic';
COMMENT ON FUNCTION events.define_topic(text, text, interval, int, text, text) IS
'Defines a topic, or changes it; equal arguments again change nothing. topic: 1 to 249 of a-z A-Z 0-9 . _ -; key_rule: what the key is, and then every event must have one (NULL: free); retention: at least 7 days unless internal; partitions: 1 to 10000, never fewer than before; direction: out (carried to Kafka), in (comes from Kafka) or internal; NULL for these three is their default. Returns the topic''s id. A new topic may be emitted to by backoffice_service. Permission: backoffice_admin. Errors: invalid_topic, retention_too_short, partitions_reduced.';
GRANT EXECUTE ON FUNCTION events.define_topic(text, text, interval, int, text, text) TO backoffice_admin;

CREATE FUNCTION events.grant_topic(topic text, role regrole) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_grant_topic';
COMMENT ON FUNCTION events.grant_topic(text, regrole) IS
'Lets the members of a role emit to a topic. Permission: backoffice_admin. Errors: unknown_topic.';
GRANT EXECUTE ON FUNCTION events.grant_topic(text, regrole) TO backoffice_admin;

CREATE FUNCTION events.revoke_topic(topic text, role regrole) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_revoke_topic';
COMMENT ON FUNCTION events.revoke_topic(text, regrole) IS
'Takes the right to emit to a topic from a role; transactions that start after the commit no longer have it. Permission: backoffice_admin. Errors: unknown_topic.';
GRANT EXECUTE ON FUNCTION events.revoke_topic(text, regrole) TO backoffice_admin;

CREATE FUNCTION events.define_schema(topic text, type text, schema jsonb) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_define_schema';
COMMENT ON FUNCTION events.define_schema(text, text, jsonb) IS
'Sets the JSON Schema (draft 2020-12, the subset in docs/events.md) that payloads of this topic and type must match; type NULL: of every type, in addition to the type''s own. schema NULL removes it. Permission: backoffice_admin. Errors: unknown_topic, invalid_schema (names the keyword and its place).';
GRANT EXECUTE ON FUNCTION events.define_schema(text, text, jsonb) TO backoffice_admin;

CREATE FUNCTION events.let_listen(topic text, permission text) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH changed AS (
        UPDATE events.topics t SET listen_permission = let_listen.permission WHERE t.name = let_listen.topic RETURNING 1
    )
    SELECT backoffice.raise('PT404', 'unknown_topic', format('topic "%s" is not defined', let_listen.topic), 'no topic has this name',
                            'events.define_topic() defines one.')
    WHERE NOT EXISTS (SELECT FROM changed)
$$;
COMMENT ON FUNCTION events.let_listen(text, text) IS
'Says which permission lets users of an organization listen to the topic''s events over HTTP (SSE, WebSocket; events.read is needed besides). permission NULL: nobody may, as with a new topic. Permission: backoffice_admin. Errors: unknown_topic.';
GRANT EXECUTE ON FUNCTION events.let_listen(text, text) TO backoffice_admin;

SELECT events.define_topic('backoffice.alerts', NULL, '30 days', 1, 'internal', 'Alerts of the kernel: events set aside, inbound messages that cannot be understood.')
WHERE NOT EXISTS (SELECT FROM events.topics WHERE name = 'backoffice.alerts');

CREATE FUNCTION events.check_payload(topic text, type text, payload jsonb) RETURNS void
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'events_check_payload';
COMMENT ON FUNCTION events.check_payload(text, text, jsonb) IS
'Checks a payload as emit would, without emitting. Permission: backoffice_service, backoffice_admin, backoffice_worker. Errors: unknown_topic, schema_violation.';
GRANT EXECUTE ON FUNCTION events.check_payload(text, text, jsonb) TO backoffice_service, backoffice_admin, backoffice_worker;

-- events/consumers.functions.sql
CREATE FUNCTION events.lease(consumer text, instance text, shard_count int DEFAULT 8, ttl interval DEFAULT '10 s',
                                        topics text[] DEFAULT NULL, start text DEFAULT 'earliest',
                                        OUT shard int, OUT fence bigint, OUT "position" events.position, OUT shards_total int, OUT wanted boolean)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_lease';
COMMENT ON FUNCTION events.lease(text, text, int, interval, text[], text) IS
'Renews this instance''s shards of a consumer for ttl (1 s to 1 hour), takes free ones up to its fair share, makes the consumer if it is new (shard_count: 1 to 1024; start: earliest or latest). Returns the instance''s shards: fence for advance(), position, the consumer''s own shard_count, wanted (another instance is short of this shard: drain and release it). topics NULL: every topic of direction out. Permission: backoffice_worker. Errors: invalid_lease, not_a_worker.';
GRANT EXECUTE ON FUNCTION events.lease(text, text, int, interval, text[], text) TO backoffice_worker;

CREATE FUNCTION events.advance(consumer text, instance text, shards int[], fences bigint[], "position" events.position) RETURNS int
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH held AS (
        SELECT c.shard, c.position AS was
        FROM unnest(shards, fences) AS wanted (shard, fence)
        JOIN events.cursors c ON c.consumer = advance.consumer AND c.shard = wanted.shard
            AND c.fence = wanted.fence AND c.owner = advance.instance
        ORDER BY c.shard
        FOR UPDATE OF c
    ), moved AS (
        UPDATE events.cursors c SET position = advance.position, updated_at = pg_catalog.clock_timestamp()
        FROM held WHERE c.consumer = advance.consumer AND c.shard = held.shard AND held.was < advance.position
    )
    SELECT count(*)::int FROM held
$$;
COMMENT ON FUNCTION events.advance(text, text, int[], bigint[], events.position) IS
'Moves leased shards to a position, never backwards. fences: as lease() gave them, in the order of shards. Returns how many of the shards are (still) this instance''s; fewer than asked: a lease was lost or the consumer was moved by seek(). Permission: backoffice_worker.';
ALTER FUNCTION events.advance(text, text, int[], bigint[], events.position) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.advance(text, text, int[], bigint[], events.position) TO backoffice_worker;

CREATE FUNCTION events.release_lease(consumer text, instance text, shards int[] DEFAULT NULL) RETURNS int
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- The lock order of lease(): the consumer first.
    WITH locked AS MATERIALIZED (
        SELECT name FROM events.registered_consumers WHERE name = release_lease.consumer FOR NO KEY UPDATE
    ), gone AS (
        DELETE FROM events.consumer_instances i USING locked
        WHERE i.consumer = locked.name AND i.instance = release_lease.instance AND release_lease.shards IS NULL
    ), freed AS (
        UPDATE events.cursors c SET owner = NULL, lease_until = NULL FROM locked
        WHERE c.consumer = locked.name AND c.owner = release_lease.instance
          AND (release_lease.shards IS NULL OR c.shard = ANY (release_lease.shards))
        RETURNING 1
    )
    SELECT count(*)::int FROM freed
$$;
COMMENT ON FUNCTION events.release_lease(text, text, int[]) IS
'Gives shards back, so that another instance can take them at once; shards NULL: all, and the instance signs off. Returns how many. Permission: backoffice_worker.';
ALTER FUNCTION events.release_lease(text, text, int[]) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.release_lease(text, text, int[]) TO backoffice_worker;

CREATE FUNCTION events.remove_consumer(consumer text) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM events.registered_consumers WHERE name = remove_consumer.consumer AND kind = 'worker' RETURNING 1
    ), aside AS (
        DELETE FROM events.parked_events p USING gone WHERE p.consumer = remove_consumer.consumer
    )
    SELECT EXISTS (SELECT FROM gone)
$$;
COMMENT ON FUNCTION events.remove_consumer(text) IS
'Forgets a thin worker''s position and what it set aside, so that it no longer holds retention back. Returns false if there is none of that name. Handlers go with events.unsubscribe(). Permission: backoffice_admin.';
ALTER FUNCTION events.remove_consumer(text) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.remove_consumer(text) TO backoffice_admin;

CREATE FUNCTION events.park(consumer text, shard int, id uuid, "position" events.position, topic text, key text, type text,
                                       payload jsonb, headers jsonb, reason text, organization uuid, occurred_at timestamptz DEFAULT NULL,
                                       quiet boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_park';
COMMENT ON FUNCTION events.park(text, int, uuid, events.position, text, text, text, jsonb, jsonb, text, uuid, timestamptz, boolean) IS
'Sets an event aside that a thin worker cannot deliver: it is kept whole in events.parked, and an alert goes to backoffice.alerts. To be called in the transaction of the advance() that passes it. Again for the same event: one more attempt. reason: the first 2000 bytes are kept; organization NULL: an event of the system; quiet: no alert, for what only waits behind an event that had one. Permission: backoffice_worker. Errors: missing_argument, not_a_worker.';
GRANT EXECUTE ON FUNCTION events.park(text, int, uuid, events.position, text, text, text, jsonb, jsonb, text, uuid, timestamptz, boolean) TO backoffice_worker;

CREATE FUNCTION events.parked_due(consumer text, shards int[] DEFAULT NULL, max_events int DEFAULT 100,
                                             OUT shard int, OUT "position" events.position, OUT id uuid, OUT organization_id uuid, OUT topic text, OUT key text,
                                             OUT type text, OUT payload jsonb, OUT headers jsonb, OUT occurred_at timestamptz, OUT attempts int)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.shard, p.position, p.id, p.organization_id, p.topic, p.key, p.type, p.payload, p.headers, p.occurred_at, p.attempts
    FROM events.parked_events p
    WHERE p.consumer = parked_due.consumer AND p.state = 'retrying' AND p.due_at <= pg_catalog.clock_timestamp()
      AND (parked_due.shards IS NULL OR p.shard = ANY (parked_due.shards))
    ORDER BY p.position
    LIMIT LEAST(GREATEST(parked_due.max_events, 0), 10000)
$$;
COMMENT ON FUNCTION events.parked_due(text, int[], int) IS
'Parked events that retry_parked() gave free, in the order of the log: send them, then unpark() or park() each. Permission: backoffice_worker.';
ALTER FUNCTION events.parked_due(text, int[], int) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.parked_due(text, int[], int) TO backoffice_worker;

CREATE FUNCTION events.unpark(consumer text, ids uuid[]) RETURNS int
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM events.parked_events p USING events.registered_consumers r
        WHERE p.consumer = unpark.consumer AND p.id = ANY (unpark.ids) AND r.name = p.consumer AND r.kind = 'worker'
        RETURNING 1
    )
    SELECT count(*)::int FROM gone
$$;
COMMENT ON FUNCTION events.unpark(text, uuid[]) IS
'A thin worker delivered these parked events after all. Returns how many were there. Permission: backoffice_worker.';
ALTER FUNCTION events.unpark(text, uuid[]) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.unpark(text, uuid[]) TO backoffice_worker;

CREATE FUNCTION events.retry_parked(consumer text DEFAULT NULL, id uuid DEFAULT NULL) RETURNS int
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH freed AS (
        UPDATE events.parked_events p SET state = 'retrying', attempts = 0, due_at = pg_catalog.clock_timestamp()
        WHERE p.state = 'parked'
          AND (retry_parked.consumer IS NULL OR p.consumer = retry_parked.consumer)
          AND (retry_parked.id IS NULL OR p.id = retry_parked.id)
        RETURNING 1
    )
    SELECT count(*)::int FROM freed
$$;
COMMENT ON FUNCTION events.retry_parked(text, uuid) IS
'Gives parked events free: the dispatcher or the thin worker takes them up again with all their attempts, and then what waits behind them, in order. consumer, id NULL: all. Returns how many were parked. Permission: backoffice_admin, backoffice_worker.';
ALTER FUNCTION events.retry_parked(text, uuid) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.retry_parked(text, uuid) TO backoffice_admin, backoffice_worker;

CREATE FUNCTION events.discard_parked(consumer text, id uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM events.parked_events p
        WHERE p.consumer = discard_parked.consumer AND p.id = discard_parked.id AND p.state = 'parked'
        RETURNING p.organization_id, p.key
    ), next AS (
        SELECT DISTINCT ON (p.organization_id, p.key) p.organization_id, p.id
        FROM events.parked_events p
        JOIN gone ON p.organization_id IS NOT DISTINCT FROM gone.organization_id AND p.key = gone.key
        WHERE p.consumer = discard_parked.consumer AND p.id <> discard_parked.id
        ORDER BY p.organization_id, p.key, p.position
    ), promoted AS (
        UPDATE events.parked_events p SET state = 'retrying', due_at = pg_catalog.clock_timestamp()
        FROM next WHERE p.consumer = discard_parked.consumer AND p.id = next.id AND p.state = 'waiting'
    )
    SELECT EXISTS (SELECT FROM gone)
$$;
COMMENT ON FUNCTION events.discard_parked(text, uuid) IS
'Gives a parked event up for good: it is deleted, and what waits behind it goes on. Returns false if that event is not parked there. Permission: backoffice_admin.';
ALTER FUNCTION events.discard_parked(text, uuid) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.discard_parked(text, uuid) TO backoffice_admin;

CREATE VIEW events.parked WITH (security_invoker = true) AS
    SELECT consumer, id, organization_id, position, topic, key, type, payload, headers, occurred_at,
           state, attempts, reason, parked_at, due_at, shard
    FROM events.parked_events;
COMMENT ON VIEW events.parked IS
'What consumers set aside, with the reason. state: retrying (runs again at due_at), waiting (behind another event of its key), parked (waits for events.retry_parked() or discard_parked()). Permission: backoffice_admin and backoffice_worker see all, backoffice_service its principal''s organization.';
GRANT SELECT ON events.parked TO backoffice_admin, backoffice_worker, backoffice_service;

-- events/handlers.functions.sql
CREATE FUNCTION events.subscribe(name text, topics text[], handler regprocedure, max_attempts int DEFAULT 10,
                                            start text DEFAULT 'latest', role regrole DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_subscribe';
COMMENT ON FUNCTION events.subscribe(text, text[], regprocedure, int, text, regrole) IS
'Has the dispatcher call handler(events.event) once for each event of the topics, in order per key; its effects and its position commit together. start, for a new subscription: latest, earliest or a position; max_attempts: 1 to 1000, then the event is parked; role: what the handler runs as, one the caller is a member of, never a superuser (NULL: the caller; for a superuser backoffice_service). What it returns is ignored. The same name again changes topics, handler, max_attempts and role and keeps the position. Permission: backoffice_service, backoffice_admin. Errors: invalid_subscription, invalid_handler, superuser_handler, unknown_topic, not_a_handler.';
GRANT EXECUTE ON FUNCTION events.subscribe(text, text[], regprocedure, int, text, regrole) TO backoffice_service, backoffice_admin;

CREATE FUNCTION events.unsubscribe(name text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_unsubscribe';
COMMENT ON FUNCTION events.unsubscribe(text) IS
'Ends a subscription: its position and what it set aside are forgotten. Waits for a batch under way. Returns false if there is none. Permission: members of its role, backoffice_admin.';
GRANT EXECUTE ON FUNCTION events.unsubscribe(text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION events.pause(name text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_pause';
COMMENT ON FUNCTION events.pause(text) IS
'Stops calling a handler until events.resume(); its events stay in the log. Returns false if there is no such subscription. Permission: members of its role, backoffice_admin.';
GRANT EXECUTE ON FUNCTION events.pause(text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION events.resume(name text) RETURNS boolean
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_resume';
COMMENT ON FUNCTION events.resume(text) IS
'Calls a paused handler again, from where it was. Returns false if there is no such subscription. Permission: members of its role, backoffice_admin.';
GRANT EXECUTE ON FUNCTION events.resume(text) TO backoffice_service, backoffice_admin;

CREATE VIEW events.handlers WITH (security_invoker = true) AS
    SELECT s.name, r.topics, s.handler, s.role, s.max_attempts,
           CASE WHEN s.paused THEN 'paused' ELSE 'active' END AS state,
           c.position, s.last_error, s.last_error_at
    FROM events.subscriptions s
    JOIN events.registered_consumers r ON r.name = s.name
    JOIN events.cursors c ON c.consumer = s.name;
COMMENT ON VIEW events.handlers IS
'In-database handlers: state active or paused; last_error: why the dispatcher last could not go on as a whole (an event''s own error stands in events.parked). Permission: backoffice_admin, backoffice_service.';
GRANT SELECT ON events.handlers, events.registered_consumers, events.cursors TO backoffice_admin, backoffice_service;

CREATE FUNCTION events.seek(consumer text, "position" events.position) RETURNS int
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_seek';
COMMENT ON FUNCTION events.seek(text, events.position) IS
'Moves a consumer, thin worker or handler, to a position, also backwards: what lies between comes again. ''0:0:0'' is the beginning of the log. Fences go up, so a thin worker learns of it. What is parked stays parked. Returns the number of shards moved. Permission: backoffice_admin. Errors: unknown_consumer, position_ahead.';
GRANT EXECUTE ON FUNCTION events.seek(text, events.position) TO backoffice_admin;

CREATE FUNCTION events.seek(consumer text, since timestamptz) RETURNS int
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_seek_time';
COMMENT ON FUNCTION events.seek(text, timestamptz) IS
'Moves a consumer so that it reads everything that became readable at or after that time. Otherwise as seek(consumer, position). Permission: backoffice_admin. Errors: unknown_consumer.';
GRANT EXECUTE ON FUNCTION events.seek(text, timestamptz) TO backoffice_admin;

CREATE FUNCTION events.seek(consumer text, target text) RETURNS int
    LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS
$$ SELECT CASE WHEN target ~ '^[0-9a-fA-F]+:[0-9]+:[0-9]+$' THEN events.seek(consumer, target::events.position)
               ELSE events.seek(consumer, target::timestamptz) END $$;
COMMENT ON FUNCTION events.seek(text, text) IS
'events.seek() to what a text without a type says: a position, as events.read() shows it, or else a time. Returns the number of shards moved. Permission: backoffice_admin. Errors: unknown_consumer, position_ahead.';
GRANT EXECUTE ON FUNCTION events.seek(text, text) TO backoffice_admin;

-- events/inbox.functions.sql
CREATE FUNCTION events.accept(source text, message_id text, topic text, key text, payload jsonb, headers jsonb DEFAULT NULL,
                                         organization uuid DEFAULT NULL, type text DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_accept';
COMMENT ON FUNCTION events.accept(text, text, text, text, jsonb, jsonb, uuid, text) IS
'Takes a message from outside into the log, once per (organization, source, message_id): true if it is new, false if it was seen before; a concurrent twin waits. The organization is the principal''s; backoffice_worker without a principal passes it, or in headers->>''organization_id'' (a superuser''s message that names none is of no organization, as in events.emit()). The event''s type is type, else headers->>''ce_type'', payload->>''eventType'', payload->>''type'', or the topic. Permission: backoffice_worker for topics of direction in; else the right to the topic (events.grant_topic). Errors: invalid_message, organization_required, organization_mismatch, idempotency_conflict (the same id with another topic, key or payload), and those of events.emit().';
GRANT EXECUTE ON FUNCTION events.accept(text, text, text, text, jsonb, jsonb, uuid, text) TO backoffice_worker, backoffice_service;

CREATE FUNCTION events.park_inbound(source text, topic text, "partition" int, "offset" bigint, key bytea, value bytea, reason text) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_park_inbound';
COMMENT ON FUNCTION events.park_inbound(text, text, int, bigint, bytea, bytea, text) IS
'Keeps an inbound message that cannot be understood, with an alert on backoffice.alerts (type inbound.parked). Returns false if that offset is there already. Permission: backoffice_worker. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION events.park_inbound(text, text, int, bigint, bytea, bytea, text) TO backoffice_worker;

CREATE FUNCTION events.discard_inbound(source text, topic text, "partition" int, "offset" bigint) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM events.parked_inbound p
        WHERE p.source = discard_inbound.source AND p.topic = discard_inbound.topic
          AND p."partition" = discard_inbound."partition" AND p."offset" = discard_inbound."offset"
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM gone)
$$;
COMMENT ON FUNCTION events.discard_inbound(text, text, int, bigint) IS
'Deletes a parked inbound message (after it was corrected and accepted by hand, or given up). Permission: backoffice_admin.';
ALTER FUNCTION events.discard_inbound(text, text, int, bigint) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.discard_inbound(text, text, int, bigint) TO backoffice_admin;

CREATE FUNCTION events.source_offsets(source_group text, OUT topic text, OUT "partition" int, OUT "offset" bigint)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.topic, s."partition", s.next_offset
    FROM events.source_positions s WHERE s.source_group = source_offsets.source_group
    ORDER BY s.topic, s."partition"
$$;
COMMENT ON FUNCTION events.source_offsets(text) IS
'Where a group of ingesters goes on: the next offset to read of each partition. Permission: backoffice_worker, backoffice_admin.';
ALTER FUNCTION events.source_offsets(text) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.source_offsets(text) TO backoffice_worker, backoffice_admin;

CREATE FUNCTION events.save_source_offset(source_group text, topic text, "partition" int, "offset" bigint) RETURNS void
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO events.source_positions AS s (source_group, topic, "partition", next_offset)
    VALUES (save_source_offset.source_group, save_source_offset.topic, save_source_offset."partition", save_source_offset."offset")
    ON CONFLICT (source_group, topic, "partition")
        DO UPDATE SET next_offset = EXCLUDED.next_offset, updated_at = pg_catalog.clock_timestamp()
        WHERE s.next_offset < EXCLUDED.next_offset
$$;
COMMENT ON FUNCTION events.save_source_offset(text, text, int, bigint) IS
'Keeps the next offset to read, in the transaction of the messages before it; never backwards. Permission: backoffice_worker.';
ALTER FUNCTION events.save_source_offset(text, text, int, bigint) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.save_source_offset(text, text, int, bigint) TO backoffice_worker;

CREATE FUNCTION events.reset_source_offset(source_group text, topic text, "partition" int DEFAULT NULL, "offset" bigint DEFAULT 0) RETURNS int
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH moved AS (
        UPDATE events.source_positions s SET next_offset = reset_source_offset."offset", updated_at = pg_catalog.clock_timestamp()
        WHERE s.source_group = reset_source_offset.source_group AND s.topic = reset_source_offset.topic
          AND (reset_source_offset."partition" IS NULL OR s."partition" = reset_source_offset."partition")
        RETURNING 1
    )
    SELECT count(*)::int FROM moved
$$;
COMMENT ON FUNCTION events.reset_source_offset(text, text, int, bigint) IS
'Moves where a group goes on, also backwards (a topic was made anew, or is to be read again: what was accepted stays accepted once). partition NULL: all. Restart the ingesters afterwards. Returns the partitions moved. Permission: backoffice_admin.';
ALTER FUNCTION events.reset_source_offset(text, text, int, bigint) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.reset_source_offset(text, text, int, bigint) TO backoffice_admin;

CREATE FUNCTION events.prune_inbox(older_than interval) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM events.inbox WHERE received_at < pg_catalog.clock_timestamp() - older_than RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION events.prune_inbox(interval) IS
'Forgets accepted messages older than that, of every organization: a message that comes again after it has its effect again. Nothing expires by itself. Returns how many. Permission: backoffice_admin.';
ALTER FUNCTION events.prune_inbox(interval) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.prune_inbox(interval) TO backoffice_admin;

-- events/health.functions.sql
-- What operators look at: lag, health, figures, schedules.

CREATE FUNCTION events.lag("position" events.position, topic_ids int[], OUT lag_events bigint, OUT lag_seconds float8)
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'events_lag';
COMMENT ON FUNCTION events.lag(events.position, int[]) IS
'Events of these topics behind a position: their number (exact up to 10000, estimated above) and the age of the first in seconds; nulls where the position can no longer be read from. Permission: none outside; events.consumers calls it.';
GRANT EXECUTE ON FUNCTION events.lag(events.position, int[]) TO backoffice_kernel;

CREATE FUNCTION events.list_consumers(OUT name text, OUT "position" events.position, OUT lag_events bigint, OUT lag_seconds float8,
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

CREATE VIEW events.consumers WITH (security_invoker = true) AS
    SELECT name, position, lag_events, lag_seconds, kind, shards, parked FROM events.list_consumers();
COMMENT ON VIEW events.consumers IS
'Every consumer of the log: position (the lowest of its shards), lag_events behind it (exact up to 10000), lag_seconds (age of the first of them), kind worker or handler, parked: events it set aside. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
GRANT SELECT ON events.consumers TO backoffice_worker, backoffice_admin, backoffice_service;

CREATE FUNCTION backoffice.health() RETURNS jsonb
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

CREATE FUNCTION backoffice.list_metrics(OUT name text, OUT labels jsonb, OUT value double precision)
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

CREATE VIEW backoffice.metrics WITH (security_invoker = true) AS
    SELECT name, labels, value FROM backoffice.list_metrics();
COMMENT ON VIEW backoffice.metrics IS
'Figures of the kernel: events_emitted_total (sequence numbers given out), events_tick, events_log_bytes, events_log_partitions, events_consumer_lag and _lag_seconds {consumer, kind}, events_parked {consumer, state}, events_parked_inbound {source}, workers {worker, state}, and worker_<name> {worker, instance} for each number in a heartbeat''s details. Permission: backoffice_worker, backoffice_admin.';
GRANT SELECT ON backoffice.metrics TO backoffice_worker, backoffice_admin;

-- PL/pgSQL because the functions of pg_cron may not be there.
CREATE FUNCTION backoffice.schedule(OUT job text, OUT schedule text, OUT command text)
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

-- access/access.tables.sql
CREATE SCHEMA access;
COMMENT ON SCHEMA access IS 'organizations, users, roles, permissions, and who acts in a transaction';
GRANT USAGE ON SCHEMA access TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- The roots of tenancy: id is what every tenant table calls organization_id.
CREATE TABLE access.organizations (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name <> '' AND octet_length(name) <= 200),
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.organizations IS 'Tenants. A suspended one cannot be acted for.';

-- A directory, not a tenant table: one person is one user, whatever organizations they belong to.
CREATE TABLE access.users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (octet_length(email) <= 254),
    password_hash text,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
CREATE UNIQUE INDEX users_email_key ON access.users (lower(email));
COMMENT ON TABLE access.users IS 'People, across organizations: one row per e-mail address, upper and lower case alike. password_hash is Argon2id, or NULL for those who cannot log in by password.';

CREATE TABLE access.memberships (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    user_id uuid NOT NULL REFERENCES access.users,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, user_id)
);
CREATE INDEX memberships_user_id_idx ON access.memberships (user_id);
COMMENT ON TABLE access.memberships IS 'Who belongs to which organization.';

CREATE TABLE access.roles (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    permissions text[] NOT NULL,
    inherits text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, name)
);
COMMENT ON TABLE access.roles IS 'Named sets of permissions of one organization. A permission ending in .* stands for all of its context, * for all there are, also those defined later.';

CREATE TABLE access.role_grants (
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    valid_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, user_id, role),
    FOREIGN KEY (organization_id, user_id) REFERENCES access.memberships ON DELETE CASCADE,
    FOREIGN KEY (organization_id, role) REFERENCES access.roles
);
CREATE INDEX role_grants_role_idx ON access.role_grants (organization_id, role);
COMMENT ON TABLE access.role_grants IS 'Who has which role, until when (NULL: until revoked).';

-- Catalogues: the same for every organization, written by contexts when they are installed.
CREATE TABLE access.permissions (
    name text PRIMARY KEY,
    bit integer NOT NULL UNIQUE CHECK (bit BETWEEN 0 AND 1023),
    description text NOT NULL,
    aal2 boolean NOT NULL,
    builtin boolean NOT NULL
);
COMMENT ON TABLE access.permissions IS 'Every permission there is. bit: its place in a user''s bitmap, given once (from 512 on for those that are not the extension''s own). aal2: held only by users who showed a second factor. Rows are never deleted.';

CREATE TABLE access.default_roles (
    name text PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    permissions text[] NOT NULL,
    inherits text[] NOT NULL DEFAULT '{}',
    builtin boolean NOT NULL
);
COMMENT ON TABLE access.default_roles IS 'The roles that a new organization starts with.';

-- Never holds a row: its relcache entry is invalidated when rights change anywhere (see access/rights.c).
CREATE TABLE access.rights_marker ();
COMMENT ON TABLE access.rights_marker IS 'Empty. Backends forget cached rights when this table''s relcache entry is invalidated.';

ALTER TABLE access.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.role_grants ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON access.organizations USING (backoffice.of_current_organization(id));
CREATE POLICY tenant ON access.memberships USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON access.roles USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON access.role_grants USING (backoffice.of_current_organization(organization_id));
-- A directory is never distributed, so a subquery is allowed here; colleagues may be seen, nobody else.
CREATE POLICY colleagues ON access.users FOR SELECT
    USING (EXISTS (SELECT FROM access.memberships m
                   WHERE m.organization_id = backoffice.current_organization() AND m.user_id = users.id));
-- Rights are looked up before there is a principal.
CREATE POLICY kernel ON access.organizations TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.users TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.memberships TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.roles TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.role_grants TO backoffice_kernel USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON access.organizations, access.users, access.memberships, access.roles, access.role_grants,
    access.permissions, access.default_roles TO backoffice_kernel;
GRANT SELECT, INSERT, UPDATE, DELETE ON access.memberships, access.roles, access.role_grants TO backoffice_definer;
GRANT SELECT ON access.organizations, access.permissions TO backoffice_definer;
GRANT SELECT (id, email, state, created_at) ON access.users TO backoffice_definer;
-- What the security_invoker views read.
GRANT SELECT ON access.organizations, access.memberships, access.roles, access.role_grants, access.permissions TO backoffice_service;
GRANT SELECT (id, email, state, created_at) ON access.users TO backoffice_service;
GRANT SELECT ON access.permissions TO backoffice_admin;

SELECT pg_catalog.pg_extension_config_dump('access.organizations', '');
SELECT pg_catalog.pg_extension_config_dump('access.users', '');
SELECT pg_catalog.pg_extension_config_dump('access.memberships', '');
SELECT pg_catalog.pg_extension_config_dump('access.roles', '');
SELECT pg_catalog.pg_extension_config_dump('access.role_grants', '');
SELECT pg_catalog.pg_extension_config_dump('access.permissions', 'WHERE NOT builtin');
SELECT pg_catalog.pg_extension_config_dump('access.default_roles', 'WHERE NOT builtin');

-- Replaceable like any function, but the triggers below need it.
CREATE FUNCTION access.rights_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_rights_changed';
COMMENT ON FUNCTION access.rights_changed() IS
'Trigger: makes every backend forget the rights it has cached, at the commit of this transaction. Permission: none, fired by the tables of access.';

-- A new organization, user or membership changes nobody's cached rights: only positive answers are cached.
CREATE TRIGGER rights_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.organizations EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER UPDATE OF id, state OR DELETE OR TRUNCATE ON access.users EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.memberships EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.roles EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.role_grants EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.permissions EXECUTE FUNCTION access.rights_changed();

-- access/sessions.tables.sql
-- One row per session: log-in to log-out.  Like users, no tenant's: a session may serve several organizations in turn.
CREATE TABLE access.sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES access.users,
    for_organization uuid REFERENCES access.organizations,
    device_info jsonb,
    ip inet,
    user_agent text,
    created_at timestamptz NOT NULL,
    authenticated_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    aal smallint NOT NULL CHECK (aal IN (1, 2)),
    amr text[] NOT NULL,
    refresh_counter bigint NOT NULL DEFAULT 0,
    refresh_key bytea NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    ended_at timestamptz,
    ended_why text,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL AND ended_why IS NOT NULL))
) WITH (fillfactor = 70);
-- A refresh touches no indexed column.
CREATE INDEX sessions_user_id_idx ON access.sessions (user_id);
CREATE INDEX sessions_due_at_idx ON access.sessions (due_at);
COMMENT ON TABLE access.sessions IS 'Who is logged in, since when, on what. Not dumped: after a restore everybody logs in again.';
COMMENT ON COLUMN access.sessions.for_organization IS 'What the session''s tokens name; NULL: none.';
COMMENT ON COLUMN access.sessions.authenticated_at IS 'When the user last proved to be one, by password or second factor.';
COMMENT ON COLUMN access.sessions.last_seen_at IS 'When it was last refreshed: what the idle limit counts from.';
COMMENT ON COLUMN access.sessions.due_at IS 'When the keeper has to look at it: to end it, or to delete it when it has ended.';
COMMENT ON COLUMN access.sessions.refresh_counter IS 'The number in the current refresh token.';
COMMENT ON COLUMN access.sessions.refresh_key IS 'What its refresh tokens are signed with; encrypted under a key that the database does not hold.';

-- Never holds a row: its relcache entry is invalidated when a session ends (see access/sessions.c).
CREATE TABLE access.sessions_marker ();
COMMENT ON TABLE access.sessions_marker IS 'Empty. Backends look again at the sessions of cached tokens when this table''s relcache entry is invalidated.';

ALTER TABLE access.sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON access.sessions FOR SELECT USING (user_id = backoffice.current_user_id());
CREATE POLICY kernel ON access.sessions TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.sessions TO backoffice_kernel;
GRANT SELECT (id, user_id, for_organization, device_info, ip, user_agent, created_at, authenticated_at, last_seen_at, expires_at, aal, amr, state)
    ON access.sessions TO backoffice_definer, backoffice_service;

CREATE FUNCTION access.session_ended() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_session_ended';
COMMENT ON FUNCTION access.session_ended() IS
'Trigger: makes every backend look at the sessions of its cached tokens again, at the commit of this transaction. Permission: none, fired by access.sessions.';
CREATE TRIGGER session_ended AFTER UPDATE OF state OR DELETE OR TRUNCATE ON access.sessions EXECUTE FUNCTION access.session_ended();

-- access/mfa.tables.sql
-- Second factors: one row per authenticator application.
CREATE TABLE access.mfa_factors (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES access.users,
    label text NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 100),
    seed bytea NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'active')),
    last_step bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    activated_at timestamptz
);
CREATE INDEX mfa_factors_user_id_idx ON access.mfa_factors (user_id);
COMMENT ON TABLE access.mfa_factors IS 'Authenticator applications that users have enrolled. seed: encrypted under a key that the database does not hold; last_step: the latest time step whose code was used, so that none is used twice.';

CREATE TABLE access.recovery_codes (
    user_id uuid NOT NULL REFERENCES access.users,
    code_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (user_id, code_hash)
);
COMMENT ON TABLE access.recovery_codes IS 'Codes that stand in for a lost authenticator, once each; keyed hashes.';

ALTER TABLE access.mfa_factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.recovery_codes ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.mfa_factors TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.recovery_codes TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.mfa_factors, access.recovery_codes TO backoffice_kernel;

SELECT pg_catalog.pg_extension_config_dump('access.mfa_factors', '');
SELECT pg_catalog.pg_extension_config_dump('access.recovery_codes', '');

-- Whether a user has a factor decides what they may do in a session without.
CREATE TRIGGER rights_changed AFTER UPDATE OF state OR DELETE OR TRUNCATE ON access.mfa_factors EXECUTE FUNCTION access.rights_changed();

-- Never holds a row: its relcache entry is invalidated when what the answers to log-ins say of users changes (see access/person.c).
CREATE TABLE access.people_marker ();
COMMENT ON TABLE access.people_marker IS 'Empty. Backends forget cached users when this table''s relcache entry is invalidated.';
CREATE FUNCTION access.people_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_people_changed';
COMMENT ON FUNCTION access.people_changed() IS
'Trigger: makes every backend forget the users it has cached, at the commit of this transaction. Permission: none, fired by the tables of access.';
CREATE TRIGGER people_changed AFTER UPDATE OF email, state OR DELETE OR TRUNCATE ON access.users EXECUTE FUNCTION access.people_changed();
CREATE TRIGGER people_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.memberships EXECUTE FUNCTION access.people_changed();
CREATE TRIGGER people_changed AFTER UPDATE OR DELETE OR TRUNCATE ON access.organizations EXECUTE FUNCTION access.people_changed();
CREATE TRIGGER people_changed AFTER UPDATE OF state OR DELETE OR TRUNCATE ON access.mfa_factors EXECUTE FUNCTION access.people_changed();

-- access/teams.tables.sql
CREATE TABLE access.teams (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> '' AND octet_length(name) <= 100),
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX teams_name_key ON access.teams (organization_id, lower(name));
COMMENT ON TABLE access.teams IS 'Groups of an organization''s members, whom permissions with :team let see each other''s records.';

CREATE TABLE access.team_members (
    organization_id uuid NOT NULL,
    team_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (organization_id, team_id, user_id),
    FOREIGN KEY (organization_id, team_id) REFERENCES access.teams ON DELETE CASCADE,
    FOREIGN KEY (organization_id, user_id) REFERENCES access.memberships ON DELETE CASCADE
);
CREATE INDEX team_members_user_id_idx ON access.team_members (organization_id, user_id);
COMMENT ON TABLE access.team_members IS 'Who is in which team.';

-- A directory, not a tenant table.
CREATE TABLE access.platform_administrators (
    user_id uuid PRIMARY KEY REFERENCES access.users,
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.platform_administrators IS 'Users who look after organizations, and belong to none.';

ALTER TABLE access.teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.team_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.platform_administrators ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.teams USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON access.team_members USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.teams TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.team_members TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.platform_administrators TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.teams, access.team_members TO backoffice_definer, backoffice_kernel;
GRANT SELECT, INSERT, UPDATE, DELETE ON access.platform_administrators TO backoffice_kernel;
GRANT SELECT ON access.teams, access.team_members TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.teams', '');
SELECT pg_catalog.pg_extension_config_dump('access.team_members', '');
SELECT pg_catalog.pg_extension_config_dump('access.platform_administrators', '');

CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.team_members EXECUTE FUNCTION access.rights_changed();
CREATE TRIGGER rights_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.platform_administrators EXECUTE FUNCTION access.rights_changed();

-- access/access.functions.sql
CREATE FUNCTION access.act_as(organization uuid, "user" uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_act_as';
COMMENT ON FUNCTION access.act_as(uuid, uuid) IS
'Sets who acts in this transaction: a user of an organization, or without "user" a trusted service that may do everything in it. Once per transaction; the end of the transaction clears it, rolling back to an earlier savepoint unsets it. Permission: EXECUTE (backoffice_service). Errors: unknown_organization, organization_suspended, unknown_user, user_disabled, not_a_member, membership_suspended, principal_already_set, missing_argument.';
GRANT EXECUTE ON FUNCTION access.act_as(uuid, uuid) TO backoffice_service;

CREATE FUNCTION access.organization_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_organization';
COMMENT ON FUNCTION access.organization_id() IS
'The organization acted for in this transaction; NULL when nobody acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.organization_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.user_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'backoffice_current_user_id';
COMMENT ON FUNCTION access.user_id() IS
'The user who acts in this transaction; NULL when nobody or a service acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.user_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.can(permission text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_can_sql';
COMMENT ON FUNCTION access.can(text) IS
'Whether the acting user has a permission in its organization: true for a service, false when nobody acts or no such permission is defined. The same answer for the whole transaction. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.can(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.require(permission text) RETURNS void
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_require_sql';
COMMENT ON FUNCTION access.require(text) IS
'Does nothing when access.can(permission), raises otherwise. Permission: any backoffice role. Errors: no_principal, permission_denied, aal2_required, unknown_permission, missing_argument.';
GRANT EXECUTE ON FUNCTION access.require(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.create_organization(name text, owner uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_organization';
COMMENT ON FUNCTION access.create_organization(text, uuid) IS
'Makes an organization with the default roles; owner: a user who becomes its member with the role owner. name: not blank, at most 200 bytes; need not be unique. Permission: platform administrators; a service, while no user acts. Returns its id. Errors: service_only, bad_organization_name, unknown_user, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_organization(text, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.set_organization_state(organization uuid, state text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_organization_state';
COMMENT ON FUNCTION access.set_organization_state(uuid, text) IS
'Suspends an organization (state suspended: nobody can act for it any more) or takes it back into service (active). Permission: platform administrators; a service, while no user acts. Errors: service_only, unknown_organization, bad_state, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_organization_state(uuid, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.create_user(email text, password text DEFAULT NULL, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_user';
COMMENT ON FUNCTION access.create_user(text, text, uuid) IS
'Makes a user, and a member of the organization (by default the one acted for, if any). email: unique, upper and lower case alike; password: kept as an Argon2id hash, NULL for users who log in by other means; pass it as a parameter, so that it does not get into logs. Permission: access.manage_members; without principal a service. Returns the id. Errors: bad_email, email_taken, password_too_short, password_too_long, no_principal, permission_denied, other_organization, unknown_organization, service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_user(text, text, uuid) TO backoffice_service;

CREATE FUNCTION access.set_user_state("user" uuid, state text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_user_state';
COMMENT ON FUNCTION access.set_user_state(uuid, text) IS
'Disables a user in every organization (state disabled) or undoes that (active). Permission: a service, while no user acts. Errors: service_only, unknown_user, bad_state, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_user_state(uuid, text) TO backoffice_service;

CREATE FUNCTION access.add_member(organization uuid, "user" uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_add_member';
COMMENT ON FUNCTION access.add_member(uuid, uuid) IS
'Makes a user a member of an organization; nothing happens when it is one. A user who acts can add newcomers only (users of no organization); a service can add anybody. Permission: access.manage_members; without principal a service. Errors: unknown_user, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.add_member(uuid, uuid) TO backoffice_service;

CREATE FUNCTION access.remove_member(organization uuid, "user" uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_remove_member';
COMMENT ON FUNCTION access.remove_member(uuid, uuid) IS
'Ends a membership with all its roles; the user stays. Permission: access.manage_members and every right the member has; without principal a service. Returns false when the user was no member. Errors: last_owner, beyond_own_rights, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.remove_member(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.define_role(name text, permissions text[], inherits text[] DEFAULT '{}', organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_role';
COMMENT ON FUNCTION access.define_role(text, text[], text[], uuid) IS
'Makes or redefines a role of an organization (by default the one acted for). permissions: names, context.* for all of a context, * for all, also those defined later (a name that nobody defined is defined by the way when backoffice_admin or a superuser calls, not for a user); inherits: roles whose permissions it has too. Permission: access.manage_roles and every right of the role, as it was and as it will be; without principal a service. Errors: bad_role_name, unknown_permission, unknown_role, role_cycle, bad_list, owner_role, beyond_own_rights, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_role(text, text[], text[], uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.grant_role("user" uuid, role text, valid_until timestamptz DEFAULT NULL, organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_grant_role';
COMMENT ON FUNCTION access.grant_role(uuid, text, timestamptz, uuid) IS
'Gives a member a role, until valid_until or until revoked; when a service calls, a user of no organization becomes a member. Given again, only valid_until changes. Permission: access.manage_roles and every right of the role; without principal a service. Errors: unknown_user, unknown_role, bad_valid_until, last_owner, beyond_own_rights, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.grant_role(uuid, text, timestamptz, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.revoke_role("user" uuid, role text, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_revoke_role';
COMMENT ON FUNCTION access.revoke_role(uuid, text, uuid) IS
'Takes a role away: transactions that start after this one''s COMMIT returned do not have its rights, those open by then keep them. Permission: access.manage_roles and every right of the role; without principal a service. Returns false when the user did not have it. Errors: unknown_role, last_owner, beyond_own_rights, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.revoke_role(uuid, text, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.define_permission(name text, description text, aal2 boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_permission';
COMMENT ON FUNCTION access.define_permission(text, text, boolean) IS
'Registers a permission, or changes its description and whether it demands a second factor. name: context.verb; aal2: users have it only in sessions with a second factor (elsewhere access.require() raises aal2_required). Roles with context.* or * have it at once. Permission: EXECUTE (backoffice_admin). Errors: bad_permission_name, too_many_permissions, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_permission(text, text, boolean) TO backoffice_admin;

CREATE FUNCTION access.define_default_role(name text, permissions text[], inherits text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_default_role';
COMMENT ON FUNCTION access.define_default_role(text, text[], text[]) IS
'Adds or changes a role that organizations made from now on start with; arguments as of access.define_role. Permission: EXECUTE (backoffice_admin). Errors: bad_role_name, built_in_role, unknown_permission, bad_list, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_default_role(text, text[], text[]) TO backoffice_admin;

CREATE FUNCTION access.permission_matches(name text, pattern text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_permission_matches';
COMMENT ON FUNCTION access.permission_matches(text, text) IS
'Whether a pattern (a permission''s name, context.* or *) stands for a permission. Permission: internal.';
GRANT EXECUTE ON FUNCTION access.permission_matches(text, text) TO backoffice_definer, backoffice_kernel;

CREATE VIEW access.members WITH (security_invoker = true) AS
SELECT m.organization_id, m.user_id, u.email, m.state, u.state AS user_state, m.created_at,
       ARRAY(SELECT g.role FROM access.role_grants g
             WHERE g.organization_id = m.organization_id AND g.user_id = m.user_id
               AND (g.valid_until IS NULL OR g.valid_until > backoffice.now())
             ORDER BY g.role) AS roles
FROM access.memberships m
JOIN access.users u ON u.id = m.user_id
WHERE m.organization_id = backoffice.current_organization() AND access.can('access.read');
COMMENT ON VIEW access.members IS
'The members of the organization acted for, with the roles they hold now. Permission: access.read, else no rows.';
GRANT SELECT ON access.members TO backoffice_service, backoffice_definer;

SELECT events.define_topic('access.audit', 'user id, or what else it is about', '365 days', 1, 'internal', 'What matters to security: rights, members, log-ins, sessions, second factors.');
SELECT access.define_permission('access.read', 'see members and roles');
SELECT access.define_permission('access.manage_members', 'create users, add and remove members');
SELECT access.define_permission('access.manage_roles', 'define, grant and revoke roles');
SELECT access.define_default_role('owner', ARRAY['*']);
SELECT access.define_default_role('administrator', ARRAY['access.*']);
SELECT access.define_default_role('member', ARRAY['access.read']);

-- access/tokens.tables.sql
-- Whom else we believe: OpenID providers (Keycloak and others). One directory for the installation, like users.
CREATE TABLE access.issuers (
    issuer text PRIMARY KEY CHECK (octet_length(issuer) BETWEEN 1 AND 512),
    id uuid NOT NULL UNIQUE,
    client_id text NOT NULL CHECK (octet_length(client_id) BETWEEN 1 AND 255),
    client_secret bytea,
    audience text[] NOT NULL DEFAULT '{}',
    algorithms text[] NOT NULL DEFAULT '{RS256}',
    role_map jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(role_map) = 'object'),
    home_organization uuid REFERENCES access.organizations,
    provision boolean NOT NULL DEFAULT false,
    link_by_email boolean NOT NULL DEFAULT false,
    aal2_values text[] NOT NULL DEFAULT '{}',
    scope text NOT NULL DEFAULT 'openid email profile',
    redirect_uris text[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    keys_at timestamptz,
    keys_max_age_s integer NOT NULL DEFAULT 300,
    created_at timestamptz NOT NULL DEFAULT backoffice.now()
);
COMMENT ON TABLE access.issuers IS 'OpenID providers whose tokens are accepted. role_map: their roles to ours. client_secret: encrypted with the key file. metadata: endpoints, from its discovery document. keys_at, keys_max_age_s: when their keys were fetched last, and how long they may be used before they are fetched again.';

-- Every key that a token may be signed with. issuer '' : our own, and keys given by hand.
CREATE TABLE access.token_keys (
    id uuid PRIMARY KEY,
    issuer text NOT NULL,
    kid text NOT NULL CHECK (octet_length(kid) <= 255),
    kind text NOT NULL CHECK (kind IN ('own', 'given', 'issuer')),
    alg text NOT NULL CHECK (alg IN ('HS256', 'RS256', 'PS256', 'ES256', 'EdDSA')),
    state text NOT NULL DEFAULT 'current' CHECK (state IN ('next', 'current', 'retired')),
    public_key jsonb,
    secret bytea,
    role_claim text CHECK (octet_length(role_claim) BETWEEN 1 AND 255),
    audience text[] NOT NULL DEFAULT '{}',
    expires_required boolean NOT NULL DEFAULT true,
    verify_until timestamptz,
    current_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    UNIQUE (issuer, kid),
    CHECK ((issuer = '') = (kind <> 'issuer')),
    CHECK ((public_key IS NULL) = (alg = 'HS256')),
    CHECK ((secret IS NULL) = (kind = 'issuer' OR kind = 'given' AND alg <> 'HS256'))
);
CREATE UNIQUE INDEX token_keys_own_idx ON access.token_keys (state) WHERE kind = 'own' AND state <> 'retired';
COMMENT ON TABLE access.token_keys IS 'Keys that tokens are verified with, each bound to one algorithm. own: tokens are issued with the current one; next is published before it is used; retired ones are good until verify_until. given: by access.add_verification_key(). issuer: fetched from an OpenID provider. public_key: a JWK. secret: private key or HMAC secret, encrypted with the key file.';

-- Who a subject of an issuer is here.  roles: those that the issuer's claims gave in the home organization.
CREATE TABLE access.identities (
    issuer text NOT NULL REFERENCES access.issuers,
    subject text NOT NULL CHECK (octet_length(subject) BETWEEN 1 AND 255),
    user_id uuid NOT NULL REFERENCES access.users,
    roles text[] NOT NULL DEFAULT '{}',
    roles_as_of bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_user_id_idx ON access.identities (user_id);
COMMENT ON TABLE access.identities IS 'Users as OpenID providers know them. roles: those given in the issuer''s home organization by its claims; roles_as_of: iat of the token that said so, in seconds since 1970 (an older token changes nothing).';

-- Log-outs that issuers told us of: also what was told (jti) must not be told again.
CREATE TABLE access.external_logouts (
    issuer text NOT NULL REFERENCES access.issuers,
    jti text NOT NULL,
    sid text,
    subject text,
    as_of bigint NOT NULL,
    keep_until timestamptz NOT NULL,
    PRIMARY KEY (issuer, jti)
);
CREATE INDEX external_logouts_sid_idx ON access.external_logouts (issuer, sid);
CREATE INDEX external_logouts_subject_idx ON access.external_logouts (issuer, subject);
COMMENT ON TABLE access.external_logouts IS 'Back-channel log-outs of OpenID providers: tokens of this session (sid), or of this subject up to as_of (seconds since 1970), are refused. Not dumped: after a restore everybody logs in again.';

-- Which of our sessions a session of an issuer began.
CREATE TABLE access.external_sessions (
    session_id uuid PRIMARY KEY REFERENCES access.sessions ON DELETE CASCADE,
    issuer text NOT NULL REFERENCES access.issuers,
    sid text,
    subject text NOT NULL
);
CREATE INDEX external_sessions_sid_idx ON access.external_sessions (issuer, sid);
CREATE INDEX external_sessions_subject_idx ON access.external_sessions (issuer, subject);
COMMENT ON TABLE access.external_sessions IS 'Our sessions that began with a log-in at an OpenID provider, so that its log-out ends them. Not dumped, like sessions.';

-- Never hold a row: see access/marker.h.
CREATE TABLE access.tokens_marker ();
COMMENT ON TABLE access.tokens_marker IS 'Empty. Backends forget keys and verified tokens when this table''s relcache entry is invalidated.';

ALTER TABLE access.issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.token_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.external_logouts ENABLE ROW LEVEL SECURITY;
ALTER TABLE access.external_sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.issuers TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.token_keys TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.identities TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.external_logouts TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON access.external_sessions TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY listed ON access.issuers FOR SELECT TO backoffice_admin, backoffice_service USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.issuers, access.token_keys, access.identities, access.external_logouts, access.external_sessions TO backoffice_kernel;
-- Not the client's secret.
GRANT SELECT (issuer, client_id, audience, algorithms, role_map, home_organization, provision, link_by_email, aal2_values, scope, redirect_uris, metadata, state, keys_at, keys_max_age_s, created_at)
    ON access.issuers TO backoffice_admin, backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.issuers', '');
SELECT pg_catalog.pg_extension_config_dump('access.token_keys', '');
SELECT pg_catalog.pg_extension_config_dump('access.identities', '');

CREATE FUNCTION access.tokens_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_tokens_changed';
COMMENT ON FUNCTION access.tokens_changed() IS
'Trigger: makes every backend forget keys and verified tokens, at the commit of this transaction. Permission: none, fired by the tables of access.';

CREATE TRIGGER tokens_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access.token_keys EXECUTE FUNCTION access.tokens_changed();
CREATE TRIGGER session_ended AFTER INSERT ON access.external_logouts EXECUTE FUNCTION access.session_ended();
CREATE TRIGGER tokens_changed AFTER INSERT OR UPDATE OF client_id, audience, algorithms, role_map, home_organization, provision, link_by_email, aal2_values, state OR DELETE OR TRUNCATE ON access.issuers
    EXECUTE FUNCTION access.tokens_changed();

-- access/tokens.functions.sql
CREATE FUNCTION access.authenticate(token text, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_authenticate';
COMMENT ON FUNCTION access.authenticate(text, uuid) IS
'Verifies a token (an access token of ours, of an issuer or of a given key, or an API key) and sets who acts in this transaction, as access.act_as() does. token: without "Bearer "; organization: for which the user wants to act, NULL: the token''s, or the only one the user belongs to. Permission: any backoffice role; the token is the right. Returns the user, NULL for an API key without user and for tokens that name a role only. Errors: token_malformed, token_unknown_key, token_bad_signature, token_expired, token_not_yet_valid, token_wrong_issuer, token_wrong_audience, token_wrong_type, token_unknown_user, session_ended, api_key_unknown, api_key_expired, other_organization, not_a_member, membership_suspended, user_disabled, unknown_organization, organization_suspended, principal_already_set, missing_argument.';
GRANT EXECUTE ON FUNCTION access.authenticate(text, uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_gateway, backoffice_definer;

CREATE FUNCTION access.begin_request(token text, organization uuid DEFAULT NULL, read_only boolean DEFAULT false,
        method text DEFAULT NULL, path text DEFAULT NULL, headers text DEFAULT NULL, cookies text DEFAULT NULL, callee oid DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_begin_request';
COMMENT ON FUNCTION access.begin_request(text, uuid, boolean, text, text, text, text, oid) IS
'Begins an HTTP request in this transaction: authenticates the token (NULL: nobody acts), sets the role (backoffice_user; backoffice.anon_role without a token; for a key with role_claim the role that the token claims), request.jwt.claims, request.method, request.path, request.headers (a JSON object with lower-case names), request.cookies, clears response.status and response.headers, and makes the transaction read-only if read_only; all until its end. callee: a function that the role must be allowed to execute: a plan that was prepared for another role would not ask again. Permission: EXECUTE (backoffice_gateway), and membership of the role to be set. Returns whom to count and log: user:<id>, apikey:<id>, subject:<key>/<subject>, role:<role> or anon. Errors: those of access.authenticate; 42501 and 22023 of SET ROLE; 42501 and 42883 for callee.';
GRANT EXECUTE ON FUNCTION access.begin_request(text, uuid, boolean, text, text, text, text, oid) TO backoffice_gateway;

CREATE FUNCTION access.rotate_signing_key(alg text DEFAULT 'ES256') RETURNS text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_rotate_signing_key';
COMMENT ON FUNCTION access.rotate_signing_key(text) IS
'Goes on to the next key for access tokens: the next one (published since the last rotation) becomes current, the current one is retired but verifies as long as its tokens live, and a new next one of the algorithm alg (RS256, PS256, ES256, EdDSA) is made. Permission: EXECUTE (backoffice_admin). Returns the key id that tokens are issued with from now on. Errors: bad_algorithm, missing_argument.';
GRANT EXECUTE ON FUNCTION access.rotate_signing_key(text) TO backoffice_admin;

CREATE FUNCTION access.jwks() RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
SELECT jsonb_build_object('keys', COALESCE(jsonb_agg(k.public_key || jsonb_build_object('kid', k.kid, 'alg', k.alg, 'use', 'sig')
                                                     ORDER BY k.created_at DESC, k.kid DESC), '[]'))
FROM access.token_keys k
WHERE k.kind = 'own' AND (k.verify_until IS NULL OR k.verify_until > backoffice.now())
$$;
ALTER FUNCTION access.jwks() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.jwks() IS
'The public keys of our own access tokens as a JWK set (RFC 7517): the next, the current, and retired ones whose tokens may still be used. Empty before the first token was issued. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.jwks() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_gateway, backoffice_admin, backoffice_definer;

CREATE FUNCTION access.add_verification_key(kid text, alg text, key text, role_claim text DEFAULT NULL, audience text[] DEFAULT '{}', expires_required boolean DEFAULT true) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_add_verification_key';
COMMENT ON FUNCTION access.add_verification_key(text, text, text, text, text[], boolean) IS
'Accepts tokens that somebody else signs with this key. kid: the token''s key id, NULL: tokens that name none; alg: HS256, RS256, PS256, ES256, EdDSA; key: a secret of 32 to 512 bytes (or a JWK of kty oct) for HS256, else a public JWK; audience: one of these must be in aud (empty: not asked); expires_required: tokens without exp are refused. role_claim NULL: sub is a user''s id, org the organization, aal the authentication level (aal1, aal2), as in our own tokens. role_claim given (as in PostgREST; a path with dots): the claim names the database role that begin_request() sets, and nobody acts. Whoever has the secret can be anybody, or take any role the login may set. Permission: EXECUTE (backoffice_admin). Returns the key''s id. Errors: bad_algorithm, bad_key, bad_key_id, key_exists, missing_argument.';
GRANT EXECUTE ON FUNCTION access.add_verification_key(text, text, text, text, text[], boolean) TO backoffice_admin;

CREATE FUNCTION access.remove_verification_key(kid text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_remove_verification_key';
COMMENT ON FUNCTION access.remove_verification_key(text) IS
'Tokens signed with a key of access.add_verification_key() are refused from now on, also those verified before. kid: as given there. Permission: EXECUTE (backoffice_admin). Returns false when there was no such key.';
GRANT EXECUTE ON FUNCTION access.remove_verification_key(text) TO backoffice_admin;

-- access/invitations.tables.sql
-- access: who was asked to join an organization, by e-mail address. Gone when accepted, withdrawn or over.
CREATE TABLE access.invitations (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    email text NOT NULL CHECK (octet_length(email) <= 254),
    role text NOT NULL,
    invited_by uuid,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, role) REFERENCES access.roles
);
CREATE UNIQUE INDEX invitations_email_key ON access.invitations (organization_id, lower(email));
CREATE INDEX invitations_email_idx ON access.invitations (lower(email));
COMMENT ON TABLE access.invitations IS 'Who was asked to join an organization, whether there is such a user or not: an organization never learns which addresses are known.';
COMMENT ON COLUMN access.invitations.invited_by IS 'The user who asked; NULL: a service.';

ALTER TABLE access.invitations ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.invitations USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.invitations TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.invitations TO backoffice_definer, backoffice_kernel;
GRANT SELECT ON access.invitations TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.invitations', '');

-- access/invitations.functions.sql
CREATE FUNCTION access.invite(email text, role text DEFAULT 'member', valid interval DEFAULT '7 days', organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_invite';
COMMENT ON FUNCTION access.invite(text, text, interval, uuid) IS
'Asks the person with this e-mail address to join the organization with a role; the answer does not tell whether there is such a user. Asked again, role and end are changed. valid: how long, up to 366 days. Permission: access.manage_members and every right of the role; without principal a service. Returns the invitation''s id. Errors: bad_email, already_member, unknown_role, beyond_own_rights, bad_valid_until, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.invite(text, text, interval, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.withdraw_invitation(invitation uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_withdraw_invitation';
COMMENT ON FUNCTION access.withdraw_invitation(uuid, uuid) IS
'Takes an invitation back. Returns false when there is none (any more). Permission: access.manage_members; without principal a service. Errors: no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.withdraw_invitation(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.accept_invitation(invitation uuid) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_accept_invitation';
COMMENT ON FUNCTION access.accept_invitation(uuid) IS
'Makes the acting user a member of the organization that invited its e-mail address, with the role offered. Permission: any user. Returns the organization. Errors: unknown_invitation, user_only, no_principal, missing_argument.';
GRANT EXECUTE ON FUNCTION access.accept_invitation(uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.my_invitations() RETURNS TABLE (id uuid, organization_id uuid, organization text, role text, created_at timestamptz, expires_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.id, i.organization_id, o.name, i.role, i.created_at, i.expires_at
    FROM access.users u
    JOIN access.invitations i ON lower(i.email) = lower(u.email) AND i.expires_at > backoffice.now()
    JOIN access.organizations o ON o.id = i.organization_id AND o.state = 'active'
    WHERE u.id = backoffice.current_user_id()
    ORDER BY i.id
$$;
ALTER FUNCTION access.my_invitations() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.my_invitations() IS
'Invitations to the acting user''s e-mail address, of all organizations. Permission: any user.';
GRANT EXECUTE ON FUNCTION access.my_invitations() TO backoffice_service, backoffice_definer;

-- access/sessions.functions.sql
CREATE FUNCTION access.login(email text, password text, organization uuid DEFAULT NULL, device_info jsonb DEFAULT NULL, ip inet DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_login';
COMMENT ON FUNCTION access.login(text, text, uuid, jsonb, inet) IS
'Logs a user in by password and starts a session. organization: the one the tokens are for (default: the first the user belongs to); device_info: what the user will recognize the device by, an object of at most 4 kB (user_agent is kept apart); ip: the client''s address. Returns {"status": "ok", access_token, token_type, expires_in (s), refresh_token, session_id, aal, mfa: {required, factors}, user: {id, email, organization_id, organizations}}, or status denied (unknown user, wrong password, disabled: not told apart), locked (too many failures for this account), throttled (for this address) or busy (too many passwords being hashed), with retry_after_s: results, so that their events commit. Pass the password as a parameter, so that it does not get into logs. Permission: anonymous. Errors: not_a_member, bad_device_info, missing_argument.';
GRANT EXECUTE ON FUNCTION access.login(text, text, uuid, jsonb, inet) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.refresh(refresh_token text, ip inet DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_refresh';
COMMENT ON FUNCTION access.refresh(text, inet) IS
'Trades a refresh token for the next one, and a new access token. Returns what access.login does, or status invalid (no token of a living session), expired (the session''s time is over) or reused (the token is older than the one before the current: it was copied, and the session has ended; commit that). The token before the current one gets the current one again. Permission: anonymous. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION access.refresh(text, inet) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.logout() RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_logout';
COMMENT ON FUNCTION access.logout() IS
'Ends the session that acts; its access tokens count no more in transactions that start after the COMMIT. Returns false when it had ended already. Permission: any user. Errors: no_principal, user_only, no_session.';
GRANT EXECUTE ON FUNCTION access.logout() TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.logout_all() RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_logout_all';
COMMENT ON FUNCTION access.logout_all() IS
'Ends all sessions of the acting user, the one that acts among them. Returns how many. Permission: any user. Errors: no_principal, user_only.';
GRANT EXECUTE ON FUNCTION access.logout_all() TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.end_session(session uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_end_session';
COMMENT ON FUNCTION access.end_session(uuid) IS
'Ends one of the acting user''s own sessions, or with the permission access.manage_members one that is for the organization acted for; without principal a service ends any. Returns false when it had ended already. Permission: any user. Errors: unknown_session, no_principal, service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.end_session(uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.session_id() RETURNS uuid
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_session_id';
COMMENT ON FUNCTION access.session_id() IS
'The session that acts in this transaction; NULL when none does. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.session_id() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.me() RETURNS jsonb
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_me';
COMMENT ON FUNCTION access.me() IS
'Who acts: {user: {id, email, created_at, has_password}, organization: {id, name}, organizations, roles, permissions, session: {id, aal, amr, created_at, expires_at}, factors, recovery_codes_left}; null where there is none. Permission: any user. Errors: no_principal.';
GRANT EXECUTE ON FUNCTION access.me() TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.change_password(old text, new text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_change_password';
COMMENT ON FUNCTION access.change_password(text, text) IS
'Changes the acting user''s password and ends all their other sessions. Returns {"status": "ok"}, or denied (the old one is wrong), locked (too often) or busy, with retry_after_s: results, so that their events commit. Pass passwords as parameters, so that they do not get into logs. Permission: any user. Errors: password_too_short, password_too_long, aal2_required, busy, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.change_password(text, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.set_password("user" uuid, password text) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_password';
COMMENT ON FUNCTION access.set_password(uuid, text) IS
'Gives a user a new password, after the service has made sure by other means who asks, and ends all their sessions. Permission: a service, while no user acts. Errors: unknown_user, password_too_short, password_too_long, busy, service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_password(uuid, text) TO backoffice_service;

CREATE FUNCTION access.password_hashing() RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_password_hashing';
COMMENT ON FUNCTION access.password_hashing() IS
'How busy the hashing of passwords is: {hashes (since the server started), running (now), most_at_once (since then)}. Permission: backoffice_worker, backoffice_admin.';
GRANT EXECUTE ON FUNCTION access.password_hashing() TO backoffice_worker, backoffice_admin;

CREATE VIEW access.my_sessions WITH (security_invoker = true) AS
SELECT s.id, s.for_organization AS organization_id, s.device_info, s.ip, s.user_agent, s.created_at, s.authenticated_at, s.last_seen_at, s.expires_at,
       'aal' || s.aal AS aal, s.amr
FROM access.sessions s
WHERE s.user_id = backoffice.current_user_id() AND s.state = 'active' AND s.expires_at > backoffice.now()
ORDER BY s.last_seen_at DESC, s.id;
COMMENT ON VIEW access.my_sessions IS
'The acting user''s sessions that have not ended. Permission: any user.';
GRANT SELECT ON access.my_sessions TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.member_sessions(OUT id uuid, OUT user_id uuid, OUT email text, OUT device_info jsonb, OUT ip inet, OUT created_at timestamptz,
                                                  OUT last_seen_at timestamptz, OUT expires_at timestamptz, OUT aal text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.id, s.user_id, u.email, s.device_info, s.ip, s.created_at, s.last_seen_at, s.expires_at, 'aal' || s.aal
    FROM access.sessions s
    JOIN access.memberships m ON m.organization_id = s.for_organization AND m.user_id = s.user_id
    JOIN access.users u ON u.id = s.user_id
    WHERE s.for_organization = backoffice.current_organization() AND s.state = 'active' AND s.expires_at > backoffice.now()
      AND access.can('access.manage_members')
    ORDER BY s.last_seen_at DESC, s.id
$$;
COMMENT ON FUNCTION access.member_sessions() IS
'The sessions that members have for the organization acted for, to be ended with access.end_session(). Permission: access.manage_members, else no rows.';
ALTER FUNCTION access.member_sessions() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.member_sessions() TO backoffice_service, backoffice_definer;

SELECT events.define_topic('access.users', 'user id', '7 days', 6, 'out', 'Users: user.created, user.updated, user.logged_in.');
SELECT events.define_schema('access.users', NULL, '{
    "type": "object",
    "required": ["userId"],
    "properties": {
        "userId": {"type": "string"},
        "email": {"type": "string"},
        "state": {"enum": ["active", "disabled"]},
        "changed": {"type": "array", "items": {"type": "string"}},
        "sessionId": {"type": "string"},
        "method": {"type": "string"},
        "ip": {"type": "string"},
        "by": {"type": "string"}
    },
    "additionalProperties": false
}');

-- access/mfa.functions.sql
CREATE FUNCTION access.mfa_enroll(label text DEFAULT 'authenticator') RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_enroll';
COMMENT ON FUNCTION access.mfa_enroll(text) IS
'Begins to enroll an authenticator application for the acting user: {factor_id, secret (base32), otpauth_uri (for the QR code)}, shown this once. It counts from access.mfa_activate() on; one that was not activated is replaced by the next. label: 1 to 100 bytes. Needs a log-in within backoffice.fresh_login_period, and a session with second factor if the user has one already. Permission: any user. Errors: no_principal, user_only, no_session, session_ended, login_not_fresh, aal2_required, too_many_factors, bad_label.';
GRANT EXECUTE ON FUNCTION access.mfa_enroll(text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.mfa_activate(factor uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_activate';
COMMENT ON FUNCTION access.mfa_activate(uuid, text) IS
'Activates an enrolled authenticator by its first code, and raises the session to aal2. Returns what access.login does, with new tokens (the session''s former refresh tokens are void), and recovery_codes (of the first factor; shown this once, else empty); or status denied (wrong code) or locked (too many wrong codes) with retry_after_s. From now on the user has permissions only in sessions of aal2. Permission: any user. Errors: unknown_factor, factor_active, aal2_required, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_activate(uuid, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.mfa_verify(code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_verify';
COMMENT ON FUNCTION access.mfa_verify(text) IS
'Shows a second factor: a code of one of the acting user''s authenticators (each code once) or a recovery code (each once), and raises the session to aal2. Returns what access.login does, with new tokens (the session''s former refresh tokens are void), or status denied (wrong or used code) or locked (too many wrong codes) with retry_after_s: results, so that their events commit. Permission: any user. Errors: no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_verify(text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.mfa_disable(factor uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_disable';
COMMENT ON FUNCTION access.mfa_disable(uuid, text) IS
'Removes one of the acting user''s authenticators; the code is of any active one, or a recovery code. With the last one the recovery codes go. Returns {"status": "ok"}, or denied, or locked with retry_after_s. Permission: any user. Errors: unknown_factor, no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_disable(uuid, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.mfa_recovery_codes(code text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_mfa_recovery_codes';
COMMENT ON FUNCTION access.mfa_recovery_codes(text) IS
'Makes new recovery codes, which replace the old ones: {"status": "ok", recovery_codes}, shown this once; or denied, or locked with retry_after_s. code: as of access.mfa_verify. Permission: any user. Errors: no_principal, user_only, no_session, session_ended, missing_argument.';
GRANT EXECUTE ON FUNCTION access.mfa_recovery_codes(text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.reset_mfa("user" uuid) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_reset_mfa';
COMMENT ON FUNCTION access.reset_mfa(uuid) IS
'Removes all second factors and recovery codes of a user who has lost them. Returns how many factors there were. Permission: a service, while no user acts. Errors: service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.reset_mfa(uuid) TO backoffice_service;

CREATE FUNCTION access.totp(seed bytea, at timestamptz, digits integer DEFAULT 6) RETURNS text
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'access_totp';
COMMENT ON FUNCTION access.totp(bytea, timestamptz, integer) IS
'What an authenticator with this seed shows at a time (RFC 6238, HMAC-SHA-1, 30 seconds; 6 to 8 digits). For tests. Permission: internal.';

-- access/issuers.functions.sql
CREATE FUNCTION access.define_issuer(issuer text, client_id text, client_secret text DEFAULT NULL, audience text[] DEFAULT '{}',
        role_map jsonb DEFAULT '{}', organization uuid DEFAULT NULL, provision boolean DEFAULT false, link_by_email boolean DEFAULT false,
        aal2_values text[] DEFAULT '{}', algorithms text[] DEFAULT '{RS256}', scope text DEFAULT 'openid email profile', redirect_uris text[] DEFAULT '{}') RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_define_issuer';
COMMENT ON FUNCTION access.define_issuer(text, text, text, text[], jsonb, uuid, boolean, boolean, text[], text[], text, text[]) IS
'Accepts the tokens of an OpenID provider, or changes how (all of it). issuer: its URL, as in iss; client_id, client_secret: of this application there (the secret is kept encrypted; pass it as a parameter); audience: one of these must be in an access token''s aud (empty: its azp must be client_id); role_map: its roles to ours, {"admin": "administrator", "client/clerk": "member"}; organization: where its users belong, and get their roles; its tokens, and sessions begun there, are good for this organization only, unless link_by_email; provision: users are taken in at first sight; link_by_email: a new subject with a verified e-mail address is the user with that address; aal2_values: what in acr or amr counts as a second factor; algorithms: of RS256, PS256, ES256, EdDSA; scope: what to ask for at log-in; redirect_uris: where a log-in may return to (empty: anywhere the provider allows). Permission: EXECUTE (backoffice_admin). Errors: bad_issuer, missing_argument.';
GRANT EXECUTE ON FUNCTION access.define_issuer(text, text, text, text[], jsonb, uuid, boolean, boolean, text[], text[], text, text[]) TO backoffice_admin;

CREATE FUNCTION access.disable_issuer(issuer text) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_disable_issuer';
COMMENT ON FUNCTION access.disable_issuer(text) IS
'The issuer''s tokens are refused from now on, and nobody logs in there; access.define_issuer() takes it back. Sessions that began there go on. Permission: EXECUTE (backoffice_admin). Returns false when there was no such issuer in use. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION access.disable_issuer(text) TO backoffice_admin;

CREATE FUNCTION access.set_issuer_keys(issuer text, jwks jsonb, max_age_s integer DEFAULT 300, metadata jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_set_issuer_keys';
COMMENT ON FUNCTION access.set_issuer_keys(text, jsonb, integer, jsonb) IS
'Stores the keys that an issuer publishes; those no longer in the set are good for backoffice.issuer_key_grace, and deleted at the next call after that. jwks: as fetched (keys without key id, for encryption, or of an algorithm not accepted for the issuer are passed over); max_age_s: seconds until they are due again (60 to 86400); metadata: endpoints of its discovery document, NULL: as before. Permission: EXECUTE (backoffice_worker). Returns whether a key changed. Errors: unknown_issuer, bad_jwks, missing_argument.';
GRANT EXECUTE ON FUNCTION access.set_issuer_keys(text, jsonb, integer, jsonb) TO backoffice_worker;

CREATE FUNCTION access.unknown_key_due(issuer text, since timestamptz) RETURNS boolean
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_unknown_key_due';
COMMENT ON FUNCTION access.unknown_key_due(text, timestamptz) IS
'Whether a token named, since then, a key id that this issuer''s keys do not have, and nobody was told so for ten seconds: whoever asks is told. Permission: internal.';
GRANT EXECUTE ON FUNCTION access.unknown_key_due(text, timestamptz) TO backoffice_kernel;

CREATE FUNCTION access.issuers_due(OUT issuer text, OUT keys_at timestamptz) RETURNS SETOF record
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
SELECT i.issuer, i.keys_at FROM access.issuers i
WHERE i.state = 'active'
  AND (i.keys_at IS NULL OR backoffice.now() >= i.keys_at + make_interval(secs => i.keys_max_age_s)
       OR access.unknown_key_due(i.issuer, i.keys_at))
ORDER BY i.keys_at NULLS FIRST
$$;
ALTER FUNCTION access.issuers_due() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.issuers_due() IS
'Issuers whose keys are to be fetched: never fetched, older than their max_age_s, or lacking a key id that a token named since: that makes an issuer due at once, for whoever asks first, and again after ten seconds if its keys did not come. Permission: EXECUTE (backoffice_worker).';
GRANT EXECUTE ON FUNCTION access.issuers_due() TO backoffice_worker;

-- access/api_keys.tables.sql
-- Keys of machines: shown once, kept as a keyed hash.
CREATE TABLE access.api_key_records (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    name text NOT NULL CHECK (name <> '' AND octet_length(name) <= 200),
    user_id uuid,
    scopes text[] NOT NULL,
    hash bytea NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'revoked')),
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT backoffice.now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, user_id) REFERENCES access.memberships ON DELETE CASCADE
);
CREATE INDEX api_key_records_user_idx ON access.api_key_records (organization_id, user_id);
COMMENT ON TABLE access.api_key_records IS 'API keys. user_id: whom the key acts for (NULL: for itself, a machine); scopes: what it may do at most, permissions or patterns of them; hash: keyed, with the key file. last_used_at: to some ten seconds.';

ALTER TABLE access.api_key_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.api_key_records USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.api_key_records TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.api_key_records TO backoffice_kernel;
GRANT SELECT (organization_id, id, name, user_id, scopes, state, created_by, created_at, expires_at, last_used_at) ON access.api_key_records TO backoffice_service, backoffice_definer;
GRANT INSERT, UPDATE ON access.api_key_records TO backoffice_definer;

SELECT pg_catalog.pg_extension_config_dump('access.api_key_records', '');

CREATE TRIGGER tokens_changed AFTER UPDATE OF scopes, state, expires_at, user_id OR DELETE OR TRUNCATE ON access.api_key_records EXECUTE FUNCTION access.tokens_changed();

-- access/api_keys.functions.sql
CREATE FUNCTION access.create_api_key(name text, scopes text[], expires_at timestamptz DEFAULT NULL, organization uuid DEFAULT NULL, "user" uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_api_key';
COMMENT ON FUNCTION access.create_api_key(text, text[], timestamptz, uuid, uuid) IS
'Makes a key for a machine, to be used as a token. name: for people, 1 to 200 bytes; scopes: what it may do, permissions, context.* or * (what is defined later included); expires_at: NULL: never; "user": whom it acts for, then it may do no more than that user (a user who acts gives only itself). Permission: access.manage_api_keys and every right of the scopes; without principal a service. Returns {"id", "key"}: the key is shown this once. Errors: bad_api_key_name, bad_list, unknown_permission, bad_expires_at, beyond_own_rights, not_oneself, unknown_user, no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_api_key(text, text[], timestamptz, uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.revoke_api_key(id uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_revoke_api_key';
COMMENT ON FUNCTION access.revoke_api_key(uuid, uuid) IS
'Transactions that begin after this one''s COMMIT returned refuse the key. Permission: access.manage_api_keys; without principal a service. Returns false when there was no such key in use. Errors: no_principal, permission_denied, other_organization, unknown_organization, missing_argument.';
GRANT EXECUTE ON FUNCTION access.revoke_api_key(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE VIEW access.api_keys WITH (security_invoker = true) AS
SELECT k.organization_id, k.id, k.name, k.user_id, k.scopes, k.state, k.created_by, k.created_at, k.expires_at, k.last_used_at
FROM access.api_key_records k
WHERE k.organization_id = backoffice.current_organization() AND access.can('access.manage_api_keys');
COMMENT ON VIEW access.api_keys IS
'The API keys of the organization acted for, revoked ones too; last_used_at to some ten seconds. Permission: access.manage_api_keys, else no rows.';
GRANT SELECT ON access.api_keys TO backoffice_service, backoffice_definer;

SELECT access.define_permission('access.manage_api_keys', 'create, list and revoke API keys');

-- access/teams.functions.sql
CREATE FUNCTION access.create_team(name text, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_create_team';
COMMENT ON FUNCTION access.create_team(text, uuid) IS
'Makes a team of an organization (by default the one acted for). name: 1 to 100 bytes, unique in the organization, upper and lower case alike. Permission: access.manage_teams; without principal a service. Returns the id. Errors: bad_team_name, team_name_taken, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.create_team(text, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.rename_team(team uuid, name text, organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_rename_team';
COMMENT ON FUNCTION access.rename_team(uuid, text, uuid) IS
'Gives a team another name; rules as of access.create_team. Permission: access.manage_teams; without principal a service. Errors: unknown_team, bad_team_name, team_name_taken, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.rename_team(uuid, text, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.delete_team(team uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_delete_team';
COMMENT ON FUNCTION access.delete_team(uuid, uuid) IS
'Deletes a team; its members stay in the organization, records that name it are seen by nobody for its sake. Permission: access.manage_teams; without principal a service. Returns false when there was none. Errors: unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.delete_team(uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.add_team_member(team uuid, "user" uuid, organization uuid DEFAULT NULL) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_add_team_member';
COMMENT ON FUNCTION access.add_team_member(uuid, uuid, uuid) IS
'Puts a member of the organization into a team (32 of one organization at most); nothing happens when it is in it. Counts in transactions that start after the COMMIT returned. Permission: access.manage_teams; without principal a service. Errors: unknown_team, unknown_user, too_many_teams, unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.add_team_member(uuid, uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.remove_team_member(team uuid, "user" uuid, organization uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_remove_team_member';
COMMENT ON FUNCTION access.remove_team_member(uuid, uuid, uuid) IS
'Takes a user out of a team. Counts in transactions that start after the COMMIT returned. Permission: access.manage_teams; without principal a service. Returns false when the user was not in it. Errors: unknown_organization, other_organization, no_principal, permission_denied, missing_argument.';
GRANT EXECUTE ON FUNCTION access.remove_team_member(uuid, uuid, uuid) TO backoffice_service, backoffice_definer;

CREATE FUNCTION access.may_see(permission text, owner uuid, team uuid DEFAULT NULL) RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_may_see';
COMMENT ON FUNCTION access.may_see(text, uuid, uuid) IS
'Whether a permission reaches a record with this owner and team: everything for who has the permission itself, records of the user''s teams and the user''s own with permission:team, the user''s own with permission:own. permission: the name without scope. For policies and conditions; the same answer for the whole transaction. False when nobody acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.may_see(text, uuid, uuid) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.scope(permission text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_scope';
COMMENT ON FUNCTION access.scope(text) IS
'How far the acting user''s permission reaches: all, team, own, or NULL for nowhere. permission: the name without scope. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.scope(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.team_ids() RETURNS uuid[]
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_team_ids';
COMMENT ON FUNCTION access.team_ids() IS
'The teams that the acting user is in, of the organization acted for; none when nobody or a service acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.team_ids() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.teams_for(permission text) RETURNS uuid[]
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_teams_for';
COMMENT ON FUNCTION access.teams_for(text) IS
'The teams whose records a permission shows the acting user: access.team_ids() for who has it with :team or without scope, else none. For conditions that an index serves: team_id = ANY (access.teams_for(''deals.read'')). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.teams_for(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.owner_for(permission text) RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_owner_for';
COMMENT ON FUNCTION access.owner_for(text) IS
'The acting user, if the permission shows them their own records (with any scope), else NULL. For conditions that an index serves: owner_id = access.owner_for(''deals.read''). Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.owner_for(text) TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.grant_platform_administrator("user" uuid) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_grant_platform_administrator';
COMMENT ON FUNCTION access.grant_platform_administrator(uuid) IS
'Makes a user who belongs to no organization a platform administrator: may create and suspend organizations, and sees no tenant''s data. Permission: a service, while no user acts. Errors: service_only, unknown_user, is_a_member, missing_argument.';
GRANT EXECUTE ON FUNCTION access.grant_platform_administrator(uuid) TO backoffice_service;

CREATE FUNCTION access.revoke_platform_administrator("user" uuid) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_revoke_platform_administrator';
COMMENT ON FUNCTION access.revoke_platform_administrator(uuid) IS
'Undoes access.grant_platform_administrator, for transactions that start after the COMMIT returned. Permission: a service, while no user acts. Returns false when the user was none. Errors: service_only, missing_argument.';
GRANT EXECUTE ON FUNCTION access.revoke_platform_administrator(uuid) TO backoffice_service;

CREATE FUNCTION access.is_platform_administrator() RETURNS boolean
    LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'access_is_platform_administrator';
COMMENT ON FUNCTION access.is_platform_administrator() IS
'Whether a platform administrator acts. Permission: any backoffice role.';
GRANT EXECUTE ON FUNCTION access.is_platform_administrator() TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE FUNCTION access.list_organizations(OUT id uuid, OUT name text, OUT state text, OUT created_at timestamptz)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT o.id, o.name, o.state, o.created_at FROM access.organizations o WHERE access.is_platform_administrator() ORDER BY o.created_at, o.id
$$;
COMMENT ON FUNCTION access.list_organizations() IS
'Every organization, for platform administrators; no rows for others. Permission: platform administrators.';
ALTER FUNCTION access.list_organizations() OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.list_organizations() TO backoffice_service, backoffice_definer;

SELECT access.define_permission('access.manage_teams', 'make teams, put members into them');
SELECT events.define_topic('access.teams', 'team id', '7 days', 6, 'out', 'Teams: team.created, team.updated, team.deleted, team.member.added, team.member.removed.');
SELECT events.define_schema('access.teams', NULL, '{
    "type": "object",
    "required": ["teamId"],
    "properties": {
        "teamId": {"type": "string"},
        "userId": {"type": "string"},
        "name": {"type": "string"},
        "by": {"type": "string"}
    },
    "additionalProperties": false
}');

-- access/oidc.tables.sql
-- Log-ins that have gone to an OpenID provider and not come back yet.
CREATE TABLE access.oidc_logins (
    state_hash bytea PRIMARY KEY,
    id uuid NOT NULL,
    issuer text NOT NULL REFERENCES access.issuers,
    secret bytea NOT NULL,
    redirect_uri text NOT NULL,
    wanted_organization uuid,
    taken_at timestamptz,
    expires_at timestamptz NOT NULL
);
CREATE INDEX oidc_logins_expires_at_idx ON access.oidc_logins (expires_at);
COMMENT ON TABLE access.oidc_logins IS 'Log-ins under way at an OpenID provider: state as a hash, nonce and PKCE verifier encrypted with the key file. taken_at: when its code was exchanged; once only. Not dumped: they last ten minutes.';

ALTER TABLE access.oidc_logins ENABLE ROW LEVEL SECURITY;
CREATE POLICY kernel ON access.oidc_logins TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.oidc_logins TO backoffice_kernel;

-- access/oidc.functions.sql
CREATE FUNCTION access.oidc_begin(issuer text, redirect_uri text, organization uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_oidc_begin';
COMMENT ON FUNCTION access.oidc_begin(text, text, uuid) IS
'Begins a log-in at an OpenID provider (authorization code, PKCE S256). redirect_uri: where the provider sends the browser with the code; organization: for which the user wants to act. Returns {"url": where to send the browser, "state": to be bound to that browser by a cookie, "expires_in": seconds}. Permission: anonymous. Errors: unknown_issuer, issuer_not_ready, bad_redirect_uri, missing_argument.';
GRANT EXECUTE ON FUNCTION access.oidc_begin(text, text, uuid) TO backoffice_service, backoffice_definer, backoffice_gateway;

CREATE FUNCTION access.oidc_pending(state text) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_oidc_pending';
COMMENT ON FUNCTION access.oidc_pending(text) IS
'What the exchange of the code needs, once: {"issuer", "redirect_uri", "token_endpoint", "client_id", "client_secret" (if the client has one), "code_verifier"}. Commit it before the exchange. Permission: EXECUTE (backoffice_gateway). Errors: unknown_login, missing_argument.';
GRANT EXECUTE ON FUNCTION access.oidc_pending(text) TO backoffice_gateway;

CREATE FUNCTION access.oidc_complete(state text, id_token text, access_token text DEFAULT NULL, device_info jsonb DEFAULT NULL, ip inet DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_oidc_complete';
COMMENT ON FUNCTION access.oidc_complete(text, text, text, jsonb, inet) IS
'Ends a log-in with the tokens that the code was exchanged for, once: checks them, finds the user or takes it in, maps its roles (those of the access token, where it is a JWT of the issuer), starts a session. device_info, ip: as of access.login(). Returns what access.login() does; status denied: the user is disabled, or asked for another organization than the one the issuer speaks for. Permission: EXECUTE (backoffice_gateway). Errors: unknown_login, those of access.authenticate, not_a_member, bad_device_info, missing_argument.';
GRANT EXECUTE ON FUNCTION access.oidc_complete(text, text, text, jsonb, inet) TO backoffice_gateway;

CREATE FUNCTION access.backchannel_logout(logout_token text) RETURNS integer
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_backchannel_logout';
COMMENT ON FUNCTION access.backchannel_logout(text) IS
'An OpenID provider tells that a session there, or all of a subject''s, ended: our sessions that began with it end, and its access tokens are refused. Over HTTP every error is answered with 400. Permission: anonymous; the token is the right. Returns how many sessions ended. Errors: logout_token_replayed, those of access.authenticate about tokens, missing_argument.';
GRANT EXECUTE ON FUNCTION access.backchannel_logout(text) TO backoffice_service, backoffice_definer, backoffice_gateway;

-- access/keys.functions.sql
CREATE FUNCTION access.rotate_keys(batch integer DEFAULT 10000) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_rotate_keys';
COMMENT ON FUNCTION access.rotate_keys(integer) IS
'Makes stored secrets of this context (signing keys, secrets of given keys and of issuers'' clients, keys of sessions, seeds of second factors) anew with the current key of the key file, up to batch (1 to 1000000); those that are locked are left for the next call. Returns how many: call it until that is 0. Permission: EXECUTE (backoffice_admin). Errors: invalid_argument, key_unknown, key_file_missing.';
GRANT EXECUTE ON FUNCTION access.rotate_keys(integer) TO backoffice_admin;

CREATE FUNCTION access.key_usage() RETURNS TABLE (key_id text, secrets bigint, hashes bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT convert_from(substr(s.stored, 2, get_byte(s.stored, 0)), 'UTF8'), count(*) FILTER (WHERE NOT s.hash), count(*) FILTER (WHERE s.hash)
    FROM (SELECT k.secret, false FROM access.token_keys k
          UNION ALL SELECT i.client_secret, false FROM access.issuers i
          UNION ALL SELECT e.refresh_key, false FROM access.sessions e WHERE e.state = 'active'
          UNION ALL SELECT m.seed, false FROM access.mfa_factors m
          UNION ALL SELECT l.secret, false FROM access.oidc_logins l
          UNION ALL SELECT a.hash, true FROM access.api_key_records a WHERE a.state = 'active'
          UNION ALL SELECT r.code_hash, true FROM access.recovery_codes r WHERE r.used_at IS NULL) s (stored, hash)
    WHERE s.stored IS NOT NULL
    GROUP BY 1
$$;
ALTER FUNCTION access.key_usage() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION access.key_usage() IS
'How many secrets and keyed hashes of this context need which key of the key file: a key that neither this nor certificates.key_usage() lists may go. An API key''s hash is made anew when the key is used. Permission: EXECUTE (backoffice_admin).';
GRANT EXECUTE ON FUNCTION access.key_usage() TO backoffice_admin;

-- access/audit.tables.sql
-- access: what happened to an organization's users and rights, to be looked at: written from the event log, once per event.
CREATE TABLE access.audit_entries (
    organization_id uuid NOT NULL REFERENCES access.organizations,
    id uuid NOT NULL,
    topic text NOT NULL,
    key text,
    type text NOT NULL,
    payload jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (organization_id, id)
);
COMMENT ON TABLE access.audit_entries IS 'Events of access.audit, access.users and access.teams that belong to an organization. id: of the event, so that they are in the order of their making.';

ALTER TABLE access.audit_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON access.audit_entries USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON access.audit_entries TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON access.audit_entries TO backoffice_definer;
GRANT SELECT, DELETE ON access.audit_entries TO backoffice_kernel;
GRANT SELECT ON access.audit_entries TO backoffice_service;

SELECT pg_catalog.pg_extension_config_dump('access.audit_entries', '');

-- access/audit.functions.sql
SELECT access.define_permission('access.read_audit', 'see who changed rights, who logged in, and what failed');

CREATE FUNCTION access.on_audit_event(event events.event) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO access.audit_entries (organization_id, id, topic, key, type, payload, occurred_at)
    SELECT event.organization_id, event.id, event.topic, event.key, event.type, event.payload, event.occurred_at
    -- What belongs to nobody (a failed log-in) is for operators, who read the log.
    FROM access.organizations o WHERE o.id = event.organization_id
    ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION access.on_audit_event(events.event) IS
'Keeps an event for its organization (subscription access.audit_entries). Permission: the extension only.';
GRANT EXECUTE ON FUNCTION access.on_audit_event(events.event) TO backoffice_definer;

SELECT events.subscribe('access.audit_entries', ARRAY['access.audit', 'access.users', 'access.teams'], 'access.on_audit_event(events.event)'::regprocedure,
                        start => 'earliest', role => 'backoffice_definer');

CREATE FUNCTION access.prune_audit_entries(older_than interval) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM access.audit_entries WHERE occurred_at < clock_timestamp() - older_than RETURNING 1
    )
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION access.prune_audit_entries(interval) IS
'Deletes audit entries older than that, of every organization; otherwise they are kept. Returns how many. Permission: backoffice_admin.';
ALTER FUNCTION access.prune_audit_entries(interval) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.prune_audit_entries(interval) TO backoffice_admin;

-- access/listeners.functions.sql
CREATE FUNCTION access.listener_events(after events.position, max_events int DEFAULT 500, max_bytes int DEFAULT 262144,
                                                  OUT next events.position, OUT events int, OUT batch bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT f.next, f.events, f.batch
    FROM events.fetch(listener_events.after, listener_events.max_events, listener_events.max_bytes,
                      (SELECT array_agg(t.name) FROM events.topics t WHERE t.listen_permission IS NOT NULL OR t.name = 'access.audit')) f
$$;
COMMENT ON FUNCTION access.listener_events(events.position, int, int) IS
'What the HTTP gateway has to know of the log, of every organization: the events of topics that somebody may listen to, and those of access.audit, which tell it whose rights to look at again. Arguments, results and errors as with events.fetch(). Whom it shows them to, it asks api.event_topics() as that principal. Permission: backoffice_gateway.';
ALTER FUNCTION access.listener_events(events.position, int, int) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.listener_events(events.position, int, int) TO backoffice_gateway;

CREATE FUNCTION access.listener_rights(tokens text[], organizations uuid[]) RETURNS text[]
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_listener_rights';
COMMENT ON FUNCTION access.listener_rights(text[], uuid[]) IS
'What each of many tokens may listen to now, for the HTTP gateway''s event streams: verified and looked up as by access.authenticate(), without acting as anybody; the transaction becomes read-only. organizations: for which each acts, NULL: its own. Permission: EXECUTE (backoffice_gateway); the tokens are the right. Returns for each token its organization, and behind a space the topics of api.event_topics() between commas; NULL: a token that may not listen at all. Errors: those of access.authenticate, for the first token that is not good; bad_list.';
GRANT EXECUTE ON FUNCTION access.listener_rights(text[], uuid[]) TO backoffice_gateway;

-- lifecycle/lifecycle.tables.sql
CREATE SCHEMA lifecycle;
COMMENT ON SCHEMA lifecycle IS 'the state-machine engine: declared states and transitions, enforced on every write';
GRANT USAGE ON SCHEMA lifecycle TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE TABLE lifecycle.definitions (
    name                text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 150),
    entity_schema       text NOT NULL,
    entity_table        text NOT NULL,
    state_column        text NOT NULL,
    states              text[] NOT NULL CHECK (cardinality(states) BETWEEN 1 AND 64),
    descriptions        jsonb NOT NULL DEFAULT '{}',
    key_column          text NOT NULL,
    organization_column text,
    version_column      text,
    topic               text,
    emit                boolean NOT NULL,
    payload_function    text,
    built_in            boolean NOT NULL,
    defined_at          timestamptz NOT NULL
);
COMMENT ON TABLE lifecycle.definitions IS 'one state machine: the columns it watches and where its events go; written by lifecycle.define() only';
COMMENT ON COLUMN lifecycle.definitions.payload_function IS 'qualified name of the function (old row, new row, from, to) that makes an event''s payload; NULL: entity, id, from, to, version';
COMMENT ON COLUMN lifecycle.definitions.entity_table IS 'with entity_schema: the row type that guards and the payload function take; which tables are governed is said by their triggers';
COMMENT ON COLUMN lifecycle.definitions.built_in IS 'made by the extension''s own script, so not dumped';

CREATE TABLE lifecycle.rules (
    definition text NOT NULL REFERENCES lifecycle.definitions (name) ON DELETE CASCADE,
    position   int NOT NULL,
    from_state text,
    to_state   text NOT NULL,
    event      text,
    guard      text,
    built_in   boolean NOT NULL,
    PRIMARY KEY (definition, position),
    UNIQUE NULLS NOT DISTINCT (definition, from_state, to_state)
);
COMMENT ON TABLE lifecycle.rules IS 'the transitions of each definition; from_state NULL is insertion';
COMMENT ON COLUMN lifecycle.rules.guard IS 'qualified name of the function (old row, new row) -> boolean that must answer true';

SELECT pg_catalog.pg_extension_config_dump('lifecycle.definitions', 'WHERE NOT built_in');
SELECT pg_catalog.pg_extension_config_dump('lifecycle.rules', 'WHERE NOT built_in');

GRANT SELECT, INSERT, UPDATE, DELETE ON lifecycle.definitions, lifecycle.rules TO backoffice_definer;
GRANT SELECT ON lifecycle.definitions, lifecycle.rules TO backoffice_kernel;

-- lifecycle/lifecycle.functions.sql
CREATE FUNCTION lifecycle.check_row() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_check_row';
COMMENT ON FUNCTION lifecycle.check_row() IS
'BEFORE trigger made by lifecycle.define(); its argument is the definition''s name. Checks state, transition and guard, and counts the version up. Raises 22023 unknown_state, PT409 illegal_transition, PT409 guard_failed. Permission: who may write the table.';
GRANT EXECUTE ON FUNCTION lifecycle.check_row() TO backoffice_admin, backoffice_owner, backoffice_service;

CREATE FUNCTION lifecycle.emit_step() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_emit_step';
COMMENT ON FUNCTION lifecycle.emit_step() IS
'AFTER trigger made by lifecycle.define(); its argument is the definition''s name. Emits the event of the transition that the row made. Permission: who may write the table.';
GRANT EXECUTE ON FUNCTION lifecycle.emit_step() TO backoffice_admin, backoffice_owner, backoffice_service;

CREATE FUNCTION lifecycle.check_transition(definition text, from_state text, to_state text) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'lifecycle_check_transition_sql';
COMMENT ON FUNCTION lifecycle.check_transition(text, text, text) IS
'Would this step be legal? Answers its event (NULL: none), without looking at guards or rows. definition: its name; from_state NULL: insertion. Raises what the triggers raise: 22023 unknown_state, PT409 illegal_transition; PT404 unknown_definition. Permission: service, admin.';
GRANT EXECUTE ON FUNCTION lifecycle.check_transition(text, text, text) TO backoffice_service, backoffice_admin, backoffice_definer, backoffice_kernel;

-- Validates and writes a definition; the triggers are made by the C caller. Not for callers of their own.
CREATE FUNCTION lifecycle.store_definition(entity regclass, state_column name, definition jsonb, built_in boolean,
        OUT definition_name text, OUT legal_states text[], OUT emits boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entity_schema text;
    entity_table text;
    row_type oid;
    label text;
    t jsonb;
    f text;
    wrong text;
    from_states text[];
    pairs text[] := '{}';
    pair text;
    n int := 0;
    initial text[];
    terminal text[];
    reachable text[];
    topic text := definition ->> 'topic';
    payload text := definition ->> 'payload';

BEGIN
    SELECT s.nspname, c.relname, c.reltype INTO entity_schema, entity_table, row_type
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE c.oid = entity AND c.relkind IN ('r', 'p');
    IF NOT FOUND THEN
        PERFORM backoffice.raise('22023', 'invalid_definition', format('%s is not a table', entity), 'only ordinary and partitioned tables have a life cycle');
    END IF;
    IF definition IS NULL OR jsonb_typeof(definition) <> 'object' THEN
        PERFORM lifecycle.refuse('a definition is a JSON object', coalesce(jsonb_typeof(definition), 'NULL'));
    END IF;
    definition := lifecycle.spelled_out(definition);
    SELECT string_agg(k, ', ') INTO wrong FROM jsonb_object_keys(definition) k
    WHERE k <> ALL (ARRAY['name', 'initial', 'states', 'transitions', 'terminal', 'topic', 'key', 'organization', 'version', 'payload', 'emit']);
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('unknown key in a definition', wrong);
    END IF;
    SELECT string_agg(k, ', ') INTO wrong FROM unnest(ARRAY['name', 'topic', 'key', 'organization', 'version', 'payload']) k
    WHERE jsonb_typeof(definition -> k) NOT IN ('string', 'null');
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('must be a string', wrong);
    END IF;
    IF jsonb_typeof(definition -> 'emit') NOT IN ('boolean', 'null') THEN
        PERFORM lifecycle.refuse('must be true or false', 'emit');
    END IF;

    definition_name := coalesce(definition ->> 'name', entity_schema || '.' || entity_table);
    IF octet_length(definition_name) NOT BETWEEN 1 AND 150 THEN
        PERFORM lifecycle.refuse('a definition''s name has 1 to 150 bytes', definition_name);
    END IF;
    legal_states := lifecycle.string_list(definition -> 'states', 'states');
    IF cardinality(legal_states) NOT BETWEEN 1 AND 64 THEN
        PERFORM lifecycle.refuse('a definition has 1 to 64 states', cardinality(legal_states)::text || ' states');
    END IF;
    IF jsonb_typeof(definition -> 'transitions') IS DISTINCT FROM 'array' THEN
        PERFORM lifecycle.refuse('transitions must be an array of objects', coalesce(jsonb_typeof(definition -> 'transitions'), 'missing'));
    END IF;
    PERFORM lifecycle.check_columns(entity, state_column, legal_states, definition);

    -- One definition, one table; and the extension's own are not redefined behind its back.
    SELECT string_agg(g.tgrelid::regclass::text, ', ') INTO wrong FROM lifecycle.governed g
    WHERE g.definition = definition_name AND g.tgrelid <> entity;
    IF wrong IS NOT NULL THEN
        PERFORM backoffice.raise('PT409', 'definition_in_use', format('definition "%s" belongs to another table', definition_name), wrong,
                                 'Give the definition another name.');
    END IF;
    IF NOT built_in AND EXISTS (SELECT FROM lifecycle.definitions d LEFT JOIN lifecycle.governed g ON g.definition = d.name
                                WHERE d.built_in AND (d.name = definition_name OR g.tgrelid = entity)) THEN
        PERFORM backoffice.raise('PT409', 'built_in_definition', format('the life cycle of %I.%I comes with the extension', entity_schema, entity_table),
                                 definition_name, 'It changes with the extension''s version only.');
    END IF;

    IF payload IS NOT NULL THEN
        payload := lifecycle.find_function(payload, ARRAY[row_type, row_type, 'text'::regtype, 'text'::regtype]::oid[], 'jsonb'::regtype);
    END IF;
    emits := coalesce((definition ->> 'emit')::boolean, true);
    DELETE FROM lifecycle.definitions d WHERE d.name = definition_name
        OR d.name IN (SELECT g.definition FROM lifecycle.governed g WHERE g.tgrelid = entity);
    INSERT INTO lifecycle.definitions (name, entity_schema, entity_table, state_column, states, descriptions, key_column, organization_column,
                                       version_column, topic, emit, payload_function, built_in, defined_at)
    VALUES (definition_name, entity_schema, entity_table, state_column, legal_states,
            CASE jsonb_typeof(definition -> 'states') WHEN 'object' THEN definition -> 'states' ELSE '{}' END,
            coalesce(definition ->> 'key', 'id'), definition ->> 'organization', definition ->> 'version', topic, emits, payload, built_in, backoffice.now());

    -- Insertion is a transition from nothing: "initial" is its short form.
    FOR t IN
        SELECT jsonb_build_object('from', NULL, 'to', i) FROM unnest(lifecycle.string_list(coalesce(definition -> 'initial', '[]'), 'initial')) i
        WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(definition -> 'transitions') e
                          WHERE jsonb_typeof(e) = 'object' AND e ->> 'to' = i AND coalesce(e -> 'from', 'null') = 'null')
        UNION ALL SELECT e FROM jsonb_array_elements(definition -> 'transitions') e
    LOOP
        IF jsonb_typeof(t) <> 'object' THEN
            PERFORM lifecycle.refuse('a transition is a JSON object', t::text);
        END IF;
        SELECT string_agg(k, ', ') INTO wrong FROM jsonb_object_keys(t) k
        WHERE k <> ALL (ARRAY['from', 'to', 'event', 'guard'])
           OR k <> 'from' AND jsonb_typeof(t -> k) NOT IN ('string', 'null');
        IF wrong IS NOT NULL THEN
            PERFORM lifecycle.refuse('a transition has from, to, event and guard, all strings', wrong || ' in ' || t::text);
        END IF;
        from_states := CASE coalesce(jsonb_typeof(t -> 'from'), 'null')
            WHEN 'null' THEN ARRAY[NULL::text]
            WHEN 'string' THEN ARRAY[t ->> 'from']
            ELSE lifecycle.string_list(t -> 'from', 'from') END;
        IF t ->> 'to' IS NULL OR t ->> 'to' <> ALL (legal_states) THEN
            PERFORM lifecycle.refuse('a transition leads to an unknown state', t::text);
        END IF;
        IF octet_length(t ->> 'event') NOT BETWEEN 1 AND 200 THEN
            PERFORM lifecycle.refuse('an event''s type has 1 to 200 bytes', t::text);
        END IF;
        IF emits AND topic IS NULL AND t ->> 'event' IS NOT NULL THEN
            PERFORM lifecycle.refuse('transitions have events, but the definition has no topic', t::text);
        END IF;
        IF t ->> 'guard' IS NOT NULL THEN
            t := t || jsonb_build_object('guard', lifecycle.find_function(t ->> 'guard', ARRAY[row_type, row_type]::oid[], 'boolean'::regtype));
        END IF;
        FOREACH f IN ARRAY from_states LOOP
            IF f IS NOT NULL AND f <> ALL (legal_states) THEN
                PERFORM lifecycle.refuse('a transition starts from an unknown state', t::text);
            END IF;
            IF f = t ->> 'to' THEN
                PERFORM lifecycle.refuse('a transition leads to where it starts', t::text);
            END IF;
            pair := coalesce(quote_literal(f), '-') || '>' || (t ->> 'to');
            IF pair = ANY (pairs) THEN
                PERFORM lifecycle.refuse('a transition is declared twice', t::text);
            END IF;
            pairs := pairs || pair;
            n := n + 1;
            INSERT INTO lifecycle.rules (definition, position, from_state, to_state, event, guard, built_in)
            VALUES (definition_name, n, f, t ->> 'to', t ->> 'event', t ->> 'guard', built_in);
        END LOOP;
    END LOOP;

    WITH RECURSIVE reach (state) AS (
        SELECT r.to_state FROM lifecycle.rules r WHERE r.definition = definition_name AND r.from_state IS NULL
        UNION SELECT r.to_state FROM reach JOIN lifecycle.rules r ON r.definition = definition_name AND r.from_state = reach.state)
    SELECT array_agg(state), count(*) INTO reachable, n FROM reach;
    IF n = 0 THEN
        PERFORM lifecycle.refuse('no state is initial', 'nothing could ever be inserted');
    END IF;
    SELECT string_agg(s, ', ') INTO wrong FROM unnest(legal_states) s WHERE s <> ALL (reachable);
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('states that can''t be reached', wrong);
    END IF;
    IF coalesce(jsonb_typeof(definition -> 'terminal'), 'null') <> 'null' THEN
        terminal := lifecycle.string_list(definition -> 'terminal', 'terminal');
        SELECT string_agg(s, ', ') INTO wrong FROM unnest(terminal) s WHERE s <> ALL (legal_states);
        IF wrong IS NOT NULL THEN
            PERFORM lifecycle.refuse('unknown terminal states', wrong);
        END IF;
        SELECT string_agg(s, ', ') INTO wrong FROM unnest(legal_states) s
        WHERE (s = ANY (terminal)) = EXISTS (SELECT FROM lifecycle.rules r WHERE r.definition = definition_name AND r.from_state = s);
        IF wrong IS NOT NULL THEN
            PERFORM lifecycle.refuse('terminal states are those that no transition leaves', wrong);
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION lifecycle.store_definition(regclass, name, jsonb, boolean) IS
'The part of lifecycle.define() that validates and writes. Raises 22023 invalid_definition, PT409 definition_in_use, PT409 built_in_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.store_definition(regclass, name, jsonb, boolean) TO backoffice_definer;

CREATE FUNCTION lifecycle.refuse(message text, detail text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
    AS $$ SELECT backoffice.raise('22023', 'invalid_definition', message, detail, 'See docs/lifecycle.md for what a definition holds.') $$;
COMMENT ON FUNCTION lifecycle.refuse(text, text) IS 'Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.refuse(text, text) TO backoffice_definer;

CREATE FUNCTION lifecycle.spelled_out(definition jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH lists AS (
        SELECT definition || coalesce((SELECT jsonb_object_agg(k, jsonb_build_array(v)) FROM jsonb_each(definition) e (k, v)
                                       WHERE k IN ('initial', 'terminal') AND jsonb_typeof(v) = 'string'), '{}') AS d
    ), steps AS (
        SELECT CASE jsonb_typeof(d -> 'transitions') WHEN 'object' THEN d || jsonb_build_object('transitions', (
            SELECT coalesce(jsonb_agg(jsonb_build_object('from', k, 'to', s)), '[]')
            FROM jsonb_each(d -> 'transitions') e (k, v),
                 jsonb_array_elements(CASE jsonb_typeof(v) WHEN 'array' THEN v ELSE jsonb_build_array(v) END) s)) ELSE d END AS d
        FROM lists
    )
    SELECT CASE WHEN d ? 'states' THEN d ELSE d || jsonb_build_object('states', (
        SELECT coalesce(jsonb_agg(DISTINCT s), '[]')
        FROM (SELECT jsonb_path_query(d, 'lax $.initial[*]') UNION ALL SELECT jsonb_path_query(d, 'lax $.terminal[*]')
              UNION ALL SELECT jsonb_path_query(d, 'lax $.transitions[*].from[*]') UNION ALL SELECT jsonb_path_query(d, 'lax $.transitions[*].to')) u (s)
        WHERE jsonb_typeof(s) = 'string')) END
    FROM steps
$$;
COMMENT ON FUNCTION lifecycle.spelled_out(jsonb) IS
'A definition without its short forms: one initial or terminal state as a string, transitions as an object of lists, states left out. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.spelled_out(jsonb) TO backoffice_definer;

CREATE FUNCTION lifecycle.string_list(list jsonb, what text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[];
BEGIN
    IF jsonb_typeof(list) = 'object' THEN
        names := ARRAY(SELECT jsonb_object_keys(list));
    ELSIF jsonb_typeof(list) = 'array' AND NOT jsonb_path_exists(list, 'strict $[*] ? (@.type() <> "string")') THEN
        names := ARRAY(SELECT jsonb_array_elements_text(list));
    ELSE
        PERFORM lifecycle.refuse('must be an array of strings', what || ': ' || coalesce(list::text, 'missing'));
    END IF;
    IF EXISTS (SELECT FROM unnest(names) n WHERE octet_length(n) NOT BETWEEN 1 AND 63) THEN
        PERFORM lifecycle.refuse('a state''s name has 1 to 63 bytes', what || ': ' || list::text);
    END IF;
    IF cardinality(names) <> (SELECT count(DISTINCT n) FROM unnest(names) n) THEN
        PERFORM lifecycle.refuse('a name stands twice', what || ': ' || list::text);
    END IF;
    RETURN names;
END $$;
COMMENT ON FUNCTION lifecycle.string_list(jsonb, text) IS
'Names from a JSON array of strings or the keys of an object; what: for the error. Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.string_list(jsonb, text) TO backoffice_definer;

CREATE FUNCTION lifecycle.find_function(qualified_name text, arguments oid[], result regtype) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parts text[];
    match text;
BEGIN
    BEGIN
        parts := parse_ident(qualified_name);
    EXCEPTION WHEN invalid_parameter_value THEN
        parts := NULL;
    END;
    IF cardinality(parts) IS DISTINCT FROM 2 THEN
        PERFORM lifecycle.refuse('a function is named schema.function', qualified_name);
    END IF;
    SELECT format('%I.%I', s.nspname, p.proname) INTO match FROM pg_proc p JOIN pg_namespace s ON s.oid = p.pronamespace
    WHERE s.nspname = parts[1] AND p.proname = parts[2] AND p.prokind = 'f' AND NOT p.proretset AND p.prorettype = result
      AND p.proargtypes = array_to_string(arguments, ' ')::oidvector;
    IF match IS NULL THEN
        PERFORM lifecycle.refuse('no such function', format('%s(%s) returning %s', qualified_name,
            (SELECT string_agg(format_type(a, NULL), ', ' ORDER BY i) FROM unnest(arguments) WITH ORDINALITY u (a, i)), result));
    END IF;
    RETURN match;
END $$;
COMMENT ON FUNCTION lifecycle.find_function(text, oid[], regtype) IS
'The function of that name and signature, quoted and qualified. Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.find_function(text, oid[], regtype) TO backoffice_definer;

CREATE FUNCTION lifecycle.check_columns(entity regclass, state_column name, states text[], definition jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('%s (%s)', c.what, coalesce(c.name, 'NULL')), ', ') INTO wrong
    FROM (VALUES ('state column', state_column::text, NULL::regtype[]),
                 ('key', coalesce(definition ->> 'key', 'id'), NULL),
                 ('organization', definition ->> 'organization', ARRAY['uuid']::regtype[]),
                 ('version', definition ->> 'version', ARRAY['int8', 'int4']::regtype[])) c (what, name, types)
    LEFT JOIN pg_attribute a ON a.attrelid = entity AND a.attname = c.name AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_type t ON t.oid = a.atttypid
    WHERE (c.name IS NOT NULL OR c.what IN ('state column', 'key'))
      AND (a.attname IS NULL OR a.atttypid <> ALL (c.types)
           OR c.what = 'state column' AND a.atttypid <> ALL (ARRAY['text', 'varchar']::regtype[]) AND t.typtype <> 'e');
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('columns that are missing or of a wrong type (state: text, varchar or an enum; organization: uuid; version: bigint or integer)', wrong);
    END IF;
    SELECT string_agg(s, ', ') INTO wrong
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid AND t.typtype = 'e', unnest(states) s
    WHERE a.attrelid = entity AND a.attname = state_column
      AND NOT EXISTS (SELECT FROM pg_enum e WHERE e.enumtypid = t.oid AND e.enumlabel = s);
    IF wrong IS NOT NULL THEN
        PERFORM lifecycle.refuse('states that the state column''s type does not have', wrong);
    END IF;
END $$;
COMMENT ON FUNCTION lifecycle.check_columns(regclass, name, text[], jsonb) IS
'The columns a definition names exist and have the right types. Raises 22023 invalid_definition. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.check_columns(regclass, name, text[], jsonb) TO backoffice_definer;

CREATE FUNCTION lifecycle.define(entity regclass, state_column name, definition jsonb) RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'lifecycle_define';
COMMENT ON FUNCTION lifecycle.define(regclass, name, jsonb) IS
'Declares the life cycle of a table''s rows and enforces it from now on; replaces an earlier definition if every row''s state remains legal. state_column: text, varchar or enum. definition: see docs/lifecycle.md. Raises 22023 invalid_definition, 42501 not_owner, PT409 states_in_use, PT409 definition_in_use, PT409 built_in_definition. Permission: admin, and the table''s owner.';
GRANT EXECUTE ON FUNCTION lifecycle.define(regclass, name, jsonb) TO backoffice_admin;

-- Which table is governed by which definition is said by the triggers, so that renames need no care.
CREATE VIEW lifecycle.governed WITH (security_invoker = true) AS
SELECT g.tgrelid, CASE WHEN g.tgnargs = 1 THEN
           pg_catalog.convert_from(pg_catalog.substring(g.tgargs, 1, pg_catalog."position"(g.tgargs, '\x00'::bytea) - 1),
                                   pg_catalog.getdatabaseencoding()) END AS definition
FROM pg_catalog.pg_trigger g
WHERE g.tgfoid = 'lifecycle.check_row()'::pg_catalog.regprocedure AND g.tgparentid = 0 AND g.tgnargs = 1;
COMMENT ON VIEW lifecycle.governed IS 'tables with a life cycle (tgrelid) and the name of its definition';
GRANT SELECT ON lifecycle.governed, lifecycle.rules TO backoffice_definer, backoffice_kernel, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin;

CREATE VIEW lifecycle.transitions WITH (security_invoker = true) AS
SELECT g.tgrelid::pg_catalog.regclass AS entity, r.definition, r.from_state, r.to_state, r.event, r.guard
FROM lifecycle.rules r LEFT JOIN lifecycle.governed g ON g.definition = r.definition;
COMMENT ON VIEW lifecycle.transitions IS 'every declared transition; from_state NULL is insertion, event NULL is a silent step';
GRANT SELECT ON lifecycle.transitions TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin;

CREATE FUNCTION lifecycle.diagram(entity regclass) RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH d AS (
        SELECT d.name, d.states, d.descriptions FROM lifecycle.definitions d JOIN lifecycle.governed g ON g.definition = d.name
        WHERE g.tgrelid = entity
    ), lines AS (
        SELECT 1 AS part, s.i AS ord, format('    state "%s" as s%s', replace(s.state, '"', ''''), s.i) AS line
        FROM d, unnest(d.states) WITH ORDINALITY s (state, i) WHERE s.state !~ '^[A-Za-z_][A-Za-z0-9_]*$'
        UNION ALL
        SELECT 2, r.position, format('    %s --> %s%s', lifecycle.diagram_node(d.states, r.from_state), lifecycle.diagram_node(d.states, r.to_state),
               coalesce(' : ' || nullif(concat_ws(' ', r.event, '[' || r.guard || ']'), ''), ''))
        FROM d JOIN lifecycle.rules r ON r.definition = d.name
        UNION ALL
        SELECT 3, s.i, format('    %s --> [*]', lifecycle.diagram_node(d.states, s.state))
        FROM d, unnest(d.states) WITH ORDINALITY s (state, i)
        WHERE NOT EXISTS (SELECT FROM lifecycle.rules r WHERE r.definition = d.name AND r.from_state = s.state)
    )
    SELECT E'stateDiagram-v2\n' || string_agg(line, E'\n' ORDER BY part, ord) FROM lines
    HAVING count(*) > 0
$$;
COMMENT ON FUNCTION lifecycle.diagram(regclass) IS
'The life cycle of a table as a Mermaid state diagram; NULL when the table has none. Permission: user, service, worker, admin.';
GRANT EXECUTE ON FUNCTION lifecycle.diagram(regclass) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin;

CREATE FUNCTION lifecycle.diagram_node(states text[], state text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN state IS NULL THEN '[*]' WHEN state ~ '^[A-Za-z_][A-Za-z0-9_]*$' THEN state
                ELSE 's' || array_position(states, state) END
$$;
COMMENT ON FUNCTION lifecycle.diagram_node(text[], text) IS 'How the diagram names a state. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION lifecycle.diagram_node(text[], text) TO backoffice_definer;

-- certificates/certificates.tables.sql
CREATE SCHEMA certificates;
COMMENT ON SCHEMA certificates IS 'gift certificates: pools of codes, reservation, issue, redemption, checks of codes';
GRANT USAGE ON SCHEMA certificates TO backoffice_anon, backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

-- A stock of certificates of one kind.
CREATE TABLE certificates.pools (
    organization_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT backoffice.uuid7(),
    created bigint NOT NULL DEFAULT 0 CHECK (created >= 0),
    next_slot bigint NOT NULL DEFAULT 1 CHECK (next_slot > 0),
    sweep_slot bigint NOT NULL DEFAULT 1 CHECK (sweep_slot > 0),
    hold_slot bigint NOT NULL DEFAULT 1 CHECK (hold_slot > 0),
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
    code text NOT NULL CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'
        AND code !~ '^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$'),
    PRIMARY KEY (organization_id, id),
    UNIQUE (organization_id, code)
) WITH (fillfactor = 50);
COMMENT ON TABLE certificates.pools IS 'Stocks of certificates. created: how many there ever were; next_slot: the slot that the next new or returned certificate gets; sweep_slot: no certificate below it is available (but what a sweep has yet to return); hold_slot: none below it is available or reserved; hold: how long a reservation lasts unless the caller says; code_format: any (4 to 64 letters and digits), or checked (the last symbol is a check symbol).';

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
ALTER TABLE certificates.certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates.pools_marker ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON certificates.pools USING (backoffice.of_current_organization(organization_id));
CREATE POLICY tenant ON certificates.certificates USING (backoffice.of_current_organization(organization_id));
CREATE POLICY kernel ON certificates.pools TO backoffice_kernel USING (true) WITH CHECK (true);
CREATE POLICY kernel ON certificates.certificates TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON certificates.pools, certificates.certificates TO backoffice_definer, backoffice_kernel;
-- What the views show; never the secrets.
GRANT SELECT ON certificates.pools TO backoffice_service, backoffice_admin;
GRANT SELECT (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, held_minor, created_at, version, state, code_last4, hold_until,
              disclosed_at, issued_at, activated_at, valid_until, notification_requested_at, cvc_delivered_at, replaced_by, channel,
              order_ref, order_line, client_ref, payment_ref, blocked_from)
    ON certificates.certificates TO backoffice_service, backoffice_admin;

SELECT pg_catalog.pg_extension_config_dump('certificates.pools', '');
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

-- certificates/certificates.functions.sql
SELECT access.define_permission(p.name, p.description) FROM (VALUES
    ('certificates.read', 'see pools and certificates (not their codes)'),
    ('certificates.manage_pools', 'create, pause, resume and close pools'),
    ('certificates.import', 'import and generate codes'),
    ('certificates.reserve', 'reserve certificates'),
    ('certificates.release', 'release reservations'),
    ('certificates.disclose_code', 'see the code of a certificate'),
    ('certificates.reveal_cvc', 'see the CVC of a certificate whose notification was requested'),
    ('certificates.verify_cvc', 'check a code and a CVC'),
    ('certificates.notify', 'request that a client is sent the CVC')) AS p (name, description);

SELECT lifecycle.define('certificates.certificates', 'state', '{
    "topic": "GiftCertificates.Stream", "organization": "organization_id", "version": "version",
    "initial": ["available"],
    "states": {
        "available": {"description": "in stock"},
        "reserved": {"description": "set aside for an order"},
        "issued": {"description": "sold"},
        "active": {"description": "in use, nothing taken"},
        "partially_redeemed": {"description": "in use, something taken"},
        "redeemed": {"description": "nothing left"},
        "blocked": {"description": "stopped; returns to the state before"},
        "expired": {"description": "its validity is over"},
        "refunded": {"description": "the purchase was refunded"},
        "voided": {"description": "the purchase was cancelled, or a hold ended after its code was shown"},
        "replaced": {"description": "its money went to a successor"},
        "retired": {"description": "withdrawn from stock"}},
    "transitions": [
        {"from": "available", "to": "reserved", "event": "certificate.reserved"},
        {"from": "reserved", "to": "available", "event": "certificate.released"},
        {"from": "reserved", "to": "voided", "event": "certificate.voided"},
        {"from": "reserved", "to": "issued", "event": "certificate.issued"},
        {"from": "available", "to": "retired", "event": "certificate.retired"},
        {"from": ["issued"], "to": "active", "event": "certificate.activated"},
        {"from": ["issued", "active"], "to": "partially_redeemed", "event": "certificate.partially_redeemed"},
        {"from": ["issued", "active", "partially_redeemed"], "to": "redeemed", "event": "certificate.redeemed"},
        {"from": ["partially_redeemed", "redeemed"], "to": "active", "event": "certificate.restored"},
        {"from": "redeemed", "to": "partially_redeemed", "event": "certificate.restored"},
        {"from": ["issued", "active", "partially_redeemed"], "to": "blocked", "event": "certificate.blocked"},
        {"from": "blocked", "to": "issued", "event": "certificate.unblocked"},
        {"from": "blocked", "to": "active", "event": "certificate.unblocked"},
        {"from": "blocked", "to": "partially_redeemed", "event": "certificate.unblocked"},
        {"from": ["issued", "active", "partially_redeemed"], "to": "expired", "event": "certificate.expired"},
        {"from": "expired", "to": "active", "event": "certificate.extended"},
        {"from": "expired", "to": "partially_redeemed", "event": "certificate.extended"},
        {"from": ["issued", "active", "blocked"], "to": "refunded", "event": "certificate.refunded"},
        {"from": ["issued", "active", "blocked"], "to": "voided", "event": "certificate.voided"},
        {"from": ["issued", "active", "partially_redeemed", "blocked"], "to": "replaced", "event": "certificate.replaced"}],
    "terminal": ["refunded", "voided", "replaced", "retired"]}');

SELECT lifecycle.define('certificates.pools', 'state', '{
    "states": {
        "open": "gives certificates",
        "low": "gives certificates, the low-water mark is passed",
        "empty": "has none to give",
        "paused": "gives none until resumed",
        "closed": "gives none any more"
    },
    "initial": ["empty"],
    "topic": "GiftCertificates.Stream",
    "organization": "organization_id",
    "version": "version",
    "transitions": [
        {"from": "open", "to": "low", "event": "pool.low"},
        {"from": "empty", "to": "low", "event": "pool.replenished"},
        {"from": ["open", "low"], "to": "empty", "event": "pool.empty"},
        {"from": ["low", "empty"], "to": "open", "event": "pool.replenished"},
        {"from": ["open", "low", "empty"], "to": "paused", "event": "pool.paused"},
        {"from": "paused", "to": "open", "event": "pool.resumed"},
        {"from": "paused", "to": "low", "event": "pool.resumed"},
        {"from": "paused", "to": "empty", "event": "pool.resumed"},
        {"from": ["open", "low", "empty", "paused"], "to": "closed", "event": "pool.closed"}
    ]}');

CREATE FUNCTION certificates.pools_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'certificates_pools_changed';
COMMENT ON FUNCTION certificates.pools_changed() IS
'Trigger on certificates.pools: makes all backends forget the pools they cached. Permission: none, it is a trigger.';

CREATE TRIGGER changed AFTER UPDATE OF code, currency, state, face_value_minor, low_water, hold, validity, cvc_digits, requires_activation,
        destroy_cvc_after_delivery, code_format ON certificates.pools
    FOR EACH STATEMENT EXECUTE FUNCTION certificates.pools_changed();
CREATE TRIGGER inserted AFTER INSERT OR DELETE ON certificates.pools
    FOR EACH STATEMENT EXECUTE FUNCTION certificates.pools_changed();

CREATE FUNCTION certificates.emit(key uuid, type text, channel text, status text, payload jsonb DEFAULT NULL, organization uuid DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_emit_sql';
COMMENT ON FUNCTION certificates.emit(uuid, text, text, text, jsonb, uuid) IS
'Emits to GiftCertificates.Stream in its envelope. key: the id of the certificate or pool; channel NULL: no channel caused it; payload: an object; organization NULL: the principal''s. Returns the event''s id. Permission: the extension''s own functions. Errors: 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.emit(uuid, text, text, text, jsonb, uuid) TO backoffice_definer, backoffice_kernel;

CREATE FUNCTION certificates.create_pool(code text, currency text, face_value bigint, validity interval DEFAULT '1 year', low_water bigint DEFAULT 0,
        hold interval DEFAULT '30 minutes', requires_activation boolean DEFAULT false, destroy_cvc_after_delivery boolean DEFAULT false,
        cvc_digits int DEFAULT 4, code_format text DEFAULT 'any') RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_create_pool';
COMMENT ON FUNCTION certificates.create_pool(text, text, bigint, interval, bigint, interval, boolean, boolean, int, text) IS
'Makes an empty pool of gift certificates. code: its name within the organization; currency: ISO 4217; face_value: minor units; validity: from issue on; low_water: pool.low is emitted when so few are left; hold: how long a reservation lasts unless the caller says; requires_activation: issued certificates are activated separately; destroy_cvc_after_delivery: the encrypted CVC goes when it was delivered; cvc_digits: of generated CVCs, 3 to 6; code_format of imported codes: any, or checked (last symbol is a check symbol). Returns the pool''s id. Permission: certificates.manage_pools. Errors: PT422 invalid_pool, PT409 pool_exists.';
GRANT EXECUTE ON FUNCTION certificates.create_pool(text, text, bigint, interval, bigint, interval, boolean, boolean, int, text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.pause_pool(pool text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_pause_pool';
COMMENT ON FUNCTION certificates.pause_pool(text) IS
'Stops reservations from a pool; those made before stay. pool: code or id. Permission: certificates.manage_pools. Errors: PT404 pool_not_found, PT409 pool_state (it is closed).';
GRANT EXECUTE ON FUNCTION certificates.pause_pool(text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.resume_pool(pool text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_resume_pool';
COMMENT ON FUNCTION certificates.resume_pool(text) IS
'Opens a paused pool again: it is then open, low or empty, as the stock says. pool: code or id. Permission: certificates.manage_pools. Errors: PT404 pool_not_found, PT409 pool_state (it is closed).';
GRANT EXECUTE ON FUNCTION certificates.resume_pool(text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.close_pool(pool text) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_close_pool';
COMMENT ON FUNCTION certificates.close_pool(text) IS
'Closes a pool for good: no reservations and no imports any more. pool: code or id. Permission: certificates.manage_pools. Errors: PT404 pool_not_found.';
GRANT EXECUTE ON FUNCTION certificates.close_pool(text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.reserve_next(pool text, channel text, order_ref text DEFAULT NULL, idempotency_key text DEFAULT NULL,
        hold interval DEFAULT NULL) RETURNS certificates.reservation
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_reserve_next';
COMMENT ON FUNCTION certificates.reserve_next(text, text, text, text, interval) IS
'Reserves the next certificate of a pool. pool: code or id; channel: who sells it, e.g. internet_store or pos; order_ref: the order it is for; idempotency_key: the same key with the same arguments answers the same certificate again; hold: how long (NULL: the pool''s). Answers status reserved, or status empty without an error (issue.blocked is emitted). The code is not shown. Never waits for other reservations, and sees the newest rows at every isolation level. Permission: certificates.reserve. Errors: PT404 pool_not_found, PT409 pool_paused, pool_closed, idempotency_conflict, PT422 invalid_hold, 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.reserve_next(text, text, text, text, interval) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE FUNCTION certificates.import_codes(pool text, codes text[], cvcs text[] DEFAULT NULL) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_import_codes';
COMMENT ON FUNCTION certificates.import_codes(text, text[], text[]) IS
'Puts codes made elsewhere into a pool: all or none. pool: code or id; codes: 4 to 64 letters and digits each (case, spaces, "-", "_" and "." do not count; O is read as 0, I and L as 1); cvcs: 3 to 8 digits each, NULL: random ones are made. Give codes as parameters, never as literals: a failed statement''s text goes to the server''s log. Returns how many. Permission: certificates.import. Errors: PT422 invalid_codes (names the first 20 rows: malformed, repeated or existing), PT409 pool_closed, PT413 too_many_codes, PT404 pool_not_found, 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.import_codes(text, text[], text[]) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.generate_codes(pool text, count int) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_generate_codes';
COMMENT ON FUNCTION certificates.generate_codes(text, int) IS
'Makes codes for a pool: 20 symbols of base 32 in groups of five, 95 bits of them random, the last a check symbol; and random CVCs of the pool''s number of digits. pool: code or id. Returns how many. Permission: certificates.import. Errors: PT409 pool_closed, PT413 too_many_codes, PT404 pool_not_found, 22023 invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.generate_codes(text, int) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.import_row() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'certificates_import_row';
COMMENT ON FUNCTION certificates.import_row() IS
'Row trigger of the view certificates.import: keeps the row in memory. Permission: none, it is a trigger; INSERT on the view is granted to backoffice_service and backoffice_admin.';
CREATE FUNCTION certificates.import_end() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'certificates_import_end';
COMMENT ON FUNCTION certificates.import_end() IS
'Statement trigger of the view certificates.import: imports the rows that were kept. Permission: certificates.import. Errors: as import_codes.';

CREATE VIEW certificates.import (pool, code, cvc) WITH (security_invoker = true) AS SELECT NULL::text, NULL::text, NULL::text WHERE false;
COMMENT ON VIEW certificates.import IS
'COPY certificates.import (pool, code, cvc) FROM STDIN imports codes as import_codes() does, all or none; rows are numbered as they come. Nothing is ever stored here.';
GRANT INSERT ON certificates.import TO backoffice_service, backoffice_admin;
CREATE TRIGGER import_row INSTEAD OF INSERT ON certificates.import FOR EACH ROW EXECUTE FUNCTION certificates.import_row();
CREATE TRIGGER import_end AFTER INSERT ON certificates.import FOR EACH STATEMENT EXECUTE FUNCTION certificates.import_end();

CREATE FUNCTION certificates.release(id uuid, reason text DEFAULT NULL) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_release_sql';
COMMENT ON FUNCTION certificates.release(uuid, text) IS
'Gives a reservation back: available again (certificate.released), or voided if its code was shown (certificate.voided). Once more changes nothing. reason: goes into the event. Returns the state. Permission: certificates.release. Errors: PT404 certificate_not_found, PT409 not_reserved.';
GRANT EXECUTE ON FUNCTION certificates.release(uuid, text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE FUNCTION certificates.disclose_code(id uuid) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_disclose_code';
COMMENT ON FUNCTION certificates.disclose_code(uuid) IS
'Shows the code of a certificate that is reserved or sold, e.g. to print it, and emits audit.code_disclosed. A certificate whose code was shown never returns to its pool. Permission: certificates.disclose_code. Errors: PT404 certificate_not_found, PT409 not_reserved; F0000 key_file_missing, key_unknown.';
GRANT EXECUTE ON FUNCTION certificates.disclose_code(uuid) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.request_notification(id uuid) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_request_notification_sql';
COMMENT ON FUNCTION certificates.request_notification(uuid) IS
'Emits notification.requested for a certificate that was sold: the CRM may then call reveal_cvc() and send the CVC to the client. Permission: certificates.notify. Errors: PT404 certificate_not_found, PT409 not_issued.';
GRANT EXECUTE ON FUNCTION certificates.request_notification(uuid) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE FUNCTION certificates.reveal_cvc(id uuid) RETURNS text
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_reveal_cvc';
COMMENT ON FUNCTION certificates.reveal_cvc(uuid) IS
'The CVC of a certificate for which notification.requested was emitted; emits audit.cvc_revealed. Where the pool says so, the stored CVC is destroyed by this. Permission: certificates.reveal_cvc. Errors: PT404 certificate_not_found, PT409 notification_not_requested, PT410 cvc_destroyed; F0000 key_file_missing, key_unknown.';
GRANT EXECUTE ON FUNCTION certificates.reveal_cvc(uuid) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE FUNCTION certificates.verify_cvc(code text, cvc text) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_verify_cvc';
COMMENT ON FUNCTION certificates.verify_cvc(text, text) IS
'Is this the CVC of a sold certificate with this code? False, in the same time, for an unknown code and a wrong CVC. Failures are counted per code, per principal and per database; no rollback undoes that. Permission: certificates.verify_cvc. Errors: PT429 throttled (says after how many seconds to try again).';
GRANT EXECUTE ON FUNCTION certificates.verify_cvc(text, text) TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.find_by_code(code text, cvc text) RETURNS uuid
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_find_by_code';
COMMENT ON FUNCTION certificates.find_by_code(text, text) IS
'The id of the sold certificate with this code and CVC, NULL as verify_cvc() says false. Permission: certificates.verify_cvc. Errors: PT429 throttled.';
GRANT EXECUTE ON FUNCTION certificates.find_by_code(text, text) TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE FUNCTION certificates.sweep() RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_sweep';
COMMENT ON FUNCTION certificates.sweep() IS
'What the keeper does every second, for all pools of all organizations now: returns reservations whose hold is over, and certificates that the cursor has passed. Returns how many. Permission: backoffice_admin.';
GRANT EXECUTE ON FUNCTION certificates.sweep() TO backoffice_admin, backoffice_kernel;

CREATE VIEW certificates.pool_status WITH (security_invoker = true) AS
SELECT p.id, p.code AS pool, p.state, p.currency, p.face_value_minor, p.low_water, p.created,
       count(*) FILTER (WHERE c.state = 'available') AS available,
       count(*) FILTER (WHERE c.state = 'reserved') AS reserved,
       count(*) FILTER (WHERE c.state IN ('issued', 'active', 'partially_redeemed', 'blocked')) AS issued,
       count(*) FILTER (WHERE c.state IN ('redeemed', 'expired', 'refunded', 'voided', 'replaced', 'retired')) AS terminal,
       coalesce(sum(c.balance_minor) FILTER (WHERE c.state IN ('issued', 'active', 'partially_redeemed', 'blocked')), 0)::bigint AS outstanding_minor
FROM (SELECT backoffice.current_organization() AS organization_id WHERE access.can('certificates.read')
      UNION ALL
      SELECT DISTINCT q.organization_id FROM certificates.pools q
      WHERE backoffice.current_organization() IS NULL AND NOT pg_catalog.row_security_active('certificates.pools'::regclass)) o
JOIN certificates.pools p ON p.organization_id = o.organization_id
LEFT JOIN certificates.certificates c ON c.organization_id = p.organization_id AND c.pool_id = p.id
GROUP BY p.organization_id, p.id;
COMMENT ON VIEW certificates.pool_status IS
'The pools of the organization and what is in them. issued: sold and of use (issued, active, partially redeemed, blocked); terminal: used up, expired, refunded, voided, replaced or retired; outstanding_minor: what the issued ones are worth. Permission: certificates.read (without it, no rows); a superuser without a principal sees the pools of all organizations.';
GRANT SELECT ON certificates.pool_status TO backoffice_service, backoffice_admin, backoffice_definer;

CREATE VIEW certificates.conservation WITH (security_invoker = true) AS
SELECT s.id, s.pool, s.created, s.available, s.reserved AS held, s.issued, s.terminal,
       s.created - s.available - s.reserved - s.issued - s.terminal AS difference
FROM certificates.pool_status s;
COMMENT ON VIEW certificates.conservation IS
'Per pool: certificates ever created, less those available, held, issued and terminal. difference is 0, always; created is counted on its own when codes come in. Permission: as of certificates.pool_status.';
GRANT SELECT ON certificates.conservation TO backoffice_service, backoffice_admin;

CREATE FUNCTION certificates.rotate_keys(batch int DEFAULT 10000) RETURNS bigint
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_rotate_keys';
COMMENT ON FUNCTION certificates.rotate_keys(int) IS
'Makes stored codes and CVCs of all organizations anew with the current key (the last in the key file), up to batch certificates; those that are locked are left for the next call. Returns how many: call it until that is 0. Permission: backoffice_admin. Errors: 22023 invalid_argument; F0000 key_unknown, key_file_missing.';
GRANT EXECUTE ON FUNCTION certificates.rotate_keys(int) TO backoffice_admin;

CREATE FUNCTION certificates.key_usage() RETURNS TABLE (key_id text, codes bigint, cvcs bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT k.key_id, sum(k.code)::bigint, sum(k.cvc)::bigint
    FROM certificates.certificates c,
         LATERAL (VALUES (convert_from(substr(c.code_secret, 2, get_byte(c.code_secret, 0)), 'UTF8'), 1, 0),
                         (convert_from(substr(c.cvc_hash, 2, get_byte(c.cvc_hash, 0)), 'UTF8'), 0, 1)) k (key_id, code, cvc)
    WHERE k.key_id IS NOT NULL
    GROUP BY k.key_id
$$;
ALTER FUNCTION certificates.key_usage() OWNER TO backoffice_kernel;
COMMENT ON FUNCTION certificates.key_usage() IS
'How many codes and CVCs of all organizations need which key of the key file: a key that is not listed may go. Permission: backoffice_admin.';
GRANT EXECUTE ON FUNCTION certificates.key_usage() TO backoffice_admin;

-- certificates/redemptions.tables.sql
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

-- certificates/redemptions.functions.sql
-- certificates: their life, and the money taken from them.

CREATE FUNCTION certificates.issue(id uuid, order_ref text DEFAULT NULL, client_ref text DEFAULT NULL, idempotency_key text DEFAULT NULL)
    RETURNS certificates.issued LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_issue';
COMMENT ON FUNCTION certificates.issue(uuid, text, text, text) IS
'Sells a reserved certificate: its validity begins and its code is shown, so that it never returns to the pool. order_ref, client_ref: whose it is (at most 200 bytes; NULL keeps what the reservation said). The same key again answers the same, reading the code anew. Permission: certificates.issue. Errors: certificate_not_found, illegal_transition, idempotency_conflict, invalid_argument.';
GRANT EXECUTE ON FUNCTION certificates.issue(uuid, text, text, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION certificates.activate(id uuid)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_activate';
COMMENT ON FUNCTION certificates.activate(uuid) IS
'Makes an issued certificate redeemable where its pool asks for that; nothing happens when it is active. Returns ''active''. Permission: certificates.issue. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.activate(uuid) TO backoffice_service;

CREATE FUNCTION certificates.authorize(id uuid, amount bigint, idempotency_key text DEFAULT NULL, ttl interval DEFAULT '30 minutes',
                                                  channel text DEFAULT NULL, order_ref text DEFAULT NULL)
    RETURNS uuid LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_authorize';
COMMENT ON FUNCTION certificates.authorize(uuid, bigint, text, interval, text, text) IS
'Holds money on a certificate: it counts against the available balance at once, until captured, released, or ttl is over (at most 366 days). amount: minor units. Several holds may be open. Returns the redemption''s id. Permission: certificates.redeem. Errors: invalid_amount, invalid_ttl, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.authorize(uuid, bigint, text, interval, text, text) TO backoffice_service;

CREATE FUNCTION certificates.capture(redemption uuid, amount bigint DEFAULT NULL, idempotency_key text DEFAULT NULL)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_capture';
COMMENT ON FUNCTION certificates.capture(uuid, bigint, text) IS
'Takes money that is held: all of it, or amount (minor units; the rest is free again). Once per hold. Permission: certificates.redeem. Errors: redemption_not_found, invalid_amount, hold_exceeded, hold_expired, already_captured, already_released, certificate_blocked, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.capture(uuid, bigint, text) TO backoffice_service;

CREATE FUNCTION certificates.release_hold(redemption uuid)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_release_hold';
COMMENT ON FUNCTION certificates.release_hold(uuid) IS
'Gives a hold up. Permission: certificates.redeem. Errors: redemption_not_found, hold_expired, already_captured, already_released.';
GRANT EXECUTE ON FUNCTION certificates.release_hold(uuid) TO backoffice_service;

CREATE FUNCTION certificates.redeem(id uuid, amount bigint, idempotency_key text DEFAULT NULL, channel text DEFAULT NULL, order_ref text DEFAULT NULL)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_redeem';
COMMENT ON FUNCTION certificates.redeem(uuid, bigint, text, text, text) IS
'Takes money from a certificate in one step. amount: minor units. Permission: certificates.redeem. Errors: invalid_amount, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.redeem(uuid, bigint, text, text, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION certificates.refund(id uuid, amount bigint, idempotency_key text DEFAULT NULL, redemption uuid DEFAULT NULL, reason text DEFAULT NULL)
    RETURNS certificates.movement LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_refund';
COMMENT ON FUNCTION certificates.refund(uuid, bigint, text, uuid, text) IS
'Gives redeemed money back to the certificate, never more than was taken (from this redemption, or from all). amount: minor units. An expired certificate stays expired, a blocked one blocked. Permission: certificates.refund. Errors: invalid_amount, certificate_not_found, not_refundable, refund_exceeds_redeemed, idempotency_conflict.';
GRANT EXECUTE ON FUNCTION certificates.refund(uuid, bigint, text, uuid, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION certificates.block(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_block';
COMMENT ON FUNCTION certificates.block(uuid, text) IS
'Stops a certificate: nothing is taken from it, open holds can''t be captured. Returns the state it will return to; nothing happens when it is blocked. reason: at most 500 bytes, told in the event. Permission: certificates.block. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.block(uuid, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION certificates.unblock(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_unblock';
COMMENT ON FUNCTION certificates.unblock(uuid, text) IS
'Returns a blocked certificate to the state before, or lets it expire if its validity ended meanwhile. Returns the state it is in now. Permission: certificates.block. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.unblock(uuid, text) TO backoffice_service, backoffice_definer;

CREATE FUNCTION certificates.extend(id uuid, valid_until timestamptz)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_extend';
COMMENT ON FUNCTION certificates.extend(uuid, timestamptz) IS
'Sets a new end of validity, still to come; an expired certificate is usable again. Returns the state it is in now. Permission: certificates.extend. Errors: invalid_valid_until, certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION certificates.extend(uuid, timestamptz) TO backoffice_service;

CREATE FUNCTION certificates.refund_purchase(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_refund_purchase';
COMMENT ON FUNCTION certificates.refund_purchase(uuid, text) IS
'Ends a certificate whose buyer gets the money back: only while its full value is there and nothing is held. Returns ''refunded''. Permission: certificates.refund. Errors: certificate_not_found, illegal_transition, certificate_used.';
GRANT EXECUTE ON FUNCTION certificates.refund_purchase(uuid, text) TO backoffice_service;

CREATE FUNCTION certificates.void_purchase(id uuid, reason text DEFAULT NULL)
    RETURNS text LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_void_purchase';
COMMENT ON FUNCTION certificates.void_purchase(uuid, text) IS
'Ends a certificate whose purchase was cancelled: only while its full value is there and nothing is held. Returns ''voided''. Permission: certificates.refund. Errors: certificate_not_found, illegal_transition, certificate_used.';
GRANT EXECUTE ON FUNCTION certificates.void_purchase(uuid, text) TO backoffice_service;

CREATE FUNCTION certificates.replace(id uuid, reason text DEFAULT NULL)
    RETURNS uuid LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'certificates_replace';
COMMENT ON FUNCTION certificates.replace(uuid, text) IS
'Gives a certificate''s money and validity to a new one of the same pool, and ends it. Returns the successor, issued; call issue''s counterpart for its code when it is handed out. Permission: certificates.replace. Errors: certificate_not_found, illegal_transition, open_holds, pool_empty.';
GRANT EXECUTE ON FUNCTION certificates.replace(uuid, text) TO backoffice_service;

CREATE VIEW certificates.discrepancies WITH (security_invoker = true) AS
SELECT c.id, c.state, c.face_value_minor, c.balance_minor, c.held_minor, r.captured_minor, r.refunded_minor, r.open_minor
FROM certificates.certificates c
CROSS JOIN LATERAL (
    SELECT coalesce(sum(x.captured_minor), 0) AS captured_minor, coalesce(sum(x.refunded_minor), 0) AS refunded_minor,
           coalesce(sum(x.amount_minor) FILTER (WHERE x.state = 'authorized'), 0) AS open_minor
    FROM certificates.redemptions x
    WHERE x.organization_id = c.organization_id AND x.certificate_id = c.id) r
WHERE c.organization_id = (SELECT backoffice.current_organization())
  AND (c.held_minor <> r.open_minor
       OR c.state NOT IN ('refunded', 'voided', 'replaced') AND c.face_value_minor - c.balance_minor <> r.captured_minor - r.refunded_minor
          AND NOT EXISTS (SELECT FROM certificates.certificates o WHERE o.organization_id = c.organization_id AND o.replaced_by = c.id));
COMMENT ON VIEW certificates.discrepancies IS
'Certificates whose balance or holds do not follow from their redemptions (successors'' balances come from those they replace): must always be empty. Reads every certificate of the organization.';
GRANT SELECT ON certificates.discrepancies TO backoffice_service, backoffice_admin;

-- certificates/orders.tables.sql
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
COMMENT ON TABLE certificates.pending_refunds IS 'Refunds that could not be matched with certificates, and what is missing: order, certificates, amount, currency or unused (a certificate was used). resolved_at: when the missing arrived.';

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

-- certificates/orders.functions.sql
-- certificates: the order flow.
--
-- Orders, payments and clients arrive in any order, twice, late, corrected. So nothing is done "on" a message: each is stored
-- as the newest word on its order or payment, and then certificates.reconcile_order() moves the order's units (the single
-- certificates it asks for) to what all that is known says they should be. It runs again whenever something is learned, and
-- running it twice changes nothing. Everything happens under the lock on the order's row.
--
-- PL/pgSQL by exception: this is a decision tree over rows, run by the dispatcher, off the hot path.

-- An alert or error on the stream, once per order and kind.
CREATE FUNCTION certificates.order_alert(order_ref text, kind text, status text, detail jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    alerting_channel text;
BEGIN
    UPDATE certificates.orders o SET alerts = o.alerts || (order_alert.kind || ':' || order_alert.status)
    WHERE o.organization_id = backoffice.current_organization() AND o.order_ref = order_alert.order_ref
      AND (order_alert.kind || ':' || order_alert.status) <> ALL (o.alerts)
    RETURNING o.channel INTO alerting_channel;
    IF FOUND THEN
        PERFORM certificates.emit(certificates.order_key(order_alert.order_ref), order_alert.kind, alerting_channel, order_alert.status,
                                  jsonb_build_object('orderRef', order_alert.order_ref) || coalesce(order_alert.detail, '{}'));
    END IF;
END $$;
COMMENT ON FUNCTION certificates.order_alert(text, text, text, jsonb) IS
'Emits an alert or error about an order, each status once per order. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.order_alert(text, text, text, jsonb) TO backoffice_definer;

-- Events that concern an order and no single certificate need a key that is the same for all of them.
CREATE FUNCTION certificates.order_key(order_ref text) RETURNS uuid
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT md5(coalesce(backoffice.current_organization()::text, '') || ':' || coalesce(order_ref, ''))::uuid $$;
COMMENT ON FUNCTION certificates.order_key(text) IS
'The key under which events about an order as a whole are emitted. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.order_key(text) TO backoffice_definer;

-- The order's row, locked; made when this is the first word of it.
CREATE FUNCTION certificates.lock_order(order_ref text) RETURNS certificates.orders
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o certificates.orders;
BEGIN
    INSERT INTO certificates.orders (organization_id, order_ref) VALUES (backoffice.current_organization(), lock_order.order_ref)
    ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT o FROM certificates.orders x
    WHERE x.organization_id = backoffice.current_organization() AND x.order_ref = lock_order.order_ref FOR UPDATE;
    RETURN o;
END $$;
COMMENT ON FUNCTION certificates.lock_order(text) IS 'An order''s row, locked, made when it is new. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.lock_order(text) TO backoffice_definer;

CREATE FUNCTION certificates.store_client(message jsonb) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO certificates.clients AS c (organization_id, client_ref, client_version, contacts)
    VALUES (backoffice.current_organization(), message ->> 'clientId', coalesce((message ->> 'version')::bigint, 1), coalesce(message -> 'contacts', '{}'))
    ON CONFLICT (organization_id, client_ref) DO UPDATE
        SET client_version = EXCLUDED.client_version, contacts = EXCLUDED.contacts, updated_at = backoffice.now()
        WHERE c.client_version <= EXCLUDED.client_version
$$;
COMMENT ON FUNCTION certificates.store_client(jsonb) IS 'Stores what All_Clients says, unless a newer version is known. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.store_client(jsonb) TO backoffice_definer;

CREATE FUNCTION certificates.store_order(message jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org uuid := backoffice.current_organization();
    ref text := message ->> 'orderId';
    o certificates.orders := certificates.lock_order(message ->> 'orderId');
    currencies text[];
    told bigint := (message ->> 'version')::bigint;
    has_lines boolean := message ->> 'status' <> 'cancelled' OR message -> 'lines' <> '[]';
BEGIN
    -- Duplicates, and what was overtaken by a newer version; but a cancellation that came without lines still wants them.
    IF told <= o.lines_version OR told <= o.order_version AND NOT (o.cancelled AND has_lines) THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(DISTINCT l #>> '{amount,currency}') INTO currencies FROM jsonb_array_elements(message -> 'lines') l;
    IF cardinality(currencies) > 1 THEN
        PERFORM backoffice.raise('PT422', 'mixed_currencies', 'an order has one currency', array_to_string(currencies, ', '));
    END IF;
    IF told > o.order_version THEN
        UPDATE certificates.orders x SET order_version = told, cancelled = message ->> 'status' = 'cancelled', channel = message ->> 'channel',
               client_ref = coalesce(message #>> '{customer,clientId}', x.client_ref)
        WHERE x.organization_id = org AND x.order_ref = ref;
    END IF;
    IF has_lines THEN
        UPDATE certificates.orders x SET lines_version = told, currency = coalesce(currencies[1], x.currency), updated_at = backoffice.now(),
               total_minor = (SELECT coalesce(sum((l #>> '{amount,minor}')::bigint), 0) FROM jsonb_array_elements(message -> 'lines') l)
        WHERE x.organization_id = org AND x.order_ref = ref;
        DELETE FROM certificates.order_lines x WHERE x.organization_id = org AND x.order_ref = ref;
        INSERT INTO certificates.order_lines (organization_id, order_ref, line_id, pool, certificate_id, quantity, amount_minor)
        SELECT org, ref, l ->> 'lineId', l ->> 'pool', (l ->> 'certificateId')::uuid, coalesce((l ->> 'quantity')::int, 1), (l #>> '{amount,minor}')::bigint
        FROM jsonb_array_elements(message -> 'lines') l;
    END IF;
    RETURN ref;
END $$;
COMMENT ON FUNCTION certificates.store_order(jsonb) IS
'Stores the newest version of an order. Returns its id, NULL when nothing was new. Errors: PT422 mixed_currencies. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.store_order(jsonb) TO backoffice_definer;

CREATE FUNCTION certificates.store_payment(message jsonb) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org uuid := backoffice.current_organization();
    ref text := message ->> 'orderId';
    p certificates.payments;
BEGIN
    PERFORM certificates.lock_order(ref);
    SELECT * INTO p FROM certificates.payments x WHERE x.organization_id = org AND x.payment_ref = message ->> 'paymentId' FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO certificates.payments (organization_id, payment_ref, order_ref, type, status, amount_minor, currency, details, occurred_at)
        VALUES (org, message ->> 'paymentId', ref, message ->> 'type', message ->> 'status', (message #>> '{amount,minor}')::bigint,
                message #>> '{amount,currency}', message -> 'refund', (message ->> 'occurredAt')::timestamptz);
    ELSIF p.order_ref <> ref OR p.type <> message ->> 'type' OR p.amount_minor <> (message #>> '{amount,minor}')::bigint
          OR p.currency <> message #>> '{amount,currency}' THEN
        PERFORM certificates.order_alert(ref, 'error', 'payment_conflict:' || p.payment_ref,
            jsonb_build_object('paymentRef', p.payment_ref, 'reason', 'a payment of that id came with another order, type or amount before'));
        RETURN NULL;
    ELSE
        -- The same payment again: pending may become final, a refund may bring the details it lacked; nothing else changes.
        UPDATE certificates.payments x
        SET status = CASE WHEN x.status = 'pending' THEN message ->> 'status' ELSE x.status END,
            details = CASE WHEN x.applied_at IS NULL THEN coalesce(message -> 'refund', x.details) ELSE x.details END
        WHERE x.organization_id = org AND x.payment_ref = p.payment_ref;
    END IF;
    RETURN ref;
END $$;
COMMENT ON FUNCTION certificates.store_payment(jsonb) IS
'Stores a payment, or what is new about it. Returns its order''s id, NULL when it contradicts what is known. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.store_payment(jsonb) TO backoffice_definer;

-- What the order asks for, as units: new ones are added, those no longer asked for are cancelled.
CREATE FUNCTION certificates.sync_units(o certificates.orders) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    u certificates.order_units;
BEGIN
    INSERT INTO certificates.order_units AS x (organization_id, order_ref, line_id, unit, amount_minor)
    SELECT l.organization_id, l.order_ref, l.line_id, n,
           -- A line's amount in equal parts; the first unit carries the rest.
           l.amount_minor / l.quantity + CASE WHEN n = 1 THEN l.amount_minor % l.quantity ELSE 0 END
    FROM certificates.order_lines l, generate_series(1, l.quantity) n
    WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND (l.pool IS NOT NULL OR l.certificate_id IS NOT NULL)
    ON CONFLICT (organization_id, order_ref, line_id, unit) DO UPDATE
        SET amount_minor = EXCLUDED.amount_minor,
            state = CASE WHEN x.state = 'cancelled' AND NOT o.cancelled THEN 'wanted' ELSE x.state END,
            certificate_id = CASE WHEN x.state = 'cancelled' AND NOT o.cancelled THEN NULL ELSE x.certificate_id END;
    FOR u IN
        SELECT x.* FROM certificates.order_units x
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state NOT IN ('cancelled', 'refunded', 'used')
          AND (o.cancelled OR NOT EXISTS (
              SELECT FROM certificates.order_lines l
              WHERE l.organization_id = x.organization_id AND l.order_ref = x.order_ref AND l.line_id = x.line_id AND x.unit <= l.quantity
                AND (l.pool IS NOT NULL OR l.certificate_id IS NOT NULL)))
        ORDER BY x.line_id, x.unit
    LOOP
        PERFORM certificates.undo_unit(u, 'cancelled', 'the order was cancelled or changed');
    END LOOP;
END $$;
COMMENT ON FUNCTION certificates.sync_units(certificates.orders) IS
'Makes an order''s units those of its newest version. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.sync_units(certificates.orders) TO backoffice_definer;

-- Takes one unit back: false (state used) if money was taken from its certificate.
CREATE FUNCTION certificates.undo_unit(u certificates.order_units, outcome text, reason text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c record;
BEGIN
    IF u.certificate_id IS NOT NULL THEN
        SELECT x.state, x.balance_minor = x.face_value_minor AND x.held_minor = 0 AS untouched, x.order_ref INTO c
        FROM certificates.certificates x WHERE x.organization_id = u.organization_id AND x.id = u.certificate_id FOR UPDATE;
        IF c.state = 'reserved' AND u.state <> 'issued' AND c.order_ref = u.order_ref THEN
            PERFORM certificates.release(u.certificate_id);
        ELSIF u.state IN ('issued', 'used') AND c.state IN ('issued', 'active', 'blocked') AND c.untouched THEN
            IF outcome = 'refunded' THEN
                PERFORM certificates.refund_purchase(u.certificate_id, reason);
            ELSE
                PERFORM certificates.void_purchase(u.certificate_id, reason);
            END IF;
        ELSIF u.state IN ('issued', 'used') AND c.state NOT IN ('refunded', 'voided') THEN
            UPDATE certificates.order_units x SET state = 'used'
            WHERE x.organization_id = u.organization_id AND x.order_ref = u.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
            PERFORM certificates.order_alert(u.order_ref, 'alert', 'certificate_used:' || u.certificate_id,
                jsonb_build_object('certificateId', u.certificate_id, 'certificateState', c.state, 'reason', reason));
            RETURN false;
        END IF;
    END IF;
    UPDATE certificates.order_units x SET state = outcome
    WHERE x.organization_id = u.organization_id AND x.order_ref = u.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
    RETURN true;
END $$;
COMMENT ON FUNCTION certificates.undo_unit(certificates.order_units, text, text) IS
'Takes one unit of an order back: releases its reservation, or undoes its purchase if the certificate is untouched. outcome: cancelled or refunded. False: it was used, and an alert was emitted. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.undo_unit(certificates.order_units, text, text) TO backoffice_definer;

-- A certificate whose hold lapsed went to the pool and came to somebody else: the unit that had it wants another one.
CREATE FUNCTION certificates.drop_claims(certificate uuid, order_ref text, line_id text, unit int) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE certificates.order_units x SET certificate_id = NULL, state = 'wanted'
    WHERE x.organization_id = backoffice.current_organization() AND x.certificate_id = drop_claims.certificate AND x.state = 'reserved'
      AND (x.order_ref, x.line_id, x.unit) <> (drop_claims.order_ref, drop_claims.line_id, drop_claims.unit)
$$;
COMMENT ON FUNCTION certificates.drop_claims(uuid, text, text, int) IS
'Takes a certificate from the units that had it reserved before, all but this one. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.drop_claims(uuid, text, text, int) TO backoffice_definer;

-- Ties the certificates that an order names to it, where they are reserved and nobody else's.
CREATE FUNCTION certificates.adopt_units(o certificates.orders) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    u record;
    c record;
    trouble text;
BEGIN
    FOR u IN
        SELECT x.*, l.certificate_id AS named, l.pool FROM certificates.order_units x
        JOIN certificates.order_lines l ON l.organization_id = x.organization_id AND l.order_ref = x.order_ref AND l.line_id = x.line_id
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND l.certificate_id IS NOT NULL
          AND x.unit = 1 AND x.state IN ('wanted', 'reserved', 'blocked') AND x.certificate_id IS DISTINCT FROM l.certificate_id
        ORDER BY l.certificate_id
    LOOP
        trouble := NULL;
        -- Without a pool of its own, the line is for the pool of the certificate it names.
        UPDATE certificates.order_lines l SET pool = p.code
        FROM certificates.certificates x JOIN certificates.pools p ON p.organization_id = x.organization_id AND p.id = x.pool_id
        WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.line_id = u.line_id AND l.pool IS NULL
          AND x.organization_id = o.organization_id AND x.id = u.named;
        SELECT x.id, x.state, x.order_ref, p.code AS pool INTO c
        FROM certificates.certificates x JOIN certificates.pools p ON p.organization_id = x.organization_id AND p.id = x.pool_id
        WHERE x.organization_id = o.organization_id AND x.id = u.named FOR UPDATE OF x;
        IF NOT FOUND THEN
            trouble := 'unknown_certificate';
        ELSIF c.pool <> u.pool THEN
            trouble := 'other_pool';
        ELSIF c.state = 'reserved' AND c.order_ref IS NOT NULL AND c.order_ref <> o.order_ref THEN
            trouble := 'certificate_of_another_order';
        ELSIF c.state NOT IN ('reserved', 'available') THEN
            trouble := 'certificate_not_reserved';
        END IF;
        IF trouble IS NOT NULL THEN
            -- It is told, and the order gets another certificate of the pool when it is paid.
            PERFORM certificates.order_alert(o.order_ref, 'alert', trouble || ':' || u.named,
                jsonb_build_object('certificateId', u.named, 'lineId', u.line_id));
        ELSIF c.state = 'reserved' THEN
            UPDATE certificates.certificates x SET order_ref = o.order_ref, order_line = u.line_id, client_ref = coalesce(o.client_ref, x.client_ref)
            WHERE x.organization_id = o.organization_id AND x.id = c.id;
            PERFORM certificates.drop_claims(c.id, o.order_ref, u.line_id, u.unit);
            UPDATE certificates.order_units x SET certificate_id = c.id, state = 'reserved'
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION certificates.adopt_units(certificates.orders) IS
'Ties the reserved certificates that an order names to it. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.adopt_units(certificates.orders) TO backoffice_definer;

-- Issues the certificate of one paid unit, reserving one where it has none (any more). False: the pool is empty.
CREATE FUNCTION certificates.issue_unit(o certificates.orders, u certificates.order_units, pool text, payment text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    certificate uuid;
    r certificates.reservation;
BEGIN
    IF u.certificate_id IS NOT NULL THEN
        SELECT x.id INTO certificate FROM certificates.certificates x
        WHERE x.organization_id = o.organization_id AND x.id = u.certificate_id AND x.state = 'reserved' AND x.order_ref = o.order_ref FOR UPDATE;
    END IF;
    IF certificate IS NULL THEN
        IF NOT EXISTS (SELECT FROM certificates.pools p WHERE p.organization_id = o.organization_id AND p.code = pool AND p.state NOT IN ('paused', 'closed')) THEN
            PERFORM certificates.order_alert(o.order_ref, 'alert', 'no_such_pool:' || coalesce(pool, u.line_id), jsonb_build_object('lineId', u.line_id, 'pool', pool));
            UPDATE certificates.order_units x SET state = 'blocked', certificate_id = NULL
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
            RETURN false;
        END IF;
        -- A blocked order asks again and again: it is told once (order_alert), not at each try.
        IF u.state = 'blocked' AND NOT EXISTS (
                SELECT FROM certificates.pools p WHERE p.organization_id = o.organization_id AND p.code = pool AND p.state IN ('open', 'low')) THEN
            RETURN false;
        END IF;
        r := certificates.reserve_next(pool => pool, channel => o.channel, order_ref => o.order_ref);
        certificate := r.id;
    END IF;
    IF certificate IS NULL THEN
        UPDATE certificates.order_units x SET state = 'blocked', certificate_id = NULL
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
        RETURN false;
    END IF;
    UPDATE certificates.certificates x SET state = 'issued', issued_at = backoffice.now(), hold_until = NULL,
           valid_until = coalesce(x.valid_until, backoffice.now() + p.validity),
           order_ref = o.order_ref, order_line = u.line_id, client_ref = coalesce(o.client_ref, x.client_ref), payment_ref = payment
    FROM certificates.pools p
    WHERE x.organization_id = o.organization_id AND x.id = certificate AND p.organization_id = x.organization_id AND p.id = x.pool_id;
    PERFORM certificates.drop_claims(certificate, o.order_ref, u.line_id, u.unit);
    UPDATE certificates.order_units x SET state = 'issued', certificate_id = certificate, payment_ref = payment
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.line_id = u.line_id AND x.unit = u.unit;
    PERFORM certificates.request_notification(certificate);
    RETURN true;
END $$;
COMMENT ON FUNCTION certificates.issue_unit(certificates.orders, certificates.order_units, text, text) IS
'Issues the certificate of one paid unit and asks CRM to notify the client; false: the pool has none, and the unit is blocked. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.issue_unit(certificates.orders, certificates.order_units, text, text) TO backoffice_definer;

-- The units that one refund is for, or what is missing to know them.
CREATE FUNCTION certificates.match_refund(o certificates.orders, p certificates.payments, OUT units certificates.order_units[], OUT missing text, OUT detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    all_units certificates.order_units[];
    refunded_before bigint;
    wanted_ids text[] := ARRAY(SELECT v::uuid::text FROM jsonb_array_elements_text(coalesce(p.details -> 'certificateIds', '[]')) v);
    wanted_lines text[] := ARRAY(SELECT jsonb_array_elements_text(coalesce(p.details -> 'lineIds', '[]')));
    amount bigint;
BEGIN
    IF o.lines_version = 0 THEN
        missing := 'order';
        RETURN;
    END IF;
    IF o.currency IS DISTINCT FROM p.currency THEN
        missing := 'currency';
        detail := format('the order is in %s', o.currency);
        RETURN;
    END IF;
    SELECT array_agg(x ORDER BY x.line_id, x.unit) INTO all_units FROM certificates.order_units x
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state <> 'refunded';
    SELECT coalesce(sum(x.amount_minor), 0) INTO refunded_before FROM certificates.payments x
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'refund' AND x.applied_at IS NOT NULL;

    IF wanted_ids <> '{}' OR wanted_lines <> '{}' THEN
        SELECT array_agg(x ORDER BY x.line_id, x.unit) INTO units FROM unnest(all_units) x
        WHERE x.line_id = ANY (wanted_lines) OR x.certificate_id::text = ANY (wanted_ids)
           OR EXISTS (SELECT FROM certificates.order_lines l WHERE l.organization_id = x.organization_id AND l.order_ref = x.order_ref
                        AND l.line_id = x.line_id AND l.certificate_id::text = ANY (wanted_ids) AND x.unit = 1);
        SELECT string_agg(w, ', ') INTO detail FROM unnest(wanted_ids) w
        WHERE NOT EXISTS (SELECT FROM unnest(units) x WHERE x.certificate_id::text = w)
          AND NOT EXISTS (SELECT FROM certificates.order_lines l WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.certificate_id::text = w);
        IF detail IS NOT NULL THEN
            missing := 'certificates';
            detail := 'not of this order: ' || detail;
            RETURN;
        END IF;
        -- Lines of other goods count with their amount, and concern no certificate.
        amount := (SELECT coalesce(sum(x.amount_minor), 0) FROM unnest(units) x)
            + (SELECT coalesce(sum(l.amount_minor), 0) FROM certificates.order_lines l
               WHERE l.organization_id = o.organization_id AND l.order_ref = o.order_ref AND l.line_id = ANY (wanted_lines)
                 AND l.pool IS NULL AND l.certificate_id IS NULL);
        IF amount <> p.amount_minor THEN
            missing := 'amount';
            detail := format('the named certificates and lines cost %s', amount);
        END IF;
    ELSIF p.amount_minor = o.total_minor - refunded_before THEN
        units := all_units;
    ELSIF o.cancelled THEN
        -- Its certificates are taken back already; how much of the money returns is the retailer's affair.
        units := NULL;
    ELSE
        missing := 'certificates';
        detail := format('the refund is a part of what remains (%s), and does not say of which certificates', o.total_minor - refunded_before);
    END IF;
END $$;
COMMENT ON FUNCTION certificates.match_refund(certificates.orders, certificates.payments) IS
'Which units of an order a refund is for; missing: what is not known yet (order, currency, certificates, amount). Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.match_refund(certificates.orders, certificates.payments) TO backoffice_definer;

-- One refund: its certificates are taken back, all or none; or it is recorded what is missing.
CREATE FUNCTION certificates.apply_refund(o certificates.orders, p certificates.payments) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
    u certificates.order_units;
    told boolean;
BEGIN
    m := certificates.match_refund(o, p);
    IF m.missing IS NULL THEN
        SELECT string_agg(c.id::text, ', '), count(*) > 0 INTO m.detail, told
        FROM unnest(m.units) x JOIN certificates.certificates c ON c.organization_id = x.organization_id AND c.id = x.certificate_id
        WHERE x.state IN ('issued', 'used') AND c.state NOT IN ('refunded', 'voided')
          AND (c.state NOT IN ('issued', 'active', 'blocked') OR c.balance_minor <> c.face_value_minor OR c.held_minor <> 0);
        IF told THEN
            m.missing := 'unused';
            m.detail := 'used: ' || m.detail;
        END IF;
    END IF;
    IF m.missing IS NOT NULL THEN
        INSERT INTO certificates.pending_refunds AS r (organization_id, payment_ref, order_ref, amount_minor, currency, missing, detail)
        VALUES (o.organization_id, p.payment_ref, o.order_ref, p.amount_minor, p.currency, m.missing, m.detail)
        ON CONFLICT (organization_id, payment_ref) DO UPDATE SET missing = EXCLUDED.missing, detail = EXCLUDED.detail
            WHERE (r.missing, r.detail) IS DISTINCT FROM (EXCLUDED.missing, EXCLUDED.detail);
        IF FOUND THEN
            PERFORM certificates.emit(certificates.order_key(o.order_ref), 'refund.pendingDetails', o.channel, 'pending',
                jsonb_build_object('orderRef', o.order_ref, 'paymentRef', p.payment_ref, 'amountMinor', p.amount_minor, 'currency', p.currency,
                                   'missing', m.missing, 'detail', m.detail));
        END IF;
        RETURN false;
    END IF;
    FOREACH u IN ARRAY coalesce(m.units, '{}') LOOP
        PERFORM certificates.undo_unit(u, 'refunded', 'refunded by payment ' || p.payment_ref);
    END LOOP;
    UPDATE certificates.payments x SET applied_at = backoffice.now() WHERE x.organization_id = o.organization_id AND x.payment_ref = p.payment_ref;
    UPDATE certificates.pending_refunds r SET resolved_at = backoffice.now()
    WHERE r.organization_id = o.organization_id AND r.payment_ref = p.payment_ref;
    PERFORM certificates.emit(certificates.order_key(o.order_ref), 'refund', o.channel, 'completed',
        jsonb_build_object('orderRef', o.order_ref, 'paymentRef', p.payment_ref, 'amountMinor', p.amount_minor, 'currency', p.currency,
            'certificateIds', coalesce((SELECT jsonb_agg(x.certificate_id) FROM unnest(m.units) x WHERE x.certificate_id IS NOT NULL), '[]')));
    RETURN true;
END $$;
COMMENT ON FUNCTION certificates.apply_refund(certificates.orders, certificates.payments) IS
'Takes back what a refund paid back, emitting refund; or records what is missing, emitting refund.pendingDetails. True: done. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.apply_refund(certificates.orders, certificates.payments) TO backoffice_definer;

CREATE FUNCTION certificates.apply_refunds(o certificates.orders) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p certificates.payments;
    progress boolean := true;
BEGIN
    -- One refund's effect may be what another waited for. Those that name what they are for go first.
    WHILE progress LOOP
        progress := false;
        FOR p IN
            SELECT * FROM certificates.payments x
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'refund' AND x.status = 'succeeded' AND x.applied_at IS NULL
            ORDER BY x.details IS NULL, x.payment_ref
        LOOP
            progress := certificates.apply_refund(o, p) OR progress;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION certificates.apply_refunds(certificates.orders) IS 'Applies every refund of an order that can be. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.apply_refunds(certificates.orders) TO backoffice_definer;

-- What has to be told about the money of an order.
CREATE FUNCTION certificates.watch_payments(o certificates.orders, captured bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
BEGIN
    FOR p IN
        SELECT * FROM certificates.payments x
        WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'capture' AND x.status = 'succeeded'
          AND x.currency <> o.currency
    LOOP
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'payment_currency:' || p.payment_ref,
            jsonb_build_object('paymentRef', p.payment_ref, 'currency', p.currency, 'orderCurrency', o.currency));
    END LOOP;
    IF captured > o.total_minor AND NOT o.cancelled THEN
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'overpaid',
            jsonb_build_object('capturedMinor', captured, 'totalMinor', o.total_minor, 'currency', o.currency));
    END IF;
    IF o.cancelled AND captured > (SELECT coalesce(sum(x.amount_minor), 0) FROM certificates.payments x
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.type = 'refund' AND x.status = 'succeeded') THEN
        PERFORM certificates.order_alert(o.order_ref, 'alert', 'refund_due',
            jsonb_build_object('capturedMinor', captured, 'currency', o.currency, 'reason', 'the order is cancelled, the money is not given back'));
    END IF;
END $$;
COMMENT ON FUNCTION certificates.watch_payments(certificates.orders, bigint) IS
'Alerts about the money of an order: another currency, too much, or kept after a cancellation. captured: minor units. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.watch_payments(certificates.orders, bigint) TO backoffice_definer;

CREATE FUNCTION certificates.reconcile_order(order_ref text) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    o certificates.orders := certificates.lock_order(reconcile_order.order_ref);
    captured bigint;
    payment text;
    u certificates.order_units;
    outcome text := 'open';
BEGIN
    PERFORM certificates.sync_units(o);
    IF NOT o.cancelled THEN
        PERFORM certificates.adopt_units(o);
    END IF;
    PERFORM certificates.apply_refunds(o);

    SELECT coalesce(sum(p.amount_minor), 0), max(p.payment_ref) INTO captured, payment FROM certificates.payments p
    WHERE p.organization_id = o.organization_id AND p.order_ref = o.order_ref AND p.type = 'capture' AND p.status = 'succeeded' AND p.currency = o.currency;
    IF o.order_version > 0 THEN
        PERFORM certificates.watch_payments(o, captured);
    END IF;
    IF o.order_version > 0 AND NOT o.cancelled AND captured >= o.total_minor THEN
        outcome := 'fulfilled';
        FOR u IN
            SELECT * FROM certificates.order_units x
            WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state IN ('wanted', 'reserved', 'blocked')
            ORDER BY x.line_id, x.unit
        LOOP
            IF NOT certificates.issue_unit(o, u, (SELECT l.pool FROM certificates.order_lines l WHERE l.organization_id = o.organization_id
                                                    AND l.order_ref = o.order_ref AND l.line_id = u.line_id), payment) THEN
                outcome := 'blocked';
            END IF;
        END LOOP;
    END IF;
    IF o.order_version = 0 THEN
        outcome := 'expected';
    ELSIF o.cancelled THEN
        outcome := 'cancelled';
    ELSIF (SELECT count(*) > 0 AND bool_and(x.state = 'refunded') FROM certificates.order_units x
           WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state <> 'cancelled') THEN
        outcome := 'refunded';
    END IF;
    UPDATE certificates.orders x SET state = outcome, updated_at = backoffice.now()
    WHERE x.organization_id = o.organization_id AND x.order_ref = o.order_ref AND x.state <> outcome;
    RETURN outcome;
END $$;
COMMENT ON FUNCTION certificates.reconcile_order(text) IS
'Moves the certificates of an order to what its newest version and its payments say; running it again changes nothing. Returns the order''s state. Permission: the extension only; operators call certificates.retry_order().';
GRANT EXECUTE ON FUNCTION certificates.reconcile_order(text) TO backoffice_definer;

CREATE FUNCTION certificates.retry_order(order_ref text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM access.require('certificates.issue');
    IF NOT EXISTS (SELECT FROM certificates.orders o WHERE o.organization_id = backoffice.current_organization() AND o.order_ref = retry_order.order_ref) THEN
        PERFORM backoffice.raise('PT404', 'order_not_found', 'there is no such order', retry_order.order_ref);
    END IF;
    RETURN certificates.reconcile_order(retry_order.order_ref);
END $$;
COMMENT ON FUNCTION certificates.retry_order(text) IS
'Looks at an order again, e.g. after a pool was filled (the keeper does that too). Returns the order''s state. Permission: certificates.issue. Errors: PT404 order_not_found.';
GRANT EXECUTE ON FUNCTION certificates.retry_order(text) TO backoffice_service;

-- May pass by itself: locks, serialization, resources, shutdown.
CREATE FUNCTION certificates.is_passing(state text) RETURNS boolean
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
    AS $$ SELECT left(state, 2) IN ('40', '53', '55', '57', '58', 'XX') OR state = 'PT503' $$;
COMMENT ON FUNCTION certificates.is_passing(text) IS 'Is an error of this SQLSTATE worth trying again? Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.is_passing(text) TO backoffice_definer;

CREATE FUNCTION certificates.tell_error(topic text, message jsonb, status text, state text, what text, detail text) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT certificates.emit(certificates.order_key(coalesce(message ->> 'orderId', message ->> 'clientId')), 'error', message ->> 'channel', status,
        jsonb_build_object('topic', topic, 'orderRef', message ->> 'orderId', 'paymentRef', message ->> 'paymentId',
                           'sqlstate', state, 'error', what, 'detail', detail))
$$;
COMMENT ON FUNCTION certificates.tell_error(text, jsonb, text, text, text, text) IS
'Emits the error event for a message. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.tell_error(text, jsonb, text, text, text, text) TO backoffice_definer;

-- One message of a feed. What can't be understood is told on the stream and not raised, so that the feed goes on; what may
-- pass by itself is raised, and the dispatcher tries again. What was stored stays when the certificates can't follow it:
-- the order's next message or an operator (retry_order) has them try again.
CREATE FUNCTION certificates.handle_message(topic text, message jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ref text;
    detail text;
BEGIN
    BEGIN
        CASE topic
            WHEN 'All_SalesOrder' THEN ref := certificates.store_order(message);
            WHEN 'All_Payments' THEN ref := certificates.store_payment(message);
            WHEN 'All_Clients' THEN PERFORM certificates.store_client(message);
            WHEN 'certificates.commands' THEN ref := message ->> 'orderId';
        END CASE;
    EXCEPTION WHEN OTHERS THEN
        IF certificates.is_passing(SQLSTATE) THEN
            RAISE;
        END IF;
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        PERFORM certificates.tell_error(topic, message, 'rejected', SQLSTATE, SQLERRM, detail);
        RETURN;
    END;
    IF ref IS NULL THEN
        RETURN;
    END IF;
    BEGIN
        PERFORM certificates.reconcile_order(ref);
    EXCEPTION WHEN OTHERS THEN
        IF certificates.is_passing(SQLSTATE) THEN
            RAISE;
        END IF;
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        PERFORM certificates.tell_error(topic, message, 'not_applied', SQLSTATE, SQLERRM, detail);
    END;
END $$;
COMMENT ON FUNCTION certificates.handle_message(text, jsonb) IS
'Handles one message of All_SalesOrder, All_Payments, All_Clients or certificates.commands for the acting organization; what can''t be understood or done becomes an error event. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.handle_message(text, jsonb) TO backoffice_definer;

CREATE FUNCTION certificates.on_event(event events.event) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF backoffice.current_organization() IS NULL THEN
        PERFORM backoffice.raise('22023', 'organization_required', 'a message of a feed belongs to an organization', event.topic || ' ' || event.id);
    END IF;
    PERFORM certificates.handle_message(event.topic, event.payload);
END $$;
COMMENT ON FUNCTION certificates.on_event(events.event) IS
'The order flow''s handler (subscription certificates.orders). Errors: 22023 organization_required. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.on_event(events.event) TO backoffice_definer;

-- The order flow uses the context's own functions as backoffice_definer.
GRANT EXECUTE ON FUNCTION certificates.reserve_next(text, text, text, text, interval) TO backoffice_definer;
GRANT EXECUTE ON FUNCTION certificates.refund_purchase(uuid, text), certificates.void_purchase(uuid, text) TO backoffice_definer;
GRANT EXECUTE ON FUNCTION certificates.release(uuid, text), certificates.request_notification(uuid) TO backoffice_definer;

SELECT events.subscribe('certificates.orders', ARRAY['All_SalesOrder', 'All_Payments', 'All_Clients', 'certificates.commands'],
                        'certificates.on_event(events.event)'::regprocedure, start => 'earliest', role => 'backoffice_definer');

-- certificates/alerts.functions.sql
-- certificates: what the kernel set aside is told on the stream, where BI and support watch (C7).

CREATE FUNCTION certificates.on_alert(event events.event) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT certificates.emit(md5((event).payload ->> 'topic')::uuid, 'alert', NULL, (event).type, (event).payload, (event).organization_id)
    WHERE (event).payload ->> 'topic' IN ('All_SalesOrder', 'All_Payments', 'All_Clients', 'GiftCertificates.Stream', 'certificates.commands')
      -- An alert that the relay cannot deliver is not told by another of its kind.
      AND (event).payload ->> 'eventType' IS DISTINCT FROM 'alert'
$$;
COMMENT ON FUNCTION certificates.on_alert(events.event) IS
'Tells alerts of the kernel (backoffice.alerts) that concern the topics of certificates on GiftCertificates.Stream: type alert, status inbound.parked or event.parked, payload as of the alert. Handler of the subscription certificates.alerts. Permission: the extension only.';
GRANT EXECUTE ON FUNCTION certificates.on_alert(events.event) TO backoffice_kernel;

-- As the kernel: a message that cannot be understood belongs to no organization yet.
SELECT events.subscribe('certificates.alerts', ARRAY['backoffice.alerts'], 'certificates.on_alert(events.event)'::regprocedure,
                        start => 'earliest', role => 'backoffice_kernel');

-- api/api.tables.sql
CREATE SCHEMA api;
COMMENT ON SCHEMA api IS 'what HTTP exposes: one function per route';
GRANT USAGE ON SCHEMA api TO backoffice_anon, backoffice_user, backoffice_service, backoffice_definer;

-- Once: what an administrator says later stays.
SELECT events.let_listen(t.topic, t.permission)
FROM (VALUES ('GiftCertificates.Stream', 'certificates.read'), ('access.users', 'access.read_audit'), ('access.teams', 'access.read'),
             ('access.audit', 'access.read_audit')) AS t (topic, permission);

-- api/api.functions.sql
-- api: what HTTP exposes. See docs/api.md.
-- Every function is api_call() in C (extension/api/call.c); what it does stands beside its name in *_operations.c.

SELECT access.define_permission('events.read', 'listen to events');

CREATE FUNCTION api.pre_request() RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_pre_request';
COMMENT ON FUNCTION api.pre_request() IS
'For an unmodified PostgREST (db-pre-request = api.pre_request): sets who acts by the bearer token in request.headers, which is verified here, and by the header X-Organization-Id. Does nothing without a token. Permission: anonymous. Errors: as access.authenticate.';
GRANT EXECUTE ON FUNCTION api.pre_request() TO backoffice_anon, backoffice_user, backoffice_service;

-- ---- log-in, sessions, second factors ----

CREATE FUNCTION api.login(email text, password text, organization_id uuid DEFAULT NULL, device_info jsonb DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.login(text, text, uuid, jsonb) IS
'Logs a user in by password. organization_id: for which the tokens are (NULL: the first the user belongs to); device_info: what the user will recognize the device by, an object of at most 4 kB. Returns access_token, token_type, expires_in (s), refresh_token, session_id, aal, mfa (required, factors), user (id, email, organization_id, organizations); or status 401 and code invalid_credentials, 429 account_locked or address_throttled, 503 busy, with Retry-After. Permission: anonymous. Route: POST /auth/login. Errors: not_a_member, bad_device_info, missing_argument.';
GRANT EXECUTE ON FUNCTION api.login(text, text, uuid, jsonb) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE FUNCTION api.refresh(refresh_token text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.refresh(text) IS
'Trades a refresh token for the next one and a new access token. Returns as login; or status 401 and code refresh_token_invalid, session_expired, or refresh_token_reused, which ends the session. Permission: anonymous. Route: POST /auth/refresh. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION api.refresh(text) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE FUNCTION api.logout() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.logout() IS
'Ends the session that acts. Returns ended (false: had ended). Permission: any user. Route: POST /auth/logout. Errors: no_session.';
GRANT EXECUTE ON FUNCTION api.logout() TO backoffice_user, backoffice_service;

CREATE FUNCTION api.logout_all() RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.logout_all() IS
'Ends all sessions of the acting user. Returns ended (how many). Permission: any user. Route: POST /auth/logout-all.';
GRANT EXECUTE ON FUNCTION api.logout_all() TO backoffice_user, backoffice_service;

CREATE FUNCTION api.me() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.me() IS
'Who acts. Returns user, organization, organizations, roles, permissions, session, factors, recovery_codes_left. Permission: any user. Route: GET /auth/me.';
GRANT EXECUTE ON FUNCTION api.me() TO backoffice_user, backoffice_service;

CREATE FUNCTION api.sessions() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.sessions() IS
'The acting user''s sessions that have not ended, the last seen first. Returns items (id, current, organization_id, device_info, ip, user_agent, aal, amr, created_at, authenticated_at, last_seen_at, expires_at) and next (null: one page). Permission: any user. Route: GET /auth/sessions.';
GRANT EXECUTE ON FUNCTION api.sessions() TO backoffice_user, backoffice_service;

CREATE FUNCTION api.end_session(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.end_session(uuid) IS
'Ends one of the acting user''s sessions, or with access.manage_members one for the organization acted for. Returns id, ended (false: had ended). Permission: any user. Route: DELETE /auth/sessions/{id}. Errors: unknown_session.';
GRANT EXECUTE ON FUNCTION api.end_session(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.change_password(old_password text, new_password text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.change_password(text, text) IS
'Changes the acting user''s password and ends the other sessions. Returns an empty object; or status 403 and code wrong_password, 429 account_locked, 503 busy. Permission: any user. Route: POST /auth/password. Errors: password_too_short, password_too_long, aal2_required, no_session.';
GRANT EXECUTE ON FUNCTION api.change_password(text, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.mfa_enroll(label text DEFAULT 'authenticator') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_enroll(text) IS
'Begins to enroll an authenticator application. label: 1 to 100 bytes. Returns factor_id, secret (base32), otpauth_uri, shown this once. Permission: any user. Route: POST /auth/mfa/enroll. Errors: login_not_fresh, aal2_required, too_many_factors, bad_label, no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_enroll(text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.mfa_activate(factor_id uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_activate(uuid, text) IS
'Activates an enrolled authenticator by its first code. Returns as login, with recovery_codes, shown this once; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/activate. Errors: unknown_factor, factor_active, aal2_required, no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_activate(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.mfa_verify(code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_verify(text) IS
'Shows a second factor (a code, or a recovery code), and raises the session to aal2. Returns as login; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/verify. Errors: no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_verify(text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.mfa_disable(factor_id uuid, code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_disable(uuid, text) IS
'Removes an authenticator. code: of any active one, or a recovery code. Returns an empty object; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/disable. Errors: unknown_factor, no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_disable(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.mfa_recovery_codes(code text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.mfa_recovery_codes(text) IS
'Makes new recovery codes in the place of the old ones. code: as of mfa_verify. Returns recovery_codes, shown this once; or status 403 and code wrong_code, 429 account_locked. Permission: any user. Route: POST /auth/mfa/recovery-codes. Errors: no_session.';
GRANT EXECUTE ON FUNCTION api.mfa_recovery_codes(text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.oidc_begin(issuer text, redirect_uri text, organization_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.oidc_begin(text, text, uuid) IS
'Begins a log-in at an OpenID provider. issuer: its URL; redirect_uri: where the provider sends the browser with the code; organization_id: for which the user wants to act. Returns url (where to send the browser), state (to be bound to that browser), expires_in (s). Permission: anonymous. Route: POST /auth/oidc/begin. Errors: unknown_issuer, issuer_not_ready, bad_redirect_uri, missing_argument.';
GRANT EXECUTE ON FUNCTION api.oidc_begin(text, text, uuid) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE FUNCTION api.backchannel_logout(logout_token text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.backchannel_logout(text) IS
'An OpenID provider tells that a session there ended: ours that began with it end. Returns ended (how many). Permission: anonymous. Route: POST /auth/oidc/backchannel-logout. Errors: logout_token_replayed, those of tokens, missing_argument.';
GRANT EXECUTE ON FUNCTION api.backchannel_logout(text) TO backoffice_anon, backoffice_user, backoffice_service;

CREATE FUNCTION api.jwks() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.jwks() IS
'Public keys of access tokens, a JWK set (RFC 7517). Returns keys. Permission: anonymous. Route: GET /.well-known/jwks.json.';
GRANT EXECUTE ON FUNCTION api.jwks() TO backoffice_anon, backoffice_user, backoffice_service;

-- ---- certificates ----

CREATE FUNCTION api.reserve_next_certificate(pool text, channel text, order_ref text DEFAULT NULL, hold_s int DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.reserve_next_certificate(text, text, text, int) IS
'Reserves the next certificate of a pool. pool: code or id; channel: who sells it, e.g. internet_store or pos; order_ref: the order it is for; hold_s: seconds that the reservation lasts (NULL: the pool''s). Returns id, state, pool, face_value_minor, currency, hold_until with status 201 and Location (200 for a GET); for an empty pool status 409 and code pool_empty, and issue.blocked is committed. Permission: certificates.reserve. Route: POST /certificates/reservations, GET /certificates/next. Errors: pool_not_found, pool_paused, pool_closed, invalid_hold, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.reserve_next_certificate(text, text, text, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.certificate(id uuid) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.certificate(uuid) IS
'A certificate, without code and CVC. Returns id, pool, state, currency, face_value_minor, balance_minor, held_minor, available_minor, code_last4, channel, order_ref, client_ref, version, created_at, hold_until, issued_at, activated_at, valid_until, replaced_by. Permission: certificates.read. Route: GET /certificates/{id}. Errors: certificate_not_found.';
GRANT EXECUTE ON FUNCTION api.certificate(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.certificate_cvc(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.certificate_cvc(uuid) IS
'The CVC of a certificate for which notification.requested was emitted; emits audit.cvc_revealed. Returns id, cvc. Permission: certificates.reveal_cvc. Route: GET /certificates/{id}/cvc. Errors: certificate_not_found, notification_not_requested, cvc_destroyed.';
GRANT EXECUTE ON FUNCTION api.certificate_cvc(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.notify_certificate(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.notify_certificate(uuid) IS
'Asks that the client is sent the CVC: emits notification.requested. Returns id, status. Permission: certificates.notify. Route: POST /certificates/{id}/notify. Errors: certificate_not_found, not_issued.';
GRANT EXECUTE ON FUNCTION api.notify_certificate(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.release_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.release_certificate(uuid, text) IS
'Gives a reservation back. reason: told in the event. Returns id, state (available; voided if its code was shown). Permission: certificates.release. Route: POST /certificates/{id}/release. Errors: certificate_not_found, not_reserved.';
GRANT EXECUTE ON FUNCTION api.release_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.issue_certificate(id uuid, order_ref text DEFAULT NULL, client_ref text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.issue_certificate(uuid, text, text) IS
'Sells a reserved certificate and shows its code. order_ref, client_ref: whose it is (NULL keeps what the reservation said). Returns id, state, code, face_value_minor, balance_minor, currency, valid_until. Permission: certificates.issue. Route: POST /certificates/{id}/issue. Errors: certificate_not_found, illegal_transition, invalid_argument.';
GRANT EXECUTE ON FUNCTION api.issue_certificate(uuid, text, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.redeem_certificate(id uuid, amount_minor bigint, channel text DEFAULT NULL, order_ref text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.redeem_certificate(uuid, bigint, text, text) IS
'Takes money from a certificate. amount_minor: minor units of its currency. Returns id (of the redemption), certificate_id, kind, state, amount_minor, balance_minor, available_minor, currency. Permission: certificates.redeem. Route: POST /certificates/{id}/redeem. Errors: invalid_amount, certificate_not_found, not_redeemable, certificate_blocked, certificate_expired, insufficient_balance.';
GRANT EXECUTE ON FUNCTION api.redeem_certificate(uuid, bigint, text, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.refund_certificate(id uuid, amount_minor bigint, redemption_id uuid DEFAULT NULL, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.refund_certificate(uuid, bigint, uuid, text) IS
'Gives redeemed money back to the certificate. amount_minor: minor units; redemption_id: of which redemption (NULL: of all). Returns as redeem_certificate. Permission: certificates.refund. Route: POST /certificates/{id}/refund. Errors: invalid_amount, certificate_not_found, redemption_not_found, not_refundable, refund_exceeds_redeemed.';
GRANT EXECUTE ON FUNCTION api.refund_certificate(uuid, bigint, uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.block_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.block_certificate(uuid, text) IS
'Stops a certificate. reason: told in the event, at most 500 bytes. Returns id, state, blocked_from (the state to return to). Permission: certificates.block. Route: POST /certificates/{id}/block. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION api.block_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.unblock_certificate(id uuid, reason text DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.unblock_certificate(uuid, text) IS
'Returns a blocked certificate to the state before. Returns id, state. Permission: certificates.block. Route: POST /certificates/{id}/unblock. Errors: certificate_not_found, illegal_transition.';
GRANT EXECUTE ON FUNCTION api.unblock_certificate(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.check_certificate(code text, cvc text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.check_certificate(text, text) IS
'Is this the CVC of a sold certificate with this code? Returns valid, id (NULL when not). Failures are counted. Permission: certificates.verify_cvc. Route: POST /certificates/check. Errors: throttled.';
GRANT EXECUTE ON FUNCTION api.check_certificate(text, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.pools(after text DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.pools(text, int) IS
'Pools by code. after: next of the page before; max_items: 1 to 1000. Returns items (id, code, state, currency, face_value_minor, low_water, created_at) and next. Permission: certificates.read. Route: GET /pools. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.pools(text, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.pool(pool text) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.pool(text) IS
'A pool and what is in it. pool: code or id. Returns as an item of pools, and created, available, reserved, issued, terminal (numbers of certificates), outstanding_minor. Counts every certificate of the pool. Permission: certificates.read. Route: GET /pools/{pool}. Errors: pool_not_found.';
GRANT EXECUTE ON FUNCTION api.pool(text) TO backoffice_user, backoffice_service;

-- ---- administration ----

CREATE FUNCTION api.members(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.members(uuid, int) IS
'Members of the organization by user id. after: next of the page before; max_items: 1 to 1000. Returns items (user_id, email, state, user_state, roles, created_at) and next. Permission: access.read. Route: GET /members. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.members(uuid, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.remove_member(user_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.remove_member(uuid) IS
'Ends a membership with all its roles. Returns user_id, removed. Permission: access.manage_members. Route: DELETE /members/{user_id}. Errors: unknown_user, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.remove_member(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.invite_member(email text, role text DEFAULT 'member') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.invite_member(text, text) IS
'Asks the person with this e-mail address to join with a role; the same answer whether there is such a user or not. Returns id, email, role with status 201 and Location. Permission: access.manage_members. Route: POST /invitations. Errors: bad_email, already_member, unknown_role, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.invite_member(text, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.invitations(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.invitations(uuid, int) IS
'Invitations of the organization that nobody has accepted. after: next of the page before; max_items: 1 to 1000. Returns items (id, email, role, invited_by, created_at, expires_at) and next. Permission: access.read. Route: GET /invitations. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.invitations(uuid, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.withdraw_invitation(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.withdraw_invitation(uuid) IS
'Takes an invitation back. Returns id, withdrawn. Permission: access.manage_members. Route: DELETE /invitations/{id}. Errors: unknown_invitation.';
GRANT EXECUTE ON FUNCTION api.withdraw_invitation(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.my_invitations() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.my_invitations() IS
'Invitations to the acting user''s e-mail address, of all organizations. Returns items (id, organization_id, organization, role, created_at, expires_at) and next (null: one page). Permission: any user. Route: GET /auth/invitations.';
GRANT EXECUTE ON FUNCTION api.my_invitations() TO backoffice_user, backoffice_service;

CREATE FUNCTION api.accept_invitation(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.accept_invitation(uuid) IS
'Makes the acting user a member of the organization that invited it, with the role offered. Returns organization_id. Permission: any user. Route: POST /auth/invitations/{id}/accept. Errors: unknown_invitation.';
GRANT EXECUTE ON FUNCTION api.accept_invitation(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.roles(after text DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.roles(text, int) IS
'Roles of the organization by name. after: next of the page before; max_items: 1 to 1000. Returns items (name, permissions, inherits, created_at) and next. Permission: access.read. Route: GET /roles. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.roles(text, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.define_role(name text, permissions text[], inherits text[] DEFAULT '{}') RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.define_role(text, text[], text[]) IS
'Makes or redefines a role. permissions: names, context.* or *; inherits: roles whose permissions it has too. Returns name, permissions, inherits. Permission: access.manage_roles. Route: PUT /roles/{name}. Errors: bad_role_name, unknown_permission, unknown_role, role_cycle, bad_list, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.define_role(text, text[], text[]) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.grant_role(user_id uuid, role text, valid_until timestamptz DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.grant_role(uuid, text, timestamptz) IS
'Gives a member a role, until valid_until or until revoked. Returns user_id, role, valid_until. Permission: access.manage_roles. Route: PUT /members/{user_id}/roles/{role}. Errors: unknown_user, unknown_role, bad_valid_until, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.grant_role(uuid, text, timestamptz) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.revoke_role(user_id uuid, role text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.revoke_role(uuid, text) IS
'Takes a role away. Returns user_id, role, revoked (false: did not have it). Permission: access.manage_roles. Route: DELETE /members/{user_id}/roles/{role}. Errors: unknown_role, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.revoke_role(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.teams(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.teams(uuid, int) IS
'Teams of the organization and who is in them. after: next of the page before; max_items: 1 to 1000. Returns items (id, name, members, created_at) and next. Permission: access.read. Route: GET /teams. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.teams(uuid, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.create_team(name text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_team(text) IS
'Makes a team. name: 1 to 100 bytes, unique in the organization. Returns id, name with status 201 and Location. Permission: access.manage_teams. Route: POST /teams. Errors: bad_team_name, team_name_taken.';
GRANT EXECUTE ON FUNCTION api.create_team(text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.rename_team(id uuid, name text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.rename_team(uuid, text) IS
'Gives a team another name. Returns id, name. Permission: access.manage_teams. Route: PUT /teams/{id}. Errors: unknown_team, bad_team_name, team_name_taken.';
GRANT EXECUTE ON FUNCTION api.rename_team(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.delete_team(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.delete_team(uuid) IS
'Deletes a team; its members stay in the organization. Returns id, deleted. Permission: access.manage_teams. Route: DELETE /teams/{id}. Errors: unknown_team.';
GRANT EXECUTE ON FUNCTION api.delete_team(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.add_team_member(team_id uuid, user_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.add_team_member(uuid, uuid) IS
'Puts a member of the organization into a team. Returns team_id, user_id. Permission: access.manage_teams. Route: PUT /teams/{team_id}/members/{user_id}. Errors: unknown_team, unknown_user, too_many_teams.';
GRANT EXECUTE ON FUNCTION api.add_team_member(uuid, uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.remove_team_member(team_id uuid, user_id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.remove_team_member(uuid, uuid) IS
'Takes a user out of a team. Returns team_id, user_id, removed (false: was not in it). Permission: access.manage_teams. Route: DELETE /teams/{team_id}/members/{user_id}.';
GRANT EXECUTE ON FUNCTION api.remove_team_member(uuid, uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.organizations(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.organizations(uuid, int) IS
'Every organization. after: next of the page before; max_items: 1 to 1000. Returns items (id, name, state, created_at) and next. Permission: platform administrator. Route: GET /organizations. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.organizations(uuid, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.create_organization(name text, owner_id uuid DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_organization(text, uuid) IS
'Makes an organization with the default roles. name: not blank, at most 200 bytes; owner_id: a user who becomes its owner. Returns id, name with status 201 and Location. Permission: platform administrator. Route: POST /organizations. Errors: bad_organization_name, unknown_user.';
GRANT EXECUTE ON FUNCTION api.create_organization(text, uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.set_organization_state(id uuid, state text) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.set_organization_state(uuid, text) IS
'Suspends an organization (suspended), or takes it back into service (active). Returns id, state. Permission: platform administrator. Route: PUT /organizations/{id}/state. Errors: unknown_organization, bad_state.';
GRANT EXECUTE ON FUNCTION api.set_organization_state(uuid, text) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.create_api_key(name text, scopes text[], expires_at timestamptz DEFAULT NULL) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.create_api_key(text, text[], timestamptz) IS
'Makes a key for a machine, to be used as a bearer token. name: for people, 1 to 200 bytes; scopes: what it may do, permissions, context.* or *; expires_at: NULL: never. Returns id, key (shown this once) with status 201 and Location. Permission: access.manage_api_keys. Route: POST /api-keys. Errors: bad_api_key_name, bad_list, unknown_permission, bad_expires_at, beyond_own_rights.';
GRANT EXECUTE ON FUNCTION api.create_api_key(text, text[], timestamptz) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.api_keys(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.api_keys(uuid, int) IS
'API keys of the organization, revoked ones too. after: next of the page before; max_items: 1 to 1000. Returns items (id, name, user_id, scopes, state, created_by, created_at, expires_at, last_used_at) and next. Permission: access.manage_api_keys. Route: GET /api-keys. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.api_keys(uuid, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.revoke_api_key(id uuid) RETURNS jsonb
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.revoke_api_key(uuid) IS
'Ends an API key. Returns id, revoked. Permission: access.manage_api_keys. Route: DELETE /api-keys/{id}. Errors: unknown_api_key.';
GRANT EXECUTE ON FUNCTION api.revoke_api_key(uuid) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.audit(after uuid DEFAULT NULL, max_items int DEFAULT 100) RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.audit(uuid, int) IS
'What happened to the organization''s users and rights, the newest first. after: next of the page before; max_items: 1 to 1000. Returns items (id, type, occurred_at, data) and next. Permission: access.read_audit. Route: GET /audit. Errors: bad_limit.';
GRANT EXECUTE ON FUNCTION api.audit(uuid, int) TO backoffice_user, backoffice_service;

CREATE FUNCTION api.permissions() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.permissions() IS
'Every permission that a role can have. Returns items (name, description) and next (null: one page). Permission: access.read. Route: GET /permissions.';
GRANT EXECUTE ON FUNCTION api.permissions() TO backoffice_user, backoffice_service;

-- ---- the system ----

CREATE FUNCTION api.health() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.health() IS
'Whether the server''s own workers run. Returns status (ok or degraded) and version. Permission: anonymous. Route: GET /rpc/health.';
GRANT EXECUTE ON FUNCTION api.health() TO backoffice_anon, backoffice_user, backoffice_service;

CREATE FUNCTION api.event_topics() RETURNS jsonb
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'api_call';
COMMENT ON FUNCTION api.event_topics() IS
'Topics that whoever acts may listen to. Returns items (topic, description) and next (null: one page). Permission: events.read. Route: GET /events/topics.';
GRANT EXECUTE ON FUNCTION api.event_topics() TO backoffice_user, backoffice_service;

-- footer.sql
-- One owner for all tables, another for everything that runs with its owner's rights, and nothing for PUBLIC.
DO $$
DECLARE
    r record;
BEGIN
    -- Foreign keys are checked with the rights of the tables' owner.
    FOR r IN
        SELECT d.objid::regnamespace AS name
        FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice' AND d.classid = 'pg_catalog.pg_namespace'::regclass AND d.deptype = 'e'
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO backoffice_owner', r.name);
    END LOOP;
    FOR r IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice' AND c.relkind IN ('r', 'p', 'v', 'S')
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i WHERE i.classid = 'pg_catalog.pg_class'::regclass
                            AND i.objid = c.oid AND i.deptype IN ('i', 'a') AND c.relkind = 'S')
        ORDER BY c.relkind = 'v', c.oid
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO backoffice_owner', r.kind, r.name);
    END LOOP;
    -- Foreign keys are checked as the tables' owner.
    FOR r IN
        SELECT n.nspname AS name
        FROM pg_catalog.pg_namespace n
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice'
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO backoffice_owner', r.name);
    END LOOP;
    FOR r IN
        SELECT p.oid::regprocedure AS name, p.prosecdef, p.proowner::regrole::text AS owner
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.refobjid = e.oid
        WHERE e.extname = 'backoffice'
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', r.name);
        -- A context that needs the kernel's wider view says so itself (ALTER FUNCTION ... OWNER TO backoffice_kernel).
        IF r.prosecdef AND r.owner NOT IN ('backoffice_kernel') THEN
            EXECUTE format('ALTER FUNCTION %s OWNER TO backoffice_definer', r.name);
        END IF;
    END LOOP;
END $$;
