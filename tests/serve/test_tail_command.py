"""bond-broker tail: what it prints, that it loses nothing when a broker or Redis restarts, and
how it ends."""

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from http import HTTPStatus

import pytest
import websockets

from harness import (
    BINARY,
    SANITIZER_REPORT,
    SECRET,
    Publisher,
    Port,
    clean_env,
    end,
    mint,
    run_cli,
    seconds,
    sign,
    spawn,
    until,
    wait_until,
    ws_path,
)

LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\S+) (\S+) (.*)$")


class Tail:
    """The command as a process. Its output is read from files as it grows."""

    def __init__(self, directory, broker, *args, **settings):
        self.out, self.err = directory / "out", directory / "err"
        env = dict(BOND_HOST="127.0.0.1", BOND_SECRET=SECRET)
        if broker is not None:
            env["BOND_PORT"] = broker.port
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = spawn(
                [BINARY, "tail", *args], env=clean_env(**env | settings), stdout=out, stderr=err
            )

    def lines(self):
        return self.out.read_text().splitlines(keepends=True)

    def messages(self, kind=None):
        """With --json. The last line may be under way."""
        told = [json.loads(line) for line in self.lines() if line.endswith("\n")]
        return [t for t in told if kind is None or t["type"] == kind]

    def said(self):
        return self.err.read_text()

    def wait(self, condition, message="it never came", within=10):
        return wait_until(
            condition, lambda: f"{message}:\n{self.out.read_text()[-2000:]}\n{self.said()}", within
        )

    def wait_live(self, count=1):
        self.wait(lambda: len(self.messages("live")) >= count, "it is not live")

    def stop(self):
        end(self.process)
        assert not SANITIZER_REPORT.search(self.said()), self.said()


@pytest.fixture
def tail(tmp_path):
    started = []

    def launch(broker, *args, **settings):
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(Tail(directory, broker, *args, **settings))
        return started[-1]

    yield launch
    for one in started:
        one.stop()


# What it prints.


def test_a_line_is_time_stream_id_and_data(broker, redis, stream, tail):
    redis.client.xadd(f"stream:{stream}", {"data": '{"price": 1.10}'}, id="1760000000000-7")
    got = tail(broker, stream, "--from", "last", "--count", "1")
    assert got.process.wait(seconds(10)) == 0
    assert got.lines() == [f'2025-10-09T08:53:20.000Z {stream} 1760000000000-7 {{"price": 1.10}}\n']
    assert got.said() == ""


def test_data_is_one_line_and_cannot_command_a_terminal(broker, redis, stream, tail):
    redis.publish(stream, '{"a":\n\t1}')
    redis.publish(stream, "\x1b[31mred \x9b1m \u2028")
    got = tail(broker, stream, "--from", "first", "--count", "2")
    assert got.process.wait(seconds(10)) == 0
    first, second = [LINE.match(line)[3] for line in got.lines()]
    assert json.loads(first) == {"a": 1}
    assert "\x1b" not in second and "\x9b" not in second and "\u2028" not in second
    assert json.loads(second) == "\x1b[31mred \x9b1m \u2028", "the same string, escaped"


def test_json_is_the_message_as_it_came(broker, redis, stream, tail):
    redis.publish(stream, '{"price": 1.10}')
    got = tail(broker, stream, "--from", "first", "--count", "1", "--json")
    assert got.process.wait(seconds(10)) == 0
    assert [t["type"] for t in got.messages()] == ["hello", "event"]
    assert '"data":{"price": 1.10}}' in got.lines()[1]


def test_several_streams(broker, redis, stream, tail):
    names = [f"{stream}-{i}" for i in range(5)]
    got = tail(broker, *names, "--json")
    got.wait_live(5)
    for name in names:
        redis.publish(name, json.dumps(name))
    got.wait(lambda: len(got.messages("event")) == 5)
    assert {t["stream"]: t["data"] for t in got.messages("event")} == {n: n for n in names}


def test_an_odd_name(broker, redis, tail):
    name = "a b/ü?&=#\n"
    redis.publish(name, "1")
    got = tail(broker, name, "--from", "first", "--count", "1")
    assert got.process.wait(seconds(10)) == 0, got.said()
    assert '"a b/ü?&=#\\n"' in got.lines()[0]


@pytest.mark.parametrize("scheme, route", [("ws", "ws"), ("http", "ws"), ("http", "sse")])
def test_a_url(broker, redis, stream, tail, scheme, route):
    redis.publish_all(stream, ["1", "2"])
    path = ws_path(stream, format="raw").replace("/ws/", f"/{route}/")
    url = f"{scheme}://127.0.0.1:{broker.port}{path}&from=last"
    got = tail(None, url, "--count", "1", BOND_SECRET=None, BOND_PORT=1)
    assert got.process.wait(seconds(10)) == 0, got.said()
    assert LINE.match(got.lines()[0])[3] == "2"


def test_after(broker, redis, stream, tail):
    ids = redis.publish_all(stream, ["1", "2", "3"])
    got = tail(broker, stream, "--after", ids[1], "--count", "1")
    assert got.process.wait(seconds(10)) == 0
    assert LINE.match(got.lines()[0])[2] == ids[2]


def test_a_gap_is_announced_in_words(start, stream, tail):
    redis = start.redis()
    broker = start.broker(redis)
    for i in range(10):
        redis.client.xadd(f"stream:{stream}", {"data": str(i)})
    first = redis.client.xrange(f"stream:{stream}")[0][0].decode()
    redis.client.xtrim(f"stream:{stream}", maxlen=3, approximate=False)
    got = tail(broker, stream, "--after", first, "--count", "3")
    assert got.process.wait(seconds(10)) == 0
    lines = [LINE.match(line).groups() for line in got.lines()]
    assert [line[1] for line in lines].count("gap") >= 1, lines
    assert "missing" in lines[0][2]
    assert [line[2] for line in lines if line[1] != "gap"] == ["7", "8", "9"]


# It loses nothing.


def told(messages):
    """The numbers of a Publisher's events, and whether a gap covers what lies between."""
    return [None if t["type"] == "gap" else t["data"]["n"] for t in messages]


def assert_each_once(got, published, streams=1):
    events = [t for t in got.messages() if t["type"] in ("event", "gap")]
    have = [n for n in told(events) if n is not None]
    assert len(have) == len(set(have)), "an event came twice"
    assert have == sorted(have)
    missing = set(n for n in published if n >= have[0]) - set(have)
    gaps = [t for t in events if t["type"] == "gap"]
    assert not missing or gaps, f"lost without a word: {sorted(missing)[:10]}"
    return missing


def test_every_event_comes_once_over_brokers_that_are_killed(start, stream, tail):
    redis = start.redis()
    broker = start.broker(redis)
    got = tail(broker, stream, "--json")
    got.wait_live()
    with Publisher(redis, stream, rate=200) as publisher:
        for kill in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            have = len(got.messages("event"))
            got.wait(lambda: len(got.messages("event")) > have + 20)
            broker.signal(kill)
            broker.ended = True
            broker.process.wait(seconds(15))
            port = broker.port_kept
            broker = start.broker(redis, port=port)
            have = len(got.messages("event"))
            got.wait(lambda: len(got.messages("event")) > have + 20, within=20)
        published = publisher.stop()
    got.wait(lambda: got.messages("event")[-1]["data"]["n"] >= published[-1])
    assert assert_each_once(got, published) == set(), "the ring of the next broker had all"
    assert "connected again" in got.said()
    assert "closed with 1001" in got.said(), "the broker that drained said why"


def test_every_event_comes_once_over_a_redis_that_restarts(start, stream, tail):
    redis = start.redis(appendonly=True)
    broker = start.broker(redis)
    got = tail(broker, stream, "--json")
    got.wait_live()
    with Publisher(redis, stream, rate=200) as publisher:
        for _ in range(2):
            have = len(got.messages("event"))
            got.wait(lambda: len(got.messages("event")) > have + 20)
            redis.kill()
            got.wait(lambda: "stale" in got.said())
            redis.start()
            have = len(got.messages("event"))
            got.wait(lambda: len(got.messages("event")) > have + 20, within=20)
        published = publisher.stop()
    got.wait(lambda: got.messages("event")[-1]["data"]["n"] >= published[-1])
    assert assert_each_once(got, published) == set()
    assert "stale" in got.said() and "up to date" in got.said()


def test_a_broker_that_is_not_there_yet_is_waited_for(start, stream, tail):
    redis = start.redis()
    redis.publish(stream, "1")
    port = Port()
    got = tail(None, stream, "--from", "first", "--count", "1", BOND_PORT=port.number)
    got.wait(lambda: "Connection refused" in got.said())
    start.broker(redis, port=port)
    assert got.process.wait(seconds(15)) == 0
    assert got.said().count("Connection refused") == 1, "said once, not at every attempt"


def test_a_stream_without_events_resumes_from_its_beginning(start, stream, tail):
    """What is published while the broker is away comes, though no id was known before."""
    redis = start.redis()
    broker = start.broker(redis)
    got = tail(broker, stream, "--json", "--count", "1")
    got.wait_live()
    broker.signal(signal.SIGKILL)
    broker.ended = True
    broker.process.wait(seconds(10))
    redis.publish(stream, "7")
    start.broker(redis, port=broker.port_kept)
    assert got.process.wait(seconds(15)) == 0
    assert got.messages("event")[0]["data"] == 7


def test_a_urls_token_is_not_ours_to_renew(start, stream, tail):
    redis = start.redis()
    broker = start.broker(redis, BOND_EXPIRE_LIVE=1)
    url = f"ws://127.0.0.1:{broker.port}{ws_path(stream, token=mint(stream, ttl=2))}"
    got = tail(None, url, "--json")
    assert got.process.wait(seconds(20)) == 1
    assert got.messages("expiring")
    assert "closed with 4001" in got.said() and "token_expired" in got.said()


# What a broker may say, from one that says it at once.


@contextlib.asynccontextmanager
async def told_by(serve, **options):
    """A WebSocket server of the test's own: its port."""
    async with websockets.serve(
        serve, "127.0.0.1", 0, subprotocols=["bond.v1"], ping_interval=None, **options
    ) as server:
        yield server.sockets[0].getsockname()[1]


EVENT = '{"type":"event","stream":"s","id":"5-0","data":"é"}'


async def test_a_token_of_ours_is_renewed(tail):
    renewals = []

    async def serve(ws):
        await ws.send('{"type":"expiring","in_s":3600}')
        await ws.send('{"type":"expiring","in_s":30}')
        renewals.append(json.loads(await ws.recv()))
        await ws.wait_closed()

    async with told_by(serve) as port:
        tail(None, "s", BOND_PORT=port)
        await until(lambda: renewals, "no token came")
    assert renewals[0]["type"] == "auth"
    expiry, signature = renewals[0]["token"].split(".")
    assert signature == sign("s", expiry)[:16]
    assert abs(int(expiry) - time.time() - 3600) < 60


async def test_it_comes_back_when_the_broker_says_and_behind_what_it_had(tail):
    targets = []

    async def serve(ws):
        targets.append(ws.path)
        if len(targets) == 1:
            await ws.send(EVENT)
            await ws.send('{"type":"closing","code":1001,"reason":"x","last":"5-0","reconnect_ms":7}')
            await ws.close(1001, "going away")
        await ws.wait_closed()

    async with told_by(serve) as port:
        got = tail(None, "s", "--from", "first", BOND_PORT=port)
        await until(lambda: len(targets) == 2, "it does not come back")
    assert "from=first" in targets[0] and "slow=skip" in targets[0]
    assert "after=5-0" in targets[1] and "from=" not in targets[1]
    assert "closed with 1001, going away; tried again in 0.0 s" in got.said()


async def test_a_refusal_that_passes_is_waited_for_as_long_as_it_says(tail):
    seen = []

    async def refuse(path, headers):
        seen.append(time.monotonic())
        if len(seen) == 1:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "1"}, b'{"error":"unavailable","detail":"\x1b[31mdown"}'

    async def serve(ws):
        await ws.send(EVENT)
        await ws.wait_closed()

    async with told_by(serve, process_request=refuse) as port:
        got = tail(None, "s", "--count", "1", BOND_PORT=port)
        await until(lambda: got.process.poll() == 0, got.said, within=15)
    assert seen[1] - seen[0] >= 0.9
    assert "refused with 503" in got.said() and "\x1b" not in got.said()


async def test_a_message_in_pieces(tail):
    async def serve(ws):
        await ws.send([EVENT[:20], EVENT[20:21], EVENT[21:]])
        await ws.ping()
        await ws.wait_closed()

    async with told_by(serve) as port:
        got = tail(None, "s", "--count", "1", "--json", BOND_PORT=port)
        await until(lambda: got.process.poll() == 0, got.said)
    assert got.lines() == [EVENT + "\n"]


async def test_what_is_no_message_of_the_envelope_is_passed_over(tail):
    async def serve(ws):
        for text in ("", "{", "[]", '{"type":1}', '{"type":"event"}', '{"type":"news","a":1}'):
            await ws.send(text)
        await ws.send(b"\x00")
        await ws.send(EVENT)
        await ws.wait_closed()

    async with told_by(serve) as port:
        got = tail(None, "s", "--count", "1", BOND_PORT=port)
        await until(lambda: got.process.poll() == 0, got.said)
    assert [LINE.match(line)[2] for line in got.lines()] == ["5-0"]


async def test_a_websocket_that_does_not_speak_bond_v1_is_told(tail):
    async def serve(ws):
        await ws.wait_closed()

    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        got = tail(None, "s", BOND_PORT=server.sockets[0].getsockname()[1])
        await until(lambda: "does not speak bond.v1" in got.said(), got.said)


# How it ends.


@pytest.mark.parametrize(
    "token, code",
    [("garbage", "token_malformed"), (mint("another"), "token_invalid")],
    ids=["malformed", "invalid"],
)
def test_a_refusal_is_final(broker, stream, tail, token, code):
    got = tail(None, broker.url(stream, token=token))
    assert got.process.wait(seconds(10)) == 1
    assert f"refused with 403, {code}: " in got.said()
    assert token not in got.said()


def test_another_secret_is_told(broker, stream, tail):
    got = tail(broker, stream, BOND_SECRET="another")
    assert got.process.wait(seconds(10)) == 1
    assert "token_invalid" in got.said()


def test_the_default_secret_is_warned_of(broker, stream, tail):
    got = tail(broker, stream, BOND_SECRET=None)
    assert got.process.wait(seconds(10)) == 1
    assert "the default one" in got.said()


def test_one_stream_that_is_refused_does_not_end_the_others(broker, redis, stream, tail):
    bad = broker.url(stream, token="garbage")
    got = tail(broker, bad, stream, "--json", "--count", "1")
    got.wait_live()
    redis.publish(stream, "1")
    assert got.process.wait(seconds(10)) == 0
    assert "token_malformed" in got.said()


def test_what_is_no_broker_is_told(redis, stream, tail):
    got = tail(None, f"ws://127.0.0.1:{redis.port}/ws/{stream}")
    got.wait(lambda: "no web server" in got.said() or "closed the connection" in got.said())
    assert got.process.poll() is None, "it may become one"


@pytest.mark.parametrize(
    "args",
    [
        [],
        [""],
        ["x", "--from", "yesterday"],
        ["x", "--after", "now"],
        ["x", "--from", "first", "--after", "1-0"],
        ["x", "y", "--after", "1-0"],
        ["x", "--count", "0"],
        ["ftp://host/ws/x"],
        ["ws://host/"],
        ["ws://host:0/ws/x"],
        ["ws:///ws/x"],
        ["ws://user:secret-word@host/ws/x"],
        ["wss://host/ws/x", "--ca-file", "/nonexistent"],
    ],
)
def test_used_wrongly(args):
    result = run_cli("tail", *args, BOND_SECRET=SECRET)
    assert result.returncode == 2, result.stderr
    assert "bond-broker tail: " in result.stderr
    assert "secret-word" not in result.stderr


def test_interrupted(broker, stream, tail):
    got = tail(broker, stream, "--json")
    got.wait_live()
    got.process.send_signal(signal.SIGINT)
    assert got.process.wait(seconds(10)) == -signal.SIGINT, "a shell says 130"
    assert got.said() == ""


def piped(broker, stream, *args):
    env = clean_env(BOND_HOST="127.0.0.1", BOND_PORT=broker.port, BOND_SECRET=SECRET)
    return subprocess.Popen(
        [BINARY, "tail", stream, *args],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_reader_that_goes_ends_it_quietly(broker, redis, stream):
    """Even while nothing is published: a quiet stream would never write, and so never notice."""
    with piped(broker, stream, "--from", "first") as process:
        redis.publish(stream, "1")
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(seconds(10)) == -signal.SIGPIPE, "a shell says 141"
        assert process.stderr.read() == b""


def test_a_full_disk_is_told(broker, redis, stream):
    redis.publish(stream, "1")
    env = clean_env(BOND_HOST="127.0.0.1", BOND_PORT=broker.port, BOND_SECRET=SECRET)
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [BINARY, "tail", stream, "--from", "first"],
            env=env,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=seconds(10),
        )
    assert result.returncode == 1
    assert b"No space left" in result.stderr


# On a terminal.


def on_terminal(broker, stream, *args, until, **settings):
    """What a terminal was sent, until it has `until`."""
    main, other = pty.openpty()
    env = clean_env(BOND_HOST="127.0.0.1", BOND_PORT=broker.port, BOND_SECRET=SECRET, **settings)
    process = spawn([BINARY, "tail", stream, *args], env=env, stdout=other, stderr=other)
    os.close(other)
    text, end_at = "", time.monotonic() + seconds(15)
    try:
        while until not in text:
            assert time.monotonic() < end_at, repr(text)
            if select.select([main], [], [], 0.1)[0]:
                text += os.read(main, 65536).decode()
        process.send_signal(signal.SIGINT)
        assert process.wait(seconds(10)) == -signal.SIGINT
        while select.select([main], [], [], 0)[0]:
            try:
                text += os.read(main, 65536).decode()
            except OSError:
                break
    finally:
        end(process)
        os.close(main)
    return text


def test_a_terminal_has_colours_and_a_line_of_state(broker, redis, stream):
    redis.publish(stream, '"hello"')
    text = on_terminal(broker, stream, "--from", "first", until="events/s")
    assert "1 of 1 connected" in text
    assert "\x1b[2m" in text and '"hello"' in text
    assert text.endswith("\r\x1b[K"), "the prompt that follows stands on an empty line"


def test_a_terminal_without_colours(broker, redis, stream):
    redis.publish(stream, '"hello"')
    for args, settings in ([["--no-color"], {}], [[], {"NO_COLOR": "1"}]):
        text = on_terminal(
            broker, stream, "--from", "first", *args, until="events/s", **settings
        )
        assert "\x1b[2m" not in text and "\x1b[7m" not in text


# TLS.


def test_wss(certificates, broker, redis, stream, tail):
    """A proxy that ends TLS stands before the broker."""
    port = Port()
    proxy = spawn(
        [
            "/usr/bin/python3",
            "-c",
            PROXY,
            str(port.number),
            str(broker.port),
            str(certificates.cert),
            str(certificates.key),
        ]
    )
    try:
        wait_until(port.answers, "the proxy does not listen")
        redis.publish(stream, "1")
        url = f"wss://127.0.0.1:{port.number}{ws_path(stream)}&from=first"
        got = tail(None, url, "--count", "1", "--ca-file", str(certificates.ca))
        assert got.process.wait(seconds(10)) == 0, got.said()
        strange = tail(None, url)
        strange.wait(lambda: "TLS: " in strange.said())
        assert strange.lines() == []
        plain = tail(None, url.replace(str(port.number), str(broker.port)))
        plain.wait(lambda: "does not speak TLS" in plain.said())
    finally:
        end(proxy)


PROXY = """
import asyncio, ssl, sys
port, target = int(sys.argv[1]), int(sys.argv[2])
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[3], sys.argv[4])
async def pump(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def serve(reader, writer):
    up = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(pump(reader, up[1]), pump(up[0], writer), return_exceptions=True)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    await server.serve_forever()
asyncio.run(main())
"""
