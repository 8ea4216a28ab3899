#!/usr/bin/python3
"""make bench: each figure beside its baseline, measured in the same run.

    make bench                          everything (about half an hour)
    make bench ONLY=emit,can            these groups
    ROUNDS=9 SECONDS=5 CLIENTS=1,8,32   rounds per figure, seconds per round, numbers of clients
    HOLD_S=1800                         seconds that a snapshot is held open (reserve_held)
    KAFKA_BOOTSTRAP=host:port           a broker to use instead of the fetched one

Prints one JSON line per figure, and at last a table.  docs/benchmarks.md says how each is measured.
"""
import importlib
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from frame import Bench, Missing, say  # noqa: E402

# group -> module with a function of that name, taking the Bench
GROUPS = {
    "emit": "emit",
    "reserve": "reserve",
    "reserve_skip_locked": "reserve",
    "reserve_size": "reserve",
    "reserve_held": "reserve",
    "tick": "reader",
    "can": "access",
    "rls": "access",
    "refresh": "sessions",
    "lifecycle": "lifecycle",
    "relay": "relay",
    "latency": "relay",
    "gateway_one_row": "gateway",
    "gateway_rpc": "gateway",
    "jwt_warm": "gateway",
    "sse_idle": "events",
}


def main():
    wanted = [w for w in os.environ.get("ONLY", "").split(",") if w] or list(GROUPS)
    unknown = [w for w in wanted if w not in GROUPS]
    if unknown:
        sys.exit(f"no figure {', '.join(unknown)}; there are: {', '.join(GROUPS)}")
    bench = Bench()
    broken = 0
    try:
        for group in wanted:
            start = time.time()
            try:
                module = importlib.import_module("figures." + GROUPS[group])
                getattr(module, group)(bench)
            except Missing as e:
                broken += 1
                say(f"{group}: not measured: {e}")
            except Exception:
                broken += 1
                say(f"{group}: not measured:\n{traceback.format_exc()}")
            say(f"   ({group}: {time.time() - start:.0f} s)")
        bench.table()
    finally:
        bench.close()
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
