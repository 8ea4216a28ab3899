#!/usr/bin/python3
"""make torture: kills everything under load, and then looks for what was lost, doubled or disordered.

    test/torture/torture.py --seed 7 --faults 100            a run; the same seed gives the same faults in the same order
    test/torture/torture.py --seed 7 --duration 3600         for an hour
    test/torture/torture.py --no-kafka                       database only: no broker, no thin workers
    test/torture/torture.py --canary                         afterwards plants faults into what was observed: the judge must notice each

SEED, FAULTS and DURATION in the environment do the same as the options. Clients write down outside the database what they were told
(journal.py, load.py); faults are struck one after the other (faults.py); then all is healed and drained, and verify.py judges.
The last line is a summary in JSON. Exit code 0: every verdict good.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from harness.pg import ROOT  # noqa: E402
import faults  # noqa: E402
import journal  # noqa: E402
import load  # noqa: E402
import stage  # noqa: E402
import verify  # noqa: E402

CLIENTS = 8


def arguments(argv):
    env = os.environ.get
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--seed", type=int, default=int(env("SEED") or 0) or random.SystemRandom().randrange(1, 10 ** 6))
    p.add_argument("--faults", type=int, default=int(env("FAULTS") or 0) or None)
    p.add_argument("--duration", type=float, default=float(env("DURATION") or 0) or None, help="seconds; instead of --faults")
    p.add_argument("--no-kafka", dest="kafka", action="store_false", help="database only")
    p.add_argument("--canary", action="store_true", help="plant faults into the observation and check that the judge sees them")
    p.add_argument("--keep", action="store_true", help="leave the folder for looking at")
    a = p.parse_args(argv)
    if a.faults is None and a.duration is None:
        a.faults = 40
    return a


class Run:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.dir = tempfile.mkdtemp(prefix="backoffice-torture-", dir="/tmp")
        self.journals = []
        self.settle = threading.Event()
        self.counts = collections.Counter()
        self.missed = 0

    def say(self, text):
        print(f"{time.time() - self.began:7.1f} s  {text}", flush=True)

    def journal(self, name):
        j = journal.Journal(os.path.join(self.dir, name + ".jsonl"))
        self.journals.append(j)
        return j

    def main(self):
        self.began = time.time()
        faults.become_subreaper()
        print(f"seed {self.args.seed}, {self.args.faults or 'any number of'} faults"
              + (f" in {self.args.duration:.0f} s" if self.args.duration else "")
              + (", with Apache Kafka, relay and ingest" if self.args.kafka else ", database only"), flush=True)
        self.stage = stage.Stage(self.args, self.dir)
        try:
            with self.stage:
                self.say("servers are up")
                self.torment()
                self.say("healed; draining")
                observation = self.observe()
            return self.judge(observation)
        finally:
            for j in self.journals:
                j.close()
            if not self.args.keep:
                shutil.rmtree(self.dir, ignore_errors=True)
            else:
                print(f"kept: {self.dir}")

    # -- the storm --

    def torment(self):
        s = self.stage
        connect = s.connect_client
        clients = [load.Client(n, self.args.seed, connect, self.journal(f"client-{n}"), s.setup, self.settle)
                   for n in range(CLIENTS)]
        if s.kafka:
            clients.append(load.Sender(self.args.seed, s.kafka.bootstrap, stage.INBOUND, s.setup,
                                       self.journal("sender"), self.settle, 40))
        self.clients = clients
        for c in clients:
            c.start()
        struck = faults.Faults(s.pg, self.rng, stage.DATABASE, s.relay, s.ingest, s.kafka)
        try:
            self.strike(struck)
        finally:
            self.settle.set()
        for c in clients:
            c.join(180)
            if c.is_alive():
                raise RuntimeError(f"{c.name} does not end")
        self.check_clients()

    def strike(self, struck):
        time.sleep(2)
        deadline = time.time() + self.args.duration if self.args.duration else None
        for n, kind in enumerate(struck.schedule(), 1):
            if time.time() > deadline if deadline else sum(self.counts.values()) >= self.args.faults:
                break
            time.sleep(self.rng.uniform(0.1, 1.0))
            done = struck.strike(kind)
            if done is None:
                self.say(f"fault {n}: {kind}: nothing to strike")
                self.missed += 1
                if self.missed > 10 + 3 * sum(self.counts.values()):
                    raise RuntimeError("most faults find nothing to strike: the harness does not know the processes' names")
            else:
                self.say(f"fault {n}: {kind} {done}")
                self.counts[kind] += 1
            self.check_clients()
            self.stage.wait_for_server()
        time.sleep(1)

    def check_clients(self):
        for c in self.clients:
            if c.crashed is not None:
                raise RuntimeError(f"{c.name} failed") from c.crashed

    # -- afterwards --

    def observe(self):
        s = self.stage
        s.heal()
        for j in self.journals:
            j.close()
        operations = journal.read([j.path for j in self.journals])
        acknowledged = [op for op in operations.values() if op.acknowledged]
        s.drain(self.say, {op.facts["message"] for op in acknowledged if op.kind == "inbound"},
                {op.facts["order"] for op in acknowledged if op.kind == "order"})
        o = s.observe()
        o.operations = operations
        return o

    def judge(self, o):
        verdicts = verify.verify(o)
        kinds = collections.Counter((op.kind, "acknowledged" if op.acknowledged else "refused" if op.refused else "unknown")
                                    for op in o.operations.values())
        print("\nfaults")
        for kind, n in sorted(self.counts.items()):
            print(f"  {n:6}  {kind}")
        print("operations")
        for (kind, outcome), n in sorted(kinds.items()):
            print(f"  {n:6}  {kind} {outcome}")
        refusals = collections.Counter()
        for c in self.clients:
            refusals.update(c.refusals)
        for text, n in refusals.most_common(8):
            print(f"  {n:6}  refused: {text}")
        sent = collections.Counter(m.id for m in o.kafka)
        print(f"log: {len(o.log)} events" + (f"; Kafka: {len(o.kafka)} messages, {len(o.kafka) - len(sent)} of them resends" if o.kafka_on else ""))
        print("verdicts")
        for v in verdicts:
            print(f"  {'ok' if v.ok else 'BROKEN':6}  {v.name} ({v.checked} checked{'' if v.ok else f', {v.bad} bad: ' + '; '.join(map(str, v.examples))})")
        good = all(v.ok for v in verdicts)
        canaries = []
        if self.args.canary:
            print("canaries: faults planted into the observation")
            canaries = list(verify.canaries(o, self.args.seed))
            for name, noticed in canaries:
                print(f"  {'noticed' if noticed else 'MISSED'}  {name}")
            good = good and canaries and all(noticed for _, noticed in canaries)
        total = sum(self.counts.values())
        print(json.dumps({
            "name": "torture", "ok": bool(good), "seed": self.args.seed, "kafka": self.args.kafka, "commit": commit(),
            "seconds": round(time.time() - self.began, 1), "faults": total, "fault_kinds": dict(sorted(self.counts.items())),
            "operations": len(o.operations), "acknowledged": sum(n for (_, outcome), n in kinds.items() if outcome == "acknowledged"),
            "unknown": sum(n for (_, outcome), n in kinds.items() if outcome == "unknown"),
            "log_events": len(o.log), "kafka_messages": len(o.kafka), "kafka_resends": len(o.kafka) - len(sent),
            "broken": [v.name for v in verdicts if not v.ok],
            "canaries_noticed": sum(noticed for _, noticed in canaries), "canaries": len(canaries)}), flush=True)
        return 0 if good else 1


def commit():
    out = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return out.stdout.strip()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(Run(arguments(sys.argv[1:])).main())
