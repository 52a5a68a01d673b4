"""A queue that remembers for whom each item was put into it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from queue import Empty, Queue
from typing import Any, NamedTuple

from pytest_langfuse.recording.origin import Origin, batch_of_thread, here


class _Item(NamedTuple):
    content: Any
    origin: Origin | None


class OriginQueue(Queue[Any]):
    """A queue of the SDK: the thread that takes an item works for the origin of the item.

    A batch holds items of one origin: while a thread collects one, the queue looks empty where the next
    item has another. An existing queue becomes one by assigning its class. Items that were put before have no origin.
    """

    #: Returns the origin of what the current thread does. Set once, when the SDK is hooked.
    origin_now: Callable[[], Origin | None] = staticmethod(lambda: None)

    def _put(self, item: Any) -> None:
        # Signals (bare objects) end a batch or a thread; they are nobody's.
        self.queue.append(item if type(item) is object else _Item(item, self.origin_now()))

    def _get(self) -> Any:
        item = self.queue[0]
        if type(item) is object:
            return self.queue.popleft()
        content, origin = item if isinstance(item, _Item) else (item, None)
        batch = batch_of_thread()
        if batch and batch[0] is not origin:
            raise Empty
        if batch is not None and not batch:
            batch.append(origin)
        here.item = origin
        self.queue.popleft()
        return content

    def claim(self, origin: Origin, since: int) -> None:
        """Give what was put before the queue was hooked to `origin`, unless it is older than `since`.

        `since` is in nanoseconds since 1970. What tells no time can't wait here for long: threads take it at once.
        """
        with self.mutex:
            for index, item in enumerate(self.queue):
                if not isinstance(item, _Item) and type(item) is not object and _time_of(item) >= since:
                    self.queue[index] = _Item(item, origin)

    def release(self) -> None:
        """Become a plain queue again; what captured tests have put is dropped."""
        self.discard()
        with self.mutex:
            contents = [item.content if isinstance(item, _Item) else item for item in self.queue]
            self.queue.clear()
            self.queue.extend(contents)
            self.__class__ = Queue  # type: ignore[assignment]

    def discard(self) -> None:
        """Drop the items that captured tests have put."""
        if not self.queue:
            return
        with self.mutex:
            kept = [item for item in self.queue if not _is_captured(item)]
            dropped = len(self.queue) - len(kept)
            self.queue.clear()
            self.queue.extend(kept)
            self.not_full.notify_all()
        for _ in range(dropped):
            self.task_done()


def _time_of(item: Any) -> float:
    """Return when a score was made, in nanoseconds since 1970; of anything else, that it is new."""
    made = item.get("timestamp") if isinstance(item, dict) else None
    return made.timestamp() * 1e9 if isinstance(made, datetime) else math.inf


def _is_captured(item: object) -> bool:
    return isinstance(item, _Item) and item.origin is not None and item.origin.captured
