-- The event log, from an emitter's and a reader's side.
SELECT events.define_topic('orders', 'order_id', retention => '30 days') IS NOT NULL AS defined;

-- Waits until everything committed can be read (a tick follows within milliseconds).
CREATE FUNCTION pg_temp.settle() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..500 LOOP
        EXIT WHEN (SELECT count(*) FROM events.read(NULL, 100000)) = (SELECT count(*) FROM events.log);
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;

-- An event commits with the change it tells about; a rolled-back savepoint takes its events with it.
BEGIN;
SELECT events.emit('orders', 'order-1', 'order.placed', '{"amount": 1999}') IS NOT NULL AS emitted;
SAVEPOINT changed_my_mind;
SELECT events.emit('orders', 'order-1', 'order.cancelled', '{}') IS NOT NULL AS emitted;
ROLLBACK TO SAVEPOINT changed_my_mind;
SELECT events.emit('orders', 'order-1', 'order.paid', '{"amount": 1999}', '{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}') IS NOT NULL AS emitted;
-- Not readable before it is committed and durable.
SELECT count(*) FROM events.read();
COMMIT;
BEGIN;
SELECT events.emit('orders', 'order-2', 'order.placed', '{"amount": 500}') IS NOT NULL AS emitted;
ROLLBACK;
SELECT pg_temp.settle();
SELECT topic, key, type, payload, headers FROM events.read();

-- Reading on: pass the last position. One page after the other gives the same as all at once.
SELECT position AS first FROM events.read(max_events => 1) \gset
SELECT type FROM events.read(:'first');
SELECT count(*) FROM events.read(events.position());
SELECT :'first'::events.position < events.position() AS before, events.position()::text::events.position = events.position() AS text_and_back;

-- The SQL variant of the write path gives the same rows.
SET backoffice.direct_writes = off;
SELECT events.emit('orders', 'order-3', 'order.placed', '{"amount": 700}') IS NOT NULL AS emitted;
RESET backoffice.direct_writes;
SELECT events.emit('orders', 'order-4', 'order.placed', '{"amount": 700}') IS NOT NULL AS emitted;
SELECT pg_temp.settle();
SELECT key, type, payload FROM events.read(:'first');

-- Packed, for workers; the two shards make up the whole.
SELECT events, length(batch) > 100 AS packed, next = events.position() AS at_the_end FROM events.fetch(NULL);
SELECT sum(events) FROM generate_series(0, 1) s, events.fetch(NULL, shard_count => 2, shards => ARRAY[s]);

-- Payloads are packed as the text that jsonb has: characters that are escaped and others, nested values, numbers, a value alone.
SELECT position AS last FROM events.read(:'first') ORDER BY position DESC LIMIT 1 \gset
SELECT count(events.emit('orders', 'text', 'order.text', to_jsonb(repeat('-', n % 8) || chr(n) || repeat('+', 9)))) FROM generate_series(1, 700) n;
SELECT count(events.emit('orders', 'text', 'order.text', payload)) FROM unnest(ARRAY[
    'null', 'true', '-1.50e3', '1e-20', '""', '"\\"', '[]', '{}', '[[]]', '[{}, [], {"a": {}}]', '{"": ""}', '{"a\"b\n": [1, 2.50, "x\u00e9\ud83d\ude00", null, [true, false]], "c": {"d": {"e": [{}]}, "f": 0}}',
    '"two\u001fends\"\\\b\f\n\r\t\u0001"']::jsonb[]) payload;
SELECT pg_temp.settle();
SELECT count(*), bool_and(position(int4send(octet_length(payload::text)) || convert_to(payload::text, 'UTF8') IN batch) > 0) AS as_text
FROM events.read(:'last'), events.fetch(:'last');

-- Refused.
\set VERBOSITY default
SELECT events.emit('unheard-of', 'k', 'order.placed', '{}');
SELECT events.emit('orders', NULL, 'order.placed', '{}');
SELECT events.emit('orders', 'k', NULL, '{}');
SELECT events.emit('orders', 'k', '', '{}');
SELECT events.emit('orders', 'k', 'order.placed', NULL);
SELECT events.emit('orders', 'k', 'order.placed', '{}', '[1]');
SELECT events.emit('orders', 'k', 'order.placed', to_jsonb(repeat('x', 1100000)));
BEGIN READ ONLY;
SELECT events.emit('orders', 'k', 'order.placed', '{}');
ROLLBACK;
SELECT count(*) FROM events.read('7:1');
SELECT count(*) FROM events.read('1:999999999:1');
SELECT count(*) FROM events.read(NULL, 0);
TRUNCATE events.log;
DROP EXTENSION backoffice;
