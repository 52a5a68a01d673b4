"""Naming the parents of an observation that is below another one than expected, or below none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.matching.level import MatchedLine
from pytest_langfuse.expect.text.sentences import Numbering
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.source import Unexported


class ParentNames:
    """Says which parent an observation has and which one was expected; of one that is not there, why."""

    def __init__(self, names: Numbering, unexported: Callable[[], Sequence[Unexported]]) -> None:
        self._names = names
        self._unexported = unexported
        self._reasons: dict[tuple[str, str], Unexported] | None = None

    def difference(self, match: MatchedLine, *, numbered: bool = True) -> str:
        """Return `parent is search, expected answer`. Parents of one name are told apart by their numbers."""
        numbered = numbered or self._alike(match)
        return (
            f"parent is {self._actual(match, numbered=numbered)}, expected {self._expected(match, numbered=numbered)}"
        )

    def _actual(self, match: MatchedLine, *, numbered: bool) -> str:
        captured = match.captured
        if captured.parent is not None:
            return self._name(captured.parent, numbered=numbered)
        if not captured.parent_id:
            return _root(captured, match.under.captured if match.under is not None else None)
        reason = self.why_not_exported(captured)
        if reason is None:
            return "not captured"
        return f"{name_in_sentence(reason.observation.name)} (not exported: {reason.detail})"

    def why_not_exported(self, captured: Observation) -> Unexported | None:
        """Return what is known of the parent of `captured` if it was recorded, but not exported."""
        if self._reasons is None:
            self._reasons = {(item.observation.trace_id, item.observation.id): item for item in self._unexported()}
        return self._reasons.get((captured.trace_id, captured.parent_id or ""))

    def _expected(self, match: MatchedLine, *, numbered: bool) -> str:
        line = match.expected.parent
        if line is None or line.parent is None:
            return "none (a root)"
        if match.under is None:
            return f"another {line.name.text}, which is missing" if self._alike(match) else line.name.text
        return self._name(match.under.captured, numbered=numbered)

    def _alike(self, match: MatchedLine) -> bool:
        """Return whether its actual parent and its expected one have the same name."""
        parent, line = match.captured.parent, match.expected.parent
        return parent is not None and line is not None and line.parent is not None and line.name.matches(parent.name)

    def _name(self, observation: Observation, *, numbered: bool) -> str:
        return self._names.name(observation) if numbered else name_in_sentence(observation.name)


def _root(captured: Observation, expected: Observation | None) -> str:
    """Say what a root is in place of a child of `expected`."""
    if expected is None or expected.trace_id == captured.trace_id:
        return "none (it is a root)"
    thread = captured.record.thread
    started = f", started in thread {thread}" if thread is not None and thread != expected.record.thread else ""
    return f"none (it is a root of another trace{started})"
