"""Findings: what rules have to say about a trace."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_langfuse.rules.one_line import one_line, shortened

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.start_place import Place

#: An "error" fails a test in strict mode; a "warning" does where it is selected by its code.
Severity = Literal["error", "warning"]


class SourcePlace(Protocol):
    """A statement or a function of the application."""

    @property
    def file(self) -> str:
        """The path of the file."""

    @property
    def line(self) -> int:
        """The line that messages name."""

    @property
    def lines(self) -> tuple[int, int]:
        """The first and the last line."""

    @property
    def qualname(self) -> str:
        """The qualified name of the function."""


@dataclass(frozen=True, slots=True)
class Fact:
    """The answer of a rule's function: a sentence and a fix, both without a full stop, and what they are about."""

    text: str
    fix: str
    about: Observation | None = None
    #: Where the code to be mended is, if not where `about` was started.
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A fact, with the rule that found it and its place in the application.

    Text and fix are one line, whatever the trace holds.
    """

    code: str
    rule: str
    severity: Severity
    text: str
    fix: str
    #: The name of the observation, with `***` for a secret in it; empty where it is about none. For messages there is
    #: `shown_observation`.
    observation: str
    place: SourcePlace | None
    #: The id of its trace; empty where it is about none. Not for messages, and not a part of what the finding is.
    trace_id: str = field(default="", compare=False)
    #: So for the id of the observation.
    observation_id: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", one_line(self.text))
        object.__setattr__(self, "fix", one_line(self.fix))

    @property
    def shown_observation(self) -> str:
        """The name of the observation as reports show it: one line, and not a long one."""
        return one_line(shortened(self.observation))

    def __str__(self) -> str:
        """Return the line that reports show."""
        return f"{self.code} {self.rule}: {self.text}. Fix: {self.fix}."
