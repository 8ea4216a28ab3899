-- Second factors: RFC 6238, enrolling, single use, throttled guesses, recovery codes, and what a session without is worth.
SELECT plan(82);

-- ---- RFC 6238, appendix B (SHA-1) ----
SELECT is(access.totp('12345678901234567890', to_timestamp(at), 8), code, 'RFC 6238 at ' || at)
FROM (VALUES (59, '94287082'), (1111111109, '07081804'), (1111111111, '14050471'), (1234567890, '89005924'), (2000000000, '69279037'), (20000000000, '65353130')) AS v (at, code);

CREATE FUNCTION pg_temp.code_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE state text; code text;
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, code = CONSTRAINT_NAME;
    RETURN state || ' ' || code;
END $$;
CREATE FUNCTION pg_temp.login(ip inet DEFAULT '10.0.0.1', email text DEFAULT 'ann@acme.test') RETURNS jsonb LANGUAGE sql AS
    $$ SELECT access.login(email, 'correct horse', ip => ip) $$;
-- A statement's value, as the session of an answer.
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
CREATE FUNCTION pg_temp.verify(answer jsonb, code text) RETURNS jsonb LANGUAGE sql AS
    $$ SELECT pg_temp.as_session(answer, format('SELECT access.mfa_verify(%L)', code))::jsonb $$;
-- What the authenticator shows, some steps from now.
CREATE FUNCTION pg_temp.shown(secret text, steps int DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
DECLARE bits text := ''; seed bytea := '';
BEGIN
    FOR n IN 1..length(secret) LOOP
        bits := bits || (strpos('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', substr(secret, n, 1)) - 1)::bit(5)::text;
    END LOOP;
    FOR n IN 0..length(bits) / 8 - 1 LOOP
        seed := seed || decode(lpad(to_hex(substr(bits, n * 8 + 1, 8)::bit(8)::int), 2, '0'), 'hex');
    END LOOP;
    RETURN access.totp(seed, backoffice.now() + steps * interval '30 seconds');
END $$;
-- The clock stands still, and goes on by steps.
CREATE FUNCTION pg_temp.wait(steps int) RETURNS void LANGUAGE sql AS
    $$ SELECT set_config('backoffice.frozen_now', (backoffice.now() + steps * interval '30 seconds')::text, false) $$;
SELECT set_config('backoffice.frozen_now', now()::text, false) \gset ignored_

SELECT access.create_organization('Acme') AS acme \gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \gset
SELECT access.create_user('bob@acme.test', 'correct horse', :'acme') AS bob \gset
SELECT access.grant_role(:'ann', 'owner', NULL, :'acme') \gset ignored_
SELECT access.grant_role(:'bob', 'owner', NULL, :'acme') \gset ignored_

-- ---- enrolling ----
SELECT pg_temp.login() AS a \gset
SELECT is(pg_temp.as_session(:'a', 'SELECT access.can(''access.manage_roles'')'), 'true', 'without a factor a password is enough');
SELECT pg_temp.as_session(:'a', 'SELECT access.mfa_enroll(''lost'')') AS lost \gset
SELECT pg_temp.as_session(:'a', 'SELECT access.mfa_enroll(''phone'')') AS phone \gset
SELECT (:'phone')::jsonb->>'secret' AS secret, (:'phone')::jsonb->>'factor_id' AS factor \gset
SELECT ok((:'phone')::jsonb->>'secret' ~ '^[A-Z2-7]{32}$', '160 bits of seed');
SELECT is((:'phone')::jsonb->>'otpauth_uri', format('otpauth://totp/backoffice:ann%%40acme.test?secret=%s&issuer=backoffice&algorithm=SHA1&digits=6&period=30', :'secret'), 'the URI for the QR code');
SELECT is((SELECT count(*) FROM access.mfa_factors), 1::bigint, 'one that was not activated is replaced');
SELECT ok((SELECT position(decode(:'secret', 'escape') in seed) = 0 AND length(seed) > 48 FROM access.mfa_factors), 'the seed is encrypted');
SELECT is(pg_temp.login()->'mfa', '{"required": false, "factors": []}', 'nor does it count');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.mfa_enroll('' '')'), '22023 bad_label', 'a blank label');
SELECT is(pg_temp.as_session(:'a', format('SELECT access.mfa_activate(%L, %L)', (:'lost')::jsonb->>'factor_id', pg_temp.shown(:'secret'))), 'PT404 unknown_factor', 'the lost one is gone');
SELECT is(pg_temp.as_session(:'a', format('SELECT access.mfa_activate(%L, %L)', :'factor', '000000')), '{"status": "denied"}', 'a wrong first code');
SELECT is(pg_temp.as_session(pg_temp.login('10.0.0.2', 'bob@acme.test'), format('SELECT access.mfa_activate(%L, %L)', :'factor', pg_temp.shown(:'secret'))), 'PT404 unknown_factor', 'somebody else''s factor');
SELECT pg_temp.as_session(:'a', format('SELECT access.mfa_activate(%L, %L)', :'factor', pg_temp.shown(:'secret'))) AS b \gset
SELECT is((:'b')::jsonb->>'aal', 'aal2', 'the first code raises the session');
SELECT is(jsonb_array_length((:'b')::jsonb->'recovery_codes'), 10, 'and gives recovery codes');
SELECT ok((:'b')::jsonb->'recovery_codes'->>0 ~ '^[A-Z2-7]{4}(-[A-Z2-7]{4}){3}$', 'of 80 bits');
SELECT is((:'b')::jsonb->>'session_id', (:'a')::jsonb->>'session_id', 'in the same session');
SELECT is(pg_temp.as_session(:'b', 'SELECT access.me()->''session''->>''aal'''), 'aal2', 'which knows it');
SELECT is(access.refresh((:'a')::jsonb->>'refresh_token'), '{"status": "invalid"}', 'the former refresh token is void');
SELECT is((SELECT state FROM access.sessions WHERE id = ((:'a')::jsonb->>'session_id')::uuid), 'active', 'without ending the session');
SELECT is(access.refresh((:'b')::jsonb->>'refresh_token')->>'aal', 'aal2', 'what is refreshed from now on stays raised');
SELECT is(pg_temp.as_session(:'b', format('SELECT access.mfa_activate(%L, %L)', :'factor', pg_temp.shown(:'secret', 1))), 'PT409 factor_active', 'once');

-- ---- what a session without the factor is worth ----
SELECT pg_temp.login() AS a \gset
SELECT is((:'a')::jsonb->'mfa'->>'required', 'true', 'the log-in says that it is needed');
SELECT is((:'a')::jsonb->'mfa'->'factors'->0->>'label', 'phone', 'and which there is');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.can(''access.manage_roles'')'), 'false', 'there are no permissions');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.require(''access.manage_roles'')'), '42501 aal2_required', 'and why');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.create_team(''x'')'), '42501 aal2_required', 'for functions too');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.mfa_enroll(''thief'')'), '42501 aal2_required', 'no other factor comes in');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.change_password(''correct horse'', ''battery staple'')'), '42501 aal2_required', 'nor another password');
SELECT is(pg_temp.as_session(:'a', 'SELECT access.me()->''user''->>''email'''), 'ann@acme.test', 'who it is may be asked');
SELECT is(pg_temp.as_session(pg_temp.login('10.0.0.2', 'bob@acme.test'), 'SELECT access.can(''access.manage_roles'')'), 'true', 'who has no factor is not concerned');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L), access.require(''access.manage_roles'')', :'acme', :'ann')), 'ok', 'nor is a service that vouches for the user');

-- ---- one use per step, and the steps beside it ----
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret')), '{"status": "denied"}', 'the code that activated it is used');
SELECT pg_temp.wait(2) \gset ignored_
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret', -2)), '{"status": "denied"}', 'two steps late');
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret', 2)), '{"status": "denied"}', 'two steps early');
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret', -1))->>'status', 'ok', 'one step late');
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret', -1))->>'status', 'denied', 'once');
SELECT is(pg_temp.verify(:'a', ' ' || regexp_replace(pg_temp.shown(:'secret', 1), '^...', '\& '))->>'status', 'ok', 'one step early, typed with spaces');
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret'))->>'status', 'denied', 'then the step before is over');
SELECT is(pg_temp.verify(:'a', code)->>'status', 'denied', 'no code: ' || left(code, 20))
FROM unnest(ARRAY['', '12345', 'abcdef', '-12345', '+12345']) AS code;
SELECT is(pg_temp.as_session(:'a', 'SELECT access.mfa_verify(NULL)'), '22023 missing_argument', 'NULL');
SELECT is(pg_temp.as_session(pg_temp.login('10.0.0.2', 'bob@acme.test'), format('SELECT access.mfa_verify(%L)', pg_temp.shown(:'secret', 2))), '{"status": "denied"}', 'another user''s code');

-- ---- guesses ----
SELECT is((SELECT pg_temp.verify(:'a', '000000')->>'status' FROM generate_series(1, 6) n ORDER BY n DESC LIMIT 1), 'locked', 'wrong codes have a limit');
BEGIN;
SELECT pg_temp.wait(2) \gset ignored_
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret'))->>'status', 'locked', 'then a right one has to wait too');
ROLLBACK;
SELECT is(pg_temp.login()->>'status', 'ok', 'passwords are counted apart');
SELECT is(pg_temp.verify(pg_temp.login('10.0.0.7'), pg_temp.shown(:'secret'))->>'status', 'denied', 'from another address it is a wrong code, not a locked one');
SELECT pg_sleep(2.1) \gset ignored_
SELECT pg_temp.wait(2) \gset ignored_
SELECT is(pg_temp.verify(:'a', pg_temp.shown(:'secret'))->>'status', 'ok', 'the wait ends by itself');

BEGIN;
SELECT count(pg_temp.verify(:'a', '000000')) FROM generate_series(1, 6) \gset ignored_
ROLLBACK;
SELECT is(pg_temp.verify(:'a', '000000')->>'status', 'locked', 'a rollback forgets no wrong code');
SELECT pg_sleep(1.1) \gset ignored_

-- ---- recovery codes ----
SELECT pg_temp.login() AS a \gset
SELECT pg_temp.verify(:'a', lower((:'b')::jsonb->'recovery_codes'->>3)) AS r \gset
SELECT is((:'r')::jsonb->>'aal', 'aal2', 'a recovery code stands in');
SELECT is((SELECT amr FROM access.sessions WHERE id = ((:'a')::jsonb->>'session_id')::uuid), ARRAY['pwd', 'recovery'], 'and is remembered as one');
SELECT is(pg_temp.verify(:'a', (:'b')::jsonb->'recovery_codes'->>3), '{"status": "denied"}', 'once');
SELECT is(pg_temp.as_session(:'r', 'SELECT access.me()->>''recovery_codes_left'''), '9', 'nine are left');
SELECT is((SELECT count(*) FROM access.recovery_codes WHERE position(convert_to(replace((:'b')::jsonb->'recovery_codes'->>0, '-', ''), 'UTF8') in code_hash) > 0), 0::bigint, 'they are stored as hashes');
SELECT is(pg_temp.verify(pg_temp.login('10.0.0.2', 'bob@acme.test'), (:'b')::jsonb->'recovery_codes'->>4)->>'status', 'denied', 'nobody else''s are good');
SELECT pg_temp.wait(2) \gset ignored_
SELECT pg_temp.as_session(:'r', format('SELECT access.mfa_recovery_codes(%L)', pg_temp.shown(:'secret'))) AS fresh \gset
SELECT is(jsonb_array_length((:'fresh')::jsonb->'recovery_codes'), 10, 'new ones');
SELECT is(pg_temp.verify(:'a', (:'b')::jsonb->'recovery_codes'->>5)->>'status', 'denied', 'replace the old');
SELECT is(pg_temp.verify(:'a', (:'fresh')::jsonb->'recovery_codes'->>0)->>'status', 'ok', 'and are good');

-- ---- a fresh log-in ----
SELECT pg_temp.wait(2) \gset ignored_
SELECT pg_temp.verify(pg_temp.login(), pg_temp.shown(:'secret')) AS a \gset
SELECT pg_temp.as_session(:'a', 'SELECT access.mfa_enroll(''second'')') AS second \gset
SELECT ok((:'second')::jsonb ? 'secret', 'just shown, another can be enrolled');
SELECT pg_temp.as_session(:'a', format('SELECT access.mfa_activate(%L, %L)', (:'second')::jsonb->>'factor_id', pg_temp.shown((:'second')::jsonb->>'secret'))) AS c \gset
SELECT is((:'c')::jsonb->'recovery_codes', '[]', 'the second gives no other recovery codes');
SELECT pg_temp.login('10.0.0.2', 'bob@acme.test') AS old \gset
SELECT pg_temp.wait(21) \gset ignored_
SELECT access.refresh((:'old')::jsonb->>'refresh_token') AS old \gset
SELECT is(pg_temp.as_session(:'old', 'SELECT access.mfa_enroll(''late'')'), '42501 login_not_fresh', 'later it takes a new log-in');
SELECT is(pg_temp.as_session(:'old', 'SELECT access.can(''access.manage_roles'')'), 'true', 'for that only');
SELECT is(pg_temp.code_of(format('SELECT access.act_as(%L, %L), access.mfa_enroll(''x'')', :'acme', :'bob')), '42501 no_session', 'and a session');

-- ---- disabling ----
SELECT pg_temp.verify(pg_temp.login(), pg_temp.shown((:'second')::jsonb->>'secret')) AS a \gset
SELECT is((:'a')::jsonb->>'status', 'ok', 'either factor will do');
SELECT is(pg_temp.as_session(:'a', format('SELECT access.mfa_disable(%L, %L)', :'factor', '000000')), '{"status": "denied"}', 'not without a code');
SELECT is(pg_temp.as_session(:'old', format('SELECT access.mfa_disable(%L, %L)', :'factor', '000000')), 'PT404 unknown_factor', 'not somebody else''s');
SELECT is(pg_temp.as_session(:'a', format('SELECT access.mfa_disable(%L, %L)', :'factor', pg_temp.shown(:'secret'))), '{"status": "ok"}', 'with one');
SELECT is((SELECT count(*) FROM access.recovery_codes), 10::bigint, 'recovery codes stay');
SELECT pg_temp.wait(2) \gset ignored_
SELECT is(pg_temp.as_session(:'a', format('SELECT access.mfa_disable(%L, %L)', (:'second')::jsonb->>'factor_id', pg_temp.shown((:'second')::jsonb->>'secret'))), '{"status": "ok"}', 'the last one');
SELECT is((SELECT count(*) FROM access.recovery_codes), 0::bigint, 'takes them along');
SELECT is(pg_temp.as_session(pg_temp.login(), 'SELECT access.can(''access.manage_roles'')'), 'true', 'and a password is enough again');
SELECT pg_temp.login('10.0.0.2', 'bob@acme.test') AS b \gset
SELECT pg_temp.as_session(:'b', 'SELECT access.mfa_enroll()') AS phone \gset
SELECT pg_temp.as_session(:'b', format('SELECT access.mfa_activate(%L, %L)', (:'phone')::jsonb->>'factor_id', pg_temp.shown((:'phone')::jsonb->>'secret'))) \gset ignored_
SELECT is(pg_temp.as_session(pg_temp.login('10.0.0.2', 'bob@acme.test'), format('SELECT access.reset_mfa(%L)', :'bob')), '42501 service_only', 'a reset is not for users');
SELECT is(access.reset_mfa(:'bob'), 1, 'but for a service');
SELECT is(pg_temp.login('10.0.0.2', 'bob@acme.test')->'mfa'->>'required', 'false', 'then nothing is left');

-- ---- what is told ----
SELECT is((SELECT array_agg(DISTINCT type ORDER BY type) FROM events.log WHERE type LIKE 'mfa.%'),
    ARRAY['mfa.activated', 'mfa.disabled', 'mfa.enrolled', 'mfa.failed', 'mfa.recovery_codes_made', 'mfa.reset', 'mfa.verified'], 'each act');
SELECT is((SELECT count(*) FROM events.log WHERE strpos(payload::text, :'secret') > 0 OR payload::text LIKE '%' || ((:'b')::jsonb->>'refresh_token') || '%'
           OR payload::text LIKE '%' || ((:'fresh')::jsonb->'recovery_codes'->>0) || '%'), 0::bigint, 'but no secret');
RESET backoffice.frozen_now;
SELECT * FROM finish();
