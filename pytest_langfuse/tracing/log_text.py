"""Text from outside that goes into a log: nobody must forge lines with it, fill a disk, or print a secret."""

from __future__ import annotations

import logging
import re
from collections import deque

#: Characters that are looked at, at most: secrets are masked before the text is cut.
_LOOKED_AT = 10_000
#: Of the SDK's own lines, which have some text of ours around what is from outside.
_LONGEST_LINE = 1_000
_SECRET_KEY = re.compile(r"\bsk-[\w-]{4,}")
#: Shorter values are found in any text.
_SHORTEST_SECRET = 6
_MASK = "***"

_known: deque[str] = deque(maxlen=64)


def mask_in_logs(*secrets: str | None) -> None:
    """Mask these values in all logs from now on, beside what looks like a secret key."""
    _known.extend(secret for secret in secrets if secret and len(secret) >= _SHORTEST_SECRET and secret not in _known)


def readable(text: str, longest: int = 200) -> str:
    """Return the text in one line of printable characters, with known secrets masked, cut to `longest` characters."""
    text = text[:_LOOKED_AT]
    for secret in tuple(_known):
        text = text.replace(secret, _MASK)
    text = _SECRET_KEY.sub(_MASK, text).strip()
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escaped(one) for one in text[: longest + 1])
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class ReadableRecords(logging.Filter):
    """Makes what the SDK logs readable: it prints answers and errors of a server as they came."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Print the record, with its message in one line."""
        if record.levelno >= logging.WARNING:
            record.msg, record.args = readable(record.getMessage(), _LONGEST_LINE), None
        return True
