"""The newest value at a pace (protocol 20): every= and slow=latest, on all routes and formats."""

import asyncio
import json
import time

import pytest

from harness import Publisher, mint, receive, seconds, ws_path
from told import Sse, told, told_raw
from test_many_streams import hub, raw_hub
from wire import TEXT, RawWs, refusal, upgrade

RING = 512 * 1024


def envelope(broker, stream, **query):
    return broker.connect(stream, format="envelope", **query)


@pytest.mark.parametrize(
    "every", ["1", "1x", "9ms", "61m", "2h", "-1s", "1.5s", "ms", "99999999ms", "1 s", "١s"]
)
def test_another_value_of_every_is_refused(broker, stream, every):
    assert "every" in refusal(upgrade(broker.port, ws_path(stream, every=every)), 400, "bad_request")


@pytest.mark.parametrize("every", ["10ms", "250ms", "1s", "5m", "1h", "3600000ms"])
def test_values_of_every(broker, redis, stream, every):
    with RawWs(broker, stream, every=every) as ws:
        redis.publish(stream, "at once")  # the first after a pause
        assert ws.next_text() == "at once"


async def test_skipped_adds_up_to_what_was_published(broker, redis, stream):
    """In the envelope each event says for how many it stands; the newest comes in the end."""
    async with envelope(broker, stream, every="50ms") as ws:
        await told(ws, "live")
        with Publisher(redis, stream, rate=500) as publisher:
            await asyncio.sleep(seconds(1))
            published = publisher.stop()
        got = []
        while not got or got[-1]["data"]["n"] != published[-1]:
            got += [m for m in await told(ws, "event") if m["type"] == "event"]
            assert got[-1]["type"] == "event"
    assert sum(1 + m.get("skipped", 0) for m in got) == len(published)
    numbers = [m["data"]["n"] for m in got]
    assert numbers == sorted(set(numbers))
    assert len(got) < len(published) / 3, "every event came"
    for before, after in zip(got, got[1:]):
        assert after["data"]["n"] - before["data"]["n"] == after.get("skipped", 0) + 1
    assert all(m.get("skipped") != 0 for m in got), "absent when 0"


@pytest.mark.parametrize("format_", ["raw", "envelope"])
@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_at_most_one_in_that_time(broker, redis, stream, format_, compression):
    async with broker.connect(stream, compression=compression, format=format_, every="1s") as ws:
        if format_ == "envelope":
            await told(ws, "live")
        with Publisher(redis, stream, rate=200):
            times = []
            while len(times) < 4:
                message = json.loads(await ws.recv())
                assert message["data"]["n"] if format_ == "envelope" else message["n"]
                times.append(time.monotonic())
    # The broker may be late, and then the next is on time: so over two intervals.
    assert all(c - a > 1.0 for a, c in zip(times, times[2:])), times


def test_server_sent_events_too(broker, redis, stream):
    with Sse(broker, stream, every="100ms") as sse:
        sse.up_to("live")
        with Publisher(redis, stream, rate=300) as publisher:
            got = [sse.next() for _ in range(5)]
            published = publisher.stop()
        while json.loads(got[-1]["data"])["n"] != published[-1]:
            got.append(sse.next())
    numbers = [json.loads(e["data"])["n"] for e in got]
    assert numbers == sorted(set(numbers)) and len(numbers) < len(published) / 2
    assert all(e["id"] for e in got)


async def test_a_replay_is_one_event(broker, redis, stream):
    ids = redis.publish_all(stream, [str(n) for n in range(50)])
    async with envelope(broker, stream, every="1h", from_="first") as ws:
        hello, event, live = await told(ws, "live")
        assert (event["data"], event["id"], event["skipped"]) == (49, ids[-1], 49)
    async with envelope(broker, stream, every="1h", after=ids[44]) as ws:
        hello, event, live = await told(ws, "live")
        assert (event["data"], event["skipped"]) == (49, 4)
    async with envelope(broker, stream, every="1h", after=ids[48]) as ws:
        hello, event, live = await told(ws, "live")
        assert event["data"] == 49 and "skipped" not in event
    async with envelope(broker, stream, every="1h", after=ids[49]) as ws:
        assert [m["type"] for m in await told(ws, "live")] == ["hello", "live"]


async def test_who_has_just_had_one_waits_for_the_tick_after_the_next(broker, redis, stream):
    """And then gets the newest, though nothing new has come since."""
    redis.publish(stream, "0")
    async with envelope(broker, stream, every="400ms") as old:
        await told(old, "live")
        redis.publish(stream, "1")
        await told(old, "event")  # the tick is armed
        async with envelope(broker, stream, every="400ms", from_="last") as new:
            assert [m["data"] for m in (await told(new, "live"))[1:2]] == [1]
            redis.publish(stream, "2")
            assert (await told(old, "event"))[-1]["data"] == 2
            assert (await told(new, "event"))[-1]["data"] == 2


async def test_ids_resume(broker, redis, stream):
    async with envelope(broker, stream, every="100ms") as ws:
        await told(ws, "live")
        redis.publish_all(stream, ["1", "2", "3"])
        first = (await told(ws, "event"))[-1]
    redis.publish(stream, "4")
    async with envelope(broker, stream, after=first["id"]) as ws:
        got = []  # the broker may not have read 4 before it says `live`
        while 4 not in got:
            got.append((await told(ws, "event"))[-1]["data"])
    assert got == list(range(first["data"] + 1, 5))


async def test_a_gap_is_told_at_a_pace_too(start, stream):
    """What Redis lost was not skipped by request."""
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream, every="50ms") as ws:
        await told(ws, "live")
        redis.publish(stream, "1")
        await told(ws, "event")
        redis.delete(stream)
        redis.publish(stream, "2")
        got = await told(ws, "event")
        assert [m["type"] for m in got if m["type"] in ("gap", "event")] == ["gap", "event"]
        assert got[0]["reason"] == "reset" and got[-1]["data"] == 2


async def test_the_ring_may_be_shorter_than_the_pace(start, redis, stream):
    """Nothing falls behind by that, and the count is right."""
    broker = start.broker(redis, BOND_RING_BYTES=65_536)
    async with envelope(broker, stream, every="1s") as ws, broker.connect(stream) as witness:
        await told(ws, "live")
        redis.publish(stream, "0")
        await told(ws, "event")
        await receive(witness, 1)
        for n in range(40):
            redis.publish_all(stream, [json.dumps("x" * 8000)] * 5)
            await receive(witness, 5)
        redis.publish(stream, '"end"')
        got = []
        while not got or got[-1]["data"] != "end":
            got += [m for m in await told(ws, "event")]
    assert {m["type"] for m in got} == {"event"}, "no gap: it asked for the newest"
    assert sum(1 + m.get("skipped", 0) for m in got) == 201


async def test_stale_and_ok_are_told_at_once(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with envelope(broker, stream, every="1h") as ws:
        await told(ws, "live")
        redis.kill()
        await told(ws, "source", state="stale")
        redis.restart()
        await told(ws, "source", state="ok")


async def test_many_paces_and_a_drain(start, redis, stream):
    broker = start.broker(redis, BOND_DRAIN_SECONDS=0)
    paces = ["10ms", "20ms", "1s", "1h"]
    sockets = [await broker.connect(stream, every=every) for every in paces * 5]
    redis.publish(stream, "1")
    for ws in sockets:
        assert await receive(ws, 1) == ["1"]
    await asyncio.gather(*(ws.close() for ws in sockets[::2]))
    redis.publish(stream, "2")
    broker.signal()
    assert broker.exit_code() == 0


async def test_each_stream_of_a_socket_has_its_own_pace(broker, redis, stream):
    fast, slow, all_ = (f"{stream}-{n}" for n in ("fast", "slow", "all"))
    async with hub(broker, every="1h") as h:
        await h.subscribe(
            {"stream": fast, "token": mint(fast), "every": "20ms"},
            {"stream": slow, "token": mint(slow)},
        )
        for name in (fast, slow):
            await h.told("live", stream=name) if "live" not in h.kinds(name) else None
        for n in range(200):
            redis.publish(fast, str(n))
            redis.publish(slow, str(n))
        while 199 not in h.events(fast):
            await h.next()
        assert len(h.events(slow)) == 1
        mine = [m for m in h.got if m["type"] == "event" and m["stream"] == fast]
        assert sum(1 + m.get("skipped", 0) for m in mine) == 200
        await h.say("subscribe", streams=[{"stream": all_, "token": mint(all_), "every": "x"}])
        assert (await h.told("refused"))["error"] == "bad_request"


# --- slow=latest -------------------------------------------------------------------------


def behind(broker, redis, stream, ws):
    with RawWs(broker, stream) as witness:
        for n in range(800):
            redis.publish(stream, json.dumps({"n": n, "pad": "x" * 8000}))
            witness.next_text()


def test_latest_goes_on_with_the_newest(start, redis, stream):
    broker = start.broker(redis, BOND_RING_BYTES=RING)
    with RawWs(broker, stream, rcvbuf=4096, slow="latest", format="envelope") as ws:
        told_raw(ws, "live")
        behind(broker, redis, stream, ws)
        got = [json.loads(ws.next_text())]
        while got[-1].get("data", {}).get("n") != 799:
            got.append(json.loads(ws.next_text()))
    gaps = [m for m in got if m["type"] == "gap"]
    events = [m for m in got if m["type"] == "event"]
    assert gaps and {m["reason"] for m in gaps} == {"slow"}
    assert len(events) + sum(m["missed"] for m in gaps) == 800
    last = max(i for i, m in enumerate(got) if m["type"] == "gap")
    assert got[last]["before"] == got[last + 1]["id"]
    assert got[last + 1]["data"]["n"] > 700, "the newest when it could be written to"


def test_latest_in_raw(start, redis, stream):
    broker = start.broker(redis, BOND_RING_BYTES=RING)
    with RawWs(broker, stream, rcvbuf=4096, slow="latest") as ws:
        behind(broker, redis, stream, ws)
        numbers = [json.loads(ws.next_text())["n"]]
        while numbers[-1] != 799:
            numbers.append(json.loads(ws.next_text())["n"])
    assert numbers == sorted(set(numbers)) and len(numbers) < 800


def test_latest_on_one_of_many_streams(start, redis, stream):
    broker = start.broker(redis, BOND_RING_BYTES=RING, BOND_WORKERS=1)
    with raw_hub(broker, rcvbuf=4096) as ws:
        item = {"stream": stream, "token": mint(stream), "slow": "latest"}
        ws.frame(TEXT, json.dumps({"type": "subscribe", "streams": [item]}))
        told_raw(ws, "live")
        behind(broker, redis, stream, ws)
        got = [json.loads(ws.next_text())]
        while got[-1].get("data", {}).get("n") != 799:
            got.append(json.loads(ws.next_text()))
    gaps = [m for m in got if m["type"] == "gap"]
    events = [m for m in got if m["type"] == "event"]
    assert gaps and len(events) + sum(m["missed"] for m in gaps) == 800
