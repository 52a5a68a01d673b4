"""The page in a browser, opened from the disk."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest

from pytest_langfuse.expect.literal.parse import parse
from tests.helpers.application import _no_keys, app
from tests.helpers.report_rows import (
    NOON,
    PIXEL,
    case_row,
    compared,
    compared_run,
    comparison_row,
    finding_row,
    observation_row,
    run_row,
    score_row,
    shop_run,
)
from tests.helpers.tiers import first_of, repeats
from tests.report.page.chat_shapes import SHAPES

__all__ = ["_no_keys", "app"]

# Slow: starts a browser.
pytestmark = pytest.mark.slow

ANSWER = "#test=tests%2Ftest_shop.py%3A%3Atest_answer"


CHANGED = "#test=test_changed"


def names(page: Any, selector: str) -> list[str]:
    return page.locator(selector).all_inner_texts()


def listed(page: Any) -> list[str]:
    """The tests in the list, in order, with their faults."""
    found = []
    for row in sorted(
        page.locator("#list [role=option]").all(), key=lambda row: int(row.get_attribute("aria-posinset"))
    ):
        fault = row.locator(".line:first-child .tag")
        found.append(" ".join([row.locator(".name").first.inner_text(), *fault.all_inner_texts()]))
    return found


def tree(page: Any) -> list[str]:
    """The names of the rows of the tree, indented."""
    rows = sorted(page.locator(".tree-row").all(), key=lambda row: int(row.get_attribute("aria-rowindex")))
    return [
        "  " * (int(row.get_attribute("aria-level")) - 1) + row.locator(".cell-name > .name").inner_text()
        for row in rows
    ]


def active(page: Any) -> str:
    return page.locator(".tree-row[aria-selected=true] .cell-name > .name").inner_text()


def side(page: Any) -> Any:
    return page.locator("#side")


def wait_for_observation(page: Any, name: str) -> None:
    page.locator("#side h2", has_text=re.compile(f"^{re.escape(name)}$")).wait_for()


def test_opens_with_what_is_wrong(opened):
    page = opened(shop_run())
    assert page.locator("#overview").is_visible()
    assert page.locator("#test").is_hidden()
    assert page.locator("#loading").count() == 0
    assert listed(page) == ["test_answer", "test_answer hang", "test_answer http_503", "test_other"]
    page.get_by_role("link", name="tests/test_shop.py::test_answer [hang]").click()
    page.wait_for_selector(".outage")
    assert page.locator("#overview").is_hidden()
    assert page.title() == "test_answer · Langfuse traces"
    page.go_back()
    page.wait_for_selector("#overview", state="visible")
    assert page.title() == "Langfuse traces"


@repeats
def test_filters(opened):
    page = opened(shop_run())

    def after(choice: str, value: str) -> list[str]:
        page.select_option(f"#{choice}", value)
        shown = listed(page)
        page.select_option(f"#{choice}", "")
        return shown

    assert after("outcome", "red") == ["test_answer"]
    assert after("rule", "LF006") == after("rule", "*") == ["test_answer"]
    assert after("fault", "!") == after("fault", "hang") == ["test_answer hang"]
    assert after("time", "1") == ["test_answer hang", "test_answer http_503"]
    assert after("cost", "0") == ["test_answer"]
    assert after("order", "duration")[:2] == ["test_answer hang", "test_answer http_503"]
    page.fill("#filter", "OTHER")
    assert listed(page) == ["test_other"]
    assert page.locator("#total").inner_text() == "1 of 4 tests"
    page.fill("#filter", "nothing like it")
    assert listed(page) == []


def test_enter_searches_inputs_and_outputs(opened):
    page = opened(shop_run())
    page.fill("#filter", "a PIXEL.")
    assert listed(page) == []
    page.press("#filter", "Enter")
    page.get_by_text("1 observation with the text").wait_for()
    assert listed(page) == ["test_answer"]


def test_the_tree_folds(opened):
    page = opened(shop_run(), ANSWER)
    page.wait_for_selector(".tree-row")
    whole = ["answer", "  search", "    rank", "  llm", "  GET /x", "  store", "  open"]
    assert tree(page) == whole
    assert page.locator(".tree-row").first.get_attribute("aria-expanded") == "true"
    page.locator(".tree-row").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    assert tree(page) == [name for name in whole if "rank" not in name]
    assert active(page) == "search"
    page.keyboard.press("ArrowLeft")
    assert active(page) == "answer"
    page.keyboard.press("ArrowLeft")
    assert tree(page) == ["answer"]
    page.get_by_role("button", name="Unfold").click()
    assert tree(page) == whole
    page.locator(".tree-row").first.focus()
    page.keyboard.press("End")
    assert active(page) == "open"
    assert page.evaluate("document.activeElement.getAttribute('aria-rowindex')") == "8"
    page.locator(".twisty").nth(1).click()
    assert "    rank" not in tree(page)


def test_the_tree_says_what_was_not_exported_and_why(opened):
    page = opened(shop_run(), ANSWER)
    rows = {
        row.locator(".cell-name > .name").inner_text(): (
            row.locator(".tag").all_inner_texts(),
            row.locator(".span-bar"),
        )
        for row in page.locator(".tree-row").all()
    }
    assert {name: tags for name, (tags, _) in rows.items()} == {
        "answer": [],
        "search": ["python search.py (pid 12)"],
        "rank": ["ERROR", "node rank.js (pid 13), main"],
        "llm": ["1 finding"],
        "GET /x": ["filtered"],
        "store": ["lost"],
        "open": ["never ended"],
    }
    assert "is-unexported" in rows["GET /x"][1].get_attribute("class")
    assert "is-lost" in rows["store"][1].get_attribute("class")
    assert rows["GET /x"][1].evaluate("bar => getComputedStyle(bar).borderTopStyle") == "dashed"
    assert "repeating-linear-gradient" in rows["store"][1].evaluate("bar => getComputedStyle(bar).backgroundImage")
    assert names(page, ".trace .lane-name") == [
        "this process",
        "python search.py (pid 12)",
        "node rank.js (pid 13), main",
    ]
    page.get_by_text("GET /x").click()
    side(page).get_by_text("default span filter").wait_for()


@repeats
def test_bars_are_on_one_axis(opened):
    def bar(row: int) -> tuple[float, float]:
        box = page.locator(f".tree-row[aria-rowindex='{row + 2}'] .span-bar").bounding_box()
        axis = page.locator(f".tree-row[aria-rowindex='{row + 2}'] .cell-time").bounding_box()
        return round((box["x"] - axis["x"]) / axis["width"], 2), round(box["width"] / axis["width"], 2)

    rows = [case_row(), observation_row(0, duration=0.1), observation_row(50, 0, duration=0.025)]
    page = opened(rows, ANSWER)
    page.wait_for_selector(".tree-row")
    assert (bar(0), bar(1)) == ((0, 1), (0.5, 0.25))
    assert names(page, ".head .tick") == ["0 µs", "50 ms", "100 ms"]
    page.locator(".tree-row").nth(1).click()
    page.keyboard.press("z")
    assert bar(0) == (0, 1)
    assert tree(page) == ["step 50"]
    page.keyboard.press("z")
    assert tree(page) == ["step 0", "  step 50"]


def test_an_observation_shows_everything(opened):
    page = opened(shop_run(), f"{ANSWER}&obs={2:016x}")
    page.wait_for_selector("#side h2", state="attached")
    text = side(page).inner_text()
    assert names(page, "#side .role") == ["system", "user", "assistant"]
    for shown in (
        "You are a shop.",
        "What is this?",
        "A pixel.",
        "input 12, output 9",
        "gpt-4o-mini",
        "shop v3",
        "acme",
    ):
        assert shown in text
    assert "0.5: as asked" in text
    assert "generation llm has no model" in text
    assert "Fix: pass model= to the generation" in text
    assert "shop/app.py:12" in text
    assert page.locator("#side img").evaluate("image => [image.naturalWidth, image.src.slice(0, 15)]") == [
        1,
        "data:image/png;",
    ]
    page.get_by_text("What is LF006?").click()
    assert "## " in page.locator("#side .finding pre").inner_text()
    page.get_by_text("Raw attributes (1)").click()
    assert "gen_ai.system" in side(page).inner_text()


def test_an_estimated_cost_says_so_everywhere(opened):
    cost = {"cost": {"total": 0.0004}, "cost_estimated": True}
    page = opened([case_row(cost=0.0004, cost_estimated=True), observation_row(0, **cost)])
    assert "$0.00040 est." in page.locator("header").inner_text()
    assert "$0.00040 est." in page.locator("#overview").inner_text()
    assert "$0.00040 est." in page.locator("#list").inner_text()
    page.locator("#list [role=option]").click()
    assert names(page, ".tree-row .cell-cost") == ["$0.00040 est."]
    side(page).get_by_text("total $0.00040 (estimated)").wait_for()
    assert "$0.00040 est." in page.locator("#test > .note").inner_text()


def test_scores_of_what_nothing_made_are_shown(opened):
    rows = [
        case_row(),
        observation_row(0),
        score_row(0),
        score_row(9, name="lost"),
        score_row(trace="f" * 32, name="far"),
    ]
    page = opened(rows, ANSWER)
    page.wait_for_selector("#side h2", state="attached")
    assert "Scores of what nothing made\nlost\n0.5\nfar\n0.5" in page.locator("#test").inner_text()
    assert "far" not in side(page).inner_text()


def test_a_score_is_shown_with_what_it_is_of_and_nowhere_else(opened):
    nothing = {"trace": None, "observation": None}
    other = {"trace": "e" * 32}
    rows = [
        case_row(),
        observation_row(0, name="first", session="A"),
        # Of another trace, with the same id, as a fixed random seed makes them.
        observation_row(0, name="second", session="S1", start=NOON + 5_000, **other),
        observation_row(1, 0, name="below", start=NOON + 6_000, **other),
        score_row(0, name="of_first"),
        score_row(0, name="of_second", **other),
        score_row(name="of_trace"),
        score_row(1, name="of_below", **other),
        score_row(1, name="lost"),
        score_row(**nothing, session="S1", name="of_session"),
        score_row(**nothing, dataset_run="D1", name="of_run"),
        # As versions before wrote it.
        score_row(**nothing, name="of_something"),
    ]
    page = opened(rows, ANSWER)
    shown = {"first": ["of_first", "of_trace"], "second": ["of_second"], "below": ["of_below"]}
    for name, scores in shown.items():
        page.locator(".tree-row", has_text=name).click()
        wait_for_observation(page, name)
        assert names(page, "#side section:has(h3:text-is('Scores')) dt") == scores
    told = page.locator("#test").inner_text()
    assert "Scores of what nothing made\nlost\n0.5\n" in told
    assert (
        "Scores of sessions and dataset runs\nof_session\n0.5 (of session S1)\nof_run\n0.5 (of dataset run D1)\n"
        "of_something\n0.5 (the file does not say of what)\n"
    ) in told


def test_messages_of_all_shapes_are_shown_as_messages(opened):
    rows = [case_row()]
    rows += [observation_row(at, name=f"shape {at}.", input=value) for at, (value, _) in enumerate(SHAPES.values())]
    page = opened(rows, ANSWER, viewport={"width": 1440, "height": 1600})
    for at, (name, (_, lines)) in enumerate(SHAPES.items()):
        page.locator(".tree-row", has_text=f"shape {at}.").click()
        wait_for_observation(page, f"shape {at}.")
        text = side(page).inner_text()
        for role, kind, value in (line.split("|", 2) for line in lines):
            assert role in names(page, "#side .message > .role") or not role, name
            if kind == "text" and not value.startswith("{"):
                assert value in text, name
            elif kind == "image":
                assert side(page).locator("img").get_attribute("src") == PIXEL, name
            elif kind.startswith(("call", "result")):
                label = kind.replace("result", "result of a call").strip()
                assert label in names(page, "#side .message .message > .role"), name
                assert not kind.startswith("call ") or re.search(r"id\s*7", text), name
            elif kind == "thinking" and not value.startswith("["):
                assert value in text, name
    # What @observe records.
    page.locator(".tree-row", has_text=f"shape {list(SHAPES).index('arguments of a function')}.").click()
    page.locator("#side .message", has_text="hi").wait_for()


@repeats
def test_long_values_fold(opened):
    value = {"many": list(range(250)), "long": "x" * 9_000}
    page = opened([case_row(), observation_row(0, input=value)], ANSWER)
    page.wait_for_selector("#side .entry")
    assert page.locator("#side .json-value").count() == 0
    page.get_by_text("many").click()
    page.locator("#side .json-value").nth(99).wait_for()
    assert page.locator("#side .json-value").count() == 100
    page.get_by_role("button", name="150 more").click()
    page.get_by_role("button", name="50 more").click()
    assert page.locator("#side .json-value").count() == 250
    page.get_by_role("button", name="show all 9,000 characters").click()
    assert "x" * 9_000 in side(page).inner_text()


def test_the_literal_can_be_copied(opened):
    hostile = 'say "hi" [*] \u202e\u2028 #1'
    rows = [
        case_row(),
        observation_row(0, name="answer", input="why?", output={"a": [1, "x"]}, user="u-1", tags=["a"]),
        observation_row(1, 0, name=hostile, type="generation", level="ERROR", status="no \u200b luck", model="true"),
    ]
    page = opened(rows, ANSWER, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as literal").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    first, second = copied.splitlines()
    assert first == 'span answer input="why?" output={"a":[1,"x"]} user_id=u-1 tags=["a"]'
    assert second.startswith('  generation "say \\"hi\\"')
    [root] = parse(copied, {}).children
    [child] = root.children
    assert root.name.matches("answer")
    assert child.name.matches(hostile)


def test_the_copied_literal_matches_the_trace(opened, app: pytest.Pytester):
    """What the page copies of a run is what `assert_tree` takes, and what `str(langfuse_spans)` is."""
    scored = """
            from app import answer, langfuse

            def act():
                answer('why?')
                with langfuse.start_as_current_observation(name="rated") as rated:
                    with rated.start_as_current_observation(name="below") as below:
                        below.score(name="grounded", value=0.5, comment="cites [1]", metadata={"judge": "a b"})
                        below.score(name="kind of", value="so so", data_type="CATEGORICAL")
                    rated.score_trace(name="helpful", value=0.25)
    """
    app.makepyfile(
        acts=scored,
        test_it="""
            from acts import act

            def test_it(langfuse_spans):
                act()
                with open("expected", "w") as file:
                    file.write(str(langfuse_spans.in_trace("rated")))
        """,
    )
    app.runpytest("--langfuse-json=run.jsonl").assert_outcomes(passed=1)
    rows = [json.loads(line) for line in (app.path / "run.jsonl").read_text().splitlines()]
    page = opened(rows, "#test=test_it.py::test_it", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as literal").click()
    page.get_by_role("button", name="Copied").wait_for()
    answer = page.evaluate("navigator.clipboard.readText()")
    assert answer.count("\n") == 2
    page.locator(".tree-row", has_text="rated").click()
    wait_for_observation(page, "rated")
    page.get_by_role("button", name="Copy as literal").click()
    page.get_by_role("button", name="Copied").wait_for()
    rated = page.evaluate("navigator.clipboard.readText()")
    assert rated == (app.path / "expected").read_text()
    assert '  score "kind of" value="so so"' in rated
    assert rated.endswith("\nscore helpful value=0.25")
    page.locator(".tree-row", has_text="below").click()
    wait_for_observation(page, "below")
    page.get_by_role("button", name="Copy as literal").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert "helpful" not in page.evaluate("navigator.clipboard.readText()")
    app.makepyfile(
        test_it=f"""
            from acts import act

            def test_it(langfuse_spans):
                act()
                langfuse_spans.assert_tree({answer!r} + chr(10) + {rated!r})
        """
    )
    app.runpytest().assert_outcomes(passed=1)


def test_a_failed_assertion_stands_side_by_side(opened):
    page = opened(shop_run(), ANSWER)
    page.wait_for_selector(".difference")
    assert "search: parent is answer, expected llm" in page.locator(".difference").inner_text()
    assert names(page, ".difference del") == ["model=gpt-4o"]
    assert names(page, ".difference ins") == ["model=gpt-4o-mini"]
    assert names(page, ".difference .state") == ["differs", "differs", "moved", "moved"]
    page.locator("body").press("d")
    page.keyboard.press("d")
    assert "retriever search" in page.evaluate("document.activeElement.textContent")
    page.locator(".difference").get_by_role("link", name="retriever search").first.click()
    wait_for_observation(page, "search")
    assert active(page) == "search"


@repeats
def test_equal_lines_far_from_a_difference_fold(opened):
    same = [{"text": f"span s{number}", "state": "same", "observation": None, "number": None} for number in range(40)]
    last = [{"text": "span last", "state": state, "observation": None, "number": 1} for state in ("missing", "extra")]
    difference = {"expected": [*same, last[0]], "captured": [*same, last[1]], "sentence": "1 difference"}
    page = opened([case_row(outcome="failed", difference=difference)], ANSWER)
    page.get_by_role("button", name="37 equal lines").click()
    assert page.locator(".difference tbody tr").count() == 41


@pytest.mark.parametrize("width", first_of([1000, 400]))
def test_in_a_narrow_window_both_trees_stand_below_each_other(opened, width: int):
    page = opened(shop_run(), ANSWER, viewport={"width": width, "height": 800})
    page.wait_for_selector(".difference")
    shown = [
        (
            cell.evaluate("cell => getComputedStyle(cell, '::before').content").strip('"'),
            cell.locator("code").inner_text(),
        )
        for cell in page.locator(".difference tbody td").all()
        if cell.is_visible()
    ]
    assert shown == [
        ("none", "agent answer"),
        ("-", "generation llm model=gpt-4o"),
        ("+", "generation llm model=gpt-4o-mini"),
        ("-", "retriever search"),
        ("+", "retriever search"),
    ]
    region = page.get_by_role("region", name="Expected and Captured")
    assert region.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert region.get_by_role("row").count() == 5
    lefts = [box["x"] for cell in page.locator(".difference tbody td").all() if (box := cell.bounding_box())]
    assert len(set(lefts)) == 1


def test_a_comparison_with_an_earlier_run(opened):
    page = opened(compared_run())
    overview = page.locator("#overview")
    for shown in ("Compared with main.jsonl", "1 of 2 tests changed", "Too much: tokens 10 -> 21 (+110%), 10% allowed"):
        assert shown in overview.inner_text()
    assert overview.inner_text().count("tokens 10 -> 21 (+110%)") == 2
    assert "1 over a limit" in page.locator("header").inner_text()
    assert "was tests/test_shop.py::test_old" in overview.inner_text()
    for value, tests in {
        "changes": ["test_answer", "test_renamed"],
        "exceeded": ["test_answer"],
        "added": ["test_other"],
    }.items():
        page.select_option("#change", value)
        assert listed(page) == tests
    page.select_option("#change", "")
    page.fill("#filter", "gpt-4o ->")
    assert listed(page) == ["test_answer"]
    page.locator("#list [role=option]").click()
    compared = page.locator(".comparison")
    assert compared.locator("> table tr.degraded").all_inner_texts() == [
        "observations\t5\t6",
        "tokens\t10\t21",
        "models\tgpt-4o\tgpt-4o-mini",
    ]
    assert names(page, ".comparison thead th")[-2:] == ["main.jsonl", "this run"]
    assert names(page, ".comparison del") == ["model=gpt-4o"]
    page.keyboard.press("Escape")
    page.locator("#filter").blur()
    page.keyboard.press("d")
    assert "generation llm" in page.evaluate("document.activeElement.textContent")
    compared.get_by_role("link", name="retriever search").first.click()
    wait_for_observation(page, "search")


def test_attempts_and_the_reason_of_an_expected_failure(opened):
    attempt = {
        "outcome": "failed",
        "duration": 0.5,
        "message": "AssertionError: boom",
        "failure": "E boom",
        "cost": 0.1,
    }
    flaky = case_row("test_it.py::test_flaky", attempts=[attempt])
    known = case_row("test_it.py::test_known", outcome="skipped", xfail="bug 7", message="bug 7", failure="E known")
    page = opened([run_row(exit_status=0), flaky, known], "#test=test_it.py%3A%3Atest_flaky")
    page.get_by_text("Attempt 1, after which it was run again: AssertionError: boom").click()
    assert "500 ms · $0.1000" in page.locator(".failure").inner_text()
    assert page.locator(".figures").inner_text().splitlines()[:3] == ["1 passed", "1 xfailed", "1 rerun"]
    page.locator("#outcome").select_option("xfailed")
    page.locator("[role=option]").click()
    page.get_by_text("xfailed: test_known").wait_for()
    assert page.get_by_text("bug 7", exact=True).count() == 1
    assert "E known" in page.locator(".failure").inner_text()


def test_costs_that_differ_are_shown_as_different(opened):
    figures = {"tokens": 5, "duration": 0.04, "models": [], "observations": 1}
    before, after = ({**figures, "cost": cost, "cost_estimated": True} for cost in (0.000351, 0.000352))
    row = comparison_row(before=before, after=after, changes=["cost"], exceeded=[], difference=None)
    page = opened([run_row(compared=compared()), case_row(), row], ANSWER)
    page.wait_for_selector(".comparison")
    costs = page.get_by_role("row", name="cost").locator("td")
    assert costs.all_inner_texts() == ["$0.000351 est.", "$0.000352 est."]


def test_a_run_that_was_not_compared_says_nothing_of_it(opened):
    page = opened(shop_run(), ANSWER)
    page.wait_for_selector(".difference")
    assert page.locator(".comparison").count() == 0
    assert page.locator("#change").is_hidden()


def test_an_outage_has_a_timeline(opened):
    page = opened(shop_run(), f"{ANSWER}&fault=hang")
    page.wait_for_selector(".outage")
    text = page.locator(".outage").inner_text()
    for shown in (
        "waited 5.9 s for Langfuse",
        "in flush() at shop/app.py:14",
        "3 tried, 3 failed",
        "breaker",
        "open",
        "refused 2",
        "500 µs before",
    ):
        assert shown in text
    assert names(page, ".outage .lane-name") == ["fault", "application", "requests", "breaker", "spans", ""]
    pieces = names(page, ".outage .piece [aria-hidden]")
    assert pieces[-5:] == [
        "closed",
        "open",
        "half_open",
        "1 buffered, 0 exported, 0 dropped",
        "1 buffered, 0 exported, 2 dropped",
    ]
    page.get_by_text("All events").click()
    events = names(page, ".outage ol li")
    assert events[0] == "0 µs the outage hang begins"
    assert "300 ms request /api/public/otel: hang, 1.00 s" in events
    assert "3.30 s breaker of http: closed -> open" in events
    assert "5.90 s spans: 1 buffered, 0 exported, 2 dropped" in events
    assert events[-1] == "6.00 s the outage hang ends"
    track = page.locator(".outage .track").first.bounding_box()
    first = page.locator(".outage .piece.bad").first.bounding_box()
    assert round((first["x"] - track["x"]) / track["width"], 2) == round(0.3 / 6.3, 2)


def test_a_change_after_everything_else_is_on_the_axis(opened):
    counts = {"ended": 1, "exported": 0, "buffered": 1, "dropped": 0}
    health = [{"at": NOON, **counts}, {"at": NOON + 900_000, **counts, "exported": 1, "buffered": 0}]
    outage = {"faults": ["hang"], "begun": NOON, "ended": NOON + 100_000, "health": health}
    page = opened([case_row(outage=outage, duration=0.2)], ANSWER)
    page.wait_for_selector(".outage")
    assert "0 buffered, 1 exported, 0 dropped, from 900 ms to 900 ms" in page.locator(".outage").inner_text()


def test_a_test_without_a_healthy_run_is_not_compared(opened):
    page = opened([case_row(fault="hang"), case_row(fault="slow", healthy_outcome="passed")], f"{ANSWER}&fault=hang")
    page.get_by_text("Not compared: there is no healthy run.").wait_for()
    page.keyboard.press("j")
    page.get_by_text("Not degraded.").wait_for()


def test_what_is_over_a_limit_stands_behind_what_failed(opened):
    page = opened([*compared_run(), case_row("tests/test_shop.py::test_broken", outcome="failed")])
    assert listed(page)[:2] == ["test_broken", "test_answer"]
    assert page.locator(".figures .exceeded").inner_text() == "1 over a limit"
    for outcome, shown in (("red", 2), ("exceeded", 1), ("passed", 2)):
        page.select_option("#outcome", outcome)
        assert len(listed(page)) == shown


def test_recorded_traces_are_not_called_tests(opened):
    rows: list[dict[str, Any]] = [{"kind": "run", "schema": 1, "name": "incident.bin", "rules": []}]
    for name in ("checkout 0af76519", "search 1bc87620"):
        rows += [case_row(name, outcome="recorded", observations=1), observation_row(0, test=name)]
    page = opened(rows)
    assert page.locator("#total").inner_text() == "2 traces"
    assert page.locator("#outcome").is_hidden()
    assert page.locator("#order").inner_text().split("\n")[0] == "errors first"
    page.keyboard.press("j")
    page.wait_for_selector(".tree-row")
    assert re.search(r"\btests?\b", page.locator("body").inner_text()) is None
    page.evaluate("location.hash = 'test=gone'")
    page.get_by_text("There is no such trace in this page").wait_for()


def test_what_langfuse_stores_of_a_trace_itself_is_shown(opened):
    stored = {"input": [{"type": "human", "content": "hi"}], "output": "there", "metadata": None}
    rows: list[dict[str, Any]] = [{"kind": "run", "schema": 1, "name": "trace.json", "rules": []}]
    rows += [case_row("chat 0af76519", stored=stored), observation_row(0, test="chat 0af76519")]
    page = opened(rows, "#test=chat+0af76519")
    page.get_by_text("The trace's own input, output and metadata").click()
    shown = page.locator("#test details", has_text="The trace's own")
    assert shown.locator("h3").all_inner_texts() == ["Input", "Output"]
    assert shown.locator(".message").inner_text().split() == ["human", "hi"]


def test_requests_at_the_same_time_are_in_several_lanes(opened):
    requests = [
        {"start": NOON, "duration": 2.0, "path": "/a", "result": "hang"},
        {"start": NOON + 1_000_000, "duration": None, "path": "/b", "result": "hang"},
        {"start": NOON + 2_000_000, "duration": 1.0, "path": "/c", "result": "200"},
    ]
    outage = {"faults": ["hang"], "begun": NOON, "ended": None, "attempts": 3, "refused": 2, "requests": requests}
    # As versions before wrote it: without breaker and health.
    page = opened([case_row(outage=outage, duration=4.0)], ANSWER)
    page.wait_for_selector(".outage")
    assert names(page, ".outage .lane-name")[:3] == ["fault", "requests", ""]
    assert names(page, ".outage .piece [aria-hidden]") == ["hang", "hang /a", "200 /c", "hang, no answer /b"]
    track = page.locator(".outage .track").nth(2).bounding_box()
    piece = page.locator(".outage .track").nth(2).locator(".piece").bounding_box()
    assert round(piece["x"] + piece["width"]) == round(track["x"] + track["width"])


def test_a_test_whose_worker_has_crashed_says_what_is_missing(opened):
    why = "what it has recorded is missing, since its worker has crashed"
    page = opened([case_row(outcome="failed", missing=why), case_row("test_b")], ANSWER)
    page.get_by_text(f"Not all is here: {why}.").wait_for()
    page.evaluate("location.hash = 'test=test_b'")
    page.get_by_text("This test made no observations.").wait_for()


@repeats
def test_links_lead_to_a_test_and_an_observation(opened):
    page = opened(shop_run(), f"{ANSWER}&obs={3:016x}")
    wait_for_observation(page, "rank")
    assert active(page) == "rank"
    page.get_by_text("GET /x").click()
    wait_for_observation(page, "GET /x")
    assert page.url.endswith(f"obs={4:016x}")
    page.evaluate("location.hash = 'test=gone'")
    page.get_by_text("There is no such test in this page").wait_for()


def test_keys(opened):
    page = opened(shop_run())
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "filter"
    page.keyboard.type("jk?")
    assert page.input_value("#filter") == "jk?"
    page.fill("#filter", "")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.wait_for_selector(".difference")
    page.keyboard.press("j")
    page.wait_for_selector(".outage")
    page.keyboard.press("k")
    page.wait_for_selector(".difference")
    page.keyboard.press("e")
    assert active(page) == "rank"
    page.keyboard.press("e")
    assert active(page) == "llm"
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keys").wait_for(state="hidden")
    page.keyboard.press("o")
    page.wait_for_selector("#overview", state="visible")


def test_the_keyboard_opens_what_the_list_shows(opened):
    page = opened(shop_run())
    opens = "() => new URLSearchParams(location.hash.slice(1)).get('fault') ?? location.hash"

    def focused() -> str:
        return page.locator("#list :focus .tag").inner_text()

    page.keyboard.press("/")
    page.keyboard.type("answer")
    page.select_option("#fault", "hang")
    page.focus("#filter")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(".outage")
    assert focused() == page.evaluate(opens) == "hang"
    # What is open stays so, and is marked again once it is in the list again.
    page.select_option("#fault", "http_503")
    assert page.locator("#list [aria-selected=true]").count() == 0
    page.select_option("#fault", "")
    assert page.locator("#list [aria-selected=true] .tag").inner_text() == "hang"
    page.focus("#filter")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert focused() == page.evaluate(opens) == "http_503"
    page.keyboard.press("k")
    assert focused() == page.evaluate(opens) == "hang"


@pytest.mark.parametrize("key", first_of(["Enter", "Space"]))
def test_enter_opens_the_test_that_has_the_focus(opened, key: str):
    page = opened(shop_run())
    page.focus("#list [tabindex='0']")
    assert page.locator("#test").is_hidden()
    page.keyboard.press(key)
    page.wait_for_selector(".difference")
    page.keyboard.press("o")
    page.wait_for_selector("#overview", state="visible")
    page.keyboard.press(key)
    page.wait_for_selector(".difference")


def test_a_link_to_a_test_that_the_filter_hides_marks_none(opened):
    page = opened(shop_run())
    page.fill("#filter", "other")
    page.focus("#filter")
    page.keyboard.press("ArrowDown")
    page.evaluate("hash => { location.hash = hash }", ANSWER)
    page.wait_for_selector(".difference")
    assert page.locator("#list [aria-selected=true]").count() == 0


def test_what_is_folded_away_leaves_the_row_above_it_active(opened):
    page = opened(shop_run(), ANSWER)
    page.get_by_role("row", name="rank").click()
    page.get_by_role("row", name="search").locator(".twisty").click()
    assert active(page) == "search"
    page.get_by_role("button", name="Unfold").click()
    page.get_by_role("row", name="rank").click()
    page.get_by_role("button", name="Fold", exact=True).click()
    assert active(page) == "search"


OVERFLOWING = """() => [...document.querySelectorAll(".tree-row > *, .head-row > *")]
    .filter((cell) => cell.scrollWidth > cell.clientWidth && getComputedStyle(cell).textOverflow !== "ellipsis")
    .map((cell) => `${cell.className} ${cell.innerText} ${cell.scrollWidth} > ${cell.clientWidth}`)"""
CUT = """() => [...document.querySelectorAll(".tag:not(.where), .cell-tokens, .cell-cost")]
    .filter((label) => label.scrollWidth > label.clientWidth).map((label) => label.innerText)"""
ON_BARS = """() => [...document.querySelectorAll(".span-time:not(.over)")].filter((label) => {
    const text = label.getBoundingClientRect();
    const bar = label.parentElement.querySelector(".span-bar").getBoundingClientRect();
    return text.width > 0 && text.left < bar.right && bar.left < text.right;
}).map((label) => label.innerText)"""
END_OF_AXIS = """() => {
    const grid = document.querySelector("[role=treegrid]");
    return [grid.scrollWidth - grid.clientWidth, document.querySelector("#main").getBoundingClientRect().right
        - document.querySelector(".cell-time.ticks").getBoundingClientRect().right > 0];
}"""


@pytest.mark.parametrize("width", first_of([1210, 1280, 1366, 1440, 1000]))
@pytest.mark.parametrize("are_huge", [False, True])
def test_the_whole_axis_is_in_view_and_no_cell_is_too_narrow(opened, width: int, *, are_huge: bool):
    figures = [({"total": 0.000066}, True, 19), ({"total": 0.35}, True, 12_345)]
    if are_huge:
        figures.append(({"total": 1e9}, False, 12_345_678_901))
    rows: list[dict[str, Any]] = [case_row(), finding_row(3), finding_row(4, code="LF007")]
    for number in range(18):
        cost, is_estimated, tokens = figures[number % len(figures)]
        rows.append(
            observation_row(
                number,
                # A deep one, and its siblings.
                min(number - 1, 9) if number else None,
                name=f"answer a question of a customer {number}",
                type="generation",
                model="gpt-4o-mini-2024-07-18",
                usage={"total": tokens},
                cost=cost,
                cost_estimated=is_estimated,
                # The fifth ends where there is hardly room for its label.
                duration=0.142 if number == 5 else 0.2 / (number + 1),
                level="ERROR" if number == 3 else "DEFAULT",
                thread=f"worker {number % 2}",
            )
        )
    page = opened(rows, ANSWER, viewport={"width": width, "height": 900})
    page.wait_for_selector("#side h2", state="attached")
    assert page.locator(".tree-row").count() == 18
    assert page.evaluate(END_OF_AXIS) == [0, True]
    assert page.evaluate(OVERFLOWING) == []
    if not are_huge:
        assert page.evaluate(CUT) == []
    labels = page.locator(".span-time").evaluate_all(
        "labels => labels.filter(label => { const [one, cell] = [label, label.parentElement].map(element => "
        "element.getBoundingClientRect()); return one.left < cell.left || one.right > cell.right; }).length"
    )
    assert labels == 0
    if not are_huge:
        assert page.evaluate(ON_BARS) == []
    ticks = page.locator(".cell-time .tick").evaluate_all("ticks => ticks.map(tick => tick.getBoundingClientRect())")
    assert all(one["right"] < other["left"] for one, other in pairwise(ticks))


@repeats
def test_what_is_found_in_a_trace_is_marked(opened):
    page = opened(shop_run(), ANSWER)
    page.get_by_label("Find in the trace").fill("a pixel.")
    page.get_by_text("1 found").wait_for()
    page.keyboard.press("Enter")
    assert active(page) == "llm"
    assert page.locator(".is-found").count() == 1


@repeats
def test_light_and_dark(opened):
    def paper() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    page = opened(shop_run(), color_scheme="dark")
    assert paper() == "rgb(21, 24, 29)"
    page.get_by_role("button", name="Light or dark").click()
    assert paper() == "rgb(255, 255, 255)"
    page.reload()
    page.wait_for_selector("body.app")
    assert paper() == "rgb(255, 255, 255)"


#: What is painted in an element's place, and whether its background is another one than that of what is around it.
PAINTED = """(element) => {
    const style = getComputedStyle(element);
    const around = getComputedStyle(element.parentElement.closest(".tree-row, .test, .track") ?? document.body);
    const canvas = getComputedStyle(document.body).backgroundColor;
    const none = "rgba(0, 0, 0, 0)";
    const colour = around.backgroundColor === none ? canvas : around.backgroundColor;
    return [none, colour].includes(style.backgroundColor)
        ? [style.backgroundImage !== "none", style.borderTopStyle, style.outlineStyle].join(" ") : "filled";
}"""


@pytest.mark.parametrize("scheme", first_of(["dark", "light"]))
def test_with_the_colours_of_the_system_bars_and_what_is_chosen_are_seen(opened, scheme: str):
    page = opened(shop_run(), ANSWER, forced_colors="active", color_scheme=scheme)
    page.wait_for_selector("#side h2", state="attached")
    bars = dict(zip(tree(page), page.locator(".span-bar").all(), strict=True))
    seen = {name.strip(): bar.evaluate(PAINTED) for name, bar in bars.items()}
    assert seen == {
        # What is chosen, among others.
        "answer": "filled",
        "search": "filled",
        "rank": "filled",
        "llm": "filled",
        "GET /x": "false dashed none",
        "store": "true solid none",
        "open": "false dashed none",
    }
    for chosen in (".tree-row[aria-selected=true]", "#list [aria-selected=true]"):
        row = page.locator(chosen)
        assert row.evaluate(PAINTED) == "filled"
        colours = row.evaluate(
            "row => [row, ...row.querySelectorAll('.name, .note, .outcome, .cell-tokens')].map(part => "
            "[getComputedStyle(part).color, getComputedStyle(row).backgroundColor])"
        )
        assert all(ink != paper for ink, paper in colours)
    page.get_by_label("Find in the trace").fill("a pixel.")
    page.locator(".is-found").wait_for()
    assert page.locator(".is-found").evaluate("row => getComputedStyle(row).borderLeftStyle") == "double"
    page.keyboard.press("Escape")
    page.evaluate("hash => { location.hash = hash }", f"{ANSWER}&fault=hang")
    page.wait_for_selector(".outage")
    for piece in page.locator(".outage .piece").all():
        assert piece.evaluate("piece => getComputedStyle(piece).outlineStyle") == "solid"


def test_prints_what_is_wrong_and_the_open_trace(opened):
    rows = [case_row(outcome="failed", message="it broke"), *(observation_row(number) for number in range(2_400))]
    page = opened(rows, ANSWER)
    page.wait_for_selector(".tree-row")
    assert page.locator(".tree-row").count() < 100
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".tree-row").count() == 2_000
    assert page.get_by_text("400 observations more of this test are not printed.").is_visible()
    assert page.get_by_text("it broke").first.is_visible()
    assert page.get_by_text("1 failed", exact=True).is_visible()
    assert page.locator("#tests").is_hidden()
    boxes = page.locator(".tree-row").evaluate_all(
        "rows => rows.slice(0, 50).map(row => row.getBoundingClientRect().top)"
    )
    assert boxes == sorted(set(boxes))
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator(".tree-row").count() < 100


def test_prints_what_happened_in_an_outage_and_the_whole_command(opened):
    command = " ".join(f"tests/test_number_{number}.py" for number in range(40))
    page = opened([run_row(command=command), *list(shop_run())[1:]], f"{ANSWER}&fault=hang")
    page.wait_for_selector(".outage")
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.get_by_text("breaker of http: closed -> open").count() == 2
    for shown in page.get_by_text("breaker of http: closed -> open").all():
        assert shown.is_visible()
    assert page.locator("[id^=rule-] pre").is_hidden()
    note = page.locator("header .note")
    assert note.evaluate("note => note.scrollWidth <= note.clientWidth && note.scrollHeight <= note.clientHeight")
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("#overview details[open], .outage details[open]").count() == 0


def test_prints_what_happened_without_scripts(opened):
    page = opened(shop_run(), java_script_enabled=False)
    page.emulate_media(media="print")
    assert page.get_by_text("breaker of http: closed -> open").is_visible()
    assert page.locator("[id^=rule-] pre").is_hidden()


def test_without_scripts_what_is_wrong_is_there(opened):
    page = opened(shop_run(), java_script_enabled=False)
    for shown in (
        "TreeMismatch: 2 differences",
        "waited 5.9 s for Langfuse",
        "The traces are shown where scripts may run",
        "What happened in tests/test_shop.py::test_answer [hang]",
    ):
        assert page.get_by_text(shown).first.is_visible()
    page.get_by_text("What pytest shows").click()
    assert page.get_by_text("+ llm model=gpt-4o-mini").is_visible()
    page.get_by_text("What happened in").click()
    assert page.get_by_text("breaker of http: closed -> open").is_visible()
    assert page.locator("#tests").is_hidden()


# -- everybody's page --------------------------------------------------------------------------------------------

#: axe can't tell: text over a bar, a level above those that it knows.
UNDECIDED = {"color-contrast", "aria-valid-attr-value"}


@pytest.mark.parametrize("scheme", first_of(["light", "dark"]))
def test_axe_finds_nothing(opened, scheme: str):
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    changed = [{**row, "test": "test_changed"} for row in compared_run() if row["kind"] != "run"]
    page = opened([run_row(compared=compared()), *changed, *shop_run()], color_scheme=scheme)
    page.evaluate(axe)
    # In the dark, only colours are others.
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    for state in ("", f"{ANSWER}&obs={2:016x}", f"{ANSWER}&fault=hang", CHANGED):
        page.evaluate("place => { location.hash = place; }", state or "#")
        page.wait_for_selector(".tree-row[aria-selected=true]" if state else "#overview", state="visible")
        if state:
            page.wait_for_selector("#side h2", state="attached")
        found = page.evaluate("rules => axe.run(rules)", rules)
        assert told(found["violations"]) == [], state
        assert [text for text in told(found["incomplete"]) if text.split(":")[0] not in UNDECIDED] == []


def told(found: list[Any]) -> list[str]:
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]]


@repeats
def test_landmarks_and_focus(opened):
    page = opened(shop_run(), ANSWER)
    page.wait_for_selector("#side h2", state="attached")
    for role, name in (
        ("navigation", "Tests"),
        ("complementary", "Observation"),
        ("treegrid", "Observations"),
        ("listbox", "Tests"),
    ):
        assert page.get_by_role(role, name=name).count() == 1
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    stops = page.evaluate("document.querySelectorAll('.rows [tabindex=\"0\"]').length")
    assert stops == 2  # one of each list
    page.locator("#list [tabindex='0']").focus()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", outline


@pytest.mark.parametrize("width", first_of([420, 1000]))
def test_narrow_windows_keep_the_tree(opened, width: int):
    page = opened(shop_run(), ANSWER, viewport={"width": width, "height": 800})
    page.wait_for_selector(".tree-row")
    assert page.locator(".span-bar").first.bounding_box()["width"] > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.wait_for_selector("#side h2", state="attached")
    # What nobody asked for must not cover the tree.
    assert page.locator("#side").is_hidden()
    page.locator(".tree-row").nth(1).click()
    page.wait_for_selector("#side h2", state="visible")
    page.locator("#side .close").click()
    page.wait_for_selector("#side", state="hidden")


# -- hostile data ------------------------------------------------------------------------------------------------

PLANTED = (
    "</script><script>window.broken = 1</script>",
    "<!--<script>",
    "<img src=x onerror='window.broken = 1'>",
    "<svg onload='window.broken = 1'>",
    "<meta http-equiv=refresh content='0;url=about:blank'>",
    "\"'><iframe srcdoc='<script>parent.broken = 1</script>'>",
    "javascript:window.broken=1",
    "data:text/html,<script>window.broken=1</script>",
    "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9ImFsZXJ0KDEpIi8+",
    "lone \ud800 surrogate \u2028\u202e\x00",
)


def hostile(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {f"{text}{key}" if key not in KEPT else key: hostile(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner, text) for inner in value]
    return text if isinstance(value, str) or value is None else value


#: Names that the page reads in messages.
KEPT = ("role", "content", "messages", "type", "text", "image_url", "url", "tool_calls", "name")


def test_no_text_of_the_data_runs_or_leads_anywhere(opened):
    kept = ("kind", "id", "parent", "trace", "start", "duration", "outcome", "difference", "outage", "schema")
    rows = [run_row()]
    for number, text in enumerate(PLANTED):
        chat = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}, "x"]}]}
        test = f"{number} {text}"
        some = [
            case_row(models=["x"], outcome="failed", health={"x": "x"}),
            observation_row(0, input=chat, output="x", metadata={"x": {"x": ["x"]}}, tags=["x"], attributes={"x": "x"}),
            finding_row(0),
            score_row(0),
            comparison_row(was="x"),
        ]
        for row in some:
            changed = {key: value if key in kept else hostile(value, text) for key, value in row.items()}
            rows.append({**changed, "test": test, "fault": text})
        rows[-5]["difference"] = {
            side: [{"text": text, "state": state, "observation": f"{0:016x}", "number": 1}]
            for side, state in (("expected", "missing"), ("captured", "extra"))
        }
        request = {"start": NOON, "duration": 1.0, "path": text, "result": text}
        change = {"at": NOON, "route": text, "before": text, "state": text}
        counts = {"at": NOON, "ended": text, "exported": text, "buffered": text, "dropped": text}
        rows[-1]["difference"] = rows[-5]["difference"]
        rows[-5]["outage"] = {"faults": [text], "begun": NOON, "ended": None, "requests": [request]}
        rows[-5]["outage"] |= {"breaker": [change], "health": [counts]}
    page = opened(rows)
    before = page.url
    for _ in PLANTED:
        page.locator("body").press("j")
        page.wait_for_selector("#side h2", state="attached")
        page.evaluate("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        page.keyboard.press("d")
        assert page.locator("iframe, object, embed, form[action], img, svg, meta[http-equiv=refresh]").count() == 0
        assert page.evaluate("[...document.links].every(link => link.getAttribute('href').startsWith('#'))")
    assert page.evaluate("window.broken") is None
    assert page.url.partition("#")[0] == before.partition("#")[0]


def test_values_of_wrong_types_break_nothing(opened):
    odd = (None, True, 5, -1.5, "text", [], {}, [None, 5], {"a": None}, [[]], [{"text": 5}])
    rows = [run_row()]
    for number, value in enumerate(odd):
        for row in (
            run_row(compared=value),
            case_row(),
            observation_row(0),
            score_row(0),
            finding_row(0),
            comparison_row(),
        ):
            kept = {"kind": row["kind"], "test": f"test_{number}"}
            rows.append({**dict.fromkeys(row, value), **kept})
            rows.append(
                {**row, **{key: value for key in row if key in ("input", "output", "metadata", "usage")}, **kept}
            )
    page = opened(rows)
    for number in range(len(odd)):
        page.evaluate("name => { location.hash = `test=${name}`; }", f"test_{number}")
        page.locator("#test h2", has_text=re.compile(f"test_{number}$")).wait_for()
        page.wait_for_selector("#side h2", state="attached")


def test_what_can_not_be_shown_says_so_and_ends_nothing(opened):
    outage = {"faults": "hang", "requests": [5, {"start": "x"}], "breaker": {"at": 1}, "health": [{"at": None}]}
    rows = [case_row(outage=outage), observation_row(0, name="first", tags="x"), observation_row(1, name="second")]
    page = opened(rows, ANSWER)
    page.get_by_role("heading", name="Outage: hang").wait_for()
    wait_for_observation(page, "first")
    assert "Tags\nx" in side(page).inner_text()
    page.evaluate("""() => {
        window.kept = Date.prototype.toISOString;
        Date.prototype.toISOString = () => { throw new TypeError("planted"); };
    }""")
    page.locator(".tree-row", has_text="second").click()
    page.get_by_text("This can't be shown: TypeError: planted").wait_for()
    page.evaluate("() => { Date.prototype.toISOString = window.kept; }")
    page.locator(".tree-row", has_text="first").click()
    wait_for_observation(page, "first")


def test_an_observation_that_ends_before_it_starts_has_ended(opened):
    page = opened(
        [case_row(), observation_row(0, name="back", duration=-5.0), observation_row(1, duration=None)], ANSWER
    )
    wait_for_observation(page, "back")
    assert names(page, ".tree-row .span-time") == ["-5.00 s", ""]
    assert names(page, ".tree-row .tag") == ["never ended"]
    assert "span · -5.00 s" in side(page).inner_text()
    assert "Not in Langfuse" not in side(page).inner_text()


@repeats
def test_circles_and_missing_parents_are_roots(opened):
    rows = [case_row(), observation_row(0, 1), observation_row(1, 0), observation_row(2, 9), observation_row(3, 3)]
    page = opened(rows, ANSWER)
    page.wait_for_selector(".tree-row")
    assert tree(page) == ["step 2", "step 3", "step 0", "  step 1"]


# -- large runs --------------------------------------------------------------------------------------------------


def test_of_many_rows_those_in_view_exist(opened):
    rows = [case_row(), *(observation_row(number, number - 1 if number % 2 else None) for number in range(10_000))]
    rows += [case_row(f"test_{number}") for number in range(3_000)]
    page = opened(rows, ANSWER)
    page.wait_for_selector(".tree-row")
    page.locator(".tree-row").first.focus()
    page.keyboard.press("End")
    assert active(page) == "step 9999"
    wait_for_observation(page, "step 9999")
    page.locator("#list").evaluate("list => { list.scrollTop = 60000; }")
    page.locator("#list [aria-posinset='1510']").wait_for()
    assert page.locator(".tree-row, #list [role=option]").count() < 150
    assert page.evaluate("document.querySelectorAll('*').length") < 3_000


# -- images that the SDK has uploaded ------------------------------------------------------------------------------


def media_row(id_: str, **fields: Any) -> dict[str, Any]:
    """The line of an image that the application sent."""
    return {
        "kind": "media",
        "test": "tests/test_shop.py::test_answer",
        "fault": None,
        "id": id_,
        "content": PIXEL.partition(",")[2],
        "content_type": "image/png",
        "size": 68,
        "left_out": "",
        **fields,
    }


def test_images_that_were_uploaded_are_shown(opened):
    def reference(id_: str) -> str:
        return f"@@@langfuseMedia:type=image/png|id={id_}|source=base64_data_uri@@@"

    svg = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>").decode()
    shown = {
        "url": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": reference("a")}}]}],
        "anthropic": [
            {
                "role": "user",
                "content": [{"type": "image", "source": {"media_type": "image/png", "data": reference("a")}}],
            }
        ],
        "gemini": {"inline_data": {"mime_type": "image/png", "data": reference("a")}},
        "text": f"before {reference('a')} after",
        "large": reference("large"),
        "vector": reference("vector"),
        "unknown": reference("constructor"),
        "broken": reference("broken"),
    }
    rows = [
        case_row(),
        *(observation_row(at, name=name, input=value) for at, (name, value) in enumerate(shown.items())),
        media_row("a"),
        media_row("large", content=None, size=5_000_000, left_out="it is larger than 1 MiB"),
        media_row("vector", content=svg, content_type="image/svg+xml"),
        media_row("broken", content="<script>"),
    ]
    page = opened(rows, ANSWER)
    wait_for_observation(page, "url")
    for name in shown:
        page.locator(".tree-row", has_text=name).click()
        wait_for_observation(page, name)
        if name in ("large", "vector", "unknown", "broken"):
            assert side(page).locator("img").count() == 0
            assert "[image/png" in side(page).inner_text()
        else:
            side(page).locator("img").wait_for()
            assert side(page).locator("img").get_attribute("src") == PIXEL
            assert side(page).locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
        if name == "large":
            assert "[image/png, 5,000,000 bytes, not shown: it is larger than 1 MiB]" in side(page).inner_text()
        if name == "text":
            assert re.search(r"before\s+after", side(page).inner_text())
