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
