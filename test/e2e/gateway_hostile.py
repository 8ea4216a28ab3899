"""The gateway against those who mean it no good: smuggling, slow clients, floods, and TLS. On raw sockets."""
import contextlib
import re
import socket
import ssl
import tempfile
import threading
import time

from harness.gateway import Site, certificate

GOOD = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


@contextlib.contextmanager
def environment():
    with Site() as site:
        site.web = site.gateway(header_ms=700, min_body_rate=1000, idle_ms=3000, connections_per_address=300)
        yield site


def statuses(received):
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


SMUGGLING = {
    "length and encoding": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"length_and_encoding"),
    "encoding and length": (b"POST /pools HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", b"length_and_encoding"),
    "two lengths": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n", b"bad_content_length"),
    "equal lengths": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", b"bad_content_length"),
    "list of lengths": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", b"bad_content_length"),
    "signed length": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", b"bad_content_length"),
    "negative length": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b"bad_content_length"),
    "huge length": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", b"bad_content_length"),
    "encoding not chunked": (b"POST /pools HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", b"bad_transfer_encoding"),
    "encoding twice": (b"POST /pools HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", b"bad_transfer_encoding"),
    "encoding hidden by a tab": (b"POST /pools HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked, identity\r\n\r\n", b"bad_transfer_encoding"),
    "encoding with a control": (b"POST /pools HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", b"bad_header"),
    "encoding in 1.0": (b"POST /pools HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"bad_transfer_encoding"),
    "space before the colon": (b"POST /pools HTTP/1.1\r\nHost: a\r\nContent-Length : 44\r\n\r\n", b"bad_header"),
    "folded header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", b"folded_header"),
    "folded encoding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", b"bad_transfer_encoding|folded_header"),
    "first header folded": (b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", b"folded_header"),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: a\n\n", b"bad_line_end"),
    "one bare line feed": (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", b"bad_line_end"),
    "bare carriage return": (b"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", b"bad_line_end"),
    "NUL in a header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", b"bad_header"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", b"bad_host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"bad_host"),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", b"bad_host"),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", b"bad_target"),
    "tab for a space": (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", b"bad_request_line"),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", b"bad_request_line"),
    "no version": (b"GET /\r\nHost: a\r\n\r\n", b"bad_request_line"),
    "other version": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", b"version_not_supported"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"method_not_known"),
    "empty line first": (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", b"bad_request_line"),
    "absolute target": (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", b"bad_target"),
    "our own method": (b"REFUSED /x HTTP/1.1\r\nHost: a\r\n\r\n", b"method_not_known"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100 + b"\r\n\r\n", b"bad_request_line|bad_line_end"),
    "no colon": (b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n", b"bad_header"),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"target_too_long"),
    "large header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 30000 + b"\r\n\r\n", b"headers_too_large"),
    "many headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"headers_too_large"),
    "many parameters": (b"GET /?" + b"a&" * 500 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"too_many_parameters"),
}


def test_smuggling(site):
    """Each is refused with its reason, nothing behind it is answered, and what came before it is."""
    wrong = []
    for name, (attack, reason) in SMUGGLING.items():
        for before in (b"", GOOD):
            received = site.web.raw(before + attack + GOOD, timeout_s=3)
            got = statuses(received)
            wanted = len(before and [200]) + 1
            codes = re.findall(rb'"code":"(\w+)"', received)
            if len(got) != wanted or got[:-1] != [200] * (wanted - 1) or got[-1] < 400 or not codes or not re.fullmatch(reason, codes[-1]):
                wrong.append(f"{name}: {got} {codes}, wanted {reason}: {received[-300:]}")
    assert not wrong, "\n".join(wrong)


def test_smuggling_in_pieces(site):
    """The same byte by byte: how the bytes come makes no difference."""
    for name in ("length and encoding", "folded header", "bare line feeds", "two hosts"):
        attack, reason = SMUGGLING[name]
        received = site.web.raw(GOOD + attack + GOOD, timeout_s=3, piece=1)
        assert statuses(received)[0] == 200 and len(statuses(received)) == 2 and reason in received, (name, received)


CHUNKS = {
    "bare line feed": b"3\nabc\r\n0\r\n\r\n", "extension": b"3;a=b\r\nabc\r\n0\r\n\r\n", "space": b"3 \r\nabc\r\n0\r\n\r\n", "sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "0x": b"0x3\r\nabc\r\n0\r\n\r\n", "too long": b"3\r\nabcd\r\n0\r\n\r\n", "too short": b"3\r\nab\r\n0\r\n\r\n", "trailer": b"0\r\nX: y\r\n\r\n",
    "overflow": b"FFFFFFFFFFFFFFFFF\r\nabc\r\n", "huge": b"7fffffff\r\nabc\r\n", "no digits": b"\r\nabc\r\n",
}


def test_chunks(site):
    head = b"POST /certificates/check HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    for name, body in CHUNKS.items():
        received = site.web.raw(head + body + GOOD, timeout_s=3)
        assert len(statuses(received)) <= 1 and all(s >= 400 for s in statuses(received)), (name, received)
        assert b'"status":"ok"' not in received, (name, received)
    # Good ones are put together, and the connection lives on.
    received = site.web.raw(head + b"3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n" + GOOD, timeout_s=1)
    assert statuses(received) == [401, 200], received


def test_pipelined_requests(site):
    """Many requests at once on one connection are answered in their order."""
    token = site.token().encode()
    one = b"GET /pools?max_items=%d HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + token + b"\r\nX-Request-Id: r%d\r\n\r\n"
    received = site.web.raw(b"".join(one % (n + 1, n) for n in range(50)), timeout_s=2)
    assert statuses(received) == [200] * 50, statuses(received)
    assert re.findall(rb"X-Request-Id: r(\d+)", received) == [b"%d" % n for n in range(50)]
    body = b'{"pool": "NONE", "channel": "b"}'
    post = (b"POST /certificates/reservations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer " + token +
            b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    received = site.web.raw((post + GOOD) * 10, timeout_s=2, piece=777)
    assert statuses(received) == [404, 200] * 10, statuses(received)


def test_pipelined_behind_a_slow_one(site):
    """A request whose beginning came with one that takes long is not late: nobody reads it meanwhile."""
    site.function("rpc_slow", "", "BEGIN PERFORM pg_catalog.pg_sleep(2.5); RETURN '1'; END")
    web = site.gateway(header_ms=700, min_body_rate=100000, schemas="api")
    assert web.wait_log('"msg":"functions loaded"')
    slow = b"POST /rpc/rpc_slow HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    second = b"POST /rpc/rpc_slow HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2002\r\n\r\n{" + b" " * 2000 + b"}"
    for cut in (20, len(second) - 1000):
        with socket.create_connection(("127.0.0.1", web.port), timeout=10) as s:
            s.sendall(slow + second[:cut])
            time.sleep(0.1)
            s.sendall(second[cut:])
            received = b""
            while len(statuses(received)) < 2 and (more := s.recv(65536)):
                received += more
            assert statuses(received) == [200, 200], (cut, received)
    # And one that does not come after it is.
    assert statuses(web.raw(slow + second[:20], timeout_s=5)) == [200, 408]
    web.stop()


def test_connections(site):
    """1.1 stays open, 1.0 and Connection: close do not."""
    start = time.time()
    received = site.web.raw(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GOOD, timeout_s=40)
    assert statuses(received) == [200] and time.time() - start < 20
    start = time.time()
    received = site.web.raw(b"GET /health/live HTTP/1.0\r\n\r\n", timeout_s=40)
    assert len(re.findall(rb"HTTP/1\.[01] 200", received)) == 1 and time.time() - start < 20
    received = site.web.raw(b"POST /certificates/check HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", timeout_s=1)
    assert statuses(received) == [401], received    # refused before the body is asked for


def test_slow_heads(site):
    """A head that does not come in time ends its connection, however busily its bytes drip."""
    start = time.time()
    received = site.web.raw(b"GET /health/live HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 1000, timeout_s=60, piece=1, pause_s=0.05)
    assert statuses(received) == [408] and time.time() - start < 40, (received, time.time() - start)
    # An open connection without a byte, too.
    start = time.time()
    assert statuses(site.web.raw(b"", timeout_s=60)) == [408] and time.time() - start < 40


def test_slow_bodies(site):
    """What counts is what came: neither a length nor the size of a chunk is believed."""
    head = b"POST /certificates/check HTTP/1.1\r\nHost: a\r\n"
    for framing in (b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n80000\r\n"):
        with socket.create_connection(("127.0.0.1", site.web.port)) as s:
            start = time.time()
            s.sendall(head + framing)
            s.settimeout(0.2)
            received = None
            while received is None and time.time() - start < 8:
                try:
                    received = s.recv(1000)
                except TimeoutError:
                    s.sendall(b"x" * 10)
            assert received and statuses(received) == [408], (framing, received)


def test_upgrade_with_a_body(site):
    """Java's client asks for h2c with its first request, body and all: whether that came in one piece makes no difference."""
    body = b'{"code": "c", "cvc": "1"}'
    request = (b"POST /certificates/check HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n"
               b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
    assert statuses(site.web.raw(request, timeout_s=3)) == [401]
    assert statuses(site.web.raw(request, timeout_s=3, piece=7)) == [401]


def test_slowloris(site):
    """Hundreds of half requests: others are served meanwhile, and no database connection is held."""
    sockets = []
    try:
        for _ in range(200):
            s = socket.create_connection(("127.0.0.1", site.web.port))
            s.sendall(b"POST /certificates/check HTTP/1.1\r\nHost: a\r\nX-")
            sockets.append(s)
        slowest = 0
        for _ in range(20):
            start = time.time()
            assert site.web.call("GET", "/pools", token=site.token()).status == 200
            slowest = max(slowest, time.time() - start)
        assert slowest < 1, slowest
        assert site.web.call("GET", "/health/ready").json["in_flight"] == 0
        time.sleep(2)
        ended = 0
        for s in sockets:
            s.settimeout(2)
            data = s.recv(1000)
            ended += data == b"" or b" 408 " in data
        assert ended == 200, ended
    finally:
        for s in sockets:
            s.close()


def test_connections_per_address(site):
    sockets = [socket.create_connection(("127.0.0.1", site.web.port)) for _ in range(330)]
    time.sleep(0.3)
    dead = 0
    for s in sockets:
        s.settimeout(0.01)
        try:
            s.sendall(GOOD)
            time.sleep(0.001)
            dead += s.recv(100) == b""
        except (ConnectionResetError, BrokenPipeError):
            dead += 1
        except socket.timeout:
            pass
        s.close()
    assert dead >= 25, dead
    time.sleep(0.2)
    assert site.web.call("GET", "/health/live").status == 200


def test_slow_readers(site):
    """A client that does not read its answer holds no database connection."""
    site.as_org(*[f"SELECT certificates.create_pool('P{n:04}', 'EUR', 5000)" for n in range(900)])
    sockets = []
    try:
        for _ in range(20):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            s.connect(("127.0.0.1", site.web.port))
            s.sendall(b"GET /pools?max_items=1000 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + site.token().encode() + b"\r\n\r\n")
            sockets.append(s)
        time.sleep(1)
        ready = site.web.call("GET", "/health/ready").json
        assert ready["in_flight"] == 0 and ready["waiting"] == 0, ready
        assert site.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web' AND state <> 'idle'") == [(0,)]
        assert site.web.call("GET", "/pools?max_items=1", token=site.token()).status == 200
    finally:
        for s in sockets:
            s.close()


def test_garbage(site):
    """Random bytes, and good requests with random damage: no crash, no 5xx but for what says so."""
    import random
    rng = random.Random(7)
    base = b"POST /certificates/check HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n{\"code\": \"a\", \"cvc\": \"b\"}"
    seen = set()

    def attack(seed):
        mine = random.Random(seed)
        for _ in range(150):
            data = bytearray(base * mine.randint(1, 3))
            for _ in range(mine.randint(1, 6)):
                at = mine.randrange(len(data))
                what = mine.random()
                if what < 0.4:
                    data[at] = mine.randrange(256)
                elif what < 0.7:
                    del data[at:at + mine.randint(1, 20)]
                else:
                    data[at:at] = bytes(mine.randrange(256) for _ in range(mine.randint(1, 20)))
            seen.update(statuses(site.web.raw(bytes(data), timeout_s=0.2, shut=True)))
    threads = [threading.Thread(target=attack, args=(rng.random(),)) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert seen and not {s for s in seen if s >= 500} - {501, 505}, seen
    assert site.web.call("GET", "/health/live").status == 200 and "a process ended" not in site.web.text()


def test_tls(site):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        pem, key = certificate(folder)
        web = site.gateway(tls_certificate=pem, tls_key=key, header_ms=1000)
        assert web.call("GET", "/pools", token=site.token()).status == 200
        connection = web.connect()
        for _ in range(20):
            assert web.call("GET", "/pools", token=site.token(), connection=connection).status == 200
        answer = web.call("POST", "/certificates/check", b'{"code": "' + b"x" * 300000 + b'", "cvc": "b"}', site.token(), {"Content-Type": "application/json"})
        assert answer.status in (200, 400), answer
        # Plain HTTP, an old protocol, and smuggling inside of TLS.
        assert b"200" not in web.raw(GOOD, timeout_s=3)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for name in ("length and encoding", "folded header", "bare line feeds"):
            attack, reason = SMUGGLING[name]
            with context.wrap_socket(socket.create_connection(("127.0.0.1", web.port), timeout=5)) as s:
                s.sendall(GOOD + attack + GOOD)
                received = b""
                with contextlib.suppress(OSError):
                    while got := s.recv(65536):
                        received += got
            assert statuses(received)[0] == 200 and len(statuses(received)) == 2 and reason in received, (name, received)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with context.wrap_socket(socket.create_connection(("127.0.0.1", web.port), timeout=5)) as s:
            s.sendall(b"GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b" 200 " in s.recv(1000)
        # A handshake that never comes ends like a head that never comes.
        start = time.time()
        web.raw(b"\x16", timeout_s=60)
        assert time.time() - start < 40
        assert web.stop() == 0
