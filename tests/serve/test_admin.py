"""Who may see how the broker fares, where, and what /streams shows."""

import base64
import json
import socket

import pytest

from harness import SECRET, Port, mint, run_cli, seconds, wait_until, ws_path
from metrics import Metrics
from told import sse_path
from wire import RawWs, Wire, get, refusal, upgrade

PATHS = ["/metrics", "/stats", "/streams"]
TOKEN = "an admin:token"


def basic(password, user="operator"):
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Without a token.


@pytest.mark.parametrize("path", PATHS)
def test_local_callers_need_no_token_where_there_is_none(broker, path):
    assert get(broker.port, path).status == 200


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1", "X-Real-IP: x", "Via: 1.1 p"]
)
@pytest.mark.parametrize("path", PATHS)
def test_who_comes_through_a_proxy_is_not_local(broker, path, header):
    m = Metrics(broker)
    refusal(get(broker.port, path, header), 403, "forbidden")
    assert m.grew("bond_requests_refused_total", code="forbidden") == 1


def own_address():
    """An address of this machine that is not loopback; None: it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            return None
        address = s.getsockname()[0]
        return None if address.startswith("127.") else address


def test_callers_from_elsewhere_are_refused(start):
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    broker = start.broker(start.redis(), BOND_HOST="0.0.0.0")
    wire = Wire.__new__(Wire)
    wire.sock, wire.buffer = socket.create_connection((address, broker.port)), b""
    with wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n")
        refusal(wire.reply(), 403, "forbidden")
        wire.send(b"GET /health HTTP/1.1\r\nHost: broker\r\n\r\n")
        assert wire.reply().status == 200


def test_callers_over_ipv6_loopback_are_local(start):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    broker = start.broker(start.redis(), BOND_HOST="::")
    wire = Wire.__new__(Wire)
    wire.sock, wire.buffer = socket.create_connection(("::1", broker.port)), b""
    with wire:
        wire.send(b"GET /metrics HTTP/1.1\r\nHost: broker\r\n\r\n")
        assert wire.reply().status == 200
    assert get(broker.port, "/metrics").status == 200  # IPv4, mapped


# With one.


@pytest.fixture(scope="module")
def guarded(house, redis):
    return house.broker(redis, BOND_ADMIN_TOKEN=TOKEN)


@pytest.mark.parametrize("path", PATHS)
def test_with_a_token_nobody_comes_without_it(guarded, path):
    reply = get(guarded.port, path)
    refusal(reply, 401, "token_missing")
    assert reply.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.parametrize(
    "header", [f"Authorization: Bearer {TOKEN}", basic(TOKEN), basic(TOKEN, user="")]
)
def test_the_token_opens_from_anywhere(guarded, header):
    assert get(guarded.port, "/metrics", header, "X-Forwarded-For: 192.0.2.1").status == 200


@pytest.mark.parametrize(
    "header",
    [
        f"Authorization: Bearer {TOKEN}x",
        "Authorization: Bearer an",
        basic("wrong"),
        "Authorization: Basic ???",
        "Authorization: Digest x",
    ],
)
def test_another_token_does_not(start, redis, header):
    broker = start.broker(redis, BOND_ADMIN_TOKEN=TOKEN)
    reply = get(broker.port, "/metrics", header)
    refusal(reply, 401, "token_invalid")
    assert "www-authenticate" in reply.headers


def test_a_stream_token_is_no_admin_token(start, redis, stream):
    broker = start.broker(redis, BOND_ADMIN_TOKEN=TOKEN)
    bearer = f"Authorization: Bearer {mint(stream)}"
    refusal(get(broker.port, "/streams", bearer), 401, "token_invalid")
    admin = f"Authorization: Bearer {TOKEN}"
    refusal(get(broker.port, f"/sse/{stream}", admin), 403, "token_malformed")


def test_guessing_is_slow(start):
    """protocol 12.4: the eleventh bad token is held back, and ends its connection."""
    broker = start.broker(start.redis(), BOND_ADMIN_TOKEN=TOKEN)
    for n in range(10):
        with Wire(broker.port) as wire:
            wire.send(f"GET /stats HTTP/1.1\r\nHost: b\r\n{basic(str(n))}\r\n\r\n".encode())
            assert wire.reply().headers["connection"] == "keep-alive"
    with Wire(broker.port) as wire:
        wire.send(f"GET /stats HTTP/1.1\r\nHost: b\r\n{basic('n')}\r\n\r\n".encode() * 2)
        wire.sock.settimeout(seconds(10))
        assert wire.reply().status == 401
        assert wire.rest() == b""  # the second one is not answered
    assert get(broker.port, "/stats", basic(TOKEN)).status == 200


# A port of their own.


@pytest.fixture(scope="module")
def admin(house, redis):
    port = Port()
    broker = house.broker(redis, BOND_ADMIN_PORT=port.number, BOND_WORKERS=2)
    yield broker, port.number
    port.release()


@pytest.mark.parametrize("path", PATHS)
def test_with_a_port_of_their_own_the_public_one_knows_nothing_of_them(admin, path):
    broker, port = admin
    assert get(port, path).status == 200
    reply = get(broker.port, path)
    assert (reply.status, reply.body) == (404, b'{"detail":"Not Found"}\n')


def test_the_port_of_their_own_has_no_streams(admin, stream):
    broker, port = admin
    refusal(upgrade(port, ws_path(stream)), 404, "not_found")
    assert get(port, sse_path(stream)).status == 404
    assert get(port, "/health").status == get(port, "/ready").status == 200


def test_a_token_counts_there_too(start, redis):
    port = Port()
    start.broker(redis, BOND_ADMIN_PORT=port.number, BOND_ADMIN_TOKEN=TOKEN)
    refusal(get(port.number, "/metrics"), 401, "token_missing")
    assert get(port.number, "/metrics", basic(TOKEN)).status == 200
    port.release()


def test_a_port_of_their_own_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_cli(
            "serve", BOND_SECRET=SECRET, BOND_HOST="127.0.0.1", BOND_PORT=0, BOND_ADMIN_PORT=port
        )
        assert result.returncode > 0
        assert "BOND_ADMIN_PORT" in result.stderr and str(port) in result.stderr


def test_a_drain_can_be_watched_on_the_port_of_their_own(start, redis, stream):
    port = Port()
    broker = start.broker(
        redis, BOND_ADMIN_PORT=port.number, BOND_DRAIN_SECONDS=5, BOND_WORKERS=1
    )
    m = Metrics(broker, port=port.number)
    with RawWs(broker, stream), RawWs(broker, stream):
        broker.signal()
        broker.wait_log("event=draining")
        assert m("bond_ready") == 0
        wait_until(lambda: m.grew("bond_connections_closed_total", code="1001") >= 1, "none left")
    assert broker.exit_code() == 0
    port.release()


# /streams.


def test_who_listens_to_what(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=2)
    assert get(broker.port, "/streams").json() == {"total": 0, "streams": []}
    ids = redis.publish_all(stream, ["x"] * 20)
    wires = [RawWs(broker, stream, format=f) for f in ("raw", "envelope", "raw", "raw")]
    with RawWs(broker, "quiet/one"):
        listed = get(broker.port, "/streams").json()
        assert listed["total"] == 2
        busy, quiet = listed["streams"]
        assert list(busy) == [
            *("stream", "listeners", "rate", "first", "last", "age_s", "ring_span_s"),
            *("ring_bytes", "slowest_lag_events", "slowest_lag_s", "source"),
        ]
        assert (busy["stream"], busy["listeners"]) == (stream, 4)
        assert (busy["first"], busy["last"], busy["rate"]) == (ids[0], ids[-1], 2.0)
        assert 0 <= busy["age_s"] < 10 and 0 <= busy["ring_span_s"] < 10
        assert busy["ring_bytes"] > 0 and busy["slowest_lag_events"] == 0
        assert busy["source"] == f"127.0.0.1:{redis.port}"
        assert (quiet["stream"], quiet["listeners"], quiet["rate"]) == ("quiet/one", 1, 0.0)
        assert quiet["first"] is quiet["last"] is quiet["age_s"] is quiet["ring_span_s"] is None
    for wire in wires:
        wire.close()
    wait_until(
        lambda: all(s["listeners"] == 0 for s in get(broker.port, "/streams").json()["streams"]),
        "who has left still listens",
    )  # and the streams are followed a while longer


@pytest.fixture(scope="module")
def many(house):
    """700 streams: more than are looked at in one turn, and one listener more for each tenth."""
    redis = house.redis()
    broker = house.broker(redis, BOND_WORKERS=2)
    wires = [RawWs(broker, f"m:{n:03d}") for n in range(700)]
    wires += [RawWs(broker, f"m:{n:03d}") for n in range(0, 700, 10)]
    wires += [RawWs(broker, "m:123") for _ in range(3)]
    yield broker
    for wire in wires:
        wire.close()


def names(broker, query=""):
    reply = get(broker.port, f"/streams{query}")
    assert reply.status == 200, reply.body
    return [s["stream"] for s in reply.json()["streams"]]


def test_those_with_most_listeners_come_first(many):
    listed = get(many.port, "/streams").json()
    assert listed["total"] == 700 and len(listed["streams"]) == 100
    assert listed["streams"][0]["stream"] == "m:123"
    assert [s["listeners"] for s in listed["streams"][:72]] == [4] + [2] * 70 + [1]


def test_sorting(many):
    assert names(many, "?sort=stream&limit=3") == ["m:000", "m:001", "m:002"]
    assert names(many, "?sort=-stream&limit=2") == ["m:699", "m:698"]
    assert "m:123" not in names(many, "?sort=-listeners&limit=600")
    assert len(names(many, "?sort=rate&limit=1000")) == 700


def test_matching(many):
    assert names(many, "?match=m:12*&sort=stream") == [f"m:{n}" for n in range(120, 130)]
    assert names(many, "?match=m:%33*5&sort=stream") == ["m:305", "m:315", "m:325", "m:335", "m:345", "m:355", "m:365", "m:375", "m:385", "m:395"]
    assert names(many, "?match=m") == []
    assert get(many.port, "/streams?match=m:12*&limit=2").json()["total"] == 10


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "sort=colour", "match=%zz", "match=" + "x" * 257]
)
def test_a_question_that_is_none(broker, query):
    refusal(get(broker.port, f"/streams?{query}"), 400, "bad_request")


def test_several_lists_at_once(many):
    wires = []
    for _ in range(6):
        wire = Wire(many.port)
        wire.send(b"GET /streams?limit=1000 HTTP/1.1\r\nHost: b\r\n\r\n")
        wires.append(wire)
    for wire in wires:
        assert len(json.loads(wire.reply().body)["streams"]) == 700
        wire.close()


def test_a_list_for_who_reads_slowly_waits(many):
    """It is made as it is read: what waits for one client is bounded."""
    m = Metrics(many)
    with Wire(many.port, rcvbuf=4096) as wire:
        wire.send(b"GET /streams?limit=1000 HTTP/1.1\r\nHost: b\r\n\r\n" * 3)
        assert m("bond_outbox_bytes") < 1 << 20
        for _ in range(3):
            assert wire.reply().json()["total"] == 700
