"""Certificates: the low-water mark under races, held-up transactions and kill -9: each passing is told once."""
import random
import threading
import time
from contextlib import ExitStack, closing

import psycopg2

from faults import _log
from faults.certificates_pools import SEED, act, check_conservation, organization, run
from harness.pg import Cluster

CODES, MARK = 80, 30


def make_pool(pg, org, pool):
    run(pg, org, ("SELECT certificates.create_pool(%s, 'EUR', 100, low_water => %s, hold => '1 day')", (pool, MARK)),
        ("SELECT certificates.generate_codes(%s, %s)", (pool, CODES)))


def moves(pg, pool):
    """The pool's moves as everybody reads them, in order: (what, the state then)."""
    return pg.query("""SELECT substr(type, 6), payload ->> 'status' FROM events.read(NULL, 1000000, '{GiftCertificates.Stream}')
        WHERE type LIKE 'pool.%%' AND type <> 'pool.imported' AND payload #>> '{payload,pool}' = %s""", (pool,), dbname="d")


def check_moves(pg, pool):
    """Told once per passing: low only of an open pool, empty only of a low one. Returns the last state."""
    told = moves(pg, pool)
    state = "empty"
    for what, to in told:
        assert what != "low" or (state, to) == ("open", "low"), (pool, told)
        assert what != "empty" or (state, to) == ("low", "empty"), (pool, told)
        state = to
    return state


def left(pg, pool):
    return pg.query("SELECT count(*) FROM certificates.certificates c JOIN certificates.pools p ON p.id = c.pool_id WHERE p.code = %s AND c.state = 'available'",
                    (pool,), dbname="d")[0][0]


class Buyer(threading.Thread):
    """Reserves from a pool until it is empty, now and then in vain (savepoints, whole transactions)."""

    def __init__(self, pg, org, pool, seed, isolation="READ COMMITTED", may_be_killed=False):
        super().__init__()
        self.pg, self.org, self.pool, self.isolation = pg, org, pool, isolation
        self.may_be_killed = may_be_killed
        self.random = random.Random(seed)
        self.error = None

    def run(self):
        try:
            with closing(self.pg.connect("d", autocommit=False)) as conn:
                while not self.attempt(conn):
                    pass
        except psycopg2.OperationalError as e:
            self.error = None if self.may_be_killed else e
        except Exception as e:
            self.error = e

    def attempt(self, conn):
        try:
            return self.transaction(conn)
        except psycopg2.errors.SerializationFailure:
            if self.isolation != "SERIALIZABLE":
                raise
            conn.rollback()
            return False

    def transaction(self, conn):
        empty = False
        with conn.cursor() as cur:
            cur.execute("SET TRANSACTION ISOLATION LEVEL " + self.isolation)
            act(cur, self.org)
            for _ in range(self.random.choice((1, 1, 2, 5))):
                if self.random.random() < 0.3:
                    cur.execute("SAVEPOINT s")
                    cur.execute("SELECT certificates.reserve_next(%s, 'pos')", (self.pool,))
                    cur.execute("ROLLBACK TO s")
                cur.execute("SELECT (certificates.reserve_next(%s, 'pos')).status", (self.pool,))
                empty |= cur.fetchone()[0] == "empty"
        if self.random.random() < 0.2:
            conn.rollback()
            return False
        conn.commit()
        return empty


def buy(pg, org, pool, seed, isolation="READ COMMITTED", meanwhile=lambda: None, may_be_killed=False):
    buyers = [Buyer(pg, org, pool, seed * 100 + n, isolation, may_be_killed) for n in range(8)]
    for b in buyers:
        b.start()
    meanwhile()
    for b in buyers:
        b.join(60)
        assert not b.is_alive() and b.error is None, b.error


def case_low_water_once():
    """Eight buyers pass the mark at once, some in vain, at every isolation level: told once, and before "empty"."""
    with Cluster() as pg:
        pg.create_database("d")
        org = organization(pg)
        for n, isolation in enumerate(("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE") * 3):
            make_pool(pg, org, f"p{n}")
            buy(pg, org, f"p{n}", SEED + n, isolation)
            _log.wait_for("the pool's end is readable", lambda: check_moves(pg, f"p{n}") == "empty")
            assert left(pg, f"p{n}") == 0
        check_conservation(pg, org)


def case_low_water_with_imports():
    """Codes come in while the pool runs dry: it is low again each time it runs low again."""
    with Cluster() as pg:
        pg.create_database("d")
        org = organization(pg)
        make_pool(pg, org, "gift")

        def imports():
            for _ in range(6):
                time.sleep(0.05)
                run(pg, org, "SELECT certificates.generate_codes('gift', 60)")
        buy(pg, org, "gift", SEED, meanwhile=imports)
        buy(pg, org, "gift", SEED + 1)
        _log.wait_for("the pool's end is readable", lambda: check_moves(pg, "gift") == "empty" and left(pg, "gift") == 0)
        assert [what for what, _ in moves(pg, "gift")].count("low") > 1


def case_low_water_waits_for_nobody():
    """Who passed the mark sleeps on its news, an import and a release do too: others go on, and nothing is told twice."""
    with Cluster() as pg, ExitStack() as open_ones:
        pg.create_database("d")
        org = organization(pg)
        make_pool(pg, org, "gift")

        def begin(statement):
            conn = open_ones.enter_context(closing(pg.connect("d", autocommit=False)))
            cur = conn.cursor()
            act(cur, org)
            cur.execute(statement)
            return conn
        first = run(pg, org, "SELECT (certificates.reserve_next('gift', 'pos')).id::text")[0][0]
        importing = begin("SELECT certificates.generate_codes('gift', 5)")
        releasing = begin(f"SELECT certificates.release('{first}')")
        sleeper = begin(f"SELECT certificates.reserve_next('gift', 'pos') FROM generate_series(1, {CODES - MARK})")
        for _ in range(10):
            run(pg, org, "SET statement_timeout = '3s'", "SELECT certificates.reserve_next('gift', 'pos')")
        assert check_moves(pg, "gift") == "open", moves(pg, "gift")
        sleeper.rollback()
        # 80 - 11: far from the mark again, and nobody has said otherwise
        assert check_moves(pg, "gift") == "open", moves(pg, "gift")
        run(pg, org, f"SELECT certificates.reserve_next('gift', 'pos') FROM generate_series(1, {CODES - MARK - 11})")
        _log.wait_for("it is told", lambda: check_moves(pg, "gift") == "low")
        importing.rollback()
        releasing.commit()
        _log.wait_for("one has come back", lambda: check_moves(pg, "gift") == "open")
        assert [what for what, _ in moves(pg, "gift")] == ["replenished", "low", "replenished"], moves(pg, "gift")


def case_low_water_killed():
    """kill -9 of everything while the mark is passed: afterwards it has been told once, or is told then."""
    with Cluster({"fsync": "on"}) as pg:
        pg.create_database("d")
        org = organization(pg)
        rnd = random.Random(SEED)
        for n in range(3):
            pool = f"p{n}"
            make_pool(pg, org, pool)

            def kill():
                _log.wait_for("the mark is near", lambda: left(pg, pool) <= MARK + 20)
                time.sleep(rnd.random() * 0.02)
                pg.kill9()
            buy(pg, org, pool, SEED + n, meanwhile=kill, may_be_killed=True)
            pg.start()
            _log.wait_for("the keeper has said what was left to say", lambda: check_moves(pg, pool) == (
                "open" if left(pg, pool) > MARK else "low" if left(pg, pool) else "empty"))
            buy(pg, org, pool, SEED - n - 1)
            _log.wait_for("the pool's end is readable", lambda: check_moves(pg, pool) == "empty" and left(pg, pool) == 0)
        check_conservation(pg, org)
