"""The picture docs/failure.svg: a real terminal, of the README's test when the application does not do what it says.

`make docs` draws it.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
COLUMNS = 100

#: What goes wrong in the picture: another model, and the search is called inside of the generation.
MISTAKES = (
    ('model="gpt-4o"', 'model="gpt-4o-mini"'),
    ("    found = search(question)\n", ""),
    (" as llm:\n", " as llm:\n        found = search(question)\n"),
)

COLOURS = {
    2: "#8b949e",
    31: "#ff7b72",
    32: "#7ee787",
    33: "#e3b341",
    34: "#79c0ff",
    36: "#56d4dd",
    90: "#8b949e",
    92: "#7ee787",
}
COLOURS |= {94: "#79c0ff", 96: "#56d4dd"}
FOREGROUND, BACKGROUND, BAR = "#e6edf3", "#0d1117", "#161b22"
CHARACTER, LINE, MARGIN, TOP = 8.4, 19, 18, 44
#: Durations of the trace, from run to run the same; the pattern is that of a column.
DURATIONS = ("3.1 ms", "2.9 ms", "1.2 ms")
DURATION = re.compile(r"(?<=# ) *[\d.]+ (?:µs|ms|s)\b")
ESCAPE = re.compile(r"\x1b\[([0-9;]*)m")


def code_blocks(page: str) -> dict[str, str]:
    """The blocks of a Markdown page that begin with the name of a file, by that name."""
    found = re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return dict(found)


def terminal() -> str:
    """What pytest prints, with its escape sequences."""
    durations = iter(DURATIONS)
    return DURATION.sub(lambda _: next(durations), failing_run())


def failing_run(*options: str) -> str:
    """Run the README's test when the application goes wrong, with further options; returns what pytest prints."""
    files = code_blocks((ROOT / "README.md").read_text(encoding="utf-8"))
    for right, wrong in MISTAKES:
        if right not in files["app.py"]:
            sys.exit(f"README.md: app.py has no {right!r} any more; change docs/picture.py with it")
        files["app.py"] = files["app.py"].replace(right, wrong)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANGFUSE_", "OTEL_", "PYTEST_"))}
    variables = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "pytest", "-p", "pytest_langfuse.plugin", "-p", "no:cacheprovider", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        command += ["-c", os.devnull, "--rootdir", folder, "--no-header", "-rN", "--color=yes", *options]
        done = subprocess.run(
            command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False
        )
    if done.returncode != 1:
        sys.exit(f"the test should fail, and nothing else:\n{done.stdout}{done.stderr}")
    return re.sub(r" in \d+\.\d+s", "", done.stdout).replace(folder, "").strip("\n")


def spans(line: str, state: list[int]) -> Iterator[tuple[str, str]]:
    """Pieces of a line with the SVG attributes of their colour; `state` goes on to the next line."""
    parts = ESCAPE.split(line)
    for index, part in enumerate(parts):
        if index % 2 == 0:
            if part:
                colour = next((COLOURS[code] for code in reversed(state) if code in COLOURS), None)
                yield part, (f' fill="{colour}"' if colour else "") + (' font-weight="bold"' if 1 in state else "")
        else:
            for code in map(int, filter(None, part.split(";"))):
                if code == 0:
                    state.clear()
                elif code == 39:  # noqa: PLR2004 - ECMA-48: the default foreground
                    state[:] = [one for one in state if one not in COLOURS]
                else:
                    state.append(code)


def wrapped(text: str) -> Iterator[str]:
    """The lines as a terminal shows them."""
    for line in text.splitlines():
        row, width = "", 0
        for part in re.split(r"(\x1b\[[0-9;]*m)", line):
            if part.startswith("\x1b"):
                row += part
                continue
            for character in part:
                if width == COLUMNS:
                    yield row
                    row, width = "", 0
                row, width = row + character, width + 1
        yield row


def svg(text: str) -> str:
    """The picture."""
    state: list[int] = []
    lines = list(wrapped(text))
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), TOP + LINE * len(lines) + MARGIN
    rows = []
    for number, line in enumerate(lines):
        # Browsers collapse other spaces, whatever `xml:space` says.
        kept = ((html.escape(piece).replace(" ", "\N{NO-BREAK SPACE}"), style) for piece, style in spans(line, state))
        pieces = "".join(f"<tspan{style}>{piece}</tspan>" for piece, style in kept)
        # The length keeps columns in place where the font is not one of those named below.
        length = len(ESCAPE.sub("", line)) * CHARACTER
        place = f'x="{MARGIN}" y="{TOP + LINE * (number + 1) - 6}" textLength="{length:.1f}"'
        rows.append(f'<text {place} lengthAdjust="spacingAndGlyphs">{pieces}</text>')
    dots = "".join(f'<circle cx="{x}" cy="16" r="5" fill="#484f58"/>' for x in (20, 38, 56))
    body = "\n".join(rows)
    font = "ui-monospace,SFMono-Regular,Menlo,Consolas,monospace"
    size = f'width="{width}" height="{height}"'
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>
<title>A failing test: both trees, aligned, and a sentence for each difference</title>
<rect {size} rx="8" fill="{BACKGROUND}"/>
<path d="M0 32V8a8 8 0 0 1 8-8H{width - 8}a8 8 0 0 1 8 8V32Z" fill="{BAR}"/>{dots}
<g font-family="{font}" font-size="14" fill="{FOREGROUND}">
{body}
</g>
</svg>
"""
