"""Scopes and patterns (protocol 2.5, 19.10): a token for many streams, and all streams that
match a pattern, now and later."""

import asyncio
import http.client
import json
import time
from urllib.parse import quote

import pytest

from harness import SLOW_FACTOR, mint, run_cli, until, wait_until, ws_path
from test_many_streams import hub
from wire import refusal, upgrade

STREAMS = int(10_000 / SLOW_FACTOR**2)


@pytest.fixture(scope="module")
def file_broker(house, redis):
    return house.broker(redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1)


@pytest.fixture
def md(stream):
    """A prefix of this test's own, and the pattern of all that has it."""
    return f"{stream}:"


async def watch(h, pattern, ref=None, **members):
    """Subscribes with a token of that scope; the answer."""
    members = {"token": mint(pattern), "scope": pattern} | members | ({"ref": ref} if ref else {})
    await h.say("subscribe", patterns=[pattern], **members)
    while True:
        message = await h.next()
        if message.get("pattern") == pattern:
            return message


async def have(h, events):
    """Reads on until each stream has had exactly these events."""
    while any(h.events(stream) != wanted for stream, wanted in events.items()):
        await h.next()


async def all_answered(h):
    """Whatever was asked for has been answered; and what stray messages there are has come."""
    await h.say("ping", ref="all")
    await h.told("pong", ref="all")


def hellos(h):
    return [m["stream"] for m in h.got if m["type"] == "hello"]


# --- scopes --------------------------------------------------------------------------------


def statuses(broker, stream, token, scope):
    query = f"?token={token}" + (f"&scope={quote(scope)}" if scope else "")
    for path in (f"/sse/{quote(stream, safe='')}", f"/history/{quote(stream, safe='')}"):
        connection = http.client.HTTPConnection("127.0.0.1", broker.port, timeout=10)
        connection.request("GET", path + query)
        yield connection.getresponse().status
        connection.close()
    yield upgrade(broker.port, f"/ws/{quote(stream, safe='')}{query}").status
    yield upgrade(broker.port, f"/ws{query}&streams={quote(stream, safe='')}").status


def test_a_scope_opens_all_that_matches_on_all_routes(broker):
    token = mint("md:*")
    for stream in ("md:btc", "md:", "md:a/b"):
        assert set(statuses(broker, stream, token, "md:*")) <= {200, 101}, stream


def test_a_token_for_md_star_opens_nothing_else(start, redis):
    """(test_admission.c has more of them: bad tokens are slowed down here.)"""
    broker = start.broker(redis, BOND_PATTERNS=1)
    token = mint("md:*")
    for stream, scope in (("btc", "md:*"), ("md:btc", "*")):
        assert set(statuses(broker, stream, token, scope)) == {403}, (stream, scope)


async def test_a_pattern_needs_a_scope_that_covers_it(broker, md):
    async with hub(broker) as h:
        token = mint(f"{md}*")
        for pattern in ("*", f"{md[:-1]}*", f"*{md}*", f"{md}*"):
            await h.say("subscribe", patterns=[pattern], token=token, scope=f"{md}*")
        for pattern in ("*", f"{md[:-1]}*", f"*{md}*"):
            refused = await h.told("refused")
            assert (refused["pattern"], refused["error"]) == (pattern, "token_invalid")
        await h.told("subscribed", pattern=f"{md}*")
        await h.say("subscribe", patterns=[f"{md}a*"], token=token, scope=f"{md}*")
        await h.told("subscribed", pattern=f"{md}a*")


@pytest.mark.parametrize("patterns", [None, 0])
async def test_with_patterns_off_a_star_is_a_letter(start, redis, patterns):
    broker = start.broker(redis, BOND_PATTERNS=patterns)
    token = mint("md:*")
    assert set(statuses(broker, "md:btc", token, "md:*")) == {403}
    assert set(statuses(broker, "md:*", token, "md:*")) <= {200, 101}
    async with hub(broker) as h:
        assert (await watch(h, "md:*"))["error"] == "patterns_off"


def test_the_command_line_mints_one():
    for args in (["--scope", "md:*"], ["--scope=md:*", "--ttl", "60"], ["--full", "--scope", "md:*"]):
        result = run_cli("token", *args, BOND_SECRET="s3cret")
        expiry, signature = result.stdout.strip().split(".")
        assert signature == mint("md:*", expiry=expiry, secret="s3cret", digits=len(signature)).split(".")[1]
    for args in (["--scope"], ["--scope", ""], ["a", "--scope", "b"]):
        assert run_cli("token", *args, BOND_SECRET="s3cret").returncode == 2


# --- what exists and what appears ----------------------------------------------------------


async def test_what_exists_and_what_appears_is_subscribed(broker, redis, md):
    redis.publish(f"{md}old", "0")
    redis.client.set(f"stream:{md}text", "no stream")
    async with hub(broker) as h:
        answer = await watch(h, f"{md}*", ref="p")
        assert answer["type"] == "subscribed" and answer["ref"] == "p"
        assert abs(answer["time_ms"] - time.time() * 1000) < 5000
        await h.told("live", stream=f"{md}old")
        redis.publish(f"{md}new", "1")
        redis.publish(f"{md}old", "1")
        redis.publish("x" + md, "1")
        await have(h, {f"{md}new": [1]})
        while 1 not in h.events(f"{md}old"):  # 0 may be there too: it had just happened
            await h.next()
        await all_answered(h)
        assert sorted(hellos(h)) == sorted([f"{md}old", f"{md}new"])
        assert not [m for m in h.got if m["type"] == "gap"]


async def test_from_is_where_all_begin(broker, redis, md):
    for n in (1, 2):
        redis.publish(f"{md}a", str(n), id=f"{int(time.time() * 1000) - 5000}-{n}")
    async with hub(broker) as h:
        await watch(h, f"{md}*", **{"from": "first"})
        await have(h, {f"{md}a": [1, 2]})
    async with hub(broker) as h:
        await watch(h, f"{md}*", **{"from": "last"})
        await h.told("live", stream=f"{md}a")
        redis.publish_all(f"{md}b", ["1", "2", "3"])
        await have(h, {f"{md}a": [2], f"{md}b": [1, 2, 3]})


async def test_streams_appear_one_by_one_and_none_of_their_events_is_missing(start, redis, md):
    """Some are deleted and made again: before they can have been found, or after they were."""
    broker = start.broker(
        redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1, BOND_MAX_STREAMS_PER_CLIENT=STREAMS + 10
    )
    names = [f"{md}{n}" for n in range(STREAMS)]

    def appear():
        client = redis.connect()
        for at in range(0, STREAMS, 100):
            pipe = client.pipeline(transaction=False)
            for n in range(at, min(at + 100, STREAMS)):
                key = f"stream:{names[n]}"
                pipe.xadd(key, {"data": "1"})
                if n % 10 == 3:
                    pipe.delete(key)
                    pipe.xadd(key, {"data": "2"})
            pipe.execute()
        client.close()

    async with hub(broker) as h:
        assert (await watch(h, f"{md}*"))["type"] == "subscribed"
        publishing = asyncio.get_running_loop().run_in_executor(None, appear)
        said, had = set(), {}
        again = set()
        wanted = {name: 2 if n % 10 == 3 else 1 for n, name in enumerate(names)}
        while wanted:
            message = await h.next()
            stream = message.get("stream")
            if message["type"] == "hello":
                assert stream not in said, "announced twice"
                said.add(stream)
            if message["type"] != "event":
                assert message["type"] in ("hello", "live", "gap"), message
                continue
            had.setdefault(stream, []).append(message["data"])
            if wanted.get(stream) == message["data"]:
                del wanted[stream]
                if names.index(stream) % 10 == 7 and stream not in again:
                    again.add(stream)
                    wanted[stream] = 3
                    redis.client.delete(f"stream:{stream}")
                    redis.publish(stream, "3")
        await publishing
        assert said == set(names)
        for n, name in enumerate(names):
            expected = {3: [[2], [1, 2]], 7: [[1, 3]]}.get(n % 10, [[1]])
            assert had[name] in expected, name
    redis.client.flushdb()


async def test_every_client_of_every_worker_gets_each_once(start, redis, md):
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_WORKERS=2, BOND_DISCOVER_SECONDS=1)
    pattern = f"{md}*"
    redis.publish_all(f"{md}0", ["0"])
    hubs = [hub(broker) for _ in range(12)]
    clients = [await h.__aenter__() for h in hubs]
    for h in clients:
        await watch(h, pattern, **{"from": "first"})
    for n in range(1, 100):
        redis.publish(f"{md}{n}", str(n))
    for h in clients:
        await have(h, {f"{md}{n}": [n] for n in range(100)})
        assert len(hellos(h)) == 100
    for h in hubs:
        await h.__aexit__(None, None, None)


# --- beside streams by name ----------------------------------------------------------------


async def test_a_stream_is_subscribed_once(broker, redis, md):
    a, b = f"{md}a", f"{md}b"
    redis.publish_all(a, ["1"])
    redis.publish_all(b, ["1"])
    async with hub(broker) as h:
        await h.subscribe(a)
        await h.told("live", stream=a)
        await watch(h, f"{md}*")
        await h.told("live", stream=b)
        await h.subscribe(b)
        assert (await h.told("refused"))["error"] == "already_subscribed"
        assert (await watch(h, f"{md}*"))["error"] == "already_subscribed"
        await h.say("unsubscribe", patterns=[f"{md}*"], ref="u")
        gone = await h.told("unsubscribed")
        assert (gone["stream"], gone["code"]) == (b, 1000) and "ref" not in gone
        gone = await h.told("unsubscribed")
        assert (gone["pattern"], gone["code"], gone["ref"]) == (f"{md}*", 1000, "u")
        redis.publish(b, "2")
        redis.publish(a, "2")
        await h.told("event", stream=a)  # by name it stays
        await all_answered(h)
        assert 2 not in h.events(b) and hellos(h) == [a, b]


async def test_a_stream_that_is_unsubscribed_by_name_stays_away(broker, redis, md):
    a, b = f"{md}a", f"{md}b"
    redis.publish(a, "1")
    async with hub(broker) as h:
        await watch(h, f"{md}*")
        await h.told("live", stream=a)
        await h.say("unsubscribe", streams=[a])
        await h.told("unsubscribed", stream=a)
        redis.publish(a, "2")
        redis.publish(b, "1")  # found in a later round, which has seen `a` again
        await h.told("event", stream=b)
        assert 2 not in h.events(a)
        await h.subscribe(a)
        await h.told("live", stream=a)
        await h.say("unsubscribe", patterns=[f"{md}*"])
        await h.told("unsubscribed", pattern=f"{md}*")
        redis.publish(a, "3")
        await h.told("event", stream=a)


async def test_subscribe_and_unsubscribe_in_any_order(broker, redis, md):
    pattern = f"{md}*"
    for n in range(20):
        redis.publish(f"{md}{n}", "0")
    async with hub(broker) as h:
        for round_ in range(30):
            await h.say("subscribe", patterns=[pattern], token=mint(pattern), scope=pattern)
            await h.say("unsubscribe", patterns=[pattern], ref=str(round_))
        await h.told("unsubscribed", pattern=pattern, ref="29")
        assert sum(m["type"] == "unsubscribed" for m in h.got if m.get("pattern")) == 30
        assert not [m for m in h.got if m["type"] == "refused"]
        await h.say("unsubscribe", patterns=[pattern])
        assert (await h.told("refused"))["error"] == "not_subscribed"
        for n in range(20):
            redis.publish(f"{md}{n}", "1")
        h.got = []
        await all_answered(h)
        assert [m["type"] for m in h.got] == ["pong"]


async def test_more_streams_than_a_client_may_have(start, redis, md):
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1, BOND_MAX_STREAMS_PER_CLIENT=5)
    names = {f"{md}{n}" for n in range(8)}
    for name in names:
        redis.publish(name, "0")
    async with hub(broker) as h:
        await watch(h, f"{md}*")
        while len([m for m in h.got if m["type"] == "refused"]) < 3:
            await h.next()
        refused = {m["stream"] for m in h.got if m["type"] == "refused"}
        assert {m["error"] for m in h.got if m["type"] == "refused"} == {"too_many_streams"}
        while set(hellos(h)) != names - refused:
            await h.next()


async def test_a_client_has_a_limited_number_of_patterns(broker, md):
    async with hub(broker) as h:
        for n in range(33):
            answer = await watch(h, f"{md}{n}*")
            assert answer["type"] == ("subscribed" if n < 32 else "refused")
        assert answer["error"] == "too_many_streams"


async def test_what_makes_no_sense_is_refused(broker, md):
    pattern = f"{md}*"
    async with hub(broker) as h:
        for members in (
            {"after": "1-0"},
            {"after": {"a": "one"}},
            {"after": {"a": 1}},
            {"after": ["a"]},
            {"from": "yesterday"},
            {"slow": "perhaps"},
        ):
            await h.say("subscribe", patterns=[pattern], token=mint(pattern), scope=pattern, ref="r", **members)
            refused = await h.told("refused")
            assert (refused["error"], refused["ref"]) == ("bad_request", "r"), members
        await h.say("subscribe", streams=[{"stream": "a", "after": {"a": "1-0"}}], token=mint("a"))
        assert (await h.told("refused"))["error"] == "bad_request"
        await h.say("unsubscribe", patterns=[pattern])
        assert (await h.told("refused"))["error"] == "not_subscribed"


# --- resuming ------------------------------------------------------------------------------


async def test_after_is_an_object_and_resumes_each_stream(start, redis, md):
    """A drain names the place in each stream, and that is what `after` takes."""
    first = start.broker(redis, BOND_PATTERNS=1, BOND_DRAIN_SECONDS=0)
    second = start.broker(redis, BOND_PATTERNS=1)
    pattern, names = f"{md}*", [f"{md}{n}" for n in range(50)]
    for name in names:
        redis.publish(name, "0")
    async with hub(first) as h:
        await watch(h, pattern, **{"from": "first"})
        await have(h, {name: [0] for name in names})
        first.signal()
        places = (await h.told("closing"))["streams"]
    assert set(places) == set(names)
    for name in names:
        redis.publish(name, "1")
    redis.publish_all(f"{md}new", ["1", "2"])
    async with hub(second) as h:
        await watch(h, pattern, after=places, **{"from": "first"})
        await have(h, {name: [1] for name in names} | {f"{md}new": [1, 2]})
        assert not [m for m in h.got if m["type"] == "gap"]
    assert first.exit_code() == 0


# --- Redis ---------------------------------------------------------------------------------


async def test_while_redis_is_away(start, md):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1)
    redis.publish(f"{md}a", "0")
    async with hub(broker) as h, hub(broker) as late:
        await watch(h, f"{md}*")
        await h.told("live", stream=f"{md}a")
        redis.kill()
        await h.told("source", stream=f"{md}a", state="stale")
        answer = await watch(late, f"{md}*")  # it is answered meanwhile
        assert answer["type"] == "subscribed"
        redis.restart()
        redis.publish(f"{md}a", "1")
        redis.publish(f"{md}b", "1")
        for client in (h, late):
            await have(client, {f"{md}b": [1]})
            while 1 not in client.events(f"{md}a"):
                await client.next()
            assert len(hellos(client)) == 2


async def test_a_pattern_is_refused_where_redis_refuses_scan(start, redis, md):
    url = redis.limited("~* +@all -scan")
    broker = start.broker(url, BOND_PATTERNS=1)
    async with hub(broker) as h:
        answer = await watch(h, f"{md}*", ref="p")
        assert (answer["type"], answer["error"], answer["ref"]) == ("refused", "unavailable", "p")
        assert "+scan" in answer["detail"]
        await h.subscribe(f"{md}a")
        await h.told("live", stream=f"{md}a")
        # The right is given later: who asks again is served.
        redis.limited("+scan")
        assert (await watch(h, f"{md}*"))["type"] == "subscribed"
        redis.publish(f"{md}b", "1")
        await h.told("event", stream=f"{md}b")
        # And taken away again.
        redis.limited("-scan")
        gone = await h.told("unsubscribed", stream=f"{md}b")
        assert gone["code"] == 1011 and "+scan" in gone["reason"]
        gone = await h.told("unsubscribed", pattern=f"{md}*")
        assert gone["code"] == 1011
        redis.publish(f"{md}a", "1")
        await h.told("event", stream=f"{md}a")
    assert broker.log("discovery_refused")


async def test_nothing_is_searched_while_nobody_wants_a_pattern(start, md):
    redis = start.redis()
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1)
    scans = lambda: redis.calls("scan")
    async with hub(broker) as h:
        await h.subscribe(md)
        await h.told("live", stream=md)
        assert scans() == 0
        async with hub(broker) as other:
            await watch(other, f"{md}*")
            await watch(h, f"{md}*")
            await until(lambda: scans() >= 3, "it is searched again and again")
            await h.say("unsubscribe", patterns=[f"{md}*"])
            await h.told("unsubscribed", pattern=f"{md}*")
            before = scans()
            await until(lambda: scans() > before, "the other one wants it still")
    # Both have left; what was under way is over when a stream has been read after that.
    wait_until(lambda: not_searched(redis, broker), "no more SCAN comes")
    before = scans()
    await asyncio.sleep(2.5)
    assert scans() == before


def not_searched(redis, broker):
    before = redis.calls("scan")
    time.sleep(1.2)
    return redis.calls("scan") == before


async def test_one_round_serves_all(start, md):
    """20 patterns of 10 clients on two workers: one SCAN a round, for there are few keys."""
    redis = start.redis()
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1, BOND_WORKERS=2)
    hubs = [hub(broker) for _ in range(10)]
    clients = [await h.__aenter__() for h in hubs]
    for h in clients:
        for n in range(20):
            await watch(h, f"{md}{n}*")
    began, before = time.monotonic(), redis.calls("scan")
    await asyncio.sleep(3)
    rounds = redis.calls("scan") - before
    assert rounds <= time.monotonic() - began + 2
    for h in hubs:
        await h.__aexit__(None, None, None)


# --- tokens that end -----------------------------------------------------------------------


async def test_a_pattern_ends_with_its_token(start, redis, md):
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_EXPIRE_LIVE=1)
    for name in ("a1", "a2", "b1"):
        redis.publish(md + name, "0")
    a, b = f"{md}a*", f"{md}b*"
    async with hub(broker) as h:
        await watch(h, a, token=mint(a, ttl=3), scope=a)
        assert (await h.told("expiring", pattern=a))["in_s"] <= 3
        await watch(h, b, token=mint(b, ttl=3), scope=b)
        await h.told("expiring", pattern=b)
        await h.say("auth", token=mint(f"{md}b*", ttl=600), scope=f"{md}b*")
        assert (await h.told("expiring", pattern=b))["in_s"] > 500
        ended = {(await h.told("unsubscribed"))["stream"] for _ in range(2)}
        assert ended == {f"{md}a1", f"{md}a2"}
        gone = await h.told("unsubscribed")
        assert (gone["pattern"], gone["code"]) == (a, 4001)
        redis.publish(f"{md}b1", "1")
        await h.told("event", stream=f"{md}b1")
        await h.say("auth", token=mint("other"))
        assert (await h.told("refused"))["error"] == "token_invalid"


async def test_who_has_a_pattern_has_something(start, redis, md):
    """A pattern that matches nothing yet is a subscription (19.1)."""
    broker = start.broker(redis, BOND_PATTERNS=1, BOND_DISCOVER_SECONDS=1, BOND_HANDSHAKE_SECONDS=1)
    async with hub(broker) as h:
        await watch(h, f"{md}*")
        await asyncio.sleep(1.5)
        redis.publish(f"{md}a", "1")
        await h.told("event", stream=f"{md}a")


async def test_what_a_pattern_asks_for_counts_for_each_of_its_streams(broker, redis, md):
    """A pace of an hour: the newest of each stream, and then nothing more."""
    redis.publish_all(md + "a", ["1", "2", "3"])
    redis.publish_all(md + "b", ["4", "5"])
    async with hub(broker) as h:
        assert (await watch(h, md + "*", every="1h", slow="latest", **{"from": "first"}))[
            "type"
        ] == "subscribed"
        await have(h, {md + "a": [3], md + "b": [5]})
        redis.publish(md + "a", "6")
        await all_answered(h)
        assert h.events(md + "a") == [3] and h.events(md + "b") == [5]
        for wrong in ({"every": "1"}, {"slow": "sometimes"}):
            assert (await watch(h, md + "*c", **wrong))["error"] == "bad_request"
