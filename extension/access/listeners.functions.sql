CREATE OR REPLACE FUNCTION access.listener_events(after events.position, max_events int DEFAULT 500, max_bytes int DEFAULT 262144,
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
