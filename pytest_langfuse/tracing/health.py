"""What tracing reports of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ShutdownReport:
    """How a shutdown went: counts of spans since the start of tracing, seconds."""

    #: Accepted by Langfuse.
    exported: int = 0
    #: Neither accepted nor given up.
    buffered: int = 0
    #: Given up, by reason.
    dropped: Mapping[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    #: Whether the deadline came first.
    timed_out: bool = False
