"""Spans over OTLP, as Langfuse takes them (`otel/v1/traces/index.ts` of the server)."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

import httpx
from google.protobuf.message import DecodeError as ProtobufError  # type: ignore[import-untyped, unused-ignore]

from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.json_check import field_of, invalid_fields
from pytest_langfuse.recording.otlp.json_documents import json_documents
from pytest_langfuse.recording.otlp.protobuf_request import parse_request
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
        export = ReceivedExport(call.base_path, body, is_json=PROTOBUF not in content_type)
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
        export = parse_request(body)
    except ProtobufError as error:
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
        documents = json_documents(body)
    except DecodeError as error:
        raise _Rejected("Failed to parse OTel JSON Trace") from error
    if len(documents) != 1 or documents[0] is None:
        raise _Rejected("Failed to parse OTel JSON Trace")
    invalid = invalid_fields(field_of(documents[0], "resourceSpans"))
    reasons = sorted({f"{field.field}:{field.reason}" for field in invalid})
    if reasons:
        raise _Rejected(f"Invalid OTLP trace export: {', '.join(reasons)}. {_TRACES_ONLY}")


def _check_version(version: str | None) -> None:
    if version and not (version.isdigit() and int(version) <= _MAX_INGESTION_VERSION):
        raise _Rejected(f'Unsupported x-langfuse-ingestion-version: "{version}". Maximum supported: "4".')
