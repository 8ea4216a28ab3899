"""The relay against librdkafka's own producer, and the way from COMMIT to Kafka, with a real broker."""
import os
import statistics
import subprocess

from frame import ROUNDS, interleave, say
from harness.kafka import any_kafka
from harness.pg import ROOT
from harness.workers import Worker

DATABASE = "relay"
TOPIC = "Bench.Relay"
DIRECT = "Bench.Direct"
PARTITIONS = 4
EVENTS = int(os.environ.get("EVENTS", "600000"))
RATE = int(os.environ.get("RATE", "1000"))
LATENCY_S = int(os.environ.get("LATENCY_S", "8"))
# {"pad": "xxx..."} of 200 bytes
PAD = 200 - len('{"pad": ""}')
# What the seven headers of such an event take in a record: names, values, and their lengths.
HEADER_BYTES = sum(len(name) + len(value) + 2 for name, value in (
    ("ce_id", "0" * 36), ("ce_type", "bench.happened"), ("ce_source", "/backoffice"), ("ce_time", "2026-11-21T09:00:00.123456Z"),
    ("ce_specversion", "1.0"), ("content-type", "application/json"), ("organization_id", "0" * 36)))


class Line:
    """Broker, database and tools, made once for both groups."""
    kafka = None
    organization = None
    tools = os.path.join(ROOT, "build/bench")


def tool(name):
    return os.path.join(Line.tools, name)


def compile_tools():
    os.makedirs(Line.tools, exist_ok=True)
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "rdkafka", "libpq"], text=True).split()
    for name in ("producer", "latency"):
        source = os.path.join(ROOT, "test/bench", name + ".c")
        subprocess.check_call(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", tool(name), source, "-pthread"] + flags)


def sql(bench, text, params=None):
    return bench.pg.query(text, params, dbname=DATABASE)


def prepare(bench):
    if Line.kafka is not None:
        return
    compile_tools()
    kafka = any_kafka(real=True, heap_mb=1024)
    bench.cleanups.append(lambda: kafka.__exit__(None, None, None))
    Line.kafka = kafka.__enter__()
    for topic in (TOPIC, DIRECT):
        kafka.create_topic(topic, PARTITIONS)
    bench.pg.create_database(DATABASE)
    sql(bench, "CREATE ROLE bench_worker LOGIN IN ROLE backoffice_worker")
    sql(bench, "SELECT events.define_topic(%s, NULL, '7 days', %s)", (TOPIC, PARTITIONS))
    Line.organization = sql(bench, "SELECT access.create_organization('bench')")[0][0]
    say("   warming the broker up")
    run("producer", "send", kafka.bootstrap, DIRECT, 300000, 200)


def run(name, *argv):
    out = subprocess.run([tool(name)] + [str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    if out.returncode:
        raise RuntimeError(f"{name} failed: {out.stderr[-2000:]}")
    return [float(x) for x in out.stdout.split()]


def relay_worker(bench):
    return Worker("kafka-relay", database=bench.pg.dsn(DATABASE, "bench_worker"), kafka_bootstrap=Line.kafka.bootstrap,
                  topics=TOPIC, log_level="warn")


def watched(topic, count, act):
    """The rate at which the topic grows by count messages while act() is under way."""
    watcher = subprocess.Popen([tool("producer"), "watch", Line.kafka.bootstrap, topic, str(count)],
                               stdout=subprocess.PIPE, text=True)
    if watcher.stdout.readline().strip() != "ready":
        raise RuntimeError("the watcher did not start")
    try:
        done = act()
        rate = watcher.stdout.readline()
    finally:
        watcher.wait(150)
    if done:
        done()
    return float(rate)


def emit_backlog(bench):
    for start in range(0, EVENTS, 50000):
        with bench.pg.connect(DATABASE, "postgres", autocommit=False) as conn, conn.cursor() as cur:
            cur.execute("SELECT access.act_as(%s)", (Line.organization,))
            cur.execute("SELECT count(events.emit(%s, 'k' || i %% 10000, 'bench.happened', jsonb_build_object('pad', repeat('x', %s))))"
                        " FROM generate_series(%s, %s) i", (TOPIC, PAD, start, min(start + 50000, EVENTS) - 1))
            conn.commit()


def relay(bench):
    """A backlog of events of 200 bytes, from the log to the broker; the topic's growth is watched from outside."""
    prepare(bench)

    def ours():
        emit_backlog(bench)
        worker = relay_worker(bench)

        def act():
            worker.start()
            return lambda: (worker.stop(), worker.__exit__())
        return watched(TOPIC, EVENTS, act)

    def direct(size, *headers):
        return lambda: watched(DIRECT, EVENTS, lambda: run("producer", "send", Line.kafka.bootstrap, DIRECT, EVENTS, size, *headers) and None)

    sides = {"ours": ours, "plain": direct(200), "bytes": direct(200 + HEADER_BYTES), "headers": direct(200, "headers")}
    say("   a round of each, not counted: a broker compiles what it runs often, and each side runs other parts of it")
    interleave(sides, 1)
    results = interleave(sides)
    bench.report_rates("relay", results["ours"], results["plain"], "events/s", 0.6,
                       note=f"backlog of {EVENTS} events with 7 headers each; the baseline sends the same values without headers")
    bench.report_rates("relay_same_bytes", results["ours"], results["bytes"], "events/s", 0.6,
                       note="the baseline sends messages of the same size, all of it value")
    bench.report_rates("relay_same_headers", results["ours"], results["headers"], "events/s", 0.6,
                       note="the baseline sends the same headers")


def latency(bench):
    """COMMIT to the arrival at a consumer, at a steady rate, against direct production."""
    prepare(bench)
    conninfo = bench.pg.dsn(DATABASE, "bench_service")
    with relay_worker(bench) as worker:
        run("latency", "commit", conninfo, Line.kafka.bootstrap, TOPIC, Line.organization, RATE, 3)
        results = interleave({
            "ours": lambda: run("latency", "commit", conninfo, Line.kafka.bootstrap, TOPIC, Line.organization, RATE, LATENCY_S),
            "direct": lambda: run("latency", "direct", Line.kafka.bootstrap, DIRECT, RATE, LATENCY_S)}, min(ROUNDS, 5))
        worker.stop()
    for i, name, limit in ((0, "p50", 5), (1, "p99", 25)):
        mine = statistics.median(r[i] for r in results["ours"])
        direct = statistics.median(r[i] for r in results["direct"])
        bench.report(f"commit_to_kafka_{name}", mine, direct, "ms", f"<= {limit} ms", mine <= limit,
                     rounds=[r[i] for r in results["ours"]], rate_per_s=RATE,
                     note="until a consumer has it; baseline: direct production to the same broker, until a consumer has it")
