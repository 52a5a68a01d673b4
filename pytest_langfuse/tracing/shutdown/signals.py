"""Signals that end the process: the rest is sent before, with the same exit status as without tracing.

- A signal whose default action would end the process: shut down within the deadline, then let the default action
  happen, so that the exit status is the signal's. The application goes on meanwhile, as if the signal came later.
- SIGTERM and SIGINT that the application (or its server) handles: its handler runs as always. What is left is sent
  meanwhile, for a server that ends its process right after its own clean-up, without Python's exit handlers.
- SIGINT with Python's own handler is left alone: KeyboardInterrupt leads to the exit handlers. So is an ignored signal.
- SIGABRT, SIGUSR1 and SIGUSR2 are left alone: `faulthandler` and applications have them.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from pytest_langfuse.tracing.failures import logger
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.shutdown.default_action import DefaultAction, has_default_action
from pytest_langfuse.tracing.shutdown.signal_channel import SignalChannel

#: Handled whoever handles them.
_CHAINED = (signal.SIGTERM, signal.SIGINT)
#: Handled only if the process would end. Daemons use them for other purposes.
_BY_DEFAULT = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGQUIT") if hasattr(signal, name))
#: Ctrl-C so many seconds after the signal that began the end is meant: do not wait.
INSISTS = 1.0
#: So long the thread, which has nothing to do, may take to end (seconds).
_AT_ONCE = 0.1
#: The first process of a container: the kernel takes no default action for it.
_INIT = 1


class Signals:
    """Installs the handlers, which only tell a thread that was started before: they interrupt any code.

    `shut_down` returns within its deadline; `start_flushing` is called where another handler ends the process.
    """

    def __init__(self, *, shut_down: Callable[[], object], start_flushing: Callable[[], object]) -> None:
        self._shut_down, self._start_flushing = shut_down, start_flushing
        self._previous: dict[int, Callable[[int, FrameType | None], object] | signal.Handlers] = {}
        self._default_action = DefaultAction()
        self._channel: SignalChannel | None = None
        self._thread: threading.Thread | None = None
        #: Of the threads that fork at the moment.
        self._masks = threading.local()
        #: When the signal came whose default action is about to end the process.
        self._ending_since: float | None = None

    @property
    def ending(self) -> bool:
        """True while a signal is about to end the process."""
        return self._ending_since is not None

    def install(self) -> None:
        """Take over the signals that need it. Only the main thread can; from another, exit handlers have to do."""
        if threading.current_thread() is not threading.main_thread():
            logger.debug("Signals are not handled: init_tracing() was not called in the main thread.")
            return
        replaced = {number: self._replaceable(number) for number in (*_CHAINED, *_BY_DEFAULT)}
        replaced = {number: previous for number, previous in replaced.items() if previous is not None}
        if replaced and self._channel is None:
            self._watch()
        self._previous.update(replaced)
        for number in replaced:
            signal.signal(number, self._handle)
        if self._channel is not None:
            self._channel.listen()

    def _watch(self) -> None:
        self._channel = SignalChannel()
        self._thread = lasting_thread(
            functools.partial(self._receive, self._channel), name="langfuse-tracing-signals", doing="handling a signal"
        )
        # In a child that is forked off while the interpreter ends there are no new threads.
        with suppress(RuntimeError):
            self._thread.start()

    def _replaceable(self, number: int) -> Any:
        """Return what handles a signal now, or `None` if it stays as it is."""
        current = signal.getsignal(number)
        previous = _handler_before(current, number)
        if previous is signal.SIG_DFL:
            return previous if current is not previous or has_default_action(number) else None
        # None: a handler that was not installed from Python and can't be called from here.
        if number in _BY_DEFAULT or previous in {None, signal.SIG_IGN, signal.default_int_handler}:
            return None
        return previous if callable(previous) else signal.SIG_DFL

    def uninstall(self) -> None:
        """After `stop`, give the signals back, where nobody has taken them since. Only the main thread can."""
        if threading.current_thread() is threading.main_thread() and not self.ending:
            for number, previous in self._previous.items():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, previous)
            channel, self._channel = self._channel, None
            if channel is not None and self._thread is None:
                channel.close()

    def stop(self) -> None:
        """After a shutdown: a handler of ours that is still called does what was there before it."""
        thread, self._thread = self._thread, None
        if thread is not None and self._channel is not None:
            self._channel.stop()
            if thread.is_alive():
                thread.join(_AT_ONCE)

    def wait_for_the_end(self, timeout: float) -> None:
        """Wait at most so many seconds for a signal that is about to end the process, if there is one."""
        if self.ending:
            threading.Event().wait(timeout)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Run in the main thread. The thread may know of the signal already, from the channel."""
        previous = self._previous.get(number, signal.SIG_DFL)
        channel = self._channel if self._thread is not None else None
        if channel is not None:
            channel.send(number)
        if callable(previous) and not isinstance(previous, signal.Handlers):
            previous(number, frame)
        elif channel is None or number in self._default_action.due or self._insists(number):
            self._default_action.take_in_handler(number)

    def _insists(self, number: int) -> bool:
        return number == signal.SIGINT and self._ending_since is not None and now() - self._ending_since > INSISTS

    def _receive(self, channel: SignalChannel) -> None:
        for number in channel.receive():
            # The interpreter writes of all signals that have a handler, whosever it is.
            if not self.ending and signal.getsignal(number) == self._handle:
                self._came(number)

    def _came(self, number: int) -> None:
        ends = self._previous.get(number, signal.SIG_DFL) is signal.SIG_DFL
        if not ends or os.getpid() == _INIT:
            self._start_flushing()
            return
        self._ending_since = now()
        try:
            self._shut_down()
        finally:
            self._default_action.take(number)

    def before_fork(self) -> None:
        """Keep signals from a child that would write to the parent's channel."""
        if self._channel is not None:
            self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, self._previous)

    def after_fork_in_parent(self) -> None:
        """Let them come again."""
        before, self._masks.before = getattr(self._masks, "before", None), None
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def after_fork(self) -> None:
        """In a forked child: the parent's signal is not its own."""
        self._ending_since = None
        if self._channel is not None:
            self._channel.after_fork()
            if self._thread is not None:
                self._watch()
                self._channel.listen()
            else:
                self._channel = None
        self.after_fork_in_parent()


def _handler_before(handler: Any, number: int) -> Any:
    """Return the handler before one of ours that could not be removed outside of the main thread."""
    while isinstance(owner := getattr(handler, "__self__", None), Signals):
        handler = owner._previous.get(number, signal.SIG_DFL)  # noqa: SLF001 - another of this class
    return handler
