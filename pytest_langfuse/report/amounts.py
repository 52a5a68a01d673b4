"""Numbers that are added up: usage and cost."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

#: In place of a sum that is larger.
_LARGEST: Final = sys.float_info.max
_SCALE: Final = 2.0**64


def total(details: Mapping[str, Any]) -> float:
    """Return the total of usage or cost details; NaN if one of them is not a number, as `True` is not."""
    values = [details["total"]] if details.get("total") is not None else list(details.values())
    if any(isinstance(value, bool) for value in values):
        return math.nan
    try:
        found = math.fsum(float(value) for value in values if value is not None)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def number_of(value: Any) -> float | None:
    """Return a value if it is a number that can be added up."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None


def summed(values: Iterable[float | None]) -> float | None:
    """Return the sum of the numbers, and `None` if there is none: neither NaN nor infinity is one."""
    numbers = [number for value in values if (number := number_of(value)) is not None]
    if not numbers:
        return None
    try:
        return math.fsum(numbers)
    except OverflowError:
        # An intermediate sum was too large, if not the whole of it.
        whole = math.fsum(number / _SCALE for number in numbers) * _SCALE
        return max(-_LARGEST, min(_LARGEST, whole))
