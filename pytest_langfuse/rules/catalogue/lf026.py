"""LF026: a value that a length limit has cut, so that its JSON is broken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

_INPUT: Final = "langfuse.observation.input"
_OUTPUT: Final = "langfuse.observation.output"
_METADATA: Final = "langfuse.observation.metadata."


@rule("LF026", "value cut", severity="warning", each="all")
def value_cut(evidence: Evidence) -> Sequence[Fact] | None:
    """Langfuse shows the rest as text, in which evaluators, filters and cost find no fields."""
    limits = evidence.application.length_limits()
    if not limits:
        return None
    found = []
    for one in evidence.observations:
        record = evidence.record_of(one)
        limit = None if record is None else limits.get(record.key)
        if limit is not None and (fact := _fact(one, limit, evidence)) is not None:
            found.append(fact)
    return found


def _fact(observation: Observation, limit: int, evidence: Evidence) -> Fact | None:
    cut = [key for key, value in observation.attributes.items() if _is_cut(key, value, limit)]
    if not cut:
        return None
    places = " and ".join(_shown(key, evidence) for key in cut)
    return Fact(
        f"the {places} of {evidence.named(observation)} {'is' if len(cut) == 1 else 'are'} cut at {limit} characters "
        "by the limit of OpenTelemetry, which breaks the JSON",
        "raise OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT or SpanLimits",
        observation,
    )


def _is_cut(key: str, value: Any, limit: int) -> bool:
    if type(value) is not str or len(value) != limit or not value.startswith(("{", "[", '"')):
        return False
    if key not in (_INPUT, _OUTPUT) and not key.startswith(_METADATA):
        return False
    try:
        json.loads(value)
    except ValueError:
        return True
    return False


def _shown(key: str, evidence: Evidence) -> str:
    if key.startswith(_METADATA):
        return f"metadata {evidence.quoted(key[len(_METADATA) :])}"
    return "input" if key == _INPUT else "output"
