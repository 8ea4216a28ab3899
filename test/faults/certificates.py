"""Certificates with the server's own workers running: the order flow, what time does, and a dump restored elsewhere."""
import json
import os
import random
import subprocess
import threading
import time

import psycopg2

from harness.pg import ROOT, Cluster

ORG = "SELECT id FROM access.organizations WHERE name = 'Shop'"


def wait(pg, sql, wanted, timeout_s=40):
    """Polls until the query answers wanted."""
    deadline = time.time() + timeout_s
    while True:
        got = pg.query(sql)[0][0]
        if got == wanted:
            return
        if time.time() > deadline:
            raise AssertionError(f"{sql}\n  is {got!r}, should be {wanted!r}\n" + pg.tail_log(30))
        time.sleep(0.1)


def setup(pg, codes=20):
    pg.query("CREATE EXTENSION backoffice")
    pg.query("SELECT access.create_organization('Shop')")
    act(pg, "SELECT certificates.create_pool('gift', 'EUR', 1000), certificates.create_pool('rare', 'EUR', 500)",
        f"SELECT certificates.generate_codes('gift', {codes})")


def act(pg, *statements):
    """Statements in one transaction, as a service of the shop; rows of the last one."""
    conn = pg.connect(autocommit=False)
    try:
        with conn.cursor() as cur:
            cur.execute(f"SELECT access.act_as(({ORG}))")
            for sql in statements:
                cur.execute(sql)
            rows = cur.fetchall() if cur.description else []
        conn.commit()
        return rows
    finally:
        conn.close()


def accept(pg, topic, message_id, payload):
    return pg.query(f"SELECT events.accept('kafka', %s, %s, %s, %s, organization => ({ORG}))",
                    (message_id, topic, payload.get("orderId") or payload["clientId"], json.dumps(payload)))[0][0]


def order(ref, lines, version=1, status="created"):
    return {"orderId": ref, "channel": "pos", "status": status, "version": version, "lines": [
        dict({"lineId": str(n), "amount": {"minor": amount, "currency": "EUR"}}, **more) for n, (amount, more) in enumerate(lines)]}


def payment(ref, pay, amount, kind="capture", **more):
    return dict({"paymentId": pay, "orderId": ref, "type": kind, "status": "succeeded",
                 "amount": {"minor": amount, "currency": "EUR"}}, **more)


def feed(pg):
    accept(pg, "All_Payments", "m1", payment("A", "p1", 1000))
    accept(pg, "All_SalesOrder", "m2", order("A", [(1000, {"pool": "gift"})]))
    assert accept(pg, "All_SalesOrder", "m2", order("A", [(1000, {"pool": "gift"})])) is False
    accept(pg, "All_SalesOrder", "m3", order("B", [(500, {"pool": "rare"})]))
    accept(pg, "All_Payments", "m4", payment("B", "p2", 500))
    accept(pg, "All_Clients", "m5", {"clientId": "c", "contacts": {"phone": "+49"}})


STATES = "SELECT string_agg(order_ref || ' ' || state, ', ' ORDER BY order_ref) FROM certificates.orders"


def case_order_flow():
    with Cluster() as pg:
        setup(pg)
        feed(pg)
        wait(pg, STATES, "A fulfilled, B blocked")
        act(pg, "SELECT certificates.generate_codes('rare', 1)")
        wait(pg, STATES, "A fulfilled, B fulfilled")
        accept(pg, "All_SalesOrder", "m6", order("A", [], version=2, status="cancelled"))
        accept(pg, "All_Payments", "m7", payment("A", "r1", 1000, "refund"))
        wait(pg, STATES, "A cancelled, B fulfilled")
        wait(pg, "SELECT count(*) FROM events.log WHERE type IN ('refund', 'notification.requested') AND payload ? 'eventId'", 3)
        assert pg.query("SELECT count(*) FROM events.parked")[0][0] == 0


def case_order_flow_survives_kills():
    """kill -9 of the whole server under the feed: every message has its effect once."""
    with Cluster(conf={"fsync": "on"}) as pg:
        setup(pg, codes=60)
        for n in range(30):
            accept(pg, "All_SalesOrder", f"o{n}", order(f"K{n}", [(1000, {"pool": "gift"})]))
            accept(pg, "All_Payments", f"p{n}", payment(f"K{n}", f"p{n}", 1000))
            if n % 10 == 9:
                pg.kill9()
                pg.start()
        wait(pg, "SELECT count(*) FROM certificates.orders WHERE state = 'fulfilled'", 30)
        wait(pg, "SELECT count(*) FROM certificates.certificates WHERE state = 'issued'", 30)
        assert pg.query("SELECT count(*) FROM (SELECT key FROM events.log WHERE type = 'certificate.issued' GROUP BY key HAVING count(*) <> 1) x")[0][0] == 0


def case_time_passes():
    with Cluster() as pg:
        setup(pg)
        (cert,), = act(pg, "SELECT (certificates.issue((certificates.reserve_next('gift', 'pos')).id)).id")
        act(pg, f"SELECT certificates.authorize('{cert}', 300, NULL, '1 s')")
        wait(pg, f"SELECT held_minor FROM certificates.certificates WHERE id = '{cert}'", 0)
        wait(pg, "SELECT count(*) FROM events.log WHERE type = 'redemption.expired'", 1)
        act(pg, f"SELECT certificates.extend('{cert}', backoffice.now() + interval '1 s')")
        wait(pg, f"SELECT state FROM certificates.certificates WHERE id = '{cert}'", "expired")
        wait(pg, "SELECT count(*) FROM events.log WHERE type = 'certificate.expired'", 1)


def case_expiry_rolled_back():
    """A validity that ended while the server was down is found again after the keeper's first COMMIT has failed."""
    with Cluster() as pg:
        setup(pg)
        (cert,), = act(pg, "SELECT (certificates.issue((certificates.reserve_next('gift', 'pos')).id)).id")
        pg.query("CREATE SEQUENCE public.attempts")
        pg.query("GRANT ALL ON SEQUENCE public.attempts TO PUBLIC")
        pg.query("""CREATE FUNCTION public.fail_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.attempts') < 3 THEN RAISE EXCEPTION 'not yet'; END IF; RETURN NULL; END $$""")
        pg.query("""CREATE CONSTRAINT TRIGGER fail_twice AFTER UPDATE ON certificates.certificates DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NEW.state = 'expired') EXECUTE FUNCTION public.fail_twice()""")
        pg.query("UPDATE certificates.certificates SET valid_until = now() - interval '2 hours' WHERE id = %s", (cert,))
        # Another keeper, which has looked at nothing yet.
        pg.stop()
        pg.start()
        wait(pg, f"SELECT state FROM certificates.certificates WHERE id = '{cert}'", "expired")
        assert pg.query("SELECT last_value FROM public.attempts")[0][0] == 3


def case_expiry_behind_locked():
    """Somebody has a whole batch of the oldest holds, and of the oldest validities, locked: those behind them end all the same."""
    with Cluster() as pg:
        setup(pg, codes=410)
        act(pg, "SELECT certificates.issue((certificates.reserve_next('gift', 'pos')).id) FROM generate_series(1, 402)",
            "SELECT certificates.authorize(id, 300, NULL, '1 day') FROM certificates.certificates WHERE state = 'issued' AND slot_no <= 201")
        with pg.connect(autocommit=False) as busy, busy.cursor() as cur:
            cur.execute("SELECT FROM certificates.certificates WHERE state = 'issued' AND slot_no NOT IN (201, 402) FOR UPDATE")
            pg.query("UPDATE certificates.redemptions r SET hold_until = now() - make_interval(hours => 1, mins => -c.slot_no::int / 201)"
                     " FROM certificates.certificates c WHERE c.id = r.certificate_id")
            wait(pg, "SELECT held_minor FROM certificates.certificates WHERE slot_no = 201", 0)
            busy.rollback()
            pg.query("UPDATE certificates.certificates SET valid_until = now() - make_interval(hours => 1, mins => -slot_no::int / 402) WHERE slot_no > 201")
            cur.execute("SELECT FROM certificates.certificates WHERE state = 'issued' AND slot_no BETWEEN 202 AND 401 FOR UPDATE")
            wait(pg, "SELECT state FROM certificates.certificates WHERE slot_no = 402", "expired")
            busy.rollback()
        # Once let go they end too.
        wait(pg, "SELECT count(*) FROM certificates.certificates WHERE state = 'expired'", 201)
        assert pg.query("SELECT count(*) FROM certificates.redemptions WHERE state = 'authorized'")[0][0] == 0


FACTS = ("SELECT md5(string_agg(c::text, '' ORDER BY c.id)) FROM certificates.certificates c",
         "SELECT md5(string_agg(r::text, '' ORDER BY r.id)) FROM certificates.redemptions r",
         "SELECT string_agg(t::text, '' ORDER BY t.definition, t.to_state, t.from_state) FROM lifecycle.transitions t",
         "SELECT d::text FROM public.deal d", STATES)


def check_restored(restore):
    """What is in a dump is there afterwards, nothing more, and life goes on; restore(old cluster, new one)."""
    with Cluster() as pg:
        setup(pg)
        feed(pg)
        wait(pg, STATES, "A fulfilled, B blocked")
        act(pg, "SELECT certificates.redeem(id, 100) FROM certificates.certificates WHERE state = 'issued'")
        pg.query("CREATE TABLE public.deal (id int PRIMARY KEY, state text NOT NULL, version bigint)")
        pg.query("SELECT lifecycle.define('public.deal', 'state', '{\"initial\": [\"a\"], \"states\": [\"a\", \"b\"], \"version\": \"version\","
                 " \"transitions\": [{\"from\": \"a\", \"to\": \"b\"}]}')")
        pg.query("INSERT INTO public.deal VALUES (1, 'a'); UPDATE public.deal SET state = 'b'")
        before = [pg.query(f)[0][0] for f in FACTS]
        with Cluster() as other:
            with open(other.key_file, "w") as f:
                f.write(open(pg.key_file).read())
            restore(pg, other)
            after = [other.query(f)[0][0] for f in FACTS]
            assert before == after, f"{before}\n{after}"
            try:
                other.query("UPDATE public.deal SET state = 'a'")
                raise AssertionError("the restored life cycle is not enforced")
            except Exception as e:
                assert "illegal_transition" in str(e), e
            act(other, "SELECT certificates.generate_codes('rare', 1)")
            wait(other, STATES, "A fulfilled, B fulfilled")
            accept(other, "All_SalesOrder", "m9", order("C", [(1000, {"pool": "gift"})]))
            accept(other, "All_Payments", "m10", payment("C", "p9", 1000))
            wait(other, STATES, "A fulfilled, B fulfilled, C fulfilled")


def case_dump_restore():
    """A restored dump has every row as it was: no state, version or balance moves, no event is emitted; and life goes on."""
    check_restored(lambda pg, other: other.psql("postgres", subprocess.check_output(
        [os.path.join(pg.bin, "pg_dump"), "-d", "postgres"], env=pg.env(), text=True)))


def case_parallel_restore():
    """So it is with pg_restore -j, as docs/events.md says: the extension's own rows first, by one."""
    with open(os.path.join(ROOT, "docs/events.md")) as page:
        lines = [line for line in page.read().splitlines() if line.startswith("pg_restore ")]
    assert len(lines) == 4 and sum(" -j " in line for line in lines) == 2, lines

    def restore(pg, other):
        dump = os.path.join(pg.dir, "dump")
        subprocess.check_call([os.path.join(pg.bin, "pg_dump"), "-Fc", "-f", dump, "-d", "postgres"], env=pg.env())
        for line in lines:
            words = [{"shop": "postgres", "shop.dump": dump}.get(word, word) for word in line.split()]
            subprocess.check_call([os.path.join(pg.bin, words[0]), "--exit-on-error", *words[1:]], env=other.env())

    check_restored(restore)


def money_client(pg, certs, seed, until, journal):
    """Random operations on shared certificates; what was acknowledged goes into the journal."""
    rnd = random.Random(seed)
    holds, n = [], 0
    while time.time() < until:
        try:
            conn = pg.connect(autocommit=False)
            with conn.cursor() as cur:
                while time.time() < until:
                    n += 1
                    key, cert, amount = f"{seed}-{n}", rnd.choice(certs), rnd.randint(1, 400)
                    what = rnd.choice(["redeem", "authorize", "capture", "release_hold", "refund", "block"])
                    cur.execute(f"SELECT access.act_as(({ORG}))")
                    try:
                        if what in ("redeem", "refund"):
                            cur.execute(f"SELECT certificates.{what}(%s, %s, %s)", (cert, amount, key))
                        elif what == "authorize":
                            cur.execute("SELECT certificates.authorize(%s, %s, %s, '2 s')", (cert, amount, key))
                            holds.append(cur.fetchone()[0])
                        elif what == "block":
                            cur.execute("SELECT certificates.block(%s), certificates.unblock(%s)", (cert, cert))
                        elif holds:
                            hold = holds.pop(rnd.randrange(len(holds)))
                            cur.execute(f"SELECT certificates.{what}(%s)", (hold,))
                        conn.commit()
                        if what in ("redeem", "refund"):
                            journal.append((what, key, amount))
                    except psycopg2.Error as e:
                        if conn.closed:
                            break
                        conn.rollback()
                        assert e.pgcode and e.pgcode.startswith("PT4"), (e.pgcode, str(e))
            conn.close()
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            time.sleep(0.1)


def case_money_under_kills():
    """Concurrent redemptions, holds and refunds while the server is killed: every balance follows from its redemptions."""
    with Cluster(conf={"fsync": "on", "restart_after_crash": "on"}) as pg:
        setup(pg)
        certs = [r[0] for r in act(pg, "SELECT (certificates.issue((certificates.reserve_next('gift', 'pos')).id)).id FROM generate_series(1, 3)")]
        until, journal, errors = time.time() + 9, [], []

        def client(seed):
            try:
                money_client(pg, certs, seed, until, journal)
            except BaseException as e:
                errors.append(repr(e))
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for t in threads:
            t.start()
        for _ in range(2):
            time.sleep(3)
            pg.kill9()
            pg.start()
        for t in threads:
            t.join()
        assert not errors, errors
        assert len(journal) > 20, len(journal)
        wait(pg, "SELECT count(*) FROM certificates.redemptions WHERE state = 'authorized'", 0)
        off = act(pg, "SELECT * FROM certificates.discrepancies")
        assert off == [], off
        # Whatever was acknowledged is there, once.
        keys = pg.query("SELECT scope, key, (response ->> 'amountMinor')::int FROM backoffice.idempotency_keys"
                        " WHERE scope IN ('certificates.redeem', 'certificates.refund')")
        kept = {(scope.split(".")[1], key): amount for scope, key, amount in keys}
        lost = [j for j in journal if kept.get(j[:2]) != j[2]]
        assert not lost, lost
        refunds = pg.query("SELECT coalesce(sum(amount_minor), 0) FROM certificates.refunds")[0][0]
        assert refunds == sum(amount for (what, _), amount in kept.items() if what == "refund")
