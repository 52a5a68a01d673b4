"""Messages of traces for a forwarder that samples, and a store of its decisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from pytest_langfuse.tracing.forward.queue_source import SPANS, AssignedPartition, QueueMessage
from pytest_langfuse.tracing.sampling import SAMPLING_ATTRIBUTE, SamplingDecision

SECOND = 1_000_000_000
#: Trace ids that are kept and dropped at a rate of 0.5.
KEPT, DROPPED = f"{'1' * 16}{'2' * 16}", f"{'1' * 16}{'e' * 16}"


class MadeSpan(NamedTuple):
    """A span to be sent."""

    name: str
    trace: str = DROPPED
    failed: bool = False
    is_root: bool = False
    start: float = 1000.0
    seconds: float = 0.01
    attributes: Mapping[str, str] = {}


def body_of(*spans: MadeSpan) -> bytes:
    """An export body of these spans."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number, one in enumerate(spans):
        span = scope.spans.add(
            trace_id=bytes.fromhex(one.trace), span_id=(number + 1).to_bytes(8, "big"), name=one.name
        )
        if not one.is_root:
            span.parent_span_id = b"\xff" * 8
        span.start_time_unix_nano = int(one.start * SECOND)
        span.end_time_unix_nano = span.start_time_unix_nano + int(one.seconds * SECOND)
        if one.failed:
            span.status.code = 2
        for key, value in one.attributes.items():
            span.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def sampling_in(body: bytes) -> dict[str, Any]:
    """The names of the spans in a body, with the sampling metadata of each."""
    request = ExportTraceServiceRequest.FromString(body)
    found = {}
    for part in request.resource_spans:
        for scope in part.scope_spans:
            for span in scope.spans:
                texts = [one.value.string_value for one in span.attributes if one.key == SAMPLING_ATTRIBUTE]
                found[span.name] = json.loads(texts[0]) if texts else None
    return found


class MessageMaker:
    """Makes the messages of a partition, in order."""

    def __init__(self, number: int = 0) -> None:
        self.assignment = AssignedPartition(number)
        self._next = 0

    def __call__(self, body: bytes, time: float = 1000.0, *, kind: str = SPANS, key: str = "") -> QueueMessage:
        message = QueueMessage(body, key.encode(), [], "", kind, self.assignment, self._next, time)
        self.assignment.opened(self._next)
        self._next += 1
        return message


class MemoryDecisions:
    """A `DecisionStore` in memory."""

    def __init__(self) -> None:
        self.found: dict[int, dict[str, SamplingDecision]] = {}
        #: The error with which decisions are refused; with `later` they are stored by `poll`.
        self.refuses: str | None = None
        self.later = False
        self._waiting: list[Callable[[], None]] = []

    def write(
        self, partition: int, trace: str, decision: SamplingDecision, stored: Callable[[str | None], None]
    ) -> None:
        def store() -> None:
            if self.refuses is None:
                self.found.setdefault(partition, {})[trace] = decision
            stored(self.refuses)

        if self.later:
            self._waiting.append(store)
        else:
            store()

    def read(self, partitions: Iterable[int]) -> Mapping[int, Mapping[str, SamplingDecision]]:
        return {number: dict(self.found.get(number, {})) for number in partitions}

    def poll(self) -> None:
        if not self.later:
            waiting, self._waiting = self._waiting, []
            for store in waiting:
                store()

    def close(self) -> None: ...
