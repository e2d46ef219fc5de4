"""A real browser: headless Chromium with a page whose EventSource reconnects and resumes by
itself, and whose WebSocket negotiates permessage-deflate."""

import http.server
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from urllib.parse import urlencode

import pytest

from harness import Publisher, mint, seconds, spawn, wait_until, ws_path
from told import Sse, checked, sse_path

pytestmark = [
    pytest.mark.timeout(seconds(120)),
    pytest.mark.skipif(
        shutil.which("chromium") is None and "CI" not in os.environ,
        reason="chromium is not installed",
    ),
]

PAGE = b"""<!doctype html><meta charset="utf-8"><title>a page that listens</title><script>
const asked = new URLSearchParams(location.search);
let queue = [], sending = false;

async function report(entry) { // one POST at a time, in order
  queue.push(entry);
  if (sending) return;
  sending = true;
  while (queue.length) {
    const batch = queue;
    queue = [];
    await fetch("/report", { method: "POST", body: JSON.stringify(batch) });
  }
  sending = false;
}

if (asked.get("sse")) {
  const source = new EventSource(asked.get("sse"));
  source.onopen = () => report({ kind: "open" });
  source.onerror = () => report({ kind: "error", state: source.readyState });
  source.onmessage = (e) => report({ kind: "event", id: e.lastEventId, data: e.data });
  for (const kind of ["live", "gap", "source"])
    source.addEventListener(kind, (e) => report({ kind, data: e.data }));
} else {
  const protocols = asked.get("protocols");
  const socket = new WebSocket(asked.get("ws"), protocols ? protocols.split(",") : []);
  socket.onopen = () => {
    report({ kind: "open", extensions: socket.extensions, protocol: socket.protocol });
    socket.send("a compressible message ".repeat(200)); // means nothing
  };
  socket.onmessage = (e) => report({ kind: "message", data: e.data });
  socket.onclose = (e) => report({ kind: "close", code: e.code, reason: e.reason });
}
</script>"""


class Browser:
    """Chromium on one page, and what the page reported so far."""

    FLAGS = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
        " --disable-background-networking --disable-component-update --disable-sync"
        " --disable-dev-shm-usage --disable-extensions --no-default-browser-check"
        " --remote-debugging-port=0"  # without one it would end when the page has loaded
    ).split()

    def __init__(self, **query):
        self.reports = reports = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.answer(200, PAGE)

            def do_POST(self):
                reports.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(200, b"ok")

            def answer(self, status, body):
                self.send_response(status)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.origin = f"http://127.0.0.1:{self.server.server_port}"
        self.profile = tempfile.mkdtemp(prefix="bond-chromium-")
        self.query = query

    def __enter__(self):
        url = f"{self.origin}/?{urlencode(self.query)}"
        argv = ["chromium", *self.FLAGS, f"--user-data-dir={self.profile}", url]
        self.process = spawn(
            argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # it has children; the group is its own
        except ProcessLookupError:
            pass
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def of(self, kind):
        return [r for r in list(self.reports) if r["kind"] == kind]

    def wait(self, kind, count=1, within=30):
        wait_until(
            lambda: len(self.of(kind)) >= count,
            lambda: f"no {count} {kind!r}, but {self.reports[-5:]}",
            within,
        )
        return self.of(kind)


def sse_url(broker, stream, **query):
    return f"http://127.0.0.1:{broker.port}" + sse_path(stream, **query)


def got_numbers(browser):
    return [json.loads(r["data"])["n"] for r in browser.of("event")]


def test_eventsource_resumes_after_a_restart_with_a_long_drain(start, stream):
    """The page is sent away first, and comes back while the others still keep the old broker
    draining. A 503 would end its EventSource for good; a refused connection is tried again."""
    redis = start.redis()
    first = start.broker(redis, BOND_DRAIN_SECONDS=6, BOND_WORKERS=1)
    with Browser(sse=sse_url(first, stream)) as browser:
        browser.wait("live")
        others = [Sse(first, stream) for _ in range(20)]
        for sse in others:
            sse.up_to("live")
        with Publisher(redis, stream, rate=50) as publisher:
            browser.wait("event", 20)
            first.signal(signal.SIGTERM)
            browser.wait("error", within=10)
            assert first.alive(), "the drain is over: nothing was tested"
            assert first.exit_code(within=15) == 0
            second = start.broker(redis, port=first.port_kept)
            seen = len(browser.of("event"))
            browser.wait("event", seen + 50)
            published = publisher.stop()
        wait_until(
            lambda: len(browser.of("event")) >= len(published),
            lambda: f"{len(browser.of('event'))} of {len(published)}: {browser.reports[-3:]}",
            within=30,
        )
        assert got_numbers(browser) == published
        assert browser.of("gap") == []
        assert all(r["state"] == 0 for r in browser.of("error")), "it gave up"
        assert second.alive()
        for sse in others:
            sse.close()


def test_eventsource_resumes_when_the_broker_is_killed_and_replaced(start, stream):
    """Again and again, while events go on: no loss, no duplicate, and no gap either."""
    redis = start.redis()
    broker = start.broker(redis)
    with Browser(sse=sse_url(broker, stream)) as browser:
        browser.wait("live")
        with Publisher(redis, stream, rate=100) as publisher:
            for round_ in range(2):
                count = len(browser.of("event"))
                browser.wait("event", count + 50)
                broker.signal(signal.SIGKILL if round_ == 0 else signal.SIGTERM)
                broker.exit_code()
                browser.wait("error", round_ + 1)
                broker = start.broker(redis, port=broker.port_kept)
                browser.wait("open", round_ + 2)
            sent = publisher.stop()
        wait_until(lambda: got_numbers(browser)[-1] == sent[-1], "the last event did not come", 20)
        assert got_numbers(browser) == sent
        assert browser.of("gap") == []


def test_eventsource_that_has_had_no_event_resumes_too(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_DRAIN_SECONDS=0)
    with Browser(sse=sse_url(broker, stream)) as browser:
        browser.wait("live")
        broker.signal()
        assert broker.exit_code() == 0
        browser.wait("error")
        redis.publish(stream, '{"n": 1}')
        start.broker(redis, port=broker.port_kept)
        browser.wait("live", 2)
        redis.publish(stream, '{"n": 2}')
        browser.wait("event", 2)
        assert got_numbers(browser) == [1, 2]


def test_eventsource_reads_named_events_and_lines(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    with Browser(sse=sse_url(broker, stream)) as browser:
        browser.wait("live")
        id_ = redis.publish(stream, "two\nlines, 流 🔑")
        redis.publish(stream, "")
        assert browser.wait("event", 2)[0] == {
            "kind": "event",
            "id": id_,
            "data": "two\nlines, 流 🔑",
        }
        assert browser.of("event")[1]["data"] == ""
        redis.delete(stream)
        assert checked(browser.wait("gap")[0]["data"])["reason"] == "reset"
        redis.hang()
        assert checked(browser.wait("source")[0]["data"])["state"] == "stale"
        redis.go_on()
        assert checked(browser.wait("source", 2)[1]["data"])["state"] == "ok"


def test_a_page_of_another_origin_gets_nothing(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_ALLOWED_ORIGINS="https://page.example")
    with Browser(sse=sse_url(broker, stream)) as browser:
        assert browser.wait("error")[0]["state"] == 2, "EventSource is closed for good"
    ws = f"ws://127.0.0.1:{broker.port}{ws_path(stream)}"
    with Browser(ws=ws) as browser:
        assert browser.wait("close")[0]["code"] == 1006


def test_an_allowed_page(start, stream):
    redis = start.redis()
    redis.publish(stream, "1")
    browser = Browser()
    broker = start.broker(redis, BOND_ALLOWED_ORIGINS=f"https://page.example,{browser.origin}")
    browser.query = {"sse": sse_url(broker, stream, from_="first")}
    with browser:
        assert browser.wait("event")[0]["data"] == "1"


@pytest.mark.parametrize("form", ["raw", "envelope"])
def test_websocket_with_permessage_deflate(start, stream, form):
    redis = start.redis()
    broker = start.broker(redis)
    events = [json.dumps({"n": n, "pad": "x" * (n * 13 % 900)}) for n in range(300)]
    published = redis.publish_all(stream, events[:100])
    query = {"ws": f"ws://127.0.0.1:{broker.port}{ws_path(stream, from_='first')}"}
    if form == "envelope":
        query["ws"] = f"ws://127.0.0.1:{broker.port}{ws_path(stream, '', from_='first')}"
        query["protocols"] = f"bond.v1,bond.token.{mint(stream)}"
    with Browser(**query) as browser:
        opened = browser.wait("open")[0]
        assert opened["extensions"].startswith("permessage-deflate")
        assert opened["protocol"] == ("bond.v1" if form == "envelope" else "")
        published += redis.publish_all(stream, events[100:])
        got = browser.wait("message", 300 + 2 * (form == "envelope"))
        if form == "raw":
            assert [r["data"] for r in got] == events
        else:
            messages = [checked(r["data"]) for r in got]
            assert [m["id"] for m in messages if m["type"] == "event"] == published
            assert {m["type"] for m in messages} == {"hello", "event", "live"}
        broker.signal()
        closed = browser.wait("close")[0]
        assert closed["code"] == 1001 and "reconnect" in closed["reason"]
    assert broker.exit_code() == 0
