"""The code blocks of the documentation."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import DOCS, ROOT

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.\w+)\n")


@dataclass(frozen=True)
class Block:
    """A block between two lines of three backticks."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}:{self.line}"

    @property
    def name(self) -> str:
        """The path of the page in the repository."""
        return self.page.relative_to(ROOT).as_posix()

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if its first line says so."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    @property
    def commands(self) -> list[str]:
        """What is typed in: after `$ `, or all lines of a script; a line that ends in a backslash goes on."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return lines

    @property
    def output(self) -> list[str]:
        """What is printed."""
        return [line for line in self.text.splitlines() if not (self.language == "console" and line.startswith("$ "))]


def pages() -> list[Path]:
    """The pages that users read."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*found, *sorted(DOCS.rglob("*.md")), *sorted(ROOT.glob("examples/*/README.md"))]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: match.start()].count("\n") + 1, match[2], textwrap.dedent(match[3]))
        for match in _BLOCK.finditer(text)
    ]
