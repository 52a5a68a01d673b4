"""LF015: two instrumentations of one model call, which count its tokens twice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.evidence import ancestors
from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence, TraceView

_MODEL_CALLS: Final = ("generation", "embedding")
_USAGE: Final = "langfuse.observation.usage_details"
_SDK: Final = "langfuse-sdk"
#: As `langfuse.openai` names its observations.
_WRAPPER: Final = "OpenAI-"
#: gpt-4o-2024-08-06, claude-3-5-sonnet-20241022, gpt-4o-latest.
_VERSION: Final = re.compile(r"[-@](?:\d{4}-\d\d-\d\d|\d{8}|latest)$")
#: An observation and the one that counts the same.
_Pair = tuple["Observation", "Observation"]


@rule("LF015", "counted twice", each="trace")
def counted_twice(trace: TraceView, evidence: Evidence) -> list[Fact] | None:
    """Tokens and cost of the trace, of its user and of its session are twice what the provider bills."""
    calls = [
        one
        for one in trace.observations
        if (one.type in _MODEL_CALLS or _USAGE in one.attributes) and one.model and _tokens(one)
    ]
    if len(calls) <= 1:
        return None
    return [_fact(outer, inner, evidence) for outer, inner in (*_nested(calls), *_side_by_side(calls))] or None


def _nested(calls: Sequence[Observation]) -> Iterator[_Pair]:
    """Yield calls with what is inside of them: one of as many tokens, or several that make as many together."""
    members = {id(one) for one in calls}
    inside: dict[int, list[Observation]] = defaultdict(list)
    for one in calls:
        outer = next((above for above in ancestors(one) if id(above) in members), None)
        if outer is not None and _model(outer) == _model(one):
            inside[id(outer)].append(one)
    for outer in calls:
        found = inside.get(id(outer))
        if not found:
            continue
        same = next((one for one in found if _tokens(one) == _tokens(outer) and not _is_of_a_tool(one, outer)), None)
        if same is not None:
            yield outer, same
        elif len(found) > 1 and sum(map(_tokens, found)) == _tokens(outer):
            yield outer, found[0]


def _is_of_a_tool(inner: Observation, outer: Observation) -> bool:
    """Return whether a tool is between both: one that the outer call has asked for, and whose agent calls a model."""
    return any(one.type == "tool" for one in takewhile(lambda one: one is not outer, ancestors(inner)))


def _side_by_side(calls: Sequence[Observation]) -> Iterator[_Pair]:
    """Yield calls of different libraries below one parent of which one holds the other in time."""
    if len({one.record.scope_name for one in calls}) == 1:
        return
    # Of each library, the call that has started before and ends last.
    widest: dict[tuple[int, str, float], dict[str, Observation]] = defaultdict(dict)
    for one in calls:
        before = widest[id(one.parent), _model(one), _tokens(one)]
        scope = one.record.scope_name
        outer = next((other for name, other in before.items() if name != scope and _end(other) >= _end(one)), None)
        if outer is not None:
            yield outer, one
        if scope not in before or _end(before[scope]) < _end(one):
            before[scope] = one


def _end(observation: Observation) -> int:
    return observation.record.end_ns or 0


def _tokens(observation: Observation) -> float:
    usage = observation.usage
    return usage.get("total") or sum(usage.values())


def _model(observation: Observation) -> str:
    return _without_version(observation.model or "")


@lru_cache(maxsize=1024)
def _without_version(model: str) -> str:
    return _VERSION.sub("", model.rpartition("/")[2].lower())


def _fact(outer: Observation, inner: Observation, evidence: Evidence) -> Fact:
    text = (
        f"{evidence.named(outer)} and {evidence.named(inner)} count the same {_tokens(outer):g} tokens of "
        f"{evidence.quoted(inner.model or '')}"
    )
    pair = (inner, outer)
    wrapped = next((one for one in pair if one.name.startswith(_WRAPPER) and one.record.scope_name == _SDK), None)
    if wrapped is not None:
        fix = (
            'write "import openai" where it says langfuse.openai, which instruments the whole process, also for other '
            "tests"
        )
        return Fact(text, fix, wrapped)
    foreign = next((one for one in pair if one.record.scope_name != _SDK), None)
    if foreign is not None and foreign.record.scope_name != "":
        return Fact(text, f"remove the instrumentation {evidence.quoted(foreign.record.scope_name)}", foreign)
    return Fact(text, f"leave usage_details and cost_details out of {evidence.quoted(outer.name)}", outer)
