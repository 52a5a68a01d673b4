"""The errors of assertions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pytest_langfuse.expect.shown_secrets import hidden, with_note
from pytest_langfuse.lazy import exported_by


@exported_by("pytest_langfuse")
class LiteralError(ValueError):
    """A tree literal or a selector does not follow the grammar. The message names the line and, if it can, the fix."""

    def __init__(self, text: str) -> None:
        super().__init__(hidden(text))


@exported_by("pytest_langfuse")
class TreeMismatch(AssertionError):  # noqa: N818 - the public name; to its reader a failed assertion is not an error
    """The captured observations differ from what the test expects. `str()` shows both trees and every difference.

    `differences` are the sentences, one for each difference. Secrets are replaced by what they are.
    """

    def __init__(
        self, text: str, differences: Sequence[str] = (), side_by_side: Callable[[], Any] = lambda: None
    ) -> None:
        super().__init__(with_note(text))
        self.differences = tuple(map(hidden, differences))
        #: Returns both trees in two columns (a `SideBySide`, see `expect/text`), if trees were compared.
        self.side_by_side = side_by_side

    def __reduce__(self) -> tuple[type[TreeMismatch], tuple[str, Sequence[str]]]:
        """Leave the trees out where it is pickled for another process."""
        return type(self), (str(self), self.differences)
