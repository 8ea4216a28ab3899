"""A browser's EventSource and WebSocket on the gateway's event streams, from a page of another origin, over a restart of the gateway."""
import contextlib
import http.server
import os
import tempfile
import threading
import urllib.parse

from harness.chromium import Chromium
from harness.gateway import Site, certificate
from harness.pg import ROOT, free_port

PAGE = os.path.join(ROOT, "test/peers/browser_events.html")


class Pages:
    """Serves the one page, at an origin of its own."""

    def __init__(self):
        with open(PAGE, "rb") as f:
            page = f.read()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def environment():
    with Site() as site, Pages() as pages, Chromium() as browser:
        site.query("SELECT events.define_topic('news'), events.let_listen('news', 'events.read')")
        site.pages, site.browser, site.emitted = pages, browser, 0
        site.web = site.gateway(port=free_port(), allow_origins=pages.origin)
        yield site


def emit(site, n):
    site.as_org(f"SELECT count(events.emit('news', NULL, 'news.made', jsonb_build_object('n', i))) FROM generate_series({site.emitted}, {site.emitted + n - 1}) i")
    site.emitted += n


def page(site, host="127.0.0.1", gateway=None):
    """Opens the page; by another name of the same address it is of another origin."""
    origin = site.pages.origin.replace("127.0.0.1", host)
    site.browser.open(f"{origin}/?gateway=" + urllib.parse.quote(gateway or f"http://127.0.0.1:{site.web.port}", safe=""))


def everything(site, timeout_s=20, first=0):
    n = site.emitted - first
    site.browser.wait(f"return seen.sse.length >= {n} && seen.ws.length >= {n}", timeout_s)
    for kind in ("sse", "ws"):
        seen = site.browser.script(f"return seen.{kind}")
        assert seen == list(range(first, site.emitted)), f"{kind}: {seen}"


def test_both_streams(site):
    page(site)
    site.browser.script("start(arguments[0])", site.token())
    site.browser.wait("return open()")
    emit(site, 20)
    everything(site)
    emit(site, 200)
    everything(site)
    assert site.browser.script("return [breaks.sse, breaks.ws]") == [0, 0]


def test_over_a_restart(site):
    """The page goes on where it was: nothing is missed, nothing comes twice."""
    assert site.web.stop() == 0
    emit(site, 30)
    site.browser.wait("return breaks.sse > 0 && breaks.ws > 0")
    site.web.start().ready()
    emit(site, 30)
    site.browser.wait("return open()")
    everything(site)
    emit(site, 30)
    everything(site)
    site.web.kill9()
    emit(site, 30)
    site.web.start().ready()
    everything(site)


def test_over_the_gateways_own_tls(site):
    """EventSource by https, WebSocket by wss; more than may wait for them, and over a restart."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        pem, key = certificate(folder)
        web = site.gateway(port=free_port(), allow_origins=site.pages.origin, tls_certificate=pem, tls_key=key, listener_buffer=65536)
        page(site, gateway=f"https://127.0.0.1:{web.port}")
        site.browser.script("start(arguments[0])", site.token())
        site.browser.wait("return open()")
        first = site.emitted
        for _ in range(5):
            emit(site, 500)
        everything(site, first=first)
        assert web.stop() == 0
        emit(site, 30)
        site.browser.wait("return breaks.sse > 0 && breaks.ws > 0")
        web.start().ready()
        everything(site, first=first)
        assert web.stop() == 0


def test_a_page_of_another_origin(site):
    """That the gateway does not know: it gets no ticket, and with one of somebody else's neither stream."""
    page(site, "localhost")
    ticket = site.web.call("POST", "/events/tickets", token=site.token()).json["ticket"]
    site.browser.script("""
        window.refused = [];
        fetch(base + "/events/tickets", {method: "POST", headers: {Authorization: "Bearer " + arguments[1]}}).then(
            () => refused.push("a ticket was given"), () => refused.push("ticket"));
        const socket = new WebSocket(base.replace("http", "ws") + "/ws?ticket=" + arguments[0]);
        socket.onopen = () => refused.push("a socket was opened");
        socket.onerror = () => refused.push("socket");
        const source = new EventSource(base + "/events?ticket=" + arguments[0]);
        source.onopen = () => refused.push("a stream was opened");
        source.onerror = () => { source.close(); refused.push("stream"); };
        """, ticket, site.token())
    site.browser.wait("return refused.length === 3")
    assert sorted(site.browser.script("return refused")) == ["socket", "stream", "ticket"], site.browser.script("return refused")
