"""Requirements of packages, and all that they bring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import distribution

from packaging.requirements import Requirement


def closure(requirements: Iterable[Requirement], extra: str = "") -> Iterator[str]:
    """Names of what has to be installed for `requirements`."""
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, extra) for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in requirement.extras or {""}:
            if (requirement.name, wanted) in seen:
                continue
            seen.add((requirement.name, wanted))
            yield requirement.name
            waiting += [(Requirement(text), wanted) for text in distribution(requirement.name).requires or ()]
