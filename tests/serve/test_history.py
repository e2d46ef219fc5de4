"""GET /history: what the ring holds, as one JSON object."""

import json
import time

import pytest

from harness import mint, seconds
from told import history_path
from wire import RawWs, Wire, get, refusal, request

PAGE = "https://page.example"


def history(broker, stream, **query):
    reply = get(broker.port, history_path(stream, **query))
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"].split(";")[0] == "application/json"
    assert reply.headers["transfer-encoding"] == "chunked" and "content-length" not in reply.headers
    answer = reply.json()
    assert set(answer) == {"stream", "events", "last", "complete"}
    assert all(set(event) == {"id", "data"} for event in answer["events"])
    assert answer["last"] == (answer["events"][-1]["id"] if answer["events"] else None)
    assert answer["stream"] == stream
    return answer


def ids(answer):
    return [event["id"] for event in answer["events"]]


def test_an_empty_stream(broker, stream):
    answer = history(broker, stream)
    assert answer == {"stream": stream, "events": [], "last": None, "complete": True}


def test_without_a_start_it_is_all_there_is(broker, redis, stream):
    published = redis.publish_all(stream, ['{"a":1}', '"b"', "text"])
    answer = history(broker, stream)
    assert ids(answer) == published
    assert [e["data"] for e in answer["events"]] == [{"a": 1}, "b", "text"]
    assert answer["complete"] is True


def test_data_stays_byte_for_byte(broker, redis, stream):
    data = '{ "n":1.50,"n":12345678901234567890 ,"u":"\\u00fc" }'
    [id_] = redis.publish_all(stream, [data])
    body = get(broker.port, history_path(stream)).body.decode()
    assert f'{{"id":"{id_}","data":{data}}}' in body


@pytest.mark.parametrize(
    "query, expected",
    [
        ({"from_": "first"}, "01234"),
        ({"from_": "last"}, "4"),
        ({"from_": "now-1h"}, "01234"),
        ({"from_": 2}, "234"),
        ({"after": 2}, "34"),
        ({"after": 4}, ""),
        ({"limit": "2"}, "01"),
        ({"after": 0, "limit": "2"}, "12"),
        ({"after": 2, "limit": "2"}, "34"),
    ],
    ids=str,
)
def test_from_after_and_limit(broker, redis, stream, query, expected):
    published = redis.publish_all(stream, list("01234"))
    query = {k: published[v] if isinstance(v, int) else v for k, v in query.items()}
    answer = history(broker, stream, **query)
    assert ids(answer) == [published[int(i)] for i in expected]
    left_out = "limit" in query and not expected.endswith("4")
    assert answer["complete"] is not left_out


def test_pages_joined_by_after_are_the_whole(broker, redis, stream):
    published = redis.publish_all(stream, [str(i) for i in range(95)])
    got, answer = [], {"last": "0-0", "complete": False}
    while not answer["complete"]:
        answer = history(broker, stream, after=answer["last"], limit=10)
        got += ids(answer)
        assert len(answer["events"]) <= 10
    assert got == published


def test_what_it_left_out_by_its_window(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    now = int(time.time() * 1000)
    published = [redis.publish(stream, "1", id=f"{now - s * 1000}-0") for s in (40, 30, 20, 10)]
    assert ids(history(broker, stream)) == published[2:]
    answer = history(broker, stream, after=published[0])
    assert (ids(answer), answer["complete"]) == (published[2:], False)
    answer = history(broker, stream, after=published[1])
    assert (ids(answer), answer["complete"]) == (published[2:], True)


def test_an_after_that_is_of_no_such_stream(broker, redis, stream):
    published = redis.publish_all(stream, ["1", "2"])
    answer = history(broker, stream, after="99999999999999-0")
    assert (ids(answer), answer["complete"]) == (published, False)


def test_the_default_limit_and_the_largest(broker, redis, stream):
    published = []
    for _ in range(12):
        published += redis.publish_all(stream, ["1"] * 1000)
    answer = history(broker, stream)
    assert ids(answer) == published[: len(answer["events"])]
    assert (len(answer["events"]), answer["complete"]) == (1000, False)
    answer = history(broker, stream, limit=10000)
    assert (len(answer["events"]), answer["complete"]) == (10000, False)
    refusal(get(broker.port, history_path(stream, limit=10001)), 400, "bad_request")


def test_a_reply_is_bounded_in_bytes(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=64 << 20, BOND_STALE_MS=int(seconds(1500)))
    for _ in range(9):
        redis.publish(stream, json.dumps("x" * 1_000_000))
    answer = history(broker, stream)
    assert 1 <= len(answer["events"]) < 9
    assert answer["complete"] is False


def test_it_costs_redis_one_reading_of_the_stream(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    redis.publish_all(stream, ["1"] * 200)
    history(broker, stream)
    before = redis.calls("xrange", "xrevrange", "xinfo|stream")
    for _ in range(50):
        assert len(history(broker, stream)["events"]) == 200
    assert redis.calls("xrange", "xrevrange", "xinfo|stream") - before <= 10


@pytest.mark.parametrize(
    "query",
    [{"limit": v} for v in ("0", "-1", "ten", "1.5", "1e3", "9" * 30)]
    + [{"from_": "soon"}, {"after": "1"}, {"from_": "first", "after": "1-0"}],
    ids=str,
)
def test_bad_request(broker, stream, query):
    refusal(get(broker.port, history_path(stream, **query)), 400, "bad_request")


def test_the_same_token_and_the_same_refusals(broker, stream):
    refusal(get(broker.port, history_path(stream, token="")), 403, "token_missing")
    refusal(get(broker.port, history_path(stream, mint("another"))), 403, "token_invalid")
    reply = get(broker.port, history_path(stream, token=""), f"Authorization: Bearer {mint(stream)}")
    assert reply.status == 200
    refusal(request(broker.port, "POST", history_path(stream)), 405, "method_not_allowed")


def test_its_connection_is_kept(broker, redis, stream):
    """Also where the answer has to wait for Redis, and requests come one behind the other."""
    redis.publish(stream, "1")
    ask = f"GET {history_path(stream)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with Wire(broker.port) as wire:
        wire.send(ask * 20 + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        bodies = {wire.reply().body for _ in range(20)}
        assert len(bodies) == 1 and len(json.loads(bodies.pop())["events"]) == 1
        assert wire.reply().json()["status"] == "ok"


def test_a_stream_that_cannot_be_read(broker, redis, stream):
    redis.client.set(f"stream:{stream}", "no stream")
    refusal(get(broker.port, history_path(stream)), 503, "unavailable")


def test_who_reads_the_end_of_a_stream_that_failed_keeps_nobody_out(start, redis, stream):
    """A history went on to its end, and whoever came meanwhile joined a stream that nothing
    more was read of: it got no event, and no word of that."""
    broker = start.broker(redis, BOND_WORKERS=1)
    redis.publish_all(stream, [json.dumps("h" * 100_000)] * 40)
    with Wire(broker.port, rcvbuf=2048) as reader, RawWs(broker, stream) as witness:
        reader.send(f"GET {history_path(stream)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reader.buffer += reader.sock.recv(4)
        redis.client.set(f"stream:{stream}", "no stream")
        assert witness.close_frame()[0] == 1011
        redis.client.delete(f"stream:{stream}")
        with RawWs(broker, stream) as ws:
            redis.publish(stream, "still here")
            assert ws.next_text() == "still here"
        broker.signal()  # and it ends, whoever still reads
        assert broker.exit_code() == 0


def test_while_redis_is_away(start, stream):
    """It cannot wait: 503, and when to ask again."""
    redis = start.redis_down()
    broker = start.broker(redis, ready=False)
    reply = get(broker.port, history_path(stream))
    refusal(reply, 503, "unavailable")
    assert int(reply.headers["retry-after"]) >= 1


def test_cors(start, stream):
    broker = start.broker(start.redis(), BOND_ALLOWED_ORIGINS=PAGE)
    reply = get(broker.port, history_path(stream), f"Origin: {PAGE}")
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert reply.headers["vary"] == "Origin"
    reply = get(broker.port, history_path(stream), "Origin: https://evil.example")
    refusal(reply, 403, "origin_forbidden")
    assert "access-control-allow-origin" not in reply.headers
    asks = [f"Origin: {PAGE}", "Access-Control-Request-Method: GET"]
    reply = request(broker.port, "OPTIONS", history_path(stream), asks)
    assert reply.status == 204 and reply.headers["access-control-allow-origin"] == PAGE
