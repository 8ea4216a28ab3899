BEGIN;
SELECT plan(52);

-- The type.
SELECT is('AbC:1:2'::events.position::text, 'abc:1:2', 'text of a position');
SELECT is('ffffffff:9223372036854775807:9223372036854775807'::events.position::text, 'ffffffff:9223372036854775807:9223372036854775807', 'the largest');
SELECT throws_ok(format('SELECT %L::events.position', bad), '22P02', NULL, format('not a position: %L', bad))
FROM unnest(ARRAY['', '1', '1:2', '1:2:3:4', '1:2:3 ', ' 1:2:3', '-1:2:3', '1:-2:3', 'g:1:2', '100000000:1:1', '1:9223372036854775808:1', '1::2']) bad;
SELECT ok('9:1:5'::events.position < '1:2:1' AND '1:2:1'::events.position < '1:2:3' AND '1:2:3'::events.position <= '1:2:3'
          AND '1:2:3'::events.position > '1:1:9' AND '1:2:3'::events.position >= '1:2:3' AND '1:2:3'::events.position <> '2:2:3', 'ordered by tick, then seq');
SELECT is((SELECT array_agg(p ORDER BY p)::text FROM unnest('{1:10:1,1:9:30,1:9:4}'::events.position[]) p), '{1:9:4,1:9:30,1:10:1}', 'sorted as numbers');
SELECT is((SELECT min(p)::text || ' ' || max(p)::text FROM unnest('{1:10:1,1:9:30,1:9:4}'::events.position[]) p), '1:9:4 1:10:1', 'min and max');
SELECT is(encode(events.position_send('1:2:3'), 'hex'), '00000001' || '0000000000000002' || '0000000000000003', 'binary form');
CREATE TEMP TABLE positions (p events.position PRIMARY KEY);
SELECT lives_ok($$INSERT INTO positions VALUES ('1:2:3'), ('1:2:4')$$, 'positions can be indexed');
SELECT throws_ok($$INSERT INTO positions VALUES ('1:2:3')$$, '23505', NULL, 'and are unique where they should be');

-- Who may emit, and as whom.
SELECT events.define_topic('tap.log', direction => 'internal', retention => '1 day') IS NOT NULL AS defined \gset
SELECT events.define_topic('tap.closed') IS NOT NULL AS defined \gset
SELECT events.revoke_topic('tap.closed', 'backoffice_service');
SELECT access.create_organization('tap one') AS one \gset
SELECT access.create_organization('tap two') AS two \gset
SELECT lives_ok($$SELECT events.emit('tap.log', NULL, 'a.b', 'null')$$, 'the superuser emits for the system, key NULL, payload JSON null');
SELECT is((SELECT organization_id FROM events.log WHERE type = 'a.b'), NULL, 'such an event belongs to no organization');
SET ROLE backoffice_service;
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', '{}')$$, 'PT401', NULL, 'a service has to act for somebody');
SELECT throws_ok($$SELECT events.emit('tap.closed', 'k', 'a.b', '{}')$$, '42501', NULL, 'no right to the topic');
SELECT throws_ok($$SELECT * FROM events.read()$$, 'PT401', NULL, 'nor does it read for nobody');
SELECT throws_ok($$SELECT * FROM events.log$$, '42501', NULL, 'the table itself is closed');
SELECT throws_ok($$INSERT INTO events.log SELECT * FROM events.log$$, '42501', NULL, 'to writing as well');
SELECT throws_ok($$SELECT nextval('events.log_seq')$$, '42501', NULL, 'and the sequence');
SAVEPOINT acting;
SELECT access.act_as(:'one');
SELECT lives_ok($$SELECT events.emit('tap.log', 'k', 'of.one', '{"a": 1}')$$, 'acting, it may');
RESET ROLE;
SELECT is((SELECT organization_id FROM events.log WHERE type = 'of.one'), :'one'::uuid, 'the event belongs to the principal''s organization');
SELECT matches((SELECT id::text FROM events.log WHERE type = 'of.one'), '^.{14}7', 'its id is a UUIDv7');
SELECT is((SELECT xid FROM events.log WHERE type = 'of.one'), pg_current_xact_id(), 'its transaction is this one, also within a savepoint');
ROLLBACK TO acting;
RESET ROLE;
SET ROLE backoffice_anon;
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', '{}')$$, '42501', NULL, 'anonymous callers do not emit');
SELECT throws_ok($$SELECT * FROM events.read()$$, '42501', NULL, 'nor read');
RESET ROLE;

-- Limits.
SELECT throws_ok(format('SELECT events.emit(%L, %L, %L, %L)', 'tap.log', repeat('k', 1025), 'a.b', '{}'), '22023', NULL, 'key too long');
SELECT lives_ok(format('SELECT events.emit(%L, %L, %L, %L)', 'tap.log', repeat('k', 1024), repeat('t', 255), '{}'), 'the longest key and type');
SELECT throws_ok(format('SELECT events.emit(%L, %L, %L, %L)', 'tap.log', 'k', repeat('t', 256), '{}'), '22023', NULL, 'type too long');
SET backoffice.max_event_bytes = 1024;
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', to_jsonb(repeat('x', 2000)))$$, 'PT413', NULL, 'too large by setting, however well it compresses');
RESET backoffice.max_event_bytes;
-- A number of eight bytes may have 131,072 digits: what can be emitted can be read as text.
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', (SELECT jsonb_agg(1e131071) FROM generate_series(1, 9)))$$, 'PT413', NULL, 'long numbers count as text');
SELECT lives_ok($$SELECT events.emit('tap.log', 'k', 'a.b', (SELECT jsonb_agg(1e131071) FROM generate_series(1, 7)))$$, 'up to the limit they may be there');
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', (SELECT jsonb_build_object('a', 'x', 'b', jsonb_agg(jsonb_build_array('yy', true, NULL, -1e-16000, i))) FROM generate_series(1, 70) i))$$,
    'PT413', NULL, 'wherever they stand, and behind the point too');
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', '{}', (SELECT jsonb_object_agg(i, 1e255) FROM generate_series(1, 5000) i))$$, 'PT413', NULL, 'in headers');
SELECT lives_ok($$SELECT events.emit('tap.log', 'k', 'a.b', (SELECT jsonb_agg(i * 1000003.0 / 7) FROM generate_series(1, 20000) i))$$, 'ordinary numbers count as they are stored');
SELECT throws_ok($$SET backoffice.max_event_bytes = 1$$, '22023', NULL, 'the setting has a range');

-- Where nothing can be emitted. (On a standby: the fault suite.)
CREATE TABLE public.quiet AS SELECT 1 AS n;
CREATE FUNCTION public.loud(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT events.emit('tap.log', 'k', 'loud', '{}') $$;
CREATE FUNCTION public.hushed(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.loud(n); RETURN n; END $$;
SELECT throws_ok('CREATE INDEX ON public.quiet (public.hushed(n))', '42501', NULL, 'within an index expression');
SAVEPOINT read_only;
SET LOCAL transaction_read_only = on;
SELECT throws_ok($$SELECT events.emit('tap.log', 'k', 'a.b', '{}')$$, '25006', 'cannot emit an event in a read-only transaction', 'in a read-only transaction');
ROLLBACK TO read_only;
SELECT is((SELECT count(*) FROM events.log WHERE type = 'loud'), 0::bigint, 'and nothing was');

-- Reading: what a test within one transaction can see. (Announced events: sql/events.sql and the fault suite.)
SELECT throws_ok($$SELECT * FROM events.read(max_events => NULL)$$, '22023', NULL, 'max_events NULL');
SELECT throws_ok($$SELECT * FROM events.read(topics => ARRAY['tap.log', NULL])$$, '22004', NULL, 'a NULL topic');
SELECT throws_ok($$SELECT * FROM events.read(topics => ARRAY['nobody.defined'])$$, 'PT404', NULL, 'an unknown topic');
SELECT throws_ok($$SELECT * FROM events.fetch(NULL, shard_count => 2, shards => ARRAY[2])$$, '22023', NULL, 'a shard that is not there');
SELECT is((SELECT count(*) FROM events.read() WHERE type IN ('a.b', 'of.one')), 0::bigint, 'nothing uncommitted is read');

SELECT * FROM finish();
ROLLBACK;
