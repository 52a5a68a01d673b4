"""The way of a span to Langfuse: sampler, queue, exporter, buffer, sender, breaker, sink."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import httpx
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Sampler

from pytest_langfuse.tracing import langfuse_internals
from pytest_langfuse.tracing.config import TracingConfig
from pytest_langfuse.tracing.delivery import owner
from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker, State
from pytest_langfuse.tracing.delivery.environment_attributes import EnvironmentAttributes
from pytest_langfuse.tracing.delivery.exporter import TRACES_PATH, StoreForwardExporter, langfuse_headers
from pytest_langfuse.tracing.delivery.head_sampler import RateSampler, RecordingSampler
from pytest_langfuse.tracing.delivery.health import TracingHealth
from pytest_langfuse.tracing.delivery.held_bytes import HeldBytes
from pytest_langfuse.tracing.delivery.http_sink import HttpSink
from pytest_langfuse.tracing.delivery.intake import Intake
from pytest_langfuse.tracing.delivery.open_buffer import open_buffer
from pytest_langfuse.tracing.delivery.provider import PipelineProvider, install_provider
from pytest_langfuse.tracing.delivery.reparenting import Reparenting
from pytest_langfuse.tracing.delivery.route import Route
from pytest_langfuse.tracing.delivery.sampling_decisions import SamplingDecisions, SamplingMetadata
from pytest_langfuse.tracing.delivery.score_buffer import ScoreBuffer
from pytest_langfuse.tracing.delivery.score_routes import ScoreRoutes
from pytest_langfuse.tracing.delivery.sender import Sender
from pytest_langfuse.tracing.delivery.sink import DESTINATIONS, Sink
from pytest_langfuse.tracing.delivery.span_ledger import Balance, SpanLedger
from pytest_langfuse.tracing.delivery.tail_sampler import MOST_TRACES, TailSampler
from pytest_langfuse.tracing.delivery.transport import BoundedTransport, TransportPool
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.sampling import SamplingRules
from pytest_langfuse.tracing.untraced import UntracedClient
from pytest_langfuse.tracing.wrapping_exporter import WrappingExporter

_FLUSH_STEP = 0.02
_FLUSH_SECONDS = 60.0
#: For a sink whose groups are all confirmed.
_CLOSE_SECONDS = 0.2


class EarlierSpans(Protocol):
    """The way that spans went before the pipeline was built."""

    def provider_for(self, sampler: Sampler) -> TracerProvider | None:
        """Return the tracer provider to use, with this sampler if the SDK has made it; `None` for the global one."""

    def detach(self) -> None:
        """Let no more spans go that way."""


class Pipeline:
    """Everything between the tracer provider and Langfuse. `start()` starts its thread, `close()` ends it.

    `queues` has a sink for each name of `config.exports` beside "http".
    """

    def __init__(
        self,
        config: TracingConfig,
        release: str | None,
        additional_headers: Mapping[str, str] | None,
        earlier: EarlierSpans | None = None,
        queues: Mapping[str, Sink] | None = None,
    ) -> None:
        self._config, self._release = config, release
        self.ledger = SpanLedger()
        self._late = _LateSpans(self.ledger)
        self._decisions = SamplingDecisions(
            SamplingRules(config.sample_rate, config.sampling), self.ledger, most=MOST_TRACES
        )
        # Langfuse's REST API has one, too, wherever spans go.
        self._breakers: dict[str, CircuitBreaker] = {
            name: self._new_breaker(name) for name in dict.fromkeys((*config.exports, "http"))
        }
        self.breaker = self._breakers["http"]
        self.buffer = open_buffer(config, self.ledger)
        self.transports = TransportPool()
        public_key, secret_key, base_url = (
            str(value) for value in (config.public_key, config.secret_key, config.base_url)
        )
        self.host = httpx.URL(base_url).host
        self.rest_client = UntracedClient(
            transport=BoundedTransport(self.transports, host=self.host, breaker=self.breaker),
            timeout=config.timeout,
            headers=additional_headers,
        )
        self._sink = HttpSink(
            client=self.rest_client,
            endpoint=base_url + TRACES_PATH,
            headers=langfuse_headers(public_key, secret_key, additional_headers),
        )
        sinks = {"http": self._sink, **(queues or {})}
        routes = [Route(name, sinks[name], self._breakers[name]) for name in config.exports]
        self.scores = self._score_buffer(routes)
        self.sender = Sender(buffer=self.buffer, routes=routes, ledger=self.ledger)
        self.exporter = StoreForwardExporter(buffer=self.buffer, sender=self.sender, ledger=self.ledger)
        self.sampler: TailSampler | None = None
        self._intake: Intake | None = None
        self._head: SpanProcessor | None = None
        #: No more spans are taken.
        self.closing = False
        self._flushing = False
        sampler = self._head_sampler()
        if earlier is None or (provider := earlier.provider_for(sampler)) is None:
            provider = install_provider(config.environment, release, sampler)
        self.provider = PipelineProvider(
            provider,
            build=self._build,
            flush=self._flush,
            **({} if earlier is None else {"attached": earlier.detach}),
        )

    def _new_breaker(self, name: str) -> CircuitBreaker:
        breaker = CircuitBreaker(
            failure_threshold=self._config.breaker_failure_threshold,
            recovery_timeout=self._config.breaker_recovery_timeout,
            slow_call=self._config.breaker_slow_call,
        )
        breaker.add_listener(functools.partial(self._log_breaker, name))
        breaker.add_listener(lambda before, now: owner.breaker_changed(name, before, now))
        return breaker

    def _score_buffer(self, routes: Sequence[Route]) -> ScoreBuffer:
        config = self._config
        queued = config.export_scores and config.exports != ("http",)
        ways = ScoreRoutes(routes, timeout=config.timeout) if queued else None
        return ScoreBuffer(
            max_scores=config.max_buffer_spans,
            max_bytes=config.max_buffer_bytes,
            breakers=[self.breaker] if ways is None else ways.breakers,
            routes=ways,
        )

    def start(self, client: httpx.Client) -> None:
        """Start sending, through the HTTP client that the Langfuse client uses."""
        self._sink.client = client
        self.sender.start()

    def health(self) -> TracingHealth:
        """Return the current state."""
        states = {route.name: route.breaker.state for route in self.sender.routes}
        state = states[self._config.exports[0]]
        balance = self.ledger.balance()
        settlements = [route.settlement for route in self.sender.routes]
        latest = max((settlement.last_success for settlement in settlements if settlement.last_success), default=None)
        # By the application: the sender goes on, but there is nothing new to send.
        shut_down = self._intake is not None and self._intake.closed
        return TracingHealth(
            enabled=not shut_down,
            reason="the application shut its tracer provider down" if shut_down else None,
            breaker=state,
            ended=balance.ended,
            exported=balance.exported,
            buffered=balance.buffered,
            dropped=balance.dropped,
            unaccounted=balance.unaccounted,
            sampled=balance.sampled,
            reparented=balance.reparented,
            decisions=dict(self._decisions.counts),
            last_error=next((found.last_error for found in settlements if found.last_error), None),
            last_success=None if latest is None else now() - latest,
            breakers=states,
            # Spans that go the second way arrive.
            healthy=not shut_down
            and any(route.breaker.state == "closed" and not route.breaker.failures for route in self.sender.routes)
            and not any(settlement.refusing for settlement in settlements)
            and not balance.unaccounted,
        )

    def take(self, spans: Iterable[ReadableSpan]) -> None:
        """Take spans that ended before the pipeline was built: no sampler decides about them."""
        if self._intake is not None:
            for span in spans:
                self._intake.on_end(span)

    def start_flushing(self) -> None:
        """Send each span as soon as it ends from now on: the process may end at any moment."""
        if not self._flushing:
            self._flushing = True
            thread = threading.Thread(target=self._keep_flushing, name="langfuse-tracing-flush", daemon=True)
            # At the interpreter's end there are no new threads (Python 3.12), and the shutdown at exit does the same.
            with suppress(RuntimeError):
                thread.start()

    def _keep_flushing(self) -> None:
        until = now() + _FLUSH_SECONDS
        while (head := self._head) is not None and not self.closing and now() < until:
            try:
                head.force_flush()
            except Exception as error:  # noqa: BLE001 - a processor may raise anything; the next spans are flushed, too
                failures.report("flushing after a signal", error)
            time.sleep(_FLUSH_STEP)
        self._flushing = False

    def close(self, timeout: float) -> None:
        """Accept no more spans, and start to send the rest. The caller is going to wait `timeout` seconds for that."""
        self.closing = True
        head, self._head = self._head, None
        if head is not None:
            if self.provider.processor.target is head:
                self.provider.processor.target, self.provider.processor.lost = None, self._late
            # What is in the SDK's queue goes to the buffer.
            head.shutdown()
        self.sender.stop(timeout)

    def finish(self, *, sent: bool) -> Balance:
        """Return the final balance. `sent` tells whether the sender has ended; otherwise it ends with the process."""
        if not sent:
            self.sender.abandon()
            # Whoever waits for Langfuse, in any thread, is not going to be answered.
            self.transports.abort()
        balance = self.ledger.close(kept=self.buffer.kept())
        self.sender.tell_losses(balance.dropped)
        if balance.unaccounted:
            logger.error(
                "%d spans are unaccounted for: tracing has lost or doubled them. Please report it.", balance.unaccounted
            )
        for route in self.sender.routes:
            route.sink.close(_CLOSE_SECONDS if sent else 0.0)
        if sent:
            self.buffer.close()
            self.transports.close()
        return balance

    def before_fork(self) -> None:
        """Close what must not be open over a fork."""
        self.buffer.before_fork()

    def after_fork_in_parent(self) -> None:
        """Open it again."""
        self.buffer.after_fork_in_parent()

    def after_fork(self) -> None:
        """In a forked child: counts from zero; threads, locks, connections and the spool's file are its own."""
        self.ledger.after_fork()
        if self.closing:
            return
        for breaker in self._breakers.values():
            breaker.after_fork()
        self.transports.after_fork()
        self.scores.after_fork()
        if self._intake is not None:
            self._intake.after_fork()
        if self.sampler is not None:
            self.sampler.after_fork()
        self.buffer.after_fork()
        self.sender.after_fork()

    def _head_sampler(self) -> Sampler:
        """Return the sampler that decides at the start of a span: spans that are not recorded cost nothing."""
        return RecordingSampler() if self._decides_late else RateSampler(self._config.sample_rate)

    @property
    def _decides_late(self) -> bool:
        config = self._config
        return config.keep_errors or config.keep_slower_than is not None or bool(config.sampling)

    def _build(self, processor: SpanProcessor) -> SpanProcessor:
        config = self._config
        if isinstance(processor, BatchSpanProcessor):
            langfuse_internals.watch_transformations(processor, self._around_transformations)
        held = HeldBytes(config.max_buffer_bytes)
        intake = self._intake = Intake(processor, ledger=self.ledger, held=held)
        self.exporter.queued = intake.queued
        head: SpanProcessor
        head = self.sampler = TailSampler(
            intake,
            decisions=self._decisions,
            keep_errors=config.keep_errors,
            keep_slower_than=config.keep_slower_than,
            ledger=self.ledger,
            max_spans=config.max_buffer_spans,
            held=held,
            decided=self.scores.decided,
        )
        self.scores.decision = self.sampler.decision
        attributes = {
            langfuse_internals.ENVIRONMENT: config.environment,
            **({langfuse_internals.RELEASE: self._release} if self._release else {}),
        }
        if any(key not in self.provider.resource.attributes for key in attributes):
            head = EnvironmentAttributes(head, attributes)
        self._head = head
        return head

    def _around_transformations(self, inner: SpanExporter) -> SpanExporter:
        exporter: SpanExporter = _Transformations(inner, self.exporter, self.ledger)
        if self._config.sample_rate < 1.0 or self._config.sampling:
            exporter = SamplingMetadata(exporter, self._decisions)
        # Parents are final behind it.
        return Reparenting(exporter, exported_ancestors, self.ledger) if self._config.reparent_filtered else exporter

    def _flush(self, timeout: float) -> bool:
        return self.closing or self.sender.flush(min(timeout, self._config.timeout))

    def _log_breaker(self, name: str, old: State, new: State) -> None:
        route = next((route for route in self.sender.routes if route.name == name), None)
        if route is None:
            # Of Langfuse's REST API only.
            return
        if new == "open" and old == "closed" and not self.closing:
            later = self._config.exports[self._config.exports.index(route.name) + 1 :]
            meanwhile = f"go to {DESTINATIONS[later[0]]}" if later else "are buffered"
            route.settlement.outage.paused(
                f"{DESTINATIONS[name]} failed {self._config.breaker_failure_threshold} times in a row: the next "
                f"attempt is in {self._config.breaker_recovery_timeout:.0f} s, spans {meanwhile} meanwhile."
            )
        elif new == "closed":
            route.settlement.outage.recovered()


class _LateSpans:
    """Counts the spans for Langfuse that end after the shutdown, and logs the first."""

    def __init__(self, ledger: SpanLedger) -> None:
        self._ledger = ledger
        self._said = False

    def __call__(self, span: ReadableSpan) -> None:
        self._ledger.after_shutdown()
        if not self._said:
            self._said = True
            logger.warning(
                "%r ended after tracing was shut down: this span, and any that end from now on, is dropped. "
                "Logged once. Call init_tracing() to trace again.",
                span.name,
            )


class _Transformations(WrappingExporter):
    """Around the SDK's exporter, which drops a batch without a word when the application's mask fails on it."""

    def __init__(self, inner: SpanExporter, last: StoreForwardExporter, ledger: SpanLedger) -> None:
        super().__init__(inner)
        self._last, self._ledger = last, ledger

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        before = self._last.received
        queued = self._last.queued
        if queued is not None:
            queued.export_begins(len(spans))
        try:
            return self.sends_through.export(spans)
        finally:
            with self._ledger.lock:
                # The SDK exports one batch at a time.
                self._ledger.dropped("mask_failed", max(len(spans) - (self._last.received - before), 0))
                if queued is not None:
                    queued.export_ended()
