"""A transition of a declared life cycle, with its event, against the bare UPDATE of the same row."""
import json

from figures import emit
from frame import CLIENTS, Load, pipeline, stepwise

ROWS = 100000
DEFINITION = {
    "states": ["off", "on"], "initial": ["off"], "topic": "bench", "version": "version", "organization": "organization_id",
    "transitions": [{"from": "off", "to": "on", "event": "thing.on"}, {"from": "on", "to": "off", "event": "thing.off"}],
}


def make(bench, table, definition):
    bench.psql(f"""
        CREATE TABLE plain.{table} (id bigint PRIMARY KEY, organization_id uuid NOT NULL, version int NOT NULL DEFAULT 1,
                                    state text NOT NULL, note text) WITH (fillfactor = 50);
        INSERT INTO plain.{table} SELECT i, '{bench.organization}', 1, 'off', repeat('x', 100) FROM generate_series(0, {ROWS - 1}) i;
        VACUUM (ANALYZE) plain.{table};""")
    if definition:
        bench.query(f"SELECT lifecycle.define('plain.{table}', 'state', %s)", (json.dumps(definition),))


ROW = f"\\set id random(0, {ROWS - 1})"


def statement(table, version=""):
    return f"UPDATE plain.{table} SET state = CASE state WHEN 'off' THEN 'on' ELSE 'off' END{version} WHERE id = :id;"


def update(table, version=""):
    return stepwise(statement(table, version), ROW)


def script(table, more="", version="", sent=pipeline):
    return sent(f"""BEGIN;
SELECT set_config('request.tenant', :org, true);
{statement(table, version)}
{more}COMMIT;""", ROW)


def lifecycle(bench):
    emit.prepare(bench)
    bench.psql("DROP TABLE IF EXISTS plain.thing, plain.silent, plain.bare")
    make(bench, "thing", DEFINITION)
    make(bench, "silent", dict(DEFINITION, emit=False))
    make(bench, "bare", None)
    bench.settle()
    variables = {"org": bench.organization, "payload": json.dumps({"entity": "plain.thing", "id": "12345", "from": "off", "to": "on", "version": 2})}
    insert = ("INSERT INTO plain.outbox (organization_id, topic, key, type, payload) "
              "VALUES (:org, 'bench', :id, 'thing.on', :payload);\n")
    for clients in CLIENTS:
        def load(text):
            return Load(text, "postgres", variables)

        def governed(table, **more):
            return load(script(table, **more).replace("set_config('request.tenant', :org, true)", "access.act_as(:org, NULL)"))
        results = bench.rounds({
            "ours": governed("thing"),
            "silent": governed("silent"),
            "bare": load(script("bare", version=", version = version + 1")),
            "outbox": load(script("bare", insert, version=", version = version + 1"))}, clients)
        bench.report_rates(f"lifecycle_{clients}", results["ours"], results["bare"], "tx/s", 0.85,
                           note="with its event; the baseline only updates")
        bench.report_rates(f"lifecycle_{clients}_silent", results["silent"], results["bare"], "tx/s",
                           note="emit: false")
        bench.report_rates(f"lifecycle_{clients}_vs_outbox", results["ours"], results["outbox"], "tx/s",
                           note="the baseline also inserts into a plain outbox table")
        results = bench.rounds({
            "ours": load(update("thing")),
            "bare": load(update("bare", ", version = version + 1"))}, clients)
        bench.report_rates(f"lifecycle_{clients}_one_statement", results["ours"], results["bare"], "tx/s", 0.85,
                           note="with its event; a single UPDATE on both sides, one round trip")
        results = bench.whole_rounds({
            "ours": governed("thing", sent=stepwise),
            "bare": load(script("bare", version=", version = version + 1", sent=stepwise))}, clients)
        bench.report_rates(f"lifecycle_{clients}_stepwise", results["ours"], results["bare"], "tx/s", 0.85,
                           note="with its event; four round trips on both sides: BEGIN; the principal or the setting; UPDATE; COMMIT")
