"""pg_upgrade: files taken over by another cluster (of the same major here; docs/majors.md tells of others)."""
import os
import shutil
import subprocess

from faults import _log
from harness.pg import Cluster

FILL = """
SELECT events.define_topic('T', 'k', '8 days', 2, 'out');
CREATE ROLE app LOGIN IN ROLE backoffice_service;
SELECT access.create_organization('o') AS o \\gset
BEGIN;
SELECT access.act_as(:'o');
SELECT certificates.create_pool('P', 'EUR', 5000);
SELECT certificates.generate_codes('P', 20);
SELECT count(events.emit('T', 'k', 'test.happened', jsonb_build_object('k', 'k', 'n', n))) FROM generate_series(1, 100) AS n;
SELECT status FROM certificates.reserve_next('P', 'internet_store', 'order-1', 'key-1');
COMMIT;
"""

GO_ON = """
SELECT id AS o FROM access.organizations WHERE name = 'o' \\gset
BEGIN;
SELECT access.act_as(:'o');
SELECT count(events.emit('T', 'k', 'test.happened', jsonb_build_object('k', 'k', 'n', n))) FROM generate_series(101, 150) AS n;
SELECT id AS card FROM certificates.reserve_next('P', 'internet_store', 'order-1', 'key-1') \\gset
SELECT certificates.reserve_next('P', 'internet_store', 'order-2', 'key-2');
SELECT certificates.issue(:'card');
COMMIT;
"""


def events(pg, after=None):
    return pg.query("SELECT position::text, (payload->>'n')::int FROM events.read(%s, 1000, '{T}')", (after,), dbname="d")


def case_pg_upgrade():
    """Events stay readable in their order, from positions of the old cluster on; new ones come after; certificates go on."""
    old, new = Cluster(), Cluster()
    try:
        old.init()
        old.start()
        old.create_database("d")
        old.psql("d", FILL)
        before = _log.wait_for("the events", lambda: len(events(old)) == 100 and events(old))
        old.stop()
        new.init()
        shutil.copy(old.key_file, new.key_file)
        new.own(new.key_file)
        out = subprocess.run(new.as_user([os.path.join(new.bin, "pg_upgrade"), "-b", old.bin, "-B", new.bin, "-d", old.data, "-D", new.data,
                                          "-U", "postgres", "--no-sync", "-s", new.dir, "-p", str(old.port), "-P", str(new.port)]),
                             cwd=new.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        assert out.returncode == 0, out.stdout[-3000:]
        new.start()
        _log.wait_for("the workers", lambda: new.query("SELECT backoffice.health() ->> 'status'", dbname="d")[0][0] == "ok")
        assert events(new) == before
        new.psql("d", GO_ON)
        after = _log.wait_for("the new events", lambda: len(events(new)) == 150 and events(new))
        assert [n for _, n in after] == list(range(1, 151))
        assert [n for _, n in events(new, before[49][0])] == list(range(51, 151)), "from a position of before"
        assert after[-1][0].split(":")[0] != before[-1][0].split(":")[0], "another epoch: the old cluster may go on living"
        assert new.query("SELECT created, available, held, issued, difference FROM certificates.conservation", dbname="d") == [(20, 18, 1, 1, 0)]
    finally:
        old.destroy()
        new.destroy()
