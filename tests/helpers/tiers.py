"""Which cases of a test run where: all in `make soak` and `make matrix`, those that differ in `make test`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

#: A further combination of what other cases show.
repeats = pytest.mark.exhaustive


def first_of(cases: Iterable[Any], count: int = 1, *, several: bool = False) -> list[Any]:
    """Return the cases for `parametrize`; those after the first `count` repeat them in other words.

    `several`: a case is a tuple, with a value for each of several parameters.
    """
    return _marked(enumerate(cases), lambda index: index >= count, several=several)


def only(shown: Iterable[Any], cases: Iterable[Any], *, several: bool = False) -> list[Any]:
    """Return the cases for `parametrize`; those that are not `shown` repeat what these show."""
    names = list(shown)
    return _marked(((case, case) for case in cases), lambda case: case not in names, several=several)


def _marked(cases: Iterable[tuple[Any, Any]], is_repeat: Callable[[Any], bool], *, several: bool) -> list[Any]:
    return [
        pytest.param(*(case if several else (case,)), marks=repeats if is_repeat(key) else ()) for key, case in cases
    ]
