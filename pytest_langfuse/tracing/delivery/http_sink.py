"""Sends export bodies to Langfuse over HTTP, and reads the outcome of each from the response."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from pytest_langfuse.tracing.delivery.export_body import LARGEST_BODY, ExportBody
from pytest_langfuse.tracing.delivery.retry_after import seconds_to_wait
from pytest_langfuse.tracing.delivery.sink import Confirm, Outcome, Verdict
from pytest_langfuse.tracing.delivery.transport import PERMITTED
from pytest_langfuse.tracing.failures import logger

_HTTP_OK = range(200, 300)
_TOO_LARGE = 413
#: Bytes of an answer that may be shown, before it is made readable.
_SHOWN = 4096
#: The request itself is at fault: sending it again gives the same answer.
_REFUSED = frozenset({400, 413, 415, 422})


class HttpSink:
    """Posts bodies to an OTLP endpoint, compressed, with the client that also serves Langfuse's REST API."""

    max_in_flight = 1
    most_bytes = largest_body = LARGEST_BODY
    by_trace = False

    def __init__(self, *, client: httpx.Client, endpoint: str, headers: Mapping[str, str]) -> None:
        self.client = client
        self.endpoint = endpoint
        self._headers = {**headers, "content-type": "application/x-protobuf", "content-encoding": "gzip"}

    def send(self, bodies: Sequence[ExportBody], confirm: Confirm) -> None:
        """See `Sink`: joins the bodies, and returns when the outcome is confirmed."""
        confirm(self.post(b"".join(body.data for body in bodies)))

    def close(self, timeout: float) -> None:
        """See `Sink`. The client is closed by who made it."""

    def after_fork(self) -> None:
        """See `Sink`. The client's transport has its own part in it."""

    def post(self, data: bytes) -> Outcome:
        """Post one body and return what became of it, errors included."""
        try:
            response = self.client.post(
                self.endpoint, content=_gzip(data), headers=self._headers, extensions=dict(PERMITTED)
            )
        except Exception as error:  # noqa: BLE001 - a transport may raise anything; the sender has to live on
            return Outcome(Verdict.FAILED, type(error).__name__, detail=str(error), unreachable=True)
        return judge(response)


def judge(response: httpx.Response) -> Outcome:
    """Return the outcome that an OTLP endpoint's response means (OTLP specification 1.x, "OTLP/HTTP Response")."""
    status = response.status_code
    if status in _HTTP_OK:
        return _accepted(response)
    if status == _TOO_LARGE:
        return Outcome(Verdict.TOO_LARGE, "http_413")
    if status in _REFUSED:
        return Outcome(Verdict.REFUSED, f"http_{status}", detail=_shown(response))
    # Also redirects: what answers a POST with one is a portal or a wrong address, and following it makes it a GET.
    wait = seconds_to_wait(response.headers.get("retry-after", ""))
    return Outcome(Verdict.FAILED, f"http_{status}", detail=_shown(response), retry_after=wait)


def _accepted(response: httpx.Response) -> Outcome:
    content = response.content
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not content and kind in {"", "application/x-protobuf", "application/json"}:
        return Outcome(Verdict.ACCEPTED)
    try:
        if kind == "application/x-protobuf":
            partial = ExportTraceServiceResponse.FromString(content).partial_success
            return Outcome(Verdict.ACCEPTED, rejected=partial.rejected_spans, detail=partial.error_message)
        if kind in {"", "application/json"}:
            return _accepted_json(json.loads(content))
    except Exception:  # noqa: BLE001 - protobuf's own error class has no types; whatever it is, it can't be read
        logger.debug("A response can't be read", exc_info=True)
    # A captive portal, a login page or a proxy answered 200, not Langfuse.
    return Outcome(Verdict.FAILED, "not_otlp", detail=_shown(response))


def _accepted_json(answer: Any) -> Outcome:
    partial = answer.get("partialSuccess") or answer.get("partial_success") or {}
    rejected = partial.get("rejectedSpans") or partial.get("rejected_spans") or 0
    detail = partial.get("errorMessage") or partial.get("error_message") or ""
    return Outcome(Verdict.ACCEPTED, rejected=int(rejected), detail=str(detail))


def _shown(response: httpx.Response) -> str:
    # Not `text`, which decodes all of it by the encoding that the answer names.
    return response.content[:_SHOWN].decode("utf-8", "replace")


def _gzip(data: bytes) -> bytes:
    # Level 1: a third of the time of the default level for a few per cent more bytes.
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()
