"""LF023: a score of what can't exist in Langfuse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.sources.score import Score
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.rules.evidence import Evidence

#: The digits of ids.
_TRACE_ID: Final = 32
_OBSERVATION_ID: Final = 16


@rule("LF023", "score without target", each="all")
def score_without_target(evidence: Evidence) -> Sequence[Fact] | None:
    """Langfuse accepts a score of any trace or observation, and shows it nowhere if that does not exist."""
    scores = evidence.scores
    return [fact for score in scores for fact in _facts(score, evidence)] if scores else None


def _facts(score: Score, evidence: Evidence) -> Iterator[Fact]:
    trace_id, observation_id = score.trace_id, score.observation_id
    if trace_id is None:
        return
    trace = evidence.trace_by_id.get(trace_id)
    # What is there has an id, such as those that older SDKs and the ingestion API took from the application.
    if trace is None and (wrong := _wrong("trace", trace_id, _TRACE_ID)):
        yield _malformed(score, "trace", trace_id, wrong, "create_trace_id(seed=...)", evidence)
    elif (
        observation_id is not None
        and (trace is None or all(one.id != observation_id for one in trace.observations))
        and (wrong := _wrong("observation", observation_id, _OBSERVATION_ID))
    ):
        yield _malformed(score, "observation", observation_id, wrong, "get_current_observation_id()", evidence)
    elif (missing := _not_exported(trace_id, observation_id, evidence)) is not None:
        whose = "its trace" if observation_id is None else "it"
        yield Fact(
            f"the score {evidence.quoted(score.name)} is for {evidence.named(missing.observation)}, but {whose} was "
            f"not exported: {missing.detail}",
            "score an observation that is exported, or see that this one is",
            missing.observation,
        )


def _wrong(of: str, given: str, digits: int) -> str | None:
    """Return why nothing can have this id, or None for an id that can exist."""
    if not re.fullmatch(rf"[0-9a-f]{{{digits}}}", given):
        return f"ids of {of}s have {digits} lower-case hexadecimal digits"
    return None if given.strip("0") else f"no {of} has an id of zeros alone"


def _malformed(score: Score, of: str, given: str, wrong: str, source: str, evidence: Evidence) -> Fact:
    return Fact(
        f"the score {evidence.quoted(score.name)} is for the {of} {evidence.quoted(given)}, but {wrong}",
        f"take the id from {source} of the client",
    )


def _not_exported(trace_id: str, observation_id: str | None, evidence: Evidence) -> Unexported | None:
    """Return the target, or the first observation of the trace, if it was made here, has ended and was not exported."""
    if not evidence.unexported or not evidence.is_live:
        return None
    if observation_id is not None:
        found = evidence.missing.get((trace_id, observation_id))
    elif trace_id in evidence.trace_by_id:
        return None
    else:
        of_trace = [item for item in evidence.unexported if item.observation.trace_id == trace_id]
        found = None if any(item.reason == "unended" for item in of_trace) else next(iter(of_trace), None)
    return None if found is None or found.reason == "unended" else found
