"""RFC 6455 as a server must take it: what clients may send, what they may not, and what
becomes of those who fall silent. Every broken rule has its close code."""

import os
import random
import socket
import struct
import time

import pytest

from harness import Proxy, mint, seconds, wait_until, ws_path
from wire import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawWs,
    Wire,
    refusal,
    upgrade,
    upgrade_head,
    websocket_key,
)


@pytest.fixture
def ws(broker, stream):
    with RawWs(broker, stream) as ws:
        yield ws


def still_serves(ws, redis, stream):
    """The connection is whole: an event comes through, and a ping is answered."""
    redis.publish(stream, "still here")
    assert ws.next_text() == "still here"
    ws.frame(PING, b"?")
    frame = ws.next_frame()
    assert (frame.opcode, frame.payload) == (PONG, b"?")


def closed_with(ws, code):
    """A close frame of that code with a reason, and then the end."""
    got, reason = ws.close_frame()
    assert got == code, (got, reason)
    assert reason or code in (1000, 1005)
    assert ws.rest() == b"", "bytes after the close frame"
    return reason


# The handshake.


def test_the_accept_key(broker, stream):
    reply = upgrade(broker.port, ws_path(stream))
    assert reply.status == 101
    assert reply.headers["upgrade"].lower() == "websocket"
    assert reply.headers["connection"].lower() == "upgrade"
    assert reply.headers["sec-websocket-accept"] == ACCEPT
    assert "content-length" not in reply.headers


def test_header_names_and_values_in_any_case(broker, stream):
    with Wire(broker.port) as wire:
        head = (
            f"GET {ws_path(stream)} HTTP/1.1\r\nhost: x\r\nUPGRADE: WebSocket\r\n"
            "connection: keep-alive, Upgrade\r\nsec-websocket-VERSION: 13\r\n"
            f"SEC-WEBSOCKET-KEY: {websocket_key()}\r\n\r\n"
        )
        wire.send(head.encode())
        assert wire.reply().status == 101


def test_a_handshake_split_at_every_byte(broker, stream):
    with Wire(broker.port) as wire:
        wire.send_bytewise(upgrade_head(ws_path(stream)))
        assert wire.reply().status == 101


def test_frames_right_behind_the_handshake(broker, stream):
    """A client need not wait for the 101 to reach it."""
    with Wire(broker.port) as wire:
        wire.send(upgrade_head(ws_path(stream)) + RawWs.encode(PING, b"early"))
        assert wire.reply().status == 101
        assert wire.read(7) == b"\x8a\x05early"


@pytest.mark.parametrize(
    "key", [None, "", "short", "not base64!!!!!!!!!!!!!!", "dGhlIHNhbXBsZSBub25jZQ", "x" * 24]
)
def test_a_missing_or_invalid_key(broker, stream, key):
    refusal(upgrade(broker.port, ws_path(stream), key=key), 400, "bad_request")


@pytest.mark.parametrize("version", ["8", "7", "0", "14", "thirteen", "", None])
def test_another_version_of_the_protocol(broker, stream, version):
    reply = upgrade(broker.port, ws_path(stream), version=version)
    refusal(reply, 426, "upgrade_required")
    assert reply.headers["sec-websocket-version"] == "13"


def test_http_1_0_cannot_upgrade(broker, stream):
    assert upgrade(broker.port, ws_path(stream), http="HTTP/1.0").status in (400, 426)


def test_an_upgrade_to_something_else(broker, stream):
    with Wire(broker.port) as wire:
        path = ws_path(stream)
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"
        wire.send(head.encode())
        refusal(wire.reply(), 426, "upgrade_required")


def test_an_upgrade_that_connection_does_not_name(broker, stream):
    with Wire(broker.port) as wire:
        head = upgrade_head(ws_path(stream)).replace(b"Connection: Upgrade", b"Connection: close")
        wire.send(head)
        assert wire.reply().status in (400, 426)


def test_a_head_over_8_kib(broker, stream):
    for head in (
        f"GET {ws_path(stream)}&x={'y' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nCookie: {'c' * 9000}\r\n\r\n",
        "GET / HTTP/1.1\r\n" + "".join(f"X-{i}: y\r\n" for i in range(1000)) + "\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + "c" * 9000,  # and never an end
    ):
        with Wire(broker.port) as wire:
            wire.send(head.encode())
            refusal(wire.reply(), 431, "head_too_large")


def test_a_head_just_under_8_kib(broker):
    head = b"GET /health HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n"
    with Wire(broker.port) as wire:
        wire.send(head % (b"c" * (8192 - len(head) + 2)))
        assert wire.reply().status == 200


def test_garbage_in_place_of_a_request(broker):
    rng = random.Random(6455)
    for _ in range(40):
        with Wire(broker.port) as wire:
            try:
                wire.send(rng.randbytes(rng.choice([1, 10, 100, 4000, 20_000])) + b"\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                continue
            answer = wire.rest()
            assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert broker.ready() == 200


@pytest.fixture
def hasty(start):
    return start.broker(start.redis(), BOND_HANDSHAKE_SECONDS=1)


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: x\r\n"],
    ids=["nothing", "a-word", "half-a-head"],
)
def test_a_request_that_does_not_come(hasty, begun):
    with Wire(hasty.port) as wire:
        began = time.monotonic()
        wire.send(begun)
        answer = wire.rest()
        assert 0.5 < time.monotonic() - began < seconds(4)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
        assert answer == b"" or b'"error":"timeout"' in answer


def test_a_request_that_drips(hasty):
    """The deadline is for the whole head: a byte now and then buys no time."""
    with Wire(hasty.port) as wire:
        began = time.monotonic()
        wire.sock.settimeout(0.2)
        closed = False
        while not closed and time.monotonic() - began < seconds(5):
            try:
                wire.send(b"G")
                closed = wire.sock.recv(4096) == b"" or closed
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                closed = True
        assert closed


def test_a_quiet_websocket_has_no_handshake_deadline(hasty, stream):
    with RawWs(hasty, stream) as ws:
        time.sleep(1.5)  # longer than the deadline, the subject of this test
        ws.frame(PING, b"?")
        assert ws.next_frame().payload == b"?"


# What clients may send.


def test_a_ping_is_echoed(ws):
    for payload in (b"", b"hello", b"\x00\xff" * 20, b"x" * 125):
        ws.frame(PING, payload)
        frame = ws.next_frame()
        assert (frame.opcode, frame.payload) == (PONG, payload)


def test_many_pings_at_once_end_with_the_newest_pong(ws):
    """RFC 6455 s. 5.5.3: only the most recent ping need be answered."""
    ws.send(b"".join(ws.encode(PING, str(i).encode()) for i in range(100)))
    pongs = []
    while pongs[-1:] != [b"99"]:
        frame = ws.next_frame()
        assert frame.opcode == PONG
        pongs.append(frame.payload)
    assert [int(p) for p in pongs] == sorted({int(p) for p in pongs})


def test_a_pong_that_nobody_asked_for(ws, redis, stream):
    ws.frame(PONG, b"unasked")
    ws.frame(PONG)
    still_serves(ws, redis, stream)


def test_messages_of_every_size_and_kind_mean_nothing(ws, redis, stream):
    for opcode in (TEXT, BINARY):
        for size in (0, 1, 125, 126, 4000, 65535, 65536):
            ws.frame(opcode, b"m" * size)
    still_serves(ws, redis, stream)


def test_a_message_split_at_every_byte(ws, redis, stream):
    ws.send_bytewise(ws.encode(TEXT, "grüße, 流 🔑"))
    ws.send_bytewise(ws.encode(TEXT, "x" * 130))
    ws.send_bytewise(ws.encode(PING, b"ping"))
    assert ws.next_frame().payload == b"ping"
    still_serves(ws, redis, stream)


def test_fragments_with_control_frames_between_them(ws, redis, stream):
    ws.frame(TEXT, b"one ", fin=False)
    ws.frame(PING, b"between")
    frame = ws.next_frame()
    assert (frame.opcode, frame.payload) == (PONG, b"between")
    ws.frame(CONT, b"two ", fin=False)
    ws.frame(PONG)
    ws.frame(CONT, b"", fin=False)
    ws.frame(CONT, b"three")
    ws.frame(BINARY, b"\xff", fin=False)
    ws.frame(CONT, b"\xfe")
    still_serves(ws, redis, stream)


def test_a_character_split_between_fragments(ws, redis, stream):
    text = "流🔑ü".encode()
    ws.frame(TEXT, text[:1], fin=False)
    for i in range(1, len(text)):
        ws.frame(CONT, text[i : i + 1], fin=i == len(text) - 1)
    still_serves(ws, redis, stream)


def test_a_binary_message_need_not_be_utf_8(ws, redis, stream):
    ws.frame(BINARY, bytes(range(256)))
    still_serves(ws, redis, stream)


def test_masks_of_every_kind(ws, redis, stream):
    for mask in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04"):
        ws.frame(TEXT, "grüße", mask=mask)
        ws.frame(PING, b"masked", mask=mask)
        assert ws.next_frame().payload == b"masked"
    still_serves(ws, redis, stream)


# What clients may not send.


@pytest.mark.parametrize(
    "frame",
    [
        RawWs.encode(TEXT, b"unmasked", mask=None),
        RawWs.encode(PING, b"", mask=None),
        RawWs.encode(TEXT, b"x", rsv=4),
        RawWs.encode(TEXT, b"x", rsv=2),
        RawWs.encode(TEXT, b"x", rsv=1),
        RawWs.encode(PING, b"x", rsv=4),
        *(RawWs.encode(opcode, b"x") for opcode in (3, 7, 11, 15)),
        RawWs.encode(PING, b"x", fin=False),
        RawWs.encode(CLOSE, b"", fin=False),
        RawWs.encode(PING, b"x" * 126),
        RawWs.encode(PONG, b"x" * 126),
        RawWs.encode(CONT, b"of nothing"),
        RawWs.encode(TEXT, b"a", fin=False) + RawWs.encode(TEXT, b"b"),
        RawWs.encode(TEXT, b"a", fin=False) + RawWs.encode(BINARY, b"b"),
        RawWs.encode(TEXT, b"short", length=16),
        RawWs.encode(TEXT, b"short", length=64),
        RawWs.encode(BINARY, b"x" * 126, length=64),
        b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x01",
    ],
    ids=[
        *("unmasked", "unmasked-ping", "rsv1", "rsv2", "rsv3", "rsv1-ping"),
        *("opcode-3", "opcode-7", "opcode-11", "opcode-15"),
        *("fragmented-ping", "fragmented-close", "long-ping", "long-pong"),
        *("continuation-of-nothing", "text-in-text", "binary-in-text"),
        *("length-16-for-7", "length-64-for-7", "length-64-for-16", "length-with-top-bit"),
    ],
)
def test_a_protocol_error(ws, frame):
    ws.send(frame)
    closed_with(ws, 1002)


def close_payload(code, reason=b""):
    return struct.pack("!H", code) + reason


@pytest.mark.parametrize(
    "payload",
    [
        b"\x03",
        *map(close_payload, (0, 999, 1004, 1005, 1006, 1012 + 4, 1100, 2999, 5000, 65535)),
    ],
    ids=lambda p: str(int.from_bytes(p, "big")) if len(p) == 2 else "one-byte",
)
def test_a_close_that_may_not_be_sent(ws, payload):
    ws.frame(CLOSE, payload)
    closed_with(ws, 1002)


def test_a_close_reason_that_is_not_utf_8(ws):
    ws.frame(CLOSE, close_payload(1000, b"\xff"))
    closed_with(ws, 1007)


INVALID = [b"\xff", b"abc\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"cut \xe2\x82"]


@pytest.mark.parametrize("text", INVALID, ids=lambda t: t.hex())
def test_text_that_is_not_utf_8(ws, text):
    ws.frame(TEXT, text)
    closed_with(ws, 1007)


@pytest.mark.parametrize("text", INVALID, ids=lambda t: t.hex())
def test_fragmented_text_that_is_not_utf_8(ws, text):
    ws.frame(TEXT, b"fine, ", fin=False)
    for i in range(len(text)):
        try:
            ws.frame(CONT, text[i : i + 1], fin=i == len(text) - 1)
        except (BrokenPipeError, ConnectionResetError):
            break
    assert ws.close_frame()[0] == 1007


def test_text_is_refused_as_soon_as_it_is_wrong(ws):
    """Not only when the message, which may never end, has ended."""
    ws.frame(TEXT, b"\xff", fin=False)
    closed_with(ws, 1007)


def test_a_message_over_64_kib(ws):
    """The header is enough to say so."""
    ws.send(b"\x82\xff" + struct.pack("!Q", 65537) + b"mask")
    closed_with(ws, 1009)


def test_an_endless_frame(ws):
    ws.send(b"\x82\xff" + struct.pack("!Q", (1 << 63) - 1) + b"mask")
    closed_with(ws, 1009)


def test_fragments_over_64_kib_together(ws):
    ws.frame(BINARY, b"x" * 40_000, fin=False)
    ws.frame(CONT, b"x" * 25_536, fin=False)
    ws.frame(PING, b"64 KiB is still fine")
    assert ws.next_frame().payload == b"64 KiB is still fine"
    ws.frame(CONT, b"x")
    closed_with(ws, 1009)


def test_garbage_behind_the_handshake(broker, redis, stream):
    rng = random.Random(1002)
    with RawWs(broker, stream) as neighbour:
        for _ in range(60):
            with RawWs(broker, stream) as ws:
                try:
                    ws.send(rng.randbytes(rng.choice([2, 14, 200, 5000])))
                    ws.sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                ws.rest()
        still_serves(neighbour, redis, stream)


def test_after_an_error_no_event_comes(broker, redis, stream):
    with RawWs(broker, stream) as ws:
        ws.send(RawWs.encode(TEXT, b"x", mask=None))
        redis.publish(stream, "too late or just in time")
        while (frame := ws.next_frame()).opcode != CLOSE:
            assert frame.payload == b"too late or just in time"
        assert frame.payload[:2] == struct.pack("!H", 1002)
        assert ws.rest() == b""


def test_frames_behind_a_bad_one_mean_nothing(ws):
    ws.send(RawWs.encode(3, b"bad") + RawWs.encode(PING, b"no answer to this"))
    closed_with(ws, 1002)


# Closing.


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1011, 3000, 4999])
def test_a_close_is_answered_with_its_code(ws, code):
    ws.send_close(code, "good bye")
    assert ws.close_frame()[0] == code
    assert ws.rest() == b""


def test_a_close_without_a_code(ws):
    ws.frame(CLOSE)
    assert ws.close_frame()[0] in (None, 1000)
    assert ws.rest() == b""


def test_a_close_split_at_every_byte(ws):
    ws.send_bytewise(RawWs.encode(CLOSE, close_payload(1000, b"bye")))
    assert ws.close_frame()[0] == 1000


def test_a_close_in_the_middle_of_a_message(ws):
    ws.frame(TEXT, b"half a mess", fin=False)
    ws.send_close(1000)
    assert ws.close_frame()[0] == 1000


def test_after_a_close_nothing_is_read(ws):
    ws.send(RawWs.encode(CLOSE, close_payload(1000)) + RawWs.encode(PING, b"late"))
    assert ws.close_frame()[0] == 1000
    assert ws.rest() == b""


def test_a_hang_up_without_a_close(broker, redis, stream):
    with RawWs(broker, stream) as stays:
        for how in ("close", "reset", "half-close"):
            ws = RawWs(broker, stream)
            if how == "reset":
                ws.reset()
            elif how == "half-close":
                ws.sock.shutdown(socket.SHUT_WR)
                assert ws.rest()[:1] in (b"", b"\x88"), "the broker ends it, too"
                ws.close()
            else:
                ws.close()
        still_serves(stays, redis, stream)


def test_connections_that_are_gone_are_let_go(start, stream):
    """Descriptors come back, however clients leave."""
    broker = start.broker(start.redis())

    def descriptors():
        return len(os.listdir(f"/proc/{broker.process.pid}/fd"))

    with RawWs(broker, stream):
        with_one_client = descriptors()
    for i in range(60):
        ws = RawWs(broker, f"{stream}-{i % 3}")
        if i % 3 == 0:
            ws.reset()
        elif i % 3 == 1:
            ws.close()
        else:
            ws.send_close()
            ws.rest()
            ws.close()
    wait_until(
        lambda: descriptors() < with_one_client,
        lambda: f"{descriptors()} descriptors; {with_one_client} with one client",
    )


# Silence.


@pytest.fixture
def lively(start):
    return start.broker(start.redis(), BOND_PING_SECONDS=1, BOND_PONG_SECONDS=1)


def test_pings_come_and_a_pong_keeps_the_connection(lively, stream):
    with RawWs(lively, stream) as ws:
        began = time.monotonic()
        for _ in range(4):
            frame = ws.next_frame()
            assert frame.opcode == PING
            ws.frame(PONG, frame.payload)
        assert seconds(30) > time.monotonic() - began > 2.5, "a ping each second"


def test_who_does_not_answer_a_ping_is_closed(lively, stream):
    with RawWs(lively, stream) as ws:
        began = time.monotonic()
        assert ws.next_frame().opcode == PING
        code, reason = ws.close_frame()
        assert (code, reason) == (1011, "keepalive ping timeout")
        assert 1 < time.monotonic() - began < seconds(6)


def test_who_is_gone_without_a_word_is_found(start, stream):
    """A half-open peer: its packets and ours go nowhere any more."""
    broker = start.broker(start.redis(), BOND_PING_SECONDS=1, BOND_PONG_SECONDS=1)
    path = Proxy(broker.port)
    try:
        broker.port, real = path.port, broker.port
        ws = RawWs(broker, stream)
        broker.port = real
        path.freeze()
        far = path.pairs[0][1]
        far.settimeout(seconds(10))
        wait_until(lambda: _hung_up(far), "the broker keeps a client that is gone", 15)
        ws.close()
    finally:
        path.stop()


def _hung_up(sock):
    """The broker has closed its side: all that it sent, and then the end."""
    try:
        return sock.recv(4096) == b""
    except ConnectionResetError:
        return True
    except (TimeoutError, OSError):
        return False


def test_a_client_that_never_reads_is_found_too(start, stream):
    """Its socket is full, the ping cannot leave; silence counts all the same."""
    redis = start.redis()
    broker = start.broker(
        redis, BOND_PING_SECONDS=1, BOND_PONG_SECONDS=1, BOND_RING_BYTES=64 << 20
    )
    with RawWs(broker, stream) as ws:
        for _ in range(40):
            redis.publish_all(stream, ["x" * 50_000] * 8)
        with RawWs(broker, stream, from_="last") as witness:
            witness.next_text()
        # The kernel says how it ended: the broker has hung up on us.
        ws.sock.settimeout(seconds(15))
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            end = time.monotonic() + seconds(15)
            while time.monotonic() < end:
                ws.frame(TEXT, b"anyone?")
                time.sleep(0.1)
    assert broker.ready() == 200


def test_an_open_token_is_not_asked_for_again(start, stream):
    """No live expiry yet: a token that ends while the connection is open ends nothing."""
    redis = start.redis()
    broker = start.broker(redis)
    with RawWs(broker, stream, token=mint(stream, expiry=int(time.time()) + 1)) as ws:
        time.sleep(1.5)  # past the expiry, the subject of this test
        still_serves(ws, redis, stream)
