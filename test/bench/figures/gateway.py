"""The gateway beside pgbench with the same statements, and beside the same call behind Go and Node (test/peers)."""
import json
import os
import shutil
import subprocess
import urllib.request

from figures import peers
from frame import DATABASE, Cpu, Load, Missing, Wrk, children, pipeline, say

from harness.pg import ROOT
from harness.workers import Worker

POOL = 8
CLIENTS = 64
# Long enough that what wrk has under way at its end is little.
SLICE_S = 0.5
SECONDS = float(os.environ.get("GATEWAY_SECONDS", "4"))

# As the gateway sends them.
BEGIN = "SELECT access.begin_request({token}, NULL, 't', 'GET', {path}, {headers}, '{{}}');"
CALL = """SELECT (api.certificate("id" => {id}::pg_catalog.uuid))::pg_catalog.text, pg_catalog.current_setting('response.status', true),
 pg_catalog.current_setting('response.headers', true);"""


class Stage:
    """A user with a token, a certificate to ask for, the gateway."""
    made = None

    def __init__(self, bench):
        if shutil.which("wrk") is None:
            subprocess.check_call([os.path.join(ROOT, "scripts/deps"), "--peers"])
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
        return Server(worker.http_port(), lambda: children(worker.process.pid))

    def wrk(self, server, path=None, token=True):
        return Wrk(f"http://127.0.0.1:{server.port}{path or self.path}", self.headers() if token else {}, CLIENTS)

    def headers(self):
        return {"Authorization": "Bearer " + self.token}

    def ceiling(self, port):
        """The statements of a request in one pipeline, prepared."""
        headers = {"host": f"127.0.0.1:{port}", "authorization": "Bearer " + self.token, "x-request-id": "0123456789abcdef0123456789abcdef",
                   "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"}
        return Load(pipeline(BEGIN.format(token=":token", path=":path", headers=":headers") + "\n" + CALL.format(id=":id")), "bench_gateway",
                    {"token": self.token, "path": self.path, "headers": json.dumps(headers, separators=(",", ":")), "id": self.certificate})

    def backends(self):
        return children(self.bench.pg.postmaster_pid())


class Server:
    def __init__(self, port, pids):
        self.port, self.pids = port, pids


def answer(server, stage):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{stage.path}", headers=stage.headers())
    with urllib.request.urlopen(request, timeout=10) as got:
        return json.loads(got.read())


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
    bench.report_rates("gateway_one_row", rates["gateway"], rates["pgbench"], "requests/s", 0.75,
                       cpu_us=cpu.us("gateway"), baseline_cpu_us=cpu.us("pgbench"))
    for name, target in (("go", 1.2), ("node", 3)):
        if name in rates:
            bench.report_rates(f"gateway_vs_{name}", rates["gateway"], rates[name], "requests/s", target, baseline_cpu_us=cpu.us(name))
    if absent:
        raise Missing("; ".join(f"{name}: {why}" for name, why in absent.items()))


def jwt_warm(bench):
    """What a token costs: the same request with one that every backend has verified before, and without any."""
    stage = Stage.of(bench)
    bench.psql("CREATE FUNCTION plain.one_row(n bigint) RETURNS TABLE (id bigint, name text) LANGUAGE sql STABLE AS"
               " $$ SELECT n, 'one row' $$; GRANT EXECUTE ON FUNCTION plain.one_row TO backoffice_anon, backoffice_user")
    path, call = "/rpc/one_row", "SELECT * FROM plain.one_row(:n);"

    def load(token):
        headers = {"host": "127.0.0.1:8080", "x-request-id": "0123456789abcdef0123456789abcdef",
                   "traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-00"}
        if token:
            headers["authorization"] = "Bearer " + stage.token
        begin = BEGIN.format(token=":token" if token else "NULL", path=":path", headers=":headers")
        return Load(pipeline(begin + "\n" + call), "bench_gateway",
                    {"token": stage.token, "path": path, "headers": json.dumps(headers, separators=(",", ":")), "n": 1})
    cpu = Cpu({"postgres": stage.backends})
    rates = bench.rounds({"token": load(True), "none": load(False)}, POOL, seconds=SECONDS, slice_s=0.2, cpu=cpu)
    ours, baseline = cpu.us("token"), cpu.us("none")
    bench.report("jwt_warm_sql", ours["postgres"], baseline["postgres"], "us CPU/request", rates={k: round(v[0]) for k, v in rates.items()})
