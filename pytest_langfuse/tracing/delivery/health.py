"""The state that tracing reports: at any time, and at its shutdown."""

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
    """The result of a shutdown: counts of spans since the start of tracing, and seconds."""

    #: Accepted by Langfuse.
    exported: int = 0
    #: Left in the spool for the next start to send. Without a spool the rest is dropped ("shutdown").
    buffered: int = 0
    #: Given up, by reason.
    dropped: Mapping[str, int] = field(default_factory=dict)
    elapsed: float = 0.0
    #: Whether the deadline came first.
    timed_out: bool = False
