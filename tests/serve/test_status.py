"""bond-broker status: how a broker is, as a table or as JSON."""

import http.server
import json
import threading

from harness import SECRET, Port, run_cli, wait_until


def status(broker_port, *args):
    return run_cli("status", *args, BOND_SECRET=SECRET, BOND_HOST="127.0.0.1", BOND_PORT=broker_port)


def test_a_broker_that_serves(broker):
    said = status(broker.port)
    assert said.returncode == 0, said.stderr
    rows = dict(line.split(None, 1) for line in said.stdout.splitlines()[:2])
    assert rows == {"broker": f"127.0.0.1 port {broker.port} answers", "ready": "yes"}
    told = json.loads(status(broker.port, "--json").stdout)
    assert told["answers"] and told["ready"] and told["detail"] is None


def test_where_operators_are_served_and_with_their_token(start):
    admin = Port()
    settings = {"BOND_ADMIN_PORT": admin.number, "BOND_ADMIN_TOKEN": "an-admin-token"}
    broker = start.broker(start.redis(), **settings)

    def stats(**settings):
        said = run_cli(
            "status",
            "--json",
            BOND_SECRET=SECRET,
            BOND_HOST="127.0.0.1",
            BOND_PORT=broker.port,
            **settings,
        )
        return json.loads(said.stdout)["stats"]

    assert stats(**settings)["metrics"]["ready"] == 1
    assert stats(**settings | {"BOND_ADMIN_TOKEN": "another-token"}) is None
    assert stats() is None


def test_a_broker_that_cannot_read_redis(start):
    redis = start.redis()
    broker = start.broker(redis)
    redis.kill()
    wait_until(lambda: broker.ready() == 503, broker.log_text)
    said = status(broker.port)
    assert said.returncode == 1
    assert "no: " in said.stdout and "Redis" in said.stdout
    told = json.loads(status(broker.port, "--json").stdout)
    assert (told["answers"], told["ready"]) == (True, False) and "Redis" in told["detail"]


def test_nothing_answers():
    port = Port()
    said = status(port.number)
    assert said.returncode == 1
    assert said.stdout == ""
    assert f"no broker answers at 127.0.0.1 port {port.number}" in said.stderr
    told = json.loads(status(port.number, "--json").stdout)
    assert told == {"answers": False, "ready": False, "detail": "Connection refused", "stats": None}


class Stats(http.server.BaseHTTPRequestHandler):
    """A broker with /stats, of which all forms of a metric are seen."""

    answer = {
        "service": "broker",
        "time_ms": 1764031038123,
        "metrics": {
            "connections": 12345,
            "ring_span_seconds": 59.5,
            "clients": [
                {"route": "ws", "format": "raw", "value": 7},
                {"route": "sse", "format": "sse", "value": 0},
            ],
            "delivery_latency_seconds": {"count": 4, "sum": 0.5, "buckets": []},
            "odd\u001b[31m": 1,
        },
    }

    def do_GET(self):
        body = json.dumps(self.answer if self.path == "/stats" else {"status": "ok"}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_what_it_counts_is_a_table():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stats) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        text = status(port).stdout
        told = json.loads(status(port, "--json").stdout)
        server.shutdown()
    rows = [line.rsplit("  ", 1) for line in text.splitlines()]
    rows = {name.strip(): value.strip() for name, value in rows}
    assert rows["connections"] == "12,345"
    assert rows["ring_span_seconds"] == "59.5"
    assert rows["clients ws raw"] == "7"
    assert "clients sse sse" not in rows, "what is nothing is not shown"
    assert rows["delivery_latency_seconds"] == "4, mean 0.125"
    assert "\x1b" not in text
    assert told["stats"] == Stats.answer
