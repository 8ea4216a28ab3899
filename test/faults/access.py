"""access: rights on a standby, through dump and restore, and principals of backends that die."""
import os
import subprocess
import tempfile
import time

import psycopg2

from faults import _log
from harness.pg import Cluster

SETUP = """
SELECT access.define_permission('shop.sell', 'sell');
SELECT access.define_default_role('seller', '{shop.*}');
SELECT access.create_organization('Acme') AS acme \\gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \\gset
SELECT access.grant_role(:'ann', 'seller', 'infinity', :'acme');
SELECT access.define_role('chief', '{*}', '{seller}', :'acme');
"""


def may(cursor):
    """What the user may do in a transaction of its own."""
    cursor.execute("BEGIN")
    cursor.execute("SELECT access.act_as((SELECT id FROM access.organizations WHERE name = 'Acme'), (SELECT id FROM access.users))")
    cursor.execute("SELECT access.can('shop.sell')")
    answer = cursor.fetchone()[0]
    cursor.execute("COMMIT")
    return answer


def standby_of(primary):
    base = tempfile.mkdtemp(prefix="backoffice-pg-", dir="/tmp")
    os.chmod(base, 0o755)
    primary.own(base)
    standby = Cluster(base=base)
    out = primary._run([os.path.join(primary.bin, "pg_basebackup"), "-h", primary.dir, "-p", str(primary.port), "-U", "postgres",
                        "-D", standby.data, "-R", "-c", "fast"], check=False)
    assert out.returncode == 0, out.stdout
    standby.key_file = primary.key_file
    standby.write_conf()
    standby.start()
    return standby


def wait_for_replay(primary, standby):
    lsn = primary.query("SELECT pg_current_wal_insert_lsn()")[0][0]
    deadline = time.time() + 30
    while not standby.query("SELECT pg_last_wal_replay_lsn() >= %s", (lsn,))[0][0]:
        assert time.time() < deadline, "the standby does not follow"
        time.sleep(0.02)


def case_standby():
    with Cluster(conf={"wal_level": "replica", "max_wal_senders": "5"}) as primary:
        primary.create_database("shop")
        primary.psql("shop", SETUP)
        standby = standby_of(primary)
        try:
            cursor = standby.connect("shop").cursor()
            assert may(cursor) is True, "rights are known on a standby"
            assert may(cursor) is True, "and cached"
            primary.query("DELETE FROM access.role_grants", dbname="shop")
            wait_for_replay(primary, standby)
            assert may(cursor) is False, "a revoke counts on a standby once it is replayed"
            conn = primary.connect("shop", autocommit=False)
            conn.cursor().execute("INSERT INTO access.role_grants (organization_id, user_id, role) "
                                  "SELECT organization_id, user_id, 'seller' FROM access.memberships")
            conn.cursor().execute("PREPARE TRANSACTION 'grant'")
            conn.close()
            wait_for_replay(primary, standby)
            assert may(cursor) is False, "a prepared grant does not count yet"
            primary.query("COMMIT PREPARED 'grant'", dbname="shop")
            wait_for_replay(primary, standby)
            assert may(cursor) is True, "a grant counts on a standby after COMMIT PREPARED"
            cursor.connection.close()
        finally:
            standby.destroy()


def contents(pg, database):
    return pg.query("""
        SELECT (SELECT json_agg(t ORDER BY id) FROM access.organizations t), (SELECT json_agg(t ORDER BY id) FROM access.users t),
               (SELECT json_agg(t ORDER BY user_id) FROM access.memberships t), (SELECT json_agg(t ORDER BY name) FROM access.roles t),
               (SELECT json_agg(t ORDER BY role) FROM access.role_grants t), (SELECT json_agg(t ORDER BY name) FROM access.permissions t),
               (SELECT json_agg(t ORDER BY name) FROM access.default_roles t)""", dbname=database)


def case_dump_restore():
    with Cluster() as pg:
        pg.create_database("shop")
        pg.psql("shop", SETUP)
        dump = os.path.join(pg.dir, "dump")
        for argv in (["pg_dump", "-Fc", "-f", dump, "shop"], ["createdb", "copy"], ["pg_restore", "--exit-on-error", "-d", "copy", dump]):
            out = subprocess.run([os.path.join(pg.bin, argv[0])] + argv[1:], env=pg.env(), text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert out.returncode == 0, out.stdout
        assert contents(pg, "shop") == contents(pg, "copy"), "a restored database has the same people, roles and permissions"
        assert may(pg.connect("copy").cursor()) is True, "and the same rights"


def case_principal_of_the_dead():
    """A backend that is terminated while it acts leaves nothing to the next one in its slot."""
    with Cluster() as pg:
        pg.create_database("shop")
        pg.psql("shop", SETUP)
        for _ in range(5):
            dying = pg.connect("shop", autocommit=False)
            cursor = dying.cursor()
            cursor.execute("SELECT access.act_as(id) FROM access.organizations")
            cursor.execute("SELECT pg_backend_pid(), access.organization_id() IS NOT NULL")
            pid, acts = cursor.fetchone()
            assert acts
            pg.query("SELECT pg_terminate_backend(%s, 10000)", (pid,))
            heirs = [pg.connect("shop") for _ in range(5)]
            for heir in heirs:
                seen = heir.cursor()
                seen.execute(pg.in_words_of("SET force_parallel_mode = on; SELECT access.organization_id()"))
                assert seen.fetchone()[0] is None, "a new backend acts for nobody"
                heir.close()


def case_pooled_session():
    """One session serves one customer after the other, with DISCARD ALL between."""
    with Cluster() as pg:
        pg.create_database("shop")
        pg.psql("shop", SETUP)
        other = pg.query("SELECT access.create_organization('Bolt')", dbname="shop")[0][0]
        cursor = pg.connect("shop").cursor()
        for _ in range(3):
            assert may(cursor) is True
            cursor.execute("BEGIN")
            cursor.execute("SELECT access.act_as(%s)", (other,))
            cursor.execute("DECLARE held CURSOR WITH HOLD FOR SELECT id FROM access.organizations")
            cursor.execute("COMMIT")
            cursor.execute("DISCARD ALL")
            cursor.execute("SELECT access.organization_id(), (SELECT count(*) FROM pg_cursors)")
            assert cursor.fetchone() == (None, 0), "nothing is left for the next customer"


def case_database_of_another():
    """Who may create databases, but does not own this one, cannot send its workers away by trying to copy it."""
    with Cluster() as pg:
        pg.create_database("d")
        _log.wait_for("the workers", lambda: len(_log.workers(pg, "d")) == 3)
        pids = "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE datname = 'd' AND backend_type LIKE 'backoffice %'"
        before = pg.query(pids)
        pg.query("CREATE ROLE maker LOGIN CREATEDB")
        for statement in ("CREATE DATABASE copy TEMPLATE d", "DROP DATABASE d", "ALTER DATABASE d RENAME TO e"):
            try:
                pg.query(statement, user="maker")
                raise AssertionError(statement)
            except psycopg2.errors.InsufficientPrivilege:
                pass
        assert pg.query(pids) == before


# What our code compares and adds, taken from pg_catalog unless a caller's schema gets in between.
SHADOWED = [("=", "uuid", "uuid"), ("=", "text", "text"), ("<>", "text", "text"), ("=", "bigint", "bigint"), ("<", "bigint", "bigint"),
            (">=", "bigint", "bigint"), ("=", "int", "int"), ("+", "bigint", "int"), ("+", "bigint", "bigint"), ("||", "text", "text"),
            ("+", "timestamptz", "interval"), ("-", "timestamptz", "interval"), ("<=", "timestamptz", "timestamptz"), ("->>", "jsonb", "text")]


def case_shadowed_operators():
    """A caller's own operators and now() stand first in its search_path: none of them ever runs with our rights."""
    with Cluster() as pg:
        pg.create_database("d")
        pg.query("CREATE ROLE mallory LOGIN IN ROLE backoffice_service, backoffice_worker")
        pg.query("GRANT CREATE ON DATABASE d TO mallory; ALTER ROLE mallory SET search_path = evil, pg_catalog")
        conn = pg.connect("d", user="mallory")
        with conn.cursor() as cur:
            cur.execute("CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC")
            body = "BEGIN IF current_user <> 'mallory' THEN RAISE EXCEPTION 'ran as %', current_user; END IF; RETURN {}; END"
            for n, (operator, left, right) in enumerate(SHADOWED):
                result = {"+": left, "-": left, "||": "text", "->>": "text"}.get(operator, "boolean")
                cur.execute(f"CREATE FUNCTION evil.f{n}({left}, {right}) RETURNS {result} LANGUAGE plpgsql AS $${body.format('NULL')}$$;"
                            f"CREATE OPERATOR evil.{operator} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = evil.f{n})")
            cur.execute(f"CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $${body.format('NULL')}$$")
            cur.execute("SELECT access.create_organization('x')")
            organization = cur.fetchone()[0]
            cur.execute("BEGIN")
            cur.execute("SELECT access.act_as(%s)", (organization,))
            for statement in ("certificates.create_pool('gift', 'EUR', 500, low_water => 1)", "certificates.generate_codes('gift', 3)",
                              "certificates.import_codes('gift', ARRAY['AAAA1111', 'BBBB2222'])", "certificates.reserve_next('gift', 'pos', 'o', 'k')",
                              "certificates.reserve_next('gift', 'pos', 'o', 'k')", "certificates.issue((certificates.reserve_next('gift', 'pos')).id)",
                              "certificates.verify_cvc('AAAA1111', '123')", "certificates.retry_order('none')",
                              "access.create_user('a@b.test', 'long enough a password')", "access.define_role('r', ARRAY['access.read'])",
                              "lifecycle.diagram('certificates.certificates')"):
                cur.execute("SAVEPOINT s")
                try:
                    cur.execute("SELECT " + statement)
                    cur.execute("RELEASE s")
                except psycopg2.Error as e:
                    assert "ran as" not in str(e), (statement, e)
                    cur.execute("ROLLBACK TO s")
            cur.execute("COMMIT")
            for statement in ("* FROM events.lease('c', 'i')", "events.advance('c', 'i', '{0}', '{1}', '0:0:0')", "events.release_lease('c', 'i')",
                              "events.park('c', 0, backoffice.uuid7(), '0:0:0', 't', 'k', 'x', '{}', NULL, 'why', NULL)", "events.retry_parked('c')",
                              "* FROM events.parked_due('c')", "events.park_inbound('s', 't', 1, 1, NULL, NULL, 'why')",
                              "events.save_source_offset('g', 't', 1, 5)", "* FROM events.source_offsets('g')", "backoffice.heartbeat('w', 'i', 'running')",
                              "* FROM backoffice.workers", "backoffice.health()", "* FROM backoffice.metrics", "* FROM events.consumers",
                              "* FROM events.open_transactions", "* FROM events.read(NULL, 10)"):
                cur.execute("SELECT " + statement)
