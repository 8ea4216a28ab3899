-- reserve_next, release, holds, the sweep; the direct way and the SQL way side by side.
BEGIN;
SELECT plan(51);
SET LOCAL ROLE backoffice_service;
SELECT access.create_organization('Flowers') AS org \gset
SELECT access.act_as(:'org');
SELECT certificates.create_pool('gift', 'EUR', 5000, hold => '10 minutes');
SELECT certificates.generate_codes('gift', 3);

-- arguments
SELECT throws_ok($$ SELECT certificates.reserve_next(NULL, 'pos') $$, '22023', NULL, 'no pool');
SELECT throws_ok($$ SELECT certificates.reserve_next('nowhere', 'pos') $$, 'PT404', NULL, 'an unknown pool');
SELECT throws_ok($$ SELECT certificates.reserve_next('00000000-0000-0000-0000-000000000000', 'pos') $$, 'PT404', NULL, 'an unknown id');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', NULL) $$, '22023', NULL, 'no channel');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', '') $$, '22023', NULL, 'an empty channel');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', repeat('x', 65)) $$, '22023', NULL, 'a channel too long');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos', repeat('x', 201)) $$, '22023', NULL, 'an order too long');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos', hold => '0') $$, 'PT422', NULL, 'a hold of nothing');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos', hold => '400000 years') $$, 'PT422', NULL, 'a hold beyond the calendar');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos', hold => '2 years') $$, 'PT422', NULL, 'a hold of two years');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos', hold => '200000000 days') $$, NULL, NULL, 'a hold beyond time');

-- one after the other
SELECT * FROM certificates.reserve_next('gift', 'pos', 'O-1') \gset a_
SELECT is(:'a_status'::text, 'reserved', 'reserved');
SELECT is(:'a_pool' || :'a_face_value_minor' || :'a_currency', 'gift5000EUR', 'with what it is worth');
SELECT is(:'a_hold_until'::timestamptz, backoffice.now() + interval '10 minutes', 'for as long as the pool says');
SELECT results_eq(format('SELECT state, channel, order_ref, version FROM certificates.certificates WHERE id = %L', :'a_id'),
    $$ VALUES ('reserved', 'pos', 'O-1', 2) $$, 'the row says so');
SELECT * FROM certificates.reserve_next('gift', 'store', hold => '1 hour') \gset b_
SELECT isnt(:'b_id'::text, :'a_id', 'the next one is another');
SELECT is(:'b_hold_until'::timestamptz, backoffice.now() + interval '1 hour', 'for as long as was asked');

-- idempotency
SELECT * FROM certificates.reserve_next('gift', 'store', 'O-2', 'key') \gset c_
SELECT is((certificates.reserve_next('gift', 'store', 'O-2', 'key'))::text, (SELECT ROW(:'c_status', :'c_id'::uuid, :'c_pool', :'c_face_value_minor', :'c_currency', :'c_hold_until'::timestamptz)::certificates.reservation::text), 'the same key again: the same answer');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'store', 'O-3', 'key') $$, 'PT409', NULL, 'the same key for another order: a conflict');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos', 'O-2', 'key') $$, 'PT409', NULL, 'for another channel, too');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'store', 'O-2', 'key', '1 hour') $$, 'PT409', NULL, 'for another hold, too');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'store', 'O-2', '') $$, '22023', NULL, 'an empty key');

-- empty
SELECT is((certificates.reserve_next('gift', 'pos', 'O-4', 'key 4'))::text, '(empty,,gift,,,)', 'empty, and no error');
SELECT is((SELECT state FROM certificates.pool_status WHERE pool = 'gift'), 'empty', 'the pool says so');
SELECT is(certificates.release(:'b_id', 'changed my mind'), 'available', 'one is given back');
SELECT is(certificates.release(:'b_id'), 'available', 'once more changes nothing');
SELECT is((SELECT state FROM certificates.pool_status WHERE pool = 'gift'), 'open', 'the pool is open again');
SELECT * FROM certificates.reserve_next('gift', 'pos', 'O-4', 'key 4') \gset d_
SELECT is(:'d_id'::text, :'b_id', 'and gives it out; "empty" was no answer to keep for the key');
SELECT throws_ok($$ SELECT certificates.release('00000000-0000-0000-0000-000000000000') $$, 'PT404', NULL, 'nothing to release');
SELECT throws_ok($$ SELECT certificates.release(NULL) $$, '22023', NULL, 'NULL is no certificate');

-- a code that was shown
SELECT ok(certificates.disclose_code(:'a_id') ~ '^[0-9A-Z]{5}(-[0-9A-Z]{5}){3}$', 'a code, shown for printing');
SELECT is(certificates.release(:'a_id'), 'voided', 'shown, it never returns to the pool');
SELECT is((certificates.reserve_next('gift', 'pos')).status, 'empty', 'nobody gets it');
SELECT throws_ok(format('SELECT certificates.disclose_code(%L)', :'a_id'), 'PT409', NULL, 'nor sees it any more');

-- savepoints: what is rolled back is found again
SAVEPOINT s;
SELECT certificates.release(:'d_id');
SELECT id AS e_id FROM certificates.reserve_next('gift', 'pos') \gset
ROLLBACK TO s;
SELECT is((SELECT state FROM certificates.certificates WHERE id = :'d_id'), 'reserved', 'rolled back to the savepoint');
SELECT certificates.release(:'d_id');
SELECT is((certificates.reserve_next('gift', 'pos')).id::text, :'d_id', 'the slot taken in the savepoint is found again');

-- holds that end
RESET ROLE;
SELECT set_config('backoffice.frozen_now', (now() + interval '2 hours')::text, true);
SELECT certificates.generate_codes('gift', 1);
SELECT certificates.disclose_code(:'c_id');
SELECT is(certificates.sweep(), 2::bigint, 'two holds are over');
SELECT is((SELECT state FROM certificates.certificates WHERE id = :'c_id'), 'voided', 'voided: its code was shown');
SELECT results_eq(format('SELECT state, channel, order_ref, hold_until FROM certificates.certificates WHERE id = %L', :'d_id'),
    $$ VALUES ('available', NULL::text, NULL::text, NULL::timestamptz) $$, 'back in the pool');
SELECT results_eq(format('SELECT type, payload ->> ''status'', payload #>> ''{payload,reason}'' FROM events.log WHERE key = %L ORDER BY seq DESC LIMIT 1', :'d_id'),
    $$ VALUES ('certificate.released', 'expired', 'hold_expired') $$, 'and the stream says why');
SELECT is(certificates.sweep(), 0::bigint, 'there is nothing left to do');
SELECT results_eq($$ SELECT sum(difference) FROM certificates.conservation $$, $$ VALUES (0::numeric) $$, 'nothing is lost');

-- skipped slots: as if their transactions had been killed
SELECT certificates.create_pool('skip', 'EUR', 100);
SELECT certificates.generate_codes('skip', 100);
SELECT count(*) FROM (SELECT certificates.reserve_next('skip', 'pos') FROM generate_series(1, 40)) r;
SELECT set_config('session_replication_role', 'replica', true);
UPDATE certificates.certificates SET state = 'available', hold_until = NULL WHERE pool_id = (SELECT id FROM certificates.pools WHERE code = 'skip') AND slot_no <= 30;
SELECT set_config('session_replication_role', 'origin', true);
SELECT is((SELECT count(*) FROM (SELECT (certificates.reserve_next('skip', 'pos')).id AS id FROM generate_series(1, 91)) r WHERE id IS NOT NULL), 90::bigint,
    'all that are available are given, and the 91st is not');
SELECT is(certificates.sweep(), 0::bigint, 'all are taken');
SELECT is((SELECT count(*) FROM certificates.certificates WHERE pool_id = (SELECT id FROM certificates.pools WHERE code = 'skip') AND state = 'available'), 0::bigint, 'none is left');

-- The direct way and the SQL way: equal rows, equal events.
CREATE FUNCTION pg_temp.one_life(direct text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    p text := 'way_' || direct;
    c uuid;
BEGIN
    PERFORM set_config('backoffice.direct_writes', direct, true);
    PERFORM certificates.create_pool(p, 'EUR', 700, low_water => 1);
    PERFORM certificates.import_codes(p, ARRAY['AAAA-' || direct, 'BBBB-' || direct, 'CCCC-CCCC-CCCC-' || direct], ARRAY['123', '4567', NULL]);
    PERFORM certificates.reserve_next(p, 'pos', 'O-9');
    c := (certificates.reserve_next(p, 'store')).id;
    PERFORM certificates.reserve_next(p, 'store');
    PERFORM certificates.reserve_next(p, 'store');
    PERFORM certificates.release(c, 'why not');
    PERFORM certificates.reserve_next(p, 'pos', hold => '1 day');
    BEGIN
        PERFORM certificates.import_codes(p, ARRAY['aaaa' || direct, 'DDDD', '']);
    EXCEPTION WHEN OTHERS THEN
        RETURN NEXT SQLSTATE || SQLERRM;
    END;
    RETURN QUERY SELECT replace(concat_ws('|', c.slot_no, c.face_value_minor, c.balance_minor, c.held_minor, c.version, c.state, c.hold_until, c.channel, c.order_ref, c.code_last4 IS NULL,
            c.cvc_hash IS NULL, c.created_at, octet_length(code_index), octet_length(cvc_secret) < 40), direct, '')
        FROM certificates.certificates c JOIN certificates.pools p2 ON p2.id = c.pool_id WHERE p2.code = p ORDER BY c.slot_no;
    RETURN QUERY SELECT concat_ws('|', type, payload ->> 'status', payload ->> 'channel', (payload -> 'payload') - 'pool' - 'poolId' - 'certificateId')
        FROM events.log WHERE payload #>> '{payload,pool}' = p ORDER BY seq;
END $$;
SELECT results_eq($$ SELECT * FROM pg_temp.one_life('on') $$, $$ SELECT * FROM pg_temp.one_life('off') $$, 'direct writes and SQL are equal');
SELECT cmp_ok((SELECT count(*) FROM events.log WHERE payload #>> '{payload,pool}' = 'way_on'), '>', 8::bigint, 'and there was something to compare');
SET LOCAL backoffice.direct_writes = on;

-- A pool is looked up afresh where its change was rolled back.
SAVEPOINT s;
SELECT certificates.pause_pool('skip');
ROLLBACK TO s;
SELECT is((certificates.reserve_next('skip', 'pos')).status, 'empty', 'a pause that was rolled back is forgotten');
SET LOCAL ROLE backoffice_user;
SELECT throws_ok($$ SELECT certificates.reserve_next('skip', 'pos') $$, '42501', NULL, 'not for everybody');
SELECT throws_ok($$ UPDATE certificates.certificates SET state = 'available' $$, '42501', NULL, 'nor by hand');
RESET ROLE;
SELECT throws_ok($$ UPDATE certificates.certificates SET state = 'redeemed' WHERE state = 'reserved' $$, 'PT409', NULL, 'nor past the life cycle');
SELECT * FROM finish();
ROLLBACK;
