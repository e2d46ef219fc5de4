"""Redis fails: absent, killed, hung, emptied, replaced. Clients stay connected, nothing
that Redis kept is lost or comes twice, and /ready tells the truth within two seconds."""

import asyncio
import time

import pytest

from harness import (
    Port,
    Publisher,
    close_of,
    numbers,
    receive,
    receive_up_to,
    seconds,
    until,
    wait_until,
    ws_path,
)
from told import gaps, ids, told
from wire import Wire, get, upgrade_head


async def ready_is(broker, status, within=10):
    await until(lambda: broker.ready() == status, f"/ready is not {status}", within)


def in_order_and_once(ns):
    assert all(a < b for a, b in zip(ns, ns[1:])), "out of order, or twice"


# Absent.


async def test_absent_at_the_start(start, stream):
    redis = start.redis_down()
    broker = start.broker(redis, ready=False)
    assert get(broker.port, "/health").status == 200
    assert get(broker.port, "/ready").status == 503
    async with broker.connect(stream) as ws:
        redis.start()
        await ready_is(broker, 200)
        redis.publish(stream, "at last")
        assert await receive(ws, 1) == ["at last"]


async def test_a_handshake_does_not_wait_for_ever_for_redis(start, stream):
    redis = start.redis_down()
    broker = start.broker(redis, ready=False)
    before = time.monotonic()
    async with broker.connect(stream):
        assert time.monotonic() - before < seconds(2)


async def test_a_replay_asked_for_while_redis_was_away(start, stream):
    redis = start.redis(appendonly=True)
    redis.publish_all(stream, ["one", "two"])
    redis.kill()
    broker = start.broker(redis, ready=False)
    async with broker.connect(stream, from_="first") as ws:
        redis.restart()
        assert await receive(ws, 2) == ["one", "two"]


async def test_ready_follows_redis_down_and_up(start):
    redis = start.redis()
    broker = start.broker(redis)
    for _ in range(3):
        redis.kill()
        await ready_is(broker, 503, within=2)
        redis.start()
        await ready_is(broker, 200)
    assert get(broker.port, "/health").status == 200


# Killed and started again.


@pytest.mark.parametrize("appendonly", [True, False])
async def test_restarted_between_two_events(start, stream, appendonly):
    redis = start.redis(appendonly=appendonly)
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "before")
        assert await receive(ws, 1) == ["before"]
        redis.restart()
        redis.publish(stream, "after")
        assert await receive(ws, 1, within=15) == ["after"]


async def test_what_was_published_before_the_broker_is_back_comes(start, stream):
    """Redis returns first and takes events; the broker reads on from its last id."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "before")
        assert await receive(ws, 1) == ["before"]
        for round_ in range(3):
            redis.restart()
            events = [f"{round_}.{i}" for i in range(100)]
            redis.publish_all(stream, events)
            assert await receive(ws, 100, within=15) == events


async def test_killed_under_load_with_append_only_file(start, stream):
    """What Redis acknowledged comes exactly once. What it did not may come."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis, BOND_WORKERS=2)
    clients = [await broker.connect(stream) for _ in range(5)]
    collecting = [asyncio.create_task(receive_up_to(ws, "end", within=50)) for ws in clients]
    with Publisher(redis, stream, rate=500) as publisher:
        for _ in range(3):
            published = len(publisher.acknowledged)
            await until(lambda: len(publisher.acknowledged) > published + 100, "no progress", 20)
            redis.kill()
            failed = publisher.failures
            await until(lambda: publisher.failures > failed, "the publisher noticed nothing")
            redis.start()
        sent = publisher.stop()
    redis.publish(stream, "end")
    for got in await asyncio.gather(*collecting):
        ns = numbers(got[:-1])
        in_order_and_once(ns)
        assert set(sent) <= set(ns), f"{len(set(sent) - set(ns))} acknowledged events were lost"
    for ws in clients:
        await ws.close()


async def test_killed_under_load_and_restarted_empty(start, stream):
    """Redis forgets, the broker goes on: all that the new Redis took comes, once."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=2)
    async with broker.connect(stream) as ws:
        collecting = asyncio.create_task(receive_up_to(ws, "end", within=50))
        with Publisher(redis, stream, rate=500) as publisher:
            await until(lambda: len(publisher.acknowledged) > 200, "no progress")
            redis.kill()
            failed = publisher.failures
            await until(lambda: publisher.failures > failed, "the publisher noticed nothing")
            of_the_first = len(publisher.acknowledged)
            redis.start()
            await until(
                lambda: len(publisher.acknowledged) > of_the_first + 200, "no progress", 20
            )
            sent = publisher.stop()
        redis.publish(stream, "end")
        ns = numbers((await collecting)[:-1])
    in_order_and_once(ns)
    assert set(sent[of_the_first:]) <= set(ns)


async def test_a_new_client_after_a_restart_replays_what_redis_kept(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with broker.connect(stream, from_="first") as ws:
        redis.publish_all(stream, ["1", "2"])
        assert await receive(ws, 2) == ["1", "2"]
        redis.restart()
        redis.publish(stream, "3")
        assert await receive(ws, 1, within=15) == ["3"]
        async with broker.connect(stream, from_="first") as late:
            assert await receive(late, 3) == ["1", "2", "3"]


# Hanging without closing.


async def test_a_redis_that_hangs(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "before")
        assert await receive(ws, 1) == ["before"]
        redis.hang()
        await ready_is(broker, 503, within=2.2)
        assert get(broker.port, "/health").status == 200
        await asyncio.wait_for(await ws.ping(), seconds(2))  # the client's own life goes on
        redis.go_on()
        await ready_is(broker, 200)
        redis.publish(stream, "after")
        assert await receive(ws, 1) == ["after"]


@pytest.mark.parametrize("pause", [0, 0.7, 1.4, 2.1])
async def test_a_redis_that_hangs_is_noticed_without_any_client(start, pause):
    """Whenever in the broker's own rhythm it happens."""
    redis = start.redis()
    broker = start.broker(redis)
    await asyncio.sleep(pause)
    redis.hang()
    await ready_is(broker, 503, within=2.2)
    redis.go_on()
    await ready_is(broker, 200, within=2.2)


async def test_an_idle_broker_stays_ready(start):
    """Silence because nothing happens is not silence because Redis is gone."""
    broker = start.broker(start.redis())
    end = time.monotonic() + 7  # longer than each of the broker's own timeouts
    while time.monotonic() < end:
        assert broker.ready() == 200
        await asyncio.sleep(0.05)


async def test_clients_that_leave_while_they_wait_for_redis(start, stream):
    """Their handshake is not over yet; what Redis answers later finds nobody."""
    redis = start.redis()
    broker = start.broker(redis)
    redis.hang()
    for round_ in range(3):
        waiting = []
        for i in range(20):
            wire = Wire(broker.port)
            wire.send(upgrade_head(ws_path(f"{stream}-{i % 5}", from_="first")))
            waiting.append(wire)
        for i, wire in enumerate(waiting):
            wire.reset() if i % 2 else wire.close()
    redis.go_on()
    async with broker.connect(f"{stream}-0") as ws:
        redis.publish(f"{stream}-0", "after all")
        assert await receive(ws, 1) == ["after all"]


async def test_a_path_to_redis_that_swallows_bytes(start, stream):
    """No FIN, no RST: the broker gives the connection up by itself and loses nothing."""
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "before")
        assert await receive(ws, 1) == ["before"]
        proxy.freeze()
        redis.publish_all(stream, ["1", "2", "3"])
        await ready_is(broker, 503, within=4)
        accepted = proxy.accepted
        await until(lambda: proxy.accepted > accepted, "no new attempt to connect", 30)
        proxy.thaw()
        assert await receive(ws, 3, within=20) == ["1", "2", "3"]
        await ready_is(broker, 200)


async def test_an_outage_longer_than_the_ring(start, stream):
    """Redis has it all, and the client reads: being late was the broker's part, not its own."""
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy, BOND_RING_SECONDS=1)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "before")
        assert await receive(ws, 1) == ["before"]
        proxy.switch(Port().number)  # nobody listens there
        await ready_is(broker, 503, within=4)
        events = []
        for i in range(25):
            events.append(f"meanwhile {i}")
            redis.publish(stream, events[-1])
            await asyncio.sleep(0.1)  # the age of the events is the subject
        proxy.switch(redis.port)
        assert await receive(ws, 25, within=15) == events


async def test_connections_cut_again_and_again_under_load(start, stream):
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy)
    async with broker.connect(stream) as ws:
        collecting = asyncio.create_task(receive_up_to(ws, "end", within=50))
        with Publisher(redis, stream, rate=500) as publisher:
            for _ in range(8):
                published = len(publisher.acknowledged)
                await until(lambda: len(publisher.acknowledged) > published + 60, "no progress")
                proxy.cut()
            sent = publisher.stop()
        redis.publish(stream, "end")
        assert numbers((await collecting)[:-1]) == sent


async def test_reconnecting_backs_off(start):
    """A dead Redis is not hammered: attempts grow rarer."""
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy)
    redis.kill()
    proxy.cut()
    await ready_is(broker, 503, within=2)
    before = proxy.accepted
    await asyncio.sleep(2)  # the rate is the subject
    assert 1 <= proxy.accepted - before <= 30
    redis.start()
    await ready_is(broker, 200, within=15)


# Refused.


async def test_a_wrong_password_and_then_the_right_one(start, stream):
    redis = start.redis()
    redis.client.config_set("requirepass", "what-redis-wants")
    broker = start.broker(f"redis://:what-we-have@127.0.0.1:{redis.port}/0", ready=False)
    assert broker.ready() == 503
    async with broker.connect(stream) as ws:
        broker.wait_log("redis")
        assert broker.ready() == 503
        admin = redis.connect(password="what-redis-wants")
        admin.config_set("requirepass", "what-we-have")
        await ready_is(broker, 200, within=20)
        admin.xadd(f"stream:{stream}", {"data": "let in"})
        assert await receive(ws, 1) == ["let in"]
    assert "what-we-have" not in broker.log_text()


async def test_a_redis_that_still_loads(start, stream):
    """-LOADING is a failure that passes."""
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    pipe = redis.client.pipeline(transaction=False)
    for i in range(300):
        pipe.xadd(f"stream:{stream}", {"data": f"{i} " + "x" * 200})
    pipe.execute()
    async with broker.connect(stream, from_="first") as ws:
        got = await receive(ws, 300)
        redis.kill()
        redis.configure("key-load-delay 3000", "loading-process-events-interval-bytes 1024")
        loading = time.monotonic()
        redis.start()  # waits until it has loaded; the broker meets it before
        assert time.monotonic() - loading > 0.5, "it did not load slowly: nothing was tested"
        redis.publish(stream, "end")
        assert await receive(ws, 1, within=20) == ["end"]
    assert len(got) == 300


# One key.


async def test_a_key_that_is_no_stream_hurts_only_its_own_clients(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    redis.client.set("stream:a-string", "not a stream")
    async with broker.connect(stream) as healthy:
        async with broker.connect("a-string") as ws:
            code, reason = await close_of(ws)
            assert code == 1011 and reason
        redis.publish(stream, "goes on")
        assert await receive(healthy, 1) == ["goes on"]
        assert broker.ready() == 200


async def test_a_stream_that_becomes_something_else(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as healthy, broker.connect("turns") as ws:
        redis.publish("turns", "a stream still")
        assert await receive(ws, 1) == ["a stream still"]
        redis.delete("turns")
        redis.client.set("stream:turns", "a string now")
        code, reason = await close_of(ws)
        assert code == 1011 and reason
        redis.publish(stream, "goes on")
        assert await receive(healthy, 1) == ["goes on"]


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "one-more"])
async def test_it_is_ready_again_though_who_failed_is_gone(start, stream, others):
    """A script makes a stream something else, and runs on for a while. The reads of it that
    fail are the server's trouble until, when it could say that they are over, it is dropped."""
    redis = start.redis(config=["busy-reply-threshold 100"])
    broker = start.broker(redis, BOND_SWEEP_SECONDS=86400)
    script = """redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 'a string now')
        for i = 1, 60000000 do end"""
    quiet = [await broker.connect(f"quiet-{n}", format="envelope") for n in range(others)]
    async with broker.connect(stream) as ws:
        redis.publish(stream, "a stream still")
        assert await receive(ws, 1) == ["a stream still"]
        key = f"stream:{stream}"
        running = asyncio.create_task(asyncio.to_thread(redis.client.eval, script, 1, key))
        assert (await close_of(ws, within=30))[0] == 1011
        await running
    broker.wait_log(["redis_unreadable", "BUSY"])
    await ready_is(broker, 200)
    for client in quiet:
        await client.close()


async def test_a_key_that_was_no_stream_becomes_one(start):
    redis = start.redis()
    broker = start.broker(redis)
    redis.client.set("stream:s", "a string")
    async with broker.connect("s") as ws:
        assert (await close_of(ws))[0] == 1011
    redis.delete("s")
    async with broker.connect("s") as ws:
        redis.publish("s", "a stream now")
        assert await receive(ws, 1) == ["a stream now"]


async def test_each_client_of_a_bad_key_gets_its_answer(start):
    redis = start.redis()
    broker = start.broker(redis)
    redis.client.set("stream:bad", "a string")
    for _ in range(10):
        async with broker.connect("bad") as ws:
            assert (await close_of(ws))[0] == 1011


# Deleted, trimmed, gone back.


async def test_deleted_and_created_again_with_higher_ids(broker, redis, stream):
    async with broker.connect(stream) as ws:
        redis.publish(stream, "old", id="100-0")
        assert await receive(ws, 1) == ["old"]
        redis.delete(stream)
        redis.publish(stream, "new", id="200-0")
        assert await receive(ws, 1) == ["new"]


async def test_deleted_and_created_again_with_lower_ids(broker, redis, stream):
    """The first broker hung here for ever."""
    async with broker.connect(stream) as ws:
        for top in (900, 500, 100):
            redis.publish_all(stream, [f"{top}+{i}" for i in range(3)], id=f"{top}-*")
            assert await receive(ws, 3) == [f"{top}+{i}" for i in range(3)]
            redis.delete(stream)


@pytest.mark.parametrize("first_id", ["1-1", "99999999999999-0"])
async def test_deleted_and_created_again_between_two_reads(broker, redis, stream, first_id):
    """The broker never sees the stream absent."""
    key = f"stream:{stream}"
    async with broker.connect(stream) as ws:
        redis.publish(stream, "old")
        assert await receive(ws, 1) == ["old"]
        pipe = redis.client.pipeline(transaction=True)
        pipe.delete(key)
        pipe.xadd(key, {"data": "new"}, id=first_id)
        pipe.xadd(key, {"data": "newer"}, id=first_id.replace("-0", "-1").replace("1-1", "1-2"))
        pipe.execute()
        assert await receive(ws, 2) == ["new", "newer"]


async def test_after_lower_ids_a_replay_holds_the_new_run(broker, redis, stream):
    async with broker.connect(stream) as ws:
        redis.publish(stream, "old")
        assert await receive(ws, 1) == ["old"]
        redis.delete(stream)
        redis.publish_all(stream, ["new 1", "new 2"], id="5-*")
        assert await receive(ws, 2) == ["new 1", "new 2"]
        async with broker.connect(stream, from_="5-0") as late:
            redis.publish(stream, "new 3", id="5-*")
            assert await receive(late, 3) == ["new 1", "new 2", "new 3"]


async def test_flushall(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    names = [f"{stream}-{i}" for i in range(10)]
    sockets = [await broker.connect(name) for name in names]
    for round_ in range(3):
        for name, ws in zip(names, sockets):
            redis.publish(name, f"round {round_}", id=f"{100 - round_}-1")
            assert await receive(ws, 1) == [f"round {round_}"]
        redis.client.flushall()
    for ws in sockets:
        await ws.close()


async def test_trimming_hurts_no_one(broker, redis, stream):
    async with broker.connect(stream) as ws:
        redis.publish_all(stream, ["1", "2", "3"])
        assert await receive(ws, 3) == ["1", "2", "3"]
        redis.client.xtrim(f"stream:{stream}", maxlen=0, approximate=False)
        redis.publish(stream, "4")
        assert await receive(ws, 1) == ["4"]
        redis.client.xtrim(f"stream:{stream}", maxlen=0, approximate=False)
        async with broker.connect(stream, from_="first") as late:
            assert await receive(late, 4) == ["1", "2", "3", "4"]


async def test_an_entry_that_was_deleted_does_not_come(broker, redis, stream):
    ids = redis.publish_all(stream, ["1", "2", "3"])
    redis.client.xdel(f"stream:{stream}", ids[1])
    async with broker.connect(stream, from_="first") as ws:
        redis.publish(stream, "4")
        assert await receive(ws, 3) == ["1", "3", "4"]


async def test_deleting_the_newest_entry_is_not_going_back(broker, redis, stream):
    """XDEL of the last entry leaves the stream's last id where it was."""
    async with broker.connect(stream) as ws:
        ids = redis.publish_all(stream, ["1", "2"])
        assert await receive(ws, 2) == ["1", "2"]
        redis.client.xdel(f"stream:{stream}", ids[1])
        redis.publish(stream, "3")
        assert await receive(ws, 1) == ["3"]


async def test_an_expired_stream_goes_on(broker, redis, stream):
    async with broker.connect(stream) as ws:
        redis.publish(stream, "1", id="50-0")
        assert await receive(ws, 1) == ["1"]
        redis.client.pexpire(f"stream:{stream}", 1)
        await until(lambda: not redis.client.exists(f"stream:{stream}"), "it does not expire")
        redis.publish(stream, "2", id="40-0")
        assert await receive(ws, 1) == ["2"]


async def test_a_renamed_stream_goes_on(broker, redis, stream):
    async with broker.connect(stream) as ws:
        redis.publish(stream, "1")
        assert await receive(ws, 1) == ["1"]
        redis.publish(f"{stream}-other", "2")
        redis.client.rename(f"stream:{stream}-other", f"stream:{stream}")
        redis.publish(stream, "3")
        assert (await receive_up_to(ws, "3"))[-1] == "3"


# Fail over.


def replicate(primary, replica):
    replica.client.replicaof("127.0.0.1", primary.port)
    wait_until(
        lambda: replica.client.info("replication")["master_link_status"] == "up",
        "the replica does not follow",
        within=20,
    )


async def caught_up(primary, replica, stream):
    """WAIT would only know of the writes of its own connection."""
    length = primary.client.xlen(f"stream:{stream}")
    await until(
        lambda: replica.client.xlen(f"stream:{stream}") == length, "the replica lags", within=20
    )


def promote(replica):
    replica.client.replicaof("NO", "ONE")


async def test_failover_to_a_promoted_replica(start, stream):
    primary, replica = start.redis(), start.redis()
    replicate(primary, replica)
    proxy = start.proxy(primary)
    broker = start.broker(proxy)
    async with broker.connect(stream) as ws:
        before = [f"before {i}" for i in range(50)]
        primary.publish_all(stream, before)
        await caught_up(primary, replica, stream)
        assert await receive(ws, 50) == before
        promote(replica)
        primary.kill()
        proxy.switch(replica.port)
        after = [f"after {i}" for i in range(50)]
        replica.publish_all(stream, after)
        assert await receive(ws, 50, within=20) == after, "an event was lost or came twice"
        async with broker.connect(stream, from_="first") as late:
            assert await receive(late, 100) == before + after


async def test_failover_to_a_replica_that_lacks_the_newest_events(start, stream):
    """Its stream ends before the broker's last id: what clients had does not come again."""
    primary, replica = start.redis(), start.redis()
    replicate(primary, replica)
    proxy = start.proxy(primary)
    broker = start.broker(proxy)
    async with broker.connect(stream) as ws:
        primary.publish_all(stream, ["1", "2", "3"])
        await caught_up(primary, replica, stream)
        promote(replica)
        primary.publish_all(stream, ["4", "5"])
        assert await receive(ws, 5) == ["1", "2", "3", "4", "5"]
        primary.kill()
        proxy.switch(replica.port)
        await ready_is(broker, 200, within=15)
        replica.publish_all(stream, ["6", "7"])
        assert await receive(ws, 2, within=20) == ["6", "7"], "an event was lost or came twice"


async def test_a_replica_that_is_filled_anew_by_a_primary_with_less(start, stream):
    """The broker reads of a replica, and its connection stands. What clients had does not come
    again."""
    old, new, replica = start.redis(), start.redis(), start.redis()
    replicate(old, new)
    replicate(old, replica)
    published = old.publish_all(stream, ["1", "2", "3"])
    await caught_up(old, new, stream)
    await caught_up(old, replica, stream)
    broker = start.broker(replica)
    async with broker.connect(stream, format="envelope", from_="first") as ws:
        got = await told(ws, "event", id=published[-1])
        promote(new)
        published.append(old.publish(stream, "lost"))
        got += await told(ws, "event", id=published[-1])
        replicate(new, replica)
        published.append(new.publish(stream, "4"))
        got += await told(ws, "event", id=published[-1])
        assert ids(got) == published
        assert [g["reason"] for g in gaps(got)] == ["reset"]
    assert not broker.log("redis_down")


async def test_failover_under_load(start, stream):
    primary, replica = start.redis(), start.redis()
    replicate(primary, replica)
    proxy = start.proxy(primary)
    broker = start.broker(proxy, BOND_WORKERS=2)
    async with broker.connect(stream) as ws:
        collecting = asyncio.create_task(receive_up_to(ws, "end", within=50))
        with Publisher(primary, stream, rate=500) as publisher:
            await until(lambda: len(publisher.acknowledged) > 300, "no progress")
            sent = publisher.stop()
        await caught_up(primary, replica, stream)
        promote(replica)
        primary.kill()
        proxy.switch(replica.port)
        with Publisher(replica, stream, rate=500, behind=publisher.number) as second:
            await until(lambda: len(second.acknowledged) > 300, "no progress")
            sent = sent + second.stop()
        replica.publish(stream, "end")
        assert numbers((await collecting)[:-1]) == sent


# Back with an older snapshot.


@pytest.mark.parametrize("flushed", [False, True])
async def test_an_old_snapshot_brings_nothing_twice(start, stream, flushed):
    """What it still has we had; what was published since the save is lost with it. A flush
    before the end changes nothing: a snapshot does not know of it."""
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as raw, broker.connect(stream, format="envelope") as ws:
        saved = redis.publish_all(stream, ["1", "2"])
        redis.client.save()
        lost = redis.publish_all(stream, ["3"])
        await told(ws, "event", id=lost[-1])
        if flushed:
            redis.client.flushall()
            await told(ws, "gap", reason="reset")
        redis.kill()
        await ready_is(broker, 503, within=3)
        redis.start()
        assert [id for id, _ in redis.client.xrange(f"stream:{stream}")] == [
            id.encode() for id in saved
        ], "it did not load the snapshot"
        await ready_is(broker, 200, within=15)
        new = redis.publish(stream, "4")
        got = await told(ws, "event", id=new)
        assert ids(got) == [new]
        assert [g["reason"] for g in gaps(got)] == ([] if flushed else ["reset"])
        assert await receive_up_to(raw, "4") == ["1", "2", "3", "4"]
