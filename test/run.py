#!/usr/bin/python3
"""Runs the test suites and ends with "N passed, N failed".

    test/run.py                 every suite that needs no registry
    test/run.py --all           every suite
    test/run.py regress tap     these suites
    test/run.py tap:access      one file of a suite (regress, isolation, tap, unit, e2e, faults, peers)

A suite is a module test/suites/<name>.py with run(only) -> iterable of (case name, passed, output); passed None: what it needs is not there.
"""
import atexit
import importlib
import os
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import leftovers

SUITES = ["lint", "unit", "jws", "regress", "isolation", "tap", "worlds", "doors", "upgrade", "fuzz", "sanitize", "e2e", "faults", "conformance", "demo", "docs", "torture"]
# These fetch other people's programs.
MORE_SUITES = ["peers", "postgrest"]


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


def main():
    os.environ[leftovers.MARK] = f"{os.getpid()}-{time.time_ns()}"
    # Ended from outside, servers are stopped and folders removed all the same, and what was just being started is killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    atexit.register(lambda: leftovers.kill(leftovers.marked()))
    wanted = SUITES + MORE_SUITES if sys.argv[1:] == ["--all"] else sys.argv[1:] or SUITES
    passed = failed = not_run = 0
    failures = []
    for item in wanted:
        suite, _, only = item.partition(":")
        try:
            module = importlib.import_module("suites." + suite)
        except ModuleNotFoundError as e:
            if e.name != "suites." + suite:
                raise
            print(f"no suite {suite}", file=sys.stderr)
            sys.exit(2)
        start = time.time()
        print(f"== {suite}", flush=True)
        try:
            for name, ok, output in cases(module, only or None):
                print(f"{'ok' if ok else 'FAILED' if ok is not None else 'not run':8}{suite}/{name}  ({time.time() - start:.1f} s)", flush=True)
                if ok is None:
                    not_run += 1
                    print(output, flush=True)
                elif ok:
                    passed += 1
                else:
                    failed += 1
                    failures.append((f"{suite}/{name}", output))
                    print(output, flush=True)
                start = time.time()
        except Exception:
            failed += 1
            failures.append((suite, traceback.format_exc()))
            traceback.print_exc()
    if failures:
        print("\nfailed:")
        for name, _ in failures:
            print("  " + name)
    print(f"{passed} passed, {failed} failed" + (f", {not_run} skipped" if not_run else ""))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
