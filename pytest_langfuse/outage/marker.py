"""The marker `langfuse_outage`: the outages under which a test runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest

from pytest_langfuse.outage.outage import Outage

NAME = "langfuse_outage"
_PARAMETER = "_langfuse_outage"

#: Faults that are active at the same time, with their options.
Variant = Sequence[tuple[str, Mapping[str, Any]]]


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test once under each of several faults.

    Fails the collection of the module if a marker is invalid: before any test runs, and without a traceback, which
    would show no line of the test.
    """
    definition = metafunc.definition
    runs = _variants(definition.iter_markers(NAME), definition.nodeid)
    for run in runs:
        _outages(run, definition.nodeid)
    if len(runs) > 1:
        metafunc.fixturenames.append(_PARAMETER)
        metafunc.parametrize(_PARAMETER, runs, ids=["+".join(fault for fault, _ in run) for run in runs])


def outages_of(item: pytest.Item) -> list[Outage]:
    """Return the outages that the markers of a test ask for. Fails the test if a marker is invalid."""
    markers = list(item.iter_markers(NAME))
    if not markers:
        return []
    callspec = getattr(item, "callspec", None)
    if callspec is not None and _PARAMETER in callspec.params:
        return _outages(callspec.params[_PARAMETER], item.nodeid)
    # pytest does not call `parametrize` for methods of unittest.TestCase and items of other plugins.
    runs = _variants(markers, item.nodeid)
    if len(runs) > 1:
        raise _refusal(
            item.nodeid,
            f"{NAME}: a method of unittest.TestCase can run under one fault only: write one method for each fault, "
            "or a function",
        )
    return _outages(runs[0], item.nodeid)


def _variants(markers: Iterable[pytest.Mark], test: str) -> Sequence[Variant]:
    """Return an entry for each run of the test: one fault of each marker, active at the same time."""
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
