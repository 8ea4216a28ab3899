"""The oidc worker against a provider that does what it is told: what it takes, refuses, repeats, and leaves alone."""
import base64
import contextlib
import os
import time

import psycopg2

from harness.issuer import FakeIssuer, jwk
from harness.pg import Cluster
from harness.workers import Worker


class Env:
    def __init__(self, pg, plain, tls):
        self.pg, self.plain, self.tls = pg, plain, tls
        self.workers = []

    def query(self, sql, params=None, user="postgres"):
        return self.pg.query(sql, params, dbname="shop", user=user)

    def worker(self, **settings):
        for worker in self.workers:
            worker.__exit__()
        options = {"database": self.pg.dsn("shop", "oidc") + " password=hunter2-secret", "poll_ms": 100, "heartbeat_ms": 200,
                   "retry_ms": 200, "retry_max_ms": 800, "timeout_ms": 3000, **settings}
        self.workers = [Worker("oidc", **options).start()]
        return self.workers[0]

    def define(self, issuer):
        """Only this one is there now; nothing is known of it."""
        self.query("DELETE FROM access.token_keys WHERE kind = 'issuer'")
        self.query("DELETE FROM access.issuers")
        self.query("SELECT access.define_issuer(%s, client_id => 'backoffice')", (issuer,))

    def age(self):
        """As if the keys had been fetched a day ago."""
        self.query("UPDATE access.issuers SET keys_at = keys_at - interval '1 day'")

    def kids(self):
        return {row[0] for row in self.query("SELECT kid FROM access.token_keys WHERE kind = 'issuer'")}

    def report(self):
        return "\n".join(worker.text()[-6000:] for worker in self.workers)


def until(condition, timeout_s=15, what="what was waited for"):
    deadline = time.time() + timeout_s
    while time.time() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(what + " did not come")


@contextlib.contextmanager
def environment():
    with Cluster() as pg, FakeIssuer() as plain, FakeIssuer(tls=True, host="localhost") as tls:
        pg.create_database("shop")
        env = Env(pg, plain, tls)
        # The password is never asked for (the test clusters trust): it is here to be looked for in the logs.
        env.query("CREATE ROLE oidc LOGIN PASSWORD 'hunter2-secret' IN ROLE backoffice_worker")
        yield env
        for worker in env.workers:
            worker.__exit__()


def refused(env, settings, words, asked=0):
    """The worker tries, says why not, and asks nobody (or only as often as said)."""
    worker = env.worker(**settings)
    line = worker.wait_log("keys not fetched")
    assert line and words in line, line
    time.sleep(0.3)
    assert env.kids() == set()
    if not asked:
        assert not env.plain.requests and not env.tls.requests
    return worker


def fresh(env, issuer):
    """Nobody asks, all is as it should be, one issuer is defined and nothing is known of it."""
    for worker in env.workers:
        worker.__exit__()
    for fake in (env.plain, env.tls):
        fake.answer, fake.headers, fake.document, fake.delay_s = {}, {}, {}, 0.0
        fake.requests.clear()
    env.define(issuer)


def test_loopback_is_refused_unless_allowed(env):
    fresh(env, env.plain.issuer)
    refused(env, {}, "http is for loopback only")
    fresh(env, env.tls.issuer)
    worker = refused(env, {"ca_file": env.tls.ca_file}, "the address is not allowed")
    assert worker.metric("backoffice_oidc_refused_total") >= 1


def test_keys_over_tls(env):
    fresh(env, env.tls.issuer)
    env.tls.keys = [jwk("one"), jwk("enc", use="enc", alg="RSA-OAEP")]
    worker = env.worker(ca_file=env.tls.ca_file, allow_networks="127.0.0.0/8,::1/128")
    until(lambda: env.kids() == {"one"}, what="the key")
    metadata = env.query("SELECT metadata FROM access.issuers")[0][0]
    assert metadata == {"authorization_endpoint": env.tls.base + "/auth", "token_endpoint": env.tls.base + "/token",
                        "jwks_uri": env.tls.jwks_uri, "id_token_signing_alg_values_supported": ["RS256"]}, metadata
    assert worker.get("/health")[0] == 200


def test_certificates_are_checked(env):
    fresh(env, env.tls.issuer)
    refused(env, {"allow_networks": "127.0.0.0/8,::1/128"}, "certificate", asked=1)
    # The certificate is for localhost and 127.0.0.1, not for this name of the same address.
    fresh(env, env.tls.issuer.replace("localhost", "127.0.0.2"))
    refused(env, {"allow_networks": "127.0.0.0/8,::1/128", "ca_file": env.tls.ca_file}, "keys not fetched", asked=1)


def test_plain_http_on_loopback(env):
    fresh(env, env.plain.issuer)
    env.plain.keys = [jwk("a"), jwk("b")]
    env.worker(allow_http_loopback="on")
    until(lambda: env.kids() == {"a", "b"})


def test_another_issuers_document(env):
    fresh(env, env.plain.issuer)
    env.plain.document = {"issuer": env.plain.issuer + "/"}
    refused(env, {"allow_http_loopback": "on"}, "of another issuer", asked=1)
    assert env.plain.asked("/jwks") == 0


def test_redirects_are_not_followed(env):
    fresh(env, env.plain.issuer)
    env.plain.answer[env.plain.DISCOVERY] = (302, {"Location": env.plain.base + "/elsewhere"}, b"")
    refused(env, {"allow_http_loopback": "on"}, "redirects are not followed", asked=1)
    assert env.plain.asked("/elsewhere") == 0


def test_key_sets_elsewhere_are_judged_too(env):
    fresh(env, env.plain.issuer)
    env.plain.document = {"jwks_uri": "http://169.254.169.254/latest/meta-data"}
    refused(env, {"allow_http_loopback": "on"}, "http is for loopback only", asked=1)
    fresh(env, env.plain.issuer)
    env.plain.document = {"jwks_uri": "https://169.254.169.254/latest/meta-data"}
    refused(env, {"allow_http_loopback": "on"}, "the address is not allowed", asked=1)


def test_too_large(env):
    fresh(env, env.plain.issuer)
    env.plain.answer["/jwks"] = (200, {}, b" " * (1024 * 1024 + 1))
    refused(env, {"allow_http_loopback": "on"}, "too large", asked=1)


def test_nonsense(env):
    fresh(env, env.plain.issuer)
    worker = env.worker(allow_http_loopback="on")
    for body in (b"", b"<html>secret-of-the-intranet</html>", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "oct", "kid": "x", "k": "c2VjcmV0"}]}'):
        env.plain.answer["/jwks"] = (200, {}, body)
        before = env.plain.asked("/jwks")
        until(lambda: env.plain.asked("/jwks") > before + 1)
    # What an address answered is told to nobody: it may be one that only we can reach.
    assert "intranet" not in worker.text() and "c2VjcmV0" not in worker.text()
    assert env.kids() == set()
    until(lambda: "intranet" not in str(env.query("SELECT last_error FROM backoffice.workers WHERE worker = 'oidc'")))


def test_slow_and_silent(env):
    fresh(env, env.plain.issuer)
    env.plain.delay_s = 5
    worker = env.worker(allow_http_loopback="on", timeout_ms=500)
    assert worker.wait_log("keys not fetched.*[Tt]ime")
    assert worker.get("/health")[0] == 200
    env.plain.delay_s = 0
    until(lambda: env.kids(), what="keys after a slow start")


def test_failures_back_off(env):
    fresh(env, env.plain.issuer)
    env.plain.answer[env.plain.DISCOVERY] = (503, {"Retry-After": "1"}, b"")
    env.worker(allow_http_loopback="on", retry_max_ms=60000)
    time.sleep(3.5)
    assert 2 <= env.plain.asked(env.plain.DISCOVERY) <= 4, env.plain.requests


def test_unchanged_by_etag_and_fetched_again_when_old(env):
    fresh(env, env.plain.issuer)
    env.plain.keys = [jwk("a")]
    env.plain.headers = {"ETag": '"v1"', "Cache-Control": "max-age=7200"}
    worker = env.worker(allow_http_loopback="on")
    until(lambda: env.kids() == {"a"})
    # As long as the issuer said, less up to a tenth.
    age = env.query("SELECT keys_max_age_s FROM access.issuers")[0][0]
    assert 6480 <= age <= 7200, age
    for n in (1, 2):
        env.age()
        until(lambda: worker.metric("backoffice_oidc_unchanged_total") == n, what="an unchanged key set")
    assert env.plain.asked(env.plain.DISCOVERY) == 1 and env.plain.asked("/jwks") == 3
    env.plain.keys, env.plain.headers = [jwk("a"), jwk("b")], {"ETag": '"v2"'}
    env.age()
    until(lambda: env.kids() == {"a", "b"})
    age = env.query("SELECT keys_max_age_s FROM access.issuers")[0][0]
    assert 270 <= age <= 300, age


def unknown(issuer, kid):
    """A token that names a key; nothing else of it is looked at where there is no such key."""
    encode = lambda text: base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    return ".".join((encode(f'{{"alg": "RS256", "kid": "{kid}"}}'), encode(f'{{"iss": "{issuer}"}}'), encode("x" * 256)))


def refuse(env, kid):
    try:
        env.query("SELECT access.authenticate(%s)", (unknown(env.plain.issuer, kid),))
    except psycopg2.Error as e:
        return e.diag.constraint_name
    return None


def test_unknown_key_ids(env):
    """The first one is asked for at once, however fresh the keys are; a flood of them is one more question, when its time has come."""
    fresh(env, env.plain.issuer)
    env.plain.keys = [jwk("a")]
    env.worker(allow_http_loopback="on")
    until(lambda: env.kids() == {"a"})
    time.sleep(0.5)
    assert env.plain.asked("/jwks") == 1
    env.plain.keys = [jwk("a"), jwk("b")]
    assert refuse(env, "b") == "token_unknown_key"
    until(lambda: env.kids() == {"a", "b"}, 3, "the new key")
    noted = time.time()
    assert refuse(env, "b") == "token_bad_signature"
    while time.time() < noted + 4:
        assert refuse(env, f"nonsense-{time.time()}") == "token_unknown_key"
    assert env.plain.asked("/jwks") == 2, env.plain.requests
    until(lambda: env.plain.asked("/jwks") == 3, 12, "another look")
    # Nobody named one since that: quiet again.
    time.sleep(0.5)
    assert env.plain.asked("/jwks") == 3


def test_an_unknown_key_id_ends_the_pause(env):
    """After failures nothing is asked for a while, unless a token names a key; but the provider's own Retry-After counts more."""
    for headers, asked in (({}, 2), ({"Retry-After": "30"}, 1)):
        fresh(env, env.plain.issuer)
        env.pg.stop()   # forgets when it told of an unknown key id last
        env.pg.start()
        env.plain.keys = [jwk("a")]
        env.plain.answer[env.plain.DISCOVERY] = (503, headers, b"")
        worker = env.worker(allow_http_loopback="on", retry_ms=30000, retry_max_ms=60000)
        assert worker.wait_log("keys not fetched")
        time.sleep(0.5)
        assert env.plain.asked(env.plain.DISCOVERY) == 1, env.plain.requests
        env.plain.answer.clear()
        deadline = time.time() + 2
        while env.plain.asked(env.plain.DISCOVERY) < 2 and time.time() < deadline:
            assert refuse(env, "a") in ("token_unknown_key", "token_bad_signature")
            time.sleep(0.2)
        assert env.plain.asked(env.plain.DISCOVERY) == asked, (headers, env.plain.requests)
        if asked > 1:
            until(lambda: env.kids() == {"a"}, 3, "the keys")


def test_two_workers_at_once(env):
    fresh(env, env.plain.issuer)
    env.plain.keys = [jwk(f"k{n}") for n in range(10)]
    first = env.worker(allow_http_loopback="on")
    second = Worker("oidc", **first.settings).start()
    env.workers.append(second)
    until(lambda: env.kids() == {f"k{n}" for n in range(10)})
    for turn in range(5):
        env.plain.keys = [jwk(f"n{turn}-{n}") for n in range(10)]
        env.age()
        until(lambda: env.kids() >= {f"n{turn}-{n}" for n in range(10)})
    for worker in (first, second):
        assert worker.alive() and '"level":"error"' not in worker.text() and "not fetched" not in worker.text(), worker.text()


def test_database_restart(env):
    fresh(env, env.plain.issuer)
    worker = env.worker(allow_http_loopback="on")
    until(lambda: env.kids())
    env.pg.restart("immediate")
    env.define(env.plain.issuer)
    env.plain.keys = [jwk("after")]
    until(lambda: env.kids() == {"after"}, 30)
    until(lambda: worker.get("/health")[0] == 200)


def test_log_and_stop(env):
    worker = env.workers[0]
    lines = worker.lines()
    assert lines and all({"ts", "level", "worker", "instance", "msg"} <= set(line) for line in lines)
    assert "hunter2" not in worker.text()
    assert worker.stop() == 0
    state = env.query("SELECT state FROM backoffice.workers WHERE worker = 'oidc' AND instance = %s", (lines[0]["instance"],))
    assert state == [("stopped",)], state


def test_descriptors_are_given_back(env):
    fresh(env, env.plain.issuer)
    worker = env.worker(allow_http_loopback="on", retry_ms=10, retry_max_ms=20, poll_ms=50)
    env.plain.answer["/jwks"] = (500, {}, b"")
    until(lambda: env.plain.asked("/jwks") > 20)
    count = len(os.listdir(f"/proc/{worker.process.pid}/fd"))
    until(lambda: env.plain.asked("/jwks") > 80)
    assert len(os.listdir(f"/proc/{worker.process.pid}/fd")) <= count + 4
