"""Values that the application gives to the SDK, and that the SDK drops with one log line or without any."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_langfuse.recording.start_place import Place, Start, place_of

if TYPE_CHECKING:
    from pytest_langfuse.recording.recorded_span import RecordedSpan

#: Why they are dropped: the value is not of the form that is propagated; the observation's type has no such field; the
#: call ignores arguments of these names; the observation had ended, or is an event; the span is full.
WhyDropped = Literal["form", "type", "unknown", "ended", "event", "full"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LostValue:
    """Values of one call that are dropped for one reason. Equal are those of one place in the application."""

    why: WhyDropped
    #: The name of the method or function: `update`.
    call: str
    #: The arguments or keys.
    names: tuple[str, ...]
    #: The name of the observation, if it is known of which one.
    observation: str = ""
    start: Start | None = None
    #: The type of the observation; or the reason in words; or the number of attributes that a span may have.
    detail: str = field(default="", compare=False)
    recorded: RecordedSpan | None = field(default=None, compare=False)

    @property
    def place(self) -> Place | None:
        """The statement that gave the values to the SDK."""
        return place_of(self.start)
