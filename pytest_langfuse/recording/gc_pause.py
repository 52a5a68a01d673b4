"""A pause of Python's garbage collector while large trees are read or compared."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: Bytes or characters of one observation, roughly: of its line in a literal, and of its span in an export body.
SIZE: Final = 50

#: Observations from on which collecting takes a noticeable part of the time.
_LARGE: Final = 5_000
#: Objects that Python has frozen when the plugin is loaded: 3.12 freezes some of its own as it starts.
_FROZEN_BY_PYTHON: Final = gc.get_freeze_count() if sys.version_info[:2] == (3, 12) else 0


@contextmanager
def undisturbed(observations: int) -> Iterator[None]:
    """Pause garbage collection inside the block if so many observations are read or compared.

    The collector looks at all objects each time that they are a quarter more. With 100,000 observations that took a
    third of the time, and let it grow faster than the tree (Python 3.11).
    """
    if observations < _LARGE or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() <= _FROZEN_BY_PYTHON:
            # Puts all that was made among the old objects, where a collection would put it after looking at each.
            gc.freeze()
            gc.unfreeze()
        gc.enable()
