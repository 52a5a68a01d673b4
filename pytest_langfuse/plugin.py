"""Hooks of the pytest plugin: wiring only."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_langfuse.fixtures import (
    langfuse_api,
    langfuse_clock,
    langfuse_fresh_client,
    langfuse_outage,
    langfuse_process,
    langfuse_server,
    langfuse_spans,
    langfuse_tracing,
)
from pytest_langfuse.options import Options, add_options
from pytest_langfuse.session import OUTAGE_MARKER, Capturing, captures

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from pytest_langfuse.report.degradation import Degradation
    from pytest_langfuse.report.summary import Summary

__all__ = [
    "langfuse_api",
    "langfuse_clock",
    "langfuse_fresh_client",
    "langfuse_outage",
    "langfuse_process",
    "langfuse_server",
    "langfuse_spans",
    "langfuse_tracing",
]

MARKERS = (
    "langfuse_outage(fault, ..., after=0, times=None, delay=None, rate=1.0, seed=0, retry_after=None, paths=None, "
    "required=True): run the test while Langfuse fails; with several faults, once under each. Stacked markers are in "
    "force together. See docs/outages.md."
)

capturing_key = pytest.StashKey[Capturing]()
summary_key: pytest.StashKey[Summary] = pytest.StashKey()
degradation_key: pytest.StashKey[Degradation] = pytest.StashKey()
faults_key: pytest.StashKey[Sequence[str]] = pytest.StashKey()
styled_key = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and their ini twins."""
    add_options(parser)


def _prepare(config: pytest.Config) -> Capturing:
    capturing = config.stash.get(capturing_key, None)
    if capturing is None:
        capturing = config.stash[capturing_key] = Capturing(Options.of(config))
        # Not pytest_unconfigure: that is not called when a conftest is broken.
        config.add_cleanup(capturing.stop)
    return capturing


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Capture before conftest files import the application, which may build its client there."""
    _prepare(early_config)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Prepare a run whose plugin was loaded too late for the hook above (`-p`, `pytest_plugins`)."""
    capturing = _prepare(config)
    config.addinivalue_line("markers", MARKERS)
    faults: Sequence[str] = ()
    if capturing.options.outage is not None:
        from pytest_langfuse.outage.suite import parse_faults

        config.stash[faults_key] = faults = parse_faults(*capturing.options.outage)
    if capturing.options.capture and not hasattr(config, "workerinput"):
        from pytest_langfuse.report.degradation import Degradation

        config.stash[degradation_key] = degradation = Degradation(capturing.options.max_slowdown)
        config.pluginmanager.register(degradation, "langfuse_degradation")
        if len(faults) > 1:
            from pytest_langfuse.report.progress import Progress

            config.pluginmanager.register(Progress(config, faults), "langfuse_progress")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once under each fault of its marker."""
    if metafunc.definition.get_closest_marker(OUTAGE_MARKER) is not None:
        from pytest_langfuse.outage.marker import parametrize

        parametrize(metafunc)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Hook the SDK before the first test if any test asks for a fixture of ours."""
    capturing = config.stash[capturing_key]
    if any(captures(item) for item in items):
        capturing.start()
    if (faults := config.stash.get(faults_key, None)) is not None:
        from pytest_langfuse.outage.suite import multiply

        multiply(items, faults, OUTAGE_MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the recording of a test; also of each rerun, which must not see what the attempt before it left."""
    capturing = item.config.stash[capturing_key]
    if capturing.options.capture or captures(item):
        capturing.begin(item.nodeid)
        _style(item.config)
    if item.get_closest_marker(OUTAGE_MARKER) is not None:
        from pytest_langfuse.outage.marker import outages_of

        for outage in outages_of(item):
            capturing.outages.begin(outage)
    elif capturing.options.outage is not None:
        capturing.begin_degraded(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fail a test whose outage was never reached."""
    capturing = item.config.stash[capturing_key]
    with capturing.watched():
        result = yield
    capturing.check_outages()
    return result


def _style(config: pytest.Config) -> None:
    """Failure texts in colour on a terminal, and whole with -vv; as before once this run is over."""
    if config.stash.get(styled_key, False):
        return
    config.stash[styled_key] = True
    from pytest_langfuse.expect.text import style

    # A worker of xdist has no terminal; its texts are printed by the controller.
    terminal = config.pluginmanager.has_plugin("terminalreporter")
    color = config.get_terminal_writer().hasmarkup if terminal else config.getoption("color", "auto") == "yes"
    config.add_cleanup(style.configure(color=color, verbose=config.get_verbosity()))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the section "Langfuse trace"; after teardown, end the recording."""
    report = yield
    capturing = item.config.stash[capturing_key]
    if capturing.recording is not None:
        from pytest_langfuse.report.section import add_section

        add_section(report, capturing.source, capturing.options.show, verbose=item.config.get_verbosity())
        capturing.add_output(report, verbose=item.config.get_verbosity())
        capturing.add_degradation(report, item)
        if report.when == "teardown":
            capturing.end()
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Explain `assert langfuse_spans == "literal"`."""
    if "pytest_langfuse.expect.observations" not in sys.modules or op != "==":
        return None
    from pytest_langfuse.expect.observations import explain_equality

    return explain_equality(left, right)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts to the summary, under xdist by way of the controller."""
    capturing = session.config.stash[capturing_key]
    if capturing.started:
        capturing.end()
        totals = capturing.capture.totals()
        _summary(session.config).add(totals)
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            output["pytest_langfuse"] = totals
    degradation = session.config.stash.get(degradation_key, None)
    if degradation is not None:
        options, cache = capturing.options, getattr(session.config, "cache", None)
        if options.outage is None:
            degradation.remember(cache)
        elif not degradation.settle(cache, options.json) and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the counts of an xdist worker."""
    totals = getattr(node, "workeroutput", {}).get("pytest_langfuse")
    if totals:
        _summary(node.config).add(totals)


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Print the summary line, and the traces of passed tests with `--langfuse-show=all`."""
    if (degradation := config.stash.get(degradation_key, None)) is not None:
        degradation.write(terminalreporter)
    if (summary := config.stash.get(summary_key, None)) is not None:
        summary.write(terminalreporter, config.stash[capturing_key].options)


def _summary(config: pytest.Config) -> Summary:
    from pytest_langfuse.report.summary import Summary

    return config.stash.setdefault(summary_key, Summary())
