"""In-database handlers: exactly once, in order per key, whatever dies."""
import contextlib
import os
import random
import signal
import threading
import time

import psycopg2

from faults import _log
from harness.pg import Cluster

SEED = int(os.environ.get("SEED", "20261121"))

SETUP = """
CREATE ROLE app LOGIN;
GRANT backoffice_service TO app;
CREATE SCHEMA app AUTHORIZATION app;
SELECT events.define_topic('test.faults', direction => 'internal');
SET ROLE app;
CREATE TABLE app.effects (n bigserial PRIMARY KEY, event uuid NOT NULL, key text, version int, who name);
"""

FAST = {"backoffice.handler_retry_min_ms": "20", "backoffice.handler_retry_max_ms": "100"}


def set_up(pg, handler, more="", **options):
    pg.create_database("d")
    arguments = "".join(f", {name} => {value}" for name, value in options.items())
    pg.psql("d", SETUP + more + f"""
CREATE FUNCTION app.handle(e events.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    {handler}
    INSERT INTO app.effects (event, key, version, who) VALUES (e.id, e.key, (e.payload->>'version')::int, current_user);
END $$;
SELECT events.subscribe('app', '{{test.faults}}', 'app.handle(events.event)', start => 'earliest'{arguments});
""")


def dispatcher(pg):
    rows = [pid for kind, pid in _log.workers(pg) if kind == "backoffice dispatcher"]
    return rows[0] if rows else None


def effects(pg):
    return pg.query("SELECT event::text, key, version FROM app.effects ORDER BY n", dbname="d")


def emitted(pg):
    return {row[0] for row in pg.query("SELECT l.id::text FROM events.log l JOIN events.topics t ON t.id = l.topic_id"
                                       " WHERE t.name = 'test.faults'", dbname="d")}


def parked(pg, state=None):
    return pg.query("SELECT id::text, key, state, attempts, reason FROM events.parked"
                    " WHERE %s::text IS NULL OR state = %s ORDER BY position", (state, state), dbname="d")


def try_query(pg, *args):
    """[] while the server restarts."""
    try:
        return pg.query(*args, dbname="d")
    except Exception:
        return []


def check_exactly_once(pg):
    rows = effects(pg)
    ids = [row[0] for row in rows]
    assert len(ids) == len(set(ids)), "an event had its effect twice"
    assert set(ids) == emitted(pg), f"{len(emitted(pg))} events, {len(ids)} effects"
    last = {}
    for _, key, version in rows:
        assert version > last.get(key, 0), f"key {key}: version {version} after {last.get(key)}"
        last[key] = version


def emit_many(pg, first, count, keys=10):
    pg.psql("d", f"SELECT count(events.emit('test.faults', (i % {keys})::text, 'test', jsonb_build_object('version', i)))"
                 f" FROM generate_series({first}, {first + count - 1}) AS i;")


def case_effects_once_across_dispatcher_kills():
    """20 kills at random moments: terminated, and killed -9, which restarts the server."""
    rng = random.Random(SEED)
    with Cluster({"backoffice.handler_batch_events": "50", **FAST}) as pg:
        set_up(pg, "PERFORM pg_sleep(0.0005);")
        number = 1
        for kill in range(20):
            emit_many(pg, number, 200)
            number += 200
            pid = _log.wait_for("a dispatcher", lambda: try_dispatcher(pg))
            time.sleep(rng.random() * 0.15)
            if kill % 4 == 3:
                with contextlib.suppress(ProcessLookupError):       # it may just have ended for a reason of its own
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
                _log.wait_for("the server is back", lambda: try_query(pg, "SELECT 1"), 60)
            else:
                pg.query("SELECT pg_terminate_backend(%s)", (pid,), dbname="d")
        _log.wait_for("every event had its effect", lambda: len(effects(pg)) >= number - 1, 120)
        time.sleep(0.5)
        check_exactly_once(pg)
        assert not parked(pg), parked(pg)


def case_rare_events_among_many_others():
    """What a subscription waits for is found whoever commits late: 40,000 events of another topic, and one in fifty of its own,
    some in transactions that stay open over many ticks, are prepared, rolled back, or in part; the server is killed on the way."""
    rng = random.Random(SEED)
    with Cluster({"backoffice.tick_interval_ms": "1", "max_prepared_transactions": "10", **FAST}) as pg:
        set_up(pg, "")
        pg.psql("d", "SELECT events.define_topic('test.others', direction => 'internal');")
        own = "SELECT events.emit('test.faults', '{0}', 'test', '{{\"version\": {0}}}');"
        prepared, number = [], 0

        def others(count):
            for _ in range(count):
                pg.psql("d", "SELECT count(events.emit('test.others', i::text, 'test', '{}')) FROM generate_series(1, 50) AS i;")

        for step in range(8):
            late = []
            for _ in range(4):
                connection = pg.connect("d")
                connection.autocommit = False
                number += 1
                connection.cursor().execute(own.format(number))
                late.append(connection)
                others(5)
            number += 2
            pg.psql("d", f"BEGIN; {own.format(number - 1)} PREPARE TRANSACTION 'late_{step}';")
            prepared.append(f"late_{step}")
            pg.psql("d", f"BEGIN; SAVEPOINT a; {own.format(-1)} ROLLBACK TO a; {own.format(number)} COMMIT;")
            rng.shuffle(late)
            for i, connection in enumerate(late):
                connection.rollback() if i == 0 else connection.commit()
                others(5)
            for connection in late:
                connection.close()
            if step % 2:
                pg.psql("d", f"COMMIT PREPARED '{prepared.pop(rng.randrange(len(prepared)))}';")
                others(3)
            if step == 4:
                os.kill(dispatcher(pg), signal.SIGKILL)
                time.sleep(0.1)
                _log.wait_for("the server is back", lambda: try_query(pg, "SELECT 1"), 60)
        for name in prepared:
            pg.psql("d", f"COMMIT PREPARED '{name}';")
            others(1)
        _log.wait_for("every event had its effect", lambda: len(effects(pg)) >= 8 * 5, 60)
        time.sleep(0.5)
        check_exactly_once(pg)


def try_dispatcher(pg):
    try:
        return dispatcher(pg)
    except Exception:
        return None


def case_crashing_handler_is_parked():
    """A handler that ends its own process is tried max_attempts times and parked; others go on, and nothing loops."""
    with Cluster(FAST) as pg:
        set_up(pg, "IF e.payload ? 'die' THEN PERFORM app.die(); END IF;", more="""
RESET ROLE;
CREATE FUNCTION app.die() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM pg_terminate_backend(pg_backend_pid());
    PERFORM pg_sleep(10);
END $$;
SET ROLE app;
""", max_attempts=2)
        emit_many(pg, 1, 20, keys=4)
        pg.psql("d", """SELECT events.emit('test.faults', '1', 'test', '{"version": 100, "die": true}');
                        SELECT events.emit('test.faults', '1', 'test', '{"version": 101}');
                        SELECT events.emit('test.faults', '2', 'test', '{"version": 102}');""")
        _log.wait_for("the event is parked", lambda: parked(pg, "parked"), 60)
        _log.wait_for("the others had their effect", lambda: len(effects(pg)) == 21, 30)
        rows = parked(pg)
        assert [(r[1], r[2]) for r in rows] == [("1", "parked"), ("1", "waiting")], rows
        assert rows[0][3] == 2 and "died" in rows[0][4], rows
        alerts = pg.query("SELECT payload->>'eventId' FROM events.read() WHERE topic = 'backoffice.alerts'", dbname="d")
        assert alerts == [(rows[0][0],)], alerts

        pg.psql("d", "CREATE OR REPLACE FUNCTION app.handle(e events.event) RETURNS void LANGUAGE sql AS"
                     " $$ INSERT INTO app.effects (event, key, version) VALUES (e.id, e.key, (e.payload->>'version')::int) $$;"
                     "SELECT events.retry_parked('app');")
        _log.wait_for("both had their effect", lambda: not parked(pg), 30)
        check_exactly_once(pg)


def case_handler_that_crashes_the_server():
    """kill -9 of the dispatcher in the middle of one event: met again one by one, parked, and the server stays up."""
    with Cluster(FAST) as pg:
        set_up(pg, "IF e.payload ? 'hang' THEN PERFORM pg_advisory_xact_lock(42); PERFORM pg_sleep(30); END IF;", max_attempts=2)
        pg.psql("d", """SELECT events.emit('test.faults', 'a', 'test', '{"version": 1}');
                        SELECT events.emit('test.faults', 'b', 'test', '{"version": 2, "hang": true}');
                        SELECT events.emit('test.faults', 'c', 'test', '{"version": 3}');""")

        def hanging():
            rows = try_query(pg, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 42")
            return rows[0][0] if rows else None

        for _ in range(3):                      # once in a batch, then max_attempts times on its own
            pid = _log.wait_for("the event runs", hanging, 60)
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
            _log.wait_for("the server is back", lambda: try_query(pg, "SELECT 1"), 60)
        _log.wait_for("the event is parked", lambda: parked(pg, "parked"), 60)
        _log.wait_for("the others had their effect", lambda: len(effects(pg)) == 2, 30)
        assert [r[1] for r in parked(pg)] == ["b"], parked(pg)


def case_deferred_code_is_no_superuser():
    """What a handler leaves for the commit (deferred triggers, WITH HOLD cursors, settings) runs as its role, or not at all."""
    with Cluster(FAST) as pg:
        set_up(pg, """
            INSERT INTO app.deferred VALUES (1);
            EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT app.note(''cursor'')';
            SET search_path = app;
            SET row_security = off;
        """, more="""
CREATE TABLE app.deferred (x int);
CREATE TABLE app.notes (what text, who name, path text);
CREATE FUNCTION app.note(what text) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.notes VALUES (what, current_user, current_setting('search_path'));
    RETURN 1;
END $$;
CREATE FUNCTION app.escalate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM app.note('trigger');
    BEGIN
        EXECUTE 'ALTER ROLE app SUPERUSER';
    EXCEPTION WHEN insufficient_privilege THEN
        PERFORM app.note('refused');
    END;
    BEGIN
        EXECUTE 'RESET SESSION AUTHORIZATION';
        PERFORM app.note('reset');
    EXCEPTION WHEN OTHERS THEN
        PERFORM app.note('refused');
    END;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER escalate AFTER INSERT ON app.deferred DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION app.escalate();
""")
        emit_many(pg, 1, 3)
        _log.wait_for("every event had its effect", lambda: len(effects(pg)) == 3, 30)
        notes = pg.query("SELECT what, who, count(*) FROM app.notes GROUP BY 1, 2 ORDER BY 1", dbname="d")
        assert notes == [("refused", "app", 6), ("trigger", "app", 3)], notes
        assert pg.query("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'") == [(False,)]
        assert not parked(pg), parked(pg)


def case_failure_at_commit_is_attributed():
    """A constraint that fails only when it is checked at the end: its event alone is set aside."""
    with Cluster(FAST) as pg:
        set_up(pg, "INSERT INTO app.children VALUES ((e.payload->>'version')::int);", more="""
CREATE TABLE app.parents (id int PRIMARY KEY);
CREATE TABLE app.children (id int REFERENCES app.parents DEFERRABLE INITIALLY DEFERRED);
INSERT INTO app.parents SELECT i FROM generate_series(1, 20) AS i WHERE i <> 7;
""", max_attempts=2)
        emit_many(pg, 1, 20, keys=20)
        _log.wait_for("the event is parked", lambda: parked(pg, "parked"), 30)
        _log.wait_for("the others had their effect", lambda: len(effects(pg)) == 19, 30)
        rows = parked(pg)
        assert len(rows) == 1 and rows[0][1] == "7" and rows[0][4].startswith("23503"), rows
        pg.psql("d", "INSERT INTO app.parents VALUES (7); SELECT events.retry_parked();")
        _log.wait_for("it had its effect", lambda: not parked(pg), 30)
        check_exactly_once(pg)


def case_session_locks_are_given_back():
    """A handler that takes an advisory lock of the session, whether it succeeds or fails: the dispatcher does not keep it."""
    with Cluster(FAST) as pg:
        set_up(pg, """PERFORM pg_advisory_lock(4711);
            IF e.payload ? 'fail' THEN RAISE EXCEPTION 'failed'; END IF;""", max_attempts=1)
        for number, payload in enumerate(('{"version": 1}', '{"version": 2, "fail": true}')):
            pg.query("SELECT events.emit('test.faults', 'a', 'test', %s)", (payload,), dbname="d")
            _log.wait_for("it ran", lambda: len(effects(pg)) + len(parked(pg)) == number + 1, 30)
            _log.wait_for("the lock is free", lambda: pg.query("SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'")[0][0], 30)


def case_slow_handler_times_out():
    with Cluster({"backoffice.handler_timeout_ms": "200", **FAST}) as pg:
        set_up(pg, "IF e.payload ? 'slow' THEN PERFORM pg_sleep(60); END IF;", max_attempts=1)
        pg.psql("d", """SELECT events.emit('test.faults', 'a', 'test', '{"version": 1, "slow": true}');
                        SELECT events.emit('test.faults', 'b', 'test', '{"version": 2}');""")
        _log.wait_for("the other had its effect", lambda: len(effects(pg)) == 1, 30)
        rows = parked(pg)
        assert len(rows) == 1 and rows[0][2] == "parked" and "timed out after 200 ms" in rows[0][4], rows


def case_serialization_failures_are_repeated():
    """A deadlock with a client: the batch is repeated, nothing is lost and nothing set aside for good."""
    with Cluster({"deadlock_timeout": "'20ms'", **FAST}) as pg:
        set_up(pg, "UPDATE app.counters SET n = n + 1 WHERE id = 1; PERFORM pg_sleep(0.002);"
                   " UPDATE app.counters SET n = n + 1 WHERE id = 2;", more="""
CREATE TABLE app.counters (id int PRIMARY KEY, n int);
INSERT INTO app.counters VALUES (1, 0), (2, 0);
""", max_attempts=20)
        conn = pg.connect("d", autocommit=False)
        cur = conn.cursor()
        mine = 0
        emit_many(pg, 1, 300)
        deadline = time.time() + 20
        while len(effects(pg)) < 300 and time.time() < deadline:
            try:
                cur.execute("UPDATE app.counters SET n = n + 1 WHERE id = 2")
                time.sleep(0.005)
                cur.execute("UPDATE app.counters SET n = n + 1 WHERE id = 1")
                conn.commit()
                mine += 1
            except Exception:
                conn.rollback()
        conn.close()
        _log.wait_for("every event had its effect", lambda: len(effects(pg)) == 300, 60)
        check_exactly_once(pg)
        assert pg.query("SELECT n FROM app.counters ORDER BY id", dbname="d") == [(300 + mine,)] * 2


def case_long_queues_without_statistics():
    """What waits is found along an index, not gathered and sorted, whatever the planner believes: a queue costs its length, not its square."""
    with Cluster({"autovacuum": "off", **FAST}) as pg:
        set_up(pg, "IF (SELECT off FROM app.off) THEN RAISE EXCEPTION 'off'; END IF;", more="CREATE TABLE app.off AS SELECT true AS off;", max_attempts=1000)
        # It believes of this table what it believes by itself of a much longer one that was never analyzed.
        pg.query("UPDATE pg_class SET relpages = 1, reltuples = 10000 WHERE oid = 'events.parked_events'::regclass", dbname="d")
        pg.query("SELECT access.act_as(access.create_organization('o'));"
                 "SELECT count(events.emit('test.faults', 'k' || n % 8, 'test', jsonb_build_object('version', n))) FROM generate_series(1, 8000) AS n", dbname="d")
        _log.wait_for("all wait", lambda: len(parked(pg)) == 8000, 60)
        pg.query("UPDATE app.off SET off = false", dbname="d")
        _log.wait_for("every event had its effect", lambda: not parked(pg), 60)

        def read():
            return pg.query("SELECT coalesce(sum(idx_tup_read), 0)::int FROM pg_stat_user_indexes WHERE indexrelname = 'parked_events_key'", dbname="d")[0][0]
        _log.wait_for("the statistics", lambda: read() > 8000)
        time.sleep(0.5)
        assert read() < 40 * 8000, f"{read()} entries of the index were read for 8000 events"


def case_long_queue_behind_a_failure():
    """10 000 events wait behind one that fails: when it has its effect, they go in order, in batches."""
    with Cluster(FAST) as pg:
        set_up(pg, "IF (e.payload->>'version')::int = 0 AND (SELECT off FROM app.off) THEN RAISE EXCEPTION 'not yet'; END IF;",
               more="CREATE TABLE app.off AS SELECT true AS off;", max_attempts=1000)
        pg.query("SELECT count(events.emit('test.faults', 'a', 'test', jsonb_build_object('version', n)))"
                 " FROM generate_series(0, 10000) AS n", dbname="d")
        _log.wait_for("all wait", lambda: len(parked(pg, "waiting")) == 10000, 120)
        assert not effects(pg)
        pg.query("UPDATE app.off SET off = false", dbname="d")
        _log.wait_for("every event had its effect", lambda: not parked(pg), 120)
        assert [row[2] for row in effects(pg)] == list(range(10001))


def case_subscribed_while_unsubscribed():
    """subscribe() that returned has subscribed, also while another session takes the same subscription away again and again."""
    with Cluster() as pg:
        set_up(pg, "")
        subscribe = "SELECT events.subscribe('app', '{test.faults}', 'app.handle(events.event)', role => 'app')"
        stop = threading.Event()

        def take_away():
            with _log.session(pg) as cur:
                while not stop.is_set():
                    cur.execute("SELECT events.unsubscribe('app')")

        others = [threading.Thread(target=take_away) for _ in range(2)]
        for other in others:
            other.start()
        conn = pg.connect("d", autocommit=False)
        lost = refused = 0
        until = time.time() + 5
        while time.time() < until:
            with conn.cursor() as cur:
                try:
                    cur.execute(subscribe)
                    cur.execute("SELECT count(*) FROM events.subscriptions WHERE name = 'app'")
                    lost += cur.fetchone()[0] == 0
                    conn.commit()
                    cur.execute(subscribe)
                    cur.execute("SELECT count(*) FROM events.subscriptions WHERE name = 'app'")
                    lost += cur.fetchone()[0] == 0
                    conn.commit()
                except psycopg2.Error as e:
                    assert e.pgcode == "40001", e
                    refused += 1
                    conn.rollback()
        stop.set()
        for other in others:
            other.join()
        assert lost == 0, f"{lost} times there was none, {refused} times it was refused"
