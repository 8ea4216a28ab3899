"""What the cases about the event log share."""
import contextlib
import json
import time

TOPIC = "test.faults"


def define(pg, dbname="d"):
    pg.query("SELECT events.define_topic(%s)", (TOPIC,), dbname=dbname)


@contextlib.contextmanager
def session(pg, dbname="d", user="postgres"):
    """A cursor that commits each statement. (psycopg2's own `with connection` is one transaction.)"""
    conn = pg.connect(dbname, user)
    try:
        yield conn.cursor()
    finally:
        conn.close()


def emit(cur, key, payload):
    cur.execute("SELECT events.emit(%s, %s, 'test.happened', %s)", (TOPIC, key, json.dumps(payload)))
    return cur.fetchone()[0]


def wait_for(what, condition, timeout_s=60):
    """Waits until condition() is true and returns its answer."""
    deadline = time.time() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.time() > deadline:
            raise AssertionError(f"waited {timeout_s} s in vain: {what}")
        time.sleep(0.02)


def read_all(cur, after=None, page=500):
    """Every readable event behind a position, page by page: (position, id, key, payload)."""
    events = []
    while True:
        cur.execute("SELECT position::text, id::text, key, payload FROM events.read(%s, %s)", (after, page))
        rows = cur.fetchall()
        if not rows:
            return events
        events.extend(rows)
        after = rows[-1][0]


def stored(cur):
    """Ids of every committed row, whatever the reader says."""
    cur.execute("SELECT id::text FROM events.log")
    return {row[0] for row in cur.fetchall()}


def wait_until_announced(cur, timeout_s=60):
    """Until everything that is committed can be read; returns it."""
    def announced():
        events = read_all(cur)
        return events if {e[1] for e in events} == stored(cur) else None
    return wait_for("every committed event is readable", announced, timeout_s)


def order_of(position):
    epoch, tick, seq = position.split(":")
    return int(tick), int(seq)


def check_history(events):
    """Once each, in ascending positions."""
    ids = [e[1] for e in events]
    assert len(ids) == len(set(ids)), "an event was read twice"
    orders = [order_of(e[0]) for e in events]
    assert orders == sorted(orders), "positions do not ascend"
    assert len(orders) == len(set(orders)), "two events with one position"


def workers(pg, dbname="d"):
    return pg.query("SELECT backend_type, pid FROM pg_stat_activity WHERE backend_type LIKE 'backoffice%%' AND datname = %s",
                    (dbname,))
