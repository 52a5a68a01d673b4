"""Numbers with what they count, as a sentence has them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return `1 test`, `2 tests`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
