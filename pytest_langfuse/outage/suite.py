"""The option `--langfuse-outage`: the whole suite runs once under each fault."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest

from pytest_langfuse.outage.faults import FAULTS
from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.suggest import did_you_mean

#: The fault under which an item runs.
FAULT = pytest.StashKey[str]()


def parse_faults(text: str, source: str) -> Sequence[str]:
    """Return the faults in `text`: `hang,refused`, or `all`.

    Raises:
        pytest.UsageError: an unknown fault, or none; names `source` and suggests a fault.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if "all" in names:
        return list(FAULTS)
    for name in names:
        if name not in FAULTS:
            raise pytest.UsageError(
                f"{source}: unknown fault {name!r}{did_you_mean(name, FAULTS)} (faults: all, {', '.join(FAULTS)})"
            )
    if not names:
        raise pytest.UsageError(f"{source} needs the name of a fault, or all (faults: {', '.join(FAULTS)})")
    return list(dict.fromkeys(names))


def multiply(items: list[pytest.Item], faults: Sequence[str], marker: str) -> None:
    """Let each test run once under each fault, one fault after another.

    A test with an outage marker runs once, unchanged.
    """
    own = [item for item in items if item.get_closest_marker(marker) is not None]
    others = [item for item in items if item.get_closest_marker(marker) is None]
    items[:] = [_under(item, fault) for fault in faults for item in others] + own


def outages_of_suite(item: pytest.Item) -> list[Outage]:
    """Return the outage that a test runs under because the whole suite does, if it has one."""
    fault = item.stash.get(FAULT, None)
    # A test that sends nothing is not affected, and need not reach the outage.
    return [Outage.of(fault, required=False)] if fault is not None else []


def _under(item: pytest.Item, fault: str) -> pytest.Item:
    # pytest has no public way to run an item twice; everything that a run writes to is replaced.
    twin = copy.copy(item)
    twin.stash = pytest.Stash()
    twin._report_sections = []  # noqa: SLF001
    twin.user_properties = []
    twin.stash[FAULT] = fault
    if isinstance(twin, pytest.Function):
        twin._initrequest()  # noqa: SLF001
    return twin
