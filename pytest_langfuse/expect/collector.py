"""Python's garbage collector, and literals so large that it gets in the way."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Characters of a literal from which on collecting costs more than reading it.
_LARGE: Final = 200_000


@contextmanager
def undisturbed(literal: str) -> Iterator[None]:
    """No collection while a large literal is read and compared, all of whose objects are needed until the end.

    The collector looks at all objects each time that they are a quarter more: with 100,000 lines that took a third of
    the time, and let it grow faster than the tree (Python 3.11).
    """
    if len(literal) < _LARGE or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
