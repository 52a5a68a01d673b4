"""Tests that do nothing."""

from work import each_test


@each_test
def test_nothing(number: int) -> None:
    """Nothing."""
