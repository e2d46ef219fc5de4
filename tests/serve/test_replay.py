"""Replay: where `from` and `after` begin, and that the hand-over to live neither loses nor
repeats, however busy the stream is."""

import asyncio
import random
import secrets
import time

import pytest

from harness import Publisher, numbers, receive, receive_up_to, until, ws_path
from wire import refusal, upgrade

# What the streams of these tests hold: one event per age, in seconds before now.
AGES = [50, 40, 30, 20, 10]


def publish_ages(redis, stream, ages=AGES):
    now = int(time.time() * 1000)
    return [redis.publish(stream, f"{age} s old", id=f"{now - age * 1000}-0") for age in ages]


async def replay(broker, redis, stream, **query):
    """What a client gets before the next live event, earlier calls' live events aside."""
    now = f"live {secrets.token_hex(4)}"
    async with broker.connect(stream, **query) as ws:
        redis.publish(stream, now)
        got = await receive_up_to(ws, now)
    return [event for event in got if not event.startswith("live")]


# Each form of from= and after=.


@pytest.mark.parametrize(
    "start_, expected",
    [
        ("now-35s", [30, 20, 10]),
        ("now-0m", []),
        ("now-1m", [50, 40, 30, 20, 10]),
        ("now-1h", [50, 40, 30, 20, 10]),
        ("now-25000ms", [20, 10]),
        ("now-0s", []),
        ("0", [50, 40, 30, 20, 10]),
        ("first", [50, 40, 30, 20, 10]),
        ("last", [10]),
        ("", []),
    ],
)
async def test_from(broker, redis, stream, start_, expected):
    publish_ages(redis, stream)
    got = await replay(broker, redis, stream, from_=start_)
    assert got == [f"{age} s old" for age in expected]


async def test_absent_is_live_only(broker, redis, stream):
    publish_ages(redis, stream)
    assert await replay(broker, redis, stream) == []


async def test_empty_after_is_live_only(broker, redis, stream):
    publish_ages(redis, stream)
    assert await replay(broker, redis, stream, after="") == []


async def test_from_unix_seconds(broker, redis, stream):
    publish_ages(redis, stream)
    got = await replay(broker, redis, stream, from_=int(time.time()) - 35)
    assert got == ["30 s old", "20 s old", "10 s old"]


async def test_from_unix_seconds_with_a_fraction(broker, redis, stream):
    base = int(time.time()) - 20
    for ms in (100, 500, 900):
        redis.publish(stream, f".{ms}", id=f"{base}{ms}-0")
    assert await replay(broker, redis, stream, from_=f"{base}.5") == [".500", ".900"]
    assert await replay(broker, redis, stream, from_=f"{base}.501") == [".900"]


async def test_from_the_future_is_live(broker, redis, stream):
    publish_ages(redis, stream)
    assert await replay(broker, redis, stream, from_=int(time.time()) + 3600) == []


async def test_from_an_id_begins_with_it_and_after_an_id_behind_it(broker, redis, stream):
    ids = publish_ages(redis, stream)
    assert await replay(broker, redis, stream, from_=ids[3]) == ["20 s old", "10 s old"]
    assert await replay(broker, redis, stream, after=ids[3]) == ["10 s old"]


async def test_an_id_between_two_events(broker, redis, stream):
    ids = publish_ages(redis, stream)
    between = f"{ids[3].split('-')[0]}-7"
    assert await replay(broker, redis, stream, from_=between) == ["10 s old"]
    assert await replay(broker, redis, stream, after=between) == ["10 s old"]


async def test_events_of_one_millisecond_are_told_apart(broker, redis, stream):
    ms = int(time.time() * 1000) - 5000
    for seq in range(10):
        redis.publish(stream, f"seq {seq}", id=f"{ms}-{seq}")
    assert await replay(broker, redis, stream, after=f"{ms}-6") == [f"seq {s}" for s in (7, 8, 9)]
    got = await replay(broker, redis, stream, from_=f"{ms}-8")
    assert got == ["seq 8", "seq 9"]


async def test_after_the_newest_is_live(broker, redis, stream):
    ids = publish_ages(redis, stream)
    assert await replay(broker, redis, stream, after=ids[-1]) == []


async def test_after_an_id_ahead_of_the_stream_still_gets_what_comes(broker, redis, stream):
    publish_ages(redis, stream)
    ahead = f"{int(time.time() * 1000) + 3_600_000}-0"
    async with broker.connect(stream, after=ahead) as ws:
        redis.publish(stream, "new")
        assert (await receive_up_to(ws, "new"))[-1] == "new"


async def test_resuming_misses_nothing(broker, redis, stream):
    """A client leaves and comes back with after=, again and again."""
    ids = redis.publish_all(stream, [str(i) for i in range(50)])
    got, last = [], None
    while len(got) < 50:
        query = {"after": last} if last else {"from_": "first"}
        async with broker.connect(stream, **query) as ws:
            got += await receive(ws, min(7, 50 - len(got)))
        last = ids[len(got) - 1]
    assert got == [str(i) for i in range(50)]


@pytest.mark.parametrize("start_", ["first", "last", "now-60s", "0"])
async def test_a_replay_of_nothing(broker, redis, stream, start_):
    assert await replay(broker, redis, stream, from_=start_) == []


async def test_last_is_one_event_even_where_many_follow_live(broker, redis, stream):
    redis.publish_all(stream, [str(i) for i in range(20)])
    async with broker.connect(stream, from_="last") as ws:
        redis.publish_all(stream, ["20", "21"])
        assert await receive(ws, 3) == ["19", "20", "21"]


# The window.


@pytest.mark.parametrize("start_", ["first", "now-60s", "now-1h", "0"])
async def test_older_than_the_ring_is_clamped_to_it(start, stream, start_):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    publish_ages(redis, stream)
    got = await replay(broker, redis, stream, from_=start_)
    assert got == ["20 s old", "10 s old"]


async def test_an_id_older_than_the_ring_is_clamped_to_it(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    ids = publish_ages(redis, stream)
    assert await replay(broker, redis, stream, from_=ids[0]) == ["20 s old", "10 s old"]
    assert await replay(broker, redis, stream, after=ids[0]) == ["20 s old", "10 s old"]


async def test_the_ring_moves_on(start, stream):
    """An event that was in the window when it came leaves it."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=2)
    async with broker.connect(stream) as witness:
        redis.publish(stream, "soon too old")
        assert await receive(witness, 1) == ["soon too old"]
        old = time.monotonic()
        # Two seconds are the subject here, not a wait for something to happen.
        await asyncio.sleep(2.3)
        assert time.monotonic() - old > 2
        redis.publish(stream, "young")
        assert await receive(witness, 1) == ["young"]
        async with broker.connect(stream, from_="first") as late:
            redis.publish(stream, "live")
            assert await receive_up_to(late, "live") == ["young", "live"]


# What does not parse.


@pytest.mark.parametrize(
    "query",
    [
        {"from_": "garbage"},
        {"from_": "now"},
        {"from_": "now-"},
        {"from_": "now-5"},
        {"from_": "now-5d"},
        {"from_": "now-5 s"},
        {"from_": "now+5s"},
        {"from_": "now--5s"},
        {"from_": "now-1.5s"},
        {"from_": "-5"},
        {"from_": "1.2.3"},
        {"from_": "1e9"},
        {"from_": "1760000000-"},
        {"from_": "-1"},
        {"from_": "1-2-3"},
        {"from_": "0x10"},
        {"from_": "1" * 40},
        {"from_": "now-" + "9" * 30 + "s"},
        {"from_": "First"},
        {"from_": "$"},
        {"after": "garbage"},
        {"after": "first"},
        {"after": "last"},
        {"after": "now-5s"},
        {"after": "1760000000"},
        {"after": "1-2-3"},
        {"after": "99999999999999999999999-0"},
        {"after": "-"},
    ],
    ids=lambda q: "=".join(*q.items())[:24],
)
def test_garbage_is_a_400_that_says_what_was_expected(broker, stream, query):
    reply = upgrade(broker.port, ws_path(stream, **query))
    sentence = refusal(reply, 400, "bad_request")
    name = next(iter(query)).rstrip("_")
    assert name in sentence and ("ms-seq" in sentence or "expected" in sentence), sentence


def test_from_and_after_exclude_each_other(broker, stream):
    reply = upgrade(broker.port, ws_path(stream, from_="first", after="1-0"))
    sentence = refusal(reply, 400, "bad_request")
    assert "from" in sentence and "after" in sentence


# The hand-over.


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_gap_and_no_duplicate_while_a_publisher_runs_at_full_speed(
    start, stream, workers
):
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=workers)
    hows = ["", "first", "last", "now-1s", "now-200ms", "0", "after", "id"] * 2
    joined = 0

    async def client(how):
        """Joins in the middle of things; its numbers must follow one another."""
        await asyncio.sleep(random.random() / 2)
        if how == "after":
            before = redis.client.xrevrange(f"stream:{stream}", count=200)
            query = {"after": before[-1][0].decode()}
        elif how == "id":
            query = {"from_": redis.client.xrevrange(f"stream:{stream}", count=1)[0][0].decode()}
        else:
            query = {"from_": how} if how else {}
        async with broker.connect(stream, **query) as ws:
            nonlocal joined
            joined += 1
            return how, await receive_up_to(ws, "end", within=40)

    with Publisher(redis, stream, batch=10) as publisher:
        await until(lambda: len(publisher.acknowledged) > 500, "the publisher is too slow")
        clients = [asyncio.create_task(client(how)) for how in hows]
        await until(lambda: joined == len(hows), "clients cannot join", 30)
        so_far = len(publisher.acknowledged)
        await until(lambda: len(publisher.acknowledged) > so_far + 500, "it does not go on")
        sent = publisher.stop()
        redis.publish(stream, "end")
        results = await asyncio.gather(*clients)
    for how, got in results:
        ns = numbers(got[:-1])
        assert ns, f"{how!r} joined too late to say anything"
        assert ns == list(range(ns[0], ns[0] + len(ns))), f"{how!r}: a gap or a duplicate"
        assert ns[-1] == sent[-1], f"{how!r} missed the end"
        if how in ("first", "0"):
            assert ns[0] == 1


async def test_clients_that_come_and_go_under_load(start, stream):
    """Each visit's events follow one another, and so do the visits, joined by after=."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=2)
    ids = {}

    with Publisher(redis, stream, rate=400) as publisher:
        await until(lambda: publisher.acknowledged, "nothing published")
        first = await broker.connect(stream, from_="first")
        seen = numbers(await receive(first, 1))
        await first.close()

        for _ in range(25):
            for id_, fields in redis.client.xrange(f"stream:{stream}"):
                ids[numbers([fields[b"data"]])[0]] = id_.decode()
            async with broker.connect(stream, after=ids[seen[-1]]) as ws:
                seen += numbers(await receive(ws, 5))
            await until(lambda: publisher.acknowledged[-1] > seen[-1] + 3, "publisher too slow")
    assert seen == list(range(1, len(seen) + 1))
