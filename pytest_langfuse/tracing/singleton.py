"""The one pipeline of a process: set up once, however many modules, threads and forks ask for it."""

from __future__ import annotations

import atexit
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
from pytest_langfuse.tracing.shutdown.children import ChildExit
from pytest_langfuse.tracing.shutdown.signals import Signals

if TYPE_CHECKING:
    from langfuse import Langfuse


#: Part of the time for an exit that is left to the interpreter (seconds).
_INTERPRETER = 0.15


class Singleton:
    """Holds the installation of this process, and what calls it when the process ends or forks."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._warned: set[tuple[str, ...]] = set()
        self._signals: Signals | None = None
        self._child_exit: ChildExit | None = None
        self._forking: Installation | DisabledInstallation | None = None
        #: Set when the last shutdown has ended.
        self._under_way: threading.Event | None = None
        self.installation: Installation | DisabledInstallation | None = None
        self.last_report = ShutdownReport()
        self.last_health = TracingHealth(reason="init_tracing() was not called")
        #: Whether the application shut tracing down: from then on only an explicit call sets it up again.
        self.shut_down_by_app = False

    def init(self, config: TracingConfig | None, overrides: dict[str, Any]) -> Langfuse:
        """See `init_tracing`."""
        __tracebackhide__ = True
        given = given_settings(config, overrides)
        with self._lock:
            if (installed := self.installation) is not None:
                self._compare(installed, given)
                return installed.client
            earlier = EarlierClient.find(given)
            if earlier is not None:
                earlier.complete(given)
            installed = installation.install(resolved(given), given.client_arguments, earlier)
            self._install(installed)
            return installed.client

    def _install(self, installed: Installation | DisabledInstallation) -> None:
        self.installation, self.shut_down_by_app = installed, False
        # After the client was built: exit handlers run last in, first out, and ours is bounded.
        atexit.register(self._at_exit)
        self._child_exit = ChildExit(self._at_exit)
        if isinstance(installed, Installation) and installed.config.handle_signals:
            self._signals = Signals(
                shut_down=self._at_exit,
                start_flushing=installed.pipeline.start_flushing,
                locking=(__name__, installation.__name__),
            )
            self._signals.install()

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
        with self._lock:
            installed, self.installation = self.installation, None
            if installed is None:
                return self.last_report
            self._warned.clear()
            self.shut_down_by_app = True
            atexit.unregister(self._at_exit)
            if self._child_exit is not None:
                self._child_exit.stop()
            signals, self._signals = self._signals, None
            under_way = self._under_way = threading.Event()
        try:
            with signals.uninstalled_after() if signals is not None else nullcontext():
                self.last_report = installed.shut_down(timeout)
                self.last_health = replace(
                    installed.health(), enabled=False, healthy=False, reason="tracing was shut down"
                )
        finally:
            under_way.set()
        return self.last_report

    def health(self) -> TracingHealth:
        """See `tracing_health`."""
        installed = self.installation
        return installed.health() if installed is not None else self.last_health

    def _at_exit(self) -> None:
        if (installed := self.installation) is not None:
            timeout = installed.config.shutdown_timeout
            self.shut_down(timeout - min(_INTERPRETER, timeout / 10))
        elif self._under_way is not None:
            # Another thread shuts down, within its own deadline.
            self._under_way.wait()

    def before_fork(self) -> None:
        """Close what must not be open over a fork."""
        self._forking = self.installation
        if self._forking is not None:
            self._forking.before_fork()

    def after_fork_in_parent(self) -> None:
        """Open it again."""
        forking, self._forking = self._forking, None
        if forking is not None:
            forking.after_fork_in_parent()

    def after_fork(self) -> None:
        """In a forked child: a lock that another thread held at the fork would stay locked for ever."""
        self._lock = threading.RLock()
        self._forking = self._under_way = None
        failures.forget()
        processors_after_fork()
        if self.installation is not None:
            self.installation.after_fork()
        if self._child_exit is not None:
            self._child_exit.after_fork()


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

    Raises:
        ConfigError: Environment variables can't be used; the message names all of them.
    """
    __tracebackhide__ = True
    installed = singleton.installation
    return installed.client if installed is not None else singleton.init(None, {})


def current_client() -> Langfuse | None:
    """Return `get_langfuse_client()`, or `None` once the application has shut tracing down."""
    if (installed := singleton.installation) is not None:
        return installed.client
    return None if singleton.shut_down_by_app else singleton.init(None, {})


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
