"""kafka-relay that has lost its database, but not its broker: it stops sending before another relay has its shards."""
import contextlib
import os
import signal
import subprocess
import tempfile

from harness.kafka import MockBroker
from harness.mute import Mute
from harness.pg import ROOT
from harness.shop import OUT, Shop, check_stream, everything_there, follow, until

SHARDS = 2


@contextlib.contextmanager
def environment():
    with tempfile.TemporaryDirectory(prefix="backoffice-lease-", dir="/tmp") as folder, MockBroker(1, {OUT: 4}) as kafka, \
            Shop({"listen_addresses": "'127.0.0.1'"}) as shop, Mute(shop.pg) as mute:
        shop.kafka, shop.mute, shop.folder = kafka, mute, folder
        yield shop


def shards(worker):
    return worker.metric("backoffice_relay_shards")


def handed_over(shop, cut, heal, **far):
    """
    Both relays have the same events to send while the broker is away: the first in its producer's queue when it is cut
    off, the second because it has the leases now. Only the second sends them when the broker is back.
    """
    shop.kafka.up("all")
    follower = follow(shop.kafka)
    settings = {"shards": SHARDS, "lease_ms": 3000, "heartbeat_ms": 500}
    first = shop.relay(shop.kafka, **settings, **far)
    second = shop.relay(shop.kafka, **settings)
    try:
        first.prefix = shop.prefix
        first.start()
        shop.emit(20)
        everything_there(follower, shop)
        shop.kafka.down("all")
        shop.emit(20)
        until(lambda: first.metric("backoffice_relay_in_flight_events") == 20, 20, "events that wait for the broker")
        cut()
        second.start()
        until(lambda: shards(second) == SHARDS, 30, "the second relay's leases")
        shop.kafka.up("all")
        everything_there(follower, shop)
        heal()
        until(lambda: shards(first) == SHARDS / 2, 40, "the first relay's share")
        shop.emit(20)
        log, parked = everything_there(follower, shop)
        check_stream(list(follower.messages), log, missing=parked)
        assert first.stop() == 0 and second.stop() == 0
    finally:
        first.kill9()
        second.kill9()
        follower.stop()


def test_hosts_that_say_nothing(shop):
    """Trying all of the database's hosts takes longer than the lease."""
    shop.prefix = []
    host = shop.mute.folder.name
    handed_over(shop, shop.mute.silence, shop.mute.speak,
                database=f"host={host},{host},{host},{host} port={shop.pg.port} dbname=shop user=worker")


def test_name_server_that_says_nothing(shop):
    """Nobody can hurry it: the whole program waits for it."""
    library, hang = os.path.join(shop.folder, "names.so"), os.path.join(shop.folder, "hang")
    subprocess.check_call(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library,
                           os.path.join(ROOT, "test/harness/names_shim.c")])
    shop.prefix = ["env", "LD_PRELOAD=" + library, "NAMES_HANG=" + hang]

    def cut():
        with open(hang, "w"):
            pass
        shop.query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE client_addr IS NOT NULL")

    handed_over(shop, cut, lambda: os.unlink(hang), database=f"host=database.test port={shop.pg.port} dbname=shop user=worker")


@contextlib.contextmanager
def ended_with_events_in_flight(shop, lease_ms, **of_the_first):
    """(first, second): the first relay has 20 events in its producer's queue, the broker is away, the second is not started. In the end each event came once."""
    shop.kafka.up("all")
    follower = follow(shop.kafka)
    settings = {"shards": SHARDS, "lease_ms": lease_ms, "heartbeat_ms": 500}
    first = shop.relay(shop.kafka, **settings, **of_the_first).start()
    second = shop.relay(shop.kafka, **settings)
    try:
        shop.emit(20)
        everything_there(follower, shop)
        shop.kafka.down("all")
        shop.emit(20)
        until(lambda: first.metric("backoffice_relay_in_flight_events") == 20, 20, "events that wait for the broker")
        yield first, second
        assert first.process.wait(60) == 0
        until(lambda: shards(second) == SHARDS, 30, "the second relay's leases")
        shop.emit(20)
        log, parked = everything_there(follower, shop)
        check_stream(list(follower.messages), log, missing=parked)
        assert second.stop() == 0
    finally:
        first.kill9()
        second.kill9()
        follower.stop()


def test_end_of_a_relay(shop):
    """It did not get rid of everything in time, and gives its leases back: from then on it sends nothing, however long its last words take."""
    with ended_with_events_in_flight(shop, 60000, database=shop.mute.dsn("shop", "worker"), drain_ms=0, statement_timeout_ms=5000) as (first, second):
        shop.mute.at("up", rb"(SELECT backoffice\.heartbeat.*stopped)")
        first.process.send_signal(signal.SIGTERM)
        assert shop.mute.fell.wait(10)
        second.start()
        until(lambda: shards(second) == SHARDS, 30, "the second relay's leases")
        shop.kafka.up("all")


def test_drains_longer_than_its_lease(shop):
    """While it waits for acknowledgements at its end, it keeps its leases: another relay would send the same events."""
    with ended_with_events_in_flight(shop, 2000, drain_ms=60000) as (first, second):
        first.process.send_signal(signal.SIGTERM)
        assert first.wait_log('"msg":"draining"')
        second.start()
        ends = shop.query("SELECT max(lease_until) FROM events.cursors")[0][0]
        until(lambda: shop.query("SELECT bool_and(lease_until > %s + interval '4 s') FROM events.cursors", (ends,))[0][0], what="time passing")
        shop.kafka.up("all")
    assert "leases dropped" not in first.text() and "ran out" not in first.text(), first.text()[-2000:]
