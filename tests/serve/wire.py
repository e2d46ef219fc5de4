"""Clients that speak bytes: HTTP and WebSocket as a test wants them, right or wrong."""

import base64
import json
import os
import socket
import struct
from dataclasses import dataclass

from harness import seconds, ws_path

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 s. 1.3 …
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # … and its answer


class Hangup(ConnectionError):
    """The broker closed the connection before all of it had come."""


@dataclass
class Reply:
    status: int
    reason: str
    headers: dict  # names in lower case
    body: bytes

    def json(self):
        return json.loads(self.body)


class Refused(AssertionError):
    """No WebSocket came of it; .reply says why."""

    def __init__(self, reply):
        super().__init__(f"{reply.status}: {reply.body}")
        self.reply = reply


@dataclass
class Frame:
    fin: bool
    rsv: int
    opcode: int
    payload: bytes
    header_len: int = 0


class Wire:
    """One TCP connection. rcvbuf: a small receive buffer, for clients that read little."""

    def __init__(self, port, rcvbuf=None):
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(seconds(10))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", port))
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Ends with RST, as a client that crashed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_bytewise(self, data):
        """Each byte in a segment of its own."""
        for i in range(len(data)):
            self.sock.sendall(data[i : i + 1])

    def _more(self):
        chunk = self.sock.recv(65536)
        if not chunk:
            raise Hangup(f"hung up; {len(self.buffer)} bytes before: {self.buffer[:80]!r}")
        self.buffer += chunk

    def read(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_to(self, mark):
        while mark not in self.buffer:
            self._more()
        end = self.buffer.index(mark) + len(mark)
        return self.read(end)

    def rest(self):
        """All that still comes until the broker hangs up (or resets)."""
        try:
            while True:
                self._more()
        except (Hangup, ConnectionResetError):
            data, self.buffer = self.buffer, b""
            return data

    def hung_up(self):
        """The broker closes, and nothing comes before."""
        return self.rest() == b""

    # HTTP

    def reply(self, method="GET"):
        head = self.read_to(b"\r\n\r\n").decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        version, status, reason = status_line.split(" ", 2)
        assert version == "HTTP/1.1", status_line
        headers = {}
        for line in lines:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
        assert "date" in headers, f"a reply of a server that has a clock: {head}"
        body = b""
        if method != "HEAD" and headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif method != "HEAD":
            body = self.read(int(headers.get("content-length", "0")))
        return Reply(int(status), reason, headers, body)

    def _chunks(self):
        """A body in chunks (RFC 9112 s. 7.1), without extensions and trailers."""
        body = b""
        while size := int(self.read_to(b"\r\n"), 16):
            body += self.read(size)
            assert self.read(2) == b"\r\n"
        assert self.read(2) == b"\r\n"
        return body


def request(port, method, path, headers=(), body=b""):
    """One request on a connection of its own."""
    with Wire(port) as wire:
        lines = [f"{method} {path} HTTP/1.1", "Host: broker", "Connection: close", *headers]
        wire.send("\r\n".join([*lines, "", ""]).encode() + body)
        return wire.reply(method)


def get(port, path, *headers):
    return request(port, "GET", path, headers)


def upgrade_head(path, headers=(), version="13", key=KEY, http="HTTP/1.1"):
    """A WebSocket handshake; version=None or key=None leave that header out."""
    lines = [f"GET {path} {http}", "Host: broker", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}"] if key is not None else []
    lines += [f"Sec-WebSocket-Version: {version}"] if version is not None else []
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def upgrade(port, path, headers=(), **head):
    """Asks for a WebSocket and gives the reply, whatever it is."""
    with Wire(port) as wire:
        wire.send(upgrade_head(path, headers, **head))
        return wire.reply()


def refusal(reply, status, code):
    """Checks a refusal: its status, and JSON with exactly that code and a sentence."""
    assert reply.status == status, (reply.status, reply.body)
    assert reply.headers["content-type"].split(";")[0] == "application/json"
    answer = reply.json()
    assert set(answer) == {"error", "detail"}, answer
    assert answer["error"] == code, answer
    assert " " in answer["detail"], f"no sentence: {answer}"
    return answer["detail"]


class RawWs(Wire):
    """A WebSocket without any library: frames of every kind, also those that no
    client should send."""

    rsv = (0,)  # the reserved bits that may come

    def __init__(self, broker, stream, rcvbuf=None, headers=(), **query):
        super().__init__(broker.port, rcvbuf)
        self.send(upgrade_head(ws_path(stream, **query), headers))
        self.handshake = self.reply()
        if self.handshake.status != 101:
            self.close()
            raise Refused(self.handshake)
        assert self.handshake.headers["sec-websocket-accept"] == ACCEPT

    @staticmethod
    def encode(opcode, payload=b"", fin=True, rsv=0, mask=b"\x37\xfa\x21\x3d", length=None):
        """mask=None: unmasked. length: 7, 16 or 64 forces the form of the length field."""
        payload = payload.encode() if isinstance(payload, str) else payload
        n = len(payload)
        length = length or (7 if n < 126 else 16 if n < 65536 else 64)
        flag = 0x80 if mask else 0
        head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
        if length == 7:
            head += bytes([flag | n])
        elif length == 16:
            head += bytes([flag | 126]) + struct.pack("!H", n)
        else:
            head += bytes([flag | 127]) + struct.pack("!Q", n)
        if not mask:
            return head + payload
        keys = (mask * (n // 4 + 1))[:n]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(n, "big")
        return head + mask + masked

    def frame(self, opcode, payload=b"", **how):
        self.send(self.encode(opcode, payload, **how))

    def next_frame(self):
        first, second = self.read(2)
        assert not second & 0x80, "a server masks nothing"
        n, header_len = second & 0x7F, 2
        if n == 126:
            n, header_len = struct.unpack("!H", self.read(2))[0], 4
            assert n >= 126, "not the shortest form"
        elif n == 127:
            n, header_len = struct.unpack("!Q", self.read(8))[0], 10
            assert n >= 65536, "not the shortest form"
        frame = Frame(
            bool(first & 0x80), first >> 4 & 7, first & 15, self.read(n), header_len
        )
        assert frame.rsv in self.rsv and frame.opcode in (CONT, TEXT, BINARY, CLOSE, PING, PONG), frame
        assert frame.opcode < CLOSE or (frame.fin and n <= 125), frame
        return frame

    def next_text(self):
        """The next event; pings on the way are answered."""
        while True:
            frame = self.next_frame()
            if frame.opcode == PING:
                self.frame(PONG, frame.payload)
                continue
            assert frame.opcode == TEXT and frame.fin, frame
            return frame.payload.decode()

    def close_frame(self):
        """Reads on to the broker's close frame: (code, reason); (None, "") for an empty one."""
        while True:
            frame = self.next_frame()
            if frame.opcode == CLOSE:
                if not frame.payload:
                    return None, ""
                code = struct.unpack("!H", frame.payload[:2])[0]
                reason = frame.payload[2:].decode()
                assert len(frame.payload) <= 125 and len(frame.payload[2:]) <= 123
                return code, reason

    def send_close(self, code=1000, reason=""):
        self.frame(CLOSE, struct.pack("!H", code) + reason.encode())


def websocket_key():
    return base64.b64encode(os.urandom(16)).decode()
