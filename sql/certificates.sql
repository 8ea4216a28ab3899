-- Gift certificates, from the pool to the client. Ids are hidden: they differ from run to run.
CREATE EXTENSION IF NOT EXISTS backoffice;
SELECT access.create_organization('Flowers') AS organization \gset
BEGIN;
SELECT access.act_as(:'organization');

-- A pool of certificates of 50 EUR, valid a year from issue on; to be told when two are left.
SELECT certificates.create_pool('gift', 'EUR', 5000, low_water => 2) IS NOT NULL AS created;
SELECT certificates.import_codes('gift', ARRAY['GIFT-0000-0001', 'GIFT-0000-0002', 'GIFT-0000-0003'], ARRAY['1234', '2345', '3456']);
-- All or none; bad rows are named by their numbers.
SAVEPOINT s;
SELECT certificates.import_codes('gift', ARRAY['GIFT-0000-0004', 'gift 0000 0001', 'no!', 'GIFT-0000-0004']);
ROLLBACK TO s;

-- Reserve, and again with the same key: the same one.
SELECT * FROM certificates.reserve_next('gift', 'internet_store', 'order 1', 'key 1') \gset first_
SELECT * FROM certificates.reserve_next('gift', 'internet_store', 'order 1', 'key 1') \gset again_
SELECT :'first_status' AS status, :'first_face_value_minor' AS face_value_minor, :'first_currency' AS currency, :'first_id' = :'again_id' AS same;
SELECT certificates.reserve_next('gift', 'internet_store', 'order 2', 'key 1');
ROLLBACK TO s;
SELECT * FROM certificates.reserve_next('gift', 'internet_store', 'order 1', 'key 1') \gset first_
SELECT (certificates.reserve_next('gift', 'pos')).id AS second \gset

-- A reservation is given back; one whose code was shown is voided.
SELECT certificates.release(:'second', 'customer left');
SELECT (certificates.reserve_next('gift', 'pos')).id AS third \gset
SELECT certificates.disclose_code(:'third');
SELECT certificates.release(:'third', 'customer left');

-- The last one, and then none: an answer, not an error.
SELECT (certificates.reserve_next('gift', 'pos')).status;
SELECT (certificates.reserve_next('gift', 'pos')).status;
SELECT pool, state, created, available, reserved, issued, terminal FROM certificates.pool_status;
SELECT pool, difference FROM certificates.conservation;

-- Sold: the CRM is asked to send the CVC, and may see it.
SELECT state FROM certificates.issue(:'first_id');
SELECT certificates.request_notification(:'first_id');
SELECT certificates.reveal_cvc(:'first_id');
SELECT certificates.verify_cvc('gift oooo ooo2', '2345') AS as_typed, certificates.verify_cvc('GIFT-0000-0002', '4321') AS wrong_cvc,
       certificates.verify_cvc('GIFT-9999-9999', '2345') AS unknown_code;
COMMIT;

-- What the world was told. One stream for all: BI filters by type and channel.
SELECT type, payload ->> 'channel' AS channel, payload ->> 'status' AS status, (payload ->> 'eventId')::uuid = id AS same_id
FROM events.log WHERE payload #>> '{payload,pool}' = 'gift' ORDER BY seq;


SELECT lifecycle.diagram('certificates.pools');
