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
                seen.execute("SET force_parallel_mode = on; SELECT access.organization_id()")
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
