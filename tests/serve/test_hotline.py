"""The second connection, on which the streams that change now are waited for: it brings
events sooner, and whatever happens to it or to them, nothing else."""

import asyncio
import re
import time

import pytest

from harness import ROOT, receive, receive_up_to, seconds, until
from told import gaps, ids, told


def key(stream):
    return f"stream:{stream}"


def rounds(redis):
    return redis.calls("xread")


async def warm_up(redis, stream, ws, count=5):
    """Events, one by one, until the stream is waited for."""
    before, end_at = rounds(redis), time.monotonic() + seconds(15)
    while time.monotonic() < end_at:
        redis.publish(stream, "warm")
        assert await receive(ws, 1) == ["warm"]
        if rounds(redis) - before >= count:
            return
        await asyncio.sleep(0.01)  # not so fast that it is not worth it
    raise AssertionError("the hotline is not used")


async def delays(redis, stream, ws, count):
    """How long each of so many events took, one by one."""
    took = []
    for i in range(count):
        began = time.monotonic()
        redis.publish(stream, str(i))
        assert await receive(ws, 1) == [str(i)]
        took.append(time.monotonic() - began)
    return took


async def test_a_stream_that_changes_is_waited_for(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
        before = redis.calls("xread", "xrange")
        for i in range(50):
            redis.publish(stream, str(i))
            assert await receive(ws, 1) == [str(i)]
            await asyncio.sleep(0.005)
        reads = redis.calls("xread", "xrange") - before
    assert reads <= 50 * 2 + 20, "a wait and a read for each event, and a recheck now and then"
    assert len(redis.others()) <= 2


async def test_a_stream_that_is_quiet_again_is_not(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
        await asyncio.sleep(3.5)  # its two seconds, and the wait that was under way
        before = redis.calls("xread", "xrange")
        await asyncio.sleep(1.5)
        assert redis.calls("xread", "xrange") - before <= 3
        redis.publish(stream, "after a silence")
        assert await receive(ws, 1) == ["after a silence"]


async def test_one_connection_if_you_say_so(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_CONNECTIONS=1)
    async with broker.connect(stream) as ws:
        for i in range(30):
            redis.publish(stream, str(i))
            assert await receive(ws, 1) == [str(i)]
        assert len(redis.others()) == 1
    assert rounds(redis) == 0


async def test_more_streams_than_are_waited_for(start, stream):
    """Ten that change at once: each gets all of its own, in order."""
    redis = start.redis()
    broker = start.broker(redis)
    names = [f"{stream}-{i}" for i in range(10)]
    sockets = [await broker.connect(name) for name in names]
    for n in range(20):
        for name in names:
            redis.publish(name, f"{name} {n}")
        await asyncio.sleep(0.02)
    for name, ws in zip(names, sockets, strict=True):
        assert await receive(ws, 20) == [f"{name} {n}" for n in range(20)]
        await ws.close()
    assert rounds(redis) > 0, "the hotline is not used"


# What happens to the stream.


@pytest.mark.parametrize("new_id", ["*", "1-0"])
async def test_it_is_deleted_and_begun_anew(start, stream, new_id):
    """XREAD does not end for a DEL, nor for ids that are lower."""
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as raw, broker.connect(stream, format="envelope") as ws:
        await warm_up(redis, stream, raw)
        redis.client.delete(key(stream))
        began = time.monotonic()
        new = redis.publish(stream, "of another life", id=new_id)
        got = await told(ws, "event", id=new, data="of another life")
        assert time.monotonic() - began < seconds(1)
        assert [g["reason"] for g in gaps(got)] == ["reset"]
        assert await receive(raw, 1) == ["of another life"]


async def test_it_is_deleted_and_stays_away(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as raw, broker.connect(stream, format="envelope") as ws:
        await warm_up(redis, stream, raw)
        redis.client.delete(key(stream))
        await told(ws, "gap", within=1, reason="reset")


async def test_what_was_trimmed_before_it_was_read_is_told(start, stream):
    """In one transaction, so that nobody can have read it."""
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as raw, broker.connect(stream, format="envelope") as ws:
        await warm_up(redis, stream, raw)
        redis.publish_all(stream, ["0"] * 80)  # a young stream's losses have no number
        await receive(raw, 80)
        pipe = redis.client.pipeline(transaction=True)
        for i in range(5):
            pipe.xadd(key(stream), {"data": str(i)})
        pipe.xtrim(key(stream), maxlen=2, approximate=False)
        added = pipe.execute()
        got = await told(ws, "event", id=added[4].decode())
    [gap] = gaps(got)
    assert (gap["reason"], gap["missed"], gap["before"]) == ("trimmed", 3, added[3].decode())
    assert ids(got)[-2:] == [added[3].decode(), added[4].decode()]


async def test_a_burst_larger_than_a_page(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
        events = [f"{i} " + "x" * 1000 for i in range(5000)]
        redis.publish_all(stream, events)
        assert await receive(ws, len(events)) == events


async def test_it_becomes_something_else(start, stream):
    """WRONGTYPE closes its clients; another stream that was waited for goes on."""
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws, broker.connect(f"{stream}-2") as other:
        await warm_up(redis, f"{stream}-2", other)
        await warm_up(redis, stream, ws)
        pipe = redis.client.pipeline(transaction=True)
        pipe.delete(key(stream)).set(key(stream), "no stream").execute()
        await asyncio.wait_for(ws.wait_closed(), seconds(5))
        assert ws.close_code == 1011
        await warm_up(redis, f"{stream}-2", other)


async def test_its_last_client_goes_while_it_is_waited_for(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=1)
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
    await asyncio.sleep(1.3)  # it is unfollowed
    redis.publish(stream, "nobody hears it")
    async with broker.connect(stream) as ws:
        redis.publish(stream, "somebody is back")
        assert await receive(ws, 1) == ["somebody is back"]


# What happens to the connection.


async def publish_for(redis, stream, length, pause=0.005):
    """Numbers, for so many seconds; how many."""
    count, end_at = 0, time.monotonic() + length
    while time.monotonic() < end_at:
        redis.publish(stream, str(count))
        count += 1
        await asyncio.sleep(pause)
    return count


async def test_it_is_cut_again_and_again(start, stream):
    """Either of the two, while events go on."""
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
        publishing = asyncio.create_task(publish_for(redis, stream, 3))
        for i in range(12):
            for c in redis.others()[-1 - i % 2 :]:
                redis.client.client_kill_filter(_id=c["id"])
            await asyncio.sleep(0.25)
        count = await publishing
        assert await receive(ws, count) == [str(i) for i in range(count)]


@pytest.mark.parametrize("refused", ["-xread", "-info"])
async def test_redis_refuses_it(start, stream, refused):
    redis = start.redis()
    broker = start.broker(redis.limited(f"~* +@all {refused}"))
    async with broker.connect(stream) as ws:
        took = await delays(redis, stream, ws, 100)
        assert sorted(took)[90] < seconds(0.09), f"they waited for a recheck: {took}"
    tries = redis.client.info("commandstats").get("cmdstat_xread", {}).get("rejected_calls", 0)
    assert tries <= 2, "it asks again and again"


async def test_the_rights_that_the_manual_names_are_enough(start, stream):
    text = (ROOT / "docs/operating.md").read_text()
    [rights] = re.findall(r"ACL SETUSER broker (on >password .*\n(?: +\+.*\n)+)", text)
    redis = start.redis()
    redis.client.execute_command("ACL SETUSER broker " + " ".join(rights.split()))
    broker = start.broker(f"redis://broker:password@127.0.0.1:{redis.port}/0")
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
    assert "following=tracking" in broker.log_text()
    assert "checks_off" not in broker.log_text()
    refused = redis.client.info("commandstats").values()
    assert sum(command.get("rejected_calls", 0) for command in refused) == 0


async def test_it_leads_to_another_server(start, stream):
    """A name that stands for several: what the second one has is none of ours."""
    redis, other = start.redis(), start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy)
    proxy.target = other.port  # for the next connection; the first stays
    async with broker.connect(stream) as ws:
        for i in range(100):
            redis.publish(stream, str(i))
            other.publish(stream, f"other {i}")
            assert await receive(ws, 1) == [str(i)]
    assert 2 <= proxy.accepted <= 4
    assert rounds(redis) == rounds(other) == 0


async def test_it_hangs(start, stream):
    """Redis does not answer at all for longer than is allowed."""
    redis = start.redis()
    broker = start.broker(redis, BOND_REDIS_TIMEOUT_MS=400, BOND_STALE_MS=300)
    async with broker.connect(stream) as ws:
        await warm_up(redis, stream, ws)
        redis.hang()
        await until(lambda: broker.ready() == 503, "stale")
        await asyncio.sleep(1)
        redis.go_on()
        redis.publish(stream, "it goes on")
        assert (await receive_up_to(ws, "it goes on"))[-1] == "it goes on"
        await until(lambda: broker.ready() == 200, "ready")
        await warm_up(redis, stream, ws)


async def test_where_tracking_is_refused_it_does_not_wait_for_the_poll(start, stream):
    redis = start.redis()
    broker = start.broker(redis.limited("~* +@all -client"), BOND_POLL_MS=1000)
    async with broker.connect(stream) as ws:
        took = await delays(redis, stream, ws, 30)
    assert sorted(took)[len(took) // 2] < 0.5, took
