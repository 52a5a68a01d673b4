"""Outage tests: each makes an observation and flushes it, under all faults but those that last as long as a timeout."""

import pytest
from langfuse import get_client, observe

from pytest_langfuse import Observations
from pytest_langfuse.outage.faults import FAULTS
from pytest_langfuse.outage.outage_control import OutageControl


@observe()
def answer(question: str) -> str:
    """The application."""
    return f"{question} Because."


@pytest.mark.langfuse_outage(*(name for name in FAULTS if name not in {"hang", "drip"}))
@pytest.mark.parametrize("number", range(10))
def test_answers_anyway(
    langfuse_spans: Observations, langfuse_outage: OutageControl, number: int, request: pytest.FixtureRequest
) -> None:
    """The application answers, and Langfuse was asked."""
    # Every second request meets `flapping`.
    for _ in range(2 if "flapping" in request.node.name else 1):
        assert answer(f"Why {number}?") == f"Why {number}? Because."
        get_client().flush()
    langfuse_spans.assert_contains("span answer")
    assert langfuse_outage.attempts >= 1
