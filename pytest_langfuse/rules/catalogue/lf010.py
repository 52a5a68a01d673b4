"""LF010: a secret in what Langfuse stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule
from pytest_langfuse.rules.secrets.scan import may_hold_secret, secrets

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


@rule("LF010", "secret in clear")
def secret_in_clear(observation: Observation, evidence: Evidence) -> Sequence[Fact] | None:
    """Everyone with access to the project reads it, and exports and evaluators send it on."""
    record = observation.record
    texts = [record.name]
    for key, value in record.attributes.items():
        if type(value) is str:
            if key not in _SKIPPED:
                texts.append(value)
        elif type(value) is list:
            texts += _strings(value)
    # One look at all: nearly no observation has a long word that could be a key.
    if not may_hold_secret("\n".join(texts)):
        return None
    found = dict.fromkeys(_kinds(record))
    return [_fact(kind, where, observation, evidence) for kind, where in found] or None


def _kinds(record: SpanRecord) -> Iterator[tuple[str, str]]:
    """Yield the kinds of secrets in a span, each with where it stands."""
    for secret in secrets(record.name):
        yield secret.kind, "name"
    for key, value in record.attributes.items():
        if key not in _SKIPPED:
            for text in _strings(value):
                for secret in secrets(text):
                    yield secret.kind, _where(key)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _where(key: str) -> str:
    if (place := _PLACES.get(key)) is not None:
        return place
    kind, shown = "attribute", key
    for prefix in _METADATA:
        if key.startswith(prefix):
            kind, shown = "metadata", key[len(prefix) :]
    # A key of a dictionary may be a secret, too.
    return kind if any(secrets(shown)) else f"{kind} {shown!r}"


def _fact(kind: str, where: str, observation: Observation, evidence: Evidence) -> Fact:
    fix = "leave it out of what is traced, or replace it in the function mask= of Langfuse(), and renew it"
    name = observation.name
    if not any(secrets(name)):
        return Fact(f"{evidence.named(observation)} has {kind} in its {where}", fix, observation)
    # Named by its place alone, since its name would repeat the secret.
    place = evidence.place_of(observation)
    shown = f"a {observation.type}" if place is None else f"a {observation.type} ({place})"
    return Fact(f"{shown} has {kind} in its {where}", fix, place=place)
