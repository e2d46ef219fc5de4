"""BOND_SECRET_PREVIOUS: while the secret is being changed, tokens of both are good."""

import json

import pytest

from harness import SECRET, mint, receive, ws_path
from told import Sse, auth, history_path, sse_path, told_raw
from wire import TEXT, RawWs, get, refusal, upgrade

OLD = "the-secret-before-this-one"


@pytest.fixture(scope="module")
def file_broker(house, redis):
    return house.broker(redis, BOND_SECRET_PREVIOUS=OLD)


@pytest.mark.parametrize("secret", [SECRET, OLD])
@pytest.mark.parametrize("digits", [16, 64])
async def test_both_secrets_are_good(broker, redis, stream, secret, digits):
    token = mint(stream, secret=secret, digits=digits)
    async with broker.connect(stream, token=token) as ws:
        redis.publish(stream, "1")
        assert await receive(ws, 1) == ["1"]


def test_for_each_way_to_a_stream(broker, redis, stream):
    token = mint(stream, secret=OLD)
    redis.publish(stream, "1")
    with Sse(broker, stream, token=token, from_="first") as sse:
        assert sse.events(1) == ["1"]
    assert len(get(broker.port, history_path(stream, token)).json()["events"]) == 1
    with RawWs(broker, stream, token="", headers=[f"Authorization: Bearer {token}"]):
        pass


def test_a_third_secret_is_not(broker, stream):
    token = mint(stream, secret="of-nobody")
    refusal(upgrade(broker.port, ws_path(stream, token)), 403, "token_invalid")
    refusal(get(broker.port, sse_path(stream, token)), 403, "token_invalid")


def test_an_old_token_expires_all_the_same(broker, stream):
    token = mint(stream, secret=OLD, ttl=-2)
    refusal(upgrade(broker.port, ws_path(stream, token)), 403, "token_expired")


def test_when_the_rotation_is_over_the_old_one_is_not(start, stream):
    broker = start.broker(start.redis())
    token = mint(stream, secret=OLD)
    refusal(upgrade(broker.port, ws_path(stream, token)), 403, "token_invalid")


@pytest.mark.parametrize("previous", ["", SECRET])
def test_an_empty_or_equal_previous_secret_opens_nothing(start, stream, previous):
    broker = start.broker(start.redis(), BOND_SECRET_PREVIOUS=previous)
    for secret in ("", OLD):
        token = mint(stream, secret=secret)
        refusal(upgrade(broker.port, ws_path(stream, token)), 403, "token_invalid")


def test_a_renewal_with_either(start, stream):
    broker = start.broker(start.redis(), BOND_SECRET_PREVIOUS=OLD, BOND_EXPIRE_LIVE=1)
    with RawWs(broker, stream, format="envelope", token=mint(stream, ttl=20)) as ws:
        told_raw(ws, "expiring")
        for secret in (OLD, SECRET):
            ws.frame(TEXT, auth(stream, ttl=600, secret=secret))
            assert told_raw(ws, "expiring")[-1]["in_s"] > 500


def test_neither_is_ever_logged(broker, stream):
    upgrade(broker.port, ws_path(stream, mint(stream, secret=OLD)))
    text = broker.log_text()
    assert SECRET not in text and OLD not in text and json.dumps(OLD) not in text
