"""What an assertion raises."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_langfuse.lazy import exported_by


@exported_by("pytest_langfuse")
class LiteralError(ValueError):
    """A tree literal (or a selector) that cannot be read. The message names the line and, where it can, the fix."""


@exported_by("pytest_langfuse")
class TreeMismatch(AssertionError):  # noqa: N818 - the public name; a failed assertion is no "error" to its reader
    """The captured observations are not what the test says. `str()` shows both trees and every difference.

    `differences` are the sentences, one for each difference.
    """

    def __init__(self, text: str, differences: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.differences = tuple(differences)
