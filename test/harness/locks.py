"""What only one of all test runs and suites may do at a time: fetching through Maven, whose repository two may not write to at once; making a user."""
import contextlib
import fcntl
import os


@contextlib.contextmanager
def alone(what):
    folder = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "backoffice")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, what + ".lock"), "w", encoding="utf-8") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
