"""The gateway beside pgbench with the same statements, and beside the same call behind Go and Node (test/peers)."""
import json
import os
import re
import shutil
import statistics
import subprocess
import urllib.error
import urllib.request

from figures import peers
from frame import DATABASE, ROUNDS, Cpu, Load, Missing, Wrk, children, pipeline, say, wait_until

from harness.pg import ROOT
from harness.workers import Worker

POOL = 8
CLIENTS = 64
# Long enough that what wrk has under way at its end is little.
SLICE_S = 0.5
SECONDS = float(os.environ.get("GATEWAY_SECONDS", "4"))

# As the gateway sends them.
BEGIN = "SELECT access.begin_request({token}, NULL, 't', 'GET', {path}, {headers}, '{{}}');"
CALL = """SELECT CASE WHEN coalesce(pg_catalog.octet_length(a.body), 0) + coalesce(pg_catalog.octet_length(a.headers), 0) > 16777216
 THEN ('answer_too_large ' || pg_catalog.octet_length(a.body))::integer::text ELSE a.body END, a.status, a.headers
 FROM (SELECT (api.certificate("id" => :p1::pg_catalog.uuid))::pg_catalog.text, pg_catalog.current_setting('response.status', true),
 pg_catalog.current_setting('response.headers', true) OFFSET 0) AS a(body, status, headers);"""


class Stage:
    """A user with a token, a certificate to ask for, the gateway."""
    made = None

    def __init__(self, bench):
        if shutil.which("wrk") is None:
            subprocess.check_call([os.path.join(ROOT, "scripts/deps"), "--bench"])
        self.bench = bench
        bench.query("CREATE ROLE bench_gateway LOGIN IN ROLE backoffice_gateway")
        bench.query(f"ALTER DATABASE {DATABASE} SET backoffice.access_token_lifetime = '1d'")
        self.user = bench.query("SELECT access.create_user('gateway@example.org', 'correct horse bench', %s)", (bench.organization,))[0][0]
        bench.query("SELECT access.grant_role(%s, 'owner', organization => %s)", (self.user, bench.organization))
        bench.query("SELECT certificates.create_pool('gateway', 'EUR', 5000), certificates.generate_codes('gateway', 100)"
                    " FROM access.act_as(%s)", (bench.organization,))
        self.certificate = bench.query("SELECT (certificates.reserve_next('gateway', 'pos')).id FROM access.act_as(%s)", (bench.organization,))[0][0]
        self.token = bench.query("SELECT access.login('gateway@example.org', 'correct horse bench') ->> 'access_token'")[0][0]
        self.path = f"/certificates/{self.certificate}"
        self.dsn = bench.pg.dsn(DATABASE, "bench_gateway")
        bench.psql("VACUUM (ANALYZE)")
        bench.settle()

    @classmethod
    def of(cls, bench):
        if cls.made is None:
            cls.made = cls(bench)
        return cls.made

    def gateway(self, **settings):
        worker = Worker("gateway", **{"database": self.dsn, "limits": "", "access_log": "off", "pool": POOL, "processes": 1, **settings})
        self.bench.cleanups.append(worker.__exit__)
        worker.start()
        worker.wait_log('"msg":"serving"')
        return Server(worker.http_port(), lambda: children(worker.process.pid))

    def wrk(self, server, path=None, token=True):
        return Wrk(f"http://127.0.0.1:{server.port}{path or self.path}", self.headers() if token else {}, CLIENTS)

    def headers(self):
        return {"Authorization": "Bearer " + self.token}

    def ceiling(self, port, path=None, call=None, parameters=None):
        """The statements of a request in one pipeline, prepared."""
        headers = {"host": f"127.0.0.1:{port}", "authorization": "Bearer " + self.token, "x-request-id": "0123456789abcdef0123456789abcdef",
                   "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"}
        return Load(pipeline(BEGIN.format(token=":token", path=":path", headers=":headers") + "\n" + (call or CALL)), "bench_gateway",
                    {"token": self.token, "path": path or self.path, "headers": json.dumps(headers, separators=(",", ":")),
                     **(parameters or {"p1": self.certificate})})

    def backends(self):
        return children(self.bench.pg.postmaster_pid())


class Server:
    def __init__(self, port, pids):
        self.port, self.pids = port, pids


def answer(server, stage, path=None):
    """What it answers as soon as it does."""
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path or stage.path}", headers=stage.headers())

    def ask():
        try:
            with urllib.request.urlopen(request, timeout=10) as got:
                return got.read()
        except urllib.error.HTTPError as e:
            if e.code != 503:
                raise RuntimeError(f"{e.code} {e.read()}") from None
            return None
        except urllib.error.URLError:
            return None
    return json.loads(wait_until(ask, 10, "an answer"))


def report(bench, name, rates, cpu, ours, baseline, target):
    """With the CPU time of a request on both sides, and their ratio: what the rates' would be on cores that nobody else uses."""
    spent, basis = cpu.us(ours), cpu.us(baseline)
    bench.report_rates(name, rates[ours], rates[baseline], "requests/s", target, cpu_us=spent, baseline_cpu_us=basis,
                       cpu_ratio=round(sum(basis.values()) / sum(spent.values()), 3))


def gateway_one_row(bench):
    stage = Stage.of(bench)
    gateway = stage.gateway()
    servers = {"gateway": gateway}
    absent = {}
    for name, start in (("go", peers.go), ("node", peers.node)):
        try:
            process, port = start(bench, stage.dsn, POOL)
            servers[name] = Server(port, lambda pid=process.pid: [pid])
        except Missing as e:
            absent[name] = str(e)
            say(f"   without {name}: {e}")
    answers = {name: answer(server, stage) for name, server in servers.items()}
    if any(a != answers["gateway"] for a in answers.values()):
        raise RuntimeError(f"not the same answers: {answers}")
    loads = {name: stage.wrk(server) for name, server in servers.items()}
    loads["pgbench"] = stage.ceiling(gateway.port)
    cpu = Cpu({"postgres": stage.backends, **{name: server.pids for name, server in servers.items()}})
    rates = bench.rounds(loads, POOL, seconds=SECONDS, slice_s=SLICE_S, cpu=cpu)
    report(bench, "gateway_one_row", rates, cpu, "gateway", "pgbench", 0.75)
    for name, target in (("go", 1.2), ("node", 3)):
        if name in rates:
            report(bench, f"gateway_vs_{name}", rates, cpu, "gateway", name, target)
    if absent:
        raise Missing("; ".join(f"{name}: {why}" for name, why in absent.items()))


FUNCTIONS = """
CREATE TABLE plain.customers (organization_id uuid NOT NULL, id bigint NOT NULL, name text, email text, balance bigint, PRIMARY KEY (organization_id, id));
INSERT INTO plain.customers SELECT id, n, 'Customer ' || n, 'customer' || n || '@example.org', n * 100 FROM access.organizations, generate_series(1, 10000) n;
ALTER TABLE plain.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON plain.customers USING (backoffice.of_current_organization(organization_id));
CREATE FUNCTION plain.one_row(n bigint) RETURNS TABLE (id bigint, name text, email text, balance bigint) LANGUAGE sql STABLE AS
    $$ SELECT c.id, c.name, c.email, c.balance FROM plain.customers c WHERE c.organization_id = access.organization_id() AND c.id = n $$;
GRANT EXECUTE ON FUNCTION plain.one_row TO backoffice_user;
CREATE FUNCTION plain.constant(n bigint) RETURNS text LANGUAGE sql STABLE AS $$ SELECT 'ok' $$;
GRANT EXECUTE ON FUNCTION plain.constant TO backoffice_anon, backoffice_user;
VACUUM (ANALYZE) plain.customers"""


def statement_of(bench, mark):
    """The text that the gateway sent last, with pgbench's variables :p1, :p2, ... as parameters."""
    for query, in bench.query("SELECT query FROM pg_stat_activity WHERE usename = 'bench_gateway' AND query ~ %s", (mark,)):
        return re.sub(r"\$(\d+)", r":p\1", query) + ";"
    raise RuntimeError("the gateway's statement was not found")


def functions(bench):
    if bench.query("SELECT to_regclass('plain.customers')")[0][0] is None:
        bench.psql(FUNCTIONS)


def gateway_rpc(bench):
    """A function that returns a row of a tenant's table, by PostgREST's rules over /rpc; and one that returns a constant."""
    stage = Stage.of(bench)
    functions(bench)
    gateway = stage.gateway(schemas="plain")
    for name in ("one_row", "constant"):
        path = f"/rpc/{name}?n=7"
        # So often that its statement is prepared.
        for _ in range(10):
            answer(gateway, stage, path)
        call = statement_of(bench, f'"{name}"')
        loads = {"gateway": stage.wrk(gateway, path), "pgbench": stage.ceiling(gateway.port, f"/rpc/{name}", call, {"p1": 7})}
        cpu = Cpu({"postgres": stage.backends, "gateway": gateway.pids})
        rates = bench.rounds(loads, POOL, seconds=SECONDS, slice_s=SLICE_S, cpu=cpu)
        report(bench, f"gateway_rpc_{name}", rates, cpu, "gateway", "pgbench", 0.75 if name == "one_row" else None)


CHECKS = 200000


def check_us(bench, stage):
    """CPU time of verifying a token that the backend knows: authenticate() less act_as(), which sets the same principal without one."""
    def per_call(call):
        with bench.connect("bench_service", autocommit=False) as conn, conn.cursor() as cur:
            pid = conn.info.backend_pid
            cur.execute(f"SELECT {call}")
            before = Cpu.of(pid)
            cur.execute(f"SELECT count({call}) FROM generate_series(1, {CHECKS})")
            after = Cpu.of(pid)
            conn.rollback()
            return (after - before) / 1000 / CHECKS
    return per_call(f"access.authenticate('{stage.token}')") - per_call(f"access.act_as('{bench.organization}', '{stage.user}')")


def jwt_warm(bench):
    """What checking a known token adds to a request; and, for comparison, all that a token adds to one of nobody: header, organization, rights.

    By the CPU time of gateway and backends, since two hundredths are less than what rates differ by between two rounds.
    """
    stage = Stage.of(bench)
    functions(bench)
    gateway = stage.gateway(schemas="plain")
    path = "/rpc/constant?n=7"
    answer(gateway, stage, path)
    checks, requests = [], {"token": [], "none": []}
    for _ in range(ROUNDS):
        checks.append(check_us(bench, stage))
        cpu = Cpu({"postgres": stage.backends, "gateway": gateway.pids})
        bench.slices({"token": stage.wrk(gateway, path), "none": stage.wrk(gateway, path, token=False)}, POOL, seconds=SECONDS, slice_s=0.2, cpu=cpu)
        for label, total in requests.items():
            spent = cpu.us(label)
            total.append(spent["postgres"] + spent["gateway"])
    check, token, none = (statistics.median(values) for values in (checks, requests["token"], requests["none"]))
    bench.report("jwt_warm", check, token, "us CPU/request", "<= 2 %", check <= 0.02 * token, checks_us=[round(c, 2) for c in checks])
    bench.report("jwt_against_nobody", token, none, "us CPU/request", pair_ratios=[round(a / b, 3) for a, b in zip(requests["token"], requests["none"])])
