"""Reports clients that are built after `init_tracing` and whose settings the SDK silently ignores."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from langfuse import Langfuse


class SecondClients:
    """Calls `report(arguments)` for each `Langfuse(...)` that is not made from the one that is installed.

    The SDK gives every client of a public key the resources of the first, whatever its other arguments.
    """

    def __init__(self, report: Callable[[Mapping[str, Any]], None]) -> None:
        self._report: Callable[[Mapping[str, Any]], None] | None = report
        self._original: Any = Langfuse.__init__
        original = self._original

        @functools.wraps(original)
        def init(client: Langfuse, *args: Any, **kwargs: Any) -> None:
            original(client, *args, **kwargs)
            # `get_client()`, hence each call of an observed function, hands the installed provider on.
            if self._report is not None and kwargs.get("tracer_provider") is None:
                self._report(kwargs)

        self._init = init
        setattr(Langfuse, "__init__", init)  # noqa: B010 - a type checker knows that one does not do this

    def stop(self) -> None:
        """Undo it; if somebody else has wrapped the constructor since, ours stays and does nothing."""
        self._report = None
        if Langfuse.__init__ is self._init:
            setattr(Langfuse, "__init__", self._original)  # noqa: B010 - a type checker knows that one does not do this
