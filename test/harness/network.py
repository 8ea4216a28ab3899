"""A network with an island, made of network namespaces: real TCP, real loss. Needs root.

    leave_the_network()         # this process, and what it starts, in a network of its own; gone when they end
    island = Island(["database", "broker"])
    worker.prefix = island.prefix           # runs there
    island.here["broker"]       # our address on that line
    island.cut("broker"); island.deaf("broker"); island.heal("broker")
"""
import ctypes
import os
import subprocess
import time

CLONE_NEWNET = 0x40000000


def run(*command):
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if out.returncode:
        raise RuntimeError(f"{' '.join(command)}: {out.stdout}")
    return out.stdout


def leave_the_network():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace")
    run("ip", "link", "set", "lo", "up")


class Island:
    """One line (a pair of Ethernet devices) for each name."""

    def __init__(self, lines):
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.keeper.pid}/ns/net") == mine:
            time.sleep(0.01)
        self.prefix = ["nsenter", "--net", "--target", str(self.keeper.pid), "--"]
        self.here, self.there = {}, {}
        run(*self.prefix, "ip", "link", "set", "lo", "up")
        for number, name in enumerate(lines):
            self.here[name], self.there[name] = f"198.18.{number}.1", f"198.18.{number}.2"
            run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", str(self.keeper.pid))
            run("ip", "address", "add", self.here[name] + "/30", "dev", name)
            run("ip", "link", "set", name, "up")
            run(*self.prefix, "ip", "address", "add", self.there[name] + "/30", "dev", name)
            run(*self.prefix, "ip", "link", "set", name, "up")

    def cut(self, line):
        """Nothing passes, and nobody is told."""
        run("ip", "link", "set", line, "down")

    def deaf(self, line):
        """What the island sends arrives; nothing comes back, not even that it arrived."""
        run("ip", "route", "add", "blackhole", self.there[line] + "/32")

    def heal(self, line):
        if "DOWN" in run("ip", "-br", "link", "show", line):
            run("ip", "link", "set", line, "up")
        if run("ip", "route", "show", "type", "blackhole"):
            run("ip", "route", "del", "blackhole", self.there[line] + "/32")

    def close(self):
        self.keeper.kill()
        self.keeper.wait()
