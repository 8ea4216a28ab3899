"""The stage of a torture run: cluster, schema, broker, thin workers; and what is looked at afterwards."""
import json
import os
import time

import psycopg2

from harness.kafka import RealKafka, consume
from harness.pg import Cluster
from harness.workers import Worker
import verify

DATABASE = "torture"
INBOUND = "torture.inbound"
FACE = 10000

SCHEMA = """
CREATE SCHEMA torture;
CREATE TABLE torture.entities (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
INSERT INTO torture.entities SELECT g FROM generate_series(0, 199) g;
CREATE TABLE torture.handled (effect bigserial PRIMARY KEY, event uuid NOT NULL);
CREATE TABLE torture.received (effect bigserial PRIMARY KEY, message text NOT NULL);
CREATE FUNCTION torture.count(entity int, token text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    UPDATE torture.entities SET n = n + 1 WHERE id = entity RETURNING n INTO v;
    PERFORM events.emit('torture.counted', entity::text, 'counted', jsonb_build_object('n', v, 'token', token));
    RETURN v;
END $$;
-- Handlers fail now and then, after their effect: it must be undone and done again.
CREATE FUNCTION torture.stumble() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF random() < 0.01 THEN
        RAISE EXCEPTION 'stumbled';
    END IF;
END $$;
CREATE FUNCTION torture.on_counted(event events.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO torture.handled (event) VALUES (event.id);
    PERFORM torture.stumble();
END $$;
CREATE FUNCTION torture.on_inbound(event events.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO torture.received (message) VALUES (event.payload ->> 'message');
    PERFORM torture.stumble();
END $$;
CREATE ROLE torture_handler NOLOGIN IN ROLE backoffice_service;
GRANT USAGE ON SCHEMA torture TO backoffice_service;
GRANT SELECT, UPDATE ON torture.entities TO backoffice_service;
GRANT INSERT ON torture.handled, torture.received TO torture_handler;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA torture TO torture_handler;
"""

TOPICS = """
SET ROLE backoffice_admin;
SELECT events.define_topic('torture.counted', 'entity', partitions => 4);
SELECT events.define_topic('torture.inbound', 'key', partitions => 4, direction => 'in');
RESET ROLE;
SELECT events.subscribe('torture-counted', '{torture.counted}', 'torture.on_counted(events.event)', start => 'earliest', role => 'torture_handler');
SELECT events.subscribe('torture-inbound', '{torture.inbound}', 'torture.on_inbound(events.event)', start => 'earliest', role => 'torture_handler');
"""

# One pool has enough for the whole run, the other runs dry.
POOLS = {"plenty": 20000, "scarce": 300}


class Setup:
    """What the clients need to know."""

    RESERVE = "SELECT id::text FROM certificates.reserve_next(%(pool)s, 'internet_store', %(key)s, %(key)s)"
    ISSUE = "SELECT id FROM certificates.issue(%(certificate)s::uuid)"
    REDEEM = "SELECT certificates.redeem(%(certificate)s::uuid, %(amount)s, %(key)s)"
    REFUND = "SELECT certificates.refund(%(certificate)s::uuid, %(amount)s, %(key)s)"

    def __init__(self, seed):
        self.seed = seed
        self.organization = None
        self.pools = list(POOLS)
        self.face = FACE


class Stage:
    def __init__(self, args, folder):
        self.args = args
        self.folder = folder
        self.setup = Setup(args.seed)
        self.pg = self.kafka = self.relay = self.ingest = None

    def __enter__(self):
        try:
            # On the same disk as everything else, but with fsync on: what is told must be on disk.
            self.pg = Cluster({"fsync": "on", "shared_buffers": "128MB", "restart_after_crash": "on",
                               "backoffice.handler_retry_min_ms": "100"})
            self.pg.init()
            self.pg.start()
            self.pg.create_database(DATABASE)
            self.prepare()
            if self.args.kafka:
                self.kafka = RealKafka(topics={INBOUND: 4, "All_SalesOrder": 4, "All_Payments": 4, "All_Clients": 1}, heap_mb=384)
                self.kafka.__enter__()
                self.start_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for worker in (self.relay, self.ingest):
            if worker:
                worker.kill9()
        if self.kafka:
            self.kafka.destroy()
        if self.pg:
            self.pg.destroy()

    # -- setting up --

    def sql(self, sql, params=None, user="postgres"):
        return self.pg.query(sql, params, dbname=DATABASE, user=user)

    def as_principal(self, sql, params=()):
        """Rows of one transaction that acts for the organization."""
        conn = self.pg.connect(DATABASE, autocommit=False)
        try:
            with conn, conn.cursor() as cur:
                cur.execute("SELECT access.act_as(%s)", (self.setup.organization,))
                cur.execute(sql, params)
                return cur.fetchall() if cur.description else []
        finally:
            conn.close()

    def prepare(self):
        self.sql(SCHEMA)
        self.sql(TOPICS)
        self.setup.organization = self.sql("SELECT access.create_organization('torture')")[0][0]
        for pool, number in POOLS.items():
            self.as_principal("SELECT certificates.create_pool(%s, 'EUR', %s); SELECT certificates.generate_codes(%s, %s)",
                              (pool, FACE, pool, number))

    def start_workers(self):
        for name in ("kafka-relay", "kafka-ingest"):
            worker = Worker(name, log=os.path.join(self.folder, name + ".log"), database=self.pg.dsn(DATABASE),
                            kafka_bootstrap=self.kafka.bootstrap, **({"lease_ms": 3000} if name == "kafka-relay" else {}))
            setattr(self, name.removeprefix("kafka-"), worker)
            worker.start()

    def connect_client(self):
        return psycopg2.connect(self.pg.dsn(DATABASE) + " connect_timeout=10")

    # -- while it runs --

    def wait_for_server(self, timeout_s=60):
        """Until the server takes statements again after a crash."""
        deadline = time.time() + timeout_s
        while True:
            try:
                self.sql("SELECT 1")
                break
            except psycopg2.Error:
                if time.time() > deadline:
                    raise RuntimeError("the server did not come back:\n" + self.pg.tail_log())
                time.sleep(0.05)
        for worker in (self.relay, self.ingest):
            if worker:
                self.revive(worker)

    @staticmethod
    def revive(worker):
        """As systemd would."""
        if not worker.alive():
            worker.start()

    # -- afterwards --

    def heal(self):
        self.wait_for_server()
        for (gid,) in self.sql("SELECT gid FROM pg_prepared_xacts"):
            self.sql(f"COMMIT PREPARED '{gid}'")
        for worker in (self.relay, self.ingest):
            if worker:
                self.revive(worker)

    def log(self):
        """Every event, as readers get it: page after page, by position."""
        events, after = [], None
        while True:
            rows = self.sql("SELECT position::text, id::text, topic, key, type, payload FROM events.read(%s::events.position, 5000, NULL)", (after,))
            if not rows:
                return events
            events += [verify.LogEvent(*row[1:]) for row in rows]
            after = rows[-1][0]

    def drain(self, say, sent, orders, timeout_s=90):
        """Until everything sent is in the log, and every consumer has passed what is in the log. Gives up when nothing moves any more."""
        time.sleep(1.5)
        deadline = time.time() + timeout_s
        said = 0.0
        before = None
        while True:
            left = self.sql("SELECT name, lag_events FROM events.consumers WHERE lag_events > 0 UNION ALL"
                            " SELECT consumer || ' retries', count(*) FROM events.parked WHERE state <> 'parked' GROUP BY consumer")
            backlog = (len(sent - {row[0] for row in self.sql("SELECT message FROM torture.received")})
                       + len(orders - {row[0] for row in self.sql("SELECT order_ref FROM certificates.orders WHERE state = 'fulfilled'")}))
            if not left and not backlog:
                return
            if (left, backlog) != before:
                before = (left, backlog)
                deadline = time.time() + timeout_s
            if time.time() > deadline:
                raise RuntimeError(f"does not drain: consumers {left}, inbound {backlog}\n" + self.pg.tail_log(5)
                                   + "".join(w.text()[-1500:] for w in (self.relay, self.ingest) if w))
            if time.time() - said > 5:
                said = time.time()
                say(f"to drain: {', '.join(f'{n} {lag} events' for n, lag in left)}{f', inbound {backlog}' if backlog else ''}")
            self.wait_for_server()
            time.sleep(0.2)

    def observe(self):
        o = verify.Observation()
        o.log = self.log()
        o.stored = [row[0] for row in self.sql("SELECT id::text FROM events.log")]
        o.out_topics = {row[0] for row in self.sql("SELECT name FROM events.topics WHERE direction = 'out'")}
        o.counters = {str(i): n for i, n in self.sql("SELECT id, n FROM torture.entities")}
        o.handled = [row[0] for row in self.sql("SELECT event::text FROM torture.handled ORDER BY effect")]
        o.accepted = [row[0] for row in self.sql("SELECT message FROM torture.received")]
        o.fulfilled = [row[0] for row in self.sql("SELECT order_ref FROM certificates.order_units WHERE state = 'issued'")]
        o.parked = self.sql("SELECT (SELECT count(*) FROM events.parked) + (SELECT count(*) FROM events.parked_inbound)")[0][0]
        o.certificates = {row[0]: row[1:] for row in self.sql(
            "SELECT id::text, state, face_value_minor, balance_minor FROM certificates.certificates")}
        o.reservations = self.sql("SELECT id::text, order_ref FROM certificates.certificates WHERE order_ref IS NOT NULL AND state <> 'available'")
        o.conservation = [row[0] for row in self.as_principal("SELECT difference FROM certificates.conservation")]
        if self.kafka:
            o.kafka_on = True
            o.kafka = self.published(sorted(o.out_topics))
        return o

    def published(self, topics):
        return [verify.KafkaEvent(m.headers.get("ce_id"), m.topic, m.partition, m.offset, m.key, json.loads(m.value).get("token"))
                for m in consume(self.kafka.bootstrap, topics, timeout_s=60, quiet_s=3)]
