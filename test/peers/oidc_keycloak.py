"""Keycloak itself: its tokens, its roles, its keys that rotate, its log-outs. The oidc worker fetches, the database verifies."""
import base64
import contextlib
import http.server
import json
import os
import re
import threading
import time
import urllib.parse

import psycopg2

from harness.browser import Browser
from harness.chromium import Chromium
from harness.gateway import Gateway
from harness.keycloak import Keycloak, request
from harness.pg import ROOT, Cluster, free_port
from harness.workers import Worker

REALM = os.path.join(ROOT, "test/peers/keycloak-realm.json")
SECRET = "backoffice-client-secret"


class Env:
    def __init__(self, pg, keycloak):
        self.pg, self.keycloak = pg, keycloak
        self.worker = None
        self.tokens = {}

    def query(self, sql, params=None, user="postgres"):
        return self.pg.query(sql, params, dbname="shop", user=user)

    def token(self, user="ann", client="backoffice-app", fresh=True):
        if fresh or (user, client) not in self.tokens:
            self.tokens[user, client] = self.keycloak.password_grant(client, user, user + "-secret",
                                                                     SECRET if client == "backoffice" else None)
        return self.tokens[user, client]

    def authenticate(self, token, then="SELECT user_id FROM (SELECT access.authenticate(%s) AS user_id) AS a", more=None, commit=True):
        """As PostgREST's or the gateway's role would: authenticate, then ask; (user, rows of more)."""
        conn = self.pg.connect("shop", user="web", autocommit=False)
        try:
            with conn.cursor() as cur:
                cur.execute(then, (token,))
                user = cur.fetchone()[0]
                rows = None
                if more:
                    cur.execute(more)
                    rows = cur.fetchall()
                if commit:
                    conn.commit()
                return user, rows
        finally:
            conn.close()

    def refusal(self, token):
        """The symbolic code of the error that the token meets."""
        try:
            self.authenticate(token)
        except psycopg2.Error as e:
            return e.diag.constraint_name
        return None

    def report(self):
        return (self.worker.text()[-4000:] if self.worker else "") + self.keycloak.tail_log(20)


def until(condition, timeout_s=20, what="what was waited for"):
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(what + " did not come")


class Receiver:
    """Takes the POSTs to the address that is the gateway's in the realm: [(path, form)]."""

    def __init__(self, base):
        self.posts = posts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                posts.append((self.path, dict(urllib.parse.parse_qsl(body))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", int(base.rsplit(":", 1)[1])), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()


def log_in(env, user="ann", browser=None):
    """The gateway's part of a log-in with a browser, by hand: (answer of oidc_complete, what Keycloak gave, state)."""
    redirect_uri = env.gateway + "/auth/oidc/callback"
    begun = env.query("SELECT access.oidc_begin(%s, %s)", (env.keycloak.issuer, redirect_uri), user="web")[0][0]
    browser = browser or Browser()
    page = browser.go("GET", begun["url"])
    assert page.status == 200, (page.status, page.text[:1000])
    where = browser.submit({"username": user, "password": user + "-secret"}, stop=redirect_uri)
    assert isinstance(where, str), (where.status, where.text[:1000])
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(where).query))
    assert query["state"] == begun["state"]
    pending = env.query("SELECT access.oidc_pending(%s)", (query["state"],), user="web")[0][0]
    answer = request("POST", pending["token_endpoint"], {
        "grant_type": "authorization_code", "code": query["code"], "redirect_uri": pending["redirect_uri"], "client_id": pending["client_id"],
        "client_secret": pending["client_secret"], "code_verifier": pending["code_verifier"]})
    assert answer.status == 200, answer.text
    given = answer.json()
    done = env.query("SELECT access.oidc_complete(%s, %s, %s)", (query["state"], given["id_token"], given["access_token"]), user="web")[0][0]
    return done, given, query["state"]


def part(token, n):
    text = token.split(".")[n]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@contextlib.contextmanager
def environment():
    gateway = f"http://127.0.0.1:{free_port()}"
    with Cluster({"backoffice.issuer_key_grace": "1s"}) as pg, Keycloak(REALM, GATEWAY=gateway) as keycloak:
        pg.create_database("shop")
        env = Env(pg, keycloak)
        env.gateway = gateway
        env.query("CREATE ROLE oidc LOGIN IN ROLE backoffice_worker")
        env.query("CREATE ROLE web LOGIN IN ROLE backoffice_user, backoffice_gateway")
        env.org = str(env.query("SELECT access.create_organization('shop')")[0][0])
        env.query("SELECT access.act_as(%s, NULL), access.define_role('cashier', ARRAY['certificates.redeem'])", (env.org,))
        env.query("SELECT access.define_issuer(%s, client_id => 'backoffice', client_secret => %s, audience => ARRAY['backoffice'],"
                  " role_map => %s, organization => %s, provision => true, redirect_uris => ARRAY[%s])",
                  (keycloak.issuer, SECRET, json.dumps({"shop-owner": "owner", "shop-clerk": "member", "backoffice/cashier": "cashier"}),
                   env.org, gateway + "/auth/oidc/callback"))
        env.worker = Worker("oidc", database=pg.dsn("shop", "oidc"), allow_http_loopback="on", poll_ms=200, heartbeat_ms=500).start()
        yield env
        env.worker.__exit__()


def test_keys_and_endpoints_are_fetched(env):
    keys = {key["kid"] for key in env.keycloak.jwks()["keys"] if key["use"] == "sig"}
    until(lambda: {r[0] for r in env.query("SELECT kid FROM access.token_keys WHERE issuer = %s", (env.keycloak.issuer,))} == keys)
    metadata = env.query("SELECT metadata FROM access.issuers")[0][0]
    assert metadata["token_endpoint"] == env.keycloak.endpoint("token")
    assert env.query("SELECT state FROM backoffice.workers WHERE worker = 'oidc'") == [("running",)]
    assert env.worker.get("/health")[0] == 200


def test_owner_is_taken_in_with_her_roles(env):
    assert env.query("SELECT count(*) FROM access.users")[0][0] == 0
    user, rows = env.authenticate(env.token("ann")["access_token"],
                                  more="SELECT access.can('access.manage_roles'), access.organization_id()::text")
    assert rows == [(True, env.org)], rows
    assert env.query("SELECT id, email FROM access.users") == [(user, "ann@shop.test")]
    # The same person at the next token, whichever client it came through.
    assert env.authenticate(env.token("ann", "backoffice")["access_token"])[0] == user
    assert env.query("SELECT count(*) FROM access.users")[0][0] == 1


def test_realm_roles_and_client_roles(env):
    user, rows = env.authenticate(env.token("bob")["access_token"],
                                  more="SELECT access.can('certificates.redeem'), access.can('access.read'), access.can('access.manage_roles')")
    assert rows == [(True, True, False)], rows
    roles = env.query("SELECT role FROM access.role_grants WHERE user_id = %s ORDER BY role", (user,))
    assert roles == [("cashier",), ("member",)], roles


def test_role_taken_away_in_keycloak(env):
    client = env.keycloak.client("backoffice")["id"]
    bob = env.keycloak.user("bob")["id"]
    role = env.keycloak.admin("GET", f"/clients/{client}/roles/cashier")
    env.keycloak.admin("DELETE", f"/users/{bob}/role-mappings/clients/{client}", [role])
    time.sleep(1.1)    # tokens are dated in whole seconds: an older one changes nothing
    _, rows = env.authenticate(env.token("bob")["access_token"], more="SELECT access.can('certificates.redeem'), access.can('access.read')")
    assert rows == [(False, True)], rows
    env.keycloak.admin("POST", f"/users/{bob}/role-mappings/clients/{client}", [role])
    time.sleep(1.1)
    _, rows = env.authenticate(env.token("bob")["access_token"], more="SELECT access.can('certificates.redeem')")
    assert rows == [(True,)], rows


def test_what_is_not_an_access_token_for_us(env):
    answer = env.token("ann")
    assert env.refusal(answer["access_token"]) is None
    assert env.refusal(env.token("bob", "elsewhere")["access_token"]) == "token_wrong_audience"
    assert env.refusal(answer["id_token"]) in ("token_wrong_type", "token_wrong_audience"), env.refusal(answer["id_token"])
    # Its audience is the back office itself: still not an access token.
    assert env.refusal(env.token("ann", "backoffice")["id_token"]) == "token_wrong_type"
    # Keycloak's refresh tokens are signed with a secret of its own.
    assert env.refusal(answer["refresh_token"]) in ("token_malformed", "token_unknown_key", "token_bad_signature", "token_wrong_type")
    head, claims, signature = answer["access_token"].split(".")
    assert env.refusal(f"{head}.{claims}.{signature[:-8]}AAAAAAAA") == "token_bad_signature"


def test_another_realm(env):
    """The same server, another issuer: nobody defined it."""
    answer = env.keycloak.master_token()["access_token"]
    assert part(answer, 1)["iss"].endswith("/realms/master")
    assert env.refusal(answer) in ("token_unknown_key", "token_wrong_issuer")


def test_service_account(env):
    """A client that logs in as itself: a subject like any other, without roles here."""
    token = env.keycloak.grant(grant_type="client_credentials", client_id="backoffice", client_secret=SECRET)["access_token"]
    _, rows = env.authenticate(token, more="SELECT access.can('access.manage_roles')")
    assert rows == [(False,)], rows


def test_rotated_key_is_found_by_its_unknown_id(env):
    before = env.token("ann")["access_token"]
    fetches = env.worker.metric("backoffice_oidc_fetches_total")
    env.keycloak.add_signing_key(500)
    after = env.token("ann")["access_token"]
    assert part(after, 0)["kid"] != part(before, 0)["kid"]
    assert env.refusal(after) == "token_unknown_key"
    start = time.time()
    until(lambda: env.refusal(after) is None, 30, "the new key")
    print(f"        new key usable {time.time() - start:.2f} s after its first token", flush=True)
    # One more document, the key set; and the old key verifies as long as Keycloak shows it.
    assert env.worker.metric("backoffice_oidc_fetches_total") == fetches + 1
    assert env.refusal(before) is None


def test_unknown_ids_do_not_make_us_ask_all_the_time(env):
    fetches = env.worker.metric("backoffice_oidc_fetches_total")
    head, claims, signature = env.token("ann")["access_token"].split(".")
    for n in range(50):
        fake = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "typ": "JWT", "kid": f"nonsense-{n}"}).encode()).rstrip(b"=").decode()
        assert env.refusal(f"{fake}.{claims}.{signature}") == "token_unknown_key"
        time.sleep(0.05)
    assert env.worker.metric("backoffice_oidc_fetches_total") <= fetches + 1


def test_key_taken_out_of_use(env):
    """A passive key is in the set no longer when it is disabled: its tokens are refused once the keys were fetched again."""
    old = env.token("ann")["access_token"]
    component = next(c for c in env.keycloak.key_components() if c["name"] == "key-500")
    env.keycloak.add_signing_key(600)
    component["config"].update({"enabled": ["false"], "active": ["false"]})
    env.keycloak.admin("PUT", "/components/" + component["id"], component)
    env.query("UPDATE access.issuers SET keys_at = keys_at - interval '1 day'")
    until(lambda: env.refusal(old) == "token_unknown_key", 30, "a refusal")
    until(lambda: env.refusal(env.token("ann")["access_token"]) is None, 70)


def test_log_in_with_code_and_pkce(env):
    done, given, state = log_in(env)
    assert done["status"] == "ok" and done["user"]["email"] == "ann@shop.test", done
    assert env.authenticate(done["access_token"], more="SELECT access.can('access.manage_roles')")[1] == [(True,)]
    # Once: neither the state nor the identity token of one log-in serves another.
    for sql, arguments in (("SELECT access.oidc_pending(%s)", (state,)),
                           ("SELECT access.oidc_complete(%s, %s)", (state, given["id_token"]))):
        try:
            env.query(sql, arguments, user="web")
            raise AssertionError("a state served twice")
        except psycopg2.Error as e:
            assert e.diag.constraint_name == "unknown_login", e


def test_an_identity_token_of_another_log_in(env):
    _, given, _ = log_in(env)
    begun = env.query("SELECT access.oidc_begin(%s, %s)", (env.keycloak.issuer, env.gateway + "/auth/oidc/callback"), user="web")[0][0]
    env.query("SELECT access.oidc_pending(%s)", (begun["state"],), user="web")
    try:
        env.query("SELECT access.oidc_complete(%s, %s)", (begun["state"], given["id_token"]), user="web")
        raise AssertionError("the nonce of another log-in was taken")
    except psycopg2.Error as e:
        assert e.diag.constraint_name in ("token_malformed", "token_wrong_type", "token_wrong_audience", "token_bad_nonce"), e


def test_redirect_elsewhere_is_refused(env):
    try:
        env.query("SELECT access.oidc_begin(%s, 'https://evil.test/callback')", (env.keycloak.issuer,), user="web")
        raise AssertionError("a redirect to somebody else")
    except psycopg2.Error as e:
        assert e.diag.constraint_name == "bad_redirect_uri", e


def test_log_out_in_keycloak_ends_the_session_here(env):
    with Receiver(env.gateway) as receiver:
        done, given, _ = log_in(env)
        assert env.refusal(done["access_token"]) is None and env.refusal(given["access_token"]) is None
        others = env.token("bob")["access_token"]
        env.keycloak.admin("DELETE", "/sessions/" + part(given["access_token"], 1)["sid"])
        path, form = until(lambda: receiver.posts and receiver.posts[-1], what="Keycloak's back-channel log-out")
    assert path == "/auth/oidc/backchannel-logout" and part(form["logout_token"], 1)["typ"] == "Logout", form
    assert env.query("SELECT access.backchannel_logout(%s)", (form["logout_token"],), user="web") == [(1,)]
    # From the next transaction on: our token, and Keycloak's own of that session. Other people's sessions go on.
    assert env.refusal(done["access_token"]) == "session_ended"
    assert env.refusal(given["access_token"]) == "session_ended"
    assert env.query("SELECT access.refresh(%s)", (done["refresh_token"],))[0][0]["status"] != "ok"
    assert env.refusal(others) is None
    try:
        env.query("SELECT access.backchannel_logout(%s)", (form["logout_token"],), user="web")
        raise AssertionError("a log-out token served twice")
    except psycopg2.Error as e:
        assert e.diag.constraint_name == "logout_token_replayed", e


def test_what_is_not_a_log_out_token(env):
    answer = env.token("ann", "backoffice")
    for token in (answer["access_token"], answer["id_token"], "nonsense"):
        try:
            env.query("SELECT access.backchannel_logout(%s)", (token,), user="web")
            raise AssertionError("taken for a log-out")
        except psycopg2.Error as e:
            assert e.diag.constraint_name.startswith("token_"), e
    assert env.refusal(answer["access_token"]) is None


@contextlib.contextmanager
def gateway(env):
    """The gateway at the address that the realm knows it by."""
    with Gateway(database=env.pg.dsn("shop", "web"), port=int(env.gateway.rsplit(":", 1)[1]), public_url=env.gateway, oidc_insecure="on",
                 heartbeat_ms=500) as server:
        server.ready()
        try:
            yield server
        except BaseException:
            print(server.text()[-3000:], flush=True)
            raise


def login_address(env):
    return env.gateway + "/auth/oidc/" + urllib.parse.quote(env.keycloak.issuer, safe="") + "/login"


def test_through_the_gateway(env):
    """A browser is sent to Keycloak and comes back with a log-in; Keycloak's log-out reaches the gateway and ends it."""
    with gateway(env) as server:
        browser = Browser()
        page = browser.go("GET", login_address(env))
        assert browser.url.startswith(env.keycloak.base) and page.status == 200, (browser.url, page.status, page.text[:500])
        answer = browser.submit({"username": "bob", "password": "bob-secret"})
        assert answer.status == 200 and browser.url.startswith(env.gateway + "/auth/oidc/callback?"), (browser.url, answer.text[:1000])
        done = answer.json()
        me = server.call("GET", "/auth/me", token=done["access_token"])
        assert me.status == 200 and "bob@shop.test" in me.body.decode(), me
        # Coming back a second time, or into another browser, is no log-in.
        assert browser.ask("GET", browser.url).status == 400
        assert Browser().ask("GET", browser.url).status == 400

        keycloaks = env.token("bob")["access_token"]
        assert server.call("GET", "/auth/me", token=keycloaks).status == 200
        for session in env.keycloak.admin("GET", f"/users/{env.keycloak.user('bob')['id']}/sessions"):
            if "backoffice" in session["clients"].values():
                env.keycloak.admin("DELETE", "/sessions/" + session["id"])
        until(lambda: server.call("GET", "/auth/me", token=done["access_token"]).status == 401, what="the end of the session")
        assert server.call("GET", "/auth/me", token=done["access_token"]).code == "session_ended"
        refreshed = server.call("POST", "/auth/refresh", {"refresh_token": done["refresh_token"]})
        assert refreshed.status == 401, refreshed
        # That log-in was through another client, which has no such address: it goes on.
        assert server.call("GET", "/auth/me", token=keycloaks).status == 200
        assert server.call("POST", "/auth/oidc/backchannel-logout", "logout_token=nonsense",
                           headers={"Content-Type": "application/x-www-form-urlencoded"}).status == 400


def test_wrong_password_and_back(env):
    with gateway(env):
        browser = Browser()
        browser.go("GET", login_address(env))
        answer = browser.submit({"username": "bob", "password": "wrong"})
        assert browser.url.startswith(env.keycloak.base) and answer.status == 200
        answer = browser.submit({"username": "bob", "password": "bob-secret"})
        assert answer.status == 200 and answer.json()["access_token"]


def test_a_real_browser(env):
    """Chromium follows the redirects, keeps the cookies, runs Keycloak's page."""
    with gateway(env) as server, Chromium() as browser:
        browser.open(login_address(env))
        browser.wait("return document.querySelector('#username') !== null && document.readyState === 'complete'")
        assert browser.script("return location.origin") == env.keycloak.base
        browser.script("document.querySelector('#username').value = 'ann'; document.querySelector('#password').value = 'ann-secret';"
                       " document.querySelector('#kc-form-login').requestSubmit()")
        browser.wait("return location.pathname === '/auth/oidc/callback' && document.body.innerText.includes('access_token')")
        done = json.loads(browser.script("return document.body.innerText"))
        assert server.call("GET", "/auth/me", token=done["access_token"]).status == 200
        # The cookie that bound the log-in to this browser is gone, and was never a script's.
        assert browser.script("return document.cookie") == ""


def partner(env):
    """A company that speaks SAML only: a realm with one user, who is one of its cashiers, and a client that is Keycloak of the shop."""
    keycloak = env.keycloak
    keycloak.create_realm("partner", roles={"realm": [{"name": "cashiers"}]}, users=[{
        "username": "carla", "enabled": True, "email": "carla@partner.test", "emailVerified": True, "firstName": "Carla", "lastName": "Cash",
        "credentials": [{"type": "password", "value": "carla-secret", "temporary": False}], "realmRoles": ["cashiers"]}])
    config = keycloak.admin("POST", "/identity-provider/import-config",
                            {"providerId": "saml", "fromUrl": f"{keycloak.base}/realms/partner/protocol/saml/descriptor"})
    config.update({"nameIDPolicyFormat": "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "wantAssertionsSigned": "true",
                   "validateSignature": "true", "principalType": "SUBJECT"})
    keycloak.admin("POST", "/identity-provider/instances", {"alias": "partner", "providerId": "saml", "enabled": True, "trustEmail": True,
                                                            "config": config})
    for name, kind, mapping in (
            ("e-mail", "saml-user-attribute-idp-mapper", {"attribute.name": "email", "user.attribute": "email"}),
            ("first", "saml-user-attribute-idp-mapper", {"attribute.name": "firstName", "user.attribute": "firstName"}),
            ("last", "saml-user-attribute-idp-mapper", {"attribute.name": "lastName", "user.attribute": "lastName"}),
            ("cashiers", "saml-role-idp-mapper", {"attribute.name": "Role", "attribute.value": "cashiers", "role": "backoffice.cashier"})):
        keycloak.admin("POST", "/identity-provider/instances/partner/mappers", {
            "name": name, "identityProviderAlias": "partner", "identityProviderMapper": kind, "config": {"syncMode": "FORCE", **mapping}})
    properties = [{"name": name, "protocol": "saml", "protocolMapper": "saml-user-property-mapper",
                   "config": {"user.attribute": name, "attribute.name": name}} for name in ("email", "firstName", "lastName")]
    keycloak.admin("POST", "/clients", {
        "clientId": env.keycloak.issuer, "protocol": "saml", "enabled": True, "frontchannelLogout": True,
        "redirectUris": [env.keycloak.issuer + "/broker/partner/endpoint*"], "protocolMappers": properties,
        "attributes": {"saml.assertion.signature": "true", "saml.server.signature": "true", "saml.client.signature": "false",
                       "saml.force.post.binding": "true", "saml_name_id_format": "persistent"}}, realm="partner")


def test_saml_through_keycloak(env):
    """The log-in goes gateway, Keycloak, the partner's SAML, and back: somebody that only the partner knows is taken in with her role."""
    partner(env)
    with gateway(env) as server:
        browser = Browser()
        page = browser.go("GET", login_address(env))
        link = re.search(r'href="([^"]*/broker/partner/login[^"]*)"', page.text).group(1).replace("&amp;", "&")
        answer = browser.go("GET", urllib.parse.urljoin(browser.url, link))
        for _ in range(8):
            if browser.url.startswith(env.gateway):
                break
            # A script would send the forms that carry SAML's messages by itself.
            own = "name=\"password\"" in answer.text
            answer = browser.submit({"username": "carla", "password": "carla-secret"} if own else {})
        assert browser.url.startswith(env.gateway + "/auth/oidc/callback") and answer.status == 200, (browser.url, answer.status, answer.text[-2000:])
        me = server.call("GET", "/auth/me", token=answer.json()["access_token"])
        assert me.status == 200 and "carla@partner.test" in me.body.decode() and "certificates.redeem" in me.body.decode(), me


def test_disabled_user_and_client(env):
    ann = env.keycloak.user("ann")
    env.keycloak.admin("PUT", "/users/" + ann["id"], {**ann, "enabled": False})
    try:
        env.token("ann")
        raise AssertionError("Keycloak gave a token to a disabled user")
    except RuntimeError as e:
        assert "disabled" in str(e)
    env.keycloak.admin("PUT", "/users/" + ann["id"], {**ann, "enabled": True})
    env.keycloak.change_client("backoffice-app", enabled=False)
    try:
        env.token("ann")
        raise AssertionError("Keycloak gave a token to a disabled client")
    except RuntimeError as e:
        assert "client" in str(e)
    env.keycloak.change_client("backoffice-app", enabled=True)


def test_issuer_disabled_here(env):
    """Whoever turns the issuer off turns off all its tokens, also those verified before, from the next transaction on."""
    token = env.token("ann")["access_token"]
    assert env.refusal(token) is None
    env.query("SELECT access.disable_issuer(%s)", (env.keycloak.issuer,))
    assert env.refusal(token) in ("token_unknown_key", "token_wrong_issuer")
