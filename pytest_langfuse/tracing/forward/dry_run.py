"""`--dry-run`: messages are counted by project, and none is delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pytest_langfuse.tracing.forward.post_formats import SPAN_POSTS, Unsendable, format_of
from pytest_langfuse.tracing.forward.project_keys import Projects
from pytest_langfuse.tracing.forward.queue_source import AssignedPartition, QueueMessage
from pytest_langfuse.tracing.forward.stage import Staged
from pytest_langfuse.tracing.log_text import readable


class DryRun:
    """A `Stage` that drops all, and remembers how many spans and scores of which project there were."""

    held = held_bytes = message_overhead = 0
    full = False

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._found: Counter[tuple[str, str]] = Counter()
        self._dead: Counter[str] = Counter()
        self._messages = self._bytes = 0
        self._oldest: float | None = None

    def problems(self) -> list[str]:
        """See `Stage`."""
        return []

    def take(self, messages: Sequence[QueueMessage], *, last: bool = False, read: bool = True) -> Staged:  # noqa: ARG002
        """See `Stage`."""
        for message in messages:
            self._messages += 1
            self._bytes += len(message.body)
            self._oldest = message.time if self._oldest is None else min(self._oldest, message.time)
            self._count(message)
        return Staged((), messages)

    def _count(self, message: QueueMessage) -> None:
        try:
            posts, items = format_of(message.kind, message.body)
        except Unsendable as why:
            self._dead[why.reason] += 1
            return
        if (project := self._projects.of(message.public_key)) is None:
            self._dead[f"unknown_project {readable(message.public_key)}".rstrip()] += items
            return
        self._found[project.public_key, "spans" if posts is SPAN_POSTS else "scores"] += items

    def assigned(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `Stage`."""

    def revoked(self, assignments: Sequence[AssignedPartition]) -> None:
        """See `Stage`."""

    def close(self) -> None:
        """See `Stage`."""

    def report(self) -> Iterator[str]:
        """Yield the lines that the command prints."""
        since = "" if self._oldest is None else f", the oldest of {datetime.fromtimestamp(self._oldest, UTC):%F %T} UTC"
        yield f"{self._messages} messages, {self._bytes} bytes{since}"
        for (public_key, what), number in sorted(self._found.items()):
            yield f"  {public_key}: {number} {what} would be sent"
        for reason, number in sorted(self._dead.items()):
            yield f"  {reason}: {number} would be dead-lettered"
