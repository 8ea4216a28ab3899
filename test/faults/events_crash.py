"""Crashes: what was announced never vanishes, what is durable is announced once."""
import os
import signal
import threading
import time

import psycopg2

from faults import _log
from harness.pg import Cluster


class Emitter(threading.Thread):
    """Emits in single transactions until the server goes away; acknowledged ids in order."""

    def __init__(self, pg, number, synchronous_commit, stop=None):
        super().__init__()
        self.pg, self.number, self.mode = pg, number, synchronous_commit
        self.acknowledged, self.stop = [], stop or threading.Event()

    def run(self):
        try:
            conn = self.pg.connect("d")
            cur = conn.cursor()
            cur.execute(f"SET synchronous_commit = {self.mode}")
            count = 0
            while not self.stop.is_set():
                count += 1
                self.acknowledged.append(_log.emit(cur, f"key-{self.number}", {"count": count}))
        except psycopg2.Error:
            pass


class Follower(threading.Thread):
    """Reads as a relay does; whatever it has read counts as published."""

    def __init__(self, pg):
        super().__init__()
        self.pg, self.published = pg, []

    def run(self):
        try:
            cur = self.pg.connect("d").cursor()
            while True:
                after = self.published[-1][0] if self.published else None
                cur.execute("SELECT position::text, id::text, key, payload FROM events.read(%s, 1000)", (after,))
                rows = cur.fetchall()
                self.published.extend(rows)
                if not rows:
                    time.sleep(0.0005)
        except psycopg2.Error:
            pass


def case_postmaster_killed():
    """kill -9 of everything, with asynchronous and synchronous commits: nothing published vanished, nothing acknowledged
    as durable is lost, a follower goes on where it was."""
    with Cluster({"fsync": "on", "wal_writer_delay": "'200ms'"}) as pg:
        pg.create_database("d")
        _log.define(pg)
        published = []
        for round_ in range(3):
            emitters = [Emitter(pg, n, "off" if n < 2 else "on") for n in range(3)]
            follower = Follower(pg)
            follower.published = list(published)
            for thread in emitters + [follower]:
                thread.start()
            time.sleep(1.0)
            pg.kill9()
            for thread in emitters + [follower]:
                thread.join()
            assert len(follower.published) > len(published), "nothing was published"
            pg.start()
            with _log.session(pg) as cur:
                new = _log.emit(cur, "afterwards", {"round": round_})
                events = _log.wait_until_announced(cur)
                ids = [e[1] for e in events]
                _log.check_history(events)
                assert events[:len(follower.published)] == follower.published, "what was published is not what the log has now"
                lost = set(map(str, emitters[2].acknowledged)) - set(ids)
                assert not lost, f"{len(lost)} durable events lost"
                assert ids[-1] == new or new in ids[len(follower.published):], "the new event is not behind the old ones"
                published = follower.published + _log.read_all(cur, follower.published[-1][0])
                assert published == events, "going on from the last position skips or repeats"


def case_worker_killed():
    """kill -9 of the ticker, keeper and launcher (the postmaster restarts everything), SIGTERM in between."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        for kind, how in (("backoffice ticker", signal.SIGKILL), ("backoffice keeper", signal.SIGKILL),
                          ("backoffice launcher", signal.SIGKILL), ("backoffice ticker", signal.SIGTERM),
                          ("backoffice launcher", signal.SIGTERM), ("backoffice ticker", signal.SIGTERM)):
            emitter = Emitter(pg, 1, "on")
            emitter.start()
            time.sleep(0.3)
            pid = _log.wait_for(kind, lambda: pg.query("SELECT pid FROM pg_stat_activity WHERE backend_type = %s", (kind,)))[0][0]
            os.kill(pid, how)
            time.sleep(0.3)
            emitter.stop.set()
            emitter.join()

            def reachable():
                try:
                    return pg.query("SELECT 1")
                except psycopg2.OperationalError:
                    return None
            _log.wait_for("the server is back", reachable)
            with _log.session(pg) as cur:
                events = _log.wait_until_announced(cur)
                _log.check_history(events)
                lost = set(map(str, emitter.acknowledged)) - {e[1] for e in events}
                assert not lost, f"{kind}: {len(lost)} lost"
        # Each kind is there, once.
        _log.wait_for("all workers", lambda: sorted(w[0] for w in _log.workers(pg)) ==
                      ["backoffice dispatcher", "backoffice keeper", "backoffice ticker"])


def case_ticker_restarts_under_load():
    """SIGTERM of the ticker again and again while transactions emit and a follower reads."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        emitters = [Emitter(pg, n, "off") for n in range(2)]
        for thread in emitters:
            thread.start()
        for _ in range(12):
            pid = pg.query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'backoffice ticker' AND datname = 'd'")
            if pid:
                os.kill(pid[0][0], signal.SIGTERM)
            time.sleep(0.15)
        for thread in emitters:
            thread.stop.set()
            thread.join()
        with _log.session(pg) as cur:
            events = _log.wait_until_announced(cur, 90)
            _log.check_history(events)
            for emitter in emitters:
                mine = [e[1] for e in events if e[2] == f"key-{emitter.number}"]
                assert mine == list(map(str, emitter.acknowledged)), "order of one emitter"


def case_two_phase_across_a_crash():
    """Prepared before the crash, committed after it, from another backend: readable once, behind what was read before."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        with _log.session(pg) as cur:
            cur.execute("BEGIN")
            first = _log.emit(cur, "a", {"n": 1})
            cur.execute("PREPARE TRANSACTION 'one'")
            cur.execute("BEGIN")
            _log.emit(cur, "a", {"n": 2})
            cur.execute("PREPARE TRANSACTION 'two'")
            between = _log.emit(cur, "b", {"n": 3})
            before = _log.wait_for("the plain event", lambda: _log.read_all(cur))
            assert [e[1] for e in before] == [str(between)]
        pg.kill9()
        pg.start()
        with _log.session(pg) as cur:
            cur.execute("ROLLBACK PREPARED 'two'")
            cur.execute("COMMIT PREPARED 'one'")
            after = _log.wait_for("the prepared event", lambda: _log.read_all(cur, before[-1][0]))
            assert [e[1] for e in after] == [str(first)]
            _log.check_history(_log.read_all(cur))


def case_synchronous_standby_away():
    """What no synchronous standby has is not announced, however it was committed; it is as soon as nobody asks for one."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        with _log.session(pg) as cur:
            _log.emit(cur, "before", {})
            before = _log.wait_until_announced(cur)
            pg.query("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            pg.query("SELECT pg_reload_conf()")
            cur.execute("SET synchronous_commit = local")
            time.sleep(0.3)
            _log.emit(cur, "alone", {})
            time.sleep(1.5)
            assert _log.read_all(cur) == before, "announced although no standby has it"
            # A ticker that is sent away while it waits does not announce either.
            pg.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'backoffice ticker'")
            time.sleep(1.5)
            assert _log.read_all(cur) == before, "announced by a ticker that did not wait"
            pg.psql("postgres", "SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf();")
            assert len(_log.wait_until_announced(cur)) == 2
