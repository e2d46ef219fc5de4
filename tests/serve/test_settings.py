"""Settings: each by environment or flag, the flag winning; a bad one stops the start with
a sentence that names it; what belongs to the API changes nothing."""

import json
import socket

import pytest

from harness import SECRET, Port, mint, receive, run_cli, sign, wait_until, ws_path
from wire import get, refusal, upgrade

# Bad values.

NUMBERS = [
    "BOND_WORKERS",
    "BOND_RING_SECONDS",
    "BOND_RING_BYTES",
    "BOND_MEMORY_BYTES",
    "BOND_PING_SECONDS",
    "BOND_PONG_SECONDS",
    "BOND_HANDSHAKE_SECONDS",
    "BOND_DRAIN_SECONDS",
    "BOND_DRAIN_DELAY_SECONDS",
]


def refuses(name, value, flag=False, names=None):
    """serve does not start, and says in a sentence which setting (or what in it) is wrong."""
    flag_name = "--" + name.removeprefix("BOND_").lower().replace("_", "-")
    if flag:
        result = run_cli("serve", flag_name, value, BOND_SECRET=SECRET)
    else:
        result = run_cli("serve", **{"BOND_SECRET": SECRET, name: value})
    said = result.stderr
    assert result.returncode > 0, said
    assert (names or (flag_name if flag else name)) in said, said
    assert len(said.split()) > 4, f"no sentence: {said}"
    assert len(said.splitlines()) <= 3, f"a whole page for one bad value: {said}"
    return said


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_none(name):
    for value in ("abc", "-1", "1.5x", "0x10", "9" * 30, " 5 x"):
        refuses(name, value)


@pytest.mark.parametrize("name", NUMBERS)
def test_a_flag_that_is_no_number(name):
    refuses(name, "abc", flag=True)


@pytest.mark.parametrize("name", ["BOND_PORT", "PORT"])
@pytest.mark.parametrize("value", ["abc", "-1", "65536", "80 80", "http"])
def test_a_bad_port(name, value):
    refuses(name, value)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://localhost:6379",
        "redis://host:notaport/0",
        "redis://host:99999/0",
        "redis://host:6379/0?db=notadb",
        "unix://",
        "rediss://h:6379/0?ssl_cert_reqs=perhaps",
    ],
)
def test_a_bad_redis_url(url):
    refuses("REDIS_URL", url)


def test_a_bad_redis_url_does_not_give_its_password_away():
    said = refuses("REDIS_URL", "redis://user:hunter2-secret@host:notaport/0")
    assert "hunter2" not in said


def test_a_certificate_authority_that_is_not_there():
    refuses("REDIS_URL", "rediss://127.0.0.1:1/0?ssl_ca_certs=/nonexistent", names="ssl_ca_certs")


@pytest.mark.parametrize("name", ["BOND_LOG_LEVEL", "BOND_LOG_FORMAT"])
def test_a_choice_that_is_none(name):
    refuses(name, "loud")


@pytest.mark.parametrize("host", ["not an address", "256.1.1.1", "203.0.113.7"])
def test_a_host_that_cannot_be_listened_on(host):
    refuses("BOND_HOST", host)


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_cli("serve", BOND_SECRET=SECRET, BOND_HOST="127.0.0.1", BOND_PORT=port)
        assert result.returncode > 0
        assert str(port) in result.stderr


def test_a_second_broker_on_the_same_port_does_not_share_it(start):
    """SO_REUSEPORT is for our own workers, not for a stranger's half of the clients."""
    first = start.broker(start.redis())
    result = run_cli("serve", BOND_SECRET=SECRET, BOND_HOST="127.0.0.1", BOND_PORT=first.port)
    assert result.returncode > 0
    assert str(first.port) in result.stderr


@pytest.mark.parametrize("origin", ["page.example", "https://page.example/", "https://a, b"])
def test_an_origin_that_is_none(origin):
    refuses("BOND_ALLOWED_ORIGINS", origin)


@pytest.mark.parametrize("args", [["serve"], ["token", "x"], ["check-token", "x", "y"]])
def test_an_empty_secret_is_not_the_default_one(args):
    """Its default is public: nobody is to get it by a variable that was left empty."""
    result = run_cli(*args, BOND_SECRET="")
    assert result.returncode > 0
    assert "BOND_SECRET is empty" in result.stderr
    assert result.stdout == ""


def test_an_unknown_flag():
    result = run_cli("serve", "--no-such-flag", "1", BOND_SECRET=SECRET)
    assert result.returncode > 0
    assert "--no-such-flag" in result.stderr


def test_a_misspelt_flag():
    result = run_cli("serve", "--ring-second=5", BOND_SECRET=SECRET)
    assert result.returncode > 0
    assert "did you mean --ring-seconds?" in result.stderr


def test_a_misspelt_variable_is_warned_of(start):
    broker = start.broker(start.redis(), BOND_RING_SECOND="value-of-no-setting", BOND_XYZ="1")
    near, strange = broker.log("unknown_setting")
    assert {near["level"], strange["level"]} == {"warn"}
    if near["name"] == "BOND_XYZ":
        near, strange = strange, near
    assert near["name"] == "BOND_RING_SECOND"
    assert "did you mean BOND_RING_SECONDS?" in near["hint"]
    assert strange["name"] == "BOND_XYZ" and "did you mean" not in strange["hint"]
    assert "value-of-no-setting" not in broker.log_text(), "it may be a secret"


@pytest.mark.parametrize("value, seconds", [("90s", 90), ("5m", 300), ("1h", 3600), ("2000ms", 2)])
def test_a_setting_that_is_a_time_may_have_a_unit(start, value, seconds):
    broker = start.broker(start.redis(), BOND_RING_SECONDS=value)
    assert broker.wait_log("event=listening")["ring_seconds"] == str(seconds)


@pytest.mark.parametrize("name, value", [("BOND_RING_SECONDS", "1500ms"), ("BOND_WORKERS", "2s")])
def test_a_time_that_a_setting_cannot_be(name, value):
    refuses(name, value)


def test_a_bad_setting_is_said_as_the_log_is_read():
    said = run_cli("serve", "--port", "abc", "--log-format", "json", BOND_SECRET=SECRET).stderr
    line = json.loads(said)
    assert (line["level"], line["event"]) == ("error", "bad_setting")
    assert "--port" in line["why"]
    said = run_cli("serve", BOND_PORT="abc", BOND_SECRET=SECRET).stderr
    assert "level=error event=bad_setting" in said and "BOND_PORT" in said


def test_a_flag_without_its_value():
    result = run_cli("serve", "--ring-seconds", BOND_SECRET=SECRET)
    assert result.returncode > 0
    assert "--ring-seconds" in result.stderr


def test_an_empty_variable_is_as_none(start):
    """`KEY=` in an .env file."""
    empty = dict.fromkeys([*NUMBERS, "BOND_LOG_LEVEL", "BOND_LOG_FORMAT", "BOND_DATA_FIELD"], "")
    broker = start.broker(start.redis(), **empty)
    assert "ring_seconds=60" in broker.log_text()


# Where it listens.


def test_port_is_what_railway_hands_over(start):
    port = Port()
    broker = start.broker(start.redis(), port=port, BOND_PORT=None, PORT=port.number)
    assert get(broker.port, "/health").status == 200


def test_an_empty_bond_port_leaves_it_to_port(start):
    port = Port()
    broker = start.broker(start.redis(), port=port, BOND_PORT="", PORT=port.number)
    assert get(broker.port, "/health").status == 200


def test_bond_port_goes_before_port(start):
    broker = start.broker(start.redis(), PORT=1)
    assert get(broker.port, "/health").status == 200


@pytest.mark.parametrize("how", ["--port {}", "--port={}", "serve --port {}"])
def test_a_flag_goes_before_the_environment(start, how):
    port = Port()
    args = how.format(port.number).split()
    broker = start.broker(start.redis(), port=port, args=args, BOND_PORT=1)
    assert get(broker.port, "/health").status == 200


async def test_a_flag_is_the_same_as_its_variable(start, stream):
    """Every setting that shows in what clients see, once by flag."""
    redis = start.redis()
    broker = start.broker(
        None,
        BOND_SECRET=None,
        BOND_RING_SECONDS=None,
        args=[
            *("serve", "--redis-url", redis.url, "--secret", "by-flag", "--workers=1"),
            *("--ring-seconds=30", "--stream-prefix", "s/", "--data-field=payload"),
        ],
    )
    redis.client.xadd(f"s/{stream}", {"payload": "here", "data": "not here"})
    token = mint(stream, secret="by-flag")
    async with broker.connect(stream, token=token, from_="first") as ws:
        assert await receive(ws, 1) == ["here"]


async def test_prefix_and_field_by_environment(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_STREAM_PREFIX="other:", BOND_DATA_FIELD="d")
    async with broker.connect(stream) as ws:
        redis.publish(stream, "of the usual prefix")
        redis.client.xadd(f"other:{stream}", {"d": "of ours", "data": "x"})
        assert await receive(ws, 1) == ["of ours"]


def answers_at(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_an_ipv6_address(start):
    broker = start.launch(start.redis(), BOND_HOST="::1")
    wait_until(lambda: answers_at("::1", broker.port), broker.log_text)
    assert not answers_at("127.0.0.1", broker.port)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_all_addresses_of_both_kinds(start):
    broker = start.broker(start.redis(), BOND_HOST="::")
    assert answers_at("::1", broker.port)
    assert answers_at("127.0.0.1", broker.port)


def test_serve_is_the_default_command(start):
    broker = start.broker(start.redis(), args=["serve"])
    assert get(broker.port, "/health").status == 200


# What is the API's.


async def test_settings_of_the_api_change_nothing(start, stream):
    redis = start.redis()
    broker = start.broker(
        redis,
        BOND_MAX_STREAMS="0",
        BOND_TOKEN_TTL="minus one",
        WS_HOST="not a host",
        PUBLIC_WS_BASE="::::",
    )
    for i in range(5):
        async with broker.connect(f"{stream}-{i}") as ws:
            redis.publish(f"{stream}-{i}", "event")
            assert await receive(ws, 1) == ["event"]
    assert broker.log("unknown_setting") == []


# What the log says, and what never.


def test_the_start_says_what_runs(start):
    redis = start.redis(password="redis-password-71")
    broker = start.broker(redis, BOND_WORKERS=2)
    listening = broker.wait_log("event=listening")
    assert listening["port"] == str(broker.port)
    text = broker.log_text()
    assert f"127.0.0.1:{redis.port}" in text
    assert "redis-password-71" not in text
    assert "workers=2" in text
    version = run_cli("version").stdout.split()[-1]
    assert version in text


def test_log_lines_have_a_time_a_level_and_an_event(start):
    broker = start.broker(start.redis())
    for line in broker.log():
        assert {"ts", "level", "event"} <= set(line), line
        assert line["level"] in ("debug", "info", "warn", "error")


def test_the_log_as_json(start):
    broker = start.broker(start.redis(), BOND_LOG_FORMAT="json")
    lines = [json.loads(line) for line in broker.log_text().splitlines()]
    assert any(line["event"] == "listening" for line in lines)
    assert all({"ts", "level", "event"} <= set(line) for line in lines)


def test_the_log_level(start):
    broker = start.broker(start.redis(), BOND_LOG_LEVEL="error")
    assert broker.log_text() == ""


def default_secret_warnings(broker):
    lines = broker.log_text().splitlines()
    return [line for line in lines if "BOND_SECRET" in line and "level=warn" in line]


def test_the_default_secret_is_warned_of_where_others_can_reach_it(start):
    broker = start.broker(start.redis(), BOND_SECRET=None, BOND_HOST="0.0.0.0")
    wait_until(lambda: default_secret_warnings(broker), broker.log_text)


def test_the_default_secret_is_warned_of_as_the_previous_one_too(start):
    default = "bond-dev-secret-change-in-production"
    broker = start.broker(start.redis(), BOND_SECRET_PREVIOUS=default, BOND_HOST="0.0.0.0")
    [line] = broker.log("default_secret")
    assert line["setting"] == "BOND_SECRET_PREVIOUS"


def test_the_default_secret_is_fine_on_loopback(start):
    broker = start.broker(start.redis(), BOND_SECRET=None, BOND_HOST="127.0.0.1")
    assert default_secret_warnings(broker) == []


def test_a_secret_of_ones_own_is_fine_everywhere(start):
    broker = start.broker(start.redis(), BOND_HOST="0.0.0.0")
    assert default_secret_warnings(broker) == []


async def test_the_log_never_holds_what_is_secret(start, stream):
    """Whatever happens: good and bad tokens in all places, odd requests, Redis failing."""
    redis = start.redis(password="redis-password-71")
    broker = start.broker(redis, BOND_LOG_LEVEL="debug")
    tokens = [mint(stream), mint(stream, digits=64), mint(stream, ttl=-5)]
    tokens.append(mint(stream, secret="other"))
    for token in tokens:
        upgrade(broker.port, ws_path(stream, token=token))
        upgrade(broker.port, ws_path(stream, token=token, from_="garbage"))
        upgrade(broker.port, f"/ws/{stream}", [f"Authorization: Bearer {token}"])
        offer = f"Sec-WebSocket-Protocol: bond.v1, bond.token.{token}"
        upgrade(broker.port, f"/ws/{stream}", [offer])
        get(broker.port, f"/nope?token={token}")
        get(broker.port, f"/ws/{stream}?token={token}")
    async with broker.connect(stream) as ws:
        redis.publish(stream, "event")
        await receive(ws, 1)
    redis.kill()
    wait_until(lambda: broker.ready() == 503, "it is still ready")
    redis.start()
    wait_until(lambda: broker.ready() == 200, "it is not ready again", within=15)
    text = broker.log_text()
    for token in tokens:
        expiry, signature = token.split(".")
        assert signature[:16] not in text, f"a token:\n{text}"
        assert sign(stream, expiry)[:16] not in text, f"a signature:\n{text}"
    assert SECRET not in text
    assert "redis-password-71" not in text


async def test_names_of_streams_cannot_forge_log_lines(start):
    name = "x\nts=0 level=error event=forged\r\x1b[31m"
    redis = start.redis()
    broker = start.broker(redis, BOND_LOG_LEVEL="debug")
    redis.client.set(f"stream:{name}", "not a stream")
    async with broker.connect(name) as ws:
        with pytest.raises(Exception):
            await ws.recv()
        assert ws.close_code == 1011
    assert "\x1b" not in broker.log_text()
    assert not any(line.startswith("ts=0") for line in broker.log_text().splitlines())


def test_origin_is_not_asked_for(broker, stream):
    """No BOND_ALLOWED_ORIGINS: a page from anywhere may connect, as before."""
    reply = upgrade(broker.port, ws_path(stream), ["Origin: https://example.org"])
    assert reply.status == 101


def test_a_secret_decides(broker, stream):
    token = mint(stream, secret="")
    refusal(upgrade(broker.port, ws_path(stream, token=token)), 403, "token_invalid")
