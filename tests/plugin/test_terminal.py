"""Runs on a real terminal, and on what is none."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from pytest_langfuse.expect.text.cells import cells

ESCAPES = re.compile(r"\x1b\[[0-9;]*[mK]")
SUITE = """
    import pytest
    from app import answer

    @pytest.mark.parametrize("number", range(3))
    def test_fine(number):
        answer("how long can I return it, 日本語? " * 3)

    def test_bad():
        answer("why?")
        assert False
"""


def on_terminal(app: pytest.Pytester, *arguments: str, columns: int = 80, **variables: str) -> str:
    """Run pytest on a terminal of so many columns; return all that it writes."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    left_out = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "CI", "BUILD_NUMBER")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    env |= {"TERM": "xterm", "PYTHONPATH": str(app.path), **variables}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    with subprocess.Popen(command, cwd=app.path, env=env, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        written = b""
        while True:
            try:
                part = os.read(master, 65_536)
            except OSError:  # Linux: nobody has the terminal open any more
                break
            if not part:
                break
            written += part
    os.close(master)
    assert process.returncode in {0, 1}
    return written.decode()


def section(text: str) -> list[str]:
    """The lines of the first section with a trace, durations apart."""
    lines = text.partition(" Langfuse trace -")[2].replace("\r\n", "\n").splitlines()
    shown = lines[1 : next(index for index, line in enumerate(lines) if re.match(r"langfuse: |-+ ", line))]
    return [re.sub(r"#\s+[\d.]+ (µs|ms|s)", "# TIME", line) for line in shown]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, 120])
def test_a_trace_fits_the_terminal_in_colour(app: pytest.Pytester, columns: int) -> None:
    app.makepyfile(SUITE)
    lines = section(on_terminal(app, "--langfuse-capture", columns=columns))
    assert any(line.startswith("  \x1b[36mgeneration\x1b[0m \x1b[1mllm\x1b[0m") for line in lines)
    assert any(line.endswith("\x1b[0m") and "5 tok" in line for line in lines)
    plain = [ESCAPES.sub("", line) for line in lines]
    # More than the 80 columns of what is not a terminal.
    assert 0.7 * columns < max(map(cells, plain)) <= columns
    # The controller prints what a worker writes for its terminal.
    in_worker = section(on_terminal(app, "--langfuse-capture", "-n1", columns=columns))
    assert [line.replace(" ", "") for line in in_worker] == [line.replace(" ", "") for line in lines]


@pytest.mark.slow
def test_no_color_on_a_terminal(app: pytest.Pytester) -> None:
    app.makepyfile(SUITE)
    assert "\x1b" not in "".join(section(on_terminal(app, "--langfuse-capture", NO_COLOR="1")))


@pytest.mark.parametrize(
    ("variable", "options", "colour"),
    [
        ("", [], False),
        ("", ["--color=yes"], True),
        ("FORCE_COLOR=1", [], True),
        ("FORCE_COLOR=1", ["--color=no"], False),
        ("PY_COLORS=1", [], True),
        ("NO_COLOR=1", ["--color=yes"], False),
    ],
)
def test_colour_is_where_pytest_has_it(
    app: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, options: list[str], colour: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(*variable.split("="))
    monkeypatch.setenv("COLUMNS", "100")
    app.makepyfile(SUITE)
    lines = section(app.runpytest("--langfuse-capture", "-k", "bad", *options).stdout.str())
    assert ("\x1b[" in "".join(lines)) == colour
    # Without a terminal, COLUMNS is the width.
    assert 80 < max(cells(ESCAPES.sub("", line)) for line in lines) <= 100


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], pytest.param(["-p", "no:logging"], marks=pytest.mark.exhaustive)])
def test_progress_is_one_line_that_is_rewritten(app: pytest.Pytester, options: list[str]) -> None:
    app.makeini("[pytest]\nlangfuse_max_slowdown = 60\n")
    app.makepyfile(SUITE)
    written = on_terminal(app, "--langfuse-outage=refused,http_401", "-rf", *options, columns=70)
    plain = ESCAPES.sub("", written)
    (line,) = [line for line in plain.splitlines() if "Langfuse outage" in line.rpartition("\r")[2]][-1:]
    states = [state.rstrip() for state in re.split("[\r\n]+", plain) if state.startswith("Langfuse outage")]
    assert states[0] == "Langfuse outage 1 of 2: refused, 0 of 8 tests"
    assert states[-1] == "Langfuse outage 2 of 2: http_401, 8 of 8 tests, 2 failed"
    assert "Langfuse outage 2 of 2: http_401, 4 of 8 tests, 1 failed" in states
    assert len(states) == len(set(states))
    assert max(map(len, states)) < 70
    # All of them are one line, without letters of pytest; its summaries are as ever.
    assert line.rstrip() == states[-1]
    assert not re.search(r"^\S+\.py [.F]", plain, re.MULTILINE)
    assert plain.count("FAILED ") == 2
    assert "2 failed, 6 passed" in plain
