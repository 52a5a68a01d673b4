"""The files that a run writes: no file of anybody else is lost by them, nor the last one of a run that does not end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pytest_langfuse.output_file import OutputFile
from pytest_langfuse.report import file_beginnings
from pytest_langfuse.report.page.html_page import html_of
from tests.helpers.json_lines import lines_of

LIMIT = 60
TEST = """
    import pathlib
    from app import answer

    def test_it():
        pathlib.Path("ran").touch()
        answer("why?")
"""


@pytest.fixture
def suite(app: pytest.Pytester) -> pytest.Pytester:
    app.makepyfile(test_it=TEST)
    return app


def names_of(folder: Path) -> set[str]:
    """The files, without what each run of pytest leaves."""
    others = ("cache", "runpytest-")
    names = {path.name for path in folder.iterdir() if not any(one in path.name for one in others)}
    return names - {"ran", "stdout", "stderr"}


def refusal(suite: pytest.Pytester, *options: str) -> str:
    """The line with which a run is refused before its first test."""
    result = suite.runpytest("-p", "no:randomly", *options)
    assert (result.ret, (suite.path / "ran").exists()) == (pytest.ExitCode.USAGE_ERROR, False)
    (line,) = filter(None, result.stderr.lines)
    return line.removeprefix("ERROR: ")


LOST = "holds something else, which would be lost; name another file, or delete it"


def test_a_file_of_anybody_else_is_not_replaced(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_a="def test_a(): pass")
    (suite.path / "pyproject.toml").write_text("[project]\n")
    (suite.path / "page.html").write_text("<!doctype html>\n<html lang='en'>\n")
    (suite.path / "r.jsonl").write_text('{"kind": "run", "schema": 1}\n')
    (suite.path / "link.html").symlink_to("test_a.py")
    before = {
        name: (suite.path / name).read_bytes() for name in ("test_a.py", "pyproject.toml", "page.html", "r.jsonl")
    }
    for option, name in (
        ("--langfuse-report", "test_a.py"),
        ("--langfuse-json", "test_a.py"),
        ("--langfuse-json", "pyproject.toml"),
        ("--langfuse-report", "page.html"),
        ("--langfuse-json", "page.html"),
        ("--langfuse-report", "r.jsonl"),
        ("--langfuse-report", "link.html"),
    ):
        assert refusal(suite, option, name, "test_it.py") == f"{option}: '{name}' {LOST}"
    assert {name: (suite.path / name).read_bytes() for name in before} == before


def test_an_earlier_file_of_a_run_is_replaced_and_so_is_an_empty_one(suite: pytest.Pytester) -> None:
    options = ("--langfuse-json=run.jsonl", "--langfuse-report=report.html")
    (suite.path / "run.jsonl").write_bytes(b"\xef\xbb\xbf\r\n")
    (suite.path / "report.html").touch(0o640)
    for _ in range(2):
        suite.runpytest(*options).assert_outcomes(passed=1)
        assert len(lines_of(suite.path / "run.jsonl", "run")) == 1
        assert (suite.path / "report.html").read_text().startswith("<!doctype html>")
    # It keeps its permissions, and nothing else is left.
    assert (suite.path / "report.html").stat().st_mode & 0o777 == 0o640
    assert names_of(suite.path) == {"app.py", "test_it.py", "run.jsonl", "report.html"}


def test_pages_and_lines_begin_as_those_that_may_be_replaced(suite: pytest.Pytester) -> None:
    assert "".join(html_of([])).encode().startswith(file_beginnings.PAGE)
    suite.runpytest("--langfuse-json=run.jsonl")
    assert (suite.path / "run.jsonl").read_bytes().startswith(file_beginnings.LINES)


def test_two_options_name_two_files(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    (suite.path / "old.jsonl").touch()
    (suite.path / "link.jsonl").symlink_to("old.jsonl")
    (suite.path / "hard.jsonl").hardlink_to(suite.path / "old.jsonl")
    (suite.path / "dangling").symlink_to("same")
    (suite.path / "page.html").write_text("what an earlier run wrote, or anybody")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    for one, other in (
        ("--langfuse-json=same", "--langfuse-report=./same"),
        ("--langfuse-json=dangling", "--langfuse-report=same"),
        ("--langfuse-json=page.html", "--langfuse-report=page.html"),
        ("--langfuse-json=old.jsonl", "--langfuse-report=link.jsonl"),
        ("--langfuse-json=link.jsonl", "--langfuse-report=hard.jsonl"),
        ("--langfuse-json=b", "--langfuse-rules-baseline=b"),
        ("--langfuse-report=b", "--langfuse-rules-baseline=b"),
        ("--langfuse-json=x.xml", "--junit-xml=x.xml"),
        ("--langfuse-report=x.log", "--log-file=x.log"),
        ("--langfuse-report=summary.md", "GITHUB_STEP_SUMMARY=summary.md"),
        ("--langfuse-json=/dev/stdout", "--langfuse-report=/dev/fd/1"),
    ):
        options = [option for option in (one, other) if option.startswith("--")]
        line = refusal(suite, *options)
        first, second = (option.partition("=")[0] for option in (one, other))
        assert line.startswith(f"{first} and {second} name the same file, "), line
        assert line.endswith("; name two")


def test_the_run_to_compare_with_may_be_replaced_at_the_end(suite: pytest.Pytester) -> None:
    suite.runpytest("--langfuse-json=run.jsonl")
    (suite.path / "before.jsonl").symlink_to("run.jsonl")
    result = suite.runpytest("--langfuse-json=run.jsonl", "--langfuse-compare=before.jsonl")
    result.stdout.fnmatch_lines(["with before.jsonl: none of 1 test changed*"])
    assert lines_of(suite.path / "run.jsonl", "run")[0]["compared"]["with"] == "before.jsonl"
    (suite.path / "ran").unlink()
    line = refusal(suite, "--langfuse-report=run.jsonl", "--langfuse-compare=run.jsonl")
    assert line == "--langfuse-report and --langfuse-compare name the same file, 'run.jsonl'; name two"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=["TERM", "HUP", "KILL"])
def test_a_run_that_is_killed_leaves_the_earlier_files(suite: pytest.Pytester, number: signal.Signals) -> None:
    options = ("--langfuse-json=run.jsonl", "--langfuse-report=report.html", "--langfuse-rules-baseline=base.txt")
    suite.runpytest(*options)
    (suite.path / "base.txt").unlink()
    before = {name: (suite.path / name).read_bytes() for name in ("run.jsonl", "report.html")}
    suite.makepyfile(test_dies=f"import os\ndef test_dies(): os.kill(os.getpid(), {int(number)})\n")
    result = suite.runpytest_subprocess(*options, "-p", "no:randomly", "test_it.py", "test_dies.py", timeout=LIMIT)
    assert result.ret == -number
    assert {name: (suite.path / name).read_bytes() for name in before} == before
    assert names_of(suite.path) == {"app.py", "test_it.py", "test_dies.py", *before}


def test_what_fails_while_it_is_written_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("before")

    def texts() -> object:
        yield "half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        OutputFile(path).write(texts())  # type: ignore[arg-type]
    assert path.read_text() == "before"
    assert names_of(tmp_path) == {"run.jsonl"}


def test_a_file_whose_place_nothing_can_take_is_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("before, and longer")

    def replace(self: Path, target: Path) -> None:
        raise OSError(16, "Device or resource busy")

    # As of a file that is mounted into a container.
    monkeypatch.setattr(Path, "replace", replace)
    OutputFile(path).write(["after"])
    assert path.read_text() == "after"
    assert names_of(tmp_path) == {"run.jsonl"}


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/run.jsonl")
    OutputFile(tmp_path / "link").write(["one"])
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "run.jsonl").read_text() == "one"


# -- what is no regular file -------------------------------------------------------------------------------------


def test_a_named_pipe_that_nobody_reads_is_refused(suite: pytest.Pytester) -> None:
    os.mkfifo(suite.path / "pipe")
    for option in ("--langfuse-json", "--langfuse-report"):
        line = refusal(suite, f"{option}=pipe")
        assert line == f"{option}: 'pipe' is a named pipe that nobody reads; start its reader before"


def test_a_named_pipe_has_the_file_for_its_reader(suite: pytest.Pytester) -> None:
    pipe = suite.path / "pipe"
    os.mkfifo(pipe)
    # Opened for both: there is a reader before the run begins.
    number = os.open(pipe, os.O_RDWR)
    found: list[bytes] = []
    with os.fdopen(number, "rb", buffering=0) as file:
        reader = threading.Thread(target=lambda: found.append(file.read(10_000_000)), daemon=True)
        reader.start()
        suite.runpytest("--langfuse-json=pipe").assert_outcomes(passed=1)
        reader.join(LIMIT)
    assert found[0].startswith(file_beginnings.LINES)
    assert pipe.is_fifo()


@pytest.mark.slow
def test_descriptors_and_devices_are_written_directly(suite: pytest.Pytester) -> None:
    run = f"{sys.executable} -m pytest -q -p no:randomly"
    script = f"""
        {run} --langfuse-json=>(cat > substituted.jsonl) > one.txt; echo $?
        {run} --langfuse-json=>(cat > worker.jsonl) -n 1 > two.txt; echo $?
        {run} --langfuse-json=/dev/stdout > out.txt; echo $?
        {run} --langfuse-json=/dev/null --langfuse-report=/dev/null > null.txt; echo $?
        {run} --langfuse-json=/dev/fd/3 3< test_it.py; echo $?
        wait
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=suite.path, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.stdout.split() == ["0", "0", "0", "0", "4"], done.stdout + done.stderr
    assert "ERROR: --langfuse-json: '/dev/fd/3' is not open for writing" in done.stderr
    for name in ("substituted.jsonl", "worker.jsonl"):
        assert [row["kind"] for row in lines_of(suite.path / name)][:2] == ["run", "test"]
    # The output of pytest is still there, before and after the lines.
    lines = (suite.path / "out.txt").read_text().splitlines()
    assert "[100%]" in lines[0]
    assert any(line.startswith('{"kind": "run"') for line in lines)
    assert "1 passed" in lines[-1]


def test_the_standard_output_is_not_written_by_a_hyphen(suite: pytest.Pytester) -> None:
    line = refusal(suite, "--langfuse-report=-")
    assert line == "--langfuse-report: '-' is not the name of a file; name one, such as /dev/stdout"


# -- why a run is not whole, and how it ended --------------------------------------------------------------------

ENDS = """
    import pytest

    def test_one():
        pass

    def test_two():
        {end}

    def test_three():
        pass
"""


@pytest.mark.parametrize(
    ("end", "options", "status", "incomplete"),
    [
        ("raise KeyboardInterrupt", (), 2, ["the run was interrupted at test_it.py:7"]),
        ("pytest.exit('enough', returncode=7)", (), 7, ["pytest.exit has ended the run: enough"]),
        ("pytest.exit()", (), 2, ["pytest.exit has ended the run"]),
        ("assert 0", ("-x",), 1, ["stopping after 1 failures"]),
        ("assert 0", (), 1, []),
        ("pass", (), 0, []),
    ],
)
def test_a_run_says_why_it_ended(
    app: pytest.Pytester, end: str, options: tuple[str, ...], status: int, incomplete: list[str]
) -> None:
    app.makepyfile(test_it=ENDS.format(end=end))
    result = app.runpytest("--langfuse-json=run.jsonl", "-p", "no:randomly", *options, no_reraise_ctrlc=True)
    (run,) = lines_of(app.path / "run.jsonl", "run")
    assert (result.ret, run["exit_status"], run["incomplete"]) == (status, status, incomplete)


@pytest.mark.slow
def test_a_run_whose_worker_was_interrupted_says_so(app: pytest.Pytester) -> None:
    app.makepyfile(test_it=ENDS.format(end="raise KeyboardInterrupt"))
    result = app.runpytest_subprocess("--langfuse-json=run.jsonl", "-p", "no:randomly", "-n1")
    (run,) = lines_of(app.path / "run.jsonl", "run")
    assert (result.ret, run["exit_status"]) == (2, 2)
    assert any("keyboard-interrupt" in why for why in run["incomplete"])


def test_the_exit_status_is_the_one_that_other_plugins_have_set(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="def test_it(): pass")
    app.makeconftest("def pytest_sessionfinish(session): session.exitstatus = 5\n")
    assert app.runpytest("--langfuse-json=run.jsonl").ret == 5
    assert lines_of(app.path / "run.jsonl", "run")[0]["exit_status"] == 5


def test_the_exit_status_counts_a_page_that_could_not_be_written(app: pytest.Pytester) -> None:
    app.makepyfile(test_it="import os\ndef test_it():\n    os.rmdir('gone')\n")
    app.mkdir("gone")
    result = app.runpytest("--langfuse-json=run.jsonl", "--langfuse-report=gone/report.html")
    why = "--langfuse-report: gone/report.html could not be written: No such file or directory"
    result.stdout.fnmatch_lines([why, "*1 passed*", f"langfuse: {why} (exit status 1)"])
    assert (result.ret, lines_of(app.path / "run.jsonl", "run")[0]["exit_status"]) == (1, 1)


# -- where files of the ini file are -----------------------------------------------------------------------------


def test_files_of_the_ini_file_are_beside_it(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    suite.makeini(
        "[pytest]\nlangfuse_json = run.jsonl\nlangfuse_report = report.html\nlangfuse_rules_baseline = base.txt\n"
        "langfuse_compare = main.jsonl\n"
    )
    below = suite.mkdir("below")
    monkeypatch.chdir(below)
    result = suite.runpytest("--rootdir=..", "-c", "../tox.ini", "..", "--langfuse-report=cli.html")
    result.stdout.fnmatch_lines(
        ["langfuse: not compared: ini option langfuse_compare: *main.jsonl' does not exist yet", "*report in cli.html"]
    )
    assert result.ret == 0
    assert {path.name for path in below.iterdir()} == {"cli.html", "ran"}
    assert {"run.jsonl", "base.txt"} <= names_of(suite.path)
    assert "report.html" not in names_of(suite.path)


def test_a_run_that_can_not_be_compared_yet_says_so_in_its_summary(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite.makeini("[pytest]\nlangfuse_compare = .langfuse/main.jsonl\nlangfuse_max_cost_increase = 10%\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(suite.path / "summary.md"))
    result = suite.runpytest()
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["langfuse: not compared: ini option langfuse_compare: '.langfuse/main.jsonl' does not exist yet, so *"]
    )
    assert "does not exist yet" in (suite.path / "summary.md").read_text()
    (suite.path / "ran").unlink()
    line = refusal(suite, "--langfuse-compare=.langfuse/main.jsonl")
    assert line == "--langfuse-compare: '.langfuse/main.jsonl' can't be read: No such file or directory"
