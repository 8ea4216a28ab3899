#!/usr/bin/python3
"""Runs the test suites and ends with "N passed, N failed".

    test/run.py                 every suite that needs no registry
    test/run.py --all           every suite
    test/run.py regress tap     these suites
    test/run.py tap:access      one file of a suite (regress, isolation, tap, unit, e2e, faults, peers)
    JOBS=1 test/run.py          one suite after the other (2 at a time)

A suite is a module test/suites/<name>.py with run(only) -> iterable of (case name, passed, output); passed None: what it needs is not there.
Each runs in a process of its own, which tells its cases through a pipe.
"""
import atexit
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import leftovers

# The longest first: two at a time, they end together.
SUITES = ["e2e", "faults", "sanitize", "conformance", "worlds", "fuzz", "tap", "torture", "upgrade", "demo", "doors", "regress", "isolation",
          "lint", "unit", "docs", "jws"]
# These fetch other people's programs.
MORE_SUITES = ["peers", "postgrest"]
TELL = "--tell"


# ---- one suite, in a process of its own ----

def tidy():
    """The case that each suite ends with; what was left is ended, so that only its own suite fails."""
    deadline = time.time() + 5
    while (left := leftovers.marked()) and time.time() < deadline:
        time.sleep(0.1)
    leftovers.kill(left)
    return "leaves nothing running", not left, "\n".join(f"{pid} {command}" for pid, command in left)


def cases(module, only):
    case = None
    for case in module.run(only):
        yield case
    if case:
        yield tidy()


def run_suite(item, tell):
    """Writes a line of JSON for each case to the open file."""
    # Ended from outside, servers are stopped and folders removed all the same, and what was just being started is killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    atexit.register(lambda: leftovers.kill(leftovers.marked()))
    suite, _, only = item.partition(":")
    start = time.time()

    def told(name, ok, output):
        tell.write(json.dumps({"name": f"{suite}/{name}" if name else suite, "ok": ok, "output": output, "seconds": time.time() - start}) + "\n")
        tell.flush()

    try:
        for name, ok, output in cases(importlib.import_module("suites." + suite), only or None):
            told(name, ok if ok is None else bool(ok), output)
            start = time.time()
    except Exception:
        told("", False, traceback.format_exc())


# ---- all of them ----

class Run:
    """Suites that wait, those that run, and what came of the cases."""

    def __init__(self, wanted):
        self.waiting = queue.SimpleQueue()
        for item in wanted:
            self.waiting.put(item)
        self.lock = threading.Lock()
        self.running = set()
        self.ended = False
        self.passed = self.failed = self.not_run = 0
        self.failures = []

    def case(self, name, ok, output, seconds):
        with self.lock:
            print(f"{'ok' if ok else 'FAILED' if ok is not None else 'not run':8}{name}  ({seconds:.1f} s)", flush=True)
            if ok:
                self.passed += 1
                return
            print(output, flush=True)
            if ok is None:
                self.not_run += 1
            else:
                self.failed += 1
                self.failures.append(name)

    def suite(self, item):
        start = time.time()
        reader, writer = os.pipe()
        env = dict(os.environ, **{leftovers.MARK: f"{item}-{os.getpid()}-{time.time_ns()}"})
        with self.lock:
            if self.ended:
                return
            process = subprocess.Popen([sys.executable, os.path.abspath(__file__), TELL, str(writer), item], env=env, pass_fds=[writer])
            self.running.add(process)
            print(f"== {item}", flush=True)
        os.close(writer)
        told = 0
        with open(reader, encoding="utf-8") as lines:
            for told, line in enumerate(lines, 1):
                self.case(**json.loads(line))
        code = process.wait()
        with self.lock:
            self.running.discard(process)
        if code or not told:
            self.case(item, False, f"ended with {code} after {told} cases", time.time() - start)
        with self.lock:
            print(f"== {item}: {time.time() - start:.0f} s", flush=True)

    def lane(self):
        while True:
            try:
                self.suite(self.waiting.get_nowait())
            except queue.Empty:
                return

    def end(self):
        """Ended from outside: so are the suites, each of which leaves nothing."""
        with self.lock:
            self.ended = True
            running = list(self.running)
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def main():
    if sys.argv[1:2] == [TELL]:
        with open(int(sys.argv[2]), "w", encoding="utf-8") as tell:
            os.set_inheritable(tell.fileno(), False)
            run_suite(sys.argv[3], tell)
        return
    wanted = MORE_SUITES + SUITES if sys.argv[1:] == ["--all"] else sys.argv[1:] or SUITES
    for item in wanted:
        if not os.path.exists(os.path.join(os.path.dirname(os.path.abspath(__file__)), "suites", item.partition(":")[0] + ".py")):
            sys.exit(f"no suite {item.partition(':')[0]}")
    run = Run(wanted)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    atexit.register(run.end)
    lanes = [threading.Thread(target=run.lane, daemon=True) for _ in range(max(1, int(os.environ.get("JOBS", "2"))))]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    if run.failures:
        print("\nfailed:")
        for name in run.failures:
            print("  " + name)
    print(f"{run.passed} passed, {run.failed} failed" + (f", {run.not_run} skipped" if run.not_run else ""))
    sys.exit(1 if run.failed or not run.passed else 0)


if __name__ == "__main__":
    main()
