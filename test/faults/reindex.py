"""Indexes made anew while everybody works: REINDEX ... CONCURRENTLY of the tables that are written without the executor."""
import threading

from faults import _log
from faults.sessions import SETUP, login, refresh
from harness.pg import Cluster

TABLES = ("certificates.certificates", "certificates.pools", "access.sessions", "events.log_0", "events.ticks_0", "events.epochs")


class Everybody:
    """One session that imports, reserves, passes the low-water mark and refreshes its log-in."""

    def __init__(self, pg, cursor):
        self.pg, self.cursor = pg, cursor
        self.login = login(cursor)

    def work(self):
        for statement in ("BEGIN", "SELECT access.act_as((SELECT id FROM access.organizations WHERE name = 'Acme'))",
                          "SELECT certificates.generate_codes('gift', 3)"):
            self.cursor.execute(statement)
        for _ in range(3):
            self.cursor.execute("SELECT (certificates.reserve_next('gift', 'pos')).status")
            assert self.cursor.fetchone()[0] == "reserved"
        self.cursor.execute("COMMIT")
        self.login = refresh(self.cursor, self.login)
        assert self.login["status"] == "ok", self.login
        self.cursor.execute("SELECT events.position()")
        before, = self.cursor.fetchone()
        _log.emit(self.cursor, "k", {})
        _log.wait_for("the event is announced", lambda: self.pg.query(
            "SELECT count(*) FROM events.read(%s)", (before,), dbname="d")[0][0] > 0)


def reindex(pg, table, meanwhile):
    """meanwhile() runs when the new indexes are there, but nobody may write to them yet."""
    failure = []

    def run():
        try:
            pg.query(f"REINDEX TABLE CONCURRENTLY {table}", dbname="d")
        except Exception as e:      # pylint: disable=broad-except
            failure.append(e)

    thread = threading.Thread(target=run)
    with _log.session(pg) as busy:
        busy.execute("BEGIN")
        busy.execute(f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
        thread.start()
        _log.wait_for("the new indexes are there", lambda: failure or pg.query(
            "SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass AND NOT indisready", (table,), dbname="d")[0][0] > 0)
        meanwhile()
        busy.execute("ROLLBACK")
    thread.join()
    assert not failure, failure


def case_concurrently():
    with Cluster() as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        pg.query("CREATE EXTENSION amcheck", dbname="d")
        _log.define(pg)
        with _log.session(pg) as cursor:
            everybody = Everybody(pg, cursor)
            cursor.execute("BEGIN")
            cursor.execute("SELECT access.act_as((SELECT id FROM access.organizations WHERE name = 'Acme'))")
            cursor.execute("SELECT certificates.create_pool('gift', 'EUR', 100, low_water => 1)")
            cursor.execute("COMMIT")
            everybody.work()
            for table in TABLES:
                if pg.query("SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass", (table,), dbname="d")[0][0] == 0:
                    continue
                try:
                    reindex(pg, table, everybody.work)
                    everybody.work()
                except Exception as e:
                    raise AssertionError(f"{table}: {e}") from e
                pg.query("SELECT bt_index_check(indexrelid, true) FROM pg_index WHERE indrelid = %s::regclass", (table,), dbname="d")


def case_added():
    """Indexes that somebody adds, of expressions and of some rows only: they have what they are about, and nothing else."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.psql("d", SETUP + "\nCREATE EXTENSION amcheck;")
        pg.query("CREATE INDEX upper ON certificates.certificates (upper(code_last4))", dbname="d")
        pg.query("CREATE INDEX held ON certificates.certificates (hold_until) WHERE state = 'reserved'", dbname="d")
        act = "SELECT access.act_as((SELECT id FROM access.organizations WHERE name = 'Acme'));"
        pg.psql("d", f"BEGIN; {act} SELECT certificates.create_pool('gift', 'EUR', 100), certificates.generate_codes('gift', 200); COMMIT;")
        pg.psql("d", f"BEGIN; {act} SELECT certificates.reserve_next('gift', 'pos') FROM generate_series(1, 3); COMMIT;")
        for index, condition, found in (("held", "state = 'reserved' AND hold_until IS NULL", 0), ("held", "state = 'reserved' AND hold_until > now()", 3),
                                        ("upper", "upper(code_last4) > ''", 200)):
            settings = "SET enable_seqscan = off; SET enable_bitmapscan = off;"
            plan = pg.psql("d", f"{settings} EXPLAIN SELECT count(*) FROM certificates.certificates WHERE {condition};")
            assert f"using {index} " in plan, plan
            count = pg.psql("d", f"\\pset tuples_only on\n{settings} SELECT count(*) FROM certificates.certificates WHERE {condition};").split()[-1]
            assert int(count) == found, (condition, count)
        pg.query("SELECT bt_index_check(i, true) FROM unnest('{certificates.held, certificates.upper}'::regclass[]) i", dbname="d")
