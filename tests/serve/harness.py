"""What the tests stand on: waits with a deadline, ports that nobody else takes,
a real redis-server, a real broker, tokens as Bond's API mints them, and clients.

Tests wait for conditions, never for time. Where a wait needs an end, it is
seconds(n): n times BOND_SLOW_FACTOR, so that a sanitizer's binary gets more.
"""

import asyncio
import copy
import ctypes
import hashlib
import hmac
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import redis as redis_py
import websockets

ROOT = Path(__file__).resolve().parents[2]
BINARY = str(Path(os.environ.get("BOND_BROKER_BIN", ROOT / "build" / "bond-broker")).resolve())
SLOW_FACTOR = float(os.environ.get("BOND_SLOW_FACTOR", "1"))
SECRET = "a-secret-for-tests-2f6c"
SANITIZER_REPORT = re.compile(
    r"(ERROR: (Address|Leak|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|CHECK failed)"
)


# --- waiting -----------------------------------------------------------------


def seconds(n):
    return n * SLOW_FACTOR


def _describe(message):
    return message() if callable(message) else message


def wait_until(condition, message, within=10):
    """Returns the first true answer of condition(); fails with message after `within`."""
    end = time.monotonic() + seconds(within)
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"after {seconds(within):g} s: {_describe(message)}"
        time.sleep(0.01)


async def until(condition, message, within=10):
    """wait_until for coroutines: clients go on being served meanwhile."""
    end = time.monotonic() + seconds(within)
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"after {seconds(within):g} s: {_describe(message)}"
        await asyncio.sleep(0.01)


# --- tokens and addresses ----------------------------------------------------


def sign(stream, expiry, secret=SECRET):
    return hmac.new(secret.encode(), f"{stream}.{expiry}".encode(), hashlib.sha256).hexdigest()


def mint(stream, ttl=3600, secret=SECRET, digits=16, expiry=None):
    """As Bond's API does it; digits=64 is the whole signature."""
    expiry = int(time.time() + ttl) if expiry is None else expiry
    return f"{expiry}.{sign(stream, expiry, secret)[:digits]}"


def ws_path(stream, token=None, **query):
    """/ws/… with a good token unless one is given; from_= and after= as they are spelled.
    token="" leaves it out."""
    token = mint(stream) if token is None else token
    pairs = ([("token", token)] if token else []) + [
        (name.rstrip("_"), value) for name, value in query.items()
    ]
    return f"/ws/{quote(stream, safe='')}" + (f"?{urlencode(pairs)}" if pairs else "")


class Port:
    """A free loopback port, kept: the socket is bound but does not listen, so the
    kernel gives the port to no one else, while a server with SO_REUSEADDR may
    listen on it, stop, and listen again."""

    def __init__(self):
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", 0))
        self.number = self.holder.getsockname()[1]

    def answers(self):
        with socket.socket() as s:
            s.settimeout(seconds(1))
            return s.connect_ex(("127.0.0.1", self.number)) == 0

    def release(self):
        self.holder.close()


# --- processes ---------------------------------------------------------------

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def spawn(argv, files=None, **popen):
    """A child that dies with us, whatever becomes of us. Call it from the main
    thread: the kernel's promise is about the thread that forked."""
    assert threading.current_thread() is threading.main_thread()

    def before_exec():
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    return subprocess.Popen(argv, preexec_fn=before_exec, stdin=subprocess.DEVNULL, **popen)


def end(process):
    """Kills by process id, if it is still there, and reaps."""
    if process is not None and process.poll() is None:
        process.kill()
    if process is not None:
        process.wait()


# --- Redis -------------------------------------------------------------------


class Redis:
    """A redis-server of our own, on a port that stays ours while it is down.

    appendonly   every write is on disk before it is answered
    password     requirepass
    unix         listens on a socket, .socket, too
    tls          listens with TLS on the port instead, see certificates()
    config       further lines of redis.conf
    """

    def __init__(self, appendonly=False, password=None, unix=False, tls=None, config=()):
        self.dir = Path(tempfile.mkdtemp(prefix="bond-redis-"))
        self.port_kept = Port()
        self.port = self.port_kept.number
        self.password = password
        self.tls = tls
        self.socket = self.dir / "redis.sock" if unix else None
        lines = [
            "bind 127.0.0.1",
            f"dir {self.dir}",
            f"logfile {self.dir}/redis.log",
            'save ""',
            f"appendonly {'yes' if appendonly else 'no'}",
            "appendfsync always",
            "repl-diskless-sync-delay 0",
            "repl-timeout 60",
        ]
        if tls:
            lines += [
                "port 0",
                f"tls-port {self.port}",
                f"tls-cert-file {tls.cert}",
                f"tls-key-file {tls.key}",
                f"tls-ca-cert-file {tls.ca}",
                "tls-auth-clients no",
            ]
        else:
            lines += [f"port {self.port}"]
        if password:
            lines += [f"requirepass {password}", f"masterauth {password}"]
        if unix:
            lines += [f"unixsocket {self.socket}"]
        self.configure(*lines, *config)
        self.process = None

    @property
    def url(self):
        user = f":{self.password}@" if self.password else ""
        return f"{'rediss' if self.tls else 'redis'}://{user}127.0.0.1:{self.port}/0"

    def connect(self, **options):
        """A client of our own; its connections are named so that they can be told apart."""
        if self.tls:
            options = dict(ssl=True, ssl_ca_certs=str(self.tls.ca)) | options
        return redis_py.Redis(
            **dict(
                host="127.0.0.1",
                port=self.port,
                password=self.password,
                client_name="test",
                socket_timeout=seconds(10),
            )
            | options
        )

    # Its life.

    def start(self):
        self.process = spawn(["redis-server", str(self.dir / "redis.conf")])
        self.client = self.connect()
        wait_until(self._pongs, lambda: "redis-server did not start: " + self.log(), within=20)
        return self

    def _pongs(self):
        assert self.process.poll() is None, "redis-server ended: " + self.log()
        try:
            return self.client.ping()
        except (redis_py.ConnectionError, redis_py.TimeoutError):
            return False

    def kill(self):
        """As a power cut: what was not written to disk is lost."""
        end(self.process)
        self.process = None

    def restart(self, keep_data=True):
        """Kills it if it runs, and starts it on the same port. Without appendonly there
        is no data to keep; with it, keep_data=False throws it away."""
        self.kill()
        if not keep_data:
            shutil.rmtree(self.dir / "appendonlydir", ignore_errors=True)
        return self.start()

    def configure(self, *lines):
        """Adds lines to its configuration, for the next start."""
        with open(self.dir / "redis.conf", "a") as config:
            config.write("\n".join(lines) + "\n")

    def hang(self):
        """It answers no one, but its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.kill()
        self.port_kept.release()
        shutil.rmtree(self.dir, ignore_errors=True)

    def log(self):
        path = self.dir / "redis.log"
        return path.read_text(errors="replace") if path.exists() else "(no log)"

    # What tests do with it.

    def publish(self, stream, data, id="*", field="data", maxlen=None):
        """XADD as Bond's API does it; the event's id, as text."""
        return self.client.xadd(
            f"stream:{stream}", {field: data}, id=id, maxlen=maxlen, approximate=True
        ).decode()

    def publish_all(self, stream, events, id="*"):
        pipe = self.client.pipeline(transaction=False)
        for event in events:
            pipe.xadd(f"stream:{stream}", {"data": event}, id=id)
        return [answer.decode() for answer in pipe.execute()]

    def limited(self, rules):
        """The URL of a user with those ACL rules."""
        self.client.execute_command(f"ACL SETUSER limited on >pw &* {rules}")
        return f"redis://limited:pw@127.0.0.1:{self.port}/0"

    def delete(self, stream):
        """Behind it ids are new: within the same millisecond Redis would give an old one
        to another event. (test_churn.py does without the wait.)"""
        self.client.delete(f"stream:{stream}")
        time.sleep(0.002)

    def calls(self, *commands):
        """How often these commands ran, all of them together."""
        stats = self.client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in commands)

    def others(self):
        """The connections of everyone but ourselves and replicas."""
        return [
            c
            for c in self.client.client_list()
            if c["name"] != "test" and not set(c["flags"]) & set("SM")
        ]


class Certificates:
    """A private authority and what it signed, made by openssl in a directory of its own:
    .ca, .cert and .key for 127.0.0.1 and localhost, .wrong_cert and .wrong_key for
    another host, .other_ca that signed neither."""

    def __init__(self):
        self.dir = Path(tempfile.mkdtemp(prefix="bond-tls-"))
        self.ca = self._authority("ca")
        self.other_ca = self._authority("other_ca")
        self.cert, self.key = self._sign("server", "DNS:localhost,IP:127.0.0.1")
        self.wrong_cert, self.wrong_key = self._sign("wrong", "DNS:redis.example")

    def _openssl(self, *args):
        subprocess.run(["openssl", *map(str, args)], cwd=self.dir, check=True, capture_output=True)

    def _authority(self, name):
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2"),
            *("-subj", f"/CN={name}"),
        )
        return self.dir / f"{name}.pem"

    def _sign(self, name, names):
        (self.dir / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self._openssl(
            *("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=redis"),
        )
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext"),
        )
        return self.dir / f"{name}.pem", self.dir / f"{name}.key"

    def wrong_host(self):
        """The same, but the server shows the certificate of another host."""
        other = copy.copy(self)
        other.cert, other.key = self.wrong_cert, self.wrong_key
        return other

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Proxy:
    """A TCP proxy before Redis, as a service address in a cluster: switch() moves it to
    another server and cuts what is open; freeze() keeps connections and moves no byte.
    rate: bytes per second that Redis's answers trickle with, each connection's."""

    def __init__(self, target, rate=None):
        self.target = target
        self.rate = rate
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.flowing = threading.Event()
        self.flowing.set()
        self.pairs = []
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return  # stop() closed it
            self.accepted += 1
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self.pairs.append((near, far))
            for source, sink, rate in ((near, far, None), (far, near, self.rate)):
                threading.Thread(target=self._pump, args=(source, sink, rate), daemon=True).start()

    def _pump(self, source, sink, rate):
        at_once = max(1, rate // 50) if rate else 65536
        try:
            while data := source.recv(at_once):
                self.flowing.wait()
                sink.sendall(data)
                if rate:
                    time.sleep(len(data) / rate)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends every open connection."""
        for pair in self.pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []

    def switch(self, target):
        self.target = target
        self.cut()

    def freeze(self):
        self.flowing.clear()

    def thaw(self):
        self.flowing.set()

    def stop(self):
        self.listener.close()
        self.flowing.set()
        self.cut()


# --- the broker --------------------------------------------------------------


def clean_env(**settings):
    """No setting of the person who runs the tests leaks in; None takes one of ours out."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    sanitizers = {
        "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:" + os.environ.get("ASAN_OPTIONS", ""),
        "UBSAN_OPTIONS": "print_stacktrace=1:" + os.environ.get("UBSAN_OPTIONS", ""),
        "TSAN_OPTIONS": "exitcode=66:" + os.environ.get("TSAN_OPTIONS", ""),
    }
    if "LSAN_OPTIONS" in os.environ:
        sanitizers["LSAN_OPTIONS"] = os.environ["LSAN_OPTIONS"]
    given = {k: str(v) for k, v in settings.items() if v is not None}
    return {k: v for k, v in (kept | sanitizers | given).items() if settings.get(k, v) is not None}


def run_cli(*args, stdin="", **settings):
    """Runs a command of the binary to its end: .returncode, .stdout, .stderr."""
    result = subprocess.run(
        [BINARY, *args],
        input=stdin,
        env=clean_env(**settings),
        capture_output=True,
        text=True,
        timeout=seconds(20),
    )
    assert not SANITIZER_REPORT.search(result.stderr), result.stderr
    return result


def is_sanitizer_build():
    """Such a binary hoards freed memory, so what it weighs says nothing."""
    binary = Path(BINARY).read_bytes()
    return b"__asan_init" in binary or b"__tsan_init" in binary


_LOG_PAIR = re.compile(r'([A-Za-z_][\w.-]*)=("(?:[^"\\]|\\.)*"|\S*)')


def parse_log_line(line):
    if line.startswith("{"):
        return json.loads(line)
    unquote = lambda v: re.sub(r"\\(.)", r"\1", v[1:-1]) if v.startswith('"') else v
    return {key: unquote(value) for key, value in _LOG_PAIR.findall(line)}


class Broker:
    """The real binary on a port of its own. Settings are environment variables:
    Broker(redis, BOND_RING_SECONDS=5). redis may be a URL, or None for no REDIS_URL.
    args: the command line. files: the limit of descriptors. port: another's, gone by now."""

    def __init__(self, redis, args=(), files=None, port=None, **settings):
        self.port_kept = port or Port()
        self.port = self.port_kept.number
        self.args = list(args)
        self.files = files
        url = getattr(redis, "url", redis)
        self.env = clean_env(
            **dict(
                REDIS_URL=url,
                BOND_SECRET=SECRET,
                BOND_HOST="127.0.0.1",
                BOND_PORT=self.port,
                BOND_DRAIN_SECONDS=1,
            )
            | settings
        )
        self.dir = Path(tempfile.mkdtemp(prefix="bond-broker-"))
        self.process = None
        self.ended = False  # a test has ended it itself, and looked at how

    # Its life.

    def launch(self):
        """Starts it and waits for nothing."""
        with open(self.dir / "stderr", "ab") as stderr:
            self.process = spawn(
                [BINARY, *self.args],
                files=self.files,
                env=self.env,
                stdout=stderr,
                stderr=stderr,
                cwd=self.dir,
            )
        return self

    def start(self, ready=True):
        """Starts it and waits until it listens, or, ready=True, until it reads Redis."""
        self.launch()
        wait_until(self._listens, lambda: "the broker does not listen:\n" + self.log_text(), 20)
        if ready:
            wait_until(
                lambda: self.ready() == 200,
                lambda: "/ready is not 200:\n" + self.log_text(),
                within=20,
            )
        return self

    def _listens(self):
        self.ended = self.process.poll() is not None
        assert not self.ended, (
            f"the broker ended with {self.process.returncode}:\n" + self.log_text()
        )
        return self.port_kept.answers()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number=signal.SIGTERM):
        """Asks it to end; the test looks at how it does."""
        self.ended = True
        self.process.send_signal(number)

    def exit_code(self, within=10):
        """Waits for its end."""
        try:
            return self.process.wait(seconds(within))
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the broker still runs after {seconds(within):g} s:\n" + self.log_text()
            ) from None

    def stop(self):
        """The end of every test: SIGTERM must give exit 0, and no sanitizer complains."""
        try:
            if self.process is None:
                return
            if not self.ended:
                assert self.alive(), (
                    f"the broker ended with {self.process.returncode} during the test:\n"
                    + self.log_text()
                )
                self.signal(signal.SIGTERM)
                code = self.exit_code(within=15)
                assert code == 0, f"exit {code} on SIGTERM:\n" + self.log_text()
            self.check_sanitizers()
        finally:
            end(self.process)
            self.port_kept.release()
            shutil.rmtree(self.dir, ignore_errors=True)

    def check_sanitizers(self):
        text = self.log_text()
        assert not SANITIZER_REPORT.search(text), text

    # What it says.

    def log_text(self):
        path = self.dir / "stderr"
        return path.read_text(errors="replace") if path.exists() else ""

    def log(self, event=None):
        """The log lines so far as dicts, or those of one event."""
        lines = [parse_log_line(line) for line in self.log_text().splitlines()]
        return [line for line in lines if event is None or line.get("event") == event]

    def wait_log(self, words, within=10):
        """Waits for a log line that holds all these words, and returns it as a dict."""
        words = [words] if isinstance(words, str) else words

        def find():
            for line in self.log_text().splitlines():
                if all(word in line for word in words):
                    return parse_log_line(line)

        return wait_until(
            find, lambda: f"no log line with {words}:\n" + self.log_text(), within
        )

    # How to reach it.

    def ready(self):
        """The status of /ready; None when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds(10))
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def url(self, stream, **query):
        return f"ws://127.0.0.1:{self.port}" + ws_path(stream, **query)

    def connect(self, stream, headers=(), subprotocols=None, compression=None, **query):
        """`async with broker.connect(stream, from_="first") as ws:` with Python's websockets."""
        return websockets.connect(
            self.url(stream, **query),
            extra_headers=list(headers),
            subprotocols=subprotocols,
            compression=compression,
            ping_interval=None,
            max_size=None,
            max_queue=None,
            open_timeout=seconds(10),
            close_timeout=seconds(2),
        )

    def memory_kb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


# --- what clients got --------------------------------------------------------


async def receive(ws, count, within=10):
    """The next `count` messages."""
    got = []
    try:
        async with asyncio.timeout(seconds(within)):
            while len(got) < count:
                got.append(await ws.recv())
    except TimeoutError:
        raise AssertionError(f"{len(got)} of {count} messages came: {got[-3:]}") from None
    return got


async def receive_up_to(ws, last, within=20):
    """All messages until `last` has come, that one included."""
    got = []
    try:
        async with asyncio.timeout(seconds(within)):
            while not got or got[-1] != last:
                got.append(await ws.recv())
    except TimeoutError:
        raise AssertionError(f"{last!r} never came; {len(got)} others: {got[-3:]}") from None
    return got


async def close_of(ws, within=10):
    """Reads until the broker closes: (code, reason)."""
    try:
        async with asyncio.timeout(seconds(within)):
            while True:
                await ws.recv()
    except websockets.ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (None, None)
    except TimeoutError:
        raise AssertionError("the broker does not close the connection") from None


class Publisher:
    """Publishes numbered events from a thread of its own, and keeps what Redis
    acknowledged: `with Publisher(redis, stream): …`. With rate=None at full speed,
    `batch` events a round trip. The first number follows `behind`."""

    def __init__(self, redis, stream, rate=None, batch=20, behind=0):
        self.client = redis.connect()
        self.stream, self.rate, self.batch = stream, rate, batch
        self.acknowledged = []
        self.failures = 0
        self.number = behind
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _next_event(self):
        self.number += 1
        return json.dumps({"n": self.number})

    def _run(self):
        while not self.stopping.is_set():
            numbers = []
            pipe = self.client.pipeline(transaction=False)
            for _ in range(self.batch if self.rate is None else 1):
                pipe.xadd(f"stream:{self.stream}", {"data": self._next_event()})
                numbers.append(self.number)
            try:
                answers = pipe.execute(raise_on_error=False)
                self.acknowledged += [
                    n for n, a in zip(numbers, answers) if not isinstance(a, Exception)
                ]
            except (redis_py.RedisError, OSError):
                self.failures += 1
                self.stopping.wait(0.05)
            if self.rate is not None:
                self.stopping.wait(1 / self.rate)

    def __enter__(self):
        self.thread.start()
        return self

    def stop(self):
        self.stopping.set()
        self.thread.join()
        return self.acknowledged

    def __exit__(self, *_):
        self.stop()
        self.client.close()


def numbers(messages):
    """The numbers of a Publisher's events."""
    return [json.loads(m)["n"] for m in messages]
