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
