"""Read what each thread executes, without a deadlock of Python 3.11."""

from __future__ import annotations

import gc
import os
import sys
import threading
from types import FrameType

#: Before 3.12, a garbage collection may begin within `sys._current_frames()`, which holds a lock of the interpreter
#: that the end of a `threading.local` needs, and the process hangs (CPython issue 106883).
_COLLECTS_ANYWHERE = sys.version_info < (3, 12)
# Not two at a time: the second would take the pause for the application's, and the first would end it. Reentrant, for
# handlers of signals.
_pausing = threading.RLock()
if _COLLECTS_ANYWHERE and hasattr(os, "register_at_fork"):
    # A child would keep a pause of another thread.
    os.register_at_fork(before=_pausing.acquire, after_in_parent=_pausing.release, after_in_child=_pausing.release)


def frames_of_threads() -> dict[int, FrameType]:
    """Return the current frame of each thread, by its identifier. Thread-safe."""
    if not _COLLECTS_ANYWHERE:
        return _current_frames()
    with _pausing:
        collects = gc.isenabled()
        gc.disable()
        try:
            return _current_frames()
        finally:
            if collects:
                gc.enable()


def _current_frames() -> dict[int, FrameType]:
    # The documented way to see other threads, in spite of its name.
    return dict(sys._current_frames())  # noqa: SLF001
