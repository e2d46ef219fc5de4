"""The checker: a small world of publishers, brokers and clients in which everything goes
wrong, and a judgement of what the clients got (judge.py says what is asked).

    make soak SECONDS=600 SEED=7        # worlds, one after another, until one is violated
    tests/serve/checker.py --seconds 20 --seed 7 --world 20

A world has a Redis that keeps its data (appendonly), loses it, or comes back with an older
snapshot when it is killed; streams, each with one publisher; two brokers; and clients of
every format, which stall, hang up inside a frame, and come back with after= or
Last-Event-ID to whichever broker. Two hands break things, in an order that the seed gives:
one Redis (killed, stopped, flushed; streams deleted, made again, trimmed), one the brokers
(killed, drained, replaced on another port). At the end all is put right, and each client
must come to have the newest event. The seed gives the choices, not the timing.

What Redis was given is known because each stream has one connection, on which its
publisher and the hand that deletes and trims take turns.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import shutil
import signal
import socket
import struct
import sys
import time
import zlib
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parent))

from harness import SLOW_FACTOR, Broker, Redis, end, mint, seconds, spawn  # noqa: E402
from judge import Close, Event, Gap, Judge, Live, Open, Record, Stream, Violation  # noqa: E402
from judge import parse_id  # noqa: E402

CLIENTS_PER_STREAM = 8
STREAMS = 3
CATCH_UP_SECONDS = 20  # at the end: each client has the newest event within


class Failed(Exception):
    """A world that was violated; the text says all that is known of it."""


# --- Redis, byte by byte -----------------------------------------------------------


class Answer(Exception):
    """Redis answered with an error."""


class Link:
    """One connection to Redis that sends a command exactly once, or fails."""

    @classmethod
    async def open(cls, port):
        link = cls()
        link.reader, link.writer = await asyncio.open_connection("127.0.0.1", port)
        return link

    def close(self):
        self.writer.transport.abort()

    async def _reply(self):
        line = await self.reader.readuntil(b"\r\n")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            return Answer(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$" and int(rest) >= 0:
            return (await self.reader.readexactly(int(rest) + 2))[:-2]
        if kind == b"*" and int(rest) >= 0:
            return [await self._reply() for _ in range(int(rest))]
        return None if kind in b"$*" else rest

    async def send(self, commands):
        """All in one write."""
        out = bytearray()
        for command in commands:
            words = [w if isinstance(w, bytes) else str(w).encode() for w in command]
            out += b"*%d\r\n" % len(words)
            for word in words:
                out += b"$%d\r\n%b\r\n" % (len(word), word)
        self.writer.write(bytes(out))
        await self.writer.drain()

    async def call(self, *words):
        await self.send([words])
        reply = await self._reply()
        if isinstance(reply, Answer):
            raise reply
        return reply


LINK_BROKEN = (OSError, asyncio.IncompleteReadError)


# --- a stream and its publisher ----------------------------------------------------


class Ids:
    """How a stream's ids are chosen.

    clock    Redis's clock, as the API does it
    lower    the first run has the clock's, each one after it lower ones: small numbers
    behind   milliseconds, in each run further behind the clock (one that is put back)
    again    1-0, 2-0, … in each run
    """

    def __init__(self, kind, rng):
        self.kind, self.rng = kind, rng
        self.run, self.last = 0, 0

    def begin(self, run):
        self.run, self.last = run, 0

    def next(self):
        if self.kind == "clock" or self.kind == "lower" and self.run == 0:
            return "*"
        if self.kind == "behind":
            now = int(time.time() * 1000) - 700 * self.run
            self.last = max(now, self.last + 1)
            return f"{self.last}-0"
        base = 0 if self.kind == "again" else max(0, 10_000_000 - self.run * 100_000)
        self.last = max(self.last, base) + self.rng.choice((1, 1, 1, 7))
        return f"{self.last}-{self.rng.choice((0, 1))}"


class Source:
    """One stream: the truth of it, its connection, and how events are made."""

    def __init__(self, world, name, ids, seed):
        self.world, self.name = world, name
        self.key = f"stream:{name}"
        self.truth = Stream(name)
        self.rng = random.Random(seed)
        self.ids = Ids(ids, self.rng)
        self.rate = self.rng.choice((5, 20, 60))
        self.turn = asyncio.Lock()
        self.link = None

    def data(self, at, run):
        """The same for the same number, so that it can be compared."""
        pad = (at * 7919) % self.world.pad
        text = "".join(chr(97 + (at * 31 + i // 16) % 26) for i in range(0, pad))
        return json.dumps({"stream": self.name, "run": run, "n": at, "pad": text})

    # All of these in one's turn.

    async def connect(self):
        if self.link is None:
            self.link = await Link.open(self.world.redis.port)
        return self.link

    def disconnect(self):
        if self.link:
            self.link.close()
        self.link = None

    async def do(self, steps):
        """steps: ("add", n), ("trim", keep), ("delete",), sent in one write. Raises when
        Redis went away; then the adds that were not answered are maybes."""
        link = await self.connect()
        commands, entries = [], []
        now = time.time()
        for step, *args in steps:
            if step == "add":
                for _ in range(args[0]):
                    entry = self.truth.add(now)
                    id = self.ids.next()
                    limit = ("MAXLEN", "=", self.world.maxlen)
                    data = self.data(entry.at, entry.run)
                    commands.append(("XADD", self.key, *limit, id, "data", data))
                    self.truth.trim(now, self.world.maxlen)
                    entries.append(entry)
            elif step == "trim":
                commands.append(("XTRIM", self.key, "MAXLEN", "=", args[0]))
                self.truth.trim(now, args[0])
                entries.append(None)
            elif step == "delete":
                commands.append(("DEL", self.key))
                self.reset(now)
                entries.append(None)
        try:
            await link.send(commands)
            for entry in entries:
                reply = await link._reply()
                if isinstance(reply, Answer) and entry:
                    self.truth.deny(entry)
                    self.world.say(f"{self.name}: #{entry.at} denied: {reply}")
                elif entry:
                    self.truth.acknowledge(entry, parse_id(reply.decode()))
        except LINK_BROKEN:
            self.disconnect()
            raise

    def reset(self, now):
        self.truth.reset(now)
        self.ids.begin(self.truth.run)

    async def read_back(self):
        """Which of the maybes does Redis have? Its data survived."""
        link = await self.connect()
        for id, fields in await link.call("XRANGE", self.key, "-", "+"):
            entry = self.truth.entries[json.loads(fields[1])["n"]]
            self.truth.acknowledge(entry, parse_id(id.decode()))
        for entry in [e for e in self.truth.present if not e.sure]:
            self.truth.deny(entry)
            self.world.say(f"{self.name}: #{entry.at} was not taken")

    async def publish(self):
        """Until the world ends."""
        world = self.world
        while not world.closing:
            await world.redis_up.wait()
            burst = self.rng.choice((5, 20, 60)) if self.rng.random() < 0.04 else 1
            try:
                async with self.turn:
                    await self.do([("add", burst)])
            except LINK_BROKEN:
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.rng.expovariate(self.rate))


# --- clients -----------------------------------------------------------------------


class Refused(Exception):
    pass


class Client:
    """One client of one stream, over its reconnects."""

    def __init__(self, world, source, number, seed):
        self.world, self.source = world, source
        self.rng = rng = random.Random(seed)
        self.kind = ("envelope", "sse", "raw", "envelope", "raw", "sse", "envelope", "envelope")[
            number % CLIENTS_PER_STREAM
        ]
        self.steady = number == 0  # it never misbehaves: a witness
        self.deflate = self.kind != "sse" and not self.steady and rng.random() < 0.4
        self.slow = "skip" if self.steady or rng.random() < 0.3 else "close"
        self.small = not self.steady and rng.random() < 0.5  # its buffers
        self.name = f"{self.kind}{number}" + ("z" if self.deflate else "")
        self.name += "-skip" if self.slow == "skip" else ""
        self.record = Record(
            self.name,
            source.name,
            tells=self.kind != "raw",
            skips=self.slow == "skip",
            clock_ids=source.ids.kind == "clock",
        )
        self.last_id = None
        self.place_id = None  # what `live` named, where it had no event yet
        self.newest = -1
        self.broker = None
        self.trouble = []

    # Its life.

    async def live(self):
        while not self.world.over:
            brokers = [b for b in self.world.brokers if b and b.reachable]
            if not brokers:
                await asyncio.sleep(0.05)
                continue
            self.broker = self.rng.choice(brokers)
            how = "ended"
            self.code = None
            try:
                await self.connect()
                await self.read()
            except Refused as refused:
                self.trouble.append(str(refused))
                await asyncio.sleep(0.1)
                continue
            except (OSError, asyncio.IncompleteReadError) as error:
                how = type(error).__name__
            finally:
                self.hang_up()
            if self.opened:
                self.record.add(Close(time.time(), self.code, how))
            if not self.steady:
                pause = 0.05 if self.world.closing else self.rng.choice((0, 0.1, 0.5, 1.5))
                await asyncio.sleep(pause)
            else:
                await asyncio.sleep(0.02)

    def hang_up(self):
        if self.writer:
            self.writer.transport.abort()
        self.writer = None

    def choose_start(self):
        """The query, and the Open that says it."""
        rng, now = self.rng, time.time()
        resume = self.last_id or self.kind == "envelope" and self.place_id
        again = rng.random() < 0.9 or self.world.closing or self.steady
        if self.kind != "raw" and resume and again:
            return {"after": resume}, ("after", True, parse_id(resume))
        self.last_id = self.place_id = None
        kind = "live" if self.steady else rng.choice(("live", "live", "first", "time", "last"))
        if kind == "live":
            return {}, ("live", False, None)
        if kind == "time":
            ago = rng.choice((200, 1000, 3000, 20000))
            # "now" is when the broker reads the request: the handshake's end is later.
            return {"from": f"now-{ago}ms"}, ("time", False, -ago / 1000)
        return {"from": kind}, (kind, False, None)

    async def connect(self):
        self.writer, self.opened = None, False
        query, (start, resumes, asked) = self.choose_start()
        broker = self.broker
        path = f"/{'sse' if self.kind == 'sse' else 'ws'}/{self.source.name}"
        headers = [f"Host: 127.0.0.1:{broker.server.port}"]
        if self.kind == "sse" and "after" in query:
            headers.append(f"Last-Event-ID: {query.pop('after')}")
        query |= {"token": mint(self.source.name), "slow": self.slow}
        if self.kind == "envelope":
            query["format"] = "envelope"
        if self.kind != "sse":
            key = base64.b64encode(self.rng.randbytes(16)).decode()
            headers += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
            headers += [f"Sec-WebSocket-Key: {key}"]
            if self.deflate:
                headers.append("Sec-WebSocket-Extensions: permessage-deflate")
        sock = socket.socket()
        sock.setblocking(False)
        if self.small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        try:
            await asyncio.get_running_loop().sock_connect(
                sock, ("127.0.0.1", broker.server.port)
            )
            self.reader, self.writer = await asyncio.open_connection(
                sock=sock, limit=2048 if self.small else 65536
            )
        except OSError:
            sock.close()
            raise
        head = "\r\n".join([f"GET {path}?{urlencode(query)} HTTP/1.1", *headers, "", ""])
        self.writer.write(head.encode())
        async with asyncio.timeout(seconds(15)):
            status = await self.reader.readuntil(b"\r\n")
            rest = await self.reader.readuntil(b"\r\n\r\n") if status.strip() else b""
        code = int(status.split()[1])
        if code == 503:
            raise Refused(f"503 from broker {broker.number}")
        if code not in (101, 200):
            raise Failed(f"{self.name} was refused: {status!r} {rest!r}")
        now = time.time()
        if start == "time":
            asked = now + asked
        self.record.add(Open(now, broker.number, start, resumes, asked))
        self.opened = True
        self.buffer = b""
        self.fields = {}

    async def read(self):
        """Reads on, behaves badly when the time has come, returns when it hung up or the
        broker closed."""
        plan = self.plan()
        while True:
            if plan and time.time() >= plan[0] and not self.world.closing:
                if plan[1] == "stall":
                    await self.stall(plan[2])
                    plan = self.plan()
                elif plan[1] == "abort":  # inside a frame, more often than not
                    self.buffer += await self.reader.read(self.rng.randint(1, 300))
                    self.take_messages()
                    return
                else:
                    return
            try:
                async with asyncio.timeout(0.25):
                    chunk = await self.reader.read(65536)
            except TimeoutError:
                if self.world.over:
                    return
                continue
            if not chunk:
                return
            self.buffer += chunk
            if not self.take_messages():
                return

    def plan(self):
        if self.steady or self.world.closing:
            return None
        what = self.rng.choice(("stall", "abort", "leave"))
        return time.time() + self.rng.uniform(0.3, 5), what, self.rng.uniform(0.3, 4)

    async def stall(self, length):
        end_at = time.time() + length
        while time.time() < end_at and not self.world.closing:
            await asyncio.sleep(0.1)

    # What comes.

    def take_messages(self):
        """False: the broker closed."""
        if self.kind == "sse":
            *events, self.buffer = self.buffer.split(b"\n\n")
            for event in events:
                self.take_sse(event.decode())
            return True
        while (frame := self.next_frame()) is not None:
            opcode, rsv1, payload = frame
            if opcode == 8:
                self.code = struct.unpack("!H", payload[:2])[0] if payload else None
                return False
            if opcode == 9:
                self.writer.write(mask(10, payload))
            elif opcode == 1:
                if rsv1:
                    payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
                self.take_text(payload.decode())
        return True

    def next_frame(self):
        b = self.buffer
        if len(b) < 2:
            return None
        size, head = b[1] & 127, 2
        if size == 126:
            size, head = int.from_bytes(b[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(b[2:10], "big"), 10
        if len(b) < head or len(b) < head + size:
            return None
        self.buffer = b[head + size :]
        return b[0] & 15, bool(b[0] & 64), b[head : head + size]

    def take_text(self, text):
        if self.kind == "raw":
            self.take_data(text, None)
            return
        message = json.loads(text)
        if message["type"] == "event":
            self.take_data(text[text.index(',"data":') + 8 : -1], message["id"])
        else:
            self.take_notice(message)

    def take_sse(self, event):
        fields = {}
        for line in event.split("\n"):
            key, _, value = line.partition(": ")
            fields[key] = value
        if "id" in fields:
            self.last_id = fields["id"]  # `live` has one too
        if "event" in fields:
            self.take_notice(json.loads(fields["data"]))
        elif "id" in fields:
            self.take_data(fields["data"], fields["id"])

    def take_notice(self, message):
        now = time.time()
        id_of = lambda name: message[name] and parse_id(message[name])
        if message["type"] == "gap":
            gap = Gap(now, id_of("after"), id_of("before"), message["reason"], message["missed"])
            self.record.add(gap)
        elif message["type"] == "live":
            self.record.add(Live(now, id_of("id")))
            self.place_id = self.place_id or message["id"]

    def take_data(self, text, id):
        data = json.loads(text)
        at = data["n"]
        intact = text == self.source.data(at, data["run"]) and data["stream"] == self.source.name
        self.record.add(Event(time.time(), at, id and parse_id(id), intact))
        self.last_id = id
        self.newest = at


def mask(opcode, payload):
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


# --- the world ---------------------------------------------------------------------


class House:
    """A broker's life: .reachable from when it listens to when it is asked to go."""

    def __init__(self, number, server):
        self.number, self.server = number, server
        self.reachable = False


class World:
    def __init__(self, seed, length):
        self.seed, self.length = seed, length
        self.rng = rng = random.Random(seed)
        self.began = time.time()
        self.timeline = []
        self.closing = self.over = False
        self.durability = rng.choice(("appendonly", "empty", "appendonly", "snapshot"))
        self.maxlen = rng.choice((1000, 1000, 200, 40))
        self.pad = rng.choice((1, 300, 3000, 8000))
        self.window_s = rng.choice((60, 60, 1, 2, 4))
        self.settings = dict(
            BOND_RING_SECONDS=self.window_s,
            BOND_RING_BYTES=rng.choice((16 << 20, 65536, 65536, 262144)),
            BOND_WORKERS=rng.choice((1, 2)),
            BOND_STALE_MS=rng.choice((300, 1500)),
            BOND_REDIS_TIMEOUT_MS=rng.choice((500, 5000)),
            BOND_PING_SECONDS=rng.choice((1, 20)),
            BOND_PONG_SECONDS=rng.choice((2, 20)),
        )
        self.redis = Redis(appendonly=self.durability == "appendonly")
        self.redis_up = asyncio.Event()
        self.brokers = [None, None]
        self.gone = []  # brokers of the past
        self.numbers = 0
        kinds = [rng.choice(("clock", "clock", "lower", "behind", "again")) for _ in range(STREAMS)]
        kinds[0] = "clock"
        if self.durability == "snapshot":  # with lower ids nobody can tell old from new
            kinds = ["clock"] * STREAMS
        self.sources = [
            Source(self, f"{kind}-{i}", kind, rng.random()) for i, kind in enumerate(kinds)
        ]
        self.clients = [
            Client(self, source, number, rng.random())
            for source in self.sources
            for number in range(CLIENTS_PER_STREAM)
        ]

    def say(self, text):
        self.timeline.append((time.time(), text))

    def describe(self):
        settings = " ".join(f"{k}={v}" for k, v in self.settings.items())
        ids = " ".join(s.name for s in self.sources)
        return (
            f"seed {self.seed}: redis={self.durability} maxlen={self.maxlen} pad={self.pad} "
            f"streams: {ids}; {settings}"
        )

    # Redis.

    async def start_redis(self):
        self.redis.process = spawn(["redis-server", str(self.redis.dir / "redis.conf")])
        async with asyncio.timeout(seconds(20)):
            while True:
                try:
                    link = await Link.open(self.redis.port)
                    await link.call("PING")
                    link.close()
                    return
                except (*LINK_BROKEN, Answer):
                    await asyncio.sleep(0.01)

    async def all_turns(self, do):
        for source in self.sources:
            await source.turn.acquire()
        try:
            return await do()
        finally:
            for source in self.sources:
                source.turn.release()

    async def kill_redis(self):
        down = self.rng.choice((0, 0.3, 1, 2.5))
        self.say(f"redis: killed, back in {down} s")
        now = time.time()
        end(self.redis.process)
        self.redis_up.clear()

        async def account():
            for source in self.sources:
                source.disconnect()
                if self.durability == "empty":
                    source.reset(now)
                elif self.durability == "snapshot":
                    source.truth.throw_back(now)

        await self.all_turns(account)
        await asyncio.sleep(down)
        await self.start_redis()
        if self.durability == "appendonly":
            for source in self.sources:
                async with source.turn:
                    await source.read_back()
        self.say("redis: up")
        self.redis_up.set()

    async def pause_redis(self):
        length = self.rng.choice((0.2, 0.5, 1, 2, 4))
        self.say(f"redis: stopped for {length} s")
        self.redis.hang()
        await asyncio.sleep(length)
        self.redis.go_on()
        self.say("redis: goes on")

    async def flush(self):
        async def flush():
            link = await Link.open(self.redis.port)
            now = time.time()
            for source in self.sources:
                source.reset(now)
            self.say("redis: FLUSHALL")
            await link.call("FLUSHALL")
            link.close()

        await self.all_turns(flush)

    async def save(self):
        async def save():
            link = await Link.open(self.redis.port)
            await link.call("SAVE")
            self.say("redis: SAVE")
            for source in self.sources:
                source.truth.save()
            link.close()

        await self.all_turns(save)

    async def hurt_stream(self):
        rng, source = self.rng, self.rng.choice(self.sources)
        few = lambda: rng.choice((1, 2, 6, 30))
        keep = lambda: rng.choice((0, 0, 1, 2, 5))
        steps = rng.choice(
            (
                lambda: [("delete",)],
                lambda: [("delete",), ("add", few())],
                lambda: [("add", few()), ("delete",), ("add", few())],
                lambda: [("delete",), ("add", few()), ("trim", keep())],
                lambda: [("trim", keep())],
                lambda: [("add", few()), ("trim", keep())],
                lambda: [("add", few()), ("trim", keep()), ("add", few())],
                lambda: [("add", few()), ("trim", keep()), ("add", few()), ("trim", keep())],
            )
        )()
        async with source.turn:
            last = len(source.truth.entries)
            await source.do(steps)
        self.say(f"{source.name}: {steps}, from #{last} on")

    async def break_redis(self):
        acts = [self.kill_redis] * 2 + [self.pause_redis] * 2 + [self.flush] + [self.hurt_stream] * 6
        if self.durability == "snapshot":
            acts += [self.save] * 2
        while not self.closing:
            await asyncio.sleep(self.rng.choice((0.05, 0.2, 0.5, 1)))
            await self.rng.choice(acts)()

    # Brokers.

    async def start_broker(self, slot):
        self.numbers += 1
        server = Broker(self.redis, **self.settings).launch()
        house = House(self.numbers, server)
        self.brokers[slot] = house
        end_at = time.time() + seconds(20)
        while not server.port_kept.answers():
            if not server.alive() or time.time() > end_at:
                raise Failed(f"broker {house.number} does not start:\n{server.log_text()}")
            await asyncio.sleep(0.01)
        house.reachable = True
        self.say(f"broker {house.number}: listens")

    async def end_broker(self, slot, how):
        house, self.brokers[slot] = self.brokers[slot], None
        server = house.server
        self.gone.append(house)
        if not server.alive():
            raise Failed(f"broker {house.number} ended by itself: {server.process.returncode}")
        server.signal(how)
        end_at = time.time() + seconds(20)
        while server.process.poll() is None:
            if time.time() > end_at:
                raise Failed(f"broker {house.number} does not end")
            await asyncio.sleep(0.02)
        code = server.process.returncode
        self.say(f"broker {house.number}: ended with {code}")
        if code != (0 if how == signal.SIGTERM else -signal.SIGKILL):
            raise Failed(f"broker {house.number}: exit {code}")

    async def break_brokers(self):
        while not self.closing:
            await asyncio.sleep(self.rng.uniform(0.5, 4))
            if self.closing:
                return
            slot = self.rng.randrange(2)
            how = self.rng.choice((signal.SIGKILL, signal.SIGTERM))
            pause = self.rng.choice((0, 0.2, 1))
            self.say(f"broker {self.brokers[slot].number}: {how.name}, another in {pause} s")
            await self.end_broker(slot, how)
            await asyncio.sleep(pause)
            await self.start_broker(slot)

    # All of it.

    async def run(self):
        try:
            try:
                await self._run()
            except BaseExceptionGroup as group:
                raise first_of(group) from None
            self.check_brokers()
            return self.judge()
        except TimeoutError as error:
            raise Failed(self.tell(f"it took too long: {error}")) from error
        except Failed as failed:
            raise Failed(self.tell(str(failed))) from failed
        finally:
            self.remove()

    async def _run(self):
        await self.start_redis()
        self.redis_up.set()
        for slot in range(2):
            await self.start_broker(slot)
        async with asyncio.TaskGroup() as tasks:
            for client in self.clients:
                tasks.create_task(client.live())
            for source in self.sources:
                tasks.create_task(source.publish())
            hands = [tasks.create_task(self.break_redis()), tasks.create_task(self.break_brokers())]
            await asyncio.sleep(self.length)
            self.closing = True
            self.say("all is put right")
            await asyncio.gather(*hands)
            await self.catch_up()
            self.over = True

    async def catch_up(self):
        marks = {}
        end_at = time.time() + seconds(CATCH_UP_SECONDS)
        while True:
            for source in self.sources:
                async with source.turn:
                    await source.do([("add", 1)])
                marks.setdefault(source.name, source.truth.entries[-1].at)
            await asyncio.sleep(0.2)
            late = [c for c in self.clients if c.newest < marks[c.source.name]]
            if not late:
                return
            if time.time() > end_at:
                names = ", ".join(f"{c.name} on {c.source.name} (newest #{c.newest})" for c in late)
                raise Failed(f"they do not come to have the newest event: {names}; {marks}")

    def check_brokers(self):
        for house in self.gone + [b for b in self.brokers if b]:
            house.server.check_sanitizers()
            if house not in self.gone and not house.server.alive():
                raise Failed(f"broker {house.number} ended by itself")

    def judge(self):
        self.verdict = Judge({s.name: s.truth for s in self.sources}, self.window_s)
        violations = self.verdict.run([c.record for c in self.clients])
        if violations:
            lines = [str(v) for v in violations[:20]]
            if len(violations) > 20:
                lines.append(f"… {len(violations)} in all")
            raise Failed("\n".join([*lines, self.around(violations[0])]))
        return self.verdict.notes

    # Telling.

    def clock(self, t):
        return f"{t - self.began:8.3f}"

    def around(self, violation):
        """What happened around the first violation, and what that client had."""
        lines = [f"\nthe timeline around {self.clock(violation.t)}:"]
        for t, text in sorted(self.timeline):
            if violation.t - 6 < t < violation.t + 1:
                lines.append(f"{self.clock(t)} {text}")
        lines.append(f"\nthe record of {violation.client} on {violation.stream}:")
        record = next(
            c.record
            for c in self.clients
            if (c.name, c.source.name) == (violation.client, violation.stream)
        )
        for item in record.items[max(0, violation.item - 12) : violation.item + 3]:
            lines.append(f"{self.clock(item.t)} {item}")
        lines.append(f"\nwhat {violation.stream} was given:")
        source = next(s for s in self.sources if s.name == violation.stream)
        near = [i.at for i in record.items[: violation.item + 1] if isinstance(i, Event)][-2:]
        for e in source.truth.entries[max(0, min(near, default=0) - 3) : max(near, default=0) + 4]:
            removed = f" removed {self.clock(e.removed)} ({e.removed_by})" if e.removed else ""
            lines.append(f"{self.clock(e.sent)} #{e.at} run {e.run} {e.id} sure={e.sure}{removed}")
        return "\n".join(lines)

    def tell(self, text):
        """All that is known, for the one who looks for the cause. Logs are kept."""
        kept = Path(os.environ.get("CHECKER_LOGS", "build/test/checker")) / f"seed-{self.seed}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True, exist_ok=True)
        for house in self.gone + [b for b in self.brokers if b]:
            (kept / f"broker-{house.number}.log").write_text(house.server.log_text())
        (kept / "redis.log").write_text(self.redis.log())
        (kept / "timeline").write_text(
            "\n".join(f"{self.clock(t)} {text}" for t, text in sorted(self.timeline)) + "\n"
        )
        with open(kept / "records", "w") as out:
            for client in self.clients:
                print(f"\n{client.name} on {client.source.name}", file=out)
                for item in client.record.items:
                    print(self.clock(item.t), item, file=out)
        report = f"{self.describe()}\n(began at {self.began:.3f})\n{text}\nlogs: {kept}"
        (kept / "report").write_text(report + "\n")
        return report

    def remove(self):
        for house in self.gone + [b for b in self.brokers if b]:
            end(house.server.process)
            house.server.port_kept.release()
            shutil.rmtree(house.server.dir, ignore_errors=True)
        for source in self.sources:
            source.disconnect()
        self.redis.stop()


def first_of(group):
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


async def run_world(seed, length):
    """Runs one world and judges it: its notes. Raises Failed."""
    world = World(seed, length)
    return world, await world.run()


def main():
    parser = argparse.ArgumentParser(description="Worlds, one after another, until one is violated.")
    parser.add_argument("--seconds", type=float, default=600, help="how long in all (600)")
    parser.add_argument("--seed", type=int, help="of the first world; those after it follow on")
    parser.add_argument("--world", type=float, default=20, help="seconds of one world (20)")
    parser.add_argument("--go-on", action="store_true", help="count the violated worlds instead")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 31)
    end_at = time.time() + options.seconds
    worlds = violated = 0
    while worlds == 0 or time.time() < end_at:
        try:
            world, notes = asyncio.run(run_world(seed, options.world))
        except Failed as failed:
            print(f"\nVIOLATED: {failed}", flush=True)
            violated += 1
            if not options.go_on:
                sys.exit(1)
        else:
            print(world.describe(), flush=True)
            print("  " + ", ".join(f"{k}: {n}" for k, n in sorted(notes.items())), flush=True)
        seed, worlds = seed + 1, worlds + 1
    print(f"{worlds} worlds, {violated} violated (x{SLOW_FACTOR:g})")
    sys.exit(1 if violated else 0)


if __name__ == "__main__":
    main()
