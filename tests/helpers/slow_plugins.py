"""Plugins that runs of pytest in a subprocess do without, unless a test asks for them."""

import pytest

_NAMES = (
    "hypothesispytest",
    "inline_snapshot",
    "langsmith_plugin",
    "logfire",
    "pytest-bdd",
    "pytest_logfire",
    "respx",
    "syrupy",
)


def keep_out(patch: pytest.MonkeyPatch, *, needed: tuple[str, ...] = ()) -> None:
    """Let runs of pytest that are started from now on load none of them but those that are needed."""
    patch.setenv("PYTEST_ADDOPTS", " ".join(f"-p no:{name}" for name in _NAMES if name not in needed))
