"""An application whose client sends to nowhere: what the observations themselves cost."""

from langfuse import Langfuse
from work import NullExporter, each_test, five_observations

langfuse = Langfuse(span_exporter=NullExporter())


@each_test
def test_observations(number: int) -> None:
    """Five observations."""
    five_observations(langfuse)
