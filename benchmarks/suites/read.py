"""Captured tests that read the names of their observations."""

from langfuse import Langfuse
from work import each_test, five_observations

from pytest_langfuse import Observations

langfuse = Langfuse()


@each_test
def test_read(number: int, langfuse_spans: Observations) -> None:
    """Five observations, read."""
    five_observations(langfuse)
    assert [observation.name for observation in langfuse_spans] == ["answer", "plan", "search", "rank", "llm"]
