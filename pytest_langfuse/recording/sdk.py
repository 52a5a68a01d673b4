"""The hooks into the Langfuse and OpenTelemetry SDKs: the only file of the harness with their private names.

Read from langfuse 4.5.1 and 5.0.4, opentelemetry-sdk 1.36.0 and 1.45.1. `tests/recording/test_sdk_names.py` fails
for each name that a later release drops, with a sentence that says which.

The application is not changed: classes are hooked, so it does not matter when, where or with which arguments a client
is built. What is hooked:

- `Tracer.start_span`: every span of the process, whatever its provider, and those that the sampler turned down;
- `LangfuseSpanProcessor.on_end`, `BatchSpanProcessor.on_end`, `SimpleSpanProcessor.on_end`: whether Langfuse took the
  span or its filter did not, and which other exporters got it;
- `OTLPSpanExporter.export`: the last place before the wire, after filter and mask; batches are kept here instead;
- `LangfuseResourceManager._initialize_instance` and `AsyncLangfuseAPI`: the HTTP clients of the REST API.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from inspect import signature
from typing import Any

import httpx
import opentelemetry.trace as otel_trace
from langfuse._client import resource_manager as langfuse_resource_manager
from langfuse._client.resource_manager import LangfuseResourceManager
from langfuse._client.span_filter import is_default_export_span, is_langfuse_span
from langfuse._client.span_processor import LangfuseSpanProcessor
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from pytest_langfuse.recording.http.forward import LoopbackForwarder
from pytest_langfuse.recording.http.in_process import HandlerStack, adopt_client, async_client, sync_client
from pytest_langfuse.recording.recorded_span import Rejection
from pytest_langfuse.recording.recorder import Recorder

_SUPPRESSED = otel_context._SUPPRESS_INSTRUMENTATION_KEY
_DEFAULT_QUEUE_SIZE = 2048
#: The module that decides by its own `datetime.now()` whether a cached prompt has expired. It has no timer.
PROMPT_CACHE = "langfuse._utils.prompt_cache"


class Hooks:
    """The patches, installed once for however many recorders are stacked (a pytester run inside a captured test)."""

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.handlers = HandlerStack()
        # Weak: a fixture of the app that builds a client per test must not pile up here.
        self.processors: weakref.WeakSet[LangfuseSpanProcessor] = weakref.WeakSet()
        self.managers: weakref.WeakSet[LangfuseResourceManager] = weakref.WeakSet()
        self._langfuse_exporters: weakref.WeakSet[SpanExporter] = weakref.WeakSet()
        self._otlp_arguments: weakref.WeakKeyDictionary[OTLPSpanExporter, tuple[Any, Any]] = weakref.WeakKeyDictionary()
        self._teed: weakref.WeakSet[SpanExporter] = weakref.WeakSet()
        self.forwarder: LoopbackForwarder | None = None
        self._forwarding: dict[OTLPSpanExporter, OTLPSpanExporter] = {}
        self._pending = 0
        self._flush_at = 0
        self._flush_lock = threading.RLock()
        self._local = threading.local()
        self._undo: list[Callable[[], None]] = []

    @property
    def recorder(self) -> Recorder | None:
        """The recorder that is told of spans: the innermost one."""
        return self.recorders[-1] if self.recorders else None

    # -- install -----------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Hook the SDK's classes, and the clients that were built before."""
        queue_size = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
        # A test that makes more spans than the SDK's queue holds must not lose any: export when half of it is full.
        self._flush_at = max(1, (int(queue_size) if queue_size.isdigit() else _DEFAULT_QUEUE_SIZE) // 2)
        self._patch(Tracer, "start_span", self._start_span)
        self._patch(LangfuseSpanProcessor, "__init__", self._processor_init)
        self._patch(LangfuseSpanProcessor, "on_end", self._langfuse_on_end)
        self._patch(BatchSpanProcessor, "on_end", self._batch_on_end)
        self._patch(SimpleSpanProcessor, "on_end", self._simple_on_end)
        self._patch(OTLPSpanExporter, "__init__", self._otlp_init)
        self._patch(OTLPSpanExporter, "export", self._otlp_export)
        self._patch(LangfuseResourceManager, "_initialize_instance", self._manager_init)
        self._patch(langfuse_resource_manager, "AsyncLangfuseAPI", self._async_api)
        for manager in list(LangfuseResourceManager._instances.values()):
            self._adopt(manager)

    def uninstall(self) -> None:
        """Remove every hook."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._teed.clear()
        self._pending = 0

    def _patch(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original, updated=())
        def hooked(*args: Any, **kwargs: Any) -> Any:
            return hook(original, *args, **kwargs)

        setattr(owner, name, hooked)
        self._undo.append(lambda: setattr(owner, name, original))

    def _adopt(self, manager: LangfuseResourceManager) -> None:
        """Hook a client that was built before the hooks were installed."""
        self.managers.add(manager)
        active = getattr(manager.tracer_provider, "_active_span_processor", None)
        for processor in getattr(active, "_span_processors", ()):
            if isinstance(processor, LangfuseSpanProcessor):
                exporter = processor.span_exporter
                self._watch(processor, getattr(exporter, "_exporter", exporter))
        # The app may have given Langfuse a client that it uses for other hosts, too.
        host = httpx.URL(manager.base_url).host
        wrapper = manager.async_api._client_wrapper
        for client in (manager.httpx_client, wrapper.httpx_client.httpx_client):
            self._undo.append(adopt_client(client, self.handlers, host=host))

    def _watch(self, processor: LangfuseSpanProcessor, exporter: SpanExporter | None) -> None:
        self.processors.add(processor)
        if exporter is None:
            return
        if isinstance(exporter, OTLPSpanExporter):
            self._langfuse_exporters.add(exporter)
        else:
            self._tee(exporter)

    def _tee(self, exporter: SpanExporter) -> None:
        """Watch an exporter that the app built: it keeps exporting, and stays the object that the app holds."""
        if exporter in self._teed:
            return
        original = exporter.export
        # The production pipeline's: its success means that it has taken the spans over.
        later = getattr(exporter, "delivers_later", False)
        name = "Langfuse" if later else type(exporter).__name__

        def export(spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self._local.forwarded = later and self.forwarder is not None
            result = original(spans)
            if (recorder := self.recorder) is not None:
                # What went on to a server is delivered when the server says so, whatever the exporter believes.
                delivered = result is SpanExportResult.SUCCESS and not self._local.forwarded
                recorder.exported(name, spans, delivered=delivered)
            return result

        exporter.export = export  # type: ignore[method-assign]
        self._teed.add(exporter)

        def undo() -> None:
            with suppress(AttributeError):
                del exporter.export

        self._undo.append(undo)

    # -- hooks: spans ------------------------------------------------------------------------------------------

    def _start_span(self, original: Callable[..., Any], tracer: Tracer, name: str, *args: Any, **kwargs: Any) -> Any:
        span = original(tracer, name, *args, **kwargs)
        if (recorder := self.recorder) is not None:
            recorder.started(name, span)
        return span

    def _processor_init(
        self, original: Callable[..., None], processor: LangfuseSpanProcessor, *args: Any, **kwargs: Any
    ) -> None:
        self._local.built = None
        original(processor, *args, **kwargs)
        self._watch(processor, kwargs.get("span_exporter") or self._local.built)

    def _otlp_init(self, original: Callable[..., None], exporter: OTLPSpanExporter, *args: Any, **kwargs: Any) -> None:
        original(exporter, *args, **kwargs)
        self._local.built = exporter
        self._otlp_arguments[exporter] = (args, kwargs)

    def _langfuse_on_end(
        self, original: Callable[..., None], processor: LangfuseSpanProcessor, span: ReadableSpan
    ) -> None:
        self._local.queued = False
        original(processor, span)
        recorder = self.recorder
        if recorder is None:
            return
        if not self._local.queued:
            recorder.rejected(span, _rejection(processor, span))
            return
        recorder.queued(span)
        self._pending += 1
        # Not from within an export (a mask that makes spans): the SDK's export lock is not reentrant.
        # Not while it is exported for real: then the queue is to behave, and to overflow, as in production.
        if self._pending >= self._flush_at and self.forwarder is None and not otel_context.get_value(_SUPPRESSED):
            self.flush()

    def _batch_on_end(self, original: Callable[..., None], processor: BatchSpanProcessor, span: ReadableSpan) -> None:
        if isinstance(processor, LangfuseSpanProcessor):
            self._local.queued = bool(span.context and span.context.trace_flags.sampled)
        elif (recorder := self.recorder) is not None:
            recorder.left_to(type(processor.span_exporter).__name__, span)
        original(processor, span)

    def _simple_on_end(self, original: Callable[..., None], processor: SimpleSpanProcessor, span: ReadableSpan) -> None:
        exporter = processor.span_exporter
        # Spans in memory are on no wire.
        if not isinstance(exporter, InMemorySpanExporter) and (recorder := self.recorder) is not None:
            recorder.left_to(type(exporter).__name__, span)
        original(processor, span)

    def _otlp_export(
        self, original: Callable[..., SpanExportResult], exporter: OTLPSpanExporter, spans: Sequence[ReadableSpan]
    ) -> SpanExportResult:
        recorder = self.recorder
        if recorder is None:
            return original(exporter, spans)
        if exporter in self._langfuse_exporters:
            foreign = recorder.exported("Langfuse", spans, delivered=self.forwarder is None)
            if self.forwarder is not None:
                return original(self._forwarded(exporter, self.forwarder), spans)
            return original(exporter, foreign) if foreign else SpanExportResult.SUCCESS
        if not recorder.active:
            return original(exporter, spans)
        if self.forwarder is not None and self._is_for_langfuse(exporter):
            self._local.forwarded = True
            return original(self._forwarded(exporter, self.forwarder), spans)
        # Another backend's exporter: nothing leaves the machine while a test is captured.
        return SpanExportResult.SUCCESS

    def _is_for_langfuse(self, exporter: OTLPSpanExporter) -> bool:
        """Return whether an exporter that the app built itself sends to Langfuse."""
        _args, kwargs = self._otlp_arguments.get(exporter, ((), {}))
        return "/api/public/otel" in str(kwargs.get("endpoint", ""))

    def _forwarded(self, exporter: OTLPSpanExporter, forwarder: LoopbackForwarder) -> OTLPSpanExporter:
        """Return a twin of the app's exporter, with its timeout and headers, that sends to the server of the test."""
        twin = self._forwarding.get(exporter)
        if twin is None:
            args, kwargs = self._otlp_arguments.get(exporter, ((), {}))
            twin = self._forwarding[exporter] = OTLPSpanExporter(*args, **{**kwargs, "session": forwarder.session()})
        return twin

    @contextmanager
    def forwarding(self, forwarder: LoopbackForwarder) -> Iterator[None]:
        """Really send, through the app's exporter and clients, inside the block."""
        self.flush()
        self.forwarder = forwarder
        try:
            with answered_by(forwarder):
                yield
        finally:
            self.forwarder = None
            twins, self._forwarding = self._forwarding, {}
            for twin in twins.values():
                twin.shutdown()  # type: ignore[no-untyped-call]
            forwarder.close()

    # -- hooks: REST -------------------------------------------------------------------------------------------

    def _manager_init(self, original: Callable[..., None], manager: LangfuseResourceManager, **kwargs: Any) -> None:
        kwargs["httpx_client"] = sync_client(
            kwargs.get("httpx_client"),
            timeout=kwargs.get("timeout"),
            headers=kwargs.get("additional_headers"),
            handlers=self.handlers,
        )
        original(manager, **kwargs)
        self.managers.add(manager)

    def _async_api(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("httpx_client") is None:
            kwargs["httpx_client"] = async_client(
                None, timeout=kwargs.get("timeout"), headers=None, handlers=self.handlers
            )
        return original(*args, **kwargs)

    # -- for the network guard -----------------------------------------------------------------------------------

    def is_captive(self) -> bool:
        """Return whether what this thread does belongs to a captured test, as far as anybody can tell."""
        return self.recorder is not None and self.recorder.active

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Yield the URLs of all clients and exporters that are known, each with what it belongs to."""
        for manager in list(self.managers):
            yield manager.base_url, "a Langfuse client's base URL"
        for exporter in {*self._langfuse_exporters, *self._otlp_arguments}:
            yield getattr(exporter, "_endpoint", ""), "an OTLP exporter's endpoint"

    # -- for the recorder --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Export what Langfuse's span processors hold. Costs nothing if no span has ended since the last call."""
        if not self._pending:
            return
        with self._flush_lock:
            self._pending = 0
            for processor in list(self.processors):
                processor.force_flush()

    def flush_scores(self) -> None:
        """Wait until all queued scores and media uploads have been sent."""
        for manager in list(self.managers):
            if _waiting(manager) and _consumed(manager):
                manager.flush()

    def enable(self, clients: Mapping[Any, Mapping[str, Any]]) -> None:
        """Rebuild, in place, clients that were disabled because keys were missing that are set now."""
        for client, arguments in list(clients.items()):
            if client._resources is None:
                client.__init__(**arguments)

    def revive(self) -> None:
        """Undo what a test's `shutdown()` did to clients that outlive it, so that the next test starts like the first.

        An app that shuts its client down with every TestClient lifespan would otherwise lose the scores (and, after
        `TracerProvider.shutdown()`, the spans) of all later tests.
        """
        for manager in list(self.managers):
            # A prompt that one test fetched must not be what the next one gets.
            if hasattr(manager.prompt_cache, "clear"):
                manager.prompt_cache.clear()
            if not _consumed(manager) and manager in LangfuseResourceManager._instances.values():
                _restart(manager)
        for processor in list(self.processors):
            batch = getattr(processor, "_batch_processor", None)
            if batch is not None and batch._shutdown:
                processor._batch_processor = _again(batch)
                exporter = getattr(processor.span_exporter, "_exporter", processor.span_exporter)
                if exporter in self._otlp_arguments:
                    args, kwargs = self._otlp_arguments[exporter]
                    exporter.__init__(*args, **kwargs)

    def after_fork(self) -> None:
        """In a forked child: a lock that another thread held at the fork would stay locked for ever."""
        self._flush_lock = threading.RLock()


# langfuse 5 and 4 name the same things differently.
_QUEUES = ("_score_queue", "_score_ingestion_queue", "_media_upload_queue")
_CONSUMERS = ("_score_consumers", "_ingestion_consumers")

#: The one installation: patched classes are global to the process, so what undoes them has to be, too.
hooks = Hooks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=hooks.after_fork)


def grpc_endpoint(exporter: object) -> str:
    """Return where an OTLP exporter over gRPC sends: a host and a port, without a scheme."""
    return str(getattr(exporter, "_endpoint", "an unknown host"))


def _rejection(processor: LangfuseSpanProcessor, span: ReadableSpan) -> Rejection:
    if span.context is not None and not span.context.trace_flags.sampled:
        return Rejection("sampled_out", "sampled out")
    if is_langfuse_span(span) and not processor._is_langfuse_project_span(span):
        scope = span.instrumentation_scope
        project = scope.attributes.get("public_key") if scope is not None and scope.attributes else None
        return Rejection("other_project", f"it belongs to the project of {project}")
    if processor._should_export_span is is_default_export_span:
        return Rejection("filtered", "default span filter")
    return Rejection("filtered", "should_export_span returned False or raised")


@contextmanager
def fresh_globals() -> Iterator[None]:
    """Reset Langfuse's and OpenTelemetry's globals to a fresh interpreter's inside the block; restore them afterwards.

    Clients, providers and processors that were made inside are shut down, so that no thread, processor or atexit
    handler remains.
    """
    with _restored_globals():
        LangfuseResourceManager._instances.clear()
        otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE = None, Once()
        yield


@contextmanager
def _restored_globals() -> Iterator[None]:
    instances = dict(LangfuseResourceManager._instances)
    provider, once = otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE
    done = once._done
    textmap = propagate.get_global_textmap()
    managers, processors = set(hooks.managers), set(hooks.processors)
    try:
        yield
    finally:
        hooks.flush()
        made = set(hooks.managers) - managers
        for manager in made:
            _close(manager)
            hooks.managers.discard(manager)
        # A list: providers of other libraries (logfire) are not hashable.
        for made_provider in [*(manager.tracer_provider for manager in made), otel_trace._TRACER_PROVIDER]:
            if isinstance(made_provider, TracerProvider) and made_provider is not provider:
                made_provider.shutdown()
        for processor in set(hooks.processors) - processors:
            processor.shutdown()  # type: ignore[no-untyped-call]
            hooks.processors.discard(processor)
        LangfuseResourceManager._instances.clear()
        LangfuseResourceManager._instances.update(instances)
        otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE = provider, once
        once._done = done
        propagate.set_global_textmap(textmap)


def _waiting(manager: LangfuseResourceManager) -> bool:
    queues = (getattr(manager, name, None) for name in _QUEUES)
    return any(queue is not None and queue.unfinished_tasks for queue in queues)


def _consumed(manager: LangfuseResourceManager) -> bool:
    """Return whether a thread empties the score queue; without one, `flush` hangs (langfuse-python pull 1799)."""
    return any(consumer.is_alive() for name in _CONSUMERS for consumer in getattr(manager, name, ()))


def _restart(manager: LangfuseResourceManager) -> None:
    if hasattr(manager, "_shutdown"):
        manager._shutdown = False
    for name in (*_CONSUMERS, "_media_upload_consumers"):
        consumers = [_again(consumer) for consumer in getattr(manager, name, ())]
        if consumers:
            setattr(manager, name, consumers)
        for consumer in consumers:
            consumer.start()
    atexit.register(manager.shutdown)


def _again(stopped: Any) -> Any:
    """A new object with the settings of a stopped one; both SDKs keep a parameter `x` of `__init__` in `self._x`."""
    names = [name for name in signature(type(stopped).__init__).parameters if hasattr(stopped, f"_{name}")]
    return type(stopped)(**{name: getattr(stopped, f"_{name}") for name in names})


def _close(manager: LangfuseResourceManager) -> None:
    if _consumed(manager):
        manager.shutdown()
    manager.prompt_cache._task_manager.shutdown()
    atexit.unregister(manager.prompt_cache._task_manager.shutdown)


@contextmanager
def answered_by(handler: Callable[[httpx.Request], httpx.Response | None] | None) -> Iterator[None]:
    """Send REST calls of captured clients to `handler` inside the block."""
    previous, hooks.handlers.base = hooks.handlers.base, handler
    try:
        yield
    finally:
        hooks.handlers.base = previous


@contextmanager
def asked_first(handler: Callable[[httpx.Request], httpx.Response | None] | None) -> Iterator[None]:
    """Ask `handler` first inside the block. It passes on to `base_handler()` what it does not answer."""
    previous, hooks.handlers.front = hooks.handlers.front, handler
    try:
        yield
    finally:
        hooks.handlers.front = previous


def base_handler() -> Callable[[httpx.Request], httpx.Response | None] | None:
    """Return the handler below `asked_first`: the stand-in, over a socket during an outage test."""
    return hooks.handlers.base


@contextmanager
def hooked(recorder: Recorder, handler: Callable[[httpx.Request], httpx.Response]) -> Iterator[None]:
    """Tell `recorder` of every span and let `handler` answer REST calls, inside the block.

    Can be nested: a pytester run inside a captured test gets fresh globals, and the outer ones are restored after it.
    """
    with ExitStack() as stack:
        nested = bool(hooks.recorders)
        if not nested:
            hooks.install()
            stack.callback(hooks.uninstall)
        # What is still queued belongs to the outer recorder.
        hooks.flush()
        hooks.recorders.append(recorder)
        stack.callback(hooks.recorders.remove, recorder)
        # What was built under the hooks must not outlive them: at interpreter exit it would send what is left.
        stack.enter_context(fresh_globals() if nested else _restored_globals())
        stack.enter_context(answered_by(lambda request: handler(request) if recorder.active else None))
        stack.enter_context(asked_first(None))
        yield
