"""A network with an island, made of network namespaces: real TCP, real loss. Needs root.

    leave_the_network()         # this process, and what it starts, in a network of its own; gone when they end
    island = Island(["database", "broker"])
    worker.prefix = island.prefix           # runs there
    island.here["broker"]       # our address on that line
    island.cut("broker"); island.deaf("broker"); island.heal("broker")
    Island(lines, weather=True)         # lines of which a process of ours carries each packet
    island.weather.set(loss=0.02, delay_ms=5, jitter_ms=20, twice=0.01)
"""
import ctypes
import fcntl
import heapq
import multiprocessing
import os
import random
import select
import signal
import struct
import subprocess
import time

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1


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


def open_tun(name):
    """A network device of this namespace whose packets we read and write."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, 0x400454ca, struct.pack("16sH", name.encode(), 0x0001 | 0x1000))    # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return device


class Weather:
    """Carries the packets of all lines between here and the island: loses, delays, overtakes and repeats some. (Kernels without netem are common.)"""

    def __init__(self, lines, island_pid, seed):
        self.settings = multiprocessing.Array("d", [0.0] * 4)
        self.carried, self.lost = multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
        ready = multiprocessing.Event()
        self.pid = os.fork()        # not multiprocessing's: a case is a daemon, which may have no children of that kind
        if self.pid == 0:
            try:
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                self.carry(lines, island_pid, random.Random(seed), ready)
            finally:
                os._exit(1)
        if not ready.wait(10):
            raise RuntimeError("the lines were not made")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def set(self, loss=0.0, delay_ms=0.0, jitter_ms=0.0, twice=0.0):
        self.settings[:] = [loss, delay_ms / 1000, jitter_ms / 1000, twice]

    def carry(self, lines, island_pid, rnd, ready):
        here = [open_tun(line) for line in lines]
        namespace = os.open(f"/proc/{island_pid}/ns/net", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "no way into the island")
        there = [open_tun(line) for line in lines]
        other = {**dict(zip(here, there)), **dict(zip(there, here))}
        poll = select.poll()
        for device in other:
            poll.register(device, select.POLLIN)
        ready.set()
        due, number = [], 0
        while True:
            pause_s = due[0][0] - time.monotonic() if due else 1
            for device, _ in poll.poll(max(0, pause_s * 1000)):
                loss, delay_s, jitter_s, twice = self.settings[:]
                packet = os.read(device, 65536)
                copies = 0 if rnd.random() < loss else 2 if rnd.random() < twice else 1
                self.carried.value += 1
                self.lost.value += copies == 0
                for _ in range(copies):
                    number += 1
                    heapq.heappush(due, (time.monotonic() + delay_s + rnd.random() * jitter_s, number, other[device], packet))
            while due and due[0][0] <= time.monotonic():
                _, _, device, packet = heapq.heappop(due)
                try:
                    os.write(device, packet)
                except OSError:
                    pass        # the device is down, or its queue is full: packets are lost so too


class Island:
    """One line for each name: a pair of Ethernet devices, or, for weather, a pair of our own."""

    def __init__(self, lines, weather=False, seed=1):
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{self.keeper.pid}/ns/net") == mine:
            time.sleep(0.01)
        self.prefix = ["nsenter", "--net", "--target", str(self.keeper.pid), "--"]
        self.here, self.there = {}, {}
        self.weather = None
        try:
            self.lay(lines, weather, seed)
        except BaseException:
            self.close()
            raise

    def lay(self, lines, weather, seed):
        if weather:
            self.weather = Weather(lines, self.keeper.pid, seed)
        run(*self.prefix, "ip", "link", "set", "lo", "up")
        for number, name in enumerate(lines):
            self.here[name], self.there[name] = f"198.18.{number}.1", f"198.18.{number}.2"
            if not weather:
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
        if self.weather:
            self.weather.close()
        self.keeper.kill()
        self.keeper.wait()
