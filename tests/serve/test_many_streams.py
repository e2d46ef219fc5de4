"""One socket, many streams (protocol 19): subscribe and unsubscribe in-band, each stream with
the whole promise, each failure that stream's alone."""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest
import websockets

from harness import Publisher, is_sanitizer_build, mint, receive, seconds, until, wait_until
from told import told
from wire import BINARY, CLOSE, PING, PONG, TEXT, RawWs, Wire, refusal, upgrade, upgrade_head


def hub_path(**query):
    query = {name.rstrip("_"): value for name, value in query.items() if value is not None}
    return "/ws" + (f"?{urlencode(query, safe=',')}" if query else "")


class Hub:
    """A socket of many streams, over Python's websockets: what came so far, by stream."""

    def __init__(self, ws):
        self.ws = ws
        self.got = []

    async def say(self, kind, **members):
        members = {name.rstrip("_"): value for name, value in members.items()}
        await self.ws.send(json.dumps({"type": kind} | members))

    async def subscribe(self, *streams, **members):
        token = {} if "token" in members else None
        items = [
            s if isinstance(s, dict) else {"stream": s} | ({"token": mint(s)} if token is None else {})
            for s in streams
        ]
        await self.say("subscribe", streams=items, **members)

    async def next(self):
        async with asyncio.timeout(seconds(10)):
            self.got.append(json.loads(await self.ws.recv()))
        return self.got[-1]

    async def told(self, kind, **fields):
        """Reads on to the first message of that type with these fields."""
        while True:
            message = await self.next()
            if message["type"] == kind and fields.items() <= message.items():
                return message

    def events(self, stream):
        return [m["data"] for m in self.got if m["type"] == "event" and m["stream"] == stream]

    def kinds(self, stream):
        return [m["type"] for m in self.got if m.get("stream") == stream]


@asynccontextmanager
async def hub(broker, compression=None, **query):
    async with websockets.connect(
        f"ws://127.0.0.1:{broker.port}" + hub_path(**query),
        compression=compression,
        ping_interval=None,
        max_size=None,
        max_queue=None,
        open_timeout=seconds(10),
        close_timeout=seconds(2),
    ) as ws:
        yield Hub(ws)


@pytest.fixture
def names(stream):
    return [f"{stream}-{n}" for n in range(5)]


# --- subscribing -------------------------------------------------------------------------


async def test_each_stream_says_hello_and_live_and_its_events_come(broker, redis, names):
    async with hub(broker) as h:
        await h.subscribe(*names, ref="r1")
        for name in names:
            hello = await h.told("hello", stream=name)
            assert hello["ref"] == "r1"
        for name in names:
            while "live" not in h.kinds(name):
                await h.next()
        for n in range(3):
            for name in names:
                redis.publish(name, json.dumps(n))
        for name in names:
            while h.events(name) != [0, 1, 2]:
                await h.next()
            assert h.kinds(name) == ["hello", "live", "event", "event", "event"]


async def test_the_handshake_names_streams_and_the_defaults(broker, redis, names):
    published = {name: redis.publish_all(name, ["1", "2", "3"]) for name in names[:2]}
    tokens = mint(names[0])
    async with hub(broker, token=tokens, from_="first", streams=names[0]) as h:
        await h.told("live", stream=names[0])
        assert h.events(names[0]) == [1, 2, 3]
        # An own `after` goes before the handshake's `from`, an own token before its token.
        await h.subscribe(
            {"stream": names[1], "token": mint(names[1]), "after": published[names[1]][1]}
        )
        await h.told("live", stream=names[1])
        assert h.events(names[1]) == [3]


async def test_streams_in_the_query_are_split_and_then_decoded(broker, redis, stream):
    scope = f"{stream},a"
    path = f"/ws?streams={stream}%2Ca&token={mint(scope)}"
    async with websockets.connect(f"ws://127.0.0.1:{broker.port}{path}") as ws:
        assert json.loads(await ws.recv())["stream"] == scope


@pytest.mark.parametrize("format_", [None, "envelope"])
async def test_it_speaks_the_envelope(broker, stream, format_):
    async with hub(broker, format_=format_) as h:
        await h.subscribe(stream)
        assert (await h.next())["type"] == "hello"


@pytest.mark.parametrize(
    "query, status, code",
    [
        ({"format_": "raw"}, 400, "bad_request"),
        ({"from_": "yesterday"}, 400, "bad_request"),
        ({"slow": "perhaps"}, 400, "bad_request"),
        ({"streams": "a,,b", "token": "1.0"}, 400, "bad_request"),
        ({"streams": "a,a", "token": "TOKEN"}, 400, "bad_request"),
        ({"streams": "a"}, 403, "token_missing"),
        ({"streams": "a", "token": "TOKEN-OF-B"}, 403, "token_invalid"),
        ({"streams": "a,b", "token": "TOKEN"}, 403, "token_invalid"),
    ],
)
def test_a_handshake_is_refused_as_one_for_a_stream_is(broker, query, status, code):
    tokens = {"TOKEN": mint("a"), "TOKEN-OF-B": mint("b")}
    query = {k: tokens.get(v, v) for k, v in query.items()}
    if query.get("token") == "1.0":
        query["token"] = mint("a")
    refusal(upgrade(broker.port, hub_path(**query)), status, code)


def test_a_plain_get_is_told_to_upgrade(broker):
    with Wire(broker.port) as wire:
        wire.send(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        refusal(wire.reply(), 426, "upgrade_required")


async def test_a_scope_opens_the_stream_that_it_names(broker, redis, stream):
    async with hub(broker) as h:
        await h.say("subscribe", streams=[stream], token=mint(stream), scope=stream)
        await h.told("hello", stream=stream)
        await h.say("subscribe", streams=[stream + "2"], token=mint(stream), scope=stream)
        assert (await h.told("refused"))["error"] == "token_invalid"
        await h.say("subscribe", streams=["a*"], token=mint("a*"), scope="a*")
        await h.told("hello", stream="a*")  # a letter like any other
        await h.say("subscribe", streams=["ab"], token=mint("a*"), scope="a*")
        assert (await h.told("refused"))["stream"] == "ab"


# --- refusals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        '"subscribe"',
        "{}",
        '{"type":"dance"}',
        '{"type":"subscribe"}',
        '{"type":"subscribe","streams":"a"}',
        '{"type":"ping","ref":7}',
        '{"type":"ping","ref":"%s"}' % ("r" * 65),
        '{"type":"ping","type":"ping"}',
        '{"type":"subscribe","streams":["a"],"token":7}',
        "[" * 30_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,
    ],
)
async def test_what_is_no_command_is_refused_and_the_connection_stays(broker, redis, stream, text):
    async with hub(broker) as h:
        await h.subscribe(stream)
        await h.told("live", stream=stream)
        await h.ws.send(text)
        refused = await h.told("refused")
        assert refused["stream"] is None and refused["error"] == "bad_request", refused
        redis.publish(stream, "1")
        await h.told("event", stream=stream)


async def test_binary_is_refused(broker):
    async with hub(broker) as h:
        await h.ws.send(b'{"type":"ping"}')
        assert (await h.told("refused"))["error"] == "bad_request"


@pytest.mark.parametrize(
    "item, error",
    [
        ("", "bad_request"),
        (7, "bad_request"),
        ({"stream": "a" * 513}, "bad_request"),
        ({"stream": "a", "from": "yesterday"}, "bad_request"),
        ({"stream": "a", "slow": "perhaps"}, "bad_request"),
        ({"stream": "a"}, "token_missing"),
        ({"stream": "a", "token": "x"}, "token_malformed"),
        ({"stream": "a", "token": "1.0123456789abcdef"}, "token_invalid"),
        ({"stream": "a", "token": mint("a", ttl=-5)}, "token_expired"),
    ],
)
async def test_one_stream_that_is_refused_leaves_the_others_alone(broker, redis, stream, item, error):
    async with hub(broker) as h:
        good = {"stream": stream, "token": mint(stream)}
        await h.say("subscribe", streams=[item, good], ref="r")
        refused = await h.told("refused")
        assert (refused["error"], refused["ref"]) == (error, "r")
        assert refused["stream"] == (item.get("stream") if isinstance(item, dict) else item or "") or item == 7
        await h.told("live", stream=stream)


async def test_twice_unknown_and_too_many(start, redis, names):
    broker = start.broker(redis, BOND_MAX_STREAMS_PER_CLIENT=2)
    async with hub(broker) as h:
        await h.subscribe(names[0], names[0], names[1], names[2])
        assert (await h.told("refused"))["error"] == "already_subscribed"
        refused = await h.told("refused")
        assert (refused["error"], refused["stream"]) == ("too_many_streams", names[2])
        await h.say("unsubscribe", streams=[names[3], names[0]], ref="u")
        refused = await h.told("refused")
        assert (refused["error"], refused["ref"]) == ("not_subscribed", "u")
        await h.told("unsubscribed", stream=names[0])
        await h.subscribe(names[2])
        await h.told("live", stream=names[2])


async def test_patterns_are_off(broker):
    async with hub(broker) as h:
        await h.say("subscribe", patterns=["md:*"], token=mint("md:*"), scope="md:*", ref="p")
        refused = await h.told("refused")
        assert (refused["pattern"], refused["error"], refused["ref"]) == ("md:*", "patterns_off", "p")


async def test_ping_is_answered(broker):
    async with hub(broker) as h:
        await h.say("ping", ref="é")
        pong = await h.told("pong")
        assert pong["ref"] == "é" and abs(pong["time_ms"] / 1000 - asyncio.get_event_loop().time()) > 0
        await h.say("ping")
        assert "ref" not in await h.told("pong")


# --- unsubscribing -----------------------------------------------------------------------


async def test_no_event_comes_behind_unsubscribed(broker, redis, stream):
    """Again and again, while events come as fast as they can; and what was had resumes."""
    async with hub(broker) as h:
        with Publisher(redis, stream, batch=50) as publisher:
            after, had = None, []
            for _ in range(20):
                begin = {"after": after} if after else {"from": "first"}
                await h.subscribe({"stream": stream, "token": mint(stream)} | begin)
                await h.told("event", stream=stream)
                await h.say("unsubscribe", streams=[stream])
                gone = await h.told("unsubscribed", stream=stream)
                assert gone["code"] == 1000
                events = [m for m in h.got if m["type"] == "event"]
                assert gone["last"] == events[-1]["id"]
                assert not [m for m in h.got if m["type"] == "gap"]
                had += [m["data"]["n"] for m in events]
                after, h.got = gone["last"], []
                await h.say("ping")
                await h.told("pong")
                assert not [m for m in h.got if m["type"] == "event"], "a stray event"
                h.got = []
            publisher.stop()
    assert had == list(range(1, len(had) + 1))


async def test_a_stream_that_cannot_be_read_ends_alone(broker, redis, stream):
    redis.client.set(f"stream:{stream}-none", "no stream")
    async with hub(broker) as h:
        await h.subscribe(stream, f"{stream}-none")
        gone = await h.told("unsubscribed")
        assert (gone["stream"], gone["code"], gone["last"]) == (f"{stream}-none", 1011, None)
        redis.publish(stream, "1")
        await h.told("event", stream=stream)


# --- the promise, per stream ---------------------------------------------------------------


async def test_a_thousand_streams_resume_exactly(start, redis, stream):
    broker = start.broker(redis)
    names = [f"{stream}-{n}" for n in range(1000)]
    pipe = redis.client.pipeline(transaction=False)
    for name in names:
        for n in range(4):
            pipe.xadd(f"stream:{name}", {"data": str(n)})
    answers = pipe.execute()
    ids = {name: [a.decode() for a in answers[i * 4 : i * 4 + 4]] for i, name in enumerate(names)}
    async with hub(broker) as h:
        for at in range(0, 1000, 250):
            await h.subscribe(
                *(
                    {"stream": name, "token": mint(name), "after": ids[name][1]}
                    for name in names[at : at + 250]
                )
            )
        live = set()
        while len(live) < 1000:
            message = await h.next()
            if message["type"] == "live":
                live.add(message["stream"])
                assert message["id"] == ids[message["stream"]][3]
        by_stream = {}
        for m in h.got:
            by_stream.setdefault(m["stream"], []).append(m)
        for name in names:
            assert [m["type"] for m in by_stream[name]] == ["hello", "event", "event", "live"]
            assert [m["id"] for m in by_stream[name][1:3]] == ids[name][2:]


async def test_gaps_stale_and_ok_are_told_for_each_stream(start, names):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    async with hub(broker) as h:
        await h.subscribe(*names)
        for name in names:
            while "live" not in h.kinds(name):
                await h.next()
        redis.kill()
        stale = set()
        while stale != set(names):
            message = await h.next()
            if message["type"] == "source":
                assert message["state"] == "stale" and message["for_ms"] >= 0
                stale.add(message["stream"])
        # Subscriptions come and go meanwhile.
        await h.say("unsubscribe", streams=[names[0]])
        await h.told("unsubscribed", stream=names[0])
        await h.subscribe(names[0])
        hello = await h.told("hello", stream=names[0])
        assert (hello["first"], hello["last"]) in ((None, None), (hello["first"], hello["last"]))
        await h.told("source", stream=names[0], state="stale")
        redis.restart()
        ok = set()
        while ok != set(names):
            message = await h.next()
            if message["type"] == "source" and message["state"] == "ok":
                ok.add(message["stream"])
        for name in names:
            redis.publish(name, "1")
            await h.told("event", stream=name)


async def test_who_falls_behind_on_one_stream_loses_that_one_alone(start, redis, names):
    broker = start.broker(redis, BOND_RING_BYTES=256 * 1024, BOND_WORKERS=1)
    fast, skips, *quiet = names
    with RawWs.__new__(RawWs) as ws:
        Wire.__init__(ws, broker.port, rcvbuf=4096)
        ws.send(upgrade_head(hub_path()))
        assert ws.reply().status == 101
        streams = [
            {"stream": name, "token": mint(name), "slow": "skip" if name == skips else "close"}
            for name in names
        ]
        ws.frame(TEXT, json.dumps({"type": "subscribe", "streams": streams}))
        live = set()
        while live != set(names):
            message = json.loads(ws.next_text())
            live |= {message["stream"]} if message["type"] == "live" else set()
        with RawWs(broker, fast) as witness, RawWs(broker, skips) as other:
            for n in range(400):
                redis.publish_all(fast, [json.dumps("x" * 10_000)])
                redis.publish_all(skips, [json.dumps("y" * 10_000)])
                witness.next_text(), other.next_text()
        for name in quiet:
            redis.publish(name, '"quiet"')
        redis.publish(skips, '"end"')
        got, ended = [], set()
        while not ended >= {*quiet, skips, fast}:
            message = json.loads(ws.next_text())
            got.append(message)
            if message["type"] == "unsubscribed" or message.get("data") in ("quiet", "end"):
                ended.add(message["stream"])
    [gone] = [m for m in got if m["type"] == "unsubscribed"]
    assert (gone["stream"], gone["code"]) == (fast, 4008)
    assert re.fullmatch(r"fell behind: last id \S+, \d+ events missed", gone["reason"])
    events = [m for m in got if m["type"] == "event" and m["stream"] == skips]
    gaps = [m for m in got if m["type"] == "gap"]
    assert gaps and {(m["stream"], m["reason"]) for m in gaps} == {(skips, "slow")}
    assert len(events) + sum(m["missed"] for m in gaps) == 401
    assert got[-1]["stream"] in (skips, *quiet, fast)


async def test_a_busy_stream_does_not_starve_the_others(start, redis, names):
    """What a quiet stream has to send waits for one flush share at most (protocol 19.9)."""
    broker = start.broker(redis, BOND_WORKERS=1, BOND_RING_BYTES=32 << 20)
    busy, *quiet = names
    redis.publish_all(busy, [json.dumps("x" * 20_000)] * 900)  # more than sockets hold
    with RawWs.__new__(RawWs) as ws:
        Wire.__init__(ws, broker.port, rcvbuf=4096)
        ws.send(upgrade_head(hub_path()))
        assert ws.reply().status == 101
        streams = [{"stream": n, "token": mint(n), "from": "first"} for n in names]
        ws.frame(TEXT, json.dumps({"type": "subscribe", "streams": streams}))
        live = set()
        while live != set(quiet):  # `busy` is replaying
            message = json.loads(ws.next_text())
            assert message["type"] != "live" or message["stream"] != busy
            live |= {message["stream"]} if message["type"] == "live" else set()
        for name in quiet:
            redis.publish(name, '"quiet"')
        with RawWs(broker, quiet[-1], from_="first") as witness:
            witness.next_text()  # the broker has them
        seen, bytes_between = set(), 0
        while seen != set(quiet):
            text = ws.next_text()
            bytes_between += len(text)
            message = json.loads(text)
            seen |= {message["stream"]} if message.get("data") == "quiet" else set()
    # One share of the busy stream, what the two kernels hold, and not the 18 MB of the replay.
    assert bytes_between < 6 << 20


# --- the end -------------------------------------------------------------------------------


async def test_a_drain_names_the_place_in_each_stream(start, redis, names):
    first = start.broker(redis, BOND_DRAIN_SECONDS=0)
    async with hub(first) as h:
        await h.subscribe(*names)
        last = {}
        for name in names:
            while "live" not in h.kinds(name):
                await h.next()
        for name in names[:4]:
            last[name] = redis.publish(name, "1")
            await h.told("event", stream=name)
        first.signal()
        closing = await h.told("closing")
        assert closing["code"] == 1001 and closing["reconnect_ms"] >= 100
        assert {n: i for n, i in closing["streams"].items() if i} == last
        assert set(closing["streams"]) == set(names)
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                await h.next()
        assert h.ws.close_code == 1001
    assert first.exit_code() == 0


async def test_closing_takes_as_many_messages_as_it_needs(start, redis, stream):
    broker = start.broker(redis, BOND_DRAIN_SECONDS=0)
    names = [f"{stream}-{n}-".ljust(400, "x") for n in range(400)]
    async with hub(broker) as h:
        for at in range(0, 400, 50):
            await h.subscribe(*names[at : at + 50])
        live = 0
        while live < 400:
            live += (await h.next())["type"] == "live"
        broker.signal()
        named = {}
        with pytest.raises(websockets.ConnectionClosed):
            while True:
                message = await h.next()
                if message["type"] == "closing":
                    assert len(json.dumps(message)) < 66_000
                    named |= message["streams"]
        assert set(named) == set(names)
    assert broker.exit_code() == 0


async def test_tokens_end_one_by_one(start, redis, names):
    broker = start.broker(redis, BOND_EXPIRE_LIVE=1)
    async with hub(broker) as h:
        await h.say(
            "subscribe",
            streams=[
                {"stream": names[0], "token": mint(names[0], ttl=3)},
                {"stream": names[1], "token": mint(names[1], ttl=600)},
                {"stream": names[2], "token": mint(names[2], ttl=3)},
            ],
        )
        assert (await h.told("expiring", stream=names[0]))["in_s"] <= 3
        while "expiring" not in h.kinds(names[2]):
            await h.next()
        await h.say("auth", token=mint(names[2], ttl=600))
        while h.kinds(names[2]).count("expiring") < 2:
            await h.next()
        gone = await h.told("unsubscribed")
        assert (gone["stream"], gone["code"]) == (names[0], 4001)
        await h.say("auth", token=mint(names[3]))
        assert (await h.told("refused"))["error"] == "token_invalid"
        for name in names[1:3]:
            redis.publish(name, "1")
            await h.told("event", stream=name)


def test_who_subscribes_to_nothing_is_closed(start, redis):
    broker = start.broker(redis, BOND_HANDSHAKE_SECONDS=1)
    with RawWs.__new__(RawWs) as ws:
        Wire.__init__(ws, broker.port)
        ws.send(upgrade_head(hub_path()))
        assert ws.reply().status == 101
        ws.frame(TEXT, '{"type":"subscribe","streams":["a"],"token":"x"}')
        assert json.loads(ws.next_text())["type"] == "refused"
        assert json.loads(ws.next_text())["type"] == "closing"
        assert ws.close_frame()[0] == 4003


async def test_events_are_compressed(broker, redis, stream):
    async with hub(broker, compression="deflate") as h:
        await h.subscribe(stream)
        await h.told("live", stream=stream)
        redis.publish(stream, json.dumps("compressible " * 100))
        assert (await h.told("event", stream=stream))["data"] == "compressible " * 100


# --- abuse ---------------------------------------------------------------------------------


def raw_hub(broker, rcvbuf=None, **query):
    ws = RawWs.__new__(RawWs)
    Wire.__init__(ws, broker.port, rcvbuf)
    ws.send(upgrade_head(hub_path(**query)))
    assert ws.reply().status == 101
    return ws


def test_refusals_are_not_piled_up(start, redis, stream):
    """64 KiB of names that are refused would be 2 MB of answers; who reads none gets no more."""
    broker = start.broker(redis, BOND_WORKERS=1)
    message = json.dumps({"type": "unsubscribe", "streams": ["a"] * 12_000})
    with raw_hub(broker, rcvbuf=4096) as ws:
        before = broker.memory_kb()
        ws.sock.settimeout(0.5)
        try:
            for _ in range(200):
                ws.frame(TEXT, message)
        except TimeoutError:
            pass  # nothing more is read
        with RawWs(broker, stream) as other:
            redis.publish(stream, "1")
            assert other.next_text() == "1"
        assert is_sanitizer_build() or broker.memory_kb() - before < 6000
        assert len(broker.log("refused")) < 20


def test_every_refusal_comes_in_the_end(broker):
    message = json.dumps({"type": "unsubscribe", "streams": [str(n) for n in range(7000)]})
    with raw_hub(broker) as ws:
        ws.frame(TEXT, message)
        ws.frame(TEXT, '{"type":"ping"}')
        for n in range(7000):
            assert json.loads(ws.next_text())["stream"] == str(n)
        assert json.loads(ws.next_text())["type"] == "pong"


def test_guessing_in_band_counts_at_the_door(start, redis, stream):
    broker = start.broker(redis)
    with raw_hub(broker) as ws:
        for n in range(40):
            ws.frame(TEXT, json.dumps({"type": "subscribe", "streams": ["a"], "token": f"1.{n:016x}"}))
        code, reason = ws.close_frame()
        assert code == 1008 and "bad tokens" in reason


def test_pings_of_the_protocol_go_between_frames(broker, redis, stream):
    with raw_hub(broker) as ws:
        ws.frame(TEXT, json.dumps({"type": "subscribe", "streams": [stream], "token": mint(stream)}))
        for n in range(50):
            ws.frame(PING, str(n))
            redis.publish(stream, str(n))
        pongs, events = [], []
        while len(events) < 50 or pongs[-1:] != [49]:
            frame = ws.next_frame()
            if frame.opcode == PONG:
                pongs.append(int(frame.payload))
            elif (message := json.loads(frame.payload))["type"] == "event":
                events.append(message["data"])
        assert events == list(range(50)) and pongs == sorted(pongs)
        ws.send_close()
        assert ws.close_frame()[0] == 1000
