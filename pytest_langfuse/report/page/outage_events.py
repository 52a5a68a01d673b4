"""The events of an outage as sentences: for readers who can't see its timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_langfuse.report.amounts import number_of
from pytest_langfuse.report.figures import amount, counted, duration
from pytest_langfuse.report.page.tree_columns import text_of, time_of

#: Events of a test that are kept.
_MOST: Final = 300
_COUNTS: Final = ("buffered", "exported", "dropped")


def events_of(outage: Mapping[str, Any]) -> list[list[str]]:
    """Return the time of each event, since the outage has begun, with what happened then."""
    found = sorted(_events(outage), key=lambda event: event[0])
    begun = time_of(outage.get("begun"))
    if begun is None:
        begun = found[0][0] if found else 0
    shown = [[_since(at - begun), text] for at, text in found[:_MOST]]
    return [*shown, ["", f"and {counted(len(found) - _MOST, 'more event')}"]] if len(found) > _MOST else shown


def _since(microseconds: float) -> str:
    return duration(microseconds / 1e6)


def _events(outage: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    names = outage.get("faults")
    faults = ", ".join(map(text_of, names)) if isinstance(names, list) else ""
    for name, verb in (("begun", "begins"), ("ended", "ends")):
        if (at := time_of(outage.get(name))) is not None:
            yield at, f"the outage {faults} {verb}"
    for at, request in _rows(outage, "requests", "start"):
        lasted = time_of(request.get("duration"))
        how = "no answer" if lasted is None else duration(lasted)
        yield at, f"request {text_of(request.get('path'))}: {text_of(request.get('result'))}, {how}"
    for at, change in _rows(outage, "breaker", "at"):
        states = f"{text_of(change.get('before'))} -> {text_of(change.get('state'))}"
        yield at, f"breaker of {text_of(change.get('route'))}: {states}"
    for at, counts in _rows(outage, "health", "at"):
        shown = ", ".join(f"{amount(number_of(counts.get(name)) or 0)} {name}" for name in _COUNTS)
        yield at, f"spans: {shown}"


def _rows(outage: Mapping[str, Any], name: str, when: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the rows of which it is known when they were."""
    value = outage.get(name)
    for row in value if isinstance(value, list) else ():
        if isinstance(row, dict) and (at := time_of(row.get(when))) is not None:
            yield at, row
