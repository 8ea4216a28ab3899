-- Pools: arguments, states, status and conservation, tenants apart.
BEGIN;
SELECT plan(45);
SET LOCAL ROLE backoffice_service;
SELECT access.create_organization('Flowers') AS org \gset
SELECT access.create_organization('Rival') AS rival \gset
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 100) $$, 'PT401', NULL, 'nobody acts: no pool');
SELECT access.act_as(:'org');

SELECT lives_ok($$ SELECT certificates.create_pool('gift', 'EUR', 5000, low_water => 2) $$, 'a pool');
SELECT throws_ok($$ SELECT certificates.create_pool('gift', 'EUR', 5000) $$, 'PT409', 'pool "gift" exists already', 'its code is taken');
SELECT is((SELECT state FROM certificates.pool_status WHERE pool = 'gift'), 'empty', 'a new pool is empty');

-- arguments
SELECT throws_ok($$ SELECT certificates.create_pool(NULL, 'EUR', 100) $$, '22023', NULL, 'no code');
SELECT throws_ok($$ SELECT certificates.create_pool('', 'EUR', 100) $$, '22023', NULL, 'an empty code');
SELECT throws_ok($$ SELECT certificates.create_pool('a b', 'EUR', 100) $$, 'PT422', NULL, 'a code with a space');
SELECT throws_ok($$ SELECT certificates.create_pool('-a', 'EUR', 100) $$, 'PT422', NULL, 'a code that begins with a hyphen');
SELECT throws_ok($$ SELECT certificates.create_pool(repeat('a', 64), 'EUR', 100) $$, '22023', NULL, 'a code too long');
SELECT throws_ok($$ SELECT certificates.create_pool('ü', 'EUR', 100) $$, 'PT422', NULL, 'a code outside ASCII');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'eur', 100) $$, 'PT422', NULL, 'a currency in small letters');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EURO', 100) $$, 'PT422', NULL, 'a currency of four letters');
SELECT throws_ok($$ SELECT certificates.create_pool('0199A000-0000-7000-8000-000000000000', 'EUR', 100) $$, 'PT422', NULL, 'a code like an id');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 100, validity => '400000 years') $$, 'PT422', NULL, 'valid beyond the calendar');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 0) $$, 'PT422', NULL, 'worth nothing');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', -1) $$, 'PT422', NULL, 'worth less than nothing');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', NULL) $$, '22023', NULL, 'worth NULL');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 1, validity => '0') $$, 'PT422', NULL, 'valid for no time');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 1, low_water => -1) $$, 'PT422', NULL, 'a negative mark');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 1, hold => '-1 s') $$, 'PT422', NULL, 'a negative hold');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 1, hold => '10 years') $$, 'PT422', NULL, 'a hold of ten years');
SELECT lives_ok($$ SELECT certificates.create_pool('0192d5b4----a----b----c-0123456789ab', 'EUR', 1), certificates.pause_pool('0192d5b4----a----b----c-0123456789ab') $$, 'a code that looks like an id from afar');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 1, cvc_digits => 2) $$, 'PT422', NULL, 'two digits');
SELECT throws_ok($$ SELECT certificates.create_pool('p', 'EUR', 1, code_format => 'odd') $$, 'PT422', NULL, 'an unknown format');
SELECT lives_ok($$ SELECT certificates.create_pool('rich', 'JPY', 9223372036854775807, low_water => 9223372036854775807) $$, 'the largest numbers there are');

-- states
SELECT certificates.generate_codes('gift', 5);
SELECT is((SELECT state FROM certificates.pool_status WHERE pool = 'gift'), 'open', 'stocked: open');
SELECT certificates.pause_pool('gift');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos') $$, 'PT409', 'pool "gift" is paused', 'a paused pool gives nothing');
SELECT certificates.resume_pool('gift');
SELECT is((certificates.reserve_next('gift', 'pos')).status, 'reserved', 'resumed, it gives again');
SELECT is((certificates.reserve_next('gift', 'pos')).status, 'reserved', 'and again');
SELECT certificates.reserve_next('gift', 'pos');
SELECT is((SELECT state FROM certificates.pool_status WHERE pool = 'gift'), 'low', 'two are left: low');
SELECT is((SELECT id::text FROM certificates.pool_status WHERE pool = 'gift'), (SELECT id::text FROM certificates.pools WHERE code = 'gift'), 'pool_status has the id');
SELECT is((certificates.reserve_next((SELECT id::text FROM certificates.pools WHERE code = 'gift'), 'pos')).status, 'reserved', 'a pool is named by its id too');
SELECT results_eq($$ SELECT created, available, reserved, issued, terminal FROM certificates.pool_status WHERE pool = 'gift' $$,
    $$ VALUES (5::bigint, 1::bigint, 4::bigint, 0::bigint, 0::bigint) $$, 'the counts');
SELECT results_eq($$ SELECT sum(difference) FROM certificates.conservation $$, $$ VALUES (0::numeric) $$, 'nothing is lost');
SELECT certificates.close_pool('gift');
SELECT throws_ok($$ SELECT certificates.reserve_next('gift', 'pos') $$, 'PT409', 'pool "gift" is closed', 'a closed pool gives nothing');
SELECT throws_ok($$ SELECT certificates.generate_codes('gift', 1) $$, 'PT409', 'pool "gift" is closed', 'and takes nothing');
SELECT throws_ok($$ SELECT certificates.resume_pool('gift') $$, 'PT409', NULL, 'for good');
SELECT throws_ok($$ SELECT certificates.pause_pool('nowhere') $$, 'PT404', NULL, 'an unknown pool');

-- sums beyond bigint
SELECT certificates.create_pool('huge', 'EUR', 9223372036854775807), certificates.generate_codes('huge', 2);
SELECT count(certificates.issue((certificates.reserve_next('huge', 'pos')).id)) FROM generate_series(1, 2);
SELECT lives_ok($$ SELECT * FROM certificates.pool_status $$, 'a pool worth more than a bigint does not hide the others');
SELECT is((SELECT outstanding_minor::text FROM certificates.pool_status WHERE pool = 'huge'), '18446744073709551614', 'its worth is exact');
SELECT is_empty($$ SELECT * FROM certificates.conservation WHERE difference <> 0 $$, 'and conservation is seen');

RESET ROLE;
SELECT results_eq($$ SELECT type FROM events.log WHERE type LIKE 'pool.%' AND payload #>> '{payload,pool}' = 'gift' ORDER BY seq $$,
    ARRAY['pool.imported', 'pool.replenished', 'pool.paused', 'pool.resumed', 'pool.low', 'pool.closed'], 'each move is told once');
-- The conservation view counts for itself: a lost row shows.
SELECT set_config('session_replication_role', 'replica', true);
DELETE FROM certificates.certificates WHERE state = 'available' AND pool_id = (SELECT id FROM certificates.pools WHERE code = 'gift');
SELECT is((SELECT difference FROM certificates.conservation WHERE pool = 'gift'), 1::bigint, 'one taken away by force is missed');

-- Another organization sees and reaches nothing of it (this organization's rows are asked for as the definer would).
SELECT is((SELECT count(*) FROM certificates.pools WHERE organization_id = :'rival'), 0::bigint, 'the rival has no pools');
SET LOCAL ROLE backoffice_user;
SELECT throws_ok($$ SELECT code_secret FROM certificates.certificates $$, '42501', NULL, 'nobody reads secrets');
SELECT * FROM finish();
ROLLBACK;
