"""The log, as whoever is woken by it reads it: who, what, why, for how long."""

import json
import os
import signal
import subprocess

import pytest

from harness import BINARY, SECRET, Port, clean_env, receive, seconds, until, wait_until, ws_path
from wire import upgrade


def stop(broker):
    broker.signal(signal.SIGTERM)
    broker.ended = True
    assert broker.exit_code(within=15) == 0


async def until_log(broker, event):
    await until(lambda: broker.log(event), broker.log_text, within=15)
    return broker.log(event)[0]


def test_redis_lines_name_the_server_and_how_long_it_was_away(start):
    redis = start.redis(password="redis-password-71")
    broker = start.broker(redis)
    name = f"redis://127.0.0.1:{redis.port}/0"
    up = broker.wait_log("event=redis_up")
    assert up["redis"] == name
    assert "away_ms" not in up, "it was never away"
    redis.kill()
    down = broker.wait_log("event=redis_down")
    assert down["redis"] == name and down["level"] == "warn" and down["why"]
    redis.start()
    wait_until(lambda: len(broker.log("redis_up")) == 2, broker.log_text, within=15)
    again = broker.log("redis_up")[1]
    assert again["redis"] == name
    assert int(again["away_ms"]) > 0
    assert "redis-password-71" not in broker.log_text()


def test_a_redis_that_was_never_there_is_named_too(start):
    redis = start.redis_down()
    broker = start.broker(redis, ready=False)
    down = broker.wait_log("event=redis_down")
    assert down["redis"] == f"redis://127.0.0.1:{redis.port}/0"


async def test_redis_that_answers_without_data_is_named(start, stream):
    redis = start.redis(config=["replica-serve-stale-data no"])
    broker = start.broker(redis)
    async with broker.connect(stream) as ws:
        redis.publish(stream, "1")
        await receive(ws, 1)
        redis.client.replicaof("127.0.0.1", 1)  # a master that is not there: MASTERDOWN
        line = await until_log(broker, "redis_unreadable")
        assert line["redis"] == f"redis://127.0.0.1:{redis.port}/0"
        redis.client.replicaof("NO", "ONE")
        line = await until_log(broker, "redis_readable")
        assert line["redis"] == f"redis://127.0.0.1:{redis.port}/0"


def test_polling_is_a_warning_with_its_reason(start):
    redis = start.redis()
    broker = start.broker(redis.limited("+@all -client|tracking ~*"))
    up = broker.wait_log("event=redis_up")
    assert (up["level"], up["following"]) == ("warn", "polling")
    assert "CLIENT TRACKING was refused: NOPERM" in up["why"]
    assert "BOND_POLL_MS" in up["hint"]


def test_an_old_servers_polling_has_its_reason(start):
    redis = start.redis(config=['rename-command HELLO ""'])
    broker = start.broker(redis)
    up = broker.wait_log("event=redis_up")
    assert (up["level"], up["following"]) == ("warn", "polling")
    assert "HELLO 3 was refused" in up["why"]


def test_a_refusal_names_the_client(start, stream):
    broker = start.broker(start.redis())
    upgrade(broker.port, ws_path(stream, token="garbage"))
    line = broker.wait_log("event=refused")
    assert (line["address"], line["code"]) == ("127.0.0.1", "token_malformed")


@pytest.mark.parametrize(
    "forwarded, shown",
    [("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64")],
)
def test_a_refusal_behind_a_proxy_names_whom_the_proxy_names(start, stream, forwarded, shown):
    broker = start.broker(start.redis(), BOND_TRUST_PROXY=1)
    upgrade(broker.port, ws_path(stream, token="garbage"), [f"X-Forwarded-For: {forwarded}"])
    assert broker.wait_log("event=refused")["address"] == shown


def test_nothing_left_out_is_not_said(start, stream):
    broker = start.broker(start.redis())
    for _ in range(3):
        upgrade(broker.port, ws_path(stream, token="garbage"))
    wait_until(lambda: broker.log("refused"), broker.log_text)
    assert "not_said" not in broker.log("refused")[0]
    assert "not_said=0" not in broker.log_text()


def test_the_end_says_how_long_it_ran(start):
    broker = start.broker(start.redis())
    stop(broker)
    assert int(broker.wait_log("event=stopped")["uptime_s"]) >= 0


async def test_a_status_line_says_what_is_going_on(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_STATUS_SECONDS=1)
    async with broker.connect(stream, from_="first") as ws:
        redis.publish_all(stream, ["event"] * 10)
        await receive(ws, 10)
        read = lambda: sum(int(line["events_read"]) for line in broker.log("status"))
        wait_until(lambda: read() == 10, broker.log_text)
        full = lambda line: (line["clients"], line["streams"]) == ("1", "1")
        wait_until(lambda: any(map(full, broker.log("status"))), broker.log_text)
    lines = broker.log("status")
    assert sum(int(line["events_sent"]) for line in lines) == 10
    assert sum(int(line["bytes_sent"]) for line in lines) > 50
    last = [line for line in lines if full(line)][-1]
    assert int(last["ring_bytes"]) > 0
    assert last["level"] == "info" and last["redis"] == "readable"
    assert int(last["span_ms"]) >= 1000
    redis.kill()
    wait_until(lambda: broker.log("status")[-1]["redis"] == "unreadable", broker.log_text)


def test_no_status_line_where_none_is_wanted(start):
    broker = start.broker(start.redis(), BOND_STATUS_SECONDS=0)
    stop(broker)
    assert broker.log("status") == []


# Under systemd: standard error is a socket to the journal, and JOURNAL_STREAM says which.


def run_in_journal(log_format):
    """What a broker that finds its port taken says to the journal."""
    port = Port()
    port.holder.listen()
    ours, theirs = os.pipe()
    at = os.fstat(theirs)
    env = clean_env(
        BOND_HOST="127.0.0.1",
        BOND_PORT=port.number,
        BOND_SECRET=SECRET,
        BOND_LOG_FORMAT=log_format,
        JOURNAL_STREAM=f"{at.st_dev}:{at.st_ino}",
    )
    process = subprocess.run([BINARY], env=env, stderr=theirs, timeout=seconds(10))
    os.close(theirs)
    port.release()
    assert process.returncode == 1
    with os.fdopen(ours) as pipe:
        return pipe.read()


def test_the_journal_gets_priorities_and_one_time():
    said = run_in_journal("logfmt")
    assert said.startswith("<3>level=error event=listen_failed why=")
    assert "ts=" not in said


def test_the_journal_gets_json_with_priorities():
    said = run_in_journal("json")
    assert said.startswith("<3>{")
    line = json.loads(said.removeprefix("<3>"))
    assert line["event"] == "listen_failed" and "ts" not in line
