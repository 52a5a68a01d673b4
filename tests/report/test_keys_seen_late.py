"""Keys that come into the environment while tests run, and leave it again."""

from __future__ import annotations

import os
import threading

import pytest

from pytest_langfuse.rules.secrets.environment_keys import EnvironmentKeys
from tests.helpers.application import _no_keys, app
from tests.helpers.json_lines import lines_of
from tests.helpers.report_page import blocks, index

__all__ = ["_no_keys", "app"]

LATE = """
    import os
    from unittest import mock

    import pytest
    from app import langfuse

    def trace(value):
        with langfuse.start_as_current_observation(name=f"call {value}", input=value) as one:
            one.update(output={"k": value})
            one.score(name="good", value=1, comment=value)

    def test_assigned():
        os.environ["LATE_API_KEY"] = "assigned-Value-77q3z9w1"
        trace("assigned-Value-77q3z9w1")
        assert os.environ["LATE_API_KEY"] == "x"

    def test_set_by_monkeypatch(monkeypatch):
        monkeypatch.setenv("MK_API_KEY", "monkey-Value-77q3z9w1")
        trace("monkey-Value-77q3z9w1")
        assert os.environ["MK_API_KEY"] == "x"

    def test_gone_before_the_end():
        with mock.patch.dict(os.environ, {"MOCK_TOKEN": "mocked-Value-77q3z9w1"}):
            trace("mocked-Value-77q3z9w1")
        assert "mocked-Value-77q3z9w1" == "x"

    @pytest.fixture
    def key():
        os.putenv("PUT_SECRET", "putenv-Value-77q3z9w1")
        os.environ["FIXTURE_PASSWORD"] = 'fixed"Value-77q3z9w1'
        yield 'fixed"Value-77q3z9w1'
        del os.environ["FIXTURE_PASSWORD"]

    def test_set_by_a_fixture(key):
        trace(key)
        trace("putenv-Value-77q3z9w1")
        assert key == "x"
"""


@pytest.mark.parametrize("workers", ["-n0", pytest.param("-n2", marks=pytest.mark.slow)])
def test_keys_of_a_moment_are_in_no_report(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    app.makepyfile(test_it=LATE)
    # As plugins do that write reports into files.
    app.makeconftest("""
        import pathlib

        class Written:
            def pytest_runtest_logreport(self, report):
                with pathlib.Path("attributes.txt").open("a") as file:
                    file.write(f"{sorted(set(vars(report)) - {'sections', 'longrepr'})}\\n")

        def pytest_configure(config):
            if not hasattr(config, "workerinput"):
                config.pluginmanager.register(Written())
    """)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "summary.md"))
    putenv = os.putenv
    result = app.runpytest(
        "--langfuse-json=run.jsonl", "--langfuse-report=report.html", "--junit-xml=junit.xml", workers
    )
    assert os.putenv is putenv
    result.assert_outcomes(failed=4)
    page = (app.path / "report.html").read_text()
    data = [index(page), blocks(page, "tree"), blocks(page, "details")]
    files = [page, str(data), *((app.path / name).read_text() for name in ("run.jsonl", "summary.md", "junit.xml"))]
    for text in files:
        assert "Value-77" not in text
    assert sorted(row["input"] for row in lines_of(app.path / "run.jsonl", "observation")) == [
        "[redacted: FIXTURE_PASSWORD]",
        "[redacted: LATE_API_KEY]",
        "[redacted: MK_API_KEY]",
        "[redacted: MOCK_TOKEN]",
        "[redacted: PUT_SECRET]",
    ]
    assert "seen_keys" not in (app.path / "attributes.txt").read_text()


def test_the_environment_is_watched_as_long_as_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = EnvironmentKeys()
    before = os.putenv
    end = keys.watch()
    thread = threading.Thread(target=monkeypatch.setenv, args=("A_TOKEN", "seen-in-another-thread"))
    thread.start()
    thread.join()
    monkeypatch.setenv("A_TOKEN", "seen-and-replaced")
    assert os.environ["A_TOKEN"] == "seen-and-replaced"
    end()
    assert os.putenv is before
    monkeypatch.setenv("A_TOKEN", "not-seen-any-more")
    texts = [one.text for one in keys.secrets]
    assert {"seen-in-another-thread", "seen-and-replaced"} <= {*texts}
    assert "not-seen-any-more" not in texts
    assert {*keys.news().values()} >= {"A_TOKEN"}
    assert keys.news() == {}
