"""Order and completeness of the log under a seeded mix of everything transactions do."""
import os
import random
import threading
import time

import psycopg2

from faults import _log
from harness.pg import Cluster

SEED = int(os.environ.get("SEED", "20261121"))


class Writer(threading.Thread):
    """Random transactions. Each event's payload has the version of its key, taken under the key's row lock."""

    def __init__(self, pg, number, until):
        super().__init__()
        self.pg, self.number, self.until = pg, number, until
        self.random = random.Random(SEED * 1000 + number)
        self.error = None

    def run(self):
        try:
            conn = self.pg.connect("d", autocommit=False)
            cur = conn.cursor()
            count = 0
            while time.time() < self.until:
                count += 1
                self.transaction(conn, cur, f"tx-{self.number}-{count}")
            conn.close()
        except Exception as e:
            self.error = e

    def some_events(self, cur):
        for _ in range(self.random.choice((1, 1, 1, 2, 5))):
            key = self.random.randrange(8)
            cur.execute("UPDATE entity SET version = version + 1 WHERE id = %s RETURNING version", (key,))
            _log.emit(cur, str(key), {"version": cur.fetchone()[0]})

    def transaction(self, conn, cur, gid):
        choice = self.random.random()
        cur.execute("SET LOCAL deadlock_timeout = '5ms'")
        if self.random.random() < 0.3:
            cur.execute("SET LOCAL synchronous_commit = off")
        try:
            if choice < 0.2:
                # An id of its own long before the first event.
                cur.execute("SELECT pg_current_xact_id()")
                time.sleep(self.random.random() * 0.05)
            self.some_events(cur)
            if choice < 0.4:
                cur.execute("SAVEPOINT s")
                self.some_events(cur)
                cur.execute("ROLLBACK TO SAVEPOINT s" if self.random.random() < 0.6 else "RELEASE SAVEPOINT s")
            if choice < 0.1:
                time.sleep(self.random.random() * 0.1)
            if choice > 0.9:
                cur.execute(f"PREPARE TRANSACTION '{gid}'")
                conn.rollback()
                time.sleep(self.random.random() * 0.02)
                conn.autocommit = True
                cur.execute(("COMMIT" if self.random.random() < 0.7 else "ROLLBACK") + f" PREPARED '{gid}'")
                conn.autocommit = False
            elif choice > 0.8:
                conn.rollback()
            else:
                conn.commit()
        except psycopg2.errors.DeadlockDetected:
            conn.rollback()


class Reader(threading.Thread):
    def __init__(self, pg, until, isolation, page):
        super().__init__()
        self.pg, self.until, self.isolation, self.page = pg, until, isolation, page
        self.events, self.error = [], None

    def run(self):
        try:
            conn = self.pg.connect("d", autocommit=False)
            conn.set_session(isolation_level=self.isolation)
            cur = conn.cursor()
            after = None
            while time.time() < self.until:
                cur.execute("SELECT position::text, id::text, key, payload FROM events.read(%s, %s)", (after, self.page))
                rows = cur.fetchall()
                conn.commit()
                self.events.extend(rows)
                after = rows[-1][0] if rows else after
                if not rows:
                    time.sleep(0.001)
            conn.close()
        except Exception as e:
            self.error = e


def check_versions(events):
    """Order per key = order of commits: versions of a key go up by one, none missing."""
    versions = {}
    for position, _, key, payload in events:
        assert payload["version"] == versions.get(key, 0) + 1, f"key {key} at {position}: {versions.get(key, 0)} then {payload['version']}"
        versions[key] = payload["version"]
    return versions


def case_random_mix():
    """Rollbacks, savepoints, long transactions, 2PC, async commits; three kinds of readers: each committed event once, in order."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        pg.query("CREATE TABLE entity AS SELECT id, 0 AS version FROM generate_series(0, 7) id", dbname="d")
        until = time.time() + 8
        threads = [Writer(pg, n, until) for n in range(6)]
        readers = [Reader(pg, until + 2.5, isolation, page)
                   for isolation, page in (("READ COMMITTED", 1000), ("REPEATABLE READ", 7), ("SERIALIZABLE", 50))]
        for thread in threads + readers:
            thread.start()
        for thread in threads + readers:
            thread.join()
            assert thread.error is None, thread.error
        with _log.session(pg) as cur:
            committed = _log.stored(cur)
            cur.execute("SELECT id::text, version FROM entity WHERE version > 0")
            expected = dict(cur.fetchall())
            afterwards = _log.read_all(cur)
        assert len(committed) > 500, f"only {len(committed)} events"
        _log.check_history(afterwards)
        for reader in readers:
            assert {e[1] for e in reader.events} == committed, \
                f"{reader.isolation}: {len(reader.events)} read, {len(committed)} committed"
            assert reader.events == afterwards, f"{reader.isolation}: another order than afterwards"
            assert check_versions(reader.events) == expected
