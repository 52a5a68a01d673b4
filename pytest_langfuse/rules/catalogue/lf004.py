"""LF004: a trace that is split, since the context was lost on the way to other work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.recorded_span import HandedOver, HandOver, RecordedSpan
    from pytest_langfuse.rules.evidence import Evidence

#: Where the other observation was running, by the way in which the work was handed over.
_WHERE: Final[dict[HandOver, str]] = {
    "thread": "in the thread that started this one",
    "thread pool": "in the thread that gave it to the pool",
    "executor": "in the thread that submitted it",
    "callback": "in the thread that added the callback",
    "task": "where its task was created with another context",
    "generator": "in the same generator, whose next step runs in another context",
    "async generator": "in the same async generator, whose next step runs in another context",
}
_FIXES: Final[dict[HandOver, str]] = {
    "thread": "{carried} as target{place}, or target=contextvars.copy_context().run with {function} in front of args",
    "thread pool": "{carried} in place of {function}{place}",
    "executor": "{carried} in place of {function}{place}, or contextvars.copy_context().run with {function} after it",
    "callback": "{carried} as callback{place}, or functools.partial(contextvars.copy_context().run, {function})",
    "task": "leave out context={place}, or pass context=contextvars.copy_context()",
    "generator": "decorate {function} with @observe(), which keeps its context between steps",
}


@rule("LF004", "context lost")
def context_lost(observation: Observation, evidence: Evidence) -> Fact | None:
    """Langfuse shows two traces for one request, and the second has neither its user nor its session."""
    if observation.parent_id:
        return None
    record = evidence.record_of(observation)
    if record is None:
        return None
    handed_over = record.handed_over
    if handed_over is None or handed_over.first is not record or not _is_lost(handed_over, record, evidence):
        return None
    by = handed_over.by
    named_by = repr(by.span.name) if by.place is None else f"{by.span.name!r} ({by.place})"
    named = evidence.named(observation, f'thread "{record.thread}"' if record.thread != by.thread else "")
    return Fact(
        f"{named} started a trace of its own while {named_by} was running {_WHERE[handed_over.how]}",
        _fix(handed_over),
        observation,
    )


def _is_lost(handed_over: HandedOver, record: RecordedSpan, evidence: Evidence) -> bool:
    by = handed_over.by
    if by.key[0] == record.key[0] or f"{by.key[0]:032x}" not in evidence.trace_by_id:
        # Langfuse shows nothing of the other trace in this test, or there is none.
        return False
    # A link says that the new trace is meant.
    return all(link.context.trace_id != by.key[0] for link in record.span.links)


def _fix(handed_over: HandedOver) -> str:
    function = handed_over.function if handed_over.function.isidentifier() else "function"
    place = "" if handed_over.place is None else f" at {handed_over.place}"
    fix = _FIXES["generator" if handed_over.how == "async generator" else handed_over.how]
    return fix.format(carried=f"carry_context({function})", function=function, place=place)
