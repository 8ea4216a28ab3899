"""Debian's Chromium without a screen, driven over its WebDriver.

    with Chromium() as browser:
        browser.open("http://127.0.0.1:8080/page")
        browser.script("return document.title")
        browser.wait("return window.seen.length >= 3")
"""
import json
import os
import shutil
import subprocess
import tempfile
import time

from harness import leftovers
from harness.keycloak import request
from harness.pg import free_port

# No sandbox: tests run as root in containers. What it opens are our own pages on loopback.
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run", "--no-default-browser-check", "--no-proxy-server"]


class Chromium:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="backoffice-chromium-", dir="/tmp")
        leftovers.claim(self.dir)
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.log = open(os.path.join(self.dir, "driver.log"), "wb")
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                       cwd=self.dir, env={**os.environ, "HOME": self.dir, "TMPDIR": self.dir}, start_new_session=True)
        self.session = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        if self.session:
            try:
                request("DELETE", self.session, timeout_s=20)
            except OSError:
                pass
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _start(self):
        deadline = time.time() + 30
        while time.time() < deadline:
            try:
                if request("GET", self.base + "/status", timeout_s=2).json()["value"]["ready"]:
                    break
            except OSError:
                time.sleep(0.1)
        options = {"args": ARGUMENTS + ["--user-data-dir=" + os.path.join(self.dir, "profile")]}
        answer = request("POST", self.base + "/session", timeout_s=60, body={"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
        if answer.status != 200:
            raise RuntimeError("Chromium did not start: " + answer.text)
        self.session = f"{self.base}/session/{answer.json()['value']['sessionId']}"

    def command(self, method, path, body=None):
        answer = request(method, self.session + path, body=body, timeout_s=60)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {json.dumps(answer.json()['value'])[:2000]}")
        return answer.json()["value"]

    def open(self, url):
        self.command("POST", "/url", {"url": url})

    def script(self, text, *arguments):
        return self.command("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def wait(self, text, timeout_s=20):
        """Waits until the script returns something true, and returns that."""
        deadline = time.time() + timeout_s
        while time.time() < deadline:
            value = self.script(text)
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"{text} did not come true; console: {self.console()}")

    def console(self):
        return [entry["message"] for entry in self.command("POST", "/se/log", {"type": "browser"})]

    def screenshot(self):
        """PNG, base64."""
        return self.command("GET", "/screenshot")
