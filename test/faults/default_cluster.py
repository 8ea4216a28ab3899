"""A server with nothing set but shared_preload_libraries: everything works, in two databases, with a key file it makes itself."""
import os
import stat
import threading
import time

import psycopg2

from harness.pg import Cluster


class DefaultCluster(Cluster):
    def write_conf(self, **more):
        with open(os.path.join(self.data, "postgresql.conf"), "a") as f:
            f.write(f"shared_preload_libraries = 'backoffice'\nlisten_addresses = ''\nport = {self.port}\nunix_socket_directories = '{self.dir}'\n")


def pool_of(pg, dbname, codes):
    """An organization with a pool, into which several connections import codes at once."""
    organization = pg.query("SELECT access.create_organization('Default')", dbname=dbname)[0][0]
    run(pg, dbname, organization, "SELECT certificates.create_pool('P', 'EUR', 5000)")
    failures = []

    def load(number):
        try:
            run(pg, dbname, organization, f"SELECT certificates.import_codes('P', ARRAY['{dbname}CODE{number:04}'], ARRAY['4711'])")
        except psycopg2.Error as e:
            failures.append(str(e))

    threads = [threading.Thread(target=load, args=(number,)) for number in range(codes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return organization


def run(pg, dbname, organization, statement):
    conn = pg.connect(dbname, autocommit=False)
    try:
        with conn.cursor() as cur:
            cur.execute("SELECT access.act_as(%s)", (organization,))
            cur.execute(statement)
            rows = cur.fetchall()
        conn.commit()
        return rows
    finally:
        conn.close()


def wait_for(pg, dbname, sql, timeout_s=30):
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        rows = pg.query(sql, dbname=dbname)
        if rows == [(True,)]:
            return
        time.sleep(0.1)
    raise AssertionError(f"not true in {timeout_s} s: {sql}\n{pg.tail_log()}")


def case_two_databases():
    with DefaultCluster() as pg:
        assert pg.query("SHOW max_worker_processes") == [("8",)] and pg.query("SHOW backoffice.key_file") == [("backoffice.keys",)]
        path = os.path.join(pg.data, "backoffice.keys")
        assert not os.path.exists(path)
        for dbname in ("one", "two"):
            pg.create_database(dbname)
        organizations = {dbname: pool_of(pg, dbname, 8) for dbname in ("one", "two")}

        # Eight connections wanted a key at once: one file, of one key, of the server's user alone.
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        lines = open(path).read().splitlines()
        assert len(lines) == 1 and lines[0].startswith("auto-") and len(lines[0]) == 78, "not one key"
        assert not [name for name in os.listdir(pg.data) if name.startswith("backoffice.keys.")]
        made = open(pg.log).read().count("made a key file for stored secrets")
        assert made == 1, made

        for dbname, organization in organizations.items():
            assert run(pg, dbname, organization, "SELECT count(*), count(DISTINCT code) FROM certificates.reserve_next('P', 'pos') r,"
                       " LATERAL certificates.issue(r.id)") == [(1, 1)]
            # Ticker, dispatcher and keeper of both databases run within the default number of workers.
            wait_for(pg, dbname, "SELECT count(*) > 0 FROM events.read(NULL, 1000, ARRAY['GiftCertificates.Stream']) WHERE type = 'certificate.issued'")
            wait_for(pg, dbname, "SELECT count(*) >= 4 FROM backoffice.workers WHERE state = 'running'")
        # A superuser without a principal sees all pools, a service none.
        assert pg.query("SELECT count(*), sum(difference) FROM certificates.conservation", dbname="one") == [(1, 0)]
        assert pg.query("SET ROLE backoffice_service; SELECT count(*) FROM certificates.conservation", dbname="one") == [(0,)]
        pg.restart()
        assert len(open(path).read().splitlines()) == 1
        shown = run(pg, "one", organizations["one"], "SELECT certificates.disclose_code(id) FROM certificates.certificates WHERE state = 'issued'")
        assert len(shown) == 1 and shown[0][0].startswith("oneCODE"), shown


def case_lost_key_file():
    """A stored secret asks for its key: the file that is gone is missed, not replaced in silence."""
    with DefaultCluster() as pg:
        pg.create_database("one")
        organization = pool_of(pg, "one", 1)
        path = os.path.join(pg.data, "backoffice.keys")
        kept = open(path).read()
        run(pg, "one", organization, "SELECT certificates.issue((certificates.reserve_next('P', 'pos')).id)")
        os.remove(path)
        show = "SELECT certificates.disclose_code(id) FROM certificates.certificates"
        try:
            run(pg, "one", organization, show)
            raise AssertionError("shown without a key")
        except psycopg2.Error as e:
            assert (e.pgcode, e.diag.constraint_name) == ("F0000", "key_file_missing"), e
        assert not os.path.exists(path)
        # Put back, or named elsewhere, all is well; a file that the administrator named is never made.
        with open(path, "w") as f:
            f.write(kept)
        pg.own(path)
        os.chmod(path, 0o600)
        assert run(pg, "one", organization, show) == [("oneCODE0000",)]
        pg.query("ALTER SYSTEM SET backoffice.key_file = 'elsewhere.keys'")
        pg.query("SELECT pg_reload_conf()")
        time.sleep(0.5)
        try:
            run(pg, "one", organization, "SELECT certificates.import_codes('P', ARRAY['CODE-0001'])")
            raise AssertionError("imported without a key")
        except psycopg2.Error as e:
            assert (e.pgcode, e.diag.constraint_name) == ("F0000", "key_file_missing"), e
        assert not os.path.exists(os.path.join(pg.data, "elsewhere.keys"))


def case_key_added_under_a_session():
    """A line that is appended to the file counts in every session after the reload, also where no setting names the file."""
    with DefaultCluster() as pg:
        pg.create_database("d")
        organization = pool_of(pg, "d", 1)
        conn = pg.connect("d")
        cur = conn.cursor()

        def current_key(code):
            cur.execute("BEGIN")
            cur.execute("SELECT access.act_as(%s)", (organization,))
            cur.execute("SELECT certificates.import_codes('P', ARRAY[%s], ARRAY['4711'])", (code,))
            cur.execute("COMMIT")
            cur.execute("SELECT key_id, codes FROM certificates.key_usage()")
            return dict(cur.fetchall())
        assert list(current_key("BEFORE0001").values()) == [2]
        with open(os.path.join(pg.data, "backoffice.keys"), "a") as f:
            f.write(f"second {'ab' * 32}\n")
        cur.execute("SELECT pg_reload_conf()")
        deadline = time.time() + 10
        while time.time() < deadline and not (used := current_key(f"AFTER{int(time.time() * 1000)}")).get("second"):
            time.sleep(0.1)
        assert used.get("second") == 1, f"the session goes on with the old key: {used}"
        conn.close()


def case_more_databases_than_room():
    """Where backoffice.max_databases is too small, the server's log says so."""
    with Cluster({"backoffice.max_databases": "1"}) as pg:
        pg.create_database("one")
        pg.query("CREATE DATABASE two")
        deadline = time.time() + 40
        while "no room for the database" not in open(pg.log).read():
            assert time.time() < deadline, "nobody was told"
            time.sleep(0.2)


def case_database_left_invalid():
    """A database whose DROP did not come to its end refuses everybody: nobody is sent there again and again."""
    with Cluster() as pg:
        pg.query("CREATE DATABASE broken")
        time.sleep(1)
        pg.query("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'broken'")
        pg.restart()
        time.sleep(4)
        assert "invalid database" not in open(pg.log).read(), "workers knock at its door"
