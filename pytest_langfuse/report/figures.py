"""Counts, durations and amounts of money, written alike in the terminal, in summaries and on the page.

`page/assets/dom.js` writes them for the page's script, and a test compares both.
"""

from __future__ import annotations

import math
from typing import Any, Final

#: Smaller amounts have no digit among the first four.
_SMALL: Final = 0.0001
#: Smaller ones have an exponent.
_TINY: Final = 0.000001


def counted(number: float, noun: str) -> str:
    """Return a count with what is counted."""
    return f"{amount(number)} {noun}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """Return a count with its thousands apart."""
    return f"{number:,.0f}"


def money(dollars: float, *, estimated: bool = False) -> str:
    """Return an amount in US dollars; small ones with the digits that tell. An estimate says so."""
    if dollars >= 1 or not dollars:
        text = f"${dollars:,.2f}"
    else:
        # Two digits that tell.
        small = f"{dollars:.{1 - math.floor(math.log10(dollars))}f}" if dollars >= _TINY else f"{dollars:.1e}"
        text = f"${dollars:.4f}" if dollars >= _SMALL else f"${small}".replace("e-0", "e-")
    return f"{text} est." if estimated else text


def duration(seconds: Any) -> str:
    """Return a duration with its unit; empty for what is not a number."""
    if not isinstance(seconds, int | float):
        return ""
    if seconds < 0.0009995:  # noqa: PLR2004 - what is rounded up to a millisecond
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.00995:  # noqa: PLR2004 - to ten
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 0.9995:  # noqa: PLR2004 - to a second
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 59.995:  # noqa: PLR2004 - to a minute
        return f"{seconds:.2f} s"
    return f"{round(seconds) // 60} m {round(seconds) % 60} s"
