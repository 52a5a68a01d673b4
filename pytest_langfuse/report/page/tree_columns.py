"""The observations of a test as columns: what the tree shows of each row, without its details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

#: Columns of texts, of which few differ: numbers into the list of texts.
_TEXTS: Final = ("name", "type", "level", "model", "process", "thread", "reason", "trace")
#: What the columns hold is left out of the details.
_HELD: Final = frozenset(("kind", "test", "fault", "id", "parent", "type", "level", "trace", "start", "duration"))


class TreeColumns:
    """Collects the observations of one test, or of a part of one."""

    def __init__(self, first: int) -> None:
        #: The number of the first row of the details.
        self.first = first
        self._texts: dict[str, int] = {}
        self._columns: dict[str, list[Any]] = {name: [] for name in (*_TEXTS, "id", "parent", "start", "duration")}
        self._columns |= {"tokens": [], "cost": [], "estimated": []}
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._columns["id"])

    def add(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Add a row; return its details."""
        columns = self._columns
        for name in _TEXTS:
            columns[name].append(self._number_of(text_of(row.get(name))))
        if not row.get("exported", True) and not row.get("reason"):
            columns["reason"][-1] = self._number_of("not exported")
        identifier = text_of(row.get("id"))
        self._places[identifier] = len(self)
        columns["id"].append(identifier)
        columns["parent"].append(text_of(row.get("parent")) or -1)
        columns["start"].append(number_of(row.get("start")) or 0)
        duration = number_of(row.get("duration"))
        # Microseconds, as the start.
        columns["duration"].append(-1 if duration is None else round(duration * 1_000_000))
        columns["tokens"].append(total_of(row.get("usage")))
        columns["cost"].append(total_of(row.get("cost")))
        columns["estimated"].append(int(row.get("cost_estimated") is True))
        return {key: value for key, value in row.items() if key not in _HELD and _says_something(value)}

    def contents(self) -> dict[str, Any]:
        """Return the columns, times relative to the first start, parents as rows where these are here."""
        starts = self._columns["start"]
        origin = min(starts, default=0)
        columns = dict(self._columns)
        columns["start"] = [start - origin for start in starts]
        columns["parent"] = [self._places.get(parent, parent) for parent in columns["parent"]]
        return {"first": self.first, "origin": origin, "texts": list(self._texts), **columns}

    def _number_of(self, text: str) -> int:
        return self._texts.setdefault(text, len(self._texts))


def text_of(value: Any) -> str:
    """Return a value of a line that should be a text as one."""
    return value if isinstance(value, str) else "" if value is None else str(value)


def number_of(value: Any) -> float | None:
    """Return a value of a line if it is a number that can be drawn."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18  # noqa: PLR2004 - µs
    return value if usable else None


def total_of(amounts: Any) -> float | None:
    """Return the total of usage or cost: what is sent as one, else the sum."""
    if not isinstance(amounts, dict):
        return number_of(amounts)
    if (total := number_of(amounts.get("total"))) is not None:
        return total
    numbers = [number for amount in amounts.values() if (number := number_of(amount)) is not None]
    return sum(numbers) if numbers else None


def _says_something(value: Any) -> bool:
    return value is not None and value not in ("", {}, [])
