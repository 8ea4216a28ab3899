"""Log-in with a browser through the gateway at an OpenID provider that does what it is told (a real Keycloak: test/peers/)."""
import base64
import contextlib
import hashlib
import http.server
import json
import secrets
import tempfile
import threading
import time
import urllib.parse

from harness import jws
from harness.gateway import Site
from harness.issuer import self_signed, serve_tls
from harness.pg import free_port


class Provider:
    """Signs with ES256; its token endpoint checks code, verifier and secret. certificate, key: it does TLS."""

    def __init__(self, certificate=None, key=None):
        self.key = secrets.randbelow(jws.N - 1) + 1
        x, y = jws.times(self.key, jws.G)
        self.jwk = {"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig",
                    "x": jws.encode(x.to_bytes(32, "big")), "y": jws.encode(y.to_bytes(32, "big"))}
        self.codes = {}
        self.asked = []
        self.behave = "well"
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                status, body = outer.token(form, self.headers)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", outer.issuer + "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http{'s' if certificate else ''}://127.0.0.1:{self.server.server_port}"
        self.connections = 0
        self.server.verify_request = self.count
        self.server.handle_error = lambda request, address: None    # who does not like our certificate is what is tested
        if certificate:
            serve_tls(self.server, certificate, key)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, request, address):
        self.connections += 1
        return True

    def sign(self, claims, typ="JWT"):
        head = {"alg": "ES256", "typ": typ, "kid": "k1"}
        text = jws.encode(json.dumps(head).encode()) + "." + jws.encode(json.dumps(claims).encode())
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        k = secrets.randbelow(jws.N - 1) + 1
        r = jws.times(k, jws.G)[0] % jws.N
        s = pow(k, -1, jws.N) * (digest + r * self.key) % jws.N
        return text + "." + jws.encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def authorize(self, url, subject="ann"):
        """What a browser that logs in there is sent back with."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "sub": subject}
        return asked["redirect_uri"], {"state": asked["state"], "code": code}

    def token(self, form, headers):
        self.asked.append(form)
        if self.behave == "slow":
            time.sleep(30)
        if self.behave == "redirect":
            return 302, b""
        if self.behave == "large":
            return 200, b" " * (1 << 20)
        if self.behave == "nonsense":
            return 200, b"<html>"
        login = self.codes.pop(form.get("code"), None)
        user, _, password = base64.b64decode(headers.get("Authorization", "Basic Og==").split()[1]).decode().partition(":")
        if login is None or (user, password) != ("shop", "the%2Bsecret%3A1") or form["redirect_uri"] != login["redirect_uri"] or form["grant_type"] != "authorization_code":
            return 400, b'{"error": "invalid_grant"}'
        challenge = jws.encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if challenge != login["code_challenge"]:
            return 400, b'{"error": "invalid_grant"}'
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": login["sub"], "aud": "shop", "iat": now, "exp": now + 300, "nonce": login["nonce"], "sid": "there-1",
                  "email": login["sub"] + "@id.test", "email_verified": True, "roles": ["boss"]}
        return 200, json.dumps({"id_token": self.sign(claims), "access_token": "opaque", "token_type": "Bearer"}).encode()


@contextlib.contextmanager
def environment():
    with Site() as site:
        site.provider = Provider()
        port = free_port()
        site.url = f"http://127.0.0.1:{port}"
        define(site, site.provider)
        site.web = site.gateway(port=port, public_url=site.url, oidc_insecure="on")
        yield site


def define(site, provider):
    site.query("SELECT access.define_issuer(%s, 'shop', 'the+secret:1', role_map => '{\"boss\": \"owner\"}', organization => %s, provision => true,"
               " algorithms => '{ES256}', redirect_uris => ARRAY[%s])", (provider.issuer, site.org, site.url + "/auth/oidc/callback"))
    site.query("SELECT access.set_issuer_keys(%s, %s, 3600, %s)", (
        provider.issuer, json.dumps({"keys": [provider.jwk]}),
        json.dumps({"issuer": provider.issuer, "authorization_endpoint": provider.issuer + "/authorize",
                    "token_endpoint": provider.issuer + "/token"})))


def begin(site, provider=None):
    """(where the browser is sent, its cookie)"""
    answer = site.web.call("GET", "/auth/oidc/" + urllib.parse.quote((provider or site.provider).issuer, safe="") + "/login")
    assert answer.status == 302, answer
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/auth/oidc" in cookie and "Secure" not in cookie
    return answer.headers["location"], cookie.split(";")[0]


def back(site, query, cookie=None):
    return site.web.call("GET", "/auth/oidc/callback?" + urllib.parse.urlencode(query), headers={"Cookie": cookie} if cookie else {})


def test_login(site):
    url, cookie = begin(site)
    where, query = site.provider.authorize(url)
    assert where == site.url + "/auth/oidc/callback"
    answer = back(site, {**query, "session_state": "x", "iss": site.provider.issuer}, cookie)
    assert answer.status == 200 and answer.json["user"]["email"] == "ann@id.test" and "status" not in answer.json, answer
    assert "Max-Age=0" in answer.headers["set-cookie"] and answer.headers["cache-control"] == "no-store"
    assert site.web.call("GET", "/pools", token=answer.json["access_token"]).status == 200
    # Once.
    assert back(site, query, cookie).status in (400, 401, 404)
    # The provider logs the user out.
    now = int(time.time())
    logout = site.provider.sign({"iss": site.provider.issuer, "aud": "shop", "iat": now, "exp": now + 60, "jti": secrets.token_hex(8), "sid": "there-1", "sub": "ann",
                                 "events": {"http://schemas.openid.net/event/backchannel-logout": {}}}, "logout+jwt")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert site.web.call("POST", "/auth/oidc/backchannel-logout", "logout_token=" + logout, headers=form).status == 200
    assert site.web.call("GET", "/pools", token=answer.json["access_token"]).code == "session_ended"
    assert site.web.call("POST", "/auth/oidc/backchannel-logout", "logout_token=" + logout, headers=form).status == 400
    refused = site.web.call("POST", "/auth/oidc/backchannel-logout", "logout_token=x.y.z", headers=form)
    assert refused.status == refused.json["status"] == 400 and "www-authenticate" not in refused.headers, refused


def test_bound_to_the_browser(site):
    """Somebody else's code in my browser, or mine in theirs: refused before the provider is asked."""
    url, cookie = begin(site)
    _, query = site.provider.authorize(url)
    asked = len(site.provider.asked)
    other = begin(site)[1]
    for given in (None, other, "backoffice_oidc=", "backoffice_oidc=x"):
        answer = back(site, query, given)
        assert answer.status == 400 and answer.code == "login_not_begun_here", answer
    assert back(site, {**query, "iss": "https://evil.test"}, cookie).code == "wrong_issuer"
    assert len(site.provider.asked) == asked
    assert back(site, {"state": query["state"]}, cookie).status == 403
    answer = back(site, {"state": query["state"], "error": "access_denied"}, cookie)
    assert answer.status == 403 and "access_denied" in answer.json["detail"], answer
    assert back(site, {"state": query["state"], "error": "<script>"}, cookie).json["detail"] == "the provider gave no code"


def test_provider_misbehaves(site):
    for behave in ("redirect", "large", "nonsense"):
        url, cookie = begin(site)
        _, query = site.provider.authorize(url)
        site.provider.behave = behave
        answer = back(site, query, cookie)
        site.provider.behave = "well"
        assert answer.status == 502 and answer.code == "oidc_exchange_failed", (behave, answer)
    url, cookie = begin(site)
    _, query = site.provider.authorize(url)
    assert back(site, {**query, "code": "guessed"}, cookie).status == 502


def test_slow_provider_holds_nobody_up(site):
    url, cookie = begin(site)
    _, query = site.provider.authorize(url)
    site.provider.behave = "slow"
    answers = []
    thread = threading.Thread(target=lambda: answers.append(back(site, query, cookie)))
    thread.start()
    time.sleep(0.3)
    assert all(site.web.call("GET", "/pools", token=site.token()).status == 200 for _ in range(20)) and not answers
    assert site.web.call("GET", "/health/ready").json["in_flight"] == 0
    thread.join()
    site.provider.behave = "well"
    assert answers[0].status == 502, answers


def test_inner_network(site):
    """Whoever may define an issuer cannot make the gateway talk to our own network: an address is judged when it is connected to."""
    with tempfile.TemporaryDirectory(prefix="backoffice-provider-") as folder:
        certificate, key = self_signed(folder)
        inner = Provider(certificate, key)
        define(site, inner)
        for settings, status in (({}, 502), ({"oidc_allow_networks": "127.0.0.0/8", "oidc_ca_file": certificate}, 200),
                                 ({"oidc_allow_networks": "127.0.0.0/8"}, 502), ({"oidc_allow_networks": "10.0.0.0/8", "oidc_ca_file": certificate}, 502)):
            gateway = site.gateway(public_url=site.url, **settings)
            url, cookie = begin(site, inner)
            query = inner.authorize(url, "ina")[1]
            before = inner.connections
            answer = gateway.call("GET", "/auth/oidc/callback?" + urllib.parse.urlencode(query), headers={"Cookie": cookie})
            assert answer.status == status, (settings, answer)
            reached = "127.0.0.0/8" in settings.values()
            assert (inner.connections > before) == reached and ("the address is not allowed" in gateway.text()) != reached, settings
        inner.server.shutdown()


def test_not_set_up(site):
    bare = site.gateway()
    assert bare.call("GET", "/auth/oidc/" + urllib.parse.quote(site.provider.issuer, safe="") + "/login").code == "oidc_not_configured"
    strict = site.gateway(public_url=site.url)
    assert site.web.call("GET", "/auth/oidc/https%3A%2F%2Fnobody.test/login").status == 404
    url, cookie = begin(site)
    _, query = site.provider.authorize(url)
    answer = strict.call("GET", "/auth/oidc/callback?" + urllib.parse.urlencode(query), headers={"Cookie": cookie})
    assert answer.status == 502, answer      # its provider has no TLS
    for gateway in site.gateways:
        text = gateway.text()
        assert "the+secret" not in text and "code_verifier" not in text and query["code"] not in text and query["state"] not in text
