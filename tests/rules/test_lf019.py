"""LF019: a process that ends while observations wait to be sent."""

import re
import signal

import pytest

from tests.helpers.traced_service import SENT_AT_THE_END
from tests.rules.test_pages import block

# Slow: starts processes and ends them with signals.
pytestmark = pytest.mark.slow


@pytest.fixture
def ended(langfuse_process, tmp_path):
    """Runs a script until it is ready, and ends it by a signal."""

    def run(name, text, number):
        (tmp_path / name).write_text(text)
        app = langfuse_process.start(name, cwd=tmp_path, env=SENT_AT_THE_END)
        app.wait_for_output("ready")
        app.send_signal(number)
        app.wait()

    return run


def test_a_deployment_loses_what_is_queued(find, ended):
    ended("worker.py", block("LF019", "Fails"), signal.SIGTERM)
    ended("mended.py", block("LF019", "Fix"), signal.SIGTERM)
    # SIGINT is a KeyboardInterrupt, which runs the SDK's exit handler; SIGKILL leaves no chance.
    ended("stopped.py", block("LF019", "Fails"), signal.SIGINT)
    ended("killed.py", block("LF019", "Fails"), signal.SIGKILL)
    (finding,) = find("LF019")
    assert finding.text == (
        "1 observation ('order') of `python worker.py` had ended and never arrived: it was terminated by SIGTERM"
    )
    assert finding.observation == "order"
    assert finding.severity == "error"


def test_an_exit_without_exit_handlers(find, langfuse_process):
    text = """
import os
from langfuse import get_client
for name in "aabcde":
    get_client().start_observation(name=name).end()
os._exit(0)
"""
    app = langfuse_process.start("-c", text, env=SENT_AT_THE_END)
    app.wait()
    (finding,) = find("LF019")
    assert re.match(r"6 observations \('a', 'b', 'c', \.\.\.\) of .* it exited with status 0$", finding.text)


def test_a_process_that_runs_has_lost_nothing(find, langfuse_process, tmp_path):
    (tmp_path / "worker.py").write_text(block("LF019", "Fails"))
    app = langfuse_process.start("worker.py", cwd=tmp_path, env=SENT_AT_THE_END)
    app.wait_for_output("ready")
    assert find("LF019") == []


@pytest.mark.langfuse_outage("http_503")
def test_what_an_outage_loses_is_not_the_exits(find, ended):
    ended("worker.py", block("LF019", "Fails"), signal.SIGINT)
    assert find("LF019") == []
