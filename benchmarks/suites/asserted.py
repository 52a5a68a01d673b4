"""Captured tests that count their observations, select one and compare the tree."""

from langfuse import Langfuse
from work import each_test, five_observations

from pytest_langfuse import Observations

langfuse = Langfuse()


@each_test
def test_asserted(number: int, langfuse_spans: Observations) -> None:
    """Make five observations and assert on them."""
    five_observations(langfuse)
    assert len(langfuse_spans) == 5
    assert langfuse_spans.one("generation llm").model == "gpt-4o"
    langfuse_spans.assert_tree("""
        span answer
          span plan
            retriever search
              span rank
                generation llm  model=gpt-4o
    """)
