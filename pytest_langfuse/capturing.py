"""Capture as pytest sees it: switched on for a run or for single tests, one recording a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.options import Options
from pytest_langfuse.recording.early_clients import EarlyClients
from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY, PLACEHOLDER_SECRET_KEY

if TYPE_CHECKING:
    from pytest_langfuse.outage.stand_in import StandIn
    from pytest_langfuse.recording.capture import Capture
    from pytest_langfuse.recording.recording import Recording

#: Requesting one of these captures the test.
FIXTURES = frozenset({"langfuse_spans", "langfuse_api", "langfuse_tracing", "langfuse_fresh_client"})

#: A closed port of this machine: a subprocess of a test that builds a client of its own ends up here, not at Langfuse.
_NOWHERE = "http://127.0.0.1:9"


class Capturing:
    """Starts and stops the capture of one pytest run. Imports the SDK only when it starts."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._capture: Capture | None = None
        self._stand_in: StandIn | None = None
        self._stack = ExitStack()
        self._test_environment = ExitStack()
        self._recording: Recording | None = None
        self._early = EarlyClients()
        if options.capture:
            self.start()
        else:
            self._early.start()

    @property
    def started(self) -> bool:
        """Whether the SDK is hooked."""
        return self._capture is not None

    @property
    def capture(self) -> Capture:
        """The capture; started by `start`."""
        assert self._capture is not None  # noqa: S101 - a caller that forgot `start` is a defect of this plugin
        return self._capture

    @property
    def stand_in(self) -> StandIn:
        """What answers the REST calls of captured clients."""
        assert self._stand_in is not None  # noqa: S101 - as above
        return self._stand_in

    @property
    def recording(self) -> Recording | None:
        """The recording of the test that runs, if it is captured."""
        return self._recording

    def start(self) -> None:
        """Hook the SDK: for every test with `--langfuse-capture`, else for those that ask for a fixture."""
        if self.started:
            return
        # Imported here: a run that captures nothing must not pay for the SDK's import (about 300 ms).
        from pytest_langfuse.outage.stand_in import StandIn  # noqa: PLC0415
        from pytest_langfuse.recording.capture import Capture  # noqa: PLC0415
        from pytest_langfuse.recording.sdk import hooked, hooks  # noqa: PLC0415

        stand_in = StandIn()
        capture = Capture(
            everything=self.options.capture,
            flush=hooks.flush,
            flush_scores=hooks.flush_scores,
            score_source=lambda: stand_in.scores,
        )
        if self.options.capture:
            self._stack.enter_context(environment(everywhere=True))
        self._stack.enter_context(hooked(capture, stand_in))
        self._capture, self._stand_in = capture, stand_in

    def stop(self) -> None:
        """Take the hooks out again, and shut down the clients that were built under them."""
        self.end()
        self._early.stop()
        self._stack.close()
        self._capture = None

    def begin(self, test: str) -> Recording:
        """Attribute what starts from now on to `test`."""
        from pytest_langfuse.recording.sdk import hooks  # noqa: PLC0415 - as in `start`

        self.start()
        self.end()
        if not self.options.capture:
            self._test_environment.enter_context(environment(everywhere=False))
            hooks.enable(self._early.arguments)
        hooks.revive()
        self._recording = self.capture.begin(test)
        return self._recording

    def end(self) -> None:
        """The test is over, its teardown included."""
        if self._recording is None:
            return
        self.capture.end(self._recording)
        self._recording = None
        self._test_environment.close()


@contextmanager
def environment(*, everywhere: bool) -> Iterator[None]:
    """Set what a captured client needs and the environment lacks, inside the block.

    `LANGFUSE_TIMEOUT=1` keeps an outage test short (a client keeps the timeout that it was built with); the keys let
    a client be built where no secrets are. With `everywhere`, subprocesses must not reach the real Langfuse either.
    """
    values = {"LANGFUSE_TIMEOUT": "1"}
    if "LANGFUSE_PUBLIC_KEY" not in os.environ and "LANGFUSE_SECRET_KEY" not in os.environ:
        values["LANGFUSE_PUBLIC_KEY"] = PLACEHOLDER_PUBLIC_KEY
        values["LANGFUSE_SECRET_KEY"] = PLACEHOLDER_SECRET_KEY
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            if name not in os.environ:
                patch.setenv(name, value)
        if everywhere:
            patch.setenv("LANGFUSE_BASE_URL", _NOWHERE)
            patch.setenv("LANGFUSE_HOST", _NOWHERE)
        yield
