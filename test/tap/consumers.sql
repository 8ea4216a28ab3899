BEGIN;
SELECT plan(44);
SET ROLE backoffice_worker;

-- leases
SELECT results_eq($$SELECT shard, fence, position::text, shards_total, wanted FROM events.lease('r', 'a', 4)$$,
                  $$VALUES (0, 1::bigint, '0:0:0', 4, false), (1, 1, '0:0:0', 4, false), (2, 1, '0:0:0', 4, false), (3, 1, '0:0:0', 4, false)$$, 'the first instance has every shard');
SELECT is_empty($$SELECT * FROM events.lease('r', 'b', 4)$$, 'a second one finds none free');
SELECT results_eq($$SELECT shard, wanted FROM events.lease('r', 'a', 4)$$, 'VALUES (0, false), (1, false), (2, true), (3, true)', 'the first sees which ones the second wants');
SELECT is(events.release_lease('r', 'a', '{2,3}'), 2, 'it gives them back');
SELECT results_eq($$SELECT shard, fence FROM events.lease('r', 'b', 4)$$, 'VALUES (2, 2::bigint), (3, 2)', 'and the second has them, under a new fence');
SELECT results_eq($$SELECT shard, fence FROM events.lease('r', 'a', 16)$$, 'VALUES (0, 1::bigint), (1, 1)', 'the number of shards stays what it was at first');
SELECT is_empty($$SELECT * FROM events.lease('r', 'c', 4)$$, 'a third waits');
SELECT results_eq($$SELECT shard, wanted FROM events.lease('r', 'a', 4)$$, 'VALUES (0, false), (1, false)', 'shares of 2, 1, 1: the first keeps two');
SELECT results_eq($$SELECT shard, wanted FROM events.lease('r', 'b', 4)$$, 'VALUES (2, false), (3, true)', 'the second is asked for one');

-- advance
SELECT is(events.advance('r', 'a', '{0,1}', '{1,1}', '0:5:7'), 2, 'both move');
SELECT is((SELECT array_agg(position::text ORDER BY shard) FROM events.lease('r', 'a', 4)), '{0:5:7,0:5:7}', 'to that position');
SELECT is(events.advance('r', 'a', '{0}', '{1}', '0:4:9'), 1, 'an older position is no loss of the lease');
SELECT is((SELECT max(position)::text FROM events.lease('r', 'a', 4)), '0:5:7', 'but nothing goes back');
SELECT is(events.advance('r', 'a', '{0,1}', '{2,1}', '0:6:0'), 1, 'an older fence does not move');
SELECT is(events.advance('r', 'a', '{2}', '{2}', '0:6:0'), 0, 'another''s shard does not move');
SELECT is(events.advance('r', 'a', '{0,1,7}', '{1}', '0:6:0'), 1, 'missing fences and unknown shards do not move');
SELECT is(events.advance('r', NULL, NULL, NULL, NULL), 0, 'nulls move nothing');

-- what a restore does (a dump's row replaces a consumer) cannot be had by a setting
SET LOCAL row_security = off;
SELECT is((SELECT max(position)::text FROM events.lease('r', 'a', 4)), '0:6:0', 'a lease keeps the position, whatever is set');
SET LOCAL row_security = on;

-- a dead instance
RESET ROLE;
UPDATE events.consumer_instances SET alive_until = clock_timestamp() - interval '1 s' WHERE instance = 'a';
UPDATE events.cursors SET lease_until = clock_timestamp() - interval '1 s' WHERE owner = 'a';
SET ROLE backoffice_worker;
SELECT results_eq($$SELECT shard, fence FROM events.lease('r', 'c', 4)$$, 'VALUES (0, 2::bigint), (1, 2)', 'another takes the shards of one that is dead');
SELECT is(events.advance('r', 'a', '{0,1}', '{1,1}', '0:9:0'), 0, 'who comes back late does not move them');
SELECT is(events.release_lease('r', 'c'), 2, 'signing off gives all back');
SELECT throws_ok(format('SELECT events.lease(%s)', args), '22023', NULL, format('lease(%s) is refused', args))
FROM unnest(ARRAY['NULL, ''a''', '''r'', NULL', '''r'', ''''', '''r'', ''a'', 0', '''r'', ''a'', 2000', '''r'', ''a'', 4, ''0 s''', '''r'', ''a'', 4, ''2 hours''',
                  '''r'', ''a'', 4, NULL', '''r'', ''a'', 4, ''10 s'', ''{null}''', '''r'', ''a'', 4, ''10 s'', NULL, ''middle''']) AS args;

-- parking
SELECT events.park('r', 0, '018f0000-0000-7000-8000-000000000002', '0:5:9', 't', 'k', 'x', '{"n": 2}', NULL, 'too large', NULL);
SELECT events.park('r', 1, '018f0000-0000-7000-8000-000000000001', '0:5:8', 't', 'k', 'x', '{"n": 1}', NULL, 'too large', NULL);
SELECT events.park('r', 1, '018f0000-0000-7000-8000-000000000001', '0:5:8', 't', 'k', 'x', '{"n": 1}', NULL, 'still too large', NULL);
SELECT results_eq($$SELECT state, attempts, reason FROM events.parked ORDER BY position$$, $$VALUES ('parked', 2, 'still too large'), ('parked', 1, 'too large')$$, 'parked, with reason and attempts');
SELECT is_empty($$SELECT * FROM events.parked_due('r')$$, 'nothing is due before somebody asks');
SELECT is(events.retry_parked('other'), 0, 'of another consumer there is nothing');
SELECT is(events.retry_parked('r'), 2, 'both are given free');
SELECT is((SELECT array_agg(payload->>'n') FROM events.parked_due('r')), '{1,2}', 'in the order of the log');
SELECT is((SELECT count(*)::int FROM events.parked_due('r', '{1}')), 1, 'by shard');
SELECT is(events.unpark('r', '{018f0000-0000-7000-8000-000000000001}'), 1, 'what was sent is forgotten');
SELECT events.park('r', 1, '018f0000-0000-7000-8000-000000000003', '0:5:10', 't', 'k', 'x', '{"n": 3}', NULL, 'waits', NULL, NULL, true);
SELECT lives_ok($$SELECT events.park('r', 1, '018f0000-0000-7000-8000-000000000004', '0:5:11', 't', 'l', 'x', '{}', NULL, repeat('é', 1000000), NULL)$$, 'a long reason');
SELECT is((SELECT octet_length(reason) FROM events.parked WHERE key = 'l'), 2000, 'is cut');
SELECT is(events.retry_parked('r', '018f0000-0000-7000-8000-000000000003'), 1, 'what is parked quietly is parked');
SELECT throws_ok($$SELECT events.park('certificates.orders', 0, '018f0000-0000-7000-8000-000000000009', '0:5:8', 't', 'k', 'x', '{}', NULL, 'mine', NULL)$$,
    'PT409', NULL, 'no event is put among those of a handler');
RESET ROLE;
SELECT is((SELECT count(*)::int FROM events.log WHERE type = 'event.parked'), 4, 'each parking raises an alert, but the quiet one');

SET ROLE backoffice_service;
SELECT throws_ok($$SELECT events.lease('r', 'a')$$, '42501', NULL, 'leases are for workers');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
