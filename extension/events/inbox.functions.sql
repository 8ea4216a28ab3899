CREATE OR REPLACE FUNCTION events.accept(source text, message_id text, topic text, key text, payload jsonb, headers jsonb DEFAULT NULL,
                                         organization uuid DEFAULT NULL, type text DEFAULT NULL) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_accept';
COMMENT ON FUNCTION events.accept(text, text, text, text, jsonb, jsonb, uuid, text) IS
'Takes a message from outside into the log, once per (organization, source, message_id): true if it is new, false if it was seen before; a concurrent twin waits. The organization is the principal''s; backoffice_worker without a principal passes it, or in headers->>''organization_id'' (a superuser''s message that names none is of no organization, as in events.emit()). The event''s type is type, else headers->>''ce_type'', payload->>''eventType'', payload->>''type'', or the topic. Permission: backoffice_worker for topics of direction in; else the right to the topic (events.grant_topic). Errors: invalid_message, organization_required, organization_mismatch, idempotency_conflict (the same id with another topic, key or payload), and those of events.emit().';
GRANT EXECUTE ON FUNCTION events.accept(text, text, text, text, jsonb, jsonb, uuid, text) TO backoffice_worker, backoffice_service;

CREATE OR REPLACE FUNCTION events.park_inbound(source text, topic text, "partition" int, "offset" bigint, key bytea, value bytea, reason text) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_park_inbound';
COMMENT ON FUNCTION events.park_inbound(text, text, int, bigint, bytea, bytea, text) IS
'Keeps an inbound message that cannot be understood, with an alert on backoffice.alerts (type inbound.parked). Returns false if the same key and value are there already from that offset. Permission: backoffice_worker. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION events.park_inbound(text, text, int, bigint, bytea, bytea, text) TO backoffice_worker;

CREATE OR REPLACE FUNCTION events.discard_inbound(source text, topic text, "partition" int, "offset" bigint) RETURNS boolean
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
'Deletes the inbound messages parked from that offset (after they were corrected and accepted by hand, or given up); mostly one, more if the topic was made anew. Permission: backoffice_admin.';
ALTER FUNCTION events.discard_inbound(text, text, int, bigint) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.discard_inbound(text, text, int, bigint) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.source_offsets(source_group text, OUT topic text, OUT "partition" int, OUT "offset" bigint)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.topic, s."partition", s.next_offset
    FROM events.source_positions s WHERE s.source_group = source_offsets.source_group
    ORDER BY s.topic, s."partition"
$$;
COMMENT ON FUNCTION events.source_offsets(text) IS
'Where a group of ingesters goes on: the next offset to read of each partition. Permission: backoffice_worker, backoffice_admin.';
ALTER FUNCTION events.source_offsets(text) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION events.source_offsets(text) TO backoffice_worker, backoffice_admin;

CREATE OR REPLACE FUNCTION events.save_source_offset(source_group text, topic text, "partition" int, "offset" bigint) RETURNS void
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

CREATE OR REPLACE FUNCTION events.rewind_source(source_group text, topic text, "partition" int, "offset" bigint) RETURNS boolean
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_rewind_source';
COMMENT ON FUNCTION events.rewind_source(text, text, int, bigint) IS
'For an ingester that finds its source begun anew (the topic was deleted and made again, or has lost its end): the group goes on at that offset, which lies before where it was, with an alert on backoffice.alerts (type inbound.rewound). Returns false, and does nothing, where the group is no further than that. Permission: backoffice_worker. Errors: missing_argument.';
GRANT EXECUTE ON FUNCTION events.rewind_source(text, text, int, bigint) TO backoffice_worker;

CREATE OR REPLACE FUNCTION events.reset_source_offset(source_group text, topic text, "partition" int DEFAULT NULL, "offset" bigint DEFAULT 0) RETURNS int
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

CREATE OR REPLACE FUNCTION events.prune_inbox(older_than interval) RETURNS bigint
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
