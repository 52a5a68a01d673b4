"""The redactor of the running session, for what it prints."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from pytest_langfuse.rules.secrets.environment_keys import EnvironmentKeys
from pytest_langfuse.rules.secrets.redactor import Redactor

#: Those of the running sessions; the innermost is the last.
_chosen: Final[list[Redactor]] = []


def choose_redactor(redactor: Redactor) -> Callable[[], None]:
    """Make a redactor that of the running session. Return a function that ends it."""
    _chosen.append(redactor)
    return lambda: _chosen.remove(redactor)


def chosen_redactor() -> Redactor:
    """Return the redactor of the running session; outside of one, that of the environment as it is."""
    return _chosen[-1] if _chosen else _of(tuple(os.environ.items()))


@lru_cache(maxsize=1)
def _of(variables: tuple[tuple[str, str], ...]) -> Redactor:
    keys = EnvironmentKeys()
    for name, value in variables:
        keys.note(name, value)
    return Redactor(keys)
