"""A part of another source: a trace, or an observation with all below it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.otlp.decode_error import DecodeError
from pytest_langfuse.recording.otlp.decompress import decompress
from pytest_langfuse.recording.recorded_span import RecordedSpan
from pytest_langfuse.recording.sources.application_facts import ApplicationFacts
from pytest_langfuse.recording.sources.score import Score
from pytest_langfuse.recording.sources.source import Source, Unexported, WireBody


class PartSource:
    """The part of `whole` that belongs to a trace, or in it to the observation `top_id` and all below it.

    It reads `whole` anew at each access. Its observations are those of `whole`: the top one keeps its parent.
    """

    def __init__(self, whole: Source, trace_id: str, top_id: str | None = None) -> None:
        self._whole = whole
        self._trace_id = trace_id
        self._top_id = top_id
        self._read: Sequence[Observation] | None = None
        self._part: list[Observation] = []

    def observations(self) -> Sequence[Observation]:
        """Exported observations of the part, linked, in the order in which they started."""
        everything = self._whole.observations()
        if everything is not self._read:
            in_trace = [observation for observation in everything if observation.trace_id == self._trace_id]
            self._part = in_trace if self._top_id is None else _below(self._top_id, in_trace)
            self._read = everything
        return self._part

    def unexported(self) -> Sequence[Unexported]:
        """Return the spans of the part that were recorded but not exported, in the order in which they started."""
        return self._in_part(self._whole.unexported())

    def late(self) -> Sequence[Observation]:
        """Observations of the part that ended after the test in which they started."""
        return self._inside(self._whole.late())

    def scores(self) -> Sequence[Score]:
        """Scores of the trace and its observations, or of the top observation and those below it."""
        scores = [score for score in self._whole.scores() if score.trace_id == self._trace_id]
        if self._top_id is None:
            return scores
        ids = {observation.id for observation in self.observations()}
        ids.update(item.observation.id for item in self.unexported())
        return [score for score in scores if score.observation_id in ids]

    def earlier_traces(self) -> Collection[str]:
        """Traces that were made before, in the same session."""
        return self._whole.earlier_traces()

    def wire(self) -> Iterable[WireBody]:
        """Yield what exporters put on the wire for the part; the whole body where it is not protobuf."""
        ids = {observation.id for observation in self.observations()}
        ids.update(item.observation.id for item in self.unexported())
        for body in self._whole.wire():
            yield WireBody(body.exporter, _spans_of(body.body, self._trace_id, ids))

    def why_empty(self, sought: Callable[[str], bool]) -> Sequence[str]:
        """Return what holds for the whole."""
        return self._whole.why_empty(sought)

    def recorded(self) -> Mapping[tuple[str, str], RecordedSpan]:
        """Return what is known of the starts in the whole."""
        return self._whole.recorded()

    def application(self) -> ApplicationFacts:
        """Return what is known of the whole."""
        return self._whole.application()

    def undelivered(self) -> Sequence[Unexported]:
        """Ended, sampled, unfiltered observations of the part that no receiver accepted."""
        return self._in_part(self._whole.undelivered())

    def clear(self) -> None:
        """Forget everything so far, also outside of the part."""
        self._whole.clear()

    def wait(self, timeout: float) -> None:
        """Return when something new may have arrived, at the latest after `timeout` seconds."""
        self._whole.wait(timeout)

    def _in_part(self, items: Sequence[Unexported]) -> list[Unexported]:
        inside = {id(observation) for observation in self._inside([item.observation for item in items])}
        return [item for item in items if id(item.observation) in inside]

    def _inside(self, observations: Sequence[Observation]) -> list[Observation]:
        """Return those of `observations` that belong to the part, by parent ids: they are linked to nothing."""
        in_trace = [observation for observation in observations if observation.trace_id == self._trace_id]
        if self._top_id is None or not in_trace:
            return in_trace
        known = (*self._whole.observations(), *(item.observation for item in self._whole.unexported()), *in_trace)
        parents = {one.id: one.parent_id for one in known if one.trace_id == self._trace_id}
        inside: dict[str, bool] = {self._top_id: True}
        return [observation for observation in in_trace if _climb(observation.id, parents, inside)]


def _below(top_id: str, in_trace: Sequence[Observation]) -> list[Observation]:
    """Return the observation `top_id` and all below it; of several with that id the first, which has the children."""
    top = next((observation for observation in in_trace if observation.id == top_id), None)
    members = {id(observation) for observation in _walk(top)} if top is not None else set()
    return [observation for observation in in_trace if id(observation) in members]


def _walk(top: Observation) -> Iterator[Observation]:
    stack = [top]
    while stack:
        observation = stack.pop()
        yield observation
        stack.extend(observation.children)


def _climb(span_id: str, parents: dict[str, str | None], inside: dict[str, bool]) -> bool:
    """Return whether a span is inside of what is known to be `inside`, and remember it for all spans on the way."""
    path: list[str] = []
    current: str | None = span_id
    while current is not None and current not in inside:
        # What parent ids off the wire make of a ring is outside.
        inside[current] = False
        path.append(current)
        current = parents.get(current)
    answer = current is not None and inside[current]
    inside.update(dict.fromkeys(path, answer))
    return answer


def _spans_of(body: bytes, trace_id: str, ids: Collection[str]) -> bytes:
    from google.protobuf.message import DecodeError as ProtobufError  # type: ignore[import-untyped, unused-ignore]

    from pytest_langfuse.recording.otlp.protobuf_request import parse_request

    try:
        request = parse_request(decompress(body))
    except (ProtobufError, DecodeError):
        return body
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            kept = [span for span in scope_spans.spans if span.trace_id.hex() == trace_id and span.span_id.hex() in ids]
            del scope_spans.spans[:]
            scope_spans.spans.extend(kept)
    searched: bytes = request.SerializePartialToString()
    return searched
