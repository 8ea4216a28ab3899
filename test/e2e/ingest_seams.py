"""kafka-ingest where two things meet: an assignment and the first message, a topic and the one that was there before it."""
import contextlib
import json
import os
import socket
import subprocess
import tempfile

from harness.kafka import RealKafka, delete_topic, produce
from harness.pg import ROOT
from harness.shop import IN, Shop, until


@contextlib.contextmanager
def environment():
    with tempfile.TemporaryDirectory(prefix="backoffice-seams-", dir="/tmp") as folder, \
            RealKafka(topics={IN: 4}) as kafka, Shop() as shop:
        shop.kafka = kafka
        shop.folder = folder
        yield shop


def numbers(shop, topic=IN):
    return sorted(r[0] for r in shop.query("SELECT (payload->>'n')::int FROM events.read(NULL, 10000000, ARRAY[%s])", (topic,)))


def saved(shop, topic=IN):
    """What the database remembers, in messages."""
    return shop.query("SELECT coalesce(sum(\"offset\"), 0)::int FROM events.source_offsets('backoffice-ingest') WHERE topic = %s", (topic,))[0][0]


def late(shop, worker):
    """Lets an assignment return late (late_shim.c)."""
    library = os.path.join(shop.folder, "late.so")
    subprocess.check_call(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library,
                           os.path.join(ROOT, "test/harness/late_shim.c")])
    worker.prefix = ["env", "LD_PRELOAD=" + library]
    return worker


def test_first_message_of_a_late_assignment(shop):
    """The poll that tells of the assignment can return a message already: it must not be thrown away, its offset would be saved."""
    produce(shop.kafka.bootstrap, IN, [(f"k{n}", json.dumps({"n": n})) for n in range(100)])
    worker = late(shop, shop.ingest(shop.kafka)).start()
    until(lambda: saved(shop) == 100, 40, "saving all offsets")
    assert worker.stop() == 0
    until(lambda: len(numbers(shop)) == 100, 5, "an event of each message")


def test_many_topics(shop):
    """Their names are longer, all together, than any buffer: the last one is read too; and none once they are no longer to be read."""
    names = [f"Many.{'x' * 150}.{n:02d}" for n in range(60)]
    define = "SELECT events.define_topic(name, NULL, '7 days', 1, %s) FROM unnest(%s::text[]) AS name"
    shop.query(define, ("in", names))
    for name in (names[0], names[-1]):
        shop.kafka.create_topic(name, 1)
        produce(shop.kafka.bootstrap, name, [("k", '{"n": 1}')])
    worker = shop.ingest(shop.kafka, topics=",".join(names), heartbeat_ms=500).start()
    until(lambda: numbers(shop, names[0]) == [1], 30, "reading the first topic")
    until(lambda: numbers(shop, names[-1]) == [1], 10, "reading the last topic")
    shop.query(define, ("internal", names))
    until(lambda: worker.metric("backoffice_ingest_partitions") == 0, 20, "leaving topics that are no longer read")
    assert worker.stop() == 0


def send(shop, topic, first, count):
    produce(shop.kafka.bootstrap, topic, [("k", json.dumps({"n": n, "eventId": f"m-{n}"})) for n in range(first, first + count)])


def anew(shop, topic):
    delete_topic(shop.kafka.bootstrap, topic)
    shop.kafka.create_topic(topic, 1)


def alerts(shop, topic):
    return [r[0] for r in shop.query("SELECT payload FROM events.read(NULL, 10000000, ARRAY['backoffice.alerts'])"
                                     " WHERE type = 'inbound.rewound' AND key = %s", (topic,))]


def begin(shop, topic):
    shop.query("SELECT events.define_topic(%s, NULL, '7 days', 1, 'in')", (topic,))
    shop.kafka.create_topic(topic, 1)
    return shop.ingest(shop.kafka, topics=topic, heartbeat_ms=500, session_timeout_ms=6000)


def test_topic_made_anew_while_away(shop):
    """Its offsets begin at 0 again. All is read, and where to go on is right too: not where the old topic had ended."""
    worker = begin(shop, "Anew.Away")
    send(shop, "Anew.Away", 0, 100)
    worker.start()
    until(lambda: numbers(shop, "Anew.Away") == list(range(100)), 30, "reading the first topic")
    assert worker.stop() == 0
    anew(shop, "Anew.Away")
    send(shop, "Anew.Away", 100, 60)
    worker.start()
    until(lambda: numbers(shop, "Anew.Away") == list(range(160)), 30, "reading the second topic")
    assert worker.stop() == 0
    send(shop, "Anew.Away", 160, 60)
    assert alerts(shop, "Anew.Away") == [{"group": "backoffice-ingest", "topic": "Anew.Away", "partition": "0", "offset": "0"}]
    worker.start()
    until(lambda: numbers(shop, "Anew.Away")[-1] == 219, 30, "reading the second topic's end")
    assert worker.stop() == 0
    lost = sorted(set(range(220)) - set(numbers(shop, "Anew.Away")))
    assert not lost, f"{len(lost)} messages are lost: {lost[0]} .. {lost[-1]}"


def test_topic_made_anew_while_reading(shop):
    worker = begin(shop, "Anew.Reading").start()
    send(shop, "Anew.Reading", 0, 100)
    until(lambda: numbers(shop, "Anew.Reading") == list(range(100)), 30, "reading the first topic")
    anew(shop, "Anew.Reading")
    send(shop, "Anew.Reading", 100, 60)
    until(lambda: numbers(shop, "Anew.Reading") == list(range(160)), 60, "reading the second topic")
    worker.kill9()
    assert len(alerts(shop, "Anew.Reading")) == 1
    send(shop, "Anew.Reading", 160, 60)
    worker.start()
    until(lambda: numbers(shop, "Anew.Reading")[-1] == 219, 60, "reading the second topic's end")
    assert worker.stop() == 0
    lost = sorted(set(range(220)) - set(numbers(shop, "Anew.Reading")))
    assert not lost, f"{len(lost)} messages are lost: {lost[0]} .. {lost[-1]}"


def test_slow_batch(shop):
    """A batch may take longer than the server may be silent, as long as it gets on; the service manager hears that it does."""
    shop.query("CREATE FUNCTION public.slowly() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END'")
    worker = begin(shop, "Slow")
    worker.settings["statement_timeout_ms"] = 1000
    shop.query("CREATE TRIGGER slowly BEFORE INSERT ON events.inbox FOR EACH ROW EXECUTE FUNCTION public.slowly()")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(os.path.join(shop.folder, "notify"))
    manager.settimeout(7)
    worker.prefix = ["env", "NOTIFY_SOCKET=" + os.path.join(shop.folder, "notify"), "WATCHDOG_USEC=2000000"]
    send(shop, "Slow", 0, 50)
    try:
        worker.start()
        until(lambda: manager.recv(100) and numbers(shop, "Slow") == list(range(50)), 40, "fifty messages at 0.3 s each")
        assert worker.metric("backoffice_ingest_batches_total") <= 2, "one of the batches took longer than the server may be silent"
        assert worker.stop() == 0
    finally:
        manager.close()
        shop.query("DROP TRIGGER slowly ON events.inbox")


def test_long_error_in_another_alphabet(shop):
    """What is cut of it is cut between characters: the heartbeat that tells it would be refused, and every one after it."""
    why = "\u0416" * 200
    shop.query("CREATE FUNCTION public.busy() RETURNS trigger LANGUAGE plpgsql AS"
               f" $$BEGIN RAISE EXCEPTION '{why}' USING ERRCODE = 'serialization_failure'; END$$")
    worker = begin(shop, "Alphabet")
    shop.query("CREATE TRIGGER busy BEFORE INSERT ON events.inbox FOR EACH ROW EXECUTE FUNCTION public.busy()")
    send(shop, "Alphabet", 0, 1)
    try:
        worker.start()
        assert worker.wait_log("batch not stored", 40)
        until(lambda: shop.query("SELECT 1 FROM backoffice.workers WHERE instance = %s AND starts_with(last_error, %s)",
                                 (worker.lines()[-1]["instance"], why[:50])), 10, "a heartbeat with the error")
    finally:
        shop.query("DROP TRIGGER busy ON events.inbox")
    until(lambda: numbers(shop, "Alphabet") == [0], 30, "storing the message after all")
    assert worker.stop() == 0


def test_stop_while_the_broker_hangs(shop):
    """It accepts connections and answers nothing: leaving the group is tried for some seconds only."""
    worker = begin(shop, "Stop").start()
    send(shop, "Stop", 0, 5)
    until(lambda: len(numbers(shop, "Stop")) == 5, 30, "reading")
    shop.kafka.freeze()
    try:
        assert worker.stop(20) == 0
    finally:
        shop.kafka.thaw()
