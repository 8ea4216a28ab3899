"""The demo's database server and gateway: they outlive the demo, so that a visitor can look around, but not for long.

The server listens on a socket that only its own user and root can open. A watchdog in a session of its own stops and removes it after
LINGER_MINUTES; `make demo-stop` does so at once, and the next demo too. build/demo.json says where it is.
"""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

from harness import leftovers
from harness.pg import ROOT, Cluster, free_port
from harness.workers import BUILD

LINGER_MINUTES = 30
STATE = os.path.join(ROOT, "build/demo.json")
DATABASE = "demo"


def read_state():
    try:
        with open(STATE) as f:
            state = json.load(f)
    except (OSError, ValueError):
        return None
    return state if os.path.isdir(state["folder"]) else None


def write_state(pg):
    os.makedirs(os.path.dirname(STATE), exist_ok=True)
    with open(STATE, "w") as f:
        json.dump({"folder": pg.dir, "port": pg.port}, f)


def stop():
    """Stops and removes the server that an earlier demo left; whether there was one."""
    state = read_state()
    if state:
        leftovers.remove(state["folder"])
    if os.path.exists(STATE):
        os.unlink(STATE)
    return state is not None


def start():
    """A fresh server; one of an earlier demo is stopped first."""
    stop()
    pg = Cluster({"fsync": "off", "shared_buffers": "128MB"})
    try:
        pg.init()
        pg.start()
        pg.create_database(DATABASE)
    except BaseException:
        pg.destroy()
        raise
    return pg


def gateway_port():
    """8080, if nobody has it."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", 8080))
            return 8080
        except OSError:
            return free_port()


def start_gateway(pg, user):
    """A gateway on this machine's own address; it is called folder/gateway, so that it ends with the server. Its port."""
    program, port = os.path.join(pg.dir, "gateway"), gateway_port()
    os.symlink(os.path.join(BUILD, "gateway"), program)
    with open(program + ".log", "ab") as log:
        process = subprocess.Popen([program, f"--database={pg.dsn(DATABASE, user)}", f"--port={port}"], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, start_new_session=True, cwd="/")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
                return port
        except OSError:
            time.sleep(0.05)
    with open(program + ".log") as log:
        raise RuntimeError("the gateway does not answer:\n" + log.read()[-2000:])


def stop_gateway(pg):
    leftovers.end(os.path.join(pg.dir, "gateway"))


def leave_running(pg):
    """Hands the server over to a watchdog."""
    write_state(pg)
    watchdog = subprocess.Popen(
        [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "demo.py"), "--watchdog", pg.dir],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd="/")
    leftovers.claim(pg.dir, watchdog.pid)


def watch(folder):
    deadline = time.monotonic() + LINGER_MINUTES * 60
    while os.path.isdir(folder) and time.monotonic() < deadline:
        time.sleep(1)
    if os.path.isdir(folder):
        leftovers.remove(folder)


def psql_command(folder, port):
    return f"psql -h {folder} -p {port} -U postgres {DATABASE}"


def open_psql(arguments):
    state = read_state()
    if state is None or not leftovers.running_in(state["folder"]):
        sys.exit("no demo server is running: make demo")
    command = psql_command(state["folder"], state["port"]).split()
    os.execvp(command[0], command + arguments)
