"""The conditions that single parameters of a list stand for; `None` where nothing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

Row = TypeVar("Row")
Condition = Callable[[Row], bool]


def equal(read: Callable[[Row], Any], value: str | None) -> Condition[Row] | None:
    """Return the condition that a text is equal to `value`."""
    return None if value is None else lambda row: (read(row) or "") == value


def one_of(read: Callable[[Row], Any], values: Sequence[str] | None) -> Condition[Row] | None:
    """Return the condition that a text is one of `values`."""
    return None if values is None else lambda row: (read(row) or "") in values


def all_of(read: Callable[[Row], Any], values: Sequence[str] | None) -> Condition[Row] | None:
    """Return the condition that a list has all of `values`."""
    return None if values is None else lambda row: set(values) <= set(read(row))


def since(read: Callable[[Row], datetime], time: datetime | None) -> Condition[Row] | None:
    """Return the condition that a time is not before `time`."""
    return None if time is None else lambda row: read(row) >= time


def before(read: Callable[[Row], datetime], time: datetime | None) -> Condition[Row] | None:
    """Return the condition that a time is before `time`."""
    return None if time is None else lambda row: read(row) < time
