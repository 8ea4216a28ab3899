"""isolationtester: test/isolation/specs/<name>.spec against test/isolation/expected/<name>.out."""
import glob
import os
import shutil
import subprocess
import tempfile

from harness.pg import ROOT, Cluster

# For teardown: the keeper and the dispatcher may hold one of these tables and want another; then it begins again.
FORGET_ORGANIZATIONS = """
CREATE PROCEDURE forget_organizations() LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            TRUNCATE access.audit_entries, access.role_grants, access.roles, access.memberships, access.users, access.organizations CASCADE;
            RETURN;
        EXCEPTION WHEN deadlock_detected THEN
            RAISE LOG 'again: %', SQLERRM;
        END;
    END LOOP;
END $$
"""


def run(only=None):
    base = os.path.join(ROOT, "test/isolation")
    names = sorted(os.path.basename(p)[:-5] for p in glob.glob(os.path.join(base, "specs/*.spec")))
    if only:
        names = [n for n in names if n == only]
    if not names:
        return
    pgxs = subprocess.check_output([os.environ.get("PG_CONFIG", "pg_config"), "--pgxs"], text=True).strip()
    runner = os.path.join(os.path.dirname(os.path.dirname(pgxs)), "test/isolation/pg_isolation_regress")
    out = tempfile.mkdtemp(prefix="backoffice-isolation-")
    with Cluster() as pg:
        for name in names:
            db = "isolation_" + name.replace("-", "_")
            pg.create_database(db)
            pg.psql(db, FORGET_ORGANIZATIONS)
            proc = subprocess.run(
                [runner, "--use-existing", "--dbname=" + db, "--inputdir=" + base, "--outputdir=" + out,
                 "--bindir=" + pg.bin, "--host=" + pg.dir, "--port=" + str(pg.port), name],
                env=pg.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=out)
            text = proc.stdout
            diffs = os.path.join(out, "regression.diffs")
            if proc.returncode and os.path.exists(diffs):
                text += open(diffs).read()
            if proc.returncode and os.environ.get("REGRESS_RESULTS"):
                shutil.copy(os.path.join(out, "results", name + ".out"), os.environ["REGRESS_RESULTS"])
            yield name, proc.returncode == 0, text
    shutil.rmtree(out, ignore_errors=True)
