"""The header `Retry-After` (RFC 9110, section 10.2.3)."""

from __future__ import annotations

import email.utils
import math
import time


def seconds_to_wait(value: str) -> float | None:
    """Return the seconds that either form of the header asks for, without a limit; `None` if it can't be read."""
    value = value.strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)
