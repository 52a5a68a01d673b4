"""As `captured`, and each test looks at its tree."""

from langfuse import Langfuse
from work import each_test, five_observations

from pytest_langfuse import Observations

langfuse = Langfuse()


@each_test
def test_asserted(number: int, langfuse_spans: Observations) -> None:
    """Five observations, and their tree."""
    five_observations(langfuse)
    langfuse_spans.assert_tree("""
        span answer
          span plan
            retriever search
              span rank
                generation llm  model=gpt-4o
    """)
