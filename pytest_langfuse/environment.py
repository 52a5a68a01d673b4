"""Settings that a captured test needs and the application's environment lacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY, PLACEHOLDER_SECRET_KEY

_KEYS: Mapping[str, str] = {
    "LANGFUSE_PUBLIC_KEY": PLACEHOLDER_PUBLIC_KEY,
    "LANGFUSE_SECRET_KEY": PLACEHOLDER_SECRET_KEY,
}


def lacking() -> Mapping[str, str]:
    """Return the variables that name placeholder keys; none where the environment has a key."""
    return {} if any(name in os.environ for name in _KEYS) else _KEYS


class CapturedEnvironment(Mapping[str, str]):
    """The environment, and what it lacks for production tracing while `is_captured()`; `os.environ` stays as it is."""

    def __init__(self, is_captured: Callable[[], bool]) -> None:
        self._is_captured = is_captured

    def __getitem__(self, name: str) -> str:
        return self._whole()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def _whole(self) -> Mapping[str, str]:
        # An outage test waits for the timeout, once for each request.
        return {"LANGFUSE_TIMEOUT": "1", **lacking(), **os.environ} if self._is_captured() else os.environ


@contextmanager
def placeholder_keys() -> Iterator[None]:
    """Set placeholder keys inside the block, where the environment has none: ini `langfuse_env_keys`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lacking().items():
            patch.setenv(name, value)
        yield
