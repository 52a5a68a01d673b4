"""One span of a test, from its start to its export."""

from __future__ import annotations

from dataclasses import dataclass
from threading import current_thread
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pytest_langfuse.recording.origin import MARK, Origin
from pytest_langfuse.recording.start_place import Place, Start, place_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from pytest_langfuse.recording.why_nothing import WiderFixture

#: Trace id and span id, as OpenTelemetry's integers.
SpanKey = tuple[int, int]

#: Why an observation that the code made is not among those that Langfuse got.
Reason = Literal["filtered", "sampled_out", "other_project", "unended", "dropped"]


class Rejection(NamedTuple):
    """Why a Langfuse span processor did not take a span."""

    reason: Reason
    detail: str


class RecordedSpan:
    """A span that a test started, and what the SDK did with it: the processors and exporters that it reached."""

    __slots__ = (
        "delivered",
        "dropped",
        "ended",
        "exports",
        "fixture",
        "handed_over",
        "is_recording",
        "key",
        "name",
        "origin",
        "other_exports",
        "processor",
        "queued",
        "rejection",
        "repeats_id",
        "sent_to",
        "span",
        "start",
        "teardown_of",
        "thread",
    )

    def __init__(self, name: str, span: Any, *, origin: Origin, key: SpanKey | None = None) -> None:
        self.name = name
        self.origin = origin
        self.span: Any = span
        if key is None:
            context = span.get_span_context()
            key = (context.trace_id, context.span_id)
            # The copy of an ended span, which a queue holds, can't be asked.
            self.is_recording: bool = not hasattr(span, "is_recording") or span.is_recording()
        else:
            self.is_recording = True
        self.key = key
        #: Whether an earlier span of the test has the same id. Langfuse keeps one of both.
        self.repeats_id = False
        self.queued = 0
        #: The last span processor that took it for an export to Langfuse.
        self.processor: object = None
        #: Why it was lost after that, where somebody saw it happen.
        self.dropped: str | None = None
        #: The name of the thread in which it started.
        self.thread = current_thread().name
        #: Where the application started it, and who handed over the work in which it did: for rules.
        self.start: Start | None = None
        self.handed_over: HandedOver | None = None
        #: The fixture of a wider scope than one test that was being set up meanwhile.
        self.fixture: WiderFixture | None = None
        #: The one that was being torn down meanwhile.
        self.teardown_of: WiderFixture | None = None
        self.delivered = False
        self.rejection: Rejection | None = None
        self.ended: ReadableSpan | None = None
        #: By Langfuse's exporters: the exporter's name, and the span as that exporter got it.
        self.exports: list[tuple[str, ReadableSpan]] = []
        #: For each of these, the destination: what is equal is the same project of the same Langfuse.
        self.sent_to: list[object] = []
        #: By all other exporters of the process.
        self.other_exports: list[tuple[str, ReadableSpan]] = []

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leave it out where the span's context is pickled for another process."""
        return type(None), ()

    def ended_late(self, span: ReadableSpan, origin: Origin) -> RecordedSpan:
        """Return a record for the test in which the span has ended, which is another than that of its start."""
        late = RecordedSpan(span.name, span, origin=origin, key=self.key)
        late.start, late.thread, late.fixture = self.start, self.thread, self.fixture
        late.teardown_of = self.teardown_of
        return late

    @property
    def place(self) -> Place | None:
        """The place in the application at which it was started, if that was to be remembered."""
        return place_of(self.start)

    @property
    def end_ns(self) -> int | None:
        """When the span ended, in nanoseconds since 1970; `None` while it runs."""
        end: int | None = getattr(self.span, "end_time", None)
        return end

    @property
    def is_running(self) -> bool:
        """True if the span records and has not ended."""
        return self.is_recording and self.end_ns is None


#: Ways in which work gets to where the context of who handed it over is not.
HandOver = Literal[
    "thread",
    "timer",
    # A class with its own `run`.
    "thread class",
    "thread pool",
    "executor",
    "executor map",
    "callback",
    "task",
    "generator",
    "async generator",
]


@dataclass(slots=True, eq=False)
class HandedOver:
    """Work that was handed to a thread, a pool or a task, or a generator that goes on elsewhere: by whom, and where."""

    how: HandOver
    #: The span in whose context that was done; of a generator, the span that it has made current.
    by: RecordedSpan
    start: Start | None
    #: The name of the function, or of the class of the thread; empty if it has none.
    function: str = ""
    #: Whether an installed package has handed over a function that is not the application's.
    by_library: bool = False
    #: The first span that this work has started.
    first: RecordedSpan | None = None

    @property
    def place(self) -> Place | None:
        """The statement that handed it over."""
        return place_of(self.start)


def mark(context: Any, value: RecordedSpan | Origin) -> None:
    """Note in a span's context, which all copies of the span share, whose the span is."""
    if context.is_valid:
        context.__dict__[MARK] = value


def marked(context: Any) -> RecordedSpan | Origin | None:
    """Return what is known of the span with this context: while its test runs, the record itself."""
    found: RecordedSpan | Origin | None = getattr(context, MARK, None)
    return found
