"""Faults: what must hold when things are killed, copied, promoted, restored.

A case is a function case_<name>() in test/faults/<part>.py; it makes its own clusters and raises when something does not
hold. `test/run.py faults:<part>` runs one file, `faults:<part>.<name>` (or `faults:<name>`) one case.
"""
import glob
import importlib
import os
import traceback

from harness.pg import ROOT


def cases():
    for path in sorted(glob.glob(os.path.join(ROOT, "test/faults/*.py"))):
        part = os.path.basename(path)[:-3]
        if part.startswith("_"):
            continue
        module = importlib.import_module("faults." + part)
        for name, function in list(vars(module).items()):
            if name.startswith("case_") and callable(function):
                yield part, name[len("case_"):].replace("_", "-"), function


def run(only=None):
    for part, name, function in cases():
        if only and only not in (part, name, f"{part}.{name}"):
            continue
        try:
            function()
        except Exception:
            yield f"{part}.{name}", False, traceback.format_exc()
        else:
            yield f"{part}.{name}", True, ""
