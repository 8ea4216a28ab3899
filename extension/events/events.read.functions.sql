CREATE OR REPLACE FUNCTION events.read(after events.position DEFAULT NULL, max_events int DEFAULT 1000, topics text[] DEFAULT NULL)
    RETURNS TABLE ("position" events.position, id uuid, organization_id uuid, topic text, key text, type text, payload jsonb, headers jsonb, occurred_at timestamptz)
    LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1000 AS 'MODULE_PATHNAME', 'events_read';
COMMENT ON FUNCTION events.read(events.position, int, text[]) IS
'Events behind a position, in order; never waits (LISTEN backoffice_events tells when there is more). after: a position from here or events.position(), NULL: from where the log begins; max_events: at least 1; topics: only these (NULL: all). Never skips, never repeats: store the position of the last row together with its effects, and pass it next time. Permission: backoffice_worker, backoffice_admin: every organization; backoffice_service, backoffice_user: the principal''s. Errors: position_unknown, position_lost (cut off by a promotion or restore), position_expired (dropped by retention), bad_limit, unknown_topic, no_principal.';
GRANT EXECUTE ON FUNCTION events.read(events.position, int, text[]) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION events.fetch(after events.position, max_events int DEFAULT 1000, max_bytes int DEFAULT 4194304, topics text[] DEFAULT NULL,
                                        shard_count int DEFAULT 1, shards int[] DEFAULT NULL,
                                        OUT next events.position, OUT events int, OUT batch bytea)
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'events_fetch';
COMMENT ON FUNCTION events.fetch(events.position, int, int, text[], int, int[]) IS
'As events.read(), packed into one value for workers. max_bytes: 1 to 268435456, at least one event is returned in any case; shard_count, shards: only events whose key (without one: whose id) falls into these of shard_count shards. Returns next (what to read on after, also past events that did not pass), events (their number) and batch: the format stands in docs/events.md. Permission and errors as events.read(), and bad_shard.';
GRANT EXECUTE ON FUNCTION events.fetch(events.position, int, int, text[], int, int[]) TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;

CREATE OR REPLACE FUNCTION events.position() RETURNS events.position
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'events_latest_position';
COMMENT ON FUNCTION events.position() IS
'The latest readable position; 0:0:0 in an empty log. Permission: any role that reads or runs commands.';
GRANT EXECUTE ON FUNCTION events.position() TO backoffice_user, backoffice_service, backoffice_worker, backoffice_admin, backoffice_definer, backoffice_kernel;
