"""The option `--langfuse-outage`: the whole suite runs once under each fault."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_langfuse.arguments import shown
from pytest_langfuse.outage.faults import FAULTS, QUEUE_FAULTS
from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.standin.queue.extras import missing_queues
from pytest_langfuse.suggest import did_you_mean

#: The fault under which an item runs.
FAULT = pytest.StashKey[str]()


def parse_faults(text: str, source: str, *, queues: bool = False) -> Sequence[str]:
    """Return the faults in `text`: `hang,refused`, or `all`, with those of queues where spans go to `queues`.

    Raises:
        pytest.UsageError: an unknown fault, or none; names `source` and suggests a fault.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if "all" in names:
        return [*FAULTS, *QUEUE_FAULTS] if queues else list(FAULTS)
    known = [*FAULTS, *QUEUE_FAULTS]
    for name in names:
        if name not in known:
            raise pytest.UsageError(
                f"{source}: unknown fault {shown(name)}{did_you_mean(name, known)} (faults: all, {', '.join(known)})"
            )
        if name in QUEUE_FAULTS and (missing := missing_queues()) is not None:
            raise pytest.UsageError(f"{source}: {name} is a fault of a queue, and {missing}")
    if not names:
        raise pytest.UsageError(f"{source} needs the name of a fault, or all (faults: {', '.join(known)})")
    return list(dict.fromkeys(names))


def multiply(items: list[pytest.Item], faults: Sequence[str], marker: str) -> None:
    """Let each test run once under each fault, one fault after another.

    A test with an outage marker runs once, unchanged.
    """
    own = [item for item in items if item.get_closest_marker(marker) is not None]
    others = [item for item in items if item.get_closest_marker(marker) is None]
    items[:] = [_under(item, fault) for fault in faults for item in others] + own


class _Chosen(NamedTuple):
    """An argument of the command line: a file or folder, the rest of a test id, and a fault."""

    path: Path
    test: str
    fault: str | None

    def includes(self, item: pytest.Item) -> bool:
        """Return whether a test is, or is in, what the argument names, whatever its fault."""
        rest = item.nodeid.partition("::")[2]
        if not self.test:
            return item.path.is_relative_to(self.path)
        return item.path == self.path and (rest == self.test or rest.startswith((f"{self.test}[", f"{self.test}::")))


class ChosenTests:
    """The tests that the command line names with a fault, as the reports of a run do: `test_it.py::test_it[hang]`.

    `arguments` are those of the command line without these faults, for pytest to collect.
    """

    def __init__(self, arguments: Sequence[str], faults: Sequence[str], directory: Path) -> None:
        self.arguments: list[str] = []
        self._chosen: list[_Chosen] = []
        for argument in arguments:
            test, fault = without_fault(argument, faults) if "::" in argument else (argument, None)
            file, _, rest = test.partition("::")
            self.arguments.append(test)
            self._chosen.append(_Chosen(Path(os.path.abspath(directory / file)), rest, fault))  # noqa: PTH100 - links stay
        self._with_fault = [chosen for chosen in self._chosen if chosen.fault is not None]

    def spare_own_ids(self, items: Sequence[pytest.Item]) -> None:
        """Take `test_it[hang]` for the parameter of a test where it has one of that name. Call it before `multiply`."""
        ids = {(item.path, item.nodeid.partition("::")[2]) for item in items} if self._with_fault else set()
        for index, (path, test, fault) in enumerate(self._chosen):
            if fault is not None and (path, own := f"{test}[{fault}]") in ids:
                self._chosen[index] = _Chosen(path, own, None)

    def keep(self, item: pytest.Item) -> bool:
        """Return whether a test runs under its fault: unless it was named, and only with others."""
        fault = item.stash.get(FAULT, None)
        return not any(chosen.includes(item) for chosen in self._with_fault) or any(
            chosen.includes(item) and (chosen.fault is None or fault is None or fault == chosen.fault)
            for chosen in self._chosen
        )


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
