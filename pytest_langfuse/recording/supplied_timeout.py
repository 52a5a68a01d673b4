"""The timeout that capture gives to a client that was given none, shorter than the SDK's: tests of `hang` end soon."""

from __future__ import annotations

from typing import Final


class SuppliedTimeout(int):
    """Seconds that capture has supplied. The type tells them from an equal timeout that the application has set."""

    __slots__ = ()


SUPPLIED_TIMEOUT: Final = SuppliedTimeout(1)
#: Seconds that a request would have had without capture (`Langfuse.__init__`, langfuse 4.5 and 5.0).
_INSTEAD_OF: Final = 5
#: Seconds by which the wait for a request is shortened at most.
SHORTENED_BY: Final = float(_INSTEAD_OF - SUPPLIED_TIMEOUT)
