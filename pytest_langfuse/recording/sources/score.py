"""Scores as Langfuse shows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pytest_langfuse.lazy import exported_by


@exported_by("pytest_langfuse")
@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score that the app sent (`POST /api/public/scores`)."""

    name: str
    value: float | str
    id: str | None = None
    trace_id: str | None = None
    observation_id: str | None = None
    session_id: str | None = None
    data_type: str | None = None
    comment: str | None = None
    metadata: Any = None
    environment: str | None = None
    dataset_run_id: str | None = None
    config_id: str | None = None
    queue_id: str | None = None
    #: When it was given, or else when it arrived. Two scores that differ in nothing else are equal.
    timestamp: datetime | None = field(default=None, compare=False)


def latest(log: Iterable[Score]) -> list[Score]:
    """Return what the server shows of a log of scores: the last one sent of each id, in order of arrival."""
    by_id: dict[str | None, Score] = {}
    for score in log:
        by_id.pop(score.id, None)
        by_id[score.id] = score
    return list(by_id.values())


def orphans(scores: Iterable[Score], made: Iterable[tuple[str, str]], earlier: Collection[str] = ()) -> list[Score]:
    """Return the scores whose trace or observation nothing made.

    `made` are trace id and span id of what was made, `earlier` the ids of traces of which no more is known.
    """
    keys = set(made)
    traces = {trace_id for trace_id, _ in keys}
    return [
        score
        for score in scores
        if score.trace_id is not None
        and score.trace_id not in earlier
        and (
            score.trace_id not in traces
            or (score.observation_id is not None and (score.trace_id, score.observation_id) not in keys)
        )
    ]
