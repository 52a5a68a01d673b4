"""Clients that were built before capture started, and their arguments.

A client that is built without keys is disabled for good. Where a test module builds its client at import, and a
fixture alone asks for capture, that happens before anything of ours is imported; so the constructor is watched from
the moment in which `langfuse` is imported by whoever needs it. Nothing is imported here that the run did not ask for.
"""

from __future__ import annotations

import functools
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


class EarlyClients(MetaPathFinder):
    """Remembers living `Langfuse` objects and the arguments of their constructor."""

    def __init__(self) -> None:
        self.arguments: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
        self._undo: Callable[[], None] | None = None

    def start(self) -> None:
        """Watch from now on, or from the import of `langfuse`."""
        module = sys.modules.get("langfuse")
        if module is not None:
            self._watch(module)
        else:
            sys.meta_path.insert(0, self)

    def stop(self) -> None:
        """Stop watching, and restore what was replaced."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        if self._undo is not None:
            self._undo()
            self._undo = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Hook into the import of `langfuse`, and of nothing else."""
        if fullname != "langfuse":
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _AfterImport(spec.loader, self._watch)
        return spec

    def _watch(self, module: ModuleType) -> None:
        client_class = module.Langfuse
        original = client_class.__init__
        arguments = self.arguments

        @functools.wraps(original)
        def init(client: Any, *args: Any, **kwargs: Any) -> None:
            original(client, *args, **kwargs)
            arguments[client] = kwargs

        def undo() -> None:
            client_class.__init__ = original

        client_class.__init__ = init
        self._undo = undo


class _AfterImport(Loader):
    """Calls back when a module has been executed."""

    def __init__(self, loader: Loader, callback: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._callback = callback

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._callback(module)
