"""Lists of observations: `GET /observations` (langfuse 4) and `GET /v2/observations` (langfuse 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from pytest_langfuse.recording.observation import TYPES, Observation
from pytest_langfuse.recording.trace import Trace, build_traces
from pytest_langfuse.standin.endpoints import observation_json
from pytest_langfuse.standin.endpoints.api_call import (
    ApiCall,
    Endpoint,
    Issue,
    invalid_data,
    invalid_request,
    not_found,
)
from pytest_langfuse.standin.endpoints.cursor import decode_cursor, encode_cursor
from pytest_langfuse.standin.endpoints.filter_conditions import Columns, filtered
from pytest_langfuse.standin.endpoints.query_values import (
    DEFAULT_LIMIT,
    choice_of,
    groups_of,
    iso,
    json_response,
    page_of,
    read_date,
    texts_of,
    time_of,
    whole_number,
    words_of,
)
from pytest_langfuse.standin.endpoints.simple_conditions import before, equal, one_of, since
from pytest_langfuse.standin.exported import Exported, place_of, started

LEVELS: Final = ("DEBUG", "DEFAULT", "WARNING", "ERROR")
_TYPES: Final = tuple(kind.upper() for kind in TYPES)
_MOST: Final = 1000

#: Returns the id of a version of a prompt: `(name, version) -> id`.
PromptId = Callable[[str | None, int | None], str | None]


@dataclass(frozen=True, slots=True)
class ObservationRow:
    """An observation and its trace, of which the older endpoint takes user, session and tags."""

    observation: Observation
    trace: Trace


def _field(name: str) -> Callable[[ObservationRow], Any]:
    return lambda row: getattr(row.observation, name)


def _part(name: str, key: str) -> Callable[[ObservationRow], Any]:
    return lambda row: observation_json.reduced(getattr(row.observation, name))[key]


_COLUMNS: Final[Columns[ObservationRow]] = {
    "id": _field("id"),
    "traceId": _field("trace_id"),
    "type": lambda row: row.observation.type.upper(),
    "name": _field("name"),
    "level": _field("level"),
    "statusMessage": _field("status_message"),
    "version": _field("version"),
    "release": _field("release"),
    "environment": _field("environment"),
    "parentObservationId": _field("parent_id"),
    "startTime": lambda row: started(row.observation),
    "endTime": _field("end_time"),
    "input": lambda row: observation_json.stored(row.observation.input),
    "output": lambda row: observation_json.stored(row.observation.output),
    "metadata": _field("metadata"),
    "model": _field("model"),
    "providedModelName": _field("model"),
    "promptName": _field("prompt_name"),
    "promptVersion": _field("prompt_version"),
    "inputTokens": _part("usage", "input"),
    "outputTokens": _part("usage", "output"),
    "totalTokens": _part("usage", "total"),
    "tokens": _part("usage", "total"),
    "inputCost": _part("cost", "input"),
    "outputCost": _part("cost", "output"),
    "totalCost": _part("cost", "total"),
    "latency": lambda row: observation_json.latency(row.observation),
    "timeToFirstToken": lambda row: observation_json.time_to_first_token(row.observation),
    "isRootObservation": _field("is_root"),
    "hasParentObservation": lambda row: bool(row.observation.parent_id),
    "hasInput": lambda row: row.observation.input is not None,
    "hasOutput": lambda row: row.observation.output is not None,
    "traceName": lambda row: row.trace.name,
    "traceTags": lambda row: row.trace.tags,
    "traceEnvironment": lambda row: row.trace.environment,
}
#: The older endpoint reads user and session of the trace, the newer one of each observation.
_COLUMNS_OF_V1: Final[Columns[ObservationRow]] = {
    **_COLUMNS,
    "userId": lambda row: row.trace.user_id,
    "sessionId": lambda row: row.trace.session_id,
}
_COLUMNS_OF_V2: Final[Columns[ObservationRow]] = {
    **_COLUMNS,
    "userId": _field("user_id"),
    "sessionId": _field("session_id"),
}


class ObservationList:
    """Answers with the observations that were exported."""

    def __init__(self, exported: Exported, prompt_id: PromptId) -> None:
        self._exported = exported
        self._prompt_id = prompt_id

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("GET", "/observations", self._list),
            Endpoint("GET", "/observations/{id}", self._get),
            Endpoint("GET", "/v2/observations", self._list_partial),
        ]

    def full_json(self, observation: Observation) -> dict[str, Any]:
        """Return an observation as the older endpoints show it."""
        return observation_json.full_json(observation, self._prompt(observation))

    def _prompt(self, observation: Observation) -> str | None:
        return self._prompt_id(observation.prompt_name, observation.prompt_version)

    def _rows(self) -> list[ObservationRow]:
        observations = self._exported.observations()
        traces = {trace.id: trace for trace in build_traces(observations)}
        return [ObservationRow(observation, traces[observation.trace_id]) for observation in observations]

    def _list(self, call: ApiCall) -> httpx.Response:
        rows = filtered(self._rows(), call.query, _COLUMNS_OF_V1, _simple_conditions(call.query, _COLUMNS_OF_V1))
        page, meta = page_of(call.query, rows)
        return json_response({"data": [self.full_json(row.observation) for row in page], "meta": meta})

    def _get(self, call: ApiCall) -> httpx.Response:
        wanted = call.segments["id"]
        for observation in self._exported.observations():
            if observation.id == wanted:
                return json_response(self.full_json(observation))
        raise not_found("Observation not found within authorized project")

    def _list_partial(self, call: ApiCall) -> httpx.Response:
        query = call.query
        if query.get("parseIoAsJson") == "true":
            message = (
                "parseIoAsJson=true is no longer supported on the v2 observations endpoint. Input/output fields are "
                "always returned as raw strings. Remove the parseIoAsJson parameter or set it to false."
            )
            raise invalid_data(Issue(("parseIoAsJson",), message))
        groups = groups_of(query, observation_json.GROUPS, ("core", "basic"), strict=False)
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, least=0, most=_MOST)
        simple = {
            **_simple_conditions(query, _COLUMNS_OF_V2),
            "sessionId": equal(_COLUMNS_OF_V2["sessionId"], query.get("sessionId")),
            "isRootObservation": _flag(query, "isRootObservation", _COLUMNS_OF_V2["isRootObservation"]),
        }
        rows = _after(query.get("cursor"), filtered(self._rows(), query, _COLUMNS_OF_V2, simple))
        expanded = words_of(query, "expandMetadata") or ()
        data = [
            observation_json.partial_json(row.observation, groups, expanded, self._prompt(row.observation))
            for row in rows[:limit]
        ]
        more = len(rows) > limit > 0
        meta = {"cursor": _cursor(rows[limit - 1].observation)} if more else {}
        return json_response({"data": data, "meta": meta})


def _simple_conditions(
    query: httpx.QueryParams, columns: Columns[ObservationRow]
) -> Mapping[str, Callable[[ObservationRow], bool] | None]:
    """Return the conditions of the parameters that both endpoints have."""
    choices = {"type": choice_of(query, "type", _TYPES), "level": choice_of(query, "level", LEVELS)}
    texts = {name: query.get(name) for name in ("name", "userId", "traceId", "version", "parentObservationId")}
    start = columns["startTime"]
    return {
        **{name: equal(columns[name], value) for name, value in {**texts, **choices}.items()},
        "environment": one_of(columns["environment"], texts_of(query, "environment")),
        "startTime:from": since(start, time_of(query, "fromStartTime")),
        "startTime:to": before(start, time_of(query, "toStartTime")),
    }


def _flag(
    query: httpx.QueryParams, name: str, read: Callable[[ObservationRow], Any]
) -> Callable[[ObservationRow], bool] | None:
    value = choice_of(query, name, ("true", "false"))
    return None if value is None else lambda row: read(row) is (value == "true")


def _cursor(observation: Observation) -> str:
    place = {
        "lastStartTimeTo": iso(started(observation)),
        "lastTraceId": observation.trace_id,
        "lastId": observation.id,
        # Two observations of one millisecond have a place each.
        "lastStart": str(observation.record.start_ns),
    }
    return encode_cursor(place)


def _after(cursor: str | None, rows: Sequence[ObservationRow]) -> Sequence[ObservationRow]:
    """Return the rows after the place of a cursor: those that come later in the list."""
    if cursor is None:
        return rows
    place = decode_cursor(cursor, "lastStartTimeTo", "lastTraceId", "lastId")
    time = read_date(place["lastStartTimeTo"])
    if time is None:
        raise invalid_request("Invalid cursor format")
    start = place.get("lastStart", "")
    last = (int(start) if start.isdecimal() else _nanoseconds(time), place["lastTraceId"], place["lastId"])
    return [row for row in rows if place_of(row.observation) < last]


def _nanoseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000) * 1_000_000
