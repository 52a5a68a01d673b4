"""One test of a run, under one fault, and whether it did worse than it should."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_langfuse.recording.blocking_sampler import without_time_limit

if TYPE_CHECKING:
    from pytest_langfuse.options import Options

_WORSE = ("passed", "skipped", "failed")


class HealthyRun(NamedTuple):
    """The result of a test while Langfuse was up; `duration` in seconds."""

    outcome: str
    duration: float


@dataclass(slots=True)
class TestRun:
    """One test of the run, under one fault.

    `duration` is in seconds, `blocked` says where the test waited for Langfuse, `blocked_seconds` how long, and
    `shortened_seconds` how much longer it would have waited at most without the timeout that capture supplies. `lost`
    counts the observations that Langfuse did not accept.
    """

    test: str
    fault: str | None = None
    outcome: str = "passed"
    duration: float = 0.0
    lost: int = 0
    blocked: str | None = None
    blocked_seconds: float = 0.0
    shortened_seconds: float = 0.0
    healthy_outcome: str | None = None
    healthy_duration: float | None = None

    def begin_attempt(self) -> None:
        """Forget an attempt that a plugin repeats; but what it has waited, the suite has waited."""
        self.outcome, self.duration, self.lost = "passed", 0.0, 0

    def compare_with(self, healthy: HealthyRun | None) -> None:
        """Take the values of the healthy run, if there is one."""
        if healthy is not None:
            self.healthy_outcome, self.healthy_duration = healthy

    def why_degraded(self, options: Options) -> str | None:
        """Return in what the test did worse than in the healthy run, or than is allowed; `None` if it did not.

        A test is slower only as far as it waited for Langfuse.
        """
        before = self.healthy_outcome
        if before is None and self.outcome == "failed":
            return "failed, not compared"
        if before is not None and _WORSE.index(self.outcome) > _WORSE.index(before):
            return f"{before} -> {self.outcome}"
        waits = self.blocked_seconds + self.shortened_seconds
        unshortened = without_time_limit(self.blocked_seconds, self.shortened_seconds)
        if self.healthy_duration is not None:
            slower = min(self.duration + self.shortened_seconds - self.healthy_duration, waits)
            if slower > options.max_slowdown:
                why = f"{self.healthy_duration:.2f} s -> {self.duration:.2f} s"
                return f"{why}, waited {unshortened}" if unshortened else why
        if waits > options.max_block:
            how_long = f"{self.blocked_seconds:.1f} s for Langfuse{unshortened and f' ({unshortened})'}"
            return f"waited {how_long}, {options.max_block:g} s is allowed"
        return None
