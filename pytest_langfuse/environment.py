"""Environment variables for captured tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def environment() -> Iterator[None]:
    """Set the variables that a captured client needs and the environment lacks, inside the block.

    `LANGFUSE_TIMEOUT=1` keeps an outage test short, since a client keeps the timeout that it was built with. The keys
    let a client be built without secrets.
    """
    from pytest_langfuse.recording.placeholder import PLACEHOLDER_PUBLIC_KEY, PLACEHOLDER_SECRET_KEY

    values = {"LANGFUSE_TIMEOUT": "1"}
    if "LANGFUSE_PUBLIC_KEY" not in os.environ and "LANGFUSE_SECRET_KEY" not in os.environ:
        values["LANGFUSE_PUBLIC_KEY"] = PLACEHOLDER_PUBLIC_KEY
        values["LANGFUSE_SECRET_KEY"] = PLACEHOLDER_SECRET_KEY
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            if name not in os.environ:
                patch.setenv(name, value)
        yield
