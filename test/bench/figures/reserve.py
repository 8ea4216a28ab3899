"""certificates.reserve_next against what one would write without it.

The plain table has the columns of certificates.certificates and the same fillfactor, but only a primary key (and for
SKIP LOCKED the index that the queue needs). Pools are filled by the superuser straight into the table, with made-up codes: what is measured never reads them.
"""
import os
import statistics

from figures import emit
from frame import CLIENTS, ROUNDS, SECONDS, Load, interleave, pipeline, say, stepwise

POOL = int(os.environ.get("POOL", "3000000"))
BIG_POOL = int(os.environ.get("BIG_POOL", "10000000"))
HOLD_S = int(os.environ.get("HOLD_S", "90"))

FILL = """
SET session_replication_role = replica;
INSERT INTO certificates.certificates (organization_id, id, pool_id, slot_no, face_value_minor, balance_minor, code_index,
                                       code_secret, cvc_hash, cvc_secret, code_last4)
SELECT '{org}', (lpad(to_hex({number}), 12, '0') || '7000800000' || lpad(to_hex(i), 10, '0'))::uuid, '{pool}', i, 5000, 5000,
       decode(lpad(to_hex({number}), 12, '0') || lpad(to_hex(i), 52, '0'), 'hex'),
       decode(lpad(to_hex(i), 100, '0'), 'hex'), decode(lpad(to_hex(i), 64, '0'), 'hex'),
       decode(lpad(to_hex(i), 72, '0'), 'hex'), lpad((i % 10000)::text, 4, '0')
FROM generate_series(1, {size}) i;
UPDATE certificates.pool_slots SET created = {size}, next_slot = {size} + 1 WHERE pool_id = '{pool}';
UPDATE certificates.pools SET state = 'open' WHERE id = '{pool}';
RESET session_replication_role;
"""



class Pools:
    """Pools made so far, per bench."""
    number = 0
    made = {}


def make_pool(bench, code, size):
    if code in Pools.made:
        return Pools.made[code]
    say(f"   filling pool {code} with {size} certificates")
    Pools.number += 1
    with bench.connect("bench_service", autocommit=False) as conn, conn.cursor() as cur:
        cur.execute("SELECT access.act_as(%s)", (bench.organization,))
        cur.execute("SELECT certificates.create_pool(%s, 'EUR', 5000)", (code,))
        pool = cur.fetchone()[0]
        conn.commit()
    bench.psql(FILL.format(org=bench.organization, pool=pool, number=Pools.number, size=size))
    Pools.made[code] = pool
    return pool


def make_plain(bench, table, pool, index=None):
    """A table like certificates.certificates, with bigint keys 0, 1, 2, ..."""
    if bench.query("SELECT to_regclass(%s)", ("plain." + table,))[0][0]:
        return
    say(f"   filling plain.{table}")
    columns = ", ".join(name for name, in bench.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'certificates.certificates'::regclass AND attnum > 0"
        " AND attname <> 'id' AND NOT attisdropped ORDER BY attnum"))
    bench.psql(f"""
        CREATE TABLE plain.{table} WITH (fillfactor = 50) AS
            SELECT slot_no - 1 AS id, {columns} FROM certificates.certificates WHERE pool_id = '{pool}' AND state = 'available';
        ALTER TABLE plain.{table} ADD PRIMARY KEY (id);
        {index or ''}
        ALTER TABLE plain.{table} ENABLE ROW LEVEL SECURITY;
        CREATE POLICY tenant ON plain.{table} USING (organization_id = current_setting('request.tenant')::uuid);
        VACUUM (ANALYZE) plain.{table};""")


def prepare(bench):
    emit.prepare(bench)
    pool = make_pool(bench, "bench", POOL)
    make_plain(bench, "certificates", pool)
    bench.psql("VACUUM (ANALYZE) certificates.certificates")
    bench.settle()


def sample_payload(bench):
    """What reserve_next emits, for the baseline to insert."""
    bench.pgbench(ours(bench, "bench"), transactions=1)
    return bench.query("SELECT payload::text FROM events.log WHERE type = 'certificate.reserved' LIMIT 1")[0][0]


def ours(bench, pool, sent=pipeline):
    text = sent("""BEGIN;
SELECT access.act_as(:org, NULL);
SELECT certificates.reserve_next(:pool, 'internet_store', :order_ref);
COMMIT;""", "\\set order_ref random(1, 1000000000)")
    return Load(text, "bench_service", {"org": bench.organization, "pool": pool})


UPDATE = """UPDATE plain.certificates SET state = 'reserved', channel = 'internet_store', order_ref = :order_ref::text,
    hold_until = now() + interval '30 minutes', version = version + 1 WHERE id = :id;
"""
RANDOM_ID = """\\set order_ref random(1, 1000000000)
\\set id random(0, :pool - 1)"""
NEXT_ID = """\\set order_ref random(1, 1000000000)
\\set id :start + :client_id * :stretch + :n
\\set n :n + 1"""
OUTBOX = ("INSERT INTO plain.outbox (organization_id, topic, key, type, payload) "
          "VALUES (:org, 'GiftCertificates.Stream', :order_ref, 'certificate.reserved', :payload);\n")


class Neighbours:
    """UPDATE by primary key in the order of the key, each client in a stretch of its own, and INSERT: no two ever touch the
    same page, and each round takes rows that none before it took."""
    start = 0

    def __init__(self, bench, payload, clients):
        self.text = pipeline("BEGIN;\n" + UPDATE + OUTBOX + "COMMIT;", NEXT_ID)
        self.clients = clients
        self.variables = {"org": bench.organization, "payload": payload, "n": 0}

    def __call__(self):
        room = int((SECONDS + 1) * 30000)
        start = Neighbours.start
        Neighbours.start = (start + room) % max(POOL - room, 1)
        return Load(self.text, "postgres", dict(self.variables, start=start, stretch=room // self.clients))


def reserve(bench):
    prepare(bench)
    payload = sample_payload(bench)
    variables = {"org": bench.organization, "payload": payload, "pool": POOL}
    plain = Load(pipeline("BEGIN;\n" + UPDATE + OUTBOX + "COMMIT;", RANDOM_ID), "postgres", variables)
    stepwise_plain = Load(stepwise("BEGIN;\n" + UPDATE + OUTBOX + "COMMIT;", RANDOM_ID), "postgres", variables)
    tenant = Load(pipeline("BEGIN;\nSELECT set_config('request.tenant', :org, true);\n" + UPDATE + OUTBOX + "COMMIT;", RANDOM_ID),
                  "bench_service", variables)
    for clients in CLIENTS:
        say(f"-- reserve, {clients} clients")
        results = bench.rounds({"ours": ours(bench, "bench"), "plain": plain, "tenant": tenant,
                                "neighbours": Neighbours(bench, payload, clients)}, clients)
        bench.report_rates(f"reserve_{clients}", results["ours"], results["plain"], "tx/s", 0.95,
                           note="principal set, row-level security on; the baseline is a superuser who sets nothing, keys at random")
        bench.report_rates(f"reserve_{clients}_like_for_like", results["ours"], results["tenant"], "tx/s",
                           note="the baseline sets its tenant with set_config and has a row-level policy")
        bench.report_rates(f"reserve_{clients}_neighbours", results["ours"], results["neighbours"], "tx/s",
                           note="the baseline's clients update neighbouring rows, each in a stretch of its own: pages that only they touch")
        results = bench.whole_rounds({"ours": ours(bench, "bench", stepwise), "plain": stepwise_plain}, clients)
        bench.report_rates(f"reserve_{clients}_stepwise", results["ours"], results["plain"], "tx/s", 0.95,
                           note="four round trips on both sides: BEGIN; two statements; COMMIT")


SKIP_LOCKED = """\\if :warm = 0
SELECT 1;
\\set warm 1
\\endif
\\set order_ref random(1, 1000000000)
BEGIN;
SELECT id FROM plain.queue WHERE pool_id = :pool_id AND state = 'available' ORDER BY slot_no LIMIT 1 FOR UPDATE SKIP LOCKED \\gset
\\startpipeline
UPDATE plain.queue SET state = 'reserved', channel = 'internet_store', order_ref = :order_ref::text,
    hold_until = now() + interval '30 minutes', version = version + 1 WHERE id = :id;
""" + OUTBOX + """COMMIT;
\\endpipeline
"""
SKIP_LOCKED_AT_ONCE = pipeline("""BEGIN;
UPDATE plain.queue SET state = 'reserved', channel = 'internet_store', order_ref = :order_ref::text,
    hold_until = now() + interval '30 minutes', version = version + 1
WHERE id = (SELECT id FROM plain.queue WHERE pool_id = :pool_id AND state = 'available' ORDER BY slot_no LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id;
""" + OUTBOX + "COMMIT;", "\\set order_ref random(1, 1000000000)")
QUEUE_INDEX = "CREATE INDEX ON plain.queue (pool_id, slot_no) WHERE state = 'available';"


def skip_locked(bench, payload, at_once):
    return Load(SKIP_LOCKED_AT_ONCE if at_once else SKIP_LOCKED, "postgres",
                {"org": bench.organization, "payload": payload, "pool_id": Pools.made["bench"], "id": 0})


def compare_skip_locked(bench, payload, state, target=None):
    clients = max(CLIENTS)
    # No slices here: a stopped client would hold the row it has locked.
    results = interleave({label: lambda load=load: bench.pgbench(load, clients) for label, load in (
        ("ours", ours(bench, "bench")), ("steps", skip_locked(bench, payload, False)), ("once", skip_locked(bench, payload, True)))})
    bench.report_rates(f"reserve_vs_skip_locked_{clients}{state}", results["ours"], results["steps"], "tx/s", target,
                       note="SELECT ... FOR UPDATE SKIP LOCKED, UPDATE, INSERT as an application sends them")
    bench.report_rates(f"reserve_vs_skip_locked_{clients}{state}_one_statement", results["ours"], results["once"], "tx/s",
                       note="UPDATE ... WHERE id = (SELECT ... SKIP LOCKED) and the INSERT in one round trip")


def reserve_skip_locked(bench):
    """Pools of POOL: fresh from VACUUM, and when a tenth was given since. Autovacuum would come after a fifth."""
    prepare(bench)
    payload = sample_payload(bench)
    make_plain(bench, "queue", Pools.made["bench"], QUEUE_INDEX)
    bench.settle()
    compare_skip_locked(bench, payload, "_fresh")
    given = POOL // 10
    say(f"   giving {given} certificates of each pool")
    bench.query("UPDATE plain.queue SET state = 'reserved', channel = 'internet_store', order_ref = '1', hold_until = now() + interval '30 minutes',"
                " version = version + 1 WHERE id IN (SELECT id FROM plain.queue WHERE state = 'available' ORDER BY slot_no LIMIT %s)", (given,))
    for _ in range(0, given, 10000):
        with bench.connect("bench_service", autocommit=False) as conn, conn.cursor() as cur:
            cur.execute("SELECT access.act_as(%s)", (bench.organization,))
            cur.execute("SELECT count(certificates.reserve_next('bench', 'internet_store', '1')) FROM generate_series(1, 10000)")
            conn.commit()
    bench.settle()
    for load in (ours(bench, "bench"), skip_locked(bench, payload, False)):
        bench.pgbench(load, max(CLIENTS))
    compare_skip_locked(bench, payload, "", 4)


def reserve_size(bench):
    """Ten thousand certificates in the pool, against ten million; 9,000 reservations a round, since a small pool has no more."""
    emit.prepare(bench)
    make_pool(bench, "big", BIG_POOL)
    small = [make_pool(bench, f"small{i}", 10000) for i in range(ROUNDS)]
    bench.psql("VACUUM (ANALYZE) certificates.certificates")
    bench.settle()
    clients, rounds = 8, iter(range(ROUNDS))
    results = interleave({
        "ours": lambda: bench.pgbench(ours(bench, "big"), clients, transactions=9000 // clients),
        "baseline": lambda: bench.pgbench(ours(bench, f"small{next(rounds)}"), clients, transactions=9000 // clients)},
        len(small))
    bench.report_rates("reserve_pool_1e7_vs_1e4", results["ours"], results["baseline"], "tx/s", 0.9,
                       note=f"ours: pool of {BIG_POOL}; baseline: reserve_next too, pools of 10000")


def reserve_held(bench):
    """One snapshot held open for HOLD_S seconds under load; the machine's own drift is taken out by plain inserts."""
    prepare(bench)
    payload = sample_payload(bench)
    make_plain(bench, "queue", Pools.made["bench"], QUEUE_INDEX)
    clients = 8
    mine, steps = ours(bench, "bench"), skip_locked(bench, payload, False)
    yardstick = Load(pipeline("BEGIN;\n" + OUTBOX + "COMMIT;", "\\set order_ref random(1, 1000000000)"), "postgres",
                     {"org": bench.organization, "payload": payload})

    def measure():
        results = bench.rounds({"ours": mine, "yardstick": yardstick, "steps": steps}, clients)
        return {label: statistics.median(rates) for label, rates in results.items()}

    before = measure()
    with bench.connect(autocommit=False) as holder, holder.cursor() as cur:
        cur.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cur.execute("SELECT count(*) FROM certificates.pools")
        say(f"   holding a snapshot for {HOLD_S} s under load")
        for _ in range(max(1, HOLD_S // 30)):
            bench.pgbench(mine, clients, seconds=15, rate=4000)
            bench.pgbench(steps, clients, seconds=15, rate=4000)
        after = measure()
        holder.rollback()
    drift = after["yardstick"] / before["yardstick"]
    bench.report("reserve_snapshot_held", after["ours"], before["ours"] * drift, "tx/s", ">= 0.9",
                 after["ours"] / (before["ours"] * drift) >= 0.9, held_s=HOLD_S,
                 note="baseline: the rate before the snapshot was taken, times the drift of plain inserts in the same rounds")
    bench.report("reserve_snapshot_held_skip_locked", after["steps"], before["steps"] * drift, "tx/s", held_s=HOLD_S,
                 note="the same for SELECT ... FOR UPDATE SKIP LOCKED: what a held snapshot does to it")
