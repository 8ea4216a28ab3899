"""A database that falls mute after the log-in, without closing the connection: the workers give it up and go on with another one."""
import contextlib
import json

from harness.kafka import MockBroker, produce
from harness.mute import Mute
from harness.shop import IN, OUT, Shop, until

GRACE_S = 5         # of workers/lib/pg.c, beyond the statement timeout


@contextlib.contextmanager
def environment():
    with MockBroker(topics={IN: 4, OUT: 4}) as kafka, Shop() as shop, Mute(shop.pg) as mute:
        shop.kafka, shop.mute = kafka, mute
        far = {"database": mute.dsn("shop", "worker"), "statement_timeout_ms": 1000, "heartbeat_ms": 300}
        shop.relay(kafka, **far)
        shop.ingest(kafka, **far)
        yield shop


def heard(shop, worker):
    """Whether the worker itself, not one before it, tells that it runs."""
    name = json.loads(worker.wait_log('"msg":"started"'))["instance"]
    return shop.query("SELECT 1 FROM backoffice.workers WHERE instance = %s AND state = 'running' AND heartbeat > clock_timestamp() - interval '1 s'",
                      (name,))


def test_mute_database_at_the_first_words(shop):
    """The log-in is done, the session's settings are never answered."""
    for worker in shop.workers:
        shop.mute.at("up", rb"()SET statement_timeout")
        worker.start()
        try:
            assert shop.mute.fell.wait(10)
            until(lambda: heard(shop, worker), 10, "a heartbeat by another connection")
        finally:
            worker.kill9()


def test_mute_database_in_the_middle_of_an_answer(shop):
    """All of a query's result came, but not the end: libpq would wait for it for ever."""
    for worker in shop.workers:
        worker.start()
        try:
            until(lambda: heard(shop, worker), 10, "a heartbeat")
            shop.mute.at("down", rb"SELECT \d+\0(Z)")
            assert shop.mute.fell.wait(10)
            assert worker.wait_log("the server did not answer in time", 1 + GRACE_S + 5)
            until(lambda: heard(shop, worker), 10, "a heartbeat by another connection")
        finally:
            worker.kill9()


def test_mute_database_in_the_middle_of_a_batch(shop):
    """Nothing of it was stored, as far as anybody knows: it comes again, and once."""
    ingest = shop.workers[1]
    # Those of the cases before are members of their group still.
    ingest.settings["group"] = "batches"
    ingest.start()
    try:
        until(lambda: heard(shop, ingest), 10, "a heartbeat")
        shop.mute.at("up", rb"BEGIN.*(ingest_accept)")
        produce(shop.kafka.bootstrap, IN, [("k", json.dumps({"n": n, "eventId": f"m-{n}"})) for n in range(10)])
        assert shop.mute.fell.wait(20)
        assert ingest.wait_log("batch not stored", 1 + GRACE_S + 5)
        until(lambda: taken(shop) == list(range(10)), 20, "the batch, once")
    finally:
        ingest.kill9()


def taken(shop):
    return sorted(row[0] for row in shop.query("SELECT (payload->>'n')::int FROM events.read(NULL, 10000000, ARRAY[%s])", (IN,)))
