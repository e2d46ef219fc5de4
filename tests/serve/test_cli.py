"""The command line: tokens made and checked, events published, help that helps."""

import json
import re
import subprocess
import time

import pytest

from harness import BINARY, ROOT, SECRET, clean_env, mint, receive, run_cli, seconds, sign

# token


def test_token(stream):
    result = run_cli("token", stream, BOND_SECRET=SECRET)
    assert result.returncode == 0
    expiry, signature = result.stdout.strip().split(".")
    assert signature == sign(stream, expiry)[:16]
    assert 3500 < int(expiry) - time.time() <= 3601, "one hour, as the API's for URLs"
    assert result.stdout == f"{expiry}.{signature}\n", "nothing else, so that $(…) works"


def test_token_with_a_time_to_live(stream):
    result = run_cli("token", stream, "--ttl", "90", BOND_SECRET=SECRET)
    expiry, signature = result.stdout.strip().split(".")
    assert abs(int(expiry) - time.time() - 90) < 10
    assert signature == sign(stream, expiry)[:16]


def test_token_with_the_whole_signature(stream):
    result = run_cli("token", stream, "--full", BOND_SECRET=SECRET)
    expiry, signature = result.stdout.strip().split(".")
    assert signature == sign(stream, expiry)


def test_token_options_in_any_order(stream):
    result = run_cli("token", "--full", "--ttl", "60", stream, BOND_SECRET=SECRET)
    assert result.returncode == 0, result.stderr
    expiry, signature = result.stdout.strip().split(".")
    assert signature == sign(stream, expiry)


@pytest.mark.parametrize("name", ["ünïcode-流", "BTC/USDT", "with space"])
def test_token_of_an_odd_name(name):
    result = run_cli("token", name, BOND_SECRET=SECRET)
    assert result.returncode == 0, result.stderr
    expiry, signature = result.stdout.strip().split(".")
    assert signature == sign(name, expiry)[:16]


@pytest.mark.parametrize(
    "args", [[], ["a", "b"], ["a", "--ttl"], ["a", "--ttl", "x"], ["a", "--ttl", "-5"], ["a", "-z"]]
)
def test_token_used_wrongly(args):
    result = run_cli("token", *args, BOND_SECRET=SECRET)
    assert result.returncode > 0
    assert result.stdout == ""
    assert result.stderr.strip()


@pytest.mark.parametrize("args", [["token", "x"], ["check-token", "x", mint("x")]])
def test_the_default_secret_is_warned_of(args):
    """On standard error, so that $(bond-broker token …) is still the token alone."""
    result = run_cli(*args)
    warning = [line for line in result.stderr.splitlines() if "the default one" in line]
    assert len(warning) == 1 and "BOND_SECRET" in warning[0]
    assert "BOND_SECRET" not in result.stdout
    assert "BOND_SECRET" not in run_cli(*args, BOND_SECRET=SECRET).stderr


# check-token


def check(stream, token, secret=SECRET):
    result = run_cli("check-token", stream, token, BOND_SECRET=secret)
    return result.returncode, result.stdout + result.stderr


def test_check_token(stream):
    for digits in (16, 64):
        code, said = check(stream, mint(stream, digits=digits))
        assert code == 0, said


@pytest.mark.parametrize(
    "token, why",
    [
        ("garbage", "form"),
        ("", "token"),
        (mint("another"), "signed"),
        (mint("s", secret="other"), "signed"),
        (mint("s", ttl=-5), "expired"),
    ],
    ids=["garbage", "empty", "stream", "secret", "expired"],
)
def test_check_token_says_what_is_wrong(token, why):
    code, said = check("s", token)
    assert code == 1
    assert why in said, said
    assert not token or token not in said


def test_check_token_agrees_with_the_vectors():
    """Only those that are refused whatever the time is; the unit tests run them all."""
    for token in ("1760003601.521AA22D8AE0F8AD", "01760003601.521aa22d8ae0f8ad", "a.b", "-1.0"):
        code, _ = check("btc", token, secret="bond-dev-secret-change-in-production")
        assert code == 1


def test_check_token_used_wrongly(stream):
    for args in ([], [stream], [stream, "x", "y"]):
        result = run_cli("check-token", *args, BOND_SECRET=SECRET)
        assert result.returncode > 0
        assert result.stderr.strip()


# publish


async def test_publish(broker, redis, stream):
    async with broker.connect(stream) as ws:
        result = run_cli("publish", stream, '{"a": 1}', REDIS_URL=redis.url)
        assert result.returncode == 0, result.stderr
        assert await receive(ws, 1) == ['{"a": 1}']
    (id_, fields), *none = redis.client.xrange(f"stream:{stream}")
    assert not none
    assert fields == {b"data": b'{"a": 1}'}
    assert result.stdout.strip() == id_.decode(), "it says the event's id"


def test_publish_from_standard_input(redis, stream):
    result = run_cli("publish", stream, "-", stdin='{"from":"stdin"}\n', REDIS_URL=redis.url)
    assert result.returncode == 0, result.stderr
    (_, fields), *none = redis.client.xrange(f"stream:{stream}")
    assert not none
    assert json.loads(fields[b"data"]) == {"from": "stdin"}


def test_publish_does_not_let_the_stream_grow_for_ever(redis, stream):
    redis.publish_all(stream, ["x"] * 3000)
    result = run_cli("publish", stream, "{}", REDIS_URL=redis.url)
    assert result.returncode == 0, result.stderr
    assert redis.client.xlen(f"stream:{stream}") < 1500, "MAXLEN ~ 1000, as the API"


def test_publish_without_a_redis(start, stream):
    away = start.redis_down()
    result = run_cli("publish", stream, "{}", REDIS_URL=away.url)
    assert result.returncode > 0
    assert result.stderr.strip()


def test_publish_with_a_wrong_password(start, stream):
    redis = start.redis(password="right")
    url = f"redis://:wrong-password@127.0.0.1:{redis.port}/0"
    result = run_cli("publish", stream, "{}", REDIS_URL=url)
    assert result.returncode > 0
    assert "wrong-password" not in result.stderr


def test_publish_to_a_key_that_is_no_stream(redis, stream):
    redis.client.set(f"stream:{stream}", "a string")
    result = run_cli("publish", stream, "{}", REDIS_URL=redis.url)
    assert result.returncode > 0
    assert "WRONGTYPE" in result.stderr


# The rest.


def test_version():
    for args in (["version"], ["--version"]):
        result = run_cli(*args)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("bond-broker ")
        assert any(c.isdigit() for c in result.stdout)


@pytest.mark.parametrize("args", [["help"], ["--help"], ["-h"]])
def test_help(args):
    result = run_cli(*args)
    assert result.returncode == 0
    for word in ("serve", "token", "check-token", "publish", "version", "REDIS_URL", "BOND_SECRET"):
        assert word in result.stdout, word
    assert "BOND_RING_SECONDS" in result.stdout


def test_help_works_with_a_broken_environment():
    assert run_cli("help", BOND_PORT="abc").returncode == 0
    assert run_cli("version", BOND_PORT="abc").returncode == 0


@pytest.mark.parametrize("args", [["no-such-command"], ["Token", "x"]])
def test_an_unknown_command(args):
    result = run_cli(*args)
    assert result.returncode > 0
    assert args[0] in result.stderr
    assert "help" in result.stderr, "it says where to look"


def test_output_that_nobody_reads():
    """`bond-broker help | head -1` must not end in a crash."""
    with subprocess.Popen(
        [BINARY, "help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_env()
    ) as process:
        process.stdout.close()
        process.wait(seconds(10))
        assert b"Sanitizer" not in process.stderr.read()


# Help, the manual page, completion.


def listed(*args):
    return run_cli("help", "--words", *args).stdout.split()


COMMANDS = listed()
SETTINGS = re.findall(r"^  ([A-Z_]+) +.* \[.*\]$", run_cli("help").stdout, re.MULTILINE)


def flag_of(setting):
    return "--" + setting.removeprefix("BOND_").lower().replace("_", "-")


def test_help_lists_every_command():
    text = run_cli("help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", text, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command):
    helps = [run_cli(command, "--help"), run_cli("help", command), run_cli(command, "-h")]
    for said in helps:
        assert said.returncode == 0
        assert said.stdout == helps[0].stdout
        assert said.stderr == ""
    text = helps[0].stdout
    assert f"usage: bond-broker {command} " in text
    assert f"  bond-broker {command}" in text.split("Examples:")[1]
    assert "Exit status: " in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_which_flag_it_does_not_know(command):
    said = run_cli(command, "--no-such-flag-at-all", BOND_SECRET=SECRET)
    assert said.returncode == 2
    assert said.stdout == ""
    assert "--no-such-flag-at-all is no option" in said.stderr
    assert f"bond-broker {command} --help" in said.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in ("help", "version")])
def test_every_command_takes_the_flags_of_settings(command):
    said = run_cli(command, *["x"] * 2, "--ring-seconds", "0", BOND_SECRET=SECRET)
    assert said.returncode == 2
    if "too many arguments" not in said.stderr:
        assert "--ring-seconds" in said.stderr


def test_a_misspelt_flag_of_a_command_is_told_from_a_setting():
    said = run_cli("token", "x", "--tll", "5", BOND_SECRET=SECRET)
    assert "did you mean --ttl?" in said.stderr
    said = run_cli("token", "x", "--secrt", "5", BOND_SECRET=SECRET)
    assert "did you mean --secret?" in said.stderr


def test_a_misspelt_command():
    said = run_cli("publsh", "x")
    assert said.returncode == 2
    assert "did you mean publish?" in said.stderr


@pytest.mark.parametrize("ttl, span", [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172800)])
def test_a_time_may_have_a_unit(stream, ttl, span):
    expiry = run_cli("token", stream, "--ttl", ttl, BOND_SECRET=SECRET).stdout.split(".")[0]
    assert abs(int(expiry) - time.time() - span) < 10


def test_a_command_takes_the_secret_as_a_flag(stream):
    expiry, signature = run_cli("token", stream, "--secret", "other").stdout.strip().split(".")
    assert signature == sign(stream, expiry, secret="other")[:16]


def test_what_follows_two_dashes_is_no_flag():
    expiry, signature = run_cli("token", "--", "--ttl", BOND_SECRET=SECRET).stdout.strip().split(".")
    assert signature == sign("--ttl", expiry)[:16]


def test_the_manual_page_names_every_command_and_setting():
    page = run_cli("help", "--man").stdout.replace("\\-", "-")
    for command in COMMANDS:
        assert f".SS bond-broker {command} " in page
        for option in listed(command):
            assert option in page, (command, option)
    for setting in SETTINGS:
        assert f"\n\\fB{setting}, {flag_of(setting)}\\fR\n" in page
    assert not [line for line in page.splitlines() if line.startswith("'")]


def completed(*words):
    """What bash offers for the last of these words."""
    script = (
        f"source {ROOT}/infra/bond-broker.bash; COMP_WORDS=({' '.join(map(repr, words))}); "
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _bond_broker; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    bash = subprocess.run(["bash", "-c", script], env=clean_env(), capture_output=True, text=True)
    assert bash.stderr == ""
    return bash.stdout.split()


def test_bash_completes_commands_and_flags():
    assert completed(BINARY, "") == COMMANDS
    assert completed(BINARY, "to") == ["token"]
    assert completed(BINARY, "help", "to") == ["token"]
    assert set(map(flag_of, SETTINGS)) <= set(completed(BINARY, "--"))
    for command in COMMANDS:
        offered = completed(BINARY, command, "--")
        assert offered == listed(command)
        assert set(map(flag_of, SETTINGS)) <= set(offered)
    assert completed(BINARY, "token", "btc") == [], "streams are not ours to know"


def test_install_brings_the_manual_page_and_the_completion(tmp_path):
    dry = subprocess.run(
        ["make", "-n", "install", f"DESTDIR={tmp_path}"], cwd=ROOT, capture_output=True, text=True
    )
    assert f"{tmp_path}/usr/local/share/man/man1/bond-broker.1" in dry.stdout
    assert f"{tmp_path}/usr/local/share/bash-completion/completions/bond-broker" in dry.stdout
