"""bond-broker doctor: each check says what is, and what to do."""

import json
import re
import socket
import time

import pytest

from harness import SECRET, Port, run_cli, seconds

LONG_SECRET = "0123456789abcdef0123456789abcdef"


def doctor(redis, *args, **settings):
    """Exit status, and what was found: check → [(state, text and hint)]."""
    port = Port()
    env = dict(
        REDIS_URL=getattr(redis, "url", redis),
        BOND_SECRET=LONG_SECRET,
        BOND_HOST="127.0.0.1",
        BOND_PORT=port.number,
    )
    port.release()
    said = run_cli("doctor", "--json", *args, **env | settings)
    assert said.stderr == ""
    found = {}
    told = json.loads(said.stdout)
    for check in told["checks"]:
        line = f"{check['text']} {check.get('hint', '')}"
        found.setdefault(check["check"], []).append((check["state"], line))
    states = [c["state"] for c in told["checks"]]
    assert told["wrong"] == states.count("wrong") and told["warnings"] == states.count("warn")
    assert told["ok"] == (told["wrong"] == 0) == (said.returncode == 0)
    assert said.returncode in (0, 1)
    return said.returncode, found


def only(found, check):
    [(state, text)] = found[check]
    return state, text


def test_all_is_well(redis):
    code, found = doctor(redis)
    assert code == 0
    for check in ("settings", "secret", "port", "redis", "tls", "version", "eviction", "clock"):
        assert only(found, check)[0] == "ok", found[check]
    for right in ("XRANGE", "XREVRANGE", "XINFO STREAM", "XREAD", "MULTI", "EXEC", "TIME"):
        assert only(found, right) == ("ok", "allowed "), right
    assert only(found, "tracking")[0] == "ok"
    assert f"redis://127.0.0.1:{redis.port}/0" in only(found, "redis")[1]
    assert redis.client.dbsize() == 0, "it changes nothing"


def test_a_line_for_each_check(redis):
    said = run_cli("doctor", REDIS_URL=redis.url, BOND_SECRET=LONG_SECRET, BOND_PORT=0)
    *lines, last = said.stdout.splitlines()
    assert all(re.match(r"^(ok|note|warn|wrong) +[\w ]+ +\S", line) for line in lines), said.stdout
    assert re.match(r"^0 wrong, \d+ warnings?$", last)
    assert "\x1b" not in said.stdout


def test_a_setting_that_makes_no_sense():
    said = run_cli("doctor", "--json", BOND_RING_SECONDS="many", BOND_SECRET=LONG_SECRET)
    assert said.returncode == 1
    [check] = json.loads(said.stdout)["checks"]
    assert (check["check"], check["state"]) == ("settings", "wrong")
    assert "BOND_RING_SECONDS" in check["text"]


def test_a_variable_that_is_no_setting(redis):
    code, found = doctor(redis, BOND_RING_SECOND="5")
    assert code == 0
    state, text = only(found, "settings")
    assert state == "warn" and "BOND_RING_SECOND is no setting" in text
    assert "is BOND_RING_SECONDS meant?" in text


@pytest.mark.parametrize("secret, words", [(None, "the default one"), ("short", "5 bytes")])
def test_a_weak_secret(redis, secret, words):
    code, found = doctor(redis, BOND_SECRET=secret)
    assert code == 0
    state, text = only(found, "secret")
    assert state == "warn" and words in text
    assert "short" not in text.replace("shorter", "")


def test_a_broker_that_runs_already(start):
    redis = start.redis()
    broker = start.broker(redis)
    code, found = doctor(redis, BOND_PORT=broker.port)
    assert code == 0
    assert only(found, "port")[0] == "ok" and "a broker answers" in only(found, "port")[1]


def test_a_port_that_something_else_has(redis):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        began = time.monotonic()
        code, found = doctor(redis, BOND_PORT=taken.getsockname()[1])
        assert time.monotonic() - began < seconds(15)
    assert code == 1
    assert only(found, "port")[0] == "wrong"


def test_an_address_that_is_not_ours(redis):
    code, found = doctor(redis, BOND_HOST="203.0.113.7")
    assert code == 1
    assert only(found, "port")[0] == "wrong" and "BOND_HOST" in only(found, "port")[1]


def test_more_clients_than_descriptors(redis):
    code, found = doctor(redis, BOND_MAX_CLIENTS=90_000_000)
    assert code == 0
    assert only(found, "descriptors")[0] == "warn"


def test_a_redis_that_is_not_there(start):
    away = start.redis_down()
    code, found = doctor(away)
    assert code == 1
    state, text = only(found, "redis")
    assert state == "wrong" and f"127.0.0.1:{away.port}" in text and "refused" in text
    assert "XRANGE" not in found


def test_a_wrong_password_is_not_repeated(start):
    redis = start.redis(password="right-71")
    code, found = doctor(f"redis://:wrong-72@127.0.0.1:{redis.port}/0")
    assert code == 1
    text = only(found, "redis")[1]
    assert "password" in text and "wrong-72" not in text


def test_a_redis_that_hangs_does_not_hang_the_doctor(start):
    proxy = start.proxy(start.redis())
    proxy.freeze()
    began = time.monotonic()
    code, found = doctor(f"redis://127.0.0.1:{proxy.port}/0")
    proxy.thaw()
    assert code == 1
    assert only(found, "redis")[0] == "wrong"
    assert time.monotonic() - began < seconds(15)


@pytest.mark.parametrize(
    "rules, check, state",
    [
        ("+@all -xrange ~*", "XRANGE", "wrong"),
        ("+@all -xrevrange ~*", "XREVRANGE", "warn"),
        ("+@all -xinfo|stream ~*", "XINFO STREAM", "warn"),
        ("+@all -multi ~*", "MULTI", "warn"),
        ("+@all -time ~*", "TIME", "warn"),
        ("+@all -client|tracking ~*", "tracking", "warn"),
        ("+@all -info ~*", "eviction", "note"),
        ("+@all -scan ~*", "streams", "note"),
        ("+@all ~other:*", "XRANGE", "wrong"),
    ],
)
def test_a_right_that_is_missing(start, rules, check, state):
    redis = start.redis()
    code, found = doctor(redis.limited(rules))
    assert only(found, check)[0] == state, found[check]
    assert code == (1 if state == "wrong" else 0)


def test_the_rights_of_the_guide_are_enough(start):
    redis = start.redis()
    rules = (
        "~stream:* +hello +auth +client|setname +client|tracking +ping +time +multi +exec "
        "+xinfo|stream +xrange +xrevrange +xread +info"
    )
    code, found = doctor(redis.limited(rules))
    assert code == 0
    states = {state for lines in found.values() for state, _ in lines}
    assert "wrong" not in states
    assert only(found, "streams") == (
        "note",
        "not looked at, since SCAN is refused; the broker does not need it ",
    )


def test_a_redis_that_evicts_streams(start):
    redis = start.redis(config=["maxmemory 100mb", "maxmemory-policy allkeys-lru"])
    code, found = doctor(redis)
    state, text = only(found, "eviction")
    assert state == "warn" and "noeviction" in text
    assert code == 0


def test_tls(start, certificates):
    redis = start.redis(tls=certificates)
    url = f"rediss://127.0.0.1:{redis.port}/0"
    code, found = doctor(url)
    assert code == 1 and "certificate" in only(found, "redis")[1], "of an authority of its own"
    code, found = doctor(f"{url}?ssl_ca_certs={certificates.ca}")
    assert code == 0
    assert only(found, "tls") == ("ok", "used, and the certificate is checked ")
    code, found = doctor(f"{url}?ssl_cert_reqs=none")
    assert only(found, "tls")[0] == "warn"
    code, found = doctor(f"redis://127.0.0.1:{redis.port}/0")
    assert code == 1 and "rediss://" in only(found, "redis")[1]


def test_streams_that_hold_less_than_the_window(start):
    redis = start.redis()
    now_ms = int(time.time() * 1000)
    for i in range(20):
        redis.client.xadd("stream:trimmed", {"data": "1"}, id=f"{now_ms - 20000 + i * 1000}-0")
    redis.client.xtrim("stream:trimmed", maxlen=5, approximate=False)
    redis.client.xadd("stream:young", {"data": "1"})
    redis.client.xadd("stream:young", {"data": "1"})
    redis.client.xadd("other:young", {"data": "1"})
    code, found = doctor(redis)
    assert code == 0
    state, text = only(found, "streams")
    assert state == "warn", text
    assert "1 of 2 hold less" in text and "stream:trimmed has 5 events of 4.0 s" in text
    assert "MAXLEN ~ 76" in text, "5 events of 4 s are 75 in 60 s"
    code, found = doctor(redis, BOND_RING_SECONDS=4)
    assert only(found, "streams")[0] == "ok"


def test_a_prefix_with_odd_letters_is_found_as_it_stands(start):
    redis = start.redis()
    redis.client.xadd("a*[b]?:x", {"data": "1"})
    redis.client.xadd("axb:y", {"data": "1"})
    code, found = doctor(redis, BOND_STREAM_PREFIX="a*[b]?:")
    assert only(found, "streams") == ("ok", "1 looked at: each live one has the window ")


def test_used_wrongly():
    said = run_cli("doctor", "extra", BOND_SECRET=SECRET)
    assert said.returncode == 2 and "too many arguments" in said.stderr
