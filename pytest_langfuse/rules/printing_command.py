"""Commands that print: whoever reads may go before the end, and the output may be a file on a full disk."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from pytest_langfuse.rules.one_line import one_line


def tell(text: str) -> None:
    """Write a line to the standard error."""
    # Without one, `print` would write to the standard output.
    if sys.stderr is not None:
        print(one_line(text), file=sys.stderr)  # noqa: T201 - beside what another program reads


def status_of(main: Callable[[], int], program: str) -> int:
    """Run a command; return its exit status: 2 if it can't print, that of SIGPIPE if nobody reads any more."""
    try:
        status = main()
        # Without one, as after `>&-`, there is nobody to tell but by the status.
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has seen enough. The status is that of a program which the signal ends.
        _drop_output()
        return 128 + 13
    except OSError as error:
        _drop_output()
        tell(f"{program}: the output can't be written: {error.strerror or error}")
        return 2
    return status


def _drop_output() -> None:
    """Keep Python from writing at its end what is left."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
