"""The fixtures: each hands out a part of the captured test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_langfuse.session import session_key

if TYPE_CHECKING:
    from typing import Protocol

    from langfuse import Langfuse

    from pytest_langfuse.captured_test import CapturedTest
    from pytest_langfuse.expect.observations import Observations
    from pytest_langfuse.outage.clock import Clock
    from pytest_langfuse.outage.outage_control import OutageControl
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
    from pytest_langfuse.process.processes import Processes
    from pytest_langfuse.standin.api_router import LangfuseRouter
    from pytest_langfuse.standin.queue.langfuse_queue import LangfuseQueue

    class ClientFactory(Protocol):
        """Builds a Langfuse client."""

        def __call__(self, **settings: Any) -> Langfuse:
            """Build a client with these settings."""


def _captured_test(request: pytest.FixtureRequest) -> CapturedTest:
    # A fixture that is requested at run time (`request.getfixturevalue`) captures the test from here on.
    return request.config.stash[session_key].captured(request.node.nodeid)


@pytest.fixture
def langfuse_spans(request: pytest.FixtureRequest) -> Observations:
    """The observations that this test sent to Langfuse: a live sequence with assertions.

    Example: `langfuse_spans.assert_tree("span answer")`. See `pytest_langfuse.Observations`.
    """
    from pytest_langfuse.expect.observations import Observations

    return Observations(_captured_test(request).source)


@pytest.fixture
def langfuse_api(request: pytest.FixtureRequest) -> Iterator[LangfuseRouter]:
    """Langfuse's REST API for this test, a `respx.MockRouter`. The stand-in answers requests that have no route.

    `langfuse_api.prompt("greeting", "Hello {{name}}")` adds a prompt. Needs the extra: `pytest-langfuse[respx]`.
    """
    from pytest_langfuse.recording.sdk import asked_first, base_handler
    from pytest_langfuse.standin.api_router import build_router

    with build_router(_captured_test(request).stand_in) as router, asked_first(router.handler):
        # During an outage this is the way over the socket, where requests meet the fault.
        router.base_handler = base_handler
        yield router


@pytest.fixture
def langfuse_server(request: pytest.FixtureRequest) -> LangfuseServer[Observations]:
    """A stand-in Langfuse on a real socket of this machine, to which the app exports during this test.

    `langfuse_server.url` is its base URL, `langfuse_server.spans` the observations that arrived, with all assertions.
    """
    return _captured_test(request).server


@pytest.fixture
def langfuse_queue(request: pytest.FixtureRequest) -> LangfuseQueue:
    """Kafka and SQS on this machine, to which an app with `export="kafka"` or `"sqs"` exports during this test.

    `langfuse_queue.messages` holds what arrived, `langfuse_queue.wait_for(2)` waits for it. Needs one of the extras
    `pytest-langfuse[kafka]` and `pytest-langfuse[sqs]`.
    """
    return _captured_test(request).queue


@pytest.fixture
def langfuse_outage(request: pytest.FixtureRequest) -> OutageControl:
    """Outages of Langfuse during this test, including those of its marker.

    `with langfuse_outage("hang"): ...` begins one. `langfuse_outage.attempts` counts the requests that were tried,
    `.refused` those that Langfuse did not accept; `.recover()` ends the outages.
    """
    return _captured_test(request).outages


@pytest.fixture
def langfuse_process(request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Runs applications in subprocesses: `app = langfuse_process.start("-m", "uvicorn", "shop:app")`.

    Their observations arrive in `langfuse_spans`; `app.lost` holds those that ended and never arrived.
    """
    processes = _captured_test(request).processes
    yield processes
    processes.close()


@pytest.fixture
def langfuse_clock(request: pytest.FixtureRequest) -> Iterator[Clock]:
    """A frozen clock for the app and the circuit breaker; `langfuse_clock.advance(seconds=300)` moves it.

    It moves the SDK's cache of prompts too, so that cached prompts expire. The timers of the SDK, of HTTP clients,
    asyncio and threads run in real time.
    """
    from pytest_langfuse.outage.clock import frozen_clock

    _captured_test(request)
    with frozen_clock() as clock:
        yield clock


@pytest.fixture
def langfuse_fresh_client(request: pytest.FixtureRequest) -> Iterator[ClientFactory]:
    """Langfuse's and OpenTelemetry's globals as in a fresh interpreter, for tests of set-up code.

    They are restored afterwards, and the clients that the test built are shut down with their processors and threads.
    The fixture builds a client: `langfuse_fresh_client(environment="staging")` is `Langfuse(environment="staging")`.
    """
    from langfuse import Langfuse

    from pytest_langfuse.recording.sdk import fresh_globals

    _captured_test(request)

    def build(**settings: Any) -> Langfuse:
        __tracebackhide__ = True
        return Langfuse(**settings)

    with fresh_globals():
        yield build


@pytest.fixture
def langfuse_tracing(request: pytest.FixtureRequest) -> Iterator[ClientFactory]:
    """The production singleton as in a fresh interpreter, captured, and removed after the test.

    `langfuse_tracing(environment="staging")` installs it, as does `init_tracing(...)` in the code under test.
    """
    from pytest_langfuse.recording.sdk import fresh_globals
    from pytest_langfuse.tracing import init_tracing
    from pytest_langfuse.tracing.singleton import fresh

    _captured_test(request)
    with fresh_globals(), fresh():
        yield init_tracing
