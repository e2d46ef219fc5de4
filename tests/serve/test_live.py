"""Live: each event that Redis takes reaches each client, as it was published, in order,
once."""

import asyncio
import json
import random

import pytest

from harness import Publisher, numbers, receive, receive_up_to, until
from wire import RawWs


async def test_an_event_arrives_byte_for_byte(broker, redis, stream):
    events = [
        '{"price": 42.50,  "big":12345678901234567890, "e":1E5}',
        '{"b":1,"a":2,"b":3}',
        ' [1, 2 ,3]\n',
        '"text"',
        "null",
        '{"nested":{"ü":"流 🔑","esc":"\\u00fc\\/"}}',
    ]
    async with broker.connect(stream) as ws:
        for event in events:
            redis.publish(stream, event)
        assert await receive(ws, len(events)) == events


async def test_what_was_there_before_does_not_come(broker, redis, stream):
    redis.publish(stream, "before")
    async with broker.connect(stream) as ws:
        redis.publish(stream, "after")
        assert await receive(ws, 1) == ["after"]


async def test_an_event_after_the_handshake_is_never_missed(broker, redis):
    """The first broker read from `$`, and lost what came between two reads."""
    for i in range(30):
        name = f"fresh-{i}-{random.getrandbits(32)}"
        if i % 2:
            redis.publish(name, "old")
        async with broker.connect(name) as ws:
            redis.publish(name, "first")
            assert await receive(ws, 1) == ["first"]


async def test_a_stream_that_does_not_exist_yet_gets_its_first_event(broker, redis, stream):
    async with broker.connect(stream) as early, broker.connect(stream, from_="now-60s") as asked:
        assert not redis.client.exists(f"stream:{stream}")
        redis.publish(stream, "the very first")
        assert await receive(early, 1) == ["the very first"]
        assert await receive(asked, 1) == ["the very first"]


async def test_many_clients_get_the_same(broker, redis, stream):
    async with asyncio.TaskGroup() as tasks:
        ready = asyncio.Semaphore(0)

        async def client():
            async with broker.connect(stream) as ws:
                ready.release()
                return await receive_up_to(ws, "end")

        clients = [tasks.create_task(client()) for _ in range(100)]
        for _ in clients:
            await ready.acquire()
        events = [json.dumps({"i": i}) for i in range(50)] + ["end"]
        redis.publish_all(stream, events)
    assert all(task.result() == events for task in clients)


async def test_streams_do_not_mix(broker, redis, stream):
    names = [f"{stream}-{i}" for i in range(20)]
    sockets = [await broker.connect(name) for name in names]
    for round_ in range(5):
        for name in names:
            redis.publish(name, f"{name} {round_}")
    for name, ws in zip(names, sockets):
        assert await receive(ws, 5) == [f"{name} {round_}" for round_ in range(5)]
        await ws.close()


async def test_a_client_may_have_two_connections_to_a_stream(broker, redis, stream):
    async with broker.connect(stream) as one, broker.connect(stream) as two:
        redis.publish(stream, "both")
        assert await receive(one, 1) == await receive(two, 1) == ["both"]


async def test_a_client_that_leaves_does_not_disturb_the_others(broker, redis, stream):
    async with broker.connect(stream) as stays:
        for i in range(20):
            leaves = RawWs(broker, stream)
            redis.publish(stream, f"event {i}")
            leaves.reset() if i % 2 else leaves.close()
        assert await receive(stays, 20) == [f"event {i}" for i in range(20)]


async def test_what_clients_say_means_nothing(broker, redis, stream):
    async with broker.connect(stream) as ws:
        await ws.send('{"type":"subscribe"}')
        await ws.send(b"\x00\xff binary")
        await ws.send("")
        await ws.send("x" * 60_000)
        redis.publish(stream, "an event")
        assert await receive(ws, 1) == ["an event"]


async def test_the_api_deletes_the_stream_and_makes_it_anew(broker, redis, stream):
    """Bond's stop and restart of a stream: clients stay and go on receiving."""
    async with broker.connect(stream) as ws:
        for round_ in range(5):
            redis.publish(stream, f"run {round_}", maxlen=1000)
            assert await receive(ws, 1) == [f"run {round_}"]
            redis.delete(stream)


async def test_string_keys_beside_a_stream_do_not_matter(broker, redis, stream):
    for suffix in ("token", "config", "last_heartbeat"):
        redis.client.set(f"stream:{stream}:{suffix}", "x")
    async with broker.connect(stream) as ws:
        redis.client.set(f"stream:{stream}:last_heartbeat", "y")
        redis.publish(stream, "an event")
        assert await receive(ws, 1) == ["an event"]


@pytest.mark.parametrize("workers", [1, 2, 4])
async def test_workers_agree(start, stream, workers):
    """Clients of one stream are spread over the workers; each gets all, in order, once."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=workers)
    names = [f"{stream}-{i}" for i in range(3)]
    clients = [(name, await broker.connect(name)) for name in names for _ in range(12)]
    publishers = [Publisher(redis, name) for name in names]
    for publisher in publishers:
        publisher.__enter__()
    await until(
        lambda: all(len(p.acknowledged) > 2000 for p in publishers), "publishers are too slow", 30
    )
    sent = {p.stream: p.stop() for p in publishers}
    for name in names:
        redis.publish(name, "end")
    for name, ws in clients:
        got = await receive_up_to(ws, "end", within=30)
        assert numbers(got[:-1]) == sent[name]
        await ws.close()
    for publisher in publishers:
        publisher.client.close()
