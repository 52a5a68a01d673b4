"""LF010: a secret in what Langfuse stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule
from pytest_langfuse.rules.secrets.own_pattern import found_in
from pytest_langfuse.rules.secrets.scan import may_hold_secret, secrets
from pytest_langfuse.rules.secrets.texts import is_label, readings, strings, with_label

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.span_record import SpanRecord
    from pytest_langfuse.rules.evidence import Evidence

#: Attributes that hold no text of the application's, or are the same for thousands of observations.
_SKIPPED: Final = frozenset(
    (
        "langfuse.environment",
        "langfuse.internal.as_root",
        "langfuse.internal.is_app_root",
        "langfuse.observation.completion_start_time",
        "langfuse.observation.cost_details",
        "langfuse.observation.level",
        "langfuse.observation.model.name",
        "langfuse.observation.type",
        "langfuse.observation.usage_details",
        "langfuse.release",
        "langfuse.version",
    )
)
_STATUS_MESSAGE: Final = "langfuse.observation.status_message"
#: Stands for a key where a text is in an event.
_EVENT: Final = "event"
_EXCEPTION: Final = "exception"
_PLACES: Final = {
    "": "name",
    _EVENT: "event",
    "langfuse.observation.input": "input",
    "langfuse.observation.output": "output",
    "langfuse.trace.input": "trace input",
    "langfuse.trace.output": "trace output",
    _STATUS_MESSAGE: "status message",
    "user.id": "user_id",
    "session.id": "session_id",
}
_METADATA: Final = ("langfuse.observation.metadata.", "langfuse.trace.metadata.")
#: What the function `mask=` of a client sees.
_MASKED: Final = ("input", "output", "trace input", "trace output", "metadata")


@rule("LF010", "secret in clear", options={"pattern": ()})
def secret_in_clear(observation: Observation, evidence: Evidence) -> Sequence[Fact] | None:
    """Everyone with access to the project reads it, and exports and evaluators send it on."""
    record, own = observation.record, evidence.own_patterns
    texts = [record.name]
    for key, value in record.attributes.items():
        if type(value) is str:
            if key not in _SKIPPED:
                texts.append(with_label(key, value) if is_label(key) else value)
        elif type(value) is list:
            texts += (with_label(key, text) for text in strings(value))
        if key.startswith(_METADATA):
            texts.append(key)
    if record.status_message or record.events:
        texts += (text for _, text in _outside_of_attributes(record))
    # One look at all: nearly no observation has a long word that could be a key.
    found = list(_kinds(record)) if may_hold_secret("\n".join(texts)) else []
    if own:
        found += ((pattern.kind, key) for pattern, key in found_in(own, _texts(record)))
    places = dict.fromkeys((kind, _where(key, evidence)) for kind, key in found)
    return [_fact(kind, where, observation, evidence) for kind, where in places] or None


def _kinds(record: SpanRecord) -> Iterator[tuple[str, str]]:
    """Yield the kinds of secrets in a span, each with the key of what holds it."""
    for key, text in _texts(record):
        for secret in secrets(with_label(key, text)):
            yield secret.kind, key


def _texts(record: SpanRecord) -> Iterator[tuple[str, str]]:
    """Yield the texts of a span, each with its key; that of the name is empty."""
    yield "", record.name
    for key, value in record.attributes.items():
        if key not in _SKIPPED:
            for text in strings(value):
                for reading in readings(text):
                    yield key, reading
        if key.startswith(_METADATA):
            yield key, _name_of(key)
    yield from _outside_of_attributes(record)


def _outside_of_attributes(record: SpanRecord) -> Iterator[tuple[str, str]]:
    """Yield the texts in the status and the events of a span that Langfuse stores.

    An exception that leaves a block is in the status, unless the application has set a status message. Exception events
    are not stored.
    """
    if record.status_message and _STATUS_MESSAGE not in record.attributes:
        yield _STATUS_MESSAGE, record.status_message
    for event in record.events:
        if event.name != _EXCEPTION:
            for value in event.attributes.values():
                for text in strings(value):
                    for reading in readings(text):
                        yield _EVENT, reading


def _where(key: str, evidence: Evidence) -> str:
    if (place := _PLACES.get(key)) is not None:
        return place
    kind = "metadata" if key.startswith(_METADATA) else "attribute"
    shown = _name_of(key)
    # A key of a dictionary may be a secret, too.
    return kind if evidence.holds_secret(shown) else f"{kind} {evidence.quoted(shown)}"


def _name_of(key: str) -> str:
    """Return the key of an attribute, or that of the metadata in it."""
    for prefix in _METADATA:
        key = key.removeprefix(prefix)
    return key


def _fact(kind: str, where: str, observation: Observation, evidence: Evidence) -> Fact:
    fix = "leave it out of what is traced, or replace it in the function mask= of Langfuse(), and renew it"
    if not where.startswith(_MASKED):
        fix = f"leave it out of the {where}, which mask= of Langfuse() does not see, and renew it"
    if not evidence.holds_secret(observation.name):
        return Fact(f"{evidence.named(observation)} has {kind} in its {where}", fix, observation)
    # Named by its place alone, since its name would repeat the secret.
    place = evidence.place_of(observation)
    shown = f"a {observation.type}" if place is None else f"a {observation.type} ({place})"
    return Fact(f"{shown} has {kind} in its {where}", fix, place=place)
