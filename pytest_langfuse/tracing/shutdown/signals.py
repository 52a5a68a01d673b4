"""SIGTERM and SIGINT: the rest is sent before the process ends, with the same exit status as without tracing.

- A signal whose default action would end the process: shut down within the deadline, then let the default action
  happen, so that the exit status is the signal's.
- A signal that the application (or its server) handles: its handler runs as always. What is left is sent meanwhile,
  for a server that ends its process right after its own clean-up, without Python's exit handlers.
- SIGINT with Python's own handler is left alone: KeyboardInterrupt leads to the exit handlers. So is an ignored signal.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pytest_langfuse.tracing import delivery, failures, langfuse_internals, shutdown, time_limit
from pytest_langfuse.tracing.delivery import client, transport
from pytest_langfuse.tracing.failures import logger

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_AGAIN = 0.02

#: Code of these modules may hold a lock that a shutdown needs. Those that call the application are not among them:
#: they stay on the stack for as long as it runs. A name that ends with a dot stands for a package.
_LOCKING = (
    f"{delivery.__name__}.",
    f"{shutdown.__name__}.",
    failures.__name__,
    langfuse_internals.__name__,
    *langfuse_internals.LOCKING_MODULES,
    logging.__name__,
)
#: Part of `delivery`, but holds no lock: it only calls the SDK.
_NOT_LOCKING = frozenset({client.__name__})
#: Functions that wait for the network, as long as a request may take, and hold no lock meanwhile.
_WAITING = frozenset(
    function.__code__
    for function in (
        transport.BoundedTransport.handle_request,
        transport.BoundedTransport.send,
        transport.TransportPool.handle_request,
        time_limit.LimitedBackend.connect_tcp,
        time_limit.LimitedStream.read,
        time_limit.LimitedStream.write,
        time_limit.LimitedStream.start_tls,
    )
)


class Signals:
    """Installs the handlers. They call `shut_down`, or `start_flushing` where another handler ends the process.

    `locking` names further modules whose code may hold a lock that `shut_down` needs.
    """

    def __init__(
        self, *, shut_down: Callable[[], object], start_flushing: Callable[[], object], locking: tuple[str, ...] = ()
    ) -> None:
        self._shut_down, self._start_flushing = shut_down, start_flushing
        self._locking = (*_LOCKING, *locking)
        #: A shutdown is under way in the main thread, where handlers run: signals are left until its end.
        self._deferring = False
        self._deferred: list[int] = []
        self._previous: dict[int, Callable[[int, FrameType | None], object] | signal.Handlers] = {}

    def install(self) -> None:
        """Take over the signals that need it. Only the main thread can; from another, exit handlers have to do."""
        if threading.current_thread() is not threading.main_thread():
            logger.debug("Signals are not handled: init_tracing() was not called in the main thread.")
            return
        for number in _SIGNALS:
            previous = _handler_before(signal.getsignal(number), number)
            # None: a handler that was not installed from Python and can't be called from here.
            if previous is None or previous in {signal.SIG_IGN, signal.default_int_handler}:
                continue
            self._previous[number] = previous if callable(previous) else signal.SIG_DFL
            signal.signal(number, self._handle)

    @contextmanager
    def uninstalled_after(self) -> Iterator[None]:
        """A shutdown: what signals come during it are delivered at its end, when they find what was there before us.

        A handler that raises in the midst of it, or needs a thread when none can be started any more, would end it.
        """
        self._deferring = threading.current_thread() is threading.main_thread()
        try:
            yield
        finally:
            self._deferring = False
            self._uninstall()
            for number in self._deferred:
                os.kill(os.getpid(), number)

    def _uninstall(self) -> None:
        """Give them back, where nobody has taken them since."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._deferring:
            self._deferred.append(number)
            return
        previous = self._previous.get(number, signal.SIG_DFL)
        if callable(previous) and not isinstance(previous, signal.Handlers):
            self._start_flushing()
            previous(number, frame)
            return
        if holds_a_lock(frame, self._locking):
            self._handle_again(number)
            return
        self._shut_down()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    def _handle_again(self, number: int) -> None:
        """The interrupted code goes on when the handler returns; what it holds is free a moment later."""
        again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
        again.daemon = True
        try:
            again.start()
        except RuntimeError:
            # At the interpreter's end there are no new threads (Python 3.12); the shutdown at exit is about to come.
            self._deferred.append(number)


def _handler_before(handler: Any, number: int) -> Any:
    """Return the handler before one of ours that could not be removed outside of the main thread."""
    while isinstance(owner := getattr(handler, "__self__", None), Signals):
        handler = owner._previous.get(number, signal.SIG_DFL)  # noqa: SLF001 - another of this class
    return handler


def holds_a_lock(frame: FrameType | None, locking: tuple[str, ...] = _LOCKING) -> bool:
    """Return whether `frame` or one of its callers may hold a lock that a shutdown needs."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith(locking) and name not in _NOT_LOCKING and frame.f_code not in _WAITING:
            return True
        frame = frame.f_back
    return False
