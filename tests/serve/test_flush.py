"""BOND_FLUSH_MS: what comes within that time leaves in one write. Off unless asked for."""

import asyncio
import json
import time

from harness import receive, seconds
from told import told

FLUSH_S = 1.0


async def arrivals(ws, count):
    """(event, when it came)."""
    return [((await receive(ws, 1))[0], time.monotonic()) for _ in range(count)]


async def test_the_first_comes_at_once_and_the_rest_together(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_FLUSH_MS=int(FLUSH_S * 1000))
    async with broker.connect(stream) as ws:
        for n in range(2):
            began = time.monotonic()
            redis.publish(stream, f"{n} first")
            [(event, first)] = await arrivals(ws, 1)
            assert event == f"{n} first"
            assert first - began < seconds(FLUSH_S / 2), "nothing was under way: it need not wait"
            rest = [f"{n} {i}" for i in range(10)]
            for event in rest:
                redis.publish(stream, event)
                await asyncio.sleep(0.005)
            got = await arrivals(ws, 10)
            assert [event for event, _ in got] == rest
            assert got[0][1] - first > FLUSH_S * 0.6
            assert got[-1][1] - got[0][1] < FLUSH_S / 2, "they did not come together"
            await asyncio.sleep(FLUSH_S * 1.2)


async def test_without_it_nothing_waits(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        for i in range(20):
            began = time.monotonic()
            redis.publish(stream, str(i))
            assert await receive(ws, 1) == [str(i)]
            assert time.monotonic() - began < seconds(FLUSH_S / 2)


async def test_a_replay_does_not_wait(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_FLUSH_MS=1000)
    events = [json.dumps({"n": n, "pad": "x" * 10_000}) for n in range(500)]
    redis.publish_all(stream, events)
    async with broker.connect(stream, from_="first") as ws:
        began = time.monotonic()
        assert await receive(ws, 500) == events
        assert time.monotonic() - began < seconds(3), "twenty writes, a second each?"


async def test_each_stream_and_each_newcomer_has_its_own_time(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_FLUSH_MS=1000)
    async with broker.connect(f"{stream}-1") as one, broker.connect(f"{stream}-2") as two:
        began = time.monotonic()
        redis.publish(f"{stream}-1", "one")
        assert await receive(one, 1) == ["one"]
        redis.publish(f"{stream}-2", "two")
        assert await receive(two, 1) == ["two"]
        async with broker.connect(f"{stream}-1", format="envelope", from_="first") as late:
            assert (await told(late, "event"))[-1]["data"] == "one"
        assert time.monotonic() - began < seconds(0.9)


async def test_a_drain_sends_what_waits(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_FLUSH_MS=1000, BOND_DRAIN_SECONDS=0)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "1")
        assert await receive(ws, 1) == ["1"]
        redis.publish(stream, "2")
        await asyncio.sleep(0.1)
        broker.signal()
        assert await receive(ws, 1) == ["2"]
        await ws.wait_closed()
        assert ws.close_code == 1001
    assert broker.exit_code() == 0
