"""`Observations`: a sequence of what Langfuse shows, with assertions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from pytest_langfuse.recording.observation import Observation

if TYPE_CHECKING:
    from pytest_langfuse.recording.source import Source


class Observations(Sequence[Observation]):
    """Exported observations in the order in which they started. Every access reads the source anew."""

    __hash__ = None  # type: ignore[assignment] - compares with literals

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source.observations())

    def __iter__(self) -> Iterator[Observation]:
        return iter(self._source.observations())

    @overload
    def __getitem__(self, index: int) -> Observation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Observation]: ...
    def __getitem__(self, index: int | slice) -> Observation | Sequence[Observation]:
        return self._source.observations()[index]


def explain_equality(left: object, right: object) -> list[str] | None:
    """Lines that explain a failed `observations == "literal"`; `None` for any other comparison."""
    del left, right
    return None
