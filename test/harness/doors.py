"""The doors to the functions of the schema api, each answering (status, headers, body) to the same Request: SQL, and HTTP. PostgREST's is postgrest_door.py.
"""
import json
import os
import urllib.error
import urllib.parse
import urllib.request

import psycopg2

from harness.pg import ROOT
from harness.postgrest_door import Answer, Request, error_answer, headers_of, load_catalogue
from harness.workers import Worker

# Routes whose answers are not simply a function's.
OTHER_WAYS = ("/rpc/", "/auth/oidc/")
GATEWAY = os.path.join(ROOT, "build/workers/gateway")


def spelled(catalogue, request):
    """The call with named arguments, and their values."""
    types = catalogue[request.function]
    parts = [f'"{name}" := %s::{types[name]}' for name in request.arguments]
    values = [value if not isinstance(value, dict) else json.dumps(value) for value in request.arguments.values()]
    return f'"api"."{request.function}"({", ".join(parts)})', values


class Sql:
    """An application that has the bearer token of its user: begin_request(), the call, COMMIT."""
    name = "sql"
    takes = staticmethod(lambda request: True)

    def __init__(self, pg, database, user):
        self.conn = pg.connect(database, user, autocommit=False)
        self.catalogue, self.writes = load_catalogue(pg, database)

    def ask(self, request):
        call, values = spelled(self.catalogue, request)
        headers = request.all_headers()
        try:
            with self.conn.cursor() as cur:
                cur.execute("SELECT access.begin_request(%s, %s, %s, %s, %s, %s, '{}')",
                            (request.token, headers.get("x-organization-id"), request.method == "GET" or not self.writes[request.function],
                             request.method, "/rpc/" + request.function, json.dumps(headers)))
                cur.execute(f"SELECT ({call})::text", values)
                body = cur.fetchone()[0]
                cur.execute("SELECT nullif(current_setting('response.status', true), ''), nullif(current_setting('response.headers', true), '')")
                status, response_headers = cur.fetchone()
            self.conn.commit()
            return Answer(int(status or 200), body, headers_of(response_headers))
        except psycopg2.Error as e:
            self.conn.rollback()
            return error_answer(e, request.token is not None)


class Http:
    """POST and GET /rpc/{function} at a server that runs: the gateway, or a PostgREST."""
    takes = staticmethod(lambda request: True)

    def __init__(self, url, name):
        self.url, self.name = url, name

    def ask(self, request):
        return self.send(request.method, "/rpc/" + request.function, request.arguments, request.all_headers())

    def send(self, method, path, arguments, headers):
        """Arguments in the query of a GET, else as a JSON body."""
        query, body = "", None
        if method == "GET":
            query = "?" + urllib.parse.urlencode({k: v for k, v in arguments.items() if v is not None})
        elif method != "DELETE":
            body = json.dumps(arguments).encode()
        http = urllib.request.Request(self.url + path + query, method=method, headers=headers, data=body)
        try:
            with urllib.request.urlopen(http, timeout=30) as response:
                return Answer(response.status, response.read().decode(), {k.lower(): v for k, v in response.headers.items()})
        except urllib.error.HTTPError as e:
            return Answer(e.code, e.read().decode(), {k.lower(): v for k, v in e.headers.items()})


class Gateway(Http):
    """A gateway of its own on a free port."""

    def __init__(self, dsn, name="gateway"):
        super().__init__(None, name)
        self.worker = Worker("gateway", database=dsn, schemas="api", limits="", trusted_proxies="127.0.0.1")

    def __enter__(self):
        self.worker.start()
        if not self.worker.wait_log('"msg":"serving"') or not self.worker.wait_log('"msg":"functions loaded"'):
            raise RuntimeError("the gateway did not start:\n" + self.worker.text()[-4000:])
        self.url = f"http://127.0.0.1:{self.worker.http_port()}"
        return self

    def serves_rpc(self):
        return self.ask(Request("health")).status != 404

    def __exit__(self, *exc):
        self.worker.__exit__(*exc)


def load_routes(pg, database):
    """{function: [(method, path), ...]}, as the functions' comments say."""
    rows = pg.query("SELECT proname, substring(obj_description(oid, 'pg_proc') FROM 'Route: (.*?)\\.(?: |$)') FROM pg_proc WHERE pronamespace = 'api'::regnamespace",
                    dbname=database)
    return {name: [tuple(route.split(" ", 1)) for route in routes.split(", ")] for name, routes in rows if routes}


class Routes(Gateway):
    """The gateway's routes in the place of /rpc."""

    def __init__(self, dsn, routes):
        super().__init__(dsn, "routes")
        self.routes = routes

    def ask(self, request):
        method, path = self.routes[request.function][0]
        arguments = dict(request.arguments)
        for name in [n for n in arguments if "{" + n + "}" in path]:
            path = path.replace("{" + name + "}", urllib.parse.quote(str(arguments.pop(name)), safe=""))
        return self.send(method, path, arguments, request.all_headers())

    def takes(self, request):
        """Not what is for /rpc only, nor OpenID's own ways, and no GET of what changes something."""
        method, path = self.routes[request.function][0]
        return not path.startswith(OTHER_WAYS) and (request.method != "GET" or method == "GET")

    def missing(self):
        """Routes of the comments that /openapi.json does not have."""
        with urllib.request.urlopen(self.url + "/openapi.json", timeout=30) as response:
            paths = json.load(response)["paths"]
        return [f"{function}: {method} {path}" for function, listed in self.routes.items() for method, path in listed
                if method.lower() not in paths.get(path, {}) and not path.startswith(OTHER_WAYS)]
