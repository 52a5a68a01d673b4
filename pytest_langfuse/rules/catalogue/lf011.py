"""LF011: an id or a number in the name of an observation."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pytest_langfuse.rules.finding import Fact
from pytest_langfuse.rules.rule import rule

if TYPE_CHECKING:
    from pytest_langfuse.recording.observation import Observation
    from pytest_langfuse.rules.evidence import Evidence

#: A UUID, sixteen hexadecimal digits, or a number of six digits.
_ID: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?<![0-9a-z])(?=[a-f]*\d)[0-9a-f]{16,}(?![0-9a-z])"
    r"|(?<!\d)\d{6,}(?!\d)",
    re.IGNORECASE,
)
#: As in names of models: claude-3-5-sonnet-20241022.
_DATE: Final = re.compile(r"20[1-4]\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")
_DIGITS: Final = re.compile(r"\d+")
_SCOPE: Final = "langfuse-sdk"
#: So many names of one place are made of a number, not chosen.
_NAMES: Final = 3


@rule("LF011", "id in a name", severity="warning", each="all")
def id_in_a_name(evidence: Evidence) -> list[Fact] | None:
    """Langfuse groups, filters and charts by name: each of these is a group of its own."""
    numbered: dict[tuple[str, object], dict[str, Observation]] = {}
    for trace in evidence.traces:
        for one in trace.observations:
            folded = _folded(one.record.name)
            if folded is not None and one.record.scope_name == _SCOPE:
                names = numbered.setdefault((folded, evidence.place_of(one)), {})
                names.setdefault(one.record.name, one)
    facts = []
    for (_, place), names in numbered.items():
        first = next(iter(names.values()))
        is_one_place = place is not None and len(names) >= _NAMES
        if is_one_place or _has_id(first.record.name):
            more = "one more" if len(names) == 2 else f"{len(names) - 1} more"  # noqa: PLR2004 - in words
            count = f", and {more} like it," if len(names) > 1 else ""
            kind = "a number" if is_one_place else "an id"
            facts.append(
                Fact(
                    f"the name of {evidence.named(first)}{count} holds {kind}, so that "
                    "Langfuse can't group such observations",
                    "give it one name for what it does, and put what changes into metadata=",
                    first,
                )
            )
    return facts or None


@lru_cache(maxsize=4096)
def _folded(name: str) -> str | None:
    """Return a name without its ids and numbers; `None` if it has none, as nearly all."""
    return _DIGITS.sub("0", _ID.sub("0", name)) if _DIGITS.search(name) else None


def _has_id(name: str) -> bool:
    return any(not _DATE.fullmatch(match[0]) for match in _ID.finditer(name))
