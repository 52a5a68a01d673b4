"""`@pytest.mark.langfuse_outage`: which outages a test is to run under."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from pytest_langfuse.outage.outage import Outage

NAME = "langfuse_outage"
_PARAMETER = "_langfuse_outage"

#: Faults with their options that are in force together.
Variant = Sequence[tuple[str, Mapping[str, Any]]]


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test once under each of several faults.

    Fails the collection of its module for a marker that makes no outage: before any test has run, and without a
    traceback, which would show no line of the test.
    """
    definition = metafunc.definition
    runs = _variants(definition.iter_markers(NAME), definition.nodeid)
    for run in runs:
        _outages(run, definition.nodeid)
    if len(runs) > 1:
        metafunc.fixturenames.append(_PARAMETER)
        metafunc.parametrize(_PARAMETER, runs, ids=["+".join(fault for fault, _ in run) for run in runs])


def outages_of(item: pytest.Item) -> list[Outage]:
    """The outages that the markers of a test ask for. Fails the test if a marker makes none."""
    markers = list(item.iter_markers(NAME))
    if not markers:
        return []
    callspec = getattr(item, "callspec", None)
    if callspec is not None and _PARAMETER in callspec.params:
        return _outages(callspec.params[_PARAMETER], item.nodeid)
    # Of methods of unittest.TestCase and of items of other plugins nobody asks `parametrize`.
    runs = _variants(markers, item.nodeid)
    if len(runs) > 1:
        raise _refusal(
            item.nodeid,
            f"{NAME}: a method of unittest.TestCase can run under one fault only: write one for each, or a function",
        )
    return _outages(runs[0], item.nodeid)


def _variants(markers: Iterable[pytest.Mark], test: str) -> Sequence[Variant]:
    """One entry for each run of the test: a fault of each marker, which are in force together."""
    alternatives = []
    for marker in markers:
        if not marker.args:
            raise _refusal(test, f'{NAME} needs the name of a fault, such as {NAME}("hang")')
        alternatives.append([(fault, marker.kwargs) for fault in marker.args])
    return list(itertools.product(*alternatives))


def _outages(run: Variant, test: str) -> list[Outage]:
    try:
        return [Outage.of(fault, **options) for fault, options in run]
    except (TypeError, ValueError) as error:
        raise _refusal(test, str(error)) from None


def _refusal(test: str, message: str) -> BaseException:
    return pytest.fail.Exception(f"{test}: {message}", pytrace=False)
