"""Facts about an application beside its observations: its clients and tracer providers, and processes that ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_langfuse.recording.built_client import BuiltClient
    from pytest_langfuse.recording.exported_body import ExportedBody
    from pytest_langfuse.recording.langfuse_waits import LangfuseWait
    from pytest_langfuse.recording.lost_value import LostValue
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.origin import Origin
    from pytest_langfuse.recording.recorded_span import RecordedSpan, SpanKey
    from pytest_langfuse.recording.unsampled_error import UnsampledError


@dataclass(frozen=True, slots=True)
class EndedProcess:
    """A process of the test that has ended, and the observations that had ended and have not arrived."""

    label: str
    #: The predicate of a sentence: `exited with status 3`.
    how: str
    #: Whether it had no chance to send them: SIGKILL, or a crash.
    was_killed: bool
    lost: Sequence[Observation]


def _no(_recorded: RecordedSpan) -> bool:
    return False


def _none(_recorded: RecordedSpan) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class ApplicationFacts:
    """Facts about the application that was recorded here; none about one that was recorded elsewhere."""

    #: The clients that were built in the test, and before the first one.
    clients: Sequence[BuiltClient] = ()
    #: The test.
    origin: Origin | None = None
    #: By project, a span of each tracer provider that exports to it, where several do.
    providers: Callable[[], Mapping[str, Sequence[RecordedSpan]]] = dict
    #: The masks that the client of a span's project has: "mask", "mask_otel_spans".
    masks_of: Callable[[RecordedSpan], Sequence[str]] = _none
    #: What the SDK has dropped of the values that it was given, each place in the application once.
    lost_values: Sequence[LostValue] = ()
    #: Errors in traces that were not sampled, each place in the application once.
    unsampled_errors: Sequence[UnsampledError] = ()
    #: Whether a span's exporter leaves out what OpenTelemetry's protocol has no form for, as OpenTelemetry's do.
    leaves_out: Callable[[RecordedSpan], bool] = _no
    #: By trace id and span id, the number of characters at which a span cuts texts; empty where none does.
    length_limits: Callable[[], Mapping[SpanKey, int]] = dict
    #: Whether nothing but a console gets the spans of a span's tracer provider.
    goes_nowhere: Callable[[RecordedSpan], bool] = _no
    #: Whether `get_client()` finds a client that traces.
    has_client: Callable[[], bool] = lambda: False
    #: The span of the test that is current in the thread of the tests.
    left_current: Callable[[], RecordedSpan | None] = lambda: None
    ended_processes: Callable[[], Sequence[EndedProcess]] = tuple
    #: The bodies in which observations were exported, for real or not.
    bodies: Sequence[ExportedBody] = ()
    #: The waits of the test for Langfuse.
    waits: Sequence[LangfuseWait] = ()
    #: Whether the application was watched for the rules while it ran; true of what no application runs for.
    is_watched: bool = True
