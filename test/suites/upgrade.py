"""Updates: what was released stays as it was; a database that was updated has the same catalog as a fresh one, all that was in it, and goes on."""
import contextlib
import datetime
import glob
import os
import re
import shutil
import subprocess
import tempfile

from faults import _log
from harness.clock import Clock
from harness.pg import ROOT, Cluster, pg_tree, share_dir
from upgrade import fixture

EXTENSION = os.path.join(ROOT, "extension")

# Everything that an extension's script makes, as text: what differs here differs for users.
CATALOG = """
WITH members AS (
    SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
    WHERE e.extname = 'backoffice' AND d.deptype = 'e')
SELECT 'object ' || o.type || ' ' || o.identity || ' ' || coalesce(obj_description(m.objid, m.classid::regclass::text::name), '')
FROM members m, pg_identify_object(m.classid, m.objid, 0) o
UNION ALL SELECT 'function ' || pg_get_functiondef(p.oid) || ' ' || p.proowner::regrole || ' ' || coalesce(p.proacl::text, '')
FROM members m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid WHERE p.prokind = 'f'
UNION ALL SELECT 'relation ' || c.oid::regclass || ' ' || c.relkind::text || c.relrowsecurity || ' ' || c.relowner::regrole || ' ' || coalesce(c.relacl::text, '')
              || coalesce(pg_get_viewdef(c.oid), '')
FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
UNION ALL SELECT 'column ' || c.oid::regclass || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || a.attnotnull || coalesce(a.attacl::text, '')
              || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(col_description(c.oid, a.attnum), '')
FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind IN ('r', 'p', 'v')
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
UNION ALL SELECT 'constraint ' || c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid)
FROM members m JOIN pg_constraint c ON m.classid = 'pg_class'::regclass AND c.conrelid = m.objid
UNION ALL SELECT 'trigger ' || pg_get_triggerdef(t.oid)
FROM members m JOIN pg_trigger t ON m.classid = 'pg_class'::regclass AND t.tgrelid = m.objid AND NOT t.tgisinternal
UNION ALL SELECT 'policy ' || p.polrelid::regclass || ' ' || p.polname || ' ' || p.polcmd::text || coalesce(pg_get_expr(p.polqual, p.polrelid), '')
              || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') || p.polroles::regrole[]::text
FROM members m JOIN pg_policy p ON m.classid = 'pg_class'::regclass AND p.polrelid = m.objid
UNION ALL SELECT 'index ' || pg_get_indexdef(i.indexrelid)
FROM members m JOIN pg_index i ON m.classid = 'pg_class'::regclass AND i.indrelid = m.objid
"""


def version():
    with open(os.path.join(EXTENSION, "backoffice.control")) as f:
        return re.search(r"default_version *= *'(.*)'", f.read()).group(1)


def catalog(pg, database):
    return [row[0] for row in pg.query(CATALOG, dbname=database)]


# What an update says of rows that the dumps do not have: (made before it, must be true after it).
ROWS = {
    "0.1": ("""
INSERT INTO access.organizations (id, name) VALUES (gen_random_uuid(), 'Acme');
INSERT INTO access.issuers (issuer, id, client_id, home_organization, link_by_email)
SELECT 'https://' || name, gen_random_uuid(), 'x', CASE WHEN name <> 'house' THEN (SELECT id FROM access.organizations) END, name = 'trusted'
FROM unnest('{house,tenant,trusted}'::text[]) AS name;
INSERT INTO access.users (id, email, password_hash) SELECT gen_random_uuid(), name || '@acme.test', CASE WHEN name = 'password' THEN 'x' END
FROM unnest('{house,tenant,trusted,password}'::text[]) AS name;
INSERT INTO access.identities (issuer, subject, user_id) SELECT 'https://' || CASE name WHEN 'password' THEN 'tenant' ELSE name END, name, id
FROM access.users, split_part(email, '@', 1) AS name;
""", "SELECT array_agg(email) = '{tenant@acme.test}' FROM access.users WHERE email_said_by = (SELECT id FROM access.organizations)"),
}


def difference(fresh, updated):
    return "\n".join(["only fresh:   " + line for line in sorted(set(fresh) - set(updated))]
                     + ["only updated: " + line for line in sorted(set(updated) - set(fresh))])


def released():
    """Versions that were released, but for the one in work."""
    found = [re.search(r"--(.*)\.sql$", path).group(1) for path in glob.glob(os.path.join(EXTENSION, "released/backoffice--*.sql"))]
    return sorted(v for v in found if "--" not in v and v != version())


@contextlib.contextmanager
def at_the_time_of(dump):
    """A cluster whose clock stands where the dump was made: holds and certificates in it expire some day."""
    made = max(re.findall(r"\t(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[.\d]*\+00\b", dump[dump.index("COPY access.audit_entries "):dump.index("COPY access.roles ")]))
    pg = Cluster()
    try:
        pg.init()
        Clock(pg).ahead((datetime.datetime.fromisoformat(made + "+00:00") - datetime.datetime.now(datetime.timezone.utc)).total_seconds() + 60)
        pg.start()
        yield pg
    finally:
        pg.destroy()


def with_data(old, fresh, folder=fixture.HERE):
    """A database of that version, as its release dumped it, restored and updated; what is wrong then."""
    with open(os.path.join(folder, old + ".sql")) as f:
        dump = f.read()
    with at_the_time_of(dump) as pg:
        fixture.use_key(pg)
        pg.create_database("d", extension=False)
        pg.psql("d", dump)
        assert pg.query("SELECT extversion FROM pg_extension WHERE extname = 'backoffice'", dbname="d") == [(old,)]
        pg.psql("d", "BEGIN; ALTER EXTENSION backoffice UPDATE; ROLLBACK;")
        pg.psql("d", "ALTER EXTENSION backoffice UPDATE;")
        bad = difference(fresh, catalog(pg, "d"))
        _log.wait_for("the log is complete", lambda: pg.query("SELECT backoffice.health() ->> 'status'", dbname="d") == [("ok",)])
        before = dict(pg.query("SELECT name, value FROM public.facts", dbname="d"))
        _log.wait_for("all events are readable", lambda: fixture.facts(pg, "d")["events"].split()[0] == before["events"].split()[0])
        after = fixture.facts(pg, "d")
        bad += "".join(f"{name}: {before[name]} -> {after.get(name)}\n" for name in before if before[name] != after.get(name))
        answers = [line.split("|") for line in pg.psql("d", "\\t on\n\\a\n" + fixture.read("go_on.sql")).splitlines() if "|" in line]
        bad += "".join(f"not true: {line}\n" for line in answers if line[0] != "t")
        return bad or ("" if len(answers) > 10 and len(before) > 8 else "nothing was asked")


def frozen_case():
    """scripts/release, in a copy: freezes once, then refuses every change."""
    with tempfile.TemporaryDirectory(prefix="backoffice-release-") as work:
        copy = os.path.join(work, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "build", "*.o"), symlinks=True)
        script = os.path.join(copy, "scripts/release")
        released = os.path.join(copy, "extension/released")
        shutil.rmtree(released, ignore_errors=True)

        def run(*args):
            # Without a fixture: a copy has no server of its own.
            return subprocess.run([script, *args], env={**os.environ, "PYTHON": "true"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        steps = [("nothing released", run("--check"), 0), ("release", run(), 0), ("unchanged", run("--check"), 0),
                 ("twice", run(), 1), ("again, as it has no tag", run("--again"), 0), ("still unchanged", run("--check"), 0)]
        with open(os.path.join(copy, "extension", f"backoffice--{version()}.sql"), "a") as f:
            f.write("SELECT 1;\n")
        steps.append(("install script changed after its release", run("--check"), 1))
        with open(os.path.join(released, f"backoffice--{version()}.sql"), "a") as f:
            f.write("SELECT 2;\n")
        steps.append(("released script changed", run("--check"), 1))
        bad = [f"{name}: exit {out.returncode}\n{out.stdout}" for name, out, want in steps if out.returncode != want]
        return not bad, "\n".join(bad)


def run(only=None):
    out = subprocess.run([os.path.join(ROOT, "scripts/release"), "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    yield "releases-are-frozen", out.returncode == 0, out.stdout
    ok, text = frozen_case()
    yield "release-script", ok, text

    subprocess.check_call(["make", "-s", "-C", EXTENSION, f"backoffice--{version()}--replay.sql"])
    target = share_dir(pg_tree()) + "/extension"
    replay = shutil.move(os.path.join(EXTENSION, f"backoffice--{version()}--replay.sql"),
                         os.path.join(target, f"backoffice--{version()}--replay.sql"))
    try:
        with Cluster() as pg:
            pg.create_database("fresh")
            fresh = catalog(pg, "fresh")
            pg.create_database("replayed")
            text = pg.psql("replayed", "ALTER EXTENSION backoffice UPDATE TO 'replay';", check=False)
            diff = difference(fresh, catalog(pg, "replayed"))
            yield "replay-changes-nothing", "ERROR" not in text and not diff and len(fresh) > 100, text + diff
            for old in released():
                name = "from_" + old
                pg.create_database(name, extension=False)
                rows, question = ROWS.get(old, ("", "SELECT true"))
                text = pg.psql(name, f"CREATE EXTENSION backoffice VERSION '{old}';{rows} ALTER EXTENSION backoffice UPDATE;", check=False)
                diff = difference(fresh, catalog(pg, name))
                if not diff and pg.query(question, dbname=name) != [(True,)]:
                    diff = "not true: " + question
                yield f"from-{old}", "ERROR" not in text and not diff, text + diff
        for old in released():
            text = with_data(old, fresh)
            yield f"with-data-from-{old}", not text, text
        # What the next release will leave for these tests.
        with tempfile.TemporaryDirectory(prefix="backoffice-fixture-") as folder:
            fixture.make(version(), folder)
            text = with_data(version(), fresh, folder)
            yield "fixture-of-this-version", not text, text
    finally:
        os.unlink(replay)
