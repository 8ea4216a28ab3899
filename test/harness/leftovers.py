"""Folders of throw-away servers know their owner, so that what a killed test run left behind is cleaned up by the next one.

claim(folder) writes who owns it; sweep() stops and removes the folders whose owner is gone. A folder without that mark, or whose owner
lives, is left alone, and so is one from another container that shares /tmp.
"""
import glob
import os
import shutil
import signal
import time

PATTERNS = ["/tmp/backoffice-pg-*", "/tmp/backoffice-kafka-*", "/tmp/backoffice-keycloak-*", "/tmp/backoffice-chromium-*", "/tmp/backoffice-torture-*", "/tmp/backoffice-demo-*"]

# In the environment of a test run: what it starts inherits it, however far it goes away.
MARK = "BACKOFFICE_TEST_RUN"


def identity(pid="self"):
    """A process's name for ever: pid, start time, pid namespace and boot. None when it is gone (or is a zombie)."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            text = f.read()
        fields = text.rsplit(")", 1)[1].split()
        if fields[0] == "Z":
            return None
        return " ".join([text.split()[0], fields[19], world()])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def world():
    with open("/proc/sys/kernel/random/boot_id") as f:
        return os.readlink("/proc/self/ns/pid") + " " + f.read().strip()


def claim(folder, pid="self"):
    with open(os.path.join(folder, "owner"), "w") as f:
        f.write(identity(pid) + "\n")


def end(program):
    """Ends the processes that run this program of a folder."""
    mine = [pid for pid in running_in(os.path.dirname(program)) if _program(pid) == os.path.basename(program)]
    for pid in mine:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    deadline = time.time() + 20
    while any(identity(pid) for pid in mine) and time.time() < deadline:
        time.sleep(0.05)


def sweep():
    for folder in (f for p in PATTERNS for f in glob.glob(p)):
        try:
            with open(os.path.join(folder, "owner")) as f:
                owner = f.read().strip()
        except OSError:
            continue
        # Another boot's processes are gone for certain; another namespace's cannot be seen from here.
        here = world().split()
        pid, _, namespace, boot = (owner.split() + [""] * 4)[:4]
        if not pid or (boot == here[1] and namespace != here[0]) or (boot == here[1] and identity(pid) == owner):
            continue
        remove(folder)


def remove(folder):
    """Ends the servers that run in the folder, and removes it."""
    for pid in running_in(folder):
        try:
            os.kill(pid, signal.SIGTERM if _program(pid) == "gateway" else signal.SIGQUIT if os.path.exists(os.path.join(folder, "data/postmaster.pid")) else signal.SIGKILL)
        except ProcessLookupError:
            pass
    deadline = time.time() + 20
    while running_in(folder) and time.time() < deadline:
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _program(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as f:
            return os.path.basename(f.read().split("\0")[0])
    except OSError:
        return None


def running_in(folder):
    """Processes that name the folder in their command line: postgres -D folder/data, java … folder/server.properties, folder/gateway."""
    pids = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline") as f:
                    words = f.read().split("\0")
            except OSError:
                continue
            if any(w.startswith(folder + "/") for w in words) and os.path.basename(words[0]) in ("postgres", "java", "gateway"):
                pids.append(int(name))
    return pids


def marked():
    """[(process id, command)] of what this test run started and did not end."""
    mark, left = f"{MARK}={os.environ[MARK]}".encode(), []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            with open(f"/proc/{pid}/environ", "rb") as environ, open(f"/proc/{pid}/cmdline", "rb") as cmdline:
                if pid != os.getpid() and mark in environ.read().split(b"\0"):
                    left.append((pid, cmdline.read().replace(b"\0", b" ").decode(errors="replace")))
        except OSError:
            pass    # it has ended meanwhile
    return left


def kill(processes):
    for pid, _ in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass    # it has ended meanwhile
