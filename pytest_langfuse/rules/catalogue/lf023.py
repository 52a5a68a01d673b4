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

_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_OBSERVATION_ID: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")


@rule("LF023", "score without target", each="all")
def score_without_target(evidence: Evidence) -> Sequence[Fact] | None:
    """Langfuse accepts a score of any trace or observation, and shows it nowhere if that does not exist."""
    scores = evidence.scores
    return [fact for score in scores for fact in _facts(score, evidence)] if scores else None


def _facts(score: Score, evidence: Evidence) -> Iterator[Fact]:
    trace_id, observation_id = score.trace_id, score.observation_id
    if trace_id is None:
        return
    if not _TRACE_ID.fullmatch(trace_id):
        digits = "32 lower-case hexadecimal digits"
        yield _malformed(score, "trace", trace_id, digits, "create_trace_id(seed=...)", evidence)
    elif observation_id is not None and not _OBSERVATION_ID.fullmatch(observation_id):
        digits = "16 lower-case hexadecimal digits"
        yield _malformed(score, "observation", observation_id, digits, "get_current_observation_id()", evidence)
    elif (missing := _not_exported(trace_id, observation_id, evidence)) is not None:
        whose = "its trace" if observation_id is None else "it"
        yield Fact(
            f"the score {evidence.quoted(score.name)} is for {evidence.named(missing.observation)}, but {whose} was "
            f"not exported: {missing.detail}",
            "score an observation that is exported, or see that this one is",
            missing.observation,
        )


def _malformed(score: Score, of: str, given: str, expected: str, source: str, evidence: Evidence) -> Fact:
    return Fact(
        f"the score {evidence.quoted(score.name)} is for the {of} {evidence.quoted(given)}, but ids of {of}s have "
        f"{expected}",
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
