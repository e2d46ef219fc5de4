"""Gaps are found, not guessed: for each reason what is missed is announced, between the
right two ids, with the right number where the broker can know it."""

import asyncio
import json
import re
import signal
import time
from pathlib import Path

import pytest

from harness import Publisher, numbers, receive, seconds, until, wait_until
from told import checked, flood, gap, gaps, ids, kinds, told, told_raw
from wire import RawWs


def envelope(broker, stream, **query):
    return broker.connect(stream, format="envelope", **query)


def publish_at(redis, stream, *ages):
    """Events of these ages, in seconds: their ids say so."""
    now = int(time.time() * 1000)
    return [redis.publish(stream, str(age), id=f"{now - int(age * 1000)}-0") for age in ages]


class Paused:
    """The broker stands still meanwhile; it notices nothing of what happens in Redis. With
    one connection, that is: on a second one a read may wait in Redis (test_hotline.py)."""

    def __init__(self, broker):
        self.broker = broker

    def __enter__(self):
        self.broker.process.send_signal(signal.SIGSTOP)
        tasks = list(Path(f"/proc/{self.broker.process.pid}/task").iterdir())
        wait_until(
            lambda: all(re.search(r"State:\s+T", (t / "status").read_text()) for t in tasks),
            "the broker does not stand still",
        )

    def __exit__(self, *_):
        self.broker.process.send_signal(signal.SIGCONT)


async def replay(broker, stream, **query):
    """All that a client is told up to `live`, hello aside."""
    async with envelope(broker, stream, **query) as ws:
        got = await told(ws, "live")
    assert kinds(got)[0] == "hello"
    return got[1:-1]


# window: older than the ring.


async def test_window_is_exact_for_events_that_the_broker_saw(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    async with envelope(broker, stream) as witness:
        await told(witness, "live")
        published = publish_at(redis, stream, 50, 45, 40, 35, 30, 20, 10)
        await told(witness, "event", id=published[-1])
        for at, missed in ((0, 4), (1, 3), (3, 1)):
            got = await replay(broker, stream, after=published[at])
            assert gaps(got) == [gap(stream, published[at], published[5], "window", missed)]
            assert ids(got) == published[5:]
        got = await replay(broker, stream, after=published[4])
        assert gaps(got) == [], "nothing lies between"
        assert ids(got) == published[5:]


async def test_window_is_exact_or_null_for_what_was_there_before_the_broker(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    published = publish_at(redis, stream, 50, 45, 40, 35, 30, 20, 10)
    for at, missed in ((0, 4), (1, 3), (3, 1)):
        [found, *events] = await replay(broker, stream, after=published[at])
        assert found["missed"] in (missed, None)
        assert found | {"missed": 0} == gap(stream, published[at], published[5], "window", 0)
        assert ids(events) == published[5:]
    assert gaps(await replay(broker, stream, after=published[4])) == []


async def test_window_of_a_time_before_it(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    published = publish_at(redis, stream, 50, 40, 30, 20, 10)
    [found, *events] = await replay(broker, stream, from_="now-60s")
    assert found["missed"] in (3, None)
    assert found | {"missed": 0} == gap(stream, None, published[3], "window", 0)
    assert ids(events) == published[3:]


async def test_window_that_hides_all(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=5)
    published = publish_at(redis, stream, 50, 40, 30)
    [found] = await replay(broker, stream, after=published[0])
    assert found["missed"] in (2, None)
    assert found | {"missed": 0} == gap(stream, published[0], None, "window", 0)


@pytest.mark.parametrize("start_", ["first", "last", "now-20s", ""])
async def test_no_window_gap_where_all_that_was_asked_for_comes(start, stream, start_):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    publish_at(redis, stream, 50, 40, 30, 15, 10)
    assert gaps(await replay(broker, stream, from_=start_)) == []


async def test_no_gap_in_a_stream_that_lost_nothing(broker, redis, stream):
    published = redis.publish_all(stream, ["1", "2", "3"])
    for query in ({"from_": "now-1h"}, {"from_": "0"}, {"from_": "first"}, {"after": "0-0"}):
        got = await replay(broker, stream, **query)
        assert (gaps(got), ids(got)) == ([], published), query


# limit: the ring's bytes.


async def test_limit(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=65536)
    async with envelope(broker, stream) as witness:
        await told(witness, "live")
        published = []
        for _ in range(60):
            published.append(redis.publish(stream, json.dumps("x" * 4000)))
            await told(witness, "event", id=published[-1])
        first = (await replay(broker, stream, from_="first"))[0]["id"]
        place = published.index(first)
        assert place > 10, "the ring holds them all: nothing was tested"
        for at in (0, place - 2):
            found, *events = await replay(broker, stream, after=published[at])
            assert found["missed"] in (place - at - 1, None)
            assert found | {"missed": 0} == gap(stream, published[at], first, "limit", 0)
            assert ids(events) == published[place:]
        got = await replay(broker, stream, after=published[place - 1])
        assert (gaps(got), ids(got)) == ([], published[place:]), "nothing lies between"


# slow: this client fell behind.


@pytest.mark.parametrize("form", ["envelope", "bond.v1"])
def test_slow_is_exact_and_covers_each_hole(start, stream, form):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    offer = ["Sec-WebSocket-Protocol: bond.v1"] if form == "bond.v1" else []
    with RawWs(broker, stream, headers=offer, slow="skip", format="envelope") as ws:
        told_raw(ws, "live")
        published = flood(redis, broker, stream)
        got = told_raw(ws, "event", id=published[-1])
        later = redis.publish(stream, "1")
        got += told_raw(ws, "event", id=later)
    published.append(later)
    covers(published, got, "slow")
    assert gaps(got), "it was not slow: nothing was tested"


def covers(published, got, reason):
    """Every event came, in order, or lies in a gap that names its neighbours and counts."""
    place, missing = {id_: i for i, id_ in enumerate(published)}, 0
    at = 0  # of the next one
    for message in got:
        if message["type"] == "event":
            assert place[message["id"]] == at, f"{message['id']} is not the next one"
            at += 1
        else:
            assert message["reason"] == reason
            after = -1 if message["after"] is None else place[message["after"]]
            before = len(published) if message["before"] is None else place[message["before"]]
            assert after == at - 1, f"it had {published[at - 1]}, but: {message}"
            assert message["missed"] == before - after - 1, message
            missing += message["missed"]
            at = before
    assert at == len(published)
    return missing


async def test_slow_closes_with_the_last_id_of_the_client(start, stream):
    """slow=close, the default: `closing` has the place to resume from."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    with RawWs(broker, stream, format="envelope") as ws:
        told_raw(ws, "live")
        published = flood(redis, broker, stream)
        got = told_raw(ws, "closing")
        code, reason = ws.close_frame()
    closing = got.pop()
    assert (closing["code"], closing["reason"]) == (code, reason)
    assert code == 4008
    assert ids(got) == published[: len(got)]
    assert closing["last"] == ids(got)[-1]
    resumed = await replay(broker, stream, after=closing["last"])
    assert gaps(resumed)[0]["reason"] == "limit"
    assert ids(resumed)[-1] == published[-1]


# trimmed: gone from Redis before we read them.

KNOWN = 80  # with fewer, a stream that was filled anew looks the same: `missed` is null


async def trim(start, stream, published_meanwhile, then, **query):
    """A client has KNOWN events; then, behind the broker's back, things happen."""
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with envelope(broker, stream, **query) as ws:
        published = redis.publish_all(stream, [str(i) for i in range(KNOWN)])
        await told(ws, "event", id=published[-1])
        with Paused(broker):
            published += redis.publish_all(stream, ["x"] * published_meanwhile)
            then(redis)
        redis.publish(stream, '"end"', id="*")
        return published, (await told(ws, "event", data="end"))[:-1]


@pytest.mark.parametrize("kept", [1, 9, 300, 999])
async def test_trimmed_is_exact(start, stream, kept):
    published, got = await trim(
        start, stream, 1000, lambda r: r.client.xtrim(f"stream:{stream}", kept, approximate=False)
    )
    last, first = published[KNOWN - 1], published[-kept]
    assert gaps(got) == [gap(stream, last, first, "trimmed", 1000 - kept)]
    assert ids(got) == published[-kept:]


@pytest.mark.parametrize("kept", [1000, 1000 + KNOWN - 1])
async def test_trimmed_of_what_we_had_is_no_gap(start, stream, kept):
    published, got = await trim(
        start, stream, 1000, lambda r: r.client.xtrim(f"stream:{stream}", kept, approximate=False)
    )
    assert gaps(got) == []
    assert ids(got) == published[KNOWN:]


async def test_trimmed_to_nothing(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with envelope(broker, stream) as ws:
        last = redis.publish_all(stream, ["1"] * KNOWN)[-1]
        await told(ws, "event", id=last)
        with Paused(broker):
            redis.publish_all(stream, ["x"] * 50)
            redis.client.xtrim(f"stream:{stream}", 0, approximate=False)
        [found] = await told(ws, "gap")
        assert found == gap(stream, last, None, "trimmed", 50)
        new = redis.publish(stream, "2")
        assert ids(await told(ws, "event")) == [new]


async def test_trimmed_twice_counts_twice(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with envelope(broker, stream) as ws:
        last = redis.publish_all(stream, ["0"] * KNOWN)[-1]
        await told(ws, "event", id=last)
        for missed in (40, 7):
            with Paused(broker):
                published = redis.publish_all(stream, ["x"] * (missed + 2))
                redis.client.xtrim(f"stream:{stream}", 2, approximate=False)
            got = await told(ws, "event", id=published[-1])
            assert gaps(got) == [gap(stream, last, published[-2], "trimmed", missed)]
            last = published[-1]


async def test_trimmed_while_we_catch_up_with_a_long_stream(start, stream):
    """More than one page is behind us when the trim comes."""
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with envelope(broker, stream) as ws:
        last = redis.publish_all(stream, ["0"] * KNOWN)[-1]
        await told(ws, "event", id=last)
        with Paused(broker):
            published = []
            for _ in range(6):
                published += redis.publish_all(stream, ["x"] * 1000)
            redis.client.xtrim(f"stream:{stream}", 4000, approximate=False)
        got = await told(ws, "event", id=published[-1])
        assert gaps(got) == [gap(stream, last, published[2000], "trimmed", 2000)]
        assert ids(got) == published[2000:]


@pytest.mark.parametrize("victim", [0, 1, 4], ids=["the-next", "one-within", "the-newest"])
async def test_an_event_deleted_before_we_read_it_is_no_reset(start, stream, victim):
    def delete(redis):
        entries = redis.client.xrange(f"stream:{stream}")[KNOWN:]
        redis.client.xdel(f"stream:{stream}", entries[victim][0])

    published, got = await trim(start, stream, 5, delete)
    assert ids(got) == [id_ for i, id_ in enumerate(published[KNOWN:]) if i != victim]
    assert {g["reason"] for g in gaps(got)} <= {"trimmed"}


async def test_the_last_event_that_we_had_is_deleted(start, stream):
    """Nothing is lost; the place is found again by its id."""

    def delete(redis):
        redis.client.xdel(f"stream:{stream}", redis.client.xrange(f"stream:{stream}")[KNOWN - 1][0])

    published, got = await trim(start, stream, 5, delete)
    assert gaps(got) == []
    assert ids(got) == published[KNOWN:]


async def test_trimmed_before_the_broker_ever_read_it(start, stream):
    """A client resumes on a broker that has just started; Redis has less than it missed."""
    redis = start.redis()
    published = redis.publish_all(stream, ["x"] * 100)
    redis.client.xtrim(f"stream:{stream}", 10, approximate=False)
    broker = start.broker(redis)
    found, *events = await replay(broker, stream, after=published[9])
    assert found["missed"] in (80, None)
    assert found | {"missed": 0} == gap(stream, published[9], published[90], "trimmed", 0)
    assert ids(events) == published[90:]


async def test_trimmed_to_nothing_before_the_broker_ever_read_it(start, stream):
    redis = start.redis()
    published = redis.publish_all(stream, ["x"] * 100)
    redis.client.xtrim(f"stream:{stream}", 0, approximate=False)
    broker = start.broker(redis)
    [found] = await replay(broker, stream, after=published[9])
    assert found["missed"] in (90, None)
    assert found | {"missed": 0} == gap(stream, published[9], None, "trimmed", 0)
    assert gaps(await replay(broker, stream, after=published[-1])) == []


async def test_a_replay_without_loss_on_a_broker_that_has_just_started(start, stream):
    """The events that were trimmed are not those that this client missed."""
    redis = start.redis()
    published = redis.publish_all(stream, ["x"] * 100)
    redis.client.xtrim(f"stream:{stream}", 10, approximate=False)
    broker = start.broker(redis)
    for at in (90, 95, 99):
        got = await replay(broker, stream, after=published[at])
        assert (gaps(got), ids(got)) == ([], published[at + 1 :])


# reset: the stream is another one.


@pytest.mark.parametrize("new_id", ["1-0", "*"], ids=["lower", "higher"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "behind-our-back"])
async def test_deleted_and_created_again(start, stream, new_id, seen):
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with envelope(broker, stream) as ws:
        old = redis.publish_all(stream, ["1", "2"])
        await told(ws, "event", id=old[-1])
        if seen:
            redis.delete(stream)
            got = await told(ws, "gap")
            new = [redis.publish(stream, '"new"', id=new_id)]
        else:
            got = []
            with Paused(broker):
                redis.delete(stream)
                new = [redis.publish(stream, '"new"', id=new_id)]
        new += redis.publish_all(stream, ["3", "4"])
        got += await told(ws, "event", id=new[-1])
    assert ids(got) == new
    [found] = gaps(got)
    assert found["before"] in (None, new[0])
    assert found | {"before": None} == gap(stream, old[-1], None, "reset", None)


async def test_an_after_of_an_older_run_resumes_there(start, stream):
    """It has missed the end of the old stream, and all of the new one, lower ids and all."""
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream) as witness:
        old = redis.publish_all(stream, ["1", "2", "3"])
        await told(witness, "event", id=old[-1])
        redis.delete(stream)
        await told(witness, "gap")
        new = [redis.publish(stream, "x", id=f"{i}-0") for i in (5, 6, 7)]
        await told(witness, "event", id=new[-1])
        got = await replay(broker, stream, after=old[0])
        assert kinds(got) == ["event", "event", "gap", "event", "event", "event"]
        assert ids(got) == old[1:] + new
        assert got[2] == gap(stream, old[-1], None, "reset", None)
        got = await replay(broker, stream, after=old[-1])
        assert kinds(got) == ["gap", "event", "event", "event"]
        got = await replay(broker, stream, after="6-0")
        assert (gaps(got), ids(got)) == ([], ["7-0"])


async def test_an_after_of_an_older_run_with_lower_ids(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream) as witness:
        old = redis.publish_all(stream, ["1", "2", "3"])
        await told(witness, "event", id=old[-1])
        redis.delete(stream)
        await told(witness, "gap")
        new = redis.publish_all(stream, ["4", "5"])
        await told(witness, "event", id=new[-1])
        for at in (0, 1, 2):
            got = await replay(broker, stream, after=old[at])
            assert ids(got) == old[at + 1 :] + new
            assert [g["reason"] for g in gaps(got)] == ["reset"]


@pytest.mark.parametrize("ahead_ms", [1, 3_600_000])
async def test_an_after_ahead_of_all_that_the_stream_had(broker, redis, stream, ahead_ms):
    published = redis.publish_all(stream, ["1", "2"])
    ahead = f"{int(published[-1].split('-')[0]) + ahead_ms}-0"
    found, *events = await replay(broker, stream, after=ahead)
    assert found == gap(stream, ahead, published[0], "reset", None)
    assert ids(events) == published


async def test_an_after_in_a_stream_that_never_was(broker, stream):
    [found] = await replay(broker, stream, after="5-5")
    assert found == gap(stream, "5-5", None, "reset", None)


async def test_a_broker_that_starts_after_the_stream_was_created_again(start, stream):
    """The client's id is of the stream before; nobody has it any more."""
    redis = start.redis()
    first = start.broker(redis)
    async with envelope(first, stream) as ws:
        old = redis.publish_all(stream, ["1", "2"])
        await told(ws, "event", id=old[-1])
    redis.delete(stream)
    redis.publish(stream, "x", id="1-0")
    second = start.broker(redis)
    found, *events = await replay(second, stream, after=old[-1])
    assert (found["after"], found["reason"]) == (old[-1], "reset")
    assert gaps(events) == []


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"])
async def test_flushed(start, stream, command):
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws, envelope(broker, "quiet") as quiet:
        last = redis.publish(stream, "1")
        await told(ws, "event", id=last)
        await told(quiet, "live")
        redis.client.execute_command(*command.split())
        assert await told(ws, "gap") == [gap(stream, last, None, "reset", None)]
        new = redis.publish(stream, "2")
        assert ids(await told(ws, "event", id=new)) == [new]
        # A stream that had nothing lost nothing.
        assert kinds([checked(m) for m in await first_of(redis, quiet, "quiet")]) == ["event"]


async def first_of(redis, ws, stream):
    redis.publish(stream, "3")
    return await receive(ws, 1)


async def test_renamed_away_and_replaced(start, stream):
    """RENAME and RESTORE leave a key of the same name with another past."""
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        last = redis.publish(stream, "1")
        await told(ws, "event", id=last)
        new = redis.publish_all("spare", ["2", "3"])
        redis.client.rename("stream:spare", f"stream:{stream}")
        got = await told(ws, "event", id=new[-1])
    assert [g["reason"] for g in gaps(got)] == ["reset"]
    assert ids(got) == new


# Two brokers do not read at the same moment.


async def test_an_after_that_this_broker_has_not_read_yet_is_no_reset(start, stream):
    """Another broker was faster; this one asks Redis before it doubts the client."""
    redis = start.redis()
    proxy = start.proxy(redis)
    fast, late = start.broker(redis), start.broker(proxy)
    async with envelope(fast, stream) as ahead, envelope(late, stream) as behind:
        first = redis.publish(stream, "0")
        await told(ahead, "event", id=first)
        await told(behind, "event", id=first)
        for _ in range(3):
            proxy.freeze()
            published = redis.publish_all(stream, ["1", "2", "3"])
            await told(ahead, "event", id=published[-1])
            joining = asyncio.create_task(replay(late, stream, after=published[1]))
            await asyncio.sleep(0.2)  # less than what makes it stale; the client waits
            proxy.thaw()
            got = await joining
            assert (gaps(got), ids(got)) == ([], published[2:])


async def test_the_same_when_redis_is_silent_for_longer(start, stream):
    """The client is let in, and waits inside until Redis has been asked."""
    redis = start.redis()
    proxy = start.proxy(redis)
    fast, late = start.broker(redis), start.broker(proxy)
    async with envelope(fast, stream) as ahead, envelope(late, stream) as behind:
        first = redis.publish(stream, "0")
        await told(ahead, "event", id=first)
        await told(behind, "event", id=first)
        proxy.freeze()
        published = redis.publish_all(stream, ["1", "2", "3"])
        await told(ahead, "event", id=published[-1])
        async with envelope(late, stream, after=published[1]) as ws:
            got = await told(ws, "source", state="stale")
            proxy.thaw()
            got += await told(ws, "source", state="ok", within=20)
    assert (gaps(got), ids(got)) == ([], published[2:])


async def test_a_client_that_hops_between_brokers_misses_nothing(start, stream):
    redis = start.redis()
    brokers = [start.broker(redis), start.broker(redis)]
    got, last = [], None
    with Publisher(redis, stream, rate=500) as publisher:
        await until(lambda: publisher.acknowledged, "nothing was published")
        async with asyncio.timeout(seconds(30)):
            for hop in range(40):
                query = {"after": last} if last else {"from_": "first"}
                async with envelope(brokers[hop % 2], stream, **query) as ws:
                    some = []
                    while len(some) < 10:
                        some += await told(ws, "event")
                assert gaps(some) == [], f"hop {hop}"
                got += [m for m in some if m["type"] == "event"]
                last = got[-1]["id"]
    assert [m["data"]["n"] for m in got] == list(range(1, len(got) + 1))


# A raw client cannot be told; it gets what there is, in order.


async def test_raw_clients_go_on_across_every_gap(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with broker.connect(stream) as ws:
        redis.publish(stream, '{"n":1}')
        assert numbers(await receive(ws, 1)) == [1]
        with Paused(broker):
            for n in (2, 3, 4):
                redis.publish(stream, f'{{"n":{n}}}')
            redis.client.xtrim(f"stream:{stream}", 1, approximate=False)
        assert numbers(await receive(ws, 1)) == [4]
        redis.delete(stream)
        redis.publish(stream, '{"n":5}', id="1-0")
        assert numbers(await receive(ws, 1)) == [5]
