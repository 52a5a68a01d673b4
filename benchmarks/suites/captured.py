"""An ordinary application, to be run with `--langfuse-capture`."""

from langfuse import Langfuse
from work import each_test, five_observations

langfuse = Langfuse()


@each_test
def test_captured(number: int) -> None:
    """Five observations."""
    five_observations(langfuse)
