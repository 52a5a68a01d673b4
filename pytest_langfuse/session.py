"""The capture of one pytest run: a plugin object that hooks the SDK when needed, and begins and ends tests."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import pytest

from pytest_langfuse.environment import CapturedEnvironment, placeholder_keys
from pytest_langfuse.options import Options
from pytest_langfuse.recording.early_clients import EarlyClients
from pytest_langfuse.recording.import_watcher import ImportWatcher
from pytest_langfuse.refused_connections import RefusedConnections

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.captured_test import CapturedTest
    from pytest_langfuse.outage.outage import Outage
    from pytest_langfuse.recording.recorder import Recorder
    from pytest_langfuse.standin.stand_in import StandIn

#: A test that requests one of these fixtures is captured.
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

#: So is a test with this marker.
OUTAGE_MARKER = "langfuse_outage"

#: The key of xdist's `workeroutput` under which a worker hands its counts to the controller.
_WORKER_OUTPUT = "pytest_langfuse"
#: The key of `workerinput` under which a worker finds the width of the terminal.
_WORKER_INPUT = "pytest_langfuse_columns"


def requests_capture(item: pytest.Item) -> bool:
    """Return whether a test asks for capture, by a fixture or by a marker."""
    names = getattr(item, "fixturenames", ())
    return bool(FIXTURES.intersection(names)) or item.get_closest_marker(OUTAGE_MARKER) is not None


class _Started(NamedTuple):
    """The parts that exist once the SDK is hooked."""

    recorder: Recorder
    stand_in: StandIn


class CaptureSession:
    """Captures the tests of one run, registered as a plugin of it. Imports the SDK only when it starts."""

    #: The runs of this process that are not over: more than one with pytester.
    _running: ClassVar[list[CaptureSession]] = []

    def __init__(self, config: pytest.Config) -> None:
        self.options = Options.of(config)
        #: The test that runs, if it is captured.
        self.test: CapturedTest | None = None
        self._config = config
        self._stack = ExitStack()
        self._started: _Started | None = None
        self._early_clients = EarlyClients()
        self.refused = RefusedConnections()
        self._imports = ImportWatcher({"freezegun": self._spare, "pytest_langfuse.tracing.config": self._supply})
        self._suite_faults: Sequence[str] = ()
        self._styled = False
        #: When the test began that runs and is not captured, in nanoseconds since 1970.
        self._began = 0
        #: The counts of each process that captured tests: of this one, or of xdist's workers.
        self._counts: list[Mapping[str, int]] = []

    @classmethod
    def of(cls, config: pytest.Config) -> CaptureSession:
        """Return the session of a run; the first call makes it.

        Raises:
            pytest.UsageError: an option has a value that is not allowed.
        """
        session = config.stash.get(session_key, None)
        if session is None:
            session = config.stash[session_key] = cls(config)
            config.pluginmanager.register(session.refused, "langfuse_refused_connections")
            # Not pytest_unconfigure: that is not called when a conftest is broken.
            config.add_cleanup(session.stop)
            session.open()
            config.pluginmanager.register(session, "langfuse_session")
        return session

    # -- the run -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Capture from now on with `--langfuse-capture`; otherwise remember clients that are built before a capture."""
        self._running.append(self)
        self._imports.start()
        if self.options.capture:
            self.start()
        else:
            self._early_clients.start()

    def start(self) -> _Started:
        """Hook the SDK, if that was not done: for all tests with `--langfuse-capture`, else for those that ask."""
        if self._started is not None:
            return self._started
        # Imported here: a run that captures nothing must not pay for the SDK's import (about 300 ms).
        from pytest_langfuse.recording.recorder import Recorder
        from pytest_langfuse.recording.sdk import hooked, hooks
        from pytest_langfuse.sealing import sealed
        from pytest_langfuse.standin.stand_in import StandIn

        stand_in = StandIn()
        recorder = Recorder(
            everything=self.options.capture,
            flush=hooks.flush,
            flush_scores=hooks.flush_scores,
            discard=hooks.discard,
            score_source=lambda: stand_in.score_log,
        )
        if self.options.capture and self.options.env_keys:
            self._stack.enter_context(placeholder_keys())
        self._stack.enter_context(
            sealed(recorder, url_of_test=self._url_of_test, refused=self.refused.add, last=lambda: not self._running)
        )
        # Another one for what captured tests send later: no test finds it among what it sent itself.
        late = StandIn()
        self._stack.enter_context(hooked(recorder, stand_in, late, last=lambda: not self._running))
        self._started = _Started(recorder, stand_in)
        if (freezegun := sys.modules.get("freezegun")) is not None:
            self._spare(freezegun)
        return self._started

    def _url_of_test(self) -> str | None:
        """The address of the server that the running test uses."""
        return self.test.url_for_children if self.test is not None else None

    def stop(self) -> None:
        """End the run. What its captured tests have left behind stays sealed until the process exits."""
        try:
            with self._stack:
                self._imports.stop()
                self.end()
                if self in self._running:
                    self._running.remove(self)
        finally:
            self._early_clients.stop()

    def _supply(self, config: Any) -> None:
        """Let `init_tracing` find keys in a captured test."""
        before = config.environ
        config.environ = CapturedEnvironment(lambda: self.options.capture or self.test is not None)
        self._stack.callback(setattr, config, "environ", before)

    def _spare(self, freezegun: Any) -> None:
        """Keep frozen clocks out of langfuse: its models, built when first used, can't be built from a fake `datetime`.

        The app may never have imported langfuse; the capture did.
        """
        if self._started is not None or self.options.capture:
            freezegun.configure(extend_ignore_list=["langfuse"])

    # -- one test ------------------------------------------------------------------------------------------------

    def begin(self, name: str) -> CapturedTest:
        """Attribute what starts from now on to the test `name`, and what it has made if it runs already."""
        hooked_before = self._started is not None
        recorder, stand_in = self.start()
        from pytest_langfuse.captured_test import CapturedTest
        from pytest_langfuse.recording.recorder import Uncaptured
        from pytest_langfuse.recording.sdk import hooks

        self.end()
        self._style_failures()
        with ExitStack() as stack:
            before, hooks.uncaptured = hooks.uncaptured, None
            if before is not None and before.origin.test != name:
                before = None
            if self._began and not hooked_before:
                before = Uncaptured(name)
                before.spans.extend(hooks.take_over(self._began))
            if not self.options.capture:
                if self.options.env_keys:
                    stack.enter_context(placeholder_keys())
                stack.callback(hooks.disable)
            timeout = self.options.outage_timeout
            self.test = test = CapturedTest(
                name, recorder, stand_in, stack.pop_all(), before=before, outage_timeout=timeout
            )
        self.refused.in_test = True
        if not self.options.capture:
            hooks.enable(self._early_clients.arguments)
        hooks.revive()
        return test

    def end(self) -> None:
        """End the test that runs, if it is captured."""
        test, self.test = self.test, None
        if test is not None:
            test.close()
            self.refused.in_test = False

    def captured(self, name: str) -> CapturedTest:
        """Return the test that runs; it is captured from here on if it was not."""
        return self.test or self.begin(name)

    def _style_failures(self) -> None:
        """Show failures in colour on a terminal, and whole with -vv; as before once this run is over."""
        if self._styled:
            return
        self._styled = True
        from pytest_langfuse.expect.text import style

        config = self._config
        # A worker of xdist has no terminal; its texts are printed by the controller.
        terminal = config.pluginmanager.has_plugin("terminalreporter")
        color = config.get_terminal_writer().hasmarkup if terminal else config.getoption("color", "auto") == "yes"
        workerinput = getattr(config, "workerinput", {})
        columns = workerinput.get(_WORKER_INPUT) or config.get_terminal_writer().fullwidth
        self._stack.callback(style.configure(color=color, verbose=config.get_verbosity(), columns=columns))

    # -- hooks ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Check the faults of `--langfuse-outage`, and report on them where results are printed."""
        if self.options.outage is not None:
            from pytest_langfuse.outage.suite import parse_faults

            self._suite_faults = parse_faults(*self.options.outage)
        if self.options.capture and not hasattr(config, "workerinput"):
            from pytest_langfuse.report.degradation import Degradation

            degradation = Degradation(config, self.options, self._suite_faults)
            config.pluginmanager.register(degradation, "langfuse_degradation")
            if len(self._suite_faults) > 1:
                from pytest_langfuse.report.progress import Progress

                config.pluginmanager.register(Progress(config, self._suite_faults), "langfuse_progress")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Hook the SDK before the first test if any test asks for capture."""
        if any(requests_capture(item) for item in items):
            self.start()
        if self._suite_faults:
            from pytest_langfuse.outage.suite import multiply

            multiply(items, self._suite_faults, OUTAGE_MARKER)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a test; also each rerun of one, which must not see what the attempt before it left."""
        self._began = 0
        if not self.options.capture and not requests_capture(item):
            self._began = time.time_ns()
            self._begin_uncaptured(item.nodeid)
        else:
            test = self.begin(item.nodeid)
            for outage in self._outages_of(item):
                test.outages.begin(outage)

    def _begin_uncaptured(self, name: str) -> None:
        """Follow what a test makes that is not captured: it may ask for a fixture at run time."""
        if self._started is not None:
            from pytest_langfuse.recording.recorder import Uncaptured
            from pytest_langfuse.recording.sdk import hooks

            hooks.uncaptured = Uncaptured(name)

    def _outages_of(self, item: pytest.Item) -> Sequence[Outage]:
        """The outages of a test's markers, else the one under which the whole suite runs."""
        if item.get_closest_marker(OUTAGE_MARKER) is not None:
            from pytest_langfuse.outage.marker import outages_of

            return outages_of(item)
        if self._suite_faults:
            from pytest_langfuse.outage.suite import outages_of_suite

            return outages_of_suite(item)
        return ()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """Fail a test whose outage was never reached, or that waited for Langfuse too long."""
        test = self.test
        if test is None:
            return (yield)
        result = yield
        test.check_outages()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add what the test made to its report; after the teardown, end the test."""
        report = yield
        if self.test is not None:
            try:
                self._describe(report, item, self.test)
            finally:
                if report.when == "teardown":
                    self.end()
            self.refused.fail(report)
        elif report.when == "teardown" and self._started is not None:
            from pytest_langfuse.recording.sdk import hooks

            hooks.uncaptured = None
        return report

    def _describe(self, report: pytest.TestReport, item: pytest.Item, test: CapturedTest) -> None:
        if not (report.failed or self.options.show == "all" or self._suite_faults):
            return
        from pytest_langfuse.report.trace_section import add_trace_section

        verbose = self._config.get_verbosity()
        add_trace_section(report, test.source, self.options.show)
        if test.apps and report.failed:
            from pytest_langfuse.report.process_sections import add_process_sections

            add_process_sections(report, test.apps, whole=verbose > 1)
        if self._suite_faults:
            from pytest_langfuse.outage.suite import FAULT
            from pytest_langfuse.report.degradation import add_degradation

            lost = test.lost if report.when == "call" else None
            add_degradation(report, item.stash.get(FAULT, None), lost=lost, wait=test.sampler.wait())

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Count what was captured; a worker of xdist hands the counts to the controller."""
        if self._started is not None:
            self.end()
            counts = self._started.recorder.totals()
            self._counts.append(counts)
            if (output := getattr(session.config, "workeroutput", None)) is not None:
                output[_WORKER_OUTPUT] = counts

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist how wide the terminal is."""
        node.workerinput[_WORKER_INPUT] = self._config.get_terminal_writer().fullwidth

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the counts of a worker of xdist."""
        if counts := getattr(node, "workeroutput", {}).get(_WORKER_OUTPUT):
            self._counts.append(counts)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print the summary line, and the traces of passed tests with `--langfuse-show=all`."""
        if self._counts:
            from pytest_langfuse.report.summary import write_summary

            write_summary(terminalreporter, self._counts, self.options.show)


session_key = pytest.StashKey[CaptureSession]()
