"""The load: client threads that do the work of shops while the servers are being killed, and write down what they were told.

A client never guesses: when a connection breaks before the answer, the operation is "unknown" and, where it has an idempotency key,
is done again with the same key until there is an answer.
"""
import json
import random
import threading
import time

import psycopg2

ENTITIES = 40
# What a server that is being killed, or starting, answers; and conflicts that pass when tried again.
RETRY_STATES = ("40001", "40P01", "57014", "57P01", "57P02", "57P03", "53300", "55P03")


def lost(error):
    """Whether the outcome is not known: the connection broke, or the server is going down or coming up."""
    return error.pgcode is None or error.pgcode in RETRY_STATES


class Client(threading.Thread):
    """One client with one connection: reserves, issues, redeems, refunds, emits. Ends when told to, or when its thread fails."""

    def __init__(self, number, seed, connect, journal, setup, settle):
        super().__init__(daemon=True, name=f"client-{number}")
        self.number = number
        self.rng = random.Random(f"{seed}-{number}")
        self.connect_ = connect
        self.journal = journal
        self.setup = setup
        self.settle = settle                  # set: no new operations, only answers to open ones
        self.conn = None
        self.count = 0
        self.owned = []                       # certificates that this client issued: [id, balance]
        self.prepared = []
        self.crashed = None
        self.refusals = {}
        # Commits without waiting for the disk: a crash may undo what it was told, but never what Kafka was told.
        self.asynchronous = number % 4 == 3

    def run(self):
        try:
            while not self.settle.is_set():
                self.one()
        except Exception as e:  # noqa: BLE001 - the run must fail with it, not go on with fewer clients
            self.crashed = e
        finally:
            if self.conn is not None:
                self.conn.close()

    # -- connection --

    def connection(self):
        while self.conn is None or self.conn.closed:
            try:
                self.conn = self.connect_()
                self.conn.autocommit = True
                with self.conn.cursor() as cur:
                    cur.execute("SET ROLE backoffice_service")
                    cur.execute("SET statement_timeout = '20s'")
                    if self.asynchronous:
                        cur.execute("SET synchronous_commit = off")
            except psycopg2.Error as e:
                self.drop()
                if not lost(e):
                    raise
                time.sleep(0.05)
        return self.conn

    def drop(self):
        if self.conn is not None:
            try:
                self.conn.close()
            except psycopg2.Error:
                pass
        self.conn = None

    def transaction(self, statements):
        """BEGIN, act_as, the statements, COMMIT: rows of the last. Raises Unknown when the outcome is not known."""
        conn = self.connection()
        try:
            with conn.cursor() as cur:
                cur.execute("BEGIN")
                cur.execute("SELECT access.act_as(%s::uuid)", (self.setup.organization,))
                rows = []
                for sql, params in statements:
                    cur.execute(sql, params)
                    rows = cur.fetchall() if cur.description else []
                cur.execute("COMMIT")
                return rows
        except psycopg2.Error as e:
            if lost(e):
                self.drop()
                raise Unknown(str(e))
            try:
                with conn.cursor() as cur:
                    cur.execute("ROLLBACK")
            except psycopg2.Error:
                self.drop()
            raise

    def refused(self, error):
        state = f"{error.pgcode} {(error.diag.constraint_name or '')} {str(error).splitlines()[0]}"[:160]
        self.refusals[state] = self.refusals.get(state, 0) + 1

    # -- operations --

    def one(self):
        self.count += 1
        op = f"c{self.number}-{self.count}"
        kinds = [(self.emit, 5), (self.undo, 1), (self.two_phase, 1)]
        if not self.asynchronous:
            kinds += [(self.sell, 4), (self.redeem, 3), (self.refund, 1)]
        self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0](op)

    def token(self):
        return f"{self.rng.getrandbits(96):024x}"

    def counted(self, entity, token):
        """Statements of one counted emit: the row lock comes first, so the log's order is the counter's."""
        return [("SELECT torture.count(%s, %s)", (entity, token))]

    def emit(self, op):
        token = self.token()
        entity = self.rng.randrange(ENTITIES)
        facts = {"token": token, "entity": entity, "async": self.asynchronous}
        self.journal.write(op, "emit", "invoke", **facts)
        try:
            rows = self.transaction(self.counted(entity, token))
            self.journal.write(op, "emit", "ok", n=rows[0][0])
        except Unknown:
            self.journal.write(op, "emit", "unknown")
        except psycopg2.Error as e:
            self.refused(e)
            self.journal.write(op, "emit", "fail", undone=[token])

    def undo(self, op):
        """An emit under a savepoint that is rolled back, one that is kept, or a transaction that is rolled back whole."""
        undone, kept = self.token(), self.token()
        entity = self.rng.randrange(ENTITIES)
        whole = self.rng.random() < 0.5
        self.journal.write(op, "emit" if not whole else "undo", "invoke", token=kept, entity=entity, undone=[undone],
                           **{"async": self.asynchronous})
        try:
            if whole:
                self.transaction(self.counted(entity, undone) + [("ROLLBACK", None), ("BEGIN", None)])
                self.journal.write(op, "undo", "ok")
            else:
                rows = self.transaction([("SAVEPOINT s", None)] + self.counted(entity, undone)
                                        + [("ROLLBACK TO SAVEPOINT s", None)] + self.counted(entity, kept))
                self.journal.write(op, "emit", "ok", n=rows[0][0])
        except Unknown:
            self.journal.write(op, "emit" if not whole else "undo", "unknown")
        except psycopg2.Error as e:
            self.refused(e)
            self.journal.write(op, "emit" if not whole else "undo", "fail", undone=[undone, kept])

    def two_phase(self, op):
        token = self.token()
        entity = self.rng.randrange(ENTITIES)
        name = f"torture-{op}"
        self.journal.write(op, "emit", "invoke", token=token, entity=entity, **{"async": self.asynchronous})
        try:
            conn = self.connection()
            with conn.cursor() as cur:
                cur.execute("BEGIN")
                cur.execute("SELECT access.act_as(%s::uuid)", (self.setup.organization,))
                for sql, params in self.counted(entity, token):
                    cur.execute(sql, params)
                cur.execute(f"PREPARE TRANSACTION '{name}'")
        except psycopg2.Error as e:
            self.drop()
            if lost(e):
                self.journal.write(op, "emit", "unknown")
                self.finish_prepared(name)
                return
            self.refused(e)
            self.journal.write(op, "emit", "fail", undone=[token])
            return
        # From here on it is as good as done: whatever happens, it is committed in the end.
        self.finish_prepared(name)
        self.journal.write(op, "emit", "ok")

    def finish_prepared(self, name):
        """Commits the prepared transaction if it is there; whether it was. Its row lock must not stay."""
        deadline = time.time() + 120
        while time.time() < deadline:
            try:
                with self.connection().cursor() as cur:
                    cur.execute("SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE gid = %s", (name,))
                    if cur.fetchone()[0] == 0:
                        return False
                    cur.execute("RESET ROLE")
                    cur.execute(f"COMMIT PREPARED '{name}'")
                    cur.execute("SET ROLE backoffice_service")
                    return True
            except psycopg2.Error as e:
                self.drop()
                if not lost(e):
                    raise
                time.sleep(0.05)
        raise RuntimeError(f"could not commit {name}")

    def sell(self, op):
        """Reserve, and issue most of what was reserved."""
        key = f"{op}-{self.setup.seed}"
        pool = self.rng.choice(self.setup.pools)
        self.journal.write(op, "reserve", "invoke", key=key, pool=pool)
        answers = []
        certificate = self.until_answered(op, "reserve", lambda: self.reserve(pool, key))
        if certificate is None:
            return
        answers.append(certificate)
        self.journal.write(op, "reserve", "ok", certificate=certificate, answers=answers)
        if self.rng.random() < 0.1:
            # A client that lost the answer asks again: the same certificate.
            again = self.until_answered(op, "reserve", lambda: self.reserve(pool, key))
            answers.append(again)
            self.journal.write(op, "reserve", "ok", certificate=certificate, answers=answers)
        if self.rng.random() < 0.2:
            return
        issue = op + "-issue"
        self.journal.write(issue, "issue", "invoke", certificate=certificate)
        if self.until_answered(issue, "issue", lambda: self.issue(certificate)) is None:
            return
        self.journal.write(issue, "issue", "ok")
        self.owned.append([certificate, self.setup.face])

    def reserve(self, pool, key):
        rows = self.transaction([(self.setup.RESERVE, {"pool": pool, "key": key})])
        return rows[0][0]

    def issue(self, certificate):
        try:
            self.transaction([(self.setup.ISSUE, {"certificate": certificate})])
        except psycopg2.Error as e:
            # Done by the attempt whose answer was lost.
            if e.diag.constraint_name != "illegal_transition":
                raise
        return True

    def redeem(self, op):
        self.move_money(op, "redeem", self.setup.REDEEM, 1)

    def refund(self, op):
        self.move_money(op, "refund", self.setup.REFUND, -1)

    def move_money(self, op, kind, sql, sign):
        fit = [c for c in self.owned if (c[1] >= 10 if sign > 0 else c[1] <= self.setup.face - 10)]
        if not fit:
            return
        owned = self.rng.choice(fit)
        limit = owned[1] if sign > 0 else self.setup.face - owned[1]
        amount = self.rng.randint(1, max(1, limit // 3))
        self.journal.write(op, kind, "invoke", certificate=owned[0], amount=amount)
        params = {"certificate": owned[0], "amount": amount, "key": f"{op}-{self.setup.seed}"}

        def move():
            self.transaction([(sql, params)])
            return True
        if self.until_answered(op, kind, move):
            owned[1] -= sign * amount
            self.journal.write(op, kind, "ok")

    def until_answered(self, op, kind, act):
        """act() until its outcome is known, with its idempotency key; None when it was refused or had no result."""
        deadline = time.time() + 120
        while True:
            try:
                answer = act()
                if answer is None:
                    self.journal.write(op, kind, "fail", reason="empty")
                return answer
            except Unknown as e:
                self.journal.write(op, kind, "unknown")
                if time.time() > deadline:
                    raise RuntimeError(f"{op}: no answer for two minutes: {e}")
                time.sleep(self.rng.uniform(0.01, 0.1))
            except psycopg2.Error as e:
                self.refused(e)
                self.journal.write(op, kind, "fail", reason=e.pgcode)
                return None


class Unknown(Exception):
    """The connection broke before the answer."""


class Sender(threading.Thread):
    """Sends messages to the inbound topic, and orders with their payments; acknowledged is what the broker confirmed."""

    def __init__(self, seed, bootstrap, topic, setup, journal, settle, per_second):
        super().__init__(daemon=True, name="sender")
        from harness.kafka import _confluent
        self.producer = _confluent().Producer({
            "bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 2,
            "message.timeout.ms": 300000, "log_level": 2})
        self.rng = random.Random(f"{seed}-sender")
        self.topic = topic
        self.organization = str(setup.organization)
        self.face = setup.face
        self.journal = journal
        self.settle = settle
        self.pause = 1.0 / per_second
        self.crashed = None
        self.refusals = {}

    def run(self):
        try:
            number = 0
            while not self.settle.is_set():
                number += 1
                self.send(f"m{number}")
                # The sender of the feed repeats itself now and then: the same message id, a second record.
                if self.rng.random() < 0.05:
                    self.send(f"m{self.rng.randint(1, number)}")
                if number % 5 == 0:
                    self.order(f"o{number}")
                self.producer.poll(self.pause)
            if self.producer.flush(120):
                raise RuntimeError("the sender could not get rid of its messages")
        except Exception as e:  # noqa: BLE001
            self.crashed = e

    def produce(self, topic, key, message, value, report):
        self.producer.produce(topic, key=key, value=json.dumps(value), on_delivery=report, headers=[
            ("ce_id", message), ("ce_type", topic), ("ce_source", "torture"), ("ce_specversion", "1.0"),
            ("organization_id", self.organization)])

    def send(self, message):
        self.journal.write(message, "inbound", "invoke", message=message)

        def report(error, _):
            self.journal.write(message, "inbound", "ok" if error is None else "unknown")
        self.produce(self.topic, f"k{hash_of(message)}", message, {"message": message}, report)

    def order(self, order):
        """An order of one certificate and its payment, in either order. Acknowledged when both are."""
        self.journal.write(order, "order", "invoke", order=order)
        outcomes = []

        def report(error, _):
            outcomes.append(error is None)
            if len(outcomes) == 2:
                self.journal.write(order, "order", "ok" if all(outcomes) else "unknown")
        amount = {"minor": self.face, "currency": "EUR"}
        messages = [("All_SalesOrder", order + "-order", {"orderId": order, "channel": "pos", "status": "created", "version": 1,
                                                          "lines": [{"lineId": "1", "pool": "plenty", "quantity": 1, "amount": amount}]}),
                    ("All_Payments", order + "-payment", {"paymentId": order + "-payment", "orderId": order, "type": "capture",
                                                          "status": "succeeded", "amount": amount})]
        self.rng.shuffle(messages)
        for topic, message, value in messages:
            self.produce(topic, order, message, value, report)


def hash_of(message):
    return sum(message.encode()) % 20
