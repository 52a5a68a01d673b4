"""What the services need to know, from environment variables. Langfuse's own are read by `init_tracing`."""

from __future__ import annotations

import os


def setting(name: str) -> str:
    """A setting; a missing one is a `RuntimeError` that names it."""
    if value := os.environ.get(name):
        return value
    raise RuntimeError(f"set {name} in the environment")
