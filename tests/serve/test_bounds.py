"""What one client can cost the others (docs/design.md, Bounds): whatever it sends and does
not read, the broker keeps a bounded number of bytes for it and does a bounded amount of work."""

import json
import socket
import time
import zlib
from pathlib import Path

import pytest

from harness import is_sanitizer_build, seconds, wait_until, ws_path
from told import auth, history_path, sse_path, told_raw
from wire import PING, PONG, TEXT, Hangup, RawWs, Wire, get, refusal, upgrade_head

MIB = 1024 * 1024
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


def grew(broker, before_kb, most_kb):
    """What a sanitizer's binary weighs says nothing."""
    now_kb = broker.memory_kb()
    assert is_sanitizer_build() or now_kb - before_kb < most_kb, (before_kb, now_kb)


def cpu_seconds(broker):
    fields = Path(f"/proc/{broker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def still_serves(broker, redis, stream):
    with RawWs(broker, stream) as ws:
        redis.publish(stream, "still here")
        assert ws.next_text() == "still here"


# --- what is kept for who reads nothing --------------------------------------------------


def test_of_many_pings_one_pong_waits(start, redis, stream):
    """A client that pinged and read nothing made the broker keep a pong for each read."""
    broker = start.broker(redis, BOND_WORKERS=1)
    with RawWs(broker, stream, rcvbuf=32_768) as ws, RawWs(broker, stream) as other:
        before = broker.memory_kb()
        for n in range(12_000):
            ws.frame(PING, f"{n} ".ljust(125, "p"))
            other.frame(PING)
            assert other.next_frame().opcode == PONG
        still_serves(broker, redis, stream)
        grew(broker, before, 700)
        last = -1
        while last < 11_999:  # whole frames, in order, and the newest at the end
            frame = ws.next_frame()
            if frame.opcode == TEXT:
                continue
            assert frame.opcode == PONG
            assert int(frame.payload.split()[0]) > last
            last = int(frame.payload.split()[0])


def unread_history(broker, stream, connection="keep-alive"):
    wire = Wire(broker.port, rcvbuf=2048)
    path = history_path(stream, limit=10_000)
    wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode())
    return wire


def publish_much(redis, stream, count=40, size=100_000):
    redis.publish_all(stream, [json.dumps("h" * size)] * count)


def test_unread_histories_are_not_kept(start, redis, stream):
    """A hundred of 4 MB took 402 MB."""
    broker = start.broker(redis)
    publish_much(redis, stream)
    publish_much(redis, stream, count=2000, size=100)
    assert len(get(broker.port, history_path(stream, limit=10_000)).body) > 4 * MIB
    before = broker.memory_kb()
    wires = [unread_history(broker, stream) for _ in range(100)]
    still_serves(broker, redis, stream)
    for wire in wires:
        wire.read(1)  # each has been begun
    grew(broker, before, 30_000)
    for wire in wires:
        wire.close()


def test_the_address_stays_at_the_door_until_a_history_has_been_read(start, redis, stream):
    broker = start.broker(redis, BOND_MAX_CLIENTS_PER_IP=2)
    publish_much(redis, stream)
    with unread_history(broker, stream) as one, unread_history(broker, stream) as two:
        assert one.read(4) == two.read(4) == b"HTTP"
        refusal(get(broker.port, history_path(stream)), 429, "too_many_clients")
        one.buffer = b"HTTP" + one.buffer
        assert len(one.reply().json()["events"]) == 40
        wait_until(
            lambda: get(broker.port, history_path(stream)).status == 200,
            "who has read all of it counts still",
        )


@pytest.mark.parametrize("connection", ["keep-alive", "close"])
def test_a_slow_reader_gets_all_of_a_history(start, redis, stream, connection):
    """It is given up when it makes no progress for BOND_PONG_SECONDS, not when it takes longer
    than that: at 200 KB/s, 1.85 of 4.2 MB came, and then the end."""
    broker = start.broker(redis, BOND_PONG_SECONDS=1, BOND_HANDSHAKE_SECONDS=1)
    publish_much(redis, stream)
    with unread_history(broker, stream, connection) as wire:
        for _ in range(8):  # 3.2 s in all
            time.sleep(0.4)
            wire.buffer += wire.sock.recv(200_000)
        assert len(wire.reply().json()["events"]) == 40


def test_who_reads_nothing_of_a_history_is_given_up(start, redis, stream):
    broker = start.broker(redis, BOND_PONG_SECONDS=1, BOND_MAX_CLIENTS_PER_IP=1)
    publish_much(redis, stream)
    with unread_history(broker, stream) as wire:
        assert wire.read(4) == b"HTTP"
        wait_until(
            lambda: get(broker.port, history_path(stream)).status == 200, "it is still there"
        )


def test_a_history_over_http_1_0_ends_with_its_connection(broker, redis, stream):
    publish_much(redis, stream, count=3)
    with Wire(broker.port) as wire:
        wire.send(f"GET {history_path(stream)} HTTP/1.0\r\n\r\n".encode())
        head, _, body = wire.rest().partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert len(json.loads(body)["events"]) == 3


def send_all_it_takes(wire, data):
    """Until the broker's socket has taken nothing for a while. Returns how many bytes went."""
    sent = 0
    wire.sock.settimeout(0.3)
    try:
        while sent < len(data):
            sent += wire.sock.send(data[sent : sent + 65_536])
    except TimeoutError:
        pass
    wire.sock.settimeout(seconds(10))
    return sent


def test_who_reads_no_replies_is_read_no_further(start, redis, stream):
    """And once it reads, each request has its reply."""
    broker = start.broker(redis, BOND_WORKERS=1)
    still_serves(broker, redis, stream)
    request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    before, burnt = broker.memory_kb(), cpu_seconds(broker)
    with Wire(broker.port, rcvbuf=2048) as wire:
        sent = send_all_it_takes(wire, request * 600_000)
        assert sent < len(request) * 600_000, "all of it was read"
        grew(broker, before, 500)
        assert cpu_seconds(broker) - burnt < seconds(1)
        for _ in range(2000):
            assert wire.reply().status == 200


def test_early_bytes_are_bounded(start, stream):
    """Before the handshake is answered, which Redis delays here, 16 KiB may come."""
    redis = start.redis()
    broker = start.broker(redis)
    redis.kill()
    wait_until(lambda: broker.ready() == 503, "it is still ready")
    pings = RawWs.encode(PING, "p" * 100)
    for count, lets_in in ((100, True), (600, False)):
        with Wire(broker.port) as wire:
            try:
                wire.send(upgrade_head(ws_path(stream)) + pings * count)
                assert wire.reply().status == 101 and lets_in
            except (Hangup, ConnectionError):
                assert not lets_in


def test_a_frame_that_left_the_ring_is_kept_once_for_all(start, redis, stream):
    """A hundred unread clients and events of 3 MiB took 324 MB beside the rings."""
    broker = start.broker(redis, BOND_MEMORY_BYTES=16 * MIB, BOND_WORKERS=1)
    sockets = [RawWs(broker, stream, rcvbuf=2048, slow="skip") for _ in range(100)]
    before = broker.memory_kb()
    with RawWs(broker, stream) as witness:
        for n in range(12):
            redis.publish(stream, f"{n} ".ljust(3 * MIB, "x"))
            assert witness.next_text().startswith(f"{n} ")
    grew(broker, before, 60_000)
    for ws in sockets[:3]:  # what they get is whole
        numbers = [int(ws.next_text().split()[0])]
        while numbers[-1] != 11:
            numbers.append(int(ws.next_text().split()[0]))
        assert numbers == sorted(set(numbers))
    for ws in sockets:
        ws.close()


def test_the_sum_is_bounded_and_who_is_stuck_longest_goes_first(start, redis, stream):
    broker = start.broker(redis, BOND_OUTBOX_BYTES=MIB, BOND_WORKERS=1)
    publish_much(redis, stream, count=9000, size=100)
    with RawWs(broker, stream) as reader:
        wires = [unread_history(broker, stream) for _ in range(60)]
        broker.wait_log("event=outboxes_full")
        redis.publish(stream, "still here")
        assert reader.next_text() == "still here"
        assert len(get(broker.port, history_path(stream, limit=9000)).json()["events"]) == 9000
        ends = [is_whole(wire) for wire in wires]
    assert not all(ends), "nobody was closed"
    assert ends[-1], "the latest was"
    assert len(broker.log("outboxes_full")) < 5


def is_whole(history):
    try:
        return len(history.reply().json()["events"]) > 8000
    except (Hangup, ConnectionResetError):
        return False
    finally:
        history.close()


# --- what is done for what means nothing -------------------------------------------------


def test_unfolding_has_a_rate(start, redis, stream):
    """88 bytes are 64 KiB of work: at 1.5 MB/s one client took a worker."""
    broker = start.broker(redis, BOND_WORKERS=1)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(b"\0" * 65_536) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with RawWs(broker, stream, headers=[OFFER]) as ws:
        ws.rsv = (0, 4)
        before = cpu_seconds(broker)
        bombs = RawWs.encode(TEXT, packed, rsv=4) * 20_000  # 1.3 GB
        ws.sock.setblocking(False)
        sent = 0
        while sent < len(bombs):
            try:
                sent += ws.sock.send(bombs[sent : sent + 65_536])
            except BlockingIOError:
                break  # it is not read: that is the bound
        for _ in range(20):
            still_serves(broker, redis, stream)
        assert cpu_seconds(broker) - before < seconds(0.5)


def test_a_message_now_and_then_is_looked_at_at_once(broker, stream):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(b"hello") + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with RawWs(broker, stream, headers=[OFFER]) as ws:
        for n in range(200):
            ws.frame(TEXT, packed, rsv=4)
            ws.frame(PING, str(n))
            assert ws.next_frame().payload == str(n).encode()


def test_what_waits_is_read_later_and_in_order(broker, stream):
    """Also when the rest of it comes in pieces."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(b"\0" * 60_000) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    with RawWs(broker, stream, headers=[OFFER]) as ws:
        flood = b"".join(
            RawWs.encode(TEXT, packed, rsv=4) + RawWs.encode(PING, str(n)) for n in range(12)
        )
        for at in range(0, len(flood), 7):
            ws.send(flood[at : at + 7])
        got = -1
        while got < 11:
            frame = ws.next_frame()
            assert frame.opcode == PONG and int(frame.payload) > got
            got = int(frame.payload)


def test_requests_that_come_during_a_history_are_kept_within_a_bound(start, redis, stream):
    """A client that read a history and sent requests meanwhile had them all kept, and then
    answered in one turn of the worker, with a copy of the rest for each: 2 s for 4 MB."""
    broker = start.broker(redis, BOND_WORKERS=1)
    publish_much(redis, stream, count=40, size=20_000)
    publish_much(redis, stream, count=9000, size=300)
    flood = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 200_000
    path = history_path(stream, limit=10_000)
    assert len(get(broker.port, path).body) > 3 * MIB
    before = broker.memory_kb()
    most = sent = got = 0
    with Wire(broker.port) as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wire.read(1)  # it has begun
        wire.sock.setblocking(False)
        while got < 3 * MIB:
            try:
                sent += wire.sock.send(flood[sent : sent + 65_536])
            except BlockingIOError:
                pass
            try:
                got += len(wire.sock.recv(65_536))
            except BlockingIOError:
                pass
            most = max(most, broker.memory_kb() - before)
    assert is_sanitizer_build() or most < 1000, (most, sent)


def test_messages_that_say_nothing_have_a_rate_too(broker, stream):
    """Only what came of them was counted: nothing, so there was no end of them."""
    packed = b"\x02\x00"  # deflated, an empty text
    with RawWs(broker, stream, headers=[OFFER]) as ws:
        begun = time.monotonic()
        ws.send(RawWs.encode(TEXT, packed, rsv=4) * 10_000)  # 66 bytes each, as we count
        ws.frame(PING)
        assert ws.next_frame().opcode == PONG
        assert time.monotonic() - begun > 1.4  # 660 KB, of which 256 KiB were free


# --- tokens in-band ----------------------------------------------------------------------


@pytest.fixture
def live(start, redis):
    return start.broker(redis, BOND_EXPIRE_LIVE=1, BOND_WORKERS=1)


def auths_until_closed(ws, text, count):
    for _ in range(count):
        ws.frame(TEXT, text)
    return ws.close_frame()


@pytest.mark.parametrize("secret", [None, "another"])
def test_renewals_are_limited(live, stream, secret):
    """792,000 log lines came in 5 s."""
    token = auth(stream, **({"secret": secret} if secret else {}))
    with RawWs(live, stream, format="envelope") as ws:
        code, reason = auths_until_closed(ws, token, 40)
        assert code == 1008 and "too many" in reason
    assert len(live.log("token_renewal")) < 5


def test_bad_tokens_count_at_the_door_wherever_they_come(live, stream):
    for n in range(10):
        with RawWs(live, stream, format="envelope") as ws:
            ws.frame(TEXT, auth(stream, secret="another"))
            told_raw(ws, "expiring")
    with RawWs(live, stream, format="envelope") as ws:
        code, reason = auths_until_closed(ws, auth(stream, secret="another"), 1)
        assert code == 1008 and "bad tokens" in reason


# --- what stands where nothing is expected ------------------------------------------------


@pytest.mark.parametrize(
    "behind", [b"\r\n", b"hello", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"\x81\x05"]
)
@pytest.mark.parametrize("length", [True, False])
def test_bytes_behind_an_event_streams_request_mean_nothing(broker, redis, stream, behind, length):
    """They were parsed as WebSocket frames, and ended the stream."""
    redis.publish(stream, "first")  # the second client finds the stream primed
    for _ in range(2):
        with Wire(broker.port) as wire:
            extra = f"Content-Length: {len(behind)}\r\n" if length else ""
            head = f"GET {sse_path(stream)} HTTP/1.1\r\nHost: x\r\n{extra}\r\n"
            wire.send(head.encode() + behind)
            wire.read_to(b"event: live")
            wire.send(behind)
            id_ = redis.publish(stream, "still here")
            wire.read_to(f"id: {id_}\ndata: still here\n\n".encode())


def test_early_bytes_are_read_in_order(start, stream):
    """Also when the handshake is answered late: half a frame before, the other half after."""
    redis = start.redis()
    broker = start.broker(redis)
    redis.kill()
    wait_until(lambda: broker.ready() == 503, "it is still ready")
    with Wire(broker.port) as wire:
        ping = RawWs.encode(PING, "early and late")
        wire.send(upgrade_head(ws_path(stream)) + RawWs.encode(PING, "early") + ping[:9])
        assert wire.reply().status == 101
        wire.send(ping[9:])
        answers = wire.read_to(b"early and late")
        assert answers.count(b"\x8a") in (1, 2), answers  # the newest will do
        assert b"\x88" not in answers


def health(count):
    return b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * count


def test_requests_behind_a_history_wait_in_the_socket(start, stream):
    """It was cut when there were more than 16 KiB of them before the stream was read, and kept
    without a bound while the history was sent."""
    redis = start.redis()
    broker = start.broker(redis)
    with Wire(broker.port) as wire:
        redis.hang()
        head = f"GET {history_path(stream)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        wire.send(head + health(1500))  # 54 KB
        time.sleep(0.1)  # it has read what it wants to
        redis.go_on()
        assert wire.reply().json()["complete"]
        for _ in range(1500):
            assert wire.reply().json()["status"] == "ok"


def test_an_event_stream_behind_a_history_ends_with_its_client(start, stream):
    """Who had closed its side while it waited for the history stayed for ever."""
    redis = start.redis()
    broker = start.broker(redis)
    with Wire(broker.port) as wire:
        redis.hang()
        for path in (history_path(stream), sse_path(stream)):
            wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wire.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.1)  # it has seen that
        redis.go_on()
        assert wire.reply().json()["complete"]
        wire.rest()


@pytest.mark.parametrize("path", ["/health", "history"])
def test_a_half_closed_client_gets_its_reply(broker, redis, stream, path):
    publish_much(redis, stream)
    target = history_path(stream) if path == "history" else path
    with Wire(broker.port, rcvbuf=4096) as wire:
        wire.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 2)
        wire.sock.shutdown(socket.SHUT_WR)
        for _ in range(2):
            assert wire.reply().status == 200
        assert wire.hung_up()
