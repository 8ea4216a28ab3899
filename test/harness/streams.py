"""Clients of the gateway's event streams, on plain sockets.

    with Sse(port, token=token) as stream:
        stream.start                    # position at which it begins
        event = stream.next()           # {"id": position, "event": "message", "data": {...}} or None after timeout_s
    with WebSocket(port, query="ticket=…") as socket:
        socket.next()                   # a decoded message
"""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import time
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Positions:
    """What the gateway seals positions with (workers/gateway/events_seal.h). keys: what access.position_keys() answers."""

    def __init__(self, keys):
        self.keys = {name: AESSIV(bytes.fromhex(key)) for name, key in (k.split(" ") for k in keys)}
        self.current = keys[0].split(" ")[0]

    def open(self, organization, text):
        """epoch:tick:seq"""
        name, _, sealed = text.partition(".")
        sealed = base64.urlsafe_b64decode(sealed + "=")
        epoch, tick, seq = struct.unpack(">IQQ", self.keys[name].decrypt(sealed[8:], [uuid.UUID(organization).bytes, sealed[:8]]))
        return f"{epoch:x}:{tick}:{seq}"

    def seal(self, organization, text):
        epoch, tick, seq = text.split(":")
        nonce = os.urandom(8)
        sealed = self.keys[self.current].encrypt(struct.pack(">IQQ", int(epoch, 16), int(tick), int(seq)), [uuid.UUID(organization).bytes, nonce])
        return self.current + "." + base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


class Refused(Exception):
    """The answer was no stream: status, headers, problem."""

    def __init__(self, status, headers, body):
        super().__init__(f"{status} {body[:300]!r}")
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        return json.loads(self.body)["code"]


class Stream:
    path = "/events"

    def __init__(self, port, token=None, query="", headers=None, timeout_s=10, receive_buffer=None, wrap=None):
        self.timeout_s = timeout_s
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout_s)
        self.socket.connect(("127.0.0.1", port))
        if wrap:
            self.socket = wrap(self.socket)
        self.bytes = b""
        self.ended = False
        lines = [f"GET {self.path}{'?' + query if query else ''} HTTP/1.1", "Host: localhost"]
        if token:
            lines.append("Authorization: Bearer " + token)
        lines += [f"{k}: {v}" for k, v in {**self.own_headers(), **(headers or {})}.items()]
        self.socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.read_head()

    def own_headers(self):
        return {"Accept": "text/event-stream"}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def close(self):
        self.socket.close()

    def more(self, deadline):
        """Reads something; False: nothing came in time, or the end."""
        left = deadline - time.time()
        if left <= 0 or self.ended:
            return False
        self.socket.settimeout(left)
        try:
            got = self.socket.recv(262144)
        except TimeoutError:
            return False
        except (ConnectionResetError, ssl.SSLError):
            got = b""
        self.ended = self.ended or not got
        self.bytes += got
        return bool(got)

    def read_head(self):
        deadline = time.time() + self.timeout_s
        while b"\r\n\r\n" not in self.bytes and self.more(deadline):
            pass
        head, _, self.bytes = self.bytes.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1]) if lines[0] else 0
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}
        if self.status != self.good:
            while len(self.bytes) < int(self.headers.get("content-length", 0)) and self.more(deadline):
                pass
            self.socket.close()
            raise Refused(self.status, self.headers, self.bytes)

    def events(self, n, timeout_s=30):
        """The data of the next n events of the log; fewer when they do not come in time."""
        found = []
        deadline = time.time() + timeout_s
        while len(found) < n and time.time() < deadline:
            event = self.next(deadline - time.time())
            if event is None:
                break
            if self.is_event(event):
                found.append(self.payload_of(event))
        return found


class Sse(Stream):
    good = 200

    def __init__(self, *args, **kw):
        self.last_id = None
        self.retry = None
        self.start = None
        super().__init__(*args, **kw)
        deadline = time.time() + self.timeout_s
        while self.start is None and self.block(deadline) is not None:
            pass

    def block(self, deadline):
        """The next block of lines as a dict; None: none came. Comments are under ''."""
        while b"\n\n" not in self.bytes:
            if not self.more(deadline):
                return None
        text, _, self.bytes = self.bytes.partition(b"\n\n")
        fields = {}
        for line in text.decode().split("\n"):
            name, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            fields[name] = fields[name] + "\n" + value if name in fields and name == "data" else value
        if "id" in fields:
            self.last_id = fields["id"]
            if self.start is None:
                self.start = fields["id"]
        if "retry" in fields:
            self.retry = int(fields["retry"])
        return fields

    def next(self, timeout_s=30):
        deadline = time.time() + timeout_s
        while True:
            fields = self.block(deadline)
            if fields is None:
                return None
            if "data" in fields:
                return {"id": fields.get("id"), "event": fields.get("event", "message"), "data": json.loads(fields["data"])}

    is_event = staticmethod(lambda event: event["event"] == "message")
    payload_of = staticmethod(lambda event: event["data"])

    def closing(self, timeout_s=30):
        """Why it was closed; None: it was not in time. What comes before is dropped."""
        deadline = time.time() + timeout_s
        why = None
        while True:
            event = self.next(deadline - time.time())
            if event is None:
                return why if self.ended else None
            if event["event"] == "closing":
                why = event["data"]["code"]


class WebSocket(Stream):
    good = 101
    path = "/ws"

    def __init__(self, *args, key=None, **kw):
        self.key = key or base64.b64encode(os.urandom(16)).decode()
        self.close_code = None
        self.start = None
        super().__init__(*args, **kw)
        wanted = base64.b64encode(hashlib.sha1((self.key + GUID).encode()).digest()).decode()
        assert self.headers["sec-websocket-accept"] == wanted and self.headers["upgrade"] == "websocket", self.headers
        self.start = self.next()["position"]

    def own_headers(self):
        return {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": self.key}

    def send(self, opcode, payload=b"", head=0x80, mask=True):
        key = os.urandom(4)
        masked = bytes(b ^ key[i % 4] for i, b in enumerate(payload)) if mask else payload
        bit = 0x80 if mask else 0
        length = bytes([bit | len(payload)]) if len(payload) < 126 else bytes([bit | 126]) + struct.pack(">H", len(payload))
        try:
            self.socket.sendall(bytes([head | opcode]) + length + (key if mask else b"") + masked)
        except (BrokenPipeError, ConnectionResetError):
            pass    # what it said before it left is still to be read

    def frame(self, timeout_s=30):
        """(opcode, payload) of the next frame; None: none came."""
        deadline = time.time() + timeout_s
        while True:
            b = self.bytes
            if len(b) >= 2:
                short = b[1] & 0x7f
                at = 2 + (2 if short == 126 else 8 if short == 127 else 0)
                if len(b) >= at:
                    length = short if short < 126 else int.from_bytes(b[2:at], "big")
                    if len(b) >= at + length:
                        self.bytes = b[at + length:]
                        assert b[0] & 0xf0 == 0x80 and b[1] & 0x80 == 0, "a server's frames are whole and unmasked"
                        return b[0] & 15, b[at:at + length]
            if not self.more(deadline):
                return None

    def next(self, timeout_s=30):
        """The next message; pings are answered."""
        deadline = time.time() + timeout_s
        while True:
            frame = self.frame(deadline - time.time())
            if frame is None:
                return None
            opcode, payload = frame
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
            elif opcode == TEXT:
                return json.loads(payload.decode())

    is_event = staticmethod(lambda event: "control" not in event)
    payload_of = staticmethod(lambda event: event)

    def closing(self, timeout_s=30):
        deadline = time.time() + timeout_s
        why = None
        while True:
            message = self.next(deadline - time.time())
            if message is None:
                return why if self.close_code is not None or self.ended else None
            if message.get("control") == "closing":
                why = message["code"]
