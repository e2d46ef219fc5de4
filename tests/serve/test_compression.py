"""permessage-deflate (RFC 7692): each event is deflated once for all who negotiated it, and
every client that people use reads it. What a client sends deflated is bounded."""

import asyncio
import json
import os
import random
import shutil
import struct
import subprocess
import zlib

import aiohttp
import pytest
import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from harness import clean_env, is_sanitizer_build, mint, receive, seconds, spawn, ws_path
from told import auth, checked, ids, told, told_raw
from wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawWs, refusal, upgrade

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
NODE_PATHS = ["/usr/share/nodejs", "/usr/lib/nodejs"]  # where Debian has node-ws
BIG = [json.dumps({"n": n, "symbol": "BOND", "pad": "abc" * 100}) for n in range(40)]
ODD = ["", "x", "{}", '{"n":1}', "é" * 8, "x" * 15, "x" * 16, "x" * 17, "x" * 100_000]


def deflate(data, level=6):
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    data = data.encode() if isinstance(data, str) else data
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    assert packed.endswith(b"\0\0\xff\xff")
    return packed[:-4]


def inflate(packed):
    """On its own: nothing of an earlier message may be needed."""
    return zlib.decompressobj(-15).decompress(packed + b"\0\0\xff\xff")


class Deflated(RawWs):
    rsv = (0, 4)

    def __init__(self, broker, stream, offer=OFFER, headers=(), **query):
        super().__init__(broker, stream, headers=[offer, *headers], **query)

    def next_message(self):
        """(text, was it deflated?)"""
        while (frame := self.next_frame()).opcode in (PING, PONG):
            pass
        assert frame.opcode == TEXT and frame.fin, frame
        deflated = frame.rsv == 4
        return (inflate(frame.payload) if deflated else frame.payload).decode(), deflated

    def next_text(self):
        return self.next_message()[0]


def still_serves(ws, redis, stream):
    redis.publish(stream, "after all")
    assert ws.next_text() == "after all"


# What is negotiated.


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "x-unknown, permessage-deflate",
        "permessage-deflate; server_max_window_bits=9, permessage-deflate",
        "Permessage-Deflate;client_max_window_bits",
    ],
)
def test_an_offer_that_is_taken(broker, stream, offer):
    reply = upgrade(broker.port, ws_path(stream), [f"Sec-WebSocket-Extensions: {offer}"])
    assert reply.status == 101
    assert reply.headers["sec-websocket-extensions"] == ANSWER


@pytest.mark.parametrize("bits", ["15", '"15"'])
def test_a_window_that_is_asked_of_us_is_in_the_answer(broker, stream, bits):
    """RFC 7692 s. 7.1.2.1, though it is the window that we have anyway."""
    offer = f"permessage-deflate; server_max_window_bits={bits}; client_max_window_bits"
    reply = upgrade(broker.port, ws_path(stream), [f"Sec-WebSocket-Extensions: {offer}"])
    assert reply.status == 101
    assert reply.headers["sec-websocket-extensions"] == ANSWER + "; server_max_window_bits=15"


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate;",
        "permessage-deflate; client_max_window_bits=",
        'permessage-deflate; client_max_window_bits="15',
        'x; y="a b"',
        "x y",
        "permessage-deflate, =",
        "=",
    ],
)
def test_an_offer_that_is_malformed_fails_the_handshake(broker, stream, offer):
    """RFC 6455 s. 9.1."""
    reply = upgrade(broker.port, ws_path(stream), [f"Sec-WebSocket-Extensions: {offer}"])
    refusal(reply, 400, "bad_request")


@pytest.mark.parametrize(
    "offer",
    [
        *(f"permessage-deflate; server_max_window_bits={bits}" for bits in range(8, 15)),
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; unheard_of",
        "x-webkit-deflate-frame",
        "permessage-bzip2",
        "permessage-deflated",
        "",
    ],
)
def test_an_offer_that_is_declined(broker, redis, stream, offer):
    """The connection opens without compression."""
    headers = [f"Sec-WebSocket-Extensions: {offer}"]
    with RawWs(broker, stream, headers=headers) as ws:
        assert "sec-websocket-extensions" not in ws.handshake.headers
        redis.publish(stream, BIG[0])
        assert ws.next_text() == BIG[0], "RSV1 though it was not negotiated"


def test_compression_can_be_turned_off(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_COMPRESSION=0)
    with RawWs(broker, stream, headers=[OFFER]) as ws:
        assert "sec-websocket-extensions" not in ws.handshake.headers
        redis.publish(stream, BIG[0])
        assert ws.next_text() == BIG[0]


# What comes.


def test_rsv1_only_where_it_was_negotiated(broker, redis, stream):
    with Deflated(broker, stream) as packed, RawWs(broker, stream) as plain:
        for event in BIG:
            redis.publish(stream, event)
            assert packed.next_message() == (event, True)
            assert plain.next_text() == event


def test_small_events_that_do_not_gain_are_plain(broker, redis, stream):
    rng = random.Random(7)
    dense = [rng.randbytes(n).hex()[:n] for n in (1, 10, 15)]
    with Deflated(broker, stream) as ws:
        for event in ["", "1", "{}", '{"n":1}', *dense]:
            redis.publish(stream, event)
            assert ws.next_message() == (event, False)


def test_no_frame_is_longer_than_the_event(broker, redis, stream):
    rng = random.Random(8)
    with Deflated(broker, stream) as ws:
        for size in (16, 40, 100, 1000, 5000):
            event = "".join(chr(rng.randrange(32, 0x2FFF)) for _ in range(size))
            redis.publish(stream, event)
            frame = ws.next_frame()
            assert len(frame.payload) <= len(event.encode())
            text = inflate(frame.payload) if frame.rsv else frame.payload
            assert text.decode() == event


def test_a_replay_and_what_follows_are_the_same(broker, redis, stream):
    redis.publish_all(stream, BIG)
    with Deflated(broker, stream, from_="first") as ws:
        redis.publish_all(stream, ODD)
        assert [ws.next_text() for _ in BIG + ODD] == BIG + ODD


def test_notices_of_the_envelope(broker, redis, stream):
    with Deflated(broker, stream, format="envelope", from_="first") as ws:
        told_raw(ws, "live")
        published = redis.publish_all(stream, BIG)
        got = told_raw(ws, "event", id=published[-1])
    assert [m["data"] for m in got] == [json.loads(event) for event in BIG]


def test_each_event_is_deflated_once(start, stream):
    """The bytes for one client are those for every other."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=2)
    clients = [Deflated(broker, stream) for _ in range(20)]
    redis.publish_all(stream, BIG)
    seen = {tuple(ws.next_frame().payload for _ in BIG) for ws in clients}
    assert len(seen) == 1
    for ws in clients:
        ws.close()


def test_a_slow_client_gets_whole_deflated_frames(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=512 * 1024)
    rng = random.Random(9)
    sent = []
    with Deflated(broker, stream, format="envelope", slow="skip") as ws:
        told_raw(ws, "live")
        with RawWs(broker, stream) as witness:
            for n in range(900):
                sent.append(json.dumps({"n": n, "pad": rng.randbytes(6000).hex()}))
                redis.publish(stream, sent[-1])
                witness.next_text()
        got = [checked(ws.next_text())]
        while got[-1]["type"] != "event" or got[-1]["data"]["n"] != 899:
            got.append(checked(ws.next_text()))
    events = [m["data"] for m in got if m["type"] == "event"]
    assert events == [json.loads(sent[e["n"]]) for e in events]
    missed = sum(m["missed"] for m in got if m["type"] == "gap")
    assert missed > 0 and len(events) + missed == 900


# The clients that people use.


async def test_websockets(broker, redis, stream):
    async with broker.connect(stream, compression="deflate") as ws:
        assert ws.extensions, "it was not negotiated"
        redis.publish_all(stream, BIG + ODD)
        assert await receive(ws, len(BIG + ODD)) == BIG + ODD
        await ws.send("compressible " * 500)
        assert await asyncio.wait_for(await ws.ping(), seconds(5)) is not None


async def test_websockets_envelope(broker, redis, stream):
    async with broker.connect(stream, compression="deflate", subprotocols=["bond.v1"]) as ws:
        published = redis.publish_all(stream, BIG)
        assert ids(await told(ws, "event", id=published[-1])) == published


async def test_websockets_that_wants_a_small_window(broker, redis, stream):
    """It is declined, and plain text comes."""
    offer = [ClientPerMessageDeflateFactory(server_max_window_bits=11)]
    async with websockets.connect(
        broker.url(stream), extensions=offer, compression=None, open_timeout=seconds(10)
    ) as ws:
        assert not ws.extensions
        redis.publish_all(stream, BIG)
        assert await receive(ws, len(BIG)) == BIG


async def test_websockets_that_wants_a_full_window(broker, redis, stream):
    """It fails the connection unless the answer says that its wish is met."""
    offer = [ClientPerMessageDeflateFactory(server_max_window_bits=15)]
    async with websockets.connect(
        broker.url(stream), extensions=offer, compression=None, open_timeout=seconds(10)
    ) as ws:
        assert ws.extensions, "it was not negotiated"
        redis.publish_all(stream, BIG)
        assert await receive(ws, len(BIG)) == BIG


async def test_aiohttp(broker, redis, stream):
    async with aiohttp.ClientSession() as session:
        url = broker.url(stream).replace("ws:", "http:")
        async with session.ws_connect(url, compress=15, max_msg_size=0) as ws:
            assert ws.compress == 15, "it was not negotiated"
            redis.publish_all(stream, BIG + ODD)
            got = [(await asyncio.wait_for(ws.receive(), seconds(10))).data for _ in BIG + ODD]
            assert got == BIG + ODD
            await ws.send_str("compressible " * 500)
            await ws.send_bytes(b"\xff" * 5000)
            redis.publish(stream, "still here")
            assert (await asyncio.wait_for(ws.receive(), seconds(10))).data == "still here"


@pytest.mark.parametrize("protocol", [None, "bond.v1"])
def test_node_ws(broker, redis, stream, protocol):
    installed = shutil.which("node") and any(os.path.isdir(f"{path}/ws") for path in NODE_PATHS)
    if not installed and "CI" not in os.environ:
        pytest.skip("node-ws is not installed")
    script = os.path.join(os.path.dirname(__file__), "node", "listen.js")
    redis.publish_all(stream, BIG)
    count = len(BIG) + (2 if protocol else 0)  # hello and live
    url = broker.url(stream, from_="first")
    argv = ["node", script, url, str(count), *([protocol] if protocol else [])]
    env = clean_env(NODE_PATH=":".join(NODE_PATHS))
    node = spawn(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = node.communicate(timeout=seconds(20))
    finally:
        node.kill()
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines, err
    assert lines[0]["open"] == "permessage-deflate", lines[0]
    assert lines[-1] == {"close": 1000}
    assert not any(line.get("isBinary") for line in lines)
    texts = [line["text"] for line in lines if "text" in line]
    if protocol:
        messages = [checked(text) for text in texts]
        assert [m["data"] for m in messages if m["type"] == "event"] == list(map(json.loads, BIG))
    else:
        assert texts == BIG


# What clients may send.


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_deflated_messages_mean_nothing(broker, redis, stream, opcode):
    with Deflated(broker, stream) as ws:
        for text in (b"", b"x", b"text " * 10_000, b"x" * 65536):
            ws.frame(opcode, deflate(text), rsv=4)
        ws.frame(TEXT, "plain, as it may be")
        ws.frame(BINARY, deflate(bytes(range(256)) * 40, level=0), rsv=4)
        still_serves(ws, redis, stream)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_fragmented(broker, redis, stream, size):
    """RSV1 stands on the first frame alone; control frames come between."""
    packed = deflate("grüße, 流 🔑 " * 300)
    pieces = [packed[i : i + size] for i in range(0, len(packed), size)]
    with Deflated(broker, stream) as ws:
        ws.frame(TEXT, pieces[0], rsv=4, fin=False)
        for piece in pieces[1:]:
            ws.frame(CONT, piece, fin=False)
        ws.frame(PING, b"between")
        assert ws.next_frame().opcode == PONG
        ws.frame(CONT, b"", fin=True)
        still_serves(ws, redis, stream)


def test_split_at_every_byte(broker, redis, stream):
    with Deflated(broker, stream) as ws:
        ws.send_bytewise(RawWs.encode(TEXT, deflate("as slow as can be"), rsv=4))
        still_serves(ws, redis, stream)


def test_a_final_block_is_legal(broker, redis, stream):
    """RFC 7692 s. 7.2.3.4."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(b"final " * 50) + packer.flush(zlib.Z_FINISH) + b"\0"
    with Deflated(broker, stream) as ws:
        ws.frame(TEXT, packed, rsv=4)
        still_serves(ws, redis, stream)


def test_a_deflated_renewal(start, stream):
    broker = start.broker(start.redis(), BOND_EXPIRE_LIVE=1)
    with Deflated(broker, stream, format="envelope", token=mint(stream, ttl=10)) as ws:
        assert told_raw(ws, "expiring")[-1]["in_s"] <= 10
        packed = deflate(auth(stream, ttl=600))
        ws.frame(TEXT, packed[:20], rsv=4, fin=False)
        ws.frame(CONT, packed[20:])
        assert told_raw(ws, "expiring")[-1]["in_s"] > 500


# What clients may not send.


def closed_with(ws, code):
    assert ws.close_frame()[0] == code
    assert ws.rest() == b""


def test_a_decompression_bomb(broker, stream):
    """50 KB that stand for 50 MB."""
    with Deflated(broker, stream) as ws:
        bomb = deflate(b"\0" * 50_000_000, level=9)
        assert len(bomb) < 65536
        ws.frame(BINARY, bomb, rsv=4)
        closed_with(ws, 1009)


def test_a_decompression_bomb_in_fragments(broker, stream):
    with Deflated(broker, stream) as ws:
        bomb = deflate(b"\0" * 10_000_000, level=9)
        ws.frame(BINARY, bomb[:100], rsv=4, fin=False)
        for i in range(100, len(bomb), 1000):
            ws.frame(CONT, bomb[i : i + 1000], fin=i + 1000 >= len(bomb))
        closed_with(ws, 1009)


def test_one_byte_over_the_limit(broker, redis, stream):
    with Deflated(broker, stream) as ws:
        ws.frame(TEXT, deflate(b"x" * 65536), rsv=4)
        still_serves(ws, redis, stream)
        ws.frame(TEXT, deflate(b"x" * 65537), rsv=4)
        closed_with(ws, 1009)


def test_a_deflated_message_that_is_too_long_as_sent(broker, stream):
    with Deflated(broker, stream) as ws:
        ws.send(b"\xc2\xff" + struct.pack("!Q", 65537) + b"mask")
        closed_with(ws, 1009)


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 20, b"\x07", deflate("cut off")[:-3] + b"\xff\xff\xff", b"\x06" + b"x" * 50],
    ids=lambda g: g[:4].hex(),
)
def test_garbage(broker, stream, garbage):
    with Deflated(broker, stream) as ws:
        ws.frame(TEXT, garbage, rsv=4)
        closed_with(ws, 1007)


def test_random_garbage_hurts_no_one(broker, redis, stream):
    rng = random.Random(10)
    with Deflated(broker, stream) as neighbour:
        for _ in range(80):
            with Deflated(broker, stream) as ws:
                ws.frame(rng.choice([TEXT, BINARY]), rng.randbytes(rng.randrange(300)), rsv=4)
                ws.frame(PING, b"?")
                frame = ws.next_frame()
                assert frame.opcode == PONG or frame.payload[:2] in (
                    struct.pack("!H", 1007),
                    struct.pack("!H", 1009),
                )
        still_serves(neighbour, redis, stream)


def test_deflated_text_that_is_not_utf_8(broker, stream):
    with Deflated(broker, stream) as ws:
        ws.frame(TEXT, deflate(b"fine, \xff"), rsv=4)
        closed_with(ws, 1007)


def test_rsv1_that_was_not_negotiated(broker, stream):
    with RawWs(broker, stream) as ws:
        ws.frame(TEXT, deflate("text"), rsv=4)
        closed_with(ws, 1002)


@pytest.mark.parametrize(
    "frames",
    [
        RawWs.encode(TEXT, b"a", rsv=4, fin=False) + RawWs.encode(CONT, b"b", rsv=4),
        RawWs.encode(PING, b"a", rsv=4),
        RawWs.encode(CLOSE, b"", rsv=4),
        RawWs.encode(TEXT, b"a", rsv=6),
        RawWs.encode(TEXT, b"a", rsv=2),
    ],
    ids=["continuation", "ping", "close", "rsv1-and-2", "rsv2"],
)
def test_a_reserved_bit_in_the_wrong_place(broker, stream, frames):
    with Deflated(broker, stream) as ws:
        ws.send(frames)
        closed_with(ws, 1002)


def test_many_compressing_clients_weigh_little(start, stream):
    """No window is kept for a client."""
    if is_sanitizer_build():
        pytest.skip("a sanitizer's memory says nothing")
    redis = start.redis()
    broker = start.broker(redis)
    with Deflated(broker, stream) as first:
        first.frame(TEXT, deflate("once " * 100), rsv=4)
        still_serves(first, redis, stream)
        before = broker.memory_kb()
        clients = [Deflated(broker, stream) for _ in range(300)]
        for ws in clients:
            ws.frame(TEXT, deflate("text " * 100), rsv=4)
        redis.publish(stream, BIG[0])
        for ws in clients:
            assert ws.next_text() == BIG[0]
        grown = broker.memory_kb() - before
        for ws in clients:
            ws.close()
    assert grown < 300 * 4, f"{grown} KiB for 300 clients"


