"""BOND_EXPIRE_LIVE=1: a token's end is its connection's end, announced 30 s ahead, and a
client of the envelope can put a new token in the old one's place."""

import asyncio
import json
import time

import pytest

from harness import close_of, mint, receive, seconds, sign, until, ws_path
from told import Sse, auth, checked, kinds, told, told_raw
from wire import BINARY, CONT, TEXT, Hangup, RawWs, refusal, upgrade


@pytest.fixture(scope="module")
def redis(house):
    return house.redis()


@pytest.fixture(scope="module")
def file_broker(house, redis):
    return house.broker(redis, BOND_EXPIRE_LIVE=1)


def envelope(broker, stream, ttl, **query):
    return broker.connect(stream, format="envelope", token=mint(stream, ttl=ttl), **query)


# Announced.


@pytest.mark.parametrize("ttl", [3, 15, 29])
async def test_a_token_that_ends_soon_is_announced_at_once(broker, stream, ttl):
    before = time.monotonic()
    async with envelope(broker, stream, ttl) as ws:
        got = await told(ws, "expiring", within=2)
    assert time.monotonic() - before < seconds(2)
    assert ttl - 2 <= got[-1]["in_s"] <= ttl
    assert kinds(got).index("hello") == 0


async def test_expiring_about_30_s_ahead(broker, stream):
    async with envelope(broker, stream, 33) as ws:
        await told(ws, "live")
        before = time.time()
        [message] = await told(ws, "expiring", within=6)
        assert 29 <= message["in_s"] <= 30
        assert time.time() - before > 1, "too early"


async def test_expiring_comes_once(broker, stream):
    async with envelope(broker, stream, 3) as ws:
        await told(ws, "expiring")
        got = await told(ws, "closing")
    assert kinds(got) == ["closing"]


async def test_a_long_token_is_not_announced(broker, redis, stream):
    async with envelope(broker, stream, 3600) as ws:
        await told(ws, "live")
        await asyncio.sleep(1)  # four times what it takes to look
        redis.publish(stream, "1")
        assert kinds(await told(ws, "event")) == ["event"]


# The end: 4001.


async def test_4001_raw(broker, redis, stream):
    expiry = int(time.time()) + 2
    async with broker.connect(stream, token=mint(stream, expiry=expiry)) as ws:
        redis.publish(stream, "1")
        assert await receive(ws, 1) == ["1"]
        code, reason = await close_of(ws)
        late = time.time() - expiry
    assert code == 4001
    assert "expired" in reason
    assert 0 < late < 1 + seconds(1), "valid up to its last second, and not much longer"


async def test_4001_envelope(broker, redis, stream):
    async with envelope(broker, stream, 2) as ws:
        last = redis.publish(stream, "1")
        await told(ws, "event")
        got = await told(ws, "closing")
        await asyncio.wait_for(ws.wait_closed(), seconds(5))
    closing = got[-1]
    assert (closing["code"], closing["reason"]) == (ws.close_code, ws.close_reason)
    assert closing["code"] == 4001
    assert closing["last"] == last


def test_4001_sse_ends(broker, stream):
    """It has no codes; who reconnects is refused, and EventSource gives up."""
    token = mint(stream, ttl=2)
    with Sse(broker, stream, token=token) as sse:
        sse.up_to("live")
        with pytest.raises(Hangup):
            sse.next()
        assert sse.buffer == b""
    refusal(upgrade(broker.port, ws_path(stream, token)), 403, "token_expired")


async def test_clients_with_longer_tokens_stay(broker, redis, stream):
    async with broker.connect(stream, token=mint(stream, ttl=2)) as short:
        async with broker.connect(stream, token=mint(stream, ttl=600)) as long:
            assert (await close_of(short))[0] == 4001
            redis.publish(stream, "still here")
            assert await receive(long, 1) == ["still here"]


async def test_many_end_at_once(broker, redis, stream):
    expiry = int(time.time()) + 2
    token = mint(stream, expiry=expiry)
    async with broker.connect(stream) as stays:
        sockets = [await broker.connect(stream, token=token) for _ in range(100)]
        closes = await asyncio.gather(*map(close_of, sockets))
        assert {code for code, _ in closes} == {4001}
        redis.publish(stream, "still here")
        assert await receive(stays, 1) == ["still here"]


async def test_events_come_until_the_end(broker, redis, stream):
    async with broker.connect(stream, token=mint(stream, ttl=2)) as ws:
        got = asyncio.create_task(all_of(ws))
        sent = 0
        while not got.done():
            redis.publish(stream, str(sent))
            sent += 1
            await asyncio.sleep(0.02)
        messages, code = await got
    assert code == 4001
    assert messages == [str(i) for i in range(len(messages))]
    assert sent - len(messages) < 30 * seconds(1)


async def all_of(ws):
    got = []
    try:
        while True:
            got.append(await ws.recv())
    except Exception as closed:
        return got, closed.rcvd.code


# Renewal.


@pytest.mark.parametrize("how", ["text", "spaced", "fragmented", "64-digits"])
async def test_renewal(broker, redis, stream, how):
    with RawWs(broker, stream, format="envelope", token=mint(stream, ttl=2)) as ws:
        told_raw(ws, "expiring")
        message = auth(stream, ttl=600, digits=64 if how == "64-digits" else 16)
        if how == "fragmented":
            ws.frame(TEXT, message[:10], fin=False)
            for character in message[10:-1]:
                ws.frame(CONT, character, fin=False)
            ws.frame(CONT, message[-1])
        else:
            ws.frame(TEXT, f" \n{message}\n" if how == "spaced" else message)
        renewed = told_raw(ws, "expiring")[-1]
        assert 590 < renewed["in_s"] <= 600
        await asyncio.sleep(2.5)  # past the end of the first token, the subject
        redis.publish(stream, "1")
        assert kinds(told_raw(ws, "event")) == ["event"]


async def test_renewal_by_a_short_one_ends_then(broker, stream):
    async with envelope(broker, stream, 600) as ws:
        await told(ws, "live")
        await ws.send(auth(stream, ttl=2))
        assert (await told(ws, "expiring"))[-1]["in_s"] <= 2
        assert (await told(ws, "closing"))[-1]["code"] == 4001


async def test_renewal_again_and_again(broker, redis, stream):
    async with envelope(broker, stream, 3) as ws:
        await told(ws, "live")
        end = time.monotonic() + 5
        while time.monotonic() < end:
            await ws.send(auth(stream, ttl=3))
            await told(ws, "expiring")
            await asyncio.sleep(0.5)  # each token lives on its own
        redis.publish(stream, "1")
        await told(ws, "event")


BAD = {
    "expired": lambda s: auth(s, ttl=-5),
    "of another stream": lambda s: json.dumps({"type": "auth", "token": mint("another")}),
    "of another secret": lambda s: auth(s, secret="no"),
    "malformed": lambda s: json.dumps({"type": "auth", "token": "garbage"}),
    "empty": lambda s: json.dumps({"type": "auth", "token": ""}),
}


@pytest.mark.parametrize("which", BAD)
async def test_a_bad_renewal_changes_nothing(broker, stream, which):
    async with envelope(broker, stream, 3) as ws:
        await told(ws, "expiring")
        await ws.send(BAD[which](stream))
        got = await told(ws, "closing")
    assert got[-1]["code"] == 4001
    assert all(m["in_s"] <= 3 for m in got if m["type"] == "expiring")


def noise(stream):
    token = mint(stream, ttl=600)
    return [
        "",
        "{",
        "[]",
        '"auth"',
        "null",
        "1",
        json.dumps({"type": "hello", "token": token}),
        json.dumps({"type": "auth"}),
        json.dumps({"type": "auth", "token": 5}),
        json.dumps({"type": "auth", "token": [token]}),
        json.dumps({"type": ["auth"], "token": token}),
        json.dumps([{"type": "auth", "token": token}]),
        "[" * 2000,
        '{"a":' * 500,
        "x" * 60_000,
        json.dumps({"type": "auth", "token": token, "pad": "x" * 5000}),
    ]


def test_what_is_no_renewal_means_nothing(broker, redis, stream):
    with RawWs(broker, stream, format="envelope", token=mint(stream, ttl=20)) as ws:
        told_raw(ws, "expiring")
        for text in noise(stream):
            ws.frame(TEXT, text)
        ws.frame(BINARY, auth(stream, ttl=600))
        ws.frame(BINARY, b"\xff")
        redis.publish(stream, "1")
        assert kinds(told_raw(ws, "event")) == ["event"], "something was taken for a renewal"


async def test_a_raw_client_cannot_renew(broker, stream):
    async with broker.connect(stream, token=mint(stream, ttl=2)) as ws:
        await ws.send(auth(stream, ttl=600))
        assert (await close_of(ws))[0] == 4001


def test_tokens_of_renewals_are_not_logged(broker, stream):
    expiry = int(time.time()) + 600
    with RawWs(broker, stream, format="envelope", token=mint(stream, ttl=20)) as ws:
        told_raw(ws, "expiring")
        ws.frame(TEXT, auth(stream, expiry=expiry))
        told_raw(ws, "expiring")
    broker.wait_log(["token_renewal", stream])
    assert sign(stream, expiry)[:16] not in broker.log_text()


# Without the setting.


async def test_without_the_setting_nothing_ends(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    expiry = int(time.time()) + 3
    token = mint(stream, expiry=expiry)
    async with (
        broker.connect(stream, token=token) as raw,
        broker.connect(stream, token=token, format="envelope") as ws,
    ):
        await told(ws, "live")
        with Sse(broker, stream, token=token) as sse:
            sse.up_to("live")
            await ws.send(auth(stream))
            await until(lambda: time.time() > expiry + 1, "time stands still")
            redis.publish(stream, "1")
            assert await receive(raw, 1) == ["1"]
            assert kinds([checked(await ws.recv())]) == ["event"]
            assert sse.events(1) == ["1"]
