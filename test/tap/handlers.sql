-- Handlers run in the dispatcher, so nothing here is inside one transaction; every wait is bounded.
CREATE PROCEDURE await(condition text) LANGUAGE plpgsql AS $$
DECLARE
    done boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE 'SELECT ' || condition INTO done;
        EXIT WHEN done;
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;

ALTER SYSTEM SET backoffice.handler_retry_min_ms = 10;
ALTER SYSTEM SET backoffice.handler_retry_max_ms = 40;
SELECT pg_reload_conf();

SELECT plan(49);
CREATE ROLE shop;
GRANT backoffice_service TO shop;
CREATE SCHEMA shop AUTHORIZATION shop;
SELECT events.define_topic('h.a', direction => 'internal'), events.define_topic('h.b', direction => 'internal'), events.define_topic('h.c', direction => 'internal');
SELECT access.create_organization('Acme') AS acme, access.create_organization('Zeta') AS zeta \gset

SET ROLE shop;
CREATE TABLE shop.seen (n bigserial, topic text, key text, v int, organization uuid, acting uuid, who name, path text);
CREATE TABLE shop.broken (v int PRIMARY KEY);
CREATE FUNCTION shop.handle(e events.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.seen (topic, key, v, organization, acting, who, path)
    VALUES (e.topic, e.key, (e.payload->>'v')::int, e.organization_id, backoffice.current_organization(), current_user, current_setting('search_path'));
    IF EXISTS (SELECT FROM shop.broken b WHERE b.v = (e.payload->>'v')::int) THEN
        RAISE EXCEPTION 'broken %', e.payload->>'v';
    END IF;
END $$;
CREATE FUNCTION shop.wrong_result(e events.event) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION shop.wrong_argument(e jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION shop.secret(e events.event) RETURNS void LANGUAGE sql AS '';
RESET ROLE;
REVOKE EXECUTE ON FUNCTION shop.secret(events.event) FROM PUBLIC, shop;

-- subscribing
SET ROLE shop;
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.wrong_result(events.event)')$$, '22023', NULL, 'a handler returns no set');
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.wrong_argument(jsonb)')$$, '22023', NULL, 'a handler takes one events.event');
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.secret(events.event)')$$, '22023', NULL, 'the role must be allowed to execute it');
SELECT throws_ok($$SELECT events.subscribe('s', '{h.none}', 'shop.handle(events.event)')$$, 'PT404', NULL, 'topics must be defined');
SELECT throws_ok(format('SELECT events.subscribe(%s)', args), '22023', NULL, format('subscribe(%s) is refused', args))
FROM unnest(ARRAY[$$NULL, '{h.a}', 'shop.handle(events.event)'$$, $$'', '{h.a}', 'shop.handle(events.event)'$$, $$'s', NULL, 'shop.handle(events.event)'$$,
                  $$'s', '{}', 'shop.handle(events.event)'$$, $$'s', '{null}', 'shop.handle(events.event)'$$, $$'s', '{h.a}', NULL$$,
                  $$'s', '{h.a}', 'shop.handle(events.event)', 0$$, $$'s', '{h.a}', 'shop.handle(events.event)', NULL$$]) AS args;
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.handle(events.event)', role => 'backoffice_definer')$$, '42501', NULL, 'not for a role the caller is no member of');
RESET ROLE;
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.secret(events.event)')$$, '22023', NULL, 'the role of a superuser''s handler must be allowed to execute it too');
SELECT lives_ok($$SELECT events.subscribe('default role', '{h.a}', 'shop.handle(events.event)')$$, 'a superuser''s handler');
SELECT is((SELECT role::text FROM events.handlers WHERE name = 'default role'), 'backoffice_service', 'runs as the service');
SELECT is(events.seek('default role', '0:0:0'), 1, 'seek: a position without a type');
SELECT is(events.seek('default role', '2026-01-01'), 1, 'seek: a time without a type');
SELECT throws_ok($$SELECT events.seek('default role', 'garbage')$$, '22007', NULL, 'seek: neither');
SELECT events.unsubscribe('default role');
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.handle(events.event)', role => 'postgres')$$, '42501', NULL, 'never a superuser');
SELECT throws_ok($$SELECT events.subscribe('s', '{h.a}', 'shop.handle(events.event)', start => 'yesterday', role => 'shop')$$, NULL, NULL, 'start is latest, earliest or a position');

-- running
SELECT events.emit('h.a', 'k', 'x', '{"v": 0}');
CALL await($$EXISTS (SELECT FROM events.read(topics => '{h.a}'))$$);
SET ROLE shop;
SELECT lives_ok($$SELECT events.subscribe('shop', '{h.a,h.b}', 'shop.handle(events.event)', max_attempts => 3)$$, 'a role subscribes');
RESET ROLE;
BEGIN;
SET LOCAL ROLE backoffice_service;
SELECT access.act_as(:'acme');
SELECT events.emit('h.a', 'k', 'x', '{"v": 1}'), events.emit('h.b', 'k', 'x', '{"v": 2}'), events.emit('h.c', 'k', 'x', '{"v": 99}'), events.emit('h.a', NULL, 'x', '{"v": 3}');
COMMIT;
BEGIN;
SELECT events.emit('h.a', 'k', 'x', '{"v": 98}');
ROLLBACK;
CALL await('(SELECT count(*) >= 3 FROM shop.seen)');
SELECT results_eq('SELECT topic, key, v FROM shop.seen ORDER BY n', $$VALUES ('h.a', 'k', 1), ('h.b', 'k', 2), ('h.a', NULL, 3)$$, 'its topics'' events, in order, from the latest on');
SELECT is((SELECT array_agg(DISTINCT organization) FROM shop.seen), ARRAY[:'acme'::uuid], 'with their organization');
SELECT is((SELECT array_agg(DISTINCT acting) FROM shop.seen), ARRAY[:'acme'::uuid], 'which is the principal');
SELECT is((SELECT array_agg(DISTINCT who) FROM shop.seen), '{shop}', 'as the role that subscribed');
SELECT is((SELECT array_agg(DISTINCT path) FROM shop.seen), ARRAY['"$user", public'], 'with the database''s search_path');
CALL await('(SELECT lag_events = 0 FROM events.consumers WHERE name = ''shop'')');
SELECT results_eq($$SELECT kind, lag_events, lag_seconds FROM events.consumers WHERE name = 'shop'$$, $$VALUES ('handler', 0::bigint, 0::float8)$$, 'nothing is left to do');

-- one key fails: it waits, the others go on
TRUNCATE shop.seen;
INSERT INTO shop.broken VALUES (11), (21);
SELECT events.emit('h.a', key, 'x', jsonb_build_object('v', v))
FROM (VALUES ('a', 11), ('a', 12), ('b', 13), (NULL, 21), (NULL, 22), ('a', 14), ('b', 15)) AS e (key, v);
CALL await($$(SELECT count(*) = 2 FROM events.parked WHERE state = 'parked')$$);
SELECT results_eq($$SELECT key, (payload->>'v')::int, state, attempts FROM events.parked ORDER BY position$$,
                  $$VALUES ('a', 11, 'parked', 3), ('a', 12, 'waiting', 0), (NULL, 21, 'parked', 3), ('a', 14, 'waiting', 0)$$, 'after max_attempts it is parked, and only its key waits');
SELECT results_eq('SELECT v FROM shop.seen ORDER BY n', 'VALUES (13), (22), (15)', 'the others had their effect; what failed had none');
SELECT matches((SELECT reason FROM events.parked WHERE key = 'a' AND state = 'parked'), '^P0001: broken 11', 'with the error');
CALL await($$(SELECT count(*) = 2 FROM events.read() WHERE topic = 'backoffice.alerts')$$);
SELECT set_eq($$SELECT type, payload->>'consumer' FROM events.read() WHERE topic = 'backoffice.alerts'$$, $$VALUES ('event.parked', 'shop')$$, 'and an alert');

-- later events of that key queue up; retried in order
SELECT events.emit('h.b', 'a', 'x', '{"v": 16}');
CALL await($$(SELECT count(*) = 5 FROM events.parked)$$);
SELECT is((SELECT count(*)::int FROM events.parked WHERE state = 'waiting'), 3, 'a later event of the key waits too');
DELETE FROM shop.broken;
SELECT is(events.retry_parked('shop'), 2, 'both are given free');
CALL await($$NOT EXISTS (SELECT FROM events.parked)$$);
SELECT results_eq($$SELECT v FROM shop.seen WHERE key = 'a' ORDER BY n$$, 'VALUES (11), (12), (14), (16)', 'the key goes on in order');
SELECT is((SELECT count(*)::int FROM shop.seen), 8, 'each event had its effect once');

-- given up
INSERT INTO shop.broken VALUES (31);
SELECT events.emit('h.a', 'd', 'x', '{"v": 31}'), events.emit('h.a', 'd', 'x', '{"v": 32}');
CALL await($$EXISTS (SELECT FROM events.parked WHERE state = 'parked')$$);
SELECT ok(events.discard_parked('shop', (SELECT id FROM events.parked WHERE state = 'parked')), 'a parked event can be given up');
CALL await($$NOT EXISTS (SELECT FROM events.parked)$$);
SELECT results_eq($$SELECT v FROM shop.seen WHERE key = 'd'$$, 'VALUES (32)', 'and what waits behind it goes on');

-- pause, resume, seek
SET ROLE shop;
SELECT ok(events.pause('shop'), 'its role pauses it');
RESET ROLE;
TRUNCATE shop.seen;
SELECT events.emit('h.a', 'p', 'x', '{"v": 41}');
SELECT pg_sleep(0.5);
SELECT is((SELECT count(*)::int FROM shop.seen), 0, 'a paused handler is not called');
SELECT ok(events.resume('shop'), 'resumed');
CALL await('(SELECT count(*) >= 1 FROM shop.seen)');
SELECT results_eq('SELECT v FROM shop.seen', 'VALUES (41)', 'it goes on where it was');
TRUNCATE shop.seen, shop.broken;
SELECT events.seek('shop', '0:0:0'::events.position);
CALL await('(SELECT count(*) >= 15 FROM shop.seen)');
SELECT is((SELECT count(*)::int FROM shop.seen), 15, 'sought to the beginning, everything comes again');

-- ending
CREATE ROLE stranger;
GRANT backoffice_service TO stranger;
SET ROLE stranger;
SELECT throws_ok($$SELECT events.unsubscribe('shop')$$, '42501', NULL, 'not by strangers');
RESET ROLE;
SELECT ok(events.unsubscribe('shop'), 'unsubscribed');
SELECT ok(NOT events.unsubscribe('shop'), 'there is nothing left of it');
SELECT is_empty($$SELECT * FROM events.handlers WHERE name = 'shop'$$, 'nor in the list');

-- a function that is gone does not lose events
SET ROLE shop;
SELECT events.subscribe('gone', '{h.a}', 'shop.handle(events.event)');
ALTER FUNCTION shop.handle(events.event) RENAME TO handle_later;
TRUNCATE shop.seen;
RESET ROLE;
SELECT events.emit('h.a', 'g', 'x', '{"v": 51}');
CALL await($$EXISTS (SELECT FROM events.handlers WHERE last_error LIKE '%does not exist%')$$);
SELECT is_empty('SELECT * FROM events.parked', 'nothing is parked because the handler is missing');
SET ROLE shop;
ALTER FUNCTION shop.handle_later(events.event) RENAME TO handle;
RESET ROLE;
CALL await('(SELECT count(*) >= 1 FROM shop.seen)');
SELECT results_eq('SELECT v FROM shop.seen', 'VALUES (51)', 'and it goes on when it is there again');
SELECT events.unsubscribe('gone');

ALTER SYSTEM RESET backoffice.handler_retry_min_ms;
ALTER SYSTEM RESET backoffice.handler_retry_max_ms;
SELECT * FROM finish();
DROP OWNED BY shop, stranger;
DROP ROLE shop;
DROP ROLE stranger;
