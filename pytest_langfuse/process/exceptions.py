"""The exceptions that `langfuse_process` raises."""

from __future__ import annotations

from pytest_langfuse.lazy import exported_by


@exported_by("pytest_langfuse")
class ProcessFailed(AssertionError):  # noqa: N818 - a test fails with it, like with any assertion
    """A process exited before it did what the test waits for. The message has its exit status and its output."""


@exported_by("pytest_langfuse")
class ProcessTimeout(ProcessFailed, TimeoutError):  # noqa: N818 - a test fails with it, like with any assertion
    """A process did not do in time what the test waits for. The message has its output."""


@exported_by("pytest_langfuse")
class LedgerMissing(RuntimeError):  # noqa: N818 - the name states what is wrong
    """The losses of a process are unknown, because it keeps no ledger or an incomplete one."""
