"""The state that tracing reports: at any time, and at its shutdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_langfuse.tracing.lazy import exported_by


@exported_by("pytest_langfuse.tracing")
@dataclass(frozen=True)
class TracingHealth:
    """The pipeline at one instant: `ended == exported + buffered + sum(dropped.values()) + unaccounted`, always.

    Counts are of spans, since the start of tracing in this process.
    """

    #: Whether spans go to Langfuse at all.
    enabled: bool = False
    #: Why they do not.
    reason: str | None = None
    breaker: Literal["closed", "open", "half_open"] = "closed"
    #: For Langfuse and ended; with a spool also those that an earlier process left in it.
    ended: int = 0
    #: Accepted by Langfuse.
    exported: int = 0
    #: Neither accepted nor given up.
    buffered: int = 0
    #: Given up, by reason; see the documentation for the reasons.
    dropped: Mapping[str, int] = field(default_factory=dict)
    #: Ended, but neither of these: a loss that nothing has noticed, hence 0 unless this module is at fault.
    unaccounted: int = 0
    #: Of those that ended, the ones that sampling has kept.
    sampled: int = 0
    #: Traces by decision: the reason why they were kept ("rate", "error", "slow", the name of a rule), or "dropped".
    #: Empty where all are kept.
    decisions: Mapping[str, int] = field(default_factory=dict)
    #: Sent with another parent than they were made with, because Langfuse does not get that one.
    reparented: int = 0
    #: The last failure, whether or not Langfuse has recovered since.
    last_error: str | None = None
    #: Seconds since Langfuse last accepted spans.
    last_success: float | None = None
    #: The state of the breaker of each way of export; `breaker` is the first's.
    breakers: Mapping[str, str] = field(default_factory=dict)
    #: Whether tracing is on, the breaker is closed, and the last call to Langfuse, if there was one, worked and
    #: refused nothing.
    healthy: bool = False


@exported_by("pytest_langfuse.tracing")
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
