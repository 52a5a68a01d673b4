"""The attachment of the pipeline to OpenTelemetry, which can be removed again.

OpenTelemetry sets a global tracer provider once and removes no span processor from it. A `DetachableProcessor`
is therefore the one processor that stays; its pipeline comes and goes with `init_tracing` and `shutdown_tracing`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.sampling import Sampler

from pytest_langfuse.tracing.delivery.entropy_ids import EntropyIdGenerator
from pytest_langfuse.tracing.delivery.intake import MOST_OPEN
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.langfuse_internals import ENVIRONMENT, RELEASE
from pytest_langfuse.tracing.recent_entries import RecentEntries

if TYPE_CHECKING:
    from opentelemetry.context import Context


class DetachableProcessor(SpanProcessor):
    """Passes spans on to the installed pipeline, if there is one.

    A span that was open when this process was forked off is the parent's to export: here it ends unseen.
    """

    def __init__(self) -> None:
        self.target: SpanProcessor | None = None
        #: Called with a span for Langfuse that ends after the pipeline was shut down.
        self.lost: Callable[[ReadableSpan], None] | None = None
        #: Called when a span has ended that is not inside of another open span of this process.
        self.outermost_ended: Callable[[], None] | None = None
        self._open: RecentEntries[int, None] = RecentEntries(MOST_OPEN)
        self._inherited: frozenset[int] = frozenset()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass it on."""
        if (target := self.target) is not None:
            exported_ancestors.started(span, parent_context, self._open)
            self._open[span.get_span_context().span_id] = None
            target.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass it on."""
        context = span.get_span_context()
        span_id = context.span_id if context is not None else 0
        self._open.pop(span_id, None)
        if span_id in self._inherited:
            return
        if (target := self.target) is not None:
            target.on_end(span)
            if self.outermost_ended is not None and (span.parent is None or span.parent.span_id not in self._open):
                self.outermost_ended()
        elif self.lost is not None and exported_ancestors.is_exported(span):
            self.lost(span)

    def shutdown(self) -> None:
        """The provider was shut down: so is the pipeline."""
        if (target := self.target) is not None:
            target.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Pass it on."""
        return (target := self.target) is None or target.force_flush(timeout_millis)

    def after_fork(self) -> None:
        """In a forked child: what is open now is the parent's."""
        self._inherited |= frozenset(self._open)
        self._open = RecentEntries(MOST_OPEN)


_processors: weakref.WeakKeyDictionary[Any, DetachableProcessor] = weakref.WeakKeyDictionary()


def detachable_processor_of(provider: SdkTracerProvider) -> DetachableProcessor:
    """Return the provider's processor, added to it the first time. Not thread-safe: the singleton's lock is held."""
    processor = _processors.get(provider)
    if processor is None:
        processor = _processors[provider] = DetachableProcessor()
        provider.add_span_processor(processor)
    return processor


def processors_after_fork() -> None:
    """In a forked child: see `DetachableProcessor.after_fork`."""
    for processor in list(_processors.values()):
        processor.after_fork()


class PipelineProvider(trace.TracerProvider):
    """The tracer provider of the Langfuse client: it attaches the client's span processor to the detachable one.

    `build` makes the pipeline of the client's span processor, `attached()` is called when it gets spans, and
    `flush(seconds)` waits until what it has taken was sent.
    """

    #: Tells it from the provider of a client that was built otherwise.
    is_pipeline = True

    def __init__(
        self,
        provider: SdkTracerProvider,
        *,
        build: Callable[[SpanProcessor], SpanProcessor],
        flush: Callable[[float], bool],
        attached: Callable[[], None] = lambda: None,
    ) -> None:
        self.provider = provider
        self.processor = detachable_processor_of(provider)
        self._build, self._flush, self._attached = build, flush, attached

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Install the pipeline."""
        self.processor.target, self.processor.lost = self._build(span_processor), None
        self._attached()

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        """Return a tracer of the wrapped provider."""
        return self.provider.get_tracer(*args, **kwargs)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Flush the pipeline; the provider's other processors are not ours."""
        return self.processor.force_flush(timeout_millis) and self._flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Shut the pipeline down; the provider's other processors are not ours."""
        self.processor.shutdown()

    @property
    def resource(self) -> Resource:
        """The provider's resource."""
        return self.provider.resource

    @property
    def sampler(self) -> Sampler:
        """The provider's sampler; the SDK asks it whether to send a trace's scores."""
        return self.provider.sampler

    @property
    def id_generator(self) -> Any:
        """The provider's id generator."""
        return self.provider.id_generator


def install_provider(environment: str, release: str | None, sampler: Sampler) -> SdkTracerProvider:
    """The global tracer provider: the application's if it has set one, else one of ours, which becomes the global.

    Ours has environment and release in its resource, so that spans of other instrumentations have them too.
    It is not shut down at exit by OpenTelemetry, which would wait without a limit.
    """
    current = trace.get_tracer_provider()
    # logfire's is a wrapper.
    for existing in (current, getattr(current, "provider", None)):
        if isinstance(existing, SdkTracerProvider):
            return existing
    attributes = {ENVIRONMENT: environment, **({RELEASE: release} if release else {})}
    provider = SdkTracerProvider(
        sampler=sampler,
        resource=Resource.create(attributes),
        id_generator=EntropyIdGenerator(),
        shutdown_on_exit=False,
    )
    if isinstance(current, trace.ProxyTracerProvider):
        trace.set_tracer_provider(provider)
    return provider
