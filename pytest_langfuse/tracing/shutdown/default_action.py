"""The default action of a signal, looked up and taken below Python's own handlers.

Python's `signal` module knows only handlers that were set through it, and sets them in the main thread only. Its C API
has both for any thread and any handler: `PyOS_getsig` and `PyOS_setsig` (documented with the operating system utilities
of the C API).
"""

from __future__ import annotations

import os
import signal
from typing import Any

#: `SIG_DFL` and a null pointer are the same.
_DEFAULT = None


def _c_function(name: str, *arguments: str) -> Any:
    """Return a function of Python's C API that returns a handler, or `None` where there is none (PyPy, no libffi)."""
    try:
        import ctypes

        prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, *(getattr(ctypes, argument) for argument in arguments))
        return prototype((name, ctypes.pythonapi))
    except (ImportError, AttributeError):
        return None


def has_default_action(number: int) -> bool:
    """Return whether a signal has its default action; a handler of a C library counts as one, `faulthandler`'s too."""
    if signal.getsignal(number) is not signal.SIG_DFL:
        return False
    look_up = _c_function("PyOS_getsig", "c_int")
    return look_up is None or look_up(number) is _DEFAULT


class DefaultAction:
    """Takes the default action of a signal for which there is a handler. Made beforehand: it imports nothing later."""

    def __init__(self) -> None:
        self._set = _c_function("PyOS_setsig", "c_int", "c_void_p")
        #: The signals whose handler has to take the action itself, when it is called next.
        self.due: set[int] = set()

    def take(self, number: int) -> None:
        """End the process by a signal, from any thread."""
        if self._set is None:
            self.due.add(number)
        else:
            self._set(number, _DEFAULT)
        os.kill(os.getpid(), number)

    def take_in_handler(self, number: int) -> None:
        """End the process by a signal, in the main thread."""
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
