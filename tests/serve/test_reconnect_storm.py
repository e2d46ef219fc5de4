"""Reconnect storms: a broker that goes away spreads its clients over time, and one that
has just started takes them all at once, reads each stream once, and gives each client
exactly what it missed."""

import json
import random
import re
import resource
import select
import socket
import time

import pytest

from harness import is_sanitizer_build, mint, numbers, receive, seconds, until, ws_path
from told import told, told_raw
from wire import TEXT, RawWs, upgrade_head

CLIENTS = 2000 if is_sanitizer_build() else 10_000
STREAMS = 20
EVENTS = 60


@pytest.fixture(autouse=True)
def descriptors():
    """Both ends of the connections are in processes that inherit this limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CLIENTS + 500:
        pytest.skip(f"only {hard} descriptors may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CLIENTS + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# Drain closes carry a hint when to come back.


def hint(reason):
    return int(re.search(r"\b(\d+) ms", reason)[1])


def test_drain_closes_carry_a_jittered_hint(start, stream):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=0)
    raw = [RawWs(broker, stream) for _ in range(60)]
    told_ = [RawWs(broker, stream, format="envelope") for _ in range(60)]
    broker.signal()
    hints = []
    for ws in raw:
        code, reason = ws.close_frame()
        assert code == 1001
        hints.append(hint(reason))
    for ws in told_:
        closing = told_raw(ws, "closing")[-1]
        assert ws.close_frame() == (1001, closing["reason"])
        assert hint(closing["reason"]) == closing["reconnect_ms"]
        hints.append(closing["reconnect_ms"])
    for ws in raw + told_:
        ws.close()
    assert len(set(hints)) > 100, "many are to come back in the same moment"
    assert all(0 < ms <= 10_000 for ms in hints)
    assert max(hints) - min(hints) > 2000, "they are not spread"
    assert broker.exit_code() == 0


# The storm.


def frame(text):
    return RawWs.encode(TEXT, text, mask=None)


class Storm:
    """Many raw sockets at once: each sends its handshake and keeps all that comes, until
    it has as many bytes as it expects behind the reply's head."""

    def __init__(self, port):
        self.port = port
        self.poll = select.epoll()
        self.clients = {}
        self.left = 0

    def join(self, head, expected):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(("127.0.0.1", self.port))
        self.clients[sock.fileno()] = [sock, head, b"", expected]
        self.poll.register(sock.fileno(), select.EPOLLOUT | select.EPOLLIN)
        self.left += 1

    def run(self, within):
        end = time.monotonic() + seconds(within)
        while self.left:
            assert time.monotonic() < end, f"{self.left} of {len(self.clients)} are not served"
            for fd, events in self.poll.poll(1):
                self.turn(fd, events)

    def turn(self, fd, events):
        sock, head, got, expected = client = self.clients[fd]
        if head and events & select.EPOLLOUT:
            assert sock.send(head) == len(head)
            client[1] = b""
            self.poll.modify(fd, select.EPOLLIN)
        if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            chunk = sock.recv(1 << 20)
            assert chunk, f"hung up: {got[-300:]}"
            client[2] = got = got + chunk
            if self.body(got) is not None and len(self.body(got)) >= len(expected):
                self.poll.modify(fd, 0)
                self.left -= 1

    @staticmethod
    def body(got):
        head, mark, body = got.partition(b"\r\n\r\n")
        assert not mark or head.startswith(b"HTTP/1.1 101 "), got[:300]
        return body if mark else None

    def check(self):
        for sock, _, got, expected in self.clients.values():
            assert self.body(got) == expected, "not exactly what it missed"

    def close(self):
        for sock, *_ in self.clients.values():
            sock.close()
        self.poll.close()


async def test_a_new_broker_takes_a_storm(start):
    redis = start.redis()
    first = start.broker(redis, BOND_DRAIN_SECONDS=0)
    streams = [f"storm-{i}" for i in range(STREAMS)]
    texts = [json.dumps({"n": n, "pad": "x" * 200}) for n in range(EVENTS)]
    ids = {name: redis.publish_all(name, texts) for name in streams}
    witness = await first.connect(streams[0], from_="first")
    assert await receive(witness, EVENTS) == texts
    first.signal()
    await witness.wait_closed()
    assert first.exit_code() == 0

    second = start.broker(redis, port=first.port_kept, BOND_WORKERS=2)
    frames = [frame(text) for text in texts]
    rng = random.Random(2000)
    tokens = {name: mint(name) for name in streams}
    calls = ("xrange", "xrevrange", "xread", "xinfo|stream")
    before = {name: redis.calls(name) for name in calls}
    storm = Storm(second.port)
    try:
        began = time.monotonic()
        for i in range(CLIENTS):
            name, had = streams[i % STREAMS], rng.randrange(EVENTS)
            path = ws_path(name, tokens[name], after=ids[name][had])
            storm.join(upgrade_head(path), b"".join(frames[had + 1 :]))
        storm.run(within=40)
        took = time.monotonic() - began
        reads = {name: redis.calls(name) - before[name] for name in calls}
        storm.check()

        # Once: a small page and then the rest. A sweep reads a stream a second besides.
        most = 2 * STREAMS + took + 2
        assert STREAMS <= reads["xrange"] <= most, reads
        assert reads["xinfo|stream"] <= most, reads
        assert reads["xrevrange"] <= STREAMS, "the entry before the window"
        assert reads["xread"] == 0, reads

        # They are live, all of them, and once.
        for name in streams:
            redis.publish(name, "live")
        for client in storm.clients.values():
            client[2], client[3] = b"HTTP/1.1 101 \r\n\r\n", frame("live")
            storm.poll.modify(client[0].fileno(), select.EPOLLIN)
            storm.left += 1
        storm.run(within=20)
        storm.check()
    finally:
        storm.close()
    assert second.ready() == 200


async def test_a_storm_in_the_envelope_while_events_go_on(start, stream):
    """Each resumes where it was, across the hand-over to live."""
    redis = start.redis()
    broker = start.broker(redis)
    ids = redis.publish_all(stream, [json.dumps({"n": n}) for n in range(300)])
    clients = []
    for i in range(100):
        had = i * 3
        clients.append((had, RawWs(broker, stream, format="envelope", after=ids[had])))
        redis.publish(stream, json.dumps({"n": 300 + i}))
    for had, ws in clients:
        got = told_raw(ws, "event", data={"n": 399})
        assert [m["data"]["n"] for m in got if m["type"] == "event"] == list(range(had + 1, 400))
        assert sum(m["type"] == "live" for m in got) == 1
        assert not any(m["type"] == "gap" for m in got)
        ws.close()


async def test_who_waits_as_it_was_told_misses_nothing(start, stream):
    """A client of the envelope that follows `closing`: last, and reconnect_ms."""
    redis = start.redis()
    broker = start.broker(redis, BOND_DRAIN_SECONDS=0)
    got, query = [], {"from_": "first"}
    for round_ in range(2):
        redis.publish(stream, json.dumps({"n": round_}))
        async with broker.connect(stream, format="envelope", **query) as ws:
            got += [m for m in await told(ws, "live") if m["type"] == "event"]
            broker.signal()
            closing = (await told(ws, "closing"))[-1]
        assert broker.exit_code() == 0
        query = {"after": closing["last"]}
        broker = start.broker(redis, port=broker.port_kept, BOND_DRAIN_SECONDS=0)
    redis.publish(stream, json.dumps({"n": 2}))
    async with broker.connect(stream, format="envelope", **query) as ws:
        got += await told(ws, "event")
    assert [m["data"]["n"] for m in got if m["type"] == "event"] == [0, 1, 2]


async def test_closing_names_a_place_even_for_who_has_had_nothing(start, stream):
    """It was live, and nothing came: to resume from there loses nothing either."""
    redis = start.redis()
    old = redis.publish(stream, "1", id=f"{int(time.time() * 1000) - 50_000}-0")
    broker = start.broker(redis, BOND_DRAIN_SECONDS=0, BOND_RING_SECONDS=5)
    async with broker.connect(stream, format="envelope") as ws:
        await told(ws, "live")
        broker.signal()
        closing = (await told(ws, "closing"))[-1]
    assert closing["last"] == old
    assert broker.exit_code() == 0


async def test_raw_clients_of_a_killed_broker(start, stream):
    """No close, no hint: they know their last id by themselves, and come at once."""
    redis = start.redis()
    first = start.broker(redis)
    ids = redis.publish_all(stream, [json.dumps({"n": n}) for n in range(50)])
    clients = [await first.connect(stream, from_="first") for _ in range(30)]
    for ws in clients:
        await receive(ws, 50)
    first.signal(9)
    first.exit_code()
    redis.publish_all(stream, [json.dumps({"n": n}) for n in range(50, 60)])
    second = start.broker(redis, port=first.port_kept)
    for _ in clients:
        async with second.connect(stream, after=ids[-1]) as ws:
            assert numbers(await receive(ws, 10)) == list(range(50, 60))
    await until(lambda: second.ready() == 200, "it is not ready")
    for ws in clients:
        await ws.close()
