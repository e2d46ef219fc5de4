"""Signals: those that end the broker are in test_shutdown.py, with what comes before the drain
here; no other ends it."""

import signal
from datetime import datetime

import pytest

from harness import close_of, receive, until, wait_until
from wire import get

HARMLESS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


def ignored(broker):
    return [line["signal"] for line in broker.log("signal_ignored")]


@pytest.mark.parametrize("number", HARMLESS, ids=lambda n: n.name)
async def test_a_signal_that_is_no_end_ends_nothing(start, stream, number):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        broker.process.send_signal(number)
        await until(lambda: ignored(broker), "nobody took the signal")
        redis.publish(stream, "still here")
        assert await receive(ws, 1) == ["still here"]
    [line] = broker.log("signal_ignored")
    assert line["signal"] == number.name
    assert "restart" in line["hint"], "somebody may have expected a reload"


def test_harmless_signals_right_after_the_start_end_nothing(start):
    """They may come before the broker listens."""
    broker = start.launch(start.redis())
    wait_until(lambda: broker.log_text(), "it says nothing")
    for number in HARMLESS:
        broker.process.send_signal(number)
    wait_until(lambda: len(ignored(broker)) == 3, broker.log_text)
    assert broker.alive()


async def test_harmless_signals_do_not_hasten_a_drain(start, stream):
    broker = start.broker(start.redis(), BOND_DRAIN_SECONDS=2)
    sockets = [await broker.connect(stream) for _ in range(4)]
    broker.signal()
    await until(lambda: broker.log("draining"), "the drain has not begun")
    for number in HARMLESS:
        broker.process.send_signal(number)
    await until(lambda: len(ignored(broker)) == 3, broker.log_text)
    for ws in sockets:
        assert (await close_of(ws, within=10))[0] == 1001
    assert broker.exit_code() == 0
    assert broker.log("stopping_at_once") == []


# BOND_DRAIN_DELAY_SECONDS: the end is announced before it begins.


async def test_before_the_drain_ready_says_503_and_all_else_goes_on(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_DRAIN_DELAY_SECONDS=600, BOND_WORKERS=2)
    async with broker.connect(stream) as old:
        broker.signal()
        await until(lambda: broker.ready() == 503, "it is still ready")
        assert get(broker.port, "/ready").json()["detail"] == "the broker is shutting down"
        assert get(broker.port, "/health").status == 200
        for _ in range(4):  # on both workers
            async with broker.connect(stream) as new:
                redis.publish(stream, "event")
                assert await receive(new, 1) == ["event"]
        assert await receive(old, 4) == ["event"] * 4
        assert broker.log("draining") == []
        broker.signal()  # a second one is in a hurry
        assert broker.exit_code() == 0
    assert broker.log("stopping_at_once") != []


async def test_behind_the_delay_the_drain_begins(start, stream):
    broker = start.broker(start.redis(), BOND_DRAIN_DELAY_SECONDS=1)
    async with broker.connect(stream) as ws:
        broker.signal()
        assert (await close_of(ws))[0] == 1001
    assert broker.exit_code() == 0
    leaving, draining = broker.log("leaving")[0], broker.log("draining")[0]
    assert leaving["seconds"] == "1"
    waited = datetime.fromisoformat(draining["ts"]) - datetime.fromisoformat(leaving["ts"])
    assert waited.total_seconds() > 0.9


async def test_without_a_delay_nothing_is_announced(start, stream):
    broker = start.broker(start.redis())
    async with broker.connect(stream) as ws:
        broker.signal()
        assert (await close_of(ws))[0] == 1001
    assert broker.exit_code() == 0
    assert broker.log("leaving") == []
