-- CVCs: shown for delivery only, checked without telling what was wrong, throttled past any rollback.
BEGIN;
SELECT plan(34);
SET LOCAL ROLE backoffice_service;
SELECT access.create_organization('Flowers') AS org \gset
SELECT access.create_organization('Rival') AS rival \gset
SELECT access.create_user('clerk@flowers.test', NULL, :'org') AS clerk \gset
SELECT access.act_as(:'org');
SELECT certificates.create_pool('gift', 'EUR', 5000);
SELECT certificates.create_pool('once', 'EUR', 5000, destroy_cvc_after_delivery => true, cvc_digits => 6);
SELECT certificates.import_codes('gift', ARRAY['GIFT-0000-0001', 'GIFT-0000-0002', 'GIFT-0000-0003', 'GIFT-0000-0004'], ARRAY['1234', '2345', '3456', '4567']);
SELECT certificates.import_codes('once', ARRAY['ONCE-0000-0001']);
SELECT (certificates.reserve_next('gift', 'pos', 'O-1')).id AS a \gset
SELECT (certificates.reserve_next('once', 'pos', 'O-1')).id AS b \gset

-- before it is sold
SELECT ok(NOT certificates.verify_cvc('GIFT-0000-0001', '1234'), 'reserved is not sold');
SELECT throws_ok(format('SELECT certificates.request_notification(%L)', :'a'), 'PT409', NULL, 'no client to notify');
SELECT throws_ok(format('SELECT certificates.reveal_cvc(%L)', :'a'), 'PT409', NULL, 'no CVC to deliver');
RESET ROLE;
UPDATE certificates.certificates SET state = 'issued', client_ref = 'C-1' WHERE state = 'reserved';
SET LOCAL ROLE backoffice_service;

-- delivery
SELECT throws_ok(format('SELECT certificates.reveal_cvc(%L)', :'a'), 'PT409', NULL, 'not before notification.requested');
SELECT lives_ok(format('SELECT certificates.request_notification(%L)', :'a'), 'a notification is requested');
SELECT is(certificates.reveal_cvc(:'a'), '1234', 'the CVC');
SELECT is(certificates.reveal_cvc(:'a'), '1234', 'again: this pool keeps it');
SELECT certificates.request_notification(:'b');
SELECT matches(certificates.reveal_cvc(:'b'), '^[0-9]{6}$', 'a CVC made here, of six digits');
SELECT throws_ok(format('SELECT certificates.reveal_cvc(%L)', :'b'), 'PT410', NULL, 'once: this pool does not keep it');
SELECT throws_ok($$ SELECT certificates.reveal_cvc('00000000-0000-0000-0000-000000000000') $$, 'PT404', NULL, 'an unknown certificate');
SELECT throws_ok($$ SELECT certificates.reveal_cvc(NULL) $$, '22023', NULL, 'NULL');
RESET ROLE;
SELECT results_eq(format('SELECT type, payload ->> ''status'', payload ->> ''channel'', payload #>> ''{payload,clientRef}'' FROM events.log WHERE key = %L AND type ~ ''^(notification|audit)'' ORDER BY seq', :'a'),
    $$ VALUES ('notification.requested', 'requested', 'pos', 'C-1'), ('audit.cvc_revealed', 'revealed', 'pos', 'C-1'), ('audit.cvc_revealed', 'revealed', 'pos', 'C-1') $$, 'the stream has it');
SELECT is((SELECT count(*) FROM events.log WHERE payload::text ~ '1234[^0-9a-f-]' AND payload::text ~ '"1234"'), 0::bigint, 'but not the CVC');
SELECT is((SELECT cvc_secret FROM certificates.certificates WHERE id = :'b'), NULL, 'the copy is gone');
SET LOCAL ROLE backoffice_service;

-- checking
SELECT ok(certificates.verify_cvc('GIFT-0000-0001', '1234'), 'right');
SELECT ok(certificates.verify_cvc(' giftooooooo1', '1234'), 'as typed by a human');
SELECT is(certificates.find_by_code('GIFT-0000-0001', '1234')::text, :'a', 'and which one it is');
SELECT ok(NOT certificates.verify_cvc('GIFT-0000-0001', '1235'), 'a wrong CVC');
SELECT ok(NOT certificates.verify_cvc('GIFT-0000-9999', '1234'), 'an unknown code');
SELECT ok(NOT certificates.verify_cvc('GIFT-0000-0002', '2345'), 'one that is still in the pool');
SELECT ok(NOT certificates.verify_cvc(NULL, NULL), 'nothing at all');
SELECT ok(NOT certificates.verify_cvc('', repeat('1', 10000)), 'garbage');
SELECT is(certificates.find_by_code('GIFT-0000-0001', '9999'), NULL, 'no id for a wrong CVC');

-- throttling: failures count, whatever is rolled back
SAVEPOINT s;
SELECT ok(NOT certificates.verify_cvc('GIFT-0000-0001', '1236'), 'the fourth wrong one');
ROLLBACK TO s;
SELECT ok(NOT certificates.verify_cvc('GIFT-0000-0001', '1237'), 'the fifth');
ROLLBACK TO s;
SELECT throws_ok($$ SELECT certificates.verify_cvc('GIFT-0000-0001', '1239') $$, 'PT429', 'too many failed checks of codes', 'then no more');
SELECT throws_ok($$ SELECT certificates.verify_cvc('GIFT-0000-0001', '1234') $$, 'PT429', NULL, 'not even the right one');
SELECT ok(NOT bool_or(certificates.verify_cvc('mistyped!' || i, '1234')), 'what is no code at all is counted by what it says: one person''s slips do not stop another''s') FROM generate_series(1, 8) i;
SELECT ok(NOT bool_or(certificates.verify_cvc('GIFT-0000-8888', i::text)), 'unknown codes') FROM generate_series(1001, 1005) i;
SELECT throws_ok($$ SELECT certificates.verify_cvc('GIFT-0000-8888', '1234') $$, 'PT429', NULL, 'are throttled just the same');
SELECT throws_ok($$ SELECT count(certificates.verify_cvc('GIFT-7777-' || i, '1234')) FROM generate_series(1, 200) i $$, 'PT429', NULL, 'and so is who tries one code after the other');

-- permission
RESET ROLE;
SET LOCAL ROLE backoffice_user;
SELECT throws_ok($$ SELECT certificates.reveal_cvc('00000000-0000-0000-0000-000000000000') $$, '42501', NULL, 'not for everybody');
RESET ROLE;
SELECT ok(EXISTS (SELECT FROM access.permissions WHERE name = 'certificates.reveal_cvc'), 'reveal_cvc has a permission of its own');
SELECT hasnt_column('certificates', 'pool_status', 'code_secret', 'views show no secrets');
SELECT * FROM finish();
ROLLBACK;
