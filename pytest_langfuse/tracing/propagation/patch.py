"""Wrap methods of another library's classes, for all of their objects or for some, so that it can be undone."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from pytest_langfuse.tracing.shown import shown


class Patch:
    """One method of a class, and what is put around it."""

    def __init__(self, owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
        self._owner, self._name, self._wrap = owner, name, wrap
        self._original: Any = None
        self._wrapper: Any = None

    def install(self) -> None:
        """Put it in place."""
        if self._wrapper is None:
            self._original = self._owner.__dict__[self._name]
            # Without the marks that others put on theirs: they take theirs off by them.
            self._wrapper = functools.wraps(self._original, updated=())(self._wrap(self._original))
            setattr(self._owner, self._name, self._wrapper)

    def remove(self) -> None:
        """Remove the wrapper. If another library has wrapped it since, it stays, and has to do nothing."""
        if self._owner.__dict__[self._name] is self._wrapper:
            setattr(self._owner, self._name, self._original)
            self._wrapper = None


class Instrumented:
    """The objects whose requests are instrumented, and the patches that are in place as long as there are any.

    `name` is the function that the application calls, `kinds` what it may hand over.
    """

    def __init__(self, name: str, kinds: tuple[type, ...], patches: Sequence[Patch]) -> None:
        self._name, self._kinds, self._patches = name, kinds, patches
        self._lock = threading.Lock()
        self._all = 0
        self._some: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def covers(self, target: object) -> bool:
        """Return whether the requests of this object are instrumented."""
        return self._all > 0 or target in self._some

    def add(self, target: object | None) -> Instrumentation:
        """Instrument an object, or, with `None`, all; as often as you like.

        Raises:
            TypeError: `target` is something else.
        """
        __tracebackhide__ = True
        if target is not None and not isinstance(target, self._kinds):
            kinds = " or ".join(f"{kind.__module__}.{kind.__name__}" for kind in self._kinds)
            raise TypeError(
                f"{self._name}() takes a {kinds}, or nothing for all of them, not {shown(target)}. Fix: {self._name}()"
            )
        self._count(target, 1)
        reference = None if target is None else weakref.ref(target)

        def undo() -> None:
            found = None if reference is None else reference()
            if reference is None or found is not None:
                self._count(found, -1)

        return Instrumentation(undo)

    def _count(self, target: object | None, change: int) -> None:
        with self._lock:
            if target is None:
                self._all += change
            else:
                self._some[target] = self._some.get(target, 0) + change
                if not self._some[target]:
                    del self._some[target]
            in_use = self._all or len(self._some)
            for patch in self._patches:
                if in_use:
                    patch.install()
                else:
                    patch.remove()


class Instrumentation:
    """The result of one call that instrumented something: `undo()` it, or use it as a context manager that does."""

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def undo(self) -> None:
        """Undo it. What another call instrumented stays instrumented. A second call does nothing."""
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()

    def __enter__(self) -> Self:
        """It is in place already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take it back."""
        self.undo()
