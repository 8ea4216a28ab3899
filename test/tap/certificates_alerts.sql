-- The handler runs in the dispatcher, so nothing here is inside one transaction; every wait is bounded.
CREATE PROCEDURE await(condition text) LANGUAGE plpgsql AS $$
DECLARE
    done boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE 'SELECT ' || condition INTO done;
        EXIT WHEN done;
        PERFORM pg_sleep(0.02);
        COMMIT;
    END LOOP;
END $$;
CREATE VIEW alerts AS
    SELECT organization_id, key, payload ->> 'status' AS status, payload -> 'payload' AS payload
    FROM events.read(NULL, 10000, ARRAY['GiftCertificates.Stream']) WHERE type = 'alert';

SELECT plan(5);
SELECT events.define_topic('elsewhere', direction => 'in') IS NOT NULL AS defined;
SELECT access.create_organization('Acme') AS acme \gset

SELECT events.park_inbound('kafka:elsewhere', 'elsewhere', 0, 1, NULL, '\x00', 'not JSON');
SELECT events.park_inbound('kafka:All_Payments', 'All_Payments', 2, 17, NULL, '\x00', 'not JSON');
CALL await('EXISTS (SELECT FROM alerts)');
SELECT is((SELECT array_agg(status || ' ' || (payload ->> 'topic') || ' ' || (payload ->> 'partition') || ' ' || (payload ->> 'offset') || ' ' || (payload ->> 'reason'))
           FROM alerts), ARRAY['inbound.parked All_Payments 2 17 not JSON'], 'a malformed message of a feed is an alert on the stream; one of another topic is not');
SELECT is((SELECT organization_id FROM alerts), NULL, 'it belongs to no organization');

-- An event of ours that the broker refuses is told too, an alert that it refuses is not: no alerts about alerts.
SELECT events.park('kafka-relay', 0, backoffice.uuid7(), events.position(), 'GiftCertificates.Stream', 'k', 'alert', '{}', NULL, 'too large', :'acme');
SELECT events.park('kafka-relay', 0, backoffice.uuid7(), events.position(), 'GiftCertificates.Stream', 'k', 'certificate.issued', '{}', NULL, 'too large', :'acme');
CALL await('(SELECT count(*) FROM alerts) > 1');
SELECT is((SELECT array_agg(payload ->> 'eventType') FROM alerts WHERE status = 'event.parked'), ARRAY['certificate.issued'], 'parked events are told, parked alerts are not');
SELECT is((SELECT array_agg(organization_id) FROM alerts WHERE status = 'event.parked'), ARRAY[:'acme'::uuid], 'with their organization');
SELECT is_empty($$SELECT * FROM events.parked WHERE consumer = 'certificates.alerts'$$, 'nothing is left behind');
SELECT * FROM finish();
