-- Log-in by password: what it answers, that an unknown user costs the same, what failures cost, and that hashes are renewed.
SELECT plan(58);
CREATE FUNCTION pg_temp.login(email text, password text, ip inet DEFAULT NULL, organization uuid DEFAULT NULL, device jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE answer jsonb;
BEGIN
    PERFORM set_config('role', 'backoffice_service', true);
    answer := access.login(email, password, organization, device, ip);
    PERFORM set_config('role', 'none', true);
    RETURN answer;
END $$;
CREATE FUNCTION pg_temp.code_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; code text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;
CREATE FUNCTION pg_temp.hashes() RETURNS bigint LANGUAGE sql AS 'SELECT (access.password_hashing()->>''hashes'')::bigint';

SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_organization('Bolt') AS bolt \gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \gset
SELECT access.create_user('bob@acme.test', NULL, :'acme') AS bob \gset
SELECT access.create_user('eve@bolt.test', 'battery staple', :'bolt') AS eve \gset
SELECT access.create_user('lone@nowhere.test', 'nobody''s friend') AS lone \gset

-- ---- what it answers ----
SELECT pg_temp.login('ANN@Acme.test', 'correct horse', '10.0.0.1', NULL, '{"user_agent": "Browser 1", "name": "desk"}') AS a \gset
SELECT is((:'a')::jsonb->>'status', 'ok', 'the address is not case sensitive');
SELECT is((:'a')::jsonb->>'aal', 'aal1', 'a password is one factor');
SELECT is((:'a')::jsonb->'mfa', '{"required": false, "factors": []}', 'and no other is there');
SELECT is((:'a')::jsonb->'user'->>'id', :'ann', 'who');
SELECT is((:'a')::jsonb->'user'->>'organization_id', :'acme', 'for which organization');
SELECT is((:'a')::jsonb->'user'->'organizations', jsonb_build_array(jsonb_build_object('id', :'acme', 'name', 'Acme')), 'of which');
SELECT is(array(SELECT jsonb_object_keys((:'a')::jsonb) ORDER BY 1), ARRAY['aal', 'access_token', 'expires_in', 'mfa', 'refresh_token', 'session_id', 'status', 'token_type', 'user'], 'all members');
SELECT results_eq($$ SELECT user_id, device_info->>'name', user_agent, host(ip), amr, aal::int, state FROM access.sessions $$,
    format($$ VALUES (%L::uuid, 'desk', 'Browser 1', '10.0.0.1', ARRAY['pwd'], 1, 'active') $$, :'ann'), 'the session is stored');
SELECT is((SELECT expires_at - created_at FROM access.sessions), interval '30 days', 'with an end');
BEGIN;
SELECT is(access.authenticate((:'a')::jsonb->>'access_token'), :'ann', 'the token is the user''s');
SELECT is(access.organization_id(), :'acme', 'for the organization');
SELECT is(access.session_id(), ((:'a')::jsonb->>'session_id')::uuid, 'in the session');
COMMIT;
SELECT is(pg_temp.login('lone@nowhere.test', 'nobody''s friend')->'user', jsonb_build_object('id', :'lone', 'email', 'lone@nowhere.test', 'organizations', '[]'::jsonb), 'who belongs nowhere has no organization');
SELECT access.add_member(:'bolt', :'ann') \gset ignored_
SELECT is(pg_temp.login('ann@acme.test', 'correct horse')->'user'->>'organization_id', :'acme', 'of several the first');
SELECT is(pg_temp.login('ann@acme.test', 'correct horse', NULL, :'bolt')->'user'->>'organization_id', :'bolt', 'or the one asked for');
SELECT is(pg_temp.code_of(format('SELECT access.login(%L, %L, %L)', 'eve@bolt.test', 'battery staple', :'acme')), '42501 not_a_member', 'not one the user does not belong to');
SELECT is(pg_temp.code_of('SELECT access.login(NULL, ''x'')'), '22023 missing_argument', 'no e-mail address');
SELECT is(pg_temp.code_of('SELECT access.login(''x'', NULL)'), '22023 missing_argument', 'no password');
SELECT is(pg_temp.code_of('SELECT access.login(''x'', ''y'', device_info => ''[]'')'), '22023 bad_device_info', 'device_info is an object');
SELECT is(pg_temp.code_of($$ SELECT access.login('x', 'y', device_info => jsonb_build_object('x', repeat('x', 5000))) $$), '22023 bad_device_info', 'and small');

-- ---- the same answer after the same work ----
CREATE TEMP TABLE wrong (who text, answer jsonb, hashes bigint, events bigint);
CREATE PROCEDURE pg_temp.try(who text, email text, password text) LANGUAGE plpgsql AS $$
DECLARE
    before bigint := pg_temp.hashes();
    events bigint := (SELECT count(*) FROM events.log);
    answer jsonb;
BEGIN
    answer := pg_temp.login(email, password, '10.9.9.9');
    INSERT INTO wrong VALUES (who, answer, pg_temp.hashes() - before, (SELECT count(*) FROM events.log) - events);
END $$;
CALL pg_temp.try('wrong password', 'ann@acme.test', 'wrong');
CALL pg_temp.try('unknown', 'nobody@acme.test', 'wrong');
CALL pg_temp.try('no password', 'bob@acme.test', 'wrong');
CALL pg_temp.try('empty password', 'ann@acme.test', '');
CALL pg_temp.try('too long password', 'ann@acme.test', repeat('x', 2000));
CALL pg_temp.try('no address at all', repeat('x', 500), 'wrong');
SELECT access.set_user_state(:'eve', 'disabled') \gset ignored_
CALL pg_temp.try('disabled', 'eve@bolt.test', 'battery staple');
SELECT access.set_user_state(:'eve', 'active') \gset ignored_
SELECT results_eq('SELECT DISTINCT answer, hashes, events FROM wrong', $$ VALUES ('{"status": "denied"}'::jsonb, 1::bigint, 1::bigint) $$, 'one answer, one hash and one event for all who are denied');
SELECT is((SELECT count(*) FROM wrong), 7::bigint, 'seven kinds');
SELECT is((SELECT count(*) FROM events.log WHERE type = 'login.failed' AND payload ? 'email'), 0::bigint, 'events do not tell what was typed');

-- ---- failures ----
SELECT is(array(SELECT pg_temp.login('zoe@acme.test', 'x', '10.0.0.3')->>'status' FROM generate_series(1, 7)), ARRAY['denied', 'denied', 'denied', 'denied', 'denied', 'denied', 'locked'], 'some failures are free');
SELECT is(pg_temp.login('zoe@acme.test', 'x', '10.0.0.3'), '{"status": "locked", "retry_after_s": 1}', 'then one has to wait');
SELECT is(pg_temp.login('ZOE@ACME.TEST', 'x', '10.0.0.3')->>'status', 'locked', 'also for another spelling');
SELECT is(pg_temp.login('zoe@acme.test', 'x', '10.0.0.4')->>'status', 'denied', 'not from elsewhere');
SELECT pg_sleep(1.1) \gset ignored_
SELECT is(pg_temp.login('zoe@acme.test', 'x', '10.0.0.3')->>'status', 'denied', 'the wait ends by itself');
SELECT is(pg_temp.login('zoe@acme.test', 'x', '10.0.0.3'), '{"status": "locked", "retry_after_s": 2}', 'and the next is longer');
BEGIN;
SELECT count(pg_temp.login('tom@acme.test', 'x', '10.0.0.5')) FROM generate_series(1, 6) \gset ignored_
ROLLBACK;
SELECT is(pg_temp.login('tom@acme.test', 'x', '10.0.0.5')->>'status', 'locked', 'a rollback forgets no failure');
SELECT count(pg_temp.login('ann@acme.test', 'x', '10.0.0.1')) FROM generate_series(1, 5) \gset ignored_
SELECT is(pg_temp.login('ann@acme.test', 'correct horse', '10.0.0.1')->>'status', 'ok', 'before the limit a success');
SELECT is(array(SELECT DISTINCT pg_temp.login('ann@acme.test', 'x', '10.0.0.1')->>'status' FROM generate_series(1, 6)), ARRAY['denied'], 'starts anew');
-- Eve logs in from 10.1.0.1; then others guess from fifty addresses.
SELECT pg_temp.login('eve@bolt.test', 'battery staple', '10.1.0.1') \gset ignored_
SELECT count(pg_temp.login('eve@bolt.test', 'x', ('10.2.0.' || n)::inet)) FROM generate_series(1, 51) n \gset ignored_
SELECT is(pg_temp.login('eve@bolt.test', 'x', '10.3.0.1')->>'status', 'locked', 'guesses from many addresses are limited');
SELECT ok((pg_temp.login('eve@bolt.test', 'x', '10.3.0.1')->>'retry_after_s')::int <= 60, 'for a minute at most');
SELECT is(pg_temp.login('eve@bolt.test', 'battery staple', '10.1.0.1')->>'status', 'ok', 'who has been there before gets in all the same');
SELECT count(pg_temp.login('x' || n || '@acme.test', 'x', '2001:db8:1:2::1')) FROM generate_series(1, 51) n \gset ignored_
SELECT is(pg_temp.login('ann@acme.test', 'correct horse', '2001:db8:1:2::5')->>'status', 'throttled', 'an address that tries many accounts is limited, with its /64');
SELECT is(pg_temp.login('ann@acme.test', 'correct horse', '2001:db8:1:3::5')->>'status', 'ok', 'its neighbour is not');
SELECT count(pg_temp.login('y' || n || '@acme.test', 'x', '::ffff:192.0.2.66')) FROM generate_series(1, 51) n \gset ignored_
SELECT is(pg_temp.login('ann@acme.test', 'correct horse', '192.0.2.66')->>'status', 'throttled', 'an IPv4 address is the same, written in IPv6');
SELECT is(pg_temp.login('ann@acme.test', 'correct horse', '::ffff:192.0.2.67')->>'status', 'ok', 'and no network');

-- ---- hashes of former times ----
UPDATE access.users SET password_hash = '$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$' WHERE id = :'lone';
SELECT is(pg_temp.login('lone@nowhere.test', 'nobody''s friend')->>'status', 'denied', 'a damaged hash fits nothing');
UPDATE access.users SET password_hash = '$argon2id$v=19$m=8192,t=1,p=1$twFOmZRCTqd8p8UDOk5Bmg$sqnqdxkmBybN/R0rzDaKWllSmS+HsZqizKWTzffRdc0' WHERE id = :'lone';
SELECT is(pg_temp.login('lone@nowhere.test', 'nobody''s friend')->>'status', 'ok', 'a weaker hash still is one');
SELECT ok((SELECT password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%' FROM access.users WHERE id = :'lone'), 'and is renewed');
UPDATE access.users SET password_hash = '$argon2i$v=19$m=8192,t=3,p=1$DOYa3i/IX2BnnUa1v1oukg$H2PrcfoKhv+AAEc02SuJDQu16Y0mB+Fx6QK8MQlw3hM' WHERE id = :'lone';
SELECT is(pg_temp.login('lone@nowhere.test', 'nobody''s friend')->>'status', 'ok', 'so is one of another kind');
SELECT ok((SELECT password_hash LIKE '$argon2id$v=19$m=19456,t=2,p=1$%' FROM access.users WHERE id = :'lone'), 'renewed too');
UPDATE access.users SET password_hash = '$argon2id$v=19$m=20480,t=3,p=1$Vt6atB2H3OecuFLGi0QXwA$be1S7dRq49qhBHnTrVh0dl2CMoDH6+/cyWRBh6AgyYA' WHERE id = :'lone';
SELECT is(pg_temp.login('lone@nowhere.test', 'nobody''s friend')->>'status', 'ok', 'a stronger one');
SELECT ok((SELECT password_hash LIKE '$argon2id$v=19$m=20480,t=3,p=1$%' FROM access.users WHERE id = :'lone'), 'stays');

-- ---- changes of password ----
SELECT pg_temp.login('lone@nowhere.test', 'nobody''s friend') AS one \gset
SELECT pg_temp.login('lone@nowhere.test', 'nobody''s friend') AS two \gset
BEGIN;
SELECT access.authenticate((:'one')::jsonb->>'access_token') \gset ignored_
SELECT is(access.change_password('wrong', 'everybody''s friend'), '{"status": "denied"}', 'not without the old one');
SELECT is(pg_temp.code_of('SELECT access.change_password(''nobody''''s friend'', ''short'')'), '22023 password_too_short', 'not to a short one');
SELECT is(access.change_password('nobody''s friend', 'everybody''s friend'), '{"status": "ok"}', 'changed');
COMMIT;
SELECT is(pg_temp.login('lone@nowhere.test', 'nobody''s friend')->>'status', 'denied', 'the old one is void');
SELECT is(pg_temp.login('lone@nowhere.test', 'everybody''s friend')->>'status', 'ok', 'the new one works');
SELECT is(access.refresh((:'two')::jsonb->>'refresh_token')->>'status', 'invalid', 'other sessions have ended');
SELECT is(access.refresh((:'one')::jsonb->>'refresh_token')->>'status', 'ok', 'this one has not');
BEGIN;
SELECT access.authenticate((:'one')::jsonb->>'access_token') \gset ignored_
SELECT is(pg_temp.code_of(format('SELECT access.set_password(%L, %L)', :'lone', 'whatever it is')), '42501 service_only', 'set_password is not for users');
COMMIT;
SELECT access.set_password(:'lone', 'set by a service') \gset ignored_
SELECT is(pg_temp.login('lone@nowhere.test', 'set by a service')->>'status', 'ok', 'but for a service');
SELECT is(access.refresh((:'one')::jsonb->>'refresh_token')->>'status', 'invalid', 'then all sessions have ended');
SELECT is(pg_temp.code_of(format('SELECT access.set_password(%L, %L)', backoffice.uuid7(), 'whatever it is')), 'PT404 unknown_user', 'of a user who is one');

-- ---- what must not be told ----
SELECT is((SELECT count(*) FROM events.log WHERE payload::text ~ 'correct horse|staple|friend|argon2|bor_|service'), 0::bigint, 'no event holds a password, hash or token');
SELECT * FROM finish();
