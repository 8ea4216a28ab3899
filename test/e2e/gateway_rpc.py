"""/rpc/{function} in the gateway: the list of functions follows the database, and survives it."""
import contextlib
import http.client
import json
import os
import socket
import time

from harness.crowd import children, memory
from harness.gateway import Site


@contextlib.contextmanager
def environment():
    with Site() as site:
        site.function("rpc_one", "a integer", "BEGIN RETURN jsonb_build_object('a', a); END", kind="STABLE")
        site.rpc = site.gateway(schemas="api", pool=2)
        assert site.rpc.wait_log('"msg":"functions loaded"')
        yield site


def eventually(what, timeout_s=60):
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
    long = "\u00fc" * 20000
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
    """A head, and not a byte behind it."""
    for path, status in [("rpc_one?a=2", b"200 OK"), ("rpc_one?a=x", b"400 Bad Request")]:
        answer = env.rpc.raw(f"HEAD /rpc/{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n") and answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1, answer
        assert b"content-length" not in answer.lower() and b"transfer-encoding" not in answer.lower(), answer
        assert b"\r\nConnection: close\r\n" in answer and b"\r\nContent-Type: application/json; charset=utf-8\r\n" in answer, answer


def test_answers_are_bounded(env):
    """What is larger than may be is refused by the database itself: nothing of it is done, and the next byte less is answered."""
    env.query("CREATE TABLE public.kept (k text); GRANT ALL ON public.kept TO backoffice_user")
    env.function("rpc_large", "k text, n integer", "BEGIN INSERT INTO public.kept VALUES (k); RETURN repeat('x', n); END", returns="text")
    env.function("rpc_many", "n integer", "BEGIN RETURN QUERY SELECT repeat('x', 100) FROM generate_series(1, n); END", returns="SETOF text", kind="STABLE")
    env.function("rpc_headers", "k text, n integer", """BEGIN INSERT INTO public.kept VALUES (k);
        PERFORM set_config('response.headers', '[{"X-Long": "' || repeat('x', n) || '"}]', true); RETURN 'a'; END""", returns="text")
    env.function("check_certificate", "code text, cvc text", "BEGIN INSERT INTO public.kept VALUES (code); RETURN jsonb_build_object('a', repeat('x', cvc::integer)); END")
    web = env.gateway(schemas="api", pool=2, max_answer=10000)
    assert web.wait_log('"msg":"functions loaded"')
    token = env.token()
    for path, body in [("/rpc/rpc_large", {"k": "a", "n": 9999}), ("/rpc/rpc_large?select=*", {"k": "a", "n": 50000000}), ("/rpc/rpc_headers", {"k": "a", "n": 9999}),
                       ("/certificates/check", {"code": "a", "cvc": "9993"}), ("/rpc/rpc_many", {"n": 100})]:
        answer = web.call("POST", path, body, token)
        assert (answer.status, answer.json["code"]) == (400, "answer_too_large"), (path, answer)
        assert "nothing was changed" in answer.json.get("message", answer.json.get("detail")), answer.json
    assert env.query("SELECT count(*) FROM public.kept") == [(0,)]
    for path, body in [("/rpc/rpc_large", {"k": "b", "n": 9998}), ("/certificates/check", {"code": "b", "cvc": "9991"})]:
        answer = web.call("POST", path, body, token)
        assert answer.status == 200 and len(answer.body) == 10000, (path, answer.status, len(answer.body))
    assert len(web.call("POST", "/rpc/rpc_many", {"n": 90}, token).json) == 90
    assert web.call("POST", "/rpc/rpc_many?limit=10", {"n": 1000000}, token).status == 200
    assert env.query("SELECT count(*) FROM public.kept") == [(2,)]
    assert web.stop() == 0


def test_error_texts_are_bounded(env):
    """What an error says is cut in the server, at the end of a character; what is shorter stays as it is."""
    env.function("rpc_complain", "n integer", "BEGIN RAISE EXCEPTION USING MESSAGE = repeat('é', n), DETAIL = repeat('é', n), HINT = repeat('é', n), CONSTRAINT = repeat('x', n); END",
                 returns="text")
    web = env.gateway(schemas="api", pool=2)
    assert web.wait_log('"msg":"functions loaded"')
    for n, kept in ((32768, 32768), (32769, 32768), (10000000, 32768)):
        answer = web.call("POST", "/rpc/rpc_complain", {"n": n}, env.token())
        assert answer.status == 400 and [len(answer.json[k]) for k in ("message", "details", "hint")] == [kept] * 3, (n, answer)
        assert set(answer.json["message"]) == {"é"}
    assert web.stop() == 0


def resident(web):
    pids = children(web.process.pid)
    return memory(pids) / 1048576


def test_memory_is_bounded(env):
    """Who takes nothing of large answers holds up to --answer-memory; then calls are refused, and those who are slow lose theirs. Little is kept."""
    env.function("rpc_large", "k text, n integer", "BEGIN RETURN repeat('x', n); END", returns="text", kind="STABLE")
    web = env.gateway(schemas="api", pool=2, answer_memory=16777216, header_ms=8000, limits="")
    assert web.wait_log('"msg":"functions loaded"')
    token = env.token()
    assert web.call("GET", "/rpc/rpc_large?k=a&n=10", token=token).status == 200
    before = resident(web)
    slow, refused = [], 0
    for _ in range(12):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(10)
        s.connect(("127.0.0.1", web.port))
        s.sendall(f"GET /rpc/rpc_large?k=a&n=8000000 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        status = s.recv(12)
        refused += status == b"HTTP/1.1 503"
        assert status in (b"HTTP/1.1 200", b"HTTP/1.1 503"), status
        slow.append(s)
    assert 2 < 12 - refused < 6, refused
    answer = web.call("GET", "/rpc/rpc_large?k=a&n=10", token=token)
    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "PGRST003", "1"), answer
    assert web.call("GET", "/pools", token=token).code == "overloaded" and web.call("GET", "/health/live").status == 200
    assert resident(web) - before < 16 + 5 * 2 * 8, (resident(web), before)
    eventually(lambda: web.call("GET", "/rpc/rpc_large?k=a&n=10", token=token).status == 200)
    assert web.metric("backoffice_gateway_slow_requests_total") >= 1
    # Whoever takes it in time gets all of it; and the connections do not keep the room.
    for _ in range(12):
        assert len(web.call("GET", "/rpc/rpc_large?k=a&n=16000000", token=token).body) == 16000002
    # Of those who were slow some may be left: only while there is too much is anybody disconnected.
    for s in slow:
        s.close()
    eventually(lambda: web.metric("backoffice_gateway_answer_bytes") == 0)
    if "san" not in os.environ.get("WORKERS_BUILD", ""):
        eventually(lambda: resident(web) - before < 40)
    assert web.stop() == 0


def test_memory_of_csv_is_bounded(env):
    """A body of a million fields or lines, or of lines that all repeat a long name, is not a hundred times as much in memory."""
    web = env.gateway(schemas="api", pool=2, limits="")
    assert web.wait_log('"msg":"functions loaded"')

    def peak():
        with open(f"/proc/{children(web.process.pid)[0]}/status") as f:
            return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))
    assert web.call("POST", "/rpc/rpc_one", b"a\n7\n", headers={"Content-Type": "text/csv"}).json == {"a": 7}
    before = peak()
    for body in (b"a\n7" + b"," * 1000000, b"a\n7\n" + b"\n" * 1000000, b"a" + b",b" * 500000 + b"\n7", b"a" * 500000 + b"\n" + b"7\n" * 2000):
        assert web.call("POST", "/rpc/rpc_one", body, headers={"Content-Type": "text/csv"}).status in (200, 400, 404)
    assert peak() - before < 128 or "san" in os.environ.get("WORKERS_BUILD", ""), (peak(), before)
    assert web.stop() == 0


def test_ever_new_statements(env):
    """Whoever calls with ever other arguments and preferences takes nobody's prepared statement for good, nor the server's memory."""
    names = [f"a{i}" for i in range(11)]
    env.function("rpc_shaped", ", ".join(f"{name} integer DEFAULT 0" for name in names), "BEGIN RETURN '1'; END")
    env.function("rpc_prepared", "x integer DEFAULT 0", "BEGIN RETURN (SELECT jsonb_build_object('all', count(*), 'own', count(*) FILTER (WHERE statement LIKE '%rpc_prepared%'), "
                 "'pid', pg_backend_pid()) FROM pg_prepared_statements); END")
    web = env.gateway(schemas="api", pool=1)
    assert web.wait_log('"msg":"functions loaded"')
    connection = web.connect()
    for call in range(2 ** 11):
        body = {name: 1 for i, name in enumerate(names) if call >> i & 1}
        for accept in ("application/json", "application/vnd.pgrst.object+json"):
            assert web.call("POST", "/rpc/rpc_shaped", body, headers={"Accept": accept, "Prefer": "count=exact"}, connection=connection).status == 200
    prepared = [web.call("POST", "/rpc/rpc_prepared", {}, connection=connection).json for _ in range(3)][-1]
    assert prepared["own"] == 1 and prepared["all"] <= 2100, prepared
    connection.close()
    web.stop()


def test_it_is_described(env):
    paths = env.rpc.call("GET", "/openapi.json").json["paths"]
    assert paths["/rpc/rpc_one"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"] == \
        {"a": {"type": "integer", "format": "int32"}}


def test_what_one_may_call_is_described(env):
    """As PostgREST's follow-privileges: nobody learns the names of functions that are for others."""
    for name, roles in (("rpc_for_nobody", ()), ("rpc_for_users", ("backoffice_user",)), ("rpc_for_services", ("backoffice_service",))):
        env.function(name, "", "BEGIN RETURN '1'; END")
        env.query(f"REVOKE ALL ON FUNCTION api.{name}() FROM PUBLIC, backoffice_anon, backoffice_user, backoffice_service")
        for role in roles:
            env.query(f"GRANT EXECUTE ON FUNCTION api.{name}() TO {role}")
    env.query("NOTIFY pgrst")

    def described(token=None):
        answer = env.rpc.call("GET", "/openapi.json", token=token)
        assert answer.status == 200 and answer.headers["vary"] == "Authorization", answer
        assert answer.headers["cache-control"] == ("private" if token else "public") + ", max-age=60", answer.headers
        return {path[len("/rpc/"):] for path in answer.json["paths"] if path.startswith("/rpc/")}, answer.json["paths"]
    eventually(lambda: "rpc_for_users" in described(env.token())[0])
    for _ in range(2):      # what was made is kept
        names, paths = described()
        assert {"login", "health", "rpc_one"} <= names and not {"me", "pools", "rpc_for_nobody", "rpc_for_users", "rpc_for_services"} & names, names
        assert "post" in paths["/certificates/reservations"], "the routes are everybody's to know"
        names, _ = described(env.token())
        assert {"me", "pools", "rpc_for_users"} <= names and not {"rpc_for_nobody", "rpc_for_services"} & names, names
    # At once, though the list of functions is read once a minute.
    env.query("REVOKE EXECUTE ON FUNCTION api.rpc_for_users() FROM backoffice_user")
    assert "rpc_for_users" not in described(env.token())[0]
    assert env.rpc.call("GET", "/openapi.json", token="x.y.z").status == 401
