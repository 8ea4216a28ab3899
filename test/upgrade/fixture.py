"""Makes the fixture of a release: test/upgrade/<version>.sql, a dump of a database of that version, filled (scripts/release calls this)."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from faults import _log                     # noqa: E402
from harness.pg import ROOT, Cluster        # noqa: E402

HERE = os.path.join(ROOT, "test/upgrade")
KEY = "upgrade " + "5a" * 32 + "\n"         # of the fixtures alone: whoever restores one needs it


def read(name):
    with open(os.path.join(HERE, name)) as f:
        return f.read()


def use_key(pg):
    with open(pg.key_file, "w") as f:
        f.write(KEY)


def facts(pg, database):
    return {name: value for name, value in pg.query(read("facts.sql"), dbname=database)}


def handled(pg, database):
    """Handlers and the keeper have nothing left to do: what comes then is the same each time."""
    return pg.query("SELECT (SELECT state FROM certificates.orders) = 'fulfilled' AND (SELECT bool_and(lag_events = 0) FROM events.consumers WHERE name NOT LIKE 'upgrade-%')",
                    dbname=database)[0][0]


def make(version, folder=HERE):
    with Cluster() as pg:
        use_key(pg)
        pg.create_database("d")
        pg.psql("d", read("fill.sql"))
        _log.wait_for("the handlers", lambda: handled(pg, "d"))
        pg.psql("d", "CREATE TABLE public.facts (name text PRIMARY KEY, value text); INSERT INTO public.facts\n" + read("facts.sql"))
        out = subprocess.check_output([os.path.join(pg.bin, "pg_dump"), "-d", "d"], env=pg.env(), text=True)
    with open(os.path.join(folder, version + ".sql"), "w") as f:
        f.write(out.replace("backoffice WITH SCHEMA backoffice;", f"backoffice WITH SCHEMA backoffice VERSION '{version}';"))


if __name__ == "__main__":
    make(sys.argv[1])
