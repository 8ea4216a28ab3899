"""sessions: limits and counters that hold when many come at once, and what a crash leaves behind."""
import base64
import json
import os
import signal
import subprocess
import threading
import time

from faults import _log
from faults.access import standby_of, wait_for_replay
from harness.pg import Cluster

SETUP = """
SELECT access.create_organization('Acme') AS acme \\gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme');
SELECT access.create_user('bob@acme.test', 'battery staple', :'acme');
"""


def login(cursor, email="ann@acme.test", password="correct horse", ip=None):
    cursor.execute("SELECT access.login(%s, %s, ip => %s::inet)", (email, password, ip))
    return cursor.fetchone()[0]


def refresh(cursor, answer):
    cursor.execute("SELECT access.refresh(%s)", (answer["refresh_token"],))
    return cursor.fetchone()[0]


def acts(cursor, answer):
    cursor.execute("BEGIN")
    try:
        cursor.execute("SELECT access.authenticate(%s)", (answer["access_token"],))
        return cursor.fetchone()[0]
    except Exception as e:      # pylint: disable=broad-except
        return e.diag.constraint_name
    finally:
        cursor.execute("ROLLBACK")


def at_once(pg, count, what):
    """what(cursor, number) in as many sessions at the same time; their answers."""
    answers = [None] * count
    ready = threading.Barrier(count)

    def work(n):
        with _log.session(pg) as cursor:
            cursor.execute("SELECT 1")
            ready.wait()
            answers[n] = what(cursor, n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def hashing(pg):
    return pg.query("SELECT access.password_hashing()", dbname="d")[0][0]


def case_hashes_at_once():
    """A burst of log-ins: never more hashes than allowed, some wait, the rest is told at once that it is busy."""
    conf = {"backoffice.password_hashes_at_once": "2", "backoffice.password_hash_wait": "'30s'"}
    with Cluster(conf=conf) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        statuses = [a["status"] for a in at_once(pg, 24, lambda cursor, n: login(cursor, "ann@acme.test", ip=f"10.0.0.{n}"))]
        assert set(statuses) <= {"ok", "busy"}, statuses
        assert 2 + 2 * 4 <= statuses.count("ok"), statuses       # two hash, eight wait
        assert "busy" in statuses, statuses
        state = hashing(pg)
        assert state["most_at_once"] == 2 and state["running"] == 0, state
        with _log.session(pg) as cursor:
            assert login(cursor, ip="10.0.1.1")["status"] == "ok", "afterwards there is room"


def case_at_once_is_not_too_early():
    """Attempts that fall into the same microseconds: none is taken for one that comes before its time."""
    conf = {"backoffice.password_hashes_at_once": "1", "backoffice.password_hash_wait": "'0'", "backoffice.login_free_failures": "100"}
    with Cluster(conf=conf) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        answers = at_once(pg, 16, lambda cursor, n: {login(cursor, "ann@acme.test", ip=f"10.0.0.{n}")["status"] for _ in range(3000)})
        assert set.union(*answers) == {"ok", "busy"}, answers


def case_hash_wait_is_bounded():
    """All places taken by a stopped backend: others are answered busy after the wait, and go on once it goes on."""
    conf = {"backoffice.password_hashes_at_once": "1", "backoffice.password_hash_wait": "'500ms'"}
    with Cluster(conf=conf) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        with _log.session(pg) as slow, _log.session(pg) as cursor:
            slow.execute("SELECT pg_backend_pid()")
            pid = slow.fetchone()[0]
            thread = threading.Thread(target=lambda: [login(slow, f"nobody{n}@acme.test", "x", ip=f"10.0.2.{n}") for n in range(30)])
            thread.start()
            _log.wait_for("a hash", lambda: hashing(pg)["running"] == 1)
            os.kill(pid, signal.SIGSTOP)
            try:
                if hashing(pg)["running"] == 1:     # else it was stopped between two
                    began = time.monotonic()
                    answer = login(cursor)
                    assert answer["status"] == "busy" and answer["retry_after_s"] >= 1, answer
                    assert time.monotonic() - began > 0.4
            finally:
                os.kill(pid, signal.SIGCONT)
            thread.join()
            assert login(cursor)["status"] == "ok"
            # A waiter that is cancelled leaves the queue.
            cursor.execute("SET statement_timeout = '1ms'")
            for n in range(10):
                try:
                    login(cursor, f"somebody{n}@acme.test")     # each counts as a failed try of its account
                except Exception:       # pylint: disable=broad-except
                    pass
            cursor.execute("SET statement_timeout = 0")
            answer = login(cursor)
            assert answer["status"] == "ok", answer
            assert hashing(pg)["running"] == 0


def case_lockout_counts_concurrently():
    """Guesses made at once do not pass together, and no rollback takes them back."""
    with Cluster(conf={"backoffice.password_hashes_at_once": "4", "backoffice.password_hash_wait": "'30s'", "backoffice.login_free_failures": "5"}) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)

        def guess(cursor, n):
            cursor.execute("BEGIN")
            status = login(cursor, password=f"guess {n}", ip="10.0.0.1")["status"]
            cursor.execute("ROLLBACK")
            return status

        statuses = at_once(pg, 16, guess)
        assert statuses.count("denied") <= 6, statuses
        assert statuses.count("locked") >= 10, statuses
        assert pg.query("SELECT count(*) FROM events.log WHERE type = 'login.failed'", dbname="d") == [(0,)], "all rolled back"
        with _log.session(pg) as cursor:
            answer = login(cursor, ip="10.0.0.1")
            assert answer["status"] == "locked" and answer["retry_after_s"] <= 2, answer
            time.sleep(answer["retry_after_s"] + 0.1)
            assert login(cursor, ip="10.0.0.1")["status"] == "ok", "the wait ends by itself"


def case_terminated_while_logging_in():
    """A backend that is terminated in the middle leaves no place taken."""
    with Cluster(conf={"backoffice.password_hashes_at_once": "1"}) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        for n in range(5):
            dying = pg.connect("d")
            cursor = dying.cursor()
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]

            def try_it():
                try:
                    login(cursor, ip=f"10.0.{n}.1")
                except Exception:       # pylint: disable=broad-except
                    pass

            thread = threading.Thread(target=try_it)
            thread.start()
            time.sleep(0.005 * n)
            pg.query("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            thread.join()
        assert hashing(pg)["running"] == 0
        with _log.session(pg) as cursor:
            assert login(cursor, ip="10.9.0.1")["status"] == "ok"


def case_crash():
    """kill -9 between: what was committed is there, and an answer that was lost can be asked for again."""
    with Cluster(conf={"synchronous_commit": "on", "fsync": "on"}) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        with _log.session(pg) as cursor:
            kept = login(cursor)
            ended = login(cursor)
            first = refresh(cursor, kept)
            cursor.execute("BEGIN")
            cursor.execute("SELECT access.authenticate(%s), access.logout()", (ended["access_token"],))
            cursor.execute("COMMIT")
            # An uncommitted rotation is lost with the crash; its token was never given out.
            cursor.execute("BEGIN")
            refresh(cursor, first)
            pg.kill9()
        pg.start()
        with _log.session(pg) as cursor:
            assert acts(cursor, kept), "a session outlives the crash"
            assert acts(cursor, ended) == "session_ended", "a log-out too"
            assert refresh(cursor, ended)["status"] == "invalid"
            again = refresh(cursor, kept)
            assert again["status"] == "ok" and again["refresh_token"] == first["refresh_token"], "the lost answer, once more"
            second = refresh(cursor, first)
            assert second["status"] == "ok"
            assert refresh(cursor, kept)["status"] == "reused"
            pg.kill9()
        pg.start()
        with _log.session(pg) as cursor:
            assert acts(cursor, second) == "session_ended", "that end was committed by the refresh itself"


def case_crash_between_factor_and_answer():
    """A code whose use was committed is used, though the answer was lost; the user gets in with the next one."""
    with Cluster(conf={"fsync": "on"}) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        with _log.session(pg) as cursor:
            cursor.execute("SET backoffice.frozen_now = '2030-01-01 00:00:10+00'")
            answer = login(cursor)
            cursor.execute("BEGIN")
            cursor.execute("SELECT access.authenticate(%s), access.mfa_enroll('phone')", (answer["access_token"],))
            enrolled = cursor.fetchone()[1]
            cursor.execute("COMMIT")
            answer = show(cursor, answer, "access.mfa_activate(%s, %s)", (enrolled["factor_id"], code(cursor, enrolled)))
            assert answer["status"] == "ok", answer
            cursor.execute("SET backoffice.frozen_now = '2030-01-01 00:01:10+00'")
            answer = login(cursor)
            used = code(cursor, enrolled)
            assert show(cursor, answer, "access.mfa_verify(%s)", (used,))["status"] == "ok"
            pg.kill9()
        pg.start()
        with _log.session(pg) as cursor:
            cursor.execute("SET backoffice.frozen_now = '2030-01-01 00:01:15+00'")
            answer = login(cursor)
            assert show(cursor, answer, "access.mfa_verify(%s)", (used,))["status"] == "denied", "once is once"
            cursor.execute("SET backoffice.frozen_now = '2030-01-01 00:01:45+00'")
            assert show(cursor, answer, "access.mfa_verify(%s)", (code(cursor, enrolled),))["status"] == "ok"


def code(cursor, enrolled):
    cursor.execute("SELECT access.totp(%s, backoffice.now())", (base64.b32decode(enrolled["secret"]),))
    return cursor.fetchone()[0]


def show(cursor, answer, call, arguments):
    cursor.execute("BEGIN")
    cursor.execute("SELECT access.authenticate(%s)", (answer["access_token"],))
    cursor.execute("SELECT " + call, arguments)
    result = cursor.fetchone()[0]
    cursor.execute("COMMIT")
    return result


def case_code_used_twice_at_once():
    """The same code shown in two sessions at the same moment raises one of them."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        frozen = "SET backoffice.frozen_now = '2030-01-01 00:{:02d}:10+00'"
        with _log.session(pg) as cursor:
            cursor.execute(frozen.format(0))
            answer = login(cursor)
            enrolled = show(cursor, answer, "access.mfa_enroll('phone')", ())
            show(cursor, answer, "access.mfa_activate(%s, %s)", (enrolled["factor_id"], code(cursor, enrolled)))
            for minute in range(1, 6):
                cursor.execute(frozen.format(minute))
                answers = [login(cursor, ip=f"10.0.0.{n}") for n in range(4)]
                shown = code(cursor, enrolled)

                def verify(other, n):
                    other.execute(frozen.format(minute))
                    return show(other, answers[n], "access.mfa_verify(%s)", (shown,))["status"]

                statuses = at_once(pg, 4, verify)
                assert sorted(statuses) == ["denied", "denied", "denied", "ok"], statuses


def case_dump_restore():
    """Second factors, teams and platform administrators travel with a dump; sessions do not."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.psql("d", SETUP + """
            SELECT access.create_team('North', :'acme') AS north \\gset
            SELECT access.add_team_member(:'north', (SELECT id FROM access.users WHERE email = 'ann@acme.test'), :'acme');
            SELECT access.grant_platform_administrator(access.create_user('root@platform.test', 'correct horse'));
            """)
        with _log.session(pg) as cursor:
            cursor.execute("SET backoffice.frozen_now = '2030-01-01 00:00:10+00'")
            answer = login(cursor)
            enrolled = show(cursor, answer, "access.mfa_enroll('phone')", ())
            show(cursor, answer, "access.mfa_activate(%s, %s)", (enrolled["factor_id"], code(cursor, enrolled)))
        dump = os.path.join(pg.dir, "dump")
        for argv in (["pg_dump", "-Fc", "-f", dump, "d"], ["createdb", "copy"], ["pg_restore", "--exit-on-error", "-d", "copy", dump]):
            out = subprocess.run([os.path.join(pg.bin, argv[0])] + argv[1:], env=pg.env(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert out.returncode == 0, out.stdout
        tables = ("access.mfa_factors", "access.recovery_codes", "access.teams", "access.team_members", "access.platform_administrators")
        for table in tables:
            rows = [pg.query(f"SELECT json_agg(t ORDER BY t::text) FROM {table} t", dbname=name) for name in ("d", "copy")]
            assert rows[0] == rows[1] and rows[0][0][0], table
        assert pg.query("SELECT count(*) FROM access.sessions", dbname="copy") == [(0,)]
        with _log.session(pg, "copy") as cursor:
            cursor.execute("SET backoffice.frozen_now = '2030-01-01 00:01:10+00'")
            assert refresh(cursor, answer)["status"] == "invalid", "everybody logs in again"
            answer = login(cursor)
            assert answer["mfa"]["required"], json.dumps(answer)
            assert show(cursor, answer, "access.mfa_verify(%s)", (code(cursor, enrolled),))["status"] == "ok", "with the factor they have"


def case_ends_at_once():
    """Passwords changed, sessions ended one by one and all together, tokens rotated, at the same time: nobody deadlocks."""
    with Cluster(conf={"backoffice.password_hashes_at_once": "8", "backoffice.password_hash_wait": "'30s'", "backoffice.login_free_failures": "1000"}) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)

        def work(cursor, n):
            for _ in range(12):
                answer = login(cursor, ip=f"10.0.0.{n}")
                if answer["status"] != "ok":
                    continue
                refresh(cursor, answer)
                call = ("access.change_password('correct horse', 'correct horse')", "access.logout_all()", "access.logout()",
                        "access.set_password(%s, 'correct horse')", "access.mfa_enroll('phone')")[n % 5]
                try:
                    if n % 5 == 3:
                        cursor.execute("SELECT " + call, (answer["user"]["id"],))
                    else:
                        show(cursor, answer, call, ())
                except Exception as e:      # pylint: disable=broad-except
                    cursor.execute("ROLLBACK")
                    if e.diag.constraint_name != "session_ended":
                        return f"{n}: {e}"
            return "fine"

        answers = at_once(pg, 10, work)
        assert set(answers) == {"fine"}, answers


def case_standby():
    """A log-out on the primary counts on a standby once it is replayed, though the token is cached there; nobody logs in there."""
    with Cluster(conf={"wal_level": "replica", "max_wal_senders": "5"}) as primary:
        primary.create_database("d")
        primary.psql("d", SETUP)
        standby = standby_of(primary)
        try:
            with _log.session(primary) as there, _log.session(standby) as here:
                answer, other = login(there), login(there)
                wait_for_replay(primary, standby)
                assert acts(here, answer) == answer["user"]["id"] and acts(here, other), "tokens are good on a standby"
                show(there, answer, "access.logout()", ())
                wait_for_replay(primary, standby)
                assert acts(here, answer) == "session_ended" and acts(here, other), "until their session ends"
                for function, arguments in (("access.refresh(%s)", (other["refresh_token"],)), ("access.login('ann@acme.test', 'correct horse')", ())):
                    try:
                        here.execute("SELECT " + function, arguments)
                        raise AssertionError(function)
                    except Exception as e:      # pylint: disable=broad-except
                        assert e.pgcode == "25006", e
        finally:
            standby.destroy()


def case_some_that_always_fail():
    """Sessions that cannot be written keep the keeper from no other, however many they are; nor are they forgotten."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        pg.query("""CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never this one'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE OF state ON access.sessions FOR EACH ROW WHEN (NEW.user_agent = 'bad') EXECUTE FUNCTION public.refuse()""", dbname="d")
        with _log.session(pg) as cursor:
            login(cursor, "bob@acme.test", "battery staple")
        # In one transaction: what is due is due at once.
        pg.query("""BEGIN;
            INSERT INTO access.sessions (id, user_id, user_agent, created_at, authenticated_at, last_seen_at, expires_at, due_at, aal, amr, refresh_key)
            SELECT backoffice.uuid7(), user_id, 'bad', now() - interval '2 days', now(), now() - interval '2 days', now() - interval '1 day', now() - interval '1 hour', 1, '{pwd}', ''
            FROM access.sessions, generate_series(1, 120);
            UPDATE access.sessions SET expires_at = now() - interval '1 minute', due_at = now() - interval '1 minute' WHERE user_agent IS NULL;
            COMMIT""", dbname="d")
        ended = "SELECT count(*) FROM access.sessions WHERE state = 'ended' AND user_agent IS NOT DISTINCT FROM %s"
        _log.wait_for("the one behind them ends", lambda: pg.query(ended, (None,), dbname="d") == [(1,)], timeout_s=40)
        pg.query("DROP TRIGGER refuse ON access.sessions", dbname="d")
        _log.wait_for("the others end too", lambda: pg.query(ended, ("bad",), dbname="d") == [(120,)], timeout_s=40)
