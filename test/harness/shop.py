"""What the end-to-end tests of the thin workers share: a database with topics and an organization, emitting, checking."""
import collections
import json
import sys
import time

from harness.kafka import Follower, consume
from harness.pg import Cluster
from harness.workers import Worker

OUT = "Test.Out"
IN = "Test.In"


class Shop:
    """A cluster with the database shop, a login role for the workers, one topic out (4 partitions) and one in."""

    def __init__(self, conf=None):
        self.pg = Cluster(conf)
        self.workers = []
        self.org = None
        self.emitted = 0
        self.discarded = set()

    def __enter__(self):
        self.pg.__enter__()
        self.pg.create_database("shop")
        # The password is never asked for (the test clusters trust): it is here to be looked for in the logs.
        self.query("CREATE ROLE worker LOGIN PASSWORD 'hunter2-secret' IN ROLE backoffice_worker")
        self.query("SELECT events.define_topic(%s, 'k', '8 days', 4, 'out')", (OUT,))
        self.query("SELECT events.define_topic(%s, NULL, '7 days', 4, 'in')", (IN,))
        self.query("SELECT events.define_schema(%s, NULL, '{\"type\": \"object\", \"required\": [\"n\"]}')", (IN,))
        self.org = str(self.query("SELECT access.create_organization('shop')")[0][0])
        return self

    def __exit__(self, *exc):
        for worker in self.workers:
            worker.__exit__()
        self.pg.__exit__(*exc)

    def query(self, sql, params=None, user="postgres"):
        return self.pg.query(sql, params, dbname="shop", user=user)

    def worker(self, program, kafka, **settings):
        settings.setdefault("database", self.pg.dsn("shop", "worker") + " password=hunter2-secret")
        worker = Worker(program, kafka_bootstrap=kafka.bootstrap, **settings)
        self.workers.append(worker)
        return worker

    def relay(self, kafka, **settings):
        # Foreign out-topics (the business's own) stay out of the way.
        return self.worker("kafka-relay", kafka, **{"topics": OUT, **settings})

    def ingest(self, kafka, **settings):
        return self.worker("kafka-ingest", kafka, **{"topics": IN, "organization": self.org, **settings})

    def emit(self, count, keys=10, per_transaction=100, topic=OUT, size=20, pause_s=0.0):
        """Emits events, n counting up, round robin over the keys k0, k1, …"""
        first = self.emitted
        self.emitted += count
        conn = self.pg.connect("shop", autocommit=False)
        try:
            with conn.cursor() as cur:
                for start in range(first, first + count, per_transaction):
                    cur.execute("SELECT access.act_as(%s, NULL)", (self.org,))
                    cur.execute("SELECT count(events.emit(%s, 'k' || n %% %s, 'test.happened',"
                                " jsonb_build_object('n', n, 'pad', repeat('x', %s)), NULL)) FROM generate_series(%s, %s) AS n",
                                (topic, keys, size, start, min(start + per_transaction, first + count) - 1))
                    conn.commit()
                    if pause_s:
                        time.sleep(pause_s)
        finally:
            conn.close()

    def log_ids(self, topic=OUT):
        """Event id -> (key, n) of the log, in its order; waits until everything emitted is readable."""
        deadline = time.time() + 60
        while True:
            rows = self.query("SELECT id, key, (payload->>'n')::int FROM events.read(NULL, 10000000, ARRAY[%s])", (topic,))
            if topic != OUT or len(rows) >= self.emitted:
                return {str(r[0]): (r[1], r[2]) for r in rows}
            assert time.time() < deadline, f"{len(rows)} of {self.emitted} events became readable"
            time.sleep(0.05)

    def parked(self):
        return self.query("SELECT id, key, reason, state FROM events.parked ORDER BY position")

    def report(self):
        return "\n".join(f"-- {w.program}\n" + "\n".join(w.text().splitlines()[-40:]) for w in self.workers) + \
            "\n-- server\n" + self.pg.tail_log(20)


def check_stream(messages, log, once=True, missing=()):
    """Every log event is in Kafka, nothing else is; first occurrences in order per key; once: no event twice."""
    seen = collections.OrderedDict()
    copies = collections.Counter()
    for m in messages:
        event_id = m.headers["ce_id"]
        copies[event_id] += 1
        seen.setdefault(event_id, m)
    foreign = [i for i in seen if i not in log]
    assert not foreign, f"{len(foreign)} ids in Kafka that are not in the log: {foreign[:3]}"
    lost = [i for i in log if i not in seen and i not in missing]
    assert not lost, f"{len(lost)} of {len(log)} events are not in Kafka: {lost[:3]}"
    if once:
        twice = [i for i, n in copies.items() if n > 1]
        assert not twice, f"{len(twice)} events came more than once: {twice[:3]}"
    order = collections.defaultdict(list)
    for event_id, m in seen.items():
        assert m.key == log[event_id][0], f"key {m.key} instead of {log[event_id][0]}"
        order[m.key].append(json.loads(m.value)["n"])
    for key, numbers in order.items():
        assert numbers == sorted(numbers), f"key {key} out of order: {numbers[:50]}"
    return copies


def follow(kafka, topic=OUT):
    return Follower(kafka.bootstrap, topic)


def until(condition, timeout_s=60, what="it"):
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {timeout_s} s")


def everything_there(follower, shop, timeout_s=60):
    """Waits until every event of the log was followed or is parked; returns the log and the ids that are parked."""
    log = shop.log_ids()

    def absent():
        return set(log) - {m.headers["ce_id"] for m in list(follower.messages)}

    deadline = time.time() + timeout_s
    while True:
        left = absent()
        parked = {str(row[0]) for row in shop.parked()} | shop.discarded
        if left <= parked:
            return log, parked
        if time.time() > deadline:
            read_again(follower)
            left = absent()
            assert left <= parked, f"{len(left - parked)} of {len(log)} events did not come, neither to the follower nor to a fresh reader"
        follower.wait_for(lambda ms: not absent(), 0.3)


def read_again(follower):
    """What is in Kafka is what a fresh reader finds there: a follower that saw its partitions' leaders move may have missed some."""
    found = consume(follower.bootstrap, follower.topics, timeout_s=20, quiet_s=3)
    print(f"the follower has {len(follower.messages)} messages, a fresh reader {len(found)}", file=sys.stderr, flush=True)
    if len(found) >= len(follower.messages):
        follower.messages[:] = found
