"""Spans over OTLP, as Langfuse takes them (`otel/v1/traces/index.ts` of the server)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any

import httpx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped, unused-ignore]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.standin.endpoints.api_call import ApiCall, Endpoint, Refusal
from pytest_langfuse.standin.received_export import ReceivedExport

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
_MAX_INGESTION_VERSION = 4
_TRACES_ONLY = (
    "The entire export was rejected and no spans were ingested. This endpoint accepts OpenTelemetry traces only - "
    "if you are exporting OpenTelemetry logs, point your log exporter elsewhere."
)


class Traces:
    """The exports that were accepted, in order of arrival."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.exports: list[ReceivedExport] = []
        self.listeners: list[Callable[[ReceivedExport], None]] = []

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this resource."""
        return [
            Endpoint("POST", "/otel/v1/traces", self._export, limit=None),
            Endpoint("POST", "/otel/v1/metrics", _ignore, limit=None),
        ]

    def _export(self, call: ApiCall) -> httpx.Response:
        content_type = call.request.headers.get("content-type", "").lower()
        body = call.body
        if PROTOBUF in content_type:
            _check_protobuf(body)
        elif JSON in content_type:
            _check_json(body)
        else:
            raise _Rejected("Invalid content type")
        _check_version(call.request.headers.get("x-langfuse-ingestion-version"))
        export = ReceivedExport(call.base_path, body)
        with self._lock:
            self.exports.append(export)
        for listener in list(self.listeners):
            listener(export)
        # An empty ExportTraceServiceResponse, in the encoding of the request: all spans are accepted (OTLP 1.5,
        # "Full Success").
        if PROTOBUF in content_type:
            return httpx.Response(200, content=b"", headers={"Content-Type": PROTOBUF})
        return httpx.Response(200, json={})


def _ignore(_call: ApiCall) -> httpx.Response:
    """Langfuse takes metrics, because exporters are often configured for both, and keeps none."""
    return httpx.Response(200)


class _Rejected(Refusal):
    """This endpoint's errors carry no `message`."""

    def __init__(self, error: str) -> None:
        super().__init__(400, error, error)

    def answer(self) -> httpx.Response:
        """400 with the error."""
        return httpx.Response(400, json={"error": self.error})


def _check_protobuf(body: bytes) -> None:
    try:
        export = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise _Rejected("Failed to parse OTel Protobuf Trace") from error
    spans = [
        span
        for resource_spans in export.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]
    # Resource logs decode as spans without ids: their field numbers are the same.
    invalid = sum(1 for span in spans if not span.trace_id or not span.span_id)
    if invalid:
        raise _Rejected(
            f"Invalid OTLP trace export: {invalid} of {len(spans)} span(s) cannot be processed. {_TRACES_ONLY}"
        )


def _check_json(body: bytes) -> None:
    try:
        export = json.loads(body)
        resource_spans = export.get("resourceSpans") or []
    except (ValueError, AttributeError) as error:
        raise _Rejected("Failed to parse OTel JSON Trace") from error
    reasons = sorted(set(_reasons(resource_spans)))
    if reasons:
        raise _Rejected(f"Invalid OTLP trace export: {', '.join(reasons)}. {_TRACES_ONLY}")


def _reasons(resource_spans: Any) -> Iterator[str]:
    """Yield the reasons why the server's worker could not process an export (`validateOtelSpanIds`)."""
    for resource in _listed(resource_spans):
        yield from _not_a_list(_field(resource, "resource"), "attributes", "resource.attributes")
        yield from _not_a_list(resource, "scopeSpans", "scopeSpans")
        for scope in _listed(_field(resource, "scopeSpans")):
            yield from _not_a_list(_field(scope, "scope"), "attributes", "scope.attributes")
            yield from _not_a_list(scope, "spans", "spans")
            for span in _listed(_field(scope, "spans")):
                for name in ("traceId", "spanId"):
                    value = _field(span, name)
                    if value is None:
                        yield f"{name}:absent"
                    elif not isinstance(value, (str, list)):
                        yield f"{name}:not_an_id"
                yield from _not_a_list(span, "attributes", "attributes")
                yield from _not_a_list(span, "events", "events")
                for event in _listed(_field(span, "events")):
                    yield from _not_a_list(event, "attributes", "event.attributes")


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _not_a_list(owner: Any, name: str, path: str) -> Iterator[str]:
    value = _field(owner, name)
    if value is not None and not isinstance(value, list):
        yield f"{path}:not_an_array"


def _check_version(version: str | None) -> None:
    if version and not (version.isdigit() and int(version) <= _MAX_INGESTION_VERSION):
        raise _Rejected(f'Unsupported x-langfuse-ingestion-version: "{version}". Maximum supported: "4".')
