"""Copies of a log: standby and promotion, point-in-time restore, dump and restore, template databases."""
import os
import subprocess
import threading
import time

import psycopg2

from faults import _log
from harness.pg import Cluster

WAL = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}


def base_backup(pg, conf=None):
    """A second cluster made by pg_basebackup; not started."""
    copy = Cluster(dict(pg.conf, **(conf or {})))
    os.chmod(copy.dir, 0o755)
    copy.own(copy.dir)
    with open(pg.key_file) as keys, open(copy.key_file, "w") as f:
        f.write(keys.read())
    copy.own(copy.key_file)
    os.chmod(copy.key_file, 0o600)
    out = copy._run([os.path.join(pg.bin, "pg_basebackup"), "-D", copy.data, "-X", "stream", "-c", "fast",
                     "-h", pg.dir, "-p", str(pg.port), "-U", "postgres"], check=False)
    assert out.returncode == 0, out.stdout
    copy.write_conf()
    return copy


def signal_file(pg, name):
    path = os.path.join(pg.data, name)
    open(path, "w").close()
    pg.own(path)


def error_of(cur, sql, params=None):
    """The symbolic code of the error that a statement ends with."""
    try:
        cur.execute(sql, params)
    except psycopg2.Error as e:
        return e.diag.constraint_name or e.diag.message_primary
    return None


def emit_some(pg, key, count, dbname="d"):
    with _log.session(pg, dbname) as cur:
        return [str(_log.emit(cur, key, {"n": n})) for n in range(count)]


def last_xid(pg):
    return int(pg.query("SELECT pg_current_xact_id()::text", dbname="d")[0][0])


def case_standby_and_promotion():
    """The standby reads the same; promoted, it goes on in a new epoch and refuses what the old primary had alone."""
    with Cluster(WAL) as primary:
        primary.create_database("d")
        _log.define(primary)
        emit_some(primary, "before", 20)
        standby = base_backup(primary, {"primary_conninfo": f"'host={primary.dir} port={primary.port} user=postgres'"})
        try:
            signal_file(standby, "standby.signal")
            standby.start()
            stop = threading.Event()

            def load():
                with _log.session(primary) as cur:
                    n = 0
                    while not stop.is_set():
                        n += 1
                        cur.execute("BEGIN")
                        _log.emit(cur, "streamed", {"n": n})
                        cur.execute("ROLLBACK" if n % 5 == 0 else "COMMIT")
            thread = threading.Thread(target=load)
            thread.start()
            time.sleep(1)
            with _log.session(standby) as cur:
                seen = _log.read_all(cur)
                assert error_of(cur, "SELECT events.emit(%s, 'k', 't.t', '{}')", (_log.TOPIC,)) == "standby"
                assert not _log.workers(standby), "workers on a standby"
            stop.set()
            thread.join()
            with _log.session(primary) as cur:
                events = _log.wait_until_announced(cur)
            assert seen and events[:len(seen)] == seen, "the standby reads something else"
            with _log.session(standby) as cur:
                _log.wait_for("the standby has everything", lambda: _log.read_all(cur) == events)

            # The standby is cut off; the old primary announces what nobody else will have.
            standby.query("ALTER SYSTEM SET primary_conninfo = ''")
            standby.query("SELECT pg_reload_conf()")
            _log.wait_for("the stream ends", lambda: not primary.query("SELECT 1 FROM pg_stat_replication"))
            emit_some(primary, "lost", 5)
            with _log.session(primary) as cur:
                lost = _log.wait_until_announced(cur)[-1]
            primary.kill9()
            standby.query("SELECT pg_promote()")
            new = emit_some(standby, "after", 10)
            with _log.session(standby) as cur:
                now = _log.wait_until_announced(cur)
                _log.check_history(now)
                assert now[:len(events)] == events
                assert [e[1] for e in now[len(events):]] == new
                assert now[-1][0].split(":")[0] != events[-1][0].split(":")[0], "the epoch did not change"
                assert _log.read_all(cur, events[-1][0]) == now[len(events):], "the old position does not go on"
                assert error_of(cur, "SELECT * FROM events.read(%s)", (lost[0],)) == "position_lost"
        finally:
            standby.destroy()


def case_point_in_time_restore():
    """Restored to a named point: what came later is gone, positions of it are refused, new events go on."""
    with Cluster(WAL) as pg:
        archive = os.path.join(pg.dir, "archive")
        pg.write_conf(archive_mode="on", archive_command=f"'cp %p {archive}/%f'")
        os.mkdir(archive)
        pg.own(archive)
        pg.restart()
        pg.create_database("d")
        _log.define(pg)
        emit_some(pg, "a", 5)
        copy = base_backup(pg)
        try:
            emit_some(pg, "b", 5)
            with _log.session(pg) as cur:
                kept = _log.wait_until_announced(cur)
            pg.query("SELECT pg_create_restore_point('here')")
            emit_some(pg, "c", 5)
            with _log.session(pg) as cur:
                cut_off = _log.wait_until_announced(cur)[-1]
            segment = pg.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
            _log.wait_for("the archive", lambda: os.path.exists(os.path.join(archive, segment)))

            copy.write_conf(archive_mode="off", restore_command=f"'cp {archive}/%f %p'", recovery_target_name="'here'",
                            recovery_target_action="'promote'")
            signal_file(copy, "recovery.signal")
            copy.start()
            _log.wait_for("the end of recovery", lambda: copy.query("SELECT NOT pg_is_in_recovery()")[0][0])
            new = emit_some(copy, "d", 5)
            with _log.session(copy) as cur:
                events = _log.wait_until_announced(cur)
                _log.check_history(events)
                assert events[:len(kept)] == kept
                assert [e[1] for e in events[len(kept):]] == new
                assert error_of(cur, "SELECT * FROM events.read(%s)", (cut_off[0],)) == "position_lost"
        finally:
            copy.destroy()


def check_copy(pg, dbname, before, positions):
    """In a copy: the same events once and in order, old positions go on, a new epoch, new events behind the old."""
    new = emit_some(pg, "new", 3, dbname)
    with _log.session(pg, dbname) as cur:
        events = _log.wait_until_announced(cur)
        _log.check_history(events)
        assert [e[1:] for e in events[:len(before)]] == [e[1:] for e in before], "other events, or another order"
        assert [e[1] for e in events[len(before):]] == new, "new events are not behind the old ones"
        assert _log.read_all(cur, positions[-1]) == [e for e in events if _log.order_of(e[0]) > _log.order_of(positions[-1])]
        assert events[-1][0].split(":")[0] != positions[-1].split(":")[0], "the epoch did not change"
    return events


def case_dump_and_restore():
    """Into a new cluster, whose transaction ids begin far below: with pg_restore and with psql. (Not with pg_restore -j: it
    loads an extension's tables in any order, whatever their foreign keys say.)"""
    with Cluster() as pg, Cluster({"max_worker_processes": "40"}) as target:
        pg.create_database("d")
        _log.define(pg)
        emit_some(pg, "a", 50)
        # A second leaf of the log that the extension did not make, and ids far ahead of the new cluster's.
        pg.query("SELECT setval('events.log_seq', 3 * 1048576 - 10)", dbname="d")
        emit_some(pg, "b", 50)
        for _ in range(200):
            last_xid(pg)
        with _log.session(pg) as cur:
            before = _log.wait_until_announced(cur)
        # Committed, and not announced before the dump: the ticker is held off.
        pg.query("ALTER SYSTEM SET backoffice.tick_interval_ms = 1000")
        pg.query("SELECT pg_reload_conf()")
        time.sleep(0.2)
        emit_some(pg, "warm up", 1)
        time.sleep(0.1)
        emit_some(pg, "c", 5)
        dump = os.path.join(pg.dir, "dump")
        env = pg.env()
        subprocess.run([os.path.join(pg.bin, "pg_dump"), "-Fd", "-f", dump, "d"], env=env, check=True)
        plain = subprocess.run([os.path.join(pg.bin, "pg_dump"), "d"], env=env, check=True, capture_output=True, text=True).stdout
        with _log.session(pg) as cur:
            everything = _log.wait_until_announced(cur)
        positions = [before[-1][0]]
        target.query("CREATE DATABASE archive")
        out = subprocess.run([os.path.join(pg.bin, "pg_restore"), "-d", "archive", dump], env=target.env(),
                             capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        check_copy(target, "archive", everything, positions)
        target.query("CREATE DATABASE plain")
        target.psql("plain", plain)
        check_copy(target, "plain", everything, positions)
        # And once more from the copy.
        again = subprocess.run([os.path.join(pg.bin, "pg_dump"), "plain"], env=target.env(), check=True, capture_output=True, text=True).stdout
        with _log.session(target, "plain") as cur:
            events = _log.read_all(cur)
        pg.query("CREATE DATABASE again")
        pg.psql("again", again)
        check_copy(pg, "again", events, [events[-1][0]])


def case_template_copy():
    """CREATE DATABASE ... TEMPLATE of a database with workers; renaming and dropping it as well."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.define(pg)
        emit_some(pg, "a", 20)
        with _log.session(pg) as cur:
            before = _log.wait_until_announced(cur)
        _log.wait_for("all workers", lambda: len(_log.workers(pg)) == 3)
        # It gives others five seconds to leave, then fails; so does DROP DATABASE.
        pg.query("CREATE DATABASE copy TEMPLATE d")
        _log.wait_for("the workers come back", lambda: len(_log.workers(pg)) == 3)
        check_copy(pg, "copy", before, [before[-1][0]])
        emit_some(pg, "b", 3)
        with _log.session(pg) as cur:
            assert _log.wait_until_announced(cur)[:len(before)] == before, "the original has changed"
        pg.query("ALTER DATABASE copy RENAME TO renamed")
        _log.wait_for("the workers of the renamed", lambda: len(_log.workers(pg, "renamed")) == 3)
        with _log.session(pg, "renamed") as cur:
            # Somebody else is connected: the statement fails and the workers come back.
            assert "being accessed" in error_of(pg.connect("d").cursor(), "DROP DATABASE renamed")
            _log.wait_for("the workers after a failed drop", lambda: len(_log.workers(pg, "renamed")) == 3)
        pg.query("DROP DATABASE renamed")
        assert not _log.workers(pg, "renamed")
