"""An OpenID provider for tests that does what it is told: documents, headers, delays, nonsense. No log-in, keys only.

    with FakeIssuer(tls=True) as issuer:
        issuer.keys = [jwk("a")]; issuer.headers = {"ETag": '"1"'}; issuer.answer["/jwks"] = (302, {"Location": "/x"}, b"")
        issuer.asked("/jwks")                      # how often; issuer.requests: [(path, headers)]
"""
import base64
import http.server
import json
import os
import ssl
import subprocess
import tempfile
import threading
import time


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(kid, **members):
    """A public key of the right form (nothing is signed with it)."""
    return {"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": base64url(b"\xc1" + os.urandom(255)), "e": "AQAB", **members}


def self_signed(folder, names="DNS:localhost,IP:127.0.0.1"):
    """(certificate, key): what is served with them is trusted by whoever is given the certificate as ca-file."""
    key, certificate = (os.path.join(folder, n) for n in ("key.pem", "cert.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=test", "-addext", "subjectAltName=" + names, "-keyout", key, "-out", certificate],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return certificate, key


def serve_tls(server, certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up, or do not like our certificate, are what is tested."""


class FakeIssuer:
    """Serves the discovery document and /jwks; answer[path] = (status, headers, body) takes the place of either."""

    def __init__(self, tls=False, host="127.0.0.1", names="DNS:localhost,IP:127.0.0.1"):
        self.keys = [jwk("first")]
        self.headers = {}
        self.answer = {}
        self.delay_s = 0.0
        self.document = {}
        self.requests = []
        self.server = _Server(("127.0.0.1", 0), self._handler())
        self.folder = None
        self.ca_file = ""
        if tls:
            self.folder = tempfile.TemporaryDirectory(prefix="backoffice-issuer-", dir="/tmp")
            self.ca_file, key = self_signed(self.folder.name, names)
            serve_tls(self.server, self.ca_file, key)
        self.base = f"http{'s' if tls else ''}://{host}:{self.server.server_address[1]}"
        self.issuer = self.base + "/realms/shop"
        self.jwks_uri = self.base + "/jwks"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        if self.folder:
            self.folder.cleanup()

    def asked(self, path):
        return sum(1 for p, _ in self.requests if p == path)

    DISCOVERY = "/realms/shop/.well-known/openid-configuration"

    def _content(self, path, headers):
        if path in self.answer:
            return self.answer[path]
        if path == self.DISCOVERY:
            return 200, {}, json.dumps({
                "issuer": self.issuer, "jwks_uri": self.jwks_uri, "authorization_endpoint": self.base + "/auth",
                "token_endpoint": self.base + "/token", "id_token_signing_alg_values_supported": ["RS256"], **self.document}).encode()
        if path == "/jwks":
            if self.headers.get("ETag") and headers.get("If-None-Match") == self.headers["ETag"]:
                return 304, self.headers, b""
            return 200, self.headers, json.dumps({"keys": self.keys}).encode()
        return 404, {}, b"{}"

    def _handler(self):
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake.requests.append((self.path, dict(self.headers)))
                time.sleep(fake.delay_s)
                status, headers, body = fake._content(self.path, self.headers)
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    if status != 304:
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *args):
                pass

        return Handler
