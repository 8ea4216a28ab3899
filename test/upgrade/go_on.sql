-- Life goes on after an update: each line's first column must be true.
SELECT id AS org FROM access.organizations WHERE name = 'Flowers' \gset
BEGIN;
SELECT access.act_as(:'org') \gset ignored_
SELECT order_ref = 'order-1' AND balance_minor = 3000 AND held_minor = 500, 'an old key, the old certificate' FROM certificates.certificates
WHERE id = (certificates.reserve_next('gift', 'pos', 'order-1', 'key-1')).id;
SELECT id AS sold FROM certificates.certificates WHERE order_ref = 'order-1' \gset
SELECT certificates.verify_cvc('GIFT-0000-0001', '1001'), 'an old code and its CVC';
SELECT balance_minor = 2000, 'money is taken' FROM certificates.redeem(:'sold', 1000, 'receipt-2');
SELECT balance_minor = 3000, 'a receipt of before counts once' FROM certificates.redeem(:'sold', 2000, 'receipt-1');
SELECT access.login('ann@flowers.test', 'correct horse battery staple') ->> 'status' = 'ok', 'an old password';
SELECT certificates.resume_pool('still') \gset ignored_
SELECT state = 'open', 'a paused pool is resumed' FROM certificates.pool_status WHERE pool = 'still';
SELECT bool_and((r).status = 'reserved'), 'the stock is given' FROM (SELECT certificates.reserve_next('gift', 'pos') AS r FROM generate_series(1, 6) OFFSET 0) x;
SELECT state = 'low', 'and the mark is passed' FROM certificates.pool_status WHERE pool = 'gift';
SELECT count(*) = 1, 'told once' FROM events.log WHERE type = 'pool.low' AND payload #>> '{payload,pool}' = 'gift';
SELECT certificates.import_codes('gift', ARRAY['GIFT-0001-0001']) = 1, 'codes come in';
SELECT count(events.emit('upgrade.orders', 'k1', 'order.made', '{"n": 41}')) = 1, 'events are emitted';
SELECT bool_and(difference = 0), 'nothing is lost' FROM certificates.conservation;
COMMIT;
SELECT events.unpark('upgrade-consumer', ARRAY(SELECT id FROM events.parked)) = 1, 'what was parked';
SELECT NOT events.accept('kafka', 'm1', 'All_Payments', 'A', '{"paymentId": "p1", "orderId": "A", "type": "capture", "status": "succeeded", "amount": {"minor": 5000, "currency": "EUR"}}', organization => :'org'), 'an old message is known';
