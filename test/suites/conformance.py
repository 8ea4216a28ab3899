"""The conformance corpus (test/conformance/*.json) over HTTP, at a gateway with a real database.

    test/run.py conformance             everything; a case is named area/name
    test/run.py conformance:rpc         one area

What is known to fail, and why, stands in test/conformance/failing.txt and docs/conformance.md. It may not pass silently, either.
At the end: of which area how many passed. 95 of 100 must, of rpc, auth and errors all.
"""
import collections
import contextlib
import os
import time

from harness import conformance
from harness.pg import Cluster
from harness.workers import Worker

AT_LEAST = 0.95
WHOLE = ["rpc", "auth", "errors"]
# What a case needs that the first gateway has not: several schemas; a function before each call, aggregates and a limit of rows.
OTHER = {"pre_request": "conform.before", "rpc_aggregates": "on", "rpc_max_rows": 3}
ODD_SCHEMAS = 'conform,conform_two,Odd "@/\\#~_-'


def known_failures():
    """area/name -> reason."""
    known = {}
    with open(os.path.join(conformance.FOLDER, "failing.txt"), encoding="utf-8") as f:
        for line in f:
            name, _, reason = line.strip().partition(" -- ")
            if name and not name.startswith("#"):
                known[name] = reason
    return known


@contextlib.contextmanager
def gateway(pg, schemas, **settings):
    with Worker("gateway", database=pg.dsn(conformance.DATABASE, conformance.GATEWAY_LOGIN), schemas=schemas, rpc_tx_override="on",
                limits="", pool=2, **settings) as worker:
        if not worker.wait_log('"msg":"functions loaded"') or not worker.wait_log('"msg":"serving"'):
            raise RuntimeError("the gateway did not start:\n" + worker.text()[-4000:])
        wait_ready(worker)
        yield worker
        worker.stop()


def run(only=None):
    known = known_failures()
    passed, total, seen = collections.Counter(), collections.Counter(), set()
    with Cluster() as pg:
        conformance.install(pg)
        with gateway(pg, "conform") as one, gateway(pg, ODD_SCHEMAS) as two, \
                gateway(pg, "conform", **OTHER) as other:
            gateways = {None: one, "tokens": one, "schemas": two, "settings": other}
            doors = {needs: conformance.http_door(worker.http_port()) for needs, worker in gateways.items()}
            for area, case in conformance.corpus(None if only is None else [only]):
                name = f"{area}/{case['name']}"
                problem = conformance.play(doors[case.get("needs")], case)
                total[area] += 1
                passed[area] += not problem
                seen.add(name)
                if name in known:
                    yield name + ", as known", bool(problem), f"known to fail ({known[name]}), but it passes: take it from failing.txt"
                else:
                    yield name, not problem, problem
            for worker in (one, two, other):
                if "a process ended" in worker.text():
                    yield "gateways live", False, worker.text()[-3000:]
    yield from verdict(passed, total, set(known) - seen if only is None else set())


def wait_ready(worker):
    """Until the pool is connected."""
    door = conformance.http_door(worker.http_port())
    deadline = time.time() + 60
    while door("GET", "/rpc/plain", [], b"")[0] != 200:
        if time.time() > deadline:
            raise RuntimeError("the gateway has no connection:\n" + worker.text()[-4000:])
        time.sleep(0.05)


def verdict(passed, total, missing):
    if missing:
        yield "failing.txt names cases", False, "no such case: " + ", ".join(sorted(missing))
    summary = ", ".join(f"{area} {passed[area]}/{total[area]}" for area in sorted(total))
    everything = sum(passed.values()), sum(total.values())
    yield f"{everything[0]} of {everything[1]} cases ({summary})", everything[0] >= AT_LEAST * everything[1], summary
    for area in WHOLE:
        if total[area]:
            yield f"all of {area}", passed[area] == total[area], f"{passed[area]} of {total[area]}"
