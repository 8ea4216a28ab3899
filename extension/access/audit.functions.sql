SELECT access.define_permission('access.read_audit', 'see who changed rights, who logged in, and what failed');

CREATE OR REPLACE FUNCTION access.on_audit_event(event events.event) RETURNS void
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

CREATE OR REPLACE FUNCTION access.prune_audit_entries(older_than interval) RETURNS bigint
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH gone AS (
        DELETE FROM access.audit_entries WHERE occurred_at < clock_timestamp() - older_than RETURNING 1
    ), counted AS (
        SELECT count(*) AS entries FROM gone
    ), told AS (
        SELECT events.emit('access.audit', 'audit_entries', 'audit_entries.pruned', jsonb_build_object('olderThan', older_than, 'entries', entries))
        FROM counted WHERE entries > 0
    )
    SELECT entries FROM counted, (SELECT count(*) FROM told) t
$$;
COMMENT ON FUNCTION access.prune_audit_entries(interval) IS
'Deletes audit entries older than that, of every organization, and tells so (audit_entries.pruned); otherwise they are kept. Returns how many. Permission: backoffice_admin.';
ALTER FUNCTION access.prune_audit_entries(interval) OWNER TO backoffice_kernel;
GRANT EXECUTE ON FUNCTION access.prune_audit_entries(interval) TO backoffice_admin;
