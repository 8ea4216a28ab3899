BEGIN;
SELECT plan(85);
SET LOCAL ROLE backoffice_service;
SELECT access.create_organization('Retail') AS org \gset
SELECT access.act_as(:'org');
SELECT certificates.create_pool('gift', 'EUR', 1000), certificates.create_pool('rare', 'EUR', 500);
SELECT certificates.generate_codes('gift', 1500);
RESET ROLE;

CREATE FUNCTION pg_temp.line(id text, amount int, more jsonb DEFAULT '{"pool": "gift"}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('lineId', id, 'amount', jsonb_build_object('minor', amount, 'currency', 'EUR')) || more $$;
CREATE FUNCTION pg_temp.sale(version int, status text, lines jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('topic', 'All_SalesOrder', 'orderId', '?', 'channel', 'internet_store', 'status', status, 'version', version,
                              'customer', '{"clientId": "c1"}'::jsonb, 'lines', lines) $$;
CREATE FUNCTION pg_temp.pay(id text, type text, amount int, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('topic', 'All_Payments', 'paymentId', id, 'orderId', '?', 'type', type, 'status', 'succeeded',
                              'amount', jsonb_build_object('minor', amount, 'currency', 'EUR')) || more $$;
-- Handles messages in this order, as order n; answers what came of it.
CREATE FUNCTION pg_temp.run(n int, messages jsonb[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    m jsonb;
BEGIN
    FOREACH m IN ARRAY messages LOOP
        m := m || jsonb_build_object('orderId', 'order ' || n);
        IF m ? 'paymentId' THEN
            m := m || jsonb_build_object('paymentId', n || ' ' || (m ->> 'paymentId'));
        END IF;
        PERFORM certificates.handle_message(m ->> 'topic', m - 'topic');
    END LOOP;
    RETURN pg_temp.outcome('order ' || n);
END $$;
CREATE FUNCTION pg_temp.outcome(ref text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s: %s issued, %s refunded, %s pending, %s errors', o.state,
        (SELECT count(*) FROM certificates.order_units u JOIN certificates.certificates c ON c.id = u.certificate_id
         WHERE u.order_ref = o.order_ref AND u.state = 'issued' AND c.state = 'issued' AND c.order_ref = o.order_ref),
        (SELECT count(*) FROM certificates.order_units u WHERE u.order_ref = o.order_ref AND u.state = 'refunded'),
        (SELECT count(*) FROM certificates.pending_refunds r WHERE r.order_ref = o.order_ref AND r.resolved_at IS NULL),
        (SELECT count(*) FROM events.log l WHERE l.type = 'error' AND l.payload #>> '{payload,orderRef}' = o.order_ref))
    FROM certificates.orders o WHERE o.order_ref = outcome.ref $$;
-- Every order of arrival ends the same.
CREATE SEQUENCE pg_temp.order_number;
CREATE FUNCTION pg_temp.all_orders(messages jsonb[], expected text, what text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    outcomes text[];
BEGIN
    WITH RECURSIVE p (chosen) AS (
        SELECT ARRAY[i] FROM generate_subscripts(messages, 1) i
        UNION ALL SELECT chosen || i FROM p, generate_subscripts(messages, 1) i WHERE i <> ALL (chosen))
    SELECT array_agg(DISTINCT pg_temp.run(nextval('pg_temp.order_number')::int, ARRAY(SELECT messages[i] FROM unnest(chosen) WITH ORDINALITY c (i, k) ORDER BY k)))
    INTO outcomes FROM p WHERE cardinality(chosen) = cardinality(messages);
    RETURN NEXT is(outcomes, ARRAY[expected], what || ', in any order');
END $$;
GRANT USAGE ON SEQUENCE pg_temp.order_number TO backoffice_definer;
GRANT SELECT ON events.log TO backoffice_definer;
SET LOCAL ROLE backoffice_definer;

-- every order of arrival
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 2000, '{"pool": "gift", "quantity": 2}'))),
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 2000, '{"pool": "gift", "quantity": 2}'))),
    pg_temp.pay('p1', 'capture', 3000), pg_temp.pay('p1', 'capture', 3000)],
    'fulfilled: 3 issued, 0 refunded, 0 pending, 0 errors', 'an order and its payment, each twice');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('socks', 300, '{"sku": "socks"}'))),
    pg_temp.pay('p1', 'authorization', 1300), pg_temp.pay('p1c', 'capture', 1300)],
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a correction that drops a certificate');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('a', 2000, '{"pool": "gift", "quantity": 2}'))),
    pg_temp.pay('p1', 'capture', 1000), pg_temp.pay('p2', 'capture', 1000)],
    'fulfilled: 2 issued, 0 refunded, 0 pending, 0 errors', 'a correction that adds a certificate, paid in two parts');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))),
    pg_temp.sale(2, 'cancelled', '[]'),
    pg_temp.pay('p1', 'capture', 2000), pg_temp.pay('r1', 'refund', 2000)],
    'cancelled: 0 issued, 2 refunded, 0 pending, 0 errors', 'a cancellation without lines, and the money back');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.sale(2, 'cancelled', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.pay('p1', 'authorization', 1000), pg_temp.pay('x1', 'cancel', 1000)],
    'cancelled: 0 issued, 0 refunded, 0 pending, 0 errors', 'a cancellation before any capture');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))),
    pg_temp.pay('p1', 'capture', 2000),
    pg_temp.pay('r1', 'refund', 1000, '{"refund": {"lineIds": ["b"]}}'), pg_temp.pay('r1', 'refund', 1000, '{"refund": {"lineIds": ["b"]}}')],
    'fulfilled: 1 issued, 1 refunded, 0 pending, 0 errors', 'a partial refund that says of what, twice');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))),
    pg_temp.pay('p1', 'capture', 2000),
    pg_temp.pay('r1', 'refund', 1000), pg_temp.pay('r1', 'refund', 1000, '{"refund": {"lineIds": ["b"]}}')],
    'fulfilled: 1 issued, 1 refunded, 0 pending, 0 errors', 'a partial refund whose details come separately');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))),
    pg_temp.pay('p1', 'capture', 2000),
    pg_temp.pay('r1', 'refund', 1000), pg_temp.pay('r2', 'refund', 1000, '{"refund": {"lineIds": ["a"]}}')],
    'refunded: 0 issued, 2 refunded, 0 pending, 0 errors', 'two refunds, of which one explains the other');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.pay('p1', 'capture', 1000, '{"status": "pending"}'), pg_temp.pay('p1', 'capture', 1000), pg_temp.pay('p2', 'capture', 1000, '{"status": "failed"}')],
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a payment that was pending, and one that failed');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('socks', 300, '{}'))),
    pg_temp.pay('p1', 'capture', 1300), pg_temp.pay('r1', 'refund', 300, '{"refund": {"lineIds": ["socks"]}}')],
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a refund of other goods');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('socks', 300, '{}'))), pg_temp.pay('p1', 'capture', 1300),
    pg_temp.pay('r1', 'refund', 300, '{"refund": {"lineIds": ["socks"]}}'), pg_temp.pay('r2', 'refund', 300, '{"refund": {"lineIds": ["socks"]}}')],
    'fulfilled: 1 issued, 0 refunded, 1 pending, 0 errors', 'two refunds of the same other goods: the second waits');
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p1', 'capture', 999)],
    'open: 0 issued, 0 refunded, 0 pending, 0 errors', 'not paid in full');

SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.sale(2, 'cancelled', '[]'),
    pg_temp.pay('p1', 'capture', 1000), pg_temp.pay('r1', 'refund', 900)],
    'cancelled: 0 issued, 0 refunded, 0 pending, 0 errors', 'a cancellation for a fee');

-- certificates that the channel reserved itself
RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT id AS mine FROM certificates.reserve_next('gift', 'internet_store') \gset
SELECT id AS lapsed FROM certificates.reserve_next('gift', 'internet_store') \gset
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9001, ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'mine')))),
    pg_temp.pay('p1', 'capture', 1000)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a reserved certificate is issued');
SELECT is((SELECT format('%s %s %s', state, order_ref, client_ref) FROM certificates.certificates WHERE id = :'mine'), 'issued order 9001 c1', 'that very one');
SELECT ok((SELECT notification_requested_at IS NOT NULL AND disclosed_at IS NULL FROM certificates.certificates WHERE id = :'mine'), 'CRM is asked to notify; the code was not shown to anybody');
SELECT is(pg_temp.run(9002, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'mine', 'pool', 'gift')))),
    pg_temp.pay('p1', 'capture', 1000)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'one that is another order''s: the order gets another');
SELECT is((SELECT order_ref FROM certificates.certificates WHERE id = :'mine'), 'order 9001', 'and the first keeps its own');
SELECT is((SELECT count(*) FROM events.log WHERE type = 'alert' AND payload ->> 'status' = 'certificate_not_reserved:' || :'mine'), 1::bigint, 'which is told');
SELECT certificates.release(:'lapsed');
SELECT is(pg_temp.run(9003, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'lapsed', 'pool', 'gift')))),
    pg_temp.pay('p1', 'capture', 1000)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a hold that lapsed: another one is reserved');
SELECT is(pg_temp.run(9004, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, '{"certificateId": "00000000-0000-0000-0000-000000000000", "pool": "gift"}'))),
    pg_temp.pay('p1', 'capture', 1000)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'one that does not exist: another one');

RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT certificates.create_pool('single', 'EUR', 1000), certificates.generate_codes('single', 1);
SELECT id AS single FROM certificates.reserve_next('single', 'internet_store') \gset
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9005, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'single'))))]),
    'open: 0 issued, 0 refunded, 0 pending, 0 errors', 'an order holds the last one');
SELECT certificates.release(:'single');
SELECT is(pg_temp.run(9006, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, '{"pool": "single"}'))), pg_temp.pay('p1', 'capture', 1000)]),
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'when the hold lapsed, who pays first gets it');
SELECT is(pg_temp.run(9005, ARRAY[pg_temp.pay('p1', 'capture', 1000)]), 'blocked: 0 issued, 0 refunded, 0 pending, 0 errors', 'who pays later waits for the pool');

-- a pool that runs dry
SELECT is(pg_temp.run(9010, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 500, '{"pool": "rare"}'), pg_temp.line('b', 1000))), pg_temp.pay('p1', 'capture', 1500)]),
    'blocked: 1 issued, 0 refunded, 0 pending, 0 errors', 'an empty pool: what can be issued is');
SELECT is((SELECT count(*) FROM events.log WHERE type = 'issue.blocked' AND payload #>> '{payload,orderRef}' = 'order 9010'), 1::bigint, 'issue.blocked');
SELECT is(pg_temp.run(9010, ARRAY['{"topic": "certificates.commands"}'::jsonb]), 'blocked: 1 issued, 0 refunded, 0 pending, 0 errors', 'tried again: still');
SELECT is((SELECT count(*) FROM events.log WHERE type = 'issue.blocked' AND payload #>> '{payload,orderRef}' = 'order 9010'), 1::bigint, 'and not told again');
RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT certificates.generate_codes('rare', 1);
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9010, ARRAY['{"topic": "certificates.commands"}'::jsonb]), 'fulfilled: 2 issued, 0 refunded, 0 pending, 0 errors', 'the pool was filled');

-- used certificates
RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT certificates.redeem(:'mine', 400, 'spend');
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
SELECT pg_temp.run(9001, ARRAY[pg_temp.pay('r1', 'refund', 1000)]);
SELECT is((SELECT missing FROM certificates.pending_refunds WHERE payment_ref = '9001 r1'), 'unused', 'a refund of a used certificate waits');
SELECT is((SELECT payload ->> 'status' FROM events.log WHERE type = 'refund.pendingDetails' AND payload #>> '{payload,paymentRef}' = '9001 r1'), 'pending', 'which is told, with what is missing');
RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT certificates.refund(:'mine', 400);
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9001, ARRAY['{"topic": "certificates.commands"}'::jsonb]), 'refunded: 0 issued, 1 refunded, 0 pending, 0 errors', 'once its money is back, the purchase is refunded');
SELECT is((SELECT payload #> '{payload,certificateIds}' FROM events.log WHERE type = 'refund' AND payload #>> '{payload,paymentRef}' = '9001 r1'), jsonb_build_array(:'mine'), 'refund names the certificates');

-- certificates whose validity ended unused: nothing was taken from them
SELECT is(pg_temp.run(9011, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1000)]),
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'sold');
SELECT pg_temp.run(9012, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1000)]);
SELECT certificate_id AS late FROM certificates.order_units WHERE order_ref = 'order 9011' \gset
SELECT certificate_id AS later FROM certificates.order_units WHERE order_ref = 'order 9012' \gset
RESET ROLE;
UPDATE certificates.certificates SET state = 'expired' WHERE id IN (:'late', :'later');
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9011, ARRAY[pg_temp.pay('r', 'refund', 1000)]), 'refunded: 0 issued, 1 refunded, 0 pending, 0 errors', 'the refund of an expired one waits for nothing');
SELECT is((SELECT state || ' ' || balance_minor FROM certificates.certificates WHERE id = :'late'), 'refunded 0', 'which is worth nothing, and nobody extends it any more');
SELECT is(pg_temp.run(9012, ARRAY[pg_temp.sale(2, 'cancelled', '[]')]), 'cancelled: 0 issued, 0 refunded, 0 pending, 0 errors', 'the order of another is cancelled');
SELECT is((SELECT state || ' ' || balance_minor FROM certificates.certificates WHERE id = :'later'), 'voided 0', 'and it with the order');
SELECT is((SELECT alerts FROM certificates.orders WHERE order_ref = 'order 9012'), ARRAY['alert:refund_due'], 'none of them was used');

-- a payment that is final one way and then the other
SELECT is(pg_temp.run(9013, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1000, '{"status": "failed"}'),
    pg_temp.pay('p', 'capture', 1000)]), 'open: 0 issued, 0 refunded, 0 pending, 1 errors', 'failed, then succeeded: the first counts, and it is told');
SELECT is(pg_temp.run(9014, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1000, '{"status": "pending"}'),
    pg_temp.pay('p', 'capture', 1000), pg_temp.pay('p', 'capture', 1000, '{"status": "pending"}')]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'pending, before or late, contradicts nothing');

-- corrections that move a line
RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT certificates.create_pool('small', 'EUR', 500), certificates.generate_codes('small', 40);
SELECT id AS first FROM certificates.reserve_next('gift', 'internet_store') \gset
SELECT id AS second FROM certificates.reserve_next('gift', 'internet_store') \gset
SELECT id AS third FROM certificates.reserve_next('gift', 'internet_store') \gset
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
CREATE FUNCTION pg_temp.pools_of(pattern text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(DISTINCT p.code || ' ' || c.state, ', ') FROM certificates.orders o JOIN certificates.order_units u ON u.order_ref = o.order_ref
    JOIN certificates.certificates c ON c.id = u.certificate_id JOIN certificates.pools p ON p.id = c.pool_id WHERE o.order_ref ~ pattern $$;
SELECT nextval('pg_temp.order_number') + 1 AS moved \gset
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('a', 500, '{"pool": "small"}'))),
    pg_temp.pay('p1', 'capture', 1000)],
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a correction to another pool');
SELECT is((SELECT string_agg(DISTINCT pg_temp.pools_of('^order ' || n || '$'), '; ') FROM generate_series(:moved, :moved + 5) n), 'small issued', 'the certificates are of that pool');
SELECT is(pg_temp.run(9101, ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'first')))),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('a', 500, '{"pool": "small"}'))),
    pg_temp.pay('p1', 'capture', 500)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a correction to another pool of what the channel had reserved');
SELECT is((SELECT format('%s; %s', pg_temp.pools_of('^order 9101$'), state) FROM certificates.certificates WHERE id = :'first'), 'small issued; available', 'what it had goes back');
SELECT pg_temp.run(9102, ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'second')))),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('a', 1000, jsonb_build_object('certificateId', :'third'))))]);
SELECT is((SELECT string_agg(state, ', ' ORDER BY id = :'third') FROM certificates.certificates WHERE id IN (:'second', :'third')), 'available, reserved', 'a correction to another certificate: the first goes back');

-- money that went back pays nothing
SELECT pg_temp.all_orders(ARRAY[
    pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('a', 1000))),
    pg_temp.pay('p1', 'capture', 2000), pg_temp.pay('r1', 'refund', 1000)],
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'a correction, and the difference back: what is left of the order stays');
SELECT is(pg_temp.run(9110, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p1', 'capture', 1000), pg_temp.pay('r1', 'refund', 1000),
    pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('b', 1000)))]), 'open: 0 issued, 1 refunded, 0 pending, 0 errors', 'refunded, then corrected: not paid any more');
SELECT is((SELECT alerts FROM certificates.orders WHERE order_ref = 'order 9110'), ARRAY['alert:underpaid'], 'which alerts');
SELECT is(pg_temp.run(9110, ARRAY[pg_temp.pay('p2', 'capture', 1000)]), 'fulfilled: 1 issued, 1 refunded, 0 pending, 0 errors', 'paid anew, it is issued');
SELECT is((SELECT alerts FROM certificates.orders WHERE order_ref = 'order 9110'), ARRAY['alert:underpaid'], 'and not called overpaid');
SELECT is(pg_temp.run(9111, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p1', 'capture', 1000), pg_temp.pay('p2', 'capture', 1000),
    pg_temp.pay('r1', 'refund', 1000)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'paid twice, once given back: the certificate stays');
SELECT is(pg_temp.run(9111, ARRAY[pg_temp.pay('r2', 'refund', 1000)]), 'refunded: 0 issued, 1 refunded, 0 pending, 0 errors', 'until the rest is given back');
SELECT is(pg_temp.run(9112, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))), pg_temp.pay('p1', 'capture', 2000),
    pg_temp.pay('r1', 'refund', 1000, '{"refund": {"lineIds": ["a"]}}'), pg_temp.sale(2, 'changed', jsonb_build_array(pg_temp.line('b', 1000)))]),
    'fulfilled: 1 issued, 1 refunded, 0 pending, 0 errors', 'a part refunded, then taken out of the order');
SELECT is((SELECT alerts FROM certificates.orders WHERE order_ref = 'order 9112'), '{}', 'nothing is overpaid');
SELECT is(pg_temp.run(9112, ARRAY[pg_temp.pay('r2', 'refund', 1000)]), 'refunded: 0 issued, 2 refunded, 0 pending, 0 errors', 'and the rest refunded');
SELECT is(pg_temp.run(9113, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('socks', 300, '{}'))), pg_temp.pay('p1', 'capture', 300), pg_temp.pay('r1', 'refund', 300)]),
    'fulfilled: 0 issued, 0 refunded, 0 pending, 0 errors', 'other goods alone, refunded: nothing waits, nothing is missing');
SELECT is((SELECT alerts FROM certificates.orders WHERE order_ref = 'order 9113'), '{}', 'nor told');

-- what has become of the certificates since: replaced, perhaps more than once
SELECT pg_temp.run(n, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), pg_temp.line('b', 1000))), pg_temp.pay('p1', 'capture', 2000)]) FROM generate_series(9120, 9123) n;
CREATE FUNCTION pg_temp.unit(n int) RETURNS uuid LANGUAGE sql AS $$ SELECT certificate_id FROM certificates.order_units WHERE order_ref = 'order ' || n AND line_id = 'a' $$;
RESET ROLE;
SET LOCAL ROLE backoffice_service;
SELECT certificates.replace(certificates.replace(pg_temp.unit(9120))) AS heir \gset
SELECT certificates.replace(pg_temp.unit(9121)) AS second_heir \gset
SELECT certificates.replace(pg_temp.unit(9122)) AS third_heir \gset
SELECT certificates.replace(pg_temp.unit(9123)) AS fourth_heir \gset
SELECT certificates.redeem(:'fourth_heir', 1);
RESET ROLE;
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9120, ARRAY[pg_temp.pay('r', 'refund', 2000)]), 'refunded: 0 issued, 2 refunded, 0 pending, 0 errors', 'the refund of a replaced certificate finds its successor''s successor');
SELECT is((SELECT state FROM certificates.certificates WHERE id = :'heir'), 'refunded', 'which ends');
SELECT ok((SELECT payload #> '{payload,certificateIds}' ? :'heir' FROM events.log WHERE type = 'refund' AND payload #>> '{payload,paymentRef}' = '9120 r'), 'and is named');
SELECT is(pg_temp.run(9121, ARRAY[pg_temp.pay('r', 'refund', 1000, jsonb_build_object('refund', jsonb_build_object('certificateIds', ARRAY[pg_temp.unit(9121)])))]),
    'fulfilled: 1 issued, 1 refunded, 0 pending, 0 errors', 'a refund names the certificate that was replaced');
SELECT is(pg_temp.run(9122, ARRAY[pg_temp.pay('r', 'refund', 1000, jsonb_build_object('refund', jsonb_build_object('certificateIds', ARRAY[:'third_heir'])))]),
    'fulfilled: 1 issued, 1 refunded, 0 pending, 0 errors', 'or its successor');
SELECT is((SELECT string_agg(state, ', ') FROM certificates.certificates WHERE id IN (:'second_heir', :'third_heir')), 'refunded, refunded', 'both mean the successor');
SELECT is(pg_temp.run(9123, ARRAY[pg_temp.sale(2, 'cancelled', '[]')]), 'cancelled: 0 issued, 0 refunded, 0 pending, 0 errors', 'a successor that was used');
SELECT is((SELECT alerts FROM certificates.orders WHERE order_ref = 'order 9123'), ARRAY['alert:certificate_used:' || :'fourth_heir', 'alert:refund_due'], 'is told by its own id');

-- what can't be understood
SELECT is(pg_temp.run(9020, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000), '{"lineId": "b", "pool": "gift", "amount": {"minor": 5, "currency": "USD"}}'::jsonb))]), NULL, 'an order in two currencies');
SELECT is((SELECT payload ->> 'status' FROM events.log WHERE type = 'error' AND payload #>> '{payload,orderRef}' = 'order 9020'), 'rejected', 'is an error on the stream, and nothing else');
SELECT is(pg_temp.run(9025, ARRAY['{"topic": "All_SalesOrder", "channel": "pos", "status": "created", "version": 1.0,
    "lines": [{"lineId": "a", "pool": "gift", "quantity": 1.0, "amount": {"minor": 1000.00, "currency": "EUR"}}]}', pg_temp.pay('p', 'capture', 1000, '{"amount": {"minor": 1000.0, "currency": "EUR"}}')]::jsonb[]),
    'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'whole numbers are whole however they are written');
SELECT is(pg_temp.run(9021, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000, '{"pool": "nope"}'))), pg_temp.pay('p', 'capture', 1000)]), 'blocked: 0 issued, 0 refunded, 0 pending, 0 errors', 'an unknown pool blocks');
SELECT is((SELECT count(*) FROM events.log WHERE type = 'alert' AND payload ->> 'status' = 'no_such_pool:nope'), 1::bigint, 'and alerts');
SELECT is(pg_temp.run(9022, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1000, '{"amount": {"minor": 1000, "currency": "USD"}}')]), 'open: 0 issued, 0 refunded, 0 pending, 0 errors', 'another currency pays nothing');
SELECT is(pg_temp.run(9023, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1500)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 0 errors', 'too much');
SELECT is((SELECT array_agg(payload ->> 'status' ORDER BY payload ->> 'status') FROM events.log WHERE type = 'alert' AND payload #>> '{payload,orderRef}' IN ('order 9022', 'order 9023')), '{overpaid,"payment_currency:9022 p"}', 'both alert');
SELECT is(pg_temp.run(9023, ARRAY[pg_temp.pay('p', 'capture', 7)]), 'fulfilled: 1 issued, 0 refunded, 0 pending, 1 errors', 'the same payment with another amount');
SELECT is(pg_temp.run(9024, ARRAY[pg_temp.pay('r', 'refund', 7)]), 'expected: 0 issued, 0 refunded, 1 pending, 0 errors', 'a refund of an unknown order waits');
SELECT lives_ok($$ SELECT certificates.handle_message('All_Clients', '{"clientId": "c1", "version": 2, "contacts": {"email": "a@example.org"}}'),
    certificates.handle_message('All_Clients', '{"clientId": "c1", "version": 1}') $$, 'clients');
SELECT is((SELECT contacts ->> 'email' FROM certificates.clients), 'a@example.org', 'the newest word counts');
RESET ROLE;
CREATE FUNCTION pg_temp.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken' USING errcode = TG_ARGV[0]; END $$;
CREATE TRIGGER fail BEFORE INSERT ON certificates.order_units FOR EACH ROW EXECUTE FUNCTION pg_temp.fail('22000');
SET LOCAL ROLE backoffice_definer;
SELECT is(pg_temp.run(9030, ARRAY[pg_temp.sale(1, 'created', jsonb_build_array(pg_temp.line('a', 1000))), pg_temp.pay('p', 'capture', 1000)]),
    'expected: 0 issued, 0 refunded, 0 pending, 2 errors', 'certificates that can''t follow: told');
RESET ROLE;
DROP TRIGGER fail ON certificates.order_units;
CREATE TRIGGER fail BEFORE INSERT ON certificates.order_units FOR EACH ROW EXECUTE FUNCTION pg_temp.fail('40P01');
SET LOCAL ROLE backoffice_definer;
SELECT throws_ok($$ SELECT certificates.handle_message('certificates.commands', '{"orderId": "order 9030"}') $$, '40P01', NULL, 'what may pass is raised for the dispatcher');
RESET ROLE;
DROP TRIGGER fail ON certificates.order_units;
SET LOCAL ROLE backoffice_service;
SELECT is(certificates.retry_order('order 9030'), 'fulfilled', 'nothing was forgotten');
SELECT throws_ok($$ SELECT certificates.retry_order('nope') $$, 'PT404', 'there is no such order');
RESET ROLE;
SELECT is_empty('SELECT * FROM certificates.discrepancies', 'every balance follows from its redemptions');
SELECT is((SELECT count(*) FROM certificates.certificates c WHERE c.state = 'issued'
    AND NOT EXISTS (SELECT FROM certificates.order_units u WHERE u.certificate_id = c.id AND u.state = 'issued')), 0::bigint, 'every issued certificate is some unit''s');
SELECT throws_ok($$ SELECT events.emit('All_SalesOrder', 'o', 'All_SalesOrder', '{"orderId": "o"}') $$, NULL, NULL, 'the topic''s schema refuses what has no lines');
SELECT * FROM finish();
ROLLBACK;
