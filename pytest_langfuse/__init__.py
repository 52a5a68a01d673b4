"""Prove that your Langfuse traces are right.

Everything here is loaded when it is first used: importing the package, as pytest does at each start, imports
neither `langfuse` nor `opentelemetry` nor `httpx`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_langfuse.expect.errors import LiteralError, TreeMismatch
    from pytest_langfuse.expect.observations import Observations
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.recording.trace import Trace

__all__ = ["LiteralError", "Observation", "Observations", "Trace", "TreeMismatch"]

_HOMES = {
    "LiteralError": "pytest_langfuse.expect.errors",
    "Observation": "pytest_langfuse.recording.observation",
    "Observations": "pytest_langfuse.expect.observations",
    "Trace": "pytest_langfuse.recording.trace",
    "TreeMismatch": "pytest_langfuse.expect.errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
