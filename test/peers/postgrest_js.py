"""@supabase/postgrest-js, the client library of Supabase, unmodified: what it offers for functions works on the gateway."""
import contextlib
import json
import os
import shutil
import subprocess

from harness import conformance
from harness.pg import ROOT, Cluster
from suites.conformance import gateway

SOURCE = os.path.join(ROOT, "test/peers/postgrest-js")
FOLDER = os.path.join(ROOT, "build/peers/postgrest-js")


class Env:
    def __init__(self, worker):
        self.worker = worker

    def report(self):
        return self.worker.text()[-4000:]


@contextlib.contextmanager
def environment():
    os.makedirs(FOLDER, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc", "client.mjs"):
        shutil.copy(os.path.join(SOURCE, name), FOLDER)
    if not os.path.isdir(os.path.join(FOLDER, "node_modules/@supabase/postgrest-js")):
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=FOLDER, check=True)
    with Cluster() as pg:
        conformance.install(pg)
        with gateway(pg, "conform,conform_two") as worker:
            yield Env(worker)


def test_everything_for_functions(env):
    token = conformance.make_token({"role": "conform_clerk"})
    out = subprocess.run(["node", "client.mjs", f"http://127.0.0.1:{env.worker.http_port()}", token], cwd=FOLDER, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert out.returncode == 0, out.stderr
    checks = [json.loads(line) for line in out.stdout.splitlines()]
    problems = [f"{check['name']}: {check['problem']}" for check in checks if check["problem"]]
    assert len(checks) == 37 and not problems, f"{len(checks)} checks\n" + "\n".join(problems)
