"""Sessions: the traces that name the same one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx

from pytest_langfuse.recording.trace import Trace
from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint, not_found
from pytest_langfuse.standin.endpoints.project import PROJECT_ID
from pytest_langfuse.standin.endpoints.query_values import iso, json_response, page_of, texts_of, time_of
from pytest_langfuse.standin.endpoints.simple_conditions import before, one_of, since
from pytest_langfuse.standin.endpoints.trace_list import trace_json
from pytest_langfuse.standin.exported import Exported, start_of


class SessionList:
    """Answers with the sessions of the traces that were exported."""

    def __init__(self, exported: Exported) -> None:
        self._exported = exported

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("GET", "/sessions", self._list),
            Endpoint("GET", "/sessions/{id}", self._get),
        ]

    def _sessions(self) -> dict[str, list[Trace]]:
        """Return the traces of each session: the newest session first, its traces in the order of their start."""
        sessions: dict[str, list[Trace]] = {}
        for trace in reversed(self._exported.traces()):
            if trace.session_id:
                sessions.setdefault(trace.session_id, []).append(trace)
        return dict(reversed(sessions.items()))

    def _list(self, call: ApiCall) -> httpx.Response:
        query = call.query
        conditions = (
            since(_began, time_of(query, "fromTimestamp")),
            before(_began, time_of(query, "toTimestamp")),
            one_of(_environment, texts_of(query, "environment")),
        )
        found = [
            _session_json(session_id, traces)
            for session_id, traces in self._sessions().items()
            if all(condition is None or condition(traces) for condition in conditions)
        ]
        page, meta = page_of(query, found)
        return json_response({"data": page, "meta": meta})

    def _get(self, call: ApiCall) -> httpx.Response:
        session_id = call.segments["id"]
        traces = self._sessions().get(session_id)
        if traces is None:
            raise not_found("Session not found within authorized project")
        shown = [trace_json(trace, with_content=True) for trace in traces]
        for trace in shown:
            del trace["htmlPath"]
        return json_response({**_session_json(session_id, traces), "traces": shown})


def _session_json(session_id: str, traces: Sequence[Trace]) -> dict[str, Any]:
    return {
        "id": session_id,
        "createdAt": iso(_began(traces)),
        "projectId": PROJECT_ID,
        "environment": _environment(traces),
    }


def _began(traces: Sequence[Trace]) -> Any:
    return start_of(traces[0])


def _environment(traces: Sequence[Trace]) -> str:
    return traces[0].environment
