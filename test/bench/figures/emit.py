"""events.emit in a transaction of its own, against a plain INSERT into an outbox table."""
import json

from frame import CLIENTS, interleave, pipeline, say

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
    act = "SELECT access.act_as(:org, NULL);\n"
    event = "SELECT events.emit('bench', :key, 'bench.happened', :payload);\n"
    claim = "SELECT set_config('request.tenant', :org, true);\n"
    ours = pipeline("BEGIN;\n" + act + event + "COMMIT;", key)
    alone = pipeline("BEGIN;\n" + event + "COMMIT;", key)
    plain = pipeline("BEGIN;\n" + INSERT + "\nCOMMIT;", key)
    claims = pipeline("BEGIN;\n" + claim + INSERT + "\nCOMMIT;", key)
    for mode, options in (("durable", ""), ("async", "-c synchronous_commit=off")):
        for clients in CLIENTS:
            say(f"-- emit, {mode}, {clients} clients")

            def run(script, user="bench_service"):
                return lambda: bench.pgbench(script, clients, user=user, variables=variables, options=options)
            results = interleave({"ours": run(ours), "plain": run(plain), "alone": run(alone, "postgres"), "claims": run(claims)})
            name = f"emit_{mode}_{clients}"
            bench.report_rates(name, results["ours"], results["plain"], "tx/s", 0.95,
                               note="ours sets its principal in the transaction; the baseline sets nothing")
            bench.report_rates(name + "_alone", results["alone"], results["plain"], "tx/s", 0.95,
                               note="an administrator's event, no principal on either side")
            bench.report_rates(name + "_like_for_like", results["ours"], results["claims"], "tx/s",
                               note="the baseline sets its tenant with set_config in the transaction")
