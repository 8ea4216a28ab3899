"""can() answered from the backend's bitmap, and a large scan under row-level security."""
import time

from figures import reserve
from frame import interleave

CALLS = 2000000
ROWS = 1000000
SCAN_ROUNDS = 15


def timed(cur, sql):
    start = time.perf_counter()
    cur.execute(sql)
    cur.fetchall()
    return time.perf_counter() - start


def can(bench):
    """One call, as the difference to the same loop without it."""
    with bench.connect("bench_service", autocommit=False) as conn, conn.cursor() as cur:
        cur.execute("SET max_parallel_workers_per_gather = 0")
        conn.commit()
        cur.execute("SELECT access.act_as(%s)", (bench.organization,))
        cur.execute("SELECT access.define_role('bench', ARRAY['certificates.read', 'certificates.reserve'])")
        cur.execute("SELECT access.create_user('bench@example.org')")
        user = cur.fetchone()[0]
        cur.execute("SELECT access.grant_role(%s, 'bench')", (user,))
        conn.commit()
        cur.execute("SELECT access.act_as(%s, %s)", (bench.organization, user))
        cur.execute("SELECT access.can('certificates.reserve'), access.can('certificates.import')")
        if cur.fetchone() != (True, False):
            raise RuntimeError("the user's rights are not what the figure supposes")

        def loop(condition):
            return timed(cur, f"SELECT count(*) {condition} FROM generate_series(1, {CALLS})")

        results = interleave({"ours": lambda: loop("FILTER (WHERE access.can('certificates.reserve'))"),
                              "refused": lambda: loop("FILTER (WHERE access.can('certificates.import'))"),
                              "baseline": lambda: loop("FILTER (WHERE pg_backend_pid() IS NOT NULL)"),
                              "empty": lambda: loop("")})
        conn.rollback()
    ns = {label: min(times) * 1e9 / CALLS for label, times in results.items()}
    for name, label in (("can_warm", "ours"), ("can_warm_refused", "refused")):
        cost, trivial = ns[label] - ns["empty"], max(ns["baseline"] - ns["empty"], 0.1)
        bench.report(name, cost, trivial, "ns/call", "<= 200 ns", cost <= 200, note="baseline: pg_backend_pid(); best of the rounds")


NARROW = """
CREATE TABLE plain.narrow (organization_id uuid NOT NULL, id bigint NOT NULL, amount bigint, note text, PRIMARY KEY (organization_id, id));
INSERT INTO plain.narrow SELECT '{organization}', i, i, 'note' FROM generate_series(1, {rows}) i;
ALTER TABLE plain.narrow ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON plain.narrow USING (backoffice.of_current_organization(organization_id));
VACUUM (ANALYZE) plain.narrow, certificates.certificates;
"""

# (figure, table, column to add up)
SCANS = [("narrow", "plain.narrow", "amount"), ("wide", "certificates.certificates", "face_value_minor")]


def scanner(cur, pid):
    """sql -> (CPU time of the backend, wall time), in seconds."""
    def cpu():
        with open(f"/proc/{pid}/schedstat") as f:
            return int(f.read().split()[0]) / 1e9

    def scan(sql):
        before = cpu()
        wall = timed(cur, sql)
        return cpu() - before, wall
    return scan


def rls(bench):
    reserve.make_pool(bench, "scanned", ROWS)
    bench.psql(NARROW.format(organization=bench.organization, rows=ROWS))
    with bench.connect("bench_service", autocommit=False) as tenant, bench.connect(autocommit=False) as free:
        mine, other = tenant.cursor(), free.cursor()
        for cur in (mine, other):
            cur.execute("SET max_parallel_workers_per_gather = 0")
            cur.execute("SET jit = off")
        mine.execute("SELECT access.act_as(%s)", (bench.organization,))
        ours, baseline = (scanner(cur, cur.connection.info.backend_pid) for cur in (mine, other))
        for figure, table, column in SCANS:
            for what, aggregate in (("", f"count(*), sum({column})"), ("_count", "count(*)")):
                unnamed = f"SELECT {aggregate} FROM {table}"
                named = f"{unnamed} WHERE organization_id = '{bench.organization}'"
                for cur, sql in ((mine, named), (mine, unnamed), (other, named), (other, unnamed)):
                    cur.execute(sql)
                    if cur.fetchone()[0] < ROWS:
                        raise RuntimeError("the scan does not see every row")
                report_scan(bench, f"scan_1e6_rls_{figure}{what}", "organization_id = $1 named in both",
                            lambda: ours(named), lambda: baseline(named), 1.1)
                report_scan(bench, f"scan_1e6_rls_{figure}{what}_unnamed", "named in neither: the policy alone filters",
                            lambda: ours(unnamed), lambda: baseline(unnamed), None)
        tenant.rollback()
        free.rollback()


def report_scan(bench, name, note, ours, baseline, limit):
    """By the CPU clock of the backend, which other processes' turns do not count in; the wall clock stands beside it."""
    results = interleave({"ours": ours, "baseline": baseline}, SCAN_ROUNDS)
    cpu, wall = ({side: min(times[clock] for times in results[side]) * 1000 for side in results} for clock in (0, 1))
    bench.report(name, cpu["ours"], cpu["baseline"], "ms CPU", f"<= {limit} x" if limit else None,
                 cpu["ours"] <= limit * cpu["baseline"] if limit else None,
                 wall_ms=[round(wall["ours"], 1), round(wall["baseline"], 1)], wall_ratio=round(wall["ours"] / wall["baseline"], 3),
                 note=f"{note}; best of {SCAN_ROUNDS} rounds each")
