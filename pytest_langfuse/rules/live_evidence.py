"""The evidence of a test: its observations, with how this process started them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_langfuse.rules.evidence import Evidence

if TYPE_CHECKING:
    from pytest_langfuse.recording.sources.source import Source


def evidence_of(source: Source, test: str, *, final: bool) -> Evidence:
    """Return what rules look at.

    Before a test and its fixtures have ended (`final`), traces with an observation that runs are left out: they are
    not what Langfuse is going to show.
    """
    unexported = source.unexported()
    observations = source.observations()
    if not final:
        open_traces = {item.observation.trace_id for item in unexported if item.reason == "unended"}
        if open_traces:
            observations = [one for one in observations if one.trace_id not in open_traces]
            unexported = [item for item in unexported if item.observation.trace_id not in open_traces]
    return Evidence(
        observations,
        unexported=unexported,
        late=source.late(),
        scores=source.scores,
        recorded=source.recorded,
        application=source.application,
        test=test,
        is_final=final,
    )
