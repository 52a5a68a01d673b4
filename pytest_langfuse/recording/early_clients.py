"""Clients that were built before capture started, and their arguments.

A client that is built without keys is disabled for good. Where a test module builds its client at import, and a
fixture alone asks for capture, that happens before the SDK is hooked; so the constructor is watched from the moment
in which `langfuse` is imported by whoever needs it.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Mapping
from typing import Any


class EarlyClients:
    """Remembers living objects of `client_class`, which is `Langfuse`, and the arguments of their constructor."""

    def __init__(self, client_class: Any) -> None:
        self.arguments: weakref.WeakKeyDictionary[Any, Mapping[str, Any]] = weakref.WeakKeyDictionary()
        self._client_class = client_class
        self._original = original = self._client_class.__init__
        arguments = self.arguments

        @functools.wraps(original)
        def init(client: Any, *args: Any, **kwargs: Any) -> None:
            original(client, *args, **kwargs)
            arguments[client] = kwargs

        self._client_class.__init__ = self._init = init

    def stop(self) -> None:
        """Restore the constructor. Where the SDK was hooked meanwhile, the hook stays, and so does what it calls."""
        if self._client_class.__init__ is self._init:
            self._client_class.__init__ = self._original
