"""The judge: pure functions from what was observed to verdicts. Knows nothing of servers, so that it can itself be tested.

An Observation holds what the clients wrote down (journal), what the database says (log, reader, tables) and what came out of
Kafka. verify() answers a list of Verdict; a run is good when every one is ok. canaries() plants one fault each into a good
observation and says which verdict has to notice: a judge that cannot fail proves nothing.
"""
import collections
import copy
import dataclasses
import random

Verdict = collections.namedtuple("Verdict", "name ok checked bad examples")

# One event as the log has it, in the order in which readers get it.
LogEvent = collections.namedtuple("LogEvent", "id topic key type payload")  # payload["token"]: what its client calls it
# One message as Kafka has it, in the order of its partition.
KafkaEvent = collections.namedtuple("KafkaEvent", "id topic partition offset key token", defaults=(None,))


@dataclasses.dataclass
class Observation:
    operations: dict = dataclasses.field(default_factory=dict)       # op -> journal.Operation
    log: list = dataclasses.field(default_factory=list)              # LogEvent, by events.read()
    stored: list = dataclasses.field(default_factory=list)           # ids in events.log, by the table itself
    kafka: list = dataclasses.field(default_factory=list)            # KafkaEvent
    out_topics: set = dataclasses.field(default_factory=set)         # topics that the relay publishes
    counters: dict = dataclasses.field(default_factory=dict)         # entity -> n, the row that emitters lock
    handled: list = dataclasses.field(default_factory=list)          # event ids, one per effect of the in-database handler
    certificates: dict = dataclasses.field(default_factory=dict)     # certificate id -> (state, face, balance)
    reservations: list = dataclasses.field(default_factory=list)     # (certificate id, idempotency key) now in force
    conservation: list = dataclasses.field(default_factory=list)     # what the conservation view says, one number per pool
    accepted: list = dataclasses.field(default_factory=list)         # message ids that the inbox took, one per effect
    fulfilled: list = dataclasses.field(default_factory=list)        # orders of Kafka, one per certificate issued for them
    parked: int = 0
    kafka_on: bool = False


def _verdict(name, checked, bad):
    """A check that had nothing to look at has shown nothing: it is not good."""
    bad = list(bad) or ([] if checked else ["there was nothing to check"])
    return Verdict(name, not bad, checked, len(bad), bad[:5])


def _twice(items):
    return [item for item, n in collections.Counter(items).items() if n > 1]


def _ops(o, kind):
    return [op for op in o.operations.values() if op.kind == kind]


def _tokens(o):
    return {e.payload.get("token") for e in o.log}


# -- the log --

def log_has_acknowledged(o):
    have = _tokens(o)
    acked = [op for op in _ops(o, "emit") if op.acknowledged and not op.facts.get("async")]
    return _verdict("acknowledged emits are in the log", len(acked), (op.op for op in acked if op.facts["token"] not in have))


def log_has_no_undone(o):
    """What was rolled back (transaction or savepoint) is nowhere."""
    have = _tokens(o) | {m.token for m in o.kafka}
    undone = [token for op in o.operations.values() for token in op.facts.get("undone", [])]
    return _verdict("rolled-back emits are nowhere", len(undone), (token for token in undone if token in have))


def reader_matches_table(o):
    read = [e.id for e in o.log]
    missing = set(o.stored) ^ set(read)
    return _verdict("events.read gives each stored event once", len(o.stored), list(missing) + _twice(read))


def log_order(o):
    """An entity's counter is made under its row lock: in the log it counts 1, 2, 3 … without a gap or a step back."""
    seen = collections.defaultdict(int)
    bad = []
    checked = 0
    for e in o.log:
        if e.topic != "torture.counted":
            continue
        checked += 1
        n = e.payload["n"]
        if n != seen[e.key] + 1:
            bad.append(f"{e.key}: {n} after {seen[e.key]}")
        seen[e.key] = n
    bad += [f"{entity}: row says {n}, log {seen[entity]}" for entity, n in o.counters.items() if seen[entity] != n]
    return _verdict("order per key in the log", checked, bad)


def handler_once(o):
    want = {e.id: (e.key, n) for n, e in enumerate(o.log) if e.topic == "torture.counted"}
    handled = set(o.handled)
    bad = _twice(o.handled) + [i for i in want if i not in handled] + [i for i in handled if i not in want]
    last = {}
    for i in o.handled:
        key, place = want.get(i, (None, 0))
        if place < last.get(key, -1):
            bad.append(f"{key}: {i} too late")
        last[key] = place
    return _verdict("in-database handler: each event exactly once, in order per key", len(want), bad)


# -- Kafka --

def kafka_only_logged(o):
    logged = {e.id for e in o.log}
    return _verdict("no event id in Kafka that is not in the log", len(o.kafka), (m.id for m in o.kafka if m.id not in logged))


def kafka_has_all(o):
    have = {m.id for m in o.kafka}
    want = [e.id for e in o.log if e.topic in o.out_topics]
    return _verdict("every log event in Kafka", len(want), (i for i in want if i not in have))


def kafka_order(o):
    """By first occurrence, since a resend repeats what was there. The order of a (topic, key) is its order in the log."""
    place = {e.id: n for n, e in enumerate(o.log)}
    last = {}
    seen = set()
    bad = []
    for m in sorted(o.kafka, key=lambda m: (m.topic, m.partition, m.offset)):
        if m.id in seen or m.id not in place or m.key is None:
            continue
        seen.add(m.id)
        key = (m.topic, m.key)
        if place[m.id] < last.get(key, (-1, None))[0]:
            bad.append(f"{m.topic} {m.key}: {m.id} after {last[key][1]}")
        last[key] = max(last.get(key, (-1, None)), (place[m.id], m.id))
    partitions = collections.defaultdict(set)
    for m in o.kafka:
        if m.key is not None:
            partitions[(m.topic, m.key)].add(m.partition)
    bad += [f"{key}: partitions {sorted(p)}" for key, p in partitions.items() if len(p) > 1]
    return _verdict("order per key in Kafka", len(seen), bad)


# -- certificates --

def reserved_once(o):
    """No certificate was given to two callers: neither by what callers were told nor by the rows."""
    holders = collections.defaultdict(set)
    for op in _ops(o, "reserve"):
        if op.facts.get("certificate"):
            holders[op.facts["certificate"]].add(op.facts["key"])
    for certificate, key in o.reservations:
        holders[certificate].add(key)
    return _verdict("no certificate reserved twice", len(holders), (c for c, keys in holders.items() if len(keys) > 1))


def reserved_kept(o):
    """An acknowledged reservation is there, and its key leads to that one certificate."""
    rows = {key: certificate for certificate, key in o.reservations}
    acked = [op for op in _ops(o, "reserve") if op.acknowledged and op.facts.get("certificate")]
    bad = [f"{op.facts['key']}: told {op.facts['certificate']}, row {rows.get(op.facts['key'])}" for op in acked
           if rows.get(op.facts["key"]) != op.facts["certificate"]]
    bad += [f"{op.op}: {op.facts['answers']}" for op in _ops(o, "reserve") if len(set(op.facts.get("answers", []))) > 1]
    bad += _twice(key for _, key in o.reservations)
    return _verdict("idempotency keys map to one certificate", len(acked), bad)


def issued_kept(o):
    acked = [op for op in _ops(o, "issue") if op.acknowledged]
    events = collections.Counter(e.key for e in o.log if e.type == "certificate.issued")
    bad = [f"{op.facts['certificate']}: {events[op.facts['certificate']]} events" for op in acked
           if events[op.facts["certificate"]] != 1]
    bad += [c for c, n in events.items() if n > 1]
    return _verdict("acknowledged issues: one event each", len(acked), bad)


def money_kept(o):
    """Balance = face − redeemed + refunded, with indeterminate operations counted as done or not done."""
    low, high = collections.Counter(), collections.Counter()
    checked = 0
    for op in o.operations.values():
        if op.kind not in ("redeem", "refund") or not (op.acknowledged or op.unknown):
            continue
        checked += 1
        amount = op.facts["amount"] * (1 if op.kind == "redeem" else -1)
        certificate = op.facts["certificate"]
        if op.acknowledged or amount < 0:
            low[certificate] += amount
        if op.acknowledged or amount > 0:
            high[certificate] += amount
    bad = []
    for certificate in set(low) | set(high):
        state, face, balance = o.certificates.get(certificate, ("missing", 0, 0))
        if not low[certificate] <= face - balance <= high[certificate] or not 0 <= balance <= face:
            bad.append(f"{certificate} {state}: face {face}, balance {balance}, taken {low[certificate]}…{high[certificate]}")
    return _verdict("balances = face − acknowledged redemptions + refunds", checked, bad)


def conserved(o):
    return _verdict("conservation is zero", len(o.conservation), (f"{row}" for row in o.conservation if row != 0))


def inbound_once(o):
    """Every message that the broker acknowledged to its sender has taken effect exactly once."""
    sent = [op.facts["message"] for op in _ops(o, "inbound") if op.acknowledged]
    all_sent = {op.facts["message"] for op in _ops(o, "inbound")}
    accepted = set(o.accepted)
    bad = [m for m in sent if m not in accepted] + _twice(o.accepted) + [m for m in accepted if m not in all_sent]
    return _verdict("each inbound message accepted exactly once", len(sent), bad)


def orders_once(o):
    """Every order whose messages the broker acknowledged got its one certificate, and no order two."""
    sent = [op.facts["order"] for op in _ops(o, "order") if op.acknowledged]
    fulfilled = set(o.fulfilled)
    return _verdict("each paid order got its certificate, once", len(sent), [i for i in sent if i not in fulfilled] + _twice(o.fulfilled))


def nothing_parked(o):
    return Verdict("nothing parked", o.parked == 0, 1, o.parked, [])


CHECKS = [log_has_acknowledged, log_has_no_undone, reader_matches_table, log_order, handler_once, reserved_once, reserved_kept,
          issued_kept, money_kept, conserved, nothing_parked]
KAFKA_CHECKS = [kafka_only_logged, kafka_has_all, kafka_order, inbound_once, orders_once]


def verify(o):
    return [check(o) for check in CHECKS + (KAFKA_CHECKS if o.kafka_on else [])]


# -- canaries: planted faults, and which check must notice --

def _lose_acknowledged(o, rng):
    gone = rng.choice([op.facts["token"] for op in _ops(o, "emit") if op.acknowledged and not op.facts.get("async")])
    o.log = [e for e in o.log if e.payload.get("token") != gone]


def _skip_in_reader(o, rng):
    del o.log[rng.randrange(len(o.log))]


def _repeat_in_reader(o, rng):
    o.log.append(rng.choice(o.log))


def _swap_in_log(o, rng):
    places = collections.defaultdict(list)
    for n, e in enumerate(o.log):
        if e.topic == "torture.counted":
            places[e.key].append(n)
    a, b = rng.sample(rng.choice([p for p in places.values() if len(p) > 1]), 2)
    o.log[a], o.log[b] = o.log[b], o.log[a]


def _handle_twice(o, rng):
    o.handled.append(rng.choice(o.handled))


def _handler_skips(o, rng):
    del o.handled[rng.randrange(len(o.handled))]


def _handler_swaps(o, rng):
    keys = {e.id: e.key for e in o.log}
    places = collections.defaultdict(list)
    for n, i in enumerate(o.handled):
        places[keys[i]].append(n)
    a, b = rng.sample(rng.choice([p for p in places.values() if len(p) > 1]), 2)
    o.handled[a], o.handled[b] = o.handled[b], o.handled[a]


def _undone_comes_back(o, rng):
    undone = [token for op in o.operations.values() for token in op.facts.get("undone", [])]
    o.log.append(LogEvent("ghost", "torture.other", None, "ghost", {"token": rng.choice(undone)}))


def _reserve_twice(o, rng):
    certificate, _ = rng.choice(o.reservations)
    o.reservations.append((certificate, "somebody-else"))


def _lose_reservation(o, rng):
    kept = [op.facts["key"] for op in _ops(o, "reserve") if op.acknowledged and op.facts.get("certificate")]
    gone = rng.choice(kept)
    o.reservations = [r for r in o.reservations if r[1] != gone]


def _lose_issue(o, rng):
    gone = rng.choice([op.facts["certificate"] for op in _ops(o, "issue") if op.acknowledged])
    o.log = [e for e in o.log if not (e.type == "certificate.issued" and e.key == gone)]


def _lose_money(o, rng):
    certificate = rng.choice([op.facts["certificate"] for op in _ops(o, "redeem") if op.acknowledged])
    state, face, balance = o.certificates[certificate]
    taken = sum(op.facts["amount"] for op in _ops(o, "redeem") if op.facts["certificate"] == certificate)
    o.certificates[certificate] = (state, face, balance - taken - 1)


def _break_conservation(o, rng):
    o.conservation[rng.randrange(len(o.conservation))] += 1


def _kafka_loses(o, rng):
    gone = rng.choice(o.kafka).id
    o.kafka = [m for m in o.kafka if m.id != gone]


def _kafka_invents(o, rng):
    m = rng.choice(o.kafka)
    o.kafka.append(m._replace(id="00000000-0000-7000-8000-000000000000", offset=m.offset + 10 ** 9))


def _kafka_swaps(o, rng):
    first = {}
    for n, m in enumerate(o.kafka):
        first.setdefault(m.id, n)
    places = collections.defaultdict(list)
    for i, n in first.items():
        places[(o.kafka[n].topic, o.kafka[n].key)].append(i)
    a, b = rng.sample(rng.choice([p for k, p in places.items() if len(p) > 1 and k[1] is not None]), 2)
    o.kafka = [m._replace(id={a: b, b: a}.get(m.id, m.id)) for m in o.kafka]


def _accept_twice(o, rng):
    o.accepted.append(rng.choice(o.accepted))


def _inbound_lost(o, rng):
    gone = rng.choice([op.facts["message"] for op in _ops(o, "inbound") if op.acknowledged])
    o.accepted = [m for m in o.accepted if m != gone]


CANARIES = [(_lose_acknowledged, log_has_acknowledged), (_skip_in_reader, reader_matches_table),
            (_repeat_in_reader, reader_matches_table), (_swap_in_log, log_order), (_handle_twice, handler_once),
            (_handler_skips, handler_once), (_handler_swaps, handler_once), (_undone_comes_back, log_has_no_undone), (_reserve_twice, reserved_once),
            (_lose_reservation, reserved_kept), (_lose_issue, issued_kept), (_lose_money, money_kept),
            (_break_conservation, conserved)]
def _order_lost(o, rng):
    gone = rng.choice([op.facts["order"] for op in _ops(o, "order") if op.acknowledged])
    o.fulfilled = [i for i in o.fulfilled if i != gone]


def _order_twice(o, rng):
    o.fulfilled.append(rng.choice(o.fulfilled))


KAFKA_CANARIES = [(_kafka_loses, kafka_has_all), (_kafka_invents, kafka_only_logged), (_kafka_swaps, kafka_order),
                  (_accept_twice, inbound_once), (_inbound_lost, inbound_once), (_order_lost, orders_once), (_order_twice, orders_once)]


def canaries(good, seed):
    """Plants each fault into a copy; answers (name of the fault, whether its check noticed)."""
    rng = random.Random(seed)
    for plant, check in CANARIES + (KAFKA_CANARIES if good.kafka_on else []):
        # A copy of each container; the entries are never changed in place.
        o = dataclasses.replace(good, **{f.name: copy.copy(getattr(good, f.name)) for f in dataclasses.fields(good)})
        plant(o, rng)
        yield plant.__name__.strip("_").replace("_", " "), not check(o).ok
