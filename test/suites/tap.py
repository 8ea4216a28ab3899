"""pgTAP: test/tap/<name>.sql, each in a database of its own with backoffice and pgtap."""
import glob
import os
import re

from harness.pg import ROOT, Cluster


def run(only=None):
    files = sorted(glob.glob(os.path.join(ROOT, "test/tap/*.sql")))
    if only:
        files = [f for f in files if os.path.basename(f)[:-4] == only]
    if not files:
        return
    with Cluster() as pg:
        for path in files:
            name = os.path.basename(path)[:-4]
            db = "tap_" + name
            pg.create_database(db)
            pg.query("CREATE EXTENSION pgtap", dbname=db)
            try:
                text = pg.psql(db, "\\set QUIET 1\n\\pset format unaligned\n\\pset tuples_only true\n\\pset pager off\n"
                               + pg.in_words_of(open(path).read()), check=False)
                ok, why = judge(text)
            except RuntimeError as e:
                ok, why, text = False, str(e), ""
            yield name, ok, text + "\n" + why
            # Its three background workers would take up slots and time.
            pg.query(f'DROP DATABASE "{db}" WITH (FORCE)')


def judge(text):
    """A TAP stream passed when every planned test ran and none failed."""
    plan = re.search(r"^1\.\.(\d+)", text, re.M)
    ran = len(re.findall(r"^(?:not )?ok \d+", text, re.M))
    bad = re.findall(r"^not ok \d+.*", text, re.M)
    errors = re.findall(r"^(?:psql:.*)?ERROR:.*", text, re.M)
    if not plan:
        return False, "no plan"
    if int(plan.group(1)) != ran or ran == 0:
        return False, f"planned {plan.group(1)}, ran {ran}"
    if bad or errors:
        return False, "\n".join(bad + errors)
    return True, ""
