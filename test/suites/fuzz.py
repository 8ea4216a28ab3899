"""Every function of the extension's schemas, called with nasty values of its arguments' types, as every kind of caller.

    test/run.py fuzz            FUZZ_SEED (default 1) and FUZZ_SECONDS (default 25) in the environment

What an answer means other suites check. Here: no server process ends, nothing hangs, and no call is answered with an
internal error (SQLSTATE class XX): whatever can come from outside has an error of its own.
"""
import os
import random
import re
import time

import psycopg2

from harness.pg import Cluster

SCHEMAS = ["backoffice", "events", "access", "lifecycle", "certificates", "api"]
ROLES = ["backoffice_service", "backoffice_admin", "backoffice_worker", "backoffice_user", "backoffice_anon"]
CALL_TIMEOUT_MS = 5000
# Every so many calls the connection, with all that its caches hold, is made anew.
CALLS_PER_CONNECTION = 400

FUNCTIONS = """
SELECT p.oid::regprocedure::text, n.nspname || '.' || quote_ident(p.proname), p.proretset, p.pronargdefaults,
       ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, i) ORDER BY i),
       p.proargnames[1:p.pronargs]
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = ANY (%s) AND p.prokind = 'f'
  AND p.prorettype <> 'trigger'::regtype AND p.prorettype <> 'event_trigger'::regtype
  AND 'internal'::regtype <> ALL (p.proargtypes) AND 'cstring'::regtype <> ALL (p.proargtypes)
ORDER BY 1
"""

TEXTS = ["", " ", "a", "P", "fuzz", "fuzz.topic", "All_SalesOrder", "GiftCertificates.Stream", "backoffice.alerts", "certificates.read",
         "certificates.orders", "owner", "EUR", "xxx", "internet", "ann@fuzz.test", "earliest", "latest", "0:0:0", "ffffffff:9223372036854775807:9223372036854775807",
         "2026-01-01", "infinity", "NaN", "null", "'; DROP TABLE x; --", "%s%n%d", "\\", "\x01\x7f", "\u202e\U0001f4a9é\u0000".replace("\u0000", ""),
         "ﬁ" * 300, "x" * 65, "k" * 100000, "{}", "[]", '{"a": 1}', "{{{", "*", "a.*", ".*", "public.fuzz_things", "no.such", "12345678901234567890", "-1", "0"]
JSONS = ["null", "{}", "[]", '""', "0", "-1e300", "true", '{"a": null}', '{"organization_id": "x"}', '{"organization_id": {"a": []}}',
         '{"type": "object"}', '{"type": ["object", 1]}', '{"$ref": "#"}', '{"pattern": "(((("}', '{"minLength": -1}', '{"multipleOf": 0}',
         '{"states": ["a", "b"], "initial": ["a"], "transitions": [{"from": "a", "to": "b"}]}', '{"initial": "a", "transitions": {"a": ["b", 1, null]}}',
         '{"initial": 1, "transitions": [1, "x", null, {"from": [], "to": {}}]}', '{"order_id": "o", "lines": [{}]}', '{"payment_id": 1}',
         "[" * 200 + "]" * 200, '{"k": "' + "v" * 200000 + '"}', '{"\\u202e": "\\ud83d\\udca9"}', "123456789012345678901234567890.5"]
VALUES = {
    "text": TEXTS, "name": TEXTS, "jsonb": JSONS,
    "integer": ["0", "1", "-1", "7", "1000", "2147483647", "-2147483648"],
    "bigint": ["0", "1", "-1", "100", "9223372036854775807", "-9223372036854775808"],
    "boolean": ["true", "false"],
    "double precision": ["0", "NaN", "Infinity", "-Infinity", "1e308"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "01a1fdb6-29ec-7d48-ade0-a9532fba3ada"],
    "interval": ["0", "1 second", "-1 day", "178000000 years", "-178000000 years", "1 mon -31 days", "9223372036 seconds"],
    "timestamp with time zone": ["infinity", "-infinity", "2026-11-01", "294276-12-31", "4713-01-01 BC", "epoch"],
    "date": ["infinity", "-infinity", "2026-02-28", "5874897-12-31"],
    "bytea": ["\\x", "\\x00", "\\xff00fe", "\\x" + "ab" * 5000],
    "events.\"position\"": ["0:0:0", "1:1:1", "ffffffff:9223372036854775807:9223372036854775807"],
    "regclass": ["public.fuzz_things", "pg_class", "events.log", "certificates.pool_status", "0", "4294967295"],
    "regprocedure": ["public.fuzz_handler(events.event)", "pg_sleep(double precision)", "0", "4294967295"],
    "regrole": ["backoffice_service", "backoffice_owner", "postgres", "pg_read_all_data", "0", "4294967295"],
    "regtype": ["integer", "events.event", "0"],
    "oid": ["0", "1", "4294967295"],
    "character": ["", "x"],
}
SETUP = """
CREATE TABLE public.fuzz_things (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), organization_id uuid, state text);
CREATE FUNCTION public.fuzz_handler(events.event) RETURNS void LANGUAGE sql AS '';
SELECT events.define_topic('fuzz.topic', NULL, '7 days', 1);
"""


class Fuzz:
    def __init__(self, pg, seed):
        self.pg, self.random, self.calls, self.refused, self.problems = pg, random.Random(seed), 0, 0, []
        self.ids = {}
        pg.psql("fuzz", SETUP)
        conn = pg.connect("fuzz")
        with conn.cursor() as cur:
            cur.execute(FUNCTIONS, (SCHEMAS,))
            self.functions = cur.fetchall()
            organizations = []
            for number in range(2):
                cur.execute("SELECT access.create_organization(%s)", (f"Fuzz {number}",))
                organization = cur.fetchone()[0]
                cur.execute("SELECT access.create_user(%s, 'correct horse', %s)", (f"u{number}@fuzz.test", organization))
                user = cur.fetchone()[0]
                cur.execute("SELECT access.grant_role(%s, 'owner', NULL, %s)", (user, organization))
                organizations.append((organization, user))
            self.principals = [(o, None) for o, _ in organizations] + organizations
            known = [i for pair in organizations for i in pair]
            for organization, _ in organizations:
                cur.execute("BEGIN; SELECT access.act_as(%s); SELECT certificates.create_pool('P', 'EUR', 5000); SELECT certificates.generate_codes('P', 100)", (organization,))
                cur.execute("SELECT (certificates.reserve_next('P', 'internet', 'o' || i)).id FROM generate_series(1, 20) i")
                ids = [row[0] for row in cur.fetchall()]
                known += ids
                cur.execute("SELECT certificates.issue(i::uuid) FROM unnest(%s) i", (ids[:15],))
                cur.execute("COMMIT")
        conn.close()
        self.known = known

    # -- values --

    def scalar(self, kind):
        if kind == "uuid" and self.random.random() < 0.7:
            return self.random.choice(self.known)
        return self.random.choice(VALUES[kind])

    def literal(self, kind):
        """A literal of the type, as SQL text; values that the type's input refuses are part of the test."""
        pick = self.random.random()
        if pick < 0.12:
            return f"NULL::{kind}"
        if kind.endswith("[]"):
            base = kind[:-2]
            if base not in VALUES:
                return f"'{{}}'::{kind}"
            count = self.random.choice([0, 1, 1, 2, 3, 50])
            items = ", ".join(self.quote(self.scalar(base)) if self.random.random() < 0.9 else "NULL" for _ in range(count))
            return f"ARRAY[{items}]::{kind}"
        if kind in VALUES:
            return f"{self.quote(self.scalar(kind))}::{kind}"
        return f"NULL::{kind}"

    @staticmethod
    def quote(value):
        return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"

    def statement(self):
        _, name, returns_set, defaults, kinds, names = self.random.choice(self.functions)
        count = len(kinds) - (self.random.randint(0, defaults) if defaults else 0)
        args = [self.literal(kind) for kind in kinds[:count]]
        if names and all(names[:count]) and self.random.random() < 0.3:
            args = ['"%s" => %s' % (names[i], arg) for i, arg in enumerate(args)]
        call = f"{name}({', '.join(args)})"
        return f"SELECT * FROM {call} LIMIT 100" if returns_set else f"SELECT {call}"

    # -- calls --

    def connect(self):
        conn = self.pg.connect("fuzz")
        with conn.cursor() as cur:
            cur.execute(f"SET statement_timeout = {CALL_TIMEOUT_MS}; SET client_min_messages = error; SET lock_timeout = 2000")
        return conn

    def begin(self, cur):
        """A transaction of a random kind, as a random caller. Returns what to tell of it."""
        role = self.random.choice(ROLES + ["postgres", "backoffice_service"])
        principal = self.random.choice(self.principals + [None])
        mode = self.random.choice(["", "", "", " ISOLATION LEVEL SERIALIZABLE", " ISOLATION LEVEL REPEATABLE READ", " READ ONLY"])
        cur.execute("BEGIN" + mode)
        if principal:
            cur.execute("SELECT access.act_as(%s, %s)", principal)
        cur.execute(f"SET LOCAL ROLE {role}")
        return f"{role} as {principal}{mode}"

    def step(self, conn):
        """One transaction of some calls, each in a savepoint. False: the connection is lost."""
        cur = conn.cursor()
        who, statement = "", "BEGIN"
        try:
            who = self.begin(cur)
            for _ in range(self.random.randint(1, 6)):
                statement = self.statement()
                self.calls += 1
                cur.execute("SAVEPOINT s")
                try:
                    cur.execute(statement)
                except psycopg2.OperationalError as e:
                    if conn.closed or e.pgcode is None:
                        raise
                    self.judge(e, who, statement)
                    cur.execute("ROLLBACK TO s")
                except psycopg2.Error as e:
                    if conn.closed:
                        raise
                    self.judge(e, who, statement)
                    cur.execute("ROLLBACK TO s")
            statement = self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"])
            cur.execute(statement)
        except psycopg2.Error as e:
            if conn.closed:
                self.problems.append(f"connection lost: {e}\n  {who}: {statement[:500]}")
                return False
            self.judge(e, who, statement)
            cur.execute("ROLLBACK")
        return True

    def judge(self, error, who, statement):
        self.refused += 1
        code = error.pgcode or ""
        if code.startswith("XX") or code == "57014":
            self.problems.append(f"{code} {error}  {who}: {statement[:500]}")

    def run(self, seconds):
        until = time.time() + seconds
        while time.time() < until and len(self.problems) < 20:
            conn = self.connect()
            last = self.calls + CALLS_PER_CONNECTION
            alive = True
            while alive and self.calls < last and time.time() < until and len(self.problems) < 20:
                alive = self.step(conn)
            conn.close()


def run(only=None):
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    seconds = float(os.environ.get("FUZZ_SECONDS", "25"))
    with Cluster(conf={"log_min_messages": "warning", "log_line_prefix": "'%m [%p] %e %b '"}) as pg:
        pg.create_database("fuzz")
        before = pg.postmaster_pid()
        fuzz = Fuzz(pg, seed)
        fuzz.run(seconds)
        done = f"seed {seed}: {fuzz.calls} calls of {len(fuzz.functions)} functions, {fuzz.refused} refused"
        yield "calls", not fuzz.problems and fuzz.calls > 100 and fuzz.refused < fuzz.calls, done + "\n" + "\n".join(fuzz.problems)
        crashes = [line for line in open(pg.log, errors="replace")
                   if re.search(r"was terminated by signal|PANIC|terminating any other active server processes| XX\d\d\d ", line)]
        yield "no server process crashed", not crashes and pg.postmaster_pid() == before, "".join(crashes[:50])
        difference = pg.query("SELECT count(*) FROM certificates.conservation WHERE difference <> 0", dbname="fuzz")
        yield "nothing was lost or made", difference == [(0,)] and pg.query("SELECT count(*) > 0 FROM certificates.conservation", dbname="fuzz") == [(True,)], str(difference)
