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

CREATE OR REPLACE FUNCTION access.listener_rights(tokens text[], organizations uuid[]) RETURNS text[]
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_listener_rights';
COMMENT ON FUNCTION access.listener_rights(text[], uuid[]) IS
'What each of many tokens may listen to now, for the HTTP gateway''s event streams: verified and looked up as by access.authenticate(), without acting as anybody; the transaction becomes read-only. organizations: for which each acts, NULL: its own. Permission: EXECUTE (backoffice_gateway); the tokens are the right. Returns for each token its organization, and behind a space the topics of api.event_topics() between commas; NULL: a token that may not listen at all. Errors: those of access.authenticate, for the first token that is not good; bad_list.';
GRANT EXECUTE ON FUNCTION access.listener_rights(text[], uuid[]) TO backoffice_gateway;

CREATE OR REPLACE FUNCTION access.position_keys() RETURNS text[]
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'access_position_keys';
COMMENT ON FUNCTION access.position_keys() IS
'What the HTTP gateway seals positions with before it shows them to anybody, so that no tenant learns from them how much the others emit: for each key of the key file, the current one first, its id and, behind a space, 32 bytes in hexadecimal that were derived from it for this purpose alone. Permission: EXECUTE (backoffice_gateway). Errors: key_file_missing, key_file_unsafe, key_file_malformed.';
GRANT EXECUTE ON FUNCTION access.position_keys() TO backoffice_gateway;
