"""PostgREST 16, as far as calling a function that answers one jsonb goes: its statements, and the status and body it makes of their results.

Follows its source: MainTx.hs (order of statements), Plan.hs and QueryBuilder (the call), Error.hs (SQLSTATE to status). The suite
postgrest asks a real one as well, and compares.
"""
import dataclasses
import json

import psycopg2

from harness import jws


@dataclasses.dataclass
class Request:
    function: str
    arguments: dict = dataclasses.field(default_factory=dict)
    method: str = "POST"
    token: str = None
    headers: dict = dataclasses.field(default_factory=dict)

    def all_headers(self):
        """As they come over HTTP, names in lower case."""
        headers = {"content-type": "application/json", **{k.lower(): v for k, v in self.headers.items()}}
        if self.token:
            headers["authorization"] = "Bearer " + self.token
        return headers


@dataclasses.dataclass
class Answer:
    status: int
    body: str
    headers: dict = dataclasses.field(default_factory=dict)


class Refused(Exception):
    """PostgREST answers without asking the database."""

    def __init__(self, answer):
        super().__init__(answer.body)
        self.answer = answer


# ---- tokens ----

def claims_of(token, keys, anon):
    if token is None:
        return {"role": anon}
    try:
        claims = jws.verify(token, keys)
    except jws.Invalid:
        message = "No suitable key or wrong key type"
        body = error_body("PGRST301", "None of the keys was able to decode the JWT", None, message)
        raise Refused(Answer(401, body, {"www-authenticate": f'Bearer error="invalid_token", error_description="{message}"'})) from None
    return {"role": anon, **claims}


# ---- statements ----

def settings_statements(schema, claims, method, path, headers):
    """One statement, as PostgREST sends it: search_path, role, then what the request says."""
    settings = [("search_path", f'"{schema}", "public"'), ("role", claims["role"]), ("request.jwt.claims", json.dumps(claims)),
                ("request.method", method), ("request.path", path), ("request.headers", json.dumps(headers)), ("request.cookies", "{}")]
    yield ("SELECT " + ", ".join(["set_config(%s, %s, true)"] * len(settings)), [part for pair in settings for part in pair])


def call_statement(schema, function, types, arguments):
    """The call with its arguments from one JSON parameter, and the columns that status and body are made of."""
    columns = ", ".join(f'"{name}" {types[name]}' for name in arguments)
    named = ", ".join(f'"{name}" := pgrst_body."{name}"' for name in arguments)
    source = (f"FROM (SELECT %s::json AS json_data) pgrst_payload, LATERAL (SELECT * FROM json_to_record(pgrst_payload.json_data) AS _({columns}) LIMIT 1) pgrst_body, "
              if arguments else "FROM ")
    sql = (f'WITH pgrst_source AS (SELECT pgrst_call.pgrst_scalar {source}LATERAL (SELECT "{schema}"."{function}"({named}) pgrst_scalar) pgrst_call) '
           "SELECT null::bigint AS total_result_set, 1 AS page_total, coalesce(json_agg(_postgrest_t.pgrst_scalar)->0, 'null')::text AS body, "
           "nullif(current_setting('response.headers', true), '') AS response_headers, nullif(current_setting('response.status', true), '') AS response_status, "
           "'' AS response_inserted FROM (SELECT pgrst_source.* FROM pgrst_source) _postgrest_t")
    return sql, [json.dumps(arguments)] if arguments else []


# ---- answers ----

EXACT = {"23503": 409, "23505": 409, "25006": 405, "21000": 500, "42883": 404, "42P01": 404, "42P17": 500, "53400": 500, "57P01": 503, "P0001": 400}
CLASSES = {"08": 503, "09": 500, "0L": 403, "0P": 403, "28": 403, "25": 500, "2D": 500, "38": 500, "39": 500, "3B": 500, "40": 500, "53": 503,
           "54": 500, "55": 500, "57": 500, "58": 500, "F0": 500, "HV": 500, "P0": 500, "XX": 500}


def status_of(state, message, authenticated):
    if state.startswith("PT"):
        return int(state[2:]) if state[2:].isdigit() else 500
    if state == "42501":
        return 403 if authenticated else 401
    if state == "22023":
        return 401 if message.startswith("role ") and message.endswith("does not exist") else 400
    return EXACT.get(state) or CLASSES.get(state[:2], 400)


def error_body(code, details, hint, message):
    """As PostgREST prints it: no spaces, names in order."""
    return json.dumps({"code": code, "details": details, "hint": hint, "message": message}, separators=(",", ":"), ensure_ascii=False)


def error_answer(error, authenticated):
    diag = error.diag
    status = status_of(diag.sqlstate, diag.message_primary, authenticated)
    return Answer(status, error_body(diag.sqlstate, diag.message_detail, diag.message_hint, diag.message_primary), {"www-authenticate": "Bearer"} if status == 401 else {})


def headers_of(text):
    return {name.lower(): value for pair in json.loads(text or "[]") for name, value in pair.items()}


# ---- the door ----

def load_catalogue(pg, database):
    """{function: {argument: type}} of the schema api."""
    rows = pg.query("""SELECT p.proname, coalesce(json_object_agg(a.name, format_type(a.type, NULL)) FILTER (WHERE a.name IS NOT NULL), '{}'), p.provolatile
                       FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargnames, p.proargtypes::oid[]) AS a (name, type) ON true
                       WHERE p.pronamespace = 'api'::regnamespace GROUP BY p.oid, p.proname, p.provolatile""", dbname=database)
    return {name: types for name, types, _ in rows}, {name: volatile == "v" for name, _, volatile in rows}


class Postgrest:
    """The statements that PostgREST sends, and what it makes of their results."""
    name = "postgrest"
    takes = staticmethod(lambda request: True)

    def __init__(self, pg, database, user, keys, schema="api", pre_request="api.pre_request", anon="backoffice_anon"):
        self.conn = pg.connect(database, user, autocommit=False)
        self.catalogue, self.writes = load_catalogue(pg, database)
        self.keys, self.schema, self.pre_request, self.anon = keys, schema, pre_request, anon

    def ask(self, request):
        try:
            claims = claims_of(request.token, self.keys, self.anon)
        except Refused as e:
            return e.answer
        read_only = request.method in ("GET", "HEAD") or not self.writes[request.function]
        main, values = call_statement(self.schema, request.function, self.catalogue[request.function], request.arguments)
        try:
            with self.conn.cursor() as cur:
                cur.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED " + ("READ ONLY" if read_only else "READ WRITE"))
                for sql, args in settings_statements(self.schema, claims, request.method, "/rpc/" + request.function, request.all_headers()):
                    cur.execute(sql, args)
                cur.execute(f"SELECT {self.pre_request}()")
                cur.execute(main, values)
                _, _, body, response_headers, status, _ = cur.fetchone()
            self.conn.commit()
            return Answer(int(status or 200), body, headers_of(response_headers))
        except psycopg2.Error as e:
            self.conn.rollback()
            return error_answer(e, request.token is not None)
