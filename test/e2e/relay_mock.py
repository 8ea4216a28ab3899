"""kafka-relay against a broker that fails on demand."""
import contextlib
import time

from harness.kafka import MockBroker
from harness.shop import OUT, Shop, check_stream, everything_there, follow, until


# The mock does not look at sequence numbers, as Kafka does: behind a request that it refused it would take the next, which may be
# on its way already.  So what is emitted together goes together.
LINGER_MS = 50


@contextlib.contextmanager
def environment():
    with MockBroker(3, {OUT: 4}) as kafka, Shop() as shop:
        shop.kafka = kafka
        shop.follower = follow(kafka)
        shop.worker_under_test = shop.relay(kafka, lease_ms=3000, heartbeat_ms=500, linger_ms=LINGER_MS).start()
        yield shop
        shop.follower.stop()


def settle(shop, once=True, timeout_s=25):
    log, parked = everything_there(shop.follower, shop, timeout_s)
    check_stream(list(shop.follower.messages), log, once, missing=parked)


def everything_settled(shop):
    """The relay told the database of every event that was emitted. (Its own count of what is in flight is 0 before it sends again.)"""
    return shop.query("SELECT coalesce(bool_and(c.position >= l.last), false) FROM events.cursors c,"
                      " (SELECT max(position) AS last FROM events.read(NULL, 10000000, ARRAY[%s])) AS l"
                      " WHERE c.consumer = 'kafka-relay'", (OUT,))[0][0]


def test_everything_once_in_order(shop):
    shop.emit(3000)
    settle(shop)
    message = shop.follower.messages[0]
    assert message.headers["ce_type"] == "test.happened" and message.headers["ce_specversion"] == "1.0"
    assert message.headers["ce_source"] == "/backoffice" and message.headers["content-type"] == "application/json"
    assert message.headers["organization_id"] == shop.org
    assert message.headers["ce_time"].endswith("Z")


def test_slow_broker(shop):
    shop.kafka.rtt("all", 200)
    shop.emit(2000)
    settle(shop)
    shop.kafka.rtt("all", 0)


def test_retriable_errors(shop):
    for error in ("NOT_LEADER_FOR_PARTITION", "NOT_ENOUGH_REPLICAS", "REQUEST_TIMED_OUT", "LEADER_NOT_AVAILABLE"):
        shop.kafka.push_error("produce", error, 3)
        shop.emit(300)
    settle(shop, once=False)


def test_leader_moves(shop):
    for broker in (1, 2, 3):
        for partition in range(4):
            shop.kafka.leader(OUT, partition, broker)
        shop.emit(300)
    settle(shop, once=False)


def test_broker_down_for_three_seconds(shop):
    before = shop.worker_under_test.metric("backoffice_relay_acknowledged_total")
    shop.kafka.down("all")
    shop.emit(1500)
    time.sleep(3)
    assert shop.worker_under_test.metric("backoffice_relay_acknowledged_total") == before
    until(lambda: shop.worker_under_test.get("/health")[0] == 503, 10, "an unhealthy answer")
    shop.kafka.up("all")
    settle(shop, once=False)
    until(lambda: shop.worker_under_test.get("/health")[0] == 200, 15, "a healthy answer")


def test_refused_once(shop):
    """A batch is refused, but none of its messages is when it comes alone: everything goes, nothing is parked."""
    until(lambda: everything_settled(shop), 30, "a settled position")
    shop.kafka.push_error("produce", "MSG_SIZE_TOO_LARGE", 1)
    shop.emit(10, keys=1, per_transaction=10)
    settle(shop, once=False)
    assert not shop.parked(), shop.parked()
    until(lambda: "was accepted one by one" in shop.worker_under_test.text(), 10, "a line in the log")


def test_refused_for_good(shop):
    """One batch is refused; alone, its first message is refused again: parked, its key waits, the rest goes on."""
    # Nothing may be on its way, nor about to be sent again: two batches at once would take both errors, each once.
    until(lambda: everything_settled(shop), 30, "a settled position")
    shop.kafka.push_error("produce", "MSG_SIZE_TOO_LARGE", 2)
    shop.emit(10, keys=1, per_transaction=10)
    until(lambda: len(shop.parked()) >= 1, 30, "parking")
    shop.emit(100)
    settle(shop, once=False)
    parked = shop.parked()
    assert "MSG_SIZE_TOO_LARGE" in parked[0][2], parked[0]
    assert all(row[1] == "k0" for row in parked), "only the key of the refused event waits"
    assert all("waits behind" in row[2] for row in parked[1:]), parked
    alerts = shop.query("SELECT count(*) FROM events.read(NULL, 10000000, ARRAY['backoffice.alerts']) WHERE type = 'event.parked'")
    assert alerts[0][0] >= 1, "no alert"


def test_retry_of_the_parked(shop):
    """The first is given free: it goes, and then what waits behind it, in order."""
    first = shop.parked()[0][0]
    numbers = [r[0] for r in shop.query("SELECT (payload->>'n')::int FROM events.parked ORDER BY position")]
    seen = len(shop.follower.messages)
    assert shop.query("SELECT events.retry_parked('kafka-relay', %s)", (first,))[0][0] == 1
    until(lambda: not shop.parked(), 30 + len(numbers), "an empty parking place")
    until(lambda: len(shop.follower.messages) >= seen + len(numbers), 60)
    settle(shop, once=False)
    shop.emit(20)
    settle(shop, once=False)
    assert not shop.parked()


def test_killed_after_parking(shop):
    """Parked and passed in one transaction: killed right afterwards, the relay does not meet the event again, kept or discarded."""
    until(lambda: everything_settled(shop), 30, "a settled position")
    assert shop.worker_under_test.stop() == 0
    # Positions are saved so rarely that the kill comes before.
    shop.worker_under_test = shop.relay(shop.kafka, lease_ms=1000, heartbeat_ms=500, advance_ms=60000, linger_ms=LINGER_MS).start()
    for discard in (False, True):
        shop.emit(1, keys=1, size=1048400)
        until(lambda: shop.parked(), 20, "parking")
        shop.worker_under_test.kill9()
        passed = shop.query("SELECT c.position >= p.position FROM events.parked p JOIN events.cursors c USING (consumer, shard)")
        assert passed == [(True,)], "parked, and to be read again"
        guilty = shop.parked()[0][0]
        shop.discarded.add(str(guilty))
        if discard:
            shop.query("SELECT events.discard_parked('kafka-relay', %s)", (guilty,))
        shop.worker_under_test.start()
        shop.emit(4, keys=1)
        if discard:
            settle(shop, once=False)
            assert not shop.parked(), "what was discarded came back"
        else:
            until(lambda: len(shop.parked()) == 5, 20, "parking of what comes behind it")
            assert shop.query("SELECT attempts, reason ~ 'MSG_SIZE_TOO_LARGE' FROM events.parked WHERE id = %s", (guilty,)) == [(1, True)]
            shop.query("SELECT events.discard_parked('kafka-relay', %s)", (guilty,))
            until(lambda: not shop.parked(), 20, "the end of waiting")
        alerts = shop.query("SELECT count(*) FROM events.read(NULL, 10000000, ARRAY['backoffice.alerts'])"
                            " WHERE type = 'event.parked' AND payload ->> 'eventId' = %s", (str(guilty),))
        assert alerts == [(1,)], alerts
    settle(shop, once=False)
    shop.worker_under_test.stop()
    shop.worker_under_test = shop.relay(shop.kafka, lease_ms=3000, heartbeat_ms=500, linger_ms=LINGER_MS).start()


def test_too_large_for_the_client(shop):
    shop.emit(1, keys=1, size=1048400)
    until(lambda: len(shop.parked()) == 1, 20, "parking")
    shop.emit(9, keys=10)
    settle(shop, once=False)
    assert len(shop.parked()) == 1
    shop.discarded.add(str(shop.parked()[0][0]))
    shop.query("SELECT events.discard_parked('kafka-relay', id) FROM events.parked")


def test_database_restart(shop):
    shop.emit(500)
    shop.pg.restart("immediate")
    shop.emit(500)
    settle(shop, once=False)


def test_log_is_json_without_secrets(shop):
    lines = shop.worker_under_test.lines()
    assert lines and all({"ts", "level", "worker", "instance", "msg"} <= set(line) for line in lines)
    assert "hunter2" not in shop.worker_under_test.text()


def test_stop_drains(shop):
    # Leases can be given back only by a relay that has its database again (the server was restarted above).
    until(lambda: everything_settled(shop), 30, "a settled position")
    shop.emit(2000)
    assert shop.worker_under_test.stop() == 0
    owners = shop.query("SELECT count(*) FROM events.cursors WHERE consumer = 'kafka-relay' AND owner IS NOT NULL")
    assert owners[0][0] == 0, "leases were not given back"
    state = shop.query("SELECT state FROM backoffice.workers WHERE worker = 'kafka-relay' ORDER BY heartbeat DESC LIMIT 1")
    assert state == [("stopped",)], state
    sent = len(shop.follower.messages)
    shop.worker_under_test.start()
    settle(shop, once=False)
    assert len(shop.follower.messages) >= sent
