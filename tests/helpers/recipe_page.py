"""The blocks of a page of `docs/recipes` or `docs/migration`: files, mistakes in them, and what pytest prints then."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# (\S+\.\w+)\n")
#: Languages of blocks that are files, and begin with their name in a comment.
FILES = ("python", "ini", "yaml")


@dataclass(frozen=True)
class Mistake:
    """A change of a page's file, as a `diff` block, and the `text` block behind it: what pytest prints then."""

    file: str
    change: str
    printed: str

    def applied(self, files: dict[str, str]) -> dict[str, str]:
        """Return the files with the mistake in them."""
        lines = self.change.splitlines(keepends=True)
        old, new = ("".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
        assert files[self.file].count(old) == 1, f"the old lines are not once in {self.file}:\n{old}"
        return {**files, self.file: files[self.file].replace(old, new)}

    def differences(self, output: str) -> str | None:
        """Return a sentence if pytest has printed something else; `...` stands for any lines."""
        output = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
        parts = [part.strip("\n") for part in re.split(r"^ *\.\.\.\n", self.printed, flags=re.MULTILINE)]
        at = 0
        for part in filter(None, parts):
            found = output.find(f"\n{part}\n", at)
            if found < 0:
                return f"this is not printed{' after what precedes it' if at else ''}:\n{part}\n\nbut:\n{output}"
            at = found + len(part)
        return None


@dataclass(frozen=True)
class RecipePage:
    """A page, read when it is asked for."""

    path: Path

    @property
    def name(self) -> str:
        """Its folder and name, such as `recipes-flask`."""
        return f"{self.path.parent.name}-{self.path.stem}"

    @cached_property
    def blocks(self) -> list[tuple[str, str]]:
        """Language and text of each code block."""
        return _BLOCK.findall(self.path.read_text())

    @property
    def installed(self) -> list[str]:
        """The requirements of the install line, which is the page's first block."""
        language, text = self.blocks[0]
        command, *requirements = text.partition("pip install ")[1:]
        assert language == "console", f"{self.name} begins without an install line"
        assert command, f"{self.name} begins with another command: {text}"
        return shlex.split(requirements[0])

    @cached_property
    def files(self) -> dict[str, str]:
        """The texts of the files of the page, by name."""
        named = ((_NAME.match(text), text) for language, text in self.blocks if language in FILES)
        return {match[1]: text[match.end() :] for match, text in named if match}

    @property
    def tests(self) -> int:
        """The number of test functions."""
        return sum(len(re.findall(r"^ *(?:async )?def test_", text, re.MULTILINE)) for text in self.files.values())

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The `diff` blocks, each with the `text` block that follows."""
        found = []
        for (language, change), (following, printed) in pairwise([*self.blocks, ("", "")]):
            if language == "diff":
                assert following == "text", f"{self.path.name}: no output follows\n{change}"
                name = _NAME.match(change)
                assert name, f"{self.path.name}: no file is named in\n{change}"
                found.append(Mistake(name[1], change[name.end() :], printed))
        return found
