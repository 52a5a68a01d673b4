"""The events of an outage as sentences: for readers who can't see its timeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_langfuse.report.figures import counted, duration
from pytest_langfuse.report.page.tree_columns import number_of, text_of

#: Events of a test that are kept.
_MOST: Final = 300
_COUNTS: Final = ("buffered", "exported", "dropped")


def events_of(outage: Mapping[str, Any]) -> list[list[str]]:
    """Return the time of each event, since the outage has begun, with what happened then."""
    found = sorted(_events(outage), key=lambda event: event[0])
    begun = number_of(outage.get("begun")) or (found[0][0] if found else 0)
    shown = [[_since(at - begun), text] for at, text in found[:_MOST]]
    return [*shown, ["", f"and {counted(len(found) - _MOST, 'more event')}"]] if len(found) > _MOST else shown


def _since(microseconds: float) -> str:
    return f"{'-' if microseconds < 0 else ''}{duration(abs(microseconds) / 1e6)}"


def _events(outage: Mapping[str, Any]) -> Iterator[tuple[float, str]]:
    names = outage.get("faults")
    faults = ", ".join(map(text_of, names)) if isinstance(names, list) else ""
    for name, verb in (("begun", "begins"), ("ended", "ends")):
        if (at := number_of(outage.get(name))) is not None:
            yield at, f"the outage {faults} {verb}"
    for request in _rows(outage, "requests"):
        lasted = number_of(request.get("duration"))
        how = "no answer" if lasted is None else duration(lasted)
        yield (
            number_of(request.get("start")) or 0,
            (f"request {text_of(request.get('path'))}: {text_of(request.get('result'))}, {how}"),
        )
    for change in _rows(outage, "breaker"):
        states = f"{text_of(change.get('before'))} -> {text_of(change.get('state'))}"
        yield number_of(change.get("at")) or 0, f"breaker of {text_of(change.get('route'))}: {states}"
    for counts in _rows(outage, "health"):
        shown = ", ".join(f"{number_of(counts.get(name)) or 0:,.0f} {name}" for name in _COUNTS)
        yield number_of(counts.get("at")) or 0, f"spans: {shown}"


def _rows(outage: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = outage.get(name)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
