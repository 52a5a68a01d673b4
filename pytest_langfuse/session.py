"""Capture as pytest sees it: switched on for a run or for single tests, one recording a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_langfuse.options import Options
from pytest_langfuse.recording.early_clients import EarlyClients

if TYPE_CHECKING:
    from pytest_langfuse.outage.outage_control import OutageControl
    from pytest_langfuse.outage.server.langfuse_server import LangfuseServer
    from pytest_langfuse.process.processes import Processes
    from pytest_langfuse.recording.blocking_sampler import BlockingSampler
    from pytest_langfuse.recording.recorder import Recorder
    from pytest_langfuse.recording.sources.combined import CombinedSource
    from pytest_langfuse.recording.sources.live import LiveSource
    from pytest_langfuse.standin.stand_in import StandIn

#: Requesting one of these captures the test.
FIXTURES = frozenset(
    {
        "langfuse_api",
        "langfuse_fresh_client",
        "langfuse_outage",
        "langfuse_process",
        "langfuse_server",
        "langfuse_spans",
        "langfuse_tracing",
    }
)

#: So does this marker.
OUTAGE_MARKER = "langfuse_outage"


def captures(item: pytest.Item) -> bool:
    """Whether a test asks for capture."""
    names = getattr(item, "fixturenames", ())
    return bool(FIXTURES.intersection(names)) or item.get_closest_marker(OUTAGE_MARKER) is not None


#: A closed port of this machine: a subprocess of a test that builds a client of its own ends up here, not at Langfuse.
_NOWHERE = "http://127.0.0.1:9"


class Capturing:
    """Starts and stops the capture of one pytest run. Imports the SDK only when it starts."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._capture: Recorder | None = None
        self._stand_in: StandIn | None = None
        self._stack = ExitStack()
        self._of_test = ExitStack()
        self._listening: LangfuseServer | None = None
        self._server: LangfuseServer | None = None
        self._outages: OutageControl | None = None
        self._processes: Processes | None = None
        self._source: CombinedSource | None = None
        self._sampler: BlockingSampler | None = None
        self._recording: LiveSource | None = None
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
    def capture(self) -> Recorder:
        """The capture; started by `start`."""
        assert self._capture is not None  # noqa: S101 - a caller that forgot `start` is a defect of this plugin
        return self._capture

    @property
    def stand_in(self) -> StandIn:
        """What answers the REST calls of captured clients."""
        assert self._stand_in is not None  # noqa: S101 - as above
        return self._stand_in

    @property
    def recording(self) -> LiveSource | None:
        """The recording of the test that runs, if it is captured."""
        return self._recording

    @property
    def source(self) -> CombinedSource:
        """What the test that runs has made for Langfuse, also in other processes; for a captured test only."""
        assert self._source is not None  # noqa: S101 - as above
        return self._source

    def start(self) -> None:
        """Hook the SDK: for every test with `--langfuse-capture`, else for those that ask for a fixture."""
        if self.started:
            return
        # Imported here: a run that captures nothing must not pay for the SDK's import (about 300 ms).
        from pytest_langfuse.recording.recorder import Recorder
        from pytest_langfuse.recording.sdk import hooked, hooks
        from pytest_langfuse.standin.stand_in import StandIn

        stand_in = StandIn()
        capture = Recorder(
            everything=self.options.capture,
            flush=hooks.flush,
            flush_scores=hooks.flush_scores,
            score_source=lambda: stand_in.score_log,
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

    def begin(self, test: str) -> LiveSource:
        """Attribute what starts from now on to `test`."""
        from pytest_langfuse.recording.sdk import hooks
        from pytest_langfuse.recording.sources.combined import CombinedSource

        self.start()
        self.end()
        if not self.options.capture:
            self._of_test.enter_context(environment(everywhere=False))
            hooks.enable(self._early.arguments)
        hooks.revive()
        self._recording = self.capture.begin(test)
        self._source = CombinedSource(self._recording)
        return self._recording

    def end(self) -> None:
        """The test is over, its teardown included."""
        if self._recording is None:
            return
        if self._processes is not None:
            self._processes.close()
            self._recording.add_remote(self._processes.source)
        self._of_test.close()
        self._listening = self._server = self._outages = self._processes = None
        self.capture.end(self._recording)
        self._recording = self._source = None
        # Prompts, media and datasets stay: a fixture of wider scope may have made them.
        self.stand_in.forget_sent()

    @property
    def listening(self) -> LangfuseServer:
        """A Langfuse on a real socket, for other processes; the app in this one exports to it as of `server`."""
        from pytest_langfuse.expect.observations import Observations
        from pytest_langfuse.outage.server.langfuse_server import LangfuseServer

        if self._listening is None:
            assert self._recording is not None  # noqa: S101 - called for a captured test only
            self._listening = self._of_test.enter_context(LangfuseServer(self.stand_in, observations=Observations))
        return self._listening

    @property
    def server(self) -> LangfuseServer:
        """A Langfuse on a real socket, to which the app really exports from now on, until the test ends."""
        from pytest_langfuse.recording.http.forward import Forward
        from pytest_langfuse.recording.sdk import hooks

        if self._server is None:
            self._server = self.listening
            self._of_test.enter_context(self.capture.sent_for_real(self._server.accepted))
            self._of_test.enter_context(hooks.forwarding(Forward(self._server.base_url_for)))
        return self._server

    @property
    def outages(self) -> OutageControl:
        """The outages of this test."""
        from pytest_langfuse.outage.outage_control import OutageControl

        if self._outages is None:
            self._outages = OutageControl(self.server)
            self._of_test.callback(self._outages.close)
        return self._outages

    @property
    def processes(self) -> Processes:
        """The processes of this test."""
        from pytest_langfuse.process.processes import Processes
        from pytest_langfuse.process.received_exports import ReceivedExports

        if self._processes is None:
            assert self._recording is not None  # noqa: S101 - called for a captured test only
            received = ReceivedExports(self._recording.arrived)
            self._of_test.enter_context(self.stand_in.exports_shown_to(received.add))
            self._processes = Processes(
                received,
                url=lambda: self.listening.url,
                settle=self._settle,
                wait=self._recording.wait,
                scores=lambda: self.stand_in.scores,
            )
            self.source.others.append(self._processes.source)
        return self._processes

    def _settle(self, seconds: float) -> None:
        """Have all that processes have sent so far taken in, if that can be done in so many seconds."""
        if self._listening is not None:
            self._listening.settle(seconds)

    def begin_degraded(self, item: pytest.Item) -> None:
        """Put the fault in force under which the whole suite runs."""
        from pytest_langfuse.outage.outage import Outage
        from pytest_langfuse.outage.suite import FAULT

        if (fault := item.stash.get(FAULT, None)) is not None:
            # A test that sends nothing is no worse off: it need not reach the outage.
            self.outages.begin(Outage.of(fault, required=False))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See where the test waits for Langfuse, if the whole suite runs in an outage."""
        if self.options.outage is None:
            yield
            return
        from pytest_langfuse.recording.blocking_sampler import BlockingSampler

        with BlockingSampler() as self._sampler:
            yield

    def add_degradation(self, report: pytest.TestReport, item: pytest.Item) -> None:
        """Give the report of a run in an outage what the degradation report says of it."""
        from pytest_langfuse.outage.suite import FAULT
        from pytest_langfuse.report.degradation import ATTRIBUTE

        fault = item.stash.get(FAULT, None)
        if fault is None or self._recording is None:
            return
        details: dict[str, object] = {"fault": fault}
        if report.when == "call":
            wait = self._sampler.longest() if self._sampler is not None else None
            details["lost"] = len(self._recording.undelivered()) + self._lost_by_processes()
            details["blocked"] = str(wait) if wait is not None else None
        setattr(report, ATTRIBUTE, details)

    def add_output(self, report: pytest.TestReport, *, verbose: int) -> None:
        """Give the report of a failure what the processes of the test have printed."""
        if self._processes is not None and report.failed:
            from pytest_langfuse.report.process_output import add_sections

            add_sections(report, self._processes.apps, whole=verbose > 1)

    def _lost_by_processes(self) -> int:
        """Observations of which it is known that a process lost them."""
        return sum(len(app.lost) for app in self._processes.apps if app.has_ledger) if self._processes else 0

    def check_outages(self) -> None:
        """Fail the test if an outage was never reached, without a traceback: there is no line of the test in it."""
        if self._outages is not None and (reason := self._outages.why_not_reached()) is not None:
            pytest.fail(reason, pytrace=False)


@contextmanager
def environment(*, everywhere: bool) -> Iterator[None]:
    """Set what a captured client needs and the environment lacks, inside the block.

    `LANGFUSE_TIMEOUT=1` keeps an outage test short (a client keeps the timeout that it was built with); the keys let
    a client be built where no secrets are. With `everywhere`, subprocesses must not reach the real Langfuse either.
    """
    from pytest_langfuse.recording import placeholder

    values = {"LANGFUSE_TIMEOUT": "1"}
    if "LANGFUSE_PUBLIC_KEY" not in os.environ and "LANGFUSE_SECRET_KEY" not in os.environ:
        values["LANGFUSE_PUBLIC_KEY"] = placeholder.PLACEHOLDER_PUBLIC_KEY
        values["LANGFUSE_SECRET_KEY"] = placeholder.PLACEHOLDER_SECRET_KEY
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            if name not in os.environ:
                patch.setenv(name, value)
        if everywhere:
            patch.setenv("LANGFUSE_BASE_URL", _NOWHERE)
            patch.setenv("LANGFUSE_HOST", _NOWHERE)
        yield
