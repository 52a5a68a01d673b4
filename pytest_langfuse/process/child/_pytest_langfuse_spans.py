"""What happens to the spans of this process, noted in its ledger. Public names of OpenTelemetry's SDK only.

A span's lines: `started`; `typed`, when its type turns out to be another than "span"; then what became of it when it
ended. `taken`: by a span processor that exports. `filtered`: by none, because Langfuse's filter turned it down.
`unsampled`: the sampler, or a tail sampler, did. `ended`: nobody has decided yet, or nobody is there who could.
"""

from __future__ import annotations

import functools
import threading
from json import dumps
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import get_current_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest_langfuse_ledger import Ledger  # type: ignore[import-not-found, unused-ignore]

#: Attributes that make an observation's type, if they are there in this order (server: `ObservationTypeMapper`).
_TYPES = ("langfuse.observation.type", "openinference.span.kind", "gen_ai.operation.name")


_UNDECIDED = frozenset({"ended", "filtered"})
#: A text as JSON. Names repeat.
quoted = functools.lru_cache(128)(dumps)


class _Now(threading.local):
    def __init__(self) -> None:
        #: Whether a processor that exports saw the span start which this thread is starting.
        self.seen = False
        #: The span of which this thread has noted the end last.
        self.decided = 0


_now = _Now()


def watch_spans(module: Any, ledger: Ledger) -> None:
    """`opentelemetry.sdk.trace` was imported."""
    start_span, end = module.Tracer.start_span, module.Span.end
    set_attribute, set_attributes = module.Span.set_attribute, module.Span.set_attributes

    @functools.wraps(start_span)
    def started(tracer: Any, *args: Any, **kwargs: Any) -> Any:
        outer, _now.seen = _now.seen, False
        span = start_span(tracer, *args, **kwargs)
        seen, _now.seen = _now.seen, outer
        try:
            _write_start(ledger, span, args, kwargs, seen=seen)
        except Exception as error:  # noqa: BLE001 - counted in the ledger; the application goes on
            ledger.failed(error)
        return span

    @functools.wraps(end)
    def ended(span: Any, *args: Any, **kwargs: Any) -> Any:
        if span.end_time is not None:
            return end(span, *args, **kwargs)
        try:
            return end(span, *args, **kwargs)
        finally:
            _write_end(ledger, "ended", span)

    def note_type(span: Any, attributes: Any) -> None:
        try:
            _write_type(ledger, span, attributes)
        except Exception as error:  # noqa: BLE001 - counted in the ledger; the application goes on
            ledger.failed(error)

    @functools.wraps(set_attributes)
    def typed(span: Any, attributes: Any) -> Any:
        note_type(span, attributes)
        return set_attributes(span, attributes)

    # Langfuse 4 sets it singly, which is a way of its own as of opentelemetry-sdk 1.45.
    @functools.wraps(set_attribute)
    def typed_singly(span: Any, key: str, value: Any) -> Any:
        if key == _TYPES[0]:
            note_type(span, {key: value})
        return set_attribute(span, key, value)

    module.Tracer.start_span, module.Span.end = started, ended
    module.Span.set_attribute, module.Span.set_attributes = typed_singly, typed


def watch_processors(module: Any, ledger: Ledger) -> None:
    """`opentelemetry.sdk.trace.export` was imported."""
    batch = module.BatchSpanProcessor
    init, on_start = batch.__init__, batch.on_start
    watched: set[type] = set()

    @functools.wraps(init)
    def built(processor: Any, *args: Any, **kwargs: Any) -> None:
        kind = type(processor)
        # Langfuse's own, or another that may turn a span down by not handing it on.
        if kind not in watched and "on_end" in vars(kind) and kind is not batch:
            watched.add(kind)
            kind.on_end = _turning_down(kind.on_end, ledger)
        init(processor, *args, **kwargs)

    @functools.wraps(on_start)
    def saw(processor: Any, *args: Any, **kwargs: Any) -> Any:
        _now.seen = _now.seen or _exports(processor, batch)
        return on_start(processor, *args, **kwargs)

    batch.__init__, batch.on_start = built, saw
    for kind in (batch, module.SimpleSpanProcessor):
        kind.on_end = _taking(kind.on_end, batch, ledger)


def _exports(processor: Any, batch: type) -> bool:
    """Whether what `processor` takes is to arrive where the test looks."""
    if isinstance(processor, batch) and type(processor) is not batch:
        return True
    return "OTLP" in type(getattr(processor, "span_exporter", None)).__name__


def _taking(on_end: Callable[..., Any], batch: type, ledger: Ledger) -> Callable[..., Any]:
    @functools.wraps(on_end)
    def taken(processor: Any, span: Any) -> Any:
        if _exports(processor, batch):
            context = span.context
            sampled = context is not None and context.trace_flags.sampled
            # Before it is handed on: an exporter may send it at once, and never return.
            _write_end(ledger, "taken" if sampled else "unsampled", span)
        return on_end(processor, span)

    return taken


def _turning_down(on_end: Callable[..., Any], ledger: Ledger) -> Callable[..., Any]:
    @functools.wraps(on_end)
    def perhaps(processor: Any, span: Any) -> Any:
        _now.decided = 0
        try:
            return on_end(processor, span)
        finally:
            _write_end(ledger, "filtered", span)

    return perhaps


def _write_start(ledger: Ledger, span: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, seen: bool) -> None:
    context = span.get_span_context()
    if context is None or not context.is_valid:
        return
    name, parent = getattr(span, "name", None), getattr(span, "parent", None)
    recording = name is not None
    if not recording:
        # Sampled out: it knows no more than its ids. (A tracer that is switched off gives the parent's ids.)
        name = kwargs.get("name", args[0] if args else "")
        parent = get_current_span(kwargs.get("context", args[1] if len(args) > 1 else None)).get_span_context()
        if parent.span_id == context.span_id:
            return
    above = f'"{parent.span_id:016x}"' if parent is not None and parent.is_valid else "null"
    ledger.write(
        f'["started", "{context.trace_id:032x}", "{context.span_id:016x}", {above}, '
        f"{getattr(span, 'start_time', None) or 0}, {int(recording)}, {int(seen)}, {quoted(str(name))}]"
    )


def _write_type(ledger: Ledger, span: Any, attributes: Any) -> None:
    kind = attributes.get(_TYPES[0]) if isinstance(attributes, dict) else None
    if kind is not None and kind != "span" and span.end_time is None:
        context = span.get_span_context()
        ledger.write(
            f'["typed", "{context.trace_id:032x}", "{context.span_id:016x}", '
            f"{{{quoted(_TYPES[0])}: {quoted(str(kind))}}}]"
        )


def _write_end(ledger: Ledger, what: str, span: Any) -> None:
    try:
        context = span.get_span_context()
        if what in _UNDECIDED and _now.decided == context.span_id:
            # Within this very call a processor has taken it, or turned it down.
            return
        _now.decided = context.span_id
        attributes = span.attributes or {}
        kind = next((key for key in _TYPES if key in attributes), None)
        kinds = "{}" if kind is None else f"{{{quoted(kind)}: {quoted(str(attributes[kind]))}}}"
        ledger.write(
            f'["{what}", "{context.trace_id:032x}", "{context.span_id:016x}", '
            f"{span.end_time or 0}, {quoted(str(span.name))}, {kinds}]"
        )
    except Exception as error:  # noqa: BLE001 - counted in the ledger; the application goes on
        ledger.failed(error)
