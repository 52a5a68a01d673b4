"""LF020: a secret where the application's mask does not reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule
from pytest_langfuse.rules.secrets.own_pattern import found_in
from pytest_langfuse.rules.secrets.scan import secrets
from pytest_langfuse.rules.secrets.texts import strings, with_label

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.span_record import SpanRecord
    from pytest_langfuse.rules.evidence import Evidence

_SDK: Final = "langfuse-sdk"
#: What no mask of any kind sees.
_NO_ATTRIBUTES: Final = ("span status", "exception event", "other events")
_STATUS_MESSAGE: Final = "langfuse.observation.status_message"
_FIXES: Final = {
    "attribute": "pass mask_otel_spans= to Langfuse(), which sees the attributes of every span, and renew the secret",
    "event": "leave the secret out of the message of the exception, and renew it",
}


@rule("LF020", "not masked")
def not_masked(observation: Observation, evidence: Evidence) -> Sequence[Fact] | None:
    """The mask sees what is given to Langfuse's SDK, and not what other libraries or exceptions put into spans."""
    record = observation.record
    if (
        record.scope_name == _SDK
        and not record.status_message
        and not record.events
        and _STATUS_MESSAGE not in record.attributes
    ):
        return None
    recorded = evidence.record_of(observation)
    if recorded is None or not (masks := evidence.application.masks_of(recorded)):
        return None
    given = " and ".join(f"{name}=" for name in masks)
    kinds = [(kind, where) for where, text in _texts(record, evidence) for kind, _, _ in secrets(text)]
    if evidence.own_patterns:
        kinds += [(pattern.kind, where) for pattern, where in found_in(evidence.own_patterns, _texts(record, evidence))]
    found = {
        (kind, where): Fact(
            f"{evidence.named(observation)} has {kind} in its {where}, which {given} of the client did not mask",
            _FIXES["event" if where in _NO_ATTRIBUTES else "attribute"],
            observation,
        )
        for kind, where in kinds
    }
    return list(found.values()) or None


def _texts(record: SpanRecord, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Yield the texts of a span that `mask=` never sees, each with where it stands."""
    if record.status_message:
        yield "span status", record.status_message
    for event in record.events:
        for value in event.attributes.values():
            for text in strings(value):
                yield "exception event" if event.name == "exception" else "other events", text
    for key, value in record.attributes.items():
        if key == _STATUS_MESSAGE:
            yield "status message", str(value)
        elif record.scope_name != _SDK:
            for text in strings(value):
                yield f"attribute {evidence.quoted(key)}", with_label(key, text)
