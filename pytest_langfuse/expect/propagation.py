"""Checking that a value reached every observation of a trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from pytest_langfuse import arguments
from pytest_langfuse.expect.errors import LiteralError
from pytest_langfuse.expect.literal.condition_key import ConditionKey, unknown_field
from pytest_langfuse.expect.literal.name_pattern import name_in_sentence
from pytest_langfuse.expect.literal.values import ABSENT, cut_value, is_set, same, sentence_text
from pytest_langfuse.expect.text.sentences import Numbering
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.trace import Trace

#: pytest shows no frame of this module: a bad literal is the test's, not ours.
__tracebackhide__ = True

#: Names of observations in a sentence.
_NAMES: Final = 20


def propagated_key(field: str) -> ConditionKey:
    """Return the key of a field, or of a path such as `metadata.tenant`.

    Raises:
        LiteralError: observations have no such field.
        TypeError: `field` is not a text.
    """
    arguments.text("assert_propagated", "field", field, expected="the name of a field, such as 'user_id'")
    path = tuple(field.split("."))
    if problem := unknown_field(path):
        raise LiteralError(f"unknown key {arguments.shown(field)}{problem}")
    return ConditionKey(field, path)


def gaps(traces: Sequence[Trace], key: ConditionKey, value: Any, width: int | None) -> list[str]:
    """A sentence for each trace in which the value is not the same on every observation.

    `value` is what it must be, or `None` to accept any value.
    """
    labels = trace_labels(traces)
    return [
        sentence
        for trace, label in zip(traces, labels, strict=True)
        if (sentence := _gap(trace, label, key, value, width))
    ]


def _gap(trace: Trace, label: str, key: ConditionKey, value: Any, width: int | None) -> str:
    groups: list[tuple[Any, list[Observation]]] = []
    for observation in trace.observations:
        read = key.read(observation)
        own = read if read is not ABSENT and is_set(read) else None
        for known, members in groups:
            if same(known, own):
                members.append(observation)
                break
        else:
            groups.append((own, [observation]))
    if len(groups) == 1 and groups[0][0] is not None and (value is None or same(value, groups[0][0])):
        return ""
    parts, names = [], Numbering(trace.observations)
    for own, members in sorted(groups, key=lambda group: group[0] is None):
        shown = "not set" if own is None else cut_value(own, width, sentence_text)
        parts.append(f"{shown} on {_names(members, names)}")
    expected = "" if value is None else f", expected {cut_value(value, width, sentence_text)}"
    return f"{key.text} in trace {label}: {'; '.join(parts)}{expected}"


def trace_labels(traces: Sequence[Trace]) -> list[str]:
    """The names of traces, or of the observations that they start with; equal ones are numbered."""
    names = [name_in_sentence(trace.name or (trace.roots or trace.observations)[0].name) for trace in traces]
    counts, numbers = Counter(names), Counter[str]()
    labels = []
    for name in names:
        numbers[name] += 1
        labels.append(f"{name} ({numbers[name]} of {counts[name]})" if counts[name] > 1 else name)
    return labels


def _names(observations: Sequence[Observation], names: Numbering) -> str:
    """The names of observations; those that only some of a name are, with their number."""
    counts = Counter(observation.name for observation in observations)
    labels: dict[str, None] = {}
    for observation in observations:
        name, count = observation.name, counts[observation.name]
        if count < names.count(name):
            labels[names.name(observation)] = None
        else:
            labels[f"{name_in_sentence(name)}{f' ({count:,} times)' if count > 1 else ''}"] = None
    shown = list(labels)
    return ", ".join([*shown[:_NAMES], *([f"{len(shown) - _NAMES:,} more"] if len(shown) > _NAMES else [])])
