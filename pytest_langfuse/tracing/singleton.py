"""The one pipeline of a process: set up once, however many modules, threads and forks ask for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_langfuse.tracing import installation
from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.config import (
    SETTINGS,
    ConfigError,
    RequestedSettings,
    TracingConfig,
    differences,
    given_settings,
    resolved,
)
from pytest_langfuse.tracing.delivery.health import ShutdownReport, TracingHealth
from pytest_langfuse.tracing.delivery.metrics import register
from pytest_langfuse.tracing.delivery.provider import processors_after_fork
from pytest_langfuse.tracing.earlier_client import EarlierClient
from pytest_langfuse.tracing.failures import failures, logger
from pytest_langfuse.tracing.installation import DisabledInstallation, Installation
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.open_requests import open_requests, wait_for_open_requests
from pytest_langfuse.tracing.shutdown.process_end import ProcessEnd

if TYPE_CHECKING:
    from langfuse import Langfuse


class Singleton:
    """Holds the installation of this process, and what calls it when the process ends or forks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._warned: set[tuple[str, ...]] = set()
        self._end: ProcessEnd | None = None
        self._forking: Installation | DisabledInstallation | None = None
        self.installation: Installation | DisabledInstallation | None = None
        #: The installation that was shut down, by the application or at exit. Until `init_tracing` is called again,
        #: all clients are its client, and what they make is counted as dropped.
        self.retired: Installation | DisabledInstallation | None = None
        self.last_report = ShutdownReport()

    def init(self, config: TracingConfig | None, overrides: dict[str, Any]) -> Langfuse:
        """See `init_tracing`."""
        __tracebackhide__ = True
        given = given_settings(config, overrides)
        with self._lock:
            if (installed := self.installation) is not None:
                self._compare(installed, given)
                return installed.client
            with self.retired.set_aside() if self.retired is not None else nullcontext():
                earlier = EarlierClient.find(given)
                if earlier is not None:
                    earlier.complete(given)
                installed = installation.install(resolved(given), given.client_arguments, earlier)
            self._install(installed)
            return installed.client

    def client(self) -> Langfuse:
        """See `get_langfuse_client`."""
        __tracebackhide__ = True
        installed = self.installation or self.retired
        return installed.client if installed is not None else self.init(None, {})

    def _install(self, installed: Installation | DisabledInstallation) -> None:
        self.installation, self.retired, self._end = installed, None, None
        if isinstance(installed, Installation):
            self._end = ProcessEnd(
                shut_down=lambda deadline: self._shut_down(installed, deadline),
                start_flushing=installed.pipeline.start_flushing,
                timeout=installed.config.shutdown_timeout,
                handle_signals=installed.config.handle_signals,
            )

    def _compare(self, installed: Installation | DisabledInstallation, given: RequestedSettings) -> None:
        __tracebackhide__ = True
        phrases, errors = [], list(given.errors)
        try:
            phrases = differences(installed.config, given.settings)
        except ConfigError as error:
            errors.append(str(error))
        if errors:
            raise ConfigError("\n".join(errors))
        phrases += [
            f"{name} stays as it was"
            for name, value in given.client_arguments.items()
            if installed.client_arguments.get(name) != value
        ]
        if phrases and (said := tuple(phrases)) not in self._warned:
            self._warned.add(said)
            logger.warning(
                "init_tracing() was called again with another configuration, which is ignored: %s. "
                "Call shutdown_tracing() first to change it.",
                "; ".join(phrases),
            )

    def shut_down(self, timeout: float) -> ShutdownReport:
        """See `shutdown_tracing`."""
        installed, end = self.installation, self._end
        if end is not None:
            deadline = now() + timeout
            if installed is not None:
                wait_for_open_requests(timeout)
            end.run(max(deadline - now(), 0.0))
        elif installed is not None:
            self._shut_down(installed, now() + timeout)
        return self.last_report

    def _shut_down(self, installed: Installation | DisabledInstallation, deadline: float) -> None:
        with self._lock:
            if self.installation is not installed:
                return
            self.installation, self.retired = None, installed
            self._warned.clear()
        report = self.last_report = installed.shut_down(deadline - now())
        installed.log_loss(report)

    def health(self) -> TracingHealth:
        """See `tracing_health`."""
        if self.installation is not None:
            return self.installation.health()
        if self.retired is not None:
            return replace(self.retired.health(), enabled=False, healthy=False, reason="tracing was shut down")
        return TracingHealth(reason="init_tracing() was not called")

    def before_fork(self) -> None:
        """Close what must not be open over a fork."""
        self._forking = self.installation
        if self._forking is not None:
            self._forking.before_fork()
        if self._end is not None:
            self._end.before_fork()

    def after_fork_in_parent(self) -> None:
        """Open it again."""
        forking, self._forking = self._forking, None
        if forking is not None:
            forking.after_fork_in_parent()
        if self._end is not None:
            self._end.after_fork_in_parent()

    def after_fork(self) -> None:
        """In a forked child: a lock that another thread held at the fork would stay locked for ever."""
        self._lock = threading.RLock()
        self._forking = None
        failures.forget()
        processors_after_fork()
        # The parent's.
        open_requests.clear()
        if (installed := self.installation or self.retired) is not None:
            installed.after_fork()
        if self._end is not None:
            self._end.after_fork()


singleton = Singleton()


def init_tracing(config: TracingConfig | None = None, **overrides: Any) -> Langfuse:
    """Set tracing up for this process, and return its Langfuse client.

    `overrides` are fields of `TracingConfig`, and `mask`, `mask_otel_spans`, `should_export_span` and
    `additional_headers` of the client. What neither `config` nor `overrides` decides comes from the environment's
    variables, see `get_tracing_config`.

    Call it as often as you like, from any thread: the first call decides. A later one that asks for something else is
    logged with the differences. After a fork the child goes on with the same settings and counts from zero.

    Without keys a line is logged and the client does nothing.

    Raises:
        ConfigError: Settings can't be used; the message names all of them.
    """
    __tracebackhide__ = True
    return singleton.init(config, overrides)


def get_langfuse_client() -> Langfuse:
    """Return the client of this process, set up from environment variables if `init_tracing` was not called.

    After a shutdown it is the same client, whose observations are dropped and counted as "after_shutdown".

    Raises:
        ConfigError: Environment variables can't be used; the message names all of them.
    """
    __tracebackhide__ = True
    return singleton.client()


def shutdown_tracing(timeout: float = 5.0) -> ShutdownReport:
    """Send what is left, for at most `timeout` seconds, and take the pipeline down.

    Returns within the deadline even when Langfuse does not answer. It blocks the calling thread: from asyncio use
    `await asyncio.to_thread(shutdown_tracing)`. A second call, and one without `init_tracing`, returns at once with
    the report of the last shutdown. `init_tracing` works again afterwards. Called automatically at interpreter exit.

    Raises:
        TypeError: `timeout` is not a number. Nothing is shut down.
        ValueError: `timeout` is out of range. Nothing is shut down.
    """
    __tracebackhide__ = True
    return singleton.shut_down(checked("shutdown_tracing()", "timeout", timeout, SETTINGS["shutdown_timeout"].parse))


def tracing_health() -> TracingHealth:
    """Return the current state of the pipeline; after a shutdown, its final state. Does not block."""
    return singleton.health()


@contextmanager
def fresh() -> Iterator[None]:
    """The singleton as on a fresh interpreter inside the block; what was set up inside is shut down, then restored.

    For test harnesses: no thread and no exit handler of what was set up inside is left.
    """
    global singleton
    outer, singleton = singleton, Singleton()
    try:
        yield
    finally:
        inner, singleton = singleton, outer
        inner.shut_down(timeout=1.0)
        if inner.retired is not None:
            with inner.retired.set_aside():
                pass


def _before_fork() -> None:
    singleton.before_fork()


def _after_fork_in_parent() -> None:
    singleton.after_fork_in_parent()


def _after_fork_in_child() -> None:
    singleton.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)

#: OpenTelemetry removes no instrument: made once, they follow whatever is installed.
_instruments = register(tracing_health)
