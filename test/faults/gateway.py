"""The gateway under load while backends, the server and the gateway's own processes are killed or frozen.

Clients keep a journal of what they asked for and what they were told. Afterwards: nothing that was acknowledged is lost, no
Idempotency-Key had two effects, every answer belongs to its request, and no error but 503 and 504 was told (and PostgREST's 500 for a
statement that ran too long).

SEED= chooses the run; GATEWAY_FAULTS= how many faults (12: less than a minute; 100: some minutes).
"""
import collections
import http.client
import json
import os
import random
import signal
import threading
import time

import psycopg2

from harness.gateway import Site

SEED = int(os.environ.get("SEED") or 1)
FAULTS = int(os.environ.get("GATEWAY_FAULTS") or 12)
CLIENTS = 12
CODES = 4000 * FAULTS
ALLOWED = {200, 201, 503, 504}

FUNCTIONS = """
CREATE TABLE public.notes (k text PRIMARY KEY);
GRANT INSERT ON public.notes TO backoffice_user;
CREATE FUNCTION api.note(k text) RETURNS jsonb LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO public.notes VALUES (k); RETURN jsonb_build_object('k', k); END $$;
CREATE FUNCTION api.echo(x text, wait_s float8 DEFAULT 0) RETURNS jsonb LANGUAGE plpgsql STABLE AS
    $$ BEGIN PERFORM pg_sleep(wait_s) WHERE wait_s > 0; RETURN jsonb_build_object('x', x); END $$;
GRANT EXECUTE ON FUNCTION api.note, api.echo TO backoffice_user;
NOTIFY pgrst, 'reload schema';
"""


class Journal:
    """What all clients were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.reserved = {}              # key -> ids that were told
        self.noted = set()
        self.answers = collections.Counter()
        self.wrong = []

    def successes(self):
        with self.lock:
            return self.answers[200] + self.answers[201]


class Client(threading.Thread):
    def __init__(self, number, web, site, journal, stop):
        super().__init__(daemon=True)
        self.number, self.web, self.journal, self.stop = number, web, journal, stop
        self.token = site.token()
        self.rng = random.Random(SEED * 1000 + number)
        self.connection = None
        self.asked = 0
        self.mine = []

    def unique(self):
        self.asked += 1
        return f"c{self.number}-{self.asked}"

    def ask(self, method, path, body=None, key=None):
        """(status, JSON), or (None, None) when the connection broke."""
        request_id = self.unique()
        headers = {"Authorization": "Bearer " + self.token, "X-Request-Id": request_id, "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        try:
            if self.connection is None:
                self.connection = self.web.connect()
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self.drop("broken")
            time.sleep(0.02)
            return None, None
        if response.getheader("connection", "").lower() == "close":
            self.drop()
        if response.getheader("x-request-id") != request_id:
            self.blame(f"asked as {request_id}, answered {response.getheader('x-request-id')}: {method} {path} {text!r}")
        with self.journal.lock:
            self.journal.answers[response.status] += 1
        # A statement that ran too long: 500 as PostgREST has it, with this code.
        timeout = response.status == 500 and json.loads(text)["code"] in ("57014", "query_canceled")
        if response.status not in ALLOWED and not timeout:
            self.blame(f"{method} {path} {body}: {response.status} {text!r}")
        if response.status >= 500:
            time.sleep(self.rng.uniform(0.01, 0.05))
        return response.status, json.loads(text)

    def drop(self, why=None):
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        if why:
            with self.journal.lock:
                self.journal.answers[why] += 1

    def blame(self, what):
        with self.journal.lock:
            self.journal.wrong.append(what)

    # -- what is asked --

    def reserve(self):
        """Until it is answered, with one key; now and then once more."""
        key = self.unique()
        body = {"pool": "XMAS", "channel": "pos", "order_ref": key}
        told = 0
        while told < (2 if self.rng.random() < 0.2 else 1) and not self.stop.is_set():
            status, answer = self.ask("POST", "/certificates/reservations", body, key)
            if status in (200, 201):
                told += 1
                with self.journal.lock:
                    self.journal.reserved.setdefault(key, set()).add(answer["id"])
                self.mine.append(answer["id"])

    def note(self):
        key = self.unique()
        status, answer = self.ask("POST", "/rpc/note", {"k": key})
        if status == 200:
            self.same(answer, {"k": key})
            with self.journal.lock:
                self.journal.noted.add(key)

    def echo(self):
        x = self.unique()
        body = {"x": x, "wait_s": self.rng.choice((0, 0.002, 0.02))} if self.rng.random() < 0.3 else {"x": x}
        status, answer = self.ask("POST", "/rpc/echo", body)
        if status == 200:
            self.same(answer, {"x": x})

    def read(self):
        if self.mine:
            certificate = self.rng.choice(self.mine)
            status, answer = self.ask("GET", "/certificates/" + certificate)
            if status == 200 and answer["id"] != certificate:
                self.blame(f"asked for {certificate}, got {answer}")

    def same(self, answer, wanted):
        if answer != wanted:
            self.blame(f"{wanted} was asked for, {answer} answered")

    def run(self):
        try:
            while not self.stop.is_set():
                self.rng.choice((self.reserve, self.note, self.echo, self.echo, self.read))()
        except Exception as e:      # reported by the case: a thread's own traceback is lost
            self.blame(f"client {self.number}: {e!r}")
        finally:
            self.drop()


class Saboteur:
    def __init__(self, site, web, rng):
        self.site, self.web, self.rng = site, web, rng
        self.done = collections.Counter()
        self.next = []

    def one(self):
        """Every kind once, in any order, before the next of its kind."""
        if not self.next:
            self.next = [self.backend_killed, self.backends_terminated, self.child_killed, self.server_frozen, self.server_killed,
                         self.server_restarted]
            self.rng.shuffle(self.next)
        fault = self.next.pop()
        self.done[fault.__name__] += 1
        fault()
        return fault.__name__

    def backends(self):
        return [pid for pid, in self.site.query("SELECT pid FROM pg_stat_activity WHERE usename = 'web'")]

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(p) for p in f.read().split()]

    def backend_killed(self):
        self.tell([self.rng.choice(self.backends())], signal.SIGKILL)

    def backends_terminated(self):
        self.site.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'web' AND random() < 0.5")

    def child_killed(self):
        self.tell([self.rng.choice(self.children(self.web.process.pid))], signal.SIGKILL)

    def server_frozen(self):
        postmaster = self.site.pg.postmaster_pid()
        pids = [postmaster] + self.children(postmaster)
        self.tell(pids, signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.5, 4))
        self.tell(pids, signal.SIGCONT)

    @staticmethod
    def tell(pids, what):
        for pid in pids:
            try:
                os.kill(pid, what)
            except ProcessLookupError:
                pass    # it has just ended by itself

    def server_killed(self):
        self.site.pg.kill9()
        self.start()

    def server_restarted(self):
        self.site.pg.stop(self.rng.choice(("fast", "immediate")))
        self.start()

    def start(self):
        """What the dead server's processes still hold may need a moment."""
        deadline = time.time() + 30
        while True:
            try:
                return self.site.pg.start()
            except RuntimeError:
                if time.time() > deadline:
                    raise
                time.sleep(0.3)


def wait_for_service(journal, fault):
    """Until clients are served again, and the server answers us."""
    enough = journal.successes() + 100
    deadline = time.time() + 40
    while journal.successes() < enough:
        assert time.time() < deadline, f"no service within 40 s after {fault}: {dict(journal.answers)}"
        time.sleep(0.05)


def answering(site):
    deadline = time.time() + 30
    while True:
        try:
            return site.query("SELECT 1")
        except psycopg2.Error:
            assert time.time() < deadline, "the server does not come back"
            time.sleep(0.1)


def verify(site, journal):
    rows = site.query("SELECT order_ref, array_agg(id::text) FROM certificates.certificates WHERE order_ref IS NOT NULL GROUP BY 1")
    held = {key: set(ids) for key, ids in rows}
    twice = {key: ids for key, ids in held.items() if len(ids) > 1}
    assert not twice, f"two effects of one key: {twice}"
    different = {key: ids for key, ids in journal.reserved.items() if held.get(key) != ids}
    assert not different, f"told and held differ: { {k: (v, held.get(k)) for k, v in list(different.items())[:5]} }"
    notes = {k for k, in site.query("SELECT k FROM public.notes")}
    lost = journal.noted - notes
    assert not lost, f"acknowledged and lost: {sorted(lost)[:10]}"
    assert not journal.wrong, f"{len(journal.wrong)} wrong answers: {journal.wrong[:5]}"


def case_journal():
    journal, stop = Journal(), threading.Event()
    with Site({"max_connections": "60"}) as site:
        site.pg.psql("site", FUNCTIONS)
        site.as_org("SELECT certificates.create_pool('XMAS', 'EUR', 5000)", f"SELECT certificates.generate_codes('XMAS', {CODES})")
        web = site.gateway(processes=2, pool=4, request_ms=2000, queue_ms=1500, heartbeat_ms=500, access_log="off")
        saboteur = Saboteur(site, web, random.Random(SEED))
        clients = [Client(n, web, site, journal, stop) for n in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            wait_for_service(journal, "the start")
            for _ in range(FAULTS):
                time.sleep(saboteur.rng.uniform(0.2, 1))
                answering(site)
                wait_for_service(journal, saboteur.one())
        finally:
            stop.set()
            for client in clients:
                client.join(60)
        answering(site)
        try:
            verify(site, journal)
            assert web.stop() == 0, "the gateway's exit code"
        except AssertionError as e:
            raise AssertionError(f"SEED={SEED} GATEWAY_FAULTS={FAULTS}: {e}\n{dict(journal.answers)} {dict(saboteur.done)}\n{site.report()}") from None
        print(f"   {dict(saboteur.done)}: {dict(journal.answers)}; {len(journal.reserved)} reserved, {len(journal.noted)} noted", flush=True)


def case_cancelled_lag():
    """A cancel inside a subtransaction of ours ends the statement, and leaves nothing behind."""
    with Site() as site:
        before = site.query("SELECT events.position()::text")[0][0]
        site.as_org("SELECT certificates.create_pool('XMAS', 'EUR', 5000)", "SELECT certificates.generate_codes('XMAS', 5000)",
                    "SELECT count(certificates.reserve_next('XMAS', 'pos')) FROM generate_series(1, 5000)")
        conn = site.pg.connect("site")
        with conn.cursor() as cur:
            cur.execute("SET statement_timeout = 300")
            try:
                cur.execute("SELECT count(events.lag(%s, (SELECT array_agg(id) FROM events.topics))) FROM generate_series(1, 1000000)", (before,))
                raise AssertionError("it was not cancelled")
            except psycopg2.errors.QueryCanceled:
                pass
            cur.execute("SELECT 1")
            assert cur.fetchone() == (1,)
        conn.close()
