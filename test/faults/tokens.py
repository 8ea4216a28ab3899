"""access: tokens over several sessions of the database: our own, an OpenID provider's, API keys; what is stale, what is killed."""
import hashlib
import json
import os
import subprocess
import threading
import time
import urllib.parse

import psycopg2

from faults.access import standby_of, wait_for_replay
from harness.signer import Issuer, Rs256
from harness.jws import decode, encode, sign_hs256, verify
from harness.pg import Cluster
from harness.pipeline import Pipeline

SETUP = """
CREATE ROLE web LOGIN;
GRANT backoffice_gateway TO web;
SELECT access.define_permission('shop.sell', 'sell');
SELECT access.define_permission('shop.close', 'close', aal2 => true);
SELECT access.create_organization('Acme') AS acme \\gset
SELECT access.create_organization('Bolt') AS bolt \\gset
SELECT access.create_user('ann@acme.test', 'correct horse', :'acme') AS ann \\gset
SELECT access.define_role('clerk', '{shop.*}', '{}', :'acme');
SELECT access.define_role('guest', '{access.read}', '{}', :'acme');
SELECT access.grant_role(:'ann', 'clerk', organization => :'acme');
"""


class Shop:
    """A cluster with two organizations and Ann, who may log in."""

    def __init__(self, **conf):
        self.pg = Cluster(conf=conf)

    def __enter__(self):
        self.pg.__enter__()
        self.pg.create_database("shop")
        self.pg.psql("shop", SETUP)
        self.acme = self.one("SELECT id FROM access.organizations WHERE name = 'Acme'")
        return self

    def __exit__(self, *exc):
        self.pg.__exit__(*exc)

    def connect(self, user="postgres"):
        return self.pg.connect("shop", user)

    def one(self, sql, params=None):
        rows = self.pg.query(sql, params, dbname="shop")
        return rows[0][0] if rows else None

    def login(self):
        return self.one("SELECT access.login('ann@acme.test', 'correct horse')")


def code(conn, sql, params=()):
    """The symbolic code of the error, or the first value."""
    with conn.cursor() as cur:
        try:
            cur.execute(sql, params)
            return cur.fetchone()[0]
        except psycopg2.Error as e:
            assert e.diag.constraint_name, e
            return e.diag.constraint_name


def authenticate(conn, token):
    """In a transaction of its own."""
    return code(conn, "SELECT access.authenticate(%s)", (token,))


def expect(got, wanted, what):
    assert got == wanted, f"{what}: {got}, not {wanted}"


def case_own_tokens():
    with Shop() as shop:
        conn = shop.connect()
        answer = shop.login()
        token, ann = answer["access_token"], answer["user"]["id"]
        keys = shop.one("SELECT access.jwks()")["keys"]
        expect(len(keys), 2, "keys: the current and the next one")
        claims = verify(token, keys)
        expect({k: claims[k] for k in ("iss", "aud", "sub", "org", "role", "aal", "amr", "sid")},
               {"iss": "backoffice", "aud": "backoffice", "sub": ann, "org": shop.acme, "role": "backoffice_user", "aal": "aal1",
                "amr": ["pwd"], "sid": answer["session_id"]}, "claims")
        expect(claims["exp"] - claims["iat"], 600, "lifetime")
        expect(authenticate(conn, token), ann, "our own token")
        expect(authenticate(conn, token), ann, "from the cache")
        attacks(conn, token, keys)

        # Rotation: with overlap, to another algorithm in two steps.
        first = json.loads(decode(token.split(".")[0]))["kid"]
        second = shop.one("SELECT access.rotate_signing_key('EdDSA')")
        assert second != first and second in [k["kid"] for k in keys], "the next key was published before"
        expect(authenticate(conn, token), ann, "a token of the retired key, cached or not")
        assert first in [k["kid"] for k in shop.one("SELECT access.jwks()")["keys"]], "the retired key is still published"
        for algorithm, following in (("ES256", "PS256"), ("EdDSA", "RS256"), ("PS256", "ES256"), ("RS256", "ES256")):
            newer = shop.login()["access_token"]
            expect(json.loads(decode(newer.split(".")[0]))["alg"], algorithm, "algorithm of new tokens")
            expect(authenticate(conn, newer), ann, f"a token of {algorithm}")
            shop.one("SELECT access.rotate_signing_key(%s)", (following,))
        expect(authenticate(conn, token), ann, "four rotations later")

        # Its time is over: the token's, then the retired keys'.
        for later, wanted in (("625 s", ann), ("631 s", "token_expired")):
            shop.pg.query(f"ALTER DATABASE shop SET backoffice.frozen_now = '{shop.one('SELECT now() + %s::interval', (later,))}'")
            fresh = shop.connect()
            expect(authenticate(fresh, token), wanted, "after " + later)
            fresh.close()
        shop.pg.query(f"ALTER DATABASE shop SET backoffice.frozen_now = '{shop.one('SELECT now() + %s::interval', ('2 hours',))}'")
        expect(authenticate(shop.connect(), token), "token_unknown_key", "after two hours the key is forgotten")
        expect(len(shop.one("SELECT access.jwks()")["keys"]), 2, "and no longer published")


def attacks(conn, token, keys):
    head, body, signature = token.split(".")
    raw = decode(signature)
    header, claims = json.loads(decode(head)), json.loads(decode(body))
    data = f"{head}.{body}"
    r, s = raw[:32].lstrip(b"\0"), raw[32:].lstrip(b"\0")
    r, s = (b"\0" + v if v[0] & 0x80 else v for v in (r, s))
    der = b"\x30" + bytes([4 + len(r) + len(s)]) + b"\x02" + bytes([len(r)]) + r + b"\x02" + bytes([len(s)]) + s
    for what, bad in {"DER signature": der, "one byte less": raw[:-1], "one byte more": raw + b"\0", "96 bytes": raw + raw[:32],
                      "all zero": bytes(64), "r zero": bytes(32) + raw[32:], "swapped": raw[32:] + raw[:32]}.items():
        expect(authenticate(conn, data + "." + encode(bad)), "token_bad_signature", what)
    # The last digit of 64 bytes carries four bits that must be zero.
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1])
    expect(authenticate(conn, token[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last + 1]),
           "token_malformed", "another spelling of the same signature")
    # The public key, in every form somebody might take for a secret.
    jwk = next(k for k in keys if k["kid"] == header["kid"])
    for secret in (json.dumps(jwk).encode(), decode(jwk["x"]) + decode(jwk["y"]), b"\x04" + decode(jwk["x"]) + decode(jwk["y"])):
        expect(authenticate(conn, sign_hs256(claims, secret, typ="at+jwt", kid=header["kid"])), "token_bad_signature", "HS256 with the public key")
    other = encode(json.dumps({**claims, "sub": claims["org"]}).encode())
    expect(authenticate(conn, f"{head}.{other}.{signature}"), "token_bad_signature", "other claims")
    for change, wanted in (({"typ": "JWT"}, "token_bad_signature"), ({"kid": "nobody"}, "token_unknown_key"), ({"alg": "none"}, "token_malformed")):
        changed = encode(json.dumps({**header, **change}).encode())
        expect(authenticate(conn, f"{changed}.{body}.{signature}"), wanted, f"header with {change}")
    expect(authenticate(conn, data + "."), "token_malformed", "no signature")


def case_stale():
    """What was remembered is refused in the first transaction that begins after the COMMIT."""
    with Shop() as shop:
        conn, other = shop.connect(), shop.connect()
        answer = shop.login()
        token, ann = answer["access_token"], answer["user"]["id"]
        expect(authenticate(conn, token), ann, "before")
        # An open transaction of REPEATABLE READ, begun before the end, goes by what is true when it asks.
        old = shop.connect()
        with old.cursor() as cur:
            cur.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM access.organizations")
            expect(authenticate(other, token), ann, "in another backend")
            shop.one("SELECT access.end_session(%s)", (answer["session_id"],))
            expect(authenticate(conn, token), "session_ended", "a session that was ended")
            expect(authenticate(other, token), "session_ended", "everywhere")
            expect(code(old, "SELECT access.authenticate(%s)", (token,)), "session_ended", "and under an old snapshot")
            cur.execute("ROLLBACK")
        expect(authenticate(conn, token), "session_ended", "for good")

        # Rolled back, the end of a session is none.
        answer = shop.login()
        token = answer["access_token"]
        expect(authenticate(conn, token), ann, "a new session")
        with other.cursor() as cur:
            cur.execute("BEGIN; SELECT access.end_session(%s)", (answer["session_id"],))
            expect(authenticate(conn, token), ann, "while the end is not committed")
            cur.execute("ROLLBACK")
        expect(authenticate(other, token), ann, "an end that was rolled back")

        # A key that is taken away.
        secret = "s" * 40
        shop.one("SELECT access.add_verification_key('svc', 'HS256', %s)", (secret,))
        given = sign_hs256({"sub": ann, "exp": int(time.time()) + 300}, secret.encode(), kid="svc")
        expect(authenticate(conn, given), ann, "a given key")
        shop.one("SELECT access.remove_verification_key('svc')")
        expect(authenticate(conn, given), "token_unknown_key", "a key that was taken away")
        # The same id with another secret does not bring it back.
        shop.one("SELECT access.add_verification_key('svc', 'HS256', %s)", ("t" * 40,))
        expect(authenticate(conn, given), "token_bad_signature", "the id with another key")

        # A role that is revoked.
        with conn.cursor() as cur:
            cur.execute("SELECT access.authenticate(%s); SELECT access.can('shop.sell')", (token,))
            expect(cur.fetchone()[0], True, "before the revoke")
            shop.one("SELECT access.revoke_role(%s, 'clerk', %s)", (ann, shop.acme))
            cur.execute("SELECT access.authenticate(%s); SELECT access.can('shop.sell')", (token,))
            expect(cur.fetchone()[0], False, "after it")

        # Another issuer's name makes the tokens of the old one strange.
        shop.pg.query("ALTER SYSTEM SET backoffice.token_issuer = 'elsewhere'")
        shop.pg.query("SELECT pg_reload_conf()")
        deadline = time.time() + 10
        while authenticate(conn, token) != "token_wrong_issuer":
            assert time.time() < deadline, "the setting has no effect"
            time.sleep(0.05)


def case_cache():
    """Memory for verified tokens is bounded, and what is used stays in it."""
    with Shop() as shop:
        ann = shop.login()["user"]["id"]
        shop.one("SELECT access.add_verification_key('svc', 'HS256', %s)", ("s" * 40,))
        now = int(time.time())
        tokens = [sign_hs256({"sub": ann, "exp": now + 300, "jti": str(i), "x": "y" * 2000}, b"s" * 40, kid="svc") for i in range(1000)]
        conn = shop.connect()
        used = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'backoffice verified tokens%'"
        with conn.cursor() as cur:
            for kb, limit in ((64, 300000), (1024, 1300000), (4096, 4500000)):
                cur.execute(f"SET backoffice.token_cache_memory = {kb}")
                for token in tokens:
                    expect(authenticate(conn, token), ann, "any of them")
                    expect(authenticate(conn, tokens[0]), ann, "the one that is used")
                cur.execute(used)
                size = cur.fetchone()[0]
                assert 0 < size < limit, f"{size} bytes with {kb} kB"


def case_keeper():
    """What the keeper does: rotates old keys, writes down when API keys were used, forgets log-ins that never came back."""
    with Shop(**{"backoffice.signing_key_lifetime": "'1s'"}) as shop:
        token = shop.login()["access_token"]
        kid = json.loads(decode(token.split(".")[0]))["kid"]
        issuer = Issuer("https://id.test")
        provider(shop, issuer)
        shop.one("SELECT access.oidc_begin(%s, 'https://shop.test/')", (issuer.name,))
        shop.pg.query("UPDATE access.oidc_logins SET expires_at = now() - interval '1 s'", dbname="shop")
        key = shop.one("SELECT access.create_api_key('k', '{shop.sell}', organization => %s)", (shop.acme,))["key"]
        expect(authenticate(shop.connect(), key), None, "used")
        deadline = time.time() + 90
        state = "SELECT (SELECT state FROM access.token_keys WHERE kid = %s), (SELECT last_used_at IS NOT NULL FROM access.api_key_records), (SELECT count(*) FROM access.oidc_logins)"
        while shop.pg.query(state, (kid,), dbname="shop") != [("retired", True, 0)]:
            assert time.time() < deadline, shop.pg.query(state, (kid,), dbname="shop")
            time.sleep(0.5)
        assert len(authenticate(shop.connect(), token)) == 36, "the token of the retired key is good"


def case_requests():
    """begin_request(): settings, roles, read-only; nothing of it outlives the transaction."""
    with Shop() as shop:
        token = shop.login()["access_token"]
        web = shop.connect("web")
        begin = "SELECT access.begin_request(%s, NULL, %s, 'GET', '/certificates', '{\"x-request-id\":\"r1\"}', '{}')"
        names = ("role", "request.method", "request.path", "request.headers", "request.cookies", "response.status", "transaction_read_only")
        show = "SELECT " + ", ".join(f"current_setting('{name}')" for name in names)

        def request(token, read_only, more=show):
            """In one simple query: one implicit transaction, as in a pipeline."""
            with web.cursor() as cur:
                cur.execute("BEGIN; " + begin, (token, read_only))
                label = cur.fetchone()[0]
                cur.execute(more)
                row = cur.fetchone()
                cur.execute("ROLLBACK")
            return label, row

        label, row = request(token, True)
        assert label.startswith("user:"), label
        expect(row, ("backoffice_user", "GET", "/certificates", '{"x-request-id":"r1"}', "{}", "", "on"), "settings")
        expect(request(None, False)[1][0], "backoffice_anon", "without a token")
        expect(request(None, False, "SELECT access.user_id()"), ("anon", (None,)), "nobody acts")
        claims = json.loads(request(token, False, "SELECT current_setting('request.jwt.claims')")[1][0])
        expect(claims["role"], "backoffice_user", "claims")
        with web.cursor() as cur:
            cur.execute(show)
            expect(cur.fetchone(), ("none", "", "", "", "", "", "off"), "afterwards")
            cur.execute("SELECT access.user_id()")
            expect(cur.fetchone(), (None,), "nobody acts afterwards")
        expect(code(web, begin, ("x", False)), "token_malformed", "a bad token")
        # As PostgREST's: the claim names a role.
        shop.one("SELECT access.add_verification_key(NULL, 'HS256', %s, role_claim => 'app.role', expires_required => false)", ("p" * 32,))
        for role, wanted in (("backoffice_anon", None), ("backoffice_admin", "42501"), ("nobody_here", "22023")):
            with web.cursor() as cur:
                try:
                    cur.execute("BEGIN; " + begin, (sign_hs256({"app": {"role": role}, "sub": "x"}, b"p" * 32), False))
                    label = cur.fetchone()[0]
                    cur.execute("SELECT current_setting('role'), access.user_id(), current_setting('request.jwt.claims')::json->>'role'")
                    expect((label, cur.fetchone()), ("subject:/x", (role, None, role)), "a claimed role")
                    assert wanted is None
                except psycopg2.Error as e:
                    expect(e.pgcode, wanted, f"role {role}")
                cur.execute("ROLLBACK")


def case_pipeline():
    """Requests stacked on one connection: each is a transaction, and an error stays with its request, also one that only the commit finds."""
    with Shop() as shop:
        answer = shop.login()
        shop.pg.psql("shop", "CREATE TABLE public.a (id int PRIMARY KEY); CREATE TABLE public.b (a int REFERENCES public.a DEFERRABLE INITIALLY DEFERRED);"
                             "GRANT ALL ON public.a, public.b TO backoffice_user, backoffice_anon")
        begin = "SELECT access.begin_request($1, NULL, $2, 'POST', '/x', '{}', '{}') IS NOT NULL"
        who = "SELECT current_user, access.user_id(), current_setting('transaction_read_only'), current_setting('request.method')"
        ann, nobody = answer["user"]["id"], ("backoffice_anon", None, "off", "POST")
        with Pipeline(shop.pg.dsn("shop", "web")) as pipe:
            for token, read_only, call in ((answer["access_token"], "f", "INSERT INTO public.b VALUES (1)"), (None, "f", who),
                                           ("bad", "f", who), (answer["access_token"], "t", who), (answer["access_token"], "t", "INSERT INTO public.a VALUES (1)"),
                                           (answer["access_token"], "f", "INSERT INTO public.a VALUES (2)"), (None, "f", who)):
                pipe.send(begin, token, read_only)
                pipe.send(call)
                pipe.sync()
            expect(pipe.results(), [("ok", [("t",)]), ("ok", []), ("error", "23503", "b_a_fkey")], "a constraint that the commit finds broken")
            expect(pipe.results(), [("ok", [("t",)]), ("ok", [nobody])], "the request behind it")
            expect(pipe.results(), [("error", "PT401", "token_malformed"), ("aborted",)], "a bad token: nothing is called")
            expect(pipe.results(), [("ok", [("t",)]), ("ok", [("backoffice_user", ann, "on", "POST")])], "read-only")
            expect(pipe.results(), [("ok", [("t",)]), ("error", "25006", None)], "writing in it")
            expect(pipe.results(), [("ok", [("t",)]), ("ok", [])], "not in the next")
            expect(pipe.results(), [("ok", [("t",)]), ("ok", [nobody])], "nothing is left of any")
        expect((shop.one("SELECT array_agg(id) FROM public.a"), shop.one("SELECT count(*) FROM public.b")), ([2], 0), "what was committed")


def case_nowhere():
    """A user who belongs to no organization: no rights, but its own account; repeated requests too."""
    with Shop() as shop:
        shop.one("SELECT access.create_user('new@nowhere.test', 'correct horse')")
        token = shop.one("SELECT access.login('new@nowhere.test', 'correct horse')")["access_token"]
        web = shop.connect("web")

        def request(call, key=None):
            with web.cursor() as cur:
                cur.execute("BEGIN; SELECT access.begin_request(%s, NULL, false, 'POST', '/x', %s, '{}')",
                            (token, json.dumps({"idempotency-key": key} if key else {})))
                got = code(web, call)
                cur.execute("COMMIT")
                return got

        expect(request("SELECT api.pools()"), "permission_denied", "nothing of a tenant's")
        expect(request("SELECT api.me()")["user"]["email"], "new@nowhere.test", "itself")
        first = request("SELECT api.mfa_enroll('phone')", "k1")
        expect(request("SELECT api.mfa_enroll('phone')", "k1"), first, "the same answer again")
        expect(request("SELECT api.mfa_enroll('other')", "k1"), "idempotency_conflict", "another request with that key")
        expect(request("SELECT api.logout()"), {"ended": True}, "logged out")


def provider(shop, issuer, **options):
    arguments = {"issuer": issuer.name, "client_id": "backoffice", "algorithms": ["ES256", "RS256"], **options}
    names = ", ".join(f"{name} => %({name})s" for name in arguments)
    shop.one(f"SELECT access.define_issuer({names})", {**arguments, **({"role_map": json.dumps(options["role_map"])} if "role_map" in options else {})})
    metadata = {"authorization_endpoint": issuer.name + "/auth?x=1", "token_endpoint": issuer.name + "/token"}
    shop.one("SELECT access.set_issuer_keys(%s, %s, 300, %s)", (issuer.name, json.dumps(issuer.jwks()), json.dumps(metadata)))


def due(shop):
    return [row[0] for row in shop.pg.query("SELECT issuer FROM access.issuers_due()", dbname="shop")]


def freeze(shop, after):
    shop.pg.query(f"ALTER DATABASE shop SET backoffice.frozen_now = '{shop.one('SELECT now() + %s::interval', (after,))}'")


def case_issuer():
    with Shop() as shop:
        conn = shop.connect()
        issuer = Issuer("https://id.test/realms/shop")
        expect(authenticate(conn, issuer.token({"sub": "s1", "azp": "backoffice"})), "token_unknown_key", "an issuer nobody knows")
        expect(due(shop), [], "and nobody fetches its keys")
        shop.one("SELECT access.define_issuer(%s, 'backoffice')", (issuer.name,))
        expect(due(shop), [issuer.name], "keys never fetched")
        roles = {"admin": "clerk", "backoffice/viewer": "guest", "boss": "no-such-role"}
        provider(shop, issuer, role_map=roles, organization=shop.acme, provision=True)
        expect(due(shop), [], "fetched")

        def token(**claims):
            return issuer.token({"sub": "s1", "azp": "backoffice", "typ": "Bearer", "email": "eve@acme.test", "email_verified": True, **claims})

        def rights(text):
            with conn.cursor() as cur:
                cur.execute("BEGIN; SELECT access.authenticate(%s)", (text,))
                user = cur.fetchone()[0]
                cur.execute("SELECT access.can('shop.sell'), access.can('access.read'), access.organization_id()")
                row = cur.fetchone()
                cur.execute("COMMIT")
            return (user,) + row

        for claims, wanted in (({"azp": "other"}, "token_wrong_audience"), ({"typ": "ID"}, "token_wrong_type"), ({"at_hash": "x"}, "token_wrong_type"),
                               ({"sub": None}, "token_malformed"), ({"exp": None}, "token_malformed"), ({"exp": 1}, "token_expired"),
                               ({"nbf": int(time.time()) + 100}, "token_not_yet_valid"), ({"iss": "https://id.test/realms/other"}, "token_unknown_key")):
            expect(authenticate(conn, token(**claims)), wanted, str(claims))
        expect(authenticate(conn, issuer.token({"sub": "s1", "azp": "backoffice"}, header={"typ": "logout+jwt"})), "token_wrong_type", "header typ")
        expect(shop.one("SELECT count(*) FROM access.users"), 1, "nobody was taken in by them")

        # Rolled back, a user was not taken in; nothing of it is remembered.
        realm = {"realm_access": {"roles": ["admin", "other", 7, "boss"]}}
        first = token(**realm)
        with conn.cursor() as cur:
            cur.execute("BEGIN; SELECT access.authenticate(%s); ROLLBACK", (first,))
        expect(shop.one("SELECT count(*) FROM access.users"), 1, "rolled back")
        eve, *may = rights(first)
        expect(may, [True, False, shop.acme], "the mapped role")
        expect(rights(first), (eve, True, False, shop.acme), "again")
        expect(shop.one("SELECT email FROM access.users WHERE id = %s", (eve,)), "eve@acme.test", "a verified address")

        # Roles follow the newest token.
        second = token(iat=int(time.time()) + 2, resource_access={"backoffice": {"roles": ["viewer"]}, "x": {"roles": ["admin"]}})
        with conn.cursor() as cur:
            cur.execute("BEGIN READ ONLY")
            expect(code(conn, "SELECT access.authenticate(%s)", (second,)), "identity_out_of_date", "a role to lose, in a read-only transaction")
            cur.execute("ROLLBACK")
        expect(rights(second), (eve, False, True, shop.acme), "other roles")
        expect(rights(first), (eve, False, True, shop.acme), "the older token changes nothing")
        expect(rights(token(iat=int(time.time()) + 3)), (eve, False, False, shop.acme), "no roles")

        # New in a read-only transaction; an address that is not verified, or taken.
        with conn.cursor() as cur:
            cur.execute("BEGIN READ ONLY")
            expect(code(conn, "SELECT access.authenticate(%s)", (token(sub="s2"),)), "token_unknown_user", "new, read-only")
            cur.execute("ROLLBACK")
        for sub, claims in (("s2", {"email_verified": False}), ("s3", {"email": "ANN@acme.test"}), ("s4", {"email": "no address"}), ("s5", {"email": None})):
            user = authenticate(conn, token(sub=sub, **claims))
            expect(shop.one("SELECT email FROM access.users WHERE id = %s", (user,)), user + "@oidc.invalid", str(claims))
        both_at_once(shop, [token(sub="s6", email=None) for _ in range(4)])

        # An unknown key id: refused, noted, and its issuer is due at once.
        issuer.rotate(keep=False)
        newer = token()
        expect(authenticate(conn, newer), "token_unknown_key", "a new key")
        expect(due(shop), [issuer.name], "at once")
        freeze(shop, "61 s")
        expect(due(shop), [issuer.name], "a minute after the last time")
        shop.one("SELECT access.set_issuer_keys(%s, %s)", (issuer.name, json.dumps(issuer.jwks())))
        expect(due(shop), [], "and not any more")
        shop.pg.query("ALTER DATABASE shop RESET backoffice.frozen_now")
        expect(authenticate(conn, newer), eve, "a token of the new key")
        # The key that the issuer dropped: good for a while, then not, then gone; and good again when it is back in the set.
        expect(authenticate(conn, second), eve, "the key that the issuer dropped, within the grace")
        shop.pg.query("UPDATE access.token_keys SET verify_until = verify_until - interval '1 hour' WHERE kind = 'issuer'", dbname="shop")
        expect(authenticate(conn, second), "token_unknown_key", "the key that the issuer dropped")
        expect(shop.one("SELECT count(*) FROM access.token_keys WHERE issuer = %s", (issuer.name,)), 2, "not in the set, not forgotten")
        shop.one("SELECT access.set_issuer_keys(%s, %s)", (issuer.name, json.dumps(issuer.jwks())))
        expect(shop.one("SELECT count(*) FROM access.token_keys WHERE issuer = %s", (issuer.name,)), 1, "the dropped key is forgotten")
        expect(shop.one("SELECT access.set_issuer_keys(%s, %s)", (issuer.name, json.dumps(issuer.jwks()))), False, "the same keys again change nothing")
        # Two keys of one name: the first one that can be used counts, as for the worker, and the same set again changes nothing.
        own = issuer.jwks()["keys"]
        twice = json.dumps({"keys": [{**own[0], "kty": "oct"}, own[0], {**Issuer("https://x.test").jwks()["keys"][0], "kid": issuer.kid}]})
        expect([shop.one("SELECT access.set_issuer_keys(%s, %s)", (issuer.name, twice)) for _ in range(2)], [False, False], "two keys of one name")
        expect(authenticate(conn, token()), eve, "the first of them")
        for bad in ({"keys": []}, {"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}]}, {}, []):
            expect(code(conn, "SELECT access.set_issuer_keys(%s, %s)", (issuer.name, json.dumps(bad))), "bad_jwks", str(bad))
        expect(code(conn, "SELECT access.set_issuer_keys('https://nobody.test', '{}')"), "unknown_issuer", "keys of nobody")
        confusion(shop, conn, issuer, eve)
        # Trusted with addresses: the user of a verified one, and nobody new.
        house = Issuer("https://house.test")
        provider(shop, house, link_by_email=True)
        ann = shop.one("SELECT id FROM access.users WHERE email = 'ann@acme.test'")
        for sub, verified, wanted in (("h1", False, "token_unknown_user"), ("h2", None, "token_unknown_user"), ("h3", "true", "token_unknown_user"), ("h4", True, ann), ("h4", None, ann)):
            expect(authenticate(conn, house.token({"sub": sub, "azp": "backoffice", "email": "Ann@acme.test", "email_verified": verified})), wanted, f"{sub}: {verified}")
        expect(authenticate(conn, house.token({"sub": "h5", "azp": "backoffice", "email": "who@acme.test", "email_verified": True})), "token_unknown_user", "nobody's address")
        shop.one("SELECT access.disable_issuer(%s)", (issuer.name,))
        expect(authenticate(conn, newer), "token_unknown_key", "a disabled issuer")


def case_addresses():
    """A provider of one organization says what it likes of addresses: that opens no invitation of others, nor tells of it."""
    with Shop() as shop:
        conn = shop.connect()
        bolt = shop.one("SELECT id FROM access.organizations WHERE name = 'Bolt'")
        tenant, house = Issuer("https://id.test/acme"), Issuer("https://id.test/house")
        provider(shop, tenant, organization=shop.acme, provision=True)
        provider(shop, house, provision=True)
        for name in ("ceo", "clerk"):
            shop.one("SELECT access.invite(%s, organization => %s)", (name + "@bolt.test", bolt))
            shop.one("SELECT access.invite(%s, organization => %s)", (name + "@bolt.test", shop.acme))

        def invitations(issuer, name):
            token = issuer.token({"sub": name, "azp": "backoffice", "email": name + "@bolt.test", "email_verified": True})
            authenticate(conn, token)
            with conn.cursor() as cur:
                cur.execute("BEGIN; SELECT access.authenticate(%s)", (token,))
                cur.execute("SELECT organization FROM access.my_invitations() ORDER BY 1")
                seen = [row[0] for row in cur.fetchall()]
                accepted = [code(conn, "SAVEPOINT s; SELECT access.accept_invitation(%s)", (id,)) for id in
                            [shop.one("SELECT id FROM access.invitations WHERE organization_id = %s AND email = %s", (o, name + "@bolt.test")) for o in (shop.acme, bolt)]]
                cur.execute("ROLLBACK")
            return seen, accepted
        # An address that only a tenant's provider has said is no reason to take its user for somebody else's.
        trusted = Issuer("https://trusted.test")
        provider(shop, trusted, link_by_email=True, provision=True)
        claims = {"sub": "c", "azp": "backoffice", "email": "cfo@bolt.test", "email_verified": True}
        theirs, cfo = (authenticate(conn, who.token(claims)) for who in (tenant, trusted))
        assert len(cfo) == 36 and cfo != theirs, (cfo, theirs)
        expect(shop.one("SELECT email FROM access.users WHERE id = %s", (cfo,)), "cfo@bolt.test", "who has it")
        expect(invitations(tenant, "ceo"), (["Acme"], [shop.acme, "unknown_invitation"]), "by the tenant's provider")
        expect(invitations(house, "clerk"), (["Acme", "Bolt"], [shop.acme, bolt]), "by the installation's")


def confusion(shop, conn, issuer, eve):
    """A key of one kind does not answer for another."""
    key = shop.one("SELECT kid FROM access.token_keys WHERE kind = 'own' AND state = 'current'") or shop.login() and \
        shop.one("SELECT kid FROM access.token_keys WHERE kind = 'own' AND state = 'current'")
    expect(authenticate(conn, issuer.token({"sub": "s1", "azp": "backoffice"}, header={"kid": key})), "token_unknown_key", "our key's id under the issuer's name")
    ours = issuer.token({"iss": "backoffice", "aud": "backoffice", "sub": str(eve), "sid": str(eve)}, header={"typ": "at+jwt", "kid": key})
    expect(authenticate(conn, ours), "token_bad_signature", "our name and key id, their signature")
    ours = issuer.token({"iss": "backoffice", "aud": "backoffice", "sub": str(eve), "sid": str(eve)}, header={"typ": "at+jwt"})
    expect(authenticate(conn, ours), "token_unknown_key", "our name, their key id")
    rsa = Issuer("https://rsa.test", Rs256)
    provider(shop, rsa, audience=["desk", "shop"], provision=True)
    good = {"sub": "r1", "aud": ["x", "shop"]}
    user = authenticate(conn, rsa.token(good))
    assert len(user) == 36, user
    expect(authenticate(conn, rsa.token({**good, "aud": "x"})), "token_wrong_audience", "audience")
    expect(authenticate(conn, rsa.token(good, header={"alg": "PS256"})), "token_bad_signature", "PS256 with a key of RS256")
    secret = json.dumps(rsa.jwks()["keys"][0]).encode()
    forged = sign_hs256({"iss": rsa.name, "exp": int(time.time()) + 60, **good}, secret, kid=rsa.kid)
    expect(authenticate(conn, forged), "token_bad_signature", "HS256 with the issuer's public key")
    hidden = rsa.token(good).split(".")
    long = decode(hidden[2])
    for what, bad in {"short": long[:-1], "long": long + b"\0", "huge": long * 4}.items():
        expect(authenticate(conn, ".".join(hidden[:2] + [encode(bad)])), "token_bad_signature", what)


def both_at_once(shop, tokens):
    """One subject, seen first by several at the same moment: one user."""
    users = []

    def first_sight(token):
        conn = shop.connect()
        users.append(authenticate(conn, token))
        conn.close()

    threads = [threading.Thread(target=first_sight, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(len(set(users)), 1, f"one user: {users}")


def case_oidc():
    with Shop() as shop:
        issuer = Issuer("https://id.test/realms/shop", Rs256)
        back = "https://shop.test/auth/callback"
        provider(shop, issuer, role_map={"admin": "clerk"}, organization=shop.acme, provision=True, client_secret="s3cret", redirect_uris=[back], aal2_values=["gold"])
        conn = shop.connect()
        expect(code(conn, "SELECT access.oidc_begin(%s, 'https://evil.test/')", (issuer.name,)), "bad_redirect_uri", "somewhere else")
        expect(code(conn, "SELECT access.oidc_begin('https://nobody.test', %s)", (back,)), "unknown_issuer", "nobody")

        def begin():
            answer = shop.one("SELECT access.oidc_begin(%s, %s)", (issuer.name, back))
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer["url"]).query))
            expect((query["state"], query["redirect_uri"], query["response_type"], query["client_id"], query["x"], query["code_challenge_method"]),
                   (answer["state"], back, "code", "backoffice", "1", "S256"), "the URL")
            return query

        def complete(query, id_token, access_token=None):
            return code(conn, "SELECT access.oidc_complete(%s, %s, %s)", (query["state"], id_token, access_token))

        def id_token(query, **claims):
            return issuer.token({"sub": "s1", "aud": "backoffice", "nonce": query["nonce"], "typ": "ID", "sid": "x1", "email": "eve@acme.test", "email_verified": True, **claims})

        query = begin()
        expect(complete(query, id_token(query)), "unknown_login", "before its code was exchanged")
        pending = shop.one("SELECT access.oidc_pending(%s)", (query["state"],))
        expect({k: pending[k] for k in ("issuer", "redirect_uri", "token_endpoint", "client_id", "client_secret")},
               {"issuer": issuer.name, "redirect_uri": back, "token_endpoint": issuer.name + "/token", "client_id": "backoffice", "client_secret": "s3cret"}, "pending")
        expect(encode(hashlib.sha256(pending["code_verifier"].encode()).digest()), query["code_challenge"], "PKCE")
        expect(code(conn, "SELECT access.oidc_pending(%s)", (query["state"],)), "unknown_login", "once only")
        for claims, wanted in (({"nonce": "x"}, "token_malformed"), ({"nonce": None}, "token_malformed"), ({"aud": "other"}, "token_wrong_audience"),
                               ({"aud": ["backoffice", "other"]}, "token_wrong_audience"), ({"azp": "other"}, "token_wrong_audience"),
                               ({"typ": "Bearer"}, "token_wrong_type"), ({"exp": 1}, "token_expired"), ({"iat": None}, "token_malformed")):
            expect(complete(query, id_token(query, **claims)), wanted, str(claims))
        access_token = issuer.token({"sub": "s1", "azp": "backoffice", "realm_access": {"roles": ["admin"]}})
        expect(complete(query, id_token(query, at_hash="AAAA"), access_token), "token_malformed", "at_hash")
        at_hash = encode(hashlib.sha256(access_token.encode()).digest()[:16])
        answer = complete(query, id_token(query, at_hash=at_hash, acr="gold"), access_token)
        expect((answer["status"], answer["aal"], answer["user"]["email"], answer["user"]["organization_id"]), ("ok", "aal2", "eve@acme.test", shop.acme), "logged in")
        expect(complete(query, id_token(query)), "unknown_login", "the same state again")
        ours = answer["access_token"]
        with conn.cursor() as cur:
            cur.execute("SELECT access.authenticate(%s); SELECT access.can('shop.close')", (ours,))
            expect(cur.fetchone()[0], True, "its role, by the access token")

        # The issuer speaks for Acme: its users act nowhere else, though they belong there.
        bolt = shop.one("SELECT id FROM access.organizations WHERE name = 'Bolt'")
        shop.one("SELECT access.add_member(%s, %s)", (bolt, answer["user"]["id"]))
        for text in (ours, issuer.token({"sub": "s1", "azp": "backoffice"})):
            expect(code(conn, "SELECT access.authenticate(%s, %s)", (text, bolt)), "other_organization", "another organization")
        other = dict(begin(), organization=bolt)
        shop.one("SELECT access.oidc_pending(%s)", (other["state"],))
        shop.pg.query("UPDATE access.oidc_logins SET wanted_organization = %s", (bolt,), dbname="shop")
        expect(complete(other, id_token(other))["status"], "denied", "nor by another log-in")

        # Log-out at the provider.
        user = answer["user"]["id"]
        expect(authenticate(conn, ours), user, "still")
        theirs = issuer.token({"sub": "s1", "azp": "backoffice", "sid": "x1"})
        expect(authenticate(conn, theirs), user, "and a token of the same session there")
        event = {"http://schemas.openid.net/event/backchannel-logout": {}}

        def logout(header=None, **claims):
            body = {"sub": "s1", "sid": "x1", "aud": "backoffice", "events": event, "jti": "j1", "typ": "Logout", **claims}
            return code(conn, "SELECT access.backchannel_logout(%s)", (issuer.token(body, header),))

        for claims, wanted in (({"nonce": "n"}, "token_wrong_type"), ({"events": {}}, "token_wrong_type"), ({"events": {next(iter(event)): []}}, "token_wrong_type"),
                               ({"aud": "other"}, "token_wrong_audience"), ({"sub": None, "sid": None}, "token_malformed"), ({"jti": None}, "token_malformed"),
                               ({"typ": "ID"}, "token_wrong_type"), ({"iat": None}, "token_malformed"), ({"exp": None, "iat": int(time.time()) - 400}, "token_expired")):
            expect(logout(**claims), wanted, str(claims))
        expect(code(conn, "SELECT access.backchannel_logout(%s)", (ours,)), "token_wrong_issuer", "an access token of ours")
        expect(code(conn, "SELECT access.backchannel_logout(%s)", (theirs,)), "token_wrong_audience", "an access token of theirs")
        expect(authenticate(conn, ours), user, "none of them ended it")
        expect(logout(header={"typ": "logout+jwt"}), 1, "one session")
        expect(authenticate(conn, ours), "session_ended", "our session")
        expect(authenticate(conn, theirs), "session_ended", "their token of that session")
        expect(logout(), "logout_token_replayed", "told twice")
        expect(authenticate(conn, issuer.token({"sub": "s1", "azp": "backoffice", "sid": "x2"})), user, "another session there")
        # Without sid: all there are, but not those begun later.
        now = int(time.time())
        expect(logout(sid=None, jti="j2", iat=now), 0, "no session of ours")
        expect(authenticate(conn, issuer.token({"sub": "s1", "azp": "backoffice", "iat": now})), "session_ended", "issued before")
        expect(authenticate(conn, issuer.token({"sub": "s1", "azp": "backoffice", "iat": now + 1})), user, "issued after")
        expect(shop.one("SELECT count(*) FROM access.oidc_logins"), 0, "nothing is left over")


def case_api_keys():
    with Shop(log_min_error_statement="panic") as shop:
        conn = shop.connect()
        made = shop.one("SELECT access.create_api_key('till 7', '{shop.sell}', organization => %s)", (shop.acme,))
        key = made["key"]
        expect((key[:4], len(key)), ("bok_", 79), "its form")
        with conn.cursor() as cur:
            cur.execute("BEGIN; SELECT access.authenticate(%s)", (key,))
            expect(cur.fetchone()[0], None, "a machine has no user")
            cur.execute("SELECT access.organization_id(), access.user_id(), access.can('shop.sell'), access.can('shop.close'), access.can('access.read')")
            expect(cur.fetchone(), (shop.acme, None, True, False, False), "its scopes, and nothing else")
            cur.execute("SAVEPOINT s")
            expect(code(conn, "SELECT access.create_organization('Mine')"), "service_only", "a machine is no service")
            cur.execute("ROLLBACK TO s")
            expect(code(conn, "SELECT access.define_role('x', '{shop.*}')"), "permission_denied", "and gives no rights away")
            cur.execute("ROLLBACK")
        for bad in (key[:-1], key + "A", key[:-1] + ("B" if key[-1] == "A" else "A"), "bok_", key.upper()):
            got = authenticate(conn, bad)
            assert got in ("token_malformed", "api_key_unknown"), (bad, got)
        expect(shop.one("SELECT count(*) FROM access.api_key_records WHERE position(%s IN encode(hash, 'escape')) > 0", (key[4:20],)), 0, "not stored in clear")

        # It is seen in use, and ends.
        conn2 = shop.connect("web")
        expect(code(conn2, "SELECT access.begin_request(%s)", (key,)), "apikey:" + made["id"], "as a request")
        expect(shop.one("SELECT access.revoke_api_key(%s, %s)", (made["id"], shop.acme)), True, "revoked")
        expect(shop.one("SELECT access.revoke_api_key(%s, %s)", (made["id"], shop.acme)), False, "once")
        expect(authenticate(conn, key), "api_key_unknown", "a revoked key, cached before")

        # For a user: no more than that user, and no more than its scopes.
        answer = shop.login()
        with conn.cursor() as cur:
            def as_ann(sql, params=()):
                cur.execute("BEGIN; SELECT access.authenticate(%s)", (answer["access_token"],))
                got = code(conn, sql, params)
                cur.execute("COMMIT")
                return got

            expect(as_ann("SELECT access.create_api_key('k', '{shop.sell}')"), "permission_denied", "who may not")
            shop.one("SELECT access.define_role('clerk', '{shop.*,access.manage_api_keys}', '{}', %s)", (shop.acme,))
            expect(as_ann("SELECT access.create_api_key('k', '{*}')"), "beyond_own_rights", "more than one has")
            expect(as_ann("SELECT access.create_api_key('k', '{shop.close}')"), "beyond_own_rights", "what needs a second factor")
            expect(as_ann("SELECT access.create_api_key('k', '{}')"), "bad_list", "no scopes")
            expect(as_ann("SELECT access.create_api_key('k', '{shop.fly}')"), "unknown_permission", "a scope nobody knows")
            expect(as_ann("SELECT access.create_api_key(' ', '{shop.sell}')"), "bad_api_key_name", "no name")
            expect(as_ann("SELECT access.create_api_key('k', '{shop.sell}', now() - interval '1 s')"), "bad_expires_at", "over before it began")
            mine = as_ann("SELECT access.create_api_key('k', '{shop.sell}', now() + interval '1 h', \"user\" => %s)", (answer["user"]["id"],))
            expect(authenticate(conn, mine["key"]), answer["user"]["id"], "acts for Ann")
            shop.one("SELECT access.revoke_role(%s, 'clerk', %s)", (answer["user"]["id"], shop.acme))
            cur.execute("SELECT access.authenticate(%s); SELECT access.can('shop.sell')", (mine["key"],))
            expect(cur.fetchone()[0], False, "who has lost the right")
        freeze(shop, "2 h")
        expect(authenticate(shop.connect(), mine["key"]), "api_key_expired", "its time is past")
        text = shop.pg.tail_log(100000)
        assert key not in text and mine["key"] not in text and answer["access_token"] not in text, "a secret in the log"
        leaked = shop.one("SELECT count(*) FROM events.log WHERE payload::text LIKE '%bok\\_%' OR payload::text LIKE '%eyJ%'")
        expect(leaked, 0, "secrets in events")


def case_rotation_killed():
    """Killed while keys rotate and people log in: whoever got a token can use it."""
    with Shop(fsync="on", synchronous_commit="on") as shop:
        shop.login()
        got, stop = [], threading.Event()

        def people():
            while not stop.is_set():
                try:
                    got.append(shop.login()["access_token"])
                except psycopg2.Error:
                    time.sleep(0.01)

        def rotation():
            while not stop.is_set():
                try:
                    shop.one("SELECT access.rotate_signing_key()")
                except psycopg2.Error:
                    time.sleep(0.01)

        threads = [threading.Thread(target=work) for work in (people, rotation, rotation)]
        for thread in threads:
            thread.start()
        time.sleep(1.5)
        shop.pg.kill9()
        stop.set()
        for thread in threads:
            thread.join()
        shop.pg.start()
        assert len(got) > 5, f"only {len(got)} log-ins"
        conn = shop.connect()
        for token in got:
            user = authenticate(conn, token)
            assert len(user) == 36, user
        states = shop.pg.query("SELECT state, count(*) FROM access.token_keys WHERE kind = 'own' AND state <> 'retired' GROUP BY 1 ORDER BY 1", dbname="shop")
        expect(states, [("current", 1), ("next", 1)], "keys")
        assert len(authenticate(conn, shop.login()["access_token"])) == 36


def case_standby():
    """A standby answers with tokens, and learns of ends with the replay."""
    with Shop(wal_level="replica", max_wal_senders="5") as shop:
        answer, key = shop.login(), shop.one("SELECT access.create_api_key('k', '{shop.sell}', organization => %s)", (shop.acme,))
        token, ann = answer["access_token"], answer["user"]["id"]
        issuer = Issuer("https://id.test")
        provider(shop, issuer, organization=shop.acme, provision=True)
        known, new = (issuer.token({"sub": sub, "azp": "backoffice"}) for sub in ("s1", "s2"))
        guest = authenticate(shop.connect(), known)
        standby = standby_of(shop.pg)
        try:
            conn = standby.connect("shop")
            for _ in range(2):
                expect(authenticate(conn, token), ann, "a token on a standby")
                expect(authenticate(conn, key["key"]), None, "an API key")
                expect(authenticate(conn, known), guest, "an issuer's")
                expect(authenticate(conn, new), "token_unknown_user", "somebody new waits for the primary")
            shop.one("SELECT access.end_session(%s)", (answer["session_id"],))
            shop.one("SELECT access.revoke_api_key(%s, %s)", (key["id"], shop.acme))
            shop.one("SELECT access.disable_issuer(%s)", (issuer.name,))
            wait_for_replay(shop.pg, standby)
            expect(authenticate(conn, token), "session_ended", "once the end is replayed")
            expect(authenticate(conn, key["key"]), "api_key_unknown", "and the revoke")
            expect(authenticate(conn, known), "token_unknown_key", "and the issuer's end")
        finally:
            standby.destroy()


def case_dump_restore():
    """Keys, issuers, identities and API keys come along; sessions do not."""
    with Shop() as shop:
        answer, key = shop.login(), shop.one("SELECT access.create_api_key('k', '{shop.sell}', organization => %s)", (shop.acme,))
        issuer = Issuer("https://id.test")
        provider(shop, issuer, organization=shop.acme, provision=True, client_secret="s3cret")
        theirs = issuer.token({"sub": "s1", "azp": "backoffice"})
        guest = authenticate(shop.connect(), theirs)
        dump = os.path.join(shop.pg.dir, "dump")
        for argv in (["pg_dump", "-Fc", "-f", dump, "shop"], ["createdb", "copy"], ["pg_restore", "--exit-on-error", "-d", "copy", dump]):
            out = subprocess.run([os.path.join(shop.pg.bin, argv[0])] + argv[1:], env=shop.pg.env(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert out.returncode == 0, out.stdout
        conn = shop.pg.connect("copy")
        expect(authenticate(conn, theirs), guest, "an issuer's token")
        expect(authenticate(conn, key["key"]), None, "an API key")
        expect(authenticate(conn, answer["access_token"]), "session_ended", "sessions are not carried")
        again = shop.pg.query("SELECT access.login('ann@acme.test', 'correct horse')", dbname="copy")[0][0]["access_token"]
        expect(authenticate(conn, again), answer["user"]["id"], "a new log-in")
        expect([json.loads(decode(t.split(".")[0]))["kid"] for t in (again,)], [json.loads(decode(answer["access_token"].split(".")[0]))["kid"]], "with the same signing key")


def case_key_file():
    """A new key in the key file: everything is made anew with it, the old one may go."""
    with Shop() as shop:
        answer, key = shop.login(), shop.one("SELECT access.create_api_key('k', '{shop.sell}', organization => %s)", (shop.acme,))
        shop.one("SELECT access.add_verification_key('svc', 'HS256', %s)", ("s" * 40,))
        provider(shop, Issuer("https://id.test"), client_secret="s3cret")
        with open(shop.pg.key_file, "a") as f:
            f.write("k2 " + os.urandom(32).hex() + "\n")
        shop.pg.query("SELECT pg_reload_conf()")
        time.sleep(0.5)
        usage = "SELECT key_id, secrets, hashes FROM access.key_usage() ORDER BY 1"
        expect(shop.pg.query(usage, dbname="shop"), [("k1", 5, 1)], "before")
        expect(shop.one("SELECT access.rotate_keys(2)"), 2, "a batch")
        expect(shop.one("SELECT access.rotate_keys()"), 3, "the others")
        expect(shop.one("SELECT access.rotate_keys()"), 0, "all done")
        expect(shop.one("SELECT count(*) FROM events.log WHERE type = 'secrets.renewed'"), 2, "each batch is told")
        expect(shop.pg.query(usage, dbname="shop"), [("k1", 0, 1), ("k2", 5, 0)], "the API key was not used yet")
        expect(authenticate(shop.connect(), key["key"]), None, "now it is")
        expect(shop.pg.query(usage, dbname="shop"), [("k2", 5, 1)], "the old key may go")
        lines = open(shop.pg.key_file).read().split("\n")
        with open(shop.pg.key_file, "w") as f:
            f.write("\n".join(lines[1:]))
        shop.pg.query("SELECT pg_reload_conf()")
        time.sleep(0.5)
        conn = shop.connect()
        expect(authenticate(conn, key["key"]), None, "the API key")
        expect(authenticate(conn, answer["access_token"]), answer["user"]["id"], "our token")
        expect(authenticate(conn, sign_hs256({"sub": answer["user"]["id"], "exp": int(time.time()) + 60}, b"s" * 40, kid="svc")), answer["user"]["id"], "the given key's")
        expect(shop.one("SELECT access.refresh(%s)", (answer["refresh_token"],))["status"], "ok", "the session's refresh token")
        expect(shop.login()["status"], "ok", "a new log-in")
