"""Everything at once: clients of all kinds come, stall, misbehave and go, while streams are
written, deleted and trimmed and the path to Redis breaks. No order of these things may hurt
the broker, or a client that does nothing wrong. A failure prints its seed."""

import asyncio
import os
import random
import secrets
import time

import pytest

from harness import Publisher, numbers, receive_up_to, until, ws_path
from wire import CLOSE, PING, TEXT, RawWs, Wire, upgrade_head


class Crowd:
    """Raw clients, each step of which is drawn by lot."""

    def __init__(self, broker, streams, rng):
        self.broker, self.streams, self.rng = broker, streams, rng
        self.clients = []

    def come(self):
        query = {}
        if self.rng.random() < 0.6:
            query["from_"] = self.rng.choice(["first", "last", "now-1s", "now-200ms", "0"])
        if self.rng.random() < 0.5:
            query["slow"] = self.rng.choice(["skip", "close"])
        wire = Wire(self.broker.port, rcvbuf=self.rng.choice([None, 4096]))
        wire.send(upgrade_head(ws_path(self.rng.choice(self.streams), **query)))
        wire.sock.setblocking(False)
        self.clients.append(wire)

    def read(self):
        """Some read a little, some nothing."""
        try:
            while self.rng.random() < 0.7 and self.rng.choice(self.clients).sock.recv(20_000):
                pass
        except OSError:
            pass

    def speak(self):
        good = [RawWs.encode(TEXT, b"hello"), RawWs.encode(PING, b"?"), RawWs.encode(PING) * 50]
        bad = [RawWs.encode(3), RawWs.encode(TEXT, b"\xff"), self.rng.randbytes(40)]
        bye = [RawWs.encode(CLOSE, b"\x03\xe8")]
        part = RawWs.encode(TEXT, b"cut off")[: self.rng.randrange(13)]
        try:
            self.rng.choice(self.clients).send(self.rng.choice([*good, *good, *bad, *bye, part]))
        except OSError:
            pass

    def go(self):
        wire = self.clients.pop(self.rng.randrange(len(self.clients)))
        self.rng.choice([wire.close, wire.reset])()

    def all_go(self):
        for wire in self.clients:
            wire.close()


@pytest.mark.parametrize("workers", [1, 3])
async def test_churn(start, workers):
    seed = int(os.environ.get("BOND_CHURN_SEED", secrets.randbits(32)))
    lasting = float(os.environ.get("BOND_CHURN_SECONDS", "5"))
    print(f"BOND_CHURN_SEED={seed}")
    rng = random.Random(seed)
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(
        proxy,
        BOND_WORKERS=workers,
        BOND_RING_SECONDS=3,
        BOND_RING_BYTES=256 * 1024,
        BOND_PING_SECONDS=1,
        BOND_PONG_SECONDS=1,
    )
    streams = [f"churn-{i}" for i in range(6)]
    crowd = Crowd(broker, streams, rng)

    def write():
        size = rng.choice([10, 300, 300, 5000, 100_000])
        redis.publish_all(rng.choice(streams), ["x" * size] * rng.randrange(1, 10))

    def disturb():
        key = f"stream:{rng.choice(streams)}"
        rng.choice(
            [
                lambda: redis.client.delete(key),
                lambda: redis.client.xtrim(key, maxlen=rng.randrange(3)),
                lambda: redis.client.xadd(key, {"no": "data"}),
                lambda: redis.client.xadd(key, {"data": b"\xff"}),
                proxy.cut,
            ]
        )()

    # A well-behaved client, of a stream that nobody disturbs.
    async with broker.connect("calm") as ws:
        collecting = asyncio.create_task(receive_up_to(ws, "end", within=60))
        with Publisher(redis, "calm", rate=200) as publisher:
            end = time.monotonic() + lasting
            while time.monotonic() < end:
                assert broker.alive(), broker.log_text()[-3000:]
                if len(crowd.clients) < 5 or (len(crowd.clients) < 60 and rng.random() < 0.25):
                    crowd.come()
                crowd.read()
                crowd.speak()
                if rng.random() < 0.5:
                    write()
                if rng.random() < 0.2:
                    crowd.go()
                if rng.random() < 0.05:
                    disturb()
                await asyncio.sleep(0)
            sent = publisher.stop()
        redis.publish("calm", "end")
        got = numbers((await collecting)[:-1])
    assert got == sent, "a client that did nothing wrong lost events"
    crowd.all_go()

    # And it is still itself. What was written last may be more than the small ring holds.
    await until(lambda: broker.ready() == 200, "it is not ready any more", within=15)
    for name in streams:
        async with broker.connect(name, slow="skip") as ws:
            redis.publish(name, "to the last")
            assert (await receive_up_to(ws, "to the last"))[-1] == "to the last"
