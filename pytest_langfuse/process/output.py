"""The output of a process, read by a thread and kept within bounds."""

from __future__ import annotations

import codecs
import os
import select
import threading
from typing import IO

#: Characters kept of the beginning and of the end.
_HEAD = 64 * 1024
_TAIL = 1024 * 1024
_CHUNK = 64 * 1024
#: Seconds to wait at the end until killed processes have closed the pipe.
_CLOSE_TIMEOUT = 1.0


class Output:
    """The text that comes out of `pipe`. Thread-safe; `close` leaves no thread and no file descriptor behind."""

    def __init__(self, pipe: IO[bytes], name: str) -> None:
        self._pipe = pipe
        self._woken, self._wake = os.pipe()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._head = ""
        self._tail = ""
        self._left_out = 0
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Everything printed so far; if that is very much, its beginning and its end."""
        with self._changed:
            if not self._left_out:
                return self._head + self._tail
            return f"{self._head}\n[… {self._left_out} characters left out …]\n{self._tail}"

    def wait_for_news(self, timeout: float) -> None:
        """Wait until more is printed, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait(timeout)

    def catch_up(self) -> None:
        """Wait until everything printed so far has been read; the process that printed it may have exited."""
        with self._changed:
            # The reader holds the lock from its read until the text is added, so each look sees a finished step.
            self._changed.wait_for(lambda: self._ended or not _readable(self._pipe.fileno()), 1.0)

    def close(self) -> None:
        """Stop reading when the last process has closed the pipe, or after a second if one stays alive."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, _CLOSE_TIMEOUT)
        os.write(self._wake, b"w")
        self._thread.join()
        self._pipe.close()
        os.close(self._wake)
        os.close(self._woken)

    def _read(self) -> None:
        pipe = self._pipe.fileno()
        while True:
            ready, _, _ = select.select([pipe, self._woken], [], [])
            with self._changed:
                chunk = os.read(pipe, _CHUNK) if pipe in ready else b""
                self._keep(self._decoder.decode(chunk, final=not chunk))
                self._ended = not chunk
                self._changed.notify_all()
                if self._ended:
                    return

    def _keep(self, text: str) -> None:
        room = _HEAD - len(self._head)
        self._head += text[:room]
        self._tail += text[room:]
        # Twice the limit, so that cutting, which copies, is rare.
        if len(self._tail) > 2 * _TAIL:
            self._left_out += len(self._tail) - _TAIL
            self._tail = self._tail[-_TAIL:]


def _readable(file: int) -> bool:
    return bool(select.select([file], [], [], 0)[0])


def last_lines(text: str, count: int) -> str:
    """Return the last `count` lines of `text`, below a line that says how many were left out."""
    lines = text.splitlines()
    if len(lines) <= count:
        return "\n".join(lines)
    return "\n".join([f"[… {len(lines) - count} more lines …]", *lines[-count:]])
