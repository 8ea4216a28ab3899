"""The gateway against a real database: routes, arguments, errors, headers, limits."""
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time

from harness.gateway import Site, hs256
from harness.pg import ROOT
from harness.workers import BUILD

UUID = "00000000-0000-0000-0000-000000000001"


@contextlib.contextmanager
def environment():
    with Site() as site:
        site.as_org("SELECT certificates.create_pool('XMAS', 'EUR', 5000)", "SELECT certificates.generate_codes('XMAS', 200)",
                    "SELECT certificates.create_pool('EMPTY', 'EUR', 5000)")
        site.web = site.gateway()
        yield site


def reserve(site, **more):
    answer = site.web.call("POST", "/certificates/reservations", {"pool": "XMAS", "channel": "pos", **more}, site.token())
    assert answer.status == 201, answer
    return answer.json["id"]


def test_life_of_a_certificate(site):
    token = site.token()
    answer = site.web.call("POST", "/certificates/reservations", {"pool": "XMAS", "channel": "pos", "order_ref": "o-1"}, token)
    assert answer.status == 201 and answer.headers["location"] == "/certificates/" + answer.json["id"], answer
    path = answer.headers["location"]
    assert site.web.call("GET", path, token=token).json["state"] == "reserved"
    issued = site.web.call("POST", path + "/issue", token=token)
    assert issued.status == 200 and issued.json["code"], issued
    redeemed = site.web.call("POST", path + "/redeem", {"amount_minor": 1200}, token)
    assert redeemed.status == 200 and redeemed.json["balance_minor"] == 3800, redeemed
    assert site.web.call("POST", path + "/redeem", {"amount_minor": 999999}, token).status in (409, 422)
    assert site.web.call("POST", path + "/refund", {"amount_minor": 200}, token).json["balance_minor"] == 4000
    assert site.web.call("POST", path + "/block", {"reason": "lost"}, token).json["state"] == "blocked"
    assert site.web.call("POST", path + "/redeem", {"amount_minor": 1}, token).code == "certificate_blocked"
    assert site.web.call("POST", path + "/unblock", {}, token).json["state"] != "blocked"
    answer = site.web.call("GET", "/certificates/next?pool=XMAS&channel=pos", token=token)
    assert answer.status == 200 and answer.json["state"] == "reserved"
    assert site.web.call("POST", f"/certificates/{answer.json['id']}/release", {}, token).json["state"] == "available"


def test_committed_errors(site):
    """An empty pool: 409, and the event of it is committed."""
    count = "SELECT count(*) FROM events.read(NULL, 1000000, ARRAY['GiftCertificates.Stream']) WHERE type = 'issue.blocked'"
    before = site.as_org(count)[0][0]
    answer = site.web.call("POST", "/certificates/reservations", {"pool": "EMPTY", "channel": "pos"}, site.token())
    assert answer.status == 409 and answer.code == "pool_empty" and answer.headers["content-type"] == "application/problem+json", answer
    assert answer.json["hint"] and answer.json["request_id"] == answer.headers["x-request-id"]
    for _ in range(100):
        if site.as_org(count)[0][0] > before:
            return
    raise AssertionError("issue.blocked was not committed")


def test_idempotency(site):
    headers = {"Idempotency-Key": "k-1"}
    body = {"pool": "XMAS", "channel": "pos"}
    first = site.web.call("POST", "/certificates/reservations", body, site.token(), headers)
    again = site.web.call("POST", "/certificates/reservations", body, site.token(), headers)
    assert first.status == again.status == 201 and first.body == again.body and first.headers["location"] == again.headers["location"]
    other = site.web.call("POST", "/certificates/reservations", {**body, "channel": "web"}, site.token(), headers)
    assert other.status == 409 and other.code == "idempotency_conflict", other


def test_arguments(site):
    token = site.token()
    post = lambda path, body, **kw: site.web.call("POST", path, body, token, **kw)
    for body, code in (({"pool": "XMAS"}, "missing_argument"), ({"pool": "XMAS", "channel": None}, "missing_argument"),
                       ({"pool": 7, "channel": "pos"}, "bad_argument"), ({"pool": "XMAS", "channel": "pos", "hold_s": "5"}, "bad_argument"),
                       ({"pool": "XMAS", "channel": "pos", "hold_s": 1.5}, "bad_argument"),
                       ({"pool": "XMAS", "channel": "pos", "hold_s": 1 << 40}, "bad_argument"),
                       ({"pool": "XMAS", "channel": "pos", "x": 1}, "unknown_member"), ([], "not_an_object"), ("x", "unsupported_media_type")):
        answer = post("/certificates/reservations", body)
        assert answer.status == (415 if code == "unsupported_media_type" else 400) and answer.code == code, (body, answer)
    hint = lambda answer: answer.json["hint"]
    assert hint(post("/certificates/reservations", {"x": 1})) == "There is: pool, channel, order_ref, hold_s.", post("/certificates/reservations", {"x": 1})
    assert hint(site.web.call("GET", "/pools?x=1", token=token)).startswith("There is: "), "parameters are named, too"
    assert hint(site.web.call("GET", f"/certificates/{UUID}?x=1", token=token)) == "There is none at all."
    raw = {"Content-Type": "application/json; charset=utf-8"}
    for text, code in ((b'{"pool": "a", "pool": "b"}', "json_duplicate_member"), (b'{"pool": "\xff"}', "not_utf8"), (b'{"pool": "\\u0000"}', "nul_character"),
                       (b'{"pool"', "bad_json"), (b'{"pool": ' + b"[" * 100 + b"]" * 100 + b"}", "json_too_deep"), (b"{} {}", "bad_json"),
                       (b'{"pool": "\0"}', "bad_json")):
        answer = post("/certificates/reservations", text, headers=raw)
        assert answer.status == 400 and answer.code == code, (text, answer)
    assert post("/certificates/reservations", b"x" * (2 << 20), headers=raw).status == 413
    get = lambda path: site.web.call("GET", path, token=token)
    for path, code in (("/certificates/nonsense", "bad_argument"), ("/pools?max_items=x", "bad_argument"), ("/pools?nonsense=1", "unknown_parameter"),
                       ("/pools?max_items=1&max_items=2", "duplicate_parameter"), ("/pools?after=%zz", "bad_encoding"), ("/pools?after=%00", "bad_encoding"),
                       ("/pools?after=%ff", "bad_encoding"), ("/pools/%ff", "bad_path"), ("/pools/%00", "bad_path"), ("/certificates/next?pool=XMAS", "missing_argument"),
                       ("/pools?max_items=0", "bad_limit")):
        answer = get(path)
        assert answer.status == 400 and answer.code == code, (path, answer)
    assert get("/pools?max_items=1").json["items"] and get("/pools/XM%41S").json["code"] == "XMAS"
    assert get(f"/certificates/{UUID}").status == 404


def test_paths_and_methods(site):
    for path in ("/", "/nothing", "/pools/", "//pools", "/pools/x/y", "/pools;x", "/..%2fpools", "/certificates//issue"):
        answer = site.web.call("GET", path, token=site.token())
        assert answer.status == 404 and answer.code == "no_such_route", (path, answer)
    answer = site.web.call("DELETE", "/pools", token=site.token())
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST, OPTIONS", answer
    for method in ("TRACE", "QUERY"):
        answer = site.web.call(method, "/pools", token=site.token())
        assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD, POST, OPTIONS" and answer.code == "method_not_allowed", answer
        assert site.web.call(method, "/nothing", {"x": 1}).status == 404 and site.web.call(method, "/rpc/pools", token=site.token()).status == 405, method
    assert site.web.call("PROPFIND", "/pools").status == 501
    answer = site.web.call("OPTIONS", "/certificates/reservations")
    assert answer.status == 204 and answer.headers["allow"] == "POST, OPTIONS"
    answer = site.web.call("HEAD", "/pools", token=site.token())
    assert answer.status == 200 and answer.body == b"" and int(answer.headers["content-length"]) > 0


def test_who_may(site):
    answer = site.web.call("GET", "/pools")
    assert answer.status == 401 and answer.code == "no_token" and answer.headers["www-authenticate"].startswith("Bearer"), answer
    for token, code in (("nonsense", "token_malformed"), (site.token(seconds=-100), "token_expired"),
                        (hs256({"sub": site.user, "exp": 4102444800}, secret="x" * 40), "token_bad_signature"),
                        (hs256({"sub": site.user, "exp": 4102444800}, kid="other"), "token_unknown_key"), ("x" * 17000, "token_malformed"), ("x" * 21000, None)):
        answer = site.web.call("GET", "/pools", token=token)
        assert answer.status == (401 if code else 431) and (not code or answer.code == code), (token[:50], answer)
    nobody = site.person("bob@acme.test", site.org)
    answer = site.web.call("GET", "/pools", token=site.token(nobody))
    assert answer.status == 403 and answer.code == "permission_denied", answer
    answer = site.web.call("GET", "/pools", token=site.token(), headers={"X-Organization-Id": "nonsense"})
    assert answer.status == 400 and answer.code == "bad_organization_id"
    other = site.organization("Other")
    answer = site.web.call("GET", "/pools", token=site.token(), headers={"X-Organization-Id": other})
    assert answer.status in (403, 404), answer


def test_ids_go_in_and_out(site):
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = site.web.call("POST", "/certificates/reservations", {"pool": "XMAS", "channel": "pos"}, site.token(),
                           {"X-Request-Id": "mine-1", "traceparent": parent})
    assert answer.headers["x-request-id"] == "mine-1"
    ours = answer.headers["traceparent"]
    assert ours.startswith(parent[:36]) and ours.endswith("-01") and ours != parent
    line = site.web.wait_log('"request_id":"mine-1"', 5)    # written when the last byte went out
    assert line and parent[3:35] in line, line
    answer = site.web.call("GET", "/pools", headers={"X-Request-Id": 'a"b', "traceparent": "junk"})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"]) and re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", answer.headers["traceparent"])
    site.function("show_headers", "", "BEGIN RETURN current_setting('request.headers')::jsonb; END")
    site.query("NOTIFY pgrst, 'reload schema'")
    for _ in range(100):
        answer = site.web.call("POST", "/rpc/show_headers", {}, site.token(), {"X-Request-Id": "mine-2", "traceparent": parent, "Cookie": "a=b"})
        if answer.status == 200:
            break
        time.sleep(0.05)
    seen = answer.json
    assert seen["x-request-id"] == "mine-2" and seen["traceparent"].startswith(parent[:36]) and "cookie" not in seen and "authorization" in seen, seen
    assert seen["x-forwarded-for"] == "127.0.0.1"


def test_error_at_commit(site):
    """What fails at COMMIT (here: a deferred constraint) is that request's error; the next one on the connection is fine."""
    site.pg.psql("site", "CREATE TABLE public.late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED); GRANT INSERT, SELECT ON public.late TO backoffice_user;")
    saved = site.query("SELECT pg_get_functiondef('api.permissions()'::regprocedure)")[0][0]
    site.function("permissions", "", "BEGIN INSERT INTO public.late VALUES (1), (1); RETURN '{\"items\": []}'; END")
    one = site.gateway(pool=1, request_ms=5000)
    try:
        # A GET is read-only; the route of the function is one: so it fails before, with its own status.
        answer = one.call("GET", "/permissions", token=site.token())
        assert answer.status == 405 and answer.code == "read_only_transaction", answer
        saved_check = site.query("SELECT pg_get_functiondef('api.check_certificate(text,text)'::regprocedure)")[0][0]
        site.function("check_certificate", "code text, cvc text", "BEGIN INSERT INTO public.late VALUES (1), (1); RETURN '{\"valid\": true}'; END")
        for _ in range(3):
            answer = one.call("POST", "/certificates/check", {"code": "a", "cvc": "b"}, site.token())
            assert answer.status == 409 and answer.code == "unique_violation", answer
            assert one.call("GET", "/pools", token=site.token()).status == 200
        assert site.query("SELECT count(*) FROM public.late") == [(0,)]
        site.pg.psql("site", saved_check + ";")
    finally:
        site.pg.psql("site", saved + ";")
        one.stop()


def test_changed_functions(site):
    """A function that is made anew under a prepared statement: nobody notices."""
    assert site.web.call("GET", "/permissions", token=site.token()).status == 200
    saved = site.query("SELECT pg_get_functiondef('api.permissions()'::regprocedure)")[0][0]
    site.query("ALTER EXTENSION backoffice DROP FUNCTION api.permissions()")
    site.query("DROP FUNCTION api.permissions()")
    answer = site.web.call("GET", "/permissions", token=site.token())
    assert answer.status == 404 and answer.code == "undefined_function", answer
    site.pg.psql("site", saved + "; GRANT EXECUTE ON FUNCTION api.permissions() TO backoffice_user;")
    assert site.web.call("GET", "/permissions", token=site.token()).status == 200


def test_openapi(site):
    answer = site.web.call("GET", "/openapi.json")
    assert answer.status == 200 and answer.json["openapi"].startswith("3.1")
    operations = [o for path in answer.json["paths"].values() for o in path.values()]
    assert len({o["operationId"] for o in operations}) == len(operations)
    refs = set(re.findall(r'"#/components/(\w+)/(\w+)"', answer.body.decode()))
    assert refs and all(name in answer.json["components"][kind] for kind, name in refs)


def test_every_route_has_its_function(site):
    """Arguments of the table and parameters of the functions are the same."""
    paths = site.web.call("GET", "/openapi.json").json["paths"]
    functions = {r[0]: (set(r[1] or []), r[2]) for r in site.query(
        "SELECT proname, proargnames, pronargdefaults FROM pg_proc WHERE pronamespace = 'api'::regnamespace")}
    wrong = []
    for path, item in paths.items():
        for method, operation in item.items():
            name = operation["operationId"].split("_", 1)[1]
            if name not in functions:
                if operation["tags"] != ["system"] and not path.startswith(("/rpc/", "/auth/oidc/", "/events", "/ws")):
                    wrong.append(f"{method} {path}: no function {name}")
                continue
            given = {p["name"] for p in operation["parameters"] if "name" in p}
            for body in operation.get("requestBody", {}).get("content", {}).values():
                given |= set(body["schema"]["properties"])
            if not given <= functions[name][0]:
                wrong.append(f"{method} {path}: {name} has no parameters {given - functions[name][0]}")
    assert not wrong, "\n".join(wrong)


def test_docs_have_the_table(_):
    table = subprocess.run([os.path.join(BUILD, "gateway"), "--routes"], check=True, stdout=subprocess.PIPE, text=True).stdout
    with open(os.path.join(ROOT, "docs/gateway.md")) as f:
        assert table in f.read(), "docs/gateway.md: put in what gateway --routes prints"


def test_health_and_metrics(site):
    assert site.web.call("GET", "/health/live").json == {"status": "ok"}
    ready = site.web.call("GET", "/health/ready").json
    assert ready["status"] == "ok" and ready["database"]["status"] == "ok" and ready["connections"] == 8, ready
    text = site.web.call("GET", "/metrics").body.decode()
    assert re.search(r'backoffice_gateway_request_seconds_bucket\{route="/pools",method="GET",le="\+Inf"\} \d+', text)
    assert site.query("SELECT count(*) FROM backoffice.workers WHERE worker = 'gateway' AND state = 'running'")[0][0] >= 1


def test_cors(site):
    web = site.gateway(allow_origins="https://shop.example,http://localhost:3000")
    ask = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    answer = web.call("OPTIONS", "/certificates/reservations", headers=ask)
    assert answer.status == 204 and answer.headers["access-control-allow-origin"] == "https://shop.example" and "POST" in answer.headers["access-control-allow-methods"]
    answer = web.call("OPTIONS", "/certificates/reservations", headers={**ask, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers and "access-control-allow-methods" not in answer.headers
    answer = web.call("GET", "/pools", headers={"Origin": "https://shop.example"})
    assert answer.status == 401 and answer.headers["access-control-allow-origin"] == "https://shop.example" and answer.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in site.web.call("GET", "/pools", headers={"Origin": "https://shop.example"}).headers
    web.stop()


def test_rate_limits(site):
    web = site.gateway(limits="read:principal=5/5,write:address=3/3", processes=2)
    token = site.token()
    statuses = [web.call("GET", "/pools", token=token).status for _ in range(30)]
    assert statuses.count(429) >= 10 and statuses[0] == 200, statuses
    answer = next(a for a in (web.call("GET", "/pools", token=token) for _ in range(50)) if a.status == 429)
    assert answer.code == "too_many_requests" and int(answer.headers["retry-after"]) >= 1, answer
    assert answer.headers["ratelimit-limit"] == "5" and answer.headers["ratelimit-remaining"] == "0" and int(answer.headers["ratelimit-reset"]) >= 1
    # Somebody else is not touched by it; health never is.
    other = site.token(site.person("carol@acme.test", site.org, "owner"))
    assert web.call("GET", "/pools", token=other).status == 200
    assert [web.call("GET", "/health/live").status for _ in range(20)] == [200] * 20
    body = {"pool": "EMPTY", "channel": "pos"}
    assert 429 in [web.call("POST", "/certificates/reservations", body, token).status for _ in range(10)]
    web.stop()


def test_rate_limits_of_networks(site):
    """Whoever has one IPv6 address has its /64: a limit of addresses counts them as one, as the lockout does."""
    web = site.gateway(limits="auth:address=1/3", trusted_proxies="127.0.0.1")

    def ask(address):
        return web.call("POST", "/auth/login", {"email": "nobody@acme.test", "password": "wrong"}, headers={"X-Forwarded-For": address}).status
    statuses = [ask(f"2001:db8:1:2:{n:x}::{n:x}") for n in range(1, 11)]
    assert statuses.count(429) >= 5, statuses
    assert ask("2001:db8:1:3::1") != 429 and ask("192.0.2.1") != 429 and ask("192.0.2.2") != 429
    assert 429 not in [ask(f"::ffff:192.0.2.{n}") for n in range(11, 21)], "IPv4 addresses, as some proxies write them, are no network"
    web.stop()


def test_head_changes_nothing(site):
    """A GET that changes something has no HEAD: whoever asks for the head only would hold a certificate that nobody knows of."""
    for path in ("/certificates/next?pool=XMAS&channel=pos", "/certificates/00000000-0000-7000-8000-000000000000/cvc"):
        answer = site.web.call("HEAD", path, token=site.token())
        assert answer.status == 405 and "GET" in answer.headers["allow"] and "HEAD" not in answer.headers["allow"], answer.headers
    assert site.web.call("HEAD", "/pools", token=site.token()).status == 200


def test_rate_limits_of_rpc(site):
    """What is limited as a log-in is so by its other door too."""
    web = site.gateway(limits="auth:address=1/3")
    login = {"email": "nobody@acme.test", "password": "wrong"}
    for path, body in (("/rpc/login", login), ("/rpc/refresh", {"refresh_token": "bor_x"}), ("/rpc/oidc_begin", {"issuer": "x", "redirect_uri": "y"})):
        statuses = [web.call("POST", path, body).status for _ in range(10)]
        assert statuses.count(429) >= 5, (path, statuses)
    assert 429 not in [web.call("GET", "/rpc/jwks").status for _ in range(10)]
    web.stop()


def test_organizations_elsewhere(site):
    """An organization's requests go to the database that the file says, by header or by the token's claim."""
    site.pg.create_database("second")
    site.pg.query("SELECT access.add_verification_key('test', 'HS256', %s)", ("a secret that only the tests know, 32 bytes and more",), dbname="second")
    org = str(site.pg.query("SELECT access.create_organization('Second')", dbname="second")[0][0])
    user = str(site.pg.query("SELECT access.create_user('dan@second.test', NULL, %s)", (org,), dbname="second")[0][0])
    site.pg.query("SELECT access.grant_role(%s, 'owner', organization => %s)", (user, org), dbname="second")
    with tempfile.NamedTemporaryFile("w", suffix=".conf", dir="/tmp", delete=False) as f:
        f.write(f"# where they live\n{org} {site.pg.dsn('second', 'web')}\n")
    web = site.gateway(databases_file=f.name)
    try:
        assert web.call("GET", "/pools", token=site.token(user, org)).json["items"] == []
        assert len(web.call("GET", "/pools", token=site.token()).json["items"]) == 2
        bare = hs256({"sub": user, "exp": 4102444800})
        assert web.call("GET", "/pools", token=bare).status == 401
        assert web.call("GET", "/pools", token=bare, headers={"X-Organization-Id": org.upper()}).status == 200
    finally:
        web.stop()
        os.unlink(f.name)


def test_no_secrets_in_the_log(site):
    token = site.token()
    site.web.call("GET", "/pools?after=very-secret-query", token=token, headers={"Cookie": "session=very-secret-cookie"})
    site.web.call("POST", "/certificates/check", {"code": "very-secret-code", "cvc": "123"}, token)
    for gateway in site.gateways:
        text = gateway.text()
        for secret in ("hunter2", token, token.split(".")[2], "very-secret"):
            assert secret not in text, secret
        gateway.lines()    # each is JSON
    assert json.loads(site.web.text().splitlines()[0])["worker"] == "gateway"
