"""Generators that have made a span current, and whose next step runs in another context, where it is not."""

from __future__ import annotations

import sys
from inspect import CO_ASYNC_GENERATOR, CO_GENERATOR
from typing import TYPE_CHECKING, Final

from pytest_langfuse.recording.recorded_span import HandedOver

if TYPE_CHECKING:
    from types import CodeType

    from pytest_langfuse.recording.recorded_span import HandOver, RecordedSpan

#: Flags of the code of generators and async generators.
GENERATORS: Final = CO_GENERATOR | CO_ASYNC_GENERATOR
#: OpenTelemetry's way to make a span current, which Langfuse's SDK goes, too.
_MAKES_CURRENT: Final = "start_as_current_span"


class RunningGenerators:
    """The generators of a test in which spans were started, by their frames.

    A frame lives as long as its generator, and so its `id` is that of no other while the span runs that it has made
    current.
    """

    def __init__(self) -> None:
        self._spans: dict[int, tuple[CodeType, HandedOver]] = {}

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._spans)

    def clear(self) -> None:
        """Forget all."""
        self._spans.clear()

    def add(self, recorded: RecordedSpan) -> None:
        """Remember the generator that is starting a span, if the span is made current."""
        if recorded.start is None:
            return
        wanted = recorded.start[0]
        is_current = False
        frame = sys._getframe(1).f_back  # noqa: SLF001 - the documented way to see the caller
        while frame is not None and frame.f_code is not wanted:
            is_current = is_current or frame.f_code.co_name == _MAKES_CURRENT
            frame = frame.f_back
        if frame is not None and is_current:
            how: HandOver = "async generator" if wanted.co_flags & CO_ASYNC_GENERATOR else "generator"
            self._spans[id(frame)] = wanted, HandedOver(how, recorded, recorded.start, wanted.co_name)

    def resumed(self) -> HandedOver | None:
        """Return what is known of the innermost generator that runs here and has a span that runs."""
        frame = sys._getframe(1).f_back  # noqa: SLF001
        while frame is not None:
            if frame.f_code.co_flags & GENERATORS and (found := self._spans.get(id(frame))) is not None:
                code, handed_over = found
                if code is frame.f_code and handed_over.by.is_running:
                    return handed_over
            frame = frame.f_back
        return None
