BEGIN;
SELECT plan(35);

-- definition
SET ROLE backoffice_admin;
SELECT isnt(events.define_topic('t.one', 'customer_id', '8 days', 3, 'out', 'first'), NULL, 'a topic is defined');
SELECT is(events.define_topic('t.one', 'customer_id', '8 days', 3), (SELECT id FROM events.topics WHERE name = 't.one'), 'equal arguments again: the same topic');
SELECT is((SELECT description FROM events.topics WHERE name = 't.one'), 'first', 'a description left out stays');
SELECT events.define_topic('t.one', 'customer_id', '9 days', 4);
SELECT is((SELECT (retention, partitions)::text FROM events.topics WHERE name = 't.one'), '("9 days",4)', 'other arguments change it');
SELECT throws_ok($$SELECT events.define_topic('t.one', 'customer_id', '9 days', 3)$$, 'PT409', NULL, 'partitions do not become fewer');
SELECT throws_ok($$SELECT events.define_topic('t.two', retention => '6 days 23 hours')$$, '22023', NULL, 'an out topic is kept for 7 days at least');
SELECT throws_ok($$SELECT events.define_topic('t.two', retention => '1 day', direction => 'in')$$, '22023', NULL, 'an in topic too');
SELECT lives_ok($$SELECT events.define_topic('t.two', retention => '1 day', direction => 'internal')$$, 'an internal topic need not');
SELECT throws_ok($$SELECT events.define_topic('t.two', direction => 'sideways')$$, '22023', NULL, 'directions are out, in, internal');
SELECT throws_ok(format('SELECT events.define_topic(%L)', name), '22023', NULL, format('%L is no name', left(name, 20)))
FROM unnest(ARRAY['', '.', '..', 'a b', 'ä', 'a/b', repeat('x', 250), NULL]) AS name;
SELECT lives_ok(format('SELECT events.define_topic(%L)', repeat('x', 249)), '249 characters are a name');
SELECT throws_ok($$SELECT events.define_topic('t.x', partitions => 0)$$, '22023', NULL, 'no partitions are refused');
SELECT throws_ok($$SELECT events.define_topic('t.x', retention => '-8 days')$$, '22023', NULL, 'a negative retention is refused');
SELECT lives_ok($$SELECT events.define_topic('t.defaults', NULL, NULL, NULL, NULL)$$, 'null is the default of retention, partitions and direction');
SELECT throws_ok($$SELECT events.define_topic('t.x', key_rule => '')$$, '22023', NULL, 'an empty key_rule is refused');
SELECT throws_ok($$INSERT INTO events.topics (id, name, direction, retention, partitions) VALUES (1, 'x', 'out', '8 days', 1)$$, '42501', NULL, 'the table is closed, to administrators too');
RESET ROLE;
SET ROLE backoffice_service;
SELECT throws_ok($$SELECT events.define_topic('t.three')$$, '42501', NULL, 'only administrators define topics');
RESET ROLE;

-- rights, keys
SELECT access.create_organization('Acme') AS acme \gset
SET ROLE backoffice_service;
SELECT access.act_as(:'acme');
SELECT lives_ok($$SELECT events.emit('t.one', 'k', 'x', '{}')$$, 'backoffice_service may emit to a new topic');
SELECT throws_ok($$SELECT events.emit('t.one', NULL, 'x', '{}')$$, '22023', NULL, 'where key_rule is set, a key must be there');
SELECT throws_ok($$SELECT events.emit('t.unknown', 'k', 'x', '{}')$$, 'PT404', NULL, 'an unknown topic is refused');
RESET ROLE;
SELECT events.revoke_topic('t.one', 'backoffice_service');
SET ROLE backoffice_service;
SELECT throws_ok($$SELECT events.emit('t.one', 'k', 'x', '{}')$$, '42501', NULL, 'a revoked right is gone at once');
RESET ROLE;
CREATE ROLE topics_test_role;
GRANT topics_test_role TO backoffice_service;
SELECT events.grant_topic('t.one', 'topics_test_role');
SET ROLE backoffice_service;
SELECT lives_ok($$SELECT events.emit('t.one', 'k', 'x', '{}')$$, 'members of a granted role may emit');
RESET ROLE;
SELECT throws_ok($$SELECT events.grant_topic('t.none', 'topics_test_role')$$, 'PT404', NULL, 'no grant on an unknown topic');

-- the cache follows rollbacks
SAVEPOINT s;
SELECT events.define_topic('t.passing');
SELECT lives_ok($$SELECT events.emit('t.passing', 'k', 'x', '{}')$$, 'a topic of this transaction can be used in it');
ROLLBACK TO s;
SELECT throws_ok($$SELECT events.emit('t.passing', 'k', 'x', '{}')$$, 'PT404', NULL, 'and is unknown after the savepoint was rolled back');

-- a dump carries built-in topics that CREATE EXTENSION has made already: its row wins
UPDATE events.topics SET retention = '99 days' WHERE name = 'backoffice.alerts';
CREATE TEMP TABLE dumped AS SELECT * FROM events.topics WHERE name = 'backoffice.alerts';
UPDATE events.topics SET retention = '30 days' WHERE name = 'backoffice.alerts';
INSERT INTO events.topics SELECT * FROM dumped;
SELECT is((SELECT retention FROM events.topics WHERE name = 'backoffice.alerts'), '99 days', 'a restored topic takes the place of the fresh one');
SELECT is((SELECT count(*)::int FROM events.topics WHERE name = 'backoffice.alerts'), 1, 'and there is one of it');

-- the cache is read in a parallel operation too
SET LOCAL force_parallel_mode = on;
SELECT events.define_topic('t.parallel') \gset
SELECT lives_ok($$SELECT count(*) FROM events.read(NULL, 10, '{t.parallel}')$$, 'events are read within a parallel operation');
RESET force_parallel_mode;

SELECT * FROM finish();
ROLLBACK;
