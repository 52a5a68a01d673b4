"""The names that the package exports."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_langfuse

HEAVY = ("langfuse", "opentelemetry", "httpx", "pytest_langfuse.expect", "pytest_langfuse.recording")


def test_exports():
    assert pytest_langfuse.__all__ == ["LiteralError", "Observation", "Observations", "Trace", "TreeMismatch"]
    assert set(pytest_langfuse.__all__) <= set(dir(pytest_langfuse))
    for name in pytest_langfuse.__all__:
        assert getattr(pytest_langfuse, name).__name__ == name
    assert issubclass(pytest_langfuse.TreeMismatch, AssertionError)
    assert issubclass(pytest_langfuse.LiteralError, ValueError)
    with pytest.raises(AttributeError, match="module 'pytest_langfuse' has no attribute 'Observatoin'"):
        _ = pytest_langfuse.Observatoin


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, pytest_langfuse; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_assertions_need_neither_the_sdk_nor_a_client():
    """Traces in files are read without Langfuse's SDK: what is imported is OpenTelemetry's at most."""
    code = (
        "import sys; from pytest_langfuse import Observations; print('langfuse' in sys.modules, 'httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
