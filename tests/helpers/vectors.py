"""The vectors of `tests/golden`, and how a view of ours is compared with one of the server's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.helpers.paths import GOLDEN

NAMES = sorted(path.name.removesuffix(".otlp.bin") for path in GOLDEN.glob("*.otlp.bin"))
#: Bodies of other instrumentations and SDK versions.
INSTRUMENTATIONS = sorted(
    f"instrumentations/{path.name.removesuffix('.otlp.bin')}"
    for path in (GOLDEN / "instrumentations").glob("*.otlp.bin")
)

OBSERVATION = {
    "id": "id",
    "traceId": "trace_id",
    "parentObservationId": "parent_id",
    "type": "type",
    "name": "name",
    "level": "level",
    "statusMessage": "status_message",
    "userId": "user_id",
    "sessionId": "session_id",
    "tags": "tags",
    "environment": "environment",
    "version": "version",
    "release": "release",
    "model": "model",
    "modelParameters": "model_parameters",
    "usageDetails": "usage",
    "costDetails": "cost",
    "promptName": "prompt_name",
    "promptVersion": "prompt_version",
    "input": "input",
    "output": "output",
    "metadata": "metadata",
    "isRoot": "is_root",
    "isAppRoot": "is_app_root",
}
TRACE = {
    "id": "id",
    "name": "name",
    "userId": "user_id",
    "sessionId": "session_id",
    "tags": "tags",
    "environment": "environment",
    "version": "version",
    "release": "release",
    "input": "input",
    "output": "output",
    "metadata": "metadata",
    "usageDetails": "usage",
    "costDetails": "cost",
    "totalCost": "total_cost",
    "level": "level",
}


def body(name: str) -> bytes:
    return (GOLDEN / f"{name}.otlp.bin").read_bytes()


def view(name: str) -> dict[str, list[dict[str, Any]]]:
    return json.loads((GOLDEN / f"{name}.view.json").read_text(encoding="utf-8"))


def differences(expected: Sequence[Mapping[str, Any]], found: Sequence[Any], fields: Mapping[str, str]) -> list[str]:
    """Every field in which ours differs from the server's, by id."""
    return list(_differences(expected, {item.id: item for item in found}, fields))


def _differences(
    expected: Sequence[Mapping[str, Any]], found: Mapping[str, Any], fields: Mapping[str, str]
) -> Iterator[str]:
    if missing := {item["id"] for item in expected} ^ found.keys():
        yield f"ids: {missing}"
    for item in expected:
        for theirs, ours in fields.items():
            wanted = item[theirs].lower() if theirs == "type" else item[theirs]
            got = getattr(found[item["id"]], ours)
            if not same(wanted, got) and not (_empty(wanted) and _empty(got)):
                yield f"{item['name']}: {theirs} is {got!r}, the server has {wanted!r}"


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: `True` is not 1, which it is for Python. Values may be nested hundreds deep."""
    waiting = [(one, other)]
    while waiting:
        one, other = waiting.pop()
        if isinstance(one, bool) or isinstance(other, bool):
            if one is not other:
                return False
        elif isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            waiting += ((value, other[key]) for key, value in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            waiting += zip(one, other, strict=True)
        elif one != other:
            return False
    return True


def _empty(value: Any) -> bool:
    return value is None or value in ({}, [], "")
