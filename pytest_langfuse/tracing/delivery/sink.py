"""The destination of export bodies, and the outcomes that it can report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from pytest_langfuse.tracing.log_text import readable


class Verdict(Enum):
    """The decision about a body that was sent."""

    ACCEPTED = "accepted"
    TOO_LARGE = "too large"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of sending one body. `reason` names it for the ledger and the log.

    `detail` may be the other side's text: it is kept as one that may be logged (see `readable`).
    """

    verdict: Verdict
    reason: str = ""
    #: Spans that were not taken although the body was (OTLP's partial success).
    rejected: int = 0
    detail: str = ""
    #: Seconds, if the other side said when to come back.
    retry_after: float | None = None

    def __post_init__(self) -> None:
        """Make the text of the other side one that may be logged."""
        object.__setattr__(self, "detail", readable(self.detail))


Confirm = Callable[[Outcome], None]


class Sink(Protocol):
    """Takes bodies, and confirms each when its outcome is known: at once, later, in any order, from any thread."""

    #: How many bodies may be sent before the first of them is confirmed.
    max_in_flight: int

    def send(self, data: bytes, confirm: Confirm) -> None:
        """Start to send one body, and call `confirm` with its outcome, during this call or after it.

        Must not raise. Only the first call of `confirm` counts.
        """
