"""Large events over a slow path to Redis: what one stream brings takes long, and must
neither break the connection for all others again and again, nor be asked for all at once."""

import asyncio
import socket
import threading
import time

import pytest

from harness import Proxy, receive, until

SIZE = 1 << 20
COUNT = 16
BYTES_PER_SECOND = 12 << 20
# A page as it was once, 32 entries or all that there are, takes longer than the broker
# waits for one answer; the smallest page that it can ask for takes a third of that.
TIMEOUT_MS = 1200


class SlowProxy(Proxy):
    """What Redis says passes at BYTES_PER_SECOND, all connections together, and while there
    is a budget, only so many bytes more."""

    budget = None

    def __init__(self, target):
        self.lock = threading.Lock()
        self.next_at = 0
        self.near = set()
        super().__init__(target)

    def _pump(self, source, sink, *_):
        """Little is kept on the way, so that the sender feels the path's pace."""
        comes_from_redis = source.getpeername()[1] == self.target
        if comes_from_redis:
            source.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        try:
            while data := source.recv(65536):
                if comes_from_redis:
                    self._wait_for(len(data))
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _wait_for(self, count):
        while self.budget is not None and self.budget < count:
            time.sleep(0.01)
        with self.lock:
            if self.budget is not None:
                self.budget -= count
            begin = max(time.monotonic(), self.next_at)
            self.next_at = begin + count / BYTES_PER_SECOND
        time.sleep(max(0, self.next_at - time.monotonic()))


def big(n):
    return f"{n} ".ljust(SIZE, "x")


@pytest.fixture
def slow(start):
    redis = start.redis()
    proxy = start._keep(SlowProxy(redis.port))
    broker = start.broker(
        proxy,
        BOND_REDIS_TIMEOUT_MS=TIMEOUT_MS,
        BOND_RING_BYTES=COUNT * SIZE * 2,
        BOND_MEMORY_BYTES=COUNT * SIZE * 4,
    )
    return redis, broker, proxy


async def test_a_replay_of_large_events_over_a_slow_path(slow, stream):
    redis, broker, _ = slow
    events = [big(n) for n in range(COUNT)]
    redis.publish_all(stream, events)
    async with broker.connect("other") as other:
        async with broker.connect(stream, from_="first") as ws:
            redis.publish("other", "meanwhile")
            got, others = await asyncio.gather(
                receive(ws, COUNT, within=40), receive(other, 1, within=40)
            )
    assert got == events
    assert others == ["meanwhile"]


async def test_large_events_that_come_at_once_over_a_slow_path(slow, stream):
    redis, broker, _ = slow
    events = [big(n) for n in range(COUNT)]
    async with broker.connect(stream) as ws, broker.connect("other") as other:
        redis.publish_all(stream, events)
        redis.publish("other", "meanwhile")
        got, others = await asyncio.gather(
            receive(ws, COUNT, within=40), receive(other, 1, within=40)
        )
    assert got == events
    assert others == ["meanwhile"]


async def test_large_streams_are_not_all_asked_for_at_once(slow, stream):
    """Of twelve large streams to read again, a few are asked for until their answers come:
    what Redis and the broker have to hold for answers is bounded."""
    redis, broker, proxy = slow
    names = [f"{stream}-{n}" for n in range(12)]
    sockets = [await broker.connect(name) for name in names]
    for name, ws in zip(names, sockets):
        redis.publish(name, big(0))
        await receive(ws, 1)
    downs = len(broker.log("redis_down"))
    before = redis.calls("xrange")
    proxy.budget = 100_000  # a greeting passes, and no event
    proxy.cut()
    await until(lambda: len(broker.log("redis_down")) >= downs + 2, "it does not give up")
    assert 1 <= redis.calls("xrange") - before <= 4
    proxy.budget = None
    for name, ws in zip(names, sockets):
        redis.publish(name, "goes on")
        assert await receive(ws, 1, within=40) == ["goes on"]
        await ws.close()
