"""What `langfuse_process` raises."""

from __future__ import annotations

from pytest_langfuse.lazy import exported_by


@exported_by("pytest_langfuse")
class ProcessFailed(AssertionError):  # noqa: N818 - what a test fails with
    """A process ended before it did what the test waits for. The text has its exit status and its output."""


@exported_by("pytest_langfuse")
class ProcessTimeout(ProcessFailed, TimeoutError):  # noqa: N818 - as above
    """A process did not do in time what the test waits for. The text has its output."""


@exported_by("pytest_langfuse")
class LedgerMissing(RuntimeError):  # noqa: N818 - as above
    """What a process lost is not known: it keeps no ledger, or not a complete one."""
