"""The sums of a run are the same in the terminal, in the summary of a job, in the lines and on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pytest_langfuse.report import prices
from pytest_langfuse.report.amounts import number_of, summed, total
from pytest_langfuse.report.figures import amount, money
from pytest_langfuse.report.run_totals import RunTotals

#: Costs and usages that are not like others, with what is shown of both in one run.
ODD = """
    import opentelemetry.trace
    import pytest
    from freezegun import freeze_time
    from langfuse import get_client

    USED = [
        ({"input": 1000, "output": 100}, {"total": 1e300}),
        ({"total": 1e30}, {"input": 0.1, "output": 0.2}),
        ({"input": 7}, {"total": -5.0}),
        ({"input": 7}, {"total": "0.5"}),
        ({"input": 7}, None),
        (None, {"total": 0}),
    ]

    @pytest.mark.parametrize("used", range(len(USED)))
    def test_used(used):
        usage, cost = USED[used]
        with get_client().start_as_current_observation(name="llm", as_type="generation", model="own") as one:
            one.update(input="q", output="a", usage_details=usage, cost_details=cost)

    def test_filtered():
        with opentelemetry.trace.get_tracer("web").start_as_current_span("GET /"):
            with get_client().start_as_current_observation(name="inner"):
                pass

    def test_open():
        get_client().kept = get_client().start_observation(name="open")

    def test_set_back():
        with freeze_time("2020-01-01 00:00:10") as clock, get_client().start_as_current_observation(name="back"):
            clock.move_to("2020-01-01 00:00:05")

    @pytest.mark.langfuse_outage("refused")
    def test_lost():
        with get_client().start_as_current_observation(name="lost"):
            pass
        get_client().flush()

    def test_nothing():
        pass

    def test_red(langfuse_spans):
        with get_client().start_as_current_observation(name="red"):
            pass
        assert False
"""


@pytest.fixture(autouse=True)
def _no_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "_prices", lambda: None)


def figures_of(page: str) -> list[str]:
    """Return the figures at the top of a page."""
    [found] = re.findall(r'<ul class="figures plain">(.*?)</ul>', page, re.DOTALL)
    return [re.sub("<[^>]*>", "", item) for item in re.findall("<li.*?</li>", found)]


def rows_of(path: Path, kind: str) -> list[dict[str, Any]]:
    rows = map(json.loads, path.read_text().splitlines())
    return [row for row in rows if row["kind"] == kind]


@pytest.mark.parametrize(
    "more",
    [(), pytest.param(("-n2",), marks=pytest.mark.slow), ("-k", "used or nothing")],
    ids=["all", "workers", "some"],
)
def test_all_places_say_the_same(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]):
    app.makepyfile(test_it=ODD)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    result = app.runpytest("--langfuse-json=run.jsonl", "--langfuse-report=report.html", *more)
    exported = [row for row in rows_of(app.path / "run.jsonl", "observation") if row["exported"]]
    tests = rows_of(app.path / "run.jsonl", "test")
    lost = sum(row["lost"] for row in tests)
    observations, tokens, cost = (
        len(exported) + lost,
        summed(row["tokens"] for row in tests),
        summed(row["cost"] for row in tests),
    )
    assert tokens is not None
    assert cost is not None
    assert (observations, tokens > 1e29, cost > 1e299) == (6 if more and more[0] == "-k" else 10, True, True)
    assert lost == (0 if more and more[0] == "-k" else 1)
    open_ones = sum(row["unended"] for row in tests)
    # The lines of tests are right, if those of observations are.
    assert tokens == summed(number_of(total(row["usage"])) for row in exported if row["usage"])
    assert cost == summed(number_of(total(row["cost"])) for row in exported if row["cost"])
    traced = len({row["test"] for row in tests if row["observations"] or row["lost"]})
    result.stdout.fnmatch_lines([f"langfuse: {observations} observations in {traced} tests*"])
    assert (f", {open_ones} never ended" in result.stdout.str()) == bool(open_ones)
    heads = "| observations | tokens | cost | findings | lost | never ended |"
    lines = (app.path / "summary.md").read_text().splitlines()
    cells = [cell.strip() for cell in lines[lines.index(heads) + 2].split("|")[1:-1]]
    assert (cells[:3], cells[4:]) == (
        [str(observations), amount(tokens), money(cost)],
        [str(lost), str(open_ones)],
    )
    shown = figures_of((app.path / "report.html").read_text())
    assert {f"{observations} observations", f"{amount(tokens)} tokens", money(cost)} <= set(shown)
    assert (f"{open_ones} never ended" in shown, f"{lost} lost" in shown) == (bool(open_ones), bool(lost))


LOST = """
    from langfuse import get_client
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    def make(*names):
        for name in names:
            get_client().start_observation(name=name).end()

    def test_two():
        make("a", "b")

    def test_same_id(monkeypatch):
        monkeypatch.setattr(RandomIdGenerator, "generate_span_id", lambda self: 7)
        monkeypatch.setattr(RandomIdGenerator, "generate_trace_id", lambda self: 8)
        make("c", "d")

    def test_half(langfuse_outage):
        make("e")
        with langfuse_outage("refused"):
            make("f", "g")

    def test_nothing():
        pass
"""


def summary_of(app: pytest.Pytester, *arguments: str) -> str:
    lines = app.runpytest("-p", "no:randomly", *arguments).outlines
    return next(line for line in lines if re.match(r"langfuse: \d+ observations", line))


@pytest.mark.parametrize(
    ("outage", "expected"),
    [((), "7 observations in 3 tests"), (("--langfuse-outage=refused",), "7 observations in 3 tests")],
    ids=["healthy", "outage"],
)
def test_a_report_changes_no_figure(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, outage: tuple[str, ...], expected: str
):
    app.makepyfile(test_it=LOST)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    alone = summary_of(app, "--langfuse-capture", *outage)
    assert alone == summary_of(app, *outage, "--langfuse-report=report.html", "--langfuse-json=run.jsonl")
    assert alone.startswith(f"langfuse: {expected}")
    [shown] = {figure for figure in figures_of((app.path / "report.html").read_text()) if "observation" in figure}
    assert f"{shown} in" in alone
    tests = rows_of(app.path / "run.jsonl", "test")
    assert shown == f"{sum(row['observations'] + row['lost'] for row in tests)} observations"
    summary = (app.path / "summary.md").read_text().splitlines()
    heads = summary.index("| observations | tokens | cost | findings | lost | never ended |")
    assert f"{summary[heads + 2].split('|')[1].strip()} observations" == shown


def test_a_sum_that_is_too_large_is_the_largest_number():
    assert summed([1e308, 1e308]) == 1.7976931348623157e308
    assert summed([-1e308, -1e308]) == -1.7976931348623157e308
    assert summed([1e308, 1e308, -1e308, -1e308]) == 0


def test_what_is_not_a_number_is_not_added():
    odd = [float("nan"), float("inf"), None, True, "5", 10**400]
    assert summed(odd) is None
    assert summed([*odd, 1.5]) == 1.5
    totals = RunTotals()
    for value in odd:
        totals.add({"observations": value, "lost": value, "unended": value, "tokens": value, "cost": value})
    assert totals == RunTotals(tests=len(odd))
