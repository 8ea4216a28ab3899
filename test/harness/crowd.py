"""Very many idle listeners in one process.

    raise_file_limit()
    with Crowd(port, [("/events", token), ...]) as crowd:
        crowd.drain(); crowd.open_count(); crowd.events    # streams that are still open; events that came to all of them
    memory([pid])                                          # bytes of their own (anonymous and shared) memory
"""
import errno
import resource
import select
import socket
import time

AT_ONCE = 200
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def raise_file_limit():
    """Returns how many files may be open now."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def memory(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith(("RssAnon:", "RssShmem:")))
    return total


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


class Crowd:
    def __init__(self, port, wanted, timeout_s=120):
        self.port = port
        self.sockets = {}
        self.events = 0
        self.pings = 0
        self.poll = select.epoll()
        deadline = time.time() + timeout_s
        for at in range(0, len(wanted), AT_ONCE):
            self.open(wanted[at:at + AT_ONCE], deadline)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for s in self.sockets.values():
            s.close()
        self.poll.close()

    def open(self, wanted, deadline):
        waiting = {}
        for path, token in wanted:
            s = socket.create_connection(("127.0.0.1", self.port), timeout=10)
            more = WEBSOCKET if path.startswith("/ws") else ""
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{more}\r\n".encode())
            s.setblocking(False)
            self.poll.register(s, select.EPOLLIN)
            waiting[s.fileno()] = s
        while waiting:
            if time.time() > deadline:
                raise TimeoutError(f"{len(self.sockets)} streams are open, {len(waiting)} wait for an answer")
            for fd, _ in self.poll.poll(1):
                got = self.read(waiting.get(fd) or self.sockets[fd])
                if fd in waiting and got:
                    if not got.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
                        raise RuntimeError(got[:500])
                    self.sockets[fd] = waiting.pop(fd)

    def read(self, s):
        try:
            got = s.recv(65536)
        except BlockingIOError:
            return None
        except OSError as e:
            if e.errno != errno.ECONNRESET:
                raise
            got = b""
        if not got:
            self.poll.unregister(s)
            self.sockets.pop(s.fileno(), None)
            s.close()
        self.events += got.count(b'"payload":')
        self.pings += got.startswith(b":\n") or b'"control":"position"' in got
        return got

    def drain(self, seconds=1, until=None):
        """Reads what comes, for a time or until until()."""
        deadline = time.time() + seconds
        while time.time() < deadline and not (until and until()):
            for fd, _ in self.poll.poll(0.05):
                if fd in self.sockets:
                    self.read(self.sockets[fd])

    def open_count(self):
        return len(self.sockets)
