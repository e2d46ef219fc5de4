"""The end: no new clients, what is in the log still goes out, closes 1001 are spread over
the drain, exit 0. A second signal ends at once."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from harness import close_of, receive, receive_up_to, seconds, until, wait_until, ws_path
from told import history_path, kinds, sse_path, told_raw
from wire import CLOSE, RawWs, Wire, get, refusal, upgrade, upgrade_head

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", SIGNALS)
def test_without_clients_it_ends_at_once(start, number):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=30)
    began = time.monotonic()
    broker.signal(number)
    assert broker.exit_code() == 0
    assert time.monotonic() - began < seconds(3)


@pytest.mark.parametrize("number", SIGNALS)
async def test_clients_are_closed_with_1001(start, stream, number):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=1)
    sockets = [await broker.connect(stream) for _ in range(10)]
    broker.signal(number)
    for code, reason in await asyncio.gather(*map(close_of, sockets)):
        assert code == 1001
        assert reason
    assert broker.exit_code() == 0


def listeners(port):
    """Sockets that listen there, one a worker (proc(5): state 0A)."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]


async def test_while_it_drains_nobody_is_let_in(start, stream):
    """No worker listens any more, so that whoever comes is refused by the kernel: that is
    what proxies and an EventSource try again after."""
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=4, BOND_WORKERS=4)
    sockets = [await broker.connect(stream) for _ in range(20)]
    closing = [asyncio.create_task(close_of(ws, within=15)) for ws in sockets]
    broker.signal()
    await until(lambda: not listeners(broker.port), "it still listens")
    for _ in range(40):
        with pytest.raises(ConnectionRefusedError):
            upgrade(broker.port, ws_path(stream))
    assert broker.alive() and not all(task.done() for task in closing)
    await asyncio.gather(*closing)
    assert broker.exit_code() == 0


def request_begun(broker, path):
    """A request of which the last byte is missing."""
    wire = Wire(broker.port)
    wire.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r".encode())
    return wire


def test_a_request_that_was_begun_before_is_answered(start, stream):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=4, BOND_WORKERS=1)
    with RawWs(broker, stream) as ws, request_begun(broker, "/ready") as ready:
        with request_begun(broker, history_path(stream)) as history:
            with request_begun(broker, sse_path(stream)) as sse:
                get(broker.port, "/health")  # the worker has seen them all
                broker.signal()
                wait_until(lambda: broker.ready() is None, "it still listens")
                ready.send(b"\n")
                refusal(ready.reply(), 503, "unavailable")
                history.send(b"\n")
                reply = history.reply()
                refusal(reply, 503, "unavailable")
                assert int(reply.headers["retry-after"]) > 0
                sse.send(b"\n")
                assert sse.hung_up(), "an EventSource never comes back after a status"
        assert ws.close_frame()[0] == 1001
        ws.send_close(1001)
    assert broker.exit_code() == 0


async def test_the_closes_are_spread(start, stream):
    """So that clients do not all come back in the same moment."""
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=2, BOND_WORKERS=2)
    sockets = [await broker.connect(stream) for _ in range(40)]

    async def closed_after(ws):
        await close_of(ws, within=15)
        return time.monotonic() - began

    closing = [asyncio.create_task(closed_after(ws)) for ws in sockets]
    began = time.monotonic()
    broker.signal()
    times = sorted(await asyncio.gather(*closing))
    assert times[-1] < seconds(4), "later than the drain"
    assert times[-1] - times[0] > 0.8, "all at once"
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert max(gaps) < 1.2, "nothing, and then many"
    assert broker.exit_code() == 0


async def test_events_go_on_while_it_drains(start, stream):
    """A client that is not closed yet is served; each ends with what came before its close."""
    redis = start.redis()
    broker = start.broker(redis, BOND_DRAIN_SECONDS=3)
    sockets = [await broker.connect(stream) for _ in range(20)]

    async def all_of(ws):
        got = []
        try:
            while True:
                got.append(await ws.recv())
        except Exception as closed:
            return got, closed.rcvd.code

    reading = [asyncio.create_task(all_of(ws)) for ws in sockets]
    redis.publish(stream, "0")
    broker.signal()
    n = 1
    while not all(task.done() for task in reading):
        redis.publish(stream, str(n))
        n += 1
        await asyncio.sleep(0.02)
        assert n < 1500 * seconds(1), "the drain does not end"
    lengths = set()
    for got, code in await asyncio.gather(*reading):
        assert code == 1001
        assert got == [str(i) for i in range(len(got))]
        lengths.add(len(got))
    assert len(lengths) > 3, "events stopped when the drain began"
    assert broker.exit_code() == 0


async def test_what_is_in_the_log_goes_out_before_the_close(start, stream):
    """A client that lags still gets everything up to the moment of its close."""
    redis = start.redis()
    broker = start.broker(redis, BOND_DRAIN_SECONDS=3, BOND_RING_BYTES=64 << 20)
    with RawWs(broker, stream) as lags:
        async with broker.connect(stream) as witness:
            events = [f"{i} " + "x" * 16_000 for i in range(600)]
            for at in range(0, 600, 50):
                redis.publish_all(stream, events[at : at + 50])
                await receive(witness, 50)
            broker.signal()
            await until(lambda: broker.ready() != 200, "it is still ready")
            got = []
            while (frame := lags.next_frame()).opcode != CLOSE:
                got.append(frame.payload.decode())
        assert got == events
        assert int.from_bytes(frame.payload[:2], "big") == 1001
        lags.frame(CLOSE, frame.payload)
    assert broker.exit_code() == 0


async def test_a_client_that_never_reads_does_not_hold_the_drain(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_DRAIN_SECONDS=1, BOND_RING_BYTES=64 << 20)
    with RawWs(broker, stream):
        async with broker.connect(stream) as witness:
            for _ in range(12):
                redis.publish_all(stream, ["x" * 16_000] * 50)
            await receive(witness, 600)
        broker.signal()
        assert broker.exit_code(within=8) == 0


async def test_a_client_that_does_not_answer_the_close_does_not_hold_the_drain(start, stream):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=1)
    with RawWs(broker, stream) as ws:
        broker.signal()
        assert ws.close_frame()[0] == 1001
        assert broker.exit_code(within=8) == 0


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_second_signal_ends_at_once(start, stream, number):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=60)
    sockets = [await broker.connect(stream) for _ in range(10)]
    broker.signal(number)
    await until(lambda: broker.ready() != 200, "the drain has not begun")
    assert broker.alive()
    began = time.monotonic()
    broker.signal(number)
    broker.exit_code(within=3)
    assert time.monotonic() - began < seconds(3)
    broker.check_sanitizers()
    for ws in sockets:
        await ws.close()


async def test_a_drain_of_zero_seconds(start, stream):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=0)
    async with broker.connect(stream) as ws:
        broker.signal()
        assert (await close_of(ws))[0] == 1001
    assert broker.exit_code(within=3) == 0


async def test_while_redis_is_away(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.kill()
        await until(lambda: broker.ready() == 503, "it is still ready")
        broker.signal()
        assert (await close_of(ws))[0] == 1001
    assert broker.exit_code() == 0


async def test_while_redis_hangs(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.hang()
        broker.signal()
        assert (await close_of(ws))[0] == 1001
    assert broker.exit_code() == 0


def test_who_waits_for_the_handshake_when_the_drain_begins(start, stream):
    """It is let in, and `hello` comes before all else. `stale` came first, for who was not
    the first to be sent away."""
    broker = start.broker(
        start.redis_down(),
        ready=False,
        BOND_WORKERS=1,
        BOND_DRAIN_SECONDS=2,
        BOND_LOG_LEVEL="debug",
    )
    wires = [Wire(broker.port) for _ in range(3)]
    for wire in wires:
        wire.send(upgrade_head(ws_path(stream, format="envelope")))
    wait_until(lambda: broker.log_text().count("state=joining") == 3, "they do not wait")
    broker.signal()
    for wire in wires[1:]:  # the first is closed at once
        assert wire.reply().status == 101
        wire.__class__ = RawWs
        assert kinds(told_raw(wire, "closing"))[0] == "hello"
    for wire in wires:
        wire.close()
    assert broker.exit_code() == 0


def test_half_a_request_does_not_hold_it(start):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=1)
    with Wire(broker.port) as wire:
        wire.send(b"GET /hea")
        broker.signal()
        assert broker.exit_code(within=6) == 0


def test_kept_connections_do_not_hold_it(start):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=1)
    with Wire(broker.port) as wire:
        wire.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.reply().status == 200
        broker.signal()
        assert broker.exit_code(within=6) == 0


async def test_the_next_broker_takes_the_port_and_the_clients(start, stream):
    """A restart: clients resume with after= and miss nothing."""
    redis = start.redis()
    first = start.broker(redis, BOND_DRAIN_SECONDS=0)
    async with first.connect(stream) as ws:
        ids = redis.publish_all(stream, ["1", "2"])
        assert await receive(ws, 2) == ["1", "2"]
        first.signal()
        assert (await close_of(ws))[0] == 1001
    assert first.exit_code() == 0
    redis.publish(stream, "3")
    second = start.broker(redis, port=first.port_kept)
    async with second.connect(stream, after=ids[-1]) as ws:
        redis.publish(stream, "4")
        assert await receive_up_to(ws, "4") == ["3", "4"]
