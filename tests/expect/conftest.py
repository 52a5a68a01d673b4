"""Failure texts as they are where no terminal is: not cut to the columns of the one that runs the tests."""

from collections.abc import Iterator

import pytest

from pytest_langfuse.expect.text.style import configure


@pytest.fixture(autouse=True)
def _plain_style() -> Iterator[None]:
    restore = configure()
    yield
    restore()
