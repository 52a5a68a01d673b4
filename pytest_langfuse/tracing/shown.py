"""Values in messages: short, on one line, without secrets."""

from __future__ import annotations

import re

#: A secret key, and what stands before the host in an address.
_SECRET = re.compile(r"\bsk-[\w-]+|(?<=://)[^/\s]*(?=@)")
_LONGEST = 100


def shown(value: object) -> str:
    """Return the `repr` of a value for a message, cut where it is long; a secret in it is masked."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - an integer of thousands of digits has none, nor has an object that is broken
        text = f"<{type(value).__name__}>"
    text = _SECRET.sub("***", text)
    if not text.isprintable():
        text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
