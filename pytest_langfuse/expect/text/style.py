"""The style of failure texts: plain unless the plugin sets another."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from pytest_langfuse.expect.literal.values import WIDTH


@dataclass(frozen=True, slots=True)
class Style:
    """`color`: with ANSI colours. `verbose`: pytest's verbosity; from 2 on (`-vv`) nothing is cut or folded."""

    color: bool = False
    verbose: int = 0

    @property
    def whole(self) -> bool:
        """Return whether everything is shown."""
        return self.verbose > 1

    @property
    def width(self) -> int | None:
        """Characters of a value that are shown; `None`: all."""
        return None if self.whole else WIDTH

    def red(self, text: str) -> str:
        """Colour expected text."""
        return f"\x1b[31m{text}\x1b[0m" if self.color else text

    def green(self, text: str) -> str:
        """Colour captured text."""
        return f"\x1b[32m{text}\x1b[0m" if self.color else text

    def body(self, text: str) -> str:
        """All but the first line of a failure text out of the red in which pytest prints an error's text."""
        return text.replace("\n", "\n\x1b[0m") if self.color else text


_PLAIN: Final = Style()
_style: Final = ContextVar("pytest_langfuse_style", default=_PLAIN)


def current() -> Style:
    """The style of this context."""
    return _style.get()


def configure(*, color: bool = False, verbose: int = 0) -> Callable[[], None]:
    """Set the style; returns what sets it back. `NO_COLOR` (https://no-color.org) in the environment wins."""
    before = _style.get()
    _style.set(Style(color=color and not os.environ.get("NO_COLOR"), verbose=verbose))

    def restore() -> None:
        _style.set(before)

    return restore
