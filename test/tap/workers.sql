-- Heartbeats, health, figures, schedules, and where consumers are.
DO $$
BEGIN
    FOR i IN 1..1000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN (SELECT count(*) FROM backoffice.list_workers()) >= 4;
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;

BEGIN;
SELECT plan(25);
SET ROLE backoffice_worker;
SELECT lives_ok($$SELECT backoffice.heartbeat('relay', 'a', 'running', '1:2:3', NULL, '{"sent": 7, "broker": "up"}')$$, 'a sign of life');
SELECT lives_ok($$SELECT backoffice.heartbeat('relay', 'a', 'draining', NULL, 'broker is gone')$$, 'another');
SELECT results_eq($$SELECT state, position, last_error FROM backoffice.workers WHERE worker = 'relay'$$, $$VALUES ('draining', '1:2:3', 'broker is gone')$$, 'what is left out stays');
SELECT throws_ok(format('SELECT backoffice.heartbeat(%s)', args), '22023', NULL, format('heartbeat(%s) is refused', args))
FROM unnest(ARRAY['NULL, ''a'', ''running''', '''relay'', '''', ''running''', '''relay'', ''a'', ''asleep''', '''relay'', ''a'', NULL',
                  '''relay'', ''a'', ''running'', details => ''[]''', 'repeat(''r'', 300), ''a'', ''running''']) AS args;
SELECT throws_ok($$SELECT * FROM backoffice.heartbeats$$, '42501', NULL, 'the table is closed');
SELECT is((SELECT value FROM backoffice.metrics WHERE name = 'worker_sent' AND labels->>'instance' = 'a'), 7::float8, 'numbers in details are figures');
SELECT is((SELECT count(*)::int FROM backoffice.metrics WHERE name = 'worker_broker'), 0, 'texts are not');
SELECT backoffice.heartbeat('relay', 'a', 'running', repeat('9', 500), repeat('é', 100000), '{"sent": 8, "huge": 1e5000, "tiny": 1e-5000}');
SELECT results_eq($$SELECT labels->>'instance', value FROM backoffice.metrics WHERE name LIKE 'worker\_%'$$, $$VALUES ('a', 8::float8)$$, 'numbers beyond measure are left out, not all figures');
SELECT results_eq($$SELECT length(position), length(last_error) FROM backoffice.workers WHERE worker = 'relay'$$, $$VALUES (200, 2000)$$, 'and texts are cut');
RESET ROLE;
UPDATE backoffice.heartbeats SET heartbeat = heartbeat - interval '31 s';
SET ROLE backoffice_admin;
SELECT is((SELECT state FROM backoffice.workers WHERE worker = 'relay'), 'stale', 'silent for 30 s: stale');
SELECT is(backoffice.prune_heartbeats('1 minute'), 0::bigint, 'not forgotten yet');
SELECT is(backoffice.prune_heartbeats('30 s'), 1::bigint, 'forgotten');
SELECT is((SELECT array_agg(worker ORDER BY worker) FROM backoffice.workers), ARRAY['backoffice dispatcher', 'backoffice keeper', 'backoffice launcher', 'backoffice ticker'],
          'the server''s own are seen by their processes');
SELECT is(backoffice.health()->>'status', 'ok', 'healthy');
SELECT ok(backoffice.health() @> '{"ticker": {"alive": true}, "dispatcher": {"alive": true}, "keeper": {"alive": true}}', 'with each of them');
RESET ROLE;
SET ROLE backoffice_service;
SELECT throws_ok('SELECT backoffice.heartbeat(''x'', ''y'', ''running'')', '42501', NULL, 'heartbeats are the workers''');
RESET ROLE;

-- schedules
SELECT throws_ok('SELECT backoffice.schedule()', 'PT503', NULL, 'without pg_cron there is nothing to schedule with');
CREATE SCHEMA cron;
CREATE TABLE cron.job (name text PRIMARY KEY, schedule text, command text);
CREATE FUNCTION cron.schedule(text, text, text) RETURNS bigint LANGUAGE sql AS
$$ INSERT INTO cron.job VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET schedule = $2, command = $3; SELECT 1::bigint $$;
SELECT is((SELECT count(*)::int FROM backoffice.schedule()), 2, 'with it, the jobs are made');
SELECT is((SELECT count(*)::int FROM backoffice.schedule()), 2, 'and made again, not twice');
CREATE FUNCTION pg_temp.run_jobs() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    job record;
BEGIN
    FOR job IN SELECT * FROM cron.job LOOP
        EXECUTE job.command;
    END LOOP;
    RETURN (SELECT count(*) FROM cron.job);
END $$;
SELECT is(pg_temp.run_jobs(), 2, 'their commands run');

SELECT * FROM finish();
ROLLBACK;
