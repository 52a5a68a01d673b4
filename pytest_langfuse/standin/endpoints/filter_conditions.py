"""The `filter` parameter of lists: a JSON array of conditions on columns (`interfaces/filters.ts` of the server)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx

from pytest_langfuse.standin.endpoints.api_call import Issue, invalid_data, invalid_request
from pytest_langfuse.standin.endpoints.query_values import json_of, not_one_of, read_date

Row = TypeVar("Row")
#: How each column of a list is read from one of its rows.
Columns = Mapping[str, Callable[[Row], Any]]

_TEXT: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": operator.eq,
    "contains": lambda text, part: part in text,
    "does not contain": lambda text, part: part not in text,
    "starts with": str.startswith,
    "ends with": str.endswith,
}
_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_NUMBER: Final = {"=": operator.eq, **_ORDER}
_EQUALITY: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"=": operator.eq, "<>": operator.ne}
_OPTIONS: Final[Mapping[str, Callable[[set[str], set[str]], bool]]] = {
    "any of": lambda there, wanted: bool(there & wanted),
    "none of": lambda there, wanted: not there & wanted,
}
_ARRAY: Final = {**_OPTIONS, "all of": lambda there, wanted: wanted <= there}
_NULL: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "is null": lambda value, _: value in (None, ""),
    "is not null": lambda value, _: value not in (None, ""),
}
#: The operators of each type of condition.
_OPERATORS: Final[Mapping[str, Mapping[str, Callable[..., bool]]]] = {
    "datetime": _ORDER,
    "string": _TEXT,
    "number": _NUMBER,
    "stringOptions": _OPTIONS,
    "categoryOptions": _OPTIONS,
    "arrayOptions": _ARRAY,
    "stringObject": _TEXT,
    "numberObject": _NUMBER,
    "booleanObject": _EQUALITY,
    "boolean": _EQUALITY,
    "null": _NULL,
}
_WITH_KEY: Final = ("categoryOptions", "stringObject", "numberObject", "booleanObject")
_TAKES: Final[Mapping[str, tuple[str, type | tuple[type, ...]]]] = {
    "datetime": ("date", str),
    "string": ("string", str),
    "stringObject": ("string", str),
    "number": ("number", (int, float)),
    "numberObject": ("number", (int, float)),
    "boolean": ("boolean", bool),
    "booleanObject": ("boolean", bool),
    "stringOptions": ("array", list),
    "categoryOptions": ("array", list),
    "arrayOptions": ("array", list),
}


@dataclass(frozen=True, slots=True)
class FilterCondition(Generic[Row]):
    """One condition on one column, or on the entry `key` of a column that holds an object."""

    type: str
    column: str
    operator: str
    value: Any
    key: str | None
    read: Callable[[Row], Any]

    def holds(self, row: Row) -> bool:
        """Return whether a row fulfils the condition. A number, time or flag that is not there fulfils none."""
        value = self.read(row)
        compare = _OPERATORS[self.type][self.operator]
        if self.type == "null":
            return compare(value, None)
        if self.type in _WITH_KEY:
            value = value.get(self.key) if isinstance(value, Mapping) else None
        if self.type in {"string", "stringObject"}:
            return compare("" if value is None else str(value), self.value)
        if self.type in {"stringOptions", "arrayOptions", "categoryOptions"}:
            there = set(map(str, value)) if isinstance(value, list | tuple) else {"" if value is None else str(value)}
            return compare(there, set(self.value))
        if isinstance(value, list):
            return any(compare(item, self.value) for item in value)
        return value is not None and compare(value, self.value)


def conditions_of(query: httpx.QueryParams, columns: Columns[Row]) -> list[FilterCondition[Row]]:
    """Return the conditions of `filter`.

    Raises:
        Refusal: it is not JSON, a condition has not the form that its type needs, or there is no such column.
    """
    conditions = json_of(query, "filter")
    if conditions is None:
        return []
    if not isinstance(conditions, list):
        raise invalid_data(Issue(("filter",), "Invalid input: expected array", "invalid_type"))
    for index, condition in enumerate(conditions):
        _check(condition, ("filter", index))
    # The position in a trace is for evaluators; lists ignore it, as in Langfuse.
    return [_condition(condition, columns) for condition in conditions if condition["type"] != "positionInTrace"]


def _check(condition: Any, path: tuple[str | int, ...]) -> None:
    if not isinstance(condition, dict):
        raise invalid_data(Issue(path, "Invalid input: expected object", "invalid_type"))
    kind = condition.get("type")
    if kind == "positionInTrace":
        return
    if not isinstance(kind, str) or kind not in _OPERATORS:
        raise invalid_data(Issue((*path, "type"), "Invalid input", "invalid_union"))
    for name in ("column", "key") if kind in _WITH_KEY else ("column",):
        if not isinstance(condition.get(name), str):
            raise invalid_data(Issue((*path, name), "Invalid input: expected string", "invalid_type"))
    if condition.get("operator") not in _OPERATORS[kind]:
        raise not_one_of((*path, "operator"), tuple(_OPERATORS[kind]))
    if kind != "null":
        _check_value(kind, condition["operator"], condition.get("value"), (*path, "value"))


def _check_value(kind: str, comparison: str, value: Any, path: tuple[str | int, ...]) -> None:
    expected, types = _TAKES[kind]
    fits = isinstance(value, types) and (not isinstance(value, bool) or expected == "boolean")
    if kind == "datetime":
        fits = read_date(value) is not None
    elif isinstance(value, list):
        fits = all(isinstance(part, str) for part in value)
        if not value and (kind == "stringOptions" or (kind == "arrayOptions" and comparison == "any of")):
            raise invalid_data(Issue(path, "Invalid input"))
    if not fits:
        raise invalid_data(Issue(path, f"Invalid input: expected {expected}", "invalid_type"))


def _condition(condition: Mapping[str, Any], columns: Columns[Row]) -> FilterCondition[Row]:
    kind, name = condition["type"], condition["column"]
    read = columns.get(name)
    if read is None:
        raise invalid_request(f"Column {name} does not match a UI / CH table mapping.")
    value: Any = condition.get("value")
    if kind == "datetime":
        value = read_date(value)
    return FilterCondition(kind, name, condition["operator"], value, condition.get("key"), read)


def filtered(
    rows: Sequence[Row],
    query: httpx.QueryParams,
    columns: Columns[Row],
    simple: Mapping[str, Callable[[Row], bool] | None],
) -> list[Row]:
    """Return the rows that fulfil `filter` and the `simple` conditions.

    The keys of `simple` are columns; for a column that `filter` names, only its conditions there count.
    """
    conditions = conditions_of(query, columns)
    named = {condition.column for condition in conditions}
    tests = [test for column, test in simple.items() if test is not None and column.split(":")[0] not in named]
    return [
        row
        for row in rows
        if all(test(row) for test in tests) and all(condition.holds(row) for condition in conditions)
    ]
