"""Outcomes, levels and what is lost are compared, too: a run that is worse has changed."""

from __future__ import annotations

import json

import pytest

from pytest_langfuse.report.compared_run import ComparedRun
from pytest_langfuse.report.run_comparison import RunComparison
from tests.helpers.json_lines import lines_of
from tests.helpers.report_page import index

APP = """
    from langfuse import Langfuse

    langfuse = Langfuse()

    def gen(name="llm", **fields):
        with langfuse.start_as_current_observation(name=name, as_type="generation") as one:
            one.update(usage_details={"total": 10}, **fields)

    KEPT = []

    def left_open():
        KEPT.append(langfuse.start_observation(name="left open"))
"""
COMPARE = "--langfuse-compare=before.jsonl"


@pytest.fixture
def suite(any_duration: None, app: pytest.Pytester) -> pytest.Pytester:
    """An empty folder with an application."""
    app.makepyfile(app=APP)
    return app


def compare(suite: pytest.Pytester, before: str, after: str, *options: str) -> pytest.RunResult:
    """Run a test module, then another one, which is compared with it."""
    suite.makepyfile(test_it=f"from app import gen, left_open\n{before}")
    suite.runpytest("--langfuse-json=before.jsonl", "-p", "no:randomly")
    suite.makepyfile(test_it=f"from app import gen, left_open\n{after}")
    for cached in suite.path.rglob("test_it.*.pyc"):
        cached.unlink()
    return suite.runpytest(COMPARE, "-p", "no:randomly", *options)


def test_a_level_that_was_another_one(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    result = compare(
        suite,
        "def test_a(): gen(model='old')\ndef test_it(): gen(output='fine'); gen('other')",
        "def test_a(): gen(model='new')\ndef test_it(): gen(level='ERROR', status_message='boom'); gen('other')",
        "--langfuse-json=now.jsonl",
        "--langfuse-report=now.html",
    )
    result.stdout.fnmatch_lines(
        [
            "with before.jsonl: 2 of 2 tests changed, 1 of them for the worse; errors 0 -> 1; tokens 30 as before",
            # What is worse comes first.
            "  test_it.py::test_it: errors 0 -> 1",
            "    llm: level is 'ERROR', expected 'DEFAULT'",
            "  test_it.py::test_a: models old -> new",
        ],
        consecutive=True,
    )
    assert result.ret == 0
    rows = {row["test"].partition("::")[2]: row for row in lines_of(suite.path / "now.jsonl", "comparison")}
    row = rows["test_it"]
    assert (row["changes"], row["worse"]) == (["errors 0 -> 1"], True)
    assert (row["before"]["errors"], row["after"]["errors"]) == (0, 1)
    assert rows["test_a"]["worse"] is False
    texts = [cell["text"] for cell in row["difference"]["captured"] if cell]
    # Of others, the level does not matter.
    assert texts == ["generation llm level=ERROR", "generation other"]
    assert "errors 0 &#45;&#62; 1" in (suite.path / "summary.md").read_text()
    page = (suite.path / "now.html").read_text()
    assert page.index("errors 0 -&gt; 1</div>") < page.index("models old -&gt; new</div>")
    assert {test["test"]: test["changes"] for test in index(page)["tests"]}["test_it.py::test_it"] == ["errors 0 -> 1"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("gen()", "gen(level='WARNING')", "warnings 0 -> 1"),
        ("gen(level='DEBUG')", "gen()", "observations of level DEBUG 1 -> 0 (-100%)"),
        ("gen(level='ERROR')", "gen(level='WARNING')", "errors 1 -> 0 (-100%); warnings 0 -> 1"),
        ("gen()", "gen(); left_open()", "never ended 0 -> 1"),
        ("gen()", "gen(); assert False", "outcome passed -> failed"),
        ("gen(); assert False", "gen()", "outcome failed -> passed"),
        ("gen()", "import pytest; pytest.skip('no')", "outcome passed -> skipped; tokens 10 -> none"),
    ],
)
def test_other_changes(suite: pytest.Pytester, before: str, after: str, told: str) -> None:
    result = compare(suite, f"def test_it(): {before}", f"def test_it(): {after}")
    line = next(line for line in result.stdout.lines if line.startswith("  test_it.py::test_it: "))
    assert line == f"  test_it.py::test_it: {told}"
    headline = next(line for line in result.stdout.lines if line.startswith("with before.jsonl"))
    worse = told.startswith("never") or told.endswith("failed")
    assert headline.startswith(f"with before.jsonl: 1 of 1 test changed{', 1 of them for the worse' * worse}")


def rows(test: dict, *observations: dict) -> ComparedRun:
    line = {"kind": "test", "test": "t", "fault": None, "outcome": "passed", "duration": 1.0}
    line |= {"tokens": None, "cost": None, "models": [], **test}
    ids = {"kind": "observation", "test": "t", "fault": None, "trace": "t", "parent": None}
    shown = {"type": "span", "name": "one", "start": 1, "exported": True}
    return ComparedRun.of(
        json.dumps(row)
        for row in (line, *({**ids, "id": str(n), **shown, **one} for n, one in enumerate(observations)))
    )


def test_what_langfuse_did_not_get() -> None:
    lost = {"exported": False, "reason": "lost"}
    comparison = RunComparison(rows({}, {}), rows({}, {}, lost, lost))
    [change] = comparison.changes
    assert (change.values, change.sentences, change.is_worse) == (["lost 0 -> 2"], [], True)
    for reason in ("filtered", "unsampled", "other project"):
        assert RunComparison(rows({}, {}), rows({}, {}, lost | {"reason": reason})).changes == []


def test_a_test_over_a_limit_has_passed() -> None:
    assert RunComparison(rows({"outcome": "exceeded"}), rows({"outcome": "passed"})).changes == []


def test_a_test_whose_record_is_missing_is_not_compared() -> None:
    whole, missing = rows({"tokens": 5}, {}), rows({"missing": "its worker has crashed", "outcome": "error"})
    [change] = RunComparison(whole, missing).changes
    assert change.values == ["outcome passed -> error", "not compared: what it has recorded is missing in this run"]
    assert change.sentences == []
    [change] = RunComparison(missing, whole).changes
    assert change.values[1:] == ["not compared: what it has recorded is missing in the earlier run"]
