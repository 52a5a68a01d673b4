"""The likeness of a line and a captured observation: it tells a changed observation from a missing one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from pytest_langfuse.expect.literal.expected_line import ANY_TYPE, ExpectedLine
from pytest_langfuse.expect.matching.assignment import Assignment
from pytest_langfuse.expect.matching.matcher import Matcher
from pytest_langfuse.recording.observation import Observation

#: The cost of what cannot be the same observation.
NEVER: Final = float("inf")

_RENAMED: Final = 30.0
_CHANGED: Final = 10.0
_OTHER_TYPE: Final = 6.0
_UNMET: Final = 3.0
_UNSHARED: Final = 3.0
#: Children's names that two observations of different names may not share to be the same, renamed.
_RENAMED_UNSHARED: Final = 0.5


class Likeness:
    """Compares lines with captured observations; 0 is a whole match, `NEVER` none at all.

    The same name makes the same observation. Another name does where neither name occurs on the other side and most
    of the children's names are the same: then it was renamed.
    """

    def __init__(self, matcher: Matcher, lines: Iterable[ExpectedLine], captured: Iterable[Observation]) -> None:
        self.matcher: Final = matcher
        self._expected_names = {line.name.exact for line in lines}
        self._captured_names = {observation.name for observation in captured}
        self._names: dict[int, Counter[str | None]] = {}
        #: Ids of observations below which something was found to belong elsewhere: no whole match any more.
        self.broken: Final[set[int]] = set()

    def whole(self, line: ExpectedLine, captured: Observation) -> bool:
        """Return whether `captured` and all below it match the line."""
        return id(captured) not in self.broken and self.matcher.whole(line, captured)

    def cost(self, line: ExpectedLine, captured: Observation) -> float:
        """Return how unlike the two are: less than the cost of pairing neither, if they may be the same observation."""
        if not line.name.matches(captured.name):
            return _RENAMED if self._renamed(line, captured) else NEVER
        if self.whole(line, captured):
            return 0.0
        conditions = len(line.own) + len(line.inherited)
        unmet = len(line.failing(captured)) / conditions if conditions else 0.0
        other_type = line.type not in (ANY_TYPE, captured.type)
        return _CHANGED + _OTHER_TYPE * other_type + _UNMET * unmet + _UNSHARED * self._unshared(line, captured)

    def _unshared(self, line: ExpectedLine, captured: Observation) -> float:
        """Return the share of the children's names that the two do not have in common: 0 to 1."""
        expected, found = self._names_below(line), self._names_below(captured)
        total = expected.total() + found.total()
        return 1.0 - 2.0 * (expected & found).total() / total if total else 0.0

    def _names_below(self, parent: ExpectedLine | Observation) -> Counter[str | None]:
        names = self._names.get(id(parent))
        if names is None:
            if isinstance(parent, Observation):
                names = Counter(child.name for child in parent.children)
            else:
                names = Counter(child.name.exact for child in parent.children)
            self._names[id(parent)] = names
        return names

    def _renamed(self, line: ExpectedLine, captured: Observation) -> bool:
        if line.name.exact is None or line.type not in (ANY_TYPE, captured.type):
            return False
        if captured.name in self._expected_names or line.name.exact in self._captured_names:
            return False
        return bool(line.children) and self._unshared(line, captured) <= _RENAMED_UNSHARED

    def whole_matches(
        self,
        lines: Sequence[ExpectedLine],
        optional: Sequence[ExpectedLine],
        captured: Sequence[Observation],
    ) -> Assignment:
        """Return the assignment with the most whole matches, in any order."""
        return self.matcher.assignment(lines, optional, captured)
