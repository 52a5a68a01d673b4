"""One session a run, however the plugin was loaded, and one captured test at a time."""

import os
from contextlib import ExitStack

import pytest

from pytest_langfuse import OutageControl, plugin
from pytest_langfuse.captured_test import CapturedTest
from pytest_langfuse.recording.recorder import Recorder
from pytest_langfuse.recording.sdk import hooks
from pytest_langfuse.session import FIXTURES, session_key
from pytest_langfuse.standin.queue.queue_stand_in import QueueStandIn
from pytest_langfuse.standin.stand_in import StandIn

SUITE = """
    from app import answer

    def test_it(request):
        assert answer("why?") == "because"
"""


@pytest.fixture
def _no_plugin(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_PLUGINS")
    app.makepyfile("def test_it(langfuse_spans): pass")
    app.runpytest_subprocess().assert_outcomes(errors=1)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_plugin")
@pytest.mark.parametrize("ini", [False, True], ids=["option", "ini"])
def test_loaded_by_name_on_the_command_line(app: pytest.Pytester, ini: bool) -> None:
    app.makepyfile(SUITE)
    if ini:
        app.makeini("[pytest]\nlangfuse_capture = true\n")
    result = app.runpytest_subprocess("-p", "pytest_langfuse.plugin", *([] if ini else ["--langfuse-capture"]))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["langfuse: 3 observations in 1 test"])


@pytest.mark.slow
@pytest.mark.usefixtures("_no_plugin")
@pytest.mark.parametrize("ini", [False, True], ids=["option", "ini"])
def test_loaded_by_a_conftest_after_the_early_hook(app: pytest.Pytester, ini: bool) -> None:
    app.makeconftest('pytest_plugins = ["pytest_langfuse.plugin"]')
    app.makepyfile(SUITE)
    if ini:
        app.makeini("[pytest]\nlangfuse_capture = true\nlangfuse_outage = http_401,redirect\n")
    arguments = [] if ini else ["--langfuse-capture", "--langfuse-outage=http_401,redirect"]
    result = app.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "Langfuse outage 1 of 2: http_401",
            "*= Langfuse degradation =*",
            "http_401: none of 1 test degraded*",
            "langfuse: 6 observations in 2 tests",
        ]
    )


def test_a_run_has_one_session_and_takes_it_along(app: pytest.Pytester) -> None:
    app.makepyfile(SUITE)
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    result = app.inline_run("--langfuse-capture")
    config = result.getcalls("pytest_sessionfinish")[0].session.config
    session = config.stash[session_key]
    assert config.pluginmanager.get_plugin("langfuse_session") is session
    assert session.test is None
    assert dict(os.environ) == environment  # the inner run has removed PYTEST_CURRENT_TEST


def test_the_summary_is_the_last_thing_before_the_counts_of_pytest(app: pytest.Pytester) -> None:
    app.makeconftest(
        "def pytest_terminal_summary(terminalreporter):\n    terminalreporter.write_line('of a conftest')\n"
    )
    app.makepyfile(SUITE)
    lines = app.runpytest("--langfuse-capture", "--durations=1").stdout.lines
    assert lines[-2] == "langfuse: 3 observations in 1 test"
    assert "of a conftest" in lines


def test_an_error_in_one_part_of_a_test_does_not_keep_the_others_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_control: OutageControl) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(OutageControl, "close", broken)
    flushed: list[str] = []
    recorder = Recorder(everything=False, flush=lambda: flushed.append("spans"), flush_scores=lambda: None)
    closed: list[str] = []
    stack = ExitStack()
    stack.callback(closed.append, "what was there before")
    test = CapturedTest("test_it", recorder, StandIn(), QueueStandIn(), stack)
    server = test.outages and test.server

    with pytest.raises(RuntimeError, match="broken"):
        test.close()

    with pytest.raises(RuntimeError, match="the server does not run"):
        _ = server.port
    assert (recorder.current, recorder.accepted) == (None, None)
    assert flushed
    assert test.recording.closed
    assert closed == ["what was there before"]


def test_a_part_is_made_once_and_on_demand() -> None:
    recorder = Recorder(everything=False, flush=lambda: None, flush_scores=lambda: None)
    test = CapturedTest("test_it", recorder, StandIn(), QueueStandIn(), ExitStack())
    made = set(vars(test))
    assert test.listening_server is test.server is test.server
    assert recorder.accepted is not None
    assert test.processes is test.processes
    assert set(vars(test)) - made == {"listening_server", "server", "processes"}
    test.close()


def test_every_fixture_captures():
    # Each has a case of its own in `sealed/cases.py`.
    assert sorted(FIXTURES) == plugin.__all__


def test_what_a_run_left_behind_is_answered_by_it_after_a_run_inside(app, langfuse_spans):
    late = hooks.late_handler
    app.makepyfile("def test_it(langfuse_spans): pass")
    app.runpytest("--langfuse-capture").assert_outcomes(passed=1)
    assert late is not None
    assert hooks.late_handler is late
