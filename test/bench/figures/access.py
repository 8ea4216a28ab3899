"""can() answered from the backend's bitmap, and a large scan under row-level security."""
import time

from figures import reserve
from frame import interleave

CALLS = 2000000
ROWS = 1000000


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


def rls(bench):
    reserve.make_pool(bench, "scanned", ROWS)
    bench.psql("VACUUM (ANALYZE) certificates.certificates")
    unnamed = "SELECT count(*), sum(face_value_minor) FROM certificates.certificates"
    named = f"{unnamed} WHERE organization_id = '{bench.organization}'"
    with bench.connect("bench_service", autocommit=False) as tenant, bench.connect(autocommit=False) as free:
        mine, other = tenant.cursor(), free.cursor()
        for cur in (mine, other):
            cur.execute("SET max_parallel_workers_per_gather = 0")
        mine.execute("SELECT access.act_as(%s)", (bench.organization,))
        for sql in (named, unnamed):
            mine.execute(sql)
            if mine.fetchone()[0] < ROWS:
                raise RuntimeError("the scan does not see every row")
        results = interleave({"ours": lambda: timed(mine, named), "baseline": lambda: timed(other, named),
                              "unnamed": lambda: timed(mine, unnamed)}, 15)
        tenant.rollback()
        free.rollback()
    best = {label: min(times) * 1000 for label, times in results.items()}
    bench.report("scan_1e6_rls", best["ours"], best["baseline"], "ms", "<= 1.1 x", best["ours"] <= 1.1 * best["baseline"],
                 note="organization_id = $1 named in both; best of 15 rounds each")
    bench.report("scan_1e6_rls_unnamed", best["unnamed"], best["baseline"], "ms",
                 note="the policy alone filters: what a query pays that does not name its organization")
