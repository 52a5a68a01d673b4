"""The observations of a test as columns: what the tree shows of each row, without its details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.report.amounts import number_of, total

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
        columns["parent"].append(text_of(row.get("parent")) or None)
        columns["start"].append(time_of(row.get("start")) or 0)
        duration = time_of(row.get("duration"))
        # Microseconds, as the start.
        columns["duration"].append(None if duration is None else round(duration * 1_000_000))
        columns["tokens"].append(_total_of(row.get("usage")))
        columns["cost"].append(_total_of(row.get("cost")))
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


def time_of(value: Any) -> float | None:
    """Return a value of a line if it is a time that can be drawn, in seconds or microseconds."""
    number = number_of(value)
    return None if number is None or abs(number) >= 1e18 else number  # noqa: PLR2004 - the digits of a browser


def _total_of(amounts: Any) -> float | None:
    return number_of(total(amounts)) if isinstance(amounts, dict) and amounts else None


def _says_something(value: Any) -> bool:
    return value is not None and value not in ("", {}, [])
