"""The origin of what is sent: a captured test, or code that no capture covers.

What a captured test makes may be sent much later, by other threads, from queues or at exit. So its origin is noted
where it is made, and stays with it. Spans carry theirs in their context object, which all copies of a span share; a
queue keeps it beside each item; a thread, and what is handed to a pool, has it in a variable of the thread.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, NamedTuple

#: The name under which spans, threads and callables carry their origin.
MARK: Final = "_pytest_langfuse_origin"

#: The name under which a thread carries who handed over its work.
HANDED_OVER: Final = "_pytest_langfuse_handed_over"

#: The name under which a thread carries the origin of a batch that it began to collect before it was hooked.
BATCH: Final = "_pytest_langfuse_batch"


class Origin:
    """A test, for as long as something of it may still be sent.

    What a `captured` one makes never leaves. A test that is not captured may become so, by a fixture that it requests
    at run time. `unended` says that the origin stands for one span of the test, which has not ended; its `record`
    tells how it was started.
    """

    __slots__ = ("captured", "record", "test", "unended")

    def __init__(self, test: str, *, captured: bool = True, unended: bool = False, record: object = None) -> None:
        self.test = test
        self.captured = captured
        self.unended = unended
        self.record = record

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """Leave it out where a span context is pickled for another process."""
        return type(None), ()


class Unknown:
    """Nothing is known of the origin of what a thread does."""


UNKNOWN: Final = Unknown()


class Here(threading.local):
    """The origin of what this thread does, as far as it is known."""

    #: Of the item that a thread of the SDK took from its queue. It decides alone.
    item: Origin | Unknown | None = UNKNOWN
    #: Of the call that this thread makes for another. It counts where no captured test runs.
    call: Origin | Unknown | None = UNKNOWN
    #: Who handed over the call that this thread makes for another: a `HandedOver`.
    handed_over: object = None
    #: The origin of the batch that a thread of the SDK collects, once it has an item; `None` outside of a batch.
    batch: list[Origin | None] | None = None


here = Here()


def batch_of_thread() -> list[Origin | None] | None:
    """Return the origin of the batch that the current thread collects; see `Here.batch`."""
    if here.batch is not None:
        return here.batch
    batch: list[Origin | None] | None = getattr(threading.current_thread(), BATCH, None)
    return batch


def of_thread() -> Origin | None:
    """Return the origin of the call that the current thread makes, or that of the thread itself."""
    if not isinstance(here.call, Unknown):
        return here.call
    origin: Origin | None = getattr(threading.current_thread(), MARK, None)
    return origin


#: Tasks that were given another context than that of who made them: a `HandedOver` for each.
handed_over_tasks: Final[weakref.WeakKeyDictionary[asyncio.Task[Any], object]] = weakref.WeakKeyDictionary()


def handed_over_here() -> object:
    """Return who handed over the task or the call that runs here, or the work of the thread itself."""
    if handed_over_tasks and asyncio._get_running_loop() is not None:  # noqa: SLF001 - public name raises without one
        task = asyncio.current_task()
        if task is not None and (handed_over := handed_over_tasks.get(task)) is not None:
            return handed_over
    if here.handed_over is not None:
        return here.handed_over
    found: object = getattr(threading.current_thread(), HANDED_OVER, None)
    return found


@contextmanager
def item_of(origin: Origin | None) -> Iterator[None]:
    """Do what is inside the block for `origin` and for nobody else."""
    before, here.item = here.item, origin
    try:
        yield
    finally:
        here.item = before


class WorksFor(NamedTuple):
    """The owner of what waits in production tracing: called, it is the context in which that is sent."""

    origin: Origin | None

    def __call__(self) -> AbstractContextManager[None]:
        """Work for the origin, whichever thread does."""
        return item_of(self.origin)

    @property
    def is_captured(self) -> bool:
        """True if what waits never leaves."""
        return self.origin is not None and self.origin.captured


class CallOf:
    """A callable that runs for `origin`, whichever thread calls it, and equals the one that it wraps."""

    __slots__ = ("_handed_over", "_origin", "_wrapped")

    def __init__(self, wrapped: Callable[..., Any], origin: Origin | None, handed_over: object = None) -> None:
        self._wrapped = wrapped
        self._origin = origin
        self._handed_over = handed_over

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped callable. Raises what it raises."""
        before = here.call, here.handed_over
        here.call, here.handed_over = self._origin, self._handed_over
        try:
            return self._wrapped(*args, **kwargs)
        finally:
            here.call, here.handed_over = before

    def __eq__(self, other: object) -> bool:
        # `atexit.unregister(function)` compares.
        return self._wrapped == (other._wrapped if isinstance(other, CallOf) else other)

    def __hash__(self) -> int:
        return hash(self._wrapped)
