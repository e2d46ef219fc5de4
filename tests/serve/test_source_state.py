"""Silence that means nothing: clients that can be told learn within two seconds that Redis
cannot be read, and that it can again only when they have had what they missed."""

import asyncio
import json
import signal
import time

import pytest
from redis.exceptions import ResponseError

from harness import Port, receive, seconds, until
from told import Sse, checked, ids, kinds, told, told_raw
from wire import RawWs


def envelope(broker, stream, **query):
    return broker.connect(stream, format="envelope", **query)


async def stale(ws, within=2):
    """Waits for `stale`; how long it took is the promise."""
    before = time.monotonic()
    message = (await told(ws, "source", within=within + 8))[-1]
    took = time.monotonic() - before
    assert message["state"] == "stale"
    assert took < seconds(within) + 0.2, f"after {took:.1f} s"
    return message


@pytest.mark.parametrize("how", ["hang", "kill", "freeze", "cut"])
async def test_stale_within_two_seconds(start, stream, how):
    redis = start.redis(appendonly=True)
    proxy = start.proxy(redis)
    broker = start.broker(proxy if how in ("freeze", "cut") else redis)
    async with envelope(broker, stream) as ws, envelope(broker, "other") as other:
        await told(ws, "live")
        await told(other, "live")
        if how == "cut":
            proxy.switch(Port().number)
        else:
            {"hang": redis.hang, "kill": redis.kill, "freeze": proxy.freeze}[how]()
        first, second = await asyncio.gather(stale(ws), stale(other))
        assert 0 <= first["for_ms"] <= seconds(2500)
        if how == "cut":
            proxy.switch(redis.port)
        else:
            {"hang": redis.go_on, "kill": redis.restart, "freeze": proxy.thaw}[how]()
        for client in (ws, other):
            assert (await told(client, "source", within=15))[-1]["state"] == "ok"


async def test_the_time_is_a_setting(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_STALE_MS=500)
    async with envelope(broker, stream) as ws:
        await told(ws, "live")
        redis.hang()
        await stale(ws, within=1)
        redis.go_on()


@pytest.mark.parametrize("form", ["envelope", "deflated"])
@pytest.mark.parametrize("how", ["hang", "restart", "switch"])
async def test_ok_never_comes_before_what_was_missed(start, stream, how, form):
    redis = start.redis(appendonly=True)
    proxy = start.proxy(redis)
    broker = start.broker(proxy if how == "switch" else redis)
    events = [json.dumps({"n": n, "pad": "x" * 300}) for n in range(1500)]
    compression = "deflate" if form == "deflated" else None
    async with envelope(broker, stream, compression=compression) as ws:
        await told(ws, "live")
        if how == "hang":
            redis.hang()
            await told(ws, "source", state="stale")
            redis.go_on()
            published = redis.publish_all(stream, events)
        elif how == "restart":
            redis.kill()
            await told(ws, "source", state="stale")
            redis.restart()
            published = redis.publish_all(stream, events)
        else:
            proxy.switch(Port().number)
            await told(ws, "source", state="stale")
            published = redis.publish_all(stream, events)
            proxy.switch(redis.port)
        got = await told(ws, "event", id=published[-1], within=20)
        if how == "switch":
            assert kinds(got) == ["event"] * len(events), "ok came before the last of them"
            assert (await told(ws, "source"))[0]["state"] == "ok"
        assert ids(got) == published


async def test_ok_of_a_quiet_stream(start, stream):
    """It was read, and nothing had come: that is worth saying."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        await told(ws, "live")
        for _ in range(2):
            redis.kill()
            await stale(ws)
            redis.restart()
            assert await told(ws, "source") == [{"type": "source", "state": "ok"}]


async def test_ok_comes_behind_the_gap(start, stream):
    """Redis came back empty."""
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        last = redis.publish(stream, "1")
        await told(ws, "event", id=last)
        redis.kill()
        await stale(ws)
        redis.start()
        got = await told(ws, "source", state="ok")
    assert kinds(got) == ["gap", "source"]
    assert got[0]["reason"] == "reset"


async def test_a_client_that_connects_in_between_is_told_at_once(start, stream):
    """To a stream that the broker knows, and to one that it does not."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    published = redis.publish_all(stream, ["1", "2"])
    async with envelope(broker, stream) as ws:
        await told(ws, "live")
        redis.kill()
        await stale(ws)
        async with envelope(broker, stream, from_="first") as known:
            got = await told(known, "source", within=1)
            assert kinds(got) == ["hello", "source"], "before the replay"
            got += await told(known, "live")
            assert ids(got) == published
            async with envelope(broker, "unknown", from_="first") as unknown:
                got = await told(unknown, "source", within=2.5)
                assert kinds(got) == ["hello", "source"]
                redis.restart()
                for client in (ws, known, unknown):
                    got = await told(client, "source", state="ok", within=15)
                    assert set(kinds(got)) <= {"source", "live"}


async def test_a_client_that_waits_inside_is_told(start, stream):
    """Redis hangs, and the broker does not know it yet when the client comes."""
    redis = start.redis()
    broker = start.broker(redis)
    redis.hang()
    async with envelope(broker, stream) as ws:
        await stale(ws)
        redis.go_on()
        got = await told(ws, "source", state="ok", within=15)
        if "live" not in kinds(got):
            got += await told(ws, "live")
    assert sorted(kinds(got)) == ["live", "source"]


async def test_a_client_that_falls_behind_meanwhile_gets_ok_in_its_place(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    with RawWs(broker, stream, format="envelope", rcvbuf=4096) as slow:
        told_raw(slow, "live")
        async with envelope(broker, stream) as witness:
            await told(witness, "live")
            redis.kill()
            await stale(witness)
            redis.restart()
            published = redis.publish_all(stream, [json.dumps("x" * 16_000)] * 300)
            await told(witness, "event", id=published[-1])
        got = told_raw(slow, "event", id=published[-1])
        if "ok" not in [m.get("state") for m in got]:
            got += told_raw(slow, "source", state="ok")
    assert [m["state"] for m in got if m["type"] == "source"] == ["stale", "ok"]
    assert ids(got) == published


async def test_events_that_still_come_do_not_end_it(start, stream):
    """What was in the log goes out though Redis is away; the state stays stale."""
    redis = start.redis()
    broker = start.broker(redis)
    published = redis.publish_all(stream, ["1", "2", "3"])
    async with envelope(broker, stream) as ws:
        await told(ws, "live")
        redis.hang()
        await stale(ws)
        async with envelope(broker, stream, after=published[0]) as late:
            got = await told(late, "live")
            assert ids(got) == published[1:]
            with pytest.raises(asyncio.TimeoutError):  # nothing may come
                raise AssertionError(await asyncio.wait_for(late.recv(), 0.5))
        redis.go_on()


def test_sse_is_told_too(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        redis.kill()
        [event] = sse.up_to("source")
        assert checked(event["data"])["state"] == "stale"
        redis.restart()
        [event] = sse.up_to("source")
        assert checked(event["data"]) == {"type": "source", "state": "ok"}


async def test_raw_clients_hear_nothing_of_it(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "1")
        redis.kill()
        await until(lambda: broker.ready() == 503, "it is still ready")
        redis.restart()
        await until(lambda: broker.ready() == 200, "it is not ready")
        redis.publish(stream, "2")
        assert await receive(ws, 2) == ["1", "2"]


async def up_to_date(ws):
    """Until the client is told so, if it was told otherwise: what it is told meanwhile."""
    got = []
    while True:
        try:
            got.append(checked(await asyncio.wait_for(ws.recv(), seconds(0.5))))
        except asyncio.TimeoutError:
            if not got or got[-1] == {"type": "source", "state": "ok"}:
                return got


@pytest.mark.parametrize("who", ["broker", "redis"])
@pytest.mark.parametrize("quiet", [True, False], ids=["quiet", "busy"])
async def test_after_a_silence_only_what_changed_is_read(start, stream, who, quiet):
    """The connection stood, so Redis has said what changed, or is about to. Streams that did
    not change are up to date without a read, whoever it was that did not listen."""
    redis = start.redis()
    broker = start.broker(redis, BOND_STALE_MS=400)
    names = [f"{stream}-{n}" for n in range(60)]
    clients = [await envelope(broker, name) for name in names]
    for name, ws in zip(names, clients):
        event = redis.publish(name, "1")
        await told(ws, "event", id=event)
    before = redis.calls("xrange")
    process = broker.process if who == "broker" else redis.process
    process.send_signal(signal.SIGSTOP)
    if who == "broker" and not quiet:
        event = redis.publish(names[0], "2")
    time.sleep(2)  # longer than BOND_STALE_MS: that is the subject
    process.send_signal(signal.SIGCONT)
    if who == "redis" and not quiet:
        event = redis.publish(names[0], "2")
    if not quiet:
        await told(clients[0], "event", id=event)
    await asyncio.gather(*map(up_to_date, clients))
    assert redis.calls("xrange") - before < len(names) / 2
    for ws in clients:
        await ws.close()


async def test_a_script_that_runs_for_ever_is_no_recovery(start, stream):
    """Redis hangs in it, and is stale; then it answers each command with BUSY, which is a word
    but no data. The stream is up to date when it can be read, not before."""
    redis = start.redis(config=["busy-reply-threshold 500"])
    broker = start.broker(redis, BOND_STALE_MS=int(seconds(1) * 1000), BOND_REDIS_CONNECTIONS=1)
    script, admin = redis.connect(), redis.connect()
    assert script.ping() and admin.ping()  # they are connected
    async with envelope(broker, stream) as ws:
        event = redis.publish(stream, "1")
        await told(ws, "event", id=event)
        reads = redis.calls("xrange")  # a stream is read each second: not while it hangs
        await until(lambda: redis.calls("xrange") > reads, "no stream is read now and then")
        loop = asyncio.get_running_loop()  # a task would begin with the next wait only
        endless = loop.run_in_executor(None, script.eval, "while true do end", 0)
        await stale(ws)
        broker.wait_log(["redis_unreadable", "BUSY"])
        with pytest.raises(asyncio.TimeoutError):  # nothing may come
            raise AssertionError(await asyncio.wait_for(ws.recv(), 1))
        assert broker.ready() == 503
        admin.script_kill()
        with pytest.raises(ResponseError):
            await endless
        assert await told(ws, "source") == [{"type": "source", "state": "ok"}]
