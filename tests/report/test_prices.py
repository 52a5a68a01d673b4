"""Estimates of cost where an application sends none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from genai_prices import Usage, calc_price

from pytest_langfuse.report import prices
from pytest_langfuse.report.figures import money
from pytest_langfuse.report.prices import cost_of, estimate
from tests.helpers.forest import observation
from tests.helpers.json_lines import lines_of


@pytest.fixture(autouse=True)
def _fresh_prices() -> Iterator[None]:
    prices._prices.cache_clear()
    yield
    prices._prices.cache_clear()


def price(model: str, provider: str | None = None, **tokens: int) -> float:
    return float(calc_price(Usage(**tokens), model, provider_id=provider).total_price)


def call(kind: str = "generation", **fields: Any) -> float | None:
    return estimate(observation(kind, "llm", **{"model": "gpt-4o", "usage": {"input": 1000, "output": 100}, **fields}))


def test_tokens_of_inputs_and_outputs() -> None:
    expected = price("gpt-4o", input_tokens=1000, output_tokens=100)
    assert expected > 0
    assert call() == pytest.approx(expected)
    assert call(usage={"input": 1000, "output": 100, "total": 1100}) == pytest.approx(expected)
    assert call(usage={"input": 1000.0, "output_reasoning_tokens": 60, "output": 40}) == pytest.approx(expected)


def test_parts_exclude_one_another() -> None:
    cached = {"input": 400, "input_cached_tokens": 600, "output": 100}
    assert call(usage=cached) == pytest.approx(
        price("gpt-4o", input_tokens=1000, cache_read_tokens=600, output_tokens=100)
    )
    written = {"input": 400, "cache_creation_input_tokens": 600, "cache_read_input_tokens": 50, "output": 10}
    assert call(model="claude-sonnet-4-5", usage=written) == pytest.approx(
        price("claude-sonnet-4-5", input_tokens=1050, cache_read_tokens=50, cache_write_tokens=600, output_tokens=10)
    )


def test_models_by_their_provider() -> None:
    expected = price("gpt-4o", "openai", input_tokens=1000, output_tokens=100)
    assert call(model="openai/gpt-4o") == pytest.approx(expected)
    assert call(attributes={"gen_ai.system": "nobody knows it"}) == pytest.approx(expected)
    azure = price("gpt-4o", "azure", input_tokens=1000, output_tokens=100)
    assert call(attributes={"gen_ai.provider.name": "azure"}) == pytest.approx(azure)
    embedding = price("text-embedding-3-small", "openai", input_tokens=1000)
    assert call("embedding", model="text-embedding-3-small", usage={"input": 1000}) == pytest.approx(embedding)
    assert call("embedding", model="text-embedding-3-small", usage={"total": 1000}) == pytest.approx(embedding)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "a-model-of-our-own"},
        {"model": None},
        {"usage": {}},
        {"usage": {"total": 1100}},
        {"usage": {"input": -1}},
        {"usage": {"input": float("nan")}},
        {"usage": {"input": float("inf")}},
        {"usage": {"input": 10**30}},
        {"cost": {"total": 0.5}},
        {"cost": {"total": 0}},
    ],
    ids=str,
)
def test_no_estimate(fields: dict[str, Any]) -> None:
    assert call(**fields) is None


def test_a_cost_that_was_sent_wins() -> None:
    usage = {"input": 1000, "output": 100}
    assert cost_of(observation("generation", "llm", model="gpt-4o", usage=usage, cost={"total": 0})) == (0, False)
    found, is_estimate = cost_of(observation("generation", "llm", model="gpt-4o", usage=usage))
    assert found == pytest.approx(price("gpt-4o", input_tokens=1000, output_tokens=100))
    assert is_estimate


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    assert call() is None
    assert not prices.installed()


SUITE = """
    import pytest
    from app import langfuse

    def call(**fields):
        with langfuse.start_as_current_observation(name="llm", as_type="generation", model="gpt-4o") as llm:
            llm.update(usage_details={"input": 1_000_000, "output": 0}, **fields)

    @pytest.mark.langfuse_budget(cost=0.01)
    def test_estimated():
        call()

    @pytest.mark.langfuse_budget(cost=0.5)
    def test_sent():
        call(cost_details={"total": 0.25})
"""


def test_every_place_says_that_it_is_an_estimate(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "summary.md"))
    app.makepyfile(test_it=SUITE)
    known = price("gpt-4o", input_tokens=1_000_000)
    cost, shown = f"{known:.6g}", money(known)
    result = app.runpytest("--langfuse-json=run.jsonl", "--junit-xml=junit.xml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"over budget: {shown} (estimated), $0.0100 allowed", f"  llm: {shown} (estimated)"])
    tests = {row["test"].rpartition("::")[2]: row for row in lines_of(app.path / "run.jsonl", "test")}
    assert {name: row["cost_estimated"] for name, row in tests.items()} == {"test_estimated": True, "test_sent": False}
    assert (f"{tests['test_estimated']['cost']:.6g}", tests["test_sent"]["cost"]) == (cost, 0.25)
    rows = {row["test"].rpartition("::")[2]: row for row in lines_of(app.path / "run.jsonl", "observation")}
    assert [rows[name]["cost_estimated"] for name in ("test_estimated", "test_sent")] == [True, False]
    cases = {case.get("name"): case for case in ET.parse(app.path / "junit.xml").iter("testcase")}
    marked = [one.get("name") for one in cases["test_estimated"].iter("property")]
    assert "langfuse_cost_estimated" in marked
    assert "langfuse_cost_estimated" not in [one.get("name") for one in cases["test_sent"].iter("property")]
    assert " est. |" in (app.path / "summary.md").read_text()
    # Read back, an estimate is not a cost that was sent.
    result = app.runpytest("--langfuse-compare=run.jsonl", "-k", "estimated")
    result.stdout.fnmatch_lines(["with run.jsonl: none of 1 test changed* (cost estimated)"])


def test_a_budget_without_the_extra_says_how_to_get_it(app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    app.makepyfile(test_it=SUITE)
    result = app.runpytest("--langfuse-capture", "-k", "estimated")
    result.stdout.fnmatch_lines(
        [
            "over budget? The cost is not known, $0.0100 allowed",
            "  llm: has usage but no cost * pass cost_details=, or install pytest-langfuse[[]prices] for an estimate",
        ]
    )


def test_prices_are_imported_for_a_call_without_cost_alone(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        import sys
        from app import langfuse

        def test_it(langfuse_spans):
            with langfuse.start_as_current_observation(name="llm", as_type="generation", model="gpt-4o") as llm:
                llm.update(usage_details={"input": 5}, cost_details={"total": 0.25})
            langfuse.flush()

        def test_later():
            assert "genai_prices" not in sys.modules
        """
    )
    result = app.runpytest_subprocess("--junit-xml=junit.xml", "--langfuse-capture", "-p", "no:randomly")
    result.assert_outcomes(passed=2)
