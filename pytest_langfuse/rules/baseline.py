"""A baseline: the findings that a project has accepted, so that only new ones count.

A finding is known by its rule, the file and the function that started the observation, and the observation's name;
lines and tests are left out, since they change with every commit. For each of these the file has the number of places,
so that one more in the same function is new.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_langfuse.arguments import shown
from pytest_langfuse.recording.sources.readable_file import content_of
from pytest_langfuse.rules.one_line import one_line, shortened
from pytest_langfuse.rules.rule import all_rules
from pytest_langfuse.rules.rule_set import no_rule

if TYPE_CHECKING:
    from pytest_langfuse.rules.finding import Finding

_HEAD: Final = (
    "# Findings that the rules of pytest-langfuse ignore here: rule, file, function, observation, number of places.\n"
    "# To write it anew, delete it and run all tests with --langfuse-rules-baseline.\n"
)
_UUID: Final = re.compile(r"(?<![0-9a-z])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-z])", re.IGNORECASE)
#: It begins where a word does: else a long word without a digit would be searched again from each of its letters.
_WITH_DIGIT: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]*+[0-9][0-9A-Za-z]*+")
_EXAMPLE: Final = '["LF006", "bot/app.py", "answer", "llm", 1]'


class BadBaseline(ValueError):  # noqa: N818 - reads as what happened
    """A file that is not a baseline; the message names the file and the line."""


class BaselineKey(NamedTuple):
    """Tells a finding from others. Path and function are empty where nobody noted where the observation started."""

    code: str
    #: Relative to the project, with slashes.
    path: str
    function: str
    #: The name of the observation, with `#` for ids and numbers.
    observation: str

    @property
    def fingerprint(self) -> str:
        """A short text that is the same for the same key."""
        return sha256("\0".join(self).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def __str__(self) -> str:
        where = f" in {self.function}() ({self.path})" if self.path else ""
        return one_line(f"{self.code}{f' {shortened(self.observation)!r}' if self.observation else ''}{where}")


def key_of(finding: Finding, root: Path) -> BaselineKey:
    """Return what a finding is known by; paths are relative to `root`."""
    place = finding.place
    path = "" if place is None else relative(place.file, root)
    return BaselineKey(finding.code, path, "" if place is None else place.qualname, folded(finding.observation))


def relative(file: str, root: Path) -> str:
    """Return the path of a file relative to a folder, with slashes, the same on every machine."""
    try:
        return Path(os.path.relpath(file, root)).as_posix()
    except ValueError:  # on another drive
        return Path(file).as_posix()


def folded(name: str) -> str:
    """Return a name with `#` for each id and number: `order 17` and `order 18` are one."""
    return _WITH_DIGIT.sub("#", _UUID.sub("#", name))


def read_baseline(path: Path) -> dict[BaselineKey, int]:
    """Return the number of places for each key in a baseline file.

    Raises:
        BadBaseline: the file cannot be read, or a line of it is not an entry.
    """
    try:
        lines = content_of(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise BadBaseline(f"{path} is not a baseline of rules: it is not a text in UTF-8") from None
    except OSError as error:
        raise BadBaseline(f"{path} cannot be read: {error.strerror or error}") from None
    found: dict[BaselineKey, int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            key, places = _entry(line, f"{path}:{number}")
            # A merge of two branches may leave both lines of a key.
            found[key] = max(places, found.get(key, 0))
    return found


def _entry(line: str, where: str) -> tuple[BaselineKey, int]:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    match row:
        case [str(code), str(path), str(function), str(observation), int(places)] if places is not True and places > 0:
            pass
        case _:
            raise BadBaseline(f"{where}: {shown(line)} is not an entry of a baseline such as {_EXAMPLE}")
    if code not in all_rules():
        raise BadBaseline(f"{where}: {no_rule(code)}")
    return BaselineKey(code, path, function, observation), places


def baseline_text(entries: Mapping[BaselineKey, int]) -> str:
    """Return the text of a baseline file: an entry a line, sorted."""
    rows: Iterable[tuple[Any, ...]] = ((*key, entries[key]) for key in sorted(entries))
    return _HEAD + "".join(f"{json.dumps(row)}\n" for row in rows)
