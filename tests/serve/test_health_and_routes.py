"""Plain HTTP: the routes that Bond's deployments probe, and what everything else gets."""

import pytest

from harness import mint
from wire import Wire, get, refusal, request, upgrade, upgrade_head

HEALTHY = {"status": "ok", "service": "broker"}


@pytest.mark.parametrize("path", ["/", "/health", "/health?probe=1"])
def test_health_is_exactly_what_bond_answers(broker, path):
    reply = get(broker.port, path)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == b'{"status":"ok","service":"broker"}'
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_ready_while_redis_is_read(broker):
    assert get(broker.port, "/ready").status == 200


@pytest.mark.parametrize("path", ["/nope", "/healthy", "/health/", "/HEALTH", "/ws", "/ws/", "//"])
def test_an_unknown_path_gets_what_the_first_broker_said(broker, path):
    reply = get(broker.port, path)
    assert reply.status == 404
    assert reply.headers["content-type"] == "application/json"
    assert reply.body == b'{"detail":"Not Found"}'


@pytest.mark.parametrize("path", ["/nope", "/healthy", "/ws", "/ws/", "/ws/a/b", "/WS/a"])
def test_a_websocket_to_an_unknown_path_is_refused_by_name(broker, path):
    refusal(upgrade(broker.port, path), 404, "not_found")


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_wrong_method(broker, method, path):
    reply = request(broker.port, method, path)
    refusal(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "GET"


def test_a_wrong_method_on_a_stream(broker, stream):
    reply = request(broker.port, "POST", f"/ws/{stream}?token={mint(stream)}")
    refusal(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == "GET"


@pytest.mark.parametrize("path, status", [("/health", 405), ("/ws/x", 405), ("/nope", 404)])
def test_head_is_no_get_and_its_answer_has_no_body(broker, path, status):
    """A body would be taken for the start of the next reply (RFC 9110 s. 9.3.2)."""
    with Wire(broker.port) as wire:
        wire.send(f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reply = wire.reply("HEAD")
        assert reply.status == status
        assert reply.headers.get("allow", "GET") == "GET"
        if reply.headers.get("connection") == "close":
            assert wire.hung_up()
        else:
            wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.reply().json() == HEALTHY


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
