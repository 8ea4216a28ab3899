"""kafka-ingest: each message once, whatever is killed."""
import contextlib
import json
import time

from harness.kafka import any_kafka, produce
from harness.shop import IN, Shop, until


@contextlib.contextmanager
def environment():
    with any_kafka(real=True, topics={IN: 4}) as kafka, Shop() as shop:
        shop.kafka = kafka
        shop.sent = 0
        shop.first = shop.ingest(kafka, session_timeout_ms=6000, heartbeat_ms=500).start()
        shop.second = shop.ingest(kafka, session_timeout_ms=6000, heartbeat_ms=500)
        yield shop


def send(shop, count, repeat=1):
    messages = [(f"k{n % 20}", json.dumps({"n": n, "eventId": f"m-{n}"})) for n in range(shop.sent, shop.sent + count)]
    produce(shop.kafka.bootstrap, IN, [m for m in messages for _ in range(repeat)])
    shop.sent += count


def accepted(shop):
    return [r[0] for r in shop.query("SELECT (payload->>'n')::int FROM events.read(NULL, 10000000, ARRAY[%s])"
                                     " WHERE payload ? 'eventId'", (IN,))]


def settle(shop, timeout_s=40):
    until(lambda: len(accepted(shop)) >= shop.sent, timeout_s, f"{shop.sent} accepted messages")
    numbers = accepted(shop)
    assert sorted(numbers) == list(range(shop.sent)), f"{len(numbers)} events of {shop.sent} messages, {len(set(numbers))} different"


def test_once_in_order_per_key(shop):
    send(shop, 2000)
    settle(shop)
    by_key = {}
    for key, n in shop.query("SELECT key, (payload->>'n')::int FROM events.read(NULL, 10000000, ARRAY[%s])", (IN,)):
        by_key.setdefault(key, []).append(n)
    assert len(by_key) == 20 and all(v == sorted(v) for v in by_key.values())


def test_duplicates(shop):
    send(shop, 300, repeat=3)
    settle(shop)
    until(lambda: shop.first.metric("backoffice_ingest_duplicates_total") >= 600, 60)


def test_malformed_are_parked(shop):
    bad = {
        "not JSON": b'{"n": ', "UTF-8": b'{"n": "\xff"}', "NUL": b'{"n": "a\0b"}', "\\u0000": b'{"n": "\\u0000"}',
        "no value": None, "object": b'[1]', "nested": b'{"n":' + b'[' * 200 + b']' * 200 + b'}',
        "bytes, allowed": b'{"n": "' + b'x' * 2000 + b'"}', "schema_violation": b'{"m": 1}', "eventId": b'{"n": 1, "eventId": 7}',
    }
    shop.first.stop()
    shop.first.settings["max_bytes"] = 1000
    shop.first.start()
    produce(shop.kafka.bootstrap, IN, [("bad", value) for value in bad.values()]
            + [("bad", b'{"n": 2}', {"organization_id": "nobody"}),
               ("bad", b'{"n": 2}', {"organization_id": "00000000-0000-0000-0000-000000000001"}),
               ("bad", b'{"n": 2}', {"ce_id": ""}), ("good", b'{"n": -1}')])
    send(shop, 100)
    settle(shop)
    until(lambda: shop.query("SELECT count(*) FROM events.parked_inbound")[0][0] == len(bad) + 3, 20, "parking")
    reasons = " | ".join(r[0] for r in shop.query("SELECT reason FROM events.parked_inbound"))
    for what in bad:
        assert what in reasons, f"{what}: {reasons}"
    rows = shop.query("SELECT topic, \"partition\", \"offset\" FROM events.parked_inbound")
    assert all(r[0] == IN and r[1] >= 0 and r[2] >= 0 for r in rows)
    until(lambda: shop.query("SELECT count(*) FROM events.read(NULL, 10000000, ARRAY['backoffice.alerts'])"
                             " WHERE type = 'inbound.parked'")[0][0] == len(bad) + 3, 10, "alerts")
    # A message without an id of its own is known by its place.
    assert shop.query("SELECT count(*) FROM events.inbox WHERE message_id LIKE %s", (IN + "/%",))[0][0] == 1


def test_second_joins_and_leaves(shop):
    shop.second.start()
    for _ in range(10):
        send(shop, 100)
        time.sleep(0.1)
    until(lambda: shop.second.metric("backoffice_ingest_partitions") == 2, 20, "a share of the partitions")
    send(shop, 200)
    settle(shop)
    assert shop.second.stop() == 0
    send(shop, 200)
    settle(shop)


def test_killed_in_the_middle(shop):
    for _ in range(3):
        send(shop, 700)
        shop.first.kill9()
        send(shop, 100)
        shop.first.start()
    settle(shop, 60)


def test_database_restart(shop):
    send(shop, 500)
    shop.pg.restart("immediate")
    send(shop, 500)
    settle(shop)


def test_stop_log_and_health(shop):
    until(lambda: shop.first.get("/health")[0] == 200, 10, "health")
    workers = shop.query("SELECT state FROM backoffice.workers WHERE worker = 'kafka-ingest' AND state = 'running'")
    assert workers
    assert shop.first.stop() == 0
    assert shop.first.lines() and "hunter2" not in shop.first.text()
