"""The outages of one test: what `langfuse_outage` gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import Any

from pytest_langfuse import arguments
from pytest_langfuse.lazy import exported_by
from pytest_langfuse.outage.outage import FailingQueue, FailingServer, Outage
from pytest_langfuse.recording.blocking_sampler import BlockingSampler, Mark


@exported_by("pytest_langfuse")
class OutageControl:
    """Starts and ends outages, and counts what was tried during them.

    `with langfuse_outage("hang"): ...` in the middle of a test; with the marker, the outage is already active.
    """

    def __init__(self, server: FailingServer, queue: Callable[[], FailingQueue], sampler: BlockingSampler) -> None:
        self._server = server
        self._queue = queue
        self._sampler = sampler
        self._stack = ExitStack()
        self._outages: list[Outage] = []
        #: Those of `begin`, which last until the test ends.
        self._begun: list[tuple[Outage, Mark]] = []

    def __call__(self, *names: str, **options: Any) -> AbstractContextManager[Outage]:
        """Activate the faults `names` inside the block.

        Raises:
            ValueError: an unknown fault, with a suggestion, or a value out of range.
            TypeError: an unknown option, with a suggestion, or a value of the wrong type.
            AssertionError: at the end of the block, if no request met a fault, unless `required=False`, or if the test
                waited for Langfuse longer than `max_block` in it.
        """
        __tracebackhide__ = True
        outage = Outage.of(*names, **options)
        self._outages.append(outage)
        return _OutageBlock(outage, partial(outage.activate, self._server, self._queue), self._sampler)

    def begin(self, outage: Outage) -> None:
        """Activate `outage` until the test ends, or `recover`.

        Raises:
            TypeError: `outage` is not an `Outage`.
            RuntimeError: it is already active.
        """
        __tracebackhide__ = True
        arguments.instance("begin", "outage", outage, Outage, "an Outage, such as Outage.of('hang')")
        if outage.active:
            raise RuntimeError(f"the outage {outage.name!r} is already active")
        self._outages.append(outage)
        self._begun.append((outage, self._sampler.mark()))
        self._sampler.look()
        self._stack.enter_context(outage.activate(self._server, self._queue))

    @property
    def attempts(self) -> int:
        """Exports and REST calls that were tried during the outages, including those that reached no server."""
        return sum(outage.attempts for outage in self._outages)

    @property
    def refused(self) -> int:
        """Attempts that Langfuse did not accept, or only in part."""
        return sum(outage.refused for outage in self._outages)

    @property
    def met_nothing_at_queue(self) -> bool:
        """True if all outages were of a queue, and nothing was sent to it meanwhile."""
        return all(outage.of_queue for outage in self._outages) and not self.attempts

    @property
    def limits_waits(self) -> bool:
        """True while an outage is active that says by `max_block` how long the test may wait."""
        return any(outage.active and outage.max_block is not None for outage in self._outages)

    @property
    def outages(self) -> Sequence[Outage]:
        """The outages of the test, in the order in which they were begun."""
        return self._outages

    def recover(self) -> None:
        """End all outages that are active."""
        self._sampler.look()
        for outage in self._outages:
            outage.recover()

    def why_not_reached(self) -> str | None:
        """Return a sentence about the first outage that was required and struck no request, if there is one."""
        return _first(_why_not_reached(outage) for outage in self._outages)

    def why_blocked(self) -> str | None:
        """Return a sentence about the first outage of `begin` whose `max_block` the test has exceeded, if any."""
        return _first(_why_blocked(outage, self._sampler, mark) for outage, mark in self._begun)

    def close(self) -> None:
        """End the outages of `begin`."""
        self._stack.close()


class _OutageBlock:
    """The `with` block of an outage; a class, since a generator would add frames of contextlib to the traceback."""

    def __init__(
        self, outage: Outage, activate: Callable[[], AbstractContextManager[Outage]], sampler: BlockingSampler
    ) -> None:
        self._outage = outage
        self._activate = activate
        self._sampler = sampler
        self._mark: Mark | None = None

    def __enter__(self) -> Outage:
        __tracebackhide__ = True
        if self._outage.active:
            raise RuntimeError(
                f"the outage {self._outage.name!r} is already active: begin another one, with langfuse_outage(…)"
            )
        self._applied = self._activate()
        self._mark = self._sampler.mark()
        self._sampler.look()
        return self._applied.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._sampler.look()
        self._applied.__exit__(kind, error, traceback)
        why = _first((_why_not_reached(self._outage), _why_blocked(self._outage, self._sampler, self._mark)))
        if error is None and why is not None:
            raise AssertionError(why)


def _first(reasons: Iterable[str | None]) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _why_blocked(outage: Outage, sampler: BlockingSampler, mark: Mark | None) -> str | None:
    allowed, wait = outage.max_block, sampler.wait(mark)
    if allowed is None or wait is None or wait.unshortened <= allowed:
        return None
    return (
        f"the test waited {wait.seconds:.1f} s for Langfuse during the outage {outage.name!r}, max_block allows "
        f"{allowed:g} s: {wait}"
    )


def _why_not_reached(outage: Outage) -> str | None:
    if not outage.required or outage.struck:
        return None
    end = ""
    if not outage.attempts and outage.of_queue:
        why = f"nothing was sent to {' or '.join(outage.queues)} while it was active"
        fix = f'Export to it, as with export="{outage.queues[0].lower()}", and flush()'
        if outage.is_down:
            end = ": what other processes try while the broker is down can't be counted"
    elif not outage.attempts:
        why = "nothing was sent to Langfuse while it was active"
        fix = "Send something (flush(), a prompt, a score)"
    else:
        requests = "the only request" if outage.attempts == 1 else f"each of the {outage.attempts} requests"
        why = f"its schedule let {requests} through"
        fix = "Send more, or strike earlier (after=0, rate=1.0; flapping strikes every second request)"
    return (
        f"the outage {outage.name!r} was never reached: {why}, so the test proves nothing about it. "
        f"{fix}, or mark it required=False{end}."
    )
