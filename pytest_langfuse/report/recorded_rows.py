"""Recorded traces, as lines of a run in which each trace is what a test is in others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_langfuse.report.captured_lines import observation_fields, score_fields
from pytest_langfuse.report.run_totals import TraceTotals
from pytest_langfuse.rules.checked import root_of
from pytest_langfuse.rules.live_evidence import evidence_of
from pytest_langfuse.rules.written_finding import row_of

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.recording.sources.static import StaticSource
    from pytest_langfuse.rules.rule_set import RuleSet


#: What Langfuse stores of a trace, too.
_STORED: Final = ("input", "output", "metadata")


def rows_of_traces(source: StaticSource, name: str, rules: RuleSet) -> Iterator[dict[str, Any]]:
    """Yield the lines of the traces of a file, and of what `rules` find in them; `name` is the file's.

    Raises:
        UnknownRule: a pattern of the project takes too long.
    """
    yield {"kind": "run", "schema": 1, "name": name, "rules": [rule.code for rule in rules.rules]}
    missing = {(item.observation.trace_id, item.observation.id): item for item in source.unexported()}
    traces: dict[str, list[Observation]] = {}
    for one in (*source.observations(), *(item.observation for item in missing.values())):
        traces.setdefault(one.trace_id, []).append(one)
    tests = {trace_id: _name(observations) for trace_id, observations in traces.items()}
    stored = {trace.id: {key: getattr(trace, key) for key in _STORED} for trace in source.traces}
    for trace_id, observations in traces.items():
        test = tests[trace_id]
        yield {"kind": "test", "test": test, "stored": stored.get(trace_id), **_fields(observations, missing)}
        yield from (_observation(one, missing.get((trace_id, one.id)), test) for one in observations)
    first, root = next(iter(tests.values())), root_of(Path.cwd())
    for score in source.scores():
        ids = {"trace": score.trace_id, "observation": score.observation_id}
        yield {"kind": "score", "test": tests.get(score.trace_id or "", first), **ids, **score_fields(score)}
    for finding in rules.find(evidence_of(source, "", final=True)):
        yield row_of(finding, tests.get(finding.trace_id, first), root, is_known=False)


def noun_of(run: Mapping[str, Any], before: str | None) -> str:
    """Return what the tests of a run are called, whose line is given: recorded traces are none.

    `before` is what those of the files before are called, all of them together; `None` for the first one.
    """
    is_recorded = "started" not in run and "name" in run
    return "trace" if is_recorded and before in (None, "trace") else "test"


def _name(observations: Sequence[Observation]) -> str:
    named = next((one.trace_name for one in observations if one.trace_name), None) or observations[0].name
    # Many traces of an application have the same name.
    return f"{named} {observations[0].trace_id[:8]}"


def _fields(observations: Sequence[Observation], missing: Mapping[tuple[str, str], Unexported]) -> dict[str, Any]:
    shown = [one for one in observations if (one.trace_id, one.id) not in missing]
    reasons = Counter(missing[key].reason for one in observations if (key := (one.trace_id, one.id)) in missing)
    error = next((one for one in observations if one.level == "ERROR"), None)
    start = min(one.record.start_ns for one in observations)
    end = max(one.record.end_ns or one.record.start_ns for one in observations)
    return {
        "outcome": "recorded" if error is None else "error",
        "message": "" if error is None else f"{error.name}: {error.status_message or 'ERROR'}",
        "duration": (end - start) / 1e9,
        "observations": len(shown),
        **TraceTotals.of(shown)._asdict(),
        "unended": reasons["unended"],
        "lost": reasons["dropped"],
        "models": sorted({one.model for one in observations if one.model}),
    }


def _observation(one: Observation, missing: Unexported | None, test: str) -> dict[str, Any]:
    ids = {"kind": "observation", "test": test, "trace": one.trace_id, "id": one.id, "parent": one.parent_id}
    return {**ids, **observation_fields(one, missing, process="", place="")}
