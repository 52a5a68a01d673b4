"""Totals of usage and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def total(details: Mapping[str, Any]) -> float:
    """Return the total of usage or cost details; NaN if one of them is not a number."""
    values = [details["total"]] if details.get("total") is not None else list(details.values())
    try:
        return math.fsum(float(value) for value in values if value is not None)
    except (TypeError, ValueError, OverflowError):
        return math.nan
