"""Two worlds: what tenant A does gives byte-identical answers, whatever tenant B has.

One database with tenant A is copied; then one copy gets a busy tenant B, the other a tenant B that never did anything. The same calls are
made in both as A's people, among them guesses of B's ids, e-mail addresses, codes, names and keys at every argument of every function of
the schema api. Answers (status, headers, body, or error with all its fields) must not differ by a byte; nor what A's event streams get.

The clock is frozen (backoffice.frozen_now). What is random by nature (new ids, tokens, secrets) is replaced by its number of first appearance.
"""
import dataclasses
import json
import re
import time

import psycopg2

from harness.doors import Sql
from harness.gateway import Gateway
from harness.pg import Cluster
from harness.postgrest_door import Request
from harness.streams import PONG, Sse, WebSocket

NOW = "2026-11-02 12:00:00+00"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

TENANT = """
BEGIN;
SELECT access.act_as('{org}');
SELECT certificates.create_pool('{pool}', 'EUR', 5000), certificates.generate_codes('{pool}', 30);
COMMIT;
"""


class World:
    """One of the two databases, and how A asks in it."""

    def __init__(self, pg, database):
        self.name = database
        self.conn = pg.connect(database, autocommit=False)
        self.names = {}
        self.door = Sql(pg, database, "worlds_gateway")
        self.token = None

    def execute(self, sql, params=None):
        with self.conn.cursor() as cur:
            cur.execute(sql, params)
            return cur.fetchall() if cur.description else []

    def know(self, *values):
        """Ids that both worlds have: compared as they are."""
        self.names.update((v, v) for v in values)

    def plain(self, text, names):
        text = UUID.sub(lambda m: names.setdefault(m.group(0), f"<new {len(names)}>"), text)
        # Throttles go by the real clock.
        return re.sub(r"retry after \d+ s", "retry after <n> s", text)

    def ask(self, organization, user, call, params, keep=False, headers=None):
        """What the call answers; undone unless keep."""
        try:
            self.execute("SELECT access.act_as(%s, %s)", (organization, user))
            self.execute("SELECT set_config('request.headers', %s, true), set_config('request.method', 'POST', true)", (json.dumps(headers or {}),))
            self.execute("SET LOCAL ROLE backoffice_user")
            body = self.execute(f"SELECT ({call})::text", params)[0][0]
            status, location = self.execute("SELECT current_setting('response.status', true), current_setting('response.headers', true)")[0]
            answer = f"{status or 200} {location or ''} {body}"
        except psycopg2.Error as e:
            d = e.diag
            answer = f"{d.sqlstate} {d.constraint_name} {d.message_primary} | {d.message_detail} | {d.message_hint} | {d.table_name} {d.column_name} {d.datatype_name}"
            keep = False
        self.conn.commit() if keep else self.conn.rollback()
        # Which certificate a pool gives next, once calls were undone, depends on when the keeper looks: what is new is so for the call alone.
        return self.plain(answer, self.names if keep else dict(self.names))

    def request(self, request):
        """What comes back by token, as over HTTP. The token "A" is the one of the last log-in."""
        answer = self.door.ask(dataclasses.replace(request, token=self.token) if request.token == "A" else request)
        body = json.loads(answer.body)
        if "access_token" in body:
            self.token = body["access_token"]
            body.update(access_token="<token>", refresh_token="<token>")
        return self.plain(f"{answer.status} {answer.headers} {json.dumps(body)}", self.names)


def settle(pg, database):
    """Waits until the handler of audit entries has caught up."""
    deadline = time.time() + 60
    while pg.query("""SELECT EXISTS (SELECT FROM events.log l JOIN events.topics t ON t.id = l.topic_id JOIN access.organizations o ON o.id = l.organization_id
                      WHERE t.name IN ('access.audit', 'access.users', 'access.teams') AND NOT EXISTS (SELECT FROM access.audit_entries a WHERE a.id = l.id))""", dbname=database)[0][0]:
        if time.time() > deadline:
            raise RuntimeError(f"{database}: audit entries do not come")
        time.sleep(0.05)


class Tenants:
    """A in the base database, B in one of its copies; and what A might guess of B."""

    def __init__(self, pg):
        self.pg = pg
        pg.create_database("base")
        one = lambda sql, *p: str(pg.query(sql, p, dbname="base")[0][0])
        self.a, self.b = one("SELECT access.create_organization('A')"), one("SELECT access.create_organization('B')")
        self.ann = one("SELECT access.create_user('ann@a.test', 'correct horse A', %s)", self.a)
        self.abe = one("SELECT access.create_user('abe@a.test', NULL, %s)", self.a)
        pg.query("SELECT access.grant_role(%s, 'owner', NULL, %s)", (self.ann, self.a), dbname="base")
        pg.query("SELECT access.define_role('front-desk', ARRAY['access.read'], '{}', %s)", (self.a,), dbname="base")
        pg.psql("base", TENANT.format(org=self.a, pool="PAPER"))
        self.certificate = one("SELECT (certificates.reserve_next('PAPER', 'pos')).id FROM access.act_as(%s)", self.a)
        self.issued = one("SELECT (certificates.reserve_next('PAPER', 'pos')).id FROM access.act_as(%s)", self.a)
        pg.query("SELECT certificates.issue(%s), certificates.request_notification(%s) FROM access.act_as(%s)", (self.issued, self.issued, self.a), dbname="base")
        # Makes the platform's keys, which are nobody's data.
        pg.query("SELECT access.login('ann@a.test', 'correct horse A')", dbname="base")
        settle(pg, "base")
        pg.query("CREATE ROLE worlds_gateway LOGIN IN ROLE backoffice_gateway")
        for name in ("busy", "quiet"):
            pg.query(f'CREATE DATABASE "{name}" TEMPLATE base')
            pg.query(f"ALTER DATABASE \"{name}\" SET backoffice.frozen_now = '{NOW}'")
        self.guesses = self.make_busy()

    def make_busy(self):
        """B's data, in one world only; the values that A guesses, by type."""
        def one(sql, *p):
            return str(self.pg.query(sql, p, dbname="busy")[0][0])
        boss = one("SELECT access.create_user('boss@b.test', 'correct horse B', %s)", self.b)
        self.pg.query("SELECT access.grant_role(%s, 'owner', NULL, %s)", (boss, self.b), dbname="busy")
        self.pg.query("SELECT access.define_role('secret-role', ARRAY['certificates.read'], '{}', %s)", (self.b,), dbname="busy")
        self.pg.psql("busy", TENANT.format(org=self.b, pool="B-POOL") + TENANT.format(org=self.b, pool="PAPER-B"))
        call = "FROM access.act_as(%s)"
        pool = one(f"SELECT p.id {call}, certificates.pools p WHERE p.code = 'B-POOL'", self.b)
        reserved = one(f"SELECT (certificates.reserve_next('B-POOL', 'pos', 'b-order', 'b-key')).id {call}", self.b)
        sold = one(f"SELECT (certificates.reserve_next('B-POOL', 'pos')).id {call}", self.b)
        code = one(f"SELECT (certificates.issue(%s, 'b-order', 'b-client')).code {call}", sold, self.b)
        self.pg.query(f"SELECT certificates.request_notification(%s) {call}", (sold, self.b), dbname="busy")
        cvc = one(f"SELECT certificates.reveal_cvc(%s) {call}", sold, self.b)
        redemption = one(f"SELECT (certificates.redeem(%s, 100)).id {call}", sold, self.b)
        self.b_key(sold)
        # An organization that only one world has.
        hidden = one("SELECT access.create_organization('Hidden')")
        key = one("SELECT access.create_api_key('B', ARRAY['*'], organization => %s) ->> 'id'", self.b)
        session = json.loads(one("SELECT access.login('boss@b.test', 'correct horse B')::text"))["session_id"]
        team = one("SELECT access.create_team('B-TEAM', %s)", self.b)
        factor = json.loads(one("SELECT api.mfa_enroll('phone')::text FROM access.authenticate(%s)", json.loads(
            one("SELECT access.login('boss@b.test', 'correct horse B')::text"))["access_token"]))["factor_id"]
        invitation = one("SELECT access.invite('wanted@b.test', organization => %s)", self.b)
        return {"uuid": [self.b, boss, pool, reserved, sold, redemption, hidden, key, session, invitation, team, factor],
                "text": ["boss@b.test", "BOSS@B.TEST", "nobody@b.test", "wanted@b.test", "B-TEAM", "B-POOL", pool, "secret-role", code, cvc, "b-order", "b-client", "b-key"],
                "text[]": [["secret-role"]], "pair": (code, cvc)}

    def b_key(self, certificate):
        """B used an idempotency key that A will use too."""
        conn = self.pg.connect("busy", autocommit=False)
        with conn.cursor() as cur:
            cur.execute("SELECT access.act_as(%s), set_config('request.headers', '{\"idempotency-key\": \"same-key\"}', true)", (self.b,))
            cur.execute("SELECT api.redeem_certificate(%s, 7), api.reserve_next_certificate('B-POOL', 'pos')", (certificate,))
        conn.commit()
        conn.close()

    def good(self, name, type_name):
        """A value of A's own for an argument."""
        return {"id": self.issued, "pool": "PAPER", "channel": "pos", "amount_minor": 100, "user_id": self.abe, "role": "front-desk", "name": "till",
                "permissions": ["certificates.read"], "inherits": [], "max_items": 50, "count": 2, "codes": ["A-WORLD-1"], "valid_until": "2031-01-01T00:00:00Z", "order_ref": "order-1",
                "currency": "EUR", "face_value_minor": 100, "validity_months": 12, "low_water": 0, "cvc_digits": 4, "code_format": "any",
                "requires_activation": False, "destroy_cvc_after_delivery": False, "hold_s": 60, "code": "AAAA-BBBB", "cvc": "1234", "email": "ann@a.test", "password": "not the password", "old_password": "not the password",
                "new_password": "some other password", "refresh_token": "bor_nonsense", "label": "phone", "factor_id": self.abe}.get(name)


FUNCTIONS = """
SELECT p.proname, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY a (t, n) ORDER BY n), coalesce(p.proargnames, '{}')
FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace AND p.proname <> 'pre_request' ORDER BY 1
"""


def guessed_calls(tenants, functions):
    """Every function with A's own values, then with each of B's in the place of each."""
    for function, types, names in functions:
        own = [tenants.good(name, type_name) for name, type_name in zip(names, types)]
        places = ", ".join(f"%s::{t}" for t in types)
        # The whole of B's secret comes first: later guesses are throttled.
        if list(names) == ["code", "cvc"]:
            yield f"api.{function}({places})", list(tenants.guesses["pair"])
        yield f"api.{function}({places})", own
        for place, type_name in enumerate(types):
            for guess in tenants.guesses.get(type_name, []):
                yield f"api.{function}({places})", own[:place] + [guess] + own[place + 1:]


def script(tenants):
    """What A does, one after the other, and keeps: (user, call, arguments, headers)."""
    ann, card = tenants.ann, tenants.certificate
    key = {"idempotency-key": "same-key"}
    return [
        (ann, "api.redeem_certificate(%s::uuid, %s)", [tenants.issued, 7], key),
        (ann, "api.redeem_certificate(%s::uuid, %s)", [tenants.issued, 7], key),
        (ann, "api.redeem_certificate(%s::uuid, %s)", [tenants.issued, 8], key),
        (ann, "api.reserve_next_certificate('PAPER', 'pos')", [], key),
        (ann, "api.release_certificate(%s::uuid)", [card], None),
        (ann, "api.define_role('secret-role', ARRAY['access.read'])", [], None),
        (ann, "api.grant_role(%s::uuid, 'secret-role')", [tenants.abe], None),
        (tenants.abe, "api.members()", [], None),
        (ann, "api.roles()", [], None), (ann, "api.pools()", [], None), (ann, "api.pool('PAPER')", [], None),
        (ann, "api.event_topics()", [], None), (ann, "api.permissions()", [], None),
        *[(ann, "api.reserve_next_certificate('PAPER', 'internet_store')", [], None)] * 30,
        (ann, "api.pool('PAPER')", [], None),
    ]


def requests(tenants):
    """What comes with tokens and without: guesses of organizations, addresses and passwords."""
    log_in = Request("login", {"email": "ann@a.test", "password": "correct horse A"})
    strangers = ["boss@b.test", "wanted@b.test", "nobody@b.test"]
    return [
        log_in, Request("me", token="A"), Request("sessions", token="A"), Request("my_invitations", token="A"), Request("audit", token="A"),
        *[Request("pools", token="A", headers={"X-Organization-Id": guess}) for guess in tenants.guesses["uuid"]],
        *[Request("login", {"email": "ann@a.test", "password": "correct horse A", "organization_id": guess}) for guess in tenants.guesses["uuid"]],
        *[Request("login", {"email": email, "password": f"guess number {n}"}, headers={"X-Forwarded-For": "192.0.2.9"}) for n in range(8) for email in strangers],
        *[Request("invite_member", {"email": email}, token="A") for email in strangers],
        Request("invitations", token="A"), Request("members", token="A"),
        Request("api_keys", token="A"), Request("logout", token="A"), Request("me", token="A"),
    ]


def compare_requests(script, worlds):
    for request in script:
        busy, quiet = (w.request(request) for w in worlds)
        if busy != quiet:
            yield f"{request}\n  busy:  {busy}\n  quiet: {quiet}"


def compare(calls, worlds):
    """Asks both worlds each of (organization, user, call, arguments, keep, headers); yields what differs."""
    for organization, user, call, params, keep, headers in calls:
        busy, quiet = (w.ask(organization, user, call, params, keep, headers) for w in worlds)
        if busy != quiet:
            yield f"{call} {params} {headers or ''}\n  busy:  {busy}\n  quiet: {quiet}"


def run(only=None):
    with Cluster() as pg:
        tenants = Tenants(pg)
        for name in ("busy", "quiet"):
            settle(pg, name)
        worlds = [World(pg, "busy"), World(pg, "quiet")]
        functions = pg.query(FUNCTIONS, dbname="base")
        for world in worlds:
            world.know(tenants.a, tenants.b, tenants.ann, tenants.abe, tenants.certificate, tenants.issued, *tenants.guesses["uuid"])
        guesses = [(tenants.a, tenants.ann, call, params, False, None) for call, params in guessed_calls(tenants, functions)]
        problems = list(compare(guesses, worlds))
        yield f"guesses ({len(guesses)} calls of {len(functions)} functions)", not problems and len(guesses) > 3 * len(functions), "\n".join(problems)
        # B's organization is not acted for by A's people, whether anything is in it or not.
        strangers = [(tenants.b, tenants.ann, "api.pools()", [], False, None), (tenants.guesses["uuid"][1], tenants.ann, "api.pools()", [], False, None)]
        steps = [(tenants.a, user, call, params, True, headers) for user, call, params, headers in script(tenants)]
        problems = list(compare(strangers + steps, worlds))
        yield f"script ({len(steps)} steps)", not problems, "\n".join(problems)
        asked = requests(tenants)
        problems = list(compare_requests(asked, worlds))
        yield f"requests ({len(asked)})", not problems, "\n".join(problems)
        for name in ("busy", "quiet"):
            settle(pg, name)
        problems = list(compare([(tenants.a, tenants.ann, "api.audit(NULL, 1000)", [], False, None)], worlds))
        yield "audit", not problems, "\n".join(problems)
        problems = list(compare_streams(pg, tenants, worlds))
        yield "streams", not problems, "\n".join(problems)
        yield from proves_something(tenants, worlds)


# What differs from stream to stream and tells nothing: sealed positions (as long in both worlds), ids of events, when they happened.
POSITION = re.compile(r"[\w-]{1,16}\.[\w-]{59}(?![\w-])")
OCCURRED = re.compile(r'(?<="occurred_at":")[0-9T:.-]+Z(?=")|(?<="occurredAt": ")[0-9T:.+-]+(?=")')
# How many signs of life come is a matter of time; that they look alike is not.
SIGNS = re.compile(r':\nid: <position \d+>\n\n|\x89\x00|\x81.{1,3}\{"control":"position","position":"<position \d+>"\}', re.DOTALL)
# A frame is as long as the times in it, whose last zeros are not written.
FRAME = re.compile(r"\x81(~..|[^~])(?=\{)", re.DOTALL)
HEADERS = {"date", "x-request-id", "traceparent", "sec-websocket-accept"}


class StreamWorld:
    """A's listeners in one world: what they get, with all that the gateway adds."""

    def __init__(self, pg, world, tenants, gateway):
        self.pg, self.world, self.tenants, self.port = pg, world, tenants, gateway.port
        self.token = json.loads(self.query("SELECT access.login('ann@a.test', 'correct horse A')::text")[0][0])["access_token"]

    def query(self, sql, params=None):
        return self.pg.query(sql, params, dbname=self.world.name)

    def emit(self, organization, kind, n):
        self.query("SELECT count(events.emit('GiftCertificates.Stream', 'no certificate', %s, '{}')) FROM access.act_as(%s), generate_series(1, %s)", (kind, organization, n))

    def act(self, amount):
        """A's doing, with B's before, between and behind it in one world."""
        noise = 7 * amount if self.world.name == "busy" else 0
        self.emit(self.tenants.b, "noise", noise)
        self.query("SELECT certificates.redeem(%s, %s) FROM access.act_as(%s)", (self.tenants.issued, amount, self.tenants.a))
        self.emit(self.tenants.b, "noise", noise)
        self.emit(self.tenants.a, f"end-{amount}", 1)

    def take(self, stream, wanted):
        """What comes up to the marker and the end of its message."""
        got, deadline = b"", time.time() + 60
        if isinstance(stream, WebSocket):
            stream.send(PONG)   # for the pings before
        while (wanted not in got or not got.endswith((b"}", b"\x89\0", b"\n\n"))) and (stream.bytes or stream.more(deadline)):
            got, stream.bytes = got + stream.bytes, b""
        return got.decode("latin-1")

    def listen(self, kind, after=""):
        """(what came, the position at which it began): live, with a sign of life between the events, or from the log."""
        names = dict(self.world.names)
        with kind(self.port, token=self.token, query="topics=GiftCertificates.Stream" + after) as stream:
            told = str(sorted((k, v) for k, v in stream.headers.items() if k not in HEADERS)) + "\n" + stream.start + "\n"
            for amount in () if after else (1, 2):
                self.act(amount)
                told += self.take(stream, b'"type":"end-%d"' % amount) + self.take(stream, b":\nid: " if kind is Sse else b'"control":"position"')
            if after:
                told += self.take(stream, b'"type":"end-2"')
        told = POSITION.sub(lambda m: f"<position {len(m.group(0))}>", told)
        told = UUID.sub(lambda m: names.setdefault(m.group(0), f"<new {len(names)}>"), told)
        return FRAME.sub("<text>", SIGNS.sub("", OCCURRED.sub("<time>", told))), stream.start


def thaw(pg, database):
    """Back to the real clock, which the gateway goes by: the keeper begins anew with it, and has released what it finds expired."""
    one = lambda sql: pg.query(sql, dbname=database)[0][0]
    pg.query(f'ALTER DATABASE "{database}" RESET backoffice.frozen_now')
    one(f"SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity WHERE datname = '{database}' AND backend_type = 'backoffice keeper'")
    deadline = time.time() + 60
    while one("SELECT EXISTS (SELECT FROM certificates.certificates WHERE state = 'reserved' AND hold_until < clock_timestamp())"
              " OR (SELECT count(*) FROM events.log) <> (SELECT count(*) FROM events.read(NULL, 1000000))"):
        if time.time() > deadline:
            raise RuntimeError(f"{database}: the keeper does not release what is expired")
        time.sleep(0.05)


def compare_streams(pg, tenants, worlds):
    """The same listeners in both worlds, live and from the log; yields what differs."""
    told = {}
    for world in worlds:
        thaw(pg, world.name)
        with Gateway(database=pg.dsn(world.name, "worlds_gateway"), events_ping_ms=500, access_log="off") as gateway:
            gateway.ready()
            listening = StreamWorld(pg, world, tenants, gateway)
            told[world.name] = parts = []
            for kind in (Sse, WebSocket):
                live, start = listening.listen(kind)
                parts += [live, listening.listen(kind, "&last_event_id=" + start)[0]]
    for busy, quiet in zip(told["busy"], told["quiet"]):
        if busy != quiet or '"type":"end-2"' not in quiet or "redemption.captured" not in quiet:
            yield f"  busy:  {busy!r}\n  quiet: {quiet!r}"


def proves_something(tenants, worlds):
    """The comparison sees a difference where there is one: B itself."""
    problems = list(compare([(tenants.b, None, "api.pools()", [], False, None)], worlds))
    yield "sees-differences", bool(problems), "tenant B looks the same in both worlds"
