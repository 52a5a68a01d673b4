"""Values that Langfuse's ingestion fails on. It then loses the whole export, which it had accepted before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_langfuse.recording.server_view.javascript import parse_json

#: Members of every JavaScript object: a look-up by one of these names finds a function.
OBJECT_MEMBERS: Final = frozenset(
    """
    constructor hasOwnProperty isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf __proto__
    __defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__
    """.split()  # noqa: SIM905 - a list would take a line a name
)


class UnconvertibleError(ValueError):
    """A value at which the server's code throws. The message completes "because …"."""


def payload(value: Any) -> Any:
    """Return the JSON in a text, an object or list unchanged, and `None` for anything else.

    (server, 2026-08: `parseJsonPayload`)
    """
    if isinstance(value, str):
        try:
            return parse_json(value)
        except ValueError:
            return None
    return value if isinstance(value, list | dict) else None


def member(value: Any, key: str) -> Any:
    """Return `value?.[key]`."""
    return value.get(key) if isinstance(value, Mapping) else None
