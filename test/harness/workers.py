"""Thin workers for tests and the demo.

    relay = Worker("kafka-relay", database=pg.dsn("shop", "relay"), kafka_bootstrap=kafka.bootstrap, lease_ms=2000)
    relay.start(); relay.kill9(); relay.start(); assert relay.stop() == 0
    relay.get("/metrics"); relay.metric("backoffice_relay_acknowledged_total"); relay.lines()
"""
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from harness.pg import ROOT

# WORKERS_BUILD=build/workers-san runs the same tests under ASan and UBSan (make -C workers SANITIZE=address,undefined).
BUILD = os.path.join(ROOT, os.environ.get("WORKERS_BUILD", "build/workers"))


class Worker:
    """One process. Settings are keyword arguments: flags with underscores. It listens on a free port."""

    def __init__(self, program, log=None, build=None, **settings):
        self.program = os.path.join(build or BUILD, program)
        self.prefix = []            # a command that runs the program, e.g. in another network
        self.settings = {"port": 0}
        self.settings.update(settings)
        self.own_log = log is None
        if self.own_log:
            handle, log = tempfile.mkstemp(prefix=f"backoffice-{program}-", suffix=".log", dir="/tmp")
            os.close(handle)
        self.log = log
        self.process = None
        self.started_at = 0

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.kill9()
        if self.own_log and os.path.exists(self.log):
            os.unlink(self.log)

    def flags(self):
        return [f"--{name.replace('_', '-')}={value}" for name, value in self.settings.items()]

    def start(self):
        if self.alive():
            raise RuntimeError(f"{self.program} runs already")
        self.started_at = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.prefix + [self.program] + self.flags(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout_s=30):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill9(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def lines(self):
        """The log as dicts; a line that is not JSON raises."""
        return [json.loads(line) for line in self.text().splitlines() if line]

    def wait_log(self, pattern, timeout_s=60):
        """Waits for a log line since the last start that matches; returns it, or None."""
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            with open(self.log, errors="replace") as f:
                f.seek(self.started_at)
                for line in f:
                    if re.search(pattern, line):
                        return line
            if not self.alive():
                return None
            time.sleep(0.02)
        return None

    def http_port(self):
        line = self.wait_log('"msg":"started"')
        return json.loads(line)["port"] if line else None

    def get(self, path):
        """(status, body) of a GET on the worker's own port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port()}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.M)
        return float(found.group(1)) if found else None
