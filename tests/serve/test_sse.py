"""Server-sent events: the same stream for whoever has nothing but HTTP. What a browser's
own EventSource makes of it is in test_eventsource_browser.py."""

import json
import re
import time

import pytest

from harness import is_sanitizer_build, mint, wait_until
from told import Sse, checked, flood, gap, sse_path
from wire import Hangup, RawWs, get, refusal, request

PAGE = "https://page.example"


def events_until_live(broker, stream, **query):
    with Sse(broker, stream, **query) as sse:
        return sse.up_to("live")[:-1]


# The head.


def test_headers(broker, stream):
    with Sse(broker, stream) as sse:
        assert sse.reply.status == 200
        assert sse.reply.headers["content-type"].split(";")[0] == "text/event-stream"
        assert sse.reply.headers["cache-control"] in ("no-store", "no-cache")
        assert "content-length" not in sse.reply.headers
        assert "transfer-encoding" not in sse.reply.headers, "its end is the connection's"
        assert sse.reply.headers["connection"] == "close"


def test_retry_comes_first(broker, stream):
    """In the block of the first event: a block of its own would be an event without data."""
    with Sse(broker, stream) as sse:
        retry, *live = sse.block()
        name, value = retry.split(": ")
        assert name == "retry" and 100 <= int(value) <= 60_000
        assert live[1] == "event: live"


def test_each_block_has_data(start, stream):
    """httpx-sse, whose data is parsed as JSON by those who use it, makes an event of each block
    with an `id`, an `event` or a `retry` in it, and once an id has come, of each empty line."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    redis.publish(stream, '{"n": 1}')
    with Sse(broker, stream, from_="first") as sse:
        blocks = [sse.block(), sse.block()]
        redis.kill()
        blocks.append(sse.block())
        redis.restart()
        blocks.append(sse.block())
        redis.publish(stream, '{"n": 2}')
        blocks.append(sse.block())
        broker.signal()
        end = sse.rest().decode()
    for block in blocks:
        data = [line.removeprefix("data: ") for line in block if line.startswith("data: ")]
        json.loads("\n".join(data))
    assert re.fullmatch("retry: [0-9]+\n", end), "the last one: a line of its own is enough"
    assert broker.exit_code() == 0


# Events.


def test_id_and_data(broker, redis, stream):
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        id_ = redis.publish(stream, '{"price": 1}')
        assert sse.block() == [f"id: {id_}", 'data: {"price": 1}']


@pytest.mark.parametrize(
    "data, lines",
    [
        ("one\ntwo", ["one", "two"]),
        ("one\r\ntwo", ["one", "two"]),
        ("one\rtwo", ["one", "two"]),
        ("\n", ["", ""]),
        ("", [""]),
        ("end\n", ["end", ""]),
        (" space", [" space"]),
        ("id: 1\nevent: evil\n\ndata: x", ["id: 1", "event: evil", "", "data: x"]),
        ('{\n  "a": 1\n}', ["{", '  "a": 1', "}"]),
        (":comment", [":comment"]),
        ("流 🔑", ["流 🔑"]),
    ],
    ids=lambda v: json.dumps(v)[:24] if isinstance(v, str) else "",
)
def test_data_of_several_lines(broker, redis, stream, data, lines):
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        id_ = redis.publish(stream, data)
        assert sse.block() == [f"id: {id_}", *(f"data: {line}" for line in lines)]
        redis.publish(stream, "next")
        assert sse.next()["data"] == "next"


def test_events_are_in_order_and_whole(broker, redis, stream):
    sent = [json.dumps({"n": n, "pad": "x" * (n * 37 % 3000)}) for n in range(800)]
    published = redis.publish_all(stream, sent[:400])
    with Sse(broker, stream, from_="first") as sse:
        got = sse.up_to("live")[:-1]
        published += redis.publish_all(stream, sent[400:])
        while len(got) < 800:
            got.append(sse.next())
    assert [e["data"] for e in got] == sent
    assert [e["id"] for e in got] == published


# Named events.


def test_live(broker, redis, stream):
    [id_] = redis.publish_all(stream, ["1"])
    with Sse(broker, stream, from_="first") as sse:
        *_, live = sse.up_to("live")
    assert checked(live["data"]) == {"type": "live", "stream": stream, "id": id_}


@pytest.mark.parametrize("empty", [True, False])
def test_who_reconnects_before_the_first_event_resumes_from_live(start, stream, empty):
    """EventSource sends the id that it saw last, and has seen none but that of `live`."""
    redis = start.redis()
    broker = start.broker(redis)
    if not empty:
        redis.publish(stream, "old")
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        position = sse.last_event_id
    assert position
    redis.publish(stream, "while it was away")
    with Sse(broker, stream, headers=[f"Last-Event-ID: {position}"]) as sse:
        redis.publish(stream, "and then")
        assert sse.events(2) == ["while it was away", "and then"]


def test_gap(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    with Sse(broker, stream) as sse:
        last = redis.publish(stream, "1")
        sse.events(1)
        redis.delete(stream)
        found = sse.next()
    assert found["event"] == "gap"
    assert checked(found["data"]) == gap(stream, last, None, "reset", None)
    assert found["id"] is None, "the place to resume from stays the last event's"


def test_gap_window(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=25)
    now = int(time.time() * 1000)
    published = [redis.publish(stream, "x", id=f"{now - s * 1000}-0") for s in (40, 30, 10)]
    found, event = events_until_live(broker, stream, after=published[0])
    assert checked(found["data"])["reason"] == "window"
    assert event["id"] == published[2]


def test_source(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        redis.kill()
        stale = sse.next()
        assert stale["event"] == "source" and checked(stale["data"])["state"] == "stale"
        redis.restart()
        ok = sse.next()
        assert ok["event"] == "source" and checked(ok["data"])["state"] == "ok"


# Where it begins.


@pytest.fixture
def three(redis, stream):
    return redis.publish_all(stream, ["1", "2", "3"])


@pytest.mark.parametrize("start_, expected", [("first", "123"), ("last", "3"), ("", "")])
def test_from(broker, stream, three, start_, expected):
    got = events_until_live(broker, stream, from_=start_)
    assert "".join(e["data"] for e in got) == expected


def test_after(broker, stream, three):
    assert [e["data"] for e in events_until_live(broker, stream, after=three[0])] == ["2", "3"]


@pytest.mark.parametrize("query", [{"from_": "first"}, {"after": "0-0"}, {}])
def test_last_event_id_wins(broker, stream, three, query):
    got = events_until_live(broker, stream, headers=[f"Last-Event-ID: {three[1]}"], **query)
    assert [e["data"] for e in got] == ["3"]


def test_an_empty_last_event_id_is_none(broker, stream, three):
    got = events_until_live(broker, stream, headers=["Last-Event-ID:"], from_="last")
    assert [e["data"] for e in got] == ["3"]


def test_last_event_id_means_nothing_to_a_websocket(broker, redis, stream, three):
    with RawWs(broker, stream, headers=[f"Last-Event-ID: {three[0]}"]) as ws:
        redis.publish(stream, "live only")
        assert ws.next_text() == "live only"


def test_a_last_event_id_that_is_none_of_ours(broker, stream):
    reply = get(broker.port, sse_path(stream), "Last-Event-ID: 17")
    refusal(reply, 400, "bad_request")


# Falling behind.


def test_slow_skip(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    with Sse(broker, stream, slow="skip") as sse:
        sse.up_to("live")
        published = flood(redis, broker, stream)
        got = [sse.next()]
        while got[-1]["id"] != published[-1]:
            got.append(sse.next())
    found = [checked(e["data"]) for e in got if e["event"] == "gap"]
    assert {g["reason"] for g in found} == {"slow"}
    came = sum(e["event"] == "message" for e in got)
    assert came + sum(g["missed"] for g in found) == len(published)


def test_slow_close_is_the_default(start, stream):
    """It ends between two events; the client reconnects, and is told what it missed."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        published = flood(redis, broker, stream)
        got = []
        with pytest.raises(Hangup):
            while True:
                got.append(sse.next())
        assert sse.buffer == b"", "it ended within an event"
        assert 100 <= sse.retry <= 10_000
    assert [e["id"] for e in got] == published[: len(got)]
    assert 0 < len(got) < len(published)
    again = events_until_live(broker, stream, headers=[f"Last-Event-ID: {got[-1]['id']}"])
    assert checked(again[0]["data"])["reason"] == "limit"


def test_what_a_client_sends_behind_its_request_means_nothing(broker, redis, stream):
    with Sse(broker, stream) as sse:
        sse.up_to("live")
        sse.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        redis.publish(stream, "still here")
        assert sse.events(1) == ["still here"]


def test_a_drain_ends_it_with_a_spread_retry(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    clients = [Sse(broker, stream) for _ in range(12)]
    for sse in clients:
        sse.up_to("live")
    broker.signal()
    for sse in clients:
        with pytest.raises(Hangup):
            sse.next()
        assert sse.buffer == b""
        sse.close()
    assert broker.exit_code() == 0
    assert len({sse.retry for sse in clients}) > 6, "all are to come back at once"
    assert all(100 <= sse.retry <= 6000 for sse in clients)


def test_a_client_that_hangs_up_is_let_go(start, stream):
    broker = start.broker(start.redis(), BOND_MAX_CLIENTS_PER_IP=2)
    for _ in range(6):
        with Sse(broker, stream) as sse:
            sse.up_to("live")
        wait_until(
            lambda: get(broker.port, "/history" + sse_path(stream)[4:]).status == 200, "no room"
        )


# Refusals.


def test_refusals(broker, stream):
    port = broker.port
    refusal(get(port, sse_path(stream, token="")), 403, "token_missing")
    refusal(get(port, sse_path(stream, token="x")), 403, "token_malformed")
    refusal(get(port, sse_path(stream, mint(stream, secret="no"))), 403, "token_invalid")
    refusal(get(port, sse_path(stream, mint(stream, ttl=-5))), 403, "token_expired")
    refusal(get(port, sse_path(stream, from_="first", after="1-0")), 400, "bad_request")
    refusal(get(port, sse_path(stream, from_="soon")), 400, "bad_request")
    refusal(get(port, sse_path(stream, slow="yes")), 400, "bad_request")
    refusal(request(port, "POST", sse_path(stream)), 405, "method_not_allowed")


def test_a_refusal_has_a_length_and_is_no_event_stream(broker, stream):
    """So that EventSource gives up, and a script can read why."""
    reply = get(broker.port, sse_path(stream, token=""), f"Origin: {PAGE}")
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["access-control-allow-origin"] in (PAGE, "*")


def test_a_token_in_a_header(broker, stream):
    headers = [f"Authorization: Bearer {mint(stream)}"]
    with Sse(broker, stream, headers=headers, token="") as sse:
        sse.up_to("live")


# Cross-origin requests.


def allowed(reply):
    return reply.headers.get("access-control-allow-origin")


def cors(broker, stream, *headers):
    with Sse(broker, stream, headers=headers) as sse:
        return sse.reply


def test_every_origin_is_allowed_by_default(broker, stream):
    reply = cors(broker, stream, f"Origin: {PAGE}")
    assert allowed(reply) in (PAGE, "*")
    assert allowed(reply) == "*" or reply.headers["vary"] == "Origin"


@pytest.fixture(scope="module")
def choosy(house, redis):
    return house.broker(redis, BOND_ALLOWED_ORIGINS=f"{PAGE}, https://other.example:8443")


@pytest.mark.parametrize("origin", [PAGE, "https://other.example:8443"])
def test_an_allowed_origin(choosy, stream, origin):
    reply = cors(choosy, stream, f"Origin: {origin}")
    assert allowed(reply) == origin
    assert reply.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://page.example", "https://page.example:444", "null",
     "https://page.example.evil", "https://other.example", "https://PAGE.example/"],
)  # fmt: skip
def test_another_origin_is_forbidden(choosy, stream, origin):
    reply = get(choosy.port, sse_path(stream), f"Origin: {origin}")
    refusal(reply, 403, "origin_forbidden")
    assert allowed(reply) is None


def test_no_origin_is_no_page(choosy, stream):
    assert cors(choosy, stream).status == 200


def preflight(broker, stream, origin):
    headers = [
        f"Origin: {origin}",
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization,last-event-id",
    ]
    return request(broker.port, "OPTIONS", sse_path(stream), headers)


def test_preflight(choosy, stream):
    reply = preflight(choosy, stream, PAGE)
    assert reply.status == 204 and reply.body == b""
    assert allowed(reply) == PAGE
    assert "GET" in reply.headers["access-control-allow-methods"]
    may_send = reply.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert {"authorization", "last-event-id"} <= set(may_send)
    assert int(reply.headers["access-control-max-age"]) > 0


def test_preflight_of_another_origin(choosy, stream):
    assert allowed(preflight(choosy, stream, "https://evil.example")) is None


# Many of them cost little.


def test_quiet_clients_weigh_little(start, stream):
    if is_sanitizer_build():
        pytest.skip("a sanitizer's memory says nothing")
    broker = start.broker(start.redis())
    with Sse(broker, stream) as first:
        first.up_to("live")
        before = broker.memory_kb()
        clients = [Sse(broker, stream) for _ in range(300)]
        for sse in clients:
            sse.up_to("live")
        grown = broker.memory_kb() - before
        for sse in clients:
            sse.close()
    assert grown < 300 * 4, f"{grown} KiB for 300 clients"
