"""The errors of assertions."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_langfuse.lazy import exported_by


@exported_by("pytest_langfuse")
class LiteralError(ValueError):
    """A tree literal or a selector does not follow the grammar. The message names the line and, if it can, the fix."""


@exported_by("pytest_langfuse")
class TreeMismatch(AssertionError):  # noqa: N818 - the public name; to its reader a failed assertion is not an error
    """The captured observations differ from what the test expects. `str()` shows both trees and every difference.

    `differences` are the sentences, one for each difference.
    """

    def __init__(self, text: str, differences: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.differences = tuple(differences)
