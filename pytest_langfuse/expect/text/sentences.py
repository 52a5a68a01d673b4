"""The sentences of a failed assertion: one for each difference, also where many observations have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.recording.observation import Observation

#: Names in a sentence about many observations.
_NAMES: Final = 3

#: What a difference is about: lines, values of observations, places of observations, or observations too many.
_Kind = Literal["line", "value", "place", "unexpected"]


class Numbering:
    """Names of observations in sentences; where several have a name, with their number: `llm (2 of 3)`."""

    def __init__(self, everything: Sequence[Observation]) -> None:
        self._everything = everything
        self._numbers: dict[int, int] = {}
        self._counts: Counter[str] = Counter()

    def name(self, observation: Observation) -> str:
        """The name of an observation, numbered if others have it, too."""
        return name_in_sentence(observation.name) + self._number(observation)

    def label(self, observation: Observation) -> str:
        """Type and name of an observation, numbered if others have the name, too."""
        return f"{observation.type} {self.name(observation)}"

    def count(self, name: str) -> int:
        """The number of observations of a name."""
        if not self._numbers:
            for one in self._everything:
                self._counts[one.name] += 1
                self._numbers[id(one)] = self._counts[one.name]
        return self._counts[name]

    def _number(self, observation: Observation) -> str:
        count = self.count(observation.name)
        return f" ({self._numbers[id(observation)]} of {count})" if count > 1 else ""


@dataclass(slots=True)
class _Difference:
    """One difference: what is said `alone` of the first observation that has it, and what if others have it, too."""

    kind: _Kind
    alone: str
    shared: str
    times: int = 0
    observations: list[Observation] = field(default_factory=list)


class Sentences:
    """Collects differences. One that several observations have is one sentence, at the place of the first."""

    def __init__(self, everything: Sequence[Observation]) -> None:
        self.names: Final = Numbering(everything)
        self._differences: dict[tuple[_Kind, str], _Difference] = {}

    def line(self, sentence: str) -> None:
        """Add a sentence about a line of the literal."""
        self._add("line", sentence, sentence, None)

    def value(self, observation: Observation, difference: str, shared: str | None = None) -> None:
        """Add that a value of an observation differs: `model is 'a', expected 'b'`; `shared` is without details."""
        self._add("value", difference, shared or difference, observation)

    def place(self, observation: Observation, difference: str, shared: str) -> None:
        """Add that an observation is elsewhere than expected; `shared` is the difference without numbers of names."""
        self._add("place", difference, shared, observation)

    def unexpected(self, observation: Observation, hint: str = "") -> None:
        """Add that an observation is not expected."""
        self._add("unexpected", hint, f"{observation.type} {observation.name}{hint}", observation)

    def _add(self, kind: _Kind, alone: str, shared: str, observation: Observation | None) -> None:
        difference = self._differences.setdefault((kind, shared), _Difference(kind, alone, shared))
        difference.times += 1
        if observation is not None:
            difference.observations.append(observation)

    def all(self) -> list[str]:
        """The sentences."""
        return [self._sentence(difference) for difference in self._differences.values()]

    def _sentence(self, difference: _Difference) -> str:
        observations, times = difference.observations, difference.times
        repeated = f" ({times:,} times)" if times > 1 else ""
        match difference.kind:
            case "line":
                return f"{difference.alone}{repeated}"
            case "unexpected":
                one = observations[0]
                label = f"{one.type} {name_in_sentence(one.name)}" if repeated else self.names.label(one)
                return f"{label} is unexpected{repeated}{difference.alone}"
            case "place" if repeated:
                return f"{_names(observations)}: {difference.shared}"
            case "value" if repeated:
                return f"{difference.shared} on {times:,} observations: {_names(observations)}"
        return f"{self.names.name(observations[0])}: {difference.alone}"


def _names(observations: Sequence[Observation]) -> str:
    """The first names of observations, each with how often it is there."""
    counts = Counter(name_in_sentence(one.name) for one in observations)
    names = [name if count == 1 else f"{name} ({count:,} times)" for name, count in counts.items()]
    return ", ".join([*names[:_NAMES], *([f"{len(names) - _NAMES:,} more"] if len(names) > _NAMES else [])])
