"""Lists of scores: `GET /v3/scores` (langfuse 5), `/v2/scores` (langfuse 4), and `/scores`, the oldest."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx

from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.trace import Trace
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
    MAX_LIMIT,
    choice_of,
    groups_of,
    json_response,
    page_of,
    read_date,
    texts_of,
    time_of,
    whole_number,
    words_of,
)
from pytest_langfuse.standin.endpoints.score_json import GROUPS, polymorphic_json, score_json, score_of_trace
from pytest_langfuse.standin.endpoints.score_query import value_conditions
from pytest_langfuse.standin.endpoints.scores import Scores, time_of_score
from pytest_langfuse.standin.endpoints.simple_conditions import before, equal, one_of, since
from pytest_langfuse.standin.exported import Exported

SOURCES: Final = ("API", "EVAL", "ANNOTATION")
TYPES: Final = ("NUMERIC", "CATEGORICAL", "BOOLEAN", "CORRECTION", "TEXT")
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
}
_COLUMNS: Final[Columns[Score]] = {
    "id": lambda score: score.id,
    "name": lambda score: score.name,
    "dataType": lambda score: score.data_type,
    "source": lambda _: "API",
    "environment": lambda score: score.environment or "default",
    "configId": lambda score: score.config_id,
    "queueId": lambda score: score.queue_id,
    "authorUserId": lambda _: None,
    "traceId": lambda score: score.trace_id,
    "observationId": lambda score: score.observation_id,
    "sessionId": lambda score: score.session_id,
    "datasetRunId": lambda score: score.dataset_run_id,
    "experimentId": lambda score: score.dataset_run_id,
    "timestamp": time_of_score,
    "comment": lambda score: score.comment,
    "metadata": lambda score: score.metadata,
    "value": lambda score: None if isinstance(score.value, str) else score.value,
    "stringValue": lambda score: score.value if isinstance(score.value, str) else None,
}
#: The parameters of `GET /v3/scores` that name values of columns, separated by commas.
_LISTED: Final = (
    "id",
    "name",
    "environment",
    "configId",
    "queueId",
    "authorUserId",
    "traceId",
    "sessionId",
    "observationId",
    "experimentId",
)


class ScoreList:
    """Answers with the scores that were sent."""

    def __init__(self, scores: Scores, exported: Exported) -> None:
        self._scores = scores
        self._exported = exported

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("GET", "/scores", self._list_of_traces),
            Endpoint("GET", "/scores/{id}", self._get_of_trace),
            Endpoint("GET", "/v2/scores", self._list),
            Endpoint("GET", "/v2/scores/{id}", self._get),
            Endpoint("GET", "/v3/scores", self._list_polymorphic),
        ]

    # -- one score ---------------------------------------------------------------------------------------------

    def _get(self, call: ApiCall) -> httpx.Response:
        for score in self._scores.shown():
            if score.id == call.segments["id"]:
                return json_response(score_json(score))
        raise not_found("Score not found")

    def _get_of_trace(self, call: ApiCall) -> httpx.Response:
        for score in self._scores.shown():
            if score.id == call.segments["id"] and (answer := score_of_trace(score)) is not None:
                return json_response(answer)
        raise not_found("Score not found")

    # -- pages -------------------------------------------------------------------------------------------------

    def _list(self, call: ApiCall) -> httpx.Response:
        query = call.query
        groups = groups_of(query, ("score", "trace"), ("score", "trace"), strict=False)
        if "score" not in groups:
            raise invalid_request("Scores needs to be selected always.")
        with_trace = "trace" in groups
        if not with_trace and (query.get("userId") or query.get("traceTags")):
            raise invalid_request(
                "Cannot filter by trace properties (userId, traceTags) when 'trace' field is not included. Please add "
                "'trace' to the fields parameter or remove trace filters."
            )
        traces = self._traces()
        simple = {
            **self._conditions(query, traces),
            **{name: equal(_COLUMNS[name], query.get(name)) for name in ("sessionId", "traceId", "datasetRunId")},
            "observationId": one_of(_COLUMNS["observationId"], words_of(query, "observationId")),
        }
        page, meta = page_of(query, filtered(self._scores.shown(), query, _COLUMNS, simple))
        data = [score_json(score) | ({"trace": _trace_of(score, traces)} if with_trace else {}) for score in page]
        return json_response({"data": data, "meta": meta})

    def _list_of_traces(self, call: ApiCall) -> httpx.Response:
        query, traces = call.query, self._traces()
        found = filtered(self._scores.shown(), query, _COLUMNS, self._conditions(query, traces))
        known = [(score, answer) for score in found if (answer := score_of_trace(score)) is not None]
        page, meta = page_of(query, known)
        nobody: dict[str, Any] = {"userId": None, "tags": [], "environment": None}
        data = [answer | {"trace": _trace_of(score, traces) or nobody} for score, answer in page]
        return json_response({"data": data, "meta": meta})

    def _traces(self) -> dict[str, Trace]:
        return {trace.id: trace for trace in self._exported.traces()}

    def _conditions(
        self, query: httpx.QueryParams, traces: Mapping[str, Trace]
    ) -> dict[str, Callable[[Score], bool] | None]:
        """Return the conditions of the parameters that both lists with pages have."""
        choices = {"dataType": choice_of(query, "dataType", TYPES), "source": choice_of(query, "source", SOURCES)}
        texts = {name: query.get(name) for name in ("name", "configId", "queueId")}
        user_id, tags = query.get("userId"), texts_of(query, "traceTags")
        return {
            **{name: equal(_COLUMNS[name], value) for name, value in {**texts, **choices}.items()},
            "environment": one_of(_COLUMNS["environment"], texts_of(query, "environment")),
            "id": one_of(_COLUMNS["id"], words_of(query, "scoreIds")),
            "timestamp:from": since(time_of_score, time_of(query, "fromTimestamp")),
            "timestamp:to": before(time_of_score, time_of(query, "toTimestamp")),
            "value": _compared(query),
            "userId": None if user_id is None else lambda score: _of(traces, score, "user_id") == user_id,
            "traceTags": None if tags is None else lambda score: set(tags) <= set(_of(traces, score, "tags") or ()),
        }

    # -- with a cursor -----------------------------------------------------------------------------------------

    def _list_polymorphic(self, call: ApiCall) -> httpx.Response:
        query = call.query
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, most=MAX_LIMIT)
        groups = groups_of(query, GROUPS, ("core",), strict=True)
        simple = {
            **{name: one_of(_COLUMNS[name], words_of(query, name)) for name in _LISTED},
            **value_conditions(query, types=TYPES, sources=SOURCES),
            "timestamp:from": since(time_of_score, read_date(query.get("fromTimestamp"))),
            "timestamp:to": before(time_of_score, read_date(query.get("toTimestamp"))),
        }
        scores = _after(query.get("cursor"), filtered(self._scores.shown(), query, _COLUMNS, simple))
        meta: dict[str, Any] = {"limit": limit}
        if len(scores) > limit:
            meta["cursor"] = _cursor(scores[limit - 1])
        return json_response({"data": [polymorphic_json(score, groups) for score in scores[:limit]], "meta": meta})


def _compared(query: httpx.QueryParams) -> Callable[[Score], bool] | None:
    """Return the condition of `value` and `operator`, which count only together."""
    comparison, text = choice_of(query, "operator", tuple(_COMPARISONS)), query.get("value")
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError as error:
        message = "Invalid input: expected number, received NaN"
        raise invalid_data(Issue(("value",), message, "invalid_type")) from error
    if comparison is None:
        return None
    compare = _COMPARISONS[comparison]
    return lambda score: not isinstance(score.value, str) and compare(score.value, number)


def _of(traces: Mapping[str, Trace], score: Score, name: str) -> Any:
    trace = traces.get(score.trace_id or "")
    return None if trace is None else getattr(trace, name)


def _trace_of(score: Score, traces: Mapping[str, Trace]) -> dict[str, Any] | None:
    trace = traces.get(score.trace_id or "")
    if trace is None:
        return None
    return {
        "userId": trace.user_id,
        "tags": trace.tags,
        "environment": trace.environment,
        "sessionId": trace.session_id,
    }


def _cursor(score: Score) -> str:
    return encode_cursor({"v": 1, "lastTimestamp": time_of_score(score).isoformat(), "lastId": score.id or ""})


def _after(cursor: str | None, scores: Sequence[Score]) -> Sequence[Score]:
    """Return the scores after the place of a cursor."""
    if cursor is None:
        return scores
    place = decode_cursor(cursor, "lastTimestamp", "lastId")
    time = read_date(place["lastTimestamp"])
    if time is None:
        raise invalid_request("Invalid cursor format")
    return [score for score in scores if (time_of_score(score), score.id or "") < (time, place["lastId"])]
