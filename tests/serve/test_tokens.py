"""Who may listen: tokens as Bond's API mints them, in each place where one may stand,
and the name of each refusal."""

import asyncio
import json
import time

import pytest

from harness import SECRET, mint, run_cli, sign, ws_path
from wire import Wire, refusal, upgrade, upgrade_head

# Where a token may stand.


def bearer(token):
    return f"Authorization: Bearer {token}"


def offer(token):
    return f"Sec-WebSocket-Protocol: bond.v1, bond.token.{token}"


def opens(broker, path, *headers):
    with Wire(broker.port) as wire:
        wire.send(upgrade_head(path, headers))
        reply = wire.reply()
        assert reply.status == 101, (reply.status, reply.body)
        return reply


def test_in_the_query(broker, stream):
    reply = opens(broker, ws_path(stream))
    assert "sec-websocket-protocol" not in reply.headers


def test_in_the_query_among_others(broker, stream):
    opens(broker, f"/ws/{stream}?x=1&token={mint(stream)}&from=&y")


def test_in_the_query_percent_encoded(broker, stream):
    opens(broker, f"/ws/{stream}?token={mint(stream).replace('.', '%2E')}")


@pytest.mark.parametrize("header", ["Authorization: Bearer", "authorization: bearer"])
def test_in_the_authorization_header(broker, stream, header):
    opens(broker, f"/ws/{stream}", f"{header} {mint(stream)}")


def test_in_the_sub_protocol_and_only_bond_v1_is_echoed(broker, stream):
    reply = opens(broker, f"/ws/{stream}", offer(mint(stream)))
    assert reply.headers["sec-websocket-protocol"] == "bond.v1"


def test_in_a_sub_protocol_of_a_header_of_its_own(broker, stream):
    reply = opens(
        broker,
        f"/ws/{stream}",
        "Sec-WebSocket-Protocol: bond.v1",
        f"Sec-WebSocket-Protocol: bond.token.{mint(stream)}",
    )
    assert reply.headers["sec-websocket-protocol"] == "bond.v1"


def test_bond_v1_is_echoed_beside_a_token_in_the_query(broker, stream):
    reply = opens(broker, ws_path(stream), "Sec-WebSocket-Protocol: chat, bond.v1")
    assert reply.headers["sec-websocket-protocol"] == "bond.v1"


def test_a_sub_protocol_that_we_do_not_speak_is_not_echoed(broker, stream):
    reply = opens(broker, ws_path(stream), "Sec-WebSocket-Protocol: chat, superchat")
    assert "sec-websocket-protocol" not in reply.headers


def test_the_query_comes_before_the_header_and_that_before_the_sub_protocol(broker, stream):
    good, bad = mint(stream), mint(stream, secret="other")
    opens(broker, ws_path(stream), bearer(bad), offer(bad))
    opens(broker, f"/ws/{stream}", bearer(good), offer(bad))
    refusal(
        upgrade(broker.port, ws_path(stream, token=bad), [bearer(good)]), 403, "token_invalid"
    )
    refusal(
        upgrade(broker.port, f"/ws/{stream}", [bearer(bad), offer(good)]), 403, "token_invalid"
    )


async def test_python_websockets_with_a_token_in_the_sub_protocol(broker, stream):
    offered = ["bond.v1", f"bond.token.{mint(stream)}"]
    async with broker.connect(stream, token="", subprotocols=offered) as ws:
        assert ws.subprotocol == "bond.v1"


# What a token may be.


def test_the_whole_signature(broker, stream):
    opens(broker, ws_path(stream, token=mint(stream, digits=64)))


def test_ten_years(broker, stream):
    opens(broker, ws_path(stream, token=mint(stream, ttl=10 * 365 * 86400)))


async def test_a_token_ends_with_its_second(broker, stream):
    """Valid while now <= expiry, with fractions; an open connection stays (no live expiry)."""
    expiry = int(time.time()) + 2
    token = mint(stream, expiry=expiry)
    opens(broker, ws_path(stream, token=token))
    await asyncio.sleep(expiry + 0.05 - time.time())
    refusal(upgrade(broker.port, ws_path(stream, token=token)), 403, "token_expired")


# The refusals.


def test_missing(broker, stream):
    refusal(upgrade(broker.port, f"/ws/{stream}"), 403, "token_missing")
    refusal(upgrade(broker.port, f"/ws/{stream}?token="), 403, "token_missing")
    refusal(upgrade(broker.port, f"/ws/{stream}?tokens={mint(stream)}"), 403, "token_missing")


def well_formed(stream):
    return int(time.time()) + 60, sign(stream, int(time.time()) + 60)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e, s: "invalid_token",
        lambda e, s: ".",
        lambda e, s: f"{e}.",
        lambda e, s: f".{s[:16]}",
        lambda e, s: f"{e}.{s[:15]}",
        lambda e, s: f"{e}.{s[:17]}",
        lambda e, s: f"{e}.{s[:32]}",
        lambda e, s: f"{e}.{s}0",
        lambda e, s: f"{e}.{s[:16]}.x",
        lambda e, s: f"{e}.{s[:16].upper()}" if not s[:16].isdigit() else "x",
        lambda e, s: f"0{e}.{s[:16]}",
        lambda e, s: f" {e}.{s[:16]}",
        lambda e, s: f"+{e}.{s[:16]}",
        lambda e, s: f"-{e}.{s[:16]}",
        lambda e, s: f"{str(e)[:3]}_{str(e)[3:]}.{s[:16]}",
        lambda e, s: f"{e}.0.{s[:16]}",
        lambda e, s: f"{'9' * 40}.{s[:16]}",
        lambda e, s: "x" * 4000,
    ],
)
def test_malformed(broker, stream, spoil):
    token = spoil(*well_formed(stream))
    refusal(upgrade(broker.port, ws_path(stream, token=token)), 403, "token_malformed")


def test_wrong_signature(broker, stream):
    expiry, signature = well_formed(stream)
    other_digit = "0" if signature[0] != "0" else "1"
    for token in (
        mint(stream, secret="other"),
        mint("another-stream"),
        f"{expiry + 1}.{signature[:16]}",
        f"{expiry}.{other_digit}{signature[1:16]}",
        f"{expiry}.{signature[:63]}{'0' if signature[63] != '0' else '1'}",
    ):
        refusal(upgrade(broker.port, ws_path(stream, token=token)), 403, "token_invalid")


def test_expired(broker, stream):
    for digits in (16, 64):
        token = mint(stream, ttl=-2, digits=digits)
        refusal(upgrade(broker.port, ws_path(stream, token=token)), 403, "token_expired")


def test_an_expired_token_of_another_secret_is_not_told_that_it_expired(broker, stream):
    token = mint(stream, ttl=-2, secret="other")
    refusal(upgrade(broker.port, ws_path(stream, token=token)), 403, "token_invalid")


def test_a_refusal_says_nothing_of_the_token(broker, stream):
    token = mint(stream, secret="other")
    reply = upgrade(broker.port, ws_path(stream, token=token))
    signature = token.split(".")[1]
    assert signature not in reply.body.decode()
    assert sign(stream, token.split(".")[0])[:16] not in reply.body.decode()


async def test_python_websockets_sees_a_failed_handshake(broker, stream):
    import websockets

    with pytest.raises(websockets.InvalidStatusCode) as refused:
        async with broker.connect(stream, token=mint(stream, secret="other")):
            pass
    assert refused.value.status_code == 403


# Which streams there are.


@pytest.mark.parametrize(
    "name",
    [
        "btc",
        "BTC/USDT",
        "with space",
        "a+b",
        "ünïcode-流",
        "emoji-🔑",
        "a.b.c",
        "stream:nested",
        "1760000000",
        "%41",
        "..",
        "a?b#c",
        "x" * 200,
        "y" * 5000,
    ],
)
async def test_a_stream_name_is_one_percent_encoded_segment(broker, redis, name):
    async with broker.connect(name) as ws:
        redis.publish(name, json.dumps({"for": name}))
        assert json.loads(await asyncio.wait_for(ws.recv(), 10)) == {"for": name}


@pytest.mark.parametrize("name", ["%", "%zz", "%4", "a%ff", "%ed%a0%80"])
def test_a_stream_name_that_is_not_percent_encoded_utf_8(broker, name):
    reply = upgrade(broker.port, f"/ws/{name}?token={mint('x')}")
    refusal(reply, 400, "bad_request")


def test_a_plus_in_a_path_is_no_space(broker):
    opens(broker, f"/ws/a+b?token={mint('a+b')}")
    refusal(upgrade(broker.port, f"/ws/a+b?token={mint('a b')}"), 403, "token_invalid")


# The command line agrees with the API, and with the broker.


def test_tokens_of_the_command_line(broker, stream):
    for options in ([], ["--full"], ["--ttl", "60"]):
        made = run_cli("token", stream, *options, BOND_SECRET=SECRET)
        assert made.returncode == 0, made.stderr
        opens(broker, ws_path(stream, token=made.stdout.strip()))


def test_a_secret_that_is_not_ascii(start, stream):
    secret = "s3cr3t-ключ-🔑"
    broker = start.broker(start.redis(), BOND_SECRET=secret)
    opens(broker, ws_path(stream, token=mint(stream, secret=secret)))
    refusal(upgrade(broker.port, ws_path(stream)), 403, "token_invalid")


def test_the_development_secret_is_the_default(start, stream):
    broker = start.broker(start.redis(), BOND_SECRET=None)
    token = mint(stream, secret="bond-dev-secret-change-in-production")
    opens(broker, ws_path(stream, token=token))
