"""Clients that were built before capture started, and their arguments.

A client that is built without keys is disabled for good. Where a test module builds its client at import, and a
fixture alone asks for capture, that happens before anything of ours is imported; so the constructor is watched from
the moment in which `langfuse` is imported by whoever needs it.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from pytest_langfuse.recording.import_watcher import ImportWatcher


class EarlyClients(ImportWatcher):
    """Remembers living `Langfuse` objects and the arguments of their constructor."""

    def __init__(self) -> None:
        super().__init__({"langfuse": self._watch})
        self.arguments: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
        self._undo: Callable[[], None] | None = None

    def _watch(self, langfuse: ModuleType) -> None:
        client_class = langfuse.Langfuse
        original = client_class.__init__
        arguments = self.arguments

        @functools.wraps(original)
        def init(client: Any, *args: Any, **kwargs: Any) -> None:
            original(client, *args, **kwargs)
            arguments[client] = kwargs

        def undo() -> None:
            # Where the SDK was hooked meanwhile, the hook stays, and so does what it calls.
            if client_class.__init__ is init:
                client_class.__init__ = original

        client_class.__init__ = init
        self._undo = undo

    def stop(self) -> None:
        """Stop watching, and restore what was replaced."""
        super().stop()
        if self._undo is not None:
            self._undo()
            self._undo = None
