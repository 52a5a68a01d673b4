"""Scores as Langfuse shows them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_langfuse.recording.sources.source import Score


def latest(log: Iterable[Score]) -> list[Score]:
    """What the server shows of a log of scores: one of each id, the last one sent, in order of arrival."""
    by_id: dict[str | None, Score] = {}
    for score in log:
        by_id.pop(score.id, None)
        by_id[score.id] = score
    return list(by_id.values())
