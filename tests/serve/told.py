"""What the broker tells a client of itself: the envelope's messages, and the fields of
server-sent events."""

import asyncio
import json

from harness import mint, seconds, ws_path
from wire import RawWs, Wire

FIELDS = {  # the contract's table, field by field
    "hello": {"type", "stream", "first", "last", "ring_seconds"},
    "event": {"type", "stream", "id", "data"},
    "live": {"type", "stream", "id"},
    "gap": {"type", "stream", "after", "before", "reason", "missed"},
    "stale": {"type", "state", "for_ms"},
    "ok": {"type", "state"},
    "expiring": {"type", "in_s"},
    "closing": {"type", "code", "reason", "last", "reconnect_ms"},
}


def checked(text):
    """A message of the envelope, with exactly the fields that its type has."""
    message = json.loads(text)
    kind = message["state"] if message["type"] == "source" else message["type"]
    paced = {"skipped"} if kind == "event" and message.get("skipped", 0) > 0 else set()
    assert set(message) == FIELDS[kind] | paced, message
    return message


def gap(stream, after, before, reason, missed):
    return {
        "type": "gap",
        "stream": stream,
        "after": after,
        "before": before,
        "reason": reason,
        "missed": missed,
    }


def ids(messages):
    return [m["id"] for m in messages if m["type"] == "event"]


def gaps(messages):
    return [m for m in messages if m["type"] == "gap"]


def kinds(messages):
    return [m["type"] for m in messages]


async def told(ws, kind, within=10, **fields):
    """All messages up to the first of that type with these fields, that one included."""
    got = []
    try:
        async with asyncio.timeout(seconds(within)):
            while not got or got[-1]["type"] != kind or not fields.items() <= got[-1].items():
                got.append(checked(await ws.recv()))
    except TimeoutError:
        raise AssertionError(f"no {kind} {fields} came, but {got}") from None
    return got


def told_raw(ws, kind, **fields):
    """The same from a RawWs."""
    got = []
    while not got or got[-1]["type"] != kind or not fields.items() <= got[-1].items():
        got.append(checked(ws.next_text()))
    return got


def sse_path(stream, token=None, **query):
    return "/sse" + ws_path(stream, token, **query).removeprefix("/ws")


def history_path(stream, token=None, **query):
    return "/history" + ws_path(stream, token, **query).removeprefix("/ws")


class Sse(Wire):
    """An event stream, read as the HTML standard says; .reply is its head."""

    def __init__(self, broker, stream, headers=(), rcvbuf=None, **query):
        super().__init__(broker.port, rcvbuf)
        lines = [f"GET {sse_path(stream, **query)} HTTP/1.1", "Host: broker", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode())
        self.reply = self.reply()
        self.retry = None
        self.last_event_id = ""

    def block(self):
        """The lines up to the next empty one, as they are."""
        return self.read_to(b"\n\n")[:-2].decode().split("\n")

    def line(self):
        return self.read_to(b"\n")[:-1].decode()

    def next(self):
        """The next event: {"event", "id", "data"}. `id` is what the event itself carries.
        Lines count as they come: a `retry` needs no empty line behind it."""
        event, data = {"event": "message", "id": None}, []
        while True:
            line = self.line()
            field, _, value = line.partition(": ")
            if line == "" and data:
                return event | {"data": "\n".join(data)}
            if line == "":
                event, data = {"event": "message", "id": None}, []
            elif field == "data":
                data.append(value)
            elif field == "event":
                event["event"] = value
            elif field == "id":
                event["id"] = self.last_event_id = value
            elif field == "retry":
                self.retry = int(value)
            else:
                assert line == ":", f"an unknown field: {line!r}"

    def up_to(self, kind):
        got = [self.next()]
        while got[-1]["event"] != kind:
            got.append(self.next())
        return got

    def events(self, count):
        """The data of the next `count` events, whatever stands between them."""
        got = []
        while len(got) < count:
            event = self.next()
            if event["event"] == "message":
                got.append(event["data"])
        return got


def auth(stream, **how):
    return json.dumps({"type": "auth", "token": mint(stream, **how)})


def flood(redis, broker, stream, count=1500, size=8000):
    """More than a small ring and the kernel hold, at a witness's pace; the events' ids."""
    published = []
    with RawWs(broker, stream) as witness:
        for _ in range(0, count, 5):
            published += redis.publish_all(stream, [json.dumps("x" * size)] * 5)
            for _ in range(5):
                witness.next_text()
    return published
