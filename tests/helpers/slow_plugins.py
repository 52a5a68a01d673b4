"""Plugins that runs of pytest in a subprocess do without, unless a test asks for them."""

import pytest

_NAMES = (
    "anyio",
    "hypothesispytest",
    "inline_snapshot",
    "langsmith_plugin",
    "logfire",
    "pytest-bdd",
    "pytest_logfire",
    "randomly",
    "rerunfailures",
    "respx",
    "syrupy",
)


def keep_out(patch: pytest.MonkeyPatch, *more: str) -> None:
    """Let runs of pytest from now on load none of them, nor `more`, but those that are named on the command line."""
    patch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in (*_NAMES, *more)))
