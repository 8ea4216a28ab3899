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
