"""The terminal on which the results of a run are printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

#: The key of xdist's `workerinput` under which a worker finds the terminal of the controller, which prints.
_WORKER_INPUT = "pytest_langfuse_terminal"


class Terminal(NamedTuple):
    """A width, the choice of pytest to write in colour, and an encoding that the terminal can show."""

    columns: int
    color: bool
    encoding: str

    @classmethod
    def of(cls, config: pytest.Config) -> Terminal:
        """Return the terminal of a run; in a worker of xdist, which has none, that of the controller."""
        given = getattr(config, "workerinput", {}).get(_WORKER_INPUT)
        if given is not None:
            return cls(*given)
        writer = config.get_terminal_writer()
        # Not sys.stdout, which pytest replaces while a test runs.
        encoding = getattr(sys.__stdout__, "encoding", None) or "utf-8"
        return cls(writer.fullwidth, writer.hasmarkup, encoding)

    def tell(self, node: Any) -> None:
        """Tell a worker of xdist before it starts."""
        node.workerinput[_WORKER_INPUT] = tuple(self)

    def style(self, *, verbose: int) -> Callable[[], None]:
        """Write failures and traces for this terminal; returns what ends that."""
        # Imported here: a run that captures nothing must not pay for it.
        from pytest_langfuse.expect.text.style import configure

        return configure(color=self.color, verbose=verbose, columns=self.columns, encoding=self.encoding)
