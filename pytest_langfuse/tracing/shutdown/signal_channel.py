"""From a signal handler to a thread, whatever the main thread is doing.

Python runs a signal handler in the main thread, between two of its instructions: not during a call into C that goes on,
and not if the signal comes just before the thread falls asleep in one. The interpreter's own handler, in C, writes the
number of each signal to the wakeup file descriptor at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

_NONE = -1
_STOP = 0
#: It warns of a wakeup file descriptor that is not its own.
_JEALOUS = "trio"


class SignalChannel:
    """Numbers of signals: from the interpreter, where nobody else wants them there, and from `send`."""

    def __init__(self) -> None:
        # Looked up here: gevent may have replaced it since this module was imported.
        self._reader, self._writer = socket.socketpair()
        self._writer.settimeout(0)
        self._descriptor = self._writer.fileno()

    def listen(self) -> None:
        """Have the interpreter write to the channel. In the main thread only."""
        if _JEALOUS in sys.modules:
            return
        before = signal.set_wakeup_fd(self._descriptor, warn_on_full_buffer=False)
        if before not in {_NONE, self._descriptor} and not _abandoned(before):
            # asyncio's or a server's, which wakes the main thread up by it.
            signal.set_wakeup_fd(before)

    def send(self, number: int) -> None:
        """Write a number. Takes no lock and does not wait: a signal handler may call it at any point."""
        # Full: there are enough numbers in it.
        with suppress(OSError):
            os.write(self._descriptor, bytes((number,)))

    def receive(self) -> Iterator[int]:
        """Wait for the numbers, one after the other, until `stop`."""
        while True:
            for number in self._reader.recv(64):
                if number == _STOP:
                    return
                yield number

    def stop(self) -> None:
        """End whoever receives. The descriptor stays open as long as the interpreter may write to it."""
        self.send(_STOP)
        _channels[self._descriptor] = self

    def close(self) -> None:
        """Release it after `stop`. In the main thread only."""
        before = signal.set_wakeup_fd(_NONE)
        if before not in {_NONE, self._descriptor}:
            signal.set_wakeup_fd(before)
        _abandoned(self._descriptor)

    def after_fork(self) -> None:
        """In a forked child: what is written to this one is read by the parent."""
        before = signal.set_wakeup_fd(_NONE)
        if before not in {_NONE, self._descriptor}:
            signal.set_wakeup_fd(before)
        self._close()

    def _close(self) -> None:
        self._reader.close()
        self._writer.close()


#: Channels that were stopped in another thread, by the descriptor that the interpreter writes to.
_channels: dict[int, SignalChannel] = {}


def _abandoned(descriptor: int) -> bool:
    """Return whether a descriptor is a stopped channel's, which is closed now."""
    channel = _channels.pop(descriptor, None)
    if channel is not None:
        channel._close()  # noqa: SLF001 - another of this class
    return channel is not None
