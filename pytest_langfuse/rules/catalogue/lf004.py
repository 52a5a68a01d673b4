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
    "timer": "in the thread that started this one",
    "thread class": "in the thread that started this one",
    "thread pool": "in the thread that gave it to the pool",
    "executor": "in the thread that submitted it",
    "executor map": "in the thread that submitted it",
    "callback": "in the thread that added the callback",
    "task": "where its task was created with another context",
    "generator": "in the same generator, whose next step runs in another context",
    "async generator": "in the same async generator, whose next step runs in another context",
}
_CONTEXT: Final = "contextvars.copy_context()"
#: What to type, by the way in which the work was handed over. `typed` is the function as an argument.
_FIXES: Final[dict[HandOver, str]] = {
    "thread": (
        f"build the thread started{{place}} inside of {{by}}, with target={{carried}}, or target={_CONTEXT}.run "
        "with {typed} in front of args"
    ),
    "timer": (
        f"build the timer started{{place}} inside of {{by}}, with function={{carried}}, or function={_CONTEXT}.run "
        "with {typed} in front of args"
    ),
    "thread class": "set thread.run = carry_context(thread.run) before the {thread} is started{place}",
    "thread pool": "{carried} in place of {function}{place}",
    "executor": f"{{carried}} in place of {{function}}{{place}}, or {_CONTEXT}.run with {{typed}} after it",
    # A copied context can't be entered by two calls at a time.
    "executor map": "{carried} in place of {function}{place}",
    "callback": f"{{carried}} in place of {{function}}{{place}}, or functools.partial({_CONTEXT}.run, {{typed}})",
    "task": f"pass context={_CONTEXT}{{place}}",
    "generator": "decorate {function} with @observe(), which keeps its context between steps",
}
#: What helps where a library hands over work of its own: no argument of the application is in it.
_FIX_OF_LIBRARY: Final = (
    "call ThreadingInstrumentor().instrument() of opentelemetry-instrumentation-threading before a library hands over "
    "the work{place}"
)


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
    named_by = evidence.called(by.span.name, by.place)
    thread = f'thread "{evidence.shown(record.thread)}"' if record.thread != by.thread else ""
    named = evidence.named(observation, thread)
    return Fact(
        f"{named} started a trace of its own while {named_by} was running {_WHERE[handed_over.how]}",
        _fix(handed_over, evidence),
        observation,
    )


def _is_lost(handed_over: HandedOver, record: RecordedSpan, evidence: Evidence) -> bool:
    by = handed_over.by
    if by.key[0] == record.key[0] or f"{by.key[0]:032x}" not in evidence.trace_by_id:
        # Langfuse shows nothing of the other trace in this test, or there is none.
        return False
    # A link says that the new trace is meant.
    return all(link.context.trace_id != by.key[0] for link in record.span.links)


def _fix(handed_over: HandedOver, evidence: Evidence) -> str:
    place = "" if handed_over.place is None else f" at {handed_over.place}"
    if handed_over.by_library and handed_over.how in {"executor", "executor map"}:
        return _FIX_OF_LIBRARY.format(place=place)
    name = "" if handed_over.by_library else handed_over.function
    typed, function = (name, name) if name.isidentifier() else ("function", "the function")
    if name == "<lambda>":
        typed, function = "lambda: ...", "the lambda"
    return _FIXES["generator" if handed_over.how == "async generator" else handed_over.how].format(
        by=evidence.quoted(handed_over.by.span.name),
        carried=f"carry_context({typed})",
        function=function,
        place=place,
        thread=name or "thread",
        typed=typed,
    )
