"""The destinations of export bodies, and the outcomes that it can report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from pytest_langfuse.tracing.delivery.export_body import ExportBody
from pytest_langfuse.tracing.log_text import readable

#: The destinations of `TracingConfig.export`, as the log names them.
DESTINATIONS: Final = {"http": "Langfuse", "kafka": "Kafka", "sqs": "SQS"}


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
    #: Nothing was reached, or it did not answer.
    unreachable: bool = False

    def __post_init__(self) -> None:
        """Make the text of the other side one that may be logged."""
        object.__setattr__(self, "detail", readable(self.detail))


#: One outcome for all bodies of a group, or one for each of them.
Confirm = Callable[[Outcome | Sequence[Outcome]], None]


class Sink(Protocol):
    """Takes groups of bodies, and confirms each group when its outcome is known: at once, later, from any thread."""

    #: How many groups may be sent before the first of them is confirmed.
    max_in_flight: int
    #: Bytes that a group may have, unless it is one body.
    most_bytes: int
    #: Bytes that a body of several spans should have at most.
    largest_body: int
    #: Bodies should hold spans of one trace each.
    by_trace: bool

    def send(self, bodies: Sequence[ExportBody], confirm: Confirm) -> None:
        """Start to send a group, and call `confirm` with its outcome, during this call or after it.

        Must not raise, and must not wait for the network for longer than the timeout of a request. Only the first call
        of `confirm` counts.
        """

    def close(self, timeout: float) -> None:
        """Release what the sink holds, within `timeout` seconds. Groups that are not confirmed stay so."""

    def after_fork(self) -> None:
        """In a forked child: the handles are the parent's. They are left alone, and others made when needed."""


def trouble_of(sink: Sink) -> str:
    """Return what the last connection of a sink met that tries again by itself; empty for one that does not."""
    return readable(str(getattr(sink, "trouble", "")))
