"""What tracing reports of itself: at any time, at its end, and as OpenTelemetry metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class TracingHealth:
    """The pipeline at one instant: `ended == exported + buffered + sum(dropped.values())`, always.

    Counts are of spans, since the start of tracing in this process.
    """

    breaker: Literal["closed", "open", "half_open"] = "closed"
    #: For Langfuse and ended; with a spool also those that an earlier process left in it.
    ended: int = 0
    #: Accepted by Langfuse.
    exported: int = 0
    #: Neither accepted nor given up.
    buffered: int = 0
    #: Given up, by reason; see the documentation for the reasons.
    dropped: Mapping[str, int] = field(default_factory=dict)
    #: Whether the breaker is closed and the last call to Langfuse, if there was one, worked.
    healthy: bool = True


@dataclass(frozen=True)
class ShutdownReport:
    """How a shutdown went: counts of spans since the start of tracing, seconds."""

    #: Accepted by Langfuse.
    exported: int = 0
    #: In the spool, for the next start to send. Without a spool there is none: what is left is dropped ("shutdown").
    buffered: int = 0
    #: Given up, by reason.
    dropped: Mapping[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    #: Whether the deadline came first.
    timed_out: bool = False
