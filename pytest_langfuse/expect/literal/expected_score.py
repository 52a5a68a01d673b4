"""The expected scores of a literal: `score grounded value>=0.5`."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_langfuse.expect.literal.condition import Condition
from pytest_langfuse.expect.literal.name_pattern import NamePattern, name_text
from pytest_langfuse.recording.sources.score import Score


@dataclass(slots=True, eq=False)
class ExpectedScore:
    """A `score` line: below an observation a score of it, at the first level one of the trace."""

    name: NamePattern
    conditions: tuple[Condition, ...]

    def fits(self, score: Score) -> bool:
        """Return whether `score` matches the line."""
        return self.name.matches(score.name) and not self.failing(score)

    def failing(self, score: Score) -> list[Condition]:
        """Return the conditions that `score` does not meet."""
        return [condition for condition in self.conditions if not condition.holds(score)]

    def text(self, width: int | None) -> str:
        """Return the line as written, values longer than `width` cut."""
        return " ".join(
            ["score", self.name.written, *(condition.expected_text(None, width) for condition in self.conditions)]
        )

    def captured_text(self, score: Score, width: int | None) -> str:
        """Return `score` in the words of the line."""
        words = [condition.captured_text(score, width) or "" for condition in self.conditions]
        return " ".join(["score", name_text(score.name), *filter(None, dict.fromkeys(words))])
