"""Clients that read slowly or not at all: they fall behind by themselves. slow=close says
so with 4008, slow=skip goes on with what is still there; others notice nothing."""

import asyncio
import json
import re
import socket
import struct

import pytest
import websockets

from harness import is_sanitizer_build, receive, receive_up_to, seconds, ws_path
from wire import CLOSE, PING, PONG, TEXT, Hangup, RawWs, refusal, upgrade

RING = 512 * 1024


def event(i, size):
    return f'{{"i":{i},"pad":"{"x" * size}"}}'


def number(text):
    return json.loads(text)["i"]


def set_to_reset(sock):
    """Its close will be a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def flood(redis, stream, witness, count, size):
    """Far more than the ring and the kernel hold, at the witness's pace; the events' ids."""
    ids = []
    step = max(1, RING // 8 // size)
    for at in range(0, count, step):
        events = [event(i, size) for i in range(at, min(at + step, count))]
        ids += redis.publish_all(stream, events)
        assert await receive(witness, len(events)) == events, "the witness was disturbed"
    return ids


def frames_to_the_end(ws):
    """All whole frames, up to a close frame or the end: (texts, close or None)."""
    texts = []
    while True:
        try:
            frame = ws.next_frame()
        except (Hangup, ConnectionResetError):
            return texts, None
        if frame.opcode == CLOSE:
            return texts, (int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode())
        if frame.opcode == PING:
            ws.frame(PONG, frame.payload)
        else:
            assert frame.opcode == TEXT and frame.fin
            texts.append(frame.payload.decode())


@pytest.mark.parametrize("size", [300, 16_000, 300_000])
async def test_who_stops_reading_is_closed_with_4008(start, stream, size):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=RING)
    with RawWs(broker, stream) as slow:
        async with broker.connect(stream) as witness:
            ids = await flood(redis, stream, witness, count=12_000_000 // (size + 400), size=size)
        texts, close = frames_to_the_end(slow)
        assert slow.buffer == b"", "bytes after the end"
    assert [number(t) for t in texts] == list(range(len(texts))), "a gap before the close"
    assert texts == [event(i, size) for i in range(len(texts))], "a frame was corrupted"
    assert len(texts) < len(ids), "it was not slow: nothing was tested"
    assert close is not None, "no close frame"
    code, reason = close
    assert code == 4008
    last = ids[len(texts) - 1] if texts else None
    assert last is None or last in reason, f"{last} is the last it got, but: {reason}"
    assert len(reason.encode()) <= 123


async def test_the_reason_is_enough_to_resume(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=RING)
    with RawWs(broker, stream) as slow:
        async with broker.connect(stream) as witness:
            ids = await flood(redis, stream, witness, count=800, size=16_000)
            texts, (code, reason) = frames_to_the_end(slow)
            last = re.search(r"\d+-\d+", reason)[0]
            assert ids.index(last) == len(texts) - 1
            async with broker.connect(stream, after=last) as again:
                redis.publish(stream, "live")
                got = await receive_up_to(again, "live")
    assert number(got[-2]) == len(ids) - 1, "the newest event is missing"
    assert [number(t) for t in got[:-1]] == list(range(number(got[0]), len(ids)))


@pytest.mark.parametrize("size", [300, 16_000, 300_000])
async def test_slow_skip_goes_on_with_what_is_still_there(start, stream, size):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=RING)
    with RawWs(broker, stream, slow="skip") as slow:
        async with broker.connect(stream) as witness:
            ids = await flood(redis, stream, witness, count=12_000_000 // (size + 400), size=size)
        texts = [slow.next_text()]
        while number(texts[-1]) != len(ids) - 1:
            texts.append(slow.next_text())
        redis.publish(stream, event(len(ids), 10))
        texts.append(slow.next_text())
    got = [number(t) for t in texts]
    assert all(a < b for a, b in zip(got, got[1:])), "out of order, or twice"
    assert len(got) < len(ids), "nothing was skipped: nothing was tested"
    assert texts[:-1] == [event(i, size) for i in got[:-1]], "a frame was corrupted"


async def test_slow_close_is_the_default_and_can_be_said(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=RING)
    with RawWs(broker, stream, slow="close") as slow:
        async with broker.connect(stream) as witness:
            await flood(redis, stream, witness, count=800, size=16_000)
        _, close = frames_to_the_end(slow)
    assert close and close[0] == 4008


@pytest.mark.parametrize("value", ["wait", "CLOSE", "1"])
def test_another_value_of_slow_is_refused(broker, stream, value):
    sentence = refusal(upgrade(broker.port, ws_path(stream, slow=value)), 400, "bad_request")
    assert "slow" in sentence


async def test_a_pause_within_the_ring_costs_nothing(start, stream):
    """Behind, but not too far: every event comes, none is skipped."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=16 * 1024 * 1024)
    with RawWs(broker, stream) as slow:
        async with broker.connect(stream) as witness:
            ids = await flood(redis, stream, witness, count=500, size=16_000)
        texts = [slow.next_text() for _ in ids]
    assert texts == [event(i, 16_000) for i in range(500)]


async def test_a_client_that_reads_in_sips_gets_whole_frames(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    with RawWs(broker, stream, rcvbuf=2048) as sipping:
        sent = [event(i, 5000) for i in range(40)]
        redis.publish_all(stream, sent)
        got = b""
        total = sum(len(e) + 4 for e in sent)
        while len(got) < total:
            got += sipping.sock.recv(97)
        sipping.buffer = got
        assert [sipping.next_text() for _ in sent] == sent


async def test_a_ping_is_answered_even_when_events_are_backed_up(start, stream):
    """The pong stands between two frames, and is not lost."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=64 * 1024 * 1024)
    with RawWs(broker, stream) as slow:
        async with broker.connect(stream) as witness:
            await flood(redis, stream, witness, count=800, size=16_000)
        slow.frame(PING, b"are you there?")
        texts, pongs = [], []
        while len(texts) < 800 or not pongs:
            frame = slow.next_frame()
            (pongs if frame.opcode == PONG else texts).append(frame.payload)
    assert pongs == [b"are you there?"]
    assert texts == [event(i, 16_000).encode() for i in range(800)]


async def test_a_close_of_a_client_with_events_backed_up(start, stream):
    """Closing is answered, after what has begun, though the client never read."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=64 * 1024 * 1024)
    with RawWs(broker, stream) as slow:
        async with broker.connect(stream) as witness:
            await flood(redis, stream, witness, count=800, size=16_000)
        slow.send_close(1000)
        texts, close = frames_to_the_end(slow)
    assert close and close[0] == 1000
    assert texts == [event(i, 16_000) for i in range(len(texts))]


async def test_many_stalled_clients_disturb_no_one_and_weigh_nothing(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=RING, BOND_WORKERS=2)
    stalled = [
        RawWs(broker, stream, slow="skip" if i % 2 else "close") for i in range(30)
    ]
    async with broker.connect(stream) as witness:
        await flood(redis, stream, witness, count=200, size=16_000)
        before = broker.memory_kb()
        async with asyncio.timeout(seconds(30)):
            await flood(redis, stream, witness, count=2000, size=16_000)
        grown = broker.memory_kb() - before
    if not is_sanitizer_build():
        assert grown < 8 * 1024, f"{grown} KiB more for 32 MiB of events"
    for ws in stalled:
        ws.close()


async def test_a_stalled_client_of_one_stream_does_not_hold_another(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=RING, BOND_WORKERS=1)
    with RawWs(broker, stream):
        async with broker.connect(stream) as witness, broker.connect("other") as other:
            for round_ in range(10):
                await flood(redis, stream, witness, count=100, size=16_000)
                redis.publish("other", f"{round_}")
                assert await receive(other, 1, within=5) == [f"{round_}"]


@pytest.mark.parametrize("slow, code", [("close", 4008), ("skip", None)])
async def test_who_waited_for_redis_is_not_given_a_hole(start, stream, slow, code):
    """Let in while Redis could not be read, and promised all since: the ring has not
    room for it by now, and raw cannot be told."""
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy, BOND_RING_BYTES=65536)
    proxy.freeze()
    async with broker.connect(stream, slow=slow) as ws:  # after a second
        events = [event(i, 4000) for i in range(60)]
        redis.publish_all(stream, events)
        proxy.thaw()
        if slow == "skip":
            assert await receive(ws, 1) in [[e] for e in events[1:]]
        else:
            with pytest.raises(websockets.ConnectionClosed):
                await asyncio.wait_for(ws.recv(), seconds(10))
            assert ws.close_code == code
            assert re.fullmatch(r"fell behind: last id 0-0, \S+ events missed", ws.close_reason)


async def test_they_hang_up_while_they_are_closed_for_it(start, stream):
    """A hundred that waited are closed at once, and half of them are gone by then."""
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy, BOND_RING_BYTES=65536)
    proxy.freeze()
    waiting = await asyncio.gather(*(broker.connect(stream) for _ in range(100)))
    redis.publish_all(stream, [event(i, 4000) for i in range(60)])
    for ws in waiting[::2]:
        set_to_reset(ws.transport.get_extra_info("socket"))
    proxy.thaw()
    await asyncio.sleep(0.002)
    for ws in waiting[::2]:
        ws.transport.abort()
    for ws in waiting[1::2]:
        await asyncio.wait_for(ws.wait_closed(), seconds(10))
        assert ws.close_code == 4008
    assert broker.ready() == 200


async def test_who_waited_for_redis_for_longer_than_the_window(start, stream):
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy, BOND_RING_SECONDS=1)
    proxy.freeze()
    async with broker.connect(stream, from_="now-20s") as ws:
        redis.publish(stream, "too long ago, when Redis can be read")
        await asyncio.sleep(1.5)
        redis.publish(stream, "in time")
        proxy.thaw()
        with pytest.raises(websockets.ConnectionClosed):
            await asyncio.wait_for(ws.recv(), seconds(10))
        assert ws.close_code == 4008
        assert re.fullmatch(r"fell behind: last id 0-0, (1|some) events missed", ws.close_reason)


async def test_who_waited_for_redis_gets_all_since(start, stream):
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy)
    proxy.freeze()
    async with broker.connect(stream) as ws:
        events = [event(i, 4000) for i in range(60)]
        redis.publish_all(stream, events)
        proxy.thaw()
        assert await receive(ws, 60) == events


@pytest.mark.parametrize("slow", ["close", "skip"])
def test_who_missed_nothing_is_neither_closed_nor_told(start, stream, slow):
    """A client that was in the middle of the last event that left the ring gets it whole, and
    has missed nothing: 216 of 651 closes said "0 events missed"."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=128 * 1024, BOND_WORKERS=1)
    sockets = [RawWs(broker, stream, rcvbuf=4096, slow=slow, format="envelope") for _ in range(60)]
    for ws in sockets:
        ws.missed = []
        ws.sock.setblocking(False)
    open_ = set(sockets)
    with RawWs(broker, stream) as witness:
        for i in range(1500):
            redis.publish(stream, event(i, 4000))
            assert number(witness.next_text()) == i
            for n, ws in enumerate(sorted(open_, key=id)):  # each at a pace of its own
                if (i + n) % 3 == 0:
                    read_some(ws, open_, 1000 + 150 * n)
    for ws in sockets:
        while ws in open_ and read_some(ws, open_, 65_536):
            pass
        ws.close()
    missed = [m for ws in sockets for m in ws.missed]
    assert missed, "nobody fell behind: nothing was tested"
    assert 0 not in missed


def read_some(ws, open_, count):
    """At most so many bytes, if there are any, and the whole messages that they end."""
    try:
        piece = ws.sock.recv(count)
    except BlockingIOError:
        return False
    ws.buffer += piece
    if not piece:
        open_.discard(ws)
    while (end := whole_frame(ws.buffer)) is not None:
        frame = ws.next_frame()
        if frame.opcode == CLOSE:
            said = re.search(r"(\d+) events missed", frame.payload[2:].decode())
            ws.missed += [int(said[1])] if said else []
            open_.discard(ws)
        elif frame.opcode == TEXT and (told := json.loads(frame.payload))["type"] == "gap":
            ws.missed.append(told["missed"])
    return True


def whole_frame(buffer):
    """Where the first frame ends, if it is whole."""
    if len(buffer) < 4:
        return None
    n, header = buffer[1] & 0x7F, 2
    if n == 126:
        n, header = int.from_bytes(buffer[2:4], "big"), 4
    return header + n if len(buffer) >= header + n else None


def test_who_keeps_up_is_not_closed_by_a_trim(start, stream):
    """What waits for BOND_FLUSH_MS is offered before it leaves the ring. (No more than a socket
    takes unread.)"""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=65_536, BOND_FLUSH_MS=1000, BOND_WORKERS=1)
    with RawWs(broker, stream) as ws:
        for i in range(30):
            redis.publish(stream, event(i, 4000))
        assert [number(ws.next_text()) for _ in range(30)] == list(range(30))
