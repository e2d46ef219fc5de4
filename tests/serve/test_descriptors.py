"""At the limit of open descriptors: those who are connected go on being served, those who
come get a 503, and the log says so. When there is room again, it is used."""

import asyncio
import time

from harness import receive, seconds, until, wait_until, ws_path
from wire import RawWs, Wire, refusal, upgrade, upgrade_head

FILES = 64


def fill(broker, stream):
    """Opens connections until one is refused; the open ones and the refusal."""
    open_ = []
    for _ in range(2 * FILES):
        wire = Wire(broker.port)
        wire.send(upgrade_head(ws_path(stream)))
        reply = wire.reply()
        if reply.status != 101:
            wire.close()
            return open_, reply
        ws = object.__new__(RawWs)
        ws.__dict__ = wire.__dict__
        open_.append(ws)
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
    redis.publish(stream, "to all who are here")
    for ws in open_:
        assert ws.next_text() == "to all who are here"
        ws.close()


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


def test_at_the_limit_it_does_not_spin(start, stream):
    """accept() failing with EMFILE must not burn the processor."""
    broker = start.broker(start.redis(), files=FILES, BOND_WORKERS=2)
    clients = [Wire(broker.port) for _ in range(3 * FILES)]

    def cpu_seconds():
        with open(f"/proc/{broker.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = cpu_seconds()
    time.sleep(1.5)  # the rate is the subject
    assert cpu_seconds() - before < 0.75
    for client in clients:
        client.close()


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
    statuses = []
    open_ = []
    for _ in range(2 * FILES):
        wire = Wire(broker.port)
        wire.send(upgrade_head(ws_path(stream)))
        statuses.append(wire.reply().status)
        if statuses[-1] == 101:
            open_.append(wire)
        else:
            wire.close()
    assert set(statuses) == {101, 503}
    for wire in open_:
        wire.close()
    await until(lambda: broker.ready() == 200, "it does not recover")
    async with asyncio.timeout(seconds(10)):
        async with broker.connect(stream) as ws:
            redis.publish(stream, "goes on")
            assert await receive(ws, 1) == ["goes on"]
