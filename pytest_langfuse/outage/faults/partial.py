"""Requests of which half is accepted, which OTLP calls partial success."""

from __future__ import annotations

import json
from typing import Any

import httpx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pytest_langfuse.recording.otlp.protobuf_request import parse_request
from pytest_langfuse.standin.endpoints.api_call import ApiCall, Refusal
from pytest_langfuse.standin.endpoints.traces import PROTOBUF
from pytest_langfuse.standin.http.http_server import Answer
from pytest_langfuse.standin.paths import endpoint_of

_ABOUT_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_REASON = "quota exceeded: some spans were rejected"


def reject_some(request: httpx.Request, answer: Answer) -> httpx.Response:
    """Give `answer` the first half of what `request` brings (rounded down), and reject the rest.

    A request with nothing to halve is answered as usual.
    """
    try:
        endpoint = endpoint_of(request.url.path)
        if request.method == "POST" and endpoint == "scores":
            return _scores(request, answer)
        if request.method == "POST" and request.url.path.endswith("/traces"):
            if PROTOBUF in request.headers.get("content-type", ""):
                return _protobuf(request, answer)
            return _json(request, answer)
    except (DecodeError, Refusal, ValueError, AttributeError, TypeError, LookupError, RecursionError):
        pass  # a bad request, which the server refuses
    return answer(request)


def _protobuf(request: httpx.Request, answer: Answer) -> httpx.Response:
    export = parse_request(ApiCall(request, "").body)
    groups = [scope.spans for resource in export.resource_spans for scope in resource.scope_spans]
    rejected = _cut(groups)
    response = answer(_with_body(request, export.SerializeToString()))
    if response.is_error:
        return response
    note = ExportTraceServiceResponse()
    note.partial_success.rejected_spans = rejected
    note.partial_success.error_message = _REASON
    return httpx.Response(200, content=note.SerializeToString(), headers={"Content-Type": PROTOBUF})


def _json(request: httpx.Request, answer: Answer) -> httpx.Response:
    export = json.loads(ApiCall(request, "").body)
    groups = [
        scope.get("spans", [])
        for resource in export.get("resourceSpans", [])
        for scope in resource.get("scopeSpans", [])
    ]
    rejected = _cut(groups)
    response = answer(_with_body(request, json.dumps(export).encode()))
    if response.is_error:
        return response
    # 64-bit integers are strings in the JSON of protobuf.
    note = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": _REASON}}
    return httpx.Response(200, json=note)


def _scores(request: httpx.Request, answer: Answer) -> httpx.Response:
    body = ApiCall(request, "").json()
    events = body.get("batch") if isinstance(body, dict) else None
    scores: list[Any] = events if events is not None else body if isinstance(body, list) else [body]
    kept, rejected = scores[: len(scores) // 2], scores[len(scores) // 2 :]
    answer(_with_body(request, json.dumps(kept if events is None else {"batch": kept}).encode()))
    if events is not None:
        successes = [{"id": event["id"], "status": 201} for event in kept]
        errors = [{"id": event["id"], "status": 429, "message": _REASON} for event in rejected]
        return httpx.Response(207, json={"successes": successes, "errors": errors})
    messages = [{"message": _REASON} for _ in rejected]
    return httpx.Response(207, json={"accepted": len(kept), "rejected": len(rejected), "errors": messages})


def _cut(groups: list[Any]) -> int:
    """Delete the second half (rounded up) of the spans in `groups`, in place, and return how many."""
    total = sum(len(group) for group in groups)
    keep = total // 2
    for group in groups:
        kept = min(keep, len(group))
        del group[kept:]
        keep -= kept
    return total - total // 2


def _with_body(request: httpx.Request, body: bytes) -> httpx.Request:
    """Return `request` with another body, not compressed."""
    headers = [(name, value) for name, value in request.headers.items() if name not in _ABOUT_THE_BODY]
    return httpx.Request(request.method, request.url, headers=headers, content=body)
