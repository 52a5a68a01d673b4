"""The page that shows the traces of a run: what is in it, without a browser."""

from __future__ import annotations

import base64
import copy
import hashlib
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pytest_langfuse.report.page import html_page
from pytest_langfuse.report.page.html_page import ASSETS, SCRIPTS, STYLE, html_of, script, style, write_page
from pytest_langfuse.rules.rule import all_rules
from tests.helpers.for_each import for_each
from tests.helpers.report_page import blocks, index
from tests.helpers.report_rows import case_row, compared_run, finding_row, observation_row, run_row, score_row, shop_run

#: What has broken out of pages, and what no page can hold.
PLANTED = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><img src=x onerror=alert(1)>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "\"'><svg onload=alert(1)>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "line\u2028separator\u2029",
    "lone \ud800 and \udfff surrogates",
    "NUL \x00, ESC \x1b[31m, and \x85",
    "\u202eright to left",
)


class Outline(HTMLParser):
    """The elements of a page with their attributes, and the texts in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        # The parser knows in which of "script" and "style" it is.
        self.texts.append((self.cdata_elem or "", data))

    def attribute(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    def inside(self, tag: str) -> list[str]:
        return [text for of, text in self.texts if of == tag]


def page_of(rows: Iterable[dict[str, Any]]) -> str:
    page = "".join(html_of(rows))
    assert page.encode("utf-8")  # no lone surrogate
    return page


def with_text(rows: Iterable[dict[str, Any]], text: str) -> Iterator[dict[str, Any]]:
    """Put a text into every field that is one, keys of objects included."""

    def planted(value: Any) -> Any:
        if isinstance(value, dict):
            return {f"{key}{text}": planted(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [planted(inner) for inner in value]
        return f"{value}{text}" if isinstance(value, str) else value

    kept = ("kind", "id", "parent", "trace", "started", "outcome", "severity", "state")
    for row in rows:
        yield {key: value if key in kept else planted(value) for key, value in row.items()}


@for_each(PLANTED, ids=repr)
def test_no_text_adds_an_element_or_an_attribute(planted: str):
    rows = [*compared_run(), *shop_run()]
    harmless, hostile = Outline(page_of(with_text(rows, "text"))), Outline(page_of(with_text(rows, planted)))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert [list(attributes) for _, attributes in hostile.tags] == [list(attributes) for _, attributes in harmless.tags]


@for_each(PLANTED, ids=repr)
def test_texts_arrive_as_they_were(planted: str):
    page = page_of([case_row(), observation_row(0, name=planted, input={planted: [planted]}, status=planted)])
    [[details]] = blocks(page, "details")
    [[opened]] = blocks(page, "tree")
    assert details["input"] == {planted: [planted]}
    assert details["status"] == planted
    assert opened["tree"]["texts"][opened["tree"]["name"][0]] == planted


@for_each(PLANTED, ids=repr)
def test_the_address_of_a_test_is_in_the_page_itself(planted: str):
    page = Outline(page_of([case_row(f"tests/test_it.py::test[{planted}]", outcome="failed", fault=planted)]))
    assert page.attribute("href")
    assert all(str(href).startswith("#") for href in page.attribute("href"))


def test_nothing_in_the_page_is_loaded():
    page = Outline(page_of(shop_run()))
    for name in ("src", "srcset", "action", "formaction", "srcdoc", "data", "ping", "onclick", "style"):
        assert page.attribute(name) == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "embed", "link", "base", "img"})


def policy_of(page: Outline) -> dict[str, str]:
    [policy] = [
        attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    return {name: rest for name, _, rest in (part.strip().partition(" ") for part in str(policy).split(";"))}


def test_the_policy_allows_the_script_and_the_style_of_the_page_alone():
    page = Outline(page_of(shop_run()))

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    [style_text] = page.inside("style")
    scripts = [text for text in page.inside("script") if "use strict" in text]
    assert policy_of(page) == {
        "default-src": "'none'",
        "script-src": digest(scripts[0]),
        "style-src": digest(style_text),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert len(scripts) == 1
    # A policy holds for what follows it.
    assert [tag for tag, _ in page.tags].index("meta") < [tag for tag, _ in page.tags].index("style")


#: Each of them reads a text as HTML or as code, or leads out of the page.
SINKS = (
    r"\.(?:inner|outer)HTML\b",
    r"insertAdjacentHTML|createContextualFragment|setHTMLUnsafe|parseHTMLUnsafe|DOMParser|srcdoc",
    r"document\.write",
    r"\beval\b|new Function|Function\(|\bimport\(",
    r"set(?:Timeout|Interval)\(\s*[\"'`]",
    r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|new Worker|serviceWorker",
    r"window\.open|location\s*=|location\.(?:href\s*=|assign|replace)|\.cookie\b|postMessage",
    r"setAttribute\(\s*[\"'](?:style|href|src|on)",
    r"https?://",
)


@for_each(SINKS)
def test_the_script_has_no(sink: str):
    for name in SCRIPTS:
        assert re.findall(sink, (ASSETS / name).read_text()) == [], name


def test_addresses_and_sources_are_set_in_one_place_each():
    text = "".join((ASSETS / name).read_text() for name in SCRIPTS)
    assert re.findall(r"\bhref: [^\n]{4}", text) == ["href: `#${"]
    assert re.findall(r"\bsrc: \w+", text) == ["src: source"]


def test_all_scripts_are_in_the_page():
    assert {path.name for path in ASSETS.glob("*.js")} == set(SCRIPTS)
    assert {path.name for path in ASSETS.iterdir()} == {*SCRIPTS, STYLE, "page.html"}


def test_the_scripts_can_stand_in_a_script_element():
    assert not re.search("</script|<!--|<script", script(), re.IGNORECASE)
    assert "</" not in style()


def test_script_and_style_are_small():
    assert len(script().encode()) + len(style().encode()) < 60_000


# -- the data ----------------------------------------------------------------------------------------------------


def test_details_are_in_blocks_of_500():
    rows = [case_row(), *(observation_row(number, input=f"question {number}") for number in range(1_201))]
    page = page_of(rows)
    assert [len(block) for block in blocks(page, "details")] == [500, 500, 201]
    assert index(page)["starts"] == [0, 500, 1_000]
    assert blocks(page, "details")[2][200]["input"] == "question 1200"


def test_large_inputs_end_a_block_early():
    page = page_of([case_row(), *(observation_row(number, input="x" * 1_000_000) for number in range(7))])
    assert [len(block) for block in blocks(page, "details")] == [3, 3, 1]
    assert index(page)["starts"] == [0, 3, 6]


def test_trees_of_small_tests_share_a_block():
    rows = [
        row
        for number in range(1_000)
        for row in (case_row(f"test_{number}"), *(observation_row(at, test=f"test_{number}") for at in range(5)))
    ]
    page = page_of(rows)
    assert [len(block) for block in blocks(page, "tree")] == [400, 400, 200]
    tests = index(page)["tests"]
    assert tests[999]["parts"] == [[2, 199, 4_995, 5]]


def test_parents_are_rows_and_times_are_relative():
    page = page_of([case_row(), observation_row(1, 0), observation_row(0), observation_row(2, 9, duration=None)])
    [[opened]] = blocks(page, "tree")
    tree = opened["tree"]
    assert tree["parent"] == [1, None, f"{9:016x}"]
    assert tree["start"] == [1_000, 0, 2_000]
    assert tree["duration"] == [5_000, 5_000, None]


def test_lines_of_a_test_that_come_late_are_a_further_part_of_it():
    other = "tests/test_shop.py::test_other"
    page = page_of([case_row(), observation_row(0), case_row(other), observation_row(1, 0), finding_row(1)])
    first, second = index(page)["tests"]
    assert (first["test"], second["test"]) == ("tests/test_shop.py::test_answer", other)
    [parts] = blocks(page, "tree")
    shown = [parts[position] for _, position, *_ in first["parts"]]
    assert [part["tree"]["id"] for part in shown] == [[f"{0:016x}"], [f"{1:016x}"]]
    assert [finding["code"] for part in shown for finding in part.get("findings", [])] == ["LF006"]
    assert first["findings"] == {"LF006": 1}


def test_a_test_without_a_line_is_made_up():
    [test] = index(page_of([observation_row(0)]))["tests"]
    assert test["test"] == "tests/test_shop.py::test_answer"


def test_the_same_test_under_two_faults_is_two():
    tests = index(page_of([case_row(fault="hang"), case_row(fault="reset"), case_row()]))["tests"]
    assert [test["fault"] for test in tests] == ["hang", "reset", None]


def test_a_finding_of_the_baseline_does_not_count():
    page = page_of([case_row(), finding_row(known=True)])
    assert index(page)["tests"][0]["findings"] == {}
    [[opened]] = blocks(page, "tree")
    assert opened["findings"][0]["known"] is True


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


@for_each([math.nan, -math.inf, 10**400, 10**5000, deep(5_000), {1: object}], ids=lambda value: type(value).__name__)
def test_what_json_has_no_word_for_becomes_what_a_browser_reads(value: Any):
    page = page_of([case_row(), observation_row(0, input=[value], duration=value, usage={"input": value})])
    [[details]] = blocks(page, "details")
    assert "input" in details


@for_each([math.nan, math.inf, 10**400, True])
def test_a_test_has_no_figure_that_is_not_a_number(value: Any):
    figures = ("duration", "observations", "tokens", "cost", "unended", "lost", "blocked_seconds")
    page = page_of([case_row(**dict.fromkeys(figures, value)), case_row("test_other", tokens=7, cost=-3.2)])
    assert set(figures).isdisjoint(index(page)["tests"][0])
    assert "<li>7 tokens</li><li>-$3.20</li>" in page


ODD: tuple[Any, ...] = (None, True, 5, -1.5, math.nan, "text", [], {}, [None, 5], {"a": None}, [[]], [{"text": 5}])


def test_no_line_with_odd_values_breaks_the_page():
    rows = [
        run_row(),
        *list(shop_run())[1:3],
        score_row(),
        finding_row(),
        {"kind": "outage", **case_row()},
        {"kind": "new"},
    ]
    for position, row in enumerate(rows):
        for field in row:
            for odd in ODD:
                changed = copy.deepcopy(rows)
                changed[position][field] = odd
                contents = html_page.PageContents()
                contents.add_all(changed)
    for odd in ODD:
        page_of({**row, **dict.fromkeys(set(row) - {"kind"}, odd)} for row in rows)


# -- without scripts ---------------------------------------------------------------------------------------------


@cache
def static_text() -> str:
    """What a reader without scripts reads."""
    page = Outline(page_of(shop_run()))
    return "\n".join(text.strip() for tag, text in page.texts if not tag and text.strip())


@for_each(
    [
        "1 failed",
        "3 passed",
        "7 observations",
        "21 tokens",
        "$0.00040",
        "1 lost",
        "1 finding",
        "2026-11-27 12:00 UTC",
        "pytest tests -k answer",
        "TreeMismatch: 2 differences",
        "+ llm model=gpt-4o-mini",
        ": 1 of 1 test degraded, 1 observation lost",
        ": none of 1 test degraded, 0 observations lost",
        "waited 5.9 s for Langfuse, 1 s is allowed",
        f"{all_rules()['LF006'].name}: 1 finding in 1 test",
        "are redacted in this page",
    ]
)
def test_what_is_wrong_is_readable_without_scripts(shown: str):
    assert shown in static_text()


def test_a_run_in_which_nothing_is_wrong_says_so():
    page = page_of([run_row(exit_status=0), case_row()])
    assert "Nothing is wrong" in page
    assert "<h2>Failed</h2>" not in page


def test_an_outage_without_a_healthy_run_is_not_compared():
    rows = [
        run_row(),
        case_row("test_a", fault="hang", lost=2),
        case_row("test_a", fault="slow", healthy_outcome="passed"),
        case_row("test_b", fault="hang", healthy_outcome="passed"),
    ]
    page = page_of(rows)
    assert ": none of 2 tests degraded, 1 not compared, 2 observations lost" in page
    assert ": none of 1 test degraded, 0 observations lost" in page
    assert "1 test: not compared, since there is no healthy run of it" in page
    assert "1 test: as well as without the outage" in page
    assert "Nothing is wrong" not in page
    rows.insert(1, case_row("test_a", fault="refused", degraded="waited 2 s"))
    assert "<td>not compared, 2 lost</td>" in page_of(rows)


def test_recorded_traces_are_traces():
    run = {"kind": "run", "schema": 1, "name": "incident.bin"}
    page = page_of([run, case_row(outcome="recorded"), case_row("other", outcome="error")])
    for shown in ("1 with an error", "<h2>With an error</h2>", "<h2>Slowest traces</h2>", ">errors first<"):
        assert shown in page
    assert "<h2>Nothing is wrong</h2><p>1 trace: none has an error" in page_of([run, case_row(outcome="recorded")])
    # Beside a run they are what its tests are.
    assert "<h2>Slowest tests</h2>" in page_of([run, run_row(), case_row()])


def test_an_incomplete_run_says_so():
    assert "Not all is here: stopping after 1 failures" in page_of([run_row(incomplete=["stopping after 1 failures"])])


def test_failures_without_end_are_left_out_and_counted():
    page = page_of(case_row(f"test_{number}", outcome="failed", failure="x" * 9_000) for number in range(120))
    assert page.count("<article>") == 100
    assert "20 more failed" in page
    assert "4,000 more characters" in page


# -- the file ----------------------------------------------------------------------------------------------------


def test_the_file_is_replaced_as_a_whole(tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text("before")

    def rows() -> Iterator[dict[str, Any]]:
        yield run_row()
        assert path.read_text() == "before"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_page(rows(), path)
    assert path.read_text() == "before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    write_page([run_row()], path)
    assert path.read_text().lstrip().startswith("<!doctype html>")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_link_to_the_file_stays_one(tmp_path: Path):
    (tmp_path / "link.html").symlink_to(tmp_path / "report.html")
    write_page([run_row()], tmp_path / "link.html")
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "report.html").is_file()


def test_a_file_in_a_folder_that_can_not_be_changed_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "report.html").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", None)
    write_page([run_row()], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().endswith("</html>")


def test_the_page_is_readable_by_whoever_can_read_other_files(tmp_path: Path):
    write_page([run_row()], tmp_path / "report.html")
    (tmp_path / "other").touch()
    assert (tmp_path / "report.html").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_same_lines_make_the_same_page():
    assert page_of(shop_run()) == page_of(shop_run())
