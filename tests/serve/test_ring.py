"""The ring: read from Redis once, shared by all clients, and within its limits."""

import asyncio
import json

import pytest

from harness import receive, receive_up_to, until

READS = ("xrange", "xread", "xrevrange", "xinfo", "xinfo|stream")


async def test_a_reconnect_storm_reads_redis_once(start, stream):
    """The first client primes the ring; the next hundred cost Redis nothing."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=2)
    events = [json.dumps({"i": i}) for i in range(500)]
    ids = redis.publish_all(stream, events)
    async with broker.connect(stream, from_="first") as first:
        assert await receive(first, 500) == events
        before = redis.calls(*READS)

        async def returns(i):
            async with broker.connect(stream, after=ids[i]) as ws:
                return await receive(ws, 499 - i)

        storm = await asyncio.gather(*(returns(4 * i) for i in range(100)))
        reads = redis.calls(*READS) - before
    for i, got in enumerate(storm):
        assert got == events[4 * i + 1 :]
    assert reads <= 10, f"{reads} reads for 100 clients"


async def test_a_storm_on_a_broker_that_has_just_started(start, stream):
    """All at once, none before: still one priming, not one each."""
    redis = start.redis()
    events = [str(i) for i in range(200)]
    redis.publish_all(stream, events)
    broker = start.broker(redis, BOND_WORKERS=2)
    before = redis.calls(*READS)

    async def client():
        async with broker.connect(stream, from_="first") as ws:
            return await receive(ws, 200)

    assert await asyncio.gather(*(client() for _ in range(100))) == [events] * 100
    reads = redis.calls(*READS) - before
    assert reads <= 10, f"{reads} reads for 100 clients"


async def test_the_ring_outlives_its_last_client_for_a_while(start, stream):
    """A lone client that reconnects finds the ring as it left it."""
    redis = start.redis()
    broker = start.broker(redis)
    ids = redis.publish_all(stream, ["1", "2", "3"])
    async with broker.connect(stream, from_="first") as ws:
        assert await receive(ws, 3) == ["1", "2", "3"]
    redis.publish(stream, "4")
    async with broker.connect(stream, after=ids[2]) as ws:
        redis.publish(stream, "5")
        assert await receive(ws, 2) == ["4", "5"]


async def test_the_ring_keeps_what_redis_has_trimmed(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        for i in range(300):
            redis.client.xadd(f"stream:{stream}", {"data": str(i)}, maxlen=10, approximate=False)
            assert await receive(ws, 1) == [str(i)]
        async with broker.connect(stream, from_="first") as late:
            assert await receive(late, 300) == [str(i) for i in range(300)]


@pytest.mark.parametrize("primed", [True, False], ids=["from-redis", "live"])
async def test_ring_bytes_bound_what_a_replay_holds(start, stream, primed):
    """The newest events stay, in order, up to the end."""
    limit = 256 * 1024
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=limit)
    events = [f"{i:05d} " + "x" * 2042 for i in range(600)]  # 1.2 MiB
    if primed:
        redis.publish_all(stream, events)
    async with broker.connect(stream) as witness:
        if not primed:
            for at in range(0, 600, 50):
                redis.publish_all(stream, events[at : at + 50])
                await receive(witness, 50)
        async with broker.connect(stream, from_="first") as ws:
            redis.publish(stream, "live")
            got = (await receive_up_to(ws, "live"))[:-1]
    assert got == events[-len(got) :], "not the newest, or not in order"
    held = sum(map(len, got))
    assert limit / 2 <= held <= limit * 1.1, f"{held} bytes held with a limit of {limit}"


async def test_an_event_larger_than_the_ring_still_arrives(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=64 * 1024)
    async with broker.connect(stream) as ws:
        for i in range(3):
            event = str(i) * 200_000
            redis.publish(stream, event)
            assert await receive(ws, 1) == [event]
        redis.publish(stream, "small")
        assert await receive(ws, 1) == ["small"]


async def test_an_event_over_the_limit_is_skipped_and_logged(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_EVENT_BYTES=10_000)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "f" * 10_000)
        id_ = redis.publish(stream, "x" * 10_001)
        redis.publish(stream, "small")
        assert await receive(ws, 2) == ["f" * 10_000, "small"]
    assert broker.wait_log([stream, id_])["level"] == "warn"


async def test_memory_bytes_bound_all_rings_together(start, stream):
    """BOND_MEMORY_BYTES: many streams, each within its own limit, do not add up without end."""
    limit = 1024 * 1024
    redis = start.redis()
    broker = start.broker(redis, BOND_MEMORY_BYTES=limit)
    names = [f"{stream}-{i}" for i in range(8)]
    sockets = []
    for name in names:
        ws = await broker.connect(name)
        redis.publish_all(name, [f"{i:03d} " + "x" * 4092 for i in range(100)])  # 400 KiB
        await receive(ws, 100)
        sockets.append(ws)
    held = 0
    for name in names:
        # slow=skip: this very event may push out what the client has not had yet.
        async with broker.connect(name, from_="first", slow="skip") as late:
            redis.publish(name, "live")
            got = await receive_up_to(late, "live")
            held += sum(map(len, got))
    assert held <= limit * 1.25, f"{held} bytes held with a limit of {limit}"
    await until(lambda: broker.ready() == 200, "the broker is not ready")
    for ws in sockets:
        await ws.close()


async def test_a_window_of_large_events_is_bounded_too(start, stream):
    """48 MiB in Redis, a ring of 4: the newest come, and Redis is not asked for ever."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=4 << 20)
    for i in range(48):
        redis.publish(stream, f"{i} ".ljust(1 << 20, "x"))
    async with broker.connect(stream, from_="first") as ws:
        redis.publish(stream, "live")
        got = await receive_up_to(ws, "live")
    kept = [int(event.split()[0]) for event in got[:-1]]
    assert 2 <= len(kept) <= 4
    assert kept == list(range(48 - len(kept), 48))


async def test_a_window_larger_than_one_reply(start, stream):
    """Priming goes through Redis in pieces; nothing falls between them."""
    redis = start.redis()
    broker = start.broker(redis)
    events = [str(i) for i in range(20_000)]
    for at in range(0, len(events), 1000):
        redis.publish_all(stream, events[at : at + 1000])
    async with broker.connect(stream, from_="first") as ws:
        redis.publish(stream, "live")
        assert (await receive_up_to(ws, "live", within=30)) == [*events, "live"]


async def test_a_client_that_reads_loses_nothing_to_small_rings(start, stream):
    """Many streams share little memory, and one read of Redis brings more than a ring
    holds: raw clients that read at once are not closed for what left in the same turn."""
    redis = start.redis()
    broker = start.broker(redis, BOND_MEMORY_BYTES=262144, BOND_RING_BYTES=65536)
    names = [f"{stream}-{i}" for i in range(6)]
    sockets = [await broker.connect(name) for name in names]
    for turn in range(20):
        events = [f"{turn} {i} ".ljust(3000, "x") for i in range(30)]  # 90 KB a stream
        pipe = redis.client.pipeline(transaction=True)
        for event in events:
            for name in names[:1] if turn % 2 else names:
                pipe.xadd(f"stream:{name}", {"data": event})
        pipe.execute()
        for ws in sockets[:1] if turn % 2 else sockets:
            assert await receive(ws, len(events)) == events
    for ws in sockets:
        await ws.close()
