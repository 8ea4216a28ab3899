-- One row per session: log-in to log-out.  Like users, no tenant's: a session may serve several organizations in turn.
CREATE TABLE access.sessions (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES access.users,
    for_organization uuid REFERENCES access.organizations,
    device_info jsonb,
    ip inet,
    user_agent text,
    created_at timestamptz NOT NULL,
    authenticated_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    aal smallint NOT NULL CHECK (aal IN (1, 2)),
    amr text[] NOT NULL,
    refresh_counter bigint NOT NULL DEFAULT 0,
    refresh_key bytea NOT NULL,
    state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'ended')),
    ended_at timestamptz,
    ended_why text,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL AND ended_why IS NOT NULL))
) WITH (fillfactor = 70);
-- A refresh touches no indexed column.
CREATE INDEX sessions_user_id_idx ON access.sessions (user_id);
CREATE INDEX sessions_due_at_idx ON access.sessions (due_at);
COMMENT ON TABLE access.sessions IS 'Who is logged in, since when, on what. Not dumped: after a restore everybody logs in again.';
COMMENT ON COLUMN access.sessions.for_organization IS 'What the session''s tokens name; NULL: none.';
COMMENT ON COLUMN access.sessions.authenticated_at IS 'When the user last proved to be one, by password or second factor.';
COMMENT ON COLUMN access.sessions.last_seen_at IS 'When it was last refreshed: what the idle limit counts from.';
COMMENT ON COLUMN access.sessions.due_at IS 'When the keeper has to look at it: to end it, or to delete it when it has ended.';
COMMENT ON COLUMN access.sessions.refresh_counter IS 'The number in the current refresh token.';
COMMENT ON COLUMN access.sessions.refresh_key IS 'What its refresh tokens are signed with; encrypted under a key that the database does not hold.';

-- Never holds a row: its relcache entry is invalidated when a session ends (see access/sessions.c).
CREATE TABLE access.sessions_marker ();
COMMENT ON TABLE access.sessions_marker IS 'Empty. Backends look again at the sessions of cached tokens when this table''s relcache entry is invalidated.';

ALTER TABLE access.sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON access.sessions FOR SELECT USING (user_id = backoffice.current_user_id() AND backoffice.within_bounds(for_organization));
CREATE POLICY kernel ON access.sessions TO backoffice_kernel USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON access.sessions TO backoffice_kernel;
GRANT SELECT (id, user_id, for_organization, device_info, ip, user_agent, created_at, authenticated_at, last_seen_at, expires_at, aal, amr, state)
    ON access.sessions TO backoffice_definer, backoffice_service;

CREATE FUNCTION access.session_ended() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'access_session_ended';
COMMENT ON FUNCTION access.session_ended() IS
'Trigger: makes every backend look at the sessions of its cached tokens again, at the commit of this transaction. Permission: none, fired by access.sessions.';
CREATE TRIGGER session_ended AFTER UPDATE OF state OR DELETE OR TRUNCATE ON access.sessions EXECUTE FUNCTION access.session_ended();
