CREATE OR REPLACE FUNCTION events.define_topic(topic text, key_rule text DEFAULT NULL, retention interval DEFAULT '7 days', partitions int DEFAULT 6,
                                               direction text DEFAULT 'out', description text DEFAULT NULL) RETURNS int
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_define_topic';
COMMENT ON FUNCTION events.define_topic(text, text, interval, int, text, text) IS
'Defines a topic, or changes it; equal arguments again change nothing. topic: 1 to 249 of a-z A-Z 0-9 . _ -; key_rule: what the key is, and then every event must have one (NULL: free); retention: at least 7 days unless internal; partitions: 1 to 10000, never fewer than before; direction: out (carried to Kafka), in (comes from Kafka) or internal; NULL for these three is their default. Returns the topic''s id. A new topic may be emitted to by backoffice_service. Permission: backoffice_admin. Errors: invalid_topic, retention_too_short, partitions_reduced.';
GRANT EXECUTE ON FUNCTION events.define_topic(text, text, interval, int, text, text) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.grant_topic(topic text, role regrole) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_grant_topic';
COMMENT ON FUNCTION events.grant_topic(text, regrole) IS
'Lets the members of a role emit to a topic. Permission: backoffice_admin. Errors: unknown_topic.';
GRANT EXECUTE ON FUNCTION events.grant_topic(text, regrole) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.revoke_topic(topic text, role regrole) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'events_revoke_topic';
COMMENT ON FUNCTION events.revoke_topic(text, regrole) IS
'Takes the right to emit to a topic from a role; transactions that start after the commit no longer have it. Permission: backoffice_admin. Errors: unknown_topic.';
GRANT EXECUTE ON FUNCTION events.revoke_topic(text, regrole) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.define_schema(topic text, type text, schema jsonb) RETURNS void
    LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'events_define_schema';
COMMENT ON FUNCTION events.define_schema(text, text, jsonb) IS
'Sets the JSON Schema (draft 2020-12, the subset in docs/events.md) that payloads of this topic and type must match; type NULL: of every type, in addition to the type''s own. schema NULL removes it. Permission: backoffice_admin. Errors: unknown_topic, invalid_schema (names the keyword and its place).';
GRANT EXECUTE ON FUNCTION events.define_schema(text, text, jsonb) TO backoffice_admin;

CREATE OR REPLACE FUNCTION events.let_listen(topic text, permission text) RETURNS void
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

CREATE OR REPLACE FUNCTION events.check_payload(topic text, type text, payload jsonb) RETURNS void
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'events_check_payload';
COMMENT ON FUNCTION events.check_payload(text, text, jsonb) IS
'Checks a payload as emit would, without emitting. Permission: backoffice_service, backoffice_admin, backoffice_worker. Errors: unknown_topic, schema_violation.';
GRANT EXECUTE ON FUNCTION events.check_payload(text, text, jsonb) TO backoffice_service, backoffice_admin, backoffice_worker;
