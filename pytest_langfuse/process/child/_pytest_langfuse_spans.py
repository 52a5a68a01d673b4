"""Hooks that record the spans of this process in its ledger. They use only public names of OpenTelemetry's SDK.

The lines of a span: `started`; `typed` when its type is set to something other than "span"; then its outcome.
`taken`: a span processor that exports has it. `filtered`: Langfuse's filter rejected it. `unsampled`: the sampler, or a
tail sampler, dropped it. `ended`: no span processor has decided yet, or there is none.
"""

from __future__ import annotations

import functools
import threading
from json import dumps
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import get_current_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from _pytest_langfuse_ledger import LedgerWriter  # type: ignore[import-not-found, unused-ignore]

#: Attributes that give an observation its type; the first that is set wins (server: `ObservationTypeMapper`).
_TYPES = ("langfuse.observation.type", "openinference.span.kind", "gen_ai.operation.name")
_UNDECIDED = frozenset({"ended", "filtered"})
#: A string as JSON. Names repeat.
quoted = functools.lru_cache(128)(dumps)


class _ThreadState(threading.local):
    def __init__(self) -> None:
        #: Whether a processor that exports saw the start of the span that this thread is starting.
        self.seen = False
        #: Id of the span whose end this thread recorded last.
        self.decided = 0


_thread = _ThreadState()


def watch_spans(module: Any, ledger: LedgerWriter) -> None:
    """Record the start, type and end of every span of `opentelemetry.sdk.trace`."""
    start_span, end = module.Tracer.start_span, module.Span.end
    set_attribute, set_attributes = module.Span.set_attribute, module.Span.set_attributes

    @functools.wraps(start_span)
    def started(tracer: Any, *args: Any, **kwargs: Any) -> Any:
        outer, _thread.seen = _thread.seen, False
        span = start_span(tracer, *args, **kwargs)
        seen, _thread.seen = _thread.seen, outer
        try:
            _write_start(ledger, span, args, kwargs, seen=seen)
        except Exception as error:  # noqa: BLE001 - recorded in the ledger; the application continues
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

    def record_type(span: Any, attributes: Any) -> None:
        try:
            _write_type(ledger, span, attributes)
        except Exception as error:  # noqa: BLE001 - recorded in the ledger; the application continues
            ledger.failed(error)

    @functools.wraps(set_attributes)
    def typed(span: Any, attributes: Any) -> Any:
        record_type(span, attributes)
        return set_attributes(span, attributes)

    # Langfuse 4 calls `set_attribute`, which no longer calls `set_attributes` as of opentelemetry-sdk 1.45.
    @functools.wraps(set_attribute)
    def typed_singly(span: Any, key: str, value: Any) -> Any:
        if key == _TYPES[0]:
            record_type(span, {key: value})
        return set_attribute(span, key, value)

    module.Tracer.start_span, module.Span.end = started, ended
    module.Span.set_attribute, module.Span.set_attributes = typed_singly, typed


def watch_processors(module: Any, ledger: LedgerWriter) -> None:
    """Record what the span processors of `opentelemetry.sdk.trace.export` do with a span that ends."""
    batch = module.BatchSpanProcessor
    init, on_start = batch.__init__, batch.on_start
    watched: set[type] = set()

    @functools.wraps(init)
    def built(processor: Any, *args: Any, **kwargs: Any) -> None:
        kind = type(processor)
        # Langfuse's processor, or another that may reject a span by not passing it on.
        if kind not in watched and "on_end" in vars(kind) and kind is not batch:
            watched.add(kind)
            kind.on_end = _rejecting(kind.on_end, ledger)
        init(processor, *args, **kwargs)

    @functools.wraps(on_start)
    def saw(processor: Any, *args: Any, **kwargs: Any) -> Any:
        _thread.seen = _thread.seen or _exports(processor, batch)
        return on_start(processor, *args, **kwargs)

    batch.__init__, batch.on_start = built, saw
    for kind in (batch, module.SimpleSpanProcessor):
        kind.on_end = _taking(kind.on_end, batch, ledger)


def _exports(processor: Any, batch: type) -> bool:
    """Return whether `processor` exports its spans to Langfuse or over OTLP."""
    if isinstance(processor, batch) and type(processor) is not batch:
        return True
    return "OTLP" in type(getattr(processor, "span_exporter", None)).__name__


def _taking(on_end: Callable[..., Any], batch: type, ledger: LedgerWriter) -> Callable[..., Any]:
    @functools.wraps(on_end)
    def taken(processor: Any, span: Any) -> Any:
        if _exports(processor, batch):
            context = span.context
            sampled = context is not None and context.trace_flags.sampled
            # Before the call: an exporter may send the span at once and never return.
            _write_end(ledger, "taken" if sampled else "unsampled", span)
        return on_end(processor, span)

    return taken


def _rejecting(on_end: Callable[..., Any], ledger: LedgerWriter) -> Callable[..., Any]:
    @functools.wraps(on_end)
    def maybe_rejected(processor: Any, span: Any) -> Any:
        _thread.decided = 0
        try:
            return on_end(processor, span)
        finally:
            _write_end(ledger, "filtered", span)

    return maybe_rejected


def _write_start(ledger: LedgerWriter, span: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, seen: bool) -> None:
    context = span.get_span_context()
    if context is None or not context.is_valid:
        return
    # An application that seeds `random` makes a span with the id of the one before.
    _thread.decided = 0
    name, parent = getattr(span, "name", None), getattr(span, "parent", None)
    recording = name is not None
    if not recording:
        # Sampled out: it has only its ids. (A disabled tracer returns the ids of the parent.)
        name = kwargs.get("name", args[0] if args else "")
        parent = get_current_span(kwargs.get("context", args[1] if len(args) > 1 else None)).get_span_context()
        if parent.span_id == context.span_id:
            return
    above = f'"{parent.span_id:016x}"' if parent is not None and parent.is_valid else "null"
    ledger.write(
        f'["started", "{context.trace_id:032x}", "{context.span_id:016x}", {above}, '
        f"{getattr(span, 'start_time', None) or 0}, {int(recording)}, {int(seen)}, {quoted(str(name))}]"
    )


def _write_type(ledger: LedgerWriter, span: Any, attributes: Any) -> None:
    kind = attributes.get(_TYPES[0]) if isinstance(attributes, dict) else None
    if kind is not None and kind != "span" and span.end_time is None:
        context = span.get_span_context()
        ledger.write(
            f'["typed", "{context.trace_id:032x}", "{context.span_id:016x}", '
            f"{{{quoted(_TYPES[0])}: {quoted(str(kind))}}}]"
        )


def _write_end(ledger: LedgerWriter, what: str, span: Any) -> None:
    try:
        context = span.get_span_context()
        if what in _UNDECIDED and _thread.decided == context.span_id:
            # A processor has taken or rejected it within this call.
            return
        _thread.decided = context.span_id
        attributes = span.attributes or {}
        kind = next((key for key in _TYPES if key in attributes), None)
        kinds = "{}" if kind is None else f"{{{quoted(kind)}: {quoted(str(attributes[kind]))}}}"
        ledger.write(
            f'["{what}", "{context.trace_id:032x}", "{context.span_id:016x}", '
            f"{span.end_time or 0}, {quoted(str(span.name))}, {kinds}]"
        )
    except Exception as error:  # noqa: BLE001 - recorded in the ledger; the application continues
        ledger.failed(error)
