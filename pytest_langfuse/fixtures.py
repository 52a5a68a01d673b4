"""The fixtures, which only hand out what a captured test has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pytest_langfuse.session import session_key

if TYPE_CHECKING:
    from langfuse import Langfuse

    from pytest_langfuse.captured_test import CapturedTest
    from pytest_langfuse.expect.observations import Observations
    from pytest_langfuse.outage.clock import Clock
    from pytest_langfuse.outage.outage_control import OutageControl
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
    from pytest_langfuse.process.processes import Processes
    from pytest_langfuse.standin.api_router import LangfuseRouter


class ClientFactory(Protocol):
    """Builds a client with the given settings."""

    def __call__(self, **settings: Any) -> Langfuse:
        """Build it."""


def _captured_test(request: pytest.FixtureRequest) -> CapturedTest:
    # One that is requested at run time (`request.getfixturevalue`) captures the test from here on.
    return request.config.stash[session_key].captured(request.node.nodeid)


@pytest.fixture
def langfuse_spans(request: pytest.FixtureRequest) -> Observations:
    """What this test sent to Langfuse: a live sequence of observations, with assertions.

    Example: `langfuse_spans.assert_tree("span answer")`. See `pytest_langfuse.Observations`.
    """
    from pytest_langfuse.expect.observations import Observations

    return Observations(_captured_test(request).source)


@pytest.fixture
def langfuse_api(request: pytest.FixtureRequest) -> Iterator[LangfuseRouter]:
    """Langfuse's REST API for this test: a `respx.MockRouter`; what has no route is answered by the stand-in.

    `langfuse_api.prompt("greeting", "Hello {{name}}")` adds a prompt. Needs the extra: `pytest-langfuse[respx]`.
    """
    from pytest_langfuse.recording.sdk import asked_first, base_handler
    from pytest_langfuse.standin.api_router import build_router

    with build_router(_captured_test(request).stand_in) as router, asked_first(router.handler):
        # During an outage test this is the way over the socket, on which requests meet the fault.
        router.base_handler = base_handler
        yield router


@pytest.fixture
def langfuse_server(request: pytest.FixtureRequest) -> LangfuseServer:
    """A Langfuse on a real socket of this machine, to which the app really exports during this test.

    `langfuse_server.url` is its base URL, `langfuse_server.spans` what has arrived, with all assertions.
    """
    return _captured_test(request).server


@pytest.fixture
def langfuse_outage(request: pytest.FixtureRequest) -> OutageControl:
    """Outages of Langfuse during this test, those of its marker included.

    `with langfuse_outage("hang"): ...` begins one. `langfuse_outage.attempts` counts what was tried, `.refused` what
    Langfuse did not take; `.recover()` ends it.
    """
    return _captured_test(request).outages


@pytest.fixture
def langfuse_process(request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Applications in processes of their own: `app = langfuse_process.start("-m", "uvicorn", "shop:app")`.

    Their observations arrive in `langfuse_spans`; `app.lost` names those that a process ended and never sent.
    """
    processes = _captured_test(request).processes
    yield processes
    processes.close()


@pytest.fixture
def langfuse_clock() -> Iterator[Clock]:
    """A clock that stands still for the app and the circuit breaker, until `langfuse_clock.advance(seconds=300)`.

    The timers of the SDK, of HTTP clients, asyncio and threads go on in real time.
    """
    from pytest_langfuse.outage.clock import frozen_clock

    with frozen_clock() as clock:
        yield clock


@pytest.fixture
def langfuse_fresh_client(request: pytest.FixtureRequest) -> Iterator[ClientFactory]:
    """Langfuse's and OpenTelemetry's globals as on a fresh interpreter, for tests of set-up code itself.

    Restored afterwards; clients that the test built are shut down, no processor or thread stays behind.
    The value builds a client: `langfuse_fresh_client(environment="staging")` is `Langfuse(environment="staging")`.
    """
    from langfuse import Langfuse

    from pytest_langfuse.recording.sdk import fresh_globals

    _captured_test(request)

    def build(**settings: Any) -> Langfuse:
        return Langfuse(**settings)

    with fresh_globals():
        yield build


@pytest.fixture
def langfuse_tracing(request: pytest.FixtureRequest) -> Iterator[ClientFactory]:
    """The production singleton as on a fresh interpreter, captured, and undone afterwards.

    `langfuse_tracing(environment="staging")` installs it, as `init_tracing(...)` of the code under test does.
    """
    from pytest_langfuse.recording.sdk import fresh_globals
    from pytest_langfuse.tracing import init_tracing
    from pytest_langfuse.tracing.singleton import fresh

    _captured_test(request)
    with fresh_globals(), fresh():
        yield init_tracing
