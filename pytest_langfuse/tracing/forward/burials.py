"""Dead letters on their way to where they are stored."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pytest_langfuse.tracing.forward.forward_counts import ForwardCounts
from pytest_langfuse.tracing.forward.lane import Part
from pytest_langfuse.tracing.forward.queue_source import DeadLetter
from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.monotonic import now

#: Seconds before one that could not be stored is stored again.
_PAUSE = 5.0

Bury = Callable[[DeadLetter, Callable[[str | None], None]], None]


class Burials:
    """Stores dead letters through `store`, until it says that they are stored: then their part is finished.

    For one thread.
    """

    def __init__(
        self,
        store: Bury,
        log: RepeatedLog,
        counts: ForwardCounts,
        *,
        finish: Callable[[Part], None],
        drop: Callable[[Part], None],
    ) -> None:
        self._store, self._log, self._counts = store, log, counts
        self._finish, self._drop = finish, drop
        self._waiting: list[tuple[float, Part, DeadLetter]] = []
        #: The number of those that are being stored.
        self.under_way = 0
        #: Why the last one could not be stored; empty if it was.
        self.failing = ""

    @property
    def waiting(self) -> bool:
        """True while some could not be stored yet."""
        return bool(self._waiting)

    def bury(self, part: Part, reason: str, detail: str, status: int | None) -> None:
        """Store a part as a dead letter."""
        self._bury(part, DeadLetter(part.message, part.data, reason, readable(detail), status))

    def again(self, at: float) -> None:
        """Store those again that could not be stored, some time ago."""
        if self._waiting and self._waiting[0][0] <= at:
            waiting, self._waiting = self._waiting, []
            for _, part, letter in waiting:
                self._bury(part, letter)

    def drop_leaving(self) -> None:
        """Forget those of partitions that are taken away."""
        gone = [part for _, part, _ in self._waiting if part.message.partition.leaving]
        self._waiting = [one for one in self._waiting if not one[1].message.partition.leaving]
        for part in gone:
            self._drop(part)

    def _bury(self, part: Part, letter: DeadLetter) -> None:
        def stored(error: str | None) -> None:
            self.under_way -= 1
            if error is None:
                self.failing = ""
                self._counts.dead[letter.reason] += part.items
                self._log.warn(
                    f"dead {letter.reason}",
                    f"Dead-lettered ({letter.reason}): {part.message.title}; so far {sum(self._counts.dead.values())} "
                    f"spans and scores are: {letter.detail}",
                )
                self._finish(part)
                return
            self.failing = error
            self._log.warn("bury", f"Dead letters can't be stored, their partitions wait: {error}", level=logging.ERROR)
            if part.message.partition.leaving:
                self._drop(part)
            else:
                self._waiting.append((now() + _PAUSE, part, letter))

        self.under_way += 1
        self._store(letter, stored)
