"""Redis is far away: its answers come slowly, but they come. Time runs out only when
nothing comes at all."""

from harness import receive, seconds

PATIENCE = 0.5  # seconds without a byte until the broker gives a connection up
RATE = 500_000  # bytes per second


def over_a_slow_path(start, redis):
    proxy = start.proxy(redis, rate=int(RATE / seconds(1)))
    return start.broker(proxy, BOND_REDIS_TIMEOUT_MS=int(1000 * seconds(PATIENCE)))


def event_that_takes(patiences):
    return "0123456789abcdef" * int(RATE * PATIENCE * patiences / 16)


async def test_an_answer_may_take_longer_than_the_timeout_while_it_flows(start, stream):
    redis = start.redis()
    broker = over_a_slow_path(start, redis)
    event = event_that_takes(patiences=4)
    redis.publish_all(stream, [event, "small"])
    async with broker.connect(stream, from_="first") as ws:
        assert await receive(ws, 2, within=30) == [event, "small"]
    assert broker.log("redis_down") == []


async def test_an_answer_that_ceases_to_flow_is_given_up(start, stream):
    redis = start.redis()
    proxy = start.proxy(redis)
    broker = start.broker(proxy, BOND_REDIS_TIMEOUT_MS=500)
    async with broker.connect(stream, from_="first") as ws:
        proxy.freeze()
        redis.publish(stream, "after")
        broker.wait_log("Redis has not answered for 500 ms")
        proxy.thaw()
        assert await receive(ws, 1, within=20) == ["after"]
