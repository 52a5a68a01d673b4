"""The capture of one pytest run: a plugin object that starts the capture when a test needs it.

Each run of pytest imports this module, so it imports nothing that an unused run does not need.
"""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from _pytest.config import ConftestImportFailure

from pytest_langfuse.import_watcher import ImportWatcher
from pytest_langfuse.options import Options, nothing_to_show, outage_switched_off
from pytest_langfuse.report.seen_keys import take_seen_keys
from pytest_langfuse.terminal import Terminal

if TYPE_CHECKING:
    from types import ModuleType

    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.active_capture import ActiveCapture
    from pytest_langfuse.captured_test import CapturedTest
    from pytest_langfuse.outage.outage import Outage
    from pytest_langfuse.outage.suite import ChosenTests
    from pytest_langfuse.recording.early_clients import EarlyClients
    from pytest_langfuse.refused_connections import RefusedConnections
    from pytest_langfuse.report.budget import Budget
    from pytest_langfuse.report.junit import JunitFile
    from pytest_langfuse.report.redaction import Redaction
    from pytest_langfuse.report.rule_findings import RuleTotal
    from pytest_langfuse.report.run_files import RunFiles
    from pytest_langfuse.report.run_lines import RunLines
    from pytest_langfuse.report.run_outputs import RunOutputs

#: A test that requests one of these fixtures is captured.
FIXTURES = frozenset(
    {
        "langfuse_api",
        "langfuse_clock",
        "langfuse_fresh_client",
        "langfuse_outage",
        "langfuse_process",
        "langfuse_queue",
        "langfuse_server",
        "langfuse_spans",
        "langfuse_tracing",
    }
)

#: So is a test with this marker.
OUTAGE_MARKER = "langfuse_outage"
RULES_MARKER = "langfuse_rules"
BUDGET_MARKER = "langfuse_budget"

#: The key of xdist's `workeroutput` under which a worker hands its counts to the controller.
_WORKER_OUTPUT = "pytest_langfuse"
#: So for the connections that were refused outside of captured tests.
_WORKER_REFUSED = "pytest_langfuse_refused"
#: So for what rules have found.
_WORKER_RULES = "pytest_langfuse_rules"
#: So for what its tests have recorded.
_WORKER_LINES = "pytest_langfuse_lines"

_MARKERS = (OUTAGE_MARKER, RULES_MARKER, BUDGET_MARKER)


def requests_capture(item: pytest.Item) -> bool:
    """Return whether a test asks for capture, by a fixture or by a marker."""
    names = getattr(item, "fixturenames", ())
    return bool(FIXTURES.intersection(names)) or any(item.get_closest_marker(name) for name in _MARKERS)


def _asserts_clean(item: pytest.Item) -> bool:
    """Return whether the function of a test names `assert_clean`."""
    function = inspect.unwrap(getattr(item, "function", None) or pytest.Item)
    return isinstance(function, FunctionType) and _names(function.__code__, "assert_clean")


def _names(code: CodeType, name: str) -> bool:
    return name in code.co_names or any(_names(inner, name) for inner in code.co_consts if isinstance(inner, CodeType))


class CaptureSession:
    """Captures the tests of one run, registered as a plugin of it. Imports the SDK only when it starts."""

    #: The runs of this process that are not over: more than one with pytester.
    _running: ClassVar[list[CaptureSession]] = []

    def __init__(self, config: pytest.Config) -> None:
        self.options = Options.of(config)
        self._config = config
        #: The hooked SDK, once a test has asked for it.
        self._active: ActiveCapture | None = None
        #: The clients that were built before, for tests that ask later.
        self._early_clients: EarlyClients | None = None
        self._imports = ImportWatcher({"langfuse": self._watch_clients})
        self._suite_faults: Sequence[str] = ()
        #: The tests that the command line names with one of these.
        self._chosen: ChosenTests | None = None
        #: When the test began that runs and is not captured, in nanoseconds since 1970.
        self._began = 0
        #: The counts of each process that captured tests: of this one, or of xdist's workers.
        self._counts: list[Mapping[str, int]] = []
        #: What rules have found in each of them.
        self._rule_totals: list[RuleTotal] = []
        #: The run as lines, if a file or a report is made of them.
        self._lines: RunLines | None = None
        self._files: RunFiles | None = None
        #: The files that options name, where results are printed.
        self._outputs: RunOutputs | None = None
        self._junit: JunitFile | None = None
        #: Where results are printed, once the tests are about to begin.
        self._terminal: Terminal | None = None

    @classmethod
    def of(cls, config: pytest.Config) -> CaptureSession:
        """Return the session of a run; the first call makes it.

        Raises:
            pytest.UsageError: an option has a value that is not allowed.
        """
        session = config.stash.get(session_key, None)
        if session is None:
            session = config.stash[session_key] = cls(config)
            # Not pytest_unconfigure: that is not called when a conftest is broken.
            config.add_cleanup(session.stop)
            session.open()
            config.pluginmanager.register(session, "langfuse_session")
        return session

    # -- the run -------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Capture from now on with `--langfuse-capture`; otherwise remember clients that are built before a capture."""
        self._running.append(self)
        if self.options.capture:
            self.start()
        else:
            self._imports.start()

    def _watch_clients(self, langfuse: ModuleType) -> None:
        from pytest_langfuse.recording.early_clients import EarlyClients

        self._early_clients = EarlyClients(langfuse.Langfuse)

    def start(self, *, watches_rules: bool = False) -> ActiveCapture:
        """Hook the SDK, if that was not done: for all tests with `--langfuse-capture`, else for those that ask.

        `watches_rules`: with what the rules need, also where no option asks for them.
        """
        if self._active is None:
            # Imported here: a run that captures nothing must not pay for the SDK's import (about 300 ms).
            from pytest_langfuse.active_capture import ActiveCapture

            self._active = ActiveCapture(
                self._config,
                self.options,
                refused=self._refused(),
                is_last=lambda: not self._running,
                terminal=lambda: self._terminal or Terminal.of(self._config),
                watches_rules=watches_rules,
            )
        return self._active

    def _refused(self) -> RefusedConnections:
        from pytest_langfuse.refused_connections import RefusedConnections

        plugins = self._config.pluginmanager
        refused: RefusedConnections | None = plugins.get_plugin("langfuse_refused_connections")
        if refused is None:
            refused = RefusedConnections(_WORKER_REFUSED)
            plugins.register(refused, "langfuse_refused_connections")
            self._config.add_cleanup(refused.close)
        return refused

    def stop(self) -> None:
        """End the run. What its captured tests have left behind stays sealed until the process exits."""
        self._imports.stop()
        if self in self._running:
            self._running.remove(self)
        if isinstance(sys.exception(), ConftestImportFailure) and self.options.keeps_traces:
            # Nothing else of the run is there that could say so.
            from pytest_langfuse.report.run_outputs import fates_of_files

            print(*fates_of_files(self.options), sep="\n", file=sys.stderr)  # noqa: T201 - there is no terminal reporter
        try:
            if self._active is not None:
                self._active.stop()
        finally:
            if self._early_clients is not None:
                self._early_clients.stop()

    # -- one test ------------------------------------------------------------------------------------------------

    @property
    def test(self) -> CapturedTest | None:
        """The test that runs, if it is captured."""
        return self._active.test if self._active is not None else None

    def begin(self, name: str) -> CapturedTest:
        """Attribute what starts from now on to the test `name`, and what it has made if it runs already."""
        # Until the SDK was hooked, nobody noted what this test makes.
        since = self._began if self._active is None else 0
        early_clients = self._early_clients.arguments if self._early_clients is not None else {}
        return self.start().begin(name, since=since, early_clients=early_clients)

    def captured(self, name: str) -> CapturedTest:
        """Return the test that runs; it is captured from here on if it was not."""
        return self.test or self.begin(name)

    # -- hooks ---------------------------------------------------------------------------------------------------

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Check the faults of `--langfuse-outage`, and report on the run where results are printed."""
        if self.options.outage is not None:
            from pytest_langfuse.outage.suite import parse_faults
            from pytest_langfuse.sealed_queues import exports_to_queue

            self._suite_faults = parse_faults(*self.options.outage, queues=exports_to_queue())
        self._check_rules()
        if self.options.keeps_traces:
            from pytest_langfuse.report.repeated_tests import RepeatedTests

            RepeatedTests.watch(config)
        reports = self.options.capture or self.options.json is not None
        if reports and not hasattr(config, "workerinput"):
            from pytest_langfuse.report.degradation import Degradation
            from pytest_langfuse.report.unprinted_summary import UnprintedSummary

            degradation = Degradation(config, self.options, self._suite_faults)
            config.pluginmanager.register(degradation, "langfuse_degradation")
            config.pluginmanager.register(UnprintedSummary(config), "langfuse_unprinted_summary")
            if self.options.rules_baseline is not None or self.options.keeps_traces:
                from pytest_langfuse.report.run_outputs import RunOutputs

                self._outputs = RunOutputs(config, self.options)
            if self.options.keeps_traces and self._outputs is not None:
                from pytest_langfuse.report.run_files import RunFiles
                from pytest_langfuse.report.run_lines import RunLines

                self._lines = RunLines(config, self.options, self._suite_faults, degradation, self._outputs)
                config.pluginmanager.register(self._lines, "langfuse_lines")
                self._files = RunFiles(config, self.options, self._lines, self._outputs)
                config.pluginmanager.register(self._files, "langfuse_files")
            if self.options.junit:
                from pytest_langfuse.report.junit import JunitFile

                self._junit = JunitFile(config)
                config.pluginmanager.register(self._junit, "langfuse_junit")
            if len(self._suite_faults) > 1:
                from pytest_langfuse.report.progress import Progress

                config.pluginmanager.register(Progress(config, self._suite_faults), "langfuse_progress")

    def _check_rules(self) -> None:
        """Refuse rules, options of rules and limits of budgets that do not exist, before any test runs."""
        options = self.options
        if options.rules or options.rules_ignore or tuple(options.rules_select) not in {(), ("ALL",)}:
            from pytest_langfuse.report.rules_of_run import rule_set_of

            rule_set_of(options)
        if options.budget:
            from pytest_langfuse.report.budget import BadBudget, limits_of_ini

            try:
                limits_of_ini(options.budget)
            except BadBudget as error:
                raise pytest.UsageError(f"ini option langfuse_budget: {error}") from None

    def pytest_report_header(self, config: pytest.Config) -> str | None:
        """Say that the command line switches the outage of the ini file off."""
        return outage_switched_off(config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Look at the terminal: while a test runs, pytest has put a file into its place."""
        self._terminal = Terminal.of(session.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Find tests that are named with the fault under which they ran."""
        if self._suite_faults:
            from pytest_langfuse.outage.suite import ChosenTests

            config = session.config
            self._chosen = ChosenTests(config.args, self._suite_faults, config.invocation_params.dir)
            config.args[:] = self._chosen.arguments

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Hook the SDK before the first test if any test asks for capture."""
        if captured := [item for item in items if requests_capture(item)]:
            self.start(watches_rules=any(map(_asserts_clean, captured)))
        if self._suite_faults:
            from pytest_langfuse.outage.suite import multiply

            if self._chosen is not None:
                self._chosen.spare_own_ids(items)
            multiply(items, self._suite_faults, OUTAGE_MARKER)
            if self._chosen is not None:
                items[:] = filter(self._chosen.keep, items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Begin a test; also each rerun of one, which must not see what the attempt before it left."""
        self._began = 0
        if self.options.capture or requests_capture(item):
            test = self.begin(item.nodeid)
            for outage in self._outages_of(item):
                test.outages.begin(outage)
            # A marker that is wrong fails the test before it runs.
            self._budget_of(item)
            if item.get_closest_marker(RULES_MARKER) is not None:
                from pytest_langfuse.report.rule_findings import check_markers

                check_markers(item)
            return
        self._began = time.time_ns()
        if self._active is not None:
            self._active.begin_uncaptured(item.nodeid)

    def _outages_of(self, item: pytest.Item) -> Sequence[Outage]:
        """The outages of a test's markers, else the one under which the whole suite runs."""
        if item.get_closest_marker(OUTAGE_MARKER) is not None:
            from pytest_langfuse.outage.marker import outages_of

            return outages_of(item)
        if self._suite_faults:
            from pytest_langfuse.outage.suite import outages_of_suite

            return outages_of_suite(item)
        return ()

    def _budget_of(self, item: pytest.Item) -> Budget | None:
        if not self.options.budget and item.get_closest_marker(BUDGET_MARKER) is None:
            return None
        from pytest_langfuse.report.budget import budget_of

        return budget_of(item, self.options.budget)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail a test whose outage was never reached, that waited for Langfuse too long, or is over its budget."""
        result = yield
        # It may be captured since it asked for a fixture while it ran.
        if (test := self.test) is not None:
            test.check_outages()
            if (budget := self._budget_of(item)) is not None:
                budget.check(test.source)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add what the test made to its report; after the teardown, end the test."""
        report = yield
        if self._active is not None:
            self._active.complete(report, item, call, in_suite_outage=bool(self._suite_faults))
        return report

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None]:
        """Complete the run before other plugins report it, and write its files when they have set the exit status."""
        self._complete(session)
        try:
            yield
        except BaseException as error:
            if self._files is not None:
                self._files.finish_has_failed(error, session)
            raise
        finally:
            if self._files is not None:
                self._files.write(session)

    def _complete(self, session: pytest.Session) -> None:
        """Count what was captured; a worker of xdist hands the counts to the controller."""
        if self._lines is not None or self._junit is not None:
            self._redaction().keys.look()
        if self._active is not None:
            counts = self._active.totals()
            self._counts.append(counts)
            self._rule_totals += (found := self._active.rule_totals())
            output = getattr(session.config, "workeroutput", None)
            if output is not None:
                output[_WORKER_OUTPUT] = counts
                output[_WORKER_RULES] = [count._asdict() for count in found]
            if self._active.kept is not None:
                from pytest_langfuse.report.run_lines import pack

                blocks = pack(self._active.kept, self._config, self.options)
                if output is not None:
                    output[_WORKER_LINES] = blocks
                elif self._lines is not None:
                    self._lines.take(blocks)
        if self._lines is not None:
            self._lines.finish(session)
        if self._junit is not None:
            exceeded = () if self._lines is None else self._lines.exceeded
            refused = self._config.pluginmanager.get_plugin("langfuse_refused_connections")
            self._junit.finish(self._redaction(), exceeded, None if refused is None else refused.why_red())

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take over what a worker of xdist has seen in its environment and no report may show."""
        if not hasattr(self._config, "workerinput"):
            take_seen_keys(self._redaction, report)

    def _redaction(self) -> Redaction:
        """Return what keeps secrets out of what is written about the run."""
        from pytest_langfuse.report.rules_of_run import redaction_of

        return redaction_of(self._config, self.options)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist what the terminal is like."""
        (self._terminal or Terminal.of(self._config)).tell(node)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the counts of a worker of xdist, and the connections that were refused in it."""
        output = getattr(node, "workeroutput", {})
        if counts := output.get(_WORKER_OUTPUT):
            self._counts.append(counts)
        if found := output.get(_WORKER_RULES):
            from pytest_langfuse.report.rule_findings import totals_from

            self._rule_totals += totals_from(found)
        if texts := output.get(_WORKER_REFUSED):
            self._refused().add_late(texts)
        if self._lines is not None:
            if (blocks := output.get(_WORKER_LINES)) is not None:
                self._lines.take(blocks)
            else:
                self._lines.miss(node.gateway.id)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Print what rules have found, the traces of passed tests with `--langfuse-show=all`, and the summary line."""
        if self._rule_totals:
            from pytest_langfuse.report.rule_findings import write_totals

            write_totals(terminalreporter, self._rule_totals, self._redaction().text)
        if self._active is not None and self._active.baseline is not None:
            self._active.baseline.write_summary(terminalreporter)
        if self._counts:
            from pytest_langfuse.report.summary import write_summary

            totals = None if self._lines is None else self._lines.totals
            if self._lines is None and (limits := self.options.not_compared) is not None:
                terminalreporter.write_line(f"langfuse: {limits}")
            write_summary(terminalreporter, self._counts, self.options.show, totals)
        elif (sentence := nothing_to_show(self._config)) is not None:
            terminalreporter.write_line(sentence)


session_key = pytest.StashKey[CaptureSession]()
