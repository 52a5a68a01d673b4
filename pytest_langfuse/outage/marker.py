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


def variants(markers: Iterable[pytest.Mark]) -> Sequence[Variant]:
    """One entry for each run of the test: a fault of each marker, which are in force together.

    Raises `pytest.UsageError` for a marker without a fault.
    """
    alternatives = [[(fault, marker.kwargs) for fault in _faults(marker)] for marker in markers]
    return list(itertools.product(*alternatives))


def identity(variant: Variant) -> str:
    """The id of a run: `refused`, `hang+http_503`."""
    return "+".join(str(fault) for fault, _ in variant)


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Run a test once under each of several faults."""
    runs = variants(metafunc.definition.iter_markers(NAME))
    if len(runs) > 1:
        metafunc.fixturenames.append(_PARAMETER)
        metafunc.parametrize(_PARAMETER, runs, ids=[identity(run) for run in runs])


def outages_of(item: pytest.Item) -> list[Outage]:
    """The outages that the markers of a test ask for.

    Raises `pytest.UsageError` for an unknown fault or option, with a suggestion.
    """
    markers = list(item.iter_markers(NAME))
    if not markers:
        return []
    callspec = getattr(item, "callspec", None)
    runs = variants(markers)
    if callspec is not None and _PARAMETER in callspec.params:
        run = callspec.params[_PARAMETER]
    elif len(runs) == 1:
        run = runs[0]
    else:
        raise pytest.UsageError(f"marker {NAME}: a method of unittest.TestCase can run under one fault only")
    return [_outage(fault, options) for fault, options in run]


def _outage(fault: str, options: Mapping[str, Any]) -> Outage:
    try:
        return Outage.of(fault, **options)
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(f"marker {NAME}: {error}") from None


def _faults(marker: pytest.Mark) -> Sequence[str]:
    if not marker.args:
        raise pytest.UsageError(f'marker {NAME} needs the name of a fault, such as {NAME}("hang")')
    return marker.args
