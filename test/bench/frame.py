"""What every figure needs: one durable cluster, pgbench runs in one round trip, interleaving, and the report."""
import glob
import itertools
import json
import math
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from harness.pg import Cluster

# As a careful administrator would set a machine of this size up, in the state it is in between two checkpoints: no round pays for
# full pages (they would flatter us: our writes go to neighbouring pages, an UPDATE by key goes anywhere) or for making
# new WAL segments (settle() leaves old ones to be used again, as on any server that has run for a while).
CONF = {
    "fsync": "on",
    "full_page_writes": "off",
    "min_wal_size": "8GB",
    "shared_buffers": "4GB",
    "max_wal_size": "32GB",
    "checkpoint_timeout": "1d",
    "wal_buffers": "16MB",
    "jit": "off",
    "max_connections": "250",
    "log_min_messages": "warning",
}

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = float(os.environ.get("SECONDS", "1"))
CLIENTS = [int(c) for c in os.environ.get("CLIENTS", "1,8,32").split(",")]

SLICE_S = 0.1

DATABASE = "bench"

# pgbench 15 cannot prepare while it is in pipeline mode: its first statement, sent once per client, prepares the script.
_numbers = itertools.count()

PIPELINE = """\\if :warm = 0
SELECT 1;
\\set warm 1
\\endif
{before}
\\startpipeline
{body}
\\endpipeline
"""


def warm_s(clients):
    """How long sessions run before it counts: a new one has all its plans and caches to fill, and to map each page of shared memory
    that it comes upon.  32 on two processors run for a sixteenth of the time."""
    return max(0.4, 0.1 * clients)


def say(text):
    print(text, file=sys.stderr, flush=True)


def pipeline(body, before=""):
    """A pgbench script whose body travels in one network round trip, with prepared statements."""
    return PIPELINE.format(body=body.strip(), before=before.strip())


def stepwise(body, before=""):
    """The same, each statement sent when the one before was answered: what an application does that looks at its answers."""
    return f"{before.strip()}\n{body.strip()}\n"


class Load:
    """What one pgbench runs: a script, as whom, with which variables and session settings."""

    def __init__(self, script, user="bench_service", variables=None, options=""):
        self.script, self.user, self.variables, self.options = script, user, variables or {}, options

    def begin(self, bench, clients, seconds):
        """seconds: a whole number.  What was done is written down by the second."""
        self.log = os.path.join(bench.dir, f"log-{next(_numbers)}")
        return bench._pgbench(self, clients, ["-T", str(seconds), "-l", "--aggregate-interval=1", f"--log-prefix={self.log}"])

    def count(self, output, turns, since, until=math.inf):
        """Transactions that ended in these seconds (of the epoch)."""
        _found(output, r"actually processed: (\d+)", "aborted")
        total = 0
        for path in glob.glob(self.log + ".*"):
            with open(path) as f:
                total += sum(int(line.split()[1]) for line in f if since <= int(line.split()[0]) < until)
            os.remove(path)
        return total


class Wrk:
    """What one wrk runs: one request over and over, on so many connections that are kept.  It tells only the sum: warming up counts."""

    def __init__(self, url, headers=None, connections=64):
        self.url, self.headers, self.connections = url, headers or {}, connections

    def begin(self, bench, clients, seconds):
        argv = ["wrk", "-t", "1", "-c", str(self.connections), "-d", f"{seconds}s", "--timeout", f"{seconds}s", self.url]
        for name, value in self.headers.items():
            argv += ["-H", f"{name}: {value}"]
        return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def count(self, output, turns, since):
        # What was under way when it was stopped was answered meanwhile: not in its own time, so it does not count.
        return _found(output, r"(\d+) requests in", "Non-2xx", "Socket errors") - turns * self.connections


def _found(output, pattern, *bad):
    found = re.search(pattern, output, re.M)
    if not found or any(word in output for word in bad):
        raise RuntimeError("the load failed:\n" + output[-3000:])
    return float(found.group(1))


class Cpu:
    """Where the CPU's time goes while each load has its turn. groups: {name: function -> process ids}; client: the load itself."""

    def __init__(self, groups):
        self.groups = groups
        self.spent = {}
        self.requests = {}

    @staticmethod
    def of(pid):
        """Nanoseconds that a process has run, all its threads together."""
        total = 0
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
        except OSError:
            pass
        return total

    def now(self, client):
        times = {name: sum(map(self.of, pids())) for name, pids in self.groups.items()}
        times["client"] = self.of(client)
        return times

    def add(self, label, before, after):
        spent = self.spent.setdefault(label, dict.fromkeys(after, 0))
        for name in after:
            spent[name] += after[name] - before[name]

    def us(self, label):
        """Microseconds per request, by group."""
        return {name: round(ns / 1000 / self.requests[label], 1) for name, ns in self.spent[label].items()}


def children(pid):
    """Process ids of its children."""
    out = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            out += [int(p) for p in f.read().split()]
    return out


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
            for _ in range(100):
                self.query("CREATE TABLE IF NOT EXISTS plain.nothing (); SELECT pg_switch_wal()")
            self.settle()
        return self._pg

    def query(self, sql, params=None, user="postgres"):
        return self.pg.query(sql, params, dbname=DATABASE, user=user)

    def psql(self, sql):
        return self.pg.psql(DATABASE, sql)

    def settle(self):
        """After a set-up: its writes must not be done by the rounds, and its WAL segments are free for them."""
        self.psql("CHECKPOINT")
        os.sync()

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

    def _pgbench(self, load, clients, more):
        path = os.path.join(self.dir, f"script-{abs(hash(load.script))}.sql")
        with open(path, "w") as f:
            f.write(load.script)
        argv = [os.path.join(self.pg.bin, "pgbench"), "-n", "-M", "prepared", "-f", path, "-c", str(clients),
                "-j", str(min(clients, 2)), "-D", "warm=0"] + more
        for name, value in load.variables.items():
            argv += ["-D", f"{name}={value}"]
        env = self.pg.env()
        env.update(PGUSER=load.user, PGOPTIONS=load.options)
        return subprocess.Popen(argv + [DATABASE], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def warmed(self, load, clients, seconds):
        """Transactions per second of one load alone, once its sessions are warm."""
        until = math.floor(time.time()) + 2 + math.ceil(warm_s(clients)) + round(seconds)
        process = load.begin(self, clients, math.ceil(until - time.time()))
        output = process.communicate()[0]
        if process.returncode:
            raise RuntimeError("pgbench failed:\n" + output[-3000:])
        return load.count(output, 0, until - round(seconds), until) / round(seconds)

    def pgbench(self, load, clients=1, seconds=None, transactions=None, rate=None):
        """Transactions per second, without connection time.  transactions: so many per client instead of seconds."""
        more = ["-t", str(transactions)] if transactions else ["-T", str(max(1, round(seconds or SECONDS)))]
        process = self._pgbench(load, clients, more + (["-R", str(rate)] if rate else []))
        return self._result(process, r"^tps = ([0-9.]+)")

    def _result(self, process, pattern):
        out = process.communicate()[0]
        if process.returncode:
            raise RuntimeError("pgbench failed:\n" + out[-3000:])
        return _found(out, pattern, "aborted")

    def slices(self, loads, clients, seconds=None, slice_s=SLICE_S, cpu=None):
        """One round of several loads, {label: Load or Wrk} -> {label: transactions per second}.

        All are started and warmed up, and then take turns of a tenth of a second, the others stopped meanwhile (SIGSTOP; transactions
        travel whole, so none stays open).  Whatever else the machine is doing hits all alike.
        """
        seconds = seconds or SECONDS
        last_s = math.ceil(len(loads) * (seconds + warm_s(clients))) + 1
        processes, active, turns = {}, {label: 0.0 for label in loads}, {label: 0 for label in loads}
        first = time.monotonic()

        def turn(label, length_s, counts=True):
            pid = processes[label].pid
            before = cpu and cpu.now(pid)
            start = time.monotonic()
            os.kill(pid, signal.SIGCONT)
            time.sleep(length_s)
            os.kill(pid, signal.SIGSTOP)
            if not counts:
                return
            active[label] += time.monotonic() - start
            turns[label] += 1
            if cpu:
                cpu.add(label, before, cpu.now(pid))

        try:
            for label, load in loads.items():
                processes[label] = load.begin(self, clients, math.ceil(first + last_s - time.monotonic()))
                turn(label, warm_s(clients), counts=isinstance(load, Wrk))
            # pgbench counts by the second: what ends from the next one on was not done while warming up.
            since = math.ceil(time.time())
            time.sleep(since - time.time())
            labels = list(loads)
            while time.monotonic() < first + last_s - len(loads) * slice_s:
                random.shuffle(labels)
                for label in labels:
                    turn(label, slice_s)
            # Let go on when their time is over, they end.
            time.sleep(max(0.0, first + last_s + 1.1 - time.monotonic()))
            for process in processes.values():
                os.kill(process.pid, signal.SIGCONT)
            counts = {label: load.count(processes[label].communicate()[0], turns[label], since) for label, load in loads.items()}
            if cpu:
                for label, count in counts.items():
                    cpu.requests[label] = cpu.requests.get(label, 0) + count
            return {label: count / active[label] for label, count in counts.items()}
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def rounds(self, loads, clients, **more):
        """ROUNDS of slices: {label: [rate per round]}.  loads: {label: Load, or function that makes one for this round}."""
        results = {label: [] for label in loads}
        for _ in range(ROUNDS):
            made = {label: load() if callable(load) else load for label, load in loads.items()}
            for label, rate in self.slices(made, clients, **more).items():
                results[label].append(rate)
        return results

    def whole_rounds(self, loads, clients):
        """The same in whole rounds by turns.  For loads whose transactions take several round trips: stopped, they would
        hold their rows and an old snapshot while the other has its turn."""
        def run(load):
            return lambda: self.warmed(load() if callable(load) else load, clients, SECONDS * 4)
        return interleave({label: run(load) for label, load in loads.items()})

    def report_rates(self, name, ours, baseline, unit, target=None, note=None, **more):
        """Rates of rounds in which both sides took turns; the target is the least ratio."""
        pairs = sorted(a / b for a, b in zip(ours, baseline))
        ratio = statistics.median(pairs)
        return self.report(name, statistics.median(ours), statistics.median(baseline), unit, f">= {target}" if target else None,
                           ratio >= target if target else None, ratio=ratio, note=note, pair_ratios=[round(p, 3) for p in pairs], **more)

    def report(self, name, ours, baseline, unit, target=None, met=None, ratio=None, **more):
        """One JSON line.  target is words; met None: told for comparison only."""
        def tidy(x):
            return None if x is None else float(f"{x:.5g}")
        figure = {"name": name, "ours": tidy(ours), "baseline": tidy(baseline),
                  "ratio": tidy(ratio or (ours / baseline if baseline else None)), "unit": unit, "target": target, "met": met}
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
