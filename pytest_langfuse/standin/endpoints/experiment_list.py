"""Experiments and their items, as langfuse 5 reads them back: spans say to which experiment they belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.server_view.javascript import parse_json_or_text
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint, invalid_request
from pytest_langfuse.standin.endpoints.cursor import decode_cursor, encode_cursor
from pytest_langfuse.standin.endpoints.filter_conditions import Columns, filtered
from pytest_langfuse.standin.endpoints.query_values import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    groups_of,
    iso,
    json_response,
    parse_time,
    required,
    time_of,
    whole_number,
    words_of,
)
from pytest_langfuse.standin.endpoints.score_json import polymorphic_json
from pytest_langfuse.standin.endpoints.scores import Scores
from pytest_langfuse.standin.endpoints.simple_conditions import one_of
from pytest_langfuse.standin.exported import Exported, place_of, started

_GROUPS: Final = ("core", "metadata", "scores")
_GROUPS_OF_ITEM: Final = ("core", "dataset", "io", "metadata", "itemMetadata", "experimentMetadata", "scores")
_MOST_SCORES: Final = 50


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment: its observations, the newest first."""

    observations: Sequence[Observation]

    @property
    def newest(self) -> Observation:
        """The observation that started last."""
        return self.observations[0]

    def first(self, name: str) -> str | None:
        """Return an attribute of the experiment, from the newest observation that has it."""
        return next((value for item in self.observations if (value := _of(item, name)) is not None), None)


def _of(observation: Observation, name: str) -> str | None:
    value = observation.attributes.get(f"langfuse.experiment.{name}")
    return None if value is None else str(value)


_COLUMNS: Final[Columns[ExperimentRow]] = {
    "id": lambda row: row.first("id"),
    "name": lambda row: row.first("name"),
    "datasetId": lambda row: row.first("dataset.id"),
}
_COLUMNS_OF_ITEM: Final[Columns[Observation]] = {
    "experimentId": lambda item: _of(item, "id"),
    "experimentName": lambda item: _of(item, "name"),
    "experimentItemId": lambda item: _of(item, "item.id"),
    "datasetId": lambda item: _of(item, "dataset.id"),
}


class ExperimentList:
    """Answers with the experiments whose spans were exported."""

    def __init__(self, exported: Exported, scores: Scores) -> None:
        self._exported = exported
        self._scores = scores

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("GET", "/experiments", self._list),
            Endpoint("GET", "/experiment-items", self._list_items),
        ]

    def _observations(self, query: httpx.QueryParams) -> list[Observation]:
        """Return the observations of experiments in the range of time that was asked for, the newest first."""
        since = parse_time(required(query, "fromStartTime"), ("fromStartTime",))
        before = time_of(query, "toStartTime")
        return [
            observation
            for observation in self._exported.observations()
            if _of(observation, "id")
            and started(observation) >= since
            and (before is None or started(observation) < before)
        ]

    def _list(self, call: ApiCall) -> httpx.Response:
        query = call.query
        groups = groups_of(query, _GROUPS, ("core",), strict=True)
        scores = whole_number(query, "scoreLimit", default=_MOST_SCORES, most=_MOST_SCORES)
        experiments: dict[str, list[Observation]] = {}
        for observation in self._observations(query):
            experiments.setdefault(_of(observation, "id") or "", []).append(observation)
        rows = filtered(
            [ExperimentRow(items) for items in experiments.values()],
            query,
            _COLUMNS,
            {name: one_of(read, words_of(query, name)) for name, read in _COLUMNS.items()},
        )
        page, meta = _page(query, rows, lambda row: row.newest)
        return json_response({"data": [self._summary(row, groups, scores) for row in page], "meta": meta})

    def _summary(self, row: ExperimentRow, groups: set[str], most: int) -> dict[str, Any]:
        ends = [item.end_time or started(item) for item in row.observations]
        experiment_id = row.first("id")
        answer: dict[str, Any] = {
            "id": experiment_id,
            "name": row.first("name") or "",
            "description": row.first("description"),
            "startTime": iso(min(started(item) for item in row.observations)),
            "endTime": iso(max(ends)),
            "itemCount": sum(1 for item in row.observations if _is_item(item)),
            "datasetId": row.first("dataset.id"),
        }
        if "metadata" in groups:
            answer["metadata"] = _object(row.first("metadata"))
        if "scores" in groups:
            own = [score for score in self._scores.shown() if score.dataset_run_id == experiment_id]
            answer["scores"] = _scores_json(own[:most])
        return answer

    def _list_items(self, call: ApiCall) -> httpx.Response:
        query = call.query
        groups = groups_of(query, _GROUPS_OF_ITEM, ("core", "dataset"), strict=True)
        scores = whole_number(query, "scoreLimit", default=_MOST_SCORES, most=_MOST_SCORES)
        rows = filtered(
            [observation for observation in self._observations(query) if _is_item(observation)],
            query,
            _COLUMNS_OF_ITEM,
            {name: one_of(read, words_of(query, name)) for name, read in _COLUMNS_OF_ITEM.items()},
        )
        page, meta = _page(query, rows, lambda item: item)
        return json_response({"data": [self._item(item, groups, scores) for item in page], "meta": meta})

    def _item(self, item: Observation, groups: set[str], most: int) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "id": item.id,
            "traceId": item.trace_id,
            "startTime": iso(started(item)),
            "endTime": None if item.end_time is None else iso(item.end_time),
            "level": item.level,
            "environment": item.environment,
            "experimentId": _of(item, "id"),
            "experimentName": _of(item, "name") or "",
            "experimentItemId": _of(item, "item.id") or "",
        }
        if "dataset" in groups:
            answer["experimentDatasetId"] = _of(item, "dataset.id")
            answer["experimentItemVersion"] = _of(item, "item.version")
        if "io" in groups:
            expected = _of(item, "item.expected_output")
            answer |= {"input": item.input, "output": item.output}
            answer["expectedOutput"] = None if expected is None else parse_json_or_text(expected)
        if "metadata" in groups:
            answer["metadata"] = item.metadata
        if "itemMetadata" in groups:
            answer["experimentItemMetadata"] = _object(_of(item, "item.metadata"))
        if "experimentMetadata" in groups:
            answer["experimentMetadata"] = _object(_of(item, "metadata"))
            answer["experimentDescription"] = _of(item, "description")
        if "scores" in groups:
            answer["scores"] = _scores_json(self._scores.of_trace(item.trace_id)[:most])
        return answer


def _is_item(observation: Observation) -> bool:
    return _of(observation, "item.root_observation_id") == observation.id


def _scores_json(scores: Sequence[Score]) -> list[dict[str, Any]]:
    return [polymorphic_json(score, ("core", "subject")) for score in scores]


def _object(text: str | None) -> Mapping[str, Any] | None:
    value = None if text is None else parse_json_or_text(text)
    return value if isinstance(value, Mapping) else None


def _page(
    query: httpx.QueryParams, rows: Sequence[Any], newest: Callable[[Any], Observation]
) -> tuple[Sequence[Any], dict[str, str]]:
    """Return the rows after the cursor, as many as were asked for, and the cursor of the next page."""
    limit = whole_number(query, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)
    if cursor := query.get("cursor"):
        place = decode_cursor(cursor, "lastTime", "lastTraceId", "lastId", "lastExperimentId")
        if not place["lastTime"].isdecimal():
            raise invalid_request("Invalid cursor format")
        last = int(place["lastTime"]), place["lastTraceId"], place["lastId"]
        rows = [row for row in rows if place_of(newest(row)) < last]
    if len(rows) <= limit:
        return rows, {}
    end = newest(rows[limit - 1])
    start, trace_id, span_id = place_of(end)
    place = {"lastTime": str(start), "lastTraceId": trace_id, "lastId": span_id, "lastExperimentId": _of(end, "id")}
    return rows[:limit], {"cursor": encode_cursor({"v": 1, **place})}
