"""kafka-relay where two things meet: batches that were read already, and a shard that starts again somewhere else."""
import contextlib
import resource
import time

from harness.kafka import MockBroker
from harness.shop import OUT, Shop, check_stream, everything_there, follow, until

SHARDS = 2
RENEWED_S = 1.5     # three times a third of the lease


@contextlib.contextmanager
def environment():
    with MockBroker(1, {OUT: 4}) as kafka, Shop() as shop:
        shop.kafka = kafka
        shop.follower = follow(kafka)
        yield shop
        shop.follower.stop()


def relay(shop, consumer, **settings):
    return shop.relay(shop.kafka, consumer=consumer, instance=consumer + "-1", shards=SHARDS, lease_ms=1500, heartbeat_ms=500, **settings).start()


def shard_of(key):
    """As the server reckons it (events.fetch)."""
    value = 0xcbf29ce484222325
    for byte in key.encode():
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return (value ^ value >> 32) % SHARDS


def key_of(shard):
    return next(k for k in map("k{}".format, range(100)) if shard_of(k) == shard)


def emit(shop, *pieces):
    """One transaction of (key, count), in this order."""
    with shop.pg.connect("shop", autocommit=False) as conn, conn.cursor() as cur:
        cur.execute("SELECT access.act_as(%s, NULL)", (shop.org,))
        for key, count in pieces:
            cur.execute("SELECT count(events.emit(%s, %s, 'test.happened', jsonb_build_object('n', n), NULL)) FROM generate_series(%s, %s) AS n",
                        (OUT, key, shop.emitted, shop.emitted + count - 1))
            shop.emitted += count
    conn.close()


def lease(shop, consumer, instance):
    return shop.query("SELECT shard, wanted FROM events.lease(%s, %s, %s, '60 s', ARRAY[%s])", (consumer, instance, SHARDS, OUT), user="worker")


def test_shards_wanted_and_then_not(shop):
    """What was passed over while another relay wanted its shard is sent when that one is gone: batches read before do not carry the position past it."""
    worker = relay(shop, "kafka-relay", window_events=20)
    emit(shop, (key_of(0), 5), (key_of(1), 5))
    everything_there(shop.follower, shop)
    shop.kafka.down("all")
    # These stay in flight: the window is full, and the shards can't be handed over.
    emit(shop, (key_of(0), 10), (key_of(1), 10))
    until(lambda: worker.metric("backoffice_relay_in_flight_events") == 20, 20, "a full window")
    lease(shop, "kafka-relay", "another")
    wanted = [shard for shard, is_wanted in lease(shop, "kafka-relay", "kafka-relay-1") if is_wanted]
    assert len(wanted) == 1, wanted
    time.sleep(RENEWED_S)
    emit(shop, (key_of(wanted[0]), 30), (key_of(1 - wanted[0]), 30))
    until(lambda: worker.metric("backoffice_relay_fetched_events_total") >= shop.emitted, 20, "a batch that waits")
    shop.query("SELECT events.release_lease('kafka-relay', 'another')", user="worker")
    time.sleep(RENEWED_S)
    shop.kafka.up("all")
    log, parked = everything_there(shop.follower, shop, 30)
    check_stream(list(shop.follower.messages), log, once=False, missing=parked)
    assert worker.stop() == 0


def test_seek_while_batches_wait(shop):
    """Moved back with batches waiting for the broker: everything from there on is sent again, not only what comes after them."""
    emit(shop, (key_of(0), 10), (key_of(1), 10))
    before = list(shop.log_ids())[-20:]
    worker = relay(shop, "seeker")
    until(lambda: copies(shop, before) == 1, 30, "a copy of each")
    assert worker.stop() == 0
    shop.kafka.down("all")
    worker = relay(shop, "seeker")
    emit(shop, (key_of(0), 10), (key_of(1), 10))
    until(lambda: worker.metric("backoffice_relay_fetched_events_total") >= 20, 20, "a batch that waits")
    shop.query("SELECT events.seek('seeker', now() - interval '1 hour')")
    time.sleep(RENEWED_S)
    shop.kafka.up("all")
    until(lambda: copies(shop, before) >= 2, 30, "another copy of each")
    until(lambda: copies(shop, list(shop.log_ids())[-20:]) >= 1, 30, "what was emitted last")
    assert worker.stop() == 0


def copies(shop, ids):
    """The least number of times that one of these was seen in Kafka."""
    seen = [m.headers["ce_id"] for m in list(shop.follower.messages)]
    return min(seen.count(i) for i in map(str, ids))


PARK = """SELECT events.park(%s, 0, u.id, ('00000000:0:' || u.n)::events.position, %s, 'p' || u.n, 'test.happened', '{"n": 1}', NULL, 'by hand', %s, now(), true)
    FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(%s, %s) AS n) AS u"""


def statements(shop):
    """How many transactions the server has ended."""
    return shop.query("SELECT sum(xact_commit) FROM pg_stat_database")[0][0]


def test_retried_behind_many_of_other_topics(shop):
    """What another relay of this consumer has to send does not stand in the way."""
    shop.query("SELECT events.define_topic('Test.Other', NULL, '7 days', 1, 'out')")
    shop.query(PARK, ("other", "Test.Other", shop.org, 1, 150), user="worker")
    shop.query(PARK, ("other", OUT, shop.org, 151, 151), user="worker")
    worker = relay(shop, "other")
    assert shop.query("SELECT events.retry_parked('other')") == [(151,)]
    until(lambda: not shop.query("SELECT 1 FROM events.parked WHERE consumer = 'other' AND topic = %s", (OUT,)), 20, "sending")
    left = shop.query("SELECT topic, state, count(*) FROM events.parked WHERE consumer = 'other' GROUP BY 1, 2")
    assert left == [("Test.Other", "retrying", 150)], left
    assert worker.stop() == 0


def test_retried_without_a_broker(shop):
    """What can't be sent yet is looked at every second, not without a pause."""
    shop.kafka.down("all")
    shop.query(PARK, ("early", OUT, shop.org, 1, 3), user="worker")
    worker = relay(shop, "early")
    shop.query("SELECT events.retry_parked('early')")
    time.sleep(2)
    before = statements(shop)
    time.sleep(3)
    assert statements(shop) - before < 300, "the database is asked without a pause"
    shop.kafka.up("all")
    until(lambda: not shop.query("SELECT 1 FROM events.parked WHERE consumer = 'early'"), 30, "sending")
    assert worker.stop() == 0


def emit_one(shop, topic):
    with shop.pg.connect("shop", autocommit=False) as conn, conn.cursor() as cur:
        cur.execute("SELECT access.act_as(%s, NULL)", (shop.org,))
        cur.execute("SELECT events.emit(%s, 'k', 'test.happened', '{}', NULL)", (topic,))
    conn.close()


def define(shop, topic, direction):
    shop.query("SELECT events.define_topic(%s, NULL, '7 days', 1, %s)", (topic, direction))


def passed_by(shop, consumer):
    """All events there are."""
    last = shop.query("SELECT max(position)::text FROM events.read(NULL, 10000000)")[0][0]
    until(lambda: shop.query("SELECT bool_and(position >= %s::events.position) FROM events.cursors WHERE consumer = %s", (last, consumer)) == [(True,)],
          20, "passing by")


def test_no_topic_left(shop):
    """When none of its topics is carried any more the relay passes by all events, not by none; and it asks for nothing without a pause."""
    define(shop, "Narrow", "out")
    worker = relay(shop, "narrow", topics="Narrow")
    emit_one(shop, "Narrow")
    until(lambda: worker.metric("backoffice_relay_acknowledged_total") == 1, 30, "a first message")
    define(shop, "Narrow", "internal")
    emit_one(shop, "Narrow")
    emit_one(shop, OUT)
    passed_by(shop, "narrow")
    before = statements(shop)
    time.sleep(2)
    assert statements(shop) - before < 300, "the database is asked without a pause"
    define(shop, "Narrow", "out")
    emit_one(shop, "Narrow")
    passed_by(shop, "narrow")
    assert worker.metric("backoffice_relay_acknowledged_total") == 2
    assert worker.stop() == 0


def test_topic_gone_before_it_is_known(shop):
    """Its event was read, but when the relay asks for the topic it is not carried any more: what comes behind goes on."""
    worker = shop.relay(shop.kafka, consumer="brief", topics="Brief," + OUT, shards=SHARDS, lease_ms=60000, heartbeat_ms=500).start()
    passed_by(shop, "brief")
    fetched = worker.metric("backoffice_relay_fetched_events_total")
    with shop.pg.connect("shop", autocommit=False) as conn, conn.cursor() as cur:
        # What would tell of the topic waits behind the saving of a position.
        cur.execute("LOCK TABLE events.cursors IN ACCESS EXCLUSIVE MODE")
        emit_one(shop, OUT)
        until(lambda: worker.metric("backoffice_relay_fetched_events_total") == fetched + 1, 20, "reading")
        until(lambda: shop.query("SELECT 1 FROM pg_stat_activity WHERE application_name ~ 'control' AND wait_event_type = 'Lock'"), 20, "waiting")
        define(shop, "Brief", "out")
        emit_one(shop, "Brief")
        until(lambda: worker.metric("backoffice_relay_fetched_events_total") == fetched + 2, 20, "reading")
        define(shop, "Brief", "internal")
    conn.close()
    emit_one(shop, OUT)
    passed_by(shop, "brief")
    assert worker.stop() == 0


def test_three_hundred_topics(shop):
    shop.query("SELECT count(events.define_topic('Many.' || n, NULL, '7 days', 1, 'out')) FROM generate_series(1, 300) AS n")
    worker = relay(shop, "many", topics="")
    with shop.pg.connect("shop", autocommit=False) as conn, conn.cursor() as cur:
        cur.execute("SELECT access.act_as(%s, NULL)", (shop.org,))
        cur.execute("SELECT count(events.emit('Many.' || n, 'k', 'test.happened', '{}', NULL)) FROM generate_series(1, 300) AS n")
    conn.close()
    last = shop.query("SELECT max(position)::text FROM events.read(NULL, 10000000)")[0][0]
    until(lambda: shop.query("SELECT bool_and(position >= %s::events.position) FROM events.cursors WHERE consumer = 'many'", (last,)) == [(True,)],
          60, "sending")
    assert worker.stop() == 0


def test_no_descriptor_left(shop):
    """A producer that can't be listened to is none: another one is made when there are descriptors again."""
    emit(shop, ("k0", 1))
    worker = relay(shop, "poor")
    until(lambda: worker.metric("backoffice_relay_acknowledged_total") > 0, 20, "a first message")
    allowed = resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, (3, allowed[1]))
    shop.kafka.push_error("produce", "MSG_SIZE_TOO_LARGE", 1)
    emit(shop, ("k0", 1))
    until(lambda: "no descriptor for the producer" in worker.text() or "no producer" in worker.text(), 20, "want of descriptors")
    resource.prlimit(worker.process.pid, resource.RLIMIT_NOFILE, allowed)
    # The refused message goes alone, by another producer; this one does not.
    emit(shop, ("k1", 1))
    last = shop.query("SELECT max(position)::text FROM events.read(NULL, 10000000, ARRAY[%s])", (OUT,))[0][0]
    until(lambda: shop.query("SELECT bool_and(position >= %s::events.position) FROM events.cursors WHERE consumer = 'poor'", (last,)) == [(True,)],
          30, "a settled position")
    assert "no descriptor for the producer" in worker.text(), "not the case that was meant"
    assert worker.stop() == 0
