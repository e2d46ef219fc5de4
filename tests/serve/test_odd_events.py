"""Events that are odd: none of them may end a connection, or hide another event."""

import json

import pytest

from harness import receive, until
from wire import TEXT, RawWs


async def test_text_that_is_not_json_is_sent_as_it_is(broker, redis, stream):
    events = ["plain text", "{broken json", "", "\n\r\t", "NaN", "\x00\x01", "'quoted'"]
    async with broker.connect(stream) as ws:
        for event in events:
            redis.publish(stream, event)
        assert await receive(ws, len(events)) == events


async def test_an_empty_event_is_a_message_too(broker, redis, stream):
    async with broker.connect(stream, from_="first") as ws:
        redis.publish_all(stream, ["", "", "end"])
        assert await receive(ws, 3) == ["", "", "end"]


INVALID_UTF_8 = [
    b"\xff",
    b"ok then \x80",
    b"\xc0\xaf",  # overlong
    b"\xed\xa0\x80",  # a surrogate
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    b"cut short \xe2\x82",
]


async def test_invalid_utf_8_is_skipped_and_logged(broker, redis, stream):
    async with broker.connect(stream) as ws:
        ids = []
        for data in INVALID_UTF_8:
            ids.append(redis.publish(stream, data))
            redis.publish(stream, "good")
        redis.publish(stream, "end")
        assert await receive(ws, len(INVALID_UTF_8) + 1) == ["good"] * len(INVALID_UTF_8) + ["end"]
    line = broker.wait_log([stream, ids[0]])
    assert line["level"] == "warn"
    assert "\ufffd" not in broker.log_text(), "the bytes themselves do not belong into the log"


async def test_invalid_utf_8_is_skipped_in_a_replay(broker, redis, stream):
    redis.publish_all(stream, ["one", b"\xff", "two"])
    async with broker.connect(stream, from_="first") as ws:
        redis.publish(stream, "live")
        assert await receive(ws, 3) == ["one", "two", "live"]


async def test_the_log_of_invalid_utf_8_is_rate_limited(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.publish_all(stream, [b"\xff"] * 1000 + ["end"])
        assert await receive(ws, 1) == ["end"]
    broker.wait_log(stream)
    lines = [line for line in broker.log_text().splitlines() if stream in line and "utf" in line]
    assert 1 <= len(lines) <= 20, lines[:30]


async def test_an_event_without_data_is_a_json_object_of_its_fields(broker, redis, stream):
    key = f"stream:{stream}"
    async with broker.connect(stream) as ws:
        redis.client.xadd(key, {"price": "42.5", "note": 'a "quoted" \\ line\n\x01', "ü": "流"})
        redis.client.xadd(key, {"": "empty name", "Data": "another case", "empty": ""})
        redis.client.xadd(key, {"n": 1})
        first, second, third = await receive(ws, 3)
    assert json.loads(first) == {"price": "42.5", "note": 'a "quoted" \\ line\n\x01', "ü": "流"}
    assert list(json.loads(first)) == ["price", "note", "ü"]
    assert json.loads(second) == {"": "empty name", "Data": "another case", "empty": ""}
    assert json.loads(third) == {"n": "1"}


async def test_other_fields_beside_data_are_not_sent(broker, redis, stream):
    async with broker.connect(stream) as ws:
        redis.client.xadd(f"stream:{stream}", {"a": "1", "data": '{"x":1}', "z": "2"})
        assert await receive(ws, 1) == ['{"x":1}']


async def test_fields_that_are_not_utf_8_hurt_nothing(broker, redis, stream):
    """There is no JSON for them: skipped like data that is not UTF-8."""
    key = f"stream:{stream}"
    async with broker.connect(stream) as ws:
        redis.client.xadd(key, {"f": b"\xff"})
        redis.client.xadd(key, {b"\xfe": "v"})
        redis.publish(stream, "end")
        assert await receive(ws, 1) == ["end"]


async def test_unicode(broker, redis, stream):
    events = ["é", "流", "🔑", "e\u0301", "\u200f\ufeff", "\U0010ffff", "߿ࠀ\uffff𐀀"]
    async with broker.connect(stream) as ws:
        redis.publish_all(stream, events)
        assert await receive(ws, len(events)) == events


@pytest.mark.parametrize(
    "size, header",
    [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65535, 4), (65536, 10), (1 << 20, 10)],
)
def test_the_length_takes_the_shortest_form(broker, redis, stream, size, header):
    event = ("0123456789abcdef" * (size // 16 + 1))[:size]
    with RawWs(broker, stream) as ws:
        redis.publish(stream, event)
        frame = ws.next_frame()
    assert (frame.fin, frame.opcode, frame.header_len) == (True, TEXT, header)
    assert frame.payload.decode() == event


async def test_large_events_replay_too(broker, redis, stream):
    events = [str(i) * (1 << 20) for i in range(4)]
    redis.publish_all(stream, events)
    async with broker.connect(stream, after="0-0") as ws:
        assert await receive(ws, 4) == events


async def test_a_stream_of_odd_ids(broker, redis, stream):
    """Ids need not be timestamps; order is what counts."""
    async with broker.connect(stream) as ws:
        for id_ in ("0-1", "0-2", "1-0", "7-18446744073709551615", "8-0"):
            redis.publish(stream, f"at {id_}", id=id_)
        redis.publish(stream, "at the end", id="18446744073709551615-18446744073709551615")
        assert await receive(ws, 6) == [
            *(f"at {i}" for i in ("0-1", "0-2", "1-0", "7-18446744073709551615", "8-0")),
            "at the end",
        ]
    async with broker.connect(stream, from_="7-18446744073709551615") as ws:
        got = await receive(ws, 1)
        assert got[0].startswith("at ")


async def test_odd_events_do_not_end_a_client(broker, redis, stream):
    """The first broker closed every client with 1011, again on each reconnect."""
    key = f"stream:{stream}"
    async with broker.connect(stream) as ws:
        redis.publish(stream, "{")
        redis.client.xadd(key, {"no": "data"})
        redis.publish(stream, b"\xff\xff")
        redis.publish(stream, "end")
        assert await receive(ws, 3) == ["{", '{"no":"data"}', "end"]
        await until(lambda: ws.open, "the client was closed")
