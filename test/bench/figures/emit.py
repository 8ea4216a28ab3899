"""events.emit in a transaction of its own, against a plain INSERT into an outbox table."""
import json

from frame import CLIENTS, Load, pipeline, say, stepwise

PAYLOAD = json.dumps({"eventId": "0193c1a2-7d4e-7abc-8def-0123456789ab", "eventType": "certificate.reserved",
                      "channel": "internet_store", "status": "reserved", "occurredAt": "2026-11-21T09:00:00Z",
                      "payload": {"certificateId": "0193c1a2-7d4e-7abc-8def-0123456789ac", "orderRef": "A-100042"}})

OUTBOX = """
CREATE TABLE IF NOT EXISTS plain.outbox (
    id bigserial PRIMARY KEY,
    organization_id uuid NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    type text NOT NULL,
    payload jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
"""


def prepare(bench):
    bench.psql(OUTBOX)
    if not bench.query("SELECT 1 FROM events.topics WHERE name = 'bench'"):
        bench.query("SELECT events.define_topic('bench')")
        bench.query("SELECT events.grant_topic('bench', 'backoffice_service')")


INSERT = ("INSERT INTO plain.outbox (organization_id, topic, key, type, payload) "
          "VALUES (:org, 'bench', :key, 'bench.happened', :payload);")


def emit(bench):
    prepare(bench)
    variables = {"payload": PAYLOAD, "org": bench.organization}
    key = "\\set key random(1, 1000000)"
    event = "events.emit('bench', :key, 'bench.happened', :payload)"

    def transaction(*statements, sent=pipeline):
        return sent("\n".join(["BEGIN;", *statements, "COMMIT;"]), key)

    at_once = f"SELECT access.act_as(:org, NULL), {event};"
    ours = transaction(at_once)
    apart = transaction("SELECT access.act_as(:org, NULL);", f"SELECT {event};")
    plain = transaction(INSERT)
    returning = transaction(INSERT.replace(";", " RETURNING id;"))
    claims = transaction("SELECT set_config('request.tenant', :org, true);", INSERT)
    for mode, options in (("durable", ""), ("async", "-c synchronous_commit=off")):
        for clients in CLIENTS:
            say(f"-- emit, {mode}, {clients} clients")
            results = bench.rounds({
                label: Load(script, variables=variables, options=options)
                for label, script in (("ours", ours), ("plain", plain), ("returning", returning), ("apart", apart), ("claims", claims))}, clients)
            name = f"emit_{mode}_{clients}"
            bench.report_rates(name, results["ours"], results["plain"], "tx/s", 0.95,
                               note="BEGIN, one statement that sets the principal and emits, COMMIT; the baseline: BEGIN, INSERT, COMMIT")
            bench.report_rates(name + "_returning", results["ours"], results["returning"], "tx/s",
                               note="the baseline answers the new row's id, as emit does")
            bench.report_rates(name + "_two_statements", results["apart"], results["claims"], "tx/s", 0.95,
                               note="the same transaction: who acts (act_as; the baseline: set_config), then emit or INSERT")
            bench.report_rates(name + "_two_to_one", results["apart"], results["plain"], "tx/s",
                               note="act_as, then emit; the baseline: INSERT alone")
            results = bench.rounds({
                label: Load(stepwise(statement, key), "postgres", variables, options)
                for label, statement in (("ours", f"SELECT {event};"), ("plain", INSERT))}, clients)
            bench.report_rates(name + "_one_statement", results["ours"], results["plain"], "tx/s", 0.95,
                               note="a single statement by a superuser, who needs no principal: emit, or INSERT; one round trip")
            results = bench.whole_rounds({
                label: Load(transaction(statement, sent=stepwise), variables=variables, options=options)
                for label, statement in (("ours", at_once), ("plain", INSERT))}, clients)
            bench.report_rates(name + "_stepwise", results["ours"], results["plain"], "tx/s", 0.95,
                               note="three round trips on both sides: BEGIN; the statement; COMMIT")
