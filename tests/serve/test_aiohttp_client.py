"""The clients that Bond's users have: aiohttp (the SDK) and websockets (the CLI), each as
its author wrote it, with the compression that they offer by default."""

import asyncio
import json

import aiohttp
import pytest
import websockets

from harness import mint, receive, seconds, ws_path
from wire import Wire, upgrade_head


def address(broker, path, scheme="http"):
    return f"{scheme}://127.0.0.1:{broker.port}{path}"


# Python websockets with its defaults: it offers permessage-deflate and pings.


async def test_websockets_with_its_defaults(broker, redis, stream):
    async with websockets.connect(broker.url(stream)) as ws:
        events = [json.dumps({"i": i, "pad": "x" * 500}) for i in range(20)]
        redis.publish_all(stream, events)
        assert await receive(ws, 20) == events
        await asyncio.wait_for(await ws.ping(), seconds(5))
    assert ws.close_code == 1000


async def test_websockets_that_sends_compressed_if_it_may(broker, redis, stream):
    async with websockets.connect(broker.url(stream), compression="deflate") as ws:
        await ws.send("compressible " * 500)
        redis.publish(stream, "an event")
        assert await receive(ws, 1) == ["an event"]


async def test_websockets_as_an_iterator(broker, redis, stream):
    got = []
    async with websockets.connect(broker.url(stream, from_="now-60s")) as ws:
        redis.publish_all(stream, ["1", "2", "3"])
        async for message in ws:
            got.append(message)
            if message == "3":
                break
    assert got == ["1", "2", "3"]


async def test_websockets_that_reconnects(start, stream):
    """`async for ws in connect(…)`: a broker that restarts is met again."""
    redis = start.redis()
    first = start.broker(redis, BOND_DRAIN_SECONDS=0)
    events = []
    async with asyncio.timeout(seconds(30)):
        async for ws in websockets.connect(first.url(stream)):
            try:
                redis.publish(stream, f"{len(events)}")
                events.append(await ws.recv())
                if len(events) == 2:
                    await ws.close()
                    break
                first.signal()
                await ws.recv()
            except websockets.ConnectionClosed as closed:
                assert closed.rcvd.code == 1001
                assert first.exit_code() == 0
                start.broker(redis, port=first.port_kept)
    assert events == ["0", "1"]


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; unknown_parameter",
        "x-webkit-deflate-frame",
        "foo; bar=\"a\"",
    ],
)
def test_extensions_are_declined(broker, stream, offer):
    """The answer names none, and nothing is compressed."""
    with Wire(broker.port) as wire:
        wire.send(upgrade_head(ws_path(stream), [f"Sec-WebSocket-Extensions: {offer}"]))
        reply = wire.reply()
        assert reply.status == 101
        assert "sec-websocket-extensions" not in reply.headers


# aiohttp.


@pytest.mark.parametrize("compress", [0, 15])
async def test_aiohttp(broker, redis, stream, compress):
    async with aiohttp.ClientSession() as session:
        url = address(broker, ws_path(stream, from_="first"))
        async with session.ws_connect(url, compress=compress, heartbeat=5) as ws:
            events = [json.dumps({"i": i, "text": "流" * 100}) for i in range(20)]
            redis.publish_all(stream, events)
            got = [await ws.receive_str(timeout=seconds(10)) for _ in events]
            assert got == events
        assert ws.close_code == 1000


async def test_aiohttp_with_a_bearer_token(broker, redis, stream):
    headers = {"Authorization": f"Bearer {mint(stream)}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.ws_connect(address(broker, f"/ws/{stream}")) as ws:
            redis.publish(stream, "an event")
            assert await ws.receive_str(timeout=seconds(10)) == "an event"


async def test_aiohttp_with_a_sub_protocol(broker, stream):
    protocols = ["bond.v1", f"bond.token.{mint(stream)}"]
    async with aiohttp.ClientSession() as session:
        url = address(broker, f"/ws/{stream}")
        async with session.ws_connect(url, protocols=protocols) as ws:
            assert ws.protocol == "bond.v1"


async def test_aiohttp_sees_why_it_was_refused(broker, stream):
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(address(broker, f"/ws/{stream}?token=bad"))
        assert refused.value.status == 403
        async with session.get(address(broker, "/health")) as reply:
            assert await reply.json() == {"status": "ok", "service": "broker"}


async def test_aiohttp_keeps_its_connections(broker):
    """Twenty requests through one pooled connection."""
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        for path, status in [("/health", 200), ("/nope", 404), ("/", 200), ("/ready", 200)] * 5:
            async with session.get(address(broker, path)) as reply:
                assert reply.status == status
                await reply.read()


async def test_aiohttp_gets_a_large_event(broker, redis, stream):
    event = "0123456789abcdef" * 40_000
    async with aiohttp.ClientSession() as session:
        url = address(broker, ws_path(stream))
        async with session.ws_connect(url, max_msg_size=0) as ws:
            redis.publish(stream, event)
            assert await ws.receive_str(timeout=seconds(10)) == event


async def test_a_close_code_of_the_client_comes_back(broker, stream):
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(address(broker, ws_path(stream)))
        await ws.close(code=3001, message=b"done")
        assert ws.close_code == 3001
