"""An application under test for each test of this folder."""

import pytest

from pytest_langfuse.report import changed_figures
from tests.helpers.application import _no_keys, app

__all__ = ["_no_keys", "any_duration", "app"]


@pytest.fixture
def any_duration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durations don't differ in comparisons: on a busy machine they do."""
    monkeypatch.setattr(changed_figures, "_SECONDS", 600)
