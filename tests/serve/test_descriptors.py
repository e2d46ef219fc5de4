"""At the limit of open descriptors: those who are connected go on being served, those who
come get a 503, and the log says so. When there is room again, it is used."""

import asyncio
import os
import time

import pytest

from harness import close_of, receive, seconds, until, wait_until, ws_path
from wire import RawWs, Refused, Wire, get, refusal, upgrade

FILES = 64


def cpu_seconds(broker):
    with open(f"/proc/{broker.process.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(broker, stream):
    """Opens connections until one is refused; the open ones and the refusal."""
    open_ = []
    while len(open_) < 2 * FILES:
        try:
            open_.append(RawWs(broker, stream))
        except Refused as refused:
            return open_, refused.reply
    raise AssertionError(f"{len(open_)} clients fit into {FILES} descriptors")


def test_those_who_come_later_get_a_503(start, stream):
    redis = start.redis()
    broker = start.broker(redis, files=FILES, BOND_WORKERS=1)
    open_, reply = fill(broker, stream)
    assert len(open_) > FILES / 4, "far fewer than there is room for"
    refusal(reply, 503, "unavailable")
    assert int(reply.headers["retry-after"]) > 0
    for _ in range(20):
        refusal(upgrade(broker.port, ws_path(stream)), 503, "unavailable")
    assert get(broker.port, "/health").status == 200, "probes are still answered"
    redis.publish(stream, "to all who are here")
    for ws in open_:
        assert ws.next_text() == "to all who are here"
        ws.close()


def test_a_limit_of_ones_own(start, stream):
    """BOND_MAX_CLIENTS, far below the descriptors."""
    redis = start.redis()
    broker = start.broker(redis, BOND_MAX_CLIENTS=5, BOND_WORKERS=2)
    open_, reply = fill(broker, stream)
    assert len(open_) == 5
    refusal(reply, 503, "unavailable")
    assert int(reply.headers["retry-after"]) > 0
    assert get(broker.port, "/health").status == 200
    open_.pop().close()
    wait_until(
        lambda: upgrade(broker.port, ws_path(stream)).status == 101,
        "there is room, but nobody may come",
    )
    for ws in open_:
        ws.close()


async def test_a_limit_of_streams(start, stream):
    """BOND_MAX_FOLLOWED is seen only after the upgrade: 1013, and the others go on."""
    redis = start.redis()
    broker = start.broker(redis, BOND_MAX_FOLLOWED=2)
    async with broker.connect(f"{stream}-1") as one, broker.connect(f"{stream}-2") as two:
        async with broker.connect(f"{stream}-3") as three:
            code, reason = await close_of(three)
            assert code == 1013 and reason
        async with broker.connect(f"{stream}-1") as another:
            redis.publish(f"{stream}-1", "goes on")
            redis.publish(f"{stream}-2", "goes on")
            for ws in (one, two, another):
                assert await receive(ws, 1) == ["goes on"]


def test_the_log_says_so_but_not_a_thousand_times(start, stream):
    broker = start.broker(start.redis(), files=FILES, BOND_WORKERS=1)
    before = len(broker.log_text().splitlines())
    open_, _ = fill(broker, stream)
    for _ in range(100):
        upgrade(broker.port, ws_path(stream))
    new = broker.log_text().splitlines()[before:]
    for ws in open_:
        ws.close()
    assert 1 <= len(new) <= 20, new
    assert any("unavailable" in line and "as many clients" in line for line in new), new


def test_when_some_leave_others_may_come(start, stream):
    broker = start.broker(start.redis(), files=FILES, BOND_WORKERS=1)
    open_, _ = fill(broker, stream)
    for ws in open_[:5]:
        ws.close()
    wait_until(
        lambda: upgrade(broker.port, ws_path(stream)).status == 101,
        "there is room, but nobody may come",
    )
    for ws in open_[5:]:
        ws.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_silent_connections_at_the_limit_do_not_make_it_spin(start, workers):
    """They send no request, so none can be refused. accept() failing with EMFILE must not
    burn the processor meanwhile, whichever worker took the last descriptor."""
    broker = start.broker(start.redis(), files=FILES, BOND_WORKERS=workers)
    clients = [Wire(broker.port) for _ in range(3 * FILES)]
    before = cpu_seconds(broker)
    time.sleep(1.5)  # the rate is the subject
    burnt = cpu_seconds(broker) - before
    for client in clients:
        client.close()
    assert burnt < 0.5, f"{burnt} s of CPU in 1.5 s"


async def test_a_reconnect_to_redis_still_finds_a_descriptor(start, stream):
    """Clients cannot take the one that the link to Redis needs."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis, files=FILES, BOND_WORKERS=1)
    open_, _ = fill(broker, stream)
    redis.restart()
    redis.publish(stream, "after")
    for ws in open_:
        assert await asyncio.to_thread(ws.next_text) == "after"
        ws.close()


async def test_several_workers_share_the_limit(start, stream):
    redis = start.redis()
    broker = start.broker(redis, files=FILES + 16, BOND_WORKERS=4)
    open_, reply = fill(broker, stream)
    refusal(reply, 503, "unavailable")
    redis.publish(stream, "to all who are here")
    for ws in open_:
        assert ws.next_text() == "to all who are here"
        ws.close()
    await until(lambda: broker.ready() == 200, "it does not recover")
    async with asyncio.timeout(seconds(10)):
        async with broker.connect(stream) as ws:
            redis.publish(stream, "goes on")
            assert await receive(ws, 1) == ["goes on"]
