"""The hooks into the Langfuse and OpenTelemetry SDKs: the only file of the harness with their private names.

Read from langfuse 4.5.1 and 5.0.4, opentelemetry-sdk 1.36.0 and 1.45.1. `tests/recording/test_sdk_names.py` fails
for each name that a later release drops, with a sentence that says which.

The application is not changed: classes are hooked, so it does not matter when, where or with which arguments a client
is built. What is hooked:

- `Tracer.start_span`: every span of the process, whatever its provider, and those that the sampler turned down;
- `LangfuseSpanProcessor.on_end`, `BatchSpanProcessor.on_end`, `SimpleSpanProcessor.on_end`: whether Langfuse took the
  span or its filter did not, and which other exporters got it;
- `OTLPSpanExporter.export`: the last place before the wire, after filter and mask; batches are kept here instead;
- `export` of other exporters: they work for the test that made the spans, whatever thread calls them;
- the exporters of metrics and logs (see `metrics_and_logs`);
- `Langfuse.__init__`: a client that is built by a captured test gets the keys and the timeout that it lacks;
- `LangfuseResourceManager._initialize_instance`, `AsyncLangfuseAPI` and `HttpClient`: the clients of the REST API;
- `flush` and `shutdown` of `LangfuseResourceManager`, and `Langfuse._fetch_prompt_and_update_cache`: how long the
  application waits in them, and in requests and exports;
- the queues of scores, media and prompts, `Thread.start`, `ThreadPoolExecutor.submit` and `atexit.register`: what is
  sent later is still known to be a captured test's (see `origin`);
- these two, `ThreadPool`, `Future.add_done_callback` and `BaseEventLoop.create_task`: who handed over work, for rules;
- only where rules are to be evaluated: the methods that start and update observations, and what checks their values and
  those of `propagate_attributes`, to see which values the SDK drops; the methods of spans that are not sampled.

The hooks stay until the process exits: threads, queues and exit handlers of a captured test outlive the run.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import os
import re
import sys
import threading
import weakref
from asyncio import BaseEventLoop
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from inspect import isfunction, signature, unwrap
from pathlib import Path
from queue import Full
from types import FrameType
from typing import Any, cast
from unittest.mock import NonCallableMock

import httpx
import opentelemetry.trace as otel_trace
from langfuse import Langfuse
from langfuse._client import propagation as langfuse_propagation
from langfuse._client import resource_manager as langfuse_resource_manager
from langfuse._client import span as langfuse_span
from langfuse._client.constants import ObservationTypeGenerationLike, get_observation_types_list
from langfuse._client.resource_manager import LangfuseResourceManager
from langfuse._client.span import LangfuseEvent, LangfuseObservationWrapper
from langfuse._client.span_filter import is_default_export_span, is_langfuse_span
from langfuse._client.span_processor import LangfuseSpanProcessor
from langfuse._utils import prompt_cache as langfuse_prompt_cache
from langfuse._utils.prompt_cache import PromptCache
from langfuse.api.core.http_client import AsyncHttpClient, HttpClient
from langfuse.logger import langfuse_logger
from opentelemetry import context as otel_context
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, StatusCode
from opentelemetry.util import _decorator
from opentelemetry.util._once import Once

from pytest_langfuse.recording.built_client import BuiltClient, is_import, settings_of
from pytest_langfuse.recording.exported_body import Encoding
from pytest_langfuse.recording.handed_over_work import is_executor_map
from pytest_langfuse.recording.http.forward import LoopbackForwarder
from pytest_langfuse.recording.http.in_process import HandlerStack, adopt_client, async_client, sync_client
from pytest_langfuse.recording.langfuse_waits import LangfuseWait, WaitTimer, waiting_site
from pytest_langfuse.recording.lost_value import WhyDropped
from pytest_langfuse.recording.metrics_and_logs import MetricsAndLogs
from pytest_langfuse.recording.origin import (
    BATCH,
    HANDED_OVER,
    MARK,
    CallOf,
    Origin,
    Unknown,
    WorksFor,
    handed_over_tasks,
    here,
    item_of,
    of_thread,
)
from pytest_langfuse.recording.origin_queue import OriginQueue
from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY, PLACEHOLDER_SECRET_KEY
from pytest_langfuse.recording.recorded_span import (
    HandedOver,
    HandOver,
    Reason,
    RecordedSpan,
    Rejection,
    SpanKey,
    mark,
    marked,
)
from pytest_langfuse.recording.recorder import Recorder, Uncaptured
from pytest_langfuse.recording.supplied_timeout import SUPPLIED_TIMEOUT, SuppliedTimeout
from pytest_langfuse.recording.why_not_exported import NO_PROCESSOR
from pytest_langfuse.recording.why_nothing import KnownClient

_SUPPRESSED = otel_context._SUPPRESS_INSTRUMENTATION_KEY
_DEFAULT_QUEUE_SIZE = 2048
#: The attribute of functions that stand in place of the SDK's, or of the app's, and call them.
_HOOK = "_pytest_langfuse_hook"
#: Classes that export over gRPC, by the names of their modules.
GRPC_EXPORTERS = {
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter": "OTLPSpanExporter",
    "opentelemetry.exporter.otlp.proto.grpc.metric_exporter": "OTLPMetricExporter",
    "opentelemetry.exporter.otlp.proto.grpc._log_exporter": "OTLPLogExporter",
}
_METRIC_EXPORTERS = {
    f"opentelemetry.exporter.otlp.proto.{protocol}.metric_exporter": "OTLPMetricExporter"
    for protocol in ("http", "grpc")
}
_LOG_EXPORTERS = {
    f"opentelemetry.exporter.otlp.proto.{protocol}._log_exporter": "OTLPLogExporter" for protocol in ("http", "grpc")
}
_LOG_PROCESSORS = {"opentelemetry.sdk._logs.export": "BatchLogRecordProcessor"}
#: The module that decides by its own `datetime.now()` whether a cached prompt has expired. It has no timer.
PROMPT_CACHE = "langfuse._utils.prompt_cache"
#: The module of `get_client`, which langfuse's package shows as that function.
langfuse_get_client = importlib.import_module("langfuse._client.get_client")


class Hooks:
    """The patches, installed once for however many recorders are stacked (a pytester run inside a captured test)."""

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []
        self.handlers = HandlerStack(choose=self._handler)
        self._own_handlers = HandlerStack(choose=lambda _: self._handler(self.handlers) or self.late_handler)
        #: Everything that the process makes from here on: set when a run that captured all of it is over.
        self.sealed: Origin | None = None
        #: The test that runs, while it is not captured.
        self.uncaptured: Uncaptured | None = None
        #: Answers what a captured test sends when it is over.
        self.late_handler: Callable[[httpx.Request], httpx.Response] | None = None
        # Weak: a fixture of the app that builds a client per test must not pile up here.
        self.processors: weakref.WeakSet[BatchSpanProcessor] = weakref.WeakSet()
        self.managers: weakref.WeakSet[LangfuseResourceManager] = weakref.WeakSet()
        self._langfuse_exporters: weakref.WeakSet[SpanExporter] = weakref.WeakSet()
        self._otlp_arguments: weakref.WeakKeyDictionary[OTLPSpanExporter, tuple[Any, Any]] = weakref.WeakKeyDictionary()
        #: What was built before the hooks were installed.
        self._early_exporters: weakref.WeakSet[OTLPSpanExporter] = weakref.WeakSet()
        self._early_processors: weakref.WeakSet[BatchSpanProcessor] = weakref.WeakSet()
        #: Classes of exporters that were seen, and whether `export` is OpenTelemetry's and hooked where it must be.
        self._exporter_classes = dict.fromkeys((OTLPSpanExporter, InMemorySpanExporter), True)
        #: Exporters whose `export` is replaced, by id: an exporter need not be hashable.
        self._teed: weakref.WeakValueDictionary[int, SpanExporter] = weakref.WeakValueDictionary()
        self._separated: weakref.WeakValueDictionary[int, SpanExporter] = weakref.WeakValueDictionary()
        #: Exporters that have taken spans over, and send them from a thread of their own.
        self._holding: weakref.WeakSet[Any] = weakref.WeakSet()
        self._adopted: weakref.WeakSet[httpx.Client | httpx.AsyncClient] = weakref.WeakSet()
        self._api_clients: weakref.WeakSet[HttpClient | AsyncHttpClient] = weakref.WeakSet()
        self._metrics_and_logs = MetricsAndLogs(
            self.origin,
            metric_exporters=_METRIC_EXPORTERS,
            log_exporters=_LOG_EXPORTERS,
            log_processors=_LOG_PROCESSORS,
        )
        #: The clients that were built first of their keys, by what all of a key share.
        self._first_clients: weakref.WeakKeyDictionary[LangfuseResourceManager, BuiltClient] = (
            weakref.WeakKeyDictionary()
        )
        #: Clients that a captured test gave placeholder keys, and how they are without.
        self._without_keys: weakref.WeakKeyDictionary[Langfuse, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._with_keys: weakref.WeakKeyDictionary[Langfuse, dict[str, Any]] = weakref.WeakKeyDictionary()
        #: What those clients share. Tests that are not captured don't find it.
        self.placeholder_manager: LangfuseResourceManager | None = None
        #: What was cached before the captured test that runs, by the cache.
        self._kept_prompts: dict[PromptCache, dict[str, Any]] = {}
        self.forwarder: LoopbackForwarder | None = None
        #: Times calls that block the application.
        self.waits = WaitTimer(self._note_wait)
        self._forwarding: dict[OTLPSpanExporter, OTLPSpanExporter] = {}
        self._pending = 0
        self._flush_at = 0
        self._flush_lock = threading.RLock()
        self._local = threading.local()
        self._installed = False
        self._sees_for_rules = False
        self._undo: list[Callable[[], None]] = []

    @property
    def recorder(self) -> Recorder | None:
        """The recorder that is told of spans: the innermost one that captures a test, else the innermost."""
        recorders = self.recorders
        if len(recorders) != 1:
            for recorder in reversed(recorders):
                if recorder.current is not None:
                    return recorder
        return recorders[-1] if recorders else None

    # -- origin ------------------------------------------------------------------------------------------------

    def origin(self) -> Origin | None:
        """Return the test for which the current thread works; `None` if that is not known, and no test is captured."""
        if not isinstance(here.item, Unknown):
            return here.item
        for recorder in reversed(self.recorders):
            if recorder.current is not None:
                return recorder.current.origin
        return self._left_by(otel_trace.get_current_span())

    def _left_by(self, parent: Any) -> Origin | None:
        """Return the origin of what the current thread does below `parent` while no test is captured."""
        origin = self.sealed or of_thread() or _origin_of(parent.get_span_context())
        if origin is None and self.uncaptured is not None:
            return self.uncaptured.origin
        return origin

    def _handler(self, handlers: HandlerStack) -> Callable[[httpx.Request], httpx.Response | None] | None:
        """Return what answers a request of the current thread; `None` where it is not captured."""
        origin = self.origin()
        if origin is None or not origin.captured:
            return None
        for recorder in reversed(self.recorders):
            if recorder.current is not None and recorder.current.origin is origin:
                return handlers.front or handlers.base
        return self.late_handler

    def _is_captured(self, span: ReadableSpan) -> bool:
        found = marked(span.context)
        if isinstance(found, RecordedSpan) or (found is not None and found.captured):
            return True
        if self.sealed is not None or _project(span) == PLACEHOLDER_PUBLIC_KEY:
            return True
        return any(recorder.everything or recorder.knows(span) for recorder in self.recorders)

    def _split(self, spans: Sequence[ReadableSpan]) -> tuple[Sequence[ReadableSpan], Sequence[ReadableSpan]]:
        """Return the spans of captured tests, and the others."""
        captured = [span for span in spans if self._is_captured(span)]
        if len(captured) == len(spans):
            return spans, ()
        return captured, [span for span in spans if not self._is_captured(span)]

    # -- install -----------------------------------------------------------------------------------------------

    def install(self) -> None:
        """Hook the SDK's classes, for good, and the clients that were built before."""
        queue_size = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "")
        # A test that makes more spans than the SDK's queue holds must not lose any: export when half of it is full.
        self._flush_at = max(1, (int(queue_size) if queue_size.isdigit() else _DEFAULT_QUEUE_SIZE) // 2)
        if not self._installed:
            self._installed = True
            self._install()
            self._find_early()
        for manager in list(LangfuseResourceManager._instances.values()):
            if manager not in self.managers:
                self._adopt(manager)

    def _install(self) -> None:
        self._patch(Tracer, "start_span", self._start_span)
        self._patch(LangfuseSpanProcessor, "__init__", self._processor_init)
        self._patch(LangfuseSpanProcessor, "on_end", self._langfuse_on_end)
        self._patch(BatchSpanProcessor, "on_end", self._batch_on_end)
        self._patch(SimpleSpanProcessor, "on_end", self._simple_on_end)
        self._patch(OTLPSpanExporter, "__init__", self._otlp_init)
        self._patch(OTLPSpanExporter, "export", self._otlp_export)
        if _TransformingExporter is not None:
            self._patch(_TransformingExporter, "export", self._transform)
        self._patch(Langfuse, "__init__", self._client_init)
        self._patch(langfuse_get_client, "_create_client_from_instance", self._copy_client)
        self._patch(LangfuseResourceManager, "_initialize_instance", self._manager_init)
        self._patch(langfuse_resource_manager, "AsyncLangfuseAPI", self._async_api)
        for owner, name in (
            (LangfuseResourceManager, "flush"),
            (LangfuseResourceManager, "shutdown"),
            (Langfuse, "_fetch_prompt_and_update_cache"),
        ):
            self._patch(owner, name, self._timed)
        for http_client in (HttpClient, AsyncHttpClient):
            self._patch(http_client, "__init__", self._http_client_init)
            self._patch(http_client, "request", self._request)
            self._patch(http_client, "stream", self._request)
        OriginQueue.origin_now = self.origin
        for module in (langfuse_resource_manager, langfuse_prompt_cache):
            self._replace(module, "Queue", OriginQueue)
        self._patch(PromptCache, "set", self._cache_prompt)
        self._patch(_ScoreConsumer, "upload", self._upload)
        self._patch(threading.Thread, "start", self._thread_start)
        self._patch(ThreadPoolExecutor, "submit", self._submit)
        self._patch(Future, "add_done_callback", self._add_done_callback)
        self._patch(BaseEventLoop, "create_task", self._create_task)
        self._patch(atexit, "register", self._register)
        self._metrics_and_logs.install()

    def _find_early(self) -> None:
        """Find what was built before: span processors, also within others, and whose endpoints are to be known."""
        objects = gc.get_objects()
        others = self._metrics_and_logs.imported_exporters()
        wanted = {HttpClient, AsyncHttpClient, OTLPSpanExporter, BatchSpanProcessor, *others}
        # By their types: `isinstance` runs code of proxies.
        kinds = {kind for kind in set(map(type, objects)) if not wanted.isdisjoint(kind.__mro__)}
        for found in [found for found in objects if type(found) in kinds]:
            if isinstance(found, LangfuseSpanProcessor):
                self._watch(found, None)
            elif isinstance(found, BatchSpanProcessor):
                self._early_processors.add(found)
            elif isinstance(found, OTLPSpanExporter):
                self._early_exporters.add(found)
            elif isinstance(found, (HttpClient, AsyncHttpClient)):
                self._api_clients.add(found)
            else:
                self._metrics_and_logs.exporters.add(found)

    def _patch(self, owner: Any, name: str, hook: Callable[..., Any]) -> None:
        original = getattr(owner, name)

        @functools.wraps(original, updated=())
        def hooked(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            return hook(original, *args, **kwargs)

        setattr(hooked, _HOOK, True)
        self._replace(owner, name, hooked)

    def _replace(self, owner: Any, name: str, value: Any) -> None:
        original = getattr(owner, name)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, original))

    def uninstall(self) -> None:
        """Remove every hook: a run inside another one is over, and what it built is closed."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        self._metrics_and_logs.uninstall()
        for manager in list(self.managers):
            for queue in _queues(manager):
                if isinstance(queue, OriginQueue):
                    queue.release()
        self._exporter_classes = dict.fromkeys((OTLPSpanExporter, InMemorySpanExporter), True)
        for exporter in [*self._teed.values(), *self._separated.values()]:
            with suppress(AttributeError):
                del exporter.export
        self._teed.clear()
        self._separated.clear()
        self._adopted.clear()
        self.managers.clear()
        self._without_keys.clear()
        self._with_keys.clear()
        self._pending = 0
        self._installed = self._sees_for_rules = False

    def _adopt(self, manager: LangfuseResourceManager) -> None:
        """Hook a client that was built before the hooks were installed."""
        self.managers.add(manager)
        wrapper = manager.async_api._client_wrapper
        for client in (manager.httpx_client, wrapper.httpx_client.httpx_client):
            # The app may have given Langfuse a client that it uses for other hosts, too.
            self._adopt_client(client, manager.base_url)
        for queue in _queues(manager):
            queue.__class__ = OriginQueue
        for consumer in _consumers(manager):
            # It may be collecting a batch, of what nobody has captured.
            setattr(consumer, BATCH, [None])

    def _adopt_client(self, client: httpx.Client | httpx.AsyncClient, base_url: str) -> None:
        if client not in self._adopted:
            self._adopted.add(client)
            self._undo.append(adopt_client(client, self.handlers, host=httpx.URL(base_url).host))

    def _watch(self, processor: LangfuseSpanProcessor, exporter: SpanExporter | None) -> None:
        self.processors.add(processor)
        self._watch_callbacks(processor)
        exporter = exporter or _inner(processor.span_exporter)
        if isinstance(exporter, OTLPSpanExporter):
            self._langfuse_exporters.add(exporter)
        if _replacement(exporter, "export") is not None:
            self._tee(exporter)

    def _watch_callbacks(self, processor: LangfuseSpanProcessor) -> None:
        """See when a filter or a mask of the app raises, which the SDK logs and nobody else hears of."""
        if processor._should_export_span is not is_default_export_span:
            self._see_errors(processor, "_should_export_span", "filter_error")
        for level in _levels(processor.span_exporter):
            if type(level) is _TransformingExporter and level._mask_otel_spans is not None:
                self._see_errors(level, "_mask_otel_spans", "mask_error")

    def _see_errors(self, owner: Any, name: str, seen: str) -> None:
        callback = getattr(owner, name)
        if getattr(callback, _HOOK, False) is True:
            return

        @functools.wraps(callback, updated=())
        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                return callback(*args, **kwargs)
            except Exception as error:
                setattr(self._local, seen, f"raised {type(error).__name__}: {error}")
                raise

        setattr(watched, _HOOK, True)
        self._replace(owner, name, watched)

    def _tee(self, exporter: SpanExporter) -> None:
        """Watch an exporter that the app built: it keeps exporting, and stays the object that the app holds."""
        if self._teed.get(id(exporter)) is exporter or isinstance(exporter, NonCallableMock):
            return
        in_class = None if "export" in vars(exporter) else type(exporter)
        original = exporter.export
        # Of the class as it is now: a test may have patched it, and have restored it since.

        def send_now(spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return original(spans) if in_class is None else in_class.export(exporter, spans)

        send = self._each_for_its_origin(lambda spans: self._timed(send_now, spans))
        # The production pipeline's: its success means that it has taken the spans over.
        later = getattr(exporter, "delivers_later", False) is True
        name = "Langfuse" if later else type(exporter).__name__
        # It sends text and numbers that OpenTelemetry's encoder leaves out.
        as_sent: Callable[[ReadableSpan], ReadableSpan] | None = getattr(exporter, "as_sent", None) if later else None

        def export(spans: Sequence[ReadableSpan]) -> SpanExportResult:
            self._local.forwarded = later and self.forwarder is not None
            self._local.teed = True
            if later:
                self._holding.add(exporter)
            try:
                result = send(spans)
            finally:
                self._local.teed = False
            if (recorder := self.recorder) is not None:
                # What went on to a server is delivered when the server says so, whatever the exporter believes.
                delivered = result is SpanExportResult.SUCCESS and not self._local.forwarded
                sent = spans if as_sent is None else [as_sent(span) for span in spans]
                recorder.exported(name, sent, delivered=delivered, to=self._destination(exporter))
                recorder.sent_as(sent, self._encoding(exporter))
            return result

        setattr(export, _HOOK, True)
        exporter.export = export  # type: ignore[method-assign]
        self._teed[id(exporter)] = exporter

    def _each_for_its_origin(self, export: Callable[..., SpanExportResult]) -> Callable[..., SpanExportResult]:
        """Return an `export` that works for captured tests, and for others, with what each has made."""

        def for_its_origin(spans: Sequence[ReadableSpan]) -> SpanExportResult:
            captured, others = self._split(spans)
            results = []
            try:
                if captured:
                    with item_of(_origin_of(captured[-1].context) or self.origin()):
                        results.append(export(captured))
            finally:
                # The outage of a captured test, which may make its export raise, is not theirs.
                if others:
                    with item_of(_origin_of(others[-1].context)):
                        results.append(export(others))
            return _worst(results)

        return for_its_origin

    # -- hooks: spans ------------------------------------------------------------------------------------------

    def _start_span(self, original: Callable[..., Any], tracer: Tracer, name: str, *args: Any, **kwargs: Any) -> Any:
        span = original(tracer, name, *args, **kwargs)
        recorder = self.recorder
        if recorder is not None and recorder.current is not None:
            context = args[0] if args else kwargs.get("context")
            recorder.started(name, span, context=context)
            if type(span) is NonRecordingSpan and recorder.places is not None:
                recorder.unsampled(span, _rate_of(tracer, otel_trace.get_current_span(context)))
        elif (origin := self._origin_of_start(*args, **kwargs)) is not None:
            mark(span.get_span_context(), origin)
            if self.uncaptured is not None and origin is self.uncaptured.origin:
                self.uncaptured.spans.append((name, span))
        return span

    def _origin_of_start(self, context: Any = None, *_: Any, **__: Any) -> Origin | None:
        return self._left_by(otel_trace.get_current_span(context))

    # -- hooks: values that the SDK drops, for rules -----------------------------------------------------------------

    def see_what_rules_ask_for(self) -> None:
        """Hook what drops values that the application gives to the SDK, and spans that record nothing."""
        if self._sees_for_rules:
            return
        self._sees_for_rules = True
        for name in ("_validate_propagated_value", "_validate_string_value", "_extract_propagated_prompt"):
            if hasattr(langfuse_propagation, name):
                self._patch(langfuse_propagation, name, self._validate)
        if hasattr(langfuse_span, "_warn_dropped_attributes"):
            self._patch(langfuse_span, "_warn_dropped_attributes", self._drop_attributes)
        for owner in (Langfuse, LangfuseObservationWrapper):
            for name in ("start_observation", "start_as_current_observation"):
                self._watch_start(owner, name)
        self._watch_update()
        self._patch(LangfuseEvent, "update", self._update_event)
        self._patch(NonRecordingSpan, "is_recording", self._is_not_recording)
        self._patch(NonRecordingSpan, "set_status", self._set_no_status)

    # Not by `_patch`, which would take twice as long: these are called for every observation.

    def _watch_start(self, owner: Any, name: str) -> None:
        """See arguments that the type of an observation that starts has no field for."""
        original, has_none = getattr(owner, name), _OF_GENERATIONS.isdisjoint

        @functools.wraps(original, updated=())
        def start(itself: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not has_none(kwargs) and kwargs.get("as_type", "span") not in _GENERATIONS:
                self._see_lost_arguments(name, sys._getframe(1), kwargs)
            return original(itself, *args, **kwargs)

        setattr(start, _HOOK, True)
        self._replace(owner, name, start)

    def _see_lost_arguments(self, call: str, caller: FrameType, arguments: Mapping[str, Any]) -> None:
        if (recorder := self._recorder_for(caller)) is None:
            return
        lost = [name for name, value in arguments.items() if name in _OF_GENERATIONS and value is not None]
        name, kind = str(arguments.get("name")), str(arguments.get("as_type", "span"))
        # It has not been started.
        recorder.lost_value("type", call, lost, span=otel_trace.INVALID_SPAN, observation=name, detail=kind)

    def _watch_update(self) -> None:
        """See arguments of `update()` that are ignored."""
        original, all_have = LangfuseObservationWrapper.update, _OF_ALL.issuperset

        @functools.wraps(original, updated=())
        def update(observation: Any, *args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True
            if not observation._otel_span.is_recording() or not all_have(kwargs):
                self._see_ignored_update(observation, sys._getframe(1), kwargs)
            return original(observation, *args, **kwargs)

        setattr(update, _HOOK, True)
        self._replace(LangfuseObservationWrapper, "update", update)

    def _see_ignored_update(self, observation: Any, caller: FrameType, arguments: Mapping[str, Any]) -> None:
        span = observation._otel_span
        if not span.is_recording():
            # Else it is not sampled.
            if getattr(span, "end_time", None) is not None:
                self._see_lost_update("ended", observation, caller, arguments)
            return
        unknown = {name: value for name, value in arguments.items() if name not in _KNOWN}
        self._see_lost_update("unknown", observation, caller, unknown)
        if observation._observation_type not in _GENERATIONS:
            of_generations = {name: value for name, value in arguments.items() if name in _OF_GENERATIONS}
            self._see_lost_update("type", observation, caller, of_generations)

    def _update_event(self, original: Callable[..., Any], event: Any, *args: Any, **kwargs: Any) -> Any:
        """Update an event, which the SDK does not do."""
        __tracebackhide__ = True
        self._see_lost_update("event", event, sys._getframe(2), kwargs)
        return original(event, *args, **kwargs)

    def _see_lost_update(
        self, why: WhyDropped, observation: Any, caller: FrameType, arguments: Mapping[str, Any]
    ) -> None:
        names = [name for name, value in arguments.items() if value is not None]
        if names and (recorder := self._recorder_for(caller)) is not None:
            kind = observation._observation_type
            recorder.lost_value(why, "update", names, span=observation._otel_span, detail=kind)

    def _recorder_for(self, caller: FrameType | None) -> Recorder | None:
        """Return the recorder if rules are evaluated and the application calls: it can't mend calls of libraries."""
        recorder = self.recorder
        if recorder is None or recorder.places is None or caller is None:
            return None
        return recorder if recorder.places.is_application(caller.f_code) else None

    def _validate(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Check a value that is to be propagated; see if it is dropped."""
        found = original(*args, **kwargs)
        if found is None or found is False:
            self._see_lost_propagation(kwargs.get("key", "prompt"), kwargs["value"] if kwargs else args[0])
        return found

    def _see_lost_propagation(self, key: str, value: Any) -> None:
        recorder = self.recorder
        # The elements of a list are checked one by one. Experiments are the SDK's own.
        if recorder is None or value is None or isinstance(value, list) or key.startswith("experiment"):
            return
        # Integrations propagate all metadata that they find.
        if key.startswith("metadata.") and self._recorder_for(_caller_of_propagation(sys._getframe(1))) is None:
            return
        if (reason := _why_not_propagated(key, value)) is not None:
            span = otel_trace.get_current_span()
            recorder.lost_value("form", "propagate_attributes", [key], span=span, detail=reason)

    def _drop_attributes(self, original: Callable[..., Any], **kwargs: Any) -> Any:
        """Say that attributes of a full span are dropped, which the caller holds as `span` (langfuse 5)."""
        recorder, span = self.recorder, sys._getframe(2).f_locals.get("span")
        if recorder is not None and span is not None:
            names = [*kwargs["dropped_metadata"], *kwargs["dropped_other"]]
            recorder.lost_value("full", "", names, span=span, detail=str(kwargs["max_attributes"]))
        return original(**kwargs)

    # -- hooks: spans that are not sampled, for rules ----------------------------------------------------------------

    def _is_not_recording(self, original: Callable[..., bool], span: NonRecordingSpan) -> bool:
        """Answer that a span records nothing; see an error that whoever asks would record."""
        frame = sys._getframe(2)
        if frame.f_code is _USE_SPAN:
            # It asks in the clause that has caught the exception of a with block.
            if (error := sys.exception()) is not None:
                self._see_unsampled_error(span, f"raised {type(error).__name__}")
        elif frame.f_code in _WITH_LEVEL and frame.f_locals.get("level") == "ERROR":
            self._see_unsampled_error(span, "has the level ERROR")
        return original(span)

    def _set_no_status(
        self, original: Callable[..., None], span: NonRecordingSpan, status: Any, *args: Any, **kwargs: Any
    ) -> None:
        """Set no status; see if it is one of an error."""
        if getattr(status, "status_code", status) is StatusCode.ERROR:
            self._see_unsampled_error(span, "has the status ERROR")
        original(span, status, *args, **kwargs)

    def _see_unsampled_error(self, span: NonRecordingSpan, error: str) -> None:
        recorder = self.recorder
        if recorder is not None and recorder.places is not None:
            recorder.unsampled_error(span, error)

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
        self._local.filter_error = None
        original(processor, span)
        recorder = self.recorder
        if recorder is None:
            return
        if not self._local.queued:
            recorder.rejected(span, _rejection(processor, span, self._local.filter_error))
            return
        if not self._is_captured(span):
            # Its queue behaves as without the plugin.
            return
        recorder.queued(span, processor)
        self._pending += 1
        # Not from within an export (a mask that makes spans): the SDK's export lock is not reentrant.
        # Not while it is exported for real: then the queue is to behave, and to overflow, as in production.
        if self._pending >= self._flush_at and self.forwarder is None and not otel_context.get_value(_SUPPRESSED):
            self.flush()

    def _batch_on_end(self, original: Callable[..., None], processor: BatchSpanProcessor, span: ReadableSpan) -> None:
        if isinstance(processor, LangfuseSpanProcessor):
            self._local.queued = bool(span.context and span.context.trace_flags.sampled)
            self._see_loss(processor, span)
        elif self._left_to(processor.span_exporter, span, processor):
            self.processors.add(processor)
            self._pending += 1
            self._see_loss(processor, span)
        original(processor, span)

    def _see_loss(self, processor: BatchSpanProcessor, span: ReadableSpan) -> None:
        """Take note of a span that its processor is about to drop: this one, or the oldest of a full queue."""
        batch = getattr(processor, "_batch_processor", None)
        if batch is None or (recorder := self.recorder) is None:
            return
        if batch._shutdown:
            recorder.dropped(span, "its span processor had been shut down when it ended")
        elif len(batch._queue) == batch._max_queue_size:
            with suppress(IndexError):
                recorder.dropped(
                    batch._queue[-1], f"the queue of its span processor was full ({len(batch._queue):,} spans)"
                )

    def _simple_on_end(self, original: Callable[..., None], processor: SimpleSpanProcessor, span: ReadableSpan) -> None:
        self._left_to(processor.span_exporter, span, processor)
        original(processor, span)

    def _left_to(self, exporter: SpanExporter, span: ReadableSpan, processor: object) -> bool:
        """Take note that an exporter which the app built itself gets a span. Return whether it is a captured one."""
        hooked = self._exporter_classes.get(type(exporter))
        if hooked is None:
            hooked = self._watch_class(type(exporter))
        if not hooked:
            self._separate(exporter)
        # Spans in memory are on no wire.
        if isinstance(exporter, InMemorySpanExporter) or not self._is_captured(span):
            return False
        if (recorder := self.recorder) is not None:
            if not self._is_for_langfuse(exporter):
                recorder.left_to(type(exporter).__name__, span)
            elif span.context is not None and span.context.trace_flags.sampled:
                recorder.queued(span, processor)
        return True

    def _watch_class(self, exporter: type[SpanExporter]) -> bool:
        """Hook OpenTelemetry's other exporters (OTLP over gRPC), which an app may import at any time.

        Return whether the `export` of a class is OpenTelemetry's.
        """
        definer = next((base for base in exporter.__mro__ if "export" in vars(base)), exporter)
        self._exporter_classes[exporter] = definer.__module__.startswith("opentelemetry.")
        for base in exporter.__mro__:
            if base.__module__.startswith("opentelemetry.exporter.") and "export" in vars(base):
                if base is exporter or base not in self._exporter_classes:
                    self._patch(base, "export", self._otlp_export)
                self._exporter_classes.setdefault(base, True)
        return self._exporter_classes[exporter]

    def _separate(self, exporter: SpanExporter) -> None:
        """Let an exporter of any other class work for whom the spans are: it sends from a thread of no test."""
        kind = type(exporter)
        # A mock has no such method, and sends nothing.
        if "export" in getattr(exporter, "__dict__", {"export"}) or not isfunction(getattr(kind, "export", None)):
            return
        with suppress(TypeError):  # an exporter without weak references
            itself = weakref.ref(exporter)
            # Looked up with each call: a test may patch the class.
            send = self._each_for_its_origin(lambda spans: kind.export(itself(), spans))  # type: ignore[arg-type]
            exporter.export = functools.wraps(kind.export)(send)  # type: ignore[method-assign]
            self._separated[id(exporter)] = exporter

    def _transform(
        self, original: Callable[..., SpanExportResult], exporter: SpanExporter, spans: Sequence[ReadableSpan]
    ) -> SpanExportResult:
        """Take media out of the spans of captured tests on their behalf (langfuse 5)."""
        return self._each_for_its_origin(functools.partial(self._transformed, original, exporter))(spans)

    def _transformed(
        self, original: Callable[..., SpanExportResult], exporter: Any, spans: Sequence[ReadableSpan]
    ) -> SpanExportResult:
        """Mask and export spans; take note of why some are lost, if they are."""
        self._local.mask_error = why = None
        try:
            result = original(exporter, spans)
        except Exception as error:
            why = f"its export raised {type(error).__name__}: {error}"
            raise
        else:
            why = self._why_not_passed_on(exporter)
            return result
        finally:
            if why is not None and (recorder := self.recorder) is not None:
                for span in spans:
                    recorder.dropped(span, why)

    def _why_not_passed_on(self, exporter: Any) -> str | None:
        """Return why what was not exported just now was lost."""
        if self._local.mask_error is not None:
            return f"mask_otel_spans {self._local.mask_error}"
        if (replaced := _replaced_export(_inner(exporter))) is not None:
            return replaced
        if exporter._mask_otel_spans is not None:
            return "Langfuse refused what mask_otel_spans returned for it (the logger `langfuse` says why)"
        return None

    def _otlp_export(
        self, original: Callable[..., SpanExportResult], exporter: Any, spans: Sequence[ReadableSpan]
    ) -> SpanExportResult:
        captured, others = self._split(spans)
        results = []
        try:
            if captured:
                # With OpenTelemetry 1.35 it raises the timeout of `requests`.
                results.append(self._keep(original, exporter, captured))
        finally:
            if others:
                # For the network guard, too: it is not a captured test that connects.
                with item_of(_origin_of(others[-1].context)):
                    results.append(original(exporter, others))
        return _worst(results)

    def _keep(
        self, original: Callable[..., SpanExportResult], exporter: Any, spans: Sequence[ReadableSpan]
    ) -> SpanExportResult:
        """Record the spans of captured tests, and export them only to the server of the test."""
        if exporter not in self._langfuse_exporters and not self._is_for_langfuse(exporter):
            # Another backend's exporter: nothing that a captured test makes leaves the machine.
            return SpanExportResult.SUCCESS
        forwarder = self.forwarder
        if not getattr(self._local, "teed", False) and (recorder := self.recorder) is not None:
            recorder.exported("Langfuse", spans, delivered=forwarder is None, to=self._destination(exporter))
            recorder.sent_as(spans, self._encoding(exporter))
        if forwarder is None:
            return SpanExportResult.SUCCESS
        self._local.forwarded = True
        twin, limited = self._forwarded(exporter, forwarder)
        return self.waits.timed(lambda: forwarder.export(lambda: original(twin, spans), limited=limited))

    def _destination(self, exporter: SpanExporter) -> object:
        """Return what is equal for exporters to the same project, by address and keys; for others, it is their id."""
        built = self._otlp_arguments.get(exporter) if isinstance(exporter, OTLPSpanExporter) else None
        if built is None:
            return id(exporter)
        args, kwargs = built
        given = kwargs.get("headers") or (args[_HEADERS] if len(args) > _HEADERS else None) or {}
        keys = next((value for name, value in given.items() if name.lower() == "authorization"), None)
        return exporter_endpoint(exporter), keys

    def _encoding(self, exporter: SpanExporter) -> Encoding | None:
        """Return how an exporter encodes batches; `None` for one that nobody knows."""
        if getattr(exporter, "delivers_later", False) is True:
            return Encoding(is_compressed=True, splits=True)
        if not isinstance(exporter, OTLPSpanExporter):
            return None
        compression = getattr(exporter._compression, "value", None)
        # Releases before 1.44 send whatever it is; 0 is "no limit".
        largest = getattr(exporter, "_max_request_size", 0)
        return Encoding(compression in {"gzip", "deflate"}, largest if largest > 0 else None)

    def _is_for_langfuse(self, exporter: SpanExporter) -> bool:
        """Return whether an exporter that the app built itself sends to Langfuse, by argument or environment."""
        return _LANGFUSE_PATH in str(getattr(exporter, "_endpoint", ""))

    def _forwarded(self, exporter: OTLPSpanExporter, forwarder: LoopbackForwarder) -> tuple[OTLPSpanExporter, bool]:
        """Return a twin of the app's exporter, with its timeout and headers, that sends to the server of the test.

        And whether its timeout is the one that capture supplies.
        """
        args, kwargs = self._otlp_arguments.get(exporter, ((), {}))
        limited = isinstance(kwargs.get("timeout"), SuppliedTimeout)
        twin = self._forwarding.get(exporter)
        if twin is None:
            # The environment that named its address may be another by now.
            if not args:
                kwargs = {**kwargs, "endpoint": exporter._endpoint}
            twin = self._forwarding[exporter] = OTLPSpanExporter(*args, **{**kwargs, "session": forwarder.session()})
        return twin, limited

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

    def _client_init(self, original: Callable[..., None], client: Langfuse, *args: Any, **kwargs: Any) -> None:
        origin = self.origin()
        if origin is None or not origin.captured:
            original(client, *args, **kwargs)
            return
        lacking = _lacking(kwargs)
        before = set(LangfuseResourceManager._instances.values()) if not self._is_copy() else None
        original(client, *args, **{**kwargs, **lacking})
        self._hide_placeholder()
        if before is not None:
            self._note_client(client, kwargs, origin, is_new=client._resources not in before)
        if "public_key" in lacking and client not in self._without_keys:
            self._without_keys[client] = _without_keys(original, client, kwargs)

    def _hide_placeholder(self) -> None:
        """Let `get_client()` find the application's own clients alone: without capture, one without keys is none."""
        instances = LangfuseResourceManager._instances
        if PLACEHOLDER_PUBLIC_KEY in instances and not instances.keys() <= {PLACEHOLDER_PUBLIC_KEY, _DISABLED_KEY}:
            self.placeholder_manager = instances.pop(PLACEHOLDER_PUBLIC_KEY)

    def _is_copy(self) -> bool:
        return getattr(self._local, "copies", False) is True

    def _copy_client(self, original: Callable[..., Langfuse], *args: Any, **kwargs: Any) -> Langfuse:
        """See that `get_client()` makes another object for a client that there is, as each observed function does."""
        self._local.copies = True
        try:
            return original(*args, **kwargs)
        finally:
            self._local.copies = False

    def _note_client(self, client: Langfuse, arguments: Mapping[str, Any], origin: Origin, *, is_new: bool) -> None:
        """Remember a client that was built, with the first one of its key."""
        recorder, manager = self.recorder, client._resources
        if recorder is None or manager is None:
            return
        given, settings = settings_of(arguments)
        is_disabled = manager.public_key == _DISABLED_KEY
        built = BuiltClient(
            public_key=manager.public_key,
            given=given,
            settings=settings,
            origin=origin,
            first=None if is_new or is_disabled else self._first_clients.get(manager),
            is_imported=is_import(),
            instead_of=self._all_first() if is_disabled else (),
            **recorder.building(),
        )
        if is_new:
            self._first_clients[manager] = built
        recorder.built(built)

    def _all_first(self) -> tuple[BuiltClient | None, ...]:
        """Return the first client of each key; `None` for one that was built before anybody looked."""
        managers = [manager for key, manager in LangfuseResourceManager._instances.items() if key != _DISABLED_KEY]
        return tuple(self._first_clients.get(manager) for manager in managers) if len(managers) > 1 else ()

    def _manager_init(self, original: Callable[..., None], manager: LangfuseResourceManager, **kwargs: Any) -> None:
        kwargs["httpx_client"] = sync_client(
            kwargs.get("httpx_client"),
            timeout=kwargs.get("timeout"),
            headers=kwargs.get("additional_headers"),
            # Placeholder keys are nobody's: what is sent with them never leaves.
            handlers=self._own_handlers if kwargs.get("public_key") == PLACEHOLDER_PUBLIC_KEY else self.handlers,
        )
        original(manager, **kwargs)
        self._adopted.add(kwargs["httpx_client"])
        self.managers.add(manager)

    def _async_api(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("httpx_client") is None:
            # The SDK has no argument for it; production tracing puts its breaker around this one later.
            handlers = self._own_handlers if kwargs.get("username") == PLACEHOLDER_PUBLIC_KEY else self.handlers
            client = async_client(None, timeout=kwargs.get("timeout"), headers=None, handlers=handlers)
            self._adopted.add(client)
            kwargs["httpx_client"] = client
        return original(*args, **kwargs)

    def _http_client_init(self, original: Callable[..., None], client: Any, *args: Any, **kwargs: Any) -> None:
        original(client, *args, **kwargs)
        self._api_clients.add(client)

    def _request(self, original: Callable[..., Any], client: Any, *args: Any, **kwargs: Any) -> Any:
        """Hook the client of an API object, whenever it was built, when it sends its first request."""
        __tracebackhide__ = True
        if client.httpx_client not in self._adopted:
            self._adopt_client(client.httpx_client, client.get_base_url(kwargs.get("base_url")))
        if isinstance(client, AsyncHttpClient):
            return original(client, *args, **kwargs)
        return self._timed(original, client, *args, **kwargs)

    # -- hooks: waits ------------------------------------------------------------------------------------------

    def _timed(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Note how long a call blocks."""
        __tracebackhide__ = True
        recorder = self.recorder
        if recorder is None or recorder.current is None:
            return original(*args, **kwargs)

        def call() -> Any:
            __tracebackhide__ = True
            return original(*args, **kwargs)

        return self.waits.timed(call)

    def _note_wait(self, began: float, ended: float, shortened: float) -> None:
        """Remember that a call has blocked the test that runs."""
        recorder = self.recorder
        source = None if recorder is None else recorder.current
        # What a fixture of a wider scope waits for, no single test does.
        if recorder is None or source is None or recorder.fixtures_in_set_up or source.judges_waits():
            return
        if (site := waiting_site(sys._getframe(), source.thread)) is not None:
            start = None if recorder.places is None else recorder.places.here()
            source.waits.append(LangfuseWait(began, ended, shortened, site.call, start))

    # -- hooks: what is sent later ---------------------------------------------------------------------------------

    def _upload(self, original: Callable[..., None], consumer: Any) -> None:
        """Send one batch of scores, all of one origin."""
        # A score that did not fit into the batch before is the first of this one.
        carried = getattr(consumer, "_carry_over", None) is not None and not isinstance(here.item, Unknown)
        here.batch = [cast("Origin | None", here.item)] if carried else []
        vars(consumer).pop(BATCH, None)
        try:
            original(consumer)
        finally:
            here.batch = None

    def _thread_start(self, original: Callable[..., None], thread: threading.Thread) -> None:
        if (origin := self.origin()) is not None:
            setattr(thread, MARK, origin)
        if (handed_over := self._handing_over("thread", thread)) is not None:
            setattr(thread, HANDED_OVER, handed_over)
        original(thread)

    def _handing_over(self, how: HandOver, work: Any) -> HandedOver | None:
        recorder = self.recorder
        if recorder is None or recorder.places is None:
            return None
        return recorder.handing_over(how, work, otel_trace.get_current_span())

    def _submit(
        self, original: Callable[..., Any], pool: ThreadPoolExecutor, call: Callable[..., Any], /, *args: Any, **kw: Any
    ) -> Any:
        how: HandOver = "executor map" if is_executor_map() else "executor"
        return original(pool, CallOf(call, self.origin(), self._handing_over(how, call)), *args, **kw)

    def see_thread_pools(self, module: Any) -> None:
        """Hook the `ThreadPool` of `multiprocessing.pool`, when that is imported."""
        for name in _POOL_METHODS:
            if not getattr(getattr(module.Pool, name), _HOOK, False):
                self._patch(module.Pool, name, functools.partial(self._give_to_pool, module.ThreadPool))

    def _give_to_pool(self, kind: type, original: Callable[..., Any], pool: Any, *args: Any, **kwargs: Any) -> Any:
        """Let the function of a `ThreadPool` run for whoever gives it. What goes to another process must be pickled."""
        if not args or not isinstance(pool, kind):
            return original(pool, *args, **kwargs)
        function, *rest = args
        call = CallOf(function, self.origin(), self._handing_over("thread pool", function))
        return original(pool, call, *rest, **kwargs)

    def _add_done_callback(self, original: Callable[..., Any], future: Any, call: Callable[[Any], Any]) -> Any:
        """Remember who waits for a future of a pool: a thread of the pool runs the callback."""
        handed_over = self._handing_over("callback", call)
        return original(future, call if handed_over is None else CallOf(call, self.origin(), handed_over))

    def _create_task(self, original: Callable[..., Any], loop: Any, coroutine: Any, **kwargs: Any) -> Any:
        """Remember who makes a task and gives it another context than the current one."""
        task = original(loop, coroutine, **kwargs)
        context = kwargs.get("context")
        if context is not None and (handed_over := self._handing_over("task", coroutine)) is not None:
            handed_over_tasks[task] = handed_over
        return task

    def _register(self, original: Callable[..., Any], call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        origin = self.origin()
        original(call if origin is None else CallOf(call, origin), *args, **kwargs)
        return call

    def owner(self) -> WorksFor:
        """Return the owner of what the current thread puts into a buffer of production tracing."""
        return WorksFor(self.origin())

    # -- for the network guard -----------------------------------------------------------------------------------

    def is_captive(self) -> bool:
        """Return whether what this thread does belongs to a captured test, as far as anybody can tell."""
        origin = self.origin()
        return origin is not None and origin.captured

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Yield the URLs of all clients and exporters that are known, each with what it belongs to."""
        for manager in list(self.managers):
            yield manager.base_url, "a Langfuse client's base URL"
        for client in list(self._api_clients):
            # A client may be built without an address, and gets one with each request.
            if client.base_url is not None:
                yield client.get_base_url(None), "a Langfuse client's base URL"
        spans = {*self._langfuse_exporters, *self._otlp_arguments, *self._early_exporters}
        for exporter in (*spans, *list(self._metrics_and_logs.exporters)):
            yield exporter_endpoint(exporter), "an OTLP exporter's endpoint"

    def clients(self) -> list[KnownClient]:
        """Return the clients that `get_client()` finds, without the one that it makes where it finds several."""
        return [
            KnownClient(key, bool(manager.tracing_enabled))
            for key, manager in list(LangfuseResourceManager._instances.items())
            if key != _DISABLED_KEY
        ]

    # -- for failure messages: `Explains` ------------------------------------------------------------------------

    def why_untold(self, recorded: RecordedSpan) -> tuple[Reason, str] | None:
        """Return why no Langfuse span processor took an ended span or turned it down, by what its provider has."""
        active = getattr(recorded.span, "_span_processor", None)
        if active is None:
            return None
        processor, holder = next(_langfuse_processors(active), (None, None))
        if processor is None:
            return "filtered", NO_PROCESSOR
        if holder is not None:
            # One that samples, or that waits for the rest of the trace.
            return "dropped", f"`{type(holder).__name__}` has not passed it on to Langfuse's span processor"
        if (by := _replacement(processor, "on_end")) is not None:
            return "dropped", f"its Langfuse span processor did not take it: `on_end` is {by}"
        return None

    def why_lost(self, recorded: RecordedSpan) -> str | None:
        """Return why a span reached no exporter since a processor took it, by what that processor holds now."""
        processor = recorded.processor
        batch = getattr(processor, "_batch_processor", None)
        if batch is not None and any(waiting is recorded.ended for waiting in list(batch._queue)):
            if batch._shutdown:
                return "it was still waiting to be sent when its span processor was shut down"
            if batch._export_lock.locked():
                return "it was still waiting to be sent, behind an export that has not ended"
            return "it was still waiting to be sent: flush() was never called after it ended"
        return _replaced_export(_inner(getattr(processor, "span_exporter", None)))

    def providers(self, spans: Sequence[RecordedSpan]) -> Mapping[str, Sequence[RecordedSpan]]:
        """Return, by project, a span of each tracer provider that exports to it, where several do."""
        of_provider: dict[int, RecordedSpan] = {}
        for recorded in list(spans):
            if recorded.exports and (active := getattr(recorded.span, "_span_processor", None)) is not None:
                of_provider.setdefault(id(active), recorded)
        if len(of_provider) < 2:  # noqa: PLR2004 - several
            return {}
        found: dict[str, list[RecordedSpan]] = {}
        for recorded in of_provider.values():
            for project in {
                processor.public_key for processor, _ in _langfuse_processors(recorded.span._span_processor)
            }:
                found.setdefault(project, []).append(recorded)
        return {project: some for project, some in found.items() if len(some) > 1}

    def goes_nowhere(self, recorded: RecordedSpan) -> bool:
        """Return whether nothing but a console gets the spans of its tracer provider."""
        active = getattr(recorded.span, "_span_processor", None)
        return active is not None and all(map(_prints, _takers(active)))

    def masks_of(self, recorded: RecordedSpan) -> Sequence[str]:
        """Return the names of the masks that the client of a span's project has."""
        manager = LangfuseResourceManager._instances.get(getattr(recorded.processor, "public_key", ""))
        return [name for name in ("mask", "mask_otel_spans") if getattr(manager, name, None) is not None]

    def leaves_out(self, recorded: RecordedSpan) -> bool:
        """Return whether the span's exporter leaves out what OpenTelemetry's protocol has no form for."""
        exporter = _inner(getattr(recorded.processor, "span_exporter", None))
        return type(exporter).__module__.startswith("opentelemetry.exporter.otlp.")

    def length_limits(self, spans: Sequence[RecordedSpan]) -> Mapping[SpanKey, int]:
        """Return the number of characters at which spans cut the texts of their attributes, for those that do."""
        return {
            recorded.key: limits.max_span_attribute_length
            for recorded in list(spans)
            if (limits := getattr(recorded.span, "_limits", None)) is not None
            and limits.max_span_attribute_length is not None
        }

    # -- for the recorder --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Export what Langfuse's span processors hold. Costs nothing if no span has ended since the last call."""
        if not self._pending:
            return
        with self._flush_lock:
            self._pending = 0
            with self.waits.paused():
                for processor in list(self.processors):
                    processor.force_flush()

    def flush_scores(self) -> None:
        """Wait until all queued scores and media uploads have been sent."""
        for manager in list(self.managers):
            if _waiting(manager) and _consumed(manager):
                _wake(manager)
                manager.flush()

    def take_over(self, since: int, origin: Origin) -> list[tuple[str, Any]]:
        """Return the spans that wait for export and started after `since`, in nanoseconds since 1970.

        Those of the test `origin`, which asks for a fixture at run time as the first one of its run: nothing was hooked
        before. Its scores and media that wait become its own, too.
        """
        for manager in list(self.managers):
            for queue in _queues(manager):
                if isinstance(queue, OriginQueue):
                    queue.claim(origin, since)
        found: list[tuple[str, Any]] = []
        for processor in {*self.processors, *self._early_processors}:
            waiting = list(processor._batch_processor._queue)
            found += [(span.name, span) for span in waiting if (span.start_time or 0) >= since]
            self.processors.add(processor)
            self._pending += len(waiting)
        return sorted(found, key=lambda item: item[1].start_time)

    def discard(self) -> None:
        """Drop what captured tests have queued and nobody has begun to send."""
        for manager in list(self.managers):
            for queue in _queues(manager):
                if isinstance(queue, OriginQueue):
                    queue.discard()
        for exporter in list(self._holding):
            # The stand-in answers at once; a sender that waits for something else must not send it in a later test.
            exporter.settle(1.0)
            exporter.discard(_is_captured_owner)
        self._holding.clear()

    def enable(self, early: Mapping[Any, Mapping[str, Any]]) -> None:
        """Give placeholder keys to clients that were built without any; `early` holds those of before the hooks."""
        if self.placeholder_manager is not None:
            LangfuseResourceManager._instances.setdefault(PLACEHOLDER_PUBLIC_KEY, self.placeholder_manager)
            self._hide_placeholder()
        for client, state in list(self._with_keys.items()):
            client.__dict__ = state
        self._with_keys.clear()
        for client, arguments in list(early.items()):
            if client._resources is None and "public_key" in _lacking(arguments):
                self._without_keys[client] = dict(client.__dict__)
                # Not `client.__init__`: a subclass may take other arguments; these are what it passed on.
                Langfuse.__init__(client, **arguments)

    def disable(self) -> None:
        """Take the placeholder keys away again: a test that is not captured finds the clients as the app built them."""
        self._with_keys.update({client: dict(client.__dict__) for client in list(self._without_keys)})
        for client, state in list(self._without_keys.items()):
            client.__dict__ = dict(state)
        manager = LangfuseResourceManager._instances.pop(PLACEHOLDER_PUBLIC_KEY, None)
        self.placeholder_manager = manager or self.placeholder_manager

    def keep_prompts(self) -> None:
        """Put away what the SDK has cached, until `restore_prompts`: a captured test caches for itself."""
        self._kept_prompts = {}
        for manager in list(self.managers):
            self._kept_prompts[manager.prompt_cache] = dict(manager.prompt_cache._cache)

    def restore_prompts(self) -> None:
        """Forget what a captured test has cached, and bring back what was cached before it, for every client."""
        kept, self._kept_prompts = self._kept_prompts, {}
        for manager in list(self.managers):
            cache = manager.prompt_cache
            with cache._lock:
                cache._cache = kept.get(cache, {})

    def _cache_prompt(self, original: Callable[..., None], cache: PromptCache, *args: Any, **kwargs: Any) -> None:
        """Cache a prompt for the test that asked for it: threads of the SDK fetch it, and may take long."""
        origin, recorder = self.origin(), self.recorder
        captured = origin is not None and origin.captured
        current = recorder.current if recorder is not None else None
        if captured:
            # A test that is over caches nothing.
            if current is not None and current.origin is origin:
                original(cache, *args, **kwargs)
        elif current is None:
            original(cache, *args, **kwargs)
        elif cache in self._kept_prompts:
            with cache._lock:
                of_test, cache._cache = cache._cache, self._kept_prompts[cache]
                try:
                    original(cache, *args, **kwargs)
                finally:
                    cache._cache = of_test

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
                exporter = _inner(processor.span_exporter)
                if exporter in self._otlp_arguments:
                    args, kwargs = self._otlp_arguments[exporter]
                    exporter.__init__(*args, **kwargs)

    def after_fork(self) -> None:
        """In a forked child: a lock that another thread held at the fork would stay locked for ever."""
        self._flush_lock = threading.RLock()
        for client in list(self._adopted):
            # A copy of the cookies has a lock of its own. The SDK takes these clients for the application's, and keeps
            # them.
            client.cookies = client.cookies


#: Types of observations that have a model, and the arguments that only these have.
_GENERATIONS = frozenset(get_observation_types_list(ObservationTypeGenerationLike))
_OF_GENERATIONS = frozenset(
    ("completion_start_time", "cost_details", "model", "model_parameters", "prompt", "usage_details")
)
#: The arguments of `update()`, and those that every type of observation has.
_KNOWN = frozenset(signature(LangfuseObservationWrapper.update).parameters) - {"self", "kwargs"}
_OF_ALL = _KNOWN - _OF_GENERATIONS
#: Characters of a value that is propagated.
_LONGEST_PROPAGATED, _LONGEST_ENVIRONMENT = 200, 40
#: Functions that ask whether a span records: for the exception of a with block, and to set a level.
_USE_SPAN = unwrap(otel_trace.use_span).__code__
_WITH_LEVEL = {LangfuseObservationWrapper.__init__.__code__, LangfuseObservationWrapper.update.__code__}
#: The description of a sampler that keeps a part of all traces, or that has such a one for traces that begin here.
_RATIO = re.compile(r"TraceIdRatioBased\{([\d.e-]+)\}")
#: What stands between `propagate_attributes` and its caller.
_AROUND_PROPAGATION = (
    langfuse_propagation.__file__,
    str(contextlib.__file__),
    str(_decorator.__file__),
    str(Path(__file__).parent),
)
#: Methods of a pool of `multiprocessing` that take a function to run; `apply` calls `apply_async`.
_POOL_METHODS = ("apply_async", "imap", "imap_unordered", "map", "map_async", "starmap", "starmap_async")
#: The key of the client that `get_client()` makes where it does not know which one is meant.
_DISABLED_KEY = "fake"
#: The position of `headers` among the arguments of `OTLPSpanExporter`.
_HEADERS = 4
#: Where Langfuse takes OTLP.
_LANGFUSE_PATH = "/api/public/otel"


# langfuse 5 and 4 name the same things differently.
def _of_either(*names: str) -> Any:
    """Return what the first of these modules has under the name behind its colon; `None` if there is none."""
    for name in names:
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ImportError:
            continue
    return None


_ScoreConsumer = _of_either(
    "langfuse._task_manager.score_consumer:ScoreConsumer",
    "langfuse._task_manager.score_ingestion_consumer:ScoreIngestionConsumer",
)
_TransformingExporter = _of_either("langfuse._client.span_exporter:LangfuseTransformingSpanExporter")
_QUEUES = ("_score_queue", "_score_ingestion_queue", "_media_upload_queue")
_CONSUMERS = ("_score_consumers", "_ingestion_consumers")

#: The one installation: patched classes are global to the process, so what undoes them has to be, too.
hooks = Hooks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=hooks.after_fork)


def _rate_of(tracer: Tracer, parent: Any) -> float:
    """Return the rate of the sampler that has turned a span down; 0 if another process did, or something else."""
    context = parent.get_span_context()
    if context.is_valid and context.is_remote and not context.trace_flags.sampled:
        return 0.0
    found = _RATIO.search(tracer.sampler.get_description())
    return 0.0 if found is None else float(found[1])


def _caller_of_propagation(frame: FrameType | None) -> FrameType | None:
    """Return the frame that has called `propagate_attributes`, or that has entered what it returned."""
    while frame is not None and frame.f_code.co_filename.startswith(_AROUND_PROPAGATION):
        frame = frame.f_back
    return frame


def _why_not_propagated(key: str, value: Any) -> str | None:
    """Return the reason why the SDK does not propagate a value; `None` where that is as it should be."""
    if key == "prompt":
        is_fallback = value.get("is_fallback") if isinstance(value, Mapping) else getattr(value, "is_fallback", False)
        return None if is_fallback else "has no name and whole-numbered version"
    if not isinstance(value, str):
        return f"is of the type {type(value).__name__} and not a string"
    longest = _LONGEST_ENVIRONMENT if key == "environment" else _LONGEST_PROPAGATED
    if len(value) > longest:
        return f"has {len(value):,} characters, and the SDK takes {longest}"
    return "has other characters than a to z, 0 to 9, - and _, or begins with langfuse"


def exporter_endpoint(exporter: object) -> str:
    """Return where an OTLP exporter sends: a URL, or over gRPC a host and a port."""
    return str(getattr(exporter, "_endpoint", ""))


def _levels(exporter: Any) -> Iterator[Any]:
    """Yield an exporter and those below it: what masks (langfuse 5) or mends (production tracing), then what sends."""
    while exporter is not None:
        yield exporter
        if type(exporter) is _TransformingExporter:
            exporter = exporter._exporter
        else:
            exporter = getattr(exporter, "__dict__", {}).get("sends_through")


def _inner(exporter: Any) -> Any:
    """Return the exporter that sends."""
    return [exporter, *_levels(exporter)][-1]


def _replacement(owner: Any, name: str) -> str | None:
    """Return what a method is that does not tell us of its calls; `None` for one that does."""
    method = vars(owner).get(name) if hasattr(owner, "__dict__") else None
    if method is None:
        method = getattr(type(owner), name, None) or getattr(owner, name, None)
    if getattr(method, _HOOK, False) is True:
        return None
    module, qualified = (getattr(method, part, None) for part in ("__module__", "__qualname__"))
    if isinstance(method, NonCallableMock) or not (module and qualified):
        return f"a {type(method).__name__}"
    return f"`{module}.{qualified}`"


def _replaced_export(exporter: Any) -> str | None:
    """Return where spans went in place of an exporter that tells us what it gets."""
    by = None if exporter is None else _replacement(exporter, "export")
    return None if by is None else f"it went to {by} in place of an exporter"


def _langfuse_processors(processor: Any, holder: Any = None) -> Iterator[tuple[LangfuseSpanProcessor, Any]]:
    """Yield Langfuse's span processors in a provider's one, each with the app's processor that holds it, if any."""
    if isinstance(processor, LangfuseSpanProcessor):
        yield processor, holder
        return
    several = getattr(processor, "_span_processors", None)
    for held in vars(processor).values() if several is None else several:
        if isinstance(held, SpanProcessor):
            yield from _langfuse_processors(held, processor if several is None else holder)


def _prints(taker: SpanExporter | SpanProcessor) -> bool:
    """Return whether an exporter prints what it gets. That of logfire (5.4) is not derived from OpenTelemetry's."""
    return any("ConsoleSpanExporter" in of.__name__ for of in type(taker).__mro__)


def _takers(processor: Any) -> Iterator[SpanExporter | SpanProcessor]:
    """Yield the exporters that get ended spans from a provider's processor, and processors that keep them."""
    if (exporter := getattr(processor, "span_exporter", None)) is not None:
        yield exporter
        return
    several = getattr(processor, "_span_processors", None)
    held = [one for one in (vars(processor).values() if several is None else several) if isinstance(one, SpanProcessor)]
    for one in held:
        yield from _takers(one)
    if not held and several is None and type(processor).on_end is not SpanProcessor.on_end:
        yield processor


def _rejection(processor: LangfuseSpanProcessor, span: ReadableSpan, error: str | None) -> Rejection:
    if span.context is not None and not span.context.trace_flags.sampled:
        return Rejection("sampled_out", "sampled out")
    if is_langfuse_span(span) and not processor._is_langfuse_project_span(span):
        scope = span.instrumentation_scope
        project = scope.attributes.get("public_key") if scope is not None and scope.attributes else None
        if not project:
            # As `trace.get_tracer("langfuse-sdk")` makes: the name alone makes the SDK look for a key.
            return Rejection("other_project", f"its tracer is called {scope and scope.name} and has no public key")
        return Rejection("other_project", f"it belongs to the project of {project}")
    if processor._should_export_span is is_default_export_span:
        return Rejection("filtered", "default span filter")
    return Rejection("filtered", f"should_export_span {error or 'turned it down'}")


@contextmanager
def fresh_globals() -> Iterator[None]:
    """Reset Langfuse's and OpenTelemetry's globals to a fresh interpreter's inside the block; restore them afterwards.

    Clients, providers and processors that were made inside are shut down, so that no thread, processor or atexit
    handler remains.
    """
    restore = _globals_kept()
    try:
        _forget_globals()
        yield
    finally:
        restore()


def _forget_globals() -> None:
    LangfuseResourceManager._instances.clear()
    otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE = None, Once()


def _globals_kept() -> Callable[[], None]:
    """Return a function that restores the globals as they are now, and closes what was made meanwhile."""
    instances = dict(LangfuseResourceManager._instances)
    provider, once = otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE
    done = once._done
    textmap = propagate.get_global_textmap()
    managers, processors = weakref.WeakSet(hooks.managers), weakref.WeakSet(hooks.processors)

    def restore() -> None:
        hooks.flush()
        made = set(hooks.managers) - set(managers)
        for manager in made:
            _close(manager)
            hooks.managers.discard(manager)
        # A list: providers of other libraries (logfire) are not hashable.
        for made_provider in [*(manager.tracer_provider for manager in made), otel_trace._TRACER_PROVIDER]:
            if isinstance(made_provider, TracerProvider) and made_provider is not provider:
                made_provider.shutdown()
        for processor in set(hooks.processors) - set(processors):
            processor.shutdown()  # type: ignore[no-untyped-call]
            hooks.processors.discard(processor)
        LangfuseResourceManager._instances.clear()
        LangfuseResourceManager._instances.update(instances)
        otel_trace._TRACER_PROVIDER, otel_trace._TRACER_PROVIDER_SET_ONCE = provider, once
        once._done = done
        propagate.set_global_textmap(textmap)

    return restore


def _queues(manager: LangfuseResourceManager) -> list[Any]:
    queues = [queue for name in _QUEUES if (queue := getattr(manager, name, None)) is not None]
    return [*queues, manager.prompt_cache._task_manager._queue]


def _waiting(manager: LangfuseResourceManager) -> bool:
    return any(queue.unfinished_tasks for queue in _queues(manager))


def _origin_of(context: Any) -> Origin | None:
    found = marked(context)
    return found.origin if isinstance(found, RecordedSpan) else found


def _is_captured_owner(owner: object) -> bool:
    return isinstance(owner, WorksFor) and owner.is_captured


def _project(span: ReadableSpan) -> Any:
    scope = span.instrumentation_scope
    return scope.attributes.get("public_key") if scope is not None and scope.attributes else None


def _worst(results: Sequence[SpanExportResult]) -> SpanExportResult:
    return next((result for result in results if result is not SpanExportResult.SUCCESS), SpanExportResult.SUCCESS)


def _lacking(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a client needs in a captured test, and gets from nowhere.

    Where only one key is given, nothing is supplied: that is a mistake of the configuration, and worth seeing.
    """
    lacking: dict[str, Any] = {}
    if not any(
        arguments.get(f"{kind}_key") or os.environ.get(f"LANGFUSE_{kind.upper()}_KEY") for kind in ("public", "secret")
    ):
        lacking |= {"public_key": PLACEHOLDER_PUBLIC_KEY, "secret_key": PLACEHOLDER_SECRET_KEY}
    if not arguments.get("timeout") and "LANGFUSE_TIMEOUT" not in os.environ:
        # An outage test waits for it, once for each request.
        lacking["timeout"] = SUPPLIED_TIMEOUT
    return lacking


def _without_keys(init: Callable[..., None], client: Langfuse, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state that `client` would have had without placeholder keys."""
    twin = object.__new__(Langfuse)
    before, langfuse_logger.disabled = langfuse_logger.disabled, True
    try:
        init(twin, **arguments)
    finally:
        langfuse_logger.disabled = before
    return {name: value for name, value in {**client.__dict__, **twin.__dict__}.items() if name != "_resources"}


def _consumed(manager: LangfuseResourceManager) -> bool:
    """Return whether a thread empties the score queue; without one, `flush` hangs (langfuse-python pull 1799)."""
    return any(consumer.is_alive() for consumer in _consumers(manager))


def _consumers(manager: LangfuseResourceManager) -> list[Any]:
    return [consumer for name in _CONSUMERS for consumer in getattr(manager, name, ())]


def _wake(manager: LangfuseResourceManager) -> None:
    """Let the scores that wait be sent now: version 4 collects them for `flush_interval`, during a flush, too."""
    for consumer in _consumers(manager):
        if not hasattr(consumer, "wake") and consumer.is_alive():
            # It ends the batch, and the thread only after `pause()`.
            mark = sys.modules[type(consumer).__module__]._SHUTDOWN_SENTINEL
            with suppress(Full):
                consumer._ingestion_queue.put_nowait(mark)


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
        _wake(manager)
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
def hooked(
    recorder: Recorder,
    handler: Callable[[httpx.Request], httpx.Response],
    late_handler: Callable[[httpx.Request], httpx.Response] | None = None,
    *,
    last: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Tell `recorder` of every span and let `handler` answer REST calls, inside the block.

    Can be nested: a pytester run inside a captured test gets fresh globals, and the outer ones are restored after it.
    `late_handler` answers what captured tests leave behind, until the process exits. Where `last()` says at the end
    that nothing else follows, the clients are left to the process's exit, and a run with `everything` stays sealed as
    a whole.
    """
    nested = bool(hooks.recorders)
    with ExitStack() as stack:
        hooks.install()
        if recorder.places is not None:
            hooks.see_what_rules_ask_for()
        outer, hooks.late_handler = hooks.late_handler, late_handler or handler
        # What is still queued belongs to the outer recorder.
        hooks.flush()
        hooks.recorders.append(recorder)
        restored = stack.enter_context(ExitStack())
        if not nested:
            restored.callback(hooks.uninstall)
        # No context manager: one that nobody leaves is left when it is collected.
        restored.callback(_globals_kept())
        if nested:
            _forget_globals()
        placeholder, hooks.placeholder_manager = hooks.placeholder_manager, None
        with answered_by(handler), asked_first(None):
            try:
                yield
            finally:
                hooks.flush()
                if recorder.everything and recorder.current is not None:
                    hooks.discard()
                hooks.placeholder_manager = placeholder
                if nested:
                    # What the outer run left behind belongs to its project.
                    hooks.late_handler = outer
                if last():
                    restored.pop_all()
                    if recorder.everything:
                        hooks.sealed = recorder.outside.origin
                hooks.recorders.remove(recorder)
