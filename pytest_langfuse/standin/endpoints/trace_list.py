"""Traces, as langfuse 4 reads them back, and the deletion of traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import httpx

from pytest_langfuse.recording.server_view.javascript import parse_json_or_text
from pytest_langfuse.recording.trace import Trace
from pytest_langfuse.standin.endpoints.api_call import (
    ApiCall,
    Endpoint,
    Issue,
    invalid_data,
    invalid_request,
    not_found,
)
from pytest_langfuse.standin.endpoints.filter_conditions import Columns, filtered
from pytest_langfuse.standin.endpoints.observation_json import is_public, reduced
from pytest_langfuse.standin.endpoints.observation_list import ObservationList
from pytest_langfuse.standin.endpoints.project import PROJECT_ID
from pytest_langfuse.standin.endpoints.query_values import (
    groups_of,
    iso,
    json_response,
    not_one_of,
    page_of,
    texts_of,
    time_of,
)
from pytest_langfuse.standin.endpoints.score_json import score_of_trace
from pytest_langfuse.standin.endpoints.scores import Scores
from pytest_langfuse.standin.endpoints.simple_conditions import all_of, before, equal, one_of, since
from pytest_langfuse.standin.exported import Exported, start_of

_GROUPS: Final = ("core", "io", "scores", "observations", "metrics")
_MOST_DELETED: Final = 1000
_ORDERED_BY: Final[dict[str, Callable[[Trace], Any]]] = {
    "id": lambda trace: trace.id,
    "timestamp": start_of,
    "name": lambda trace: trace.name or "",
    "userId": lambda trace: trace.user_id or "",
    "release": lambda trace: trace.release or "",
    "version": lambda trace: trace.version or "",
    "public": lambda trace: any(map(is_public, trace.observations)),
    "bookmarked": lambda _: False,
    "sessionId": lambda trace: trace.session_id or "",
}


class TraceList:
    """Answers with the traces that were exported."""

    def __init__(self, exported: Exported, observations: ObservationList, scores: Scores) -> None:
        self._exported = exported
        self._observations = observations
        self._scores = scores
        self._columns: Columns[Trace] = {
            **_ORDERED_BY,
            "traceName": lambda trace: trace.name,
            "environment": lambda trace: trace.environment,
            "metadata": lambda trace: trace.metadata,
            "tags": lambda trace: trace.tags,
            "traceTags": lambda trace: trace.tags,
            "level": lambda trace: trace.level,
            "latency": _latency,
            "totalCost": lambda trace: trace.total_cost,
            "inputCost": lambda trace: reduced(trace.cost)["input"],
            "outputCost": lambda trace: reduced(trace.cost)["output"],
            "inputTokens": lambda trace: reduced(trace.usage)["input"],
            "outputTokens": lambda trace: reduced(trace.usage)["output"],
            "totalTokens": lambda trace: reduced(trace.usage)["total"],
            "tokens": lambda trace: reduced(trace.usage)["total"],
            **{f"{level.lower()}Count": _count_of(level) for level in ("ERROR", "WARNING", "DEFAULT", "DEBUG")},
            "scores_avg": lambda trace: self._scores.averages(trace.id),
            "scores": lambda trace: self._scores.averages(trace.id),
            "score_categories": lambda trace: self._scores.categories(trace.id),
        }

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("GET", "/traces", self._list),
            Endpoint("DELETE", "/traces", self._delete_many),
            Endpoint("GET", "/traces/{id}", self._get),
            Endpoint("DELETE", "/traces/{id}", self._delete),
        ]

    def _list(self, call: ApiCall) -> httpx.Response:
        query, columns = call.query, self._columns
        groups = groups_of(query, _GROUPS, _GROUPS, strict=False)
        simple = {
            **{name: equal(columns[name], query.get(name)) for name in ("userId", "sessionId", "version", "release")},
            "traceName": equal(columns["name"], query.get("name")),
            "tags": all_of(columns["tags"], texts_of(query, "tags")),
            "environment": one_of(columns["environment"], texts_of(query, "environment")),
            "timestamp:from": since(start_of, time_of(query, "fromTimestamp")),
            "timestamp:to": before(start_of, time_of(query, "toTimestamp")),
        }
        traces = filtered(self._exported.traces(), query, columns, simple)
        page, meta = page_of(query, _ordered(traces, query.get("orderBy")))
        return json_response({"data": [self._in_list(trace, groups) for trace in page], "meta": meta})

    def _in_list(self, trace: Trace, groups: set[str]) -> dict[str, Any]:
        """Return a trace as the list shows it: what was not asked for is empty, or -1, as clients need the fields."""
        metrics, lists = "metrics" in groups, {"observations", "scores"} & groups
        answer = trace_json(trace, with_content="io" in groups)
        return {
            **answer,
            "observations": [item.id for item in trace.observations] if "observations" in lists else [],
            "scores": [score.id for score in self._scores.of_trace(trace.id)] if "scores" in lists else [],
            "totalCost": (trace.total_cost or 0) if metrics else -1,
            "latency": _latency(trace) if metrics else -1,
        }

    def _find(self, trace_id: str) -> Trace:
        for trace in self._exported.traces():
            if trace.id == trace_id:
                return trace
        raise not_found(f"Trace {trace_id} not found within authorized project")

    def _get(self, call: ApiCall) -> httpx.Response:
        groups = groups_of(call.query, _GROUPS, _GROUPS, strict=False)
        trace = self._find(call.segments["id"])
        answer = self._in_list(trace, groups)
        if "observations" in groups:
            answer["observations"] = [self._observations.full_json(item) for item in trace.observations]
        if "scores" in groups:
            scores = [score_of_trace(score) for score in self._scores.of_trace(trace.id)]
            answer["scores"] = [score for score in scores if score is not None]
        return json_response(answer)

    def _delete(self, call: ApiCall) -> httpx.Response:
        self._exported.delete([call.segments["id"]])
        return httpx.Response(200, json={"message": "Trace deleted successfully"})

    def _delete_many(self, call: ApiCall) -> httpx.Response:
        trace_ids = call.fields().get("traceIds")
        path = ("traceIds",)
        if not isinstance(trace_ids, list) or not all(isinstance(trace_id, str) for trace_id in trace_ids):
            raise invalid_data(Issue(path, "Invalid input: expected array", "invalid_type"))
        if not trace_ids:
            raise invalid_data(Issue(path, "At least 1 traceId is required.", "too_small"))
        if len(trace_ids) > _MOST_DELETED:
            message = f"Cannot specify more than {_MOST_DELETED} traces in a single request."
            raise invalid_data(Issue(path, message, "too_big"))
        self._exported.delete(trace_ids)
        return httpx.Response(200, json={"message": "Traces deleted successfully"})


def trace_json(trace: Trace, *, with_content: bool) -> dict[str, Any]:
    """Return a trace without its observations and scores (`APITrace` of the server)."""
    time = iso(start_of(trace))
    content = {
        "input": _own_or(trace, "input", trace.input),
        "output": _own_or(trace, "output", trace.output),
        "metadata": trace.metadata,
    }
    return {
        "id": trace.id,
        "externalId": None,
        "timestamp": time,
        "name": trace.name,
        "userId": trace.user_id,
        "release": trace.release,
        "version": trace.version,
        "projectId": PROJECT_ID,
        "environment": trace.environment,
        "public": any(map(is_public, trace.observations)),
        "bookmarked": False,
        "tags": trace.tags,
        **(content if with_content else {"input": None, "output": None, "metadata": {}}),
        "sessionId": trace.session_id,
        "createdAt": time,
        "updatedAt": time,
        "htmlPath": f"/project/{PROJECT_ID}/traces/{trace.id}",
    }


def _own_or(trace: Trace, name: str, otherwise: Any) -> Any:
    """Return what langfuse 4 set as input or output of the trace (`set_trace_io`), else those of the root."""
    for observation in reversed(trace.observations):
        text = observation.attributes.get(f"langfuse.trace.{name}")
        if isinstance(text, str):
            return parse_json_or_text(text)
    return otherwise


def _ordered(traces: list[Trace], order: str | None) -> list[Trace]:
    if not order:
        return traces
    column, _, direction = order.partition(".")
    if direction.upper() not in {"ASC", "DESC"}:
        raise not_one_of(("orderBy", "order"), ("ASC", "DESC"))
    key = _ORDERED_BY.get(column)
    if key is None:
        raise invalid_request(f"Invalid order by column: {column}")
    return sorted(traces, key=key, reverse=direction.upper() == "DESC")


def _latency(trace: Trace) -> float:
    ends = [item.end_time for item in trace.observations if item.end_time is not None]
    return round((max(ends) - start_of(trace)).total_seconds(), 3) if ends else 0


def _count_of(level: str) -> Callable[[Trace], int]:
    return lambda trace: sum(1 for item in trace.observations if item.level == level)
