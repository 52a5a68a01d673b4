"""`python -m pytest_langfuse.report`: shards of a run as one, compared with an earlier run, and summed up."""

from __future__ import annotations

import gzip
import html
import io
import json
import os
import socket
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.report.step_summary import LIMIT
from tests.helpers import limited_runs
from tests.helpers.paths import ROOT
from tests.helpers.report_command import ended, write
from tests.helpers.report_page import blocks, index
from tests.helpers.report_rows import case_row, compared, comparison_row, finding_row, observation_row, run_row

COMMAND = "python -m pytest_langfuse.report"
BEFORE = "2026-11-26T12:00:00+00:00"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of_test(name: str, *observations: str, **fields: Any) -> list[dict[str, Any]]:
    """The lines of a test, whose observations have these names."""
    return [
        case_row(name, observations=len(observations), **fields),
        *(observation_row(number, test=name, name=one) for number, one in enumerate(observations)),
    ]


def run(name: str, *tests: list[dict[str, Any]], **fields: Any) -> str:
    return write(name, [run_row(exit_status=0) | fields, *(row for rows in tests for row in rows)])


def shards() -> tuple[list[str], list[str]]:
    """The files of a run, and options that name those of an earlier one."""
    earlier = [
        run("main-1.jsonl", of_test("t::same", "a"), of_test("t::dearer", "b", tokens=10), started=BEFORE),
        run("main-2.jsonl", of_test("t::other", "c"), of_test("t::gone", "d"), started=BEFORE),
    ]
    now = [
        run("run-1.jsonl", of_test("t::same", "a"), of_test("t::other", "sort")),
        run("run-2.jsonl", of_test("t::dearer", "b", tokens=20), of_test("t::new", "e", "f")),
    ]
    return now, [f"--compare={name}" for name in earlier]


PRINTED = """\
============================= Langfuse comparison ==============================
with main-1.jsonl and 1 more file: 2 of 3 tests changed, 1 new, 1 did not run; tokens 10 -> 20 (+100%)
  t::other: another tree
    span c is missing
    span sort is unexpected
  t::dearer: tokens 10 -> 20 (+100%)
"""


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


# -- what it is the same as ------------------------------------------------------------------------------------------

APP = """
    from langfuse import Langfuse

    langfuse = Langfuse()

    def call(*steps, tokens=10, cost=0.5, model="gpt-4o"):
        with langfuse.start_as_current_observation(name="answer"):
            for step in steps:
                with langfuse.start_as_current_observation(name=step, as_type="tool"):
                    pass
            with langfuse.start_as_current_observation(name="llm", as_type="generation", model=model) as llm:
                llm.update(usage_details={"total": tokens}, cost_details={"total": cost} if cost else None)
"""
SUITE = """
    from app import call

    def test_same():
        call("order 17", "search")

    def test_dearer():
        call("search", %s)

    def test_other_tree():
        call("search", "%s")

    def test_%s_name():
        call("one", "two", "three")

    def test_%s():
        call()

    def test_worse():
        call("last")
        assert %s

    def test_of_unknown_cost():
        call("unknown", cost=None, model="of nobody")
"""


def test_shards_are_compared_as_the_whole_run_is_by_pytest(app: pytest.Pytester, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(app.path / "whole.md"))
    app.makepyfile(app=APP, test_it=SUITE % ("tokens=10, cost=0.5", "rank", "old", "gone", True))
    app.runpytest("--langfuse-json=before.jsonl").assert_outcomes(passed=7)
    app.makepyfile(test_it=SUITE % ('tokens=20, cost=0.525, model="gpt-5"', "sort", "new", "new", False))
    for cached in app.path.rglob("test_it.*.pyc"):
        cached.unlink()
    app.makeini("[pytest]\nlangfuse_max_cost_increase = 4%\nlangfuse_max_token_increase = 10%\n")
    options = ("-p", "no:randomly")
    (app.path / "whole.md").unlink()
    whole = app.runpytest("--langfuse-compare=before.jsonl", "--langfuse-json=whole.jsonl", *options)
    assert whole.ret == 1
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    for number, chosen in enumerate(("same or dearer", "not same and not dearer")):
        app.runpytest(f"--langfuse-json=run-{number}.jsonl", "-k", chosen, *options)
    capsys.readouterr()
    limits = ("--max-cost-increase", "4%", "--max-token-increase", "10 %")
    outputs = ("-o", "report.html", "--summary", "summary.md")
    assert ended("run-0.jsonl", "run-1.jsonl", "--compare=before.jsonl", *limits, *outputs) == 3

    title, *printed, page, last = capsys.readouterr().out.splitlines()
    lines = whole.stdout.lines
    start = next(number for number, line in enumerate(lines) if "Langfuse comparison" in line)
    assert [title, *printed] == lines[start : start + len(printed) + 1]
    assert "of them for the worse" in printed[0]
    assert printed[1].startswith("  test_it.py::test_worse: ")
    assert sum(line.startswith("the limit of 4% more cost judges 6 of 7 tests, not 1 ") for line in printed) == 1
    assert page == "report.html"
    assert last == lines[-1].replace("exit status 1", "exit status 3")
    assert (app.path / "summary.md").read_text() == (app.path / "whole.md").read_text()

    rows = [json.loads(line) for line in (app.path / "whole.jsonl").read_text().splitlines()]
    assert ended("whole.jsonl", "-o", "whole.html") == 0
    texts = [(app.path / name).read_text() for name in ("report.html", "whole.html")]
    tests = [index(text)["tests"] for text in texts]
    for name in ("test", "outcome", "message", "changes", "exceeded", "added"):
        assert [test.get(name) for test in tests[0]] == [test.get(name) for test in tests[1]], name
    opened = [[one.get("comparison") for block in blocks(text, "tree") for one in block] for text in texts]
    figures = [
        [one and {**one, "before": None, "after": None, "difference": None} for one in comparisons]
        for comparisons in opened
    ]
    assert figures[0] == figures[1]
    # The observations of another run have other ids.
    states = [
        [
            one and one["difference"] and [cell and cell["state"] for cell in one["difference"]["captured"]]
            for one in side
        ]
        for side in opened
    ]
    assert states[0] == states[1]
    for sentence in (rows[0]["compared"]["sentence"], *rows[0]["compared"]["not_judged"]):
        assert sentence in html.unescape(texts[0])


def test_what_fixtures_made_in_each_shard_is_compared_by_fixture(app: pytest.Pytester, capsys):
    suite = """
        import pytest
        from app import call

        @pytest.fixture(scope="session")
        def docs():
            call("docs", tokens=%d)

        def test_a(docs):
            call("a")

        def test_b(docs):
            call("b")
    """
    app.makepyfile(app=APP, test_it=suite % 10)
    options = ("-p", "no:randomly")
    app.runpytest("--langfuse-json=before.jsonl", *options).assert_outcomes(passed=2)
    app.makepyfile(test_it=suite % 30)
    for cached in app.path.rglob("test_it.*.pyc"):
        cached.unlink()
    for name in "ab":
        app.runpytest(f"--langfuse-json={name}.jsonl", "-k", f"test_{name}", *options).assert_outcomes(passed=1)
    capsys.readouterr()
    assert ended("a.jsonl", "b.jsonl", "--compare=before.jsonl", "--max-token-increase=10%") == 3
    out = capsys.readouterr().out
    # Each shard has set it up: it is told once, and no test has changed for it.
    assert "1 of 2 tests changed" in out
    assert out.count("session fixture docs: tokens 10 -> 30 (+200%)\n") == 1
    assert "too much: test_it.py::test_a: session fixture docs: tokens 10 -> 30 (+200%), 10% allowed\n" in out


def test_the_comparison_of_shards_with_shards(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, earlier = shards()
    assert ended(*now, *earlier) == 0
    assert capsys.readouterr() == (PRINTED, "")
    packed = [write(f"{name}.gz", []) for name in now]
    for name, zipped in zip(now, packed, strict=True):
        Path(zipped).write_bytes(gzip.compress(Path(name).read_bytes()))
    assert ended(*reversed(packed), *reversed(earlier)) == 0
    assert "with main-2.jsonl and 1 more file: 2 of 3 tests changed, 1 new" in capsys.readouterr().out


def test_the_page_of_shards_has_one_comparison(folder: Path):
    now, earlier = shards()
    assert ended(*now, *earlier, "-o", "report.html", "--max-token-increase=10%") == 3
    page = (folder / "report.html").read_text()
    assert "Compared with main-1.jsonl and 1 more file" in page
    assert "1 test of the earlier run did not run" in page
    tests = {test["test"]: test for test in index(page)["tests"]}
    message = "more than in the run that it is compared with: tokens 10 -&gt; 20 (+100%), 10% allowed"
    assert message in page
    assert {name: test["outcome"] for name, test in tests.items() if test["outcome"] != "passed"} == {
        "t::dearer": "exceeded"
    }
    assert [name for name, test in tests.items() if "changes" in test] == ["t::other", "t::dearer"]
    assert [name for name, test in tests.items() if test.get("added")] == ["t::new"]


def test_what_the_files_were_compared_with_before_does_not_count(folder: Path, capsys: pytest.CaptureFixture[str]):
    test = "tests/test_shop.py::test_answer"
    errors = ["more than in the run that it is compared with: 1 limit exceeded"]
    rows = [
        run_row(compared=compared(), errors=errors),
        case_row(test, outcome="exceeded", message="more than before", observations=1, tokens=10),
        observation_row(0),
        comparison_row(),
    ]
    write("run.jsonl", rows)
    run("main.jsonl", of_test(test, "step 0", tokens=10))
    assert ended("run.jsonl", "--compare=main.jsonl", "--max-token-increase=10%", "-o=report.html") == 0
    page = (folder / "report.html").read_text()
    assert "none of 1 test changed; tokens 10 as before" in page
    assert "Nothing is wrong" in page
    [shown] = index(page)["tests"]
    assert (shown["outcome"], shown["message"], "changes" in shown) == ("passed", "", False)
    assert errors[0] not in page
    # What is exceeded now is told once. And without --compare, it stays.
    run("less.jsonl", of_test(test, "step 0", tokens=1), started=BEFORE)
    assert ended("run.jsonl", "--compare=less.jsonl", "--max-token-increase=10%", "--summary=summary.md") == 3
    assert html.unescape((folder / "summary.md").read_text()).count(f"The run failed: {errors[0]}") == 1
    (folder / "summary.md").unlink()
    assert ended("run.jsonl", "-o", "report.html", "--summary=summary.md") == 0
    [shown] = index((folder / "report.html").read_text())["tests"]
    assert (shown["outcome"], shown["exceeded"]) == ("exceeded", ["tokens 10 -> 21 (+110%), 10% allowed"])
    assert "### Compared with <code>main&#46;jsonl</code>" in (folder / "summary.md").read_text()


def test_of_a_test_that_ran_in_two_files_the_last_run_is_compared(folder: Path, capsys: pytest.CaptureFixture[str]):
    earlier = [
        run("main-1.jsonl", of_test("t::a", "b"), started=BEFORE),
        run("main-2.jsonl", of_test("t::a", "a"), started=BEFORE.replace("T12", "T13")),
    ]
    now = [
        run("run-1.jsonl", of_test("t::a", "c", outcome="failed")),
        run("run-2.jsonl", of_test("t::a", "a"), started="2026-11-27T13:00:00+00:00"),
    ]
    note = "1 test ran in several runs, and the run that began last counts: t::a"
    for step in (1, -1):
        assert ended(*now[::step], *(f"--compare={name}" for name in earlier[::step])) == 0
        out, err = capsys.readouterr()
        assert "none of 1 test changed" in out
        assert err == f"{note} (failed in another)\n--compare: {note}\n"


# -- limits ----------------------------------------------------------------------------------------------------------


def test_limits_have_the_grammar_of_the_ini_settings(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, earlier = shards()
    for limit, status in (("99.9%", 3), ("+1e2 %", 0), ("100%", 0), ("0%", 3)):
        assert ended(*now, *earlier, "--max-token-increase", limit) == status
        out = capsys.readouterr().out
        why = "langfuse: more than in the run that it is compared with: 1 limit exceeded (exit status 3)\n"
        assert out.endswith(why) is (status == 3)
        assert ("too much: t::dearer: tokens 10 -> 20 (+100%), " in out) is (status == 3)


@pytest.mark.parametrize("option", ["--max-cost-increase", "--max-token-increase"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("10", "{}: '10' is not a percentage from 0 up, such as 10%"),
        ("-1%", "{}: '-1%' is not a percentage from 0 up, such as 10%"),
        ("10%%", "{}: '10%%' is not a percentage from 0 up, such as 10%"),
        ("1_0%", "{}: '1_0%' is not a percentage from 0 up, such as 10%"),
        ("nan%", "{}: 'nan%' is not a percentage from 0 up, such as 10%"),
        # A variable that is not set.
        ("", "{} needs a value, such as {}=10%; leave it out for none"),
        (" ", "{} needs a value, such as {}=10%; leave it out for none"),
    ],
)
def test_a_limit_that_is_none(folder: Path, capsys, option: str, value: str, message: str):
    now, earlier = shards()
    assert ended(*now, *earlier, f"{option}={value}") == 2
    assert capsys.readouterr().err.endswith(f"error: {message.replace('{}', option)}\n")


def test_a_limit_needs_a_run_to_compare_with(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, _ = shards()
    for option in ("--max-cost-increase", "--max-token-increase"):
        assert ended(*now, "-o", "report.html", option, "10%") == 2
        error = capsys.readouterr().err
        assert error.endswith(f"error: {option} needs --compare FILE, the run that this one is compared with\n")


# -- Markdown --------------------------------------------------------------------------------------------------------


def test_the_summary_is_added_to_a_file(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, _ = shards()
    (folder / "summary.md").write_text("what another step wrote\n")
    assert ended(*now, "--summary", "summary.md") == 0
    assert capsys.readouterr() == ("", "")
    first, second = (folder / "summary.md").read_text().split("\n", 1)
    assert first == "what another step wrote"
    assert second.startswith("## Langfuse traces: 4 tests\n")
    assert "| 5 | 20 |  | 0 | 0 | 0 |" in second
    assert ended(*now, "--summary", "new.md") == 0
    assert (folder / "new.md").read_text() == second
    (folder / "full.md").write_bytes(b"x" * (LIMIT - 100))
    assert ended(*now, "--summary", "full.md") == 0
    assert (folder / "full.md").stat().st_size <= LIMIT
    assert (folder / "full.md").read_text().endswith("(The rest is left out: GitHub shows 1 MiB.)\n")


def test_a_summary_says_what_is_incomplete_in_any_file(folder: Path):
    first = run("1.jsonl", of_test("t::a"), incomplete=["the worker gw1 has crashed"])
    second = run("2.jsonl", of_test("t::a"), of_test("t::b"), incomplete=["stopped at -x"])
    write("2.jsonl", [*map(json.loads, Path("2.jsonl").read_text().splitlines()), finding_row(test="t::b")])
    third = run("3.jsonl", of_test("t::a"), of_test("t::c"), started="2026-11-27T13:00:00+00:00")
    assert ended(first, second, third, "--summary", "summary.md") == 0
    lines = html.unescape((Path("summary.md")).read_text()).splitlines()
    assert [line for line in lines if line.startswith("Incomplete: ")] == [
        "Incomplete: 2.jsonl: stopped at -x",
        "Incomplete: 1 test ran in several runs, and the run that began last counts: t::a",
    ]
    assert "| LF006 generation without model | warning | 1 | generation llm has no model |" in lines


def test_what_was_wrong_with_a_run_that_does_not_count_is_not_told(folder: Path):
    failed = of_test("t::a", outcome="failed", message="it broke")
    again = run("3.jsonl", of_test("t::a"), started="2026-11-27T13:00:00+00:00")
    for fields, status, told in (
        ({}, "", []),
        ({"errors": ["a plugin has failed"]}, ", exit status 1", ["The run failed: 1.jsonl: a plugin has failed"]),
    ):
        first = run("1.jsonl", failed, of_test("t::b"), exit_status=1, **fields)
        assert ended(first, again, "--summary", "summary.md", "-o", "report.html") == 0
        lines = html.unescape((folder / "summary.md").read_text()).splitlines()
        assert lines[0] == f"## Langfuse traces: 2 tests{status}"
        assert [line for line in lines if "failed" in line and not line.startswith("Incomplete")] == told
        assert ("exit status 1" in (folder / "report.html").read_text()) is bool(told)
        (folder / "summary.md").unlink()
    # One test fails and was not repeated.
    first = run("1.jsonl", failed, of_test("t::b", outcome="failed"), exit_status=1)
    assert ended(first, again, "--summary", "summary.md", "-o", "report.html") == 0
    assert "exit status 1" in (folder / "report.html").read_text()
    # All of the run was.
    run("1.jsonl", failed, exit_status=1, errors=["a plugin has failed"])
    assert ended(first, again, "-o", "report.html") == 0
    assert "exit status 1" not in (folder / "report.html").read_text()


def test_modules_that_each_shard_skips_have_not_run_again(folder: Path, capsys: pytest.CaptureFixture[str]):
    module = [case_row("test_skipped.py", outcome="skipped", collection=True)]
    first, second = run("1.jsonl", module, of_test("t::a")), run("2.jsonl", module, of_test("t::b"))
    assert ended(first, second, "-o", "report.html") == 0
    assert capsys.readouterr() == ("report.html\n", "")
    assert len(index((folder / "report.html").read_text())["tests"]) == 3
    assert ended(first, second, f"--compare={run('main.jsonl', of_test('t::a'), module, started=BEFORE)}") == 0
    assert "none of 1 test changed, 1 new" in capsys.readouterr().out


def test_a_summary_of_recorded_traces(folder: Path):
    (folder / "incident.bin").write_bytes((ROOT / "tests/golden/exc_context.otlp.bin").read_bytes())
    assert ended("incident.bin", "--summary", "summary.md") == 0
    text = (folder / "summary.md").read_text()
    assert text.startswith("## Langfuse traces: 1 of 1 trace with an error\n")
    assert "### With an error\n\n| trace | why |\n" in text


def test_a_summary_of_a_file_of_an_earlier_version(folder: Path):
    old = {"kind": "test", "test": "t::a", "outcome": "failed"}
    write("run.jsonl", [{"kind": "run", "schema": 1}, old, {"kind": "finding", "test": "t::a"}])
    assert ended("run.jsonl", "--summary", "summary.md", "-o", "report.html") == 0
    assert (folder / "summary.md").read_text().startswith("## Langfuse traces: 1 of 1 test failed\n")


# -- streams ---------------------------------------------------------------------------------------------------------


def started(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_langfuse.report", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=limited_runs.LIMIT,
        **options,
    )


@pytest.mark.slow
def test_what_is_printed_is_not_in_a_page_or_a_summary(folder: Path):
    now, earlier = shards()
    for outputs, beginning in (
        (("-o", "-"), "<!doctype html>"),
        (("-o", "/dev/stdout"), "<!doctype html>"),
        (("--summary", "-"), "## Langfuse traces: "),
        (("--summary=-", "-o=report.html"), "## Langfuse traces: "),
    ):
        done = started(*now, *earlier, "--max-token-increase=10%", *outputs)
        assert done.returncode == 3
        assert done.stdout.startswith(beginning)
        assert "Langfuse comparison" not in done.stdout
        lines = done.stderr.splitlines()
        assert lines[0] == PRINTED.splitlines()[0]
        assert lines[-1].endswith("1 limit exceeded (exit status 3)")
        assert ("report.html" in lines) is (len(outputs) == 2 and outputs[1] == "-o=report.html")


@pytest.mark.slow
def test_streams_as_a_shell_gives_them(folder: Path):
    now, _ = shards()
    command = f"{sys.executable} -m pytest_langfuse.report"
    script = f"""
        gzip main-1.jsonl run-1.jsonl
        {command} <(zcat run-1.jsonl.gz) run-2.jsonl --compare <(zcat main-1.jsonl.gz) --compare main-2.jsonl
        {command} - run-2.jsonl --compare main-1.jsonl.gz --compare main-2.jsonl < run-1.jsonl.gz
        echo above > summary.md
        {command} {now[1]} --summary - >> summary.md
        {command} run-2.jsonl --compare main-2.jsonl -v | true
        echo ${{PIPESTATUS[0]}}
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=limited_runs.LIMIT
    )
    lines = done.stdout.splitlines()
    counts = [line.partition(": ")[2] for line in lines if line.startswith("with ")]
    assert [count.partition(";")[0] for count in counts] == ["2 of 3 tests changed, 1 new, 1 did not run"] * 2
    # The reader may be gone before the command writes, or after it.
    assert lines[-1] in {"0", str(128 + 13)}
    assert done.stderr == ""
    assert (folder / "summary.md").read_text().startswith("above\n## Langfuse traces: 2 tests\n")


@pytest.mark.slow
def test_the_standard_output_can_be_what_has_no_path(folder: Path):
    now, _ = shards()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "pytest_langfuse.report", *now, "--summary", "-"]
        done = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=limited_runs.LIMIT)
        assert (done.returncode, done.stderr) == (0, b"")
        assert ours.recv(100).startswith(b"## Langfuse traces: 4 tests")


def test_a_standard_input_can_be_the_earlier_run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    now, _ = shards()
    data = Path("main-1.jsonl").read_bytes() + b"\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    assert ended(*now, "--compare", "-") == 0
    assert "with -: none of 1 test changed" not in capsys.readouterr().out
    assert ended("-", "--compare", "-") == 2
    assert "--compare: '-' is an input, too; name the file of an earlier run" in capsys.readouterr().err


#: Files that are not there after an error.
BOTH = ("-o", "report.html", "--summary", "summary.md")

# -- what can't be done ----------------------------------------------------------------------------------------------


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status, and the line with which the command ends."""
    status = ended(*arguments)
    out, err = capsys.readouterr()
    assert out == ""
    *_, line = err.splitlines()
    return status, line.removeprefix(f"{COMMAND}: ")


def test_nothing_to_do(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, _ = shards()
    what = "give -o REPORT.html for a page, --summary FILE for Markdown, or --compare FILE for what has changed"
    assert refusal(capsys, *now) == (2, f"error: nothing to do: {what}")


def test_what_can_not_be_compared_names_the_file(folder: Path, capsys: pytest.CaptureFixture[str]):
    [one, two], _ = shards()
    text = Path(one).read_text()
    for name, content, why in (
        ("incident", (ROOT / "tests/golden/nested.otlp.bin").read_bytes(), "is not a file of --langfuse-json"),
        ("text", b"x", "is not a file of --langfuse-json"),
        (
            "cut",
            "\n".join(text.splitlines()[:-1]).encode(),
            "is not whole: line 4: the test 't::other' has 1 observation, and lines of 0",
        ),
        ("two", text.encode() * 2, "can't be read: line 6 begins a second run; give each run a file of its own"),
        (
            "typed",
            text.replace('"models": []', '"models": 5').encode(),
            "can't be read: line 2: 'models' of the test is 5",
        ),
        (
            "empty",
            json.dumps(run_row()).encode(),
            "has no tests: it is of an earlier version, or of a run in which no test began",
        ),
    ):
        Path(name).write_bytes(content)
        assert refusal(capsys, one, "--compare", name, *BOTH) == (2, f"--compare: '{name}' {why}")
        assert refusal(capsys, name, "--compare", two, *BOTH) == (2, f"'{name}' can't be compared: it {why}")
        assert not {"report.html", "summary.md"} & {path.name for path in folder.iterdir()}


def test_what_can_not_be_read_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    [one, _], _ = shards()
    (folder / "packed").write_bytes(gzip.compress(Path(one).read_bytes())[:-20])
    os.mkfifo(folder / "pipe")
    for name, why in (
        ("gone", "'gone' can't be read: No such file or directory"),
        ("packed", "packed: the file is damaged: its compressed data ends too early"),
        ("pipe", "'pipe' can't be read: it is a named pipe, not a file"),
        (".", "'.' can't be read: Is a directory"),
    ):
        assert refusal(capsys, one, "--compare", name, *BOTH) == (2, f"--compare: {why}")
        assert refusal(capsys, name, "--compare", one, *BOTH) == (2, why)


def test_a_file_among_several_that_can_not_be_used_is_named(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, earlier = shards()
    (folder / "main-2.jsonl").write_text("{")
    _, line = refusal(capsys, *now, *earlier)
    assert line == "--compare: 'main-2.jsonl' is not a file of --langfuse-json"
    (folder / "main-2.jsonl").write_text('{"kind": "run"}\n[]\n')
    _, line = refusal(capsys, *now, *earlier)
    assert line == "--compare: main-2.jsonl: line 2 is not a line of --langfuse-json"
    (folder / "run-2.jsonl").write_text('{"kind": "run"}\n[]\n')
    _, line = refusal(capsys, *now, *earlier)
    assert line == "run-2.jsonl: line 2 is not a line of --langfuse-json"


def test_no_file_is_lost(folder: Path, capsys: pytest.CaptureFixture[str]):
    now, earlier = shards()
    (folder / "link.md").symlink_to("main-1.jsonl")
    (folder / "page.html").write_bytes(b"")
    assert ended(*now, "-o", "page.html") == 0
    run("older.jsonl", of_test("t::same", "a"), started=BEFORE)
    capsys.readouterr()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for outputs, status, problem in (
        (("-o", "main-1.jsonl"), 1, "is the run to compare with, 'main-1.jsonl'; name another file for the page"),
        (("--summary", "run-1.jsonl"), 1, "is the input 'run-1.jsonl'; name another file for the summary"),
        (
            ("--summary", "./link.md"),
            1,
            "is the run to compare with, 'main-1.jsonl'; name another file for the summary",
        ),
        (("--summary", "page.html"), 1, "holds a page or lines of a run; name a file of Markdown"),
        (("--summary", "older.jsonl"), 1, "holds a page or lines of a run; name a file of Markdown"),
        (("--summary", "gone/summary.md"), 1, "is in a directory that does not exist"),
        (("--summary", "."), 1, "is a directory; name a file in it"),
        (("-o", "same", "--summary", "./same"), 2, "-o and --summary name the same file, './same'; name two"),
        (("-o", "-", "--summary", "/dev/stdout"), 2, "-o and --summary name the same file, '/dev/stdout'; name two"),
    ):
        found, line = refusal(capsys, *now, *earlier, *outputs)
        expected = f"error: {problem}" if status == 2 else f"{outputs[1]!r} can't be written: it {problem}"
        assert (found, line) == (status, expected)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    found, line = refusal(capsys, *now, "--compare", f"./{now[0]}")
    assert (found, line) == (2, f"error: --compare: './{now[0]}' is an input, too; name the file of an earlier run")


def test_what_can_not_be_written_at_the_end_does_not_keep_the_other_from_it(folder: Path, monkeypatch, capsys):
    now, earlier = shards()
    limit = "--max-token-increase=10%"
    assert ended(*now, *earlier, limit, "-o", "/dev/full", "--summary", "summary.md") == 1
    out, err = capsys.readouterr()
    assert err == f"{COMMAND}: '/dev/full' can't be written: No space left on device\n"
    assert out.startswith(PRINTED)
    assert out.endswith("1 limit exceeded (exit status 1)\n")
    assert "t&#58;&#58;dearer" in (folder / "summary.md").read_text()
    # Before anything of it is written, too.
    whole = (folder / "summary.md").read_text()
    with monkeypatch.context() as patched:
        patched.setattr(OutputFile, "write", Mock(side_effect=OSError(28, "No space left on device")))
        assert ended(*now, *earlier, limit, "-o", "report.html", "--summary", "summary.md") == 1
    assert (folder / "summary.md").read_text() == whole * 2
    capsys.readouterr()
    assert ended(*now, *earlier, limit, "-o", "report.html", "--summary", "/dev/full") == 1
    assert capsys.readouterr().err == f"{COMMAND}: '/dev/full' can't be written: No space left on device\n"
    assert (folder / "report.html").exists()


# -- what is in it ---------------------------------------------------------------------------------------------------


def test_no_secret_is_written_or_printed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    known, own = "named-Value-77q3z9w1", "ORD-123456"
    key = "sk-lf-" + "1f5a0c3e-8b2d-4e6f-9a7b-3c1d5e7f9a0b"
    monkeypatch.setenv("SEEN_API_KEY", known)
    tests = {f"t::test[{secret}]": secret for secret in (known, own, key)}
    before = [of_test(test, f"call {secret}", "rank", tokens=1, models=[secret]) for test, secret in tests.items()]
    after = [of_test(test, f"call {secret}", "sort", tokens=9, models=["m"]) for test, secret in tests.items()]
    files = [
        run("main.jsonl", *before, started=BEFORE),
        run("run.jsonl", *after),
        run("again.jsonl", *after, of_test(f"t::new[{known}]", "a"), command=known),
    ]
    option = r"LF010.pattern.order=\bORD-\d{6}\b"
    outputs = ("-o", "report.html", "--summary", "summary.md", "-v", "--max-token-increase=1%")
    assert ended(files[1], files[2], "--compare", files[0], "--option", option, *outputs) == 3
    printed = "".join(capsys.readouterr())
    page = (folder / "report.html").read_text()
    data = json.dumps([index(page), blocks(page, "tree"), blocks(page, "details")])
    summary = html.unescape((folder / "summary.md").read_text())
    for text in (printed, page, data, summary):
        for secret in (known, own, key):
            assert secret not in text
    # They are compared as what they are, without their secrets.
    assert "3 of 3 tests changed, 1 new" in printed
    assert printed.count("span rank is missing") == 3
    assert "span call" not in printed
    for mark in (
        "[redacted: SEEN_API_KEY]",
        "[redacted: a secret of the pattern 'order']",
        "[redacted: a Langfuse secret key]",
    ):
        assert f"t::test[{mark}]: tokens 1 -> 9 (+800%)" in printed


@pytest.mark.parametrize("is_redacted", [True, False], ids=["the earlier run", "this run"])
def test_tests_are_paired_though_their_ids_are_redacted_in_one_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_redacted: bool
):
    """As by pytest; here a key that is known now is not in the other file, either."""
    known = "named-Value-77q3z9w1"
    monkeypatch.setenv("SEEN_API_KEY", known)
    names = ["t::test[[redacted: SEEN_API_KEY]]", f"t::test[{known}]"]
    before, after = names if is_redacted else reversed(names)
    run("main.jsonl", of_test(before, "a", tokens=1), started=BEFORE)
    run("run.jsonl", of_test(after, "a", tokens=9))
    assert ended("run.jsonl", "--compare=main.jsonl", "-o", "report.html", "--max-token-increase=10%") == 3
    out = capsys.readouterr().out
    assert "1 of 1 test changed; tokens 1 -> 9 (+800%)" in out
    assert "(was " not in out
    [shown] = index((folder / "report.html").read_text())["tests"]
    assert (shown["test"], shown["outcome"]) == (names[0], "exceeded")
    assert shown["changes"] == ["tokens 1 -> 9 (+800%)"]


def test_long_comparisons_are_cut_and_v_shows_all(folder: Path, capsys: pytest.CaptureFixture[str]):
    tests = [f"t::{number}" for number in range(60)]
    run("main.jsonl", *(of_test(test, *"abcdefgh") for test in tests), started=BEFORE)
    run("run.jsonl", *(of_test(test, "z") for test in tests))
    assert ended("run.jsonl", "--compare=main.jsonl") == 0
    short = capsys.readouterr().out
    assert "  and 10 more tests (-v shows all)" in short
    assert "    and 4 more differences (-v shows all)" in short
    assert ended("run.jsonl", "--compare=main.jsonl", "-v") == 0
    long = capsys.readouterr().out
    assert "-v shows all" not in long
    assert long.count("is missing") == 60 * 8


def test_names_do_not_break_a_line_or_colour_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    run("main.jsonl", of_test("t::\x1b[31ma\nb", "a", tokens=1), started=BEFORE)
    run("run.jsonl", of_test("t::\x1b[31ma\nb", "a", tokens=9))
    assert ended("run.jsonl", "--compare=main.jsonl") == 0
    assert capsys.readouterr().out.splitlines()[2] == r"  t::\x1b[31ma\nb: tokens 1 -> 9 (+800%)"


def test_observations_are_not_held(folder: Path):
    """The most memory that comparing and writing takes is a part of what the files have."""

    def long(name: str, *tests: str, **fields: Any) -> str:
        rows = [run_row(**fields)]
        for test in tests:
            rows.append(case_row(test, observations=20))
            rows += (observation_row(at, test=test, input="x" * 50_000) for at in range(20))
        return write(name, rows)

    tests = [f"t::{number}" for number in range(20)]
    files = [long("1.jsonl", *tests[:10]), long("2.jsonl", *tests[10:]), long("main.jsonl", *tests, started=BEFORE)]
    size = sum(Path(name).stat().st_size for name in files)
    arguments = [*files[:2], "--compare", files[2], "-o", "report.html", "--summary", "summary.md"]
    assert ended(*arguments) == 0
    tracemalloc.start()
    try:
        assert ended(*arguments) == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 40_000_000
    assert peak < size / 3
