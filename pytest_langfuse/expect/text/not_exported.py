"""Spans that were recorded but not exported, as far as it bears on a difference: one sentence for a group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from pytest_langfuse.expect.literal.name_pattern import NamePattern, name_in_sentence
from pytest_langfuse.recording.observation import Observation
from pytest_langfuse.recording.sources.source import Unexported

#: Answers whether an observation of a name bears on a difference.
Bearing = Callable[[str], bool]

#: Names in the sentence about a group.
_NAMES: Final = 5


def everything(_name: str) -> bool:
    """Bear on anything: where nothing was captured, all that was not exported may be the reason."""
    return True


def nothing(_name: str) -> bool:
    """Bear on nothing."""
    return False


def any_of(names: Iterable[NamePattern]) -> Bearing:
    """Return what bears on a difference if it has one of `names`, or the first word of one.

    A request is called `GET` until its route is known: `GET /items/{i}`.
    """
    names = list(names)
    exact = {part for name in names if name.exact is not None for part in (name.exact, name.exact.partition(" ")[0])}
    globs = {name.text: name for name in names if name.exact is None}

    def bears(name: str) -> bool:
        return name in exact or any(glob.matches(name) for glob in globs.values())

    return bears


def not_exported(unexported: Sequence[Unexported], bears: Bearing, roots: Iterable[Observation] = ()) -> list[str]:
    """Return why observations that bear on a difference were not exported, and which of `roots` lost a parent by that.

    Observations that are not exported for the same reason are one sentence, and so are the children of one of them.
    """
    groups = _by_reason(item for item in unexported if bears(item.observation.name))
    sentences = [
        f"{listed(names)} {_was(names)} recorded but not exported: {detail}" for detail, names in groups.items()
    ]
    return [*sentences, *_orphans(unexported, roots)]


def by_reason(unexported: Iterable[Unexported]) -> list[str]:
    """Return all that was not exported: a sentence for each reason."""
    return [f"{listed(names)}: {detail}" for detail, names in _by_reason(unexported).items()]


def undelivered(lost: Iterable[Unexported]) -> list[str]:
    """Return the observations that were not delivered: a sentence for each reason, with all names."""
    return [f"{', '.join(_named(names))}: {detail}" for detail, names in _by_reason(lost).items()]


def _by_reason(unexported: Iterable[Unexported]) -> dict[str, Counter[str]]:
    reasons: dict[str, Counter[str]] = {}
    for item in unexported:
        reasons.setdefault(item.detail, Counter())[item.observation.name] += 1
    return reasons


def _orphans(unexported: Sequence[Unexported], roots: Iterable[Observation]) -> Iterator[str]:
    parents = {(item.observation.trace_id, item.observation.id): item for item in unexported}
    groups: dict[str, Counter[str]] = {}
    for root in roots:
        if root.parent is None and root.parent_id:
            item = parents.get((root.trace_id, root.parent_id))
            reason = "was not captured"
            if item is not None:
                reason = f"`{name_in_sentence(item.observation.name)}` was not exported: {item.detail}"
            groups.setdefault(reason, Counter())[root.name] += 1
    for reason, names in groups.items():
        what = "is shown as a root: its" if names.total() == 1 else "are shown as roots: their"
        yield f"{listed(names)} {what} parent {reason}"


def listed(names: Counter[str]) -> str:
    """Names in a sentence: `` `a`, `b` (3 times) and 2 more``."""
    shown = _named(names)
    if len(shown) > _NAMES:
        shown[_NAMES - 1 :] = [f"{len(shown) - _NAMES + 1:,} more"]
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last


def _named(names: Counter[str]) -> list[str]:
    return [
        f"`{name_in_sentence(name)}`" + (f" ({count:,} times)" if count > 1 else "") for name, count in names.items()
    ]


def _was(names: Counter[str]) -> str:
    return "was" if len(names) == 1 else "were"
