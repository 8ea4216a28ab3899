"""What the clients know: an append-only file per client, outside the database, each line on disk before the client goes on.

A line is one JSON object: {"op": unique id, "kind": "reserve", "phase": "invoke" | "ok" | "fail" | "unknown", …}. An operation is
acknowledged when it has an "ok" line: its effect must be there for ever. "fail" means that the server refused it: no effect.
"unknown" means that the connection broke before the answer: the effect is there or it is not, and both are right.
"""
import json
import os
import threading
import time


class Journal:
    def __init__(self, path):
        self.path = path
        self.file = open(path, "ab")
        self.lock = threading.Lock()

    def write(self, op, kind, phase, **facts):
        line = json.dumps({"at": round(time.time(), 4), "op": op, "kind": kind, "phase": phase, **facts}) + "\n"
        with self.lock:
            self.file.write(line.encode())
            self.file.flush()
            os.fdatasync(self.file.fileno())

    def close(self):
        self.file.close()


class Operation:
    """One operation as the journals tell it."""

    __slots__ = ("op", "kind", "acknowledged", "refused", "unknown", "facts")

    def __init__(self, op, kind):
        self.op = op
        self.kind = kind
        self.acknowledged = self.refused = self.unknown = False
        self.facts = {}


def read(paths):
    """The operations of these journals, {op: Operation}."""
    operations = {}
    for path in paths:
        with open(path) as f:
            for line in f:
                entry = json.loads(line)
                o = operations.setdefault(entry["op"], Operation(entry["op"], entry["kind"]))
                phase = entry["phase"]
                o.acknowledged |= phase == "ok"
                o.refused |= phase == "fail"
                o.unknown |= phase == "unknown"
                o.facts.update({k: v for k, v in entry.items() if k not in ("at", "op", "kind", "phase")})
    return operations
