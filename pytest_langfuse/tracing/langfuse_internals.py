"""Private names of langfuse, OpenTelemetry and httpx that production tracing needs; no other module here uses any.

Read from langfuse 4.5.0, 4.18.0 and 5.0.4, opentelemetry-sdk 1.35.0, 1.36.0 and 1.45.1, httpx 0.27 and 0.28.
`tests/tracing/test_langfuse_internals.py` fails with one sentence for each name that a later release drops.
Tracing goes on without it, and says so once.
"""

from __future__ import annotations

import atexit
import copy
import gc
import importlib
import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from queue import Empty, Full, Queue
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Protocol, cast

import httpx
from httpx._utils import URLPattern, get_environment_proxies
from langfuse import Langfuse
from langfuse._client.attributes import LangfuseOtelSpanAttributes
from langfuse._client.propagation import (
    LANGFUSE_BAGGAGE_PREFIX,
    _get_propagated_baggage_key,
    _get_propagated_context_key,
)
from langfuse._client.resource_manager import LangfuseResourceManager
from langfuse._client.span_processor import LangfuseSpanProcessor
from langfuse._utils.environment import get_common_release_envs
from langfuse._utils.serializer import EventSerializer
from langfuse._version import __version__ as _langfuse_version
from langfuse.span_filter import is_default_export_span, is_langfuse_span
from opentelemetry import context as otel_context
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanContext

from pytest_langfuse.tracing.config import TracingConfig
from pytest_langfuse.tracing.missing_names import MissingNameError, first, has, member, replace, without
from pytest_langfuse.tracing.name_resolution import NameResolution
from pytest_langfuse.tracing.open_connections import OpenConnections
from pytest_langfuse.tracing.recent_entries import RecentEntries
from pytest_langfuse.tracing.time_limit import LimitedBackend, ResolvingAsyncBackend
from pytest_langfuse.tracing.wrapping_exporter import WrappingExporter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

#: Resource attributes that the server reads as environment and release.
ENVIRONMENT = LangfuseOtelSpanAttributes.ENVIRONMENT
RELEASE = LangfuseOtelSpanAttributes.RELEASE
#: A span's attribute that the server reads as output: JSON.
OUTPUT = LangfuseOtelSpanAttributes.OBSERVATION_OUTPUT
#: A span's attribute that makes it the root of the application's part of a trace (version 5; version 4 has none).
IS_APP_ROOT = getattr(LangfuseOtelSpanAttributes, "IS_APP_ROOT", "langfuse.internal.is_app_root")
#: A span's attribute that says that its parent is made up (`trace_context=`).
AS_ROOT = LangfuseOtelSpanAttributes.AS_ROOT

#: Names of the baggage entries that the SDK makes and reads (`propagate_attributes(as_baggage=True)`).
BAGGAGE_PREFIX = LANGFUSE_BAGGAGE_PREFIX
USER_BAGGAGE = _get_propagated_baggage_key("user_id")
SESSION_BAGGAGE = _get_propagated_baggage_key("session_id")
#: The trace in which an observation upstream is the application's root (version 5).
TRACE_BAGGAGE = f"{LANGFUSE_BAGGAGE_PREFIX}trace_id"

#: Where `propagate_attributes` keeps what it propagates, in OpenTelemetry's context.
USER_KEY = _get_propagated_context_key("user_id")
SESSION_KEY = _get_propagated_context_key("session_id")

#: Version 5 asks `should_export_span` when a span starts, too.
FILTER_IS_ASKED_AT_START = hasattr(LangfuseSpanProcessor, "_is_expected_exported_at_start")

#: Keys of OpenTelemetry's context under which its instrumentations find that they are to do nothing.
SUPPRESSING = (
    otel_context._SUPPRESS_INSTRUMENTATION_KEY,
    otel_context._SUPPRESS_HTTP_INSTRUMENTATION_KEY,
    "suppress_instrumentation",
)

SDK_VERSION = _langfuse_version

#: Version 5 encodes propagated metadata as JSON; version 4 drops what is not a text.
METADATA_IS_JSON = int(SDK_VERSION.split(".")[0]) >= 5  # noqa: PLR2004 - the major version


def common_release() -> str | None:
    """The release that the SDK finds in the variables of CI systems and hosters when it is given none."""
    return get_common_release_envs()


def longest_attribute(provider: TracerProvider) -> int | None:
    """Return the number of characters after which a provider cuts values; `None` if it does not."""
    limit = getattr(getattr(provider, "_span_limits", None), "max_span_attribute_length", None)
    return limit if isinstance(limit, int) else None


def mask_of(observation: object) -> Callable[..., Any] | None:
    """Return the `mask` that is applied to input, output and metadata of an observation."""
    return getattr(getattr(observation, "_langfuse_client", None), "_mask", None)


def registered(public_key: str) -> LangfuseResourceManager | None:
    """Return what all clients of this key work with: a second client silently gets the first one's settings."""
    with without("a client that was built before init_tracing() is not noticed"):
        found: LangfuseResourceManager | None = member(LangfuseResourceManager, "_instances").get(public_key)
        return found
    return None


def earlier_resources(public_key: str | None) -> LangfuseResourceManager | None:
    """Return what an earlier client of this key works with; of no key, if there is only one. Ours are not meant."""
    known: dict[str, LangfuseResourceManager] = {}
    with (
        without("a client that was built before init_tracing() is not noticed"),
        member(LangfuseResourceManager, "_lock"),
    ):
        known.update(member(LangfuseResourceManager, "_instances"))
    if public_key is None and len(known) == 1:
        (public_key,) = known
    found = known.get(public_key or "")
    return None if found is None or getattr(found.tracer_provider, "is_pipeline", False) else found


def provider_of(resources: LangfuseResourceManager) -> TracerProvider | None:
    """Return the tracer provider that an earlier client uses; `None` if tracing was disabled for it."""
    provider = resources.tracer_provider
    return provider if isinstance(provider, TracerProvider) else None


def detach_processors(provider: TracerProvider, public_key: str) -> list[LangfuseSpanProcessor]:
    """Remove the span processors of a project's clients from a provider, and return them."""
    active = provider._active_span_processor
    with active._lock:
        removed = [
            one
            for one in active._span_processors
            if isinstance(one, LangfuseSpanProcessor) and one.public_key == public_key
        ]
        active._span_processors = tuple(one for one in active._span_processors if one not in removed)
    return removed


def take_queued(processor: LangfuseSpanProcessor) -> list[ReadableSpan]:
    """Take the spans that a processor has not begun to export, the oldest first."""
    batch: Any = getattr(processor, "_batch_processor", None)
    queue = processor.queue if batch is None else batch._queue  # type: ignore[attr-defined] # opentelemetry-sdk 1.33
    taken: list[ReadableSpan] = []
    with suppress(IndexError):
        while True:
            taken.append(queue.pop())
    return taken


def replace_sampler(resources: LangfuseResourceManager, sampler: Sampler) -> None:
    """Let `sampler` decide where the SDK has made the provider with the client's rate: it would hide errors."""
    provider = resources.tracer_provider
    if (
        isinstance(provider, TracerProvider)
        and type(provider.sampler) is TraceIdRatioBased
        and provider.sampler.rate == resources.sample_rate
    ):
        provider.sampler = sampler
        # OpenTelemetry gives out the same tracer again.
        tracer = resources.tracer
        if isinstance(tracer, Tracer):
            tracer.sampler = sampler


def replace_client(old: LangfuseResourceManager, client: Langfuse) -> None:
    """Let all client objects that work with `old` be `client`."""
    for found in gc.get_objects():
        # By its type: `isinstance` runs code of proxies, which may raise (Django's settings, weak references).
        if issubclass(type(found), Langfuse) and getattr(found, "_resources", None) is old:
            if type(found) is Langfuse:
                found.__class__ = type(client)
                vars(found).update(vars(client))
            else:
                # A class of the application's keeps what it adds.
                vars(found).update({name: value for name, value in vars(client).items() if name in vars(found)})


def retire(
    old: LangfuseResourceManager, new: LangfuseResourceManager | None, processors: list[LangfuseSpanProcessor]
) -> None:
    """End the threads of resources that no client uses any more. Their scores go on; what is in flight may arrive."""
    release_exit_handlers(old)
    # The SDK would start its threads again in a forked child.
    old._shutdown = True
    old.tracer_provider = None
    for name in _SCORE_QUEUES:
        if hasattr(old, name) and hasattr(new, name):
            _move(getattr(old, name), getattr(new, name))

    def end() -> None:
        for processor in processors:
            processor.shutdown()  # type: ignore[no-untyped-call]
        old.shutdown()
        old.prompt_cache._task_manager.shutdown()
        if getattr(old, "_custom_httpx_client", None) is None:
            old.httpx_client.close()

    # It waits for Langfuse, for as long as the earlier client would.
    threading.Thread(target=end, name="langfuse-tracing-retire", daemon=True).start()


# Version 5 and version 4.
_SCORE_QUEUES = ("_score_queue", "_score_ingestion_queue")


def _move(old: Queue[Any], new: Queue[Any]) -> None:
    with suppress(Empty):
        while True:
            item = old.get_nowait()
            old.task_done()
            new.put_nowait(item)


def resources_of(client: Langfuse) -> LangfuseResourceManager | None:
    """Return what a client with keys works with; a disabled client has none."""
    with without("what a client works with is looked for by its key"):
        return cast("LangfuseResourceManager | None", member(client, "_resources"))
    return None


def http_client_of(resources: LangfuseResourceManager | None) -> httpx.Client | None:
    """Return the HTTP client of the REST API: the one that it was given first, if there was an earlier client."""
    with without("spans are sent by an HTTP client of init_tracing(), not by that of an earlier Langfuse client"):
        return cast("httpx.Client", member(resources, "httpx_client"))
    return None


@contextmanager
def set_aside(resources: LangfuseResourceManager | None) -> Iterator[None]:
    """Let the SDK build a new client of this key inside the block; if that fails, the one that was there stays."""
    _forget(resources)
    try:
        yield
    except BaseException:
        _remember(resources)
        raise


def _forget(resources: LangfuseResourceManager | None) -> None:
    with without("a client that is built after shutdown_tracing() still does not send"):
        instances = member(LangfuseResourceManager, "_instances")
        with member(LangfuseResourceManager, "_lock"):
            for key in [key for key, value in instances.items() if value is resources]:
                del instances[key]


def _remember(resources: LangfuseResourceManager | None) -> None:
    if resources is None:
        return
    with without("a client that is built after init_tracing() failed does not send"):
        instances = member(LangfuseResourceManager, "_instances")
        with member(LangfuseResourceManager, "_lock"):
            instances.setdefault(resources.public_key, resources)


def release_exit_handlers(resources: LangfuseResourceManager | None) -> None:
    """Remove the SDK's exit handlers, which wait for Langfuse without a limit; in a forked child it makes them anew."""
    for handler in ("shutdown", _PROMPT_TASKS):
        with without("the exit of the process may wait for Langfuse without a limit"):
            atexit.unregister(member(resources, handler))


def stop_threads(resources: LangfuseResourceManager | None) -> None:
    """Send what waits in the SDK's queues, then end its threads. Has no time limit."""
    if resources is None:
        return
    vars(resources).pop("flush", None)
    consumers = _consumers(resources)
    wake_scores(resources)
    # Without any thread the SDK would wait for ever on its queue.
    if consumers is None or any(consumer.is_alive() for consumer in consumers):
        with without("scores and media that wait are not sent by shutdown_tracing()"):
            member(resources, "shutdown")()
    with without("a thread of the SDK that refreshes prompts is not stopped"):
        member(resources, _PROMPT_TASKS)()


def limit_flush(resources: LangfuseResourceManager | None, flush: Callable[[], None]) -> None:
    """Let `flush` do what `client.flush()` does, for all clients of the key: the SDK's own has no time limit."""
    with without("flush() of a client has no time limit"):
        replace(resources, "flush", flush)


def wait_for_queues(resources: LangfuseResourceManager | None, until: Callable[[], float]) -> None:
    """Wait until scores and media were sent, as long as `until()`, the seconds that are left, is above 0."""
    for names in (_SCORE_QUEUES, _MEDIA_QUEUES):
        with without("flush() does not wait until all was sent"):
            queue = first(resources, *names)
            sent = member(queue, "all_tasks_done")
            # `until` may put into the queue, so its lock is not held.
            while member(queue, "unfinished_tasks") and (left := until()) > 0:
                with sent:
                    if queue.unfinished_tasks:
                        sent.wait(min(left, _LOOK_AGAIN))


def wake_scores(resources: LangfuseResourceManager | None) -> None:
    """Let the scores that wait be sent now: the SDK collects them for `flush_interval`."""
    for consumer in _consumers(resources) or ():
        if not consumer.is_alive():
            continue
        with without(_NOT_WOKEN):
            wake = _wake_of(consumer)
            with suppress(Full):
                wake()


def _wake_of(consumer: Any) -> Callable[[], None]:
    """Return what ends the batch that the thread collects. Version 4 has a mark for it, which is put into the queue."""
    if has(consumer, "wake"):
        return cast("Callable[[], None]", consumer.wake)
    mark = member(sys.modules[type(consumer).__module__], "_SHUTDOWN_SENTINEL")
    put = member(consumer, "_ingestion_queue.put_nowait")
    # The thread ends only after `pause()`.
    return lambda: put(mark)


def import_for_requests() -> None:
    """Import what the first requests of threads would import.

    A child that is forked while another thread imports a module waits for ever when it imports that module itself.
    """
    for name in _IMPORTED_BY_REQUESTS:
        with suppress(ImportError):
            importlib.import_module(name)


def restart_threads(resources: LangfuseResourceManager | None) -> None:
    """In a forked child: start the threads that send scores and media, which early versions 4 do not.

    What waits in their queues is the parent's.
    """
    consumers = _consumers(resources)
    if not consumers or any(consumer.is_alive() for consumer in consumers):
        return
    with without("a forked child does not send scores"):
        scores: Queue[Any] = Queue(_QUEUE_SIZE)
        restarted = [
            type(consumer)(
                ingestion_queue=scores,
                **{name: member(consumer, f"_{name}") for name in _CONSUMER_ARGUMENTS},
            )
            for consumer in member(resources, "_ingestion_consumers")
        ]
        replace(resources, "_score_ingestion_queue", scores)
        replace(resources, "_ingestion_consumers", restarted)
        _start(restarted)
    with without("a forked child does not upload media"):
        media: Queue[Any] = Queue(_QUEUE_SIZE)
        manager = member(resources, "_media_manager")
        uploading = [
            type(consumer)(identifier=member(consumer, "_identifier"), media_manager=manager)
            for consumer in member(resources, "_media_upload_consumers")
        ]
        replace(manager, "_queue", media)
        replace(resources, "_media_upload_queue", media)
        replace(resources, "_media_upload_consumers", uploading)
        _start(uploading)


def _start(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


class ScoreHooks(Protocol):
    """Gets the scores before the SDK's queue does."""

    send: Callable[[Any], None]
    backlog: Callable[[], int]

    @property
    def refusal(self) -> Exception | None:
        """The error with which nothing is sent now."""

    def add(self, content: Any, trace_id: int | None) -> None:
        """Take a score."""

    def uploaded(self) -> None:
        """A batch was sent."""

    def failed(self, batch: Sequence[Any], error: Exception) -> bool:
        """Return whether the batch was taken back."""

    def in_unicode(self, batch: Sequence[Any]) -> list[Any]:
        """Return a batch of JSON values with texts that can be encoded."""

    def into_queue(self, scores: Callable[[], Sequence[tuple[str, int | None]]]) -> bool:
        """Put what `scores` returns, JSON and trace of each, into a queue. Return `False` if they go to Langfuse."""


def hook_scores(resources: LangfuseResourceManager | None, hooks: ScoreHooks) -> None:
    """Let scores pass through `hooks` on their way to the SDK's queue, and batches that can't be sent go back there."""
    if resources is None:
        return
    # In a forked child they are hooked again.
    vars(resources).pop("add_score_task", None)
    with without("scores are sent even if their trace is not"):
        original = member(resources, "add_score_task")

        def add(score: Any, *, force_sample: bool = False) -> None:
            hooks.add(score, None if force_sample else _trace_of(score))

        def send(score: Any) -> None:
            if isinstance(score.get("body"), dict):
                # Version 4 has made it ready to be sent, and refuses to take it again in that form.
                with without("scores that could not be sent are not sent later"):
                    member(first(resources, *_SCORE_QUEUES), "put")(score)
            else:
                original(score, force_sample=True)

        hooks.send = send
        replace(resources, "add_score_task", add)
    with without("the number of scores that the SDK holds is not limited"):
        queue = first(resources, *_SCORE_QUEUES)
        member(queue, "unfinished_tasks")
        hooks.backlog = lambda: queue.unfinished_tasks
    for consumer in _consumers(resources) or ():
        with without("scores that can't be sent are lost after three tries"):
            _hook_upload(consumer, hooks)
        with without(_NOT_WOKEN):
            try:
                _wake_of(consumer)
            except MissingNameError:
                interval = member(consumer, "_flush_interval")
                replace(consumer, "_flush_interval", min(interval, _WITHOUT_WAKING))
                raise


def _hook_upload(consumer: Any, hooks: ScoreHooks) -> None:
    original = member(consumer, "_upload_batch")

    def upload(batch: list[Any]) -> None:
        # The SDK would try three times, with pauses.
        if (refusal := hooks.refusal) is not None and hooks.failed(batch, refusal):
            return
        try:
            if not hooks.into_queue(lambda: [(_as_sent(score), _trace_of(score)) for score in batch]):
                try:
                    original(batch)
                except UnicodeEncodeError:
                    original(hooks.in_unicode(batch))
        except Exception as error:
            # Some may be in the queue.
            left = getattr(error, "positions", range(len(batch)))
            if hooks.failed([batch[position] for position in left], error):
                return
            raise
        hooks.uploaded()

    replace(consumer, "_upload_batch", upload)


def _as_sent(score: Any) -> str:
    """Return a score as the SDK would post it: from version 5 on the score, before that an event."""
    return json.dumps(score, cls=EventSerializer, ensure_ascii=False, separators=(",", ":"))


def _trace_of(score: Any) -> int | None:
    """Return the trace of a score; version 4 wraps it in an event, which may keep the name of the API."""
    body = score.get("body", score)
    if not isinstance(body, dict):
        body = vars(body) | (getattr(body, "model_extra", None) or {})
    trace_id = body.get("traceId") or body.get("trace_id")
    return int(trace_id, 16) if trace_id else None


def _consumers(resources: LangfuseResourceManager | None) -> list[Any] | None:
    """Return the threads that send scores; `None` if they can't be found."""
    with without(_NOT_FOUND):
        return list(first(resources, *_CONSUMERS))
    return None


def settings(resources: LangfuseResourceManager) -> dict[str, Any]:
    """The settings that a client of the SDK runs with, by the names of our configuration."""
    found = {}
    for name in SETTINGS:
        with without(f"an earlier client's {name} is not compared with init_tracing()'s"):
            found[name] = member(resources, name)
    return {name: value for name, value in found.items() if value is not None}


#: Settings that the SDK's clients and ours have in common, under one name.
SETTINGS = (
    "environment",
    "base_url",
    "secret_key",
    "release",
    "timeout",
    "flush_at",
    "flush_interval",
    "sample_rate",
)


# Version 5 and version 4 name the same threads differently.
_CONSUMERS = ("_score_consumers", "_ingestion_consumers")
_MEDIA_QUEUES = ("_media_upload_queue",)
_NOT_FOUND = "flush() does not wait until scores were sent, and shutdown_tracing() may lose some"
_NOT_WOKEN = "scores are sent every second, not every flush_interval"
#: How long a thread that can't be woken collects scores (seconds).
_WITHOUT_WAKING = 1.0
_PROMPT_TASKS = "prompt_cache._task_manager.shutdown"
#: For a thread of version 4 that sends scores; it keeps each under this name with an underscore.
_CONSUMER_ARGUMENTS = ("identifier", "client", "public_key", "flush_at", "flush_interval", "max_retries")
#: Python imports the first one for each connection to a host; the SDK imports the others for scores (version 5; version
#: 4 sends events), media and prompts.
_IMPORTED_BY_REQUESTS = (
    "encodings.idna",
    *(("langfuse.api.scores.client",) if METADATA_IS_JSON else ()),
    "langfuse.api.media.client",
    "langfuse.api.prompts.client",
    "pydantic.type_adapter",
)
#: Of the SDK's queues of scores and media.
_QUEUE_SIZE = 100_000
#: Nobody says when it is in vain to wait on (seconds).
_LOOK_AGAIN = 0.05


class QueueWatcher(Protocol):
    """Told of what happens to the spans in a `SpanQueue`, with its `lock` held."""

    #: The lock of the queue.
    lock: AbstractContextManager[Any]

    def came(self, span: ReadableSpan) -> None:
        """A span was added."""

    def evicted(self) -> None:
        """The oldest was pushed out."""

    def left(self, span: ReadableSpan) -> None:
        """A span was taken for an export."""


class Room(Protocol):
    """Counts the bytes of the spans that are held here and elsewhere."""

    limit: int
    total: int

    def make_room(self) -> None:
        """Drop spans until `total` is within `limit`."""


class SpanQueue(deque[Any]):
    """The SDK's queue of ended spans, which tells what comes, goes, and is pushed out.

    The SDK takes as many as it has seen there. If some had to go in between, it gets `GONE` instead.
    """

    GONE = object()

    def __init__(self, maxlen: int, watcher: QueueWatcher, room: Room) -> None:
        super().__init__((), maxlen)
        self._watcher, self._room = watcher, room
        self._sizes: deque[int] = deque()
        #: Bytes of the spans in it.
        self.size = 0

    def appendleft(self, span: Any) -> None:
        """Add a span; a full queue loses its oldest, as the SDK's does, but not silently."""
        size = span_size(span)
        with self._watcher.lock:
            if len(self) == self.maxlen:
                self.drop_oldest()
            super().appendleft(span)
            self._sizes.appendleft(size)
            self.size += size
            self._watcher.came(span)
            self._room.total += size
            if self._room.total > self._room.limit:
                self._room.make_room()

    def pop(self) -> Any:  # type: ignore[override] # the SDK takes no other than the last
        """Take the oldest span."""
        with self._watcher.lock:
            if not self:
                return self.GONE
            span = self._taken()
            self._watcher.left(span)
            return span

    def drop_oldest(self) -> None:
        """Lose the oldest span, for want of room."""
        self._taken()
        self._watcher.evicted()

    def clear(self) -> None:
        """Forget all: the SDK does so in a forked child."""
        super().clear()
        self._sizes.clear()
        self._room.total -= self.size
        self.size = 0

    def _taken(self) -> Any:
        size = self._sizes.pop()
        self.size -= size
        self._room.total -= size
        return super().pop()


class PresentSpans(WrappingExporter):
    """Exports a batch without what is `SpanQueue.GONE`."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export the rest."""
        present = [span for span in spans if span is not SpanQueue.GONE]
        return self.sends_through.export(present) if present else SpanExportResult.SUCCESS


def span_size(span: ReadableSpan) -> int:
    """Return about how many bytes a span has when it is encoded. Its cost does not depend on its size."""
    # Not `span.attributes`, which copies them.
    attributes: Any = getattr(span._attributes, "_dict", span._attributes) or {}
    size = _SPAN + len(span._name) + _ATTRIBUTE * len(attributes)
    for value in attributes.values():
        kind = value.__class__
        if kind is str:
            # The memory of a text that is not ASCII has up to four bytes a character.
            size += len(value) if value.isascii() else getsizeof(value)
        elif kind is tuple:
            size += sum([getsizeof(one) for one in value])
    if span._events:
        for event in span.events:
            size += _ATTRIBUTE + sum([getsizeof(value) for value in (event.attributes or {}).values()])
    return size


#: Bytes of a span without attributes, and of an attribute without its value: about what its name takes.
_SPAN, _ATTRIBUTE = 100, 30


def watch_queue(processor: BatchSpanProcessor, watcher: QueueWatcher, room: Room) -> SpanQueue | None:
    """Watch the processor's queue, whose spans count in `room`. Call it before the processor gets its first span."""
    with without("spans that the SDK drops because its queue is full are not counted"):
        batch = member(processor, "_batch_processor")
        queue = SpanQueue(member(batch, "_max_queue_size"), watcher, room)
        replace(batch, "_queue", queue)
        return queue
    return None


def limit_notes(processor: SpanProcessor, most: int) -> None:
    """Limit the notes that Langfuse's processor keeps of open spans (version 5): it keeps those that never end."""
    if hasattr(processor, "_span_export_expectation_by_id"):
        processor._span_export_expectation_by_id = RecentEntries(most)


SpanFilter = Callable[[ReadableSpan], bool]


def watch_filter(processor: SpanProcessor, watch: Callable[[SpanFilter], SpanFilter]) -> None:
    """Put a filter around the application's `should_export_span`, if it has given one."""
    if not isinstance(processor, LangfuseSpanProcessor):
        return
    with without("spans on which should_export_span fails are not counted"):
        given = member(processor, "_should_export_span")
        if given is not is_default_export_span:
            replace(processor, "_should_export_span", watch(given))


def wants(processor: SpanProcessor, span: ReadableSpan) -> bool:
    """Return whether Langfuse's processor would take a span that has ended, by all its rules but the sampled flag."""
    if not isinstance(processor, LangfuseSpanProcessor):
        return True
    with without("spans of other projects are taken for spans of this one when traces are sampled"):
        if is_langfuse_span(span) and not member(processor, "_is_langfuse_project_span")(span):
            return False
    # Version 4 only.
    is_blocked = getattr(processor, "_is_blocked_instrumentation_scope", None)
    if is_blocked is not None and is_blocked(span):
        return False
    with without("spans are judged by the SDK's default filter when traces are sampled"):
        wanted = member(processor, "_should_export_span")
        try:
            return bool(wanted(span))
        except Exception:  # noqa: BLE001 - the application's filter; the watched one has counted it
            return False
    return bool(is_default_export_span(span))


def set_parent(span: Span, parent: SpanContext) -> None:
    """Replace a started span's parent by one that is equal to it; the span's copies have it, too."""
    with without("observations below one that is not exported keep it as their parent"):
        replace(span, "_parent", parent)


def follow_provider_of(span: ReadableSpan, follower: SpanProcessor) -> None:
    """Add a span processor to the tracer provider of a span that it started, unless it has it."""
    active = getattr(span, "_span_processor", None)
    if active is not None and follower not in getattr(active, "_span_processors", (follower,)):
        active.add_span_processor(follower)


def with_parent(span: ReadableSpan, parent: SpanContext | None, attributes: Mapping[str, Any]) -> ReadableSpan:
    """Return a copy of an ended span with another parent and other attributes."""
    with without("observations keep a parent that is not exported, and traces don't say why they were sampled"):
        dropped = span.dropped_attributes
        changed: Any = copy.copy(span)
        bounded = BoundedAttributes(attributes=dict(attributes))
        bounded.dropped = dropped
        replace(changed, "_parent", parent)
        replace(changed, "_attributes", bounded)
        return cast("ReadableSpan", changed)
    return span


def watch_transformations(processor: BatchSpanProcessor, watch: Callable[[SpanExporter], SpanExporter]) -> None:
    """Put an exporter around the one that the processor has: the SDK's, which masks and moves media, if it has one."""
    with without("spans that the SDK drops before an export are not counted"):
        batch = member(processor, "_batch_processor")
        replace(batch, "_exporter", PresentSpans(watch(member(batch, "_exporter"))))


def guard_async(
    resources: LangfuseResourceManager | None, guard: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport]
) -> None:
    """Put `guard` around the transport of the asynchronous REST client, which the SDK makes itself.

    Its transports for proxies go: what `guard` makes looks for them itself.
    """
    with without("the asynchronous REST client has no circuit breaker"):
        client = member(resources, "async_api._client_wrapper.httpx_client.httpx_client")
        replace(client, "_transport", guard(member(client, "_transport")))
        replace(client, "_mounts", {})


_tries = threading.local()


@contextmanager
def single_tries() -> Iterator[None]:
    """Let the REST client of this thread try once: it sleeps as long as an answer asks for, up to a minute."""
    before = getattr(_tries, "single", False)
    _tries.single = True
    try:
        yield
    finally:
        _tries.single = before


def limit_tries(resources: LangfuseResourceManager | None) -> None:
    """Make `single_tries` hold for the synchronous REST client."""
    with without("get_prompt() may wait for retries of the REST client"):
        client = member(resources, "api._client_wrapper.httpx_client")
        request = member(client, "request")

        def limited(*args: Any, request_options: Any = None, **kwargs: Any) -> httpx.Response:
            if getattr(_tries, "single", False):
                request_options = {**(request_options or {}), "max_retries": 0}
            return cast("httpx.Response", request(*args, request_options=request_options, **kwargs))

        replace(client, "request", limited)


@contextmanager
def client_settings(config: TracingConfig, *, flush_at: int, proxies: bool) -> Iterator[None]:
    """Variables for the client that is built inside.

    The size of its queue has no other setting, and version 4.5 takes its own two arguments only if the variables of
    the same meaning are set. Without `proxies` it sees none: its asynchronous HTTP client, which gets another transport
    afterwards, could not be built otherwise.
    """
    values = {
        **({} if proxies else {"no_proxy": "*", "NO_PROXY": "*"}),
        "OTEL_BSP_MAX_QUEUE_SIZE": str(config.max_buffer_spans),
        "LANGFUSE_FLUSH_AT": str(flush_at),
        "LANGFUSE_FLUSH_INTERVAL": str(config.flush_interval),
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class MissingKeysSilenced(logging.Filter):
    """Keeps the SDK from repeating, at each call of an observed function, that keys are missing: we said it once."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to print the record."""
        return not str(record.msg).startswith("Authentication error: Langfuse client initialized without")


#: The method of httpx's clients that sends one request: after authentication and event hooks, once for each redirect.
HTTPX_HOP = "_send_single_request"


def limit_waits(transport: httpx.HTTPTransport, resolution: NameResolution, connections: OpenConnections) -> None:
    """Make `time_limit` hold for a transport. httpcore has the hook (`network_backend=`), httpx does not pass it on."""
    with without("a request to Langfuse may take longer than timeout"):
        pool = member(transport, "_pool")
        backend = LimitedBackend(member(pool, "_network_backend"), resolution, connections)
        replace(pool, "_network_backend", backend)


def resolve_names(transport: httpx.AsyncHTTPTransport, resolution: NameResolution) -> None:
    """Let an asynchronous transport resolve names in threads of ours."""
    with without("an asynchronous request may wait for the resolution of a name"):
        pool = member(transport, "_pool")
        replace(pool, "_network_backend", ResolvingAsyncBackend(member(pool, "_network_backend"), resolution))


def environment_proxies(*, strict: bool = False) -> list[tuple[Callable[[httpx.URL], bool], str | None]]:
    """Return the environment's proxies by httpx's rules: which addresses each is for, the most specific first.

    `None` stands for no proxy. An entry that httpx can't read is left out, or, if `strict`, is a `ValueError` or
    `httpx.InvalidURL`, as when httpx builds a client.
    """
    found: list[tuple[URLPattern, str | None]] = []
    for pattern, proxy in get_environment_proxies().items():
        try:
            found.append((URLPattern(pattern), proxy))
        except (ValueError, httpx.InvalidURL):
            if strict:
                raise
    found.sort(key=lambda item: item[0])
    return [(pattern.matches, proxy) for pattern, proxy in found]


def renew_locks(processor: SpanProcessor) -> None:
    """In a forked child: another thread may have held what `get_client()` locks, and each start and end of a span.

    Version 5 renews the first one itself, and only version 5 has the second.
    """
    LangfuseResourceManager._lock = threading.RLock()
    if hasattr(processor, "_app_root_lock"):
        vars(processor)["_app_root_lock"] = threading.Lock()
