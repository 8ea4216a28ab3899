"""kafka-relay with Apache Kafka itself (or the broker of KAFKA_BOOTSTRAP)."""
import contextlib
import json
import os
import time

from harness.kafka import any_kafka, create_topic, delete_topic, topic_config, topic_partitions
from harness.shop import OUT, Shop, check_stream, everything_there, follow, until


@contextlib.contextmanager
def environment():
    with any_kafka(real=True) as kafka, Shop() as shop:
        shop.kafka = kafka
        shop.first = shop.relay(kafka, lease_ms=2000).start()
        shop.second = shop.relay(kafka, lease_ms=2000)
        shop.follower = follow(kafka)
        yield shop
        shop.follower.stop()


def settle(shop, once, timeout_s=40):
    log, parked = everything_there(shop.follower, shop, timeout_s)
    return check_stream(list(shop.follower.messages), log, once, missing=parked)


def test_topic_is_made_with_its_retention(shop):
    until(lambda: topic_partitions(shop.kafka.bootstrap, OUT) == 4, 30, "the topic")
    assert int(topic_config(shop.kafka.bootstrap, OUT)["retention.ms"]) == 8 * 86400 * 1000


def test_everything_once_in_order(shop):
    shop.emit(5000, keys=50)
    settle(shop, once=True)


def test_topic_that_is_refused(shop):
    """Parked; given free, the topic is asked for again: parked again, or sent once the topic can be made."""
    refused = "Test.Refused"
    # Kafka takes two names that differ in dot and underscore only for one.
    create_topic(shop.kafka.bootstrap, "Test_Refused")
    shop.query("SELECT events.define_topic(%s, NULL, '7 days', 1, 'out')", (refused,))
    worker = shop.relay(shop.kafka, consumer="refused", topics=refused).start()
    with shop.pg.connect("shop", autocommit=False) as conn, conn.cursor() as cur:
        cur.execute("SELECT access.act_as(%s, NULL)", (shop.org,))
        cur.execute("SELECT count(events.emit(%s, 'k' || n / 2, 'test.happened', '{}', NULL)) FROM generate_series(0, 3) AS n", (refused,))
    conn.close()

    def parked():
        return shop.query("SELECT key, state, reason ~ 'refuses the topic', attempts FROM events.parked WHERE consumer = 'refused' ORDER BY position")

    until(lambda: len(parked()) == 4, 30, "parking")
    assert [row[2] for row in parked()] == [True] * 4, parked()
    shop.query("SELECT events.retry_parked('refused')")
    until(lambda: [row[1] for row in parked()] == ["parked"] * 4 and parked()[0][3] == 1, 30, "parking again")
    delete_topic(shop.kafka.bootstrap, "Test_Refused")
    time.sleep(2.5)     # the refusal is no longer the latest news
    shop.query("SELECT events.retry_parked('refused')")
    until(lambda: not parked(), 30, "sending")
    follower = follow(shop.kafka, refused)
    follower.wait_for(lambda messages: len(messages) >= 4, 30)
    follower.stop()
    assert [m.key for m in follower.messages] == ["k0", "k0", "k1", "k1"], follower.messages
    assert worker.stop() == 0


def test_first_request_refused(shop):
    """
    A broker that refused all it ever was sent by a producer at a partition takes whatever comes next. That may have been
    on its way already: of a key, it must not be what comes behind the refused.
    """
    topics = [f"Test.Compacted.{n}" for n in range(8)]
    for topic in topics:
        create_topic(shop.kafka.bootstrap, topic, 1, {"cleanup.policy": "compact"})
    shop.query("SELECT count(events.define_topic(t, NULL, '7 days', 1, 'out')) FROM unnest(%s) AS t", (topics + ["Test.Warm"],))
    # More than one request in flight makes it likely.
    worker = shop.relay(shop.kafka, consumer="compacted", topics=",".join(topics + ["Test.Warm"]), kafka_in_flight=5).start()
    follower = follow(shop.kafka, topics)
    with shop.pg.connect("shop", autocommit=False) as conn, conn.cursor() as cur:
        def emit(topic, key, first, last):
            cur.execute("SELECT access.act_as(%s, NULL)", (shop.org,))
            cur.execute("SELECT count(events.emit(%s, %s, 'test.happened', jsonb_build_object('n', n), NULL)) FROM generate_series(%s, %s) AS n",
                        (topic, key, first, last))

        for number, topic in enumerate(topics):
            acknowledged = worker.metric("backoffice_relay_acknowledged_total")
            emit("Test.Warm", "k", 0, 0)
            conn.commit()
            until(lambda: worker.metric("backoffice_relay_acknowledged_total") > acknowledged, 30, "a producer at work")
            # A compacted topic takes no message without a key.
            cur.execute("SELECT access.act_as(%s, NULL)", (shop.org,))
            cur.execute("SELECT events.emit(%s, NULL, 'test.happened', '{}', NULL)", (topic,))
            for first in range(0, 60, 3):
                emit(topic, "k", first, first + 2)
                conn.commit()
            follower.wait_for(lambda messages: len({m.headers["ce_id"] for m in list(messages)}) >= 60 * (number + 1), 60)
            until(lambda: len(shop.query("SELECT 1 FROM events.parked WHERE consumer = 'compacted'")) == number + 1, 20, "parking")
    conn.close()
    follower.stop()
    for topic in topics:
        order = list(dict.fromkeys(json.loads(m.value)["n"] for m in follower.messages if m.topic == topic))
        assert order == list(range(60)), f"{topic}: {order}"
    parked = set(shop.query("SELECT key, reason ~ 'INVALID_RECORD' FROM events.parked WHERE consumer = 'compacted'"))
    assert parked == {(None, True)}, parked
    assert worker.stop() == 0


def test_two_relays_share(shop):
    """The second takes its half of the shards, gracefully: nothing is sent twice."""
    shop.second.start()
    shop.emit(1000, per_transaction=10, pause_s=0.02)
    until(lambda: shop.first.metric("backoffice_relay_shards") == 4 and shop.second.metric("backoffice_relay_shards") == 4, 20, "sharing")
    shop.emit(1000, per_transaction=10, pause_s=0.01)
    settle(shop, once=True)
    assert shop.second.metric("backoffice_relay_acknowledged_total") > 0


def test_killed_relay(shop):
    """The other takes over when the lease has run out; what was in flight may come twice, with the same id."""
    shop.emit(2000)
    shop.first.kill9()
    shop.emit(2000)
    settle(shop, once=False)
    shop.first.start()
    until(lambda: shop.first.metric("backoffice_relay_shards") == 4, 20, "sharing again")


def test_frozen_relay(shop):
    shop.emit(1000)
    shop.first.freeze()
    time.sleep(3)
    shop.emit(1000)
    settle(shop, once=False)
    shop.first.thaw()
    shop.emit(1000)
    settle(shop, once=False)


def test_killed_broker(shop):
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return
    shop.emit(1000)
    shop.kafka.kill9()
    shop.emit(1000)
    shop.kafka.start()
    settle(shop, once=False, timeout_s=60)


def test_frozen_broker(shop):
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return
    shop.kafka.freeze()
    shop.emit(1000)
    time.sleep(3)
    shop.kafka.thaw()
    settle(shop, once=False, timeout_s=60)


def test_stop(shop):
    shop.emit(1000)
    assert shop.first.stop() == 0 and shop.second.stop() == 0
    shop.second.start()
    settle(shop, once=False)
    assert shop.second.stop() == 0
