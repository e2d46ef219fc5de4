"""Fixtures: servers for one test (`start`), servers for the tests of one file that
need nothing special (`redis`, `broker`), and a stream name that is nobody else's."""

import asyncio
import inspect
import secrets
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import SLOW_FACTOR, Broker, Certificates, Proxy, Redis  # noqa: E402

TEST_SECONDS = 60


class Start:
    """Starts servers and stops them all, last first, whatever the test did."""

    def __init__(self):
        self.started = []

    def _keep(self, server):
        self.started.append(server)
        return server

    def redis(self, **options):
        return self._keep(Redis(**options)).start()

    def redis_down(self, **options):
        """One that owns its port but does not run yet."""
        return self._keep(Redis(**options))

    def proxy(self, redis, **options):
        return self._keep(Proxy(redis.port, **options))

    def broker(self, redis, ready=True, **settings):
        return self._keep(Broker(redis, **settings)).start(ready)

    def launch(self, redis, **settings):
        """One that is not waited for."""
        return self._keep(Broker(redis, **settings)).launch()

    def stop(self):
        errors = []
        for server in reversed(self.started):
            try:
                server.stop()
            except AssertionError as error:
                errors.append(error)
        if errors:
            raise errors[0]


@pytest.fixture
def start():
    start = Start()
    yield start
    start.stop()


@pytest.fixture(scope="module")
def house():
    start = Start()
    yield start
    start.stop()


@pytest.fixture(scope="module")
def redis(house):
    return house.redis()


@pytest.fixture(scope="module")
def file_broker(house, redis):
    return house.broker(redis)


@pytest.fixture
def broker(file_broker):
    """The broker of this file; no test may hurt it."""
    yield file_broker
    assert file_broker.alive(), "this test ended the broker:\n" + file_broker.log_text()


@pytest.fixture
def stream():
    return secrets.token_hex(8)  # as Bond's ids look


@pytest.fixture(scope="session")
def certificates():
    made = Certificates()
    yield made
    made.remove()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Tests may be coroutines."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_SECONDS * SLOW_FACTOR))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what the brokers said."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    brokers = [
        server
        for name in ("start", "house")
        if name in getattr(item, "funcargs", {})
        for server in item.funcargs[name].started
        if isinstance(server, Broker)
    ]
    if "file_broker" in getattr(item, "funcargs", {}):
        brokers.append(item.funcargs["file_broker"])
    for broker in brokers:
        report.sections.append((f"broker on port {broker.port}", broker.log_text()[-6000:]))
