"""The expected observations of a literal: a forest of lines."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from pytest_langfuse.expect.literal.condition import Condition
from pytest_langfuse.expect.literal.expected_score import ExpectedScore
from pytest_langfuse.expect.literal.name_pattern import NamePattern
from pytest_langfuse.expect.literal.values import WIDTH
from pytest_langfuse.recording.observation import Observation

ANY_TYPE: Final = "any"


@dataclass(slots=True, eq=False)
class ExpectedLine:
    """One line of a literal, with what is below it. The root of a literal is an `ExpectedLine` that stands for no line.

    `low` and `high` are how often it must appear (`high=None`: no limit). `gaps` are the places of `...` lines among
    the children: `2` is a gap before `children[2]`.
    """

    type: str
    name: NamePattern
    own: tuple[Condition, ...] = ()
    inherited: tuple[Condition, ...] = ()
    low: int = 1
    high: int | None = 1
    line: int = 0
    #: Place among the children of `parent`.
    place: int = 0
    parent: ExpectedLine | None = None
    children: Sequence[ExpectedLine] = ()
    gaps: AbstractSet[int] = frozenset()
    #: The conditions of `*` lines and the places where they stand among the children, for showing the literal again.
    stars: tuple[tuple[int, str], ...] = ()
    count_text: str = ""
    #: Whether it may be at any depth (`>>`), and those of the children that may.
    deep: bool = False
    descendants: Sequence[ExpectedLine] = ()
    #: The `>>` lines that may have observations below it, too: it is one of them, or stands beside or below them.
    reaching: Sequence[ExpectedLine] = ()
    #: Scores of the observation, and those of its trace.
    scores: Sequence[ExpectedScore] = ()
    trace_scores: Sequence[ExpectedScore] = ()
    #: Of the root of a literal: whether it has `score` lines.
    names_scores: bool = False

    @property
    def once(self) -> bool:
        """Return whether it must appear exactly once."""
        return self.low == 1 and self.high == 1

    @property
    def label(self) -> str:
        """`generation llm`, for sentences."""
        return f"{self.type} {self.name.text}"

    @property
    def passing(self) -> Sequence[ExpectedLine]:
        """The `>>` lines whose observations, and those on the way to them, need no line among the children."""
        return (*self.descendants, *self.reaching) if self.reaching else self.descendants

    def written_before(self, index: int) -> list[str]:
        """The `*` and `...` lines that stand before a child (or after the last one)."""
        stars = [f"* {text}" for place, text in self.stars if place == index]
        return [*stars, "..."] if index in self.gaps else stars

    def fits(self, observation: Observation) -> bool:
        """Return whether `observation` matches the line, without regard to what is below it."""
        # Loops, where `all` would make two generators for each line.
        if self.type not in (ANY_TYPE, observation.type) or not self.name.matches(observation.name):
            return False
        for condition in self.own:
            if not condition.holds(observation):
                return False
        for condition in self.inherited:  # noqa: SIM110
            if not condition.holds(observation):
                return False
        return True

    def failing(self, observation: Observation) -> list[Condition]:
        """The conditions that `observation` does not meet."""
        return [condition for condition in (*self.own, *self.inherited) if not condition.holds(observation)]

    # -- text --------------------------------------------------------------------------------------------------

    def text(self, width: int | None = WIDTH) -> str:
        """The line as written, values longer than `width` cut."""
        words = [condition.expected_text(None, width) for condition in self.own]
        count = [self.count_text] if self.count_text else []
        return " ".join([*self._depth(), *count, self.type, self.name.written, *words])

    def expected_line(self, observation: Observation, width: int | None) -> str:
        """The line as written, with the inherited conditions that `observation` does not meet."""
        conditions = [*self.own, *(condition for condition in self.inherited if not condition.holds(observation))]
        words = [condition.expected_text(observation, width) for condition in conditions]
        return " ".join([*self._depth(), self.type, self.name.written, *words])

    def _depth(self) -> list[str]:
        return [">>"] if self.deep else []

    def captured_line(self, observation: Observation, captured_name: str, width: int | None) -> str:
        """`observation` in the words of the line: where it meets a condition, the condition, else its value."""
        words: list[str] = []
        for condition in (*self.own, *self.inherited):
            if not condition.holds(observation):
                words.append(condition.captured_text(observation, width) or "")
            elif condition in self.own:
                words.append(condition.expected_text(observation, width))
        kind = self.type if self.type == ANY_TYPE else observation.type
        return " ".join([kind, captured_name, *filter(None, words)])
