"""The conformance corpus: reading it, playing its requests at a door, judging the answers.

A case (test/conformance/*.json, see docs/conformance.md) is a list of steps; a step a request and what is expected of its answer.
A door is a function (method, path, headers, body) -> (status, reason, [(name, value)], body).
"""
import base64
import glob
import hashlib
import hmac
import http.client
import json
import os
import time

from harness.pg import ROOT

FOLDER = os.path.join(ROOT, "test/conformance")
SECRET = "a secret of the conformance corpus, nothing else"
KEY_ID = "conform"
# Given an audience, tokens have to be for it.
AUDIENCE_KEY_ID = "conform-audience"
AUDIENCE = "conform-tests"
DATABASE = "conform"
GATEWAY_LOGIN = "conform_gateway"


def corpus(areas=None):
    """(area, case) of every file, in order."""
    for path in sorted(glob.glob(os.path.join(FOLDER, "*.json"))):
        with open(path, encoding="utf-8") as f:
            part = json.load(f)
        if areas is None or part["area"] in areas:
            for case in part["cases"]:
                yield part["area"], case


def install(pg, database=DATABASE):
    """The fixture, the roles a gateway needs for it, and the key of the corpus' tokens."""
    pg.create_database(database)
    with open(os.path.join(FOLDER, "fixture.sql"), encoding="utf-8") as f:
        pg.psql(database, f.read())
    pg.psql(database, f"""
        CREATE ROLE {GATEWAY_LOGIN} LOGIN IN ROLE backoffice_gateway, conform_anon, conform_clerk;
        ALTER DATABASE {database} SET backoffice.anon_role = 'conform_anon';
        ALTER DATABASE {database} SET search_path = conform;
        ALTER ROLE {GATEWAY_LOGIN} SET max_stack_depth = '512kB';
        ALTER ROLE {GATEWAY_LOGIN} SET temp_file_limit = '1kB';
        SELECT access.add_verification_key('{KEY_ID}', 'HS256', '{SECRET}', 'role', '{{}}', false);
        SELECT access.add_verification_key('{AUDIENCE_KEY_ID}', 'HS256', '{SECRET}', 'role', '{{{AUDIENCE}}}', false);
        """)


# ---- requests ----

def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def at_now(value):
    """Claims may say {"$now": seconds from now}."""
    if isinstance(value, dict) and list(value) == ["$now"]:
        return int(time.time()) + value["$now"]
    return value


def make_token(claims, key=KEY_ID, secret=SECRET, header=None):
    claims = {name: at_now(value) for name, value in claims.items()}
    head = {"alg": "HS256", "typ": "JWT", "kid": key} if header is None else header
    signed = b64url(json.dumps(head).encode()) + "." + b64url(json.dumps(claims).encode())
    return signed + "." + b64url(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def pairs(headers):
    return [tuple(pair) for pair in headers] if isinstance(headers, list) else list((headers or {}).items())


def request_of(step):
    """method, path, headers, body as bytes."""
    request = step["request"]
    headers = pairs(request.get("headers"))
    body = b""
    if "json" in request:
        body = json.dumps(request["json"], ensure_ascii=False).encode()
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", "application/json"))
    elif "text" in request:
        body = request["text"].encode()
    elif "base64" in request:
        body = base64.b64decode(request["base64"])
    if "claims" in request:
        token = make_token(request["claims"], request.get("key", KEY_ID), request.get("secret", SECRET), request.get("header"))
        headers.append(("Authorization", request.get("scheme", "Bearer") + " " + token))
    elif "token" in request:
        headers.append(("Authorization", "Bearer " + request["token"]))
    return request["method"], request["path"], headers, body


def http_door(port, host="127.0.0.1", timeout_s=30):
    def call(method, path, headers, body):
        conn = http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            conn.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers:
                conn.putheader(name, value)
            if body or method == "POST":
                conn.putheader("Content-Length", str(len(body)))
            conn.endheaders(body)
            response = conn.getresponse()
            return response.status, response.reason, response.getheaders(), response.read()
        finally:
            conn.close()
    return call


# ---- answers ----

def body_problem(expected, body):
    if "json" in expected:
        try:
            got = json.loads(body)
        except ValueError:
            return f"body is not JSON: {body[:300]!r}"
        # 1 and true, 1 and 1.0 differ for clients.
        if json.dumps(got, sort_keys=True) != json.dumps(expected["json"], sort_keys=True):
            return f"body {json.dumps(got, ensure_ascii=False)[:600]}\n    expected {json.dumps(expected['json'], ensure_ascii=False)[:600]}"
    if "text" in expected and body != expected["text"].encode():
        return f"body {body[:600]!r}\n    expected {expected['text'][:600]!r}"
    if "base64" in expected and body != base64.b64decode(expected["base64"]):
        return f"body {body[:100]!r}\n    expected {base64.b64decode(expected['base64'])[:100]!r}"
    return None


def header_problems(expected, headers):
    for name, wanted in pairs(expected.get("headers")):
        got = [value for key, value in headers if key.lower() == name.lower()]
        if wanted is None:
            if got:
                yield f"header {name}: {got}, expected none"
        elif isinstance(wanted, list):
            if sorted(got) != sorted(wanted):
                yield f"header {name}: {got}, expected {wanted}"
        elif wanted not in got:
            yield f"header {name}: {got}, expected {wanted!r}"


def step_problems(step, answer):
    status, reason, headers, body = answer
    expected = step["expected"]
    if status != expected["status"]:
        yield f"status {status}, expected {expected['status']}; body {body[:400]!r}"
    if "reason" in expected and reason != expected["reason"]:
        yield f"reason {reason!r}, expected {expected['reason']!r}"
    problem = body_problem(expected, body)
    if problem:
        yield problem
    yield from header_problems(expected, headers)
    if "Content-Length" not in dict(pairs(expected.get("headers"))) and step["request"]["method"] != "HEAD" and status not in (204, 304):
        length = [value for key, value in headers if key.lower() == "content-length"]
        if length and length != [str(len(body))]:
            yield f"Content-Length {length} of {len(body)} bytes"


def play(door, case):
    """What is wrong with the answers to a case's steps, as text; "" when nothing is."""
    problems = []
    for number, step in enumerate(case["steps"], 1):
        method, path, headers, body = request_of(step)
        try:
            answer = door(method, path, headers, body)
        except (OSError, http.client.HTTPException) as e:
            problems.append(f"step {number}, {method} {path}: {e!r}")
            continue
        problems += [f"step {number}, {method} {path}: {problem}" for problem in step_problems(step, answer)]
    return "\n".join(problems)
