BEGIN;
SELECT plan(52);
SELECT events.define_topic('in.orders', 'order', '7 days', 3, 'in');
SELECT events.define_schema('in.orders', NULL, '{"required": ["order"]}');
SELECT access.create_organization('Acme') AS acme, access.create_organization('Zeta') AS zeta \gset

CREATE FUNCTION pg_temp.events_of(topic text) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = $1 $$;
GRANT USAGE ON SCHEMA events TO backoffice_worker;

SET ROLE backoffice_worker;
SELECT ok(events.accept('kafka', 'm1', 'in.orders', 'o1', '{"order": 1}', NULL, :'acme'), 'a new message is taken');
SELECT ok(NOT events.accept('kafka', 'm1', 'in.orders', 'o1', '{"order": 1}', NULL, :'acme'), 'again: seen before');
SELECT ok(NOT events.accept('kafka', 'm1', 'in.orders', 'o1', '{"order": 1}', '{"traceparent": "x"}', :'acme'), 'headers do not matter for that');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm1', 'in.orders', 'o1', '{"order": 2}', NULL, %L)$$, :'acme'), 'PT409', NULL, 'the same id with another payload is a conflict');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm1', 'in.orders', 'o2', '{"order": 1}', NULL, %L)$$, :'acme'), 'PT409', NULL, 'with another key too');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm1', 'in.orders', NULL, '{"order": 1}', NULL, %L)$$, :'acme'), 'PT409', NULL, 'no key is another key');
SELECT ok(events.accept('kafka', 'm1', 'in.orders', 'o1', '{"order": 1}', NULL, :'zeta'), 'another organization''s message of that id is another message');
SELECT ok(events.accept('bank', 'm1', 'in.orders', 'o1', '{"order": 1}', NULL, :'acme'), 'another source''s too');
SELECT ok(events.accept('kafka', 'm2', 'in.orders', 'o1', '{"order": 1}', jsonb_build_object('organization_id', :'acme')), 'the organization may stand in a header');
SELECT throws_ok($$SELECT events.accept('kafka', 'm3', 'in.orders', 'o1', '{"order": 1}')$$, '22023', NULL, 'without organization it is refused');
SELECT throws_ok($$SELECT events.accept('kafka', 'm3', 'in.orders', 'o1', '{"order": 1}', '{"organization_id": "nonsense"}')$$, '22023', NULL, 'with a bad one in the headers too');
SELECT throws_ok($$SELECT events.accept('kafka', 'm3', 'in.orders', 'o1', '{"order": 1}', '{"organization_id": "0192d5b4----a----b----c-0123456789ab"}')$$, '22023', NULL, 'and with one that looks like a UUID from afar');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm3', 'in.orders', 'o1', '{}', NULL, %L)$$, :'acme'), 'PT422', NULL, 'a payload that breaks the schema is refused');
SELECT ok(events.accept('kafka', 'm3', 'in.orders', 'o1', '{"order": 1}', NULL, :'acme'), 'and its id is not used up by that');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm4', 'in.orders', 'o1', (SELECT jsonb_build_object('order', jsonb_agg(1e131071)) FROM generate_series(1, 9000)), NULL, %L)$$, :'acme'),
    'PT413', NULL, 'a message of few bytes and many digits is too large');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm4', 'in.none', 'o1', '{}', NULL, %L)$$, :'acme'), 'PT404', NULL, 'an unknown topic is refused');
SELECT throws_ok(format($$SELECT events.accept(%s, NULL, %L)$$, args, :'acme'), '22023', NULL, format('accept(%s) is refused', args))
FROM unnest(ARRAY[$$NULL, 'm', 'in.orders', 'k', '{"order": 1}'$$, $$'', 'm', 'in.orders', 'k', '{"order": 1}'$$, $$'s', '', 'in.orders', 'k', '{"order": 1}'$$,
                  $$'s', NULL, 'in.orders', 'k', '{"order": 1}'$$, $$'s', 'm', NULL, 'k', '{"order": 1}'$$, $$'s', 'm', 'in.orders', 'k', NULL$$,
                  $$'s', repeat('m', 600), 'in.orders', 'k', '{"order": 1}'$$]) AS args;
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm5', '%s', 'o1', '{}', NULL, %L)$$, topic, :'acme'), '42501', NULL, 'a worker writes nothing into ' || topic)
FROM unnest(ARRAY['access.audit', 'GiftCertificates.Stream']) AS topic;
RESET ROLE;
SELECT is(pg_temp.events_of('in.orders'), 5::bigint, 'one event per message that was taken');
SELECT is((SELECT array_agg(DISTINCT type) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'in.orders'), ARRAY['in.orders'], 'without a type it is the topic''s name');

-- a savepoint's rollback gives the id back
SAVEPOINT s;
SELECT events.accept('kafka', 'm9', 'in.orders', 'o1', '{"order": 1}', NULL, :'acme');
ROLLBACK TO s;
SELECT ok(events.accept('kafka', 'm9', 'in.orders', 'o1', '{"order": 9}', NULL, :'acme'), 'what was rolled back was never seen');

-- parked inbound
SET ROLE backoffice_worker;
SELECT ok(events.park_inbound('kafka', 'All_Things', 3, 99, NULL, '\xff00', 'not UTF-8'), 'a message that is no JSON is kept');
SELECT ok(NOT events.park_inbound('kafka', 'All_Things', 3, 99, NULL, '\xff00', 'not UTF-8'), 'once');
-- a topic that was deleted and made again begins with the same offsets
SELECT ok(events.park_inbound('kafka', 'All_Things', 3, 99, NULL, '\xff01', 'not UTF-8'), 'another message at the same place is kept beside it');
SELECT ok(events.park_inbound('kafka', 'All_Things', 3, 99, '\xff01', NULL, 'no value') AND events.park_inbound('kafka', 'All_Things', 3, 99, '', NULL, 'no value')
    AND events.park_inbound('kafka', 'All_Things', 3, 99, NULL, NULL, 'no value') AND events.park_inbound('kafka', 'All_Things', 3, 99, NULL, '', 'not JSON'), 'whatever tells it apart');
SELECT ok(NOT events.park_inbound('kafka', 'All_Things', 3, 99, '', NULL, 'no value'), 'once');
SELECT throws_ok($$SELECT events.park_inbound('kafka', NULL, 3, 99, NULL, '\xff00', 'x')$$, '22004', NULL, 'nulls are refused');
RESET ROLE;
SELECT events.define_topic('in.system', 'key', NULL, NULL, NULL);
SELECT ok(events.accept('ops', 's1', 'in.system', 'k', '{}'), 'a superuser''s message may be of no organization');
SELECT ok(NOT events.accept('ops', 's1', 'in.system', 'k', '{}'), 'once');
SELECT is((SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = 'in.system' AND l.organization_id IS NULL), 1::bigint, 'so is its event');
SELECT throws_ok($$SELECT events.accept('ops', 's2', 'in.system', 'k', '{}', NULL, '00000000-0000-0000-0000-000000000000')$$, '22023', NULL, 'the nil UUID is no organization');
SELECT throws_ok($$SELECT events.accept('ops', 's2', 'in.system', 'k', '{}', '{"organization_id": "nonsense"}')$$, '22023', NULL, 'a bad one in the headers is refused here too');
SELECT is((SELECT array_agg(payload->>'offset') FROM events.log WHERE type = 'inbound.parked'), array_fill('99'::text, '{6}'), 'with an alert for each');
SET ROLE backoffice_admin;
SELECT is(events.discard_inbound('kafka', 'All_Things', 3, 99), true, 'discarded all that were parked at that place');
SELECT is_empty($$SELECT FROM events.parked_inbound$$, 'none is left');
RESET ROLE;

-- offsets
SET ROLE backoffice_worker;
SELECT events.save_source_offset('g', 't', 0, 10), events.save_source_offset('g', 't', 0, 7), events.save_source_offset('g', 't', 1, 3);
SELECT results_eq($$SELECT "partition", "offset" FROM events.source_offsets('g')$$, 'VALUES (0, 10::bigint), (1, 3)', 'offsets never go back');
SELECT throws_ok($$SELECT events.save_source_offset('g', 't', 0, -1)$$, '23514', NULL, 'nor below 0');
SELECT ok(NOT events.rewind_source('g', 't', 0, 10) AND NOT events.rewind_source('g', 't', 0, 11) AND NOT events.rewind_source('g', 't', 2, 0), 'a source that is no further is not rewound');
SELECT ok(events.rewind_source('g', 't', 0, 4), 'one that begins anew is');
SELECT results_eq($$SELECT "partition", "offset" FROM events.source_offsets('g')$$, 'VALUES (0, 4::bigint), (1, 3)', 'that partition only');
SELECT throws_ok($$SELECT events.rewind_source('g', 't', 0, NULL)$$, '22004', NULL, 'not to nowhere');
SELECT throws_ok($$SELECT events.rewind_source('g', 't', 0, -1)$$, '23514', NULL, 'nor below 0');
RESET ROLE;
SELECT results_eq($$SELECT payload FROM events.log WHERE type = 'inbound.rewound'$$,
    $$VALUES ('{"group": "g", "topic": "t", "partition": "0", "offset": "4"}'::jsonb)$$, 'with an alert');

-- the principal decides
SET ROLE backoffice_service;
SELECT access.act_as(:'acme');
SELECT throws_ok(format($$SELECT events.accept('kafka', 'm5', 'in.orders', 'o1', '{"order": 1}', NULL, %L)$$, :'zeta'), '42501', NULL, 'a principal cannot speak for another organization');
SELECT throws_ok($$SELECT * FROM events.inbox$$, '42501', NULL, 'the table is closed');

SELECT * FROM finish();
ROLLBACK;
