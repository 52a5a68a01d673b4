"""For whom something is sent that waits: nobody in particular, unless a test harness says so.

What one test has made may still wait in a buffer while the next one runs. A harness that sends each test's own
elsewhere can't tell by the thread or by the moment whose it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

#: Returns a context in which the owner's own is sent. Owners are compared: equal ones share a request.
Owner = Callable[[], AbstractContextManager[object]]


def _nobody() -> Owner | None:
    return None


def _nothing(_route: str, _before: str, _now: str) -> None:
    """Tell nobody."""


#: What a harness replaces, for the process: the owner of what the current thread does, and the context in which what
#: nobody owns is sent.
current: Callable[[], Owner | None] = _nobody
unowned: Owner = nullcontext

#: So is this, which hears of each change of state of a breaker, with the name of the route that it guards.
breaker_changed: Callable[[str, str, str], None] = _nothing


def sending_for(owner: Owner | None) -> AbstractContextManager[object]:
    """Return the context in which to send what belongs to `owner`."""
    return unowned() if owner is None else owner()
