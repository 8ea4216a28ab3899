"""A short torture run: seeded faults under load against real Apache Kafka, then faults planted into what was seen, which the judge must notice.

Each kind of fault once. A long one: make torture FAULTS=1000, or DURATION=3600; BACKOFFICE_TORTURE_FAULTS lengthens this suite's run.
"""
import json
import os
import subprocess
import sys

from harness.pg import ROOT

FAULTS = os.environ.get("BACKOFFICE_TORTURE_FAULTS", "14")
SEED = os.environ.get("SEED") or "20"


def run(only=None):
    out = subprocess.run([sys.executable, os.path.join(ROOT, "test/torture/torture.py"), "--seed", SEED, "--faults", FAULTS, "--canary"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200)
    last = out.stdout.rstrip().rsplit("\n", 1)[-1]
    try:
        summary = json.loads(last)
    except ValueError:
        yield "short-run", False, out.stdout[-8000:]
        return
    yield "short-run", not summary["broken"] and summary["faults"] >= int(FAULTS) and summary["acknowledged"] > 1000, out.stdout[-8000:]
    yield "canaries-are-noticed", summary["canaries"] >= 15 and summary["canaries_noticed"] == summary["canaries"], out.stdout[-8000:]
