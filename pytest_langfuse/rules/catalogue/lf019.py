"""LF019: a process that ends while observations wait to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

#: Names in one message.
_NAMES = 3


@rule("LF019", "lost at exit", each="all")
def lost_at_exit(evidence: Evidence) -> Sequence[Fact] | None:
    """The SDK sends what it has queued at a normal exit alone: a deployment's SIGTERM loses the last seconds."""
    facts = [
        Fact(
            f"{_counted(ended.lost, evidence)} of `{ended.label}` had ended and never arrived: it {ended.how}",
            "call init_tracing(), which flushes at exit and on SIGTERM, or langfuse.shutdown() before each way out",
            ended.lost[0],
        )
        for ended in evidence.application.ended_processes()
        if ended.lost and not ended.was_killed
    ]
    return facts or None


def _counted(lost: Sequence[Observation], evidence: Evidence) -> str:
    names = [one.name for one in lost]
    shown = [evidence.quoted(name) for name in dict.fromkeys(names)]
    more = ", ..." if len(shown) > _NAMES else ""
    return f"{len(names):,} observation{'s' * (len(names) > 1)} ({', '.join(shown[:_NAMES])}{more})"
