"""Findings in recorded traces, with what reports say about where they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_langfuse.rules.baseline import BaselineKey, key_of, relative

if TYPE_CHECKING:
    from pytest_langfuse.rules.finding import Finding
    from pytest_langfuse.rules.rule_set import RuleSet


@dataclass(frozen=True, slots=True)
class CheckedPlace:
    """A place in which a rule has found something, once or several times.

    The place is where the observation was started, if that is known, else the file in which the trace was recorded.
    """

    #: The first finding there.
    finding: Finding
    key: BaselineKey
    #: Of a file, relative to the root of the repository; of a trace that was fetched, `langfuse/ID`.
    uri: str
    line: int
    times: int
    #: Whether it counts for the exit status.
    fails: bool
    #: Whether the baseline has it.
    is_known: bool

    @property
    def text(self) -> str:
        """The finding, and how often it is there."""
        finding = self.finding
        more = "" if self.times == 1 else f" ({self.times} times)"
        return f"{finding.text}{more}. Fix: {finding.fix}."


def root_of(folder: Path) -> Path:
    """Return the root of the repository that a folder is in; the folder itself if it is in none."""
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), folder)


def places_of(
    findings: Iterable[Finding],
    rules: RuleSet,
    *,
    root: Path,
    files: Mapping[str, str],
    known: Mapping[BaselineKey, int],
) -> list[CheckedPlace]:
    """Return the places of findings, the worst first.

    `files` has for each trace id what it was recorded in. `known` is the baseline, with paths relative to `root`.
    """
    groups: dict[tuple[BaselineKey, str, int], list[Finding]] = {}
    for finding in findings:
        if (place := finding.place) is not None:
            where = relative(place.file, root), place.line
        else:
            where = files.get(finding.trace_id, "") or next(iter(files.values()), ""), 1
        groups.setdefault((key_of(finding, root), *where), []).append(finding)
    found: list[CheckedPlace] = []
    seen: dict[BaselineKey, set[tuple[str, int]]] = {}
    for (key, uri, line), group in groups.items():
        lines = seen.setdefault(key, set())
        # Recorded files say nothing of places in the application: all of them are one.
        lines.add((uri, line) if key.path else ("", 0))
        is_known = len(lines) <= known.get(key, 0)
        fails = rules.fails(group[0]) and not is_known
        found.append(CheckedPlace(group[0], key, uri, line, len(group), fails, is_known))
    return sorted(found, key=lambda one: (one.is_known, not one.fails, one.key.code, one.uri, one.line))


def entries_of(places: Sequence[CheckedPlace]) -> dict[BaselineKey, int]:
    """Return the entries of a baseline that has all of these places."""
    found: dict[BaselineKey, set[tuple[str, int]]] = {}
    for one in places:
        found.setdefault(one.key, set()).add((one.uri, one.line) if one.key.path else ("", 0))
    return {key: len(lines) for key, lines in found.items()}
