"""Settings of the services from environment variables. `init_tracing` reads Langfuse's own variables."""

from __future__ import annotations

import os


def setting(name: str) -> str:
    """Return a setting. Raise `RuntimeError`, which names it, if it is missing."""
    if value := os.environ.get(name):
        return value
    raise RuntimeError(f"set {name} in the environment")
