BEGIN;
SELECT plan(143);
SET LOCAL ROLE backoffice_service;
SELECT access.create_organization('Flowers') AS org \gset
SELECT access.create_organization('Rival') AS rival \gset
SELECT access.create_user('nobody@example.org', NULL, :'org') AS nobody \gset

-- every function asks who acts, and for the right
CREATE FUNCTION pg_temp.calls(c uuid) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format(f, c) FROM unnest(ARRAY['issue(%L)', 'activate(%L)', 'authorize(%L, 1)', 'redeem(%L, 1)', 'refund(%L, 1)', 'refund_purchase(%L)', 'void_purchase(%L)',
        'block(%L)', 'unblock(%L)', 'extend(%L, now() + interval ''1 day'')', 'replace(%L)']) f $$;
SELECT throws_ok('SELECT certificates.' || f, 'PT401', NULL, 'nobody acts: ' || f) FROM pg_temp.calls('00000000-0000-0000-0000-000000000000') f;
SELECT throws_ok(format('SELECT access.act_as(%L, %L); SELECT certificates.%s', :'org', :'nobody', f), '42501', NULL, 'without the right: ' || f)
FROM pg_temp.calls('00000000-0000-0000-0000-000000000000') f;
SELECT throws_ok(format('SELECT access.act_as(%L, %L); SELECT certificates.capture(%L)', :'org', :'nobody', :'org'), '42501', NULL, 'without the right: capture');
SELECT throws_ok(format('SELECT access.act_as(%L, %L); SELECT certificates.retry_order(%L)', :'org', :'nobody', 'o'), '42501', NULL, 'without the right: retry_order');

-- replacement asks for no other right
SELECT access.create_organization('Third') AS third \gset
RESET ROLE;
INSERT INTO certificates.pools (organization_id, id, code, currency, face_value_minor, low_water, validity, hold, cvc_digits, requires_activation, destroy_cvc_after_delivery, code_format, state)
SELECT :'third', :'third', 'own', 'EUR', 5000, 0, '1 year', '1 hour', 4, false, false, 'any', 'empty';
INSERT INTO certificates.pool_slots (organization_id, pool_id, created, next_slot) SELECT :'third', :'third', 2, 3;
INSERT INTO certificates.certificates (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, code_index, code_secret)
SELECT :'third', ('22222222-2222-7222-8222-22222222222' || n)::uuid, :'third', n, 5000, 5000, convert_to('x' || n, 'UTF8'), 'x' FROM generate_series(1, 2) n;
UPDATE certificates.certificates SET state = 'reserved' WHERE organization_id = :'third' AND slot_no = 1;
UPDATE certificates.certificates SET state = 'issued' WHERE organization_id = :'third' AND slot_no = 1;
SELECT access.create_user('clerk@example.org', NULL, :'third') AS clerk \gset
INSERT INTO access.roles (organization_id, name, permissions) VALUES (:'third', 'clerk', ARRAY['certificates.replace']);
SET LOCAL ROLE backoffice_service;
SELECT access.grant_role(:'clerk', 'clerk', NULL, :'third');
SELECT throws_ok(format($$ DO $do$ BEGIN
    PERFORM access.act_as(%L, %L);
    PERFORM certificates.replace('22222222-2222-7222-8222-222222222221');
    RAISE EXCEPTION 'undo this' USING errcode = '22012';
END $do$ $$, :'third', :'clerk'), '22012', 'undo this', 'certificates.replace is enough to replace');

-- somebody else's certificates are not there
RESET ROLE;
INSERT INTO certificates.pools (organization_id, id, code, currency, face_value_minor, low_water, validity, hold, cvc_digits, requires_activation, destroy_cvc_after_delivery, code_format, state)
SELECT :'rival', :'rival', 'gift', 'EUR', 5000, 0, '1 year', '1 hour', 4, false, false, 'any', 'empty';
INSERT INTO certificates.certificates (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, code_index, code_secret)
VALUES (:'rival', '11111111-1111-7111-8111-111111111111', :'rival', 1, 5000, 5000, 'x', 'x');
UPDATE certificates.certificates SET state = 'reserved' WHERE organization_id = :'rival';
UPDATE certificates.certificates SET state = 'issued' WHERE organization_id = :'rival';
INSERT INTO certificates.redemptions (organization_id, id, certificate_id, state, amount_minor)
VALUES (:'rival', '11111111-1111-7111-8111-111111111112', '11111111-1111-7111-8111-111111111111', 'authorized', 1);
SET LOCAL ROLE backoffice_service;
SELECT access.act_as(:'org');
SELECT throws_ok('SELECT certificates.' || f, 'PT404', NULL, 'another tenant''s: ' || f) FROM pg_temp.calls('11111111-1111-7111-8111-111111111111') f;
SELECT throws_ok($$ SELECT certificates.capture('11111111-1111-7111-8111-111111111112') $$, 'PT404', NULL, 'another tenant''s hold');
SELECT throws_ok($$ SELECT certificates.release_hold('11111111-1111-7111-8111-111111111112') $$, 'PT404', NULL, 'another tenant''s hold');
SELECT is_empty('SELECT FROM certificates.certificates', 'nor seen');
SELECT is_empty('SELECT FROM certificates.redemptions', 'nor its money');
SELECT lives_ok($$ SELECT certificates.create_pool('gift', 'EUR', 5000), certificates.create_pool('card', 'EUR', 5000, requires_activation => true) $$, 'pools');
SELECT certificates.generate_codes('gift', 12);
SELECT certificates.generate_codes('card', 1);

CREATE FUNCTION pg_temp.take(pool text DEFAULT 'gift') RETURNS uuid LANGUAGE sql AS $$ SELECT (certificates.reserve_next(pool, 'pos', 'O-1')).id $$;
CREATE FUNCTION pg_temp.sold(pool text DEFAULT 'gift') RETURNS uuid LANGUAGE sql AS $$ SELECT (certificates.issue(pg_temp.take(pool))).id $$;
CREATE FUNCTION pg_temp.money(c uuid) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s %s/%s', state, balance_minor - held_minor, balance_minor) FROM certificates.certificates WHERE id = c $$;
-- The events of one certificate since the last call.
RESET ROLE;
CREATE TEMPORARY TABLE seen AS SELECT id FROM events.log WHERE false;
CREATE FUNCTION pg_temp.events(c uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    told text;
BEGIN
    SELECT string_agg(type, ' ' ORDER BY seq) INTO told FROM events.log WHERE key = c::text AND id NOT IN (SELECT id FROM seen);
    INSERT INTO seen SELECT id FROM events.log WHERE key = c::text AND id NOT IN (SELECT id FROM seen);
    RETURN told;
END $$;
SET LOCAL ROLE backoffice_service;

-- issue
SELECT pg_temp.take() AS a \gset
SELECT is(pg_temp.money(:'a'), 'reserved 5000/5000', 'reserved');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'a'), 'PT409', 'the certificate can''t be redeemed', 'a reserved certificate pays nothing');
SELECT throws_ok(format('SELECT certificates.block(%L)', :'a'), 'PT409', NULL, 'nor is it blocked');
SELECT * FROM certificates.issue(:'a', 'O-7', 'client 7', 'key 1') \gset issued_
SELECT is(:'issued_state'::text, 'issued', 'issued');
SELECT ok(length(:'issued_code') >= 16, 'with its code');
SELECT is(:'issued_balance_minor'::text, '5000', 'and its value');
SELECT is((SELECT (i).code FROM certificates.issue(:'a', 'O-7', 'client 7', 'key 1') i), :'issued_code'::text, 'the same key again: the same code');
SELECT throws_ok(format('SELECT certificates.issue(%L, %L, %L, %L)', :'a', 'O-8', 'client 7', 'key 1'), 'PT409', NULL, 'the same key with another order: a conflict');
SELECT throws_ok(format('SELECT certificates.issue(%L)', :'a'), 'PT409', NULL, 'it is issued once');
SELECT is((SELECT count(*) FROM certificates.certificates WHERE id = :'a' AND disclosed_at IS NOT NULL AND valid_until > backoffice.now() + interval '360 days'
    AND order_ref = 'O-7' AND client_ref = 'client 7' AND hold_until IS NULL), 1::bigint, 'disclosed, valid, and whose it is');
SELECT is(pg_temp.events(:'a'), 'certificate.reserved certificate.issued', 'each step has its event');

-- one-step redemption
SELECT throws_ok(format('SELECT certificates.redeem(%L, %s)', :'a', n), '22023', 'invalid amount', 'amount ' || n)
FROM unnest(ARRAY['0', '-1', 'NULL', '-9223372036854775808']) n;
SELECT throws_ok(format('SELECT certificates.redeem(%L, 5001)', :'a'), 'PT409', 'the certificate has not enough money', 'more than there is');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 9223372036854775807)', :'a'), 'PT409', 'the certificate has not enough money', 'far more than there is');
SELECT is((SELECT (r.kind, r.state, r.amount_minor, r.balance_minor, r.available_minor, r.currency)::text FROM certificates.redeem(:'a', 2000, 'r1') r),
    '(captured,partially_redeemed,2000,3000,3000,EUR)', 'redeem 2000');
SELECT certificates.redeem(:'a', 2000, 'r1');
SELECT is(pg_temp.money(:'a'), 'partially_redeemed 3000/3000', 'again with the same key: nothing happens');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 2001, %L)', :'a', 'r1'), 'PT409', 'the idempotency key was used for another request', 'another amount under that key');
SELECT is((SELECT r.state FROM certificates.redeem(:'a', 3000) r), 'redeemed', 'the rest');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'a'), 'PT409', 'the certificate has not enough money', 'nothing is left');
SELECT is(pg_temp.events(:'a'), 'certificate.partially_redeemed redemption.captured certificate.redeemed redemption.captured', 'told');

-- refund of redemptions
SELECT throws_ok(format('SELECT certificates.refund(%L, 5001)', :'a'), 'PT409', 'more than was redeemed can''t be refunded', 'never more than was taken');
SELECT is((SELECT (r.kind, r.state, r.balance_minor)::text FROM certificates.refund(:'a', 1000, 'f1') r), '(refunded,partially_redeemed,1000)', 'a part');
SELECT certificates.refund(:'a', 1000, 'f1');
SELECT is(pg_temp.money(:'a'), 'partially_redeemed 1000/1000', 'once per key');
SELECT throws_ok(format('SELECT certificates.refund(%L, 4001)', :'a'), 'PT409', 'more than was redeemed can''t be refunded', 'nor in two parts');
SELECT is((SELECT r.state FROM certificates.refund(:'a', 4000) r), 'active', 'all of it: as new');
SELECT results_eq(format('SELECT state, captured_minor, refunded_minor FROM certificates.redemptions WHERE certificate_id = %L ORDER BY id', :'a'),
    $$ VALUES ('refunded', 2000::bigint, 2000::bigint), ('refunded', 3000, 3000) $$, 'each redemption knows what it gave back');
SELECT is(pg_temp.events(:'a'), 'certificate.restored redemption.refunded certificate.restored redemption.refunded', 'told');

-- holds
SELECT pg_temp.sold() AS b \gset
SELECT certificates.authorize(:'b', 2000, 'h1') AS h1 \gset
SELECT certificates.authorize(:'b', 2500) AS h2 \gset
SELECT is(pg_temp.money(:'b'), 'issued 500/5000', 'two holds count at once');
SELECT is(certificates.authorize(:'b', 2000, 'h1'), :'h1'::uuid, 'the same key: the same hold');
SELECT throws_ok(format('SELECT certificates.authorize(%L, 501)', :'b'), 'PT409', 'the certificate has not enough money', 'no third beyond the rest');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 501)', :'b'), 'PT409', 'the certificate has not enough money', 'nor a redemption');
SELECT throws_ok(format('SELECT certificates.authorize(%L, 1, NULL, %L)', :'b', t), '22023', NULL, 'ttl ' || t) FROM unnest(ARRAY['0', '-1 s', '367 days']) t;
SELECT throws_ok(format('SELECT certificates.capture(%L, 2001)', :'h1'), 'PT409', 'more than is held can''t be captured', 'a capture fits its hold');
SELECT is((SELECT (r.kind, r.state, r.amount_minor, r.balance_minor, r.available_minor)::text FROM certificates.capture(:'h1', 1500) r),
    '(captured,partially_redeemed,1500,3500,1000)', 'a part of the hold; the rest is free');
SELECT throws_ok(format('SELECT certificates.capture(%L)', :'h1'), 'PT409', NULL, 'captured once');
SELECT throws_ok(format('SELECT certificates.release_hold(%L)', :'h1'), 'PT409', NULL, 'and no longer released');
SELECT is((SELECT r.available_minor FROM certificates.release_hold(:'h2') r), 3500::bigint, 'released');
SELECT throws_ok(format('SELECT certificates.capture(%L)', :'h2'), 'PT409', NULL, 'a released hold is gone');
SELECT throws_ok($$ SELECT certificates.capture('00000000-0000-0000-0000-000000000000') $$, 'PT404', NULL, 'an unknown hold');
SELECT is(pg_temp.events(:'b'), 'certificate.reserved certificate.issued redemption.authorized redemption.authorized certificate.partially_redeemed redemption.captured redemption.released', 'told');

-- holds end by themselves
SELECT certificates.authorize(:'b', 3500, NULL, '1 hour') AS h3 \gset
RESET ROLE;
SELECT set_config('backoffice.frozen_now', (now() + interval '61 minutes')::text, true);
SET LOCAL ROLE backoffice_service;
SELECT throws_ok(format('SELECT certificates.capture(%L)', :'h3'), 'PT409', 'the hold is not open', 'too late to capture');
SELECT is((SELECT r.balance_minor FROM certificates.redeem(:'b', 1000) r), 2500::bigint, 'its money is free again, keeper or not');
SELECT is((SELECT state FROM certificates.redemptions WHERE id = :'h3'), 'expired', 'the hold has ended');

-- block
SELECT certificates.authorize(:'b', 500) AS h4 \gset
SELECT is(certificates.block(:'b', 'stolen'), 'partially_redeemed', 'blocked');
SELECT is(certificates.block(:'b'), 'partially_redeemed', 'twice is once');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'b'), 'PT409', 'the certificate is blocked', 'pays nothing');
SELECT throws_ok(format('SELECT certificates.capture(%L)', :'h4'), 'PT409', 'the certificate is blocked', 'not even for a hold');
SELECT is((SELECT r.state FROM certificates.refund(:'b', 500) r), 'blocked', 'but takes money back');
SELECT is(certificates.unblock(:'b'), 'partially_redeemed', 'returns to the state before');
SELECT throws_ok(format('SELECT certificates.unblock(%L)', :'b'), 'PT409', NULL, 'unblocked once');
SELECT is((SELECT r.balance_minor FROM certificates.capture(:'h4') r), 2500::bigint, 'the hold is good again');

-- activation
SELECT pg_temp.sold('card') AS c \gset
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'c'), 'PT409', 'the certificate can''t be redeemed', 'to be activated first');
SELECT is(certificates.activate(:'c'), 'active', 'activated');
SELECT is(certificates.activate(:'c'), 'active', 'twice is once');
SELECT lives_ok(format('SELECT certificates.redeem(%L, 1)', :'c'), 'pays');

-- validity
SELECT pg_temp.sold() AS d \gset
SELECT certificates.block(:'d');
RESET ROLE;
SELECT set_config('backoffice.frozen_now', (now() + interval '2 years')::text, true);
SET LOCAL ROLE backoffice_service;
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'c'), 'PT409', 'the certificate has expired', 'expired, keeper or not');
SELECT is(certificates.unblock(:'d'), 'expired', 'validity ended while it was blocked');
SELECT throws_ok(format('SELECT certificates.extend(%L, now())', :'d'), '22023', NULL, 'extended into the past');
SELECT throws_ok(format('SELECT certificates.extend(%L, %L)', :'d', 'infinity'), '22023', NULL, 'or for ever');
SELECT is(certificates.extend(:'d', backoffice.now() + interval '1 day'), 'active', 'extended');
SELECT is((SELECT r.balance_minor FROM certificates.redeem(:'d', 1) r), 4999::bigint, 'pays again');

-- the purchase ends
SELECT throws_ok(format('SELECT certificates.refund_purchase(%L)', :'d'), 'PT409', NULL, 'not of a used one');
SELECT pg_temp.sold() AS e \gset
SELECT certificates.authorize(:'e', 1) AS h5 \gset
SELECT throws_ok(format('SELECT certificates.refund_purchase(%L)', :'e'), 'PT409', 'the certificate was used', 'not with open holds');
SELECT certificates.release_hold(:'h5');
SELECT is(certificates.refund_purchase(:'e', 'returned'), 'refunded', 'refunded');
SELECT is(certificates.refund_purchase(:'e'), 'refunded', 'twice is once');
SELECT is(pg_temp.money(:'e'), 'refunded 0/0', 'worth nothing');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'e'), 'PT409', NULL, 'pays nothing');
SELECT pg_temp.sold() AS f \gset
SELECT is(certificates.void_purchase(:'f'), 'voided', 'voided');

-- replacement
SELECT certificates.extend(:'b', backoffice.now() + interval '1 day');
SELECT certificates.replace(:'b', 'lost') AS g \gset
SELECT is(pg_temp.money(:'b') || ', ' || pg_temp.money(:'g'), 'replaced 0/0, issued 2500/2500', 'the money moves to the successor');
SELECT is((SELECT replaced_by FROM certificates.certificates WHERE id = :'b'), :'g'::uuid, 'which is linked');
SELECT throws_ok(format('SELECT certificates.replace(%L)', :'b'), 'PT409', NULL, 'once');

-- an empty pool is answered, not raised: what tells of it is committed
SELECT certificates.create_pool('thin', 'EUR', 1000) AS thin \gset
SELECT certificates.generate_codes('thin', 1);
SELECT pg_temp.sold('thin') AS t \gset
SELECT is(certificates.replace(:'t', 'lost'), NULL::uuid, 'no successor in an empty pool');
SELECT is(pg_temp.money(:'t'), 'issued 1000/1000', 'the certificate stays as it is');
RESET ROLE;
SELECT is((SELECT string_agg(payload #>> '{payload,reason}', ' ') FROM events.log WHERE key = :'thin' AND type = 'issue.blocked'), 'pool_empty', 'issue.blocked is told');
SET LOCAL ROLE backoffice_service;
SELECT certificates.generate_codes('thin', 1);
SELECT certificates.replace(:'t', 'lost') AS u \gset
SELECT is(pg_temp.money(:'t') || ', ' || pg_temp.money(:'u'), 'replaced 0/0, issued 1000/1000', 'with a certificate in the pool it is replaced');

-- what comes back to life after its validity expires at once; what was never activated is not by extension
RESET ROLE;
SELECT set_config('backoffice.frozen_now', '', true);
SET LOCAL ROLE backoffice_service;
SELECT certificates.generate_codes('gift', 20), certificates.generate_codes('card', 3);
SELECT pg_temp.sold() AS l1, pg_temp.sold() AS l2, pg_temp.sold('card') AS l3, pg_temp.sold('card') AS l4, pg_temp.sold() AS l5, pg_temp.sold() AS l7, pg_temp.sold() AS l8 \gset
SELECT certificates.redeem(:'l8', 1);
SELECT certificates.redeem(:'l1', 5000);
SELECT certificates.block(:'l2');
SELECT certificates.activate(:'l4');
RESET ROLE;
SELECT set_config('backoffice.frozen_now', (now() + interval '2 years')::text, true);
SELECT pg_temp.events(:'l1'), pg_temp.events(:'l2');
SET LOCAL ROLE backoffice_service;
SELECT is((SELECT r.state FROM certificates.refund(:'l1', 1000) r), 'expired', 'money given back to a redeemed one after its validity');
SELECT is(pg_temp.money(:'l1'), 'expired 1000/1000', 'is there, and expired');
SELECT is(pg_temp.events(:'l1'), 'certificate.restored certificate.expired redemption.refunded', 'both steps are told');
SELECT certificates.replace(:'l2') AS l6 \gset
SELECT is(pg_temp.money(:'l2') || ', ' || pg_temp.money(:'l6'), 'replaced 0/0, expired 5000/5000', 'the successor of a blocked one whose validity is over expires at once');
RESET ROLE;
UPDATE certificates.certificates SET state = 'expired' WHERE id IN (:'l3', :'l4', :'l5', :'l7', :'l8');
SET LOCAL ROLE backoffice_service;
SELECT is(certificates.extend(:'l3', backoffice.now() + interval '1 day'), 'issued', 'one that was never activated is issued again');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 1)', :'l3'), 'PT409', 'the certificate can''t be redeemed', 'and pays nothing yet');
SELECT is(certificates.activate(:'l3'), 'active', 'until it is activated');
SELECT is(certificates.extend(:'l4', backoffice.now() + interval '1 day'), 'active', 'one that was, is active');
SELECT is(certificates.extend(:'l5', backoffice.now() + interval '1 day'), 'active', 'and so is one that needs no activation');
SELECT is(certificates.refund_purchase(:'l7'), 'refunded', 'the purchase of one that expired unused can be undone');
SELECT throws_ok(format('SELECT certificates.void_purchase(%L)', :'l8'), 'PT409', 'the certificate was used', 'of one that was used before, not');

-- a key's arguments are all of them
SELECT certificates.authorize(:'l5', 10, 'all-args', interval '1 hour', 'pos', 'O') AS h9 \gset
SELECT is(certificates.authorize(:'l5', 10, 'all-args', interval '1 hour', 'pos', 'O'), :'h9'::uuid, 'the same again');
SELECT throws_ok(format('SELECT certificates.authorize(%L, 10, %L, interval %L, %L, %L)', :'l5', 'all-args', '1 year', 'pos', 'O'), 'PT409', NULL, 'another ttl');
SELECT throws_ok(format('SELECT certificates.authorize(%L, 10, %L, interval %L, %L, %L)', :'l5', 'all-args', '1 hour', 'web', 'O'), 'PT409', NULL, 'another channel');
SELECT certificates.redeem(:'l5', 10, 'all-args', 'pos', 'O');
SELECT throws_ok(format('SELECT certificates.redeem(%L, 10, %L, %L, %L)', :'l5', 'all-args', 'web', 'O'), 'PT409', NULL, 'another channel of a redemption');
SELECT certificates.refund(:'l5', 10, 'all-args', reason => 'a');
SELECT throws_ok(format('SELECT certificates.refund(%L, 10, %L, reason => %L)', :'l5', 'all-args', 'b'), 'PT409', NULL, 'another reason of a refund');

-- times beyond the calendar
SELECT throws_ok(format('SELECT certificates.authorize(%L, 10, ttl => interval %L)', :'l5', '400000 years'), '22023', NULL, 'a hold beyond the calendar');

-- other tenants, other rights
SELECT throws_ok($$ SELECT certificates.redeem('00000000-0000-0000-0000-000000000000', 1) $$, 'PT404', NULL, 'an unknown certificate');
SELECT throws_ok($$ SELECT certificates.redeem(NULL, 1) $$, '22023', NULL, 'NULL');
RESET ROLE;
SELECT is((SELECT count(*) FROM events.log WHERE organization_id = :'org' AND (payload ->> 'eventId')::uuid <> id), 0::bigint, 'an envelope''s eventId is the event''s id');
SELECT throws_ok(format('UPDATE certificates.certificates SET balance_minor = -1 WHERE id = %L', :'g'), '23514', NULL, 'no balance below zero, whoever writes');
SELECT throws_ok(format('UPDATE certificates.certificates SET held_minor = balance_minor + 1 WHERE id = %L', :'g'), '23514', NULL, 'no holds beyond the balance');
SELECT * FROM finish();
ROLLBACK;
