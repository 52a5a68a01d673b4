"""The summary for GitHub Actions, and the properties in the file of `--junit-xml`."""

from __future__ import annotations

import html
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.report import prices
from pytest_langfuse.report.run_summary import RuleRow, RunSummary
from pytest_langfuse.report.run_totals import RunTotals
from pytest_langfuse.report.step_summary import LIMIT, append, escaped, markdown

SUITE = """
    from app import answer, langfuse

    def test_answers():
        answer("why?")
        langfuse.kept = langfuse.start_observation(name="open | <b>")

    def test_red(langfuse_spans):
        answer("why?")
        langfuse_spans.assert_tree('''
            span answer
              generation llm model=gpt-5
                retriever search
        ''')

    def test_nothing():
        pass
"""


@pytest.fixture(autouse=True)
def _no_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_prices", lambda: None)


@pytest.fixture
def suite(app: pytest.Pytester) -> pytest.Pytester:
    app.makepyfile(test_it=SUITE)
    return app


def properties_of(path: Path) -> dict[str | None, dict[str | None, str | None]]:
    return {
        case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")}
        for case in ET.parse(path).iter("testcase")
    }


@pytest.mark.parametrize("option", ["--langfuse-capture", "--langfuse-json=run.jsonl", ""])
def test_properties_of_junit(suite: pytest.Pytester, option: str) -> None:
    suite.runpytest("--junit-xml=junit.xml", *filter(None, [option]))
    properties = properties_of(suite.path / "junit.xml")
    assert properties["test_nothing"] == {}
    red = properties["test_red"]
    assert red.pop("langfuse_tokens") == "5"
    assert re.fullmatch("[0-9a-f]{32}", red.pop("langfuse_trace_ids") or "")
    assert red == {}
    # With fixtures alone, this one is not captured.
    assert properties["test_answers"].get("langfuse_findings") == ("LF001" if option else None)
    assert len((properties["test_answers"].get("langfuse_trace_ids") or "").split()) == (2 if option else 0)


@pytest.mark.slow
def test_properties_of_junit_from_workers(suite: pytest.Pytester) -> None:
    suite.runpytest("--junit-xml=junit.xml", "--langfuse-capture", "-n2")
    properties = properties_of(suite.path / "junit.xml")
    assert (properties["test_answers"]["langfuse_findings"], properties["test_red"]["langfuse_tokens"]) == (
        "LF001",
        "5",
    )


def test_nothing_is_read_without_junit(app: pytest.Pytester) -> None:
    app.makepyfile(
        """
        from app import answer

        def test_it(pytestconfig):
            answer("why?")
            assert pytestconfig.pluginmanager.get_plugin("langfuse_session")._active.kept is None
        """
    )
    app.runpytest("--langfuse-capture").assert_outcomes(passed=1)


def plain(text: str) -> str:
    return html.unescape(re.sub("</?code>", "", text))


def test_the_summary_of_a_run(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = suite.path / "summary.md"
    path.write_text("what another step wrote\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    suite.runpytest("--langfuse-capture")
    text = path.read_text()
    lines = plain(text).splitlines()
    assert lines[:6] == [
        "what another step wrote",
        "## Langfuse traces: 1 of 3 tests failed",
        "",
        "| observations | tokens | cost | findings | lost | never ended |",
        "|---|---|---|---|---|---|",
        "| 6 | 10 |  | 1 | 0 | 1 |",
    ]
    assert "| test_it.py::test_red | search: parent is answer, expected llm (and 1 more) |" in lines
    (row,) = (line for line in lines if line.startswith("| LF001"))
    assert row.startswith("| LF001 not ended | error | 1 | 'open | <b>' (test_it.py:5) was still running")
    assert "<b>" not in text


def test_no_summary_of_a_run_that_is_not_captured(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    path = suite.path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    suite.runpytest()
    assert not path.exists()


def test_a_summary_that_can_not_be_written_fails_the_run(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "nowhere" / "summary.md"))
    app.makepyfile("def test_it(): pass")
    result = app.runpytest("--langfuse-capture")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*GITHUB_STEP_SUMMARY: 'nowhere/summary.md' is in a directory that does not exist"])
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    app.makepyfile("import os\ndef test_it(): os.mkdir('summary.md')")
    result = app.runpytest("--langfuse-capture")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    why = "GITHUB_STEP_SUMMARY: summary.md could not be written: Is a directory"
    result.stdout.fnmatch_lines([why, f"langfuse: {why} (exit status 1)"])


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a | b\n| c |",
        "[link](https://example.org) ![image](x)",
        "**bold** _it_ `code` ~~gone~~ $math$",
        "</code><b>",
        "&lt;b&gt; &#60;",
        "@someone www.example.org https://example.org x@example.org #1 - 1. # head",
        "\\| \\",
        "<!-- --> ``` <details>",
    ],
)
def test_whatever_a_text_holds_it_is_shown_as_it_is(text: str) -> None:
    shown = escaped(text)
    # Only letters, digits, spaces and numbers of characters are left.
    assert re.fullmatch(r"(?:[A-Za-z0-9 ,]|&#\d+;)*", shown)
    assert html.unescape(shown) == " ".join(text.split())


def test_a_long_text_is_cut_and_what_is_not_printable_replaced() -> None:
    assert len(html.unescape(escaped("x" * 5_000))) == 300
    assert escaped("a\u202eb\x00c é") == "a\ufffdb\ufffdc é"
    assert escaped("\ud800") == "\ufffd"


def test_a_summary_is_never_too_large(tmp_path: Path) -> None:
    failed = [
        {"test": f"{number}{'<' * 400}", "fault": None, "difference": None, "message": "<" * 400}
        for number in range(5_000)
    ]
    rules = {f"LF{n:03}": RuleRow(f"LF{n:03}", "x", "error", "|" * 400, n) for n in range(100)}
    text = markdown(RunSummary(RunTotals(tests=9), failed=failed, rules=rules))
    assert "and 4,950 more" in text
    path = tmp_path / "summary.md"
    for _ in range(20):
        append(OutputFile(path), text)
    assert LIMIT - 10_000 < path.stat().st_size <= LIMIT
    assert path.read_text().endswith("\n(The rest is left out: GitHub shows 1 MiB.)\n")
