"""The envelope: a test for each message of the contract's table, named after it. `checked`
in told.py holds every message to exactly the fields of its row."""

import json
import time

import pytest

from harness import mint, receive, until, ws_path
from told import FIELDS, checked, flood, gap, gaps, ids, kinds, told, told_raw
from wire import RawWs, refusal, upgrade

AGES = [50, 40, 30, 20, 10]


def envelope(broker, stream, **query):
    return broker.connect(stream, format="envelope", **query)


def publish_ages(redis, stream, ages=AGES):
    now = int(time.time() * 1000)
    return [redis.publish(stream, f'"{age}"', id=f"{now - age * 1000}-0") for age in ages]


# How it is asked for.


async def test_format_envelope(broker, stream):
    async with envelope(broker, stream) as ws:
        assert ws.subprotocol is None
        assert kinds(map(checked, await receive(ws, 2))) == ["hello", "live"]


async def test_the_sub_protocol_bond_v1(broker, stream):
    async with broker.connect(stream, subprotocols=["bond.v1"]) as ws:
        assert ws.subprotocol == "bond.v1"
        assert kinds(map(checked, await receive(ws, 2))) == ["hello", "live"]


async def test_both(broker, stream):
    async with envelope(broker, stream, subprotocols=["bond.v1"]) as ws:
        assert ws.subprotocol == "bond.v1"
        assert kinds(map(checked, await receive(ws, 2))) == ["hello", "live"]


async def test_the_sub_protocol_with_the_token_in_it(broker, stream):
    offered = ["bond.v1", f"bond.token.{mint(stream)}"]
    async with broker.connect(stream, token="", subprotocols=offered) as ws:
        assert ws.subprotocol == "bond.v1"
        assert kinds(map(checked, await receive(ws, 2))) == ["hello", "live"]


async def test_format_raw_is_the_default_and_can_be_said(broker, redis, stream):
    async with broker.connect(stream, format="raw") as said, broker.connect(stream) as unsaid:
        redis.publish(stream, "only this")
        assert await receive(said, 1) == await receive(unsaid, 1) == ["only this"]


def test_raw_and_bond_v1_contradict_each_other(broker, stream):
    offer = ["Sec-WebSocket-Protocol: bond.v1"]
    reply = upgrade(broker.port, ws_path(stream, format="raw"), offer)
    assert "raw" in refusal(reply, 400, "bad_request")


@pytest.mark.parametrize("value", ["json", "Envelope", "raw,envelope"])
def test_another_format_is_refused(broker, stream, value):
    reply = upgrade(broker.port, ws_path(stream, format=value))
    assert "format" in refusal(reply, 400, "bad_request")


# hello: first of all.


async def test_hello_of_an_empty_stream(broker, stream):
    async with envelope(broker, stream, from_="first") as ws:
        hello = checked(await ws.recv())
    assert hello == {
        "type": "hello",
        "stream": stream,
        "first": None,
        "last": None,
        "ring_seconds": 60,
    }


async def test_hello_of_a_stream_with_events(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    published = publish_ages(redis, stream)
    async with envelope(broker, stream) as ws:
        hello = checked(await ws.recv())
    assert hello["first"] == published[3], "the oldest within the ring's window"
    assert hello["last"] == published[-1]
    assert hello["ring_seconds"] == 25


async def test_hello_of_a_stream_whose_events_are_all_too_old(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=5)
    published = publish_ages(redis, stream)
    async with envelope(broker, stream) as ws:
        hello, live = map(checked, await receive(ws, 2))
    assert (hello["first"], hello["last"]) == (None, published[-1])
    assert live["id"] == published[-1]


async def test_hello_names_a_stream_of_any_spelling(broker, redis):
    name = 'sträm "1" \\ 流'
    async with envelope(broker, name) as ws:
        redis.publish(name, "1")
        got = await told(ws, "event")
    assert [m["stream"] for m in got] == [name] * 3


# event.


async def test_event(broker, redis, stream):
    async with envelope(broker, stream) as ws:
        id_ = redis.publish(stream, '{"price": 1}')
        event = (await told(ws, "event"))[-1]
    assert event == {"type": "event", "stream": stream, "id": id_, "data": {"price": 1}}


JSONS = [
    '{"a":1}',
    '{ "spaces" :  [ 1 , 2 ] , "same":1, "same":2 }',
    '{"n":12345678901234567890.10, "e":1E+2, "z":-0.0}',
    '"\\u00fc \\/ ü \\ud83d\\udd11"',
    "[]",
    "null",
    "0",
    ' \t"space around"\t ',
    '{"lines":\r\n 2}\n',
    '{"deep":' + "[" * 30 + "]" * 30 + "}",
]


@pytest.mark.parametrize("data", JSONS, ids=lambda d: d[:12].encode("ascii", "replace").hex())
async def test_data_that_is_json_stays_byte_for_byte(broker, redis, stream, data):
    async with envelope(broker, stream) as ws:
        id_ = redis.publish(stream, data)
        await receive(ws, 2)
        [text] = await receive(ws, 1)
    head = f'{{"type":"event","stream":"{stream}","id":"{id_}","data":'
    assert text == head + data + "}"


@pytest.mark.parametrize(
    "data",
    ["plain words", "", " ", "{", "{'a':1}", "NaN", "01", "[1,]", '"open', "1 2", 'quote " and \\',
     "tab\tnul\0bell\a", "two\nlines", "流 🔑"],
    ids=lambda d: d[:8].encode().hex() or "empty",
)  # fmt: skip
async def test_data_that_is_not_json_becomes_a_json_string(broker, redis, stream, data):
    async with envelope(broker, stream) as ws:
        redis.publish(stream, data)
        event = (await told(ws, "event"))[-1]
    assert event["data"] == data


async def test_an_entry_without_data_is_an_object_of_its_fields(broker, redis, stream):
    async with envelope(broker, stream) as ws:
        redis.client.xadd(f"stream:{stream}", {"a": "1", "b": 'x"y'})
        event = (await told(ws, "event"))[-1]
    assert event["data"] == {"a": "1", "b": 'x"y'}


@pytest.mark.parametrize("size", [100, 65_000, 65_300, 300_000])
async def test_data_of_every_size(broker, redis, stream, size):
    async with envelope(broker, stream) as ws:
        redis.publish(stream, json.dumps("x" * size))
        assert (await told(ws, "event"))[-1]["data"] == "x" * size


# live: the replay is over.


async def test_live_comes_behind_the_replay(broker, redis, stream):
    published = redis.publish_all(stream, ["1", "2", "3"])
    async with envelope(broker, stream, from_="first") as ws:
        got = await told(ws, "live")
        new = redis.publish(stream, "4")
        got += await told(ws, "event")
    assert kinds(got) == ["hello", "event", "event", "event", "live", "event"]
    assert ids(got) == [*published, new]
    assert got[4] == {"type": "live", "stream": stream, "id": published[-1]}


async def test_live_comes_behind_the_replay_where_one_event_is_older(broker, redis, stream):
    """The one before the window says nothing of how many lie in it."""
    published = publish_ages(redis, stream, [120, *range(50, 10, -1)])
    async with envelope(broker, stream, from_="first") as ws:
        assert ids(await told(ws, "live")) == published[1:]


async def test_live_comes_when_no_replay_was_asked_for(broker, redis, stream):
    published = redis.publish_all(stream, ["1", "2"])
    async with envelope(broker, stream) as ws:
        got = await told(ws, "live")
    assert kinds(got) == ["hello", "live"]
    assert got[-1]["id"] == published[-1]


async def test_live_of_an_empty_stream(broker, stream):
    async with envelope(broker, stream, from_="first") as ws:
        assert (await told(ws, "live"))[-1]["id"] is None


def test_live_comes_once_and_in_its_place_for_a_client_that_reads_late(start, stream):
    """The replay is larger than a socket takes at once, and events go on meanwhile."""
    redis = start.redis()
    broker = start.broker(redis)
    published = redis.publish_all(stream, [json.dumps("x" * 16_000)] * 300)
    with RawWs(broker, stream, format="envelope", from_="first") as ws:
        assert checked(ws.next_text())["type"] == "hello"
        with RawWs(broker, stream) as witness:
            later = redis.publish_all(stream, ["1", "2", "3"])
            assert [witness.next_text() for _ in range(3)] == ["1", "2", "3"]
        got = told_raw(ws, "event", id=later[-1])
    assert kinds(got) == ["event"] * 300 + ["live"] + ["event"] * 3
    assert ids(got) == published + later
    assert got[300]["id"] == published[-1]


# gap; test_gaps.py has more of each reason.


async def test_gap_window(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    published = publish_ages(redis, stream)
    async with envelope(broker, stream, after=published[0]) as ws:
        got = await told(ws, "live")
    [told_gap] = gaps(got)
    assert told_gap["missed"] in (2, None), "two lie between, if the broker can know"
    assert told_gap | {"missed": 2} == gap(stream, published[0], published[3], "window", 2)
    assert kinds(got) == ["hello", "gap", "event", "event", "live"]


async def test_gap_limit(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=65536)
    async with envelope(broker, stream) as witness:
        published = []
        for _ in range(60):
            published.append(redis.publish(stream, json.dumps("x" * 4000)))
            await told(witness, "event", id=published[-1])
        async with envelope(broker, stream, after=published[0]) as ws:
            got = await told(ws, "live")
    assert kinds(got)[:3] == ["hello", "gap", "event"]
    assert gaps(got) == [gap(stream, published[0], ids(got)[0], "limit", None)]
    assert ids(got) == published[-len(ids(got)) :]


async def test_gap_trimmed(start, stream):
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy)
    async with envelope(broker, stream) as ws:
        last = redis.publish_all(stream, ["1"] * 80)[-1]  # a young stream's have no number
        await told(ws, "event", id=last)
        proxy.freeze()
        published = redis.publish_all(stream, [str(i) for i in range(10)])
        redis.client.xtrim(f"stream:{stream}", maxlen=3, approximate=False)
        proxy.thaw()
        got = await told(ws, "event", id=published[-1])
    assert gaps(got) == [gap(stream, last, published[7], "trimmed", 7)]
    assert kinds(got) == ["gap", "event", "event", "event"]


def test_gap_slow(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    with RawWs(broker, stream, format="envelope", slow="skip") as ws:
        told_raw(ws, "live")
        published = flood(redis, broker, stream)
        got = told_raw(ws, "event", id=published[-1])
    assert {m["reason"] for m in gaps(got)} == {"slow"}
    assert {m["type"] for m in got} == {"gap", "event"}


async def test_gap_reset(broker, redis, stream):
    async with envelope(broker, stream) as ws:
        last = redis.publish(stream, "1")
        await told(ws, "event", id=last)
        redis.delete(stream)
        assert (await told(ws, "gap")) == [gap(stream, last, None, "reset", None)]
        redis.publish(stream, "2", id="5-0")
        assert ids(await told(ws, "event")) == ["5-0"]


# source: Redis cannot be read.


@pytest.mark.parametrize("how", ["hang", "kill"])
async def test_source_stale_then_ok(start, stream, how):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        await told(ws, "live")
        redis.hang() if how == "hang" else redis.kill()
        [stale] = await told(ws, "source")
        assert stale["state"] == "stale"
        assert 0 <= stale["for_ms"] < 60_000
        redis.go_on() if how == "hang" else redis.restart()
        assert await told(ws, "source") == [{"type": "source", "state": "ok"}]


async def test_source_stale_for_a_client_that_connects_while_it_is(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    published = redis.publish_all(stream, ["1", "2"])
    redis.kill()
    await until(lambda: broker.ready() == 503, "it is still ready")
    async with envelope(broker, stream, from_="first") as ws:
        got = await told(ws, "source")
        assert kinds(got) == ["hello", "source"]
        assert got[1]["state"] == "stale"
        redis.restart()
        got = [*await told(ws, "source", state="ok", within=20), checked(await ws.recv())]
    assert ids(got) == published
    assert set(kinds(got)[2:]) == {"source", "live"}


# expiring, closing.


async def test_expiring(start, stream):
    broker = start.broker(start.redis(), BOND_EXPIRE_LIVE=1)
    async with envelope(broker, stream, token=mint(stream, ttl=20)) as ws:
        got = await told(ws, "expiring")
    assert 18 <= got[-1]["in_s"] <= 20


async def test_closing(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        last = redis.publish(stream, "1")
        await told(ws, "event")
        broker.signal()
        closing = (await told(ws, "closing"))[-1]
        await ws.wait_closed()
    assert closing["code"] == ws.close_code == 1001
    assert closing["reason"] == ws.close_reason
    assert closing["last"] == last
    assert closing["reconnect_ms"] > 0


def test_every_row_of_the_table_has_a_test():
    mine = "".join(name for name in globals() if name.startswith("test_"))
    assert [kind for kind in FIELDS if kind not in mine] == []


# All of them stand between other frames, whatever is under way.


def test_a_notice_never_lands_within_a_frame(start, stream):
    """A client in the midst of a large event is told of a stale source behind it."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=1)
    with RawWs(broker, stream, rcvbuf=65536, format="envelope") as ws:
        told_raw(ws, "live")
        redis.publish(stream, json.dumps("x" * 4_000_000))
        head = ws.read(10)
        with RawWs(broker, "other", format="envelope") as witness:
            redis.kill()
            told_raw(witness, "source", state="stale")
        ws.buffer = head + ws.buffer
        assert len(checked(ws.next_text())["data"]) == 4_000_000
        assert checked(ws.next_text())["state"] == "stale"
        redis.start()
        got = told_raw(ws, "source", state="ok")
    assert kinds(got) == ["gap", "source"], "Redis came back empty"
