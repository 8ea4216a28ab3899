CREATE OR REPLACE FUNCTION events.emit(topic text, key text, type text, payload jsonb, headers jsonb DEFAULT NULL) RETURNS uuid
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'events_emit_sql';
COMMENT ON FUNCTION events.emit(text, text, text, jsonb, jsonb) IS
'Writes an event into the log; it becomes readable when this transaction commits. topic: one that events.define_topic() defined; key: at most 1024 bytes, events of one key keep the order of their commits if the emitter locks the entity before it emits (NULL: no order); type: 1 to 255 bytes; payload: any JSON, checked against the topic''s schema; headers: an object of strings, e.g. {"traceparent": ...}. The event belongs to the organization of the principal. Returns the event''s id (UUIDv7). Permission: one of the roles that may emit to the topic (events.grant_topic). Errors: missing_argument, unknown_topic, topic_forbidden, key_required, schema_violation, event_too_large (backoffice.max_event_bytes), bad_event_type, key_too_long, bad_headers, no_principal, organization_required (a user who acts for none), read_only_transaction, standby, parallel_emit, restricted_operation, log_partition_missing.';
GRANT EXECUTE ON FUNCTION events.emit(text, text, text, jsonb, jsonb) TO backoffice_service, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION events.drop_expired() RETURNS int
    LANGUAGE c VOLATILE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'events_drop_expired';
COMMENT ON FUNCTION events.drop_expired() IS
'Drops the partitions of the log whose events are all older than their topics'' retention and passed by every consumer; the keeper does the same every five minutes. Returns how many. Permission: superuser. Errors: superuser_required.';

CREATE OR REPLACE FUNCTION events.list_open_transactions(OUT pid int, OUT prepared text, OUT since timestamptz, OUT role name, OUT application text, OUT state text)
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

CREATE OR REPLACE VIEW events.open_transactions WITH (security_invoker = true) AS
    SELECT pid, prepared, since, role, application, state FROM events.list_open_transactions();
COMMENT ON VIEW events.open_transactions IS
'Transactions that have emitted and are not over, oldest first: their events are not readable yet (all others are), and they keep retention from dropping the partitions they wrote to. pid: the session; prepared: the name of a prepared transaction. Permission: backoffice_worker, backoffice_admin, backoffice_service.';
GRANT SELECT ON events.open_transactions TO backoffice_worker, backoffice_admin, backoffice_service;
