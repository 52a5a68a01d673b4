"""Limits of a comparison say what they do not judge, and its sums what is not in them."""

from __future__ import annotations

import json

import pytest

from pytest_langfuse.report.compared_run import ComparedRun
from pytest_langfuse.report.run_comparison import RunComparison
from tests.helpers.json_lines import lines_of

Call = tuple[float | None, float | None]
"""Tokens and cost of a call of a model."""


def run(*, outcome: str = "passed", missing: str | None = None, **tests: list[Call]) -> ComparedRun:
    """Return a run of tests, each with its calls of a model."""
    rows: list[dict] = []
    for test, calls in tests.items():
        sums = [[call[number] for call in calls if call[number] is not None] for number in (0, 1)]
        tokens, cost = (sum(values) if values else None for values in sums)
        ids = {"test": test, "fault": None}
        fields = {"outcome": outcome, "duration": 1.0, "tokens": tokens, "cost": cost, "models": [], "missing": missing}
        rows.append({"kind": "test", **ids, **fields})
        for number, (used, dollars) in enumerate(calls):
            shown = {"parent": None, "type": "generation", "name": "llm", "start": number, "exported": True}
            usage = {} if used is None else {"total": used}
            costs = {} if dollars is None else {"total": dollars}
            call = {"trace": "t", "id": str(number), **shown, "usage": usage, "cost": costs, "fixture": None}
            rows.append({"kind": "observation", **ids, **call})
    return ComparedRun.of(map(json.dumps, rows))


HINT = " (estimates need pytest-langfuse[prices] in both runs)"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ([(1, None)], [(1, 9.0)], "whose cost is unknown in the earlier run" + HINT),
        ([(1, 1.0)], [(1, None)], "whose cost is unknown in this run" + HINT),
        ([(1, None)], [(1, None)], "whose cost is unknown in both runs" + HINT),
        ([(1, 1.0), (1, 1.0)], [(1, 1.0), (1, None)], "whose cost is in part unknown in this run" + HINT),
        ([(1, 1.0), (1, None)], [(1, 1.0), (1, 1.0)], "whose cost is in part unknown in the earlier run" + HINT),
        ([], [(1, 9.0)], "that had no cost in the earlier run"),
    ],
)
def test_what_a_limit_does_not_judge(before: list[Call], after: list[Call], why: str) -> None:
    judged = [(1.0, 1.0)]
    comparison = RunComparison(run(a=before, b=judged), run(a=after, b=judged), max_cost_increase=0.1)
    assert comparison.exceeded == []
    assert comparison.not_judged == [f"the limit of 10% more cost judges 1 of 2 tests, not 1 {why}"]
    assert RunComparison(run(a=before, b=judged), run(a=after, b=judged)).not_judged == []


@pytest.mark.parametrize(
    ("before", "after", "exceeded"),
    [
        ([], [], 0),
        ([(1, 1.0)], [], 0),
        ([(1, 1.0)], [(1, 1.05)], 0),
        ([(1, 1.0)], [(1, 2.0)], 1),
        # What the limit judges by is in both runs.
        ([(1, 1.0), (1, None)], [(1, 1.0), (1, None)], 0),
        ([(1, 1.0), (1, None)], [(1, 2.0), (1, None)], 1),
        # It is more, whatever the rest costs.
        ([(1, 1.0)], [(1, 2.0), (1, None)], 1),
    ],
)
def test_what_a_limit_judges(before: list[Call], after: list[Call], exceeded: int) -> None:
    comparison = RunComparison(run(a=before), run(a=after), max_cost_increase=0.1)
    assert (len(comparison.exceeded), comparison.not_judged) == (exceeded, [])


def test_a_fixture_is_not_judged() -> None:
    def of(**call: dict) -> ComparedRun:
        ids, fields = {"test": "t", "fault": None}, {"outcome": "passed", "duration": 1, "tokens": 1, "cost": None}
        fixture = {"name": "docs", "scope": "module", "node": "test_a.py", "param": None, "set_up": "1"}
        shown = {
            "trace": "t",
            "id": "1",
            "parent": None,
            "type": "generation",
            "name": "llm",
            "start": 1,
            "exported": True,
        }
        rows = [{"kind": "test", **ids, **fields, "models": []}, {"kind": "observation", **ids, **shown, **call}]
        rows[1]["fixture"] = fixture
        return ComparedRun.of(map(json.dumps, rows))

    comparison = RunComparison(of(), of(cost={"total": 1.0}), max_cost_increase=0.1)
    why = f"whose cost is unknown in the earlier run{HINT}"
    assert comparison.not_judged == [f"the limit of 10% more cost judges 1 of 1 test and 1 fixture, not 1 {why}"]


def test_other_reasons() -> None:
    dearer = run(a=[(2, None)])
    comparison = RunComparison(run(outcome="failed", a=[(1, None)]), dearer, max_token_increase=0.1)
    why = "that did not pass in the earlier run"
    assert comparison.not_judged == [f"the limit of 10% more tokens judges none of 1 test, not 1 {why}"]
    assert comparison.exceeded == []
    comparison = RunComparison(run(missing="its worker has crashed", a=[]), dearer, max_token_increase=0.1)
    assert comparison.not_judged == [
        "the limit of 10% more tokens judges none of 1 test, not 1 whose record is missing"
    ]
    comparison = RunComparison(run(a=[(None, 1.0)]), dearer, max_token_increase=0.1)
    why = "whose tokens are unknown in the earlier run"
    assert comparison.not_judged == [f"the limit of 10% more tokens judges none of 1 test, not 1 {why}"]
    comparison = RunComparison(run(b=[(1, None)]), dearer, max_token_increase=0.1)
    assert comparison.not_judged == ["the limit of 10% more tokens judges nothing: the runs have no test in common"]


@pytest.mark.parametrize(
    ("before", "after", "clause"),
    [
        (
            {"a": [(1, 0.01)], "b": [(1, None)]},
            {"a": [(1, 0.55)], "b": [(1, 9.0)], "new": [(1, 1.0)]},
            "cost $0.0100 -> $9.55 (unknown, at least in part, in 1 test before) and $1.00 in new tests",
        ),
        (
            {"a": [(1, 0.01)], "b": [(1, 2.0)]},
            {"a": [(1, 0.55)], "b": [(1, None)]},
            "cost $2.01 -> $0.5500 (unknown, at least in part, in 1 test now)",
        ),
        ({"a": [(1, None)]}, {"a": [(1, 9.0)]}, "cost unknown -> $9.00 (unknown, at least in part, in 1 test before)"),
        ({"a": []}, {"a": [(1, 9.0)]}, "cost $0.00 -> $9.00"),
        ({"a": [(1, 9.0)]}, {"a": []}, "cost $9.00 -> $0.00 (-100%)"),
        ({"a": [(1, 1.0), (1, None)]}, {"a": [(1, 2.0), (1, None)]}, "cost $1.00 -> $2.00 (+100%)"),
        ({"a": [(1, None)]}, {"a": [(1, None)]}, None),
        ({"a": [(1, None)]}, {"a": [(1, None)], "b": [(1, 2.0)]}, "cost $2.00 in new tests"),
    ],
)
def test_sums_say_what_is_not_in_them(before: dict, after: dict, clause: str | None) -> None:
    clauses = RunComparison(run(**before), run(**after)).counts().split("; ")
    assert [one for one in clauses if one.startswith("cost")] == ([clause] if clause else [])


# -- in runs of pytest -------------------------------------------------------------------------------------------

SUITE = """
    import os
    from app import langfuse

    def test_it():
        with langfuse.start_as_current_observation(name="llm", as_type="generation", model="m") as one:
            one.update(usage_details={"total": 10}, cost_details={"total": 1.0} if "PRICED" in os.environ else None)
"""


def test_a_limit_that_judges_nothing_says_so_wherever_the_comparison_is(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.makepyfile(test_it=SUITE)
    app.makeini("[pytest]\nlangfuse_max_cost_increase = 10%\n")
    monkeypatch.setenv("PRICED", "1")
    app.runpytest("--langfuse-json=before.jsonl")
    monkeypatch.delenv("PRICED")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "summary.md"))
    result = app.runpytest("--langfuse-compare=before.jsonl", "--langfuse-json=a.jsonl", "--langfuse-report=a.html")
    told = "the limit of 10% more cost judges none of 1 test, not 1 whose cost is unknown in this run"
    assert told + HINT in result.stdout.lines
    result.stdout.fnmatch_lines(["  test_it.py::test_it: cost $1.00 -> unknown"])
    assert lines_of(app.path / "a.jsonl", "run")[0]["compared"]["not_judged"] == [told + HINT]
    assert told in (app.path / "a.html").read_text()
    assert "judges none of 1 test" in (app.path / "summary.md").read_text()


def test_only_the_side_that_is_estimated_says_so() -> None:
    def of(cost: float | None, *, estimated: bool) -> ComparedRun:
        row = {"kind": "test", "test": "t", "fault": None, "outcome": "passed", "duration": 1, "tokens": 1}
        return ComparedRun.of([json.dumps(row | {"cost": cost, "cost_estimated": estimated, "models": []})])

    comparison = RunComparison(of(0.5, estimated=True), of(None, estimated=False))
    assert [change.values for change in comparison.changes] == [["cost $0.5000 (estimated) -> none"]]


NO_RUN = "there is no run to compare with (--langfuse-compare=FILE)"
NO_FILE = "'main.jsonl' does not exist yet"


@pytest.mark.parametrize(
    ("ini", "options", "told"),
    [
        (
            "langfuse_max_cost_increase = 10%",
            ["--langfuse-capture"],
            f"langfuse_max_cost_increase judges nothing: {NO_RUN}",
        ),
        (
            "langfuse_max_cost_increase = 10%\nlangfuse_max_token_increase = 0%",
            ["--langfuse-json=a.jsonl"],
            f"langfuse_max_cost_increase and langfuse_max_token_increase judge nothing: {NO_RUN}",
        ),
        (
            "langfuse_max_token_increase = 10%\nlangfuse_compare = main.jsonl",
            [],
            f"not compared: ini option langfuse_compare: {NO_FILE}, so langfuse_max_token_increase judges nothing",
        ),
    ],
)
def test_a_limit_without_a_run_to_compare_with(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ini: str, options: list[str], told: str
) -> None:
    app.makepyfile(test_it=SUITE)
    app.makeini(f"[pytest]\n{ini}\n")
    result = app.runpytest(*options)
    assert [line for line in result.stdout.lines if "judge" in line] == [f"langfuse: {told}"]
    assert result.ret == 0
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "summary.md"))
    result = app.runpytest(*options)
    assert [line for line in result.stdout.lines if "judge" in line] == [f"langfuse: {told}"]
    text = (app.path / "summary.md").read_text()
    assert "nothing" in text


def test_a_run_that_captures_nothing_does_not_speak_of_limits(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="def test_it(): pass")
    app.makeini("[pytest]\nlangfuse_max_cost_increase = 10%\n")
    assert "judge" not in app.runpytest().stdout.str()
