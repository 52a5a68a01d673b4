"""The options that faults of a queue take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pytest_langfuse.outage.faults.fault import QueueFault

_SCHEDULE: Final = ("after", "times", "rate", "seed")


def check_queue_options(owner: str, faults: Sequence[QueueFault], given: Mapping[str, Any]) -> None:
    """Refuse options that the faults have no use for; `owner` begins the message.

    Raises:
        TypeError: one has no use for an option.
    """
    __tracebackhide__ = True
    for fault in faults:
        if given.get("paths") is not None:
            raise TypeError(f"{owner}: paths are endpoints of Langfuse, and {fault.name} is a fault of a queue")
        unused = [name for name in _SCHEDULE if name in given] if fault.lasting else []
        if unused:
            raise TypeError(
                f"{owner}: {fault.name} takes no {unused[0]}: it lasts. Begin it in the middle of a test with "
                f"`with langfuse_outage({fault.name!r}):`"
            )
        if given.get("delay") is not None and fault.delay is None:
            raise TypeError(f"{owner}: {fault.name} takes no delay (broker_slow does)")
