"""One installed pipeline with its client: built by `init_tracing`, ended by `shutdown_tracing`."""

from __future__ import annotations

import inspect
import logging
import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import httpx
from langfuse import Langfuse
from opentelemetry.sdk.trace import TracerProvider

from pytest_langfuse.tracing import global_propagator, langfuse_internals
from pytest_langfuse.tracing.config import ConfigError, TracingConfig, differences
from pytest_langfuse.tracing.delivery.breaker import CircuitBreaker
from pytest_langfuse.tracing.delivery.client import GuardedLangfuse
from pytest_langfuse.tracing.delivery.exporter import langfuse_headers
from pytest_langfuse.tracing.delivery.health import ShutdownReport, TracingHealth
from pytest_langfuse.tracing.delivery.pipeline import Pipeline
from pytest_langfuse.tracing.delivery.proxies import all_usable
from pytest_langfuse.tracing.delivery.sink import DESTINATIONS
from pytest_langfuse.tracing.delivery.transport import AsyncBoundedTransport, AsyncTransportPool
from pytest_langfuse.tracing.double_sampling import doubts
from pytest_langfuse.tracing.earlier_client import EarlierClient
from pytest_langfuse.tracing.exported_ancestor import exported_ancestors
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.log_text import ReadableRecords, mask_in_logs
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.queue.queue_sinks import queue_sinks
from pytest_langfuse.tracing.second_clients import SecondClients
from pytest_langfuse.tracing.shutdown.prestarted_thread import PrestartedThread

#: Names of librdkafka's options whose values are secrets.
_SECRET_OPTION = re.compile(r"password|secret|token|key|jaas|\.pem")


class DisabledInstallation:
    """Tracing without keys: the client does nothing, and there is nothing to send or to count."""

    enabled = False

    def __init__(self, config: TracingConfig, client_arguments: Mapping[str, Any], missing: Sequence[str]) -> None:
        self.config = config
        self.client_arguments = dict(client_arguments)
        variables = " and ".join(f"LANGFUSE_{name.upper()}" for name in missing)
        self._reason = f"set {variables} (or pass {' and '.join(missing)}) to send traces to Langfuse"
        logger.warning("Tracing is off: %s.", self._reason)
        self._silenced = langfuse_internals.MissingKeysSilenced()
        logging.getLogger("langfuse").addFilter(self._silenced)
        self.client: Langfuse = GuardedLangfuse(
            breaker=CircuitBreaker(),
            tracing_enabled=False,
            public_key=config.public_key,
            secret_key=config.secret_key,
            # The SDK would read them from the environment, where it takes less than we do.
            timeout=config.timeout,
            sample_rate=config.sample_rate,
        )

    def owns(self, client: object) -> bool:  # noqa: ARG002
        """See `Installation`."""
        return False

    def health(self) -> TracingHealth:
        """See `Installation`."""
        return TracingHealth(reason=self._reason)

    def shut_down(self, timeout: float) -> ShutdownReport:  # noqa: ARG002
        """See `Installation`."""
        started = now()
        logging.getLogger("langfuse").removeFilter(self._silenced)
        return ShutdownReport(elapsed=now() - started)

    def log_loss(self, report: ShutdownReport) -> None:
        """See `Installation`."""

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """See `Installation`."""
        yield

    def before_fork(self) -> None:
        """See `Installation`."""

    def after_fork_in_parent(self) -> None:
        """See `Installation`."""

    def after_fork(self) -> None:
        """See `Installation`."""


class Installation:
    """The pipeline of a process and the client that feeds it."""

    enabled = True

    def __init__(
        self, config: TracingConfig, client_arguments: Mapping[str, Any], earlier: EarlierClient | None = None
    ) -> None:
        self.config = config
        self.client_arguments = dict(client_arguments)
        self._readable_records = self._guard_logs()
        self.pipeline = self._pipeline(earlier)
        # Before there are threads.
        langfuse_internals.import_for_requests()
        try:
            self.client = self._client(self.pipeline, earlier)
        except BaseException:
            self.pipeline.buffer.close()
            raise
        self._resources = langfuse_internals.resources_of(self.client) or langfuse_internals.registered(
            str(config.public_key)
        )
        self._take_over()
        self._report_cut_values()
        for doubt in doubts(config):
            failures.say_once(doubt)
        if config.reparent_filtered:
            global_propagator.install()
        self.pipeline.start(self._http_client)
        if config.serverless:
            self.pipeline.provider.processor.outermost_ended = self._end_invocation
        #: For what may not return: the SDK, code of the application that it calls, and the network.
        self._closing_thread = PrestartedThread("langfuse-tracing-close")
        self._second_clients = SecondClients(self._report_second_client)
        if hasattr(os, "register_at_fork"):
            # After the client was built: in a child the SDK makes parts of itself anew, and this comes later.
            take_over = weakref.WeakMethod(self._take_over)
            os.register_at_fork(after_in_child=lambda: (method := take_over()) and method())

    def _report_cut_values(self) -> None:
        longest = langfuse_internals.longest_attribute(self.pipeline.provider.provider)
        if longest is not None:
            logger.warning(
                "OpenTelemetry cuts values after %d characters: longer input, output and metadata break in the "
                "middle of their JSON. Fix: unset OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT and "
                "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, and give the tracer provider no max_attribute_length.",
                longest,
            )

    def _guard_logs(self) -> ReadableRecords:
        """Keep secrets and control characters of answers out of our logs and of the SDK's."""
        headers = self.client_arguments.get("additional_headers") or {}
        authorization = langfuse_headers(str(self.config.public_key), str(self.config.secret_key))["Authorization"]
        options = [value for name, value in self.config.kafka_options.items() if _SECRET_OPTION.search(name)]
        mask_in_logs(self.config.secret_key, authorization.partition(" ")[2], *headers.values(), *map(str, options))
        guard = ReadableRecords()
        logging.getLogger("langfuse").addFilter(guard)
        return guard

    def _pipeline(self, earlier: EarlierClient | None) -> Pipeline:
        unknown = [name for name in self.client_arguments if name not in inspect.signature(Langfuse).parameters]
        if unknown:
            message = (
                f"{unknown[0]}= is not known to langfuse {langfuse_internals.SDK_VERSION}. "
                "Fix: update langfuse, or leave it out."
            )
            raise ConfigError(message)
        headers = self.client_arguments.get("additional_headers")
        return Pipeline(self.config, self._release, headers, earlier, queue_sinks(self.config))

    @property
    def _release(self) -> str | None:
        return self.config.release or langfuse_internals.common_release()

    def _client(self, pipeline: Pipeline, earlier: EarlierClient | None) -> Langfuse:
        if earlier is None:
            return self._new_client(pipeline)
        with earlier.set_aside():
            client = self._new_client(pipeline)
        pipeline.take(earlier.take_over(client))
        earlier.report(self.config)
        return client

    def _new_client(self, pipeline: Pipeline) -> Langfuse:
        config = self.config
        # What may be frozen at any moment writes each span to the spool at once; it is sent with others all the same.
        flush_at = 1 if config.serverless and config.spool_path is not None else config.flush_at
        filtering = exported_ancestors.use(self.client_arguments.get("should_export_span"), config.public_key)
        with langfuse_internals.client_settings(config, flush_at=flush_at, proxies=all_usable()):
            return GuardedLangfuse(
                breaker=pipeline.breaker,
                public_key=config.public_key,
                secret_key=config.secret_key,
                base_url=config.base_url,
                environment=config.environment,
                release=self._release,
                sample_rate=config.sample_rate,
                flush_at=flush_at,
                flush_interval=config.flush_interval,
                timeout=config.timeout,
                httpx_client=pipeline.rest_client,
                tracer_provider=cast("TracerProvider", pipeline.provider),
                span_exporter=pipeline.exporter,
                **{**self.client_arguments, **({"should_export_span": filtering} if filtering else {})},
            )

    def _report_second_client(self, arguments: Mapping[str, Any]) -> None:
        if arguments.get("public_key") not in {None, self.config.public_key}:
            return
        given = {
            name: value
            for name, value in arguments.items()
            if name in langfuse_internals.SETTINGS and value is not None
        }
        try:
            phrases = differences(self.config, given)
        except ConfigError as error:
            phrases = [str(error)]
        if phrases:
            logger.warning(
                "A second Langfuse client was built with other settings, which the SDK ignores: %s. "
                "Use get_langfuse_client(), or pass them to init_tracing().",
                "; ".join(phrases),
            )

    def _take_over(self) -> None:
        """Take over what the SDK has made, here or in a forked child."""
        # They wait for Langfuse without a limit. Python 3.14 calls also those that are removed while it ends.
        langfuse_internals.release_exit_handlers(self._resources)
        if not self.pipeline.closing:
            langfuse_internals.restart_threads(self._resources)
        langfuse_internals.limit_tries(self._resources)
        langfuse_internals.limit_flush(self._resources, self._flush)
        langfuse_internals.hook_scores(self._resources, self.pipeline.scores)
        pipeline = self.pipeline

        def guard(transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
            if isinstance(transport, AsyncBoundedTransport):
                return transport
            # A test harness's own transport stays.
            plain = type(transport) is httpx.AsyncHTTPTransport
            inner = AsyncTransportPool(pipeline.transports.unusable) if plain else transport
            return AsyncBoundedTransport(inner, host=pipeline.host, breaker=pipeline.breaker)

        langfuse_internals.guard_async(self._resources, guard)

    @property
    def _http_client(self) -> httpx.Client:
        return langfuse_internals.http_client_of(self._resources) or self.pipeline.rest_client

    def _flush(self) -> None:
        """Send all that waits: for at most `timeout` seconds, and as long as Langfuse is not known to fail."""
        deadline = now() + self.config.timeout
        pipeline = self.pipeline

        woken = -1

        def left() -> float:
            nonlocal woken
            pipeline.scores.hand_on()
            # Scores that came later than the last call wait again.
            if woken != (woken := pipeline.scores.handed_on):
                langfuse_internals.wake_scores(self._resources)
            return 0.0 if pipeline.scores.failing else deadline - now()

        pipeline.provider.force_flush(round(self.config.timeout * 1000))
        left()
        langfuse_internals.wait_for_queues(self._resources, left)

    def owns(self, client: object) -> bool:
        """Return whether this HTTP client serves the SDK: Langfuse's REST API, exports, uploads."""
        return client is self.pipeline.rest_client or client is self._http_client

    def health(self) -> TracingHealth:
        """Return the state of the pipeline."""
        return self.pipeline.health()

    def shut_down(self, timeout: float) -> ShutdownReport:
        """Send what is left for at most `timeout` seconds. The client stays, and what it makes is only counted."""
        started = now()
        self._second_clients.stop()
        global_propagator.uninstall()
        self.pipeline.provider.processor.outermost_ended = None
        logging.getLogger("langfuse").removeFilter(self._readable_records)
        finished = self._closing_thread.run(lambda: self._close(started + timeout), timeout)
        self._closing_thread.stop()
        if finished:
            self._closing_thread.join(max(started + timeout - now(), 0.0))
        balance = self.pipeline.finish(sent=finished)
        # Nothing waits any more that could be sent.
        langfuse_internals.limit_flush(self._resources, lambda: None)
        return ShutdownReport(
            exported=balance.exported,
            buffered=balance.buffered,
            dropped=balance.dropped,
            elapsed=now() - started,
            timed_out=not finished,
        )

    def log_loss(self, report: ShutdownReport) -> None:
        """Log what a shutdown has not sent."""
        lost = report.dropped.get("shutdown", 0)
        if report.buffered or lost:
            parts = [
                *([f"{report.buffered} are in the spool for the next start"] if report.buffered else []),
                *([f"{lost} are dropped (shutdown)"] if lost else []),
            ]
            error = self.health().last_error
            logger.warning(
                "%s did not accept all spans within %.1f s: %s.%s",
                " and ".join(DESTINATIONS[name] for name in self.config.exports),
                report.elapsed,
                ", ".join(parts),
                f" The last failure: {error}" if error else "",
            )

    def _end_invocation(self) -> None:
        """Send what an invocation has made, scores included: for `timeout` seconds, unless Langfuse fails."""
        try:
            self.client.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not the application's
            failures.report("flushing at the end of an invocation", error)

    def set_aside(self) -> AbstractContextManager[None]:
        """After a shutdown, let a new client of this key be built inside the block; if that fails, ours stays."""
        return langfuse_internals.set_aside(self._resources)

    def _close(self, deadline: float) -> None:
        self.pipeline.close(deadline - now())
        self.pipeline.scores.close()
        try:
            # Scores, media and prompts, while the sender is at work; the SDK has no limit of time for these.
            langfuse_internals.stop_threads(self._resources)
        finally:
            self.pipeline.sender.join()

    def before_fork(self) -> None:
        """Close what must not be open over a fork."""
        self.pipeline.before_fork()

    def after_fork_in_parent(self) -> None:
        """Open it again."""
        self.pipeline.after_fork_in_parent()

    def after_fork(self) -> None:
        """Start again in a forked child, unless it was shut down: see `Pipeline.after_fork`."""
        self.pipeline.after_fork()
        if not self.pipeline.closing:
            self._closing_thread.after_fork()


def install(
    config: TracingConfig, client_arguments: Mapping[str, Any], earlier: EarlierClient | None = None
) -> Installation | DisabledInstallation:
    """Set tracing up, and take over an earlier client; without keys it is disabled.

    Raises:
        ConfigError: An argument of the client is unknown to the installed version of langfuse, or the spool can't be
            used.
    """
    missing = [name for name in ("public_key", "secret_key") if getattr(config, name) is None]
    if missing:
        return DisabledInstallation(config, client_arguments, missing)
    return Installation(config, client_arguments, earlier)
