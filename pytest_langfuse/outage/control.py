"""`langfuse_outage`: the outages of one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pytest_langfuse.outage.outage import Outage
from pytest_langfuse.outage.server import LangfuseServer


class OutageControl:
    """Starts and ends outages, and counts what was tried during them.

    `with langfuse_outage("hang"): ...` in the middle of a test; with the marker, the outage is in force already.
    """

    def __init__(self, server: LangfuseServer) -> None:
        self._server = server
        self._stack = ExitStack()
        self._outages: list[Outage] = []

    @contextmanager
    def __call__(self, *names: str, **options: Any) -> Iterator[Outage]:
        """The faults `names` are in force inside the block.

        Raises:
            ValueError: an unknown fault; TypeError: an unknown option. Both with a suggestion.
            AssertionError: no request met a fault, unless `required=False`.
        """
        outage = Outage.of(*names, **options)
        self._outages.append(outage)
        with outage.apply(self._server):
            yield outage
        _reached(outage)

    def begin(self, outage: Outage) -> None:
        """Put `outage` in force until the test ends, or `recover`."""
        self._outages.append(outage)
        self._stack.enter_context(outage.apply(self._server))

    @property
    def attempts(self) -> int:
        """Exports and REST calls that were tried during the outages, also those that reached no server."""
        return sum(outage.attempts for outage in self._outages)

    @property
    def refused(self) -> int:
        """Attempts that Langfuse did not take."""
        return sum(outage.refused for outage in self._outages)

    def recover(self) -> None:
        """Langfuse is back."""
        for outage in self._outages:
            outage.recover()

    def check_reached(self) -> None:
        """Raise an `AssertionError` if an outage that is required met no request: it has proven nothing."""
        for outage in self._outages:
            _reached(outage)

    def close(self) -> None:
        """End all outages."""
        self._stack.close()


def _reached(outage: Outage) -> None:
    __tracebackhide__ = True
    if outage.required and not outage.struck:
        tried = f"{outage.attempts} requests were made" if outage.attempts else "nothing was sent to Langfuse"
        raise AssertionError(
            f"the outage {outage.name!r} was never reached: {tried} while it was in force, so the test proves nothing "
            "about it. Send something (flush(), a prompt, a score), or mark it required=False."
        )
