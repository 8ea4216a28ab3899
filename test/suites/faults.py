"""Faults: what must hold when things are killed, copied, promoted, restored.

A case is a function case_<name>() in test/faults/<part>.py; it makes its own clusters and raises when something does not
hold. Cases spend most of their time waiting, so some run side by side, each in a process of its own: JOBS of them (default 2).
`test/run.py faults:<part>` runs one file, `faults:<part>.<name>` (or `faults:<name>`) one case.
"""
import glob
import importlib
import multiprocessing
import multiprocessing.connection
import os
import traceback

from harness.pg import ROOT

JOBS = int(os.environ.get("JOBS", "2"))


def cases():
    for path in sorted(glob.glob(os.path.join(ROOT, "test/faults/*.py"))):
        part = os.path.basename(path)[:-3]
        if part.startswith("_"):
            continue
        module = importlib.import_module("faults." + part)
        for name, function in list(vars(module).items()):
            if name.startswith("case_") and callable(function):
                yield part, name[len("case_"):].replace("_", "-"), function


def act(function, answer):
    try:
        function()
    except BaseException:
        answer.send(traceback.format_exc())
    else:
        answer.send("")


def outcome(process, answer):
    """What is wrong with an ended case; "": nothing."""
    try:
        return answer.recv()
    except EOFError:
        process.join()
        return f"the case's process ended with {process.exitcode} and said nothing"


def run(only=None):
    context = multiprocessing.get_context("fork")
    waiting = [(f"{part}.{name}", function) for part, name, function in cases()
               if not only or only in (part, name, f"{part}.{name}")]
    running = {}
    while waiting or running:
        while waiting and len(running) < JOBS:
            name, function = waiting.pop(0)
            answer, teller = context.Pipe(duplex=False)
            # A daemon: when this run is ended, its cases are too, and clean up.
            process = context.Process(target=act, args=(function, teller), daemon=True)
            process.start()
            teller.close()
            running[answer] = (name, process)
        for answer in multiprocessing.connection.wait(list(running)):
            name, process = running.pop(answer)
            problem = outcome(process, answer)
            process.join()
            yield name, not problem, problem
