"""A circuit breaker: after enough failures in a row no call is made for some time, then a trial call.

Written here, because existing ones hold a lock during the call, let several trials through at once, or read a clock
that can't be injected.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Literal, Self

from pytest_langfuse.tracing import setting_parsers as parsing
from pytest_langfuse.tracing.arguments import checked
from pytest_langfuse.tracing.failures import failures
from pytest_langfuse.tracing.lazy import exported_by

State = Literal["closed", "open", "half_open"]
Listener = Callable[[State, State], None]

#: As a default argument it is a constant; `time.monotonic` is looked up again, so that a test's clock is seen. In a
#: tuple, because a test that freezes time replaces the attributes of this module, too.
_REAL_CLOCK: Final = (time.monotonic,)


@exported_by("pytest_langfuse.tracing")
class CircuitOpen(Exception):  # noqa: N818 - the name under which this is known in the field
    """Raised instead of a call, after too many have failed. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"The circuit to Langfuse is open; the next attempt is in {retry_after:.0f} s.")
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[CircuitOpen], tuple[float]]:
        """Pickle by what it is made from: a worker of a process pool hands it to its caller so."""
        return type(self), (self.retry_after,)


class Permit:
    """The right to make one call. Its result counts once, and only in the state that it was given in."""

    __slots__ = ("expires", "generation", "given", "used")

    def __init__(self, generation: int, given: float, expires: float | None) -> None:
        self.generation = generation
        self.given = given
        self.expires = expires
        self.used = False


_THRESHOLD = parsing.integer(1, example="10")
_SECONDS = parsing.number(1e-9, 1e9, example="300.0")
_PERMIT = parsing.instance(
    Permit, allowed="what try_acquire() returned, unless that was None", example="breaker.try_acquire()"
)


@exported_by("pytest_langfuse.tracing")
class CircuitBreaker:
    """Closed, open after `failure_threshold` failures in a row, half-open after `recovery_timeout` seconds.

    Half-open gives one permit. Its success closes the breaker, its failure opens it for another `recovery_timeout`;
    a permit whose result does not come within `recovery_timeout` expires, and the next caller gets the trial.
    A result that comes late, from before a change of state, counts for nothing. A success that took longer than
    `slow_call` seconds counts as a failure, unless that is `None`.

    Thread-safe; no lock is held while a call is made. `clock` returns seconds that never go back.

    Use `try_acquire()` with `success(permit)`, `failure(permit)` or `release(permit)`; or `with breaker:`, which
    raises `CircuitOpen`, counts an `Exception` as failure, and anything else that is raised (a cancelled task, Ctrl-C)
    as neither.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `failure_threshold` is below 1, or `recovery_timeout` or `slow_call` not above 0.
    """

    def __init__(
        self,
        *,
        failure_threshold: int = 10,
        recovery_timeout: float = 300.0,
        slow_call: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        __tracebackhide__ = True
        call = "CircuitBreaker()"
        self.failure_threshold: int = checked(call, "failure_threshold", failure_threshold, _THRESHOLD)
        self.recovery_timeout: float = checked(call, "recovery_timeout", recovery_timeout, _SECONDS)
        self.slow_call: float | None = None if slow_call is None else checked(call, "slow_call", slow_call, _SECONDS)
        self._clock = None if clock in _REAL_CLOCK else checked(call, "clock", clock, parsing.function)
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._failures = 0
        self._generation = 0
        self._opened_at: float | None = None
        self._trial: Permit | None = None
        #: What the listeners were last told.
        self._told: State = "closed"

    def __repr__(self) -> str:
        counts = f"{self.failures} of {self.failure_threshold} failures"
        return f"<{type(self).__name__} {self.state}: {counts}, recovery_timeout={self.recovery_timeout:g}>"

    @property
    def state(self) -> State:
        """`"closed"`, `"open"`, or `"half_open"` from the moment in which a trial is due."""
        with self._lock:
            return self._state(self._now())

    @property
    def failures(self) -> int:
        """Failures in a row so far; 0 after a success."""
        return self._failures

    @property
    def failing(self) -> bool:
        """True from the first failed call until one succeeds."""
        return self._failures > 0 or self._opened_at is not None

    @property
    def retry_after(self) -> float:
        """Seconds until a permit is available; 0.0 if one is available now."""
        with self._lock:
            return self._retry_after(self._now())

    def add_listener(self, listener: Listener) -> None:
        """Call `listener(old, new)` after each change of state, outside of any lock. What it raises is logged.

        Raises:
            TypeError: `listener` is not a function.
        """
        __tracebackhide__ = True
        self._listeners.append(checked("add_listener()", "listener", listener, parsing.function))

    def try_acquire(self) -> Permit | None:
        """Return a permit for one call, or `None` if no call may be made now."""
        with self._lock:
            now = self._now()
            if self._opened_at is None:
                return Permit(self._generation, now, None)
            if self._retry_after(now) > 0:
                return None
            self._generation += 1
            self._trial = permit = Permit(self._generation, now, now + self.recovery_timeout)
            change = self._change(now)
        self._tell(change)
        return permit

    def success(self, permit: Permit) -> None:
        """Record that the call succeeded.

        Raises:
            TypeError: `permit` does not come from `try_acquire`.
        """
        __tracebackhide__ = True
        self._record("success()", permit, failed=False)

    def failure(self, permit: Permit) -> None:
        """Record that the call failed.

        Raises:
            TypeError: `permit` does not come from `try_acquire`.
        """
        __tracebackhide__ = True
        self._record("failure()", permit, failed=True)

    def _record(self, call: str, permit: Permit, *, failed: bool) -> None:
        __tracebackhide__ = True
        checked(call, "permit", permit, _PERMIT)
        with self._lock:
            now = self._now()
            if not self._valid(permit, now):
                return
            if failed or (self.slow_call is not None and now - permit.given > self.slow_call):
                self._failures += 1
                if self._opened_at is None and self._failures < self.failure_threshold:
                    return
                self._opened_at, self._trial = now, None
            else:
                self._failures = 0
                if self._opened_at is None:
                    return
                self._opened_at = self._trial = None
            self._generation += 1
            change = self._change(now)
        self._tell(change)

    def release(self, permit: Permit) -> None:
        """Return the permit of a call that was given up and says nothing about the other side.

        Raises:
            TypeError: `permit` does not come from `try_acquire`.
        """
        __tracebackhide__ = True
        checked("release()", "permit", permit, _PERMIT)
        with self._lock:
            if self._valid(permit, self._now()) and permit is self._trial:
                self._trial = None

    def __enter__(self) -> Self:
        permit = self.try_acquire()
        if permit is None:
            raise CircuitOpen(self.retry_after)
        _entered.set((*_entered.get(), (self, permit)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entered = _entered.get()
        position = max(index for index, (breaker, _) in enumerate(entered) if breaker is self)
        _entered.set((*entered[:position], *entered[position + 1 :]))
        permit = entered[position][1]
        if error is None:
            self.success(permit)
        elif isinstance(error, Exception):
            self.failure(permit)
        else:
            self.release(permit)

    def after_fork(self) -> None:
        """In a forked child: a new lock; a trial under way stays the parent's."""
        self._lock = threading.Lock()
        self._trial = None

    def _now(self) -> float:
        return time.monotonic() if self._clock is None else self._clock()

    def _state(self, now: float) -> State:
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._trial is not None or now - self._opened_at >= self.recovery_timeout else "open"

    def _retry_after(self, now: float) -> float:
        if self._opened_at is None:
            return 0.0
        if self._trial is not None and self._trial.expires is not None:
            return max(0.0, self._trial.expires - now)
        return max(0.0, self.recovery_timeout - (now - self._opened_at))

    def _valid(self, permit: Permit, now: float) -> bool:
        if permit.used or permit.generation != self._generation:
            return False
        permit.used = True
        return permit.expires is None or now < permit.expires

    def _change(self, now: float) -> tuple[State, State] | None:
        old, self._told = self._told, self._state(now)
        return None if old == self._told else (old, self._told)

    def _tell(self, change: tuple[State, State] | None) -> None:
        if change is None:
            return
        for listener in tuple(self._listeners):
            try:
                listener(*change)
            except Exception as error:  # noqa: BLE001 - a listener must not break the call that it hears of
                failures.report("telling a breaker's listener", error)


_entered: ContextVar[tuple[tuple[CircuitBreaker, Permit], ...]] = ContextVar("pytest_langfuse_breakers", default=())
