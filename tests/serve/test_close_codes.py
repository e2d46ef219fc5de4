"""Close codes: a test for each row of the contract's list, named after it. The envelope
says the same in `closing` before; `ends` holds the two together."""

import struct

import pytest

from harness import mint, wait_until
from told import checked, flood, told_raw
from wire import BINARY, CLOSE, PING, PONG, TEXT, RawWs

FORMS = ["raw", "envelope"]


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def connect(broker, stream, form, **query):
    ws = RawWs(broker, stream, format=form, **query)
    if form == "envelope":
        told_raw(ws, "live")
    return ws


def ends(ws, form, code):
    """The close has that code and a reason; the envelope's `closing` said the same."""
    texts = []
    while (frame := ws.next_frame()).opcode != CLOSE:
        if frame.opcode == TEXT:
            texts.append(frame.payload.decode())
    assert struct.unpack("!H", frame.payload[:2])[0] == code
    reason = frame.payload[2:].decode()
    assert len(frame.payload) <= 125
    if form == "envelope":
        closing = checked(texts[-1])
        assert closing["type"] == "closing"
        assert (closing["code"], closing["reason"]) == (code, reason)
        assert closing["reconnect_ms"] > 0
    ws.frame(CLOSE, frame.payload[:2])
    assert ws.rest() == b"", "something came behind the close"
    ws.close()
    return reason


def test_1000_answered_close(broker, stream, form):
    with connect(broker, stream, form) as ws:
        ws.send_close(1000, "good bye")
        frame = ws.next_frame()
        assert frame.opcode == CLOSE, "a client that closes needs no `closing`"
        assert frame.payload[:2] == struct.pack("!H", 1000)
        assert ws.rest() == b""


def test_1001_broker_going_away(start, stream, form):
    broker = start.broker(start.redis())
    ws = connect(broker, stream, form)
    broker.signal()
    reason = ends(ws, form, 1001)
    assert "reconnect" in reason and any(word.isdigit() for word in reason.split())
    assert broker.exit_code() == 0


def test_1002_protocol_error(broker, stream, form):
    ws = connect(broker, stream, form)
    ws.frame(TEXT, b"unmasked", mask=None)
    assert ends(ws, form, 1002)


def test_1007_invalid_utf_8_in_a_text_message(broker, stream, form):
    ws = connect(broker, stream, form)
    ws.frame(TEXT, b"\xff")
    assert ends(ws, form, 1007)


def test_1009_client_message_too_big(broker, stream, form):
    ws = connect(broker, stream, form)
    ws.send(RawWs.encode(BINARY, b"x" * 65537)[:14])
    assert ends(ws, form, 1009)


def test_1011_the_stream_cannot_be_read(broker, redis, stream, form):
    ws = connect(broker, stream, form)
    redis.client.set(f"stream:{stream}", "no stream")
    assert ends(ws, form, 1011)


def test_1011_no_answer_to_a_ping(start, stream, form):
    broker = start.broker(start.redis(), BOND_PING_SECONDS=1, BOND_PONG_SECONDS=1)
    assert "ping" in ends(connect(broker, stream, form), form, 1011)


def test_1011_is_not_for_who_answers(start, stream, form):
    broker = start.broker(start.redis(), BOND_PING_SECONDS=1, BOND_PONG_SECONDS=1)
    with connect(broker, stream, form) as ws:
        for _ in range(3):
            frame = ws.next_frame()
            assert frame.opcode == PING
            ws.frame(PONG, frame.payload)


def test_1013_over_capacity_after_the_upgrade(start, stream, form):
    broker = start.broker(start.redis(), BOND_MAX_FOLLOWED=1)
    with connect(broker, stream, form):
        ws = RawWs(broker, "one too many", format=form)
        assert ends(ws, form, 1013)


def test_4001_token_expired(start, stream, form):
    broker = start.broker(start.redis(), BOND_EXPIRE_LIVE=1)
    ws = connect(broker, stream, form, token=mint(stream, ttl=2))
    assert "expired" in ends(ws, form, 4001)


def test_4008_fell_behind(start, stream, form):
    """The reason has the last id, and how far."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    ws = connect(broker, stream, form)
    published = flood(redis, broker, stream)
    reason = ends(ws, form, 4008)
    last = next(word for word in reason.replace(",", "").split() if "-" in word)
    assert last in published
    assert any(word.isdigit() for word in reason.split())


def test_a_client_that_ignores_the_close_is_cut(start, stream, form):
    broker = start.broker(start.redis(), BOND_PONG_SECONDS=1)
    with connect(broker, stream, form) as ws:
        ws.frame(3, b"a reserved opcode")
        assert struct.pack("!H", 1002) in ws.rest()
        wait_until(lambda: hung_up(ws), "it may stay for ever")


def hung_up(ws):
    try:
        ws.sock.sendall(RawWs.encode(PING, b"?"))
    except (BrokenPipeError, ConnectionResetError):
        return True
