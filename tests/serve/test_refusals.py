"""Refusals before the upgrade: a test for each row of the contract's list, named after it.
`refusal` holds each to JSON with exactly a code and a sentence."""

import time

import pytest

from harness import mint, until, wait_until, ws_path
from told import history_path, sse_path
from wire import KEY, RawWs, Wire, get, refusal, request, upgrade

ROUTES = [ws_path, sse_path, history_path]


@pytest.fixture(params=ROUTES, ids=["ws", "sse", "history"])
def path(request):
    return request.param


def ask(broker, path, *headers):
    return upgrade(broker.port, path, headers)


def test_400_bad_request(broker, stream, path):
    refusal(ask(broker, path(stream, from_="soon")), 400, "bad_request")
    refusal(ask(broker, path(stream, from_="first", after="1-0")), 400, "bad_request")
    refusal(ask(broker, path(stream, from_="%zz").replace("%25zz", "%zz")), 400, "bad_request")


def test_400_bad_request_of_a_request_that_is_none(broker):
    with Wire(broker.port) as wire:
        wire.send(b"this is no HTTP\r\n\r\n")
        refusal(wire.reply(), 400, "bad_request")
        assert wire.hung_up()


def test_400_bad_request_of_a_stream_id_that_is_no_text(broker, path):
    refusal(ask(broker, path("x").replace("/x", "/%ff")), 400, "bad_request")


@pytest.mark.parametrize("twice", [f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13"])
def test_400_bad_request_of_a_handshake_that_says_it_twice(broker, stream, twice):
    """RFC 6455 s. 11.3.1, 11.3.5."""
    refusal(ask(broker, ws_path(stream), twice), 400, "bad_request")


def test_403_token_missing(broker, stream, path):
    refusal(ask(broker, path(stream, token="")), 403, "token_missing")


def test_403_token_malformed(broker, stream, path):
    refusal(ask(broker, path(stream, token="no.token")), 403, "token_malformed")


def test_403_token_invalid(broker, stream, path):
    refusal(ask(broker, path(stream, mint("another"))), 403, "token_invalid")


def test_403_token_expired(broker, stream, path):
    refusal(ask(broker, path(stream, mint(stream, ttl=-2))), 403, "token_expired")


def test_403_origin_forbidden(start, stream):
    broker = start.broker(start.redis(), BOND_ALLOWED_ORIGINS="https://page.example")
    for path in ROUTES:
        reply = ask(broker, path(stream), "Origin: https://evil.example")
        refusal(reply, 403, "origin_forbidden")


def test_404_not_found(broker):
    refusal(ask(broker, "/no/such/path"), 404, "not_found")
    reply = get(broker.port, "/no/such/path")
    assert (reply.status, reply.body) == (404, b'{"detail":"Not Found"}\n'), "as part 1 has it"


def test_405_method_not_allowed(broker, stream, path):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        reply = request(broker.port, method, path(stream))
        refusal(reply, 405, "method_not_allowed")
        assert "GET" in reply.headers["allow"]


def test_408_timeout(start):
    broker = start.broker(start.redis(), BOND_HANDSHAKE_SECONDS=1)
    with Wire(broker.port) as wire:
        began = time.monotonic()
        wire.send(b"GET /ws/x HTTP/1.1\r\nHost: x\r\n")
        refusal(wire.reply(), 408, "timeout")
        assert time.monotonic() - began > 0.8
        assert wire.hung_up()


def test_426_upgrade_required(broker, stream):
    reply = get(broker.port, ws_path(stream))
    refusal(reply, 426, "upgrade_required")
    assert reply.headers["upgrade"].lower() == "websocket"


def test_426_upgrade_required_of_another_version(broker, stream):
    reply = upgrade(broker.port, ws_path(stream), version="8")
    refusal(reply, 426, "upgrade_required")
    assert reply.headers["sec-websocket-version"] == "13"


def test_429_too_many_clients(start, stream):
    broker = start.broker(start.redis(), BOND_MAX_CLIENTS_PER_IP=1)
    with RawWs(broker, stream):
        for path in ROUTES:
            reply = ask(broker, path(stream))
            refusal(reply, 429, "too_many_clients")
            assert int(reply.headers["retry-after"]) >= 1


def test_431_head_too_large(broker, stream, path):
    reply = ask(broker, path(stream), *(f"X-{i}: {'x' * 1000}" for i in range(20)))
    refusal(reply, 431, "head_too_large")


def test_503_unavailable_at_capacity(start, stream):
    broker = start.broker(start.redis(), BOND_MAX_CLIENTS=1)
    wait_until(lambda: ask(broker, ws_path(stream)).status == 101, "no room for one")
    with Wire(broker.port) as one:
        one.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert one.reply().status == 200, "and its connection is kept"
        for path in ROUTES:
            reply = ask(broker, path(stream))
            refusal(reply, 503, "unavailable")
            assert int(reply.headers["retry-after"]) >= 1


def test_a_refusal_can_be_read_by_a_page(broker, stream, path):
    """Browsers show a script the answer only where CORS allows it."""
    origin = "https://page.example"
    reply = ask(broker, path(stream, token=""), f"Origin: {origin}")
    refusal(reply, 403, "token_missing")
    assert reply.headers["access-control-allow-origin"] in (origin, "*")


def test_refusals_never_name_the_token(broker, stream, path):
    token = mint(stream, secret="another")
    reply = ask(broker, path(stream, token))
    signature = token.split(".")[1]
    assert signature not in reply.body.decode() and signature not in str(reply.headers)
    assert signature not in broker.log_text()
