"""The server's clock is set forward and back; and pg_cron, which needs a night."""
import contextlib
import time

import psycopg2
from harness.clock import Clock
from harness.kafka import MockBroker
from harness.pg import Cluster
from harness.shop import IN, OUT, Shop, check_stream, everything_there, follow, until


@contextlib.contextmanager
def cluster(conf):
    """With a clock to be set: pg, clock."""
    pg = Cluster(conf)
    try:
        pg.init()
        clock = Clock(pg)
        pg.start()
        yield pg, clock
    finally:
        pg.destroy()


def case_schedule_with_pg_cron():
    conf = {"shared_preload_libraries": "'backoffice,pg_cron'", "cron.database_name": "d", "cron.use_background_workers": "on"}
    with cluster(conf) as (pg, clock):
        pg.create_database("d")
        pg.psql("d", "CREATE ROLE operator LOGIN IN ROLE backoffice_admin")

        def query(sql, user="postgres"):
            return pg.query(sql, dbname="d", user=user)

        def refusal(user):
            try:
                query("SELECT backoffice.schedule()", user)
            except psycopg2.Error as e:
                return e.pgcode, e.diag.constraint_name
        assert refusal("operator") == ("PT503", "pg_cron_missing")
        query("CREATE EXTENSION pg_cron")
        assert refusal("operator") == ("42501", None), "without rights to the schema cron"
        query("GRANT USAGE ON SCHEMA cron TO operator")
        # Who may not analyze gets no job that only warns.
        assert [row[0] for row in query("SELECT job FROM backoffice.schedule()", "operator")] == ["backoffice prune heartbeats"]
        for _ in range(2):
            jobs = query("SELECT job FROM backoffice.schedule()")
            assert [row[0] for row in jobs] == ["backoffice prune heartbeats", "backoffice analyze events"]
        assert query("SELECT count(*) FROM cron.job")[0][0] == 3
        query("INSERT INTO backoffice.heartbeats (worker, instance, state, heartbeat, started_at)"
              " VALUES ('old', 'a', 'stopped', now() - interval '30 days', now() - interval '40 days')")
        for at in ("03:16:58", "03:36:58"):
            clock.to(at)
            time.sleep(3)
        until(lambda: query("SELECT count(*) FROM cron.job_run_details WHERE status = 'succeeded'")[0][0] == 3, 20,
              f"three runs: {query('SELECT jobid, command, status, return_message FROM cron.job_run_details')}")
        assert query("SELECT count(*) FROM backoffice.heartbeats WHERE worker = 'old'")[0][0] == 0
        assert query("SELECT count(*) FROM pg_stat_user_tables WHERE relname IN ('parked_events', 'inbox', 'idempotency_keys') AND analyze_count > 0")[0][0] == 3
        for row in query("SELECT jobname, username FROM cron.job"):
            query("SELECT cron.unschedule('%s')" % row[0], row[1])
        assert query("SELECT count(*) FROM cron.job")[0][0] == 0


class MovableShop(Shop):
    def __enter__(self):
        self.pg.init()
        self.clock = Clock(self.pg)
        self.pg.init = lambda: None
        return super().__enter__()


def ids_of_a_session(conn, count):
    with conn.cursor() as cur:
        cur.execute("SELECT array_agg(backoffice.uuid7()::text) FROM generate_series(1, %s)", (count,))
        return cur.fetchone()[0]


def reserve(shop, key):
    shop.query("SELECT access.act_as(%s, NULL); SELECT certificates.reserve_next('P', 'internet_store', %s, %s, hold => '3 seconds')", (shop.org, key, key))


def held(shop):
    return shop.query("SELECT count(*) FROM certificates.certificates WHERE state = 'reserved'")[0][0]


def case_clock_set_back_and_forth():
    """Three hours back, then a day forward: everything goes on within seconds."""
    with MockBroker(topics={OUT: 4, IN: 4}) as kafka, MovableShop() as shop:
        shop.query("SELECT access.act_as(%s, NULL); SELECT certificates.create_pool('P', 'EUR', 5000); SELECT certificates.generate_codes('P', 10)", (shop.org,))
        shop.pg.psql("shop", "CREATE ROLE app LOGIN IN ROLE backoffice_service; CREATE SCHEMA app AUTHORIZATION app; SET ROLE app;"
                     "CREATE TABLE app.seen (name text, id uuid);"
                     "CREATE FUNCTION app.handle(e events.event) RETURNS void LANGUAGE sql AS $$ INSERT INTO app.seen VALUES ('first', e.id) $$;"
                     "CREATE FUNCTION app.other(e events.event) RETURNS void LANGUAGE sql AS $$ INSERT INTO app.seen VALUES ('second', e.id) $$;"
                     f"SELECT events.subscribe('first', '{{{OUT}}}', 'app.handle(events.event)')")
        follower = follow(kafka)
        dead, relay = shop.relay(kafka, lease_ms=10000), shop.relay(kafka, lease_ms=3000)
        conn = shop.pg.connect("shop")

        def all_there(once):
            log, parked = everything_there(follower, shop, 20)
            check_stream(list(follower.messages), log, once, missing=parked)
            until(lambda: shop.query("SELECT count(DISTINCT id) FROM app.seen WHERE name = 'first'")[0][0] == len(log), 10, "the handler")

        try:
            ids = ids_of_a_session(conn, 1000)
            dead.start()
            shop.emit(200)
            all_there(once=True)
            dead.kill9()
            shop.clock.ahead(-3 * 3600)
            ids += ids_of_a_session(conn, 1000)
            # A lease of a time that is not yet: nobody can hold it.
            relay.start()
            shop.emit(200)
            all_there(once=True)
            reserve(shop, "back")
            assert held(shop) == 1
            until(lambda: held(shop) == 0, 15, "the keeper's round after the clock was set back")
            shop.query("SELECT events.subscribe('second', %s, 'app.other(events.event)', role => 'app')", ([OUT],))
            shop.emit(50)
            until(lambda: shop.query("SELECT count(*) FROM app.seen WHERE name = 'second'")[0][0] == 50, 10, "a handler subscribed after it")
            shop.clock.ahead(86400)
            shop.emit(200)
            all_there(once=False)
            reserve(shop, "forth")
            until(lambda: held(shop) == 0, 15, "the keeper's round after the clock was set forward")
            shop.clock.ahead(0)
            shop.emit(200)
            all_there(once=False)
            ids += ids_of_a_session(conn, 1000)
            assert ids == sorted(set(ids)), "ids of one session grow, whatever the clock does"
            order = shop.query("SELECT id::text, (payload->>'n')::int FROM events.read(NULL, 100000, ARRAY[%s])", (OUT,))
            assert [row[1] for row in order] == list(range(shop.emitted)), "the log's order is that of commits, not of clocks"
        finally:
            conn.close()
            follower.stop()
