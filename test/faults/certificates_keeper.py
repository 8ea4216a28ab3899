"""Certificates: what the keeper cannot do at one place keeps it from no other."""
import threading
from contextlib import ExitStack, closing

from faults import _log
from faults.certificates_pools import organization, run, stocked
from harness.pg import Cluster


def case_one_that_always_fails():
    """A certificate that cannot be written keeps the keeper from no other: holds, reservations and validities end everywhere else."""
    with Cluster() as pg:
        bad = stocked(pg, 4)
        good = organization(pg)
        run(pg, good, "SELECT certificates.create_pool('gift', 'EUR', 5000)", "SELECT certificates.generate_codes('gift', 4)")
        for org in (bad, good):
            run(pg, org, "SELECT certificates.reserve_next('gift', 'pos')",
                "SELECT certificates.issue((certificates.reserve_next('gift', 'pos')).id) FROM generate_series(1, 2)",
                "SELECT certificates.authorize(id, 100, ttl => '1 day') FROM certificates.certificates WHERE slot_no = 2 AND organization_id = backoffice.current_organization()")
        pg.query("""CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never this one'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON certificates.certificates FOR EACH ROW
            WHEN (NEW.organization_id = '%s' AND (NEW.state <> OLD.state OR NEW.held_minor <> OLD.held_minor)) EXECUTE FUNCTION public.refuse()""" % bad, dbname="d")
        pg.query("UPDATE certificates.certificates SET hold_until = now() - interval '1 hour' WHERE state = 'reserved'", dbname="d")
        pg.query("UPDATE certificates.redemptions SET hold_until = now() - interval '1 hour'", dbname="d")
        pg.query("UPDATE certificates.certificates SET valid_until = now() - interval '1 hour' WHERE slot_no = 3", dbname="d")
        for what, wanted in (("hold", "slot_no = 2 AND held_minor = 0"), ("validity", "slot_no = 3 AND state = 'expired'"),
                             ("reservation", "channel IS NULL AND state = 'available' AND slot_no > 4")):
            _log.wait_for(f"the other organization's {what} ends", lambda: pg.query(
                f"SELECT count(*) FROM certificates.certificates WHERE organization_id = %s AND {wanted}", (good,), dbname="d")[0][0] == 1, timeout_s=30)
        # Nor is it forgotten.
        pg.query("DROP TRIGGER refuse ON certificates.certificates", dbname="d")
        _log.wait_for("the same in the first one", lambda: pg.query(
            "SELECT count(*) FILTER (WHERE state = 'available'), count(*) FILTER (WHERE state = 'expired'), sum(held_minor)"
            " FROM certificates.certificates WHERE organization_id = %s", (bad,), dbname="d") == [(2, 1, 0)], timeout_s=60)


def refuse_some(pg, bad):
    """Triggers that let nothing happen to what is the organization's, to the orders and reservations of channel "stuck"."""
    pg.query("""CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never this one'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON certificates.certificates FOR EACH ROW
        WHEN ((NEW.organization_id = '%s' OR OLD.channel = 'stuck') AND (NEW.state <> OLD.state OR NEW.held_minor <> OLD.held_minor)) EXECUTE FUNCTION public.refuse();
        CREATE TRIGGER refuse BEFORE UPDATE ON certificates.orders FOR EACH ROW
        WHEN (OLD.channel = 'stuck' AND NEW.retry_asked_at IS NOT NULL) EXECUTE FUNCTION public.refuse()""" % bad, dbname="d")


def sell(pg, org, order, channel, pool="scarce"):
    """An order that is paid, by the feeds."""
    run(pg, org, ("""SELECT certificates.handle_message('All_SalesOrder', jsonb_build_object('orderId', %(order)s, 'channel', %(channel)s, 'status', 'created',
            'version', 1, 'lines', jsonb_build_array(jsonb_build_object('lineId', 'a', 'pool', %(pool)s, 'amount', jsonb_build_object('minor', 5, 'currency', 'EUR'))))),
        certificates.handle_message('All_Payments', jsonb_build_object('paymentId', %(order)s, 'orderId', %(order)s, 'type', 'capture', 'status', 'succeeded',
            'amount', jsonb_build_object('minor', 5, 'currency', 'EUR')))""", {"order": order, "channel": channel, "pool": pool}))


def case_many_that_always_fail():
    """More certificates than the keeper takes at a time cannot be written, nor can one order, nor one reservation: all others come to their turn."""
    with Cluster({"backoffice.frozen_now": "'2030-01-01 00:00:00+00'"}) as pg, ExitStack() as open_ones:
        many = 230
        bad = stocked(pg, 2 * many)
        good, third = organization(pg), organization(pg)
        # Hundreds with an open hold, hundreds without; of the good one's each one, due after them.
        sold = "SELECT certificates.issue((certificates.reserve_next('gift', 'pos')).id) FROM generate_series(1, %s)"
        held = """SELECT certificates.authorize(id, 100, ttl => %s) FROM certificates.certificates
            WHERE slot_no <= %s AND organization_id = backoffice.current_organization()"""
        run(pg, bad, (sold, (2 * many,)), (held, ("1 hour", many)))
        for org in (good, third):
            run(pg, org, "SELECT certificates.create_pool('gift', 'EUR', 5000)", "SELECT certificates.generate_codes('gift', 500)")
        run(pg, third, (sold, (many,)), (held, ("1 hour", many)))
        run(pg, good, (sold, (2,)), (held, ("2 hours", 1)), "SELECT certificates.reserve_next('gift', 'stuck')", "SELECT certificates.reserve_next('gift', 'pos')",
            "SELECT certificates.create_pool('scarce', 'EUR', 5)")
        sell(pg, good, "first", "stuck")
        sell(pg, good, "second", "pos")
        pg.query("UPDATE certificates.certificates SET valid_until = backoffice.now() + CASE organization_id WHEN %s THEN interval '2 hours' ELSE '1 hour' END"
                 " WHERE state = 'issued' AND held_minor = 0", (good,), dbname="d")
        refuse_some(pg, bad)
        # The third one's holds are in somebody's hands, though not their certificates.
        holder = open_ones.enter_context(closing(pg.connect("d", autocommit=False)))
        holder.cursor().execute("SELECT FROM certificates.redemptions WHERE organization_id = %s FOR UPDATE", (third,))
        run(pg, good, "SELECT certificates.generate_codes('scarce', 2)")
        pg.query("ALTER SYSTEM SET backoffice.frozen_now = '2030-01-01 12:00:00+00'")
        pg.query("SELECT pg_reload_conf()")
        wanted = {"reservation": "certificates WHERE channel IS NULL AND state = 'available' AND slot_no > 500", "hold": "redemptions WHERE state = 'expired'",
                  "validity": "certificates WHERE state = 'expired' AND slot_no = 2", "order": "orders WHERE state = 'fulfilled' AND channel = 'pos'"}
        waiting = [what for what in wanted]

        def all_came():
            waiting[:] = [what for what in waiting if pg.query(
                f"SELECT count(*) FROM certificates.{wanted[what]} AND organization_id = %s", (good,), dbname="d")[0][0] == 0]
            return not waiting

        try:
            _log.wait_for("the good organization's have their turn", all_came, timeout_s=60)
        except AssertionError:
            raise AssertionError(f"had no turn: {waiting}")
        # Nor is any forgotten.
        holder.rollback()
        pg.query("DROP TRIGGER refuse ON certificates.certificates; DROP TRIGGER refuse ON certificates.orders", dbname="d")
        _log.wait_for("all have it", lambda: pg.query(
            "SELECT count(*) FILTER (WHERE state = 'expired'), sum(held_minor), (SELECT count(*) FROM certificates.orders WHERE state = 'fulfilled')"
            " FROM certificates.certificates WHERE state <> 'reserved'", dbname="d") == [(many + 1, 0, 2)], timeout_s=120)


def case_has_them_carefully():
    """The last available ones are in the hands of a keeper that goes from one to the next, since one cannot be written: "empty" waits for it."""
    with Cluster() as pg, ExitStack() as open_ones:
        org = stocked(pg, 400)
        run(pg, org, "SELECT certificates.reserve_next('gift', 'stuck')")
        pg.psql("d", """
            CREATE FUNCTION public.hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN new; END $$;
            CREATE TRIGGER hold_up BEFORE UPDATE OF hold_slot ON certificates.pool_slots FOR EACH ROW EXECUTE FUNCTION public.hold_up();""")
        refuse_some(pg, "00000000-0000-0000-0000-000000000000")
        pg.query("UPDATE certificates.certificates SET hold_until = now() - interval '1 hour' WHERE state = 'reserved'", dbname="d")
        _log.wait_for("the keeper has found out", lambda: "is due, but could not be changed" in open(pg.log).read(), timeout_s=60)
        gate = open_ones.enter_context(closing(pg.connect("d"))).cursor()
        gate.execute("SELECT pg_advisory_lock(4711)")
        conn = open_ones.enter_context(closing(pg.connect("d", autocommit=False)))
        with conn.cursor() as cur:
            cur.execute("SELECT access.act_as(%s)", (org,))
            cur.execute("SELECT count(*) FROM (SELECT certificates.reserve_next('gift', 'pos') FROM generate_series(1, 399)) r")
        conn.rollback()
        _log.wait_for("the keeper is held up", lambda: pg.query(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'backoffice keeper' AND wait_event = 'advisory'")[0][0], timeout_s=60)
        answers = []
        buyer = threading.Thread(target=lambda: answers.append(run(pg, org, "SELECT (certificates.reserve_next('gift', 'pos')).status")[0][0]))
        buyer.start()
        buyer.join(1)
        gate.execute("SELECT pg_advisory_unlock(4711)")
        buyer.join(60)
        assert answers == ["reserved"], answers
