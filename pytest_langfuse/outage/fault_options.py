"""The options of an outage, and the schedule that they define."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from pytest_langfuse.arguments import LARGEST, LONGEST_WAIT, shown
from pytest_langfuse.standin.paths import parse_paths
from pytest_langfuse.suggest import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultOptions:
    """The options that decide when a fault strikes, and how.

    Attributes:
        after: Requests that are answered as usual before the fault begins.
        times: Requests that it strikes then; `None` for all. (With `flapping`, both repeat.)
        delay: Seconds; each fault says what it delays. `None` for the default of the fault.
        rate: The share of the requests that it strikes, above 0 and at most 1.
        seed: Decides which requests `rate` strikes.
        retry_after: Seconds, sent as `Retry-After` with an HTTP status.
        paths: The endpoints that it is limited to (`"otlp"`, `"scores"`, …), or patterns of paths.
        required: Whether a test fails if the fault struck nothing.
        max_block: Seconds that a test may wait for Langfuse meanwhile; `None` for any time.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value out of range, or an unknown endpoint.
    """

    after: int = 0
    times: int | None = None
    delay: float | None = None
    rate: float = 1.0
    seed: int = 0
    retry_after: int | None = None
    paths: str | Sequence[str] | None = None
    required: bool = True
    max_block: float | None = None

    @classmethod
    def of(cls, owner: str, options: Mapping[str, Any]) -> FaultOptions:
        """Return the options given as keywords; `owner` begins the message of an error.

        Raises:
            TypeError: an unknown keyword, with a suggestion, or a value of the wrong type.
            ValueError: a value out of range, or an unknown endpoint.
        """
        __tracebackhide__ = True
        names = [option.name for option in fields(cls)]
        for name in options:
            if name not in names:
                raise TypeError(
                    f"{owner}: unknown option {shown(name)}{did_you_mean(name, names)} (options: {', '.join(names)})"
                )
        try:
            return cls(**options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{owner}: {error}") from None

    def __post_init__(self) -> None:
        _number("after", self.after, whole=True, least=0)
        _number("times", self.times, whole=True, least=1, optional=True)
        _number("delay", self.delay, least=0, most=LONGEST_WAIT, optional=True)
        _number("rate", self.rate)
        _number("seed", self.seed, whole=True, least=None, most=None)
        _number("retry_after", self.retry_after, whole=True, least=0, optional=True)
        _number("max_block", self.max_block, least=0, most=LONGEST_WAIT, optional=True)
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate: expected a number above 0 and at most 1, got {shown(self.rate)}")
        if not isinstance(self.required, bool):
            raise TypeError(f"required: expected True or False, got {shown(self.required)}")
        object.__setattr__(self, "paths", parse_paths(self.paths))


def _number(
    name: str,
    value: object,
    *,
    whole: bool = False,
    least: int | None = -LARGEST,
    most: int | None = LARGEST,
    optional: bool = False,
) -> None:
    if value is None and optional:
        return
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise TypeError(f"{name}: expected {kind}, got {shown(value)}")
    # Not `<`: NaN must be refused, too.
    if least is not None and not value >= least:
        raise ValueError(f"{name}: expected {kind} of at least {least}, got {shown(value)}")
    if most is not None and value > most:
        raise ValueError(f"{name}: expected {kind} of at most {most}, got {shown(value)}")


class Schedule:
    """Decides which of the matching requests are struck. Not thread-safe."""

    def __init__(self, options: FaultOptions, *, repeating: bool = False) -> None:
        self._after = options.after
        self._times = options.times
        self._rate = options.rate
        self._random = random.Random(options.seed)  # noqa: S311 - reproducible on purpose
        self._repeating = repeating
        self._seen = 0
        self._struck = 0

    def next(self) -> bool:
        """Return whether the next request is struck."""
        lucky = self._rate < 1 and self._random.random() >= self._rate
        position = self._seen
        self._seen += 1
        if self._repeating:
            good, bad = self._after or 1, self._times or 1
            struck = position % (good + bad) >= good
        else:
            struck = position >= self._after and (self._times is None or self._struck < self._times)
        if not struck or lucky:
            return False
        self._struck += 1
        return True

    def skip(self) -> None:
        """Count the next request, which another fault strikes."""
        self._seen += 1
