"""The reference for `asserted`: the same tests with the SDK's own flush, and nothing read."""

from langfuse import Langfuse
from opentelemetry.trace import get_tracer_provider
from work import each_test, five_observations

from pytest_langfuse import Observations

langfuse = Langfuse()


@each_test
def test_flushed(number: int, langfuse_spans: Observations) -> None:
    """Make five observations and flush them."""
    five_observations(langfuse)
    get_tracer_provider().force_flush()  # type: ignore[attr-defined]
