"""Redis as people run it: with passwords, users, databases, sockets, TLS, and servers or
proxies that refuse what the broker would like to use. And how little of Redis it takes."""

import asyncio
import socket
import time

import pytest
from redis.crc import key_slot

from harness import Proxy, close_of, receive, receive_up_to, seconds, until
from told import history_path, ids, told
from wire import get


class RewritingProxy(Proxy):
    """Commands that the broker sends pass with one word for another, of the same length."""

    rewrites = None

    def _pump(self, source, sink, *_):
        comes_from_redis = source.getpeername()[1] == self.target
        try:
            while data := source.recv(65536):
                if self.rewrites and not comes_from_redis:
                    data = data.replace(*self.rewrites)
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


async def delivers(broker, redis, stream, client=None, events=20):
    """Events before and after the first client, and to a replay."""
    xadd = (client or redis.client).xadd
    key = f"stream:{stream}"
    xadd(key, {"data": "0"})
    async with broker.connect(stream, from_="first") as ws:
        for i in range(1, events):
            xadd(key, {"data": str(i)})
        assert await receive(ws, events) == [str(i) for i in range(events)]


# Ways in.


async def test_a_password(start, stream):
    redis = start.redis(password="p@ss:w/rd")
    url = f"redis://:p%40ss%3Aw%2Frd@127.0.0.1:{redis.port}/0"
    broker = start.broker(url)
    await delivers(broker, redis, stream)
    assert "p@ss" not in broker.log_text() and "p%40ss" not in broker.log_text()


async def test_a_user_with_a_password(start, stream):
    redis = start.redis()
    redis.client.execute_command("ACL SETUSER broker on >its-password ~stream:* &* +@all")
    redis.client.execute_command("ACL SETUSER default off")
    url = f"redis://broker:its-password@127.0.0.1:{redis.port}"
    broker = start.broker(url)
    admin = redis.connect(username="broker", password="its-password")
    await delivers(broker, redis, stream, client=admin)
    assert "its-password" not in broker.log_text()


async def test_a_user_who_may_only_read_streams(start, stream):
    redis = start.redis()
    redis.client.execute_command(
        "ACL SETUSER reader on >its-password ~stream:* resetchannels"
        " +@read +@connection +@transaction +@fast -@write -@admin"
    )
    broker = start.broker(f"redis://reader:its-password@127.0.0.1:{redis.port}/0")
    await delivers(broker, redis, stream)


async def test_the_password_as_a_parameter(start, stream):
    redis = start.redis(password="in-the-query")
    broker = start.broker(f"redis://127.0.0.1:{redis.port}/0?password=in-the-query")
    await delivers(broker, redis, stream)
    assert "in-the-query" not in broker.log_text()


@pytest.mark.parametrize("spelling", ["/7", "?db=7"])
async def test_a_database_number(start, stream, spelling):
    redis = start.redis()
    broker = start.broker(f"redis://127.0.0.1:{redis.port}{spelling}")
    redis.publish(stream, "of database 0")
    await delivers(broker, redis, stream, client=redis.connect(db=7))


async def test_a_database_number_survives_a_reconnect(start, stream):
    redis = start.redis(appendonly=True)
    broker = start.broker(f"redis://127.0.0.1:{redis.port}/7")
    async with broker.connect(stream) as ws:
        redis.restart()
        redis.publish(stream, "of database 0")
        redis.connect(db=7).xadd(f"stream:{stream}", {"data": "of database 7"})
        assert await receive(ws, 1, within=15) == ["of database 7"]


async def test_a_unix_socket(start, stream):
    redis = start.redis(unix=True, password="secret-of-redis")
    broker = start.broker(f"unix://:secret-of-redis@{redis.socket}?db=3")
    await delivers(broker, redis, stream, client=redis.connect(db=3))
    assert "secret-of-redis" not in broker.log_text()


async def test_localhost_by_name(start, stream):
    redis = start.redis()
    broker = start.broker(f"redis://localhost:{redis.port}/0")
    await delivers(broker, redis, stream)


# TLS.


async def test_tls_with_a_private_authority(start, stream, certificates):
    redis = start.redis(tls=certificates)
    for host in ("127.0.0.1", "localhost"):
        broker = start.broker(f"rediss://{host}:{redis.port}/0?ssl_ca_certs={certificates.ca}")
        await delivers(broker, redis, f"{stream}-{host}")


async def stays_away(start, redis, url):
    """The broker runs, but does not talk to this Redis."""
    broker = start.broker(url, ready=False)
    await until(lambda: "TLS:" in broker.log_text(), broker.log_text)
    assert broker.ready() == 503
    # One may be there that is shaking hands: it is tried again and again.
    assert [c["cmd"] for c in redis.others() if c["cmd"] != "NULL"] == []


async def test_tls_is_refused_where_the_authority_is_unknown(start, certificates):
    redis = start.redis(tls=certificates)
    await stays_away(start, redis, f"rediss://127.0.0.1:{redis.port}/0")


async def test_tls_is_refused_where_another_authority_signed(start, certificates):
    redis = start.redis(tls=certificates)
    url = f"rediss://127.0.0.1:{redis.port}/0?ssl_ca_certs={certificates.other_ca}"
    await stays_away(start, redis, url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tls_is_refused_where_the_certificate_is_of_another_host(start, certificates, host):
    redis = start.redis(tls=certificates.wrong_host())
    url = f"rediss://{host}:{redis.port}/0?ssl_ca_certs={certificates.ca}"
    await stays_away(start, redis, url)


async def test_tls_on_a_port_without_it_says_which_scheme_to_use(start):
    """Redis takes the first words of TLS for half a command, and waits for the rest."""
    redis = start.redis()
    broker = start.broker(
        f"rediss://127.0.0.1:{redis.port}/0", ready=False, BOND_REDIS_TIMEOUT_MS=300
    )
    broker.wait_log(["TLS: not agreed in 300 ms", "redis:// instead of rediss://?"])


async def test_a_port_with_tls_says_which_scheme_to_use(start, certificates):
    redis = start.redis(tls=certificates)
    broker = start.broker(f"redis://127.0.0.1:{redis.port}/0", ready=False)
    broker.wait_log(["redis_down", "rediss:// instead of redis://?"])


@pytest.mark.parametrize("how", ["ssl_cert_reqs=none", "ssl_check_hostname=false"])
async def test_tls_checks_can_be_switched_off(start, stream, certificates, how):
    redis = start.redis(tls=certificates.wrong_host())
    ca = "" if how.endswith("none") else f"&ssl_ca_certs={certificates.ca}"
    broker = start.broker(f"rediss://127.0.0.1:{redis.port}/0?{how}{ca}")
    await delivers(broker, redis, stream)


async def test_tls_and_a_large_event(start, stream, certificates):
    redis = start.redis(tls=certificates)
    broker = start.broker(f"rediss://127.0.0.1:{redis.port}/0?ssl_ca_certs={certificates.ca}")
    event = "0123456789abcdef" * (1 << 16)
    async with broker.connect(stream) as ws:
        redis.publish_all(stream, [event, "small", event])
        assert await receive(ws, 3) == [event, "small", event]


async def test_tls_survives_a_restart_of_redis(start, stream, certificates):
    redis = start.redis(tls=certificates, appendonly=True)
    broker = start.broker(f"rediss://127.0.0.1:{redis.port}/0?ssl_ca_certs={certificates.ca}")
    async with broker.connect(stream) as ws:
        redis.restart()
        redis.publish(stream, "after")
        assert await receive(ws, 1, within=15) == ["after"]


# Servers that refuse.


async def test_client_is_refused_by_acl(start, stream):
    """No CLIENT TRACKING: the broker looks often instead."""
    redis = start.redis()
    broker = start.broker(redis.limited("~* +@all -client"))
    await delivers(broker, redis, stream)


async def test_client_is_unknown(start, stream):
    redis = start.redis_down(config=['rename-command CLIENT ""'])
    redis.connect = lambda **o: type(redis).connect(redis, client_name=None, **o)
    redis.start()
    broker = start.broker(redis)
    await delivers(broker, redis, stream)


async def test_a_server_of_resp_2_only(start, stream):
    """Redis 5 and many proxies have no HELLO."""
    redis = start.redis(config=['rename-command HELLO ""'])
    broker = start.broker(redis)
    await delivers(broker, redis, stream)


async def test_a_server_of_resp_2_only_with_a_password_and_a_database(start, stream):
    redis = start.redis(password="pw-of-old", config=['rename-command HELLO ""'])
    broker = start.broker(f"redis://:pw-of-old@127.0.0.1:{redis.port}/5")
    await delivers(broker, redis, stream, client=redis.connect(db=5))


async def test_without_tracking_many_streams_are_looked_at(start, stream):
    redis = start.redis(config=['rename-command HELLO ""'])
    broker = start.broker(redis)
    names = [f"{stream}-{i}" for i in range(50)]
    sockets = [await broker.connect(name) for name in names]
    for name in names:
        redis.publish(name, name)
    for name, ws in zip(names, sockets):
        assert await receive(ws, 1) == [name]
        await ws.close()


async def test_without_tracking_a_stream_may_go_back(start, stream):
    redis = start.redis(config=['rename-command HELLO ""'])
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        for top in (300, 200, 100):
            redis.publish(stream, f"{top}", id=f"{top}-0")
            assert await receive(ws, 1) == [f"{top}"]
            redis.delete(stream)


@pytest.mark.parametrize("refused", ["-xinfo", "-multi", "-@transaction", "-time", "-ping"])
async def test_another_command_is_refused_by_acl(start, stream, refused):
    """What the broker uses besides XRANGE makes it better; without it, it still delivers."""
    redis = start.redis()
    broker = start.broker(redis.limited(f"~* +@all {refused}"), ready=False)
    await delivers(broker, redis, stream)


async def test_exec_is_refused_and_multi_is_not(start, stream):
    """On such a connection all is queued for ever: the broker takes another one."""
    redis = start.redis()
    broker = start.broker(redis.limited("~* +@all -exec"), ready=False)
    await delivers(broker, redis, stream)
    await until(lambda: broker.ready() == 200, "it is not ready")
    assert broker.log("checks_off")


async def test_a_key_that_the_user_may_not_read(start):
    redis = start.redis()
    broker = start.broker(redis.limited("~stream:public* +@all"))
    async with broker.connect("public") as allowed, broker.connect("private") as refused:
        code, reason = await close_of(refused)
        assert code == 1011 and reason
        redis.publish("public", "goes on")
        assert await receive(allowed, 1) == ["goes on"]
    [said] = broker.log("read_failed")
    assert said["stream"] == "private" and said["error"].startswith("NOPERM")


async def test_a_key_that_may_not_be_read_leaves_the_checks_of_other_streams_on(start):
    redis = start.redis()
    broker = start.broker(redis.limited("~stream:public* +@all"))
    async with broker.connect("private") as refused:
        await close_of(refused)
    checks = redis.calls("xinfo|stream")
    async with broker.connect("public"):
        assert redis.calls("xinfo|stream") > checks
    assert not broker.log("checks_off")


# Servers that answer, but not with data. Clients are told, /ready says 503, and it is
# tried again: nobody waits in silence.


def envelope(broker, stream, **query):
    return broker.connect(stream, format="envelope", **query)


async def ready_is(broker, status):
    await until(lambda: broker.ready() == status, f"/ready is not {status}")


async def is_unreadable(broker, ws, unread="never-read"):
    """As if Redis were away, though the connection stands. Nothing of `unread` is known."""
    await told(ws, "source", state="stale")
    await ready_is(broker, 503)
    assert get(broker.port, history_path(unread)).status == 503
    assert get(broker.port, "/health").status == 200


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
async def test_a_proxy_that_knows_no_xrange_for_a_while(start, stream, known):
    """Whether the stream could be read before or not."""
    redis = start.redis()
    proxy = start._keep(RewritingProxy(redis.port))
    broker = start.broker(proxy)
    first = redis.publish(stream, "1")
    if not known:
        proxy.rewrites = (b"XRANGE", b"XRANGF")
    async with envelope(broker, stream, from_="first") as ws:
        if known:
            await told(ws, "live")
            proxy.rewrites = (b"XRANGE", b"XRANGF")
        second = redis.publish(stream, "2")
        await is_unreadable(broker, ws)
        assert "unknown command" in broker.wait_log("redis_unreadable")["error"]
        proxy.rewrites = None
        got = await told(ws, "source", state="ok")
        await ready_is(broker, 200)
        assert ids(got) == ([second] if known else [first, second])
    assert not broker.log("checks_off")


async def test_a_server_without_xrange(start, stream):
    """There is no other way to read a stream: it says so, and does not pretend."""
    redis = start.redis(config=['rename-command XRANGE ""'])
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        await is_unreadable(broker, ws)


async def test_a_password_that_is_set_meanwhile(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    admin = redis.connect(password="new")
    async with envelope(broker, stream) as ws:
        await told(ws, "live")
        redis.client.config_set("requirepass", "new")
        admin.execute_command("CLIENT KILL TYPE normal SKIPME yes")
        await is_unreadable(broker, ws)
        broker.wait_log(["redis_down", "password"])
        admin.config_set("requirepass", "")
        await told(ws, "source", state="ok")
        await ready_is(broker, 200)


async def test_a_cluster_node_without_slots(start, stream):
    redis = start.redis(config=["cluster-enabled yes"])
    broker = start.broker(redis)
    async with envelope(broker, stream) as ws:
        await is_unreadable(broker, ws)
        assert broker.wait_log("redis_unreadable")["error"].startswith("CLUSTERDOWN")
        redis.client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        await told(ws, "source", state="ok")
        await ready_is(broker, 200)
        await until(lambda: redis.client.cluster("info")["cluster_state"] == "ok", "no cluster")
        event = redis.publish(stream, "1")
        assert ids(await told(ws, "event")) == [event]


def names_of_nodes(stream):
    """A stream of the lower half of the slots, and one of the upper half."""
    names = [f"{stream}-{n}" for n in range(64)]
    is_low = [key_slot(f"stream:{name}".encode()) < 8192 for name in names]
    return names[is_low.index(True)], names[is_low.index(False)]


async def two_cluster_nodes(start):
    low, high = (start.redis(config=["cluster-enabled yes"]) for _ in range(2))
    low.client.execute_command("CLUSTER ADDSLOTSRANGE 0 8191")
    high.client.execute_command("CLUSTER ADDSLOTSRANGE 8192 16383")
    high.client.execute_command("CLUSTER SET-CONFIG-EPOCH 2")
    low.client.execute_command(f"CLUSTER MEET 127.0.0.1 {high.port}")
    for node in (low, high):
        await until(
            lambda: node.client.cluster("info")["cluster_state"] == "ok", "no cluster", 30
        )
    return low, high


async def test_a_cluster_node_that_has_none_of_the_streams(start, stream):
    _, there = names_of_nodes(stream)
    low, _ = await two_cluster_nodes(start)
    broker = start.broker(low)
    async with envelope(broker, there) as ws:
        await is_unreadable(broker, ws, unread=there)
        said = broker.wait_log("redis_unreadable")
        assert said["error"].startswith("MOVED") and "Cluster" in said["hint"]


async def test_a_cluster_node_that_has_some_of_the_streams(start, stream):
    """Who asks for the others is told why it gets nothing, and the rest goes on."""
    here, there = names_of_nodes(stream)
    low, high = await two_cluster_nodes(start)
    broker = start.broker(low)
    async with broker.connect(here) as ws:
        for _ in range(2):
            async with broker.connect(there) as foreign:
                code, reason = await close_of(foreign)
                assert code == 1011 and "MOVED" in reason
        low.publish(here, "goes on")
        assert await receive(ws, 1) == ["goes on"]
        assert get(broker.port, history_path(there)).status == 503
        assert get(broker.port, history_path(here)).status == 200
        assert broker.ready() == 200
        checks = low.calls("xinfo|stream")
        low.client.delete(f"stream:{here}")
        await until(lambda: low.calls("xinfo|stream") > checks, "what is lost is not looked for")
    assert not broker.log("checks_off")
    assert "Cluster" in broker.log("read_failed")[0]["hint"]


async def test_streams_of_another_cluster_node_are_said_first(start, stream):
    """Nothing can be read until somebody asks for a stream that is here."""
    here, there = names_of_nodes(stream)
    low, _ = await two_cluster_nodes(start)
    broker = start.broker(low)
    async with envelope(broker, there) as foreign:
        await told(foreign, "source", state="stale")
        async with envelope(broker, here) as ws:
            event = low.publish(here, "1")
            assert ids(await told(ws, "event")) == [event]
            code, _ = await close_of(foreign)
            assert code == 1011
            await ready_is(broker, 200)


async def test_a_slot_that_moves_to_another_node(start, stream):
    """The other streams of the same server go on."""
    here, _ = names_of_nodes(stream)
    low, high = await two_cluster_nodes(start)
    stays = next(
        name
        for name in (f"{stream}-stays-{n}" for n in range(64))
        if key_slot(f"stream:{name}".encode()) < 8192
    )
    broker = start.broker(low, BOND_SWEEP_SECONDS=1)
    async with broker.connect(here) as ws, broker.connect(stays) as other:
        slot = key_slot(f"stream:{here}".encode())
        id_of_high = high.client.execute_command("CLUSTER MYID").decode()
        for node in (high, low):
            node.client.execute_command(f"CLUSTER SETSLOT {slot} NODE {id_of_high}")
        assert (await close_of(ws))[0] == 1011
        low.publish(stays, "goes on")
        assert await receive(other, 1) == ["goes on"]
        await ready_is(broker, 200)


async def test_a_replica(start, stream):
    """Reading is all that the broker does: a replica will do."""
    primary, replica = start.redis(), start.redis()
    replica.client.replicaof("127.0.0.1", primary.port)
    await until(
        lambda: replica.client.info("replication")["master_link_status"] == "up", "no link", 20
    )
    broker = start.broker(replica)
    await delivers(broker, primary, stream)


async def test_a_server_that_closes_idle_connections(start, stream):
    redis = start.redis(config=["timeout 1"])
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        await asyncio.sleep(2.5)  # the server's patience is the subject
        redis.connect().xadd(f"stream:{stream}", {"data": "after a silence"})
        assert await receive(ws, 1) == ["after a silence"]
    assert broker.ready() == 200


# How little of Redis it takes.


async def test_at_most_two_connections(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=4)
    sockets = [await broker.connect(f"{stream}-{i % 30}") for i in range(120)]
    for i in range(30):
        redis.publish(f"{stream}-{i}", "event")
    for ws in sockets:
        assert await receive(ws, 1) == ["event"]
        assert 1 <= len(redis.others()) <= 2
    for ws in sockets:
        await ws.close()


async def test_an_event_to_many_clients_is_read_once(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    sockets = [await broker.connect(stream) for _ in range(50)]
    redis.publish(stream, "warm")
    for ws in sockets:
        await receive(ws, 1)
    before = redis.calls("xread", "xrange")
    for i in range(20):
        redis.publish(stream, f"{i}")
        assert await receive(sockets[0], 1) == [f"{i}"]
    reads = redis.calls("xread", "xrange") - before
    assert reads <= 20 * 3, f"{reads} reads for 20 events"
    for ws in sockets:
        await ws.close()


async def test_silent_streams_cost_redis_nearly_nothing(start, stream):
    """With tracking, followed streams that are silent are only swept now and then."""
    redis = start.redis()
    broker = start.broker(redis)
    sockets = [await broker.connect(f"{stream}-{i}") for i in range(200)]
    before = redis.calls("xread", "xrange", "xinfo", "xinfo|stream")
    await asyncio.sleep(2)  # the rate is the subject
    reads = redis.calls("xread", "xrange", "xinfo", "xinfo|stream") - before
    assert reads <= 2 * 200, f"{reads} reads of 200 silent streams in 2 s"
    for ws in sockets:
        await ws.close()


async def test_an_event_is_not_kept_waiting(start, stream):
    """Delivery follows the push, not a sweep."""
    redis = start.redis()
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        delays = []
        for i in range(50):
            began = time.monotonic()
            redis.publish(stream, f"{i}")
            assert await receive(ws, 1) == [f"{i}"]
            delays.append(time.monotonic() - began)
    assert sorted(delays)[25] < seconds(0.05), f"median {sorted(delays)[25]:.3f} s"


async def test_streams_without_clients_are_let_go(start, stream):
    """After a ring's length without a client, Redis hears no more of a stream."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=1)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "event")
        assert await receive(ws, 1) == ["event"]

    def silent():
        before = redis.calls("xread", "xrange")
        redis.publish(stream, "to nobody")
        time.sleep(0.3)
        return redis.calls("xread", "xrange") == before

    await until(silent, "the broker still reads a stream that nobody listens to", 20)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "back")
        assert await receive_up_to(ws, "back") == ["back"]
