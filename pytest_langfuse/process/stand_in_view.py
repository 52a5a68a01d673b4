"""The stand-in Langfuse as the processes of a test see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pytest_langfuse.process.received_exports import ReceivedExports
from pytest_langfuse.recording.sources.score import Score


@dataclass(frozen=True, slots=True)
class StandInView:
    """The exports that the stand-in received from the processes of a test, and a way to wait for more."""

    received: ReceivedExports
    #: Returns once the stand-in has processed every request sent so far.
    settle: Callable[[], object]
    #: Returns when more may have arrived, at the latest after the given number of seconds.
    wait: Callable[[float], None]
    scores: Callable[[], Sequence[Score]]
