"""`langfuse_outage`: the outages of one test."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any

from pytest_langfuse.lazy import exported_by
from pytest_langfuse.outage.outage import FailingServer, Outage


@exported_by("pytest_langfuse")
class OutageControl:
    """Starts and ends outages, and counts what was tried during them.

    `with langfuse_outage("hang"): ...` in the middle of a test; with the marker, the outage is in force already.
    """

    def __init__(self, server: FailingServer) -> None:
        self._server = server
        self._stack = ExitStack()
        self._outages: list[Outage] = []

    def __call__(self, *names: str, **options: Any) -> AbstractContextManager[Outage]:
        """The faults `names` are in force inside the block.

        Raises:
            ValueError: an unknown fault; TypeError: an unknown option. Both with a suggestion.
            AssertionError: at the end of the block, if no request met a fault, unless `required=False`.
        """
        __tracebackhide__ = True
        outage = Outage.of(*names, **options)
        self._outages.append(outage)
        return _OutageBlock(outage, self._server)

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

    def why_not_reached(self) -> str | None:
        """A sentence about the first outage that is required and met no request: it has proven nothing."""
        return next((why for outage in self._outages if (why := _why_not_reached(outage)) is not None), None)

    def close(self) -> None:
        """End all outages."""
        self._stack.close()


class _OutageBlock:
    """A `with` block. A class, since the traceback of a generator's would show frames of contextlib."""

    def __init__(self, outage: Outage, server: FailingServer) -> None:
        self._outage = outage
        self._applied = outage.apply(server)

    def __enter__(self) -> Outage:
        return self._applied.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._applied.__exit__(kind, error, traceback)
        if error is None and (why := _why_not_reached(self._outage)) is not None:
            raise AssertionError(why)


def _why_not_reached(outage: Outage) -> str | None:
    if not outage.required or outage.struck:
        return None
    if not outage.attempts:
        why = "nothing was sent to Langfuse while it was in force"
        fix = "Send something (flush(), a prompt, a score)"
    else:
        requests = "the only request" if outage.attempts == 1 else f"each of the {outage.attempts} requests"
        why = f"its schedule let {requests} through"
        fix = "Send more, or strike earlier (after=0, rate=1.0; flapping strikes every second request)"
    return (
        f"the outage {outage.name!r} was never reached: {why}, so the test proves nothing about it. "
        f"{fix}, or mark it required=False."
    )
