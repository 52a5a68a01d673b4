"""Spans as OpenTelemetry's exporters encode them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


def encoded(spans: Sequence[ReadableSpan]) -> bytes:
    """Return the body of an export of `spans`, without those that can't be encoded.

    A name, a status message or the name of an event with lone surrogates has no encoding. An exporter would lose the
    whole export.
    """
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    try:
        body: bytes = encode_spans(spans).SerializePartialToString()
    except ValueError:
        if len(spans) == 1:
            return b""
        # Two bodies, one after the other, are one body with the spans of both.
        middle = len(spans) // 2
        return encoded(spans[:middle]) + encoded(spans[middle:])
    return body
