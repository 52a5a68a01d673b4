"""A message that arrived in a queue."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import httpx

from pytest_langfuse.lazy import exported_by
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.recorded_span import SpanKey
from pytest_langfuse.recording.server_view import observe
from pytest_langfuse.recording.trace import link
from pytest_langfuse.standin.received_export import ReceivedExport

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,64}")
_TYPE: Final = "x-langfuse-type"
_SCORE: Final = "score"
_JSON: Final = {"Content-Type": "application/json"}


@exported_by("pytest_langfuse")
@dataclass(frozen=True, eq=False)
class QueuedMessage:
    """A message that arrived in a queue.

    Attributes:
        key: Of Kafka: the trace id, in 32 hexadecimal digits. Of SQS: the message's group, empty on a standard queue.
        value: The export body (`ExportTraceServiceRequest`), or the JSON of a score. Of SQS: decoded from base64.
        headers: The headers; of SQS, the message's attributes.
        topic: The topic, or the name of the SQS queue.
        partition: The partition; 0 of SQS.
    """

    key: str
    value: bytes
    headers: Mapping[str, str]
    topic: str
    partition: int = 0

    @property
    def trace_id(self) -> str:
        """The trace of all its spans; empty if they are of several, or if there are none."""
        if _TRACE_ID.fullmatch(self.key):
            return self.key
        traces = {record.trace_id for record in self._export.arrived}
        return traces.pop() if len(traces) == 1 else ""

    @property
    def observations(self) -> Sequence[Observation]:
        """The observations in it, as Langfuse will show them; none of a score."""
        return link(map(observe, self._export.records))

    @property
    def span_keys(self) -> set[SpanKey]:
        """Trace id and span id of each span in it."""
        return {
            (int(record.trace_id, 16), int(record.span_id, 16))
            for record in self._export.arrived
            # Of what can't be read, nothing is known.
            if _HEX.fullmatch(record.trace_id) and _HEX.fullmatch(record.span_id)
        }

    @property
    def is_export(self) -> bool:
        """True if it holds spans, rather than a score."""
        return _TYPE not in self.headers

    def as_export(self) -> ReceivedExport:
        """Return it as Langfuse will receive it once a forwarder has sent it on."""
        return self._export

    def score_request(self) -> httpx.Request | None:
        """Return the request with which a forwarder hands a score to Langfuse; `None` of a message without one."""
        if self.headers.get(_TYPE) != _SCORE:
            return None
        try:
            # Before version 5, the SDK sends events.
            event = "body" in json.loads(self.value)
        except (TypeError, ValueError, RecursionError):
            return None
        path, body = ("ingestion", b'{"batch":[%s]}') if event else ("scores", b"[%s]")
        return httpx.Request("POST", f"http://queue/api/public/{path}", content=body % self.value, headers=_JSON)

    @cached_property
    def _export(self) -> ReceivedExport:
        return ReceivedExport("", self.value if self.is_export else b"")

    def __repr__(self) -> str:
        names = ", ".join(observation.name or "" for observation in self.observations)
        return f"<{type(self).__name__} {self.topic}[{self.partition}] {self.key or 'no key'}: {names or 'no spans'}>"
