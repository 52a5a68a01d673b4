"""The types that the fields of lines have, read from the schema of lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from pytest_langfuse.arguments import shown

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def problem_of(row: Mapping[str, Any], needed: Iterable[str] = ()) -> str | None:
    """Return what is wrong with a field of a line, or `None`: a type, or that it lacks one that is `needed`.

    Fields and kinds that the schema does not have are those of later versions.
    """
    for name in needed:
        if name not in row:
            return f"{name!r} of the {row['kind']} is missing"
    for name, types in _fields().get(row["kind"], {}).items():
        if name in row and type(row[name]) not in types:
            return f"{name!r} of the {row['kind']} is {shown(row[name])}"
    return None


@cache
def _fields() -> Mapping[str, Mapping[str, frozenset[type]]]:
    """Return the types of the fields of each kind of line."""
    text = files("pytest_langfuse.report").joinpath("lines.schema.json").read_text(encoding="utf-8")
    kinds = json.loads(text)["$defs"]
    return {
        kind: {name: types for name, of_field in schema["properties"].items() if (types := _types_of(of_field))}
        for kind, schema in kinds.items()
    }


def _types_of(schema: Mapping[str, Any]) -> frozenset[type]:
    """Return the types of a field; none if it may have any, or one value only, which whoever reads it knows."""
    if "$ref" in schema:
        return frozenset((dict,))
    names = schema.get("type", "string" if "enum" in schema else ())
    # A subclass is none: true is not a number.
    return frozenset(one for name in ([names] if isinstance(names, str) else names) for one in _TYPES[name])
