"""The observations of a run, read back from the file of `--langfuse-json`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pytest_langfuse import Observations
from pytest_langfuse.recording import DecodeError
from pytest_langfuse.recording.sources.json_lines import is_run, read_run
from pytest_langfuse.rules.__main__ import main

RUN = {"kind": "run", "schema": 1, "rules": []}
TEST = {"kind": "test", "test": "test_it.py::test_a"}
OBSERVATION = {
    "kind": "observation",
    "test": "test_it.py::test_a",
    "trace": "1" * 32,
    "id": "2" * 16,
    "parent": None,
    "name": "llm",
    "type": "generation",
    "level": "DEFAULT",
    "status": "",
    "start": 1_700_000_000_000_000,
    "duration": 0.25,
    "input": "x" * 20_000,
    "output": {"a": 1},
    "metadata": {},
    "model": "gpt-4o",
    "model_parameters": {},
    "usage": {"input": 3, "total": 3},
    "cost": {"total": 0.5},
    "cost_estimated": False,
    "user": "u-1",
    "session": "",
    "tags": ["t"],
    "environment": "default",
    "version": "",
    "release": "",
    "prompt": "greeting v3",
    "trace_name": "",
    "process": "",
    "thread": "MainThread",
    "place": "",
    "exported": True,
    "reason": "",
    "detail": "",
    "scope": "langfuse-sdk",
    "otel_status": "UNSET",
    "resource": {},
    "attributes": {"langfuse.observation.input": "x" * 10_000 + "… [10,000 more characters]"},
}


def text(*rows: dict) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def test_fields() -> None:
    (one,) = read_run(text(RUN, TEST, OBSERVATION)).source().observations()
    assert (one.name, one.type, one.model, one.user_id, one.session_id) == ("llm", "generation", "gpt-4o", "u-1", None)
    assert (one.prompt_name, one.prompt_version, one.tags) == ("greeting", 3, ["t"])
    assert (one.usage, one.cost, one.output, one.is_root) == ({"input": 3, "total": 3}, {"total": 0.5}, {"a": 1}, True)
    assert one.duration == 0.25
    # What the line has cut is whole again.
    assert one.attributes["langfuse.observation.input"] == one.input == "x" * 20_000


def test_an_estimate_is_not_a_cost_that_was_sent() -> None:
    (one,) = read_run(text(RUN, OBSERVATION | {"cost_estimated": True})).source().observations()
    assert one.cost == {}


def test_what_is_missing_and_scores() -> None:
    lost = OBSERVATION | {"id": "3" * 16, "exported": False, "reason": "lost", "detail": "Langfuse was away"}
    later = OBSERVATION | {"id": "4" * 16, "exported": False, "reason": "of a later version", "detail": "so it is"}
    score = {"kind": "score", "test": TEST["test"], "trace": "1" * 32, "name": "good", "value": 1.0}
    unknown = {"kind": "of a later version", "x": 1}
    source = read_run(text(RUN, TEST, OBSERVATION, lost, later, score, unknown)).source()
    assert [one.id for one in source.observations()] == ["2" * 16]
    assert [(item.reason, item.detail) for item in source.unexported()] == [
        ("dropped", "Langfuse was away"),
        ("dropped", "so it is"),
    ]
    assert [(one.name, one.value) for one in source.scores()] == [("good", 1.0)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b'{"kind": "run", "schema": 1}\n{', "line 2 is not a line of --langfuse-json"),
        (b'{"kind": "run", "schema": 1}\n\n[1]', "line 3 is not a line of --langfuse-json"),
        (b'{"kind": "run", "schema": 1}\n{"kind": 1}', "line 2 is not a line of --langfuse-json"),
        (text({"kind": "run", "schema": 2}), "line 1: the lines are of schema 2, this version reads 1"),
        (text(RUN, TEST, RUN, TEST), "line 3 begins a second run; give each run a file of its own"),
        (text({"kind": "outage"}, RUN), "line 2 begins a second run; give each run a file of its own"),
        (text(RUN, TEST, TEST), "line 3: the test 'test_it.py::test_a' is there twice; give each run a file"),
        (text(RUN, OBSERVATION | {"start": "now"}), "line 2: 'start' of the observation is 'now'"),
        (text(RUN, OBSERVATION | {"start": 10**30}), "line 2: 'start' of the observation is 1000*"),
        (text(RUN, OBSERVATION | {"duration": 1e30}), "line 2: 'duration' of the observation is 1e+30"),
        (text(RUN, OBSERVATION | {"tags": None}), "line 2: 'tags' of the observation is None"),
        (text(RUN, {"kind": "score", "name": "x"}), "line 2: the score 'x' has the value None"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, rows: bytes, message: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(rows)
    with pytest.raises(DecodeError) as error:
        Observations.from_file(path)
    shown = str(error.value).removeprefix(f"{path}: ")
    assert shown.startswith(message.removesuffix("*"))
    assert "\n" not in shown


def test_a_test_under_several_faults_is_there_once_for_each() -> None:
    tests = [TEST | {"fault": fault} for fault in (None, "hang", "refused")]
    assert len(read_run(text(RUN, *tests)).of("test")) == 3


def test_other_files_are_none() -> None:
    assert not is_run(b'{"kind": "x"}')
    assert not is_run(b'{"resourceSpans": []}')
    assert is_run(b'  {"kind": "outage", "test": "x"}')


def test_a_test_of_a_run_is_what_it_was_live(app: pytest.Pytester) -> None:
    app.makepyfile(
        test_it="""
        from pathlib import Path
        from app import answer, langfuse

        def test_a(langfuse_spans):
            answer("why?")
            langfuse.create_score(name="good", value=1.0, trace_id=langfuse_spans.one("generation llm").trace_id)
            Path("live.txt").write_text(str(langfuse_spans))

        def test_b():
            answer("and now?")
        """
    )
    app.runpytest("--langfuse-json=run.jsonl").assert_outcomes(passed=2)
    path = app.path / "run.jsonl"
    (app.path / "run.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    for read in (path, app.path / "run.jsonl.gz"):
        observations = Observations.from_file(read, test="test_it.py::test_a")
        assert str(observations) == (app.path / "live.txt").read_text()
        observations.assert_tree("span answer\n  retriever search\n  generation llm usage.total=5\nscore good value=1")
    assert len(Observations.from_file(path)) == 6
    with pytest.raises(LookupError, match=r"no test 'test_it\.py::test_c', did you mean 'test_it\.py::test_"):
        Observations.from_file(path, test="test_it.py::test_c")


def test_a_file_of_something_else_has_no_tests(tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    path.write_text('{"resourceSpans": []}')
    with pytest.raises(LookupError, match="is not a file of --langfuse-json, so it has no tests"):
        Observations.from_file(path, test="x")
    with pytest.raises(TypeError, match="expected a text"):
        Observations.from_file(path, test=1)


def test_rules_that_the_run_has_not_evaluated_are(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    nameless = OBSERVATION | {"model": "", "usage": {}, "attributes": {"langfuse.observation.type": "generation"}}
    (tmp_path / "run.jsonl").write_bytes(text(RUN, TEST, nameless))
    main(["check", "run.jsonl", "--select", "LF006"])
    assert "run.jsonl: LF006 no model: 'llm'" in capsys.readouterr().out
    # Those that it has evaluated are not asked again: its own findings stand.
    (tmp_path / "run.jsonl").write_bytes(text(RUN | {"rules": ["LF006"]}, TEST, nameless))
    assert main(["check", "run.jsonl", "--select", "LF006"]) == 0
    assert capsys.readouterr().out == "0 findings in 1 run\n"


PLAIN = "test_it.py::test_a[a1B2c3D4e5F6]"
MARKED = "test_it.py::test_a[[redacted: A_TOKEN]]"


def run_of(*tests: str) -> bytes:
    rows = [row for test in tests for row in (TEST | {"test": test}, OBSERVATION | {"test": test, "name": test})]
    return text(RUN, *rows)


@pytest.mark.parametrize(
    ("tests", "asked", "found"),
    [
        ((MARKED, "test_it.py::test_b"), PLAIN, MARKED),
        ((MARKED, "test_it.py::test_b"), MARKED, MARKED),
        ((MARKED, PLAIN), PLAIN, PLAIN),
        ((MARKED, f"{MARKED} (2)"), f"{MARKED} (2)", f"{MARKED} (2)"),
        ((MARKED, f"{MARKED} (2)"), MARKED, MARKED),
    ],
)
def test_a_test_is_found_by_its_id_though_a_part_is_redacted(
    tmp_path: Path, tests: tuple[str, ...], asked: str, found: str
) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(run_of(*tests))
    assert Observations.from_file(file, test=asked).one("generation *").name == found


def test_a_test_is_found_by_what_is_redacted_here_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.jsonl"
    other = MARKED.replace("A_TOKEN", "B_TOKEN")
    file.write_bytes(run_of(MARKED, other))
    with pytest.raises(
        LookupError, match=r"the run has 2 tests that .* may be, since a part of their ids is redacted;"
    ):
        Observations.from_file(file, test=PLAIN)
    monkeypatch.setenv("B_TOKEN", "a1B2c3D4e5F6")
    assert Observations.from_file(file, test=PLAIN).one("generation *").name == other
    file.write_bytes(run_of(MARKED, other, f"{other} (2)"))
    with pytest.raises(LookupError, match=r"the run has 2 tests .*B_TOKEN.*, .*B_TOKEN.* \(2\)'"):
        Observations.from_file(file, test=PLAIN)
    with pytest.raises(LookupError, match=r"the run has no test .*, did you mean"):
        Observations.from_file(file, test="test_it.py::test_a[short]")
