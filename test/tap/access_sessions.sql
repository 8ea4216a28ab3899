-- Sessions: refresh tokens, ends of every kind, limits of time, and what their owner sees of them.
SELECT plan(80);

CREATE FUNCTION pg_temp.code_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; code text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;
CREATE FUNCTION pg_temp.login(email text DEFAULT 'ann@acme.test', organization uuid DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT access.login(email, 'correct horse', organization, '{"name": "desk"}', '10.0.0.1') $$;
-- Runs a statement as the session of an answer, in a transaction of its own when called alone.
CREATE FUNCTION pg_temp.as_session(answer jsonb, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE value text; state text; code text;
BEGIN
    PERFORM access.authenticate(answer->>'access_token');
    PERFORM set_config('role', 'backoffice_service', true);
    EXECUTE statement INTO value;
    PERFORM set_config('role', 'none', true);
    RETURN value;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;
CREATE FUNCTION pg_temp.refresh(answer jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT access.refresh(answer->>'refresh_token') $$;
CREATE FUNCTION pg_temp.state(answer jsonb) RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT coalesce(ended_why, state) FROM access.sessions WHERE id = (answer->>'session_id')::uuid $$;

SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \gset
SELECT access.create_user('bob@acme.test', 'correct horse', :'acme') AS bob \gset
SELECT access.create_user('eve@bolt.test', 'correct horse', :'bolt') AS eve \gset
SELECT access.grant_role(:'bob', 'owner', NULL, :'acme') \gset ignored_
SELECT access.grant_role(:'eve', 'owner', NULL, :'bolt') \gset ignored_

-- ---- refresh ----
SELECT pg_temp.login() AS zero \gset
SELECT pg_temp.refresh(:'zero') AS one \gset
SELECT is((:'one')::jsonb->>'status', 'ok', 'a refresh token is good for the next');
SELECT isnt((:'one')::jsonb->>'refresh_token', (:'zero')::jsonb->>'refresh_token', 'which is another');
SELECT is((:'one')::jsonb->>'session_id', (:'zero')::jsonb->>'session_id', 'of the same session');
SELECT is(pg_temp.as_session(:'one', 'SELECT access.user_id()'), :'ann', 'with an access token');
SELECT is(array(SELECT jsonb_object_keys((:'one')::jsonb) ORDER BY 1), array(SELECT jsonb_object_keys((:'zero')::jsonb) ORDER BY 1), 'answered as a log-in is');
SELECT is(pg_temp.refresh(:'zero')->>'refresh_token', (:'one')::jsonb->>'refresh_token', 'the one before gets the current one again');
SELECT is(pg_temp.refresh(:'zero')->>'refresh_token', (:'one')::jsonb->>'refresh_token', 'as often as it takes');
SELECT pg_temp.refresh(:'one') AS two \gset
SELECT is(pg_temp.refresh(:'one')->>'refresh_token', (:'two')::jsonb->>'refresh_token', 'so it goes on');
SELECT is(pg_temp.state(:'two'), 'active', 'the session lives');
SELECT is(pg_temp.refresh(:'zero'), '{"status": "reused"}', 'an older one has been copied');
SELECT is(pg_temp.state(:'two'), 'reused', 'and ends the session');
SELECT is(pg_temp.refresh(:'two'), '{"status": "reused"}', 'for whoever has the current one too');
SELECT is(pg_temp.as_session(:'two', 'SELECT 1'), 'PT401 session_ended', 'and its access tokens');
SELECT is(access.refresh(token), '{"status": "invalid"}', 'no token: ' || left(token, 20))
FROM unnest(ARRAY['', 'bor_', 'x', 'bor_AAAA', 'bor_' || repeat('A', 100), 'bor_' || repeat('A', 58), 'bor_é', 'BOR_' || substr((:'two')::jsonb->>'refresh_token', 5),
                  (:'two')::jsonb->>'refresh_token' || 'A', (:'two')::jsonb->>'access_token']) AS token;
SELECT is(pg_temp.code_of('SELECT access.refresh(NULL)'), '22023 missing_argument', 'NULL is a mistake');
SELECT pg_temp.login() AS a \gset
SELECT is((SELECT count(*) FROM generate_series(5, length((:'a')::jsonb->>'refresh_token')) n
           WHERE access.refresh(overlay((:'a')::jsonb->>'refresh_token' PLACING CASE substr((:'a')::jsonb->>'refresh_token', n, 1) WHEN 'A' THEN 'B' ELSE 'A' END FROM n FOR 1))->>'status' = 'ok')
          , 0::bigint, 'no character of it can be changed');
SELECT is(pg_temp.state(:'a'), 'active', 'and trying costs the owner nothing');
UPDATE access.sessions SET refresh_counter = 0 WHERE id = ((:'one')::jsonb->>'session_id')::uuid;

-- The counter went back (a failover lost the last rotations): the client's token is newer than the row.
SELECT pg_temp.login() AS b \gset
SELECT pg_temp.refresh(pg_temp.refresh(pg_temp.refresh(:'b'))) AS b3 \gset
UPDATE access.sessions SET refresh_counter = 1 WHERE id = ((:'b')::jsonb->>'session_id')::uuid;
SELECT is(pg_temp.refresh(:'b3')->>'status', 'ok', 'a genuine token from after a lost rotation is taken');
SELECT is((SELECT refresh_counter FROM access.sessions WHERE id = ((:'b')::jsonb->>'session_id')::uuid), 4::bigint, 'and goes on from there');

-- ---- the same by SQL as straight to the heap ----
CREATE FUNCTION pg_temp.rotations() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE a jsonb := pg_temp.login(); b jsonb; c jsonb;
BEGIN
    b := access.refresh(a->>'refresh_token', '10.0.0.8');
    c := access.refresh(b->>'refresh_token');
    RETURN jsonb_build_array(b->>'status', c->>'status', pg_temp.refresh(b)->>'status', pg_temp.refresh(c)->>'status', pg_temp.refresh(c)->>'refresh_token' = c->>'refresh_token',
        (SELECT to_jsonb(s) - '{id,created_at,authenticated_at,last_seen_at,expires_at,due_at,refresh_key}'::text[] || jsonb_build_object('seen', last_seen_at = backoffice.now())
         FROM access.sessions s WHERE id = (a->>'session_id')::uuid), pg_temp.refresh(a)->>'status', pg_temp.state(a));
END $$;
BEGIN;
SELECT pg_temp.rotations() AS direct \gset
SET LOCAL backoffice.direct_writes = off;
SELECT is(pg_temp.rotations(), (:'direct')::jsonb, 'direct writes or not, rotations are the same');
COMMIT;
BEGIN TRANSACTION READ ONLY;
SELECT is(pg_temp.code_of(format('SELECT access.refresh(%L)', (:'b3')::jsonb->>'refresh_token')), '25006 ', 'nothing rotates in a read-only transaction');
ROLLBACK;

-- ---- log-out ----
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.login() AS b \gset
SELECT is(pg_temp.as_session(:'a', 'SELECT access.logout()'), 'true', 'log out');
SELECT is(pg_temp.as_session(:'a', 'SELECT 1'), 'PT401 session_ended', 'the access token is void at once');
SELECT is(pg_temp.refresh(:'a'), '{"status": "invalid"}', 'the refresh token too');
SELECT is(pg_temp.as_session(:'b', 'SELECT access.user_id()'), :'ann', 'another session goes on');
SELECT is(pg_temp.as_session(:'b', 'SELECT access.logout()::text || access.logout()::text'), 'truefalse', 'twice is once');
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.login() AS b \gset
SELECT pg_temp.login('bob@acme.test') AS c \gset
SELECT cmp_ok(pg_temp.as_session(:'a', 'SELECT access.logout_all()')::int, '>=', 2, 'log out everywhere');
SELECT is(pg_temp.state(:'b'), 'logout_all', 'ends the others as well');
SELECT is((SELECT count(*) FROM access.sessions WHERE user_id = :'ann' AND state = 'active'), 0::bigint, 'all of them');
SELECT is(pg_temp.state(:'c'), 'active', 'of this user');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L), access.logout()', :'acme', :'ann')), '42501 no_session', 'who acts by a service has no session');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L), access.logout_all()', :'acme')), '42501 user_only', 'nor has a service');
SELECT is(pg_temp.code_of('SELECT access.logout()'), 'PT401 no_principal', 'nor nobody');

-- ---- ending a session ----
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.login() AS b \gset
SELECT pg_temp.login('eve@bolt.test') AS e \gset
SELECT is(pg_temp.as_session(:'a', format('SELECT access.end_session(%L)', (:'b')::jsonb->>'session_id')), 'true', 'one''s own');
SELECT is(pg_temp.as_session(:'a', format('SELECT access.end_session(%L)', (:'b')::jsonb->>'session_id')), 'false', 'has ended');
SELECT is(pg_temp.as_session(:'a', format('SELECT access.end_session(%L)', (:'c')::jsonb->>'session_id')), 'PT404 unknown_session', 'not a colleague''s');
SELECT is(pg_temp.as_session(:'c', format('SELECT access.end_session(%L)', (:'a')::jsonb->>'session_id')), 'true', 'but by who manages members');
SELECT is(pg_temp.as_session(:'e', format('SELECT access.end_session(%L)', (:'c')::jsonb->>'session_id')), 'PT404 unknown_session', 'not of another organization');
SELECT is(access.end_session(((:'e')::jsonb->>'session_id')::uuid), true, 'a service ends any');
SELECT is(pg_temp.code_of(format('SELECT access.end_session(%L)', backoffice.uuid7())), 'PT404 unknown_session', 'that there is');

-- ---- what one sees ----
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.login('bob@acme.test') AS c \gset
SELECT is(pg_temp.as_session(:'a', 'SELECT string_agg(id::text, '' '') FROM access.my_sessions'), (:'a')::jsonb->>'session_id', 'one''s own sessions that have not ended');
SELECT is(pg_temp.as_session(:'a', 'SELECT (device_info->>''name'') || host(ip) || aal || amr[1] FROM access.my_sessions'), 'desk10.0.0.1aal1pwd', 'with what tells them apart');
SELECT is(pg_temp.as_session(:'c', 'SELECT count(*) FROM access.sessions WHERE user_id <> access.user_id()'), '0', 'nobody else''s');
SELECT is(pg_temp.as_session(:'a', 'SELECT refresh_key FROM access.sessions'), '42501 ', 'and no keys');
SELECT is(pg_temp.as_session(:'c', 'SELECT access.me()->''user''->>''email'''), 'bob@acme.test', 'me: who');
SELECT is(pg_temp.as_session(:'c', 'SELECT access.me()->''roles'''), '["owner"]', 'with which roles');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.me()->''permissions'''), '[]', 'and permissions');
SELECT is(pg_temp.as_session(:'c', 'SELECT jsonb_array_length(access.me()->''permissions'') = (SELECT count(*) FROM access.permissions)'), 'true', 'all of an owner''s');
SELECT is(pg_temp.as_session(:'c', 'SELECT access.me()->''session''->>''id'''), (:'c')::jsonb->>'session_id', 'in which session');
SELECT is(pg_temp.code_of('SELECT access.me()'), 'PT401 no_principal', 'nobody is nobody');

SELECT is(pg_temp.as_session(:'c', 'SELECT string_agg(DISTINCT email, '' '' ORDER BY email) FROM access.member_sessions()'), 'ann@acme.test bob@acme.test', 'who manages members sees their sessions');
SELECT is(pg_temp.as_session(:'a', 'SELECT count(*) FROM access.member_sessions()'), '0', 'others do not');
SELECT pg_temp.login('eve@bolt.test') AS e \gset
SELECT is(pg_temp.as_session(:'e', 'SELECT string_agg(DISTINCT email, '' '') FROM access.member_sessions()'), 'eve@bolt.test', 'nor those of another organization');

-- ---- users and members change ----
SELECT access.set_user_state(:'ann', 'disabled') \gset ignored_
SELECT is(pg_temp.state(:'a'), 'user_disabled', 'a disabled user''s sessions have ended');
SELECT access.set_user_state(:'ann', 'active') \gset ignored_
SELECT is(pg_temp.refresh(:'a')->>'status', 'invalid', 'for good');
SELECT pg_temp.login() AS a \gset
SELECT access.remove_member(:'acme', :'ann') \gset ignored_
SELECT is(pg_temp.as_session(:'a', 'SELECT 1'), '42501 not_a_member', 'who is no member any more acts no more for the organization');
SELECT is(pg_temp.refresh(:'a')->'user', jsonb_build_object('id', :'ann', 'email', 'ann@acme.test', 'organizations', '[]'::jsonb), 'but is the same user');
SELECT access.add_member(:'acme', :'ann') \gset ignored_
SELECT is(pg_temp.refresh(:'a')->'user'->>'organization_id', :'acme', 'and may become one again');

-- ---- time ----
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.login() AS b \gset
SELECT set_config('backoffice.frozen_now', (now() + interval '6 days')::text, false) \gset ignored_
SELECT pg_temp.refresh(:'a') AS a1 \gset
SELECT is((:'a1')::jsonb->>'status', 'ok', 'within the idle limit');
SELECT set_config('backoffice.frozen_now', (now() + interval '12 days')::text, false) \gset ignored_
SELECT is(pg_temp.refresh(:'b'), '{"status": "expired"}', 'after it');
SELECT is(pg_temp.state(:'b'), 'idle', 'the session has ended');
SELECT pg_temp.refresh(:'a1') AS a2 \gset
SELECT is((:'a2')::jsonb->>'status', 'ok', 'the one that was refreshed goes on');
SELECT set_config('backoffice.frozen_now', (now() + interval '18 days')::text, false) \gset ignored_
SELECT pg_temp.refresh(:'a2') AS a3 \gset
SELECT set_config('backoffice.frozen_now', (now() + interval '24 days')::text, false) \gset ignored_
SELECT pg_temp.refresh(:'a3') AS a4 \gset
SELECT set_config('backoffice.frozen_now', (now() + interval '29 days')::text, false) \gset ignored_
SELECT pg_temp.refresh(:'a4') AS a5 \gset
SELECT is((:'a5')::jsonb->>'status', 'ok', 'until');
SELECT set_config('backoffice.frozen_now', ((SELECT expires_at FROM access.sessions WHERE id = ((:'a5')::jsonb->>'session_id')::uuid) - interval '2 minutes')::text, false) \gset ignored_
SELECT access.refresh((:'a5')::jsonb->>'refresh_token') AS a5 \gset
SELECT is((:'a5')::jsonb->>'expires_in', '120', 'no access token outlives its session');
SELECT set_config('backoffice.frozen_now', (now() + interval '30 days 1 minute')::text, false) \gset ignored_
SELECT is(pg_temp.refresh(:'a5'), '{"status": "expired"}', 'its life is over');
SELECT is(pg_temp.state(:'a5'), 'expired', 'however busy it was');
RESET backoffice.frozen_now;

-- ---- the keeper (which has the real clock: rows are aged instead) ----
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.login() AS b \gset
SELECT pg_temp.login() AS c \gset
UPDATE access.sessions SET last_seen_at = now() - interval '8 days', due_at = now() - interval '1 day' WHERE id = ((:'a')::jsonb->>'session_id')::uuid;
UPDATE access.sessions SET due_at = now() - interval '1 day' WHERE id = ((:'b')::jsonb->>'session_id')::uuid;
UPDATE access.sessions SET state = 'ended', ended_at = now(), ended_why = 'logout', due_at = now() - interval '1 second' WHERE id = ((:'c')::jsonb->>'session_id')::uuid;
DO $$ BEGIN
    FOR n IN 1..300 LOOP
        EXIT WHEN NOT EXISTS (SELECT FROM access.sessions WHERE due_at < now());
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
END $$;
SELECT is(pg_temp.state(:'a'), 'idle', 'the keeper ends sessions whose time is over');
SELECT is(pg_temp.state(:'b'), 'active', 'leaves those that were refreshed meanwhile');
SELECT ok((SELECT due_at > now() FROM access.sessions WHERE id = ((:'b')::jsonb->>'session_id')::uuid), 'for later');
SELECT is(pg_temp.state(:'c'), NULL, 'and deletes old ones');
SELECT is((SELECT count(DISTINCT payload->>'why') FROM events.log WHERE type = 'session.ended'), 7::bigint, 'each end is told, with its reason');
SELECT * FROM finish();
