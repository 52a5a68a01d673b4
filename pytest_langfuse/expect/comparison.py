"""Comparing captured observations with a parsed literal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pytest_langfuse.expect.literal.expected_line import ExpectedLine
from pytest_langfuse.expect.matching.alignment import Alignment
from pytest_langfuse.expect.matching.matcher import Matcher, Order, anywhere, is_plain_match
from pytest_langfuse.expect.matching.score_index import ScoreIndex
from pytest_langfuse.expect.text.diff import Diff
from pytest_langfuse.expect.text.style import Style
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Unexported
from pytest_langfuse.recording.trace import roots


def compare(
    root: ExpectedLine,
    captured: Sequence[Observation],
    style: Style,
    *,
    order: Order = "start",
    contained: bool = False,
    scores: Callable[[], Iterable[Score]] = tuple,
    unexported: Callable[[], Sequence[Unexported]] = tuple,
) -> Diff | None:
    """Return the differences, or `None` if there are none.

    With `contained`, each line of the top level may be anywhere in the captured trees. `unexported` tells
    why a parent is missing; `scores` is asked only if the literal names any.
    """
    top = captured if contained else roots(captured)
    if order == "start" and not contained and is_plain_match(root, top):
        return None
    root = anywhere(root) if contained else root
    matcher = Matcher(order, contained=contained, scores=ScoreIndex(scores() if root.names_scores else (), captured))
    if matcher.forest(root, top):
        return None
    diff = Diff(Alignment(root, captured, matcher), style, unexported)
    # The matcher gives up on very many siblings that are alike; an alignment without a difference is proof enough.
    return diff if diff.sentences else None
