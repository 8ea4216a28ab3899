#!/usr/bin/python3
"""make demo: a day of a gift-certificate business, from Kafka to Kafka, in about a minute.

    test/demo/demo.py                      the whole day; afterwards database server and gateway stay for half an hour
    test/demo/demo.py --orders 300 --stop  a short one that leaves nothing behind (also with CI=true in the environment)
    test/demo/demo.py --psql               psql in the database of the last demo
    test/demo/demo.py --end                stops that database server

Without KAFKA_BOOTSTRAP the broker is librdkafka's mock cluster over TCP: no Java is needed. Exit code 0: everything came out as the
feed's own model says, and the conservation check is zero.
"""
import argparse
import collections
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import json  # noqa: E402

from harness import kafka as kafka_harness  # noqa: E402
from harness.workers import Worker  # noqa: E402
import feed  # noqa: E402
import server  # noqa: E402

STREAM = "GiftCertificates.Stream"
IN_TOPICS = ["All_SalesOrder", "All_Payments", "All_Clients"]
ORGANIZATION = "Demo Gifts"
CURLS = [
    "curl -s {url}/health/ready; echo",
    """TOKEN=$(curl -s {url}/auth/login -H 'Content-Type: application/json' """
    """-d '{{"email": "ann@demo.test", "password": "{password}"}}' | sed 's/.*"access_token": *"\\([^"]*\\).*/\\1/')""",
    """curl -s '{url}/certificates/next?pool=GIFT-50&channel=internet_store' -H "Authorization: Bearer $TOKEN"; echo""",
]
WIDTH = 78


def arguments(argv):
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--orders", type=int, default=3000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--stop", action="store_true", default=os.environ.get("CI", "") not in ("", "0", "false"),
                   help="leave nothing running")
    p.add_argument("--timeout", type=float, default=180, metavar="SECONDS")
    p.add_argument("--psql", nargs=argparse.REMAINDER, help="psql in the database of the last demo")
    p.add_argument("--end", action="store_true", help="stop the database server and the gateway of the last demo")
    p.add_argument("--watchdog", metavar="FOLDER", help=argparse.SUPPRESS)
    return p.parse_args(argv)


def heading(text):
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def tell(text):
    print(textwrap.fill(" ".join(text.split()), WIDTH), flush=True)


def table(rows, header):
    rows = [[str(v) if v is not None else "" for v in row] for row in rows]
    widths = [max(len(row[i]) for row in rows + [header]) for i in range(len(header))]
    right = [all(row[i].lstrip("-").isdigit() for row in rows) for i in range(len(header))]

    def line(row):
        return "  " + "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right)).rstrip()
    print(line(header))
    print("  " + "  ".join("-" * w for w in widths))
    for row in rows:
        print(line(row))
    sys.stdout.flush()


class Demo:
    def __init__(self, args):
        self.args = args
        self.feed = feed.Feed(args.seed, args.orders)
        self.pg = self.kafka = None
        self.workers = []
        self.sent = 0
        self.replenished = False
        self.failures = []

    def sql(self, sql, params=None):
        return self.pg.query(sql, params, dbname=server.DATABASE)

    def as_service(self, sql, params=None):
        """As an application would: a role without rights of its own, acting for the organization."""
        conn = self.pg.connect(server.DATABASE, autocommit=False)
        try:
            with conn, conn.cursor() as cur:
                cur.execute("SET ROLE backoffice_service")
                cur.execute("SELECT access.act_as(%s)", (self.organization,))
                cur.execute(sql, params)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()

    # -- the story --

    def run(self):
        began = time.time()
        kept = False
        try:
            self.introduce()
            self.set_up()
            self.work()
            self.report()
            self.judge()
            self.end_workers()
            self.serve()
            print(f"\n{time.time() - began:.0f} s")
            kept = self.leave()
        finally:
            self.tear_down(kept)
        return 1 if self.failures else 0

    def introduce(self):
        heading("A day of a gift-certificate business")
        stories = self.feed.stories
        tell(f"""{len(self.feed.orders)} orders come in from two channels, an internet store and points of sale, as {len(self.feed.messages)}
            messages on the Kafka topics {', '.join(IN_TOPICS)}. They do not come tidily: {stories['payment_first']} payments arrive
            before their order, {stories['twice']} orders and payments are sent again and again, {stories['cancelled']} orders are cancelled,
            {stories['refunded'] + stories['part_refunded']} are given back whole or in part, {stories['vague_refund']} refunds do not say
            enough, {self.feed.garbage} messages cannot be understood, and one pool of certificates runs dry.""")
        tell(f"""backoffice takes them in (kafka-ingest), matches orders with payments inside PostgreSQL, issues certificates from pools, and
            publishes everything that happened on the Kafka topic {STREAM} (kafka-relay). Every change of a row commits together with its event.""")

    def set_up(self):
        heading("Starting")
        given = os.environ.get("KAFKA_BOOTSTRAP")
        topics = {name: 6 for name in IN_TOPICS}
        self.kafka = kafka_harness.any_kafka(real=False, topics=topics)
        self.kafka.__enter__()
        print(f"  Kafka      {self.kafka.bootstrap}  " + ("(KAFKA_BOOTSTRAP)" if given else "(librdkafka's mock cluster: no Java; or set KAFKA_BOOTSTRAP)"))
        self.pg = server.start()
        print(f"  PostgreSQL {self.pg.dir}:{self.pg.port}  (throw-away, with the extension)")
        self.organization = self.sql("SET ROLE backoffice_service; SELECT access.create_organization(%s)", (ORGANIZATION,))[0][0]
        self.make_pools()
        for name in ("kafka-ingest", "kafka-relay"):
            worker = Worker(name, log=os.path.join(self.pg.dir, name + ".log"), database=self.pg.dsn(server.DATABASE),
                            kafka_bootstrap=self.kafka.bootstrap)
            worker.start()
            self.workers.append(worker)
            print(f"  {name:<12} pid {worker.process.pid}")

    def make_pools(self):
        stock = {pool: int(self.feed.demand[pool] * 1.2) + 20 for pool in feed.POOLS}
        scarce, face = feed.SCARCE
        stock[scarce] = max(1, self.feed.demand[scarce] // 3)
        for pool, number in stock.items():
            face = dict(feed.POOLS, **dict([feed.SCARCE]))[pool]
            self.as_service("SELECT certificates.create_pool(%s, %s, %s, low_water => %s)", (pool, feed.CURRENCY, face, number // 10))
            self.as_service("SELECT certificates.generate_codes(%s, %s)", (pool, number))
        print("  pools      " + ", ".join(f"{pool} {number}" for pool, number in stock.items()))

    def work(self):
        heading("Working")
        sender = threading.Thread(target=self.send, daemon=True)
        sender.start()
        deadline = time.time() + self.args.timeout
        began = time.time()
        while True:
            time.sleep(0.5)
            state = self.state()
            self.progress(time.time() - began, state)
            if not self.replenished and state["blocked"] and self.sent > len(self.feed.messages) * 0.6:
                self.replenish()
            if not sender.is_alive() and self.settled(state):
                break
            if time.time() > deadline:
                self.failures.append(f"not done after {self.args.timeout:.0f} s")
                break
            for worker in self.workers:
                if not worker.alive():
                    raise RuntimeError(f"{worker.program} ended:\n{worker.text()[-2000:]}")
        print()

    def send(self):
        producer = kafka_harness.Producer(self.kafka.bootstrap)
        pace = len(self.feed.messages) / 25.0
        began = time.time()
        for n, m in enumerate(self.feed.messages):
            producer.send(m.topic, m.value, m.key, {"ce_id": m.id, "ce_type": m.topic, "ce_source": "/demo", "ce_specversion": "1.0",
                                                    "organization_id": str(self.organization)})
            self.sent = n + 1
            ahead = (n + 1) / pace - (time.time() - began)
            if ahead > 0.01:
                time.sleep(ahead)
        producer.flush(60)

    def replenish(self):
        scarce = feed.SCARCE[0]
        self.replenished = True
        print(f"\n  {scarce} has run dry: an administrator adds {self.feed.demand[scarce]} codes", flush=True)
        self.as_service("SELECT certificates.generate_codes(%s, %s)", (scarce, self.feed.demand[scarce]))

    def state(self):
        accepted, parked, lag, published = self.sql("""
            SELECT (SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.direction = 'in'),
                   (SELECT count(*) FROM events.parked_inbound),
                   (SELECT coalesce(sum(lag_events), 0) FROM events.consumers),
                   (SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.direction = 'out')""")[0]
        status = {row[0]: row[1] for row in self.as_service("SELECT state, count(*) FROM certificates.certificates GROUP BY state")}
        blocked = self.as_service("SELECT count(*) FROM certificates.orders WHERE state = 'blocked'")[0][0]
        return {"accepted": accepted, "parked": parked, "lag": int(lag), "stream": published, "certificates": status,
                "blocked": blocked}

    def progress(self, seconds, s):
        c = s["certificates"]
        line = (f"  {seconds:4.0f} s  sent {self.sent}/{len(self.feed.messages)}  taken in {s['accepted']}  reserved {c.get('reserved', 0)}"
                f"  issued {c.get('active', 0) + c.get('issued', 0)}  waiting for stock {s['blocked']}  stream {s['stream']}  lag {s['lag']}")
        if sys.stdout.isatty():
            print("\r" + line.ljust(118), end="", flush=True)
        elif seconds // 2 != getattr(self, "said", None):
            self.said = seconds // 2
            print(line, flush=True)

    def settled(self, s):
        """Everything taken in, handled and published, and nothing waits for stock."""
        unique = len({m.id for m in self.feed.messages})
        return s["accepted"] + s["parked"] >= unique and s["lag"] == 0 and s["blocked"] == 0

    # -- what came of it --

    def report(self):
        expected = self.sql("SELECT count(*) FROM events.log l JOIN events.topics t ON t.id = l.topic_id WHERE t.name = %s", (STREAM,))[0][0]
        heading(f"What the world sees: {STREAM}, read back from Kafka")
        # A broker of the user's may hold other runs' events: ours carry our organization, or none and an id of our log.
        nobodys = {str(id) for id, in self.sql("SELECT id FROM events.read(NULL, 1000000, %s) WHERE organization_id IS NULL", [[STREAM]])}
        messages = [m for m in kafka_harness.consume(self.kafka.bootstrap, STREAM, timeout_s=20, quiet_s=2)
                    if m.headers.get("organization_id", m.headers["ce_id"] in nobodys) in (str(self.organization), True)]
        self.stream = {}
        for m in messages:
            value = json.loads(m.value)
            self.stream.setdefault(value["eventId"], value)
        if len(self.stream) != expected:
            self.failures.append(f"{expected} events in the log, {len(self.stream)} in Kafka")
        counts = collections.Counter((e["eventType"], e["channel"]) for e in self.stream.values())
        types = sorted({t for t, _ in counts})
        table([[t] + [counts[(t, c)] for c in feed.CHANNELS + [None]] for t in types], ["event type"] + feed.CHANNELS + ["(no channel)"])
        print(f"  {len(messages)} messages, {len(self.stream)} events")

        heading("The pools")
        columns = "pool, state, currency, face_value_minor, created, available, reserved, issued, terminal, outstanding_minor"
        table(self.as_service(f"SELECT {columns} FROM certificates.pool_status ORDER BY pool"), columns.split(", "))

        heading("Conservation: created − available − held − issued − terminal, by pool (must be zero)")
        self.conservation = self.as_service("SELECT pool, difference FROM certificates.conservation ORDER BY pool")
        table(self.conservation, ["pool", "difference"])

        heading("The workers")
        columns = "worker, state, heartbeat, position, last_error"
        table(self.sql(f"SELECT worker, state, date_trunc('second', heartbeat)::text, position, left(last_error, 40) FROM backoffice.workers ORDER BY worker"),
              columns.split(", "))

        heading("What could not be understood")
        table(self.sql("SELECT topic, count(*), min(left(reason, 70)) FROM events.parked_inbound GROUP BY topic ORDER BY topic"),
              ["topic", "messages", "for example"])

        heading("The life of a certificate (Mermaid; from the table that the trigger enforces)")
        print(textwrap.indent(self.sql("SELECT lifecycle.diagram('certificates.certificates')")[0][0], "  "))

    def outcome(self):
        """What the stream says, counted so that it does not matter in which order orders and payments arrived."""
        channels = {}
        sold, undone, refunded, pending = set(), set(), {}, {}
        for e in self.stream.values():
            p = e["payload"]
            if e["eventType"] == "certificate.issued":
                sold.add(p["certificateId"])
                channels[p["certificateId"]] = e["channel"]
            elif e["eventType"] == "refund":
                refunded[p["paymentRef"]] = e["channel"]
                undone.update(p["certificateIds"])
            elif e["eventType"] == "refund.pendingDetails":
                pending[p["paymentRef"]] = e["channel"]
        got = collections.Counter(("sold and kept", channels[c]) for c in sold - undone)
        got.update(("refund carried out", channel) for channel in refunded.values())
        got.update(("refund waits for details", channel) for ref, channel in pending.items() if ref not in refunded)
        return got

    def judge(self):
        heading("Is it right?")
        got = self.outcome()
        rows = [[what, channel, self.feed.expected[(what, channel)], got[(what, channel)]]
                for what, channel in sorted(set(got) | set(self.feed.expected), key=str)]
        parked = self.sql("SELECT count(*) FROM events.parked_inbound")[0][0]
        rows.append(["set aside as garbage", "", self.feed.garbage, parked])
        told = sum(e["eventType"] == "alert" and e["status"] == "inbound.parked" for e in self.stream.values())
        rows.append(["told as an alert", "", self.feed.garbage, told])
        rows = [row + ["ok" if row[2] == row[3] else "WRONG"] for row in rows]
        blocked = sum(e["eventType"] == "issue.blocked" for e in self.stream.values())
        rows.append(["issue.blocked: a pool was empty", "", "some", blocked, "ok" if blocked else "WRONG"])
        table(rows, ["what", "channel", "the feed's model", "the stream", ""])
        self.failures += [f"{row[0]} {row[1]}: {row[2]} expected, {row[3]} found" for row in rows if row[4] == "WRONG"]
        self.failures += [f"conservation of {pool}: {difference}" for pool, difference in self.conservation if difference != 0]
        if not self.conservation:
            self.failures.append("the conservation view is empty")
        for failure in self.failures:
            print("  FAILED: " + failure)
        if not self.failures:
            print("  Every count matches, and no certificate was lost or made up.")

    # -- over HTTP --

    def serve(self):
        """A gateway, somebody who may log in, and what they can do, done here as it is printed."""
        heading("The same functions over HTTP")
        password = secrets.token_urlsafe(12)
        self.sql("CREATE ROLE demo_web LOGIN IN ROLE backoffice_gateway")
        user = self.sql("SELECT access.create_user('ann@demo.test', %s, %s)", (password, self.organization))[0][0]
        self.sql("SELECT access.grant_role(%s, 'owner', organization => %s)", (user, self.organization))
        url = f"http://127.0.0.1:{server.start_gateway(self.pg, 'demo_web')}"
        tell(f"A gateway serves {url}. These three lines work, in this order:")
        lines = [line.format(url=url, password=password) for line in CURLS]
        for line in lines:
            print("\n  " + line)
        out = subprocess.run(["bash", "-c", "\n".join(lines)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60).stdout
        print("\nThe first and the last have just answered:\n")
        for line in out.splitlines():
            print(textwrap.indent(textwrap.fill(line, WIDTH), "  "), flush=True)
        for what in ('"status":"ok"', '"state": "reserved"', '"pool": "GIFT-50"'):
            if what.replace(" ", "") not in out.replace(" ", ""):
                self.failures.append(f"over HTTP: no {what} in {out}")

    # -- the end --

    def end_workers(self):
        for worker in self.workers:
            code = worker.stop()
            if code != 0:
                self.failures.append(f"{worker.program} ended with {code}")
                print(worker.text()[-2000:])

    def leave(self):
        """Whether the database server stays."""
        if self.args.stop:
            return False
        server.leave_running(self.pg)
        heading("Look around")
        tell(f"""The broker and the Kafka workers have ended. The database server and the gateway stay for {server.LINGER_MINUTES} minutes, then they
            stop and are removed; only you and root can connect to the database. The README has something to paste.""")
        print(f"\n  make psql          or: {server.psql_command(self.pg.dir, self.pg.port)}"
              f"\n  make demo-stop     stops and removes both now")
        return True

    def tear_down(self, kept):
        for worker in self.workers:
            worker.kill9()
        if self.kafka is not None:
            self.kafka.__exit__(None, None, None)
        if self.pg is not None and not kept:
            server.stop_gateway(self.pg)
            self.pg.destroy()


def main():
    args = arguments(sys.argv[1:])
    if args.watchdog:
        server.watch(args.watchdog)
        return 0
    if args.psql is not None:
        server.open_psql(args.psql)
    if args.end:
        print("stopped" if server.stop() else "no demo server is running")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return Demo(args).run()


if __name__ == "__main__":
    sys.exit(main())
