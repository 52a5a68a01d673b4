"""The scores of observations and traces, and which of them is which line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.literal.expected_score import ExpectedScore
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score


class ScoreIndex:
    """Scores by what they belong to. Those of traces that were not captured are left out."""

    def __init__(self, scores: Iterable[Score] = (), captured: Iterable[Observation] = ()) -> None:
        scores = list(scores)
        traces = {observation.trace_id for observation in captured} if scores else set()
        self._of: dict[tuple[str, str | None], list[Score]] = {}
        #: Scores of any trace.
        self.of_traces: list[Score] = []
        for score in scores:
            if score.trace_id in traces and score.trace_id is not None:
                self._of.setdefault((score.trace_id, score.observation_id or None), []).append(score)
                if not score.observation_id:
                    self.of_traces.append(score)

    def of(self, observation: Observation) -> Sequence[Score]:
        """Return the scores of an observation."""
        return self._of.get((observation.trace_id, observation.id), ())

    def of_trace(self, trace_id: str) -> Sequence[Score]:
        """Return the scores of a trace itself."""
        return self._of.get((trace_id, None), ())

    def hold(self, line: ExpectedLine, observation: Observation) -> bool:
        """Return whether an observation and its trace have the scores that a line says."""
        return (not line.scores or None not in pair(line.scores, self.of(observation))) and (
            not line.trace_scores or None not in pair(line.trace_scores, self.of_trace(observation.trace_id))
        )


def pair(lines: Sequence[ExpectedScore], scores: Sequence[Score]) -> list[Score | None]:
    """Return a score for each line, each score once, for as many lines as possible (augmenting paths)."""
    owner: dict[int, int] = {}

    def find(index: int, seen: set[int]) -> bool:
        for place, score in enumerate(scores):
            if place not in seen and lines[index].fits(score):
                seen.add(place)
                if place not in owner or find(owner[place], seen):
                    owner[place] = index
                    return True
        return False

    for index in range(len(lines)):
        find(index, set())
    found: list[Score | None] = [None] * len(lines)
    for place, index in owner.items():
        found[index] = scores[place]
    return found
