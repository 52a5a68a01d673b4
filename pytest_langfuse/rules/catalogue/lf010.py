"""LF010: a secret in what Langfuse stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule
from pytest_langfuse.rules.secrets.own_pattern import found_in
from pytest_langfuse.rules.secrets.scan import may_hold_secret, secrets
from pytest_langfuse.rules.secrets.texts import readings, strings

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
_PLACES: Final = {
    "langfuse.observation.input": "input",
    "langfuse.observation.output": "output",
    "langfuse.trace.input": "trace input",
    "langfuse.trace.output": "trace output",
    "langfuse.observation.status_message": "status message",
    "user.id": "user_id",
    "session.id": "session_id",
}
_METADATA: Final = ("langfuse.observation.metadata.", "langfuse.trace.metadata.")


@rule("LF010", "secret in clear", options={"pattern": ()})
def secret_in_clear(observation: Observation, evidence: Evidence) -> Sequence[Fact] | None:
    """Everyone with access to the project reads it, and exports and evaluators send it on."""
    record, own = observation.record, evidence.own_patterns
    texts = [record.name]
    for key, value in record.attributes.items():
        if type(value) is str:
            if key not in _SKIPPED:
                texts.append(value)
        elif type(value) is list:
            texts += strings(value)
    # One look at all: nearly no observation has a long word that could be a key.
    found = dict.fromkeys(_kinds(record)) if may_hold_secret("\n".join(texts)) else {}
    if own:
        found |= dict.fromkeys((pattern.kind, key) for pattern, key in found_in(own, _texts(record)))
    return [_fact(kind, _where(key, evidence), observation, evidence) for kind, key in found] or None


def _kinds(record: SpanRecord) -> Iterator[tuple[str, str]]:
    """Yield the kinds of secrets in a span, each with the key of what holds it."""
    for key, text in _texts(record):
        for secret in secrets(text):
            yield secret.kind, key


def _texts(record: SpanRecord) -> Iterator[tuple[str, str]]:
    """Yield the texts of a span, each with its key; that of the name is empty."""
    yield "", record.name
    for key, value in record.attributes.items():
        if key not in _SKIPPED:
            for text in strings(value):
                for reading in readings(text):
                    yield key, reading


def _where(key: str, evidence: Evidence) -> str:
    if not key:
        return "name"
    if (place := _PLACES.get(key)) is not None:
        return place
    kind, shown = "attribute", key
    for prefix in _METADATA:
        if key.startswith(prefix):
            kind, shown = "metadata", key[len(prefix) :]
    # A key of a dictionary may be a secret, too.
    return kind if evidence.holds_secret(shown) else f"{kind} {shown!r}"


def _fact(kind: str, where: str, observation: Observation, evidence: Evidence) -> Fact:
    fix = "leave it out of what is traced, or replace it in the function mask= of Langfuse(), and renew it"
    if not evidence.holds_secret(observation.name):
        return Fact(f"{evidence.named(observation)} has {kind} in its {where}", fix, observation)
    # Named by its place alone, since its name would repeat the secret.
    place = evidence.place_of(observation)
    shown = f"a {observation.type}" if place is None else f"a {observation.type} ({place})"
    return Fact(f"{shown} has {kind} in its {where}", fix, place=place)
