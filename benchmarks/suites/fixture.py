"""Tests that ask for a fixture and do nothing."""

import pytest
from work import each_test


@pytest.fixture
def something() -> object:
    """Return an object."""
    return object()


@each_test
def test_nothing(number: int, something: object) -> None:
    """Nothing."""
