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
    name = "http"

    def __init__(self, url):
        self.url = url

    def ask(self, request):
        query = ""
        if request.method == "GET":
            query = "?" + urllib.parse.urlencode({k: v for k, v in request.arguments.items() if v is not None})
        http = urllib.request.Request(f"{self.url}/rpc/{request.function}{query}", method=request.method, headers=request.all_headers(),
                                      data=json.dumps(request.arguments).encode() if request.method == "POST" else None)
        try:
            with urllib.request.urlopen(http, timeout=30) as response:
                return Answer(response.status, response.read().decode(), {k.lower(): v for k, v in response.headers.items()})
        except urllib.error.HTTPError as e:
            return Answer(e.code, e.read().decode(), {k.lower(): v for k, v in e.headers.items()})


class Gateway(Http):
    """A gateway of its own on a free port."""
    name = "gateway"

    def __init__(self, dsn):
        super().__init__(None)
        self.worker = Worker("gateway", database=dsn, schemas="api", limits="", trusted_proxies="127.0.0.1")

    def __enter__(self):
        self.worker.start()
        self.url = f"http://127.0.0.1:{self.worker.http_port()}"
        return self

    def serves_rpc(self):
        return self.ask(Request("health")).status != 404

    def __exit__(self, *exc):
        self.worker.__exit__(*exc)
