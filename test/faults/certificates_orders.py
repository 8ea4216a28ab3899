"""The order flow as the data grows."""
from harness.pg import Cluster

ORDERS, CODES = 200, 2000

SETUP = f"""
SELECT access.create_organization('shop') AS org \\gset
BEGIN;
SELECT access.act_as(:'org');
SELECT certificates.create_pool(code, 'EUR', 2500), certificates.generate_codes(code, {CODES}) FROM unnest('{{a,b}}'::text[]) code;
COMMIT;
CREATE TABLE org AS SELECT :'org'::uuid AS id;
CREATE FUNCTION eur(minor int) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('minor', minor, 'currency', 'EUR') $$;
CREATE FUNCTION make_order(i int, version int, status text, pool text) RETURNS void LANGUAGE sql AS $$
    SELECT certificates.handle_message('All_SalesOrder', jsonb_build_object('orderId', 'O' || i, 'version', version, 'channel', 'pos', 'status', status,
        'lines', jsonb_build_array(jsonb_build_object('lineId', '1', 'quantity', 1, 'amount', eur(2500), 'pool', pool),
                                   jsonb_build_object('lineId', '2', 'quantity', 2, 'amount', eur(5000), 'pool', 'a')))) $$;
CREATE FUNCTION pay(i int, id text, type text, minor int, refund jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    SELECT certificates.handle_message('All_Payments', jsonb_strip_nulls(jsonb_build_object('paymentId', id || i, 'orderId', 'O' || i, 'type', type,
        'status', 'succeeded', 'occurredAt', '2026-11-21T10:00:00Z', 'amount', eur(minor), 'refund', refund))) $$;
"""

STEPS = {
    "orders": "make_order(i, 1, 'created', 'a')",
    "captures": "pay(i, 'P', 'capture', 7500)",
    "corrections": "make_order(i, 2, 'changed', 'b')",
    "refunds of lines": "pay(i, 'R', 'refund', 2500, '{\"lineIds\": [\"1\"]}')",
    "refunds without details": "pay(i, 'S', 'refund', 1000)",
    "cancellations": "make_order(i, 3, 'cancelled', 'b')",
}

READ = """
SELECT relname || ' by ' || indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = 'certificates'
UNION ALL SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE schemaname = 'certificates'
"""


def case_orders_without_statistics():
    """An order costs what it is made of, not what its pools and the other orders are, whatever the planner believes of tables that were never analyzed."""
    with Cluster({"autovacuum": "off"}) as pg:
        pg.create_database("d")
        pg.psql("d", SETUP)
        for what, call in STEPS.items():
            pg.query("SELECT pg_stat_reset()", dbname="d")
            # One session for all, as the dispatcher is: its plans were made when the tables were small.
            pg.psql("d", f"SELECT id FROM org \\gset\nBEGIN;\nSELECT access.act_as(:'id');\n"
                         f"DO $$ BEGIN FOR i IN 1..{ORDERS} LOOP PERFORM {call}; END LOOP; END $$;\nCOMMIT;\nSELECT pg_stat_force_next_flush();")
            read = dict(pg.query(READ, dbname="d"))
            assert sum(read.values()) >= ORDERS, f"{what}: nothing was read"
            much = {where: n // ORDERS for where, n in read.items() if n > 200 * ORDERS}
            assert not much, f"{what}: rows read for each: {much}"
        ends = dict(pg.query("SELECT type, count(*) FROM events.log WHERE type ~ '^certificate.(issued|refunded|voided)' GROUP BY 1", dbname="d"))
        assert ends == {"certificate.issued": 4 * ORDERS, "certificate.refunded": ORDERS, "certificate.voided": 3 * ORDERS}, ends
        assert pg.query("SELECT count(*) FROM certificates.conservation WHERE difference <> 0", dbname="d") == [(0,)]
