"""The lines of captured tests: fields of the line of each test, and lines of its observations and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pytest_langfuse.recording.why_not_exported import SAME_ID
from pytest_langfuse.report.kept_test import KeptTest
from pytest_langfuse.report.prices import estimate
from pytest_langfuse.report.redaction import Redaction
from pytest_langfuse.report.run_totals import TraceTotals
from pytest_langfuse.report.sent_images import SentImages
from pytest_langfuse.rules.baseline import relative

if TYPE_CHECKING:
    from pytest_langfuse.expect.text.side_by_side import Cell, SideBySide
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.recorded_span import RecordedSpan
    from pytest_langfuse.recording.sources.score import Score
    from pytest_langfuse.recording.sources.source import Unexported
    from pytest_langfuse.recording.start_place import Start

#: How lines call the reasons why an observation is not in Langfuse.
_REASONS: Final = {
    "filtered": "filtered",
    "sampled_out": "unsampled",
    "other_project": "other project",
    "unended": "never ended",
    "dropped": "lost",
}
#: Fields of an attempt at a test that is run again.
USED: Final = ("observations", "tokens", "cost", "cost_estimated")
#: Types that Langfuse counts as calls of a model.
_MODEL_CALLS: Final = ("generation", "embedding")


class CapturedPart(NamedTuple):
    """The part of a test that its process knows: fields of its line, and the lines of its observations and scores."""

    fields: dict[str, Any]
    lines: list[str]


class CapturedLines:
    """Writes the lines of kept tests, and of `images` that they sent; paths are relative to `root`."""

    def __init__(self, redaction: Redaction, root: Path, images: SentImages) -> None:
        self._redaction, self._root, self._images = redaction, root, images
        self._places: dict[Start, str] = {}
        self._resources: dict[int, tuple[Mapping[str, Any], Any]] = {}

    def of(self, kept: KeptTest) -> CapturedPart:
        """Return what is to be written of a test."""
        shown, missing = _observations(kept)
        recorded = kept.own.recorded()
        processes = {} if kept.snapshot is None else kept.snapshot.processes
        test = self._redaction.text(kept.test)
        lines: list[str] = []
        for one, item in [*((one, None) for one in shown), *((item.observation, item) for item in missing)]:
            key = one.trace_id, one.id
            ids = {
                "kind": "observation",
                "test": test,
                "fault": kept.fault,
                "trace": one.trace_id,
                "id": one.id,
                "parent": one.parent_id,
                "resource": self._resource(one.record.resource),
            }
            record = recorded.get(key)
            fields = observation_fields(one, item, process=processes.get(key, ""), place=self._place(record))
            fields["fixture"] = _fixture(record)
            lines.append(self._redaction.line(ids, self._redaction.shortened(fields)))
        scores = kept.source.scores() if kept.snapshot is None else kept.snapshot.scores
        # After the scores, with which uploads are waited for.
        media = [self._redaction.line({**ids, "fault": kept.fault}, row) for ids, row in self._images.of(test, lines)]
        lines += [self._score(test, kept.fault, score) for score in scores]
        lines += media
        return CapturedPart(_fields(kept, shown, missing), lines)

    def _place(self, recorded: RecordedSpan | None) -> str:
        if recorded is None or recorded.start is None or (place := recorded.place) is None:
            return ""
        found = self._places.get(recorded.start)
        if found is None:
            found = self._places[recorded.start] = f"{relative(place.file, self._root)}:{place.line}"
        return found

    def _resource(self, resource: Mapping[str, Any]) -> Any:
        """Return what is written of a resource: the same object for all observations of a process."""
        found = self._resources.get(id(resource))
        if found is None or found[0] is not resource:
            shown = {key: value for key, value in resource.items() if not key.startswith("telemetry.")}
            found = self._resources[id(resource)] = resource, self._redaction.without_secrets(shown)
        return found[1]

    def _score(self, test: str, fault: str | None, score: Score) -> str:
        ids = {
            "kind": "score",
            "test": test,
            "fault": fault,
            "trace": score.trace_id,
            "observation": score.observation_id,
        }
        return self._redaction.line(ids, score_fields(score))


def fields_of(kept: KeptTest) -> dict[str, Any]:
    """Return the fields of the line of a test."""
    return _fields(kept, *_observations(kept))


def _observations(kept: KeptTest) -> tuple[Sequence[Observation], Sequence[Unexported]]:
    """Return the observations of a test that Langfuse shows, and those that it does not."""
    snapshot = kept.snapshot
    if snapshot is None:
        return kept.source.observations(), kept.unexported
    lost = snapshot.undelivered
    keys = {(item.observation.trace_id, item.observation.id) for item in lost}
    # What repeats an id is lost, but not the first one of that id.
    gone = {(item.observation.trace_id, item.observation.id) for item in lost if item.detail != SAME_ID}
    shown = [one for one in snapshot.observations if (one.trace_id, one.id) not in gone]
    others = [item for item in snapshot.unexported if (item.observation.trace_id, item.observation.id) not in keys]
    return shown, [*lost, *others]


def observation_fields(one: Observation, missing: Unexported | None, *, process: str, place: str) -> dict[str, Any]:
    """Return the fields of an observation, or of one that is `missing` in Langfuse."""
    record = one.record
    end = record.end_ns
    estimated = estimate(one)
    row = {
        "name": one.name,
        "type": one.type,
        "level": one.level,
        "status": one.status_message or "",
        "start": record.start_ns // 1_000,
        "duration": None if end is None else (end - record.start_ns) / 1e9,
        "input": one.input,
        "output": one.output,
        "metadata": one.metadata,
        "model": one.model or "",
        "model_parameters": one.model_parameters,
        "usage": one.usage,
        "cost": one.cost if estimated is None else {"total": estimated},
        "cost_estimated": estimated is not None,
        "user": one.user_id or "",
        "session": one.session_id or "",
        "tags": one.tags,
        "environment": one.environment,
        "version": one.version or "",
        "release": one.release or "",
        "prompt": _prompt(one),
        "trace_name": one.trace_name or "",
        "process": process,
        "thread": record.thread or "",
        "place": place,
        "exported": missing is None,
        "reason": "" if missing is None else _REASONS[missing.reason],
        "detail": "" if missing is None else missing.detail,
        "scope": record.scope_name,
        "otel_status": record.status,
        "attributes": dict(record.attributes),
    }
    if record.events:
        row["events"] = [{"name": event.name, "attributes": dict(event.attributes)} for event in record.events]
    return row


def score_fields(score: Score) -> dict[str, Any]:
    """Return the fields of a score but for the trace and the observation that it is about."""
    return {
        "session": score.session_id,
        "dataset_run": score.dataset_run_id,
        "name": score.name,
        "value": score.value,
        "data_type": score.data_type or "",
        "comment": score.comment or "",
        "metadata": score.metadata,
        "environment": score.environment or "",
    }


def _fixture(recorded: RecordedSpan | None) -> dict[str, Any] | None:
    """Return what is written of the fixture of a wider scope than a test that has made an observation."""
    if recorded is None or (fixture := recorded.fixture or recorded.teardown_of) is None:
        return None
    return {name: getattr(fixture, name) for name in ("name", "scope", "node", "param", "set_up")}


def _prompt(one: Observation) -> str:
    if not one.prompt_name:
        return ""
    return one.prompt_name if one.prompt_version is None else f"{one.prompt_name} v{one.prompt_version}"


# -- the part of a test's line -----------------------------------------------------------------------------------


def _fields(kept: KeptTest, shown: Sequence[Observation], missing: Sequence[Unexported]) -> dict[str, Any]:
    everything = [*shown, *(item.observation for item in missing)]
    return {
        "observations": len(shown),
        "generations": sum(one.type in _MODEL_CALLS for one in shown),
        "errors": sum(one.level == "ERROR" for one in shown),
        **TraceTotals.of(shown)._asdict(),
        "models": sorted({one.model for one in shown if one.model}),
        "fixtures_duration": round(kept.own.seconds_in_fixtures, 6),
        "unended": sum(item.reason == "unended" for item in missing),
        "lost": sum(item.reason == "dropped" for item in missing),
        "traces": list(dict.fromkeys(one.trace_id for one in everything)),
        "difference": None if kept.difference is None else difference_of(kept.difference),
        "outage": kept.outage,
        "health": None if kept.health is None else asdict(kept.health),
        "missing": None,
        "attempts": [*kept.attempts],
    }


def used_by(kept: KeptTest) -> dict[str, Any]:
    """Return what a test, an attempt that is run again, has used: some of the fields of its line."""
    fields = fields_of(kept)
    return {name: fields[name] for name in USED}


def difference_of(trees: SideBySide) -> dict[str, Any]:
    """Return what lines have of two trees that differ."""
    count = len(trees.sentences)
    return {
        "expected": [_cell(expected) for expected, _ in trees.pairs],
        "captured": [_cell(captured) for _, captured in trees.pairs],
        "sentence": f"{count} difference{'s' * (count != 1)}",
        "sentences": trees.sentences,
    }


def _cell(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    observation = None if cell.observation is None else cell.observation.id
    return {"text": cell.text, "state": cell.state, "observation": observation, "number": cell.number}
