"""Big and long transactions, crossing and dropping partitions."""
import threading
import time

import psycopg2

from faults import _log
from faults.events_copies import emit_some, error_of
from harness.pg import Cluster


def pages(cur, after, size):
    """Seconds per page while paging to the end; and how many events there were."""
    times, count, last = [], 0, None
    while True:
        started = time.time()
        cur.execute("SELECT count(*), max(position)::text, min(position)::text FROM events.read(%s, %s)", (after, size))
        rows, upto, first = cur.fetchone()
        if rows == 0:
            return times, count
        if last is not None:
            assert _log.order_of(first) > _log.order_of(last), "pages overlap"
        times.append(time.time() - started)
        count, after, last = count + rows, upto, upto


def case_batch_of_a_million():
    """One transaction, a million events, over a partition's end: each once, and the last pages cost what the first do."""
    with Cluster({"max_wal_size": "'4GB'"}) as pg:
        pg.create_database("d")
        _log.define(pg)
        pg.query("SELECT setval('events.log_seq', 500000)", dbname="d")
        with _log.session(pg) as cur:
            cur.execute("SELECT count(events.emit(%s, (n %% 1000)::text, 't.t', '{\"n\": 1}')) FROM generate_series(1, 1000000) n",
                        (_log.TOPIC,))
            _log.wait_for("the tick", lambda: pg.query("SELECT events.position()::text <> '0:0:0'", dbname="d")[0][0])
            times, count = pages(cur, None, 10000)
            assert count == 1000000, count
            first, last = sorted(times[5:25])[10], sorted(times[-25:-5])[10]
            assert last < 3 * first + 0.02, f"the first pages took {first:.3f} s, the last {last:.3f} s"
            # Packed, and by shards: together the same.
            cur.execute("SELECT sum(events) FROM generate_series(0, 3) s, events.fetch(NULL, 2000000, 268435456, NULL, 4, ARRAY[s])")
            assert cur.fetchone()[0] == 1000000


def case_long_transaction():
    """An old transaction with events stalls nobody, is read when it commits, and reading it does not scan what came since."""
    with Cluster({"max_wal_size": "'4GB'"}) as pg:
        pg.create_database("d")
        _log.define(pg)
        with _log.session(pg) as old, _log.session(pg) as cur:
            old.execute("BEGIN")
            mine = [str(_log.emit(old, "old", {"n": n})) for n in range(50)]
            for _ in range(100):
                cur.execute("SELECT count(events.emit(%s, n::text, 't.t', '{}')) FROM generate_series(1, 1000) n", (_log.TOPIC,))
            mine += [str(_log.emit(old, "old", {"n": n})) for n in range(50, 100)]
            assert [r for r in pg.query("SELECT state FROM events.open_transactions", dbname="d")] == [("idle in transaction",)]
            before = _log.wait_for("the others", lambda: [e for e in [_log.read_all(cur, page=50000)] if len(e) == 100000])[0]
            old.execute("COMMIT")
            after = _log.wait_for("the old one", lambda: _log.read_all(cur, before[-1][0]))
            assert [e[1] for e in after] == mine, "its events, in order"
            cur.execute("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(*) FROM events.read(%s)", (before[-1][0],))
            plan = cur.fetchone()[0][0]["Plan"]
            pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            assert 0 < pages < 1000, f"reading 100 events of the old transaction looks at {pages} pages"
            _log.check_history(before + after)


def case_partitions():
    """Crossing into partitions that are not there yet, and dropping those that expired."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.query("SELECT events.define_topic('short', retention => '1 ms', direction => 'internal')", dbname="d")

        def emit_short(cur, n):
            cur.execute("SELECT events.emit('short', 'k', 't.t', %s)", (f'{{"n": {n}}}',))

        with _log.session(pg) as cur, _log.session(pg) as other:
            emit_short(cur, 0)
            first = _log.wait_until_announced(cur)
            other.execute("BEGIN")
            emit_short(other, 99)

            def cross_into(leaf):
                cur.execute("SELECT setval('events.log_seq', %s)", ((leaf << 20) - 2,))
                for n in range(4):
                    emit_short(cur, n)
                    time.sleep(0.005)
            cross_into(1)
            cross_into(2)
            events = _log.wait_until_announced(cur)
            assert len(events) == 9
            _log.check_history(events)

            # A consumer has not passed it, then a transaction that wrote to it is open: the first partition stays.
            time.sleep(0.3)
            cur.execute("UPDATE events.cursors SET position = '0:0:0'")
            cur.execute("SELECT count(*) > 0, events.drop_expired() FROM events.cursors")
            assert cur.fetchone() == (True, 0)
            cur.execute("UPDATE events.cursors SET position = %s", (events[-1][0],))
            assert error_of(cur, "SELECT events.drop_expired()") == "canceling statement due to lock timeout"
            other.execute("COMMIT")
            events = _log.wait_until_announced(cur)
            assert len(events) == 10
            cross_into(7)
            events = _log.wait_until_announced(cur)

            def dropped():
                cur.execute("UPDATE events.cursors SET position = events.position()")
                cur.execute("SELECT events.drop_expired()")
                cur.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'events.log'::regclass AND inhrelid::regclass::text IN "
                            "('events.log_0', 'events.log_1', 'events.log_2')")
                return cur.fetchone()[0] == 0
            _log.wait_for("the expired partitions are gone", dropped)
            rest = _log.read_all(cur)
            assert rest == [e for e in events if _log.order_of(e[0])[1] >= 7 << 20], "the partition in use is kept, all others had expired"
            assert error_of(cur, "SELECT * FROM events.read(%s)", (first[0][0],)) == "position_expired"
            assert error_of(cur, "SELECT * FROM events.read('0:0:0')") == "position_expired"
            emit_short(cur, 1)
            _log.wait_for("it goes on", lambda: len(_log.read_all(cur)) == len(rest) + 1)


def emit_short(cur, n):
    cur.execute("SELECT events.emit('short', 'k', 't.t', %s) ::text", (f'{{"n": {n}}}',))
    return cur.fetchone()[0]


def leave_behind(cur, leaf):
    """Goes on in another partition, two of them away from the first."""
    cur.execute("SELECT setval('events.log_seq', %s)", ((leaf << 20) + 1,))
    emit_short(cur, leaf)
    return _log.wait_until_announced(cur)


def case_dropping_while_somebody_commits():
    """A transaction that was open for longer than the retention commits while the keeper waits for its lock: its events are told."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.query("SELECT events.define_topic('short', retention => '1 s', direction => 'internal')", dbname="d")
        with _log.session(pg) as cur, _log.session(pg) as old, _log.session(pg) as dropper:
            emit_short(cur, 0)
            old.execute("BEGIN")
            late = emit_short(old, 99)
            leave_behind(cur, 1)
            leave_behind(cur, 2)
            time.sleep(1.5)
            cur.execute("UPDATE events.cursors SET position = events.position()")
            outcome = []
            thread = threading.Thread(target=lambda: outcome.append(error_of(dropper, "SELECT events.drop_expired()")))
            thread.start()
            while thread.is_alive() and old.connection.info.transaction_status:
                cur.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass('events.log_0')")
                if cur.fetchone()[0]:
                    old.execute("COMMIT")
            thread.join()
            assert outcome == [None], f"it did not wait for the transaction that commits: {outcome}"
            assert late in [e[1] for e in _log.wait_until_announced(cur)], "committed, and dropped before anybody was told"


def case_dropping_while_somebody_reads():
    """An older snapshot does not see that the log begins later now: it is told so, and does not jump over the gap."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.query("SELECT events.define_topic('short', retention => '1 ms', direction => 'internal')", dbname="d")
        with _log.session(pg) as cur, _log.session(pg) as reader:
            for n in range(3):
                emit_short(cur, n)
            first = _log.wait_until_announced(cur)[0][0]
            leave_behind(cur, 1)
            leave_behind(cur, 2)
            reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            reader.execute("SELECT count(*) FROM events.floor")
            time.sleep(0.1)
            cur.execute("UPDATE events.cursors SET position = events.position()")
            cur.execute("SELECT events.drop_expired()")
            assert cur.fetchone()[0] > 0
            for after in (first, None):
                reader.execute("SAVEPOINT s")
                try:
                    reader.execute("SELECT count(*) FROM events.read(%s)", (after,))
                    raise AssertionError(f"jumped over what was dropped behind {after}: {reader.fetchall()}")
                except psycopg2.Error as e:
                    assert "position_expired" in str(e), e
                reader.execute("ROLLBACK TO SAVEPOINT s")


def case_beginning_of_a_log_that_was_cut():
    """Where retention has dropped something, new consumers that want all begin with what is left, and do not hang at 0:0:0."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.query("SELECT events.define_topic('short', retention => '1 ms', direction => 'internal')", dbname="d")
        with _log.session(pg) as cur:
            for n in range(3):
                emit_short(cur, n)
            _log.wait_until_announced(cur)
            leave_behind(cur, 1)
            leave_behind(cur, 2)
            time.sleep(0.1)
            cur.execute("UPDATE events.cursors SET position = events.position()")
            cur.execute("SELECT events.drop_expired()")
            assert cur.fetchone()[0] > 0
            left = [e[1] for e in _log.read_all(cur)]
            assert left
            # Where the leader of a parallel plan reads, too: beside a cut that is none of its concern.
            cur.execute("SET force_parallel_mode = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0")
            cur.execute("SELECT count(*) FROM (SELECT count(*) FROM pg_class) c, events.read()")
            assert cur.fetchone()[0] == len(left)
            cur.execute("RESET ALL")
            cur.execute("""CREATE TABLE seen (who text, id uuid);
                CREATE FUNCTION see(e events.event) RETURNS void LANGUAGE sql AS 'INSERT INTO public.seen VALUES (''handler'', e.id)';
                GRANT INSERT ON seen TO backoffice_service; GRANT EXECUTE ON FUNCTION see TO backoffice_service""")

            def seen():
                cur.execute("SELECT id::text FROM seen")
                return [row[0] for row in cur.fetchall()]
            cur.execute("SELECT events.subscribe('h', '{short}', 'see(events.event)', start => 'earliest')")
            _log.wait_for("the handler began", lambda: seen() == left, 60)
            for back in ("'0:0:0'::events.position", "'2000-01-01'::timestamptz"):
                cur.execute("TRUNCATE seen")
                cur.execute(f"SELECT events.seek('h', {back})")
                _log.wait_for(f"the handler began again from {back}", lambda: seen() == left, 60)
            cur.execute("SELECT position::text FROM events.lease('relay', 'me', 1, topics => '{short}')")
            assert [e[1] for e in _log.read_all(cur, cur.fetchone()[0])] == left, "a thin worker begins with what is left"

            # One that is not committed yet holds retention as well.
            leave_behind(cur, 3)
            leave_behind(cur, 4)
            time.sleep(0.1)
            cur.execute("UPDATE events.cursors SET position = events.position()")
            with _log.session(pg) as late:
                late.execute("BEGIN")
                late.execute("SELECT position::text FROM events.lease('late', 'me', 1, topics => '{short}')")
                start = late.fetchone()[0]
                assert error_of(cur, "SELECT events.drop_expired()") == "canceling statement due to lock timeout"
                late.execute("COMMIT")
            cur.execute("SELECT events.drop_expired()")
            assert [e[1] for e in _log.read_all(cur, start)][:len(left)] == left, "what it begins with is still there"


def case_dropping_the_log():
    """A log with events is not dropped by accident; without workers' consent nothing hangs."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        pg.create_database("empty")
        pg.query("DROP EXTENSION backoffice", dbname="empty")
        _log.wait_for("no workers where the extension is gone", lambda: not _log.workers(pg, "empty"))
        pg.query("CREATE EXTENSION backoffice SCHEMA backoffice", dbname="empty")
        _log.wait_for("and again where it is back", lambda: len(_log.workers(pg, "empty")) == 3)
        emit_some(pg, "a", 1)
        with _log.session(pg) as cur:
            for statement in ("DROP EXTENSION backoffice", "DROP EXTENSION backoffice CASCADE", "DROP SCHEMA backoffice CASCADE",
                              "TRUNCATE events.log"):
                assert error_of(cur, statement) == "log_not_empty", statement
            assert len(_log.wait_until_announced(cur)) == 1
            cur.execute("SET backoffice.allow_drop = on")
            cur.execute("BEGIN")
            cur.execute("DROP EXTENSION backoffice")
            cur.execute("ROLLBACK")
        _log.wait_for("the workers are back after the rollback", lambda: len(_log.workers(pg)) == 3)
        emit_some(pg, "a", 1)
        with _log.session(pg) as cur:
            assert len(_log.wait_until_announced(cur)) == 2
            cur.execute("SET backoffice.allow_drop = on")
            cur.execute("DROP EXTENSION backoffice")
        _log.wait_for("no workers", lambda: not _log.workers(pg))


def case_no_room_for_workers():
    """max_worker_processes is used up: events are stored, one warning says so, and they are announced once there is room."""
    with Cluster({"max_worker_processes": "2"}) as pg:
        pg.create_database("d")
        _log.define(pg)
        emit_some(pg, "a", 3)
        time.sleep(2.5)
        log = open(pg.log).read()
        assert log.count("all background worker slots are taken") == 1, "one warning a minute"
        pg.write_conf(max_worker_processes="8")
        pg.restart()
        with _log.session(pg) as cur:
            assert len(_log.wait_until_announced(cur)) == 3


def case_memory_of_schema_branches():
    """A long array held against very many branches, none of which matches: memory for one of them at a time."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        pg.query("SELECT events.define_schema(%s, NULL, jsonb_build_object('anyOf', (SELECT jsonb_agg("
                 "'{\"type\": \"array\", \"uniqueItems\": true, \"items\": {\"type\": \"string\"}}'::jsonb) FROM generate_series(1, 500))))", (_log.TOPIC,), dbname="d")
        with _log.session(pg) as cur:
            for items in ("i", "(i / 2)::text"):        # the first element is wrong; all are right, but some are equal
                try:
                    cur.execute(f"SELECT events.check_payload(%s, 't', (SELECT jsonb_agg({items}) FROM generate_series(1, 20000) i))", (_log.TOPIC,))
                    raise AssertionError("no branch matches")
                except psycopg2.Error as e:
                    assert e.diag.constraint_name == "schema_violation", e
                cur.execute("SELECT pg_backend_pid()")
                with open(f"/proc/{cur.fetchone()[0]}/status") as f:
                    kilobytes = int(next(line for line in f if line.startswith("VmHWM")).split()[1])
                assert kilobytes < 100_000, f"{items}: {kilobytes} kB"
