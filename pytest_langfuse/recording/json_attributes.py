"""Attributes from OTLP/JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class JsonAttributes(dict[str, Any]):
    """Attributes as the application set them, and in `ingested` what Langfuse's ingestion makes of them.

    The two differ in what JSON can express and OpenTelemetry cannot: a string value that is a number or an object, a
    time stamp in two halves, a number of 70 digits.
    """

    __slots__ = ("ingested",)

    def __init__(self, attributes: Mapping[str, Any], ingested: Mapping[str, Any]) -> None:
        super().__init__(attributes)
        self.ingested = ingested

    def __reduce__(self) -> tuple[type[JsonAttributes], tuple[dict[str, Any], Mapping[str, Any]]]:
        return JsonAttributes, (dict(self), self.ingested)
