"""What every figure needs: one durable cluster, pgbench runs in one round trip, interleaving, and the report."""
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from harness.pg import Cluster

# As a careful administrator would set a machine of this size up.  Everything durable: fsync and full_page_writes stay on.
# No checkpoint falls into a round: the set-up ends without one, so neither side writes full pages.
CONF = {
    "fsync": "on",
    "shared_buffers": "4GB",
    "max_wal_size": "32GB",
    "checkpoint_timeout": "1d",
    "wal_buffers": "16MB",
    "jit": "off",
    "max_connections": "120",
    "log_min_messages": "warning",
}

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "2"))
CLIENTS = [int(c) for c in os.environ.get("CLIENTS", "1,8,32").split(",")]

DATABASE = "bench"

# pgbench 15 cannot prepare while it is in pipeline mode: its first statement, sent once per client, prepares the script.
PIPELINE = """\\if :warm = 0
SELECT 1;
\\set warm 1
\\endif
{before}
\\startpipeline
{body}
\\endpipeline
"""


def say(text):
    print(text, file=sys.stderr, flush=True)


def pipeline(body, before=""):
    """A pgbench script whose body travels in one network round trip, with prepared statements."""
    return PIPELINE.format(body=body.strip(), before=before.strip())


def interleave(variants, rounds=None):
    """variants: {label: function -> number}.  Runs A B, B A, A B ...; returns {label: [number per round]}."""
    rounds = rounds or ROUNDS
    results = {label: [] for label in variants}
    labels = list(variants)
    for i in range(rounds):
        for label in labels if i % 2 == 0 else reversed(labels):
            results[label].append(variants[label]())
    return results


class Missing(Exception):
    """A figure that cannot be measured here; the reason is its text."""


class Bench:
    """The cluster, made on first use, and the figures reported so far."""

    def __init__(self):
        self._pg = None
        self.organization = None
        self.figures = []
        self.dir = tempfile.mkdtemp(prefix="backoffice-bench-", dir="/tmp")
        self.cleanups = []

    # -- servers --

    @property
    def pg(self):
        if self._pg is None:
            pg = Cluster(conf=CONF)
            self.cleanups.append(pg.destroy)
            pg.init()
            pg.start()
            self._pg = pg
            pg.create_database(DATABASE)
            pg.query("CREATE ROLE bench_service LOGIN IN ROLE backoffice_service")
            pg.psql(DATABASE, "CREATE SCHEMA plain; GRANT USAGE ON SCHEMA plain TO PUBLIC;"
                              "ALTER DEFAULT PRIVILEGES IN SCHEMA plain GRANT ALL ON TABLES TO PUBLIC;"
                              "ALTER DEFAULT PRIVILEGES IN SCHEMA plain GRANT ALL ON SEQUENCES TO PUBLIC;")
            self.organization = self.query("SELECT access.create_organization('bench')")[0][0]
        return self._pg

    def query(self, sql, params=None, user="postgres"):
        return self.pg.query(sql, params, dbname=DATABASE, user=user)

    def psql(self, sql):
        return self.pg.psql(DATABASE, sql)

    def connect(self, user="postgres", autocommit=True):
        return self.pg.connect(DATABASE, user, autocommit)

    def close(self):
        for cleanup in reversed(self.cleanups):
            try:
                cleanup()
            except Exception as e:
                say(f"cleanup: {e}")
        subprocess.run(["rm", "-rf", self.dir])

    # -- measuring --

    def pgbench(self, script, clients=1, seconds=None, user="bench_service", variables=None, options="",
                transactions=None, rate=None):
        """Transactions per second, without connection time.  transactions: so many per client instead of seconds."""
        path = os.path.join(self.dir, f"script-{abs(hash(script))}.sql")
        with open(path, "w") as f:
            f.write(script)
        argv = [os.path.join(self.pg.bin, "pgbench"), "-n", "-M", "prepared", "-f", path, "-c", str(clients),
                "-j", str(min(clients, 2)), "-D", "warm=0"]
        argv += ["-t", str(transactions)] if transactions else ["-T", str(max(1, round(seconds or SECONDS)))]
        if rate:
            argv += ["-R", str(rate)]
        for name, value in (variables or {}).items():
            argv += ["-D", f"{name}={value}"]
        env = self.pg.env()
        env.update(PGUSER=user, PGOPTIONS=options)
        out = subprocess.run(argv + [DATABASE], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        tps = re.search(r"^tps = ([0-9.]+)", out.stdout, re.M)
        if out.returncode or not tps or "aborted" in out.stdout:
            raise RuntimeError("pgbench failed:\n" + out.stdout[-3000:])
        return float(tps.group(1))

    def compare(self, name, ours, baseline, unit="tx/s", target=None, rounds=None, note=None):
        """ours and baseline: functions returning a rate; the target is the least ratio."""
        say(f"-- {name}")
        results = interleave({"ours": ours, "baseline": baseline}, rounds)
        return self.report_rates(name, results["ours"], results["baseline"], unit, target, note)

    def report_rates(self, name, ours, baseline, unit, target=None, note=None):
        pairs = sorted(a / b for a, b in zip(ours, baseline))
        a, b = statistics.median(ours), statistics.median(baseline)
        return self.report(name, a, b, unit, f">= {target}" if target else None, a / b >= target if target else None,
                           note=note, pair_ratios=[round(p, 3) for p in pairs])

    def report(self, name, ours, baseline, unit, target=None, met=None, **more):
        """One JSON line.  target is words; met None: told for comparison only."""
        def tidy(x):
            return None if x is None else float(f"{x:.5g}")
        figure = {"name": name, "ours": tidy(ours), "baseline": tidy(baseline),
                  "ratio": tidy(ours / baseline) if baseline else None, "unit": unit, "target": target, "met": met}
        figure.update({k: v for k, v in more.items() if v is not None})
        self.figures.append(figure)
        print(json.dumps(figure), flush=True)
        return figure

    def table(self):
        width = max([len(f["name"]) for f in self.figures] + [6])
        print(f"\n{'figure':{width}}  {'ours':>11}  {'baseline':>11}  {'ratio':>7}  {'unit':14}  {'target':24}  met")
        for f in self.figures:
            def cell(x):
                return "-" if x is None else f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.4g}"
            met = {True: "yes", False: "NO", None: ""}[f["met"]]
            print(f"{f['name']:{width}}  {cell(f['ours']):>11}  {cell(f['baseline']):>11}  {cell(f['ratio']):>7}"
                  f"  {f['unit']:14}  {f['target'] or '':24}  {met}")


def wait_until(condition, timeout_s, what, step_s=0.02):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(step_s)
    raise RuntimeError(f"{what}: not within {timeout_s} s")
