"""The HTTP gateway for tests: a database with an organization, people and tokens, and gateways in front of it.

    with Site() as site:
        gateway = site.gateway(processes=2)             # starts it; flags with underscores
        answer = gateway.call("GET", "/pools", token=site.token())
        answer.status, answer.headers["content-type"], answer.json, answer.code
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import subprocess
import time

from harness.pg import Cluster
from harness.workers import Worker

KID = "test"
SECRET = "a secret that only the tests know, 32 bytes and more"
JSON = {"Content-Type": "application/json"}


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hs256(claims, kid=KID, secret=SECRET, header=None):
    head = {"alg": "HS256", "typ": "JWT", "kid": kid, **(header or {})}
    text = base64url(json.dumps(head).encode()) + "." + base64url(json.dumps(claims).encode())
    return text + "." + base64url(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())


def certificate(folder):
    """Of a gateway that does TLS itself: tls_certificate, tls_key; nobody signed it."""
    pem, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
                    "-days", "2", "-keyout", key, "-out", pem], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return pem, key


class Answer:
    """Status, headers (lower-case names, the last of several), body."""

    def __init__(self, status, headers, body):
        self.status = status
        self.all_headers = headers
        self.headers = {k.lower(): v for k, v in headers}
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The symbolic code of a problem, None of anything else."""
        return self.json.get("code") if self.headers.get("content-type", "").startswith("application/problem+json") else None

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:500]!r}"


class Gateway(Worker):
    """One gateway; its log has no secrets, which stop() checks."""

    def __init__(self, **settings):
        settings.setdefault("limits", "")
        super().__init__("gateway", **settings)
        self.tls = "tls_certificate" in settings
        self.port = None

    def start(self):
        super().start()
        self.port = self.http_port()
        if self.port is None:
            raise RuntimeError("the gateway did not start:\n" + self.text())
        if not self.wait_log('"msg":"serving"'):
            raise RuntimeError("the gateway does not serve:\n" + self.text())
        return self

    def ready(self, timeout_s=60):
        """Waits until /health/ready says so."""
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            try:
                answer = self.call("GET", "/health/ready")
                if answer.status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("not ready:\n" + self.text()[-3000:])

    def connect(self, timeout_s=60):
        if not self.tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=context)

    def call(self, method, path, body=None, token=None, headers=None, connection=None, timeout_s=60):
        """One request. body: bytes or text as they are, anything else as JSON."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = "Bearer " + token
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        own = connection is None
        connection = connection or self.connect(timeout_s)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            if own:
                connection.close()

    def raw(self, data, timeout_s=10, pause_s=0.0, piece=0, shut=False):
        """Bytes on a fresh connection, optionally in pieces; everything that comes back until the end or a silence of timeout_s."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as s:
            try:
                for at in range(0, len(data), piece or len(data) or 1):
                    s.sendall(data[at:at + (piece or len(data))])
                    if pause_s:
                        time.sleep(pause_s)
                if shut:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass    # the gateway may have ended it: what it said still counts
            received = b""
            try:
                while True:
                    got = s.recv(65536)
                    if not got:
                        break
                    received += got
            except (socket.timeout, ConnectionResetError):
                pass
            return received

    def metric(self, name, labels=None):
        text = self.call("GET", "/metrics").body.decode()
        for line in text.splitlines():
            if line.startswith(name + (labels or "") + " "):
                return float(line.rsplit(" ", 1)[1])
        return None


class Site:
    """A cluster with the database site: an organization, its owner, a verification key for tokens, a login for the gateway."""

    def __init__(self, conf=None):
        self.pg = Cluster(conf)
        self.gateways = []
        self.org = self.user = None

    def __enter__(self):
        self.pg.__enter__()
        self.pg.create_database("site")
        # The password is never asked for (the test clusters trust): it is here to be looked for in the logs.
        self.query("CREATE ROLE web LOGIN PASSWORD 'hunter2-secret' IN ROLE backoffice_gateway")
        self.query("SELECT access.add_verification_key(%s, 'HS256', %s)", (KID, SECRET))
        self.org = self.organization("Acme")
        self.user = self.person("ann@acme.test", self.org, "owner")
        return self

    def __exit__(self, *exc):
        for gateway in self.gateways:
            gateway.__exit__()
        self.pg.__exit__(*exc)

    def query(self, sql, params=None):
        return self.pg.query(sql, params, dbname="site")

    def organization(self, name):
        return str(self.query("SELECT access.create_organization(%s)", (name,))[0][0])

    def person(self, email, organization, role=None, password=None):
        user = str(self.query("SELECT access.create_user(%s, %s, %s)", (email, password, organization))[0][0])
        if role:
            self.query("SELECT access.grant_role(%s, %s, organization => %s)", (user, role, organization))
        return user

    def token(self, user=None, organization=None, seconds=3600, **claims):
        return hs256({"sub": user or self.user, "org": organization or self.org, "exp": int(time.time()) + seconds, **claims})

    def as_org(self, *statements, organization=None):
        """Statements in one transaction as a trusted service of the organization; rows of the last one."""
        conn = self.pg.connect("site", autocommit=False)
        try:
            with conn.cursor() as cur:
                cur.execute("SELECT access.act_as(%s)", (organization or self.org,))
                for statement in statements:
                    cur.execute(statement)
                rows = cur.fetchall() if cur.description else []
            conn.commit()
            return rows
        finally:
            conn.close()

    def function(self, name, arguments, body, returns="jsonb", kind="VOLATILE"):
        """A function of schema api, for one test."""
        self.pg.psql("site", f"CREATE OR REPLACE FUNCTION api.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql {kind} AS $f$ {body} $f$;\n"
                             f"GRANT EXECUTE ON FUNCTION api.{name} TO backoffice_anon, backoffice_user;")

    def dsn(self):
        return self.pg.dsn("site", "web") + " password=hunter2-secret"

    def gateway(self, start=True, **settings):
        settings.setdefault("database", self.dsn())
        gateway = Gateway(**settings)
        self.gateways.append(gateway)
        return gateway.start().ready() if start else gateway

    def report(self):
        return "".join(f"--- gateway {g.port}\n{g.text()[-4000:]}" for g in self.gateways if os.path.exists(g.log)) + "--- server\n" + self.pg.tail_log(30)
