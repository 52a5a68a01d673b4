"""Log lines of the command: JSON objects, or text and a line of progress on a terminal."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

from pytest_langfuse.tracing.log_text import readable

_LONGEST = 2_000
_CLEAR = "\r\x1b[K"


class JsonLines(logging.Formatter):
    """One JSON object a line, in ASCII: time (UTC), level, message, and what `extra={"fields": {…}}` has."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; secrets that are known, and what looks like one, are masked."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": readable(record.getMessage(), _LONGEST),
            **{name: readable(value) if isinstance(value, str) else value for name, value in fields.items()},
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = readable(self.formatException(record.exc_info), _LONGEST)
        return json.dumps(line)


class TextLines(logging.Formatter):
    """A line of text for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return f"{record.levelname.lower()}: {readable(record.getMessage(), _LONGEST)}"


class ForwardLog(logging.Handler):
    """Writes to `stream`: on a terminal text, and below it one line of progress that is written over; else JSON lines.

    A stream that can't be written to is given up: forwarding goes on.
    """

    def __init__(self, stream: TextIO | None = None, *, terminal: bool | None = None) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        try:
            self.terminal = self._stream.isatty() if terminal is None else terminal
        except (AttributeError, ValueError):
            self.terminal = False
        self.setFormatter(TextLines() if self.terminal else JsonLines())
        self._progress = ""
        self._writing = threading.RLock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line above the progress."""
        with self._writing:
            clear = _CLEAR if self._progress else ""
            self._write(f"{clear}{self.format(record)}\n{self._progress}")

    def progress(self, text: Callable[[], str]) -> None:
        """Write the line of progress over the last one; nothing if this is not a terminal."""
        if self.terminal:
            with self._writing:
                self._progress = text()
                self._write(f"{_CLEAR}{self._progress}")

    def end_progress(self) -> None:
        """Keep the line of progress as it stands."""
        with self._writing:
            if self._progress:
                self._progress = ""
                self._write("\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError, AttributeError):
            # Nobody reads it, or it was closed.
            return


def log_to(handler: ForwardLog) -> None:
    """Let the lines of this package, from INFO on, go to `handler` and nowhere else."""
    for name in ("pytest_langfuse", "pytest_langfuse.tracing"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = name != "pytest_langfuse"
    logging.getLogger("pytest_langfuse").addHandler(handler)
    # librdkafka tells of what is wrong through its callbacks, too.
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL)
