"""Event streams: order, tenants, filters, resuming, rights, slow readers, many listeners."""
import concurrent.futures
import contextlib
import json
import os
import socket as socket_module
import ssl
import struct
import tempfile
import threading
import time

from harness.crowd import Crowd, children, memory, raise_file_limit
from harness.gateway import KID, SECRET, Site, certificate
from harness.streams import CLOSE, PING, PONG, TEXT, Positions, Refused, Sse, WebSocket

TOPIC, GUARDED = "news", "secrets"


@contextlib.contextmanager
def environment():
    with Site() as site:
        for topic, permission in ((TOPIC, "events.read"), ("orders", "events.read"), (GUARDED, "certificates.read")):
            site.query("SELECT events.define_topic(%s)", (topic,))
            site.query("SELECT events.let_listen(%s, %s)", (topic, permission))
        site.query("SELECT events.define_topic('unheard')")
        site.other = site.organization("Other")
        site.stranger = site.person("eve@other.test", site.other, "owner")
        site.settings = {"events_ping_ms": 3000, "events_check_ms": 1500, "listeners_per_principal": 1000}
        site.web = site.gateway(**site.settings)
        yield site


def emit(site, n, topic=TOPIC, key=None, type="news.made", organization=None, first=0, payload=""):
    """Emits n events, and waits until they can be read: a stream that is opened then begins behind them."""
    before = site.query("SELECT events.position()::text")[0][0]
    site.as_org(f"SELECT count(events.emit('{topic}', {repr(key) if key else 'NULL'}, '{type}', jsonb_build_object('n', i, 'text', '{payload}')))"
                f" FROM generate_series({first}, {first + n - 1}) i", organization=organization)
    deadline = time.time() + 60
    while site.query("SELECT count(*) FROM events.read(%s, 1000000, ARRAY[%s])", (before, topic))[0][0] < n and time.time() < deadline:
        time.sleep(0.002)


def numbers(events):
    return [e["payload"]["n"] for e in events]


def exactly(stream, n):
    """The next n events, and what may come behind them, where nothing should."""
    return stream.events(n) + stream.events(1, 0.5)


def side_by_side(streams, n):
    """The numbers of the next n events of each: who is read last would be a slow reader."""
    with concurrent.futures.ThreadPoolExecutor(len(streams)) as pool:
        return list(pool.map(lambda stream: numbers(stream.events(n, 60)), streams))


def positions(site):
    return Positions(site.query("SELECT access.position_keys()")[0][0])


def both(site, **kw):
    """A stream of each kind."""
    token = kw.pop("token", None) or site.token()
    return [Sse(site.web.port, token=token, **kw), WebSocket(site.web.port, token=token, **kw)]


def test_in_order(site):
    for stream in both(site):
        with stream:
            for part in range(5):
                emit(site, 100, first=part * 100)
            events = stream.events(500)
            assert numbers(events) == list(range(500)), numbers(events)
            event = events[0]
            assert event["topic"] == TOPIC and event["type"] == "news.made" and event["key"] is None and event["headers"] is None
            assert event["occurred_at"].endswith("Z") and len(event["id"]) == 36
            row = site.as_org(f"SELECT position::text, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM events.read(NULL, 100000) WHERE id = '{event['id']}'")
            assert row == [(positions(site).open(site.org, event["position"]), event["occurred_at"])], (row, event)


def test_heads(site):
    with Sse(site.web.port, token=site.token()) as stream:
        assert stream.headers["content-type"] == "text/event-stream" and stream.headers["cache-control"] == "no-store", stream.headers
        assert stream.headers["x-request-id"] and stream.headers["traceparent"] and stream.retry == 3000
    with WebSocket(site.web.port, token=site.token(), headers={"Sec-WebSocket-Protocol": "chat, backoffice.events.v1"}) as socket:
        assert socket.headers["sec-websocket-protocol"] == "backoffice.events.v1"
    assert site.web.call("HEAD", "/events", token=site.token()).headers["content-type"] == "text/event-stream"


def test_tenants(site):
    """Never another tenant's event, nor one of nobody's; live and from the log."""
    mine, theirs = both(site), both(site, token=site.token(site.stranger, site.other))
    start = mine[0].start
    emit(site, 50)
    emit(site, 50, organization=site.other, first=1000)
    site.query(f"SELECT events.emit('{TOPIC}', NULL, 'news.made', '{{\"n\": -1}}')")
    emit(site, 50, first=50)
    emit(site, 1, organization=site.other, first=1050)
    late = [Sse(site.web.port, token=site.token(), query="last_event_id=" + start), WebSocket(site.web.port, token=site.token(), query="last_event_id=" + start)]
    for stream in mine + late:
        assert numbers(exactly(stream, 100)) == list(range(100))
        stream.close()
    for stream in theirs:
        assert numbers(exactly(stream, 51)) == list(range(1000, 1051))
        stream.close()


def test_filters(site):
    port, token = site.web.port, site.token()
    streams = {q: Sse(port, token=token, query=q) for q in ("topics=orders", "topics=orders,news&key=k%201", "types=news.*", "types=a,order.paid", "key=k%201", "")}
    for topic, key, type in (("orders", "k 1", "order.paid"), ("news", "k 1", "news.made"), ("orders", "k2", "order.sent"), ("news", None, "old.news")):
        emit(site, 1, topic, key, type)
    emit(site, 1, "unheard", "k 1", "order.paid")
    wanted = {"topics=orders": ["order.paid", "order.sent"], "topics=orders,news&key=k%201": ["order.paid", "news.made"], "types=news.*": ["news.made"],
              "types=a,order.paid": ["order.paid"], "key=k%201": ["order.paid", "news.made"], "": ["order.paid", "news.made", "order.sent", "old.news"]}
    for q, stream in streams.items():
        assert [e["type"] for e in exactly(stream, len(wanted[q]))] == wanted[q], q
        with Sse(port, token=token, query=q + "&last_event_id=" + stream.start) as again:
            assert [e["type"] for e in exactly(again, len(wanted[q]))] == wanted[q], "from the log: " + q
        stream.close()


def refused(site, status, code, kind=Sse, token=None, **kw):
    try:
        kind(site.web.port, token=site.token() if token is None else token, **kw).close()
    except Refused as e:
        assert (e.status, e.code) == (status, code), (status, code, e)
        return e
    raise AssertionError(f"not refused: {status} {code} {kw}")


def test_refusals(site):
    for query, code in (("topics=", "bad_topics"), ("topics=a,,b", "bad_topics"), ("topics=" + ",".join(["x"] * 33), "bad_topics"), ("topics=" + "x" * 250, "bad_topics"),
                        ("types=" + "x" * 256, "bad_types"), ("key=", "bad_key"), ("key=" + "x" * 1025, "bad_key"), ("key=%ff", "bad_encoding"),
                        ("nonsense=1", "unknown_parameter"), ("key=a&key=b", "duplicate_parameter"), ("last_event_id=x", "bad_position"),
                        ("last_event_id=1:2", "bad_position"), ("last_event_id=1:2:99999999999999999999", "bad_position"), ("ticket=x", "two_credentials")):
        refused(site, 400, code, query=query)
    refused(site, 400, "bad_position", headers={"Last-Event-ID": "x"})
    for topic in ("unheard", "nonsense", "news,unheard"):
        refused(site, 403, "topic_forbidden", query="topics=" + topic)
    assert "www-authenticate" in refused(site, 401, "no_token", token="").headers
    refused(site, 401, "token_malformed", token="nonsense")
    refused(site, 401, "token_expired", token=site.token(seconds=-100))
    refused(site, 401, "ticket_unknown", token="", query="ticket=x")
    nobody = site.person("nobody@acme.test", site.org)
    refused(site, 403, "permission_denied", token=site.token(nobody))
    ws = lambda status, code, **headers: refused(site, status, code, WebSocket, headers={k.replace("_", "-"): v for k, v in headers.items()})
    ws(426, "bad_websocket_version", Sec_WebSocket_Version="8")
    ws(426, "upgrade_required", Upgrade="h2c")
    ws(400, "bad_websocket_key", Sec_WebSocket_Key="short")
    ws(403, "origin_not_allowed", Origin="https://evil.example")
    with WebSocket(site.web.port, token=site.token(), headers={"Origin": "http://localhost"}):
        pass
    refused(site, 426, "upgrade_required", type("Plain", (Sse,), {"path": "/ws"}))


def test_tickets(site):
    """A ticket stands in for the token once, and for half a minute."""
    answer = site.web.call("POST", "/events/tickets", token=site.token())
    assert answer.status == 201 and answer.json["expires_in"] == 30 and answer.headers["cache-control"] == "no-store", answer
    with Sse(site.web.port, query="ticket=" + answer.json["ticket"]) as stream:
        emit(site, 3)
        assert numbers(stream.events(3)) == [0, 1, 2]
    refused(site, 401, "ticket_unknown", token="", query="ticket=" + answer.json["ticket"])
    ticket = site.web.call("POST", "/events/tickets", token=site.token()).json["ticket"]
    wrong = ticket[:-1] + ("0" if ticket[-1] != "0" else "1")
    refused(site, 401, "ticket_unknown", token="", query="ticket=" + wrong)
    with WebSocket(site.web.port, query="ticket=" + ticket):
        pass
    assert site.web.call("POST", "/events/tickets").code == "no_token"
    assert site.web.call("POST", "/events/tickets", token=site.token(seconds=-100)).code == "token_expired"
    assert ticket not in site.web.text() and answer.json["ticket"] not in site.web.text(), "a ticket in the log"


def test_tickets_of_several_processes(site):
    """Whichever process gets the ticket, it is good, once."""
    web = site.gateway(processes=3, **site.settings)
    for _ in range(20):
        ticket = web.call("POST", "/events/tickets", token=site.token()).json["ticket"]
        with Sse(web.port, query="ticket=" + ticket):
            pass
        for _ in range(3):
            try:
                Sse(web.port, query="ticket=" + ticket)
                raise AssertionError("twice")
            except Refused as e:
                assert e.code == "ticket_unknown"
    # An event goes to listeners of all of them.
    streams = [Sse(web.port, token=site.token()) for _ in range(12)]
    emit(site, 5)
    for stream in streams:
        with stream:
            assert numbers(stream.events(5)) == list(range(5))
    web.stop()


def test_api_keys(site):
    """A machine listens with its key, until that is revoked."""
    made = site.web.call("POST", "/api-keys", {"name": "machine", "scopes": ["events.read"]}, site.token())
    assert made.status == 201, made
    for stream in both(site, token=made.json["key"], query="topics=news"):
        with stream:
            emit(site, 2)
            assert numbers(stream.events(2))[-2:] == [0, 1]
            if isinstance(stream, WebSocket):
                assert site.web.call("DELETE", "/api-keys/" + made.json["id"], token=site.token()).status == 200
                assert stream.closing() == "api_key_unknown" and stream.close_code == 4401


def test_signs_of_life(site):
    """The position moves on with what others do, so that a quiet listener does not fall behind."""
    stream, socket = both(site, query="topics=orders")
    with stream, socket:
        emit(site, 10)
        now = site.as_org("SELECT events.position()::text")[0][0]
        deadline = time.time() + 60
        seal = positions(site)
        while seal.open(site.org, stream.last_id) != now and stream.block(deadline):
            pass
        assert seal.open(site.org, stream.last_id) == now, (stream.last_id, now)
        seen = []
        while len(seen) < 4:
            opcode, payload = socket.frame()
            seen.append("ping" if opcode == PING else json.loads(payload)["control"])
            if opcode == PING:
                socket.send(PONG, payload)
        assert set(seen) == {"ping", "position"}, seen


def test_resume(site):
    """From the log in pages, joined with what happens meanwhile: no gap, nothing twice."""
    with Sse(site.web.port, token=site.token()) as stream:
        start = stream.start
    emit(site, 3000)
    stop = threading.Event()
    made = [3000]

    def go_on():
        while not stop.is_set():
            emit(site, 5, first=made[0])
            made[0] += 5
    emitter = threading.Thread(target=go_on)
    emitter.start()
    try:
        streams = [Sse(site.web.port, token=site.token(), headers={"Last-Event-ID": start}) for _ in range(5)]
        streams += [WebSocket(site.web.port, token=site.token(), query="last_event_id=" + start) for _ in range(5)]
        time.sleep(2)
    finally:
        stop.set()
        emitter.join()
    for got in side_by_side(streams, made[0]):
        assert got == list(range(made[0])), (len(got), made[0], [i for i, n in enumerate(got) if i != n][:5])
    for stream in streams:
        stream.close()
    # From any position in between.
    with Sse(site.web.port, token=site.token(), query="last_event_id=" + start) as stream:
        middle = stream.events(1234)[-1]["position"]
    with Sse(site.web.port, token=site.token(), query="last_event_id=" + middle) as stream:
        assert numbers(stream.events(10)) == list(range(1234, 1244))


def test_positions_that_are_gone(site):
    for position, code in (("00000001:99999999:1", "position_unknown"), ("deadbeef:1:1", "position_unknown")):
        lost(site, positions(site).seal(site.org, position), code)


def lost(site, position, code):
    """Streams that shall go on behind it end with the code, and the position is forgotten."""
    stream, socket = both(site, query="last_event_id=" + position)
    with stream, socket:
        assert stream.closing() == code and stream.last_id == "", (position, stream.last_id)
        assert socket.closing() == code and socket.close_code == 4410, socket.close_code


def test_sealed_positions(site):
    """Positions tell nothing, are good for their own organization only, and survive the rotation of keys while their key is there."""
    with Sse(site.web.port, token=site.token()) as mine, Sse(site.web.port, token=site.token(site.stranger, site.other)) as theirs:
        emit(site, 3)
        events = mine.events(3)
        start, foreign = mine.start, theirs.start
    assert len({e["position"] for e in events} | {start}) == 4 and len({len(e["position"]) for e in events} | {len(start)}) == 1
    forged = start[:-2] + ("A" if start[-2] != "A" else "B") + start[-1]
    plain = site.query("SELECT events.position()::text")[0][0]
    for position in (foreign, forged, plain, start.split(".")[1], start[:-1], start + "A"):
        refused(site, 400, "bad_position", query="last_event_id=" + position)
        refused(site, 400, "bad_position", kind=WebSocket, headers={"Last-Event-ID": position})
    lost(site, "unheard-of." + start.split(".")[1], "position_unknown")
    lines = open(site.pg.key_file).read()

    new = "new " + "5" * 64 + "\n"

    def set_keys(text):
        with open(site.pg.key_file, "w") as f:
            f.write(text)
        site.query("SELECT pg_reload_conf()")
        time.sleep(0.3)
    try:
        set_keys(lines + new)
        other = site.gateway(**site.settings)   # has the new key first
        with Sse(other.port, token=site.token(), query="last_event_id=" + start) as stream:
            assert numbers(stream.events(3)) == [0, 1, 2]
            later = stream.last_id
        assert later.startswith("new.")
        emit(site, 1, first=3)
        # The older gateway asks for keys when it meets one that it does not know.
        with Sse(site.web.port, token=site.token(), query="last_event_id=" + later) as stream:
            assert numbers(stream.events(1)) == [3] and stream.last_id.startswith("new."), stream.last_id
        site.query("SELECT access.rotate_keys()")
        set_keys(new)
        third = site.gateway(**site.settings)
        with Sse(third.port, token=site.token(), query="last_event_id=" + later) as stream:
            assert numbers(stream.events(1)) == [3]
        with Sse(third.port, token=site.token(), query="last_event_id=" + start) as stream:
            assert stream.closing() == "position_unknown" and stream.last_id == ""
        other.stop()
        third.stop()
    finally:
        set_keys(new + lines)


def test_gateway_restarts(site):
    with Sse(site.web.port, token=site.token()) as stream, WebSocket(site.web.port, token=site.token()) as socket:
        emit(site, 10)
        last = stream.events(10)[-1]["position"]
        assert positions(site).open(site.org, socket.events(10)[-1]["position"]) == positions(site).open(site.org, last)
        assert site.web.stop() == 0
        assert stream.closing() == "shutting_down" and 3000 <= stream.retry <= 6000, stream.retry
        assert socket.closing() == "shutting_down" and socket.close_code == 1001
    emit(site, 10, first=10)
    site.web.start().ready()
    for stream in both(site, query="last_event_id=" + last):
        with stream:
            assert numbers(stream.events(10)) == list(range(10, 20))
            emit(site, 1, first=20)
            assert numbers(stream.events(1)) == [20]


def test_database_dies(site):
    """Streams stay open and go on without a gap when the database comes back."""
    stream, socket = both(site)
    with stream, socket:
        emit(site, 100)
        assert len(stream.events(100)) == 100 and len(socket.events(100)) == 100
        site.pg.kill9()
        time.sleep(1)
        site.pg.start()
        deadline = time.time() + 60
        while True:
            try:
                emit(site, 100, first=100)
                break
            except Exception:
                if time.time() > deadline:
                    raise
                time.sleep(0.2)
        site.web.ready()
        for s in (stream, socket):
            assert numbers(s.events(100, 60)) == list(range(100, 200))


def test_rights_end(site):
    """What a listener may no longer hear ends its stream within seconds, with the reason."""
    ann = site.person(f"listener{time.time()}@acme.test", site.org)
    site.query("SELECT access.define_role('listener', ARRAY['events.read', 'certificates.read'], organization => %s)", (site.org,))
    grant = lambda: site.query("SELECT access.grant_role(%s, 'listener', organization => %s)", (ann, site.org))
    grant()
    for streams, end, code in (
            (both(site, token=site.token(ann)), lambda: site.query("SELECT access.revoke_role(%s, 'listener', organization => %s)", (ann, site.org)), "permission_denied"),
            (None, lambda: site.query("SELECT access.define_role('listener', ARRAY['events.read'], organization => %s)", (site.org,)), "rights_changed"),
            (None, lambda: site.query("SELECT events.let_listen('orders', NULL)"), "rights_changed")):
        if streams is None:
            grant()
            streams = both(site, token=site.token(ann))
        keep = Sse(site.web.port, token=site.token(ann), query="topics=news") if code == "rights_changed" else None
        end()
        for stream in streams:
            with stream:
                assert stream.closing() == code, code
        if keep:
            emit(site, 1)
            assert numbers(keep.events(1)) == [0], "a stream that lost nothing goes on"
            keep.close()
    site.query("SELECT events.let_listen('orders', 'events.read')")


def test_tokens_end(site):
    stream, socket = both(site, token=site.token(seconds=2))
    with stream, socket:
        assert stream.closing() == "token_expired"
        assert socket.closing() == "token_expired" and socket.close_code == 4401


def test_logout_ends(site):
    site.person("ben@acme.test", site.org, "owner", "correct horse battery")
    answer = site.web.call("POST", "/auth/login", {"email": "ben@acme.test", "password": "correct horse battery"})
    assert answer.status == 200, answer
    with Sse(site.web.port, token=answer.json["access_token"]) as stream:
        assert site.web.call("POST", "/auth/logout", token=answer.json["access_token"]).status == 200
        assert stream.closing() == "session_ended"


def test_bursts(site):
    """More than may wait for a client is read from the log again, as it is taken: no gap, and nobody is closed."""
    web = site.gateway(**{**site.settings, "listener_buffer": 65536})
    total = 4000
    with Sse(web.port, token=site.token(), receive_buffer=4096) as one, WebSocket(web.port, token=site.token(), receive_buffer=4096) as two:
        for part in range(0, total, 500):
            emit(site, 500, first=part, payload="x" * 500)
        assert side_by_side((one, two), total) == [list(range(total))] * 2
        emit(site, 10, first=total)
        for stream in (one, two):
            assert numbers(stream.events(10)) == list(range(total, total + 10))
    assert '"code":"slow"' not in web.text()
    web.stop()


def test_slow_reader(site):
    """Who takes nothing any more is closed; from its last position it goes on without a gap."""
    web = site.gateway(**{**site.settings, "listener_buffer": 65536, "events_ping_ms": 500})
    total = 4000
    for kind in (Sse, WebSocket):
        with kind(web.port, token=site.token(), receive_buffer=4096) as slow:
            for part in range(0, total, 500):
                emit(site, 500, first=part, payload="x" * 500)
            assert web.wait_log('"code":"slow"' if kind is Sse else '"why":"no answer"'), "not closed"
            got = slow.events(total, 60)
        assert numbers(got) == list(range(len(got))) and 0 < len(got) < total, len(got)
        with kind(web.port, token=site.token(), query="last_event_id=" + got[-1]["position"]) as again:
            assert numbers(got + again.events(total - len(got), 60)) == list(range(total))
    web.stop()


def memory_kb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_ping_flood(site):
    """Who sends pings, and takes no answers, costs no memory; who takes them gets them."""
    web = site.gateway(**{**site.settings, "listener_buffer": 65536, "events_ping_ms": 20000})
    children = [int(pid) for pid in open(f"/proc/{web.process.pid}/task/{web.process.pid}/children").read().split()] or [web.process.pid]
    with WebSocket(web.port, token=site.token()) as calm:
        for n in range(50):
            calm.send(PING, b"%d" % n)
        assert [calm.frame() for _ in range(50)] == [(PONG, b"%d" % n) for n in range(50)]
    with WebSocket(web.port, token=site.token(), receive_buffer=4096) as flood:
        before = max(map(memory_kb, children))
        pings = b"\x89\x80\x00\x00\x00\x00" * 100000
        for _ in range(20):
            flood.socket.sendall(pings)
        grown = max(map(memory_kb, children)) - before
        assert grown < 20000, grown
    web.stop()


def test_frames(site):
    """What RFC 6455 forbids ends the socket with its code."""
    def after(*sends, code):
        with WebSocket(site.web.port, token=site.token()) as socket:
            for opcode, payload, more in sends:
                socket.send(opcode, payload, **more)
            socket.closing()
            assert socket.close_code == code, (sends, socket.close_code, code)
    after((TEXT, b"hello", {"mask": False}), code=1002)
    after((TEXT, b"hello", {"head": 0xc0}), code=1002)
    after((3, b"", {}), code=1002)
    after((0, b"x", {}), code=1002)
    after((PING, b"x", {"head": 0}), code=1002)
    after((PING, b"x" * 126, {}), code=1002)
    after((TEXT, b"x", {"head": 0}), (TEXT, b"y", {}), code=1002)
    after((TEXT, b"\xff", {}), code=1007)
    after((TEXT, b"\xe2\x82", {"head": 0}), (0, b"x", {}), code=1007)
    after((TEXT, b"x" * 4097, {}), code=1009)
    after((CLOSE, b"\x03", {}), code=1002)
    after((CLOSE, (1005).to_bytes(2, "big"), {}), code=1002)
    after((CLOSE, (1000).to_bytes(2, "big") + b"\xff", {}), code=1007)
    after((CLOSE, (1000).to_bytes(2, "big") + b"bye", {}), code=1000)
    after((CLOSE, b"", {}), code=1005)
    with WebSocket(site.web.port, token=site.token()) as socket:
        socket.send(TEXT, b"\xe2", head=0)
        socket.send(PING, b"between")
        socket.send(0, b"\x82\xac")
        while True:
            opcode, payload = socket.frame()
            if opcode == PONG:
                break
        assert payload == b"between"
        emit(site, 1)
        assert numbers(socket.events(1)) == [0]


def secure(site, **settings):
    """A gateway that does TLS itself, and how its streams are opened there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        pem, key = certificate(folder)
        web = site.gateway(tls_certificate=pem, tls_key=key, **{**site.settings, **settings})
    return web, context, lambda kind, token=None, **kw: kind(web.port, token=token or site.token(), wrap=context.wrap_socket, **kw)


def streams_of(web, wanted, timeout_s=60):
    deadline = time.time() + timeout_s
    while web.metric("backoffice_gateway_streams") != wanted and time.time() < deadline:
        time.sleep(0.05)
    return web.metric("backoffice_gateway_streams")


def test_over_tls(site):
    """Both kinds through the gateway's own TLS: bursts that wait for the client, pings, going on, ends from either side."""
    web, context, listen = secure(site, listener_buffer=65536, events_ping_ms=1000)
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context.maximum_version = version
        for kind in (Sse, WebSocket):
            with listen(kind, receive_buffer=4096) as stream:
                start = stream.start
                for part in range(0, 4000, 500):
                    emit(site, 500, first=part, payload="x" * 500)
                emit(site, 3, first=4000, payload="y" * 200000)
                got = numbers(stream.events(4003, 60))
                assert got == list(range(4003)), (kind, len(got), got[-1:], stream.ended, stream.bytes[:300])
                if version == ssl.TLSVersion.TLSv1_3:
                    assert stream.events(1, 1.2) == []      # signs of life come, and are no events
                emit(site, 1, first=4003)
                assert numbers(stream.events(1)) == [4003]
            with listen(kind, query="last_event_id=" + start) as stream:
                assert numbers(stream.events(4004, 60)) == list(range(4004))
    assert streams_of(web, 0) == 0, "a client that left is noticed at once"
    for kind in (Sse, WebSocket):
        with listen(kind, site.token(seconds=2)) as stream:
            assert stream.closing() == "token_expired"
    assert '"code":"slow"' not in web.text()
    with listen(Sse) as one, listen(WebSocket) as two:
        assert web.stop() == 0
        assert one.closing() == two.closing() == "shutting_down" and two.close_code == 1001


def test_clients_over_tls(site):
    """What clients send and how they leave; one that takes nothing is closed; requests go on beside many."""
    web, _, listen = secure(site, listener_buffer=65536, events_ping_ms=1500)
    with listen(WebSocket) as socket:
        for _ in range(200):
            socket.send(TEXT, b"x" * 4096)
        socket.send(PING, b"still there")
        while (frame := socket.frame()) is not None and frame[0] != PONG:
            pass
        assert frame == (PONG, b"still there"), frame
        socket.send(CLOSE, (1000).to_bytes(2, "big"))
        socket.closing()
        assert socket.close_code == 1000 and socket.ended
    for kind in (Sse, WebSocket):
        with listen(kind, receive_buffer=4096) as slow:
            for part in range(0, 4000, 500):
                emit(site, 500, first=part, payload="x" * 500)
            assert web.wait_log('"code":"slow"' if kind is Sse else '"why":"no answer"'), "not closed"
            got = numbers(slow.events(4000, 60))
        assert got == list(range(len(got))) and 0 < len(got) < 4000, len(got)
    # WebSockets last: they do not answer pings meanwhile.
    many = [listen(kind) for kind in (Sse, WebSocket) for _ in range(20)]
    assert streams_of(web, 40) == 40
    emit(site, 2)
    for stream in many:
        assert numbers(stream.events(2)) == [0, 1]
    assert web.call("GET", "/events/topics", token=site.token()).status == 200
    # Killed: without a word of TLS or WebSocket, some with bytes that were not read.
    for number, stream in enumerate(many):
        if number % 3 == 0:
            stream.socket.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_LINGER, struct.pack("ii", 1, 0))
        if number % 3 == 1:
            socket_module.socket(fileno=stream.socket.detach()).close()
        stream.close()
    assert streams_of(web, 0) == 0
    with listen(Sse) as stream:
        emit(site, 1)
        assert numbers(stream.events(1)) == [0]
    assert web.stop() == 0


def test_several_databases(site):
    """An organization that lives in another database is listened to there."""
    two = lambda sql, params=None: site.pg.query(sql, params, dbname="two")
    site.pg.create_database("two")
    two("SELECT access.add_verification_key(%s, 'HS256', %s), events.define_topic('news'), events.let_listen('news', 'events.read')", (KID, SECRET))
    org = str(two("SELECT access.create_organization('Two')")[0][0])
    user = str(two("SELECT access.create_user('two@two.test', NULL, %s)", (org,))[0][0])
    two("SELECT access.grant_role(%s, 'owner', organization => %s)", (user, org))
    # What that told is readable before anybody listens.
    deadline = time.time() + 60
    while not two("SELECT (SELECT count(*) FROM events.log) = (SELECT count(*) FROM events.read(NULL, 1000000))")[0][0] and time.time() < deadline:
        time.sleep(0.02)
    with tempfile.NamedTemporaryFile("w", dir="/tmp", suffix=".databases") as f:
        f.write(f"{org} {site.pg.dsn('two', 'web')}\n")
        f.flush()
        web = site.gateway(databases_file=f.name, **site.settings)
    streams = [kind(web.port, token=token) for kind in (Sse, WebSocket) for token in (site.token(), site.token(user, org))]
    emit(site, 3)
    conn = site.pg.connect("two", autocommit=False)
    with conn.cursor() as cur:
        cur.execute("SELECT access.act_as(%s)", (org,))
        cur.execute("SELECT events.emit('news', NULL, 'news.made', jsonb_build_object('n', i)) FROM generate_series(10, 14) i")
    conn.commit()
    conn.close()
    for stream, wanted in zip(streams, ([0, 1, 2], [10, 11, 12, 13, 14]) * 2):
        with stream:
            assert numbers(exactly(stream, len(wanted))) == wanted
    web.stop()


def test_limits(site):
    web = site.gateway(listeners=5, listeners_per_principal=3)
    one = [Sse(web.port, token=site.token()) for _ in range(3)]
    try:
        Sse(web.port, token=site.token())
        raise AssertionError("a fourth stream of one principal")
    except Refused as e:
        assert (e.status, e.code) == (429, "too_many_listeners") and e.headers["retry-after"]
    two = [Sse(web.port, token=site.token(site.stranger, site.other)) for _ in range(2)]
    try:
        Sse(web.port, token=site.token(site.stranger, site.other))
        raise AssertionError("a sixth stream")
    except Refused as e:
        assert (e.status, e.code) == (503, "no_listener_free") and e.headers["retry-after"]
    one.pop().close()
    deadline = time.time() + 60
    while web.metric("backoffice_gateway_streams") != 4 and time.time() < deadline:
        time.sleep(0.05)
    with Sse(web.port, token=site.token()):
        pass
    for stream in one + two:
        stream.close()
    web.stop()


def test_reads_only_for_listeners(site):
    """Without listeners there is no connection that reads the log."""
    web = site.gateway(**site.settings)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'backoffice-gateway events'"
    before = site.query(count)[0][0]
    with Sse(web.port, token=site.token()), Sse(web.port, token=site.token(site.stranger, site.other)):
        deadline = time.time() + 60
        while site.query(count)[0][0] != before + 1 and time.time() < deadline:
            time.sleep(0.05)
        assert site.query(count)[0][0] == before + 1
    deadline = time.time() + 60
    while site.query(count)[0][0] > before and time.time() < deadline:
        time.sleep(0.2)
    assert site.query(count)[0][0] <= before
    web.stop()


def test_ten_thousand(site):
    """Idle listeners, each with a token of its own: no database connection more, at most 16 KiB each; an event comes to all."""
    n = min(10000, (raise_file_limit() - 500) // 2 * 2)
    web = site.gateway(listeners_per_principal=n + 100, connections=n + 100, events_check_ms=4000)
    pids = children(web.process.pid)
    with Sse(web.port, token=site.token()) as warm:
        connections = site.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web'")[0][0]
        before = memory(pids)
        started = time.time()
        with Crowd(web.port, [("/ws" if i % 2 else "/events", site.token(jti=str(i))) for i in range(n)]) as crowd:
            opened_s = time.time() - started
            crowd.drain(3)
            each = (memory(pids) - before) / n
            print(f"       {n} listeners opened in {opened_s:.1f} s, {each:.0f} bytes each")
            # A sanitizer's memory is not ours.
            assert crowd.open_count() == n and (each <= 16384 or "san" in os.environ.get("WORKERS_BUILD", "")), (crowd.open_count(), each)
            assert site.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'web'")[0][0] <= connections
            started = time.time()
            emit(site, 3)
            crowd.drain(60, lambda: crowd.events >= 3 * n)
            print(f"       3 events at all of them after {time.time() - started:.2f} s")
            assert crowd.events == 3 * n and len(warm.events(3)) == 3, crowd.events
            # All their rights are looked at again and again, and requests are answered meanwhile.
            slowest, calls = 0, web.metric("backoffice_gateway_calls_total")
            while crowd.pings < n:
                started = time.time()
                assert web.call("GET", "/events/topics", token=site.token()).status == 200
                slowest = max(slowest, time.time() - started)
                crowd.drain(0.5)
            print(f"       slowest request beside them {slowest * 1000:.0f} ms; {crowd.pings} signs of life")
            calls = web.metric("backoffice_gateway_calls_total") - calls
            assert crowd.open_count() == n and slowest < 20 and calls < n / 10, (crowd.open_count(), crowd.pings, slowest, calls)
            # What no event tells is seen by the next round: one topic less, for all of them.
            started = time.time()
            site.query("SELECT events.let_listen('orders', NULL)")
            crowd.drain(120, lambda: crowd.open_count() == 0)
            rounds_s = time.time() - started
            site.query("SELECT events.let_listen('orders', 'events.read')")
            print(f"       all closed {rounds_s:.1f} s after a change that no event tells")
            assert crowd.open_count() == 0, crowd.open_count()
        with Crowd(web.port, [("/ws" if i % 2 else "/events", site.token(jti=str(i))) for i in range(n)]) as crowd:
            started = time.time()
            site.query("SELECT access.set_organization_state(%s, 'suspended')", (site.org,))
            crowd.drain(120, lambda: crowd.open_count() == 0)
            print(f"       all closed {time.time() - started:.1f} s after the organization was suspended")
            assert crowd.open_count() == 0, crowd.open_count()
        site.query("SELECT access.set_organization_state(%s, 'active')", (site.org,))
    web.stop()


def test_no_secrets_in_the_log(site):
    for gateway in site.gateways:
        text = gateway.text()
        assert "eyJ" not in text and "hunter2" not in text and "ticket=" not in text
