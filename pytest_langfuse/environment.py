"""Environment variables for captured tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: A closed port of this machine: a subprocess that builds its own client ends up here, not at Langfuse.
_NOWHERE = "http://127.0.0.1:9"


@contextmanager
def environment(*, everywhere: bool) -> Iterator[None]:
    """Set the variables that a captured client needs and the environment lacks, inside the block.

    `LANGFUSE_TIMEOUT=1` keeps an outage test short, since a client keeps the timeout that it was built with. The keys
    let a client be built without secrets. `everywhere` also keeps subprocesses away from the real Langfuse.
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
        if everywhere:
            patch.setenv("LANGFUSE_BASE_URL", _NOWHERE)
            patch.setenv("LANGFUSE_HOST", _NOWHERE)
        yield
