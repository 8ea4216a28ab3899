"""Keycloak itself, for tests: fetched through Maven, started on loopback with its embedded database in a throw-away folder.

    with Keycloak(realm_file, GATEWAY="http://127.0.0.1:8080") as keycloak:      # @GATEWAY@ in the file is replaced
        keycloak.issuer                                                          # http://127.0.0.1:port/realms/shop
        keycloak.password_grant("backoffice-cli", "ann", "ann-secret")           # the token endpoint's answer
        keycloak.admin("GET", "/components?type=org.keycloak.keys.KeyProvider")  # admin REST API of the realm
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile

from harness import leftovers, locks
from harness.pg import ROOT, free_port

KEYCLOAK_VERSION = "26.7.3"
ADMIN = ("admin", "admin-of-a-throw-away-server")


def java(heap_mb, home, *options):
    """Keycloak's own command line (bin/kc.sh), without the shell around it."""
    return ["java", "-Xms64m", f"-Xmx{heap_mb}m", "-XX:MaxMetaspaceSize=256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true",
            "-Djava.util.concurrent.ForkJoinPool.common.threadFactory="
            "io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory",
            "--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
            "--add-opens=java.base/java.security=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
            "-Dkc.home.dir=" + home, "-Djboss.server.config.dir=" + os.path.join(home, "conf"),
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager", "-Dpicocli.disable.closures=true", *options,
            "-cp", os.path.join(home, "lib/quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint"]


def run(argv, cwd, what, good=(0,)):
    out = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900)
    if out.returncode not in good:
        raise RuntimeError(f"{what} (exit code {out.returncode}):\n{out.stdout[-4000:]}")


def distribution():
    """Keycloak's folder, fetched at first use and put together for start-dev (half a minute, once)."""
    with locks.alone("maven"):
        return _distribution()


def _distribution():
    name = "keycloak-" + KEYCLOAK_VERSION
    cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "backoffice", name)
    if os.path.exists(os.path.join(cache, "ready")):
        return cache
    if not (shutil.which("java") and shutil.which("mvn")):
        subprocess.check_call([os.path.join(ROOT, "scripts/deps"), "--keycloak"])
    print(f"fetching Keycloak {KEYCLOAK_VERSION} into {cache} …", file=sys.stderr, flush=True)
    os.makedirs(os.path.dirname(cache), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(cache)) as work:
        run(["mvn", "-q", "-B", "dependency:copy", f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK_VERSION}:zip",
             "-DoutputDirectory=" + work], work, "Maven could not fetch Keycloak")
        archive = os.path.join(work, f"keycloak-quarkus-dist-{KEYCLOAK_VERSION}.zip")
        with zipfile.ZipFile(archive) as z:
            z.extractall(work)
        home = os.path.join(work, name)
        # The first start of a distribution assembles it for its options and ends with 10: "start me again".
        run(java(512, home) + ["start-dev", "--http-host=127.0.0.1", f"--http-port={free_port()}"], work,
            "Keycloak could not be put together", good=(10,))
        shutil.rmtree(os.path.join(home, "data"), ignore_errors=True)
        with open(os.path.join(home, "ready"), "w"):
            pass
        if not os.path.exists(cache):
            os.rename(home, cache)
    return cache


class Answer:
    """What an HTTP server said; redirects are not followed."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.body)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


def request(method, url, form=None, body=None, headers=None, timeout_s=30):
    """One HTTP request; form: a dict to be sent url-encoded; body: anything for JSON."""
    headers = dict(headers or {})
    data = None
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    elif body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        with _opener.open(urllib.request.Request(url, data=data, headers=headers, method=method), timeout=timeout_s) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as e:
        return Answer(e.code, e.headers, e.read())


class Keycloak:
    """One server; start-dev with its embedded database, on a free port of loopback."""

    def __init__(self, realm_file, realm="shop", heap_mb=512, **values):
        self.realm = realm
        self.heap_mb = heap_mb
        self.process = None
        self.home = distribution()
        self.dir = tempfile.mkdtemp(prefix="backoffice-keycloak-", dir="/tmp")
        leftovers.claim(self.dir)
        self.log = os.path.join(self.dir, "server.log")
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.base}/realms/{realm}"
        self._admin_token = (None, 0.0)
        # What is never written is shared with the other servers; what is, lies in this one's folder.
        for part in ("lib", "providers", "themes"):
            os.symlink(os.path.join(self.home, part), os.path.join(self.dir, part))
        shutil.copytree(os.path.join(self.home, "conf"), os.path.join(self.dir, "conf"))
        os.makedirs(os.path.join(self.dir, "data/import"))
        with open(realm_file) as f:
            text = f.read()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        with open(os.path.join(self.dir, "data/import/realm.json"), "w") as f:
            f.write(text)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *exc):
        self.destroy()

    def start(self, timeout_s=240):
        options = ["start-dev", "--http-host=127.0.0.1", f"--http-port={self.port}", f"--hostname={self.base}", "--import-realm"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                java(self.heap_mb, self.dir, "-Dkc.config.built=true") + options, cwd=self.dir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN[0], "KC_BOOTSTRAP_ADMIN_PASSWORD": ADMIN[1]})
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError("Keycloak ended at once:\n" + self.tail_log())
            try:
                if request("GET", self.issuer + "/.well-known/openid-configuration", timeout_s=5).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError("Keycloak did not get ready:\n" + self.tail_log())

    def stop(self, timeout_s=60):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def destroy(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None
        shutil.rmtree(self.dir, ignore_errors=True)

    def tail_log(self, lines=60):
        try:
            with open(self.log, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except FileNotFoundError:
            return ""

    # -- as a client --

    def master_token(self):
        """What the administrator's log-in gives: a token of another realm of the same server."""
        answer = request("POST", f"{self.base}/realms/master/protocol/openid-connect/token",
                         {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN[0], "password": ADMIN[1]})
        if answer.status != 200:
            raise RuntimeError(f"no token for the administrator: {answer.status} {answer.text}")
        return answer.json()

    def endpoint(self, name):
        return f"{self.issuer}/protocol/openid-connect/{name}"

    def grant(self, **form):
        """The token endpoint's answer to this form."""
        answer = request("POST", self.endpoint("token"), form)
        if answer.status != 200:
            raise RuntimeError(f"Keycloak refused: {answer.status} {answer.text}")
        return answer.json()

    def password_grant(self, client, user, password, secret=None, scope="openid"):
        return self.grant(grant_type="password", client_id=client, username=user, password=password, scope=scope,
                          **({"client_secret": secret} if secret else {}))

    # -- as its administrator --

    def create_realm(self, realm, **settings):
        """Another realm beside the imported one."""
        self.admin("POST", "", {"realm": realm, "enabled": True, **settings}, realm="")
        # The administrator's rights on it come with the next token.
        self._admin_token = (None, 0.0)

    def admin(self, method, path, body=None, realm=None):
        """The admin REST API of a realm: path behind /admin/realms/{realm}. The JSON of the answer (text if it is none), None when it is empty."""
        token, until = self._admin_token
        if time.time() > until:
            answer = self.master_token()
            token = answer["access_token"]
            self._admin_token = (token, time.time() + answer["expires_in"] - 15)
        url = f"{self.base}/admin/realms/{self.realm if realm is None else realm}{path}".rstrip("/")
        answer = request(method, url, body=body, headers={"Authorization": "Bearer " + token})
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.text}")
        return answer.json() if answer.body else None

    def client(self, client_id):
        return self.admin("GET", "/clients?clientId=" + urllib.parse.quote(client_id))[0]

    def change_client(self, client_id, **changes):
        found = self.client(client_id)
        self.admin("PUT", "/clients/" + found["id"], {**found, **changes})

    def user(self, name):
        return self.admin("GET", "/users?exact=true&username=" + urllib.parse.quote(name))[0]

    def add_signing_key(self, priority, algorithm="RS256"):
        """A new key signs from now on; the ones before stay in the JWKS."""
        kind = {"RS256": "rsa-generated", "ES256": "ecdsa-generated", "EdDSA": "eddsa-generated"}[algorithm]
        config = {"priority": [str(priority)], "enabled": ["true"], "active": ["true"]}
        if kind == "rsa-generated":
            config["algorithm"] = [algorithm]
        self.admin("POST", "/components", {"name": f"key-{priority}", "providerId": kind, "providerType": "org.keycloak.keys.KeyProvider",
                                           "config": config})

    def key_components(self):
        return self.admin("GET", "/components?type=org.keycloak.keys.KeyProvider")

    def jwks(self):
        return request("GET", self.endpoint("certs")).json()
