"""Limits: how many clients in all and from one address, which address a request counts
for behind proxies, and that guessing tokens is slow and hurts only who guesses."""

import asyncio
import random
import socket
import threading
import time

import pytest

from harness import mint, receive, seconds, until, wait_until, ws_path
from told import Sse, history_path, sse_path
from wire import Hangup, RawWs, Refused, Wire, get, refusal, upgrade, upgrade_head


def forwarded(*entries):
    return [f"X-Forwarded-For: {entry}" for entry in entries]


def ask(broker, stream, *headers, **query):
    return upgrade(broker.port, ws_path(stream, **query), headers)


def retry_after(reply):
    return 1 <= int(reply.headers["retry-after"]) <= 60


def has_room(broker, stream, *headers):
    """Departures are noticed soon, not at once."""
    wait_until(lambda: ask(broker, stream, *headers).status == 101, "there is no room")


def refuses_more(broker, stream, status, code):
    """Whatever way a client comes, and says when to come back; a plain request is answered."""
    for path in (ws_path(stream), sse_path(stream), history_path(stream)):
        with Wire(broker.port) as wire:
            wire.send(upgrade_head(path))
            reply = wire.reply()
        refusal(reply, status, code)
        assert retry_after(reply)
    assert get(broker.port, "/health").status == 200


# BOND_MAX_CLIENTS.


def test_max_clients(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_MAX_CLIENTS=3)
    wait_until(lambda: get(broker.port, "/ready").status == 200, "it is not ready")
    clients = [RawWs(broker, stream) for _ in range(3)]
    refuses_more(broker, stream, 503, "unavailable")
    assert get(broker.port, "/ready").status == 200
    redis.publish(stream, "those who are in are served")
    for ws in clients:
        assert ws.next_text() == "those who are in are served"
    clients.pop().close()
    has_room(broker, stream)
    for ws in clients:
        ws.close()


def test_max_clients_counts_all_workers(start, stream):
    broker = start.broker(start.redis(), BOND_MAX_CLIENTS=20, BOND_WORKERS=4)
    clients, refused = [], 0
    for _ in range(40):
        try:
            clients.append(RawWs(broker, stream))
        except Refused as no:
            refusal(no.reply, 503, "unavailable")
            refused += 1
    assert (len(clients), refused) == (20, 20)
    for ws in clients:
        ws.close()
    has_room(broker, stream)


# BOND_MAX_CLIENTS_PER_IP.


@pytest.fixture(scope="module")
def two_each(house, redis):
    return house.broker(redis, BOND_MAX_CLIENTS_PER_IP=2)


def come_in(kind, broker, stream):
    """Those of before may still be leaving."""

    def tried():
        try:
            client = kind(broker, stream)
        except Refused:
            return None
        if kind is RawWs or client.reply.status == 200:
            return client
        client.close()
        return None

    return wait_until(tried, "there is no room")


@pytest.mark.parametrize("kind", [RawWs, Sse])
def test_max_clients_per_ip(two_each, stream, kind):
    with come_in(RawWs, two_each, stream), come_in(Sse, two_each, stream):
        refuses_more(two_each, stream, 429, "too_many_clients")
    has_room(two_each, stream)
    with come_in(kind, two_each, stream):
        pass


def test_another_address_is_not_concerned(two_each, stream):
    with come_in(RawWs, two_each, stream), come_in(RawWs, two_each, "other"):
        assert ask(two_each, stream).status == 429
        with Wire(two_each.port) as wire:
            wire.sock.close()
            wire.sock = socket.create_connection(
                ("127.0.0.1", two_each.port), seconds(10), source_address=("127.0.0.2", 0)
            )
            wire.send(upgrade_head(ws_path(stream)))
            assert wire.reply().status == 101


def test_an_untrusted_header_changes_nothing(two_each, stream):
    """Without BOND_TRUST_PROXY anyone could write it."""
    has_room(two_each, stream)
    with come_in(RawWs, two_each, stream), come_in(RawWs, two_each, stream):
        assert ask(two_each, stream, *forwarded("203.0.113.9")).status == 429


def test_a_refused_handshake_takes_no_place(two_each, stream):
    has_room(two_each, stream)
    with come_in(RawWs, two_each, stream):
        for _ in range(5):
            assert ask(two_each, stream, token=mint(stream, ttl=-5)).status == 403
            assert ask(two_each, stream, from_="soon").status == 400
        with come_in(RawWs, two_each, stream):
            assert ask(two_each, stream).status == 429


def test_places_come_back_however_clients_leave(two_each, stream):
    has_room(two_each, stream)
    for how in ("close", "reset", "close frame", "protocol error"):
        with come_in(RawWs, two_each, stream):
            ws = come_in(RawWs, two_each, stream)
            if how == "reset":
                ws.reset()
            elif how == "close frame":
                ws.send_close()
                ws.rest()
            elif how == "protocol error":
                ws.frame(3, b"?")
                ws.rest()
            ws.close()
            has_room(two_each, stream)
        has_room(two_each, stream)


# BOND_TRUST_PROXY: which of X-Forwarded-For's entries counts.


@pytest.fixture(scope="module")
def behind_one(house, redis):
    return house.broker(redis, BOND_MAX_CLIENTS_PER_IP=1, BOND_TRUST_PROXY=1)


@pytest.fixture(scope="module")
def behind_two(house, redis):
    return house.broker(redis, BOND_MAX_CLIENTS_PER_IP=1, BOND_TRUST_PROXY=2)



def same_address(broker, stream, one, other):
    """Do these two requests count for one address?"""
    has_room(broker, stream, *one)
    wait_until(lambda: ask(broker, stream, *other).status == 101, "no room for the other")
    for _ in range(3):  # the place of the probe above may not be free yet
        try:
            with RawWs(broker, stream, headers=one):
                end = time.monotonic() + seconds(1)
                while (reply := ask(broker, stream, *other)).status == 429:
                    if time.monotonic() > end:
                        refusal(reply, 429, "too_many_clients")
                        return True
                return False
        except Refused:
            time.sleep(0.05)
    raise AssertionError("no room")


@pytest.mark.parametrize(
    "one, other, same",
    [
        (["198.51.100.1"], ["198.51.100.1"], True),
        (["198.51.100.1"], ["198.51.100.2"], False),
        # What the client itself wrote stands on the left: a lie changes nothing.
        (["198.51.100.1"], ["6.6.6.6, 198.51.100.1"], True),
        (["1.1.1.1, 198.51.100.1"], ["2.2.2.2, 3.3.3.3, 198.51.100.1"], True),
        (["1.1.1.1, 198.51.100.1"], ["1.1.1.1, 198.51.100.2"], False),
        (["1.1.1.1", "198.51.100.1"], ["198.51.100.1"], True),
        (["garbage, 198.51.100.1"], ["198.51.100.1"], True),
        # The forms that proxies write.
        (["198.51.100.1:5678"], ["198.51.100.1:9999"], True),
        (["2001:db8::1"], ["[2001:db8::1]:443"], True),
        (["2001:db8::1"], ["2001:db8:0:0:ffff::2"], True),
        (["2001:db8::1"], ["2001:db8:0:1::1"], False),
        (["198.51.100.1"], ["::ffff:198.51.100.1"], True),
        # Not written by the proxy at all: the peer's own address.
        ([], ["127.0.0.1"], True),
        (["garbage"], [], True),
        ([""], [], True),
    ],
    ids=str,
)
def test_one_trusted_proxy(behind_one, stream, one, other, same):
    assert same_address(behind_one, stream, forwarded(*one), forwarded(*other)) is same


@pytest.mark.parametrize(
    "one, other, same",
    [
        (["198.51.100.1, 10.0.0.1"], ["198.51.100.1, 10.0.0.2"], True),
        (["198.51.100.1, 10.0.0.1"], ["198.51.100.2, 10.0.0.1"], False),
        (["6.6.6.6, 198.51.100.1, 10.0.0.1"], ["7.7.7.7, 198.51.100.1, 10.0.0.1"], True),
        (["198.51.100.1", "10.0.0.1"], ["198.51.100.1, 10.0.0.1"], True),
        # Fewer entries: it did not come through both.
        (["10.0.0.1"], ["198.51.100.1, 10.0.0.1"], False),
    ],
    ids=str,
)
def test_two_trusted_proxies(behind_two, stream, one, other, same):
    assert same_address(behind_two, stream, forwarded(*one), forwarded(*other)) is same


# Bad tokens.


@pytest.fixture
def guarded(start):
    return start.broker(start.redis(), BOND_TRUST_PROXY=1)


def guess(broker, stream, who, path=ws_path):
    """One bad token; how long the answer took, or None without an answer."""
    began = time.monotonic()
    try:
        with Wire(broker.port) as wire:
            path_ = path(stream, mint(stream, secret=str(random.random())))
            wire.send(upgrade_head(path_, forwarded(who)))
            refusal(wire.reply(), 403, "token_invalid")
    except (Hangup, ConnectionResetError):
        return None
    return time.monotonic() - began


def test_many_bad_tokens_from_one_address_are_slowed_down(guarded, stream):
    first = [guess(guarded, stream, "203.0.113.1") for _ in range(5)]
    assert max(first) < seconds(0.5), "a typing error must not be punished"
    took = []
    while len(took) < 30 and (not took or took[-1] < 0.8):
        took.append(guess(guarded, stream, "203.0.113.1"))
    assert took[-1] >= 0.8, "30 guesses, and none was slowed down"
    again = [guess(guarded, stream, "203.0.113.1", sse_path) for _ in range(2)]
    assert max(again) >= 0.8, "not by another door"
    assert guess(guarded, stream, "203.0.113.2") < seconds(0.5), "another address was punished"


async def test_others_are_not_hurt_and_neither_are_good_tokens(guarded, stream):
    """Forty threads guess; meanwhile everyone else connects and reads as ever."""
    redis_stop = threading.Event()
    answered = []

    def guessing():
        while not redis_stop.is_set():
            answered.append(guess(guarded, stream, "203.0.113.1"))

    threads = [threading.Thread(target=guessing, daemon=True) for _ in range(40)]
    for thread in threads:
        thread.start()
    try:
        await until(lambda: None in answered, "none was turned away without an answer", 15)
        for who in ("203.0.113.2", "203.0.113.1"):
            for _ in range(10):
                began = time.monotonic()
                async with guarded.connect(stream, headers=[("X-Forwarded-For", who)]):
                    assert time.monotonic() - began < seconds(1.5)
    finally:
        redis_stop.set()
        for thread in threads:
            thread.join()
    slow = [took for took in answered if took is not None and took > 0.8]
    assert slow, "no answer was late"


def test_a_held_refusal_survives_a_hang_up(guarded, stream):
    """Who does not wait for the late answer frees its place, and harms nothing."""
    for _ in range(100):
        with Wire(guarded.port) as wire:
            wire.send(upgrade_head(ws_path(stream, "1.x"), forwarded("203.0.113.1")))
    assert get(guarded.port, "/health").status == 200
    with RawWs(guarded, stream):
        pass


async def test_it_is_forgiven_with_time(guarded, stream):
    """One a second is free again."""
    while guess(guarded, stream, "203.0.113.1") < 0.8:
        pass
    await asyncio.sleep(2.5)
    assert guess(guarded, stream, "203.0.113.1") < seconds(0.5)


@pytest.mark.parametrize("token", ["", "garbage", "9999999999.0123456789abcdef", "1.x"])
def test_every_kind_of_bad_token_counts(guarded, stream, token):
    took = count = 0
    while took < 0.8 and count < 20:
        began = time.monotonic()
        assert ask(guarded, stream, *forwarded("203.0.113.7"), token=token).status == 403
        took = time.monotonic() - began
        count += 1
    assert took >= 0.8


# BOND_ALLOWED_ORIGINS, for WebSockets; test_sse.py has CORS.


def test_origin_forbidden(start, stream):
    broker = start.broker(start.redis(), BOND_ALLOWED_ORIGINS="https://page.example")
    refusal(ask(broker, stream, "Origin: https://evil.example"), 403, "origin_forbidden")
    refusal(ask(broker, stream, "Origin: null"), 403, "origin_forbidden")
    assert ask(broker, stream, "Origin: https://page.example").status == 101
    assert ask(broker, stream).status == 101, "no browser"


@pytest.mark.parametrize("origins", ["", "*", "https://x.example, *"])
def test_all_origins(start, stream, origins):
    broker = start.broker(start.redis(), BOND_ALLOWED_ORIGINS=origins)
    assert ask(broker, stream, "Origin: https://any.example").status == 101


async def test_limits_do_not_touch_who_is_in(start, stream):
    redis = start.redis()
    broker = start.broker(redis, BOND_MAX_CLIENTS_PER_IP=1)
    async with broker.connect(stream) as ws:
        for n in range(20):
            assert ask(broker, stream).status == 429
            redis.publish(stream, str(n))
            assert await receive(ws, 1) == [str(n)]
