"""`--langfuse-compare`: what has changed since an earlier run."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from pytest_langfuse import Observations
from pytest_langfuse.report import __main__ as report_command
from pytest_langfuse.report.changed_figures import percent
from pytest_langfuse.report.compared_run import ComparedRun
from pytest_langfuse.report.run_comparison import RunComparison
from pytest_langfuse.rules import __main__ as rules_command
from tests.helpers.json_lines import lines_of
from tests.helpers.report_page import index

APP = """
    import os
    from langfuse import Langfuse

    langfuse = Langfuse()

    def call(*steps, tokens=10, cost=0.5, model="gpt-4o"):
        with langfuse.start_as_current_observation(name="answer"):
            for step in steps:
                with langfuse.start_as_current_observation(name=step, as_type="tool"):
                    pass
            with langfuse.start_as_current_observation(name="llm", as_type="generation", model=model) as llm:
                llm.update(usage_details={"total": tokens}, cost_details={"total": cost})
"""
BEFORE = """
    from app import call

    def test_same():
        call("order 17", "search")

    def test_dearer():
        call("search", tokens=10, cost=0.5)

    def test_other_tree():
        call("search", "rank")

    def test_old_name():
        call("one", "two", "three")

    def test_gone():
        call()
"""
AFTER = """
    from app import call

    def test_same():
        call("search", "order 99")

    def test_dearer():
        call("search", tokens=20, cost=0.525, model="gpt-5")

    def test_other_tree():
        call("search", "sort")

    def test_new_name():
        call("one", "two", "three")

    def test_new():
        call("four")
"""
COMPARE = "--langfuse-compare=before.jsonl"


@pytest.fixture
def suite(any_duration: None, app: pytest.Pytester) -> pytest.Pytester:
    """A suite that has run, and was changed since."""
    app.makepyfile(app=APP, test_it=BEFORE)
    app.runpytest("--langfuse-json=before.jsonl").assert_outcomes(passed=5)
    app.makepyfile(test_it=AFTER)
    for cached in app.path.rglob("test_it.*.pyc"):
        cached.unlink()
    return app


def test_what_has_changed(suite: pytest.Pytester) -> None:
    result = suite.runpytest(COMPARE, "-p", "no:randomly")
    result.assert_outcomes(passed=5)
    assert result.ret == 0
    lines = result.stdout.lines
    start = next(number for number, line in enumerate(lines) if "Langfuse comparison" in line)
    end = next(number for number, line in enumerate(lines) if number > start and line.startswith(("langfuse:", "==")))
    counts = "3 of 4 tests changed, 1 of them renamed, 1 new, 1 did not run"
    tokens, cost = "tokens 40 -> 50 (+25%) and 10 in new tests", "cost $2.00 -> $2.02 (+1.25%) and $0.5000 in new tests"
    assert lines[start + 1 : end] == [
        f"with before.jsonl: {counts}; {tokens}; {cost}",
        "  test_it.py::test_dearer: tokens 10 -> 20 (+100%); cost $0.5000 -> $0.5250 (+5%); models gpt-4o -> gpt-5",
        "  test_it.py::test_other_tree: another tree",
        "    tool rank is missing",
        "    tool sort is unexpected",
        "  test_it.py::test_new_name (was test_it.py::test_old_name): renamed",
    ]


def test_nothing_has_changed(suite: pytest.Pytester) -> None:
    suite.runpytest("--langfuse-json=before.jsonl")
    result = suite.runpytest(COMPARE, "-k", "same or dearer")
    result.stdout.fnmatch_lines(["with before.jsonl: none of 2 tests changed, 3 did not run; tokens 30 as before; *"])


@pytest.mark.parametrize(
    ("ini", "exceeded"),
    [
        (
            "langfuse_max_cost_increase = 4%",
            ["too much: *::test_dearer: cost $0.5000 -> $0.5250 (+5%), 4% *"],
        ),
        (
            "langfuse_max_token_increase = 99.5 %",
            ["too much: *::test_dearer: tokens 10 -> 20 (+100%), 99.5% *"],
        ),
        ("langfuse_max_token_increase = 100%\nlangfuse_max_cost_increase = 5%", []),
        ("", []),
    ],
)
def test_more_than_allowed_fails_the_run(suite: pytest.Pytester, ini: str, exceeded: list[str]) -> None:
    suite.makeini(f"[pytest]\n{ini}\n")
    result = suite.runpytest(COMPARE, "--langfuse-json=after.jsonl")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(exceeded)
    assert result.ret == bool(exceeded)
    assert lines_of(suite.path / "after.jsonl", "run")[0]["exit_status"] == bool(exceeded)
    if exceeded:
        why = "more than in the run that it is compared with: 1 limit exceeded"
        assert result.stdout.lines[-1] == f"langfuse: {why} (exit status 1)"
    else:
        assert "too much" not in result.stdout.str()


def test_the_ini_twin_is_relative_to_the_ini_file(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.makeini("[pytest]\nlangfuse_compare = before.jsonl\n")
    (suite.path / "below").mkdir()
    monkeypatch.chdir(suite.path / "below")
    result = suite.runpytest("..")
    result.stdout.fnmatch_lines(["with *before.jsonl: 3 of 4 tests changed*"])


def test_the_same_file_can_be_read_and_written(suite: pytest.Pytester) -> None:
    result = suite.runpytest(COMPARE, "--langfuse-json=before.jsonl")
    result.stdout.fnmatch_lines(["with before.jsonl: 3 of 4 tests changed*"])
    assert len(lines_of(suite.path / "before.jsonl", "test")) == 5


def test_the_markdown_says_it_too(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    suite.makeini("[pytest]\nlangfuse_max_cost_increase = 4%\n")
    suite.runpytest(COMPARE)
    text = (suite.path / "summary.md").read_text()
    assert "### Compared with <code>before&#46;jsonl</code>" in text
    assert "| test | what has changed |" in text
    assert "| too much |" in text
    assert "tool rank is missing<br>tool sort is unexpected" in text


@pytest.mark.slow
def test_workers_of_xdist(suite: pytest.Pytester) -> None:
    result = suite.runpytest(COMPARE, "-n2")
    result.stdout.fnmatch_lines(["with before.jsonl: 3 of 4 tests changed, 1 of them renamed, 1 new, 1 did not run*"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "can't be read: No such file or directory"),
        ("x", "is not a file of --langfuse-json"),
        ('{"resourceSpans": []}', "is not a file of --langfuse-json"),
        ('{"kind": "outage"}', "has no tests: it is of an earlier version, or of a run in which no test began"),
        ('{"kind": "run", "schema": 1}\n{', "can't be read: line 2 is not a line of --langfuse-json"),
        ('{"kind": "run", "schema": 9}', "can't be read: line 1: the lines are of schema 9, this version reads 1"),
        ('{"kind": "test", "test": 1}', "is not a file of --langfuse-json"),
        ('{"kind": "run", "schema": 1}\n{"kind": "test"}', "can't be read: line 2: 'test' of the test is missing"),
    ],
)
def test_a_file_that_can_not_be_compared_with(app: pytest.Pytester, text: str | None, why: str) -> None:
    if text is not None:
        (app.path / "before.jsonl").write_text(text)
    app.makepyfile("def test_it(): pass")
    result = app.runpytest(COMPARE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = (line for line in result.stderr.lines if "--langfuse-compare" in line)
    assert line.endswith(why)


# -- without a run -----------------------------------------------------------------------------------------------


def run(*tests: dict, nodes: dict[str, list[tuple[str, str | None]]] | None = None) -> ComparedRun:
    rows = [
        {
            "kind": "test",
            "fault": None,
            "outcome": "passed",
            "duration": 1.0,
            "tokens": None,
            "cost": None,
            "models": [],
            **test,
        }
        for test in tests
    ]
    for test, names in (nodes or {}).items():
        ids = {name: str(number) for number, (name, _) in enumerate(names)}
        rows += [
            {
                "kind": "observation",
                "test": test,
                "fault": None,
                "trace": "t",
                "id": ids[name],
                "parent": parent and ids[parent],
                "type": "span",
                "name": name,
                "start": number,
                "exported": True,
            }
            for number, (name, parent) in enumerate(names)
        ]
    return ComparedRun.of(map(json.dumps, rows))


@pytest.mark.parametrize(
    ("before", "after", "values"),
    [
        ({"tokens": 100}, {"tokens": 101}, []),
        ({"tokens": 100}, {"tokens": 102}, ["tokens 100 -> 102 (+2%)"]),
        ({"tokens": 100}, {"tokens": 50}, ["tokens 100 -> 50 (-50%)"]),
        ({"tokens": 0}, {"tokens": 5}, ["tokens 0 -> 5"]),
        ({"tokens": 5}, {}, ["tokens 5 -> none"]),
        ({"duration": 0.01}, {"duration": 0.5}, []),
        ({"duration": 1.0}, {"duration": 1.45}, []),
        ({"duration": 1.0}, {"duration": 2.0}, ["duration 1.00 s -> 2.00 s (+100%)"]),
        ({"cost": 1.0}, {"cost": 2.0, "cost_estimated": True}, ["cost $1.00 -> $2.00 (+100%) (estimated)"]),
        ({"cost": -3.2}, {"cost": 1e300}, ["cost -$3.20 -> $1.0e300 (+3.1e301%)"]),
        ({"cost": 1e-9}, {"cost": 1e300}, ["cost $1.0e-9 -> $1.0e300"]),
        ({"tokens": 10**400}, {"tokens": 5}, ["tokens none -> 5"]),
        ({"duration": 3600.0}, {"duration": 10**400}, ["duration 1 h 0 m -> 0 µs (-100%)"]),
        ({"models": ["a"]}, {"models": []}, ["models a -> none"]),
    ],
)
def test_tolerances(before: dict, after: dict, values: list[str]) -> None:
    comparison = RunComparison(run({"test": "a", **before}), run({"test": "a", **after}))
    assert [value for change in comparison.changes for value in change.values] == values


def test_a_cost_that_nobody_knew_exceeds_nothing() -> None:
    comparison = RunComparison(run({"test": "a"}), run({"test": "a", "cost": 5.0}), max_cost_increase=0.1)
    assert comparison.exceeded == []
    comparison = RunComparison(run({"test": "a", "cost": 0}), run({"test": "a", "cost": 5.0}), max_cost_increase=0.1)
    assert len(comparison.exceeded) == 1


TREE = [("root", None), ("child", "root")]


def test_a_tree_that_several_tests_have_recognises_none() -> None:
    comparison = RunComparison(
        run({"test": "a"}, {"test": "b"}, nodes={"a": TREE, "b": TREE}),
        run({"test": "c"}, {"test": "d"}, nodes={"c": TREE, "d": TREE}),
    )
    assert (comparison.renamed, len(comparison.added), len(comparison.missing)) == (0, 2, 2)
    comparison = RunComparison(
        run({"test": "a"}, {"test": "b"}, nodes={"a": TREE, "b": TREE}), run({"test": "c"}, nodes={"c": TREE})
    )
    assert (comparison.renamed, comparison.added, len(comparison.missing)) == (0, [("c", None)], 2)
    comparison = RunComparison(run({"test": "a"}, nodes={"a": TREE}), run({"test": "c"}, nodes={"c": TREE}))
    assert (comparison.renamed, comparison.added, comparison.missing) == (1, [], [])


def test_a_moved_observation_is_told() -> None:
    deeper = [("root", None), ("a", "root"), ("b", "a")]
    flat = [("root", None), ("a", "root"), ("b", "root")]
    comparison = RunComparison(run({"test": "t"}, nodes={"t": deeper}), run({"test": "t"}, nodes={"t": flat}))
    assert [change.sentences for change in comparison.changes] == [["b: parent is root, expected a"]]


def test_the_order_of_siblings_is_not_told_beside_another_difference() -> None:
    before = [("root", None), ("a", "root"), ("b", "root"), ("c", "root")]
    after = [("root", None), ("b", "root"), ("a", "root"), ("d", "root")]
    comparison = RunComparison(run({"test": "t"}, nodes={"t": before}), run({"test": "t"}, nodes={"t": after}))
    assert [change.sentences for change in comparison.changes] == [["span c is missing", "span d is unexpected"]]


def test_what_langfuse_does_not_show_is_not_compared() -> None:
    found = run({"test": "t"}, nodes={"t": TREE})
    lost = {
        "kind": "observation",
        "test": "t",
        "fault": None,
        "exported": False,
        "trace": "t",
        "id": "9",
        "parent": "0",
    }
    found.add(lost | {"type": "span", "name": "lost", "start": 9})
    assert found.tests["t", None].shape == run({"test": "t"}, nodes={"t": TREE}).tests["t", None].shape


def test_rounding_exceeds_nothing() -> None:
    # A float of 0.7, and 30 % more.
    before, limit, after = 0.7, 0.3, 0.91
    assert after > before * (1 + limit)
    comparison = RunComparison(
        run({"test": "a", "cost": before}), run({"test": "a", "cost": after}), max_cost_increase=limit
    )
    assert comparison.exceeded == []


def test_a_tree_of_any_depth() -> None:
    deep = [("n0", None), *((f"n{number}", f"n{number - 1}") for number in range(1, 5_000))]
    shapes = [run({"test": "t"}, nodes={"t": nodes}).tests["t", None].shape for nodes in (deep, deep[:-1])]
    assert shapes[0] != shapes[1]


def test_percentages() -> None:
    assert [percent(ratio) for ratio in (0.1, 0.005, 1, 12.345)] == ["10%", "0.5%", "100%", "1,234%"]


def test_a_gzipped_file(suite: pytest.Pytester) -> None:
    import gzip

    packed = Path(suite.path / "before.jsonl.gz")
    packed.write_bytes(gzip.compress((suite.path / "before.jsonl").read_bytes()))
    result = suite.runpytest("--langfuse-compare=before.jsonl.gz")
    result.stdout.fnmatch_lines(["with before.jsonl.gz: 3 of 4 tests changed*"])


def test_an_exceeded_limit_fails_its_test_in_junit(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nlangfuse_max_cost_increase = 4%\nlangfuse_max_token_increase = 10%\n")
    suite.runpytest(COMPARE, "--junit-xml=junit.xml").assert_outcomes(passed=5)
    root = ET.parse(suite.path / "junit.xml")
    cases = {case.get("name"): case for case in root.iter("testcase")}
    dearer = cases.pop("test_dearer")
    message = "tokens 10 -> 20 (+100%), 10% allowed"
    assert [one.get("message") for one in dearer.iter("failure")] == [
        "more than in the run that it is compared with: cost $0.5000 -> $0.5250 (+5%), 4% allowed; " + message
    ]
    assert {one.get("name") for one in dearer.iter("property")} >= {"langfuse_exceeded", "langfuse_tokens"}
    assert [case for case in cases.values() if case.find("failure") is not None] == []
    [run] = root.iter("testsuite")
    assert (run.get("tests"), run.get("failures")) == ("5", "1")


def test_an_exceeded_limit_is_an_outcome_of_its_own(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    suite.makeini("[pytest]\nlangfuse_max_token_increase = 10%\n")
    suite.runpytest(COMPARE, "--langfuse-json=run.jsonl", "--langfuse-report=report.html").assert_outcomes(passed=5)
    message = "more than in the run that it is compared with: tokens 10 -> 20 (+100%), 10% allowed"
    outcomes = {line["test"]: (line["outcome"], line["message"]) for line in lines_of(suite.path / "run.jsonl", "test")}
    assert {test: told for test, told in outcomes.items() if told[0] != "passed"} == {
        "test_it.py::test_dearer": ("exceeded", message)
    }
    assert "## Langfuse traces: 1 of 5 tests failed" in (suite.path / "summary.md").read_text()
    page = (suite.path / "report.html").read_text()
    assert '<li class="outcome exceeded">1 over a limit</li>' in page
    assert escape(message) in page


def test_lines_of_what_has_changed(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nlangfuse_max_cost_increase = 4%\n")
    suite.runpytest(COMPARE, "--langfuse-json=after.jsonl", "--langfuse-report=report.html", "-p", "no:randomly")
    [run] = lines_of(suite.path / "after.jsonl", "run")
    assert run["compared"]["with"] == "before.jsonl"
    assert run["compared"]["sentence"].startswith("3 of 4 tests changed, 1 of them renamed, 1 new, 1 did not run; ")
    assert run["compared"]["added"] == [["test_it.py::test_new", None]]
    assert run["compared"]["missing"] == ["test_it.py::test_gone"]
    rows = {row["test"].partition("::")[2]: row for row in lines_of(suite.path / "after.jsonl", "comparison")}
    assert list(rows) == ["test_dearer", "test_other_tree", "test_new_name"]
    dearer, other, renamed = rows.values()
    assert dearer["exceeded"] == ["cost $0.5000 -> $0.5250 (+5%), 4% allowed"]
    assert [dearer[side]["cost"] for side in ("before", "after")] == [0.5, 0.525]
    assert dearer["difference"] is None
    assert other["sentences"] == other["difference"]["sentences"] == ["tool rank is missing", "tool sort is unexpected"]
    made = {row["id"]: row["name"] for row in lines_of(suite.path / "after.jsonl", "observation")}
    captured = [cell for cell in other["difference"]["captured"] if cell and cell["state"] == "extra"]
    assert [made[cell["observation"]] for cell in captured] == ["sort"]
    assert (renamed["was"], renamed["changes"]) == ("test_it.py::test_old_name", [])
    page = (suite.path / "report.html").read_text()
    assert "Compared with before.jsonl" in page
    tests = {test["test"].partition("::")[2]: test for test in index(page)["tests"]}
    assert [name for name, test in tests.items() if "exceeded" in test] == ["test_dearer"]
    assert tests["test_new_name"]["changes"] == ["renamed"]
    assert tests["test_new"]["added"] is True


def test_a_limit_below_what_counts_as_a_change(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_it=BEFORE.replace("cost=0.5", "cost=0.502"))
    suite.makeini("[pytest]\nlangfuse_max_cost_increase = 0.3%\n")
    result = suite.runpytest(COMPARE, "--langfuse-json=after.jsonl")
    result.stdout.fnmatch_lines(["  test_it.py::test_dearer: cost $0.5000 -> $0.5020 (+0.4%)", "too much: *"])
    [row] = lines_of(suite.path / "after.jsonl", "comparison")
    assert row["changes"] == ["cost $0.5000 -> $0.5020 (+0.4%)"]


def test_an_earlier_file_that_still_has_a_secret(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "named-Value-77q3z9w1"
    test = f"""
        from app import call

        def test_key():
            call("{key}", "rank", "%s", model="{key}")
    """
    suite.makepyfile(test_it=test % "search")
    suite.runpytest("--langfuse-json=main.jsonl")
    assert key in (suite.path / "main.jsonl").read_text()
    suite.makepyfile(test_it=(test % "sort").replace(f'model="{key}"', 'model="gpt-4o"'))
    monkeypatch.setenv("SEEN_API_KEY", key)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    result = suite.runpytest("--langfuse-compare=main.jsonl", "--langfuse-json=new.jsonl", "-v")
    result.stdout.fnmatch_lines(["*models * -> gpt-4o*"])
    for text in (result.stdout.str(), *((suite.path / name).read_text() for name in ("summary.md", "new.jsonl"))):
        assert "SEEN&#95;API" in text or "SEEN_API_KEY" in text
        assert "named-" not in text
        assert "named&#45;" not in text
    # Its name is the same in both runs.
    result.stdout.no_fnmatch_line("*tool [[]redacted*")


def test_a_file_of_two_runs_or_without_its_observations_is_refused(app: pytest.Pytester) -> None:
    app.makepyfile(app=APP, test_it=BEFORE)
    app.runpytest("--langfuse-json=before.jsonl", "-k", "dearer")
    whole = (app.path / "before.jsonl").read_text()
    for text, problem in (
        (whole + whole, "can't be read: line 6 begins a second run; give each run a file of its own"),
        (
            "".join(line for line in whole.splitlines(keepends=True) if '"kind": "observation"' not in line),
            "is not whole: line 2: the test 'test_it.py::test_dearer' has 3 observations, and lines of 0",
        ),
    ):
        (app.path / "before.jsonl").write_text(text)
        result = app.runpytest(COMPARE)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"ERROR: --langfuse-compare: 'before.jsonl' {problem}"])


def test_counts_of_observations_are_in_plain_words(app: pytest.Pytester) -> None:
    app.makepyfile(app=APP, test_it="def test_it(): pass")
    app.runpytest("--langfuse-json=before.jsonl")
    app.makepyfile(test_it="from app import langfuse\ndef test_it(): langfuse.start_observation(name='one').end()")
    for cached in app.path.rglob("test_it.*.pyc"):
        cached.unlink()
    app.runpytest(COMPARE).stdout.fnmatch_lines(["    1 observation, 0 before"])


def test_a_byte_order_mark_is_passed_over_wherever_a_file_of_a_run_is_read(
    any_duration: None, app: pytest.Pytester
) -> None:
    app.makepyfile(app=APP, test_it=BEFORE)
    app.runpytest("--langfuse-json=before.jsonl", "--langfuse-rules-baseline=base.txt").assert_outcomes(passed=5)
    for name in ("before.jsonl", "base.txt"):
        # As PowerShell writes it.
        text = (app.path / name).read_bytes().replace(b"\n", b"\r\n")
        (app.path / name).write_bytes(b"\xef\xbb\xbf" + text)
    result = app.runpytest(COMPARE, "--langfuse-rules-baseline=base.txt")
    result.stdout.fnmatch_lines(["with before.jsonl: none of 5 tests changed*"])
    assert len(Observations.from_file(app.path / "before.jsonl")) == 18
    assert report_command.main(["before.jsonl", "-o", "report.html"]) == 0
    assert len(index((app.path / "report.html").read_text())["tests"]) == 5
    assert rules_command.main(["check", "before.jsonl", "--baseline", "base.txt"]) == 0


SECRET_IDS = """
    import os

    import pytest
    from app import call

    @pytest.mark.parametrize("value", ["gpt-4o-2024-08-06", "gpt-4o-mini"])
    def test_one(value):
        call(tokens=int(os.environ["TOKENS_OF_ONE"]))

    @pytest.mark.parametrize("value", ["gpt-4o-2024-08-06", "gpt-4o-mini"])
    def test_other(value):
        call("search")
"""


@pytest.mark.parametrize("first", [True, False])
def test_tests_are_paired_though_their_ids_are_redacted_in_one_run(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    app.makepyfile(app=APP, test_it=SECRET_IDS)
    app.makeini("[pytest]\nlangfuse_max_token_increase = 10%\n")
    for is_first, tokens in ((True, "10"), (False, "30")):
        monkeypatch.setenv("TOKENS_OF_ONE", tokens)
        monkeypatch.delenv("DB_PASSWORD", raising=False)
        if is_first is first:
            monkeypatch.setenv("DB_PASSWORD", "gpt-4o-2024-08-06")
        option = "--langfuse-json=before.jsonl" if is_first else COMPARE
        result = app.runpytest(option, "--langfuse-json=after.jsonl" if not is_first else "-q")
    # Both tests with that id are judged, and none counts as new or renamed.
    text = result.stdout.str()
    assert "with before.jsonl: 2 of 4 tests changed; " in text
    assert text.count("too much: ") == 2
    assert "was" not in text.partition("Langfuse comparison")[2]
    assert result.ret == 1
    assert [row["was"] for row in lines_of(app.path / "after.jsonl", "comparison")] == [None, None]
    name = "test_it.py::test_one[gpt-4o-2024-08-06]"
    assert Observations.from_file(app.path / "before.jsonl", test=name).usage["total"] == 10
    assert Observations.from_file(app.path / "after.jsonl", test=name).usage["total"] == 30
    (run,) = lines_of(app.path / ("before.jsonl" if first else "after.jsonl"), "run")
    assert run["kind"] == "run"
    assert "2024-08-06" not in (app.path / ("before.jsonl" if first else "after.jsonl")).read_text()
