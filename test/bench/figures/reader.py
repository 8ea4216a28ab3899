"""What reading and ticking cost with a transaction left idle after emitting, and for one batch of a million events."""
import statistics
import time

from frame import ROUNDS, say

DATABASE = "ticks"
SIZES = (10000, 100000, 1000000)
CHUNK = 10000
SINGLES = 300


class Log:
    """A database of its own: nothing but these events in its log."""

    def __init__(self, bench):
        self.pg = bench.pg
        self.pg.create_database(DATABASE)
        self.query("SELECT events.define_topic('bench')")
        self.organization = self.query("SELECT access.create_organization('bench')")[0][0]
        self.reader = self.pg.connect(DATABASE)
        self.emit(1)
        self.position = None
        self.read_new(1)

    def query(self, sql, params=None):
        return self.pg.query(sql, params, dbname=DATABASE)

    def emit(self, count, conn=None):
        own = conn or self.pg.connect(DATABASE, autocommit=False)
        with own.cursor() as cur:
            cur.execute("SELECT access.act_as(%s)", (self.organization,))
            cur.execute("SELECT count(events.emit('bench', i::text, 'bench.happened', '{\"n\": 1}')) FROM generate_series(1, %s) i", (count,))
        if conn is None:
            own.commit()
            own.close()

    def read_chunk(self):
        """(events read, seconds in the statement)"""
        with self.reader.cursor() as cur:
            start = time.perf_counter()
            cur.execute("SELECT count(*), max(position::text) FILTER (WHERE last) FROM"
                        " (SELECT position, row_number() OVER () = count(*) OVER () AS last FROM events.read(%s::events.position, %s)) r",
                        (self.position, CHUNK))
            count, position = cur.fetchone()
            took = time.perf_counter() - start
        if count:
            self.position = position
        return count, took

    def read_new(self, count, timeout_s=120):
        """Reads until count events came. Returns (seconds until the first was there, seconds in statements that returned some)."""
        start = time.perf_counter()
        first, cost, got = None, 0.0, 0
        while got < count:
            if time.perf_counter() - start > timeout_s:
                raise RuntimeError(f"{got} of {count} events readable within {timeout_s} s: a stall")
            some, took = self.read_chunk()
            got += some
            if some:
                cost += took
                first = first or time.perf_counter() - start
            else:
                time.sleep(0.0005)
        if got != count:
            raise RuntimeError(f"read {got} events, {count} were emitted")
        return first, cost

    def singles(self):
        """Median milliseconds from COMMIT to the event being read, and read cost in microseconds."""
        delays, costs = [], []
        for _ in range(SINGLES):
            self.emit(1)
            first, cost = self.read_new(1)
            delays.append(first * 1000)
            costs.append(cost * 1e6)
        return statistics.median(delays), statistics.median(costs)


def tick(bench):
    log = Log(bench)
    say("-- one batch of 10^4, 10^5, 10^6 events")
    per_event = {size: [] for size in SIZES}
    announced = {size: [] for size in SIZES}
    for i in range(min(ROUNDS, 3)):
        for size in SIZES if i % 2 == 0 else reversed(SIZES):
            log.emit(size)
            first, cost = log.read_new(size)
            per_event[size].append(cost * 1e6 / size)
            announced[size].append(first * 1000)
    cost = {size: statistics.median(values) for size, values in per_event.items()}
    first = {size: statistics.median(values) for size, values in announced.items()}
    bench.report("read_batch_1e6", cost[1000000], cost[10000], "us/event", "<= 1.25 x", cost[1000000] <= 1.25 * cost[10000],
                 at_1e5=round(cost[100000], 3), note="one transaction's events, read 10000 at a time; baseline: a batch of 10^4")
    bench.report("tick_batch_1e6", first[1000000], first[10000], "ms",
                 note="from COMMIT to having read the first 10000 of the batch; baseline: a batch of 10^4")

    say("-- one transaction left idle after emitting")
    before = log.singles()
    idle = log.pg.connect(DATABASE, autocommit=False)
    log.emit(1, idle)
    # Many ticks later, the idle one among the transactions in progress of each.
    with_idle = log.singles()
    log.emit(100000)
    _, many = log.read_new(100000)
    idle.commit()
    late, late_cost = log.read_new(1)
    idle.close()
    after = log.singles()
    quiet = statistics.median([before[0], after[0]])
    quiet_cost = statistics.median([before[1], after[1]])
    bench.report("tick_with_idle_emitter", with_idle[0], quiet, "ms", "<= 1.5 x", with_idle[0] <= 1.5 * quiet,
                 note="from COMMIT to the event being read, while a transaction that emitted stays open; baseline: without it")
    bench.report("read_with_idle_emitter", with_idle[1], quiet_cost, "us/read", "<= 1.5 x", with_idle[1] <= 1.5 * quiet_cost,
                 note="one event by events.read(); baseline: without it")
    bench.report("read_1e5_with_idle_emitter", many * 1e6 / 100000, cost[100000], "us/event", "<= 1.25 x",
                 many * 1e6 / 100000 <= 1.25 * cost[100000], note="baseline: without it")
    bench.report("read_the_late_commit", late_cost * 1e6, quiet_cost, "us/read", note="the idle transaction's own event when it commits at last")
