"""kafka-ingest where two things meet: an assignment and the first message, a topic and the one that was there before it."""
import contextlib
import json
import os
import subprocess
import tempfile

from harness.kafka import any_kafka, produce
from harness.pg import ROOT
from harness.shop import IN, Shop, until


@contextlib.contextmanager
def environment():
    with tempfile.TemporaryDirectory(prefix="backoffice-seams-", dir="/tmp") as folder, \
            any_kafka(real=True, topics={IN: 4}) as kafka, Shop() as shop:
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
