"""Counts, durations and amounts of money, written alike in the terminal, in summaries and on the page.

`page/assets/dom.js` writes them for the page's script, and a test compares both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

#: Of smaller amounts, the first four digits tell too little.
_SMALL: Final = 0.001
#: Smaller ones have an exponent; so have those from the second on, of which most digits tell nothing.
_TINY: Final = 0.000001
_HUGE: Final = 1e15
#: Half a microsecond, which is rounded up to one.
_LEAST: Final = 5e-7
#: With so many hours, a single one tells nothing.
_MANY: Final = 24_000
#: The number in a text.
_FIGURE: Final = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")
#: Halves are rounded up, as browsers do it, and not to the even digit.
_EXACT: Final = Context(prec=2_000, rounding=ROUND_HALF_UP)
_TWO_DIGITS: Final = Context(prec=2, rounding=ROUND_HALF_UP)


def counted(number: float, noun: str) -> str:
    """Return a count with what is counted."""
    return f"{amount(number)} {noun}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """Return a number with its thousands apart, and at most two digits behind the point."""
    if abs(number) >= _HUGE:
        return _with_exponent(number)
    text = f"{_fixed(number, 2):,f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def money(dollars: float, *, estimated: bool = False) -> str:
    """Return an amount in US dollars; small ones with the digits that tell. An estimate says so."""
    size = abs(dollars)
    if size >= _HUGE or 0 < size < _TINY:
        text = _with_exponent(size)
    elif size >= 0.99995 or not size:  # noqa: PLR2004 - what is rounded up to a dollar
        text = f"{_fixed(size, 2):,f}"
    elif size >= _SMALL:
        text = f"{_fixed(size, 4):f}"
    else:
        text = f"{_TWO_DIGITS.create_decimal(size):f}"
    return f"{'-' * (dollars < 0)}${text}{' est.' if estimated else ''}"


def told_apart(write: Callable[[float], str], one: float, other: float) -> tuple[str, str]:
    """Return two numbers as `write` writes them; the digits of two that differ are all there if they look alike."""
    texts = write(one), write(other)
    if one == other or texts[0] != texts[1]:
        return texts
    return _with_all_digits(write, one), _with_all_digits(write, other)


def _with_all_digits(write: Callable[[float], str], number: float) -> str:
    text = write(number)
    size = abs(number)
    digits = repr(size) if size >= _HUGE or 0 < size < _TINY else f"{Decimal(repr(size)):,f}"
    return _FIGURE.sub(digits.removesuffix(".0"), text, count=1)


def duration(seconds: Any) -> str:
    """Return a duration with its unit; empty for what is not a number.

    It is negative where a clock was set back.
    """
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return ""
    return f"-{_length(-seconds)}" if seconds <= -_LEAST else _length(seconds)


def _length(seconds: float) -> str:
    ms = seconds * 1e3
    if ms < 0.9995:  # noqa: PLR2004 - what is rounded up to a millisecond
        return f"{_whole(ms * 1e3)} µs"
    if ms < 999.5:  # noqa: PLR2004 - to a second
        return f"{_fixed(ms, 1 if ms < 9.95 else 0):f} ms"  # noqa: PLR2004 - to ten
    if ms < 59_995:  # noqa: PLR2004 - to a minute
        return f"{_fixed(ms / 1e3, 2):f} s"
    if (whole := _whole(seconds)) < 3_600:  # noqa: PLR2004 - an hour
        return f"{whole // 60} m {whole % 60} s"
    if (minutes := _whole(seconds / 60)) < 1_440:  # noqa: PLR2004 - a day
        return f"{minutes // 60} h {minutes % 60} m"
    hours = _whole(seconds / 3_600)
    return f"{hours // 24} d {hours % 24} h" if hours < _MANY else f"{amount(_whole(seconds / 86_400))} d"


def _whole(number: float) -> int:
    return math.floor(number + 0.5)


def _fixed(number: float, digits: int) -> Decimal:
    """Return a number with so many digits behind the point."""
    return Decimal(number).quantize(Decimal(1).scaleb(-digits), context=_EXACT)


def _with_exponent(number: float) -> str:
    """Return a number such as 1.2e-7."""
    digits, _, exponent = f"{_TWO_DIGITS.create_decimal(number):.1e}".partition("e")
    return f"{digits}e{int(exponent)}"
