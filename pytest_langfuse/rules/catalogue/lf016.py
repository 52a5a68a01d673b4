"""LF016: an exception was recorded on an observation that Langfuse shows as a success."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import ancestors
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

_EXCEPTION = "exception"


@rule("LF016", "error swallowed")
def error_swallowed(observation: Observation, evidence: Evidence) -> Fact | None:
    """Langfuse stores no exception events: an error that the level does not tell is in no filter, alert or chart."""
    record = observation.record
    events = record.events
    if not events or record.status == "ERROR":
        return None
    recorded = next((event for event in events if event.name == _EXCEPTION), None)
    if recorded is None or observation.level != "DEFAULT" or observation.status_message:
        # A level or a status message says that the error was seen and dealt with.
        return None
    message = str(recorded.attributes.get("exception.message") or "")
    if any(one.level == "ERROR" and message in (one.status_message or "") for one in ancestors(observation)):
        # It went on from here to where it is told.
        return None
    # The type alone: the message may hold what no report should.
    kind = evidence.shown(str(recorded.attributes.get("exception.type") or "an exception"))
    return Fact(
        f"{evidence.named(observation)} recorded {kind}, but its level is DEFAULT, so that Langfuse shows no error",
        'call update(level="ERROR", status_message=str(error)) where it is caught, or level="WARNING" if the result is '
        "still good",
        observation,
    )
