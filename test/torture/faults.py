"""The faults, and the processes they strike.

The harness is a subreaper: orphans of a killed postmaster, and the postmaster itself (pg_ctl has long left), become its children,
so that it can wait for them. Without that a killed postmaster may linger as a zombie under a process 1 that does not reap, and the
next start fails on its lock file.
"""
import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def reap(pid):
    """Whether the process is gone; collects it when it is ours."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    return not os.path.exists(f"/proc/{pid}")


def wait_gone(pids, timeout_s=30):
    deadline = time.time() + timeout_s
    left = set(pids)
    while left and time.time() < deadline:
        left = {pid for pid in left if not reap(pid)}
        time.sleep(0.01)
    if left:
        raise RuntimeError(f"processes do not end: {[title_of(pid) for pid in sorted(left)]}")


def title_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return f"{pid} {f.read().replace(chr(0), ' ').strip()}"
    except OSError:
        return str(pid)


def children(parent):
    """{pid: title} of a process's children."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            if int(fields[1]) != parent or fields[0] == "Z":
                continue
            with open(f"/proc/{name}/cmdline") as f:
                found[int(name)] = f.read().replace("\0", " ").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Faults:
    """Strikes a cluster, its workers and its broker. strike(kind) does one fault and heals what does not heal by itself;
    it answers what it did, or None when there was nothing to strike."""

    def __init__(self, pg, rng, database, relay=None, ingest=None, kafka=None):
        self.pg = pg
        self.rng = rng
        self.database = database
        self.relay = relay
        self.ingest = ingest
        self.kafka = kafka

    def kinds(self):
        """(kind, weight): the rarer ones take long to heal."""
        kinds = [("backend-kill", 8), ("ticker-kill", 3), ("dispatcher-kill", 3), ("keeper-kill", 2), ("ticker-term", 2),
                 ("postmaster-kill", 3), ("immediate-stop", 2), ("backend-term", 4)]
        if self.relay:
            kinds += [("relay-kill", 6), ("relay-freeze", 2), ("ingest-kill", 6), ("ingest-freeze", 2),
                      ("broker-kill", 2), ("broker-freeze", 2)]
        return kinds

    def schedule(self):
        """Without end: each kind once, then by weight."""
        kinds = self.kinds()
        names, weights = [k for k, _ in kinds], [w for _, w in kinds]
        plan = list(names)
        self.rng.shuffle(plan)
        yield from plan
        while True:
            yield self.rng.choices(names, weights)[0]

    def strike(self, kind):
        target, act = kind.rsplit("-", 1)
        return getattr(self, "_" + target.replace("-", "_"))(act)

    # -- the server --

    def _server_process(self, *words):
        """A child of the postmaster whose title has all the words."""
        pids = [pid for pid, title in children(self.pg.postmaster_pid()).items()
                if all(w in title for w in words)]
        return self.rng.choice(sorted(pids)) if pids else None

    def _signal_process(self, act, *words):
        pid = self._server_process(*words)
        if pid is None:
            return None
        try:
            os.kill(pid, signal.SIGKILL if act == "kill" else signal.SIGTERM)
        except ProcessLookupError:
            return None
        return f"pid {pid}"

    def _backend(self, act):
        return self._signal_process(act, f" {self.database} [local]")

    def _ticker(self, act):
        return self._signal_process(act, "backoffice", "ticker")

    def _dispatcher(self, act):
        return self._signal_process(act, "backoffice", "dispatcher")

    def _keeper(self, act):
        return self._signal_process(act, "backoffice", "keeper")

    def _postmaster(self, act):
        pid = self.pg.postmaster_pid()
        family = [pid] + list(children(pid))
        os.kill(pid, signal.SIGKILL)
        wait_gone(family)
        self._start()
        return f"pid {pid}"

    def _immediate(self, act):
        self.pg.stop("immediate")
        self._start()
        return ""

    def _start(self):
        for attempt in range(5):
            try:
                self.pg.start()
                return
            except RuntimeError:
                if attempt == 4:
                    raise
                time.sleep(0.5)

    # -- workers and broker --

    def _worker(self, worker, act):
        if act == "kill":
            worker.kill9()
            time.sleep(self.rng.uniform(0, 0.5))
            worker.start()
            return ""
        seconds = self.rng.uniform(1, 5)
        if worker.process.poll() is not None:
            return None
        worker.freeze()
        time.sleep(seconds)
        worker.thaw()
        return f"{seconds:.1f} s"

    def _relay(self, act):
        return self._worker(self.relay, act)

    def _ingest(self, act):
        return self._worker(self.ingest, act)

    def _broker(self, act):
        return self._worker(self.kafka, act)
