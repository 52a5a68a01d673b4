"""A limit to the bytes of spans that are not encoded yet, over all stages that hold such spans."""

from __future__ import annotations

from typing import Protocol


class Holder(Protocol):
    """A stage that holds spans. It counts them in `HeldBytes.total`, too."""

    #: Bytes of the spans in it.
    size: int

    def drop_oldest(self) -> None:
        """Drop and count the oldest; there is one if `size` is above 0."""


class HeldBytes:
    """Keeps all holders together within `limit` bytes: who holds most drops its oldest. Use it with a lock held."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Bytes of all holders.
        self.total = 0
        self._holders: list[Holder] = []

    def add(self, holder: Holder) -> None:
        """Add a stage."""
        self._holders.append(holder)

    def make_room(self) -> None:
        """Drop what is too much."""
        while self.total > self.limit:
            max(self._holders, key=_size_of).drop_oldest()


def _size_of(holder: Holder) -> int:
    return holder.size
