-- What a database of a release is filled with, before it is dumped for the update tests (scripts/release). Released fixtures stay as they are: this is for the next one.
SELECT access.create_organization('Flowers') AS org \gset
SELECT events.define_topic('upgrade.orders', 'order', '30 days', 2, 'out');
SELECT events.define_schema('upgrade.orders', NULL, '{"type": "object", "required": ["n"]}');

BEGIN;
SELECT access.act_as(:'org');
SELECT access.create_user('ann@flowers.test', 'correct horse battery staple') AS ann \gset
SELECT access.grant_role(:'ann', 'owner');
SELECT access.define_role('till', ARRAY['certificates.read', 'certificates.reserve']);
SELECT certificates.create_pool('gift', 'EUR', 5000, low_water => 3);
SELECT certificates.create_pool('rest', 'EUR', 2500, low_water => 1);
SELECT certificates.create_pool('still', 'EUR', 100);
SELECT certificates.import_codes('gift', ARRAY(SELECT 'GIFT-0000-' || lpad(n::text, 4, '0') FROM generate_series(1, 12) n), ARRAY(SELECT (1000 + n)::text FROM generate_series(1, 12) n));
SELECT certificates.generate_codes('rest', 3);
SELECT certificates.generate_codes('still', 2);
SELECT certificates.pause_pool('still');
-- One sold and spent in part, one held, one given back, one reserved for long, one voided.
SELECT id AS sold FROM certificates.reserve_next('gift', 'pos', 'order-1', 'key-1') \gset
SELECT certificates.issue(:'sold', client_ref => 'anna');
SELECT certificates.redeem(:'sold', 2000, 'receipt-1');
SELECT certificates.authorize(:'sold', 500, 'hold-1', '300 days') AS held \gset
SELECT (certificates.reserve_next('gift', 'pos', 'order-2', 'key-2')).id AS back \gset
SELECT certificates.release(:'back');
SELECT certificates.reserve_next('gift', 'internet_store', 'order-3', 'key-3', '300 days');
SELECT (certificates.reserve_next('gift', 'pos', 'order-4', 'key-4')).id AS shown \gset
SELECT certificates.disclose_code(:'shown');
SELECT certificates.release(:'shown');
SELECT certificates.reserve_next('rest', 'pos', 'order-5', 'key-5', '300 days'), certificates.reserve_next('rest', 'pos', 'order-6', 'key-6', '300 days');
SELECT count(events.emit('upgrade.orders', 'k' || n % 3, 'order.made', jsonb_build_object('n', n))) FROM generate_series(1, 40) n;
COMMIT;

BEGIN;
SELECT access.login('ann@flowers.test', 'correct horse battery staple') ->> 'status' AS login;
COMMIT;
SELECT events.accept('kafka', 'm1', 'All_Payments', 'A', '{"paymentId": "p1", "orderId": "A", "type": "capture", "status": "succeeded", "amount": {"minor": 5000, "currency": "EUR"}}', organization => :'org');
SELECT events.accept('kafka', 'm2', 'All_SalesOrder', 'A', '{"orderId": "A", "channel": "pos", "status": "created", "version": 1, "lines": [{"lineId": "1", "amount": {"minor": 5000, "currency": "EUR"}, "pool": "gift"}]}', organization => :'org');
SELECT events.lease('upgrade-consumer', 'one', 2);
SELECT events.advance('upgrade-consumer', 'one', ARRAY[0], ARRAY[(SELECT fence FROM events.cursors WHERE consumer = 'upgrade-consumer' AND shard = 0)],
    (SELECT max(position) FROM events.read(NULL, 20)));
SELECT events.park('upgrade-consumer', 0, e.id, e.position, e.topic, e.key, e.type, e.payload, e.headers, 'refused', e.organization_id)
FROM (SELECT * FROM events.read(NULL, 1, '{upgrade.orders}')) e;
