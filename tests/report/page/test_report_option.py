"""`--langfuse-report`: the page at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.application import _no_keys, app
from tests.helpers.report_page import blocks, index

__all__ = ["_no_keys", "app"]

SUITE = """
    from app import answer

    def test_answers():
        answer("why?")

    def test_red(langfuse_spans):
        answer("why?")
        langfuse_spans.assert_tree('''
            span answer
              generation llm model=gpt-5
        ''')
"""
OPTION = "--langfuse-report=report.html"


@pytest.fixture
def suite(app: pytest.Pytester) -> pytest.Pytester:
    app.makepyfile(test_it=SUITE)
    return app


def outcomes(page: Path) -> dict[str, str]:
    return {test["test"].partition("::")[2]: test["outcome"] for test in index(page.read_text())["tests"]}


def test_writes_the_page_and_prints_its_path(suite: pytest.Pytester):
    result = suite.runpytest(OPTION, "-p", "no:randomly")
    result.stdout.fnmatch_lines(["langfuse: report in report.html"])
    page = suite.path / "report.html"
    assert outcomes(page) == {"test_answers": "passed", "test_red": "failed"}
    text = page.read_text()
    assert "model is &#39;gpt-4o&#39;, expected &#39;gpt-5&#39;" in text
    assert index(text)["tests"][0]["tokens"] > 0
    [[first, second]] = blocks(text, "tree")
    assert "answer" in first["tree"]["texts"]
    assert second["difference"]["sentence"].startswith("2 differences")
    assert not list(suite.path.glob("*.jsonl"))


def test_the_ini_option_does_the_same_and_an_empty_option_switches_it_off(suite: pytest.Pytester):
    suite.makeini("[pytest]\nlangfuse_report = report.html")
    suite.runpytest("-p", "no:randomly", "--langfuse-report=")
    assert not (suite.path / "report.html").exists()
    suite.runpytest("-p", "no:randomly")
    assert outcomes(suite.path / "report.html") == {"test_answers": "passed", "test_red": "failed"}


@pytest.mark.slow
def test_workers_of_xdist_make_one_page(suite: pytest.Pytester):
    suite.runpytest(OPTION, "-n", "2").stdout.fnmatch_lines(["langfuse: report in report.html"])
    page = suite.path / "report.html"
    assert outcomes(page) == {"test_answers": "passed", "test_red": "failed"}
    assert len([detail for block in blocks(page.read_text(), "details") for detail in block]) >= 4


def test_a_suite_in_an_outage_has_a_table(suite: pytest.Pytester):
    suite.makepyfile(test_it="from app import answer\ndef test_answers():\n    answer('why?')\n")
    suite.runpytest(OPTION, "--langfuse-outage=http_503,refused")
    text = (suite.path / "report.html").read_text()
    assert [test["fault"] for test in index(text)["tests"]] == ["http_503", "refused"]
    assert "<h2>Outages</h2>" in text
    assert all(part["outage"]["faults"] for block in blocks(text, "tree") for part in block)


def test_the_page_of_the_last_run_stays_if_no_test_runs(suite: pytest.Pytester):
    page = suite.path / "report.html"
    suite.runpytest(OPTION)
    before = page.read_text()
    suite.runpytest(OPTION, "--collect-only")
    suite.runpytest(OPTION, "-k", "nothing")
    assert page.read_text() == before


def test_a_page_that_can_not_be_written_fails_the_run(suite: pytest.Pytester):
    suite.makepyfile(test_it="import os\ndef test_it():\n    os.rmdir('gone')\n")
    suite.mkdir("gone")
    result = suite.runpytest("--langfuse-report=gone/report.html")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*gone*report.html could not be written: No such file or directory"])
    result.stdout.no_fnmatch_line("*report in*")


@pytest.mark.parametrize(("value", "problem"), [(".", "a directory"), ("gone/report.html", "does not exist")])
def test_a_path_of_no_file_is_refused_before_the_tests(suite: pytest.Pytester, value: str, problem: str):
    result = suite.runpytest(f"--langfuse-report={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--langfuse-report: '{value}' is*{problem}*"])


@pytest.mark.slow
def test_jinja_is_imported_for_a_page_only(suite: pytest.Pytester):
    suite.makepyfile(
        test_it="""
            import sys
            from app import answer

            def test_it():
                answer("why?")
                assert "jinja2" not in sys.modules
        """
    )
    for options in (["--langfuse-capture"], ["--langfuse-json=run.jsonl"], [OPTION]):
        assert suite.runpytest_subprocess(*options).ret == pytest.ExitCode.OK
    assert (suite.path / "report.html").exists()
