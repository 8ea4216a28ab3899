"""/rpc/{function} in the gateway: the list of functions follows the database, and survives it."""
import contextlib
import http.client
import json
import time

from harness.gateway import Site


@contextlib.contextmanager
def environment():
    with Site() as site:
        site.function("rpc_one", "a integer", "BEGIN RETURN jsonb_build_object('a', a); END", kind="STABLE")
        site.rpc = site.gateway(schemas="api", pool=2)
        assert site.rpc.wait_log('"msg":"functions loaded"')
        yield site


def eventually(what, timeout_s=15):
    deadline = time.time() + timeout_s
    while not what():
        assert time.time() < deadline
        time.sleep(0.05)


def test_calls(env):
    answer = env.rpc.call("POST", "/rpc/rpc_one", {"a": 1})
    assert (answer.status, answer.json) == (200, {"a": 1}), answer
    answer = env.rpc.call("GET", "/rpc/rpc_one?a=2")
    assert (answer.status, answer.json, answer.headers["content-range"]) == (200, {"a": 2}, "0-0/*"), answer


def test_a_function_of_the_extension(env):
    answer = env.rpc.call("POST", "/rpc/me", {}, token=env.token())
    assert answer.status == 200 and env.user in answer.body.decode(), answer
    assert env.rpc.call("POST", "/rpc/me", {}).status == 401


def test_a_new_function_after_notify(env):
    assert env.rpc.call("POST", "/rpc/rpc_new", {}).json["code"] == "PGRST202"
    env.function("rpc_new", "", "BEGIN RETURN '1'; END")
    env.query("NOTIFY pgrst, 'reload schema'")
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_new", {}).status == 200)
    env.query("DROP FUNCTION api.rpc_new()")
    answer = env.rpc.call("POST", "/rpc/rpc_new", {})
    assert (answer.status, answer.json["code"]) == (404, "42883"), answer
    env.query("NOTIFY pgrst")
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_new", {}).json["code"] == "PGRST202")


def test_a_changed_function(env):
    env.function("rpc_changing", "a integer", "BEGIN RETURN '1'; END")
    env.query("NOTIFY pgrst")
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_changing", {"a": 1}).status == 200)
    env.query("DROP FUNCTION api.rpc_changing(integer)")
    env.function("rpc_changing", "a integer", "BEGIN RETURN QUERY SELECT i FROM generate_series(1, a) i; END", returns="SETOF integer")
    env.query("NOTIFY pgrst")
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_changing", {"a": 2}).body == b"[1, \n 2]" or
               env.rpc.call("POST", "/rpc/rpc_changing", {"a": 2}).json == [1, 2])


def test_a_plan_of_one_role_does_not_serve_another(env):
    """Functions in SQL, which the planner takes apart: whoever comes second is asked for EXECUTE, and for their schema, too."""
    env.query("CREATE FUNCTION api.rpc_rows(n int) RETURNS SETOF int LANGUAGE sql STABLE AS 'SELECT generate_series(1, n)'")
    env.query("CREATE FUNCTION api.rpc_next(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n + 1'")
    env.query("REVOKE ALL ON FUNCTION api.rpc_rows(int), api.rpc_next(int) FROM PUBLIC")
    env.query("GRANT EXECUTE ON FUNCTION api.rpc_rows(int), api.rpc_next(int) TO backoffice_user")
    env.query("NOTIFY pgrst")
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_next", {"n": 1}, token=env.token()).status == 200)
    for path in ("/rpc/rpc_rows?n=2", "/rpc/rpc_next?n=2"):
        for _ in range(40):     # until it is prepared on each connection, and its plan is a generic one
            assert env.rpc.call("GET", path, token=env.token()).status == 200
        for _ in range(10):
            answer = env.rpc.call("GET", path)
            assert (answer.status, answer.json["code"]) == (401, "42501"), answer
    env.query("GRANT EXECUTE ON FUNCTION api.rpc_next(int) TO backoffice_anon")
    assert env.rpc.call("GET", "/rpc/rpc_next?n=2").status == 200
    env.query("REVOKE USAGE ON SCHEMA api FROM backoffice_anon")
    try:
        answer = env.rpc.call("GET", "/rpc/rpc_next?n=2")
        assert (answer.status, answer.json["message"]) == (401, "permission denied for schema api"), answer
    finally:
        env.query("GRANT USAGE ON SCHEMA api TO backoffice_anon")


def test_a_bad_token_before_anything_else(env):
    answer = env.rpc.call("POST", "/rpc/no_such_thing", {}, token="a.b.c")
    assert (answer.status, answer.json["code"]) == (401, "PGRST301"), answer
    answer = env.rpc.call("POST", "/rpc/no_such_thing", {}, token=env.token())
    assert (answer.status, answer.json["code"]) == (404, "PGRST202"), answer
    assert env.rpc.wait_log('"status":404,"code":"PGRST202"')


def test_the_database_away_and_back(env):
    env.pg.stop("immediate")
    answer = env.rpc.call("POST", "/rpc/rpc_one", {"a": 1})
    assert answer.status == 503 and answer.json["code"] in ("PGRST000", "PGRST001", "PGRST003") and "retry-after" in answer.headers, answer
    env.pg.start()
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_one", {"a": 1}).status == 200, 30)
    env.function("rpc_after", "", "BEGIN RETURN '1'; END")

    # The connection that listens comes back by itself, too.
    def there():
        env.query("NOTIFY pgrst")
        return env.rpc.call("POST", "/rpc/rpc_after", {}).status == 200
    eventually(there, 30)


def test_reason_phrases(env):
    """A function's own phrase reaches the status line, and nothing but the status line; the next answer has the usual one again."""
    env.function("rpc_fails", "text text, state text DEFAULT 'PT404'", "BEGIN RAISE EXCEPTION USING errcode = state, message = text; END", kind="STABLE")
    env.query("NOTIFY pgrst")
    eventually(lambda: env.rpc.call("POST", "/rpc/rpc_fails", {"text": "a"}).json["code"] == "PT404")
    long = "\u00fc" * 50000
    for text, reason in [("Gone fishing", "Gone fishing"), ("a\r\nSet-Cookie: b=c", "a  Set-Cookie: b=c"), (long, long[:100]), ("", "Not Found")]:
        conn = http.client.HTTPConnection("127.0.0.1", env.rpc.port, timeout=10)
        for path, expected in [("/rpc/rpc_fails", reason), ("/rpc/rpc_fails?columns=text", reason), ("/nowhere", "Not Found")]:
            conn.request("POST", path, json.dumps({"text": text}), {"Content-Type": "application/json"})
            answer = conn.getresponse()
            body = answer.read()
            assert answer.status == 404 and answer.reason.encode("latin-1").decode() == expected, (path, answer.reason, body[:200])
            assert answer.getheader("Set-Cookie") is None
        conn.close()


def test_head_tells_no_length(env):
    """Several on one connection: nothing of a body goes out that the next answer would begin with."""
    conn = http.client.HTTPConnection("127.0.0.1", env.rpc.port, timeout=10)
    for path, status in [("/rpc/rpc_one?a=2", 200), ("/rpc/rpc_one?a=x", 400), ("/rpc/rpc_one?a=3", 200)]:
        conn.request("HEAD", path)
        answer = conn.getresponse()
        assert (answer.status, answer.getheader("Content-Length"), answer.read()) == (status, None, b""), (path, answer.status)
        conn.request("GET", path)
        answer = conn.getresponse()
        assert answer.status == status and answer.getheader("Content-Length") == str(len(answer.read())), path
    conn.close()


def test_it_is_described(env):
    paths = env.rpc.call("GET", "/openapi.json").json["paths"]
    assert paths["/rpc/rpc_one"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"] == \
        {"a": {"type": "integer", "format": "int32"}}
