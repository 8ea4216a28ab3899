CREATE OR REPLACE FUNCTION events.lease(consumer text, instance text, shard_count int DEFAULT 8, ttl interval DEFAULT '10 s',
                                        topics text[] DEFAULT NULL, start text DEFAULT 'earliest',
                                        OUT shard int, OUT fence bigint, OUT "position" events.position, OUT shards_total int, OUT wanted boolean)
    RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_lease';
COMMENT ON FUNCTION events.lease(text, text, int, interval, text[], text) IS
'Renews this instance''s shards of a consumer for ttl (1 s to 1 hour), takes free ones up to its fair share, makes the consumer if it is new (shard_count: 1 to 1024; start: earliest or latest). Returns the instance''s shards: fence for advance(), position, the consumer''s own shard_count, wanted (another instance is short of this shard: drain and release it). topics NULL: every topic of direction out. Permission: backoffice_worker. Errors: invalid_lease, not_a_worker.';
GRANT EXECUTE ON FUNCTION events.lease(text, text, int, interval, text[], text) TO backoffice_worker;

CREATE OR REPLACE FUNCTION events.advance(consumer text, instance text, shards int[], fences bigint[], "position" events.position) RETURNS int
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

CREATE OR REPLACE FUNCTION events.release_lease(consumer text, instance text, shards int[] DEFAULT NULL) RETURNS int
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- The lock order of lease(): the consumer first, then the shards as advance() does.
    WITH locked AS MATERIALIZED (
        SELECT name FROM events.registered_consumers WHERE name = release_lease.consumer FOR NO KEY UPDATE
    ), gone AS (
        DELETE FROM events.consumer_instances i USING locked
        WHERE i.consumer = locked.name AND i.instance = release_lease.instance AND release_lease.shards IS NULL
    ), held AS (
        SELECT c.shard FROM locked JOIN events.cursors c ON c.consumer = locked.name AND c.owner = release_lease.instance
        WHERE release_lease.shards IS NULL OR c.shard = ANY (release_lease.shards)
        ORDER BY c.shard FOR NO KEY UPDATE OF c
    ), freed AS (
        UPDATE events.cursors c SET owner = NULL, lease_until = NULL FROM held
        WHERE c.consumer = release_lease.consumer AND c.shard = held.shard
        RETURNING 1
    )
    SELECT count(*)::int FROM freed
$$;
COMMENT ON FUNCTION events.release_lease(text, text, int[]) IS
'Gives shards back, so that another instance can take them at once; shards NULL: all, and the instance signs off. Returns how many. Permission: backoffice_worker.';
ALTER FUNCTION events.release_lease(text, text, int[]) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.release_lease(text, text, int[]) TO backoffice_worker;

CREATE OR REPLACE FUNCTION events.remove_consumer(consumer text) RETURNS boolean
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

CREATE OR REPLACE FUNCTION events.park(consumer text, shard int, id uuid, "position" events.position, topic text, key text, type text,
                                       payload jsonb, headers jsonb, reason text, organization uuid, occurred_at timestamptz DEFAULT NULL,
                                       quiet boolean DEFAULT false) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_park';
COMMENT ON FUNCTION events.park(text, int, uuid, events.position, text, text, text, jsonb, jsonb, text, uuid, timestamptz, boolean) IS
'Sets an event aside that a thin worker cannot deliver: it is kept whole in events.parked, and an alert goes to backoffice.alerts. To be called in the transaction of the advance() that passes it. Again for the same event: one more attempt. reason: the first 2000 bytes are kept; organization NULL: an event of the system; quiet: no alert, for what only waits behind an event that had one. Permission: backoffice_worker. Errors: missing_argument, not_a_worker.';
GRANT EXECUTE ON FUNCTION events.park(text, int, uuid, events.position, text, text, text, jsonb, jsonb, text, uuid, timestamptz, boolean) TO backoffice_worker;

CREATE OR REPLACE FUNCTION events.parked_due(consumer text, shards int[] DEFAULT NULL, max_events int DEFAULT 100,
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

CREATE OR REPLACE FUNCTION events.unpark(consumer text, ids uuid[]) RETURNS int
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

CREATE OR REPLACE FUNCTION events.retry_parked(consumer text DEFAULT NULL, id uuid DEFAULT NULL) RETURNS int
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

CREATE OR REPLACE FUNCTION events.discard_parked(consumer text, id uuid) RETURNS boolean
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

CREATE OR REPLACE VIEW events.parked WITH (security_invoker = true) AS
    SELECT consumer, id, organization_id, position, topic, key, type, payload, headers, occurred_at,
           state, attempts, reason, parked_at, due_at, shard
    FROM events.parked_events;
COMMENT ON VIEW events.parked IS
'What consumers set aside, with the reason. state: retrying (runs again at due_at), waiting (behind another event of its key), parked (waits for events.retry_parked() or discard_parked()). Permission: backoffice_admin and backoffice_worker see all, backoffice_service its principal''s organization.';
GRANT SELECT ON events.parked TO backoffice_admin, backoffice_worker, backoffice_service;
