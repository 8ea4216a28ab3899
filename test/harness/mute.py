"""A server that falls mute in the middle of a word, as when its host is frozen: a go-between on a socket of its own.

    with Mute(pg) as mute:
        worker.settings["database"] = mute.dsn("shop", "worker")
        mute.at("down", rb"SELECT \\d+\\0(Z)")      # what the server says ("up": what it is told) is passed on as far as the group
        mute.fell.wait(10)                          # that one connection is silent from then on, until one side closes it; others work
        mute.silence()                              # all connections end, and whoever comes is let in and told nothing
        mute.speak()                                # who comes is served again
"""
import os
import re
import socket
import tempfile
import threading


class Mute:
    def __init__(self, pg):
        self.pg = pg
        self.folder = tempfile.TemporaryDirectory(prefix="backoffice-mute-", dir="/tmp")
        self.door = socket.socket(socket.AF_UNIX)
        self.lock = threading.Lock()
        self.rule = None
        self.fell = threading.Event()
        self.silent = False
        self.open = []

    def __enter__(self):
        self.door.bind(os.path.join(self.folder.name, f".s.PGSQL.{self.pg.port}"))
        self.door.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *exc):
        for end in [self.door] + self.open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        self.folder.cleanup()

    def dsn(self, dbname, user):
        return f"host={self.folder.name} port={self.pg.port} dbname={dbname} user={user}"

    def at(self, direction, pattern):
        with self.lock:
            self.fell.clear()
            self.rule = (direction, re.compile(pattern, re.S))

    def silence(self):
        self.silent = True
        for end in self.open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def speak(self):
        self.silent = False

    def _serve(self):
        while True:
            try:
                near = self.door.accept()[0]
            except OSError:
                return
            if self.silent:
                self.open.append(near)
                continue
            far = socket.socket(socket.AF_UNIX)
            far.connect(os.path.join(self.pg.dir, f".s.PGSQL.{self.pg.port}"))
            self.open += [near, far]
            silent = threading.Event()
            for direction, source, sink in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._carry, args=(direction, source, sink, silent), daemon=True).start()

    def _passed(self, direction, data, silent):
        """What is still passed on."""
        with self.lock:
            if silent.is_set():
                return b""
            found = self.rule is not None and self.rule[0] == direction and self.rule[1].search(data)
            if not found:
                return data
            self.rule = None
            silent.set()
            self.fell.set()
            return data[:found.start(1)]

    def _carry(self, direction, source, sink, silent):
        try:
            while data := source.recv(65536):
                sink.sendall(self._passed(direction, data, silent))
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
