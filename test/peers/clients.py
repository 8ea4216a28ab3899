"""Clients that nobody here wrote, against the gateway: Supabase's postgrest-js, schemathesis, Chromium."""
import collections
import contextlib
import json
import os
import re
import subprocess

import _tools
from harness.gateway import Gateway
from harness.keycloak import request
from harness.pg import ROOT, Cluster

POSTGREST_JS = "@supabase/postgrest-js@2.119.1"
SCHEMATHESIS = "schemathesis==4.32.5"
HERE = os.path.join(ROOT, "test/peers")

# What rpc_with_tokens.mjs calls. A schema beside api, as somebody's own functions would be.
FUNCTIONS = """
CREATE SCHEMA shop;
CREATE TABLE shop.written (at timestamptz);
CREATE TYPE shop.good AS (name text, price int, fresh boolean);
CREATE FUNCTION shop.add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE FUNCTION shop.total(numbers int[]) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT sum(n) FROM unnest(numbers) AS n';
CREATE FUNCTION shop.nothing() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION shop.goods() RETURNS SETOF shop.good LANGUAGE sql STABLE
    AS $$ VALUES ('apple', 3, true), ('bread', 5, true), ('cake', 4, false), ('date', 9, NULL) $$;
CREATE FUNCTION shop.echo(word text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT word';
CREATE FUNCTION shop.teapot() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE 'PT418' USING MESSAGE = 'short and stout'; END $$;
CREATE FUNCTION shop.write() RETURNS int LANGUAGE sql AS 'INSERT INTO shop.written VALUES (now()) RETURNING 1';
CREATE FUNCTION shop.me() RETURNS uuid LANGUAGE sql STABLE AS 'SELECT access.user_id()';
CREATE FUNCTION shop.may(permission text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT access.can(permission)';
CREATE FUNCTION shop.slow(seconds float8) RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(least(seconds, 2))';
GRANT USAGE ON SCHEMA shop TO backoffice_user, backoffice_anon;
GRANT INSERT ON shop.written TO backoffice_user;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA shop FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA shop TO backoffice_user;
"""
PASSWORD = "correct horse battery staple"


class Env:
    def __init__(self, pg):
        self.pg = pg
        self.gateway = None
        self.base = None
        self.tokens, self.users = {}, {}
        self.config = os.path.join(pg.dir, "schemathesis.toml")

    def query(self, sql, params=None):
        return self.pg.query(sql, params, dbname="shop")

    def report(self):
        return self.gateway.text()[-4000:] if self.gateway else ""


def log_in(env, email):
    answer = request("POST", env.base + "/auth/login", body={"email": email, "password": PASSWORD})
    assert answer.status == 200, answer.text
    return answer.json()["access_token"]


@contextlib.contextmanager
def environment():
    with Cluster() as pg:
        pg.create_database("shop")
        env = Env(pg)
        env.query("CREATE ROLE web LOGIN IN ROLE backoffice_gateway")
        env.query(FUNCTIONS)
        env.org = str(env.query("SELECT access.create_organization('shop')")[0][0])
        conn = pg.connect("shop", autocommit=False)
        with conn.cursor() as cur:
            cur.execute("SELECT access.act_as(%s)", (env.org,))
            cur.execute("SELECT certificates.create_pool('XMAS-50', 'EUR', 5000), certificates.generate_codes('XMAS-50', 500)")
        conn.commit()
        conn.close()
        for name, role in (("owner", "owner"), ("clerk", "member"), ("guest", "member")):
            user = env.query("SELECT access.create_user(%s, %s, %s)", (name + "@shop.test", PASSWORD, env.org))[0][0]
            env.query("SELECT access.grant_role(%s, %s, organization => %s)", (user, role, env.org))
            env.users[name] = str(user)
        env.gateway = Gateway(database=pg.dsn("shop", "web"), schemas="shop,api")
        try:
            env.base = f"http://127.0.0.1:{env.gateway.start().ready().port}"
            for name in ("owner", "clerk"):
                env.tokens[name] = log_in(env, name + "@shop.test")
            yield env
            assert env.gateway.alive(), "the gateway ended"
            assert env.gateway.stop() == 0
        finally:
            env.gateway.__exit__()


def test_postgrest_js_with_tokens(env):
    out = subprocess.run(["node", os.path.join(HERE, "rpc_with_tokens.mjs")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                         env={**os.environ, "MODULES": _tools.npm(POSTGREST_JS), "BASE": env.base, "OWNER": env.tokens["owner"],
                              "CLERK": env.tokens["clerk"]})
    cases = [json.loads(line) for line in out.stdout.splitlines()]
    bad = [case for case in cases if not case["ok"]]
    assert out.returncode == 0 and len(cases) >= 36 and not bad, json.dumps(bad, indent=1) + out.stderr
    print(f"        {len(cases)} calls", flush=True)


CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance,response_headers_conformance"


# What would end the session that the run goes by; that the token still works afterwards is checked instead.
ENDING = "auth/logout|auth/logout-all|auth/sessions/.*|auth/password"


def schemathesis(env, who, only=None, without="events|ws", known=None):
    """Every operation of /openapi.json with examples made from its schemas, and with such that break them. known: values that parameters have."""
    headers = ["--header", "Authorization: Bearer " + env.tokens[who]] if who else []
    paths = ["--include-path-regex", f"^/({only})$"] if only else ["--exclude-path-regex", f"^/({without})$"]
    seen = len(env.gateway.text())
    with open(env.config, "w") as f:
        f.write("[parameters]\n" + "".join(f'"{name}" = "{value}"\n' for name, value in (known or {}).items()))
    out = subprocess.run([os.path.join(_tools.pip(SCHEMATHESIS), "st"), "--config-file", env.config, "run", env.base + "/openapi.json", "--checks", CHECKS, "--seed", "1",
                          "--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "25"), "--phases", "examples,coverage,fuzzing",
                          "--request-timeout", "10", "--generation-database", "none", "--continue-on-failure", "--no-color", *paths, *headers],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, cwd="/tmp")
    assert out.returncode == 0, out.stdout[-12000:]
    statuses = collections.Counter(int(status) for status in re.findall(r'"msg":"request".*?"status":(\d+)', env.gateway.text()[seen:]))
    print("        " + re.search(r"\d+ generated, .*", out.stdout).group(0), dict(sorted(statuses.items())), flush=True)
    return statuses


def test_schemathesis_as_nobody(env):
    schemathesis(env, None)


def test_schemathesis_of_one_certificate(env):
    answer = env.gateway.call("POST", "/certificates/reservations", {"pool": "XMAS-50", "channel": "pos"}, token=env.tokens["owner"])
    assert answer.status == 201, answer
    statuses = schemathesis(env, "owner", only=r"certificates/\{id\}.*", known={"header.X-Organization-Id": env.org, "path.id": answer.json["id"]})
    assert statuses[200] >= 20, statuses


def test_schemathesis_as_owner(env):
    statuses = schemathesis(env, "owner", without="events|ws|" + ENDING, known={
        "header.X-Organization-Id": env.org, "path.pool": "XMAS-50", "path.user_id": env.users["guest"], "path.role": "member"})
    # A run that only ever hears "no" proves little.
    assert statuses[200] + statuses[201] >= 300, statuses
    assert request("GET", env.base + "/auth/me", headers={"Authorization": "Bearer " + env.tokens["owner"]}).status == 200


def test_schemathesis_as_clerk(env):
    schemathesis(env, "clerk", without="events|ws|" + ENDING)


def test_schemathesis_of_what_ends_a_session(env):
    schemathesis(env, "owner", only=ENDING)
    env.tokens["owner"] = log_in(env, "owner@shop.test")
