"""LF021: an observation that was exported more than once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.rules.evidence import Evidence


@rule("LF021", "exported twice", each="all")
def exported_twice(evidence: Evidence) -> Fact | None:
    """Each copy costs network and ingestion, and one that is masked otherwise replaces the first in Langfuse."""
    copied = [key for key, one in evidence.recorded.items() if len(one.sent_to) > 1]
    copied = [key for key in copied if _is_repeated(evidence.recorded[key].sent_to)]
    if not copied:
        return None
    first = next((one for one in evidence.observations if (one.trace_id, one.id) == copied[0]), None)
    record = evidence.recorded[copied[0]]
    named = evidence.quoted(record.name) if first is None else evidence.named(first)
    times = max(record.sent_to.count(to) for to in record.sent_to)
    who = f"{named} and {len(copied) - 1:,} more were" if len(copied) > 1 else f"{named} was"
    return Fact(
        f"{who} exported {times} times to the same project",
        "build one client for a tracer provider, without LangfuseResourceManager.reset(), and no exporter to Langfuse "
        "beside it",
        first,
    )


def _is_repeated(destinations: Sequence[object]) -> bool:
    return len(destinations) > len(set(destinations))
