"""What `langfuse_process` raises."""

from __future__ import annotations


class ProcessFailed(AssertionError):  # noqa: N818 - what a test fails with
    """A process ended before it did what the test waits for. The text has its exit status and its output."""


class ProcessTimeout(ProcessFailed, TimeoutError):  # noqa: N818 - as above
    """A process did not do in time what the test waits for. The text has its output."""


class LedgerMissing(RuntimeError):  # noqa: N818 - as above
    """What a process lost is not known: it keeps no ledger, or not a complete one."""
