"""The option `--langfuse-outage`: the whole suite runs once under each fault."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_langfuse.arguments import shown
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
                f"{source}: unknown fault {shown(name)}{did_you_mean(name, FAULTS)} (faults: all, {', '.join(FAULTS)})"
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


def without_fault(test: str, faults: Sequence[str]) -> tuple[str, str | None]:
    """Return the id of a test and the fault in `test_it[hang]`; of any other id itself and `None`."""
    name, at, group = test.rpartition("@")
    if not at or "]" in group:
        name, at, group = test, "", ""
    for fault in faults:
        if name.endswith(f"[{fault}]"):
            return name.removesuffix(f"[{fault}]") + at + group, fault
    return test, None


def _under(item: pytest.Item, fault: str) -> pytest.Item:
    # pytest has no public way to run an item twice; everything that a run writes to is replaced.
    twin = copy.copy(item)
    # Schedulers of xdist, rerunfailures and pytest's cache know a test by its id.
    _rename(twin, fault)
    twin.stash = pytest.Stash()
    twin._report_sections = []  # noqa: SLF001
    twin.user_properties = []
    twin.stash[FAULT] = fault
    if isinstance(twin, pytest.Function):
        twin._initrequest()  # noqa: SLF001
        if isinstance(twin.parent, pytest.Class):
            # Each test gets an object of its class.
            for name in ("_instance", "_obj"):
                vars(twin).pop(name, None)
    return twin


def _rename(item: pytest.Item, fault: str) -> None:
    renamed: Any = item
    path, line, domain = item.location
    vars(item)["location"] = path, line, f"{domain}[{fault}]"
    # `--dist loadgroup` of xdist looks for the group at the end.
    name, at, group = item.nodeid.rpartition("@") if item.get_closest_marker("xdist_group") else (item.nodeid, "", "")
    nodeid = f"{name}[{fault}]{at}{group}" if at else f"{item.nodeid}[{fault}]"
    if hasattr(item, "id"):
        renamed._id = type(item.id).parse(nodeid)  # noqa: SLF001 - since pytest 9.2
    else:
        renamed._nodeid = nodeid  # noqa: SLF001
