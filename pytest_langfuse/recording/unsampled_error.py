"""Errors in traces that the sampler of this process has turned down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_langfuse.recording.recorded_span import RecordedSpan


@dataclass(frozen=True, slots=True)
class UnsampledError:
    """An observation that would have had the level ERROR, had its trace been sampled."""

    recorded: RecordedSpan
    #: The predicate of a sentence: `raised ValueError`, `has the level ERROR`.
    error: str
    #: The part of all traces that the sampler keeps.
    rate: float
