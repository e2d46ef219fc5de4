"""Plain HTTP: the routes that Bond's deployments probe, and what everything else gets."""

import calendar
import time

import pytest

from harness import mint, ws_path
from told import history_path, sse_path
from wire import Wire, get, refusal, request, upgrade, upgrade_head

PAGES = ["/", "/health", "/ready"]
HEALTHY = {"status": "ok", "service": "broker"}


@pytest.mark.parametrize("path", ["/", "/health", "/health?probe=1"])
def test_health_is_the_json_that_bond_answers(broker, path):
    reply = get(broker.port, path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == b'{"status":"ok","service":"broker"}\n'
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_ready_while_redis_is_read(broker):
    assert get(broker.port, "/ready").status == 200


@pytest.mark.parametrize("path", ["/nope", "/healthy", "/health/", "/HEALTH", "/ws/", "//"])
def test_an_unknown_path_gets_what_the_first_broker_said(broker, path):
    reply = get(broker.port, path)
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == b'{"detail":"Not Found"}\n'


@pytest.mark.parametrize("path", ["/nope", "/healthy", "/ws/", "/ws/a/b", "/WS/a"])
def test_a_websocket_to_an_unknown_path_is_refused_by_name(broker, path):
    refusal(upgrade(broker.port, path), 404, "not_found")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method(broker, method, path):
    reply = request(broker.port, method, path)
    refusal(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["POST", "HEAD"])
@pytest.mark.parametrize(
    "path, allow", [(ws_path, "GET"), (sse_path, "GET, OPTIONS"), (history_path, "GET, OPTIONS")]
)
def test_a_wrong_method_on_a_stream(broker, stream, method, path, allow):
    reply = request(broker.port, method, path(stream))
    assert reply.status == 405
    assert reply.headers["allow"] == allow


@pytest.mark.parametrize("path", PAGES)
def test_head_is_a_get_without_the_body(broker, path):
    """Monitors ask so. A body would be taken for the start of the next reply (RFC 9110 s. 9.3.2)."""
    got = get(broker.port, path)
    with Wire(broker.port) as wire:
        wire.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reply = wire.reply("HEAD")
        assert reply.status == got.status == 200
        assert int(reply.headers["content-length"]) == len(got.body)
        assert reply.headers["content-type"] == got.headers["content-type"]
        wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reply().json() == HEALTHY


@pytest.mark.parametrize("path, status", [("/ws/x", 405), ("/sse/x", 405), ("/nope", 404)])
def test_a_refused_head_has_no_body(broker, path, status):
    with Wire(broker.port) as wire:
        wire.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert wire.reply("HEAD").status == status
        wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reply().json() == HEALTHY


@pytest.mark.parametrize("path", PAGES)
def test_options_says_which_methods_there_are(broker, path):
    reply = request(broker.port, "OPTIONS", path)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "method, path",
    [
        *(("GET", page) for page in PAGES),
        ("HEAD", "/health"),
        ("OPTIONS", "/ready"),
        ("POST", "/"),
        ("GET", "/nope"),
        ("GET", "/ws/x"),
        ("POST", "/ws/x"),
        ("OPTIONS", "/sse/x"),
        ("GET", "/sse/x"),
    ],
)
def test_a_reply_has_its_date(broker, method, path):
    date_is_now(request(broker.port, method, path))


@pytest.mark.parametrize("path", [ws_path, sse_path, history_path])
def test_the_reply_that_lets_a_client_in_has_its_date(broker, stream, path):
    date_is_now(upgrade(broker.port, path(stream)))


def date_is_now(reply):
    """RFC 9110 s. 6.6.1, in the one form of s. 5.6.7; to within a minute."""
    date = reply.headers["date"]
    seconds = calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
    assert abs(time.time() - seconds) < 60, date
    assert len(date) == len("Sun, 06 Nov 1994 08:49:37 GMT")


def test_a_plain_get_of_a_stream_is_told_to_upgrade(broker, stream):
    reply = get(broker.port, f"/ws/{stream}?token={mint(stream)}")
    refusal(reply, 426, "upgrade_required")
    assert reply.headers["upgrade"].lower() == "websocket"


def test_requests_keep_their_connection(broker):
    with Wire(broker.port) as wire:
        for path, status in (("/health", 200), ("/nope", 404), ("/ready", 200), ("/", 200)):
            wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert wire.reply().status == status


def test_a_stream_can_be_opened_on_a_kept_connection(broker, stream):
    with Wire(broker.port) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reply().json() == HEALTHY
        wire.send(upgrade_head(f"/ws/{stream}?token={mint(stream)}"))
        assert wire.reply().status == 101


def test_a_refused_stream_does_not_spoil_the_answer(broker, stream):
    """A 403 is a whole reply; whatever the connection does then, it is not garbled."""
    with Wire(broker.port) as wire:
        wire.send(upgrade_head(f"/ws/{stream}"))
        refusal(wire.reply(), 403, "token_missing")
        assert wire.buffer == b""


def test_pipelined_requests_are_answered_in_order(broker):
    paths = ["/health", "/nope", "/", "/ready", "/health"] * 10
    with Wire(broker.port) as wire:
        wire.send(b"".join(f"GET {p} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for p in paths))
        statuses = [wire.reply().status for _ in paths]
    assert statuses == [404 if p == "/nope" else 200 for p in paths]


def test_connection_close_is_honoured(broker):
    with Wire(broker.port) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        reply = wire.reply()
        assert reply.status == 200
        assert reply.headers["connection"].lower() == "close"
        assert wire.hung_up()


def test_http_1_0_is_answered_and_closed(broker):
    with Wire(broker.port) as wire:
        wire.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert wire.reply().json() == HEALTHY
        assert wire.hung_up()


def test_a_head_split_at_every_byte(broker):
    with Wire(broker.port) as wire:
        wire.send_bytewise(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reply().json() == HEALTHY


def test_empty_lines_before_a_request_are_passed_over(broker):
    """RFC 9112 s. 2.2: old clients send one behind a body."""
    with Wire(broker.port) as wire:
        for _ in range(2):
            wire.send_bytewise(b"\r\n\r\n\r\nGET /health HTTP/1.1\r\nHost:\r\n\r\n")
            assert wire.reply().json() == HEALTHY
        wire.send(b"\r\n" * 5000)
        refusal(wire.reply(), 431, "head_too_large")


def test_an_absolute_target_or_none_is_not_a_path(broker):
    for target in ("*", "health", ""):
        with Wire(broker.port) as wire:
            wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert wire.reply().status in (400, 404)


def test_a_body_is_not_taken_for_a_request(broker):
    hidden = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    with Wire(broker.port) as wire:
        head = f"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: {len(hidden)}\r\n\r\n"
        wire.send(head.encode() + hidden)
        refusal(wire.reply(), 405, "method_not_allowed")
        wire.sock.shutdown(1)
        assert b"200 OK" not in wire.rest()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: x\n\n",
        b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /health HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /hea\x00lth HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: gzip\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x55" * 64 + b"\r\n\r\n",
    ],
    ids=["space-colon", "fold", "bare-lf", "two-lengths", "length-chunked", "nul", "spaces",
         "host-space", "host-path", "identity", "chunked-identity", "xchunked", "two-codings",
         "tls"],
)  # fmt: skip
def test_a_head_that_could_be_read_in_two_ways(broker, head):
    with Wire(broker.port) as wire:
        wire.send(head)
        refusal(wire.reply(), 400, "bad_request")
        assert wire.hung_up()


def test_an_http_version_that_we_do_not_speak(broker):
    with Wire(broker.port) as wire:
        wire.send(b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n")
        assert wire.reply().status in (400, 505)
        assert wire.hung_up()
