"""`python -m pytest_langfuse.rules check`: rules over recorded traces, in four formats."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from pytest_langfuse.outage.server import LangfuseServer
from pytest_langfuse.recording.start_place import Place
from pytest_langfuse.rules.__main__ import main
from pytest_langfuse.rules.baseline import BaselineKey
from pytest_langfuse.rules.checked import places_of, root_of
from pytest_langfuse.rules.finding import Finding
from pytest_langfuse.rules.github_annotations import annotation_lines
from pytest_langfuse.rules.rule import all_rules
from pytest_langfuse.rules.rule_set import RuleSet
from pytest_langfuse.rules.sarif import sarif
from pytest_langfuse.tracing.langfuse_internals import METADATA_IS_JSON
from tests.helpers.limited_runs import LIMIT
from tests.helpers.paths import GOLDEN, ROOT

#: All but the two of these tests: others may find something, too.
OTHERS = ["--ignore", ",".join(sorted(all_rules().keys() - {"LF006", "LF029"}))]


def row(name: str, trace: str, *, wrong: bool = False, **fields) -> dict:
    start = "2026-01-01T00:00:02Z"
    end = "2026-01-01T00:00:01Z" if wrong else "2026-01-01T00:00:03Z"
    return {
        "id": f"id-{name}",
        "traceId": trace,
        "type": "GENERATION",
        "name": name,
        "startTime": start,
        "endTime": end,
    } | fields


#: `llm` names no model (a warning), `wrong` ends before it starts (an error).
GOOD = row("llm", "t-good", model="gpt-4o")
WARNED = row("llm", "t-warned")
WRONG = row("wrong", "t-wrong", wrong=True, model="gpt-4o")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository with a folder of traces, in which the command runs."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "traces").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(folder, capsys):
    """Run the command; files of traces are given as keywords."""

    def run(*arguments: str, **files: list[dict]):
        for name, rows in files.items():
            folder.joinpath("traces", f"{name}.json").write_text(json.dumps({"observations": rows}))
        try:
            status = main(["check", *(arguments or ["traces"]), *OTHERS])
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        return SimpleNamespace(status=status, out=out, err=err, lines=out.splitlines())

    return run


# -- what counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "arguments", "status"),
    [
        ([GOOD], [], 0),
        ([WARNED], [], 0),
        ([WRONG], [], 1),
        ([WARNED], ["--select", "LF006"], 1),
        ([WARNED], ["--select", "ALL,lf006"], 1),
        ([WRONG], ["--select=LF006"], 0),
        ([WRONG], ["--ignore", "LF029 LF006"], 0),
    ],
)
@pytest.mark.parametrize("style", ["text", "json", "sarif", "github"])
def test_the_exit_status_says_whether_findings_count(check, rows, arguments, status, style):
    assert check("traces", "--format", style, *arguments, a=rows).status == status


def test_text_has_a_line_a_place_and_a_summary(check):
    result = check(a=[WARNED, GOOD], b=[WRONG])
    assert result.lines == [
        (
            "traces/b.json: LF029 ends before it starts: 'wrong' ends 1.000 s before it starts. Fix: pass end_time= in "
            "nanoseconds since 1970, as time.time_ns() has them, and after start_time=. (trace t-wrong)"
        ),
        (
            "traces/a.json: LF006 no model: 'llm' names no model, so that Langfuse computes neither tokens nor cost of "
            'it. Fix: pass model="...", when it is started or by update(). (trace t-warned)'
        ),
        "2 findings in 3 observations, 3 traces; 1 of them count",
    ]


def test_the_same_finding_in_many_traces_is_one_line(check):
    rows = [row(f"llm {number}", f"t-{number}") for number in range(5)]
    result = check(a=rows)
    assert len(result.lines) == 2
    assert (
        "'llm 0' names no model, so that Langfuse computes neither tokens nor cost of it (5 times). Fix"
        in result.lines[0]
    )
    assert result.lines[1].startswith("5 findings in 5 observations")


# -- what is read ------------------------------------------------------------------------------------------------


def test_traces_are_linked_over_the_files_of_a_folder(check):
    """`outer` has a model in another file: a generation around one that is traced itself."""
    inner = row("inner", "t", model="gpt-4o", parentObservationId="id-outer")
    assert check(a=[row("outer", "t")], b=[inner]).lines == ["0 findings in 2 observations, 1 trace"]
    assert len(check("traces/a.json").lines) == 2


def test_an_observation_in_two_files_is_one(check):
    assert check("traces/a.json", "traces", "traces/a.json", a=[WARNED], b=[WARNED]).lines[1:] == [
        "1 finding in 1 observation, 1 trace; 0 of them count"
    ]


def test_json_lines_gzip_and_export_bodies(check, folder):
    traces = folder / "traces"
    traces.joinpath("a.jsonl").write_text(f"{json.dumps(WARNED)}\n{json.dumps(WRONG)}\n")
    traces.joinpath("b.json.gz").write_bytes(gzip.compress(json.dumps([row("z", "t-z")]).encode()))
    traces.joinpath("c.otlp.bin").write_bytes((GOLDEN / "event_alone.otlp.bin").read_bytes())
    traces.joinpath("README.md").write_text("# not a trace")
    traces.joinpath(".hidden.json").write_text("not a trace")
    result = check()
    assert [line.split(":")[0] for line in result.lines[:-1]] == [
        "traces/a.jsonl",
        "traces/a.jsonl",
        "traces/b.json.gz",
    ]
    assert result.lines[-1].startswith("3 findings in 4 observations, 4 traces")
    assert result.err == "traces: 1 other file skipped\n"


def test_the_standard_input(check, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(WRONG).encode())))
    result = check("-")
    assert result.status == 1
    assert result.lines[0].startswith("stdin: LF029")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.json"], "'nowhere.json' can't be read: No such file or directory"),
        (["empty"], "'empty' has no file with traces (.json, .jsonl, *"),
        (["a\0b"], "'a\\x00b' is not the path of a file"),
        (["bad.json"], "bad.json: *"),
        (["pipe.json"], "'pipe.json' can't be read: it is a named pipe, not a file"),
        (["pipes"], "'pipes' has no file with traces (.json, .jsonl, *"),
        (["/dev/zero"], "'/dev/zero' can't be read: it is a device, not a file"),
        (["good.json", "--baseline", "pipe.json"], "--baseline: pipe.json cannot be read: it is a named pipe, not*"),
        (["-"], "the standard input can't be read: it is closed"),
        (["a\n\x1b.json"], "'a\\n\\x1b.json' can't be read: No such file or directory"),
        (["b\n\x1b.json"], "b\\n\\x1b.json: *"),
        ([".", "--since", "1h"], "*"),
        ([], "name a file, a folder or -, or traces of Langfuse by --trace or --since"),
        (["--trace", "x"], "set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY to read traces from Langfuse"),
        (["--since", "soon"], "--since: 'soon' is not a duration such as 30m, 1h or 7d"),
        (["--since", "0h"], "--since: '0h' is not a duration such as 30m, 1h or 7d"),
        (["good.json", "--select", "LF06"], "'LF06' is not the code of a rule, did you mean 'LF0*"),
        (["good.json", "--ignore", "LF06"], "'LF06' is not the code of a rule, did you mean 'LF0*"),
        (["good.json", "--option", "LF006.x=1"], "'LF006.x=1': LF006 has no option 'x'*"),
        (["good.json", "--baseline", "bad.json"], "--baseline: bad.json:1: '{' is not an entry of a baseline*"),
        (["good.json", "--baseline", "nowhere/b"], "--baseline: nowhere/b can't be written: No such file*"),
        (["good.json", "--baseline", "empty"], "--baseline: empty cannot be read: Is a directory"),
    ],
)
def test_bad_input_is_one_sentence(check, folder, arguments, message, monkeypatch):
    from fnmatch import fnmatchcase

    for name in ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", None)
    folder.joinpath("bad.json").write_text("{")
    folder.joinpath("b\n\x1b.json").write_text("{")
    # Nobody writes to them: opening one would wait for ever.
    folder.joinpath("pipes").mkdir()
    for pipe in ("pipe.json", "pipes/pipe.json"):
        os.mkfifo(folder / pipe)
    folder.joinpath("good.json").write_text(json.dumps(WARNED))
    folder.joinpath("empty").mkdir()
    if not arguments:
        arguments = ["--format", "text"]
    result = check(*arguments)
    assert result.status == 2
    assert result.out == ""
    *skipped, line = result.err.removesuffix("\n").split("\n")
    assert {one.partition(": ")[2] for one in skipped} <= {"skipped: it is a named pipe, not a file"}
    assert fnmatchcase(line, f"python -m pytest_langfuse.rules check: {message}")


def test_what_is_no_file_in_a_folder_is_skipped_with_a_line(check, folder):
    os.mkfifo(folder / "traces" / "pipe.json")
    folder.joinpath("traces", "link.jsonl").symlink_to("nowhere")
    folder.joinpath("traces", "notes.txt").write_text("")
    result = check(wrong=[WRONG])
    assert result.status == 1
    assert result.err.splitlines() == [
        "traces/link.jsonl: skipped: No such file or directory",
        "traces/pipe.json: skipped: it is a named pipe, not a file",
        "traces: 1 other file skipped",
    ]


@pytest.mark.slow
def test_streams_as_a_shell_gives_them(folder):
    folder.joinpath("wrong.json").write_text(json.dumps(WRONG))
    check = f"{sys.executable} -m pytest_langfuse.rules check"

    def run(command: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["bash", "-c", command], check=False, cwd=folder, capture_output=True, text=True, timeout=LIMIT
        )
        return done.returncode, done.stdout, done.stderr

    status, out, err = run(f"{check} <(cat wrong.json) --select LF029")
    assert (status, "LF029" in out, err) == (1, True, "")
    status, out, err = run(f"cat wrong.json | {check} /dev/stdin --select LF029")
    assert (status, "LF029" in out, err) == (1, True, "")
    assert run(f"{check} - <&-") == (
        2,
        "",
        "python -m pytest_langfuse.rules check: the standard input can't be read: it is closed\n",
    )
    assert run(f"{check} wrong.json --select LF029 >&-") == (1, "", "")
    # A note for people is nothing for the program that reads the findings.
    status, out, err = run(f"mkdir d; mkfifo d/pipe.json; cp wrong.json d; {check} d --format json 2>&-")
    assert (status, err) == (1, "")
    json.loads(out)
    if Path("/dev/full").exists():
        assert run(f"{check} wrong.json > /dev/full") == (
            2,
            "",
            "python -m pytest_langfuse.rules: the output can't be written: No space left on device\n",
        )


def body(now: datetime, name: str, span: str, *, parent: str = "", ago: float = 0.0) -> dict:
    end = int((now - timedelta(hours=ago)).timestamp() * 1e9)
    attributes = [{"key": "langfuse.observation.type", "value": {"stringValue": "generation"}}]
    scope = {"name": "langfuse-sdk"}
    spans = [
        {
            "traceId": f"{int(span, 16) // 256:032x}",
            "spanId": f"{int(span, 16):016x}",
            "parentSpanId": parent and f"{int(parent, 16):016x}",
            "name": name,
            "startTimeUnixNano": str(end - 10**9),
            "endTimeUnixNano": str(end),
            "attributes": attributes,
        }
    ]
    return {"resourceSpans": [{"scopeSpans": [{"scope": scope, "spans": spans}]}]}


@pytest.mark.slow
def test_traces_of_a_langfuse(folder):
    now = datetime.now(UTC)
    with LangfuseServer(public_key="pk-lf-1", secret_key="sk-lf-1") as server:
        for one in (
            body(now, "recent", "101"),
            body(now, "old", "201", ago=2),
            body(now, "long", "301", ago=2),
            body(now, "part of long", "302", parent="301"),
        ):
            sent = httpx.post(f"{server.url}/api/public/otel/v1/traces", json=one, auth=("pk-lf-1", "sk-lf-1"))
            assert sent.status_code == 200

        def run(*arguments: str, secret: str = "sk-lf-1"):
            environment = {
                "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
                "LANGFUSE_SECRET_KEY": secret,
                "LANGFUSE_BASE_URL": server.url,
            }
            return subprocess.run(
                [sys.executable, "-m", "pytest_langfuse.rules", "check", *arguments, *OTHERS],
                check=False,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                cwd=folder,
            )

        result = run("--since", "1h", "--select", "LF006")
        assert result.returncode == 1, result.stderr
        names = {line.split("'")[1] for line in result.stdout.splitlines()[:-1]}
        # The generation of `long` that is older than an hour is read, too. Langfuse 4 reads traces by their start.
        assert names == ({"recent", "long", "part of long"} if METADATA_IS_JSON else {"recent"})
        assert f"langfuse/{1:032x}: LF006" in result.stdout
        result = run("--trace", f"{2:032x}")
        assert result.stdout.splitlines()[-1] == "1 finding in 1 observation, 1 trace; 0 of them count"
        result = run("--trace", "f" * 32)
        assert (result.returncode, result.stdout) == (2, "")
        assert "Langfuse has no observations of trace 'fff" in result.stderr
        result = run("--trace", "f" * 32, secret="sk-lf-2")
        assert (result.returncode, result.stdout) == (2, "")
        assert "answers with status 401" in result.stderr
        assert "Traceback" not in result.stderr


# -- the baseline ------------------------------------------------------------------------------------------------


def test_a_baseline_is_written_once_and_then_only_new_findings_count(check, folder):
    result = check("traces", "--baseline", "known.txt", a=[WRONG])
    assert result.status == 0
    assert result.err == "1 entry written to known.txt; to update it, delete it and run this again\n"
    assert '["LF029", "", "", "wrong", 1]' in folder.joinpath("known.txt").read_text()
    # Recorded files are no places: the same in another file is known.
    folder.joinpath("traces", "a.json").unlink()
    more = row("wrong", "t-2", wrong=True, model="gpt-4o")
    result = check("traces", "--baseline", "known.txt", b=[more])
    assert result.status == 0
    result = check("traces", "--baseline", "known.txt", d=[row("wrong", "t-4", wrong=True, model="gpt-4o")])
    assert (result.status, result.lines) == (
        0,
        ["0 findings in 2 observations, 2 traces; 2 more in the baseline"],
    )
    result = check("traces", "--baseline", "known.txt", c=[row("new", "t-3", wrong=True, model="gpt-4o")])
    assert result.status == 1
    assert [line.split(":")[0] for line in result.lines[:-1]] == ["traces/c.json"]


# -- formats -----------------------------------------------------------------------------------------------------


def place_in(file: str, line: int) -> Place:
    namespace: dict = {}
    exec(compile("\n" * (line - 1) + "def answer(): return 1", file, "exec"), namespace)
    return Place(namespace["answer"].__code__, 0)


def found(folder, *lines: int, code: str = "LF029", known=None, name: str = "a") -> list:
    findings = [
        Finding(
            code,
            "a name",
            all_rules()[code].severity,
            "a fact",
            "a fix",
            name,
            place_in(f"{folder}/bot/a b.py", line),
            "t",
        )
        for line in lines
    ]
    return places_of(findings, RuleSet.of(), root=folder, files={}, known=known or {})


def validated(text: str) -> dict:
    from sarif_kit.validate import validation_errors

    log = json.loads(text)
    assert validation_errors(log) == []
    return log["runs"][0]


def test_sarif_is_valid_and_names_the_place_in_the_repository(folder):
    run = validated(sarif(found(folder, 7, 9, 7), RuleSet.of().rules))
    first, second = run["results"]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "bot/a%20b.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 7},
    }
    assert first["occurrenceCount"] == 2
    assert first["message"]["text"] == "a fact (2 times). Fix: a fix."
    assert (first["ruleId"], first["level"]) == ("LF029", "error")
    assert run["tool"]["driver"]["rules"][first["ruleIndex"]]["id"] == "LF029"
    assert second["locations"][0]["physicalLocation"]["region"] == {"startLine": 9}
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert ids == sorted(all_rules())
    assert run["tool"]["driver"]["rules"][ids.index("LF006")]["help"]["markdown"].startswith("# LF006: no model")


def test_fingerprints_outlive_moved_lines_and_differ_by_place(folder):
    def prints(*lines: int) -> list[dict]:
        results = validated(sarif(found(folder, *lines), RuleSet.of().rules))["results"]
        return [result["partialFingerprints"] for result in results]

    assert prints(7) == prints(70)
    first, second = prints(7, 9)
    assert first == prints(7)[0]
    # GitHub takes results of one fingerprint for one alert.
    assert first["primaryLocationLineHash"] != second["primaryLocationLineHash"]
    other = validated(sarif(found(folder, 7, name="b"), RuleSet.of().rules))["results"][0]["partialFingerprints"]
    assert other["pytestLangfuse/v1"] != first["pytestLangfuse/v1"]


def test_what_the_baseline_has_is_suppressed_in_sarif_and_not_annotated(folder):
    known = {BaselineKey("LF029", "bot/a b.py", "answer", "a"): 1}
    places = found(folder, 7, 9, known=known)
    results = validated(sarif(places, RuleSet.of().rules))["results"]
    assert [result.get("suppressions", []) for result in results] == [
        [],
        [{"kind": "external", "justification": "it is in the baseline"}],
    ]
    assert [text.partition(",title")[0] for text in annotation_lines(places)] == ["::error file=bot/a b.py,line=9"]


def test_a_check_prints_valid_sarif(check):
    result = check("traces", "--format", "sarif", a=[WARNED, WRONG])
    results = validated(result.out)["results"]
    assert [(one["ruleId"], one["level"]) for one in results] == [("LF029", "error"), ("LF006", "warning")]
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "traces/b.json".replace(
        "b", "a"
    )
    assert validated(check("traces", "--format", "sarif", "--select", "LF006", a=[GOOD]).out)["results"] == []


def test_json_has_all_that_is_known_of_a_place(check):
    result = check("traces", "--format", "json", a=[WRONG])
    document = json.loads(result.out)
    (one,) = document["findings"]
    assert {key: one[key] for key in ("code", "severity", "file", "line", "trace_id", "times", "fails", "known")} == {
        "code": "LF029",
        "severity": "error",
        "file": "traces/a.json",
        "line": 1,
        "trace_id": "t-wrong",
        "times": 1,
        "fails": True,
        "known": False,
    }
    assert document["summary"] == "1 finding in 1 observation, 1 trace; 1 of them count"


def test_annotations_are_the_worst_first_and_the_remainder_is_printed(check):
    warned = [row(f"llm {chr(97 + number)}", f"t-{number}") for number in range(12)]
    result = check("traces", "--format", "github", a=[*warned, WRONG])
    lines = result.lines
    assert lines[0].startswith("::error file=traces/a.json,line=1,title=LF029 ends before it starts::'wrong' ends")
    assert [line.split(" ")[0] for line in lines[1:11]] == ["::warning"] * 10
    assert lines[11] == "2 more, which GitHub does not show as annotations:"
    assert [line.startswith("  traces/a.json:1: LF006 no model: 'llm") for line in lines[12:14]] == [True, True]
    assert lines[14].startswith("13 findings in 13 observations, 13 traces")


def test_annotations_are_escaped(folder):
    finding = Finding("LF029", "a: b, c", "error", "50 %\n::error::x", "do", "a", None)
    (place,) = places_of([finding], RuleSet.of(), root=folder, files={"": "a,b:\nc\x1b.json"}, known={})
    assert list(annotation_lines([place])) == [
        "::error file=a%2Cb%3A%0Ac\\x1b.json,line=1,title=LF029 a%3A b%2C c::50 %25\\n::error::x. Fix: do."
    ]
    # What is not shown as an annotation is a line of the log, where a further one could be a command.
    assert list(annotation_lines([place] * 11))[-1] == (
        "  a,b:\\nc\\x1b.json:1: LF029 a: b, c: 50 %25\\n::error::x. Fix: do."
    )


def test_the_root_is_that_of_the_repository(folder):
    assert root_of(folder / "traces") == folder
    assert root_of(ROOT / "docs") == ROOT


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_sees_no_traceback(folder):
    rows = [row(f"{chr(97 + number % 26) * (1 + number // 26)} é", f"t-{number}") for number in range(2_000)]
    folder.joinpath("a.json").write_text(json.dumps(rows))
    command = f"{sys.executable} -m pytest_langfuse.rules check a.json | head -1"
    result = subprocess.run(
        command,
        check=False,
        shell=True,
        capture_output=True,
        timeout=60,
        cwd=folder,
        env={"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin:/bin"},
    )
    assert result.stdout.count(b"\n") == 1
    assert result.stderr == b""


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["explain", "--help"]])
def test_help_has_examples(capsys, arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 0
    assert "examples:\n" in capsys.readouterr().out


# -- findings of runs --------------------------------------------------------------------------------------------

APP = """
    from langfuse import Langfuse

    langfuse = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9")

    def wrong(tracer=langfuse._otel_tracer):
        tracer.start_span("wrong", start_time=2 * 10**18).end(end_time=2 * 10**18 - 10**9)

    def known():
        wrong()
        langfuse.start_observation(name="known", as_type="generation").end()
"""


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-n", "2"), marks=pytest.mark.exhaustive)], ids=["alone", "xdist"]
)
def test_findings_of_a_run_have_their_lines(pytester, capsys, workers):
    pytester.mkdir(".git")
    pytester.makepyfile(
        bot=APP, test_bot="import bot\ndef test_a(): bot.known()\ndef test_b(): bot.wrong()\ndef test_c(): pass"
    )
    pytester.path.joinpath("known.txt").write_text('["LF006", "bot.py", "known", "known", 1]\n')
    options = ("--langfuse-json=run.jsonl", "--langfuse-rules-baseline=known.txt", "-p", "no:asyncio", *workers)
    pytester.runpytest(*options).assert_outcomes(passed=3)
    capsys.readouterr()
    assert main(["check", "run.jsonl", "--format", "json", *OTHERS]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["code"], one["file"], one["line"], one["function"], one["times"], one["known"]) for one in found] == [
        ("LF029", "bot.py", 6, "wrong", 2, False),
        ("LF006", "bot.py", 10, "known", 1, True),
    ]
    assert main(["check", "run.jsonl", "--ignore=ALL"]) == 0
    capsys.readouterr()
    # The baseline of the run is that of the check.
    pytester.path.joinpath("known.txt").write_text('["LF029", "bot.py", "wrong", "wrong", 1]\n')
    assert main(["check", "run.jsonl", "--baseline", "known.txt", *OTHERS]) == 0
    assert capsys.readouterr().out == "0 findings in 1 run; 3 more in the baseline\n"


def test_a_run_in_which_nothing_was_found(pytester, capsys):
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest("--langfuse-json=run.jsonl").assert_outcomes(passed=1)
    capsys.readouterr()
    assert main(["check", "run.jsonl"]) == 0
    assert capsys.readouterr().out == "0 findings in 1 run\n"


LINE = {
    "kind": "finding",
    "code": "LF029",
    "text": "a",
    "fix": "b",
    "observation": "c",
    "file": "",
    "line": 0,
    "function": "",
    "known": False,
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(LINE) + "\n{", "line 2 is not a line of --langfuse-json"),
        (json.dumps(LINE) + "\n[]", "line 2 is not a line of --langfuse-json"),
        (json.dumps(LINE | {"line": "x"}), "line 1: 'line' of the finding is 'x'"),
        (json.dumps(LINE | {"code": "LF999"}), "line 1: 'LF999' is not the code of a rule"),
    ],
)
def test_a_damaged_line_of_a_run_is_named(check, folder, text, message):
    folder.joinpath("run.jsonl").write_text(text)
    result = check("run.jsonl")
    assert (result.status, result.err) == (2, f"python -m pytest_langfuse.rules check: run.jsonl: {message}\n")


def test_what_the_run_knew_is_known_whatever_comes_first(check, folder):
    place = {"file": "bot.py", "function": "f"}
    lines = [LINE | place | {"line": 5}, LINE | place | {"line": 9, "known": True}]
    folder.joinpath("run.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = json.loads(check("run.jsonl", "--format", "json").out)["findings"]
    assert [(one["line"], one["known"]) for one in found] == [(5, False), (9, True)]


def test_of_a_test_that_ran_in_two_runs_the_one_that_began_last_counts(check, folder):
    def run(name: str, started: str, *tests: str, findings: Sequence[str] = ()) -> None:
        rows = [
            {"kind": "run", "schema": 1, "rules": ["LF029"], "started": started},
            *({"kind": "test", "test": test, "fault": None, "outcome": "passed"} for test in tests),
            *(LINE | {"test": test, "fault": None, "file": f"{test}.py", "line": 1} for test in findings),
        ]
        folder.joinpath(name).write_text("\n".join(map(json.dumps, rows)))

    run("2.jsonl", "2026-11-27T12:00:00+00:00", "test_a", "test_b", findings=("test_a", "test_b"))
    run("1.jsonl", "2026-11-27T13:00:00+00:00", "test_a", "test_c", findings=("test_c",))
    for paths in (("1.jsonl", "2.jsonl"), ("2.jsonl", "1.jsonl"), (".",)):
        result = check(*paths, "--format", "json")
        assert sorted(one["file"] for one in json.loads(result.out)["findings"]) == ["test_b.py", "test_c.py"]
        assert result.err == "1 test ran in several runs, and the run that began last counts: test_a\n"


def test_a_file_of_two_runs_is_refused(check, folder):
    run = json.dumps({"kind": "run", "schema": 1})
    folder.joinpath("run.jsonl").write_text(f"{run}\n{json.dumps(LINE)}\n{run}\n")
    result = check("run.jsonl")
    message = "run.jsonl: line 3 begins a second run; give each run a file of its own"
    assert (result.status, result.err) == (2, f"python -m pytest_langfuse.rules check: {message}\n")


def test_a_line_without_a_place_is_shown(check, folder):
    folder.joinpath("run.jsonl").write_text(json.dumps({"kind": "outage", "test": "x"}) + "\n" + json.dumps(LINE))
    assert check("run.jsonl").lines[0] == "run.jsonl: LF029 ends before it starts: a. Fix: b."
    validated(check("run.jsonl", "--format", "sarif").out)
