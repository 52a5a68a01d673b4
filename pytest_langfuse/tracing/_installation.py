"""One installed pipeline: built by `init_tracing`, ended by `shutdown_tracing`."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Mapping
from typing import Any, cast

from langfuse import Langfuse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, TraceIdRatioBased

from pytest_langfuse.tracing import _sdk
from pytest_langfuse.tracing._failures import logger
from pytest_langfuse.tracing._standby import Standby
from pytest_langfuse.tracing.config import ConfigError, TracingConfig, differences
from pytest_langfuse.tracing.exporter import LedgerExporter, headers
from pytest_langfuse.tracing.health import ShutdownReport
from pytest_langfuse.tracing.ledger import Ledger
from pytest_langfuse.tracing.provider import PipelineProvider, install_provider

#: Arguments of `Langfuse` that are no setting of ours and are handed on as they are.
CLIENT_ARGUMENTS = ("additional_headers", "mask", "mask_otel_spans", "should_export_span")


class Installation:
    """The client and what is behind it."""

    def __init__(self, config: TracingConfig, client_arguments: Mapping[str, Any]) -> None:
        self.config = config
        self.client_arguments = dict(client_arguments)
        self.ledger = Ledger()
        self.provider: PipelineProvider | None = None
        self.queue: _sdk.SpanQueue | None = None
        self.report: ShutdownReport | None = None
        self._silenced: logging.Filter | None = None
        missing = [name for name in ("public_key", "secret_key") if getattr(config, name) is None]
        self.client = self._disabled_client(missing) if missing else self._client()
        self.resources = _sdk.resources_of(self.client)
        self.standby = Standby("langfuse-tracing-shutdown") if self.resources is not None else None

    def _disabled_client(self, missing: list[str]) -> Langfuse:
        variables = " and ".join(f"LANGFUSE_{name.upper()}" for name in missing)
        logger.warning(
            "Tracing is off: set %s (or pass %s) to send traces to Langfuse.", variables, " and ".join(missing)
        )
        self._silenced = _sdk.MissingKeysSilenced()
        logging.getLogger("langfuse").addFilter(self._silenced)
        return Langfuse(tracing_enabled=False, public_key=self.config.public_key, secret_key=self.config.secret_key)

    def _client(self) -> Langfuse:
        config = self.config
        public_key, secret_key, base_url = (cast("str", getattr(config, name)) for name in _SENT)
        self._report_earlier_client(public_key)
        unknown = [name for name in self.client_arguments if name not in inspect.signature(Langfuse).parameters]
        if unknown:
            message = (
                f"{unknown[0]}= is not known to langfuse {_sdk.SDK_VERSION}. Fix: update langfuse, or leave it out."
            )
            raise ConfigError(message)
        release = config.release or _sdk.common_release()
        sampler = TraceIdRatioBased(config.sample_rate) if config.sample_rate < 1 else ALWAYS_ON
        self.provider = PipelineProvider(install_provider(config.environment, release, sampler))
        exporter = LedgerExporter(
            base_url=base_url,
            sent_headers=headers(public_key, secret_key, self.client_arguments.get("additional_headers")),
            timeout=config.timeout,
            ledger=self.ledger,
        )
        with _sdk.queue_size(config.max_buffer_spans):
            client = Langfuse(
                public_key=public_key,
                secret_key=secret_key,
                base_url=base_url,
                environment=config.environment,
                release=release,
                sample_rate=config.sample_rate,
                flush_at=config.flush_at,
                flush_interval=config.flush_interval,
                timeout=cast("int", config.timeout),
                tracer_provider=cast("TracerProvider", self.provider),
                span_exporter=exporter,
                **self.client_arguments,
            )
        processor = self.provider.gate.target
        if isinstance(processor, BatchSpanProcessor):
            self.queue = _sdk.watch_queue(processor, self.ledger.ended, lambda: self.ledger.dropped("queue_full"))
        return client

    def _report_earlier_client(self, public_key: str) -> None:
        earlier = _sdk.registered(public_key)
        if earlier is None:
            return
        phrases = differences(self.config, _sdk.settings(earlier))
        logger.warning(
            "A Langfuse client for %s was built before init_tracing(): it stays in place with its own settings and "
            "exporter%s. Call init_tracing() before anything builds a client.",
            public_key,
            f" ({'; '.join(phrases)})" if phrases else "",
        )

    def shut_down(self, timeout: float) -> ShutdownReport:
        """Send what is left for at most `timeout` seconds, then let go of everything."""
        started = time.monotonic()
        finished = True
        if self._silenced is not None:
            logging.getLogger("langfuse").removeFilter(self._silenced)
        if self.resources is not None and self.standby is not None:
            _sdk.release_exit_handlers(self.resources)
            _sdk.forget(self.resources)
            finished = self.standby.run(self._close, timeout)
        balance = self.ledger.balance()
        self.report = ShutdownReport(
            exported=balance.exported,
            buffered=balance.buffered,
            dropped=balance.dropped,
            elapsed=time.monotonic() - started,
            timed_out=not finished,
        )
        if not finished:
            logger.warning("Langfuse did not take all spans within %.1f s: %d are left.", timeout, balance.buffered)
        return self.report

    def _close(self) -> None:
        if self.resources is None:
            return
        target = self.provider.gate.target if self.provider is not None else None
        try:
            _sdk.stop_threads(self.resources)
        finally:
            if target is not None and self.provider is not None:
                target.shutdown()
                if self.provider.gate.target is target:
                    self.provider.gate.target = None

    def after_fork(self) -> None:
        """In a forked child: counts start from zero, and threads and locks are made anew."""
        self.ledger.restart()
        if self.queue is not None:
            self.queue.renew_lock()
        if self.standby is not None:
            self.standby.after_fork()


_SENT = ("public_key", "secret_key", "base_url")
