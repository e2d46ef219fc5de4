"""/metrics and /stats: every metric is there and moves when it should, in the forms that
Prometheus reads."""

import json
import os
import shutil
import subprocess
import time

import pytest

from harness import Port, end, mint, receive, seconds, spawn, until, wait_until, ws_path
from metrics import Metrics, parse
from told import history_path, sse_path
from wire import TEXT, RawWs, Wire, get, request, upgrade, upgrade_head


def needs(program):
    """Not what `make test` installs on a machine of one's own; CI has it, and must."""
    missing = shutil.which(program) is None and not os.environ.get("CI")
    why = f"{program} is not installed: tools/deps metrics (CI has it)"
    return pytest.mark.skipif(missing, reason=why)


needs_promtool, needs_prometheus = needs("promtool"), needs("prometheus")

LAG_SURVEY = 3  # seconds in which a survey of lagging clients surely begins and ends


# The forms.


@needs_promtool
def test_promtool_is_content(broker):
    text = get(broker.port, "/metrics").body
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=seconds(20)
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_text_of_prometheus(broker):
    reply = get(broker.port, "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    text = reply.body.decode()
    assert "# TYPE bond_connections_accepted_total counter\n" in text
    assert 'bond_build_info{version="' in text
    helps = [line for line in text.splitlines() if line.startswith("# HELP")]
    types = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(helps) == len(types) > 40


PROMETHEUS_ACCEPT = (
    "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
    "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def test_openmetrics_where_it_is_asked_for(broker):
    reply = get(broker.port, "/metrics", PROMETHEUS_ACCEPT)
    assert reply.headers["content-type"] == (
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    )
    text = reply.body.decode()
    assert text.endswith("\n# EOF\n")
    assert "# TYPE bond_sent_bytes counter\n" in text and "# UNIT bond_sent_bytes bytes\n" in text
    same = {name for name, _ in parse(text.removesuffix("# EOF\n"))}
    assert same == {name for name, _ in parse(get(broker.port, "/metrics").body.decode())}


@pytest.mark.parametrize("accept", ["text/plain", "*/*", "application/openmetrics-text;q=0"])
def test_the_text_for_all_others(broker, accept):
    reply = get(broker.port, "/metrics", f"Accept: {accept}")
    assert reply.headers["content-type"].startswith("text/plain")


def test_stats_are_the_same_as_json(broker):
    reply = get(broker.port, "/stats")
    assert reply.headers["content-type"] == "application/json"
    stats = reply.json()
    assert stats["service"] == "broker" and abs(stats["time_ms"] / 1000 - time.time()) < 10
    metrics = stats["metrics"]
    assert metrics["redis_up"][0]["value"] == 1 and metrics["process_open_fds"] > 5
    assert set(metrics["delivery_latency_seconds"]) == {"count", "sum", "buckets"}
    text_names = {n for n, _ in parse(get(broker.port, "/metrics").body.decode())}
    for name in metrics:
        assert f"bond_{name}" in text_names | {f"bond_{n}" for n in text_names} or any(
            n in text_names for n in (name, f"bond_{name}_count")
        )


def test_several_reports_on_one_connection(broker):
    """Chunked replies end where they say they do, and the connection goes on behind them."""
    with Wire(broker.port) as wire:
        for path in ("/metrics", "/stats", "/streams", "/health", "/metrics"):
            wire.send(f"GET {path} HTTP/1.1\r\nHost: broker\r\n\r\n".encode())
        for _ in range(5):
            assert wire.reply().status == 200


def test_a_report_over_http_1_0_ends_with_its_connection(broker):
    with Wire(broker.port) as wire:
        wire.send(b"GET /metrics HTTP/1.0\r\n\r\n")
        head, _, body = wire.rest().partition(b"\r\n\r\n")
        assert b"Transfer-Encoding" not in head
        assert parse(body.decode())


@pytest.mark.parametrize("path", ["/metrics", "/stats", "/streams"])
@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS"])
def test_reports_are_only_got(broker, path, method):
    reply = request(broker.port, method, path)
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


def test_who_hangs_up_in_the_middle_of_a_report_hurts_nobody(broker):
    for path in ("/metrics", "/streams"):
        wire = Wire(broker.port)
        wire.send(f"GET {path} HTTP/1.1\r\nHost: broker\r\n\r\n".encode())
        wire.reset()
    assert get(broker.port, "/metrics").status == 200


# Each metric moves when it should.


async def test_clients_events_and_writes(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    m = Metrics(broker)
    async with broker.connect(stream) as raw, broker.connect(stream, format="envelope") as told:
        sse = Wire(broker.port)
        sse.send(f"GET {sse_path(stream)} HTTP/1.1\r\nHost: broker\r\n\r\n".encode())
        await until(lambda: m("bond_clients", route="sse", format="sse") == 1, "no SSE client")
        assert m("bond_clients", route="ws", format="raw") == 1
        assert m("bond_clients", route="ws", format="envelope") == 1
        assert m("bond_subscriptions") == 3
        assert m("bond_streams_followed") == 1
        await until(lambda: m("bond_connections") == 4, "not the three, and we who ask")
        for n in range(5):
            redis.publish(stream, json.dumps({"n": n}))
        await receive(raw, 5)
        await receive(told, 7)
        await until(lambda: m.grew("bond_events_delivered_total") == 15, "not all were counted")
        assert m.grew("bond_events_read_total") == 5
        assert m.grew("bond_writes_total") >= 9 and m.grew("bond_sent_bytes_total") > 200
        await until(lambda: m.grew("bond_delivery_latency_seconds_count") >= 3, "no latency")
        assert m("bond_delivery_latency_seconds_sum") < 5
        assert m("bond_ring_bytes") > 0
        sse.close()
    await until(lambda: m("bond_subscriptions") == 0, "clients that left are counted")
    assert m("bond_clients") == 0
    await until(lambda: m("bond_connections") == 1, "connections that ended are counted")
    assert m.grew("bond_connections_accepted_total") > 3
    assert m.grew("bond_connections_closed_total", code="1000") == 2
    assert m.grew("bond_connections_closed_total", code="none") > 1


async def test_ids_that_are_no_times_have_no_latency(broker, redis, stream):
    m = Metrics(broker)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "a", id="5-1")
        redis.publish(stream, "b", id="5-2")
        await receive(ws, 2)
        await until(lambda: m.grew("bond_events_delivered_total") == 2, "not all were counted")
        redis.publish(stream, "c")  # an id that is a time
        await until(lambda: m.grew("bond_delivery_latency_seconds_count") > 0, "no latency")
        assert m.grew("bond_delivery_latency_seconds_count") == 1


async def test_a_replay_is_no_latency(broker, redis, stream):
    redis.publish_all(stream, ["x"] * 10)
    m = Metrics(broker)
    async with broker.connect(stream, from_="first") as ws:
        await receive(ws, 10)
        assert m.grew("bond_delivery_latency_seconds_count") == 0


async def test_compressed_bytes(broker, redis, stream):
    m = Metrics(broker)
    async with broker.connect(stream, compression="deflate") as ws:
        assert m("bond_clients", route="ws", format="raw_deflated") == 1
        redis.publish(stream, "abc" * 500)
        await receive(ws, 1)
        assert m.grew("bond_compression_input_bytes_total") == 1500
        assert 0 < m.grew("bond_compression_output_bytes_total") < 200


def test_refusals_by_code(broker, stream):
    m = Metrics(broker)
    get(broker.port, f"/sse/{stream}")
    get(broker.port, sse_path(stream, token="1.x"))
    get(broker.port, sse_path(stream, token=mint(stream, secret="another")))
    get(broker.port, sse_path(stream, token=mint(stream, ttl=-10)))
    get(broker.port, sse_path(stream, from_="yesterday"))
    get(broker.port, ws_path(stream))
    upgrade(broker.port, "/nope")
    with Wire(broker.port) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: broker\r\nX: " + b"x" * 9000 + b"\r\n\r\n")
        assert wire.reply().status == 431
    get(broker.port, "/streams?limit=0")
    for code, count in {
        "token_missing": 1,
        "token_malformed": 1,
        "token_invalid": 1,
        "token_expired": 1,
        "bad_request": 2,
        "upgrade_required": 1,
        "not_found": 1,
        "head_too_large": 1,
        "other": 0,
    }.items():
        assert m.grew("bond_requests_refused_total", code=code) == count, code


def test_skipped_events_by_reason(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_EVENT_BYTES=1024)
    m = Metrics(broker)
    redis.publish(stream, b"\xff")
    redis.publish(stream, "x" * 2000)
    assert get(broker.port, history_path(stream)).json()["events"] == []
    assert m.grew("bond_events_skipped_total", reason="not_utf8") == 1
    assert m.grew("bond_events_skipped_total", reason="too_big") == 1


async def test_gaps_trimmed_reset_and_window(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_SECONDS=2)
    m = Metrics(broker)
    redis.publish(stream, "long ago", id=f"{int((time.time() - 60) * 1000)}-0")
    async with broker.connect(stream, format="envelope", from_="now-1h"):
        assert m.grew("bond_gaps_total", reason="window") == 1
        redis.publish(stream, "a")
        await until(lambda: m.grew("bond_events_read_total") >= 1, "it was not read")
        redis.delete(stream)
        await until(lambda: m.grew("bond_gaps_total", reason="reset") == 1, "no reset")
        redis.publish(stream, "b")
        await until(lambda: m.grew("bond_events_read_total") >= 2, "it was not read")
        pipe = redis.client.pipeline()  # all at once, and all but the last is gone again
        for _ in range(9):
            pipe.xadd(f"stream:{stream}", {"data": "c"})
        pipe.xtrim(f"stream:{stream}", maxlen=1, approximate=False)
        pipe.execute()
        await until(lambda: m.grew("bond_gaps_total", reason="trimmed") == 1, "not trimmed")


def stalled(broker, stream, **query):
    """A client that reads nothing from now on."""
    return RawWs(broker, stream, rcvbuf=4096, **query)


def test_lag_of_a_client_that_reads_nothing(start, stream):
    """And of none when it has gone: the figures are of the last survey."""
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=64 << 20)
    m = Metrics(broker)
    ws = stalled(broker, stream)
    redis.publish_all(stream, ["x" * 100_000] * 100)
    wait_until(lambda: m("bond_clients_lagging") == 1, "nobody lags", within=LAG_SURVEY * 4)
    assert m("bond_client_lag_max_events") > 5 and m("bond_client_lag_max_bytes") > 500_000
    wait_until(lambda: m("bond_client_lag_max_seconds") > 0.5, "the lag has no age")
    far = m("bond_client_lag_events_count") - m("bond_client_lag_events_bucket", le="4")
    assert far >= 1
    assert m("bond_client_lag_seconds_sum") > 0 and m("bond_client_lag_bytes_sum") > 500_000
    listed = get(broker.port, "/streams").json()["streams"][0]
    assert listed["slowest_lag_events"] > 5 and listed["slowest_lag_s"] > 0
    ws.reset()
    wait_until(lambda: m("bond_clients_lagging") == 0, "who has gone lags still")
    assert m("bond_client_lag_max_events") == m("bond_client_lag_max_bytes") == 0


def test_each_client_is_a_sample_of_each_survey(broker, stream):
    m = Metrics(broker)
    with RawWs(broker, stream), RawWs(broker, stream):
        wait_until(lambda: m.grew("bond_client_lag_events_count") >= 4, "clients are no samples")
        assert m.grew("bond_client_lag_seconds_bucket", le="+Inf") >= 4


@pytest.mark.parametrize("slow", ["close", "skip"])
def test_falling_behind(start, stream, slow):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=1 << 20)
    m = Metrics(broker)
    with stalled(broker, stream, slow=slow):
        for _ in range(20):
            redis.publish_all(stream, ["x" * 50_000] * 20)
            if m.grew("bond_gaps_total", reason="slow"):
                break
        wait_until(lambda: m.grew("bond_gaps_total", reason="slow") >= 1, "nobody fell behind")
        closed = m.grew("bond_connections_closed_total", code="4008")
        passed_over = m.grew("bond_events_passed_over_total")
        assert (closed, passed_over > 0) == ((1, False) if slow == "close" else (0, True))
    assert m.grew("bond_ring_shortenings_total") > 0
    wait_until(lambda: m("bond_ring_shortfall_seconds") > 0, "the window lacks nothing")
    assert m("bond_ring_span_seconds") < m("bond_ring_window_seconds") == 60


def many(port, streams, **net):
    """A socket of many streams that has subscribed to these, as far as `live`."""
    ws = RawWs.__new__(RawWs)
    Wire.__init__(ws, port, **net)
    ws.send(upgrade_head("/ws"))
    assert ws.reply().status == 101
    items = [{"stream": name, "token": mint(name)} for name in streams]
    ws.frame(TEXT, json.dumps({"type": "subscribe", "streams": items}))
    live = 0
    while live < len(streams):
        live += json.loads(ws.next_text())["type"] == "live"
    return ws


def test_a_socket_of_many_streams_is_one_client(broker, redis, stream):
    m = Metrics(broker)
    names = [f"{stream}-{n}" for n in range(3)]
    with many(broker.port, names) as ws:
        wait_until(lambda: m("bond_subscriptions") == 3, "not one for each stream")
        assert m("bond_clients", route="ws", format="envelope") == 1 == m("bond_clients")
        listed = get(broker.port, f"/streams?match={stream}-*&sort=stream").json()["streams"]
        assert [(s["stream"], s["listeners"]) for s in listed] == [(n, 1) for n in names]
        for name in names:
            redis.publish(name, "1")
            assert json.loads(ws.next_text())["type"] == "event"
        wait_until(lambda: m.grew("bond_events_delivered_total") == 3, "not all were counted")
        ws.frame(TEXT, json.dumps({"type": "unsubscribe", "streams": names[:1]}))
        ws.frame(TEXT, json.dumps({"type": "unsubscribe", "streams": names[:1]}))
        assert [json.loads(ws.next_text())["type"] for _ in range(2)] == ["unsubscribed", "refused"]
        wait_until(lambda: m("bond_subscriptions") == 2, "a seat that ended is counted")
        assert m.grew("bond_requests_refused_total", code="not_subscribed") == 1
    wait_until(lambda: m("bond_subscriptions") == m("bond_clients") == 0, "who left is counted")


def test_falling_behind_on_one_stream_of_many(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_RING_BYTES=256 * 1024, BOND_WORKERS=1)
    m = Metrics(broker)
    with many(broker.port, [stream, stream + "-quiet"], rcvbuf=4096):
        for _ in range(60):
            redis.publish_all(stream, [json.dumps("x" * 50_000)] * 20)
            if m.grew("bond_subscriptions_behind_total"):
                break
        wait_until(lambda: m.grew("bond_subscriptions_behind_total") == 1, "nobody fell behind")
        assert m.grew("bond_gaps_total", reason="slow") == 1
        assert m.grew("bond_connections_closed_total", code="4008") == 0
        assert m("bond_subscriptions") == 1


def test_what_waits_outside_the_rings(start, stream):
    """Replies to requests that nobody reads: the outbox."""
    redis = start.redis()
    broker = start.broker(redis, BOND_WORKERS=1)
    m = Metrics(broker)
    redis.publish_all(stream, ["x" * 500_000] * 6)
    with Wire(broker.port, rcvbuf=4096) as wire:
        wire.send(f"GET {history_path(stream)} HTTP/1.1\r\nHost: broker\r\n\r\n".encode())
        wait_until(lambda: m("bond_clients", route="history") == 1, "no history is being read")
        wait_until(lambda: m("bond_outbox_bytes") > 400_000, "nothing waits")
    wait_until(lambda: m("bond_outbox_bytes") < 100_000, "it waits for nobody")


def test_ping_timeouts(start, stream):
    broker = start.broker(start.redis(), BOND_PING_SECONDS=1, BOND_PONG_SECONDS=1)
    m = Metrics(broker)
    with RawWs(broker, stream):  # which answers no ping
        wait_until(lambda: m.grew("bond_ping_timeouts_total") == 1, "it is still there")
        assert m.grew("bond_connections_closed_total", code="1011") == 1


async def test_redis(start, stream):
    redis = start.redis()
    broker = start.broker(redis)
    m = Metrics(broker)
    source = f"127.0.0.1:{redis.port}"
    assert m("bond_redis_up", source=source) == m("bond_redis_tracking", source=source) == 1
    assert m("bond_redis_connects_total") == 1 and m("bond_redis_reconnects_total") == 0
    assert m("bond_ready") == 1 and abs(m("bond_redis_clock_difference_seconds")) < 1
    async with broker.connect(stream) as ws:
        for n in range(30):
            redis.publish(stream, str(n))
            await receive(ws, 1)
        assert m.grew("bond_redis_checks_total") >= 1 and m.grew("bond_redis_reads_total") >= 1
        assert m.grew("bond_redis_hotline_reads_total") >= 1
        assert m.grew("bond_redis_round_trip_seconds_count", source=source) >= 2
        redis.kill()
        await until(lambda: m("bond_redis_up") == 0, "Redis is gone and counts as up")
        assert m("bond_ready") == 0
        redis.start()
        await until(lambda: m("bond_redis_up") == 1, "Redis is back and counts as down")
        assert m("bond_redis_reconnects_total") == 1 and m("bond_redis_connects_total") == 2


def test_polling(start):
    redis = start.redis()
    broker = start.broker(redis.limited("~stream:* +@read +@connection +time +info -client|tracking"))
    assert Metrics(broker)("bond_redis_tracking") == 0


def test_threads_and_the_process(start):
    broker = start.broker(start.redis(), BOND_WORKERS=2, BOND_MAX_CLIENTS=500)
    m = Metrics(broker)
    for thread in ("tail", "worker-0", "worker-1"):
        assert m("bond_turn_seconds_count", thread=thread) > 0
    assert m("process_open_fds") >= 10 and m("process_max_fds") > m("process_open_fds")
    assert m("process_resident_memory_bytes") > 1 << 20
    assert m("process_virtual_memory_bytes") > m("process_resident_memory_bytes")
    assert m("process_cpu_seconds_total") > 0
    assert abs(m("process_start_time_seconds") - time.time()) < seconds(60)
    assert m("bond_connections_max") == 500 and m("bond_streams_followed_max") == 100_000
    assert m("bond_outbox_limit_bytes") == 64 << 20 and m("bond_ring_limit_bytes") > 0
    with Wire(broker.port), Wire(broker.port):
        wait_until(lambda: m.grew("process_open_fds") >= 2, "descriptors are not counted")


# What was provoked above: a metric that is added has to come in here too.
CONSTANT = {"bond_build_info"}


def test_no_metric_is_without_a_test(broker):
    """Each name stands in this file."""
    names = {
        line.split()[2]
        for line in get(broker.port, "/metrics").body.decode().splitlines()
        if line.startswith("# TYPE")
    }
    with open(__file__) as here:
        text = here.read()
    assert {name for name in names - CONSTANT if name not in text} == set()


# A real Prometheus.


@needs_prometheus
@pytest.mark.parametrize("token", ["", "an-admin-token"])
def test_prometheus_scrapes_it(start, tmp_path, token):
    broker = start.broker(start.redis(), BOND_ADMIN_TOKEN=token)
    port = Port()
    credentials = f"    authorization: {{credentials: {token}}}\n" if token else ""
    (tmp_path / "prometheus.yml").write_text(
        "scrape_configs:\n  - job_name: bond\n    scrape_interval: 1s\n    scrape_timeout: 1s\n"
        f"{credentials}    static_configs: [{{targets: ['127.0.0.1:{broker.port}']}}]\n"
    )
    process = spawn(
        [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port.number}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def query(expression):
        try:
            with Wire(port.number) as wire:
                wire.send(
                    f"GET /api/v1/query?query={expression} HTTP/1.0\r\nHost: p\r\n\r\n".encode()
                )
                body = wire.rest().partition(b"\r\n\r\n")[2]
            return json.loads(body)["data"]["result"]
        except (OSError, ValueError, KeyError):
            return []

    try:
        wait_until(lambda: query("bond_redis_up"), "Prometheus has scraped nothing", within=30)
        assert query("up")[0]["value"][1] == "1"
        assert query("bond_redis_up")[0]["value"][1] == "1"
        assert query("histogram_quantile(0.5,bond_turn_seconds_bucket)")
        assert query("bond_build_info")[0]["metric"]["version"]
    finally:
        end(process)
        port.release()
