"""Headers of a dead letter: those of the message, and the reason."""

from __future__ import annotations

from pytest_langfuse.tracing.forward.queue_source import (
    DEAD_DETAIL_HEADER,
    DEAD_REASON_HEADER,
    DEAD_STATUS_HEADER,
    DeadLetter,
)

_OURS = frozenset({DEAD_REASON_HEADER, DEAD_DETAIL_HEADER, DEAD_STATUS_HEADER})


def dead_letter_headers(letter: DeadLetter) -> list[tuple[str, bytes | None]]:
    """Return the headers; a message that was dead before gets the new reason in place of the old one."""
    kept = [(name, value) for name, value in letter.message.headers if name not in _OURS]
    kept.append((DEAD_REASON_HEADER, letter.reason.encode()))
    if letter.detail:
        kept.append((DEAD_DETAIL_HEADER, letter.detail.encode("utf-8", "replace")))
    if letter.status is not None:
        kept.append((DEAD_STATUS_HEADER, str(letter.status).encode()))
    return kept
