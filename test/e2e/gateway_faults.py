"""The gateway when things break under load: backends, the server, itself; too many requests, slow ones, clients that leave."""
import collections
import contextlib
import os
import signal
import socket
import threading
import time

from harness.gateway import Site


@contextlib.contextmanager
def environment():
    with Site({"max_connections": "60", "listen_addresses": "'127.0.0.1'"}) as site:
        site.as_org("SELECT certificates.create_pool('XMAS', 'EUR', 5000)")
        # Routes to play with: one that takes as long as it is told, one that notes that it was done.
        site.pg.psql("site", "CREATE TABLE public.done (k text PRIMARY KEY); GRANT ALL ON public.done TO backoffice_user;")
        site.function("check_certificate", "code text, cvc text",
                      "BEGIN PERFORM pg_sleep(cvc::float8); INSERT INTO public.done VALUES (code); RETURN jsonb_build_object('valid', true, 'id', NULL); END")
        yield site


def slow(web, site, key, seconds, **more):
    return web.call("POST", "/certificates/check", {"code": key, "cvc": str(seconds)}, site.token(), **more)


class Load:
    """Threads that call one route until told to stop; counts statuses and codes."""

    def __init__(self, web, token, path="/pools", threads=8, method="GET", body=None):
        self.web, self.token, self.path, self.method, self.body = web, token, path, method, body
        self.seen = collections.Counter()
        self.codes = collections.Counter()
        self.slowest = 0
        self.stopping = False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *exc):
        self.stopping = True
        for t in self.threads:
            t.join()

    def work(self):
        connection = None
        while not self.stopping:
            start = time.time()
            code = None
            try:
                connection = connection or self.web.connect()
                answer = self.web.call(self.method, self.path, self.body, self.token, connection=connection)
                status, code = answer.status, answer.code
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = None
            except OSError as e:
                status, connection = "dropped", None
                code = type(e).__name__
                time.sleep(0.05)
            except Exception as e:
                status, connection, code = "broken", None, type(e).__name__
            with self.lock:
                self.seen[status] += 1
                self.codes[code] += 1
                self.slowest = max(self.slowest, time.time() - start)


def until(what, timeout_s=60, why="it"):
    deadline = time.time() + timeout_s
    while not what():
        assert time.time() < deadline, f"{why} did not come in {timeout_s} s"
        time.sleep(0.02)


def test_first_address_refuses(site):
    """As where localhost is ::1 too, and the server does not listen there."""
    web = site.gateway(start=False)
    web.settings["database"] = f"hostaddr=127.0.0.1,127.0.0.1 port=1,{site.pg.port} dbname=site user=web"
    web.start().ready()
    assert web.call("GET", "/pools", token=site.token()).status == 200
    assert web.stop() == 0


def test_first_address_says_nothing(site):
    """As a host whose packets are dropped, or one that hangs: it has its time, then it is the next one's turn."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(1000)
        web = site.gateway(start=False)
        web.settings["database"] = f"host=127.0.0.1,127.0.0.1 port={mute.getsockname()[1]},{site.pg.port} dbname=site user=web"
        web.start().ready()
        assert web.call("GET", "/pools", token=site.token()).status == 200
        assert web.stop() == 0


def test_shedding(site):
    """More than the queue holds: 503 with Retry-After, at once; what is in keeps being served."""
    web = site.gateway(pool=2, queue=6, queue_ms=1000)
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(slow(web, site, f"shed{n}", 0.5))) for n in range(30)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    counts = collections.Counter(a.status for a in answers)
    assert counts[200] >= 2 and counts[503] >= 15 and set(counts) == {200, 503}, counts
    refused = next(a for a in answers if a.status == 503)
    assert refused.code == "overloaded" and refused.headers["retry-after"] == "1"
    assert web.metric("backoffice_gateway_shed_total") == counts[503]
    assert web.call("GET", "/pools", token=site.token()).status == 200
    # What was refused was not done.
    assert site.query("SELECT count(*) FROM public.done WHERE k LIKE 'shed%'") == [(counts[200],)]
    web.stop()


def test_shedding_is_fair(site):
    """One caller floods; another's single requests get through."""
    web = site.gateway(pool=1, queue=20, queue_ms=5000)
    greedy, modest = site.token(), site.token(site.person("modest@acme.test", site.org, "owner"))
    stop = threading.Event()

    def flood(n):
        i = 0
        while not stop.is_set():
            i += 1
            web.call("POST", "/certificates/check", {"code": f"fair{n}-{i}", "cvc": "0.02"}, greedy)
    threads = [threading.Thread(target=flood, args=(n,)) for n in range(50)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    statuses = [web.call("GET", "/pools", token=modest).status for _ in range(10)]
    stop.set()
    for t in threads:
        t.join()
    assert statuses == [200] * 10, statuses
    assert web.metric("backoffice_gateway_shed_total") > 0
    web.stop()


def test_stacking(site):
    """Fast calls are stacked on busy connections; nothing waits behind a slow one while there is another."""
    web = site.gateway(pool=2, depth=4)
    for _ in range(10):
        web.call("GET", "/pools", token=site.token())
    with Load(web, site.token(), threads=16) as load:
        until(lambda: web.metric("backoffice_gateway_stacked_total") > 50, why="stacking")
    assert set(load.seen) == {200}, load.seen
    for n in range(3):
        slow(web, site, f"warm{n}", 0.05)
    thread = threading.Thread(target=slow, args=(web, site, "stack", 5))
    thread.start()
    time.sleep(0.3)
    for _ in range(20):
        assert web.call("GET", "/pools", token=site.token()).status == 200
    assert thread.is_alive(), "they waited behind the slow one"
    thread.join()
    web.stop()


def test_deadline(site):
    web = site.gateway(request_ms=400)
    start = time.time()
    answer = slow(web, site, "deadline", 60)
    assert answer.status == 504 and answer.code == "deadline_exceeded" and time.time() - start < 40, answer
    assert site.query("SELECT count(*) FROM public.done WHERE k = 'deadline'") == [(0,)], "nothing was changed"
    # Under /rpc as PostgREST has it.
    answer = web.call("POST", "/rpc/check_certificate", {"code": "deadline", "cvc": "5"}, site.token())
    assert answer.status == 500 and answer.json["code"] == "57014", answer
    web.stop()
    # And somebody else's cancelling is no deadline.
    web = site.gateway(request_ms=20000)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(slow(web, site, "cancelled", 10)))
    thread.start()
    # A cancel between two messages of the protocol is lost.
    while thread.is_alive():
        site.query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'web' AND state = 'active' AND query LIKE '%check_certificate%'")
        time.sleep(0.05)
    thread.join()
    assert answers[0].status == 500 and answers[0].code == "query_canceled", answers
    assert web.call("GET", "/pools", token=site.token()).status == 200
    web.stop()


def test_client_gone(site):
    """Who leaves is not worked for: a statement alone on its connection is cancelled."""
    web = site.gateway()
    body = b'{"code": "gone", "cvc": "8"}'
    with socket.create_connection(("127.0.0.1", web.port)) as s:
        s.sendall(b"POST /certificates/check HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer " + site.token().encode() +
                  b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.3)
    busy = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'web' AND state = 'active'"
    assert site.query(busy)[0][0] == 1
    until(lambda: site.query(busy)[0][0] == 0, 5, "the cancel")
    assert web.metric("backoffice_gateway_cancelled_total") == 1 and web.metric("backoffice_gateway_clients_gone_total") == 1
    assert site.query("SELECT count(*) FROM public.done WHERE k = 'gone'") == [(0,)]
    assert all(web.call("GET", "/pools", token=site.token()).status == 200 for _ in range(20))
    web.stop()


def test_backend_killed(site):
    """kill -9 of a backend crash-restarts the server: what was under way is 503, afterwards all is as before."""
    web = site.gateway(pool=4)
    with Load(web, site.token()) as load:
        time.sleep(0.5)
        pid = site.query("SELECT pid FROM pg_stat_activity WHERE usename = 'web' LIMIT 1")[0][0]
        os.kill(pid, signal.SIGKILL)
        time.sleep(1)
        until(lambda: web.call("GET", "/pools", token=site.token()).status == 200, 60, "recovery")
        before = load.seen[200]
        until(lambda: load.seen[200] > before + 100, 60, "service")
    assert set(load.seen) <= {200, 503} and load.codes.keys() <= {None, "database_connection_lost", "database_unavailable", "database_shutting_down", "overloaded"}, (load.seen, load.codes)
    web.stop()


def test_backend_terminated(site):
    """One lost connection touches what is on it, nothing else."""
    web = site.gateway(pool=4)
    with Load(web, site.token()) as load:
        for _ in range(10):
            time.sleep(0.1)
            site.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'web' ORDER BY random() LIMIT 1")
        time.sleep(0.3)
    assert set(load.seen) <= {200, 503} and 0 < load.seen[503] <= 60 < load.seen[200], (load.seen, load.codes)
    until(lambda: web.call("GET", "/health/ready").json["connections"] == 4, 60, "reconnecting")
    web.stop()


def test_server_stopped(site):
    """Without the server: 503 and not ready, quickly; with it again: as before."""
    web = site.gateway(pool=4, heartbeat_ms=300)
    with Load(web, site.token()) as load:
        time.sleep(0.3)
        site.pg.stop("immediate")
        until(lambda: web.call("GET", "/health/ready").status == 503, 60, "not ready")
        start = time.time()
        answer = web.call("GET", "/pools", token=site.token())
        assert answer.status == 503 and answer.code in ("database_unavailable", "database_connection_lost") and "retry-after" in answer.headers, answer
        assert time.time() - start < 20 and web.call("GET", "/health/live").status == 200
        site.pg.start()
        until(lambda: web.call("GET", "/health/ready").status == 200, 60, "ready")
        before = load.seen[200]
        until(lambda: load.seen[200] > before + 100, 60, "service")
    assert set(load.seen) <= {200, 503}, load.seen
    web.stop()


class Proxy:
    """TCP in front of the server's socket. hang(): what is open ends, and who connects then hears nothing."""

    def __init__(self, path):
        self.path, self.hanging, self.open = path, False, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                self.open.append(client)
                if not self.hanging:
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self.path)
                    self.open.append(server)
                    for pair in ((client, server), (server, client)):
                        threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, target):
        with contextlib.suppress(OSError):
            while got := source.recv(65536):
                target.sendall(got)
        for s in (source, target):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def hang(self, hanging):
        self.hanging = hanging
        for s in self.open:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def close(self):
        self.listener.close()
        self.hang(True)


def test_database_hangs(site):
    """A database that takes connections and says nothing stops nobody: not who needs none, nor the refusal of who does."""
    proxy = Proxy(os.path.join(site.pg.dir, f".s.PGSQL.{site.pg.port}"))
    with contextlib.closing(proxy):
        web = site.gateway(database=f"host=127.0.0.1 port={proxy.port} dbname=site user=web sslmode=disable gssencmode=disable", pool=2, queue_ms=300)
        assert web.wait_log('"msg":"functions loaded"')
        assert web.call("GET", "/pools", token=site.token()).status == 200
        proxy.hang(True)
        slowest, waits, until_s = 0, 0, time.time() + 4
        while time.time() < until_s:
            started = time.time()
            assert web.call("GET", "/health/live").status == 200
            slowest = max(slowest, time.time() - started)
            started = time.time()
            assert web.call("GET", "/pools", token=site.token()).status == 503
            waits = max(waits, time.time() - started)
        assert slowest < 1 and waits < 1.6, (slowest, waits)
        proxy.hang(False)
        until(lambda: web.call("GET", "/pools", token=site.token()).status == 200, why="the database again")
        until(lambda: web.call("POST", "/rpc/me", {}, token=site.token()).status == 200, why="the functions again")
        assert web.stop() == 0


def children(web):
    path = f"/proc/{web.process.pid}/task/{web.process.pid}/children"
    return [int(p) for p in open(path).read().split()]


def test_process_killed(site):
    """One of two processes dies: its connections break, it is started again, the other one serves on."""
    web = site.gateway(processes=2, pool=2)
    until(lambda: len(children(web)) == 2, 5, "two processes")
    with Load(web, site.token()) as load:
        time.sleep(0.5)
        first = children(web)[0]
        os.kill(first, signal.SIGKILL)
        until(lambda: len(children(web)) == 2 and first not in children(web), 60, "the restart")
        time.sleep(0.5)
    assert set(load.seen) <= {200, "dropped", "broken"} and load.seen["dropped"] + load.seen["broken"] <= 8 and load.seen[200] > 50, (load.seen, load.codes)
    until(lambda: web.metric("backoffice_gateway_restarts_total") == 1, 5, "the count")
    assert web.stop() == 0


def test_process_stuck(site):
    """One whose loop stands still is killed; others, and one that is only idle, are not."""
    web = site.gateway(processes=2, pool=2, stuck_ms=1500)
    until(lambda: len(children(web)) == 2, 5, "two processes")
    first, second = children(web)
    os.kill(first, signal.SIGSTOP)
    until(lambda: len(children(web)) == 2 and first not in children(web), 60, "another one in its place")
    time.sleep(2)
    assert second in children(web) and "a process is stuck and is killed" in web.text()
    assert web.stop() == 0


def test_parent_killed(site):
    """kill -9 of the parent: its processes drain and end; another gateway takes the port."""
    web = site.gateway(processes=2, pool=2)
    pids = children(web)
    web.kill9()
    until(lambda: not any(os.path.exists(f"/proc/{p}") and open(f"/proc/{p}/stat").read().split()[2] != "Z" for p in pids), 60, "their end")
    again = site.gateway(port=web.port)
    assert again.call("GET", "/health/live").status == 200
    again.stop()


def test_graceful_shutdown(site):
    """What is under way is finished and answered; new connections are refused."""
    web = site.gateway(processes=2, pool=4)
    answers = []
    threads = [threading.Thread(target=lambda n=n: answers.append(slow(web, site, f"grace{n}", 1))) for n in range(6)]
    for t in threads:
        t.start()
    time.sleep(0.4)
    web.process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    with contextlib.suppress(OSError):
        web.call("GET", "/health/live")
        raise AssertionError("a new connection was taken")
    for t in threads:
        t.join()
    assert [a.status for a in answers] == [200] * 6 and all(a.headers.get("connection") == "close" for a in answers), answers
    assert web.process.wait(30) == 0
    assert site.query("SELECT count(*) FROM public.done WHERE k LIKE 'grace%'") == [(6,)]


def test_shutdown_does_not_wait_for_ever(site):
    web = site.gateway(drain_ms=500, pool=2)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(slow(web, site, "late", 60)))
    thread.start()
    time.sleep(0.3)
    start = time.time()
    assert web.stop(40) == 0 and time.time() - start < 40
    thread.join()
    assert answers and answers[0].status == 503 and answers[0].code == "shutting_down", answers


def test_answers_are_true(site):
    """Under stacking, kills and errors: what was answered 200 is there, what was answered an error is not (503: either)."""
    web = site.gateway(pool=2, processes=2)
    results = {}
    stop = threading.Event()

    def work(n):
        i = 0
        while not stop.is_set():
            i += 1
            key = f"true{n}-{i}" if i % 3 else f"true{n}-{i - 1}"       # every third is a duplicate: an error
            try:
                status = slow(web, site, key, 0).status
            except OSError:
                status = 503
            if status != 409:
                results[key] = status
    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]
    for t in threads:
        t.start()
    for _ in range(15):
        time.sleep(0.15)
        site.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'web' ORDER BY random() LIMIT 1")
    stop.set()
    for t in threads:
        t.join()
    there = {r[0] for r in site.query("SELECT k FROM public.done WHERE k LIKE 'true%'")}
    good = {k for k, s in results.items() if s == 200}
    unknown = {k for k, s in results.items() if s == 503}
    assert len(good) > 100 and good <= there, (len(good), sorted(good - there)[:10])
    assert there - good <= unknown, sorted(there - good - unknown)[:10]
    assert not {s for s in results.values()} - {200, 503}, collections.Counter(results.values())
    web.stop()
