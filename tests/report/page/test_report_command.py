"""`python -m pytest_langfuse.report`: the page of a run, made later."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_langfuse.recording import decode_otlp
from pytest_langfuse.report import sent_images
from pytest_langfuse.report.compared_run import BadComparison, ComparedRun
from pytest_langfuse.report.row_file import BadRowFile, RowFile
from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import ROOT
from tests.helpers.report_command import ended, write
from tests.helpers.report_page import blocks, index
from tests.helpers.report_rows import case_row, compared, finding_row, observation_row, run_row, score_row, shop_run


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_makes_the_page_and_prints_its_path(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert ended(write("run.jsonl", shop_run()), "-o", "report.html") == 0
    assert capsys.readouterr().out == "report.html\n"
    assert "TreeMismatch: 2 differences" in (folder / "report.html").read_text()


def test_a_recorded_trace_keeps_its_name_its_scores_and_its_own_values(folder: Path):
    observation = {
        "id": "o1",
        "traceId": "abc123def",
        "type": "SPAN",
        "name": "root",
        "startTime": "2026-01-01T00:00:00Z",
    }
    secret = "sk-lf-" + "7d1f0c2a-94be-4c8e-b1a6-3e5f90d2c7b8"
    trace = {"id": "abc123def", "name": "chat", "input": {"q": 1}, "output": secret, "metadata": {"a": 1}}
    scores = [
        {"id": "s1", "traceId": "abc123def", "name": "good", "value": 1, "comment": "nice"},
        {"id": "s2", "traceId": "gone", "name": "far", "value": 1},
        {"id": "s3", "traceId": "abc123def", "observationId": "o1", "name": "near", "value": 1},
    ]
    (folder / "trace.json").write_text(json.dumps({**trace, "observations": [observation], "scores": scores}))
    assert ended("trace.json", "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    assert index(page)["tests"][0]["test"] == "chat abc123de"
    # Of scores, those are of what can't exist that are not of what is there.
    assert index(page)["tests"][0]["findings"].get("LF023") == 1
    [[part]] = blocks(page, "tree")
    assert part["stored"]["input"] == {"q": 1}
    assert part["stored"]["output"].startswith("[redacted:")
    assert [(one["name"], one["value"], one["trace"]) for one in part["scores"]] == [
        ("good", 1, "abc123def"),
        ("far", 1, "gone"),
        ("near", 1, "abc123def"),
    ]


def test_an_answer_of_another_endpoint_of_the_api_says_what_to_fetch(folder: Path, capsys: pytest.CaptureFixture[str]):
    trace = {"id": "t", "timestamp": "2026-01-01T00:00:00Z", "htmlPath": "/project/p/traces/t", "observations": ["o"]}
    (folder / "traces.json").write_text(json.dumps({"data": [trace]}))
    assert ended("traces.json", "-o", "report.html") == 2
    error = capsys.readouterr().err
    assert "traces.json: it holds traces without their observations" in error
    assert error.endswith("observations?traceId=ID\n")


def test_reads_compressed_files(folder: Path):
    (folder / "run.jsonl.gz").write_bytes(gzip.compress(Path(write("run.jsonl", shop_run())).read_bytes()))
    assert ended("run.jsonl.gz", "-o", "report.html") == 0
    assert ended("run.jsonl", "-o", "other.html") == 0
    assert (folder / "report.html").read_text() == (folder / "other.html").read_text()


def test_several_files_make_one_page(folder: Path):
    first = write("1.jsonl", [run_row(command="first"), case_row("test_a")])
    second = write("2.jsonl", [run_row(command="second"), case_row("test_b", outcome="failed", message="it broke")])
    assert ended(first, second, "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    assert "1 passed" in page
    assert "it broke" in page
    assert "2 runs" in page
    assert "pytest first" not in page


AGAIN = "2026-11-27T13:00:00+00:00"


def repeated(outcome: str = "failed", **fields: Any) -> list[str]:
    """Files of a run and of one that repeats a test of it, and has one more."""
    first = [
        run_row(incomplete=["the worker gw1 has crashed"]),
        case_row("test_a", outcome=outcome, message="it broke", failure="E it broke", observations=1, **fields),
        observation_row(0, test="test_a", name="first"),
        finding_row(test="test_a"),
        case_row("test_b"),
        observation_row(1, test="test_b", name="kept"),
    ]
    second = [
        run_row(started=AGAIN),
        case_row("test_a", observations=1),
        observation_row(0, test="test_a", name="second"),
        case_row("test_c"),
    ]
    return [write("1.jsonl", first), write("2.jsonl", second)]


@pytest.mark.parametrize("order", [1, -1])
def test_of_a_test_that_ran_in_two_files_the_run_that_began_last_counts(
    folder: Path, capsys: pytest.CaptureFixture[str], order: int
):
    assert ended(*repeated()[::order], "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    tests = {test["test"]: test for test in index(page)["tests"]}
    assert list(tests) == (["test_b", "test_a", "test_c"] if order == 1 else ["test_a", "test_c", "test_b"])
    assert (tests["test_a"]["outcome"], tests["test_a"]["findings"]) == ("passed", {})
    trees = [one["tree"] for block in blocks(page, "tree") for one in block]
    names = [tree["texts"][name] for tree in trees for name in tree["name"]]
    assert sorted(names) == ["kept", "second"]
    assert "it broke" not in page
    note = "1 test ran in several runs, and the run that began last counts: test_a (failed in another)"
    assert f"Not all is here: {note}" in page
    assert "Not all is here: 1.jsonl: the worker gw1 has crashed" in page
    assert capsys.readouterr().err == f"{note}\n"


def test_a_run_that_was_repeated_as_a_whole_has_nothing_more_to_say(folder: Path):
    first, second = repeated()
    write(second, [run_row(started=AGAIN), case_row("test_a"), case_row("test_b")])
    assert ended(first, second, "-o", "report.html") == 0
    assert "gw1" not in (folder / "report.html").read_text()


def test_a_file_that_is_named_twice_is_read_once(folder: Path, capsys: pytest.CaptureFixture[str]):
    _, second = repeated()
    (folder / "link.jsonl").symlink_to(second)
    assert ended(second, f"./{second}", "link.jsonl", "-o", "report.html") == 0
    assert "runs" not in capsys.readouterr().err
    assert "2 runs" not in (folder / "report.html").read_text()


def test_images_of_several_files_are_there_once_and_up_to_a_size(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def media(test: str, id_: str) -> dict[str, Any]:
        content = {"content_type": "image/png", "content": "AAAA", "size": 3, "left_out": ""}
        return {"kind": "media", "test": test, "fault": None, "id": id_, **content}

    monkeypatch.setattr(sent_images, "MOST", 7)
    # Of all tests of a run that have sent it, the first one has it: here one that does not count.
    first, second = repeated()
    rows = [json.loads(line) for line in Path(first).read_text().splitlines()]
    write(first, [*rows, media("test_a", "one"), media("test_b", "two")])
    rows = [json.loads(line) for line in Path(second).read_text().splitlines()]
    write(second, [*rows, media("test_a", "one"), media("test_c", "three")])
    assert ended(first, second, "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    known = index(page)["media"]
    assert [known[id_].get("number") for id_ in ("one", "two", "three")] == [0, 1, None]
    assert known["three"]["why"] == "the images of the run have more than 16 MiB"


def test_shards_that_were_compared_each_say_it(folder: Path):
    def shard(number: int, missing: list[str]) -> str:
        test = f"test_{number}"
        rows = [
            run_row(compared=compared(sentence=f"sentence {number}", added=[[test, None]], missing=missing)),
            case_row(test),
        ]
        return write(f"{number}.jsonl", rows)

    files = [shard(1, ["test_2", "test_gone"]), shard(2, ["test_1", "test_gone"])]
    assert ended(*files, "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    assert "Compared with main.jsonl" in page
    assert "<p>1.jsonl: sentence 1; 2.jsonl: sentence 2</p>" in page
    # A test of another shard is not missing.
    assert "1 test of the earlier run did not run" in page
    assert all(test["added"] for test in index(page)["tests"])


def test_what_can_be_read_only_once_can_be_one_of_several(folder: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = repeated()
    packed = gzip.compress(Path(second).read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed))))
    reader, writer = os.pipe()
    os.write(writer, Path(first).read_bytes())
    os.close(writer)
    assert ended("-", f"/dev/fd/{reader}", "-o", "report.html") == 0
    os.close(reader)
    assert {test["test"] for test in index((folder / "report.html").read_text())["tests"]} == {
        "test_a",
        "test_b",
        "test_c",
    }


def test_traces_and_runs_can_be_on_one_page(folder: Path):
    body = (ROOT / "tests" / "golden" / "nested.otlp.bin").read_bytes()
    (folder / "incident.bin").write_bytes(body)
    assert ended("incident.bin", *repeated(), "-o", "report.html") == 0
    outcomes = [test["outcome"] for test in index((folder / "report.html").read_text())["tests"]]
    assert sorted(outcomes) == ["passed", "passed", "passed", "recorded"]


def test_reads_the_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch):
    data = Path(write("run.jsonl", shop_run())).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    assert ended("-", "-o", "report.html") == 0
    assert "TreeMismatch: 2 differences" in (folder / "report.html").read_text()


def test_shows_traces_that_were_recorded(folder: Path):
    body = (ROOT / "tests" / "golden" / "nested.otlp.bin").read_bytes()
    (folder / "incident.bin").write_bytes(gzip.compress(body))
    assert ended("incident.bin", "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    observations = decode_otlp(body)
    assert len([row for block in blocks(page, "details") for row in block]) == len(observations)
    assert {test["outcome"] for test in index(page)["tests"]} == {"recorded"}
    assert {test["test"].rpartition(" ")[2] for test in index(page)["tests"]} == {
        one.trace_id[:8] for one in observations
    }


@pytest.mark.slow
def test_runs_as_a_module(folder: Path):
    command = [sys.executable, "-m", "pytest_langfuse.report", write("run.jsonl", shop_run()), "-o", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "<!doctype html>" in done.stdout


def test_what_nobody_may_write_to_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    os.mkfifo(folder / "run.jsonl")
    assert ended("run.jsonl", "-o", "report.html") == 2
    assert capsys.readouterr().err.endswith("'run.jsonl' can't be read: it is a named pipe, not a file\n")
    monkeypatch.setattr(sys, "stdin", None)
    assert ended("-", "-o", "report.html") == 2
    assert capsys.readouterr().err.endswith("'-' can't be read: it is closed\n")


def damaged(folder: Path) -> str:
    whole = gzip.compress(json.dumps(run_row()).encode() * 100)
    (folder / "cut.jsonl").write_bytes(whole[:-20])
    return "cut.jsonl"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "run.jsonl is empty"),
        (b"{}\n", "run.jsonl: "),
        (b"\n[1]\n", "run.jsonl has no traces"),
        (b'{"kind": "run"}\n{"kind": "te', "run.jsonl: line 2 is not a line of --langfuse-json"),
        (b'{"kind": 5}\n', "run.jsonl: line 1 is not a line of --langfuse-json"),
        (b"[" * 100_000, "run.jsonl: "),
        (b"\xff\xfe\x00", "run.jsonl: "),
        (
            b'{"kind": "run"}\n{"kind": "run"}\n',
            "run.jsonl: line 2 begins a second run; give each run a file of its own",
        ),
        (b'{"kind": "run", "schema": 2}\n', "run.jsonl: line 1: the lines are of schema 2, this version reads 1"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, problem: str
):
    (folder / "run.jsonl").write_bytes(content)
    (folder / "report.html").touch()
    assert ended("run.jsonl", "-o", "report.html") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"python -m pytest_langfuse.report: {problem}")
    assert error.count("\n") == 1
    assert (folder / "report.html").read_text() == ""
    assert {path.name for path in folder.iterdir()} == {"run.jsonl", "report.html"}


def test_a_file_that_can_not_be_read_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str]):
    for name, problem in (("gone.jsonl", "No such file"), (".", "Is a directory"), (damaged(folder), "is damaged")):
        assert ended(name, "-o", "report.html") == 2
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("output", ["gone/report.html", ".", "report.html/x"])
def test_a_page_that_can_not_be_written_is_status_1(folder: Path, capsys: pytest.CaptureFixture[str], output: str):
    (folder / "report.html").touch()
    assert ended(write("run.jsonl", [run_row()]), "-o", output) == 1
    error = capsys.readouterr().err
    assert f"{output!r} can't be written: " in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("arguments", [(), ("run.jsonl",), ("-o", "report.html"), ("--nonsense",)])
def test_bad_arguments_are_status_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    assert ended(*arguments) == 2
    assert "usage: python -m pytest_langfuse.report" in capsys.readouterr().err


def test_help_says_what_and_how(capsys: pytest.CaptureFixture[str]):
    assert ended("--help") == 0
    text = capsys.readouterr().out
    assert "python -m pytest_langfuse.report run.jsonl -o report.html" in text
    assert "Exit status: 0" in text


def test_secrets_of_a_foreign_file_are_redacted(folder: Path):
    key = "sk-lf-" + "1f5a0c3e-8b2d-4e6f-9a7b-3c1d5e7f9a0b"
    rows = [
        run_row(command=f"--key={key}"),
        case_row(outcome="failed", message=key, failure=f"before {key} after"),
        observation_row(0, name=key, input={"messages": [{"role": "user", "content": key}]}, attributes={"a": key}),
    ]
    assert ended(write("run.jsonl", rows), "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    assert key not in page
    assert page.count("[redacted: ") == 3
    text = json.dumps([blocks(page, "details"), blocks(page, "tree")])
    assert key not in text
    assert text.count("[redacted: ") == 5


def test_recorded_traces_are_checked_by_the_rules(folder: Path):
    def codes(*options: str) -> set[str]:
        assert ended("incident.bin", "-o", "report.html", *options) == 0
        tests = index((folder / "report.html").read_text())["tests"]
        return {code for test in tests for code in test["findings"]}

    (folder / "incident.bin").write_bytes((ROOT / "tests" / "golden" / "foreign_exported.otlp.bin").read_bytes())
    assert codes() == {"LF007"}
    page = (folder / "report.html").read_text()
    # With its page, and at its observation.
    assert '<details id="rule-LF007">' in page
    [[opened]] = blocks(page, "tree")
    [finding] = opened["findings"]
    assert finding["id"] in opened["tree"]["id"]
    assert codes("--ignore", "LF006,LF007") == codes("--select", "LF006") == set()


def test_a_trace_in_two_files_is_one(folder: Path):
    def span(id_: str, name: str, parent: str | None = None) -> dict[str, Any]:
        times = {"startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": "1700000001000000000"}
        above = {} if parent is None else {"parentSpanId": parent}
        scope = {"key": "langfuse.observation.type", "value": {"stringValue": "span"}}
        return {"traceId": "1" * 32, "spanId": id_, "name": name, "attributes": [scope], **times, **above}

    def body(file: str, *spans: dict[str, Any]) -> str:
        scope = {"scope": {"name": "langfuse-sdk"}, "spans": list(spans)}
        (folder / file).write_text(json.dumps({"resourceSpans": [{"scopeSpans": [scope]}]}))
        return file

    root, child = span("1" * 16, "root"), span("2" * 16, "child", "1" * 16)
    files = [body("1.json", child), body("2.json", root, child)]
    assert ended(*files, "-o", "report.html") == 0
    page = (folder / "report.html").read_text()
    [trace] = index(page)["tests"]
    assert trace["observations"] == 2
    names = [name for block in blocks(page, "tree") for one in block for name in one["tree"]["name"]]
    assert len(names) == 2
    # What the rules find in both files together, and in none of them alone.
    late = span("3" * 16, "late", "1" * 16) | {"endTimeUnixNano": "1700000009000000000"}
    files = [body("1.json", root), body("2.json", late)]
    for given, found in ((files, ["LF028"]), (files[:1], []), (files[1:], [])):
        assert ended(*given, "-o", "report.html", "--select", "LF028") == 0
        [trace] = index((folder / "report.html").read_text())["tests"]
        assert list(trace["findings"]) == found


def test_own_secrets_of_recorded_traces_are_left_out(folder: Path):
    (folder / "incident.bin").write_bytes((ROOT / "tests" / "golden" / "nested.otlp.bin").read_bytes())
    name = decode_otlp((folder / "incident.bin").read_bytes())[0].name
    assert ended("incident.bin", "-o", "report.html", "--option", f"LF010.pattern.name={name}") == 0
    page = (folder / "report.html").read_text()
    assert name not in str([index(page), blocks(page, "tree"), blocks(page, "details")])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--select", "LF99"), "'LF99' is not the code of a rule"),
        (("--option", "LF010.pattern.x=("), "LF010.pattern.x: ( is not a regular expression"),
    ],
)
def test_wrong_rules_are_one_line(capsys: pytest.CaptureFixture[str], option: tuple[str, str], message: str):
    assert ended(write("run.jsonl", shop_run()), "-o", "report.html", *option) == 2
    assert message in capsys.readouterr().err


WRONG: dict[str, Any] = {
    "tokens": {"a": 1},
    "cost": True,
    "id": None,
    "tags": "x",
    "start": 1.5,
    "models": None,
    "value": [],
}


@pytest.mark.parametrize("field", WRONG)
def test_a_value_of_a_wrong_type_is_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str], field: str):
    rows = [run_row(), case_row(), observation_row(0), score_row()]
    changed = [{**row, field: WRONG[field]} if field in row else row for row in rows[1:]]
    line, row = next((at, row) for at, row in enumerate(changed, 2) if field in row and row[field] == WRONG[field])
    assert ended(write("run.jsonl", [rows[0], *changed]), "-o", "report.html") == 2
    message = f"run.jsonl: line {line}: {field!r} of the {row['kind']} is {WRONG[field]!r}"
    assert capsys.readouterr().err == f"python -m pytest_langfuse.report: {message}\n"
    assert not (folder / "report.html").exists()


def test_the_page_takes_no_type_that_a_comparison_refuses(folder: Path):
    rows = [run_row(), case_row(), observation_row(0)]
    refused = 0
    for at, row in enumerate(rows[1:], 1):
        for field in set(row) - {"kind"}:
            for odd in (None, True, 5, -1.5, "text", [], {}):
                name = write("run.jsonl", [*rows[:at], {**row, field: odd}, *rows[at + 1 :]])
                try:
                    ComparedRun.of_file(Path(name))
                except BadComparison as error:
                    if "is not whole" in str(error):
                        # Of no type: lines are missing, which a page can show.
                        continue
                    refused += 1
                    with pytest.raises(BadRowFile), RowFile(name) as file:
                        list(file.rows())
    assert refused > 100


def test_fields_and_kinds_of_later_versions_are_passed_over():
    rows = [run_row(), case_row(later={"a": 1}), {**finding_row(), "later": None}, {"kind": "later", "test": 5}]
    assert ended(write("run.jsonl", rows), "-o", "report.html") == 0


def test_nothing_but_a_page_is_replaced(folder: Path, capsys: pytest.CaptureFixture[str]):
    name = write("run.jsonl", shop_run())
    (folder / "link.html").symlink_to(name)
    (folder / "hard.html").hardlink_to(folder / name)
    (folder / "app.py").write_text("import os\n")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for output, problem in (
        (name, f"is the input '{name}'; name another file for the page"),
        (f"./{name}", f"is the input '{name}'; name another file for the page"),
        ("link.html", f"is the input '{name}'; name another file for the page"),
        ("hard.html", f"is the input '{name}'; name another file for the page"),
        ("app.py", "holds something else, which would be lost; name another file, or delete it"),
        (".", "is a directory; name a file in it"),
        ("gone/report.html", "is in a directory that does not exist"),
    ):
        assert ended(name, "-o", output) == 1
        why = f"'{output}' can't be written: it {problem}"
        assert capsys.readouterr().err == f"python -m pytest_langfuse.report: {why}\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [ended(name, "-o", "report.html") for _ in range(2)] == [0, 0]


def test_a_hyphen_is_the_standard_output(folder: Path):
    command = [sys.executable, "-m", "pytest_langfuse.report", write("run.jsonl", shop_run()), "-o", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT, cwd=folder)
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n") or done.stdout.endswith("</html>")
