"""Messages of SQS that this process holds: kept invisible for others, then deleted or given back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_langfuse.tracing.forward.repeated_log import RepeatedLog
from pytest_langfuse.tracing.lasting_thread import lasting_thread
from pytest_langfuse.tracing.log_text import readable
from pytest_langfuse.tracing.monotonic import now
from pytest_langfuse.tracing.queue.sqs_client import SqsClient, outcome_of, without_valid_credentials

#: A message that nobody extends is seen by others after so many seconds; it is extended after a third of them.
VISIBILITY: Final = 30
_EXTEND_AFTER: Final = VISIBILITY / 3
#: Entries of one request.
_BATCH: Final = 10
_THREADS: Final = 2
#: After a request that failed (seconds).
_PAUSE: Final = 1.0
#: Between two looks at what is to be extended (seconds).
_LOOK: Final = 0.5
_GONE: Final = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"})


@dataclass(slots=True, eq=False)
class _Receipt:
    handle: str
    #: When it was made invisible last.
    since: float


class SqsReceipts:
    """Receipts by the position of their message. Thread-safe; its threads call SQS."""

    def __init__(self, client: SqsClient, log: RepeatedLog) -> None:
        self._client, self._log = client, log
        self._changed = threading.Condition()
        self._held: dict[int, _Receipt] = {}
        self._deleting: deque[_Receipt] = deque()
        self._returning: deque[_Receipt] = deque()
        #: Requests under way, and what they delete or give back.
        self._busy = self._in_requests = 0
        self._not_before = 0.0
        self._stopped = False

    def start(self) -> None:
        """Start the threads."""
        for _ in range(_THREADS):
            lasting_thread(self._run, name="langfuse-forward-sqs-receipts", doing="deleting messages from SQS").start()

    @property
    def held(self) -> int:
        """The number of messages that SQS shows to nobody because of this process."""
        return len(self._held) + len(self._deleting) + len(self._returning) + self._in_requests

    def hold(self, position: int, handle: str, since: float) -> None:
        """Keep a message that was received at `since`."""
        with self._changed:
            self._held[position] = _Receipt(handle, since)

    def delete(self, positions: Iterable[int]) -> None:
        """Delete messages that are done."""
        with self._changed:
            self._deleting.extend(self._taken(positions))
            self._changed.notify_all()

    def give_back(self, positions: Iterable[int]) -> None:
        """Let others see messages at once."""
        with self._changed:
            self._returning.extend(self._taken(positions))
            self._changed.notify_all()

    def give_all_back(self) -> None:
        """Let others see all messages at once that are held."""
        self.give_back(list(self._held))

    def flush(self, timeout: float) -> bool:
        """Wait until what is to be deleted or given back is. Return whether it is within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._deleting or self._returning or self._busy), timeout=max(timeout, 0.0)
            )

    def stop(self) -> None:
        """End the threads; what is held comes again when it gets visible."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _taken(self, positions: Iterable[int]) -> list[_Receipt]:
        return [self._held.pop(position) for position in positions if position in self._held]

    def _run(self) -> None:
        while (work := self._next()) is not None:
            operation, batch, extra = work
            gone = self._request(operation, batch, extra)
            with self._changed:
                self._busy -= 1
                self._in_requests -= len(batch) if _settles(work) else 0
                failed = [receipt for number, receipt in enumerate(batch) if number not in gone]
                if failed:
                    self._not_before = now() + _PAUSE
                    for receipt in failed:
                        # As if it had not been extended; the time was noted before the request.
                        receipt.since -= _EXTEND_AFTER
                    if operation == "delete_message_batch":
                        self._deleting.extendleft(reversed(failed))
                    elif extra["VisibilityTimeout"] == 0:
                        self._returning.extendleft(reversed(failed))
                self._changed.notify_all()

    def _next(self) -> tuple[str, list[_Receipt], dict[str, int]] | None:
        with self._changed:
            while not self._stopped:
                if now() >= self._not_before:
                    work = self._due()
                    if work is not None:
                        self._busy += 1
                        self._in_requests += len(work[1]) if _settles(work) else 0
                        return work
                self._changed.wait(_LOOK)
            return None

    def _due(self) -> tuple[str, list[_Receipt], dict[str, int]] | None:
        # What is to be deleted must not come again meanwhile, so it is the first.
        if self._deleting:
            return "delete_message_batch", _first(self._deleting), {}
        if self._returning:
            return "change_message_visibility_batch", _first(self._returning), {"VisibilityTimeout": 0}
        at = now()
        due = []
        for receipt in self._held.values():
            if at - receipt.since >= _EXTEND_AFTER:
                due.append(receipt)
                if len(due) == _BATCH:
                    break
        for receipt in due:
            receipt.since = at
        return ("change_message_visibility_batch", due, {"VisibilityTimeout": VISIBILITY}) if due else None

    def _request(self, operation: str, batch: Sequence[_Receipt], extra: dict[str, int]) -> set[int]:
        """Return the numbers of the receipts that need no further request."""
        entries = [{"Id": str(number), "ReceiptHandle": one.handle, **extra} for number, one in enumerate(batch)]
        what = "deleted" if operation == "delete_message_batch" else "kept or given back"
        try:
            answer: dict[str, Any] = self._client.call(operation, Entries=entries)
            done = {int(entry["Id"]) for entry in answer.get("Successful") or ()}
            failed = [(int(entry["Id"]), entry) for entry in answer.get("Failed") or ()]
        except Exception as error:  # noqa: BLE001 - the whole variety of botocore, urllib3 and the operating system
            outcome = outcome_of(error)
            if without_valid_credentials(outcome):
                self._client.renew()
            self._log.warn(operation, f"SQS: messages can't be {what} ({outcome.reason}): {outcome.detail}")
            return set()
        for number, entry in failed:
            if entry.get("Code") in _GONE:
                # It was held for longer than SQS lets anybody, or was deleted.
                done.add(number)
                self._log.warn("gone", f"SQS: a message is not held any more, it may come twice: {_said(entry)}")
            else:
                self._log.warn(operation, f"SQS: messages can't be {what} ({entry.get('Code')}): {_said(entry)}")
        return done


def _settles(work: tuple[str, list[_Receipt], dict[str, int]]) -> bool:
    """Return whether a request lets go of messages, rather than keeping them."""
    return not work[2].get("VisibilityTimeout")


def _said(entry: Mapping[str, Any]) -> str:
    return readable(str(entry.get("Message") or ""))


def _first(receipts: deque[_Receipt]) -> list[_Receipt]:
    return [receipts.popleft() for _ in range(min(len(receipts), _BATCH))]
